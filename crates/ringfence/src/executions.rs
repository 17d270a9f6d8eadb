//! What is written down of a program that was refused.

use std::path::Path;

use ringfence_policy::{BESIDE, CommandPattern, command_line};
use ringfence_record::Event;
use ringfence_supervise::{Command, Fate, Life, Process};

use crate::masks::masked;

/// The event of one.
pub(crate) fn event(command: &Command, process: i32, program: String) -> Event {
    let words: Vec<String> =
        command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (file, rule) = (command.file.to_string_lossy().into_owned(), command.rule.clone());
    match &command.fate {
        Fate::Refused => {}
        Fate::Changed => return Event::ExecTamper { command: masked(&words), file, process, program, rule },
        Fate::Cleaned(names) => {
            let variables = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            return Event::ExecClean { command: masked(&words), file, variables, process, times: 1, rule };
        }
    }
    let shown = masked(&words);
    Event::ExecDeny {
        // A line of policy with a secret in it, or without, helps nobody.
        remedy: if shown == words { remedy(&words, Path::new(&command.file), &rule) } else { Vec::new() },
        rule: masked(&[rule]).concat(),
        command: shown,
        parent: (process != 0).then_some(command.parent),
        file,
        directory: command.directory.to_string_lossy().into_owned(),
        process,
        program,
        times: 1,
    }
}

/// The event of a program that starts or has ended.
pub(crate) fn life(process: &Process) -> Event {
    let number = process.process;
    match &process.life {
        Life::Began { command, digest } => {
            let words: Vec<String> =
                command.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            Event::ProcessStart {
                process: number,
                parent: command.parent,
                file: command.file.to_string_lossy().into_owned(),
                sha256: digest.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
                command: masked(&words),
                directory: command.directory.to_string_lossy().into_owned(),
            }
        }
        Life::Ended { file, exit, signal, milliseconds, user, system, memory } => Event::ProcessEnd {
            process: number,
            file: file.to_string_lossy().into_owned(),
            exit: *exit,
            signal: *signal,
            duration_ms: *milliseconds,
            user_ms: *user,
            system_ms: *system,
            memory_kib: *memory,
            times: 1,
        },
    }
}

/// Of programs that were not written down one by one.
pub(crate) fn more(times: u64) -> Event {
    Event::ProcessEnd {
        process: 0,
        file: String::new(),
        exit: None,
        signal: None,
        duration_ms: 0,
        user_ms: None,
        system_ms: None,
        memory_kib: None,
        times,
    }
}

/// The line that would allow it; none where a rule has to go first.
pub(crate) fn remedy(words: &[String], file: &Path, rule: &str) -> Vec<String> {
    // A script that needs another entry says which.
    if let Some((_, entry)) = rule.rsplit_once(BESIDE) {
        return allow(entry.strip_suffix('`').unwrap_or(entry));
    }
    if !rule.starts_with("`commands.allow`") {
        return Vec::new();
    }
    let Some(program) = file.file_name() else { return Vec::new() };
    // What no PATH leads to is named whole.
    let found = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"];
    let known = file.parent().is_some_and(|parent| found.iter().any(|path| parent == Path::new(path)));
    let name = if known { Path::new(program) } else { file };
    let mut entry = vec![command_line([name.to_string_lossy()].iter())];
    // A home is none, in quotes neither: any one byte and what follows.
    entry.extend(words.iter().skip(1).map(|word| match word.strip_prefix("~/") {
        Some(_) => format!("?{}", command_line(word.get(1..).iter())),
        None => command_line([word].iter()),
    }));
    // A program alone would be any arguments.
    entry.extend((entry.len() == 1).then(|| "()".to_owned()));
    let entry = entry.join(" ");
    // Some can be named by no entry, such as absolute paths with `..`.
    if CommandPattern::parse(&entry, "/").is_ok() { allow(&entry) } else { Vec::new() }
}

/// An entry, as a file holds it. Control characters no file may hold: each stands between quotes, and is any one byte.
fn allow(entry: &str) -> Vec<String> {
    let entry = entry.split(|letter: char| letter.is_control()).collect::<Vec<_>>().join("'?'");
    let text = entry.replace('\\', "\\\\").replace('"', "\\\"");
    vec!["[commands]".into(), format!("allow = [\"{text}\"]")]
}
