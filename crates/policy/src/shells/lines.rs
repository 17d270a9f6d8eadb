//! Command lines of awk, make and sed: whether code stands in them, or comes from an input.

use super::options::{Part, assigns_code};
use super::sed::executes;

/// What stands for its input (of Perl and Node an empty name does), or for what some process has open.
pub(super) fn input(file: &str, directory: &str) -> bool {
    file.is_empty() || file == "-" || descriptor(file, directory)
}

/// What is no file of its own: a pipe, a terminal, or what some process has open; as far as its name says.
pub(super) fn descriptor(file: &str, directory: &str) -> bool {
    let below = |file: &str| format!("{directory}/{file}");
    let mut whole = if file.starts_with('/') { file.to_owned() } else { below(file) };
    // Its own directory is known.
    if let ["proc", "self" | "thread-self", "cwd", rest @ ..] = names(&whole).as_slice() {
        whole = below(&rest.join("/"));
    }
    match names(&whole).as_slice() {
        // That of another may be one of devices or descriptors.
        ["proc", _, "cwd", rest @ ..] => {
            let device = |name: &&str| {
                name.bytes().all(|byte| byte.is_ascii_digit())
                    || ["stdin", "tty", "console", "ptmx"].iter().any(|own| name.starts_with(own))
            };
            rest.first().is_some_and(|first| ["dev", "proc"].contains(first))
                || rest.last().is_some_and(device)
        }
        ["dev", "null" | "zero" | "full" | "shm", ..] => false,
        ["dev" | "proc", ..] => true,
        _ => false,
    }
}

pub(super) fn names(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// Where a program may be when it reads its files: it goes to each of these directories in turn.
pub(super) fn directories<'a>(directory: &str, gone: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all = vec![directory.to_owned()];
    for to in gone {
        let from = all.last().filter(|_| !to.starts_with('/'));
        all.push(from.map_or_else(|| to.to_owned(), |from| format!("{from}/{to}")));
    }
    all
}

pub(super) fn awk(parts: &[Part<'_>], directory: &str) -> Option<String> {
    let code = [('e', "source"), ('E', "exec"), ('i', "include"), ('l', "load"), ('D', "debug")];
    // Another way to write a long option (POSIX, Utility Syntax Guidelines, 1), and mawk's way.
    let named = |value: &str| {
        let name = value.split('=').next().unwrap_or_default();
        let mut names = code.iter().map(|(_, name)| *name).chain(["file"]);
        !name.is_empty() && names.any(|own| own.starts_with(name))
    };
    let files: Vec<&Part<'_>> = parts.iter().filter(|part| part.is('f', &["file"])).collect();
    if files.iter().any(|part| input(part.value(), directory)) {
        Some("code from its input".into())
    } else if files.is_empty()
        || parts.iter().any(|part| {
            code.iter().any(|(letter, name)| part.is(*letter, &[name]))
                || matches!(part, Part::Short('W', value) if named(value))
        })
    {
        Some("a program on the command line".into())
    } else {
        None
    }
}

pub(super) fn make(parts: &[Part<'_>], directory: &str) -> Option<String> {
    let gone = parts.iter().filter(|part| part.is('C', &["directory"])).map(Part::value);
    let mut directories = directories(directory, gone);
    // BSD's looks for makefiles there, too.
    let found: Vec<_> = directories
        .last()
        .into_iter()
        .flat_map(|last| {
            let looked = parts.iter().filter(|part| part.is('I', &["include-dir"]) || part.is('m', &[]));
            looked.map(move |part| match part.value() {
                whole if whole.starts_with('/') => whole.to_owned(),
                value => format!("{last}/{value}"),
            })
        })
        .collect();
    directories.extend(found);
    let input = |file: &str| directories.iter().any(|directory| input(file, directory));
    parts.iter().find_map(|part| {
        if part.is('f', &["file", "makefile"]) && input(part.value()) {
            return Some("code from its input".to_owned());
        }
        // What stands in a variable, or in a target, is expanded.
        let word = matches!(part, Part::Word(word) if word.contains("$(") || word.contains("${") || assigns_code(word));
        (part.is('E', &["eval"]) || word).then(|| part.value().to_owned())
    })
}

/// `e` as a command, the flag of `s`, and files of commands from a descriptor.
pub(super) fn sed(parts: &[Part<'_>], directory: &str) -> Option<String> {
    let is = |letter: char, name: &'static str| move |part: &&Part<'_>| part.is(letter, &[name]);
    // A script among the options is read before those that follow, and where POSIXLY_CORRECT is set, options end at the first word.
    let script = |part: &Part<'_>| {
        matches!(part, Part::Word(_)) || part.is('e', &["expression"]) || part.is('f', &["file"])
    };
    let scripted = parts.iter().position(script);
    if parts.iter().take(scripted.unwrap_or(parts.len())).any(|part| matches!(part, Part::Long("sandbox", _)))
    {
        return None;
    }
    let mut files = parts.iter().filter(is('f', "file")).peekable();
    let given = files.peek().is_some();
    if files.any(|part| input(part.value(), directory)) {
        return Some("code from its input".into());
    }
    // A file between two may end what the first one begins (`a\`), or not.
    let mut runs = vec![Vec::new()];
    for part in parts {
        if is('f', "file")(&part) {
            runs.push(Vec::new());
        } else if is('e', "expression")(&part) {
            runs.last_mut().into_iter().for_each(|run| run.push(part.value()));
        }
    }
    let mut scripts = runs.concat();
    if scripts.is_empty() && !given {
        scripts.extend(parts.iter().find(|part| matches!(part, Part::Word(_))).map(Part::value));
    }
    let alone = runs.iter().skip(1).map(|run| run.join("\n"));
    std::iter::once(scripts.join("\n")).chain(alone).find(|script| executes(script))
}
