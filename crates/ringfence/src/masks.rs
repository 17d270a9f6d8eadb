//! Command lines as they are written down: without what looks like a secret.

use std::sync::OnceLock;

use ringfence_leaks::Scanner;

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
    "cookie",
];

/// Bytes of the shortest secret that is known by its form.
const SHORTEST: usize = 20;
pub(crate) const MASK: &str = "***";

/// Without what stands behind an option or a name that says so, in the authority of a URL, and in a well-known form. A word with blanks is
/// taken for a script: of that nothing is hidden that a shell runs.
pub(crate) fn masked(words: &[String]) -> Vec<String> {
    let curl = words.iter().any(|word| word.rsplit('/').next() == Some("curl"));
    let mut next = false;
    let before = std::iter::once("").chain(words.iter().map(String::as_str));
    let one = |(option, word): (&str, &String)| {
        if std::mem::take(&mut next) {
            return MASK.to_owned();
        }
        if let Some(masked) = curl.then(|| client(option, word)).flatten() {
            return masked;
        }
        if word.contains(char::is_whitespace) {
            return script(word);
        }
        let (name, value) =
            word.split_once(['=', ':']).map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        match value {
            Some(value) if !value.is_empty() && is_secret(name) => {
                format!("{}{MASK}", word.get(..=name.len()).unwrap_or_default())
            }
            None if is_option(name) => {
                next = true;
                word.clone()
            }
            _ => plain(word),
        }
    };
    before.zip(words).map(one).collect()
}

/// What an option of curl(1) says: who asks, and cookies.
fn client(option: &str, word: &str) -> Option<String> {
    const WHO: [&str; 2] = ["--user", "--proxy-user"];
    let long = |word: &str, names: &[&str]| {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        name.len() > 3 && names.iter().any(|own| own.starts_with(name))
    };
    // Letters before it take nothing, as far as they are usual.
    let letter = |word: &str, ends: &[char]| {
        let rest = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?;
        let behind = rest.trim_start_matches(|letter| "sSLkfgivIGNOR0123456#".contains(letter));
        behind.strip_prefix(ends).map(|value| word.len() - value.len())
    };
    let masked = |at: usize, whole: bool| {
        let (head, value) = word.split_at(at);
        match value.split_once(':') {
            _ if whole && value.contains('=') => Some(format!("{head}{MASK}")),
            Some((user, _)) if !whole => Some(format!("{head}{user}:{MASK}")),
            _ => None,
        }
    };
    for (ends, names, whole) in [(&['u', 'U'][..], &WHO[..], false), (&['b'], &["--cookie"], true)] {
        if letter(option, ends) == Some(option.len()) || long(option, names) && !option.contains('=') {
            return masked(0, whole);
        }
        if let Some(at) = letter(word, ends).filter(|at| *at < word.len()) {
            return masked(at, whole);
        }
        if let Some((name, _)) = word.split_once('=').filter(|(name, _)| long(name, names)) {
            return masked(name.len() + 1, whole);
        }
    }
    None
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET.iter().any(|own| lower.ends_with(own))
}

fn is_option(name: &str) -> bool {
    name.starts_with('-') && !name.starts_with("--no-") && is_secret(name)
}

/// What ends a word for a shell.
const ENDS: &[u8] = b";&|()<>`\n\r\t ";

/// A script, or a header of a request.
fn script(text: &str) -> String {
    let (mut out, mut quote, mut begins, mut at) = (String::new(), None, true, 0);
    while let Some(letter) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let name = if begins { name_at(text, at) } else { "" };
        let behind = at + name.len();
        // At the beginning of a word or of a string a header may stand.
        let header = at == 0 || text.get(..at).is_some_and(|before| before.ends_with(['"', '\'']));
        let end = match text.as_bytes().get(behind) {
            Some(b'=') if is_secret(name) => Some((behind + 1, value_end(text, behind + 1, quote))),
            Some(b':') if is_secret(name) && header => {
                let from = behind + 1 + blanks(text, behind + 1);
                Some((from, header_end(text, from, quote)))
            }
            Some(b':') if is_secret(name) => Some((behind + 1, value_end(text, behind + 1, quote))),
            Some(b' ' | b'\t' | b'\\') if is_option(name) => {
                let from = behind + blanks(text, behind);
                Some((from, value_end(text, from, quote)))
            }
            _ => None,
        };
        if let Some((from, to)) = end {
            out.push_str(text.get(at..from).unwrap_or_default());
            out.push_str(if to > from { MASK } else { "" });
            (at, begins) = (to, false);
            continue;
        }
        if !name.is_empty() {
            out.push_str(name);
            (at, begins) = (behind, false);
            continue;
        }
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(own)) if letter == own => quote = None,
            _ => {}
        }
        begins =
            matches!(letter, '"' | '\'' | '{' | '$') || letter.is_ascii() && ENDS.contains(&(letter as u8));
        out.push(letter);
        at += letter.len_utf8();
    }
    out.split_inclusive(char::is_whitespace).map(plain).collect()
}

/// What may be the name of an option, a variable or a header.
fn name_at(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    rest.get(..rest.bytes().take_while(part).count()).unwrap_or_default()
}

/// How many bytes of blanks, and of lines that go on, are there.
fn blanks(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let mut count = 0;
    loop {
        match rest.get(count..).map(str::as_bytes) {
            Some([b' ' | b'\t', ..]) => count += 1,
            Some([b'\\', b'\n', ..]) => count += 2,
            _ => return count,
        }
    }
}

/// Where the value that begins here ends: with its quotes, with the word, or where a shell runs something.
fn value_end(text: &str, at: usize, quote: Option<char>) -> usize {
    let Some(own) =
        text.get(at..).and_then(|rest| rest.chars().next()).filter(|own| matches!(own, '"' | '\''))
    else {
        return run_end(text, at, |byte| {
            ENDS.contains(&byte) || quote.is_some_and(|quote| byte == quote as u8)
        });
    };
    if quote == Some(own) {
        return at;
    }
    let end = string_end(text, at + 1, Some(own));
    end + usize::from(text.get(end..).is_some_and(|rest| rest.starts_with(own)))
}

/// Where a string ends that stands in these quotes, or in none.
fn string_end(text: &str, at: usize, quote: Option<char>) -> usize {
    run_end(text, at, |byte| byte == b'\n' || quote.is_some_and(|quote| byte == quote as u8))
}

/// Where a header ends: outside of quotes also where the next command of a shell would begin.
fn header_end(text: &str, at: usize, quote: Option<char>) -> usize {
    let end = string_end(text, at, quote);
    let next = text.get(at..end).and_then(|value| value.find([';', '&', '|'])).filter(|_| quote.is_none());
    next.map_or(end, |next| at + next)
}

/// Where bytes end that are no `ends`, and begin nothing that a shell runs.
fn run_end(text: &str, at: usize, ends: impl Fn(u8) -> bool) -> usize {
    let bytes = text.as_bytes().get(at..).unwrap_or_default();
    let mut count = 0;
    while let Some(byte) = bytes.get(count) {
        let runs = *byte == b'`' || *byte == b'$' && matches!(bytes.get(count + 1), Some(b'(' | b'{'));
        if runs || ends(*byte) {
            break;
        }
        // What is behind a backslash is a letter like others.
        count += if *byte == b'\\' && bytes.len() > count + 1 { 2 } else { 1 };
    }
    let mut end = at + count;
    while !text.is_char_boundary(end) {
        end += 1;
    }
    end
}

/// A piece that no name says anything of.
fn plain(word: &str) -> String {
    without_forms(without_parameters(&without_password(word)))
}

/// A URL without what parameters of such names hold.
fn without_parameters(word: &str) -> String {
    const NAMES: [&str; 8] = ["key", "sig", "signature", "session", "code", "sid", "pwd", "pass"];
    if !word.contains("://") {
        return word.to_owned();
    }
    let one = |part: &str| match part.split_once('=') {
        // What a shell would run is shown.
        Some((name, value))
            if !value.contains(['$', '`'])
                && (is_secret(name) || NAMES.iter().any(|own| name.eq_ignore_ascii_case(own))) =>
        {
            let end = value.find(['&', '#']).and_then(|at| value.get(at..)).unwrap_or_default();
            format!("{name}={MASK}{end}")
        }
        _ => part.to_owned(),
    };
    let mut parts = word.split_inclusive(['?', '&', '#']);
    let head = parts.next().unwrap_or_default().to_owned();
    parts.fold(head, |out, part| out + &one(part))
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
        Err(_) => MASK.to_owned(),
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
        let expected =
            "x --token *** --password=*** -H Authorization:*** API_TOKEN=*** https://u:***@h/x?y a=b --auth";
        assert_eq!(masked(&words).join(" "), expected);
        let line = "timeout 5 /usr/bin/curl -su me:pw --user=me:pw --us me:pw -Ume:pw --proxy-user=me:pw -b session=x -bs=x --cookie=s=x https://h/x?a=b&api_key=q&Key=x&key=$(id)#access_token=q -d u:p";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let expected = "timeout 5 /usr/bin/curl -su me:*** --user=me:*** --us me:*** -Ume:*** --proxy-user=me:*** -b *** -b*** --cookie=*** https://h/x?a=b&api_key=***&Key=***&key=$(id)#access_token=*** -d u:p";
        assert_eq!(masked(&words).join(" "), expected);
        let token = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
        let script = format!("curl {token} 'x={token}' https://{token}@host/x y");
        let shown = masked(&["sh".into(), "-c".into(), script, token.into()]);
        assert!(shown.iter().all(|word| !word.contains("aB3dE5fG7")), "{shown:?}");
        assert!(shown[2].starts_with("curl xxxx") && shown[2].ends_with(" y"), "{shown:?}");
    }

    #[test]
    fn of_a_script_secrets_are_hidden_and_what_it_runs_is_not() {
        for (script, expected) in [
            ("API_TOKEN=abc make deploy && git push", "API_TOKEN=*** make deploy && git push"),
            ("API_TOKEN=$(cat t) make deploy", "API_TOKEN=$(cat t) make deploy"),
            ("DB_PASSWORD=abc${X:-} make", "DB_PASSWORD=***${X:-} make"),
            ("x; export SECRET=abc; y", "x; export SECRET=***; y"),
            ("X_TOKEN=a;./evil;: && make", "X_TOKEN=***;./evil;: && make"),
            ("x_token=$(touch${IFS}y)\nx", "x_token=$(touch${IFS}y)\nx"),
            ("curl -H 'Authorization: Bearer abc' --token x y", "curl -H 'Authorization: ***' --token *** y"),
            ("curl -H \"Authorization: Bearer $(./evil)\" y", "curl -H \"Authorization: ***$(./evil)\" y"),
            ("curl -d 'password=a b' h", "curl -d 'password=*** b' h"),
            (
                "curl -d \"user=x&password=hunter2&t=$(date)\" h",
                "curl -d \"user=x&password=***&t=$(date)\" h",
            ),
            ("PASSWORD='a;b c' make", "PASSWORD=*** make"),
            ("PASSWORD=a\\ b make", "PASSWORD=*** make"),
            ("x --token \\\n  abc y", "x --token \\\n  *** y"),
            ("x --token \"a b\" y", "x --token *** y"),
            ("x --token; ./evil it", "x --token; ./evil it"),
            ("x --no-auth y", "x --no-auth y"),
            ("Fix the auth: it fails with no-auth", "Fix the auth: it fails with no-auth"),
            ("echo auth: >/dev/null|./evil it", "echo auth: >/dev/null|./evil it"),
            (": auth:\ntouch x\n: --token\n./run it", ": auth:\ntouch x\n: --token\n./run it"),
            ("Authorization: Basic abc", "Authorization: ***"),
            ("auth: x; ./evil it", "auth: ***; ./evil it"),
            ("X-Api-Key: ä ö ü", "X-Api-Key: ***"),
            ("passwort=ü token=äö ß", "passwort=ü token=*** ß"),
            ("PASSWORD=\\ä x \\", "PASSWORD=*** x \\"),
            ("token=", "token="),
            ("token='", "token=***"),
        ] {
            assert_eq!(super::script(script), expected, "{script}");
        }
    }
}
