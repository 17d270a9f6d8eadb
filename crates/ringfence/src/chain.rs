//! What else a command needs to do its work, for `ringfence explain --command`: its file, what runs that, and what it is known to
//! start and use.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_policy::{
    Access, CommandPattern, Decision, Endpoint, Judge, Need, POSTGRESQL, Policy, Reason, Rule,
    decide_connect, is_loader, needs,
};

use crate::cautions::is_any;
use crate::wrappers;

/// What is done with a part of a command's own.
pub(crate) const PART: &str = "start its part";

/// One link of it: what is done, to what, and what the policy says.
pub(crate) struct Link {
    pub(crate) action: &'static str,
    pub(crate) target: String,
    pub(crate) decision: Decision,
}

/// All of them, in the order in which they are needed. Empty: the host has no such program, and nothing is known of it. `started`: a run
/// starts the command itself.
pub(crate) fn of(
    command: &str,
    started: bool,
    policy: &Policy,
    judge: &Judge<'_>,
    invoker: &Invoker,
) -> Vec<Link> {
    let all = ringfence_policy::command_words(command);
    let mut words = all.iter().map(String::as_str);
    let program = words.next().unwrap_or_default();
    let word = words.find(|word| !word.starts_with('-'));
    let mut links = Vec::new();
    let decision = judge.run(command);
    // By an entry of its own or of what it leads to, not as what the workspace holds.
    let own = matches!(decision.reason(), Reason::Rule { key: "commands.allow", .. })
        || started && !decision.is_allow();
    if let Some(file) = found(program, invoker) {
        let exec = |action, path: &Path| Link {
            action,
            target: path.display().to_string(),
            decision: judge.file(path, Access::Exec),
        };
        links.push(exec("execute", &file));
        if let Some(interpreter) = interpreter(&file) {
            // What is listed brings its interpreter along, for itself alone; else that must be allowed with this file.
            let target = format!("{} {}", interpreter.display(), file.display());
            if policy.commands.is_none() || decision.is_allow() || started {
                links.push(exec("be run by", &interpreter.canonicalize().unwrap_or(interpreter)));
            } else {
                links.push(Link { action: "be run by", decision: judge.child(&target), target });
            }
        }
        // Who calls `env` has two programs started, each by an entry of its own; a script that is listed brings both along.
        let script: Option<Vec<String>> =
            first_line(&file).filter(|_| !own).map(|(interpreter, argument)| {
                let given = argument.into_iter().chain(all.iter().cloned());
                std::iter::once(interpreter.to_string_lossy().into_owned()).chain(given).collect()
            });
        let mut behind = behind(script.as_deref().unwrap_or(&all));
        while let Some(words) = behind {
            let target = ringfence_policy::command_line(words.iter());
            links.push(Link { action: "start further", decision: judge.child(&target), target });
            behind = self::behind(&words);
        }
        if let Some(behind) = wrapped(&file, program) {
            let given = all.iter().skip(1).cloned();
            let target = ringfence_policy::command_line(std::iter::once(behind).chain(given));
            links.push(Link { action: "start further", decision: judge.child(&target), target });
        }
    }
    let name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let start = |start: &str| Link {
        action: "start further",
        target: start.to_owned(),
        decision: child(start, policy, judge, invoker),
    };
    if let Some(packer) = packer(name, &all) {
        links.extend([&format!("/bin/sh -c {packer}"), packer].map(start));
    }
    for need in needs(name, word) {
        links.push(match need {
            Need::Start(command) if command.starts_with('/') && !is_here(command) => continue,
            Need::Start(command) => start(command),
            Need::Part(command) => Link { action: PART, ..start(command) },
            Need::Script(command) => Link { action: "for scripts of packages, start", ..start(command) },
            Need::Pager(command) => Link { action: "at a terminal, start", ..start(command) },
            Need::Network(host) => {
                // Where no host is named, the program is told by its arguments or its configuration: one that no policy names.
                const UNNAMED: &str = "unknown.invalid:443";
                let Ok(endpoint) = Endpoint::parse(host).or_else(|_| Endpoint::parse(UNNAMED)) else {
                    continue;
                };
                let decision = match decide_connect(policy, &endpoint) {
                    Decision::Refuse { by } => {
                        let by = by.to_string().replace(&format!("`{UNNAMED}`"), host);
                        Decision::Refuse { by: Reason::BuiltIn(by) }
                    }
                    decision => decision,
                };
                Link { action: "connect to", target: host.to_owned(), decision }
            }
            Need::Read(path) => {
                let path = path
                    .strip_prefix("~/")
                    .map_or_else(|| PathBuf::from(path), |rest| invoker.home.join(rest));
                Link {
                    action: "read",
                    target: path.display().to_string(),
                    decision: judge.file(&path, Access::Read),
                }
            }
        });
    }
    links
}

/// What Debian's wrapper of PostgreSQL's clients starts, which has their names: that of the newest version.
fn wrapped(file: &Path, program: &str) -> Option<String> {
    file.file_name().filter(|name| *name == "pg_wrapper")?;
    let name = Path::new(program).file_name()?;
    let versions = std::fs::read_dir(POSTGRESQL).ok()?.flatten();
    let found = versions.filter_map(|version| {
        let numbers =
            version.file_name().to_str()?.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>();
        Some((numbers.ok()?, version.path().join("bin").join(name)))
    });
    let (_, newest) = found.filter(|(_, path)| runs(path)).max()?;
    Some(newest.to_string_lossy().into_owned())
}

/// What `env` starts, where it is called with a program first (env(1)), or with its words in one, as `#!` lines do.
pub(crate) fn behind_env(words: &[String]) -> Option<Vec<String>> {
    let (program, rest) = words.split_first()?;
    Path::new(program).file_name().filter(|name| *name == "env")?;
    let (first, rest) = rest.split_first()?;
    let first: Vec<&str> = match first.strip_prefix("-S") {
        Some(line) => line.split_ascii_whitespace().collect(),
        None => vec![first],
    };
    let plain = |word: &&str| !word.starts_with('-') && !word.contains(['=', '\'', '"', '\\', '$']);
    first.first().filter(|word| plain(word))?;
    Some(first.into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect())
}

/// Whether the host has the program that this command begins with, a path.
fn is_here(command: &str) -> bool {
    command.split(' ').next().is_some_and(|program| runs(Path::new(program)))
}

/// What a command starts that stands among its words: behind `env`, or such as run another.
pub(crate) fn behind(words: &[String]) -> Option<Vec<String>> {
    let env = Path::new(words.first()?).file_name()? == "env";
    if env { behind_env(words) } else { wrappers::behind(words).map(<[String]>::to_vec) }
}

/// What tar packs or unpacks with, by its options or an archive's name; it starts that through a shell.
fn packer(name: &str, words: &[String]) -> Option<&'static str> {
    const PACKERS: [(&str, char, &[&str]); 4] = [
        ("gzip", 'z', &[".tar.gz", ".tgz"]),
        ("bzip2", 'j', &[".tar.bz2", ".tbz2"]),
        ("xz", 'J', &[".tar.xz", ".txz"]),
        ("zstd", '\0', &[".tar.zst"]),
    ];
    let rest = words.get(1..).filter(|_| matches!(name, "tar" | "gtar"))?;
    let letters = |at: usize, word: &str| {
        let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        letters.or((at == 0).then_some(word)).unwrap_or_default().to_owned()
    };
    let all: Vec<String> = rest.iter().enumerate().map(|(at, word)| letters(at, word)).collect();
    // The value of one that takes it stands behind it.
    let has = |letter: char| {
        all.iter()
            .any(|word| word.chars().take_while(|own| !"CTXbgHIKLNV".contains(*own)).any(|own| own == letter))
    };
    let told =
        PACKERS.iter().find(|(packer, letter, _)| has(*letter) || rest.contains(&format!("--{packer}")));
    // Only where it reads or is told to, the name says it.
    let named = || {
        let by_name = !has('c') && !has('r') || has('a');
        let ends = |word: &String, endings: &[&str]| endings.iter().any(|end| word.ends_with(end));
        PACKERS.iter().find(|(.., endings)| by_name && rest.iter().any(|word| ends(word, endings)))
    };
    told.or_else(named).map(|(packer, ..)| *packer)
}

/// Whether an entry that begins with this program lets start what it names: a plain name that a directory of PATH has, or an absolute
/// path, in an executable tree, and neither a loader nor many programs in one file.
pub(crate) fn starts(program: &str, search: Option<&OsStr>, trees: &[PathBuf]) -> bool {
    let whole = Path::new(program).is_absolute();
    if program.contains('/') && !whole || program.starts_with('~') || is_any(program) {
        return false;
    }
    let trees: Vec<PathBuf> = trees.iter().filter_map(|tree| tree.canonicalize().ok()).collect();
    let fits = |path: PathBuf| {
        let Some(real) = path.canonicalize().ok().filter(|real| runs(real)) else { return false };
        let name = real.file_name().unwrap_or_default().to_string_lossy();
        !is_loader(&name) && trees.iter().any(|tree| real.starts_with(tree))
    };
    match search.filter(|_| !whole) {
        Some(search) => std::env::split_paths(search).any(|directory| fits(directory.join(program))),
        None => whole && fits(PathBuf::from(program)),
    }
}

/// Whether a command may start this: by its name, or because an entry for it has another name of the same file.
fn child(start: &str, policy: &Policy, judge: &Judge<'_>, invoker: &Invoker) -> Decision {
    let decision = judge.child(start);
    let Some(file) = found(start, invoker).filter(|_| !decision.is_allow()) else { return decision };
    let same = |rule: &Rule<String>| {
        let entry = CommandPattern::parse(&rule.value, &invoker.home.to_string_lossy()).ok()?;
        (found(&entry.program, invoker)? == file).then_some(entry.program)
    };
    if policy.guard.deny.iter().any(|rule| same(rule).is_some()) {
        return decision;
    }
    let listed = policy.commands.iter().flat_map(|commands| &commands.allow);
    let listed = listed.chain(policy.guard.children.programs()).filter_map(same);
    listed.map(|name| judge.child(&name)).find(Decision::is_allow).unwrap_or(decision)
}

/// The file that its name leads to on this host, without links.
fn found(program: &str, invoker: &Invoker) -> Option<PathBuf> {
    named(program, invoker)?.canonicalize().ok()
}

/// The same, as it is named.
pub(crate) fn named(program: &str, invoker: &Invoker) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(invoker.cwd.join(program)).filter(|path| runs(path));
    }
    let path = invoker.variables.get(OsStr::new("PATH"))?;
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(program)).find(|path| runs(path))
}

/// Whether it is a program.
fn runs(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What the `#!` line of a script names.
fn interpreter(file: &Path) -> Option<PathBuf> {
    first_line(file).map(|(interpreter, _)| interpreter)
}

/// The same, and the argument that it gives it (execve(2)).
pub(crate) fn first_line(file: &Path) -> Option<(PathBuf, Option<String>)> {
    let mut head = [0; 256];
    let file = std::fs::File::open(file).ok()?;
    let read = std::os::unix::fs::FileExt::read_at(&file, &mut head, 0).ok()?;
    let line = head.get(..read)?.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = line.trim_ascii();
    let name = line.split(|byte| byte.is_ascii_whitespace()).next()?;
    let argument = line.get(name.len()..).unwrap_or_default().trim_ascii();
    let argument = (!argument.is_empty()).then(|| String::from_utf8_lossy(argument).into_owned());
    Some((Path::new(OsStr::from_bytes(name)).to_path_buf(), argument))
}
