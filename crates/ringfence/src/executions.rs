//! What is written down of a program that was refused.

use std::path::Path;
use std::sync::OnceLock;

use ringfence_leaks::Scanner;
use ringfence_record::Event;
use ringfence_supervise::{Command, Fate, Life, Process};

/// Names behind which a secret stands, in options and variables.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "apikey",
    "api-key",
    "api_key",
    "credential",
    "authorization",
    "auth",
    "bearer",
    "private-key",
];

/// Bytes of the shortest secret that is known by its form.
const SHORTEST: usize = 20;

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
fn remedy(words: &[String], file: &Path, rule: &str) -> Vec<String> {
    if !rule.starts_with("`commands.allow`") {
        return Vec::new();
    }
    let Some(program) = file.file_name() else { return Vec::new() };
    // What no PATH leads to is named whole.
    let found = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"];
    let known = file.parent().is_some_and(|parent| found.iter().any(|path| parent == Path::new(path)));
    let name = if known { Path::new(program) } else { file };
    let mut entry = vec![name.to_string_lossy().into_owned()];
    entry.extend(words.iter().skip(1).cloned());
    // A program alone would be any arguments.
    let none = if entry.len() == 1 { " ()" } else { "" };
    let text = (line(entry.iter()) + none).replace('\\', "\\\\").replace('"', "\\\"");
    vec!["[commands]".into(), format!("allow = [\"{text}\"]")]
}

/// Words as one line, of which the grammar makes the same words.
pub(crate) fn line(words: impl Iterator<Item = impl AsRef<str>>) -> String {
    words.map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word as the grammar of patterns takes it for itself.
fn quoted(word: &str) -> String {
    let plain = |character: char| !character.is_whitespace() && !"'()|*?".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', ""))
    }
}

/// Without what looks like a secret: behind an option or a name that says so, and in the authority of a URL; in scripts too.
pub(crate) fn masked(words: &[String]) -> Vec<String> {
    let mut hide = 0;
    let one = |word: &String| {
        let pieces: Vec<&str> = word.split_inclusive(char::is_whitespace).collect();
        let alone = pieces.len() < 2;
        let shown: String = pieces.into_iter().map(|piece| piece_masked(piece, !alone, &mut hide)).collect();
        // Only an option takes the next argument.
        hide = if alone && word.starts_with('-') { hide } else { 0 };
        shown
    };
    words.iter().map(one).collect()
}

/// A piece without blanks, but one at its end; `hide` says how many of the next are secrets.
fn piece_masked(piece: &str, script: bool, hide: &mut usize) -> String {
    let text = piece.trim_end();
    let blanks = piece.get(text.len()..).unwrap_or_default();
    if text.is_empty() {
        return piece.to_owned();
    }
    // A line, and what a shell ends, end it.
    let last = blanks.contains('\n') || text.ends_with([';', '&', '|']);
    if *hide > 0 {
        *hide = if last { 0 } else { *hide - 1 };
        return format!("***{blanks}");
    }
    let bare = text.trim_start_matches(['"', '\'', '(', '`', '{', '$', ';', '&', '|']);
    let before = text.len() - bare.len();
    let (name, rest) = bare
        .find(['=', ':'])
        .map_or((bare, None), |at| (bare.get(..at).unwrap_or_default(), bare.get(at + 1..)));
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let secret = name.bytes().all(word)
        && !lower.starts_with("--no-")
        && SECRET.iter().any(|own| lower.ends_with(own));
    match rest {
        Some("") if secret && bare.ends_with(':') => {
            // `Authorization: Bearer ...`
            *hide = if last { 0 } else { 2 };
            piece.to_owned()
        }
        Some(value) if secret && !value.is_empty() && !(script && runs(value)) => {
            *hide = usize::from(
                bare.as_bytes().get(name.len()) == Some(&b':')
                    && value.bytes().all(|byte| byte.is_ascii_alphabetic()),
            );
            format!("{}***{blanks}", text.get(..=before + name.len()).unwrap_or_default())
        }
        _ => {
            *hide = usize::from(secret && name.starts_with('-') && rest.is_none() && !last);
            format!("{}{blanks}", without_forms(without_password(text)))
        }
    }
}

/// What a shell is to run is no secret.
fn runs(value: &str) -> bool {
    ["$(", "${", "`"].iter().any(|sign| value.contains(sign))
}

/// Without secrets of well-known forms, wherever they stand in it.
fn without_forms(word: String) -> String {
    // No form is shorter, and the table of them takes a while to make.
    if word.len() < SHORTEST {
        return word;
    }
    static FORMS: OnceLock<Option<Scanner>> = OnceLock::new();
    let Some(forms) = FORMS.get_or_init(|| Scanner::new(&[], true)) else { return word };
    match forms.mask(word.as_bytes()) {
        Ok(None) => word,
        Ok(Some((masked, _))) => String::from_utf8_lossy(&masked).into_owned(),
        Err(_) => "***".to_owned(),
    }
}

/// `scheme://user:password@host` without the password.
fn without_password(word: &str) -> String {
    let parts = word.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (user, host) = authority.rsplit_once('@')?;
        let (user, _) = user.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}{path}"))
    });
    parts.unwrap_or_else(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_written_down() {
        let line = "x --token abc --password=hunter2 -H Authorization:Bearer API_TOKEN=q https://u:p@h/x?y a=b --auth";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let shown = masked(&words).join(" ");
        let expected =
            "x --token *** --password=*** -H Authorization:*** API_TOKEN=*** https://u:***@h/x?y a=b --auth";
        assert_eq!(shown, expected);
        for (script, expected) in [
            ("API_TOKEN=$(cat t) make deploy && git push", "API_TOKEN=$(cat t) make deploy && git push"),
            ("API_TOKEN=abc make deploy && git push", "API_TOKEN=*** make deploy && git push"),
            (": auth:\ntouch x\n: --token\n./run it", ": auth:\ntouch x\n: --token\n./run it"),
            ("Fix the auth: it fails with no-auth", "Fix the auth: *** *** with no-auth"),
            (
                "curl -H 'Authorization: Bearer abc' --token x y",
                "curl -H 'Authorization: *** *** --token *** y",
            ),
            ("x; export SECRET=abc; y", "x; export SECRET=*** y"),
            ("x --no-auth y", "x --no-auth y"),
        ] {
            assert_eq!(masked(&[script.to_owned()]), [expected]);
        }
        assert_eq!(
            masked(&["-H".into(), "Authorization:Basic abc".into(), "x".into()]),
            ["-H", "Authorization:*** ***", "x"]
        );
        let token = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
        let script = format!("curl {token} 'x={token}' https://{token}@host/x y");
        let shown = masked(&["sh".into(), "-c".into(), script, token.into()]);
        assert!(shown.iter().all(|word| !word.contains("aB3dE5fG7")), "{shown:?}");
        assert!(shown[2].starts_with("curl xxxx") && shown[2].ends_with(" y"), "{shown:?}");
    }
}
