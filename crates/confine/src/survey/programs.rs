//! Programs that the lists of `[commands]` name: where they are, and what the kernel opens to run them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use ringfence_plan::{Interpreter, Invoker, Kind, Loader, Many, Place, Program, Refused, Survey};
use ringfence_policy::{CommandPattern, Digest, MULTICALL, Policy, Rule, digest, guard_needed};

use super::place::resolve;

/// Where programs are looked for, each directory with its resolved form, as far as they exist.
pub(super) fn search_path(invoker: &Invoker) -> Vec<(PathBuf, PathBuf)> {
    let resolved = |path: PathBuf| {
        let place = resolve(&path, false).ok().filter(|place| place.kind == Kind::Directory)?;
        Some((path, place.real))
    };
    invoker.searched().into_iter().filter_map(resolved).collect()
}

/// The programs of these entries.
pub(super) fn find(
    entries: &[Rule<String>],
    survey: &Survey,
    invoker: &Invoker,
) -> Result<Vec<Program>, Refused> {
    let mut programs = Vec::new();
    for (rule, optional, found) in each(entries, survey, invoker) {
        if let Some(refused) = wrong(rule, optional, &found) {
            return Err(refused);
        }
        programs.extend(found);
    }
    Ok(programs)
}

/// What is wrong with an entry, by what there is of it.
fn wrong(rule: &Rule<String>, optional: bool, found: &[Program]) -> Option<Refused> {
    match found.iter().find(|program| program.place.kind != Kind::File) {
        Some(program) => Some(no_file(rule, &program.place)),
        None => (found.is_empty() && !optional).then(|| not_there(rule)),
    }
}

/// An entry of all in a directory would be one of nothing: programs are known by their files.
fn no_file(rule: &Rule<String>, place: &Place) -> Refused {
    let what = if place.kind == Kind::Directory { "a directory" } else { "no regular file" };
    Refused::rule(
        &rule.origin,
        format!("`{}` is {what}, and an entry of `[commands]` begins with a program", program_of(rule).0),
        "name the programs one by one; `files.exec` has trees, which a policy without `commands.allow` lets start whole",
    )
}

/// A program that is named by its path lies where programs may start, or its entry is none.
pub(super) fn startable(policy: &Policy, survey: &Survey) -> Result<(), Refused> {
    // Of one in a tree that is written the plan says more.
    let trees = survey.exec.iter().chain(&survey.write).filter_map(|found| found.place.as_ref());
    let trees: Vec<&Path> = trees.map(|place| place.real.as_path()).collect();
    let starts = |real: &Path| {
        trees.iter().any(|tree| real.starts_with(tree))
            || policy.from_workspace && real.starts_with(&survey.workspace.real)
    };
    let by_path = |program: &&Program| {
        CommandPattern::parse(&program.name, "/").is_ok_and(|entry| entry.program.starts_with('/'))
    };
    // Thousands of entries name a few files.
    let mut before: Option<(&Path, bool)> = None;
    let lost = survey.programs.iter().filter(|program| {
        let real = program.place.real.as_path();
        let known = before.filter(|(path, _)| *path == real);
        let (_, starts) = *before.insert(known.unwrap_or_else(|| (real, starts(real))));
        !starts
    });
    lost.into_iter().find(by_path).map_or(Ok(()), |program| {
        let file = program.place.real.display();
        let cause = format!("`{file}` can never start: no executable tree holds it");
        let remedy = format!("add it to `files.exec`: `exec = [\"{file}\"]`");
        Err(Refused::rule(&program.origin, cause, remedy))
    })
}

/// Of these entries, those whose program is not there, although it must be, or is none.
pub(super) fn missing<'a>(
    entries: &'a [Rule<String>],
    needed: bool,
    survey: &Survey,
    invoker: &Invoker,
) -> Vec<(&'a Rule<String>, Refused)> {
    let all = each(entries, survey, invoker).into_iter();
    all.filter_map(|(rule, optional, found)| Some((rule, wrong(rule, optional || !needed, &found)?)))
        .collect()
}

fn not_there(rule: &Rule<String>) -> Refused {
    let name = program_of(rule).0;
    if name.starts_with('/') {
        return Refused::rule(
            &rule.origin,
            format!("there is no program `{name}` on this host"),
            "install it, write `?` behind it to leave it out where it is missing, or remove it",
        );
    }
    Refused::rule(
        &rule.origin,
        format!("`{name}` is not a program in any directory of PATH"),
        "install it, write its absolute path, write `?` behind it to leave it out where it is missing, or remove it",
    )
}

/// Each entry with whether its program may be missing and what there is of it; a name is looked for once.
fn each<'a>(
    entries: &'a [Rule<String>],
    survey: &Survey,
    invoker: &Invoker,
) -> Vec<(&'a Rule<String>, bool, Vec<Program>)> {
    let mut known: BTreeMap<String, Vec<Program>> = BTreeMap::new();
    let parts = if entries.is_empty() { Vec::new() } else { parts(survey, invoker) };
    let one = |rule: &'a Rule<String>| {
        let (name, optional) = program_of(rule);
        let found =
            known.entry(name).or_insert_with_key(|name| named(name, rule, &parts, survey, invoker)).iter();
        let found = found.map(|program| Program {
            name: rule.value.clone(),
            origin: rule.origin.clone(),
            ..program.clone()
        });
        (rule, optional, found.collect())
    };
    entries.iter().map(one).collect()
}

/// Reads what the programs hold, for a policy that pins them.
pub(super) fn pin(programs: &mut [Program]) -> Result<(), Refused> {
    let mut known: BTreeMap<PathBuf, Digest> = BTreeMap::new();
    for program in programs {
        let interpreters = program.interpreters.iter().map(|interpreter| &interpreter.place.real);
        let files: Vec<PathBuf> = std::iter::once(&program.place.real).chain(interpreters).cloned().collect();
        for file in files {
            let digest = match known.get(&file) {
                Some(digest) => *digest,
                None => std::fs::File::open(&file).and_then(digest).map_err(|error| {
                    let cause = format!("{} cannot be read to pin it: {error}", file.display());
                    Refused::rule(&program.origin, cause, "make it readable, or remove `commands.pin`")
                })?,
            };
            known.insert(file.clone(), digest);
            program.pinned.push((file, digest));
        }
    }
    Ok(())
}

/// What is there of programs that are denied: they need not be.
pub(super) fn find_denied(
    entries: &[Rule<String>],
    survey: &Survey,
    invoker: &Invoker,
) -> Result<Vec<Program>, Refused> {
    let mut programs = Vec::new();
    for (rule, _, found) in each(entries, survey, invoker) {
        if let Some(refused) = wrong(rule, true, &found) {
            return Err(refused);
        }
        programs.extend(found);
    }
    Ok(programs)
}

/// Files of many programs: where somebody looks at each start, or a file that a list names may be a hard link of one.
pub(super) fn many(policy: &Policy, survey: &Survey) -> Vec<Many> {
    let programs = || survey.programs.iter().chain(&survey.denied);
    if !guard_needed(policy) && programs().all(|program| program.place.names < 2) {
        return Vec::new();
    }
    let path = survey.search_path.iter().map(|(_, real)| real.as_path());
    let exec = survey.exec.iter().filter_map(|found| Some(found.place.as_ref()?.real.as_path()));
    let beside = programs().filter(|program| program.place.names > 1);
    let directories: BTreeSet<&Path> =
        path.chain(exec).chain(beside.filter_map(|program| program.place.real.parent())).collect();
    let names = directories.into_iter().flat_map(|at| MULTICALL.iter().map(|(name, _)| at.join(name)));
    let found = names.filter_map(|path| {
        let stat = std::fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Many { identity: (stat.dev(), stat.ino()), dynamic: is_dynamic(&path), file: path })
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    found.dedup_by_key(|many| many.identity);
    found
}

/// Whether the kernel starts it by an interpreter (elf(5), PT_INTERP); not, where that cannot be told.
fn is_dynamic(path: &Path) -> bool {
    let mut head = [0; 4096];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
    let head = head.get(..read).unwrap_or_default();
    let number = |at: usize, size: usize| -> usize {
        let bytes = head.get(at..at + size).unwrap_or_default();
        bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    // Of 64 bits, as all that is built here.
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    head.starts_with(b"\x7fELF\x02\x01")
        && (0..count.min(64)).any(|entry| table < read && number(table + entry * size, 4) == 3)
}

/// Its name, and whether it may be missing. Every entry was read when the policy was.
fn program_of(rule: &Rule<String>) -> (String, bool) {
    CommandPattern::parse(&rule.value, "/")
        .map_or_else(|_| (rule.value.clone(), false), |pattern| (pattern.program, pattern.optional))
}

/// Where programs lie that others start and no PATH leads to: the parts of compilers, what rustup's names stand for, and PostgreSQL's
/// clients, whose names in PATH are Debian's wrapper (pg_wrapper(1)).
/// Sorted, so that two surveys agree.
fn parts(survey: &Survey, invoker: &Invoker) -> Vec<PathBuf> {
    let below = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut found: Vec<PathBuf> = ["/usr/lib/gcc", "/usr/libexec/gcc"]
        .iter()
        .flat_map(|root| below(Path::new(root)))
        .flat_map(|target| below(&target))
        .collect();
    let rustup = invoker.variables.get(OsStr::new("RUSTUP_HOME")).map(PathBuf::from);
    let rustup = rustup.unwrap_or_else(|| invoker.home.join(".rustup"));
    let toolchains: Vec<PathBuf> =
        below(&rustup.join("toolchains")).iter().map(|one| one.join("bin")).collect();
    let rust = survey.search_path.iter().map(|(_, directory)| directory).chain(&toolchains);
    let linkers = rust.filter_map(|bin| Some(bin.parent()?.join("lib/rustlib"))).flat_map(|lib| below(&lib));
    found.extend(linkers.flat_map(|target| [target.join("bin"), target.join("bin/gcc-ld")]));
    found.extend(toolchains);
    found.extend(below(Path::new(ringfence_policy::POSTGRESQL)).iter().map(|version| version.join("bin")));
    found.sort();
    found
}

/// The same, where starts may be looked at.
pub(super) fn git_core(policy: &Policy, survey: &Survey) -> Vec<PathBuf> {
    if guard_needed(policy) || !survey.programs.is_empty() { beside_git(survey) } else { Vec::new() }
}

/// Where git has its own programs, from which it starts itself (git(1), `--exec-path`): beside each git of PATH, where the task cannot write.
fn beside_git(survey: &Survey) -> Vec<PathBuf> {
    let own = survey.write.iter().filter_map(|found| found.place.as_ref()).chain([&survey.workspace]);
    let own: Vec<_> = own.map(|place| &place.real).collect();
    let theirs = |found: &PathBuf| own.iter().any(|own| found.starts_with(own) || own.starts_with(found));
    let program = |directory: &PathBuf| {
        let place = resolve(&directory.join("git"), false).ok().filter(is_program)?;
        Some(place.real.parent()?.parent()?.to_owned())
    };
    let above = survey.search_path.iter().filter_map(|(_, directory)| program(directory));
    let beside = above.flat_map(|above| ["libexec/git-core", "lib/git-core"].map(|name| above.join(name)));
    let found = beside.filter_map(|path| resolve(&path, false).ok()).map(|place| place.real);
    let mut all: Vec<_> = found.filter(|found| !theirs(found)).collect();
    all.sort();
    all.dedup();
    all
}

fn is_program(place: &Place) -> bool {
    place.kind == Kind::File && place.mode & 0o111 != 0
}

fn named(
    name: &str,
    rule: &Rule<String>,
    parts: &[PathBuf],
    survey: &Survey,
    invoker: &Invoker,
) -> Vec<Program> {
    let places: Vec<Place> = if name.starts_with('/') {
        resolve(Path::new(name), invoker.root).into_iter().collect()
    } else {
        let git = name == "git" || name.starts_with("git-");
        let git = if git { beside_git(survey) } else { Vec::new() };
        let path = survey.search_path.iter().map(|(_, directory)| directory).chain(parts).chain(&git);
        path.filter_map(|directory| resolve(&directory.join(name), invoker.root).ok())
            .filter(is_program)
            .collect()
    };
    let mut programs = Vec::new();
    for place in places {
        let loader = loader(&place.real, invoker.root);
        let interpreters = match &loader {
            Some(Loader::Script(_)) => interpreters(&place.real, survey, invoker),
            _ => Vec::new(),
        };
        programs.push(Program {
            name: rule.value.clone(),
            origin: rule.origin.clone(),
            shared: !interpreters.is_empty() && shared(&place, invoker),
            place,
            loader,
            interpreters,
            pinned: Vec::new(),
            grantable: false,
        });
    }
    programs
}

/// Whether it has another name, by which the user that the task has might write to it. Root's task may have any user's rights.
fn shared(place: &Place, invoker: &Invoker) -> bool {
    place.names > 1 && (invoker.root || place.mode & 0o022 != 0 || place.uid == invoker.uid)
}

/// What the kernel starts for a script, and what env(1) starts after that; none where one of them is a script itself.
fn interpreters(script: &Path, survey: &Survey, invoker: &Invoker) -> Vec<Interpreter> {
    let mut head = [0; 256];
    let read = std::fs::File::open(script).and_then(|file| file.read_at(&mut head, 0)).unwrap_or(0);
    let line = head.get(..read).and_then(|head| head.strip_prefix(b"#!")).unwrap_or_default();
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let (name, argument) = match line.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
        Some(at) => line.split_at(at),
        None => (line, &b""[..]),
    };
    let argument = argument.trim_ascii();
    let before: Vec<Vec<u8>> = if argument.is_empty() { Vec::new() } else { vec![argument.to_vec()] };
    let one = |path: &Path, name: &[u8], before: Vec<Vec<u8>>| {
        let place = resolve(path, invoker.root).ok()?;
        let loader = match loader(&place.real, invoker.root) {
            Some(Loader::Script(_)) => return None,
            Some(Loader::Dynamic(loader)) => Some(loader),
            None => None,
        };
        Some(Interpreter { place, name: name.to_vec(), loader, before })
    };
    let Some(first) = one(Path::new(OsStr::from_bytes(name)), name, before) else { return Vec::new() };
    let env = name.ends_with(b"/env");
    let mut found = vec![first];
    if env {
        let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let name = program_of_env(&mut words).unwrap_or_default();
        let before: Vec<Vec<u8>> = words.map(<[u8]>::to_vec).collect();
        let places = survey.search_path.iter().map(|(_, directory)| directory.join(OsStr::from_bytes(name)));
        found.extend(places.filter_map(|path| one(&path, name, before.clone())));
    }
    found
}

/// What env(1) starts: behind its options, which may be put together before `-S`, and behind variables.
fn program_of_env<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    while let Some(word) = words.next() {
        let word = word.strip_prefix(b"--split-string=").unwrap_or(word);
        let behind = |mark| word.iter().position(|byte| *byte == mark).and_then(|at| word.get(at + 1..));
        match word {
            // The value of an option.
            b"-u" | b"-C" | b"--unset" | b"--chdir" => drop(words.next()),
            [b'-', b'-', ..] => {}
            // `-vSprogram`
            [b'-', ..] => match behind(b'S') {
                Some(rest) if !rest.is_empty() => return Some(rest),
                _ => {}
            },
            _ if word.contains(&b'=') => {}
            _ => return Some(word),
        }
    }
    None
}

/// The interpreter that the kernel opens as well: named by `#!` (execve(2)) or by PT_INTERP (elf(5)).
fn loader(path: &Path, filesystem: bool) -> Option<Loader> {
    let file = std::fs::File::open(path).ok()?;
    let mut head = [0u8; 256];
    let length = file.read_at(&mut head, 0).ok()?;
    let head = head.get(..length)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
        let interpreter = line.split(u8::is_ascii_whitespace).next()?;
        let path = Path::new(OsStr::from_bytes(interpreter));
        return Some(Loader::Script(
            resolve(path, false).map_or_else(|_| path.to_path_buf(), |place| place.real),
        ));
    }
    let path = elf_interpreter(&file, head)?;
    resolve(Path::new(OsStr::from_bytes(&path)), filesystem).ok().map(Loader::Dynamic)
}

fn elf_interpreter(file: &std::fs::File, head: &[u8]) -> Option<Vec<u8>> {
    const PT_INTERP: u32 = 3;
    if head.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let offset = u64::from_le_bytes(head.get(32..40)?.try_into().ok()?);
    let size = u16::from_le_bytes(head.get(54..56)?.try_into().ok()?);
    let count = u16::from_le_bytes(head.get(56..58)?.try_into().ok()?);
    for index in 0..u64::from(count.min(64)) {
        let mut header = [0u8; 56];
        file.read_exact_at(&mut header, offset.checked_add(index * u64::from(size))?).ok()?;
        if u32::from_le_bytes(header.get(..4)?.try_into().ok()?) == PT_INTERP {
            let at = u64::from_le_bytes(header.get(8..16)?.try_into().ok()?);
            let length = u64::from_le_bytes(header.get(32..40)?.try_into().ok()?).min(4096);
            let mut path = vec![0; usize::try_from(length).ok()?];
            file.read_exact_at(&mut path, at).ok()?;
            path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
            return Some(path);
        }
    }
    None
}
