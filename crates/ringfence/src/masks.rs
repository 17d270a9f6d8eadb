//! Command lines as they are written down: without what looks like a secret.
//!
//! Any word may be a script, and whoever reads it may be about to allow it. So a mask lies on letters alone that no shell acts upon, and
//! directly behind a name that is shown; a secret that holds others is shown from there on.

use std::sync::OnceLock;

use ringfence_leaks::{Scanner, looks_random};
use ringfence_policy::runs_code;

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
    "secret-key",
    "secret_key",
    "access-key",
    "access_key",
    "_pass",
    "_pwd",
    "cookie",
];
/// Settings of git and npm with such names hold commands.
const COMMANDS: &[&str] = &["alias.", "pager.", "scripts."];
/// Options with such names that take nothing.
const BARE: &[&str] = &["--anyauth", "--proxy-anyauth"];
/// Clients whose option for a password takes nothing, or only what stands behind `=`.
const ASKING: &[&str] = &["psql", "pg_", "createdb", "dropdb", "vacuumdb", "mysql", "mariadb"];
/// What is in the names of cookies that say who somebody is, and in those of no variable that a shell reads.
const SESSIONS: &[&str] = &["sess", "sid", "jwt", "sso", "csrf", "xsrf", "login"];
/// What stands before the secret in a header (RFC 9110, section 11.1).
const SCHEMES: &[&str] = &["basic", "bearer", "token", "apikey", "digest", "negotiate"];

/// What ends a word for a shell, or begins what it runs.
const ENDS: &[u8] = b";&|()<>`\n\r\t ";
/// What else it acts upon. Of quotes nobody knows here which of them begin a string.
const ACTS: &[u8] = b"$\\{}'\"";

/// Bytes of the shortest secret that is known by its form.
const SHORTEST: usize = 20;
pub(crate) const MASK: &str = "***";

/// Without what stands behind an option or a name that says so, in the authority of a URL, and in a well-known form.
pub(crate) fn masked(words: &[String]) -> Vec<String> {
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let curl = words.iter().any(|word| base(word) == "curl");
    let asks = words.iter().any(|word| ASKING.iter().any(|own| base(word).starts_with(own)));
    let (mut next, mut code) = (false, false);
    let before = std::iter::once("").chain(words.iter().map(String::as_str));
    let one = |(option, word): (&str, &String)| {
        // What stands behind letters of a shell's, such as `csh --secret`, may be what it runs.
        code = runs_code(&base(option)).is_some() || code && option.starts_with('-');
        if std::mem::take(&mut next) && is_value(word, 0, option.starts_with("--") && !code && !asks) {
            return hidden(word, 0, true);
        }
        if let Some(masked) = curl.then(|| client(option, word)).flatten() {
            return masked;
        }
        next = is_option(word);
        scan(word, 0, None)
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
    let masked = |at: usize, cookies: bool| {
        let (head, value) = word.split_at(at);
        let (name, _) = value.split_once(if cookies { '=' } else { ':' })?;
        Some(match cookies {
            true => format!("{head}{}", scan(value, 0, Some(true))),
            false => format!("{head}{name}:{}", hidden(value, name.len() + 1, false)),
        })
    };
    for (ends, names, cookies) in [(&['u', 'U'][..], &WHO[..], false), (&['b'], &["--cookie"], true)] {
        if letter(option, ends) == Some(option.len()) || long(option, names) && !option.contains('=') {
            return masked(0, cookies);
        }
        if let Some(at) = letter(word, ends).filter(|at| *at < word.len()) {
            return masked(at, cookies);
        }
        if let Some((name, _)) = word.split_once('=').filter(|(name, _)| long(name, names)) {
            return masked(name.len() + 1, cookies);
        }
    }
    None
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET.iter().any(|own| lower.ends_with(own)) && !COMMANDS.iter().any(|own| lower.starts_with(own))
}

/// Letters that can be many options at once, or one with its value, are one all the same: [`is_value`] decides.
fn is_option(name: &str) -> bool {
    name.starts_with('-')
        && !name.starts_with("--no-")
        && !BARE.contains(&name)
        && name_at(name, 0).len() == name.len()
        && is_secret(name)
}

/// Whether what begins here is the value of the option before it. If that is not sure, it could as well be a program: then one that
/// looks like a secret is.
fn is_value(text: &str, at: usize, sure: bool) -> bool {
    let from = at + text.get(at..).map_or(0, |rest| rest.len() - rest.trim_start_matches(['\'', '"']).len());
    let value = text.get(from..run(text, from, false)).unwrap_or_default();
    looks_random(value.as_bytes()) || sure && !value.starts_with('-')
}

/// A word, or a script, from here on; `cookies`: the values of cookies stand there, and whether the first one does.
fn scan(text: &str, from: usize, mut cookies: Option<bool>) -> String {
    let (mut out, mut begins, mut at) = (String::new(), true, from);
    while let Some(letter) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let name = if begins { name_at(text, at) } else { "" };
        let behind = at + name.len();
        let lower = name.to_ascii_lowercase();
        let session = cookies.is_some_and(|first| first || SESSIONS.iter().any(|own| lower.contains(own)));
        let value = match text.as_bytes().get(behind) {
            Some(b'=') if is_secret(name) && is_run(text, at) && !is_value(text, behind + 1, false) => None,
            Some(b'=') if is_secret(name) || session && !name.is_empty() => Some((behind + 1, false)),
            Some(b':') if lower.ends_with("cookie") => {
                cookies = Some(true);
                let from = behind + 1 + blanks(text, behind + 1);
                out.push_str(text.get(at..from).unwrap_or_default());
                at = from;
                continue;
            }
            Some(b':') if is_secret(name) => header(text, at, behind),
            Some(b' ' | b'\t' | b'\\') if is_option(name) && begins_word(text, at) => {
                let from = behind + blanks(text, behind);
                is_value(text, from, name.starts_with("--")).then_some((from, false))
            }
            _ => None,
        };
        cookies = cookies.map(|first| first && name.is_empty());
        if let Some((from, blanks)) = value {
            out.push_str(text.get(at..from).unwrap_or_default());
            (at, begins) = (cover(text, from, blanks, &mut out), false);
            continue;
        }
        if !name.is_empty() {
            out.push_str(name);
            (at, begins) = (behind, false);
            continue;
        }
        if matches!(letter, '"' | '\'' | '\n') {
            cookies = None;
        }
        begins = "\"'$=:@,".contains(letter) || letter.is_ascii() && ENDS.contains(&(letter as u8));
        out.push(letter);
        at += letter.len_utf8();
    }
    out.split_inclusive(char::is_whitespace).map(plain).collect()
}

/// Whether what is said there to have this value may be started: as an alias, or since a command of the script is a variable.
fn is_run(text: &str, at: usize) -> bool {
    const BEFORE: [&str; 10] = ["do", "then", "else", "exec", "eval", "sudo", "env", "time", "nohup", "!"];
    let starts = |before: &str| {
        let before = before.trim_end_matches([' ', '\t', '"', '\'', '{']);
        let word = before.rsplit(|letter: char| letter.is_whitespace()).next().unwrap_or_default();
        before.is_empty() || before.ends_with([';', '&', '|', '(', '`', '\n']) || BEFORE.contains(&word)
    };
    let before = text.get(..at).unwrap_or_default();
    let command = before.rsplit([';', '&', '|', '(', '`', '\n']).next().unwrap_or_default();
    command.trim_start().trim_start_matches(['\'', '"']).starts_with("alias")
        || text.match_indices('$').any(|(at, _)| starts(text.get(..at).unwrap_or_default()))
}

/// Where the secret of a header begins that has this name, if there may be one, and whether blanks are part of it.
fn header(text: &str, at: usize, behind: usize) -> Option<(usize, bool)> {
    let mut from = behind + 1 + blanks(text, behind + 1);
    let scheme = name_at(text, from);
    let told = SCHEMES.iter().any(|own| scheme.eq_ignore_ascii_case(own));
    let after = from + scheme.len();
    let told = told && blanks(text, after) > 0;
    if told {
        from = after + blanks(text, after);
    }
    // Behind a blank the next command may stand, as in `env 'A='auth: ./it`.
    let string = text.get(..at).is_some_and(|before| before.ends_with(['"', '\'']));
    let fine = at == 0 || from == behind + 1 || string && (told || is_value(text, from, false));
    fine.then_some((from, at == 0))
}

/// Whether a shell's word begins here.
fn begins_word(text: &str, at: usize) -> bool {
    match text.as_bytes().get(..at) {
        Some([.., b'\\', _]) | None => false,
        Some([.., last]) => ENDS.contains(last),
        Some([]) => true,
    }
}

/// What may be the name of an option, a variable or a header.
fn name_at(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or_default();
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    rest.get(..rest.bytes().take_while(part).count()).unwrap_or_default()
}

/// How many bytes of blanks, of those that begin a word, and of lines that go on, are there.
fn blanks(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let mut count = 0;
    loop {
        match rest.get(count..).map(str::as_bytes) {
            Some([b' ' | b'\t', ..]) => count += 1,
            Some([b'\\', b'\n' | b' ' | b'\t', ..]) => count += 2,
            _ => return count,
        }
    }
}

/// A value that begins here, and what stands behind it.
fn hidden(text: &str, at: usize, blanks: bool) -> String {
    let mut out = String::new();
    let at = cover(text, at, blanks, &mut out);
    out + &scan(text, at, None)
}

/// Masks a value that begins here, but for quotes; where it ends, with the word or before what a shell acts upon. A path is none.
fn cover(text: &str, mut at: usize, blanks: bool, out: &mut String) -> usize {
    let value = text.get(at..).unwrap_or_default().trim_start_matches(['\'', '"']);
    let whole = value.get(..run(value, 0, false)).unwrap_or_default();
    // Letters of base64 begin so, too.
    let random = || whole.split('/').any(|part| looks_random(part.as_bytes()));
    if ["/", "./", "../", "~"].iter().any(|own| value.starts_with(own)) && !random() {
        return at;
    }
    loop {
        let end = run(text, at, blanks);
        out.push_str(if end > at { MASK } else { "" });
        at = end;
        match text.as_bytes().get(at) {
            Some(quote @ (b'\'' | b'"')) => out.push(char::from(*quote)),
            _ => return at,
        }
        at += 1;
    }
}

/// Where bytes end on which no shell acts.
fn run(text: &str, at: usize, blanks: bool) -> usize {
    let (before, rest) = text.as_bytes().split_at_checked(at).unwrap_or_default();
    // There a comma is between two words.
    let braces = before.contains(&b'{');
    let acts = |byte: &u8| match byte {
        b' ' => !blanks,
        b',' => braces,
        byte => byte.is_ascii_control() || ENDS.contains(byte) || ACTS.contains(byte),
    };
    rest.iter().position(acts).map_or(text.len(), |count| at + count)
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
    let mut end = 0;
    let mut one = |part: &str| {
        let begin = end;
        end += part.len();
        let is = |name: &str| is_secret(name) || NAMES.iter().any(|own| name.eq_ignore_ascii_case(own));
        let (name, _) = part.split_once('=').filter(|(name, _)| begin > 0 && is(name))?;
        let mut out = format!("{name}=");
        let body = word.get(..end)?;
        let body = body.strip_suffix('#').unwrap_or(body);
        let at = cover(body, begin + name.len() + 1, false, &mut out);
        Some(out + word.get(at..end)?)
    };
    word.split_inclusive(['?', '&', '#']).map(|part| one(part).unwrap_or_else(|| part.to_owned())).collect()
}

/// Without secrets of well-known forms, wherever they stand in it.
fn without_forms(word: String) -> String {
    // No form is shorter, and the table of them takes a while to make.
    if word.len() < SHORTEST {
        return word;
    }
    static FORMS: OnceLock<Option<Scanner>> = OnceLock::new();
    let Some(forms) = FORMS.get_or_init(|| Scanner::new(&[], true)) else { return word };
    let masked = match forms.mask(word.as_bytes()) {
        Ok(None) => return word,
        Ok(Some((masked, _))) if masked.len() == word.len() => masked,
        // What cannot be replaced by as many letters.
        _ => {
            let part = |letter: char| !(letter.is_ascii_alphanumeric() || "_-./+~=".contains(letter));
            let one = |piece: &str| {
                let own = piece.trim_end_matches(part);
                let end = piece.get(own.len()..).unwrap_or_default();
                if looks_random(own.as_bytes()) { format!("{MASK}{end}") } else { piece.to_owned() }
            };
            return word.split_inclusive(part).map(one).collect();
        }
    };
    let acts = |(old, new): (&u8, &u8)| old != new && (*old == b'$' || ENDS.contains(old));
    let end = word.as_bytes().iter().zip(&masked).position(acts).unwrap_or(word.len());
    let shown = [masked.get(..end), word.as_bytes().get(end..)].map(Option::unwrap_or_default).concat();
    String::from_utf8_lossy(&shown).into_owned()
}

/// `scheme://user:password@host` without the password.
fn without_password(word: &str) -> String {
    let parts = word.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (user, _) = rest.get(..end)?.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        let from = scheme.len() + "://".len() + name.len() + 1;
        let to = run(word, from, false).min(scheme.len() + "://".len() + user.len());
        let mask = if to > from { MASK } else { "" };
        Some(format!("{}{mask}{}", word.get(..from)?, word.get(to..)?))
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
        let expected = "timeout 5 /usr/bin/curl -su me:*** --user=me:*** --us me:*** -Ume:*** --proxy-user=me:*** -b session=*** -bs=*** --cookie=s=*** https://h/x?a=b&api_key=***&Key=***&key=$(id)#access_token=*** -d u:p";
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
            ("alias auth=poweroff\nauth -f", "alias auth=poweroff\nauth -f"),
            ("TOKEN=rm B_TOKEN=-rf; $TOKEN $B_TOKEN src", "TOKEN=rm B_TOKEN=-rf; $TOKEN $B_TOKEN src"),
            ("TOKEN=rm; if true; then \"${TOKEN}\" x; fi", "TOKEN=rm; if true; then \"${TOKEN}\" x; fi"),
            ("TOKEN=6f1ed002ab5595859014ebf0951522d9; $CURL -H $TOKEN", "TOKEN=***; $CURL -H $TOKEN"),
            ("TOKEN=abc; curl -H \"$TOKEN\" h", "TOKEN=***; curl -H \"$TOKEN\" h"),
            ("npm pkg set scripts.auth=evil", "npm pkg set scripts.auth=evil"),
            (
                "AWS_SECRET_ACCESS_KEY=a DB_PASS=b MYSQL_PWD=c x",
                "AWS_SECRET_ACCESS_KEY=*** DB_PASS=*** MYSQL_PWD=*** x",
            ),
            ("curl --anyauth https://x.example/up", "curl --anyauth https://x.example/up"),
            ("id --token /abc+Zx81kQp0aLw93RtYbn47Vd/def", "id --token ***"),
            ("id --token /usr/bin/id", "id --token /usr/bin/id"),
            ("x --token \\ abc; y", "x --token \\ ***; y"),
            ("API_TOKEN=$(cat t) make deploy", "API_TOKEN=$(cat t) make deploy"),
            ("DB_PASSWORD=abc${X:-} make", "DB_PASSWORD=***${X:-} make"),
            ("x; export SECRET=abc; y", "x; export SECRET=***; y"),
            ("X_TOKEN=a;./evil;: && make", "X_TOKEN=***;./evil;: && make"),
            ("x_token=$(touch${IFS}y)\nx", "x_token=$(touch${IFS}y)\nx"),
            (
                "curl -H 'Authorization: Bearer abc' --token x y",
                "curl -H 'Authorization: Bearer ***' --token *** y",
            ),
            (
                "curl -H \"Authorization: Bearer $(./evil)\" y",
                "curl -H \"Authorization: Bearer $(./evil)\" y",
            ),
            ("curl -d 'password=a b' h", "curl -d 'password=*** b' h"),
            (
                "curl -d \"user=x&password=hunter2&t=$(date)\" h",
                "curl -d \"user=x&password=***&t=$(date)\" h",
            ),
            ("PASSWORD='a;b c' make", "PASSWORD='***;b c' make"),
            ("PASSWORD=a\\ b make", "PASSWORD=***\\ b make"),
            ("x --token \\\n  abc y", "x --token \\\n  *** y"),
            ("x --token \"a b\" y", "x --token \"*** b\" y"),
            ("x --token; ./evil it", "x --token; ./evil it"),
            ("x --no-auth y", "x --no-auth y"),
            ("Fix the auth: it fails with no-auth", "Fix the auth: it fails with no-auth"),
            ("echo auth: >/dev/null|./evil it", "echo auth: >/dev/null|./evil it"),
            (": auth:\ntouch x\n: --token\n./run it", ": auth:\ntouch x\n: --token\n./run it"),
            ("Authorization: Basic abc", "Authorization: Basic ***"),
            ("auth: x; ./evil it", "auth: ***; ./evil it"),
            ("X-Api-Key: ä ö ü", "X-Api-Key: ***"),
            ("passwort=ü token=äö ß", "passwort=ü token=*** ß"),
            ("PASSWORD=\\ä x \\", "PASSWORD=\\ä x \\"),
            ("token=", "token="),
            ("token='", "token='"),
            ("curl -H 'Cookie: a=b; PHPSESSID=c; PATH=d'", "curl -H 'Cookie: a=***; PHPSESSID=***; PATH=d'"),
            ("curl -H 'X-Auth-Token: 6f1ed002ab5595859014ebf0951522d9' h", "curl -H 'X-Auth-Token: ***' h"),
            ("npm --//x.example/:_authToken=abc i", "npm --//x.example/:_authToken=*** i"),
            ("x -secret 6f1ed002ab5595859014ebf0951522d9", "x -secret ***"),
            ("TOKEN=a'b'\"c\" x", "TOKEN=***'***'\"***\" x"),
        ] {
            assert_eq!(scan(script, 0, None), expected, "{script}");
        }
    }

    #[test]
    fn what_a_shell_would_run_is_shown_in_every_word() {
        let token = "6f1ed002ab5595859014ebf0951522d9";
        for (words, expected) in [
            ("sh·-c·x-token=a;./evil", "sh·-c·x-token=***;./evil"),
            ("sh·-c·X_TOKEN=$(id)", "sh·-c·X_TOKEN=$(id)"),
            ("sh·-c·TOKEN:a|b", "sh·-c·TOKEN:***|b"),
            ("bash·-c·-auth·evil it", "bash·-c·-auth·evil it"),
            ("bash·-secret·evil", "bash·-secret·evil"),
            ("csh·--secret·evil it", "csh·--secret·evil it"),
            ("csh·-x·--secret·evil it", "csh·-x·--secret·evil it"),
            ("python3·-I·x.py·--token·abc", "python3·-I·x.py·--token·***"),
            ("env·-uauth·evil", "env·-uauth·evil"),
            ("sudo·-password·evil", "sudo·-password·evil"),
            ("x·--auth·a; evil", "x·--auth·***; evil"),
            ("x·--auth·$(evil)", "x·--auth·$(evil)"),
            ("x·--auth·./evil it", "x·--auth·./evil it"),
            ("x·--auth·-c·evil", "x·--auth·-c·evil"),
            ("gpg·--passphrase·correct horse battery", "gpg·--passphrase·***"),
            ("bash·-c·-b·x=1;./evil·curl", "bash·-c·-b·x=***;./evil·curl"),
            ("bash·-c·-b·./evil=x·curl", "bash·-c·-b·./evil=x·curl"),
            ("bash·-c·-u·x:$(evil)·curl", "bash·-c·-u·x:$(evil)·curl"),
            ("git·-c·alias.auth=!evil·auth", "git·-c·alias.auth=!evil·auth"),
            ("x://u:$(evil)@h", "x://u:$(evil)@h"),
            ("x://u:a`evil`@h", "x://u:***`evil`@h"),
            ("x://u:a;evil&b|c@h", "x://u:***;evil&b|c@h"),
            ("https://h/?key=a;evil&sig=b", "https://h/?key=***;evil&sig=***"),
            ("X_TOKEN=<(evil)", "X_TOKEN=<(evil)"),
            ("API_TOKEN=a>~/.x", "API_TOKEN=***>~/.x"),
        ] {
            let words: Vec<String> = words.split('·').map(str::to_owned).collect();
            assert_eq!(masked(&words).join("·"), expected);
        }
        let shown = masked(&["bash".into(), "-token".into(), token.into(), format!("x --auth {token}")]);
        assert_eq!(shown.join(" "), "bash -token *** x --auth ***");
        // Quotes that are none, and such as end where one might think that they begin.
        for script in [
            "true \\' TOKEN='; ./evil; '",
            "true $'\\' TOKEN='; ./evil; '",
            "# don't\n: 'TOKEN='; ./evil; ''",
            "echo 'a\\' TOKEN=x; ./evil '",
            "env 'a= 'auth: ./evil ''",
            "env 'a'auth:x=$y ./evil",
            "env A='--token' ./evil",
            "env A=x\\ --token evil",
            "sh -c 'auth: $x; ./evil it'",
            "sh -c \"sh -c 'auth: ;./evil it'\"",
            "eval TOKEN=\\;./evil",
            "${X_TOKEN:-./evil}",
            "${X_TOKEN:=evil}",
            "env {TOKEN=,evil}",
            "env {\"TOKEN=\",evil}",
        ] {
            assert!(masked(&[script.into()]).concat().contains("evil"), "{script}");
        }
    }

    #[test]
    fn no_mask_lies_on_what_a_shell_acts_upon() {
        let parts = [
            "TOKEN",
            "=",
            ":",
            " ",
            "'",
            "\"",
            "\\",
            "$",
            "(",
            ")",
            "{",
            "}",
            ";",
            "|",
            "&",
            "<",
            ">",
            "`",
            "\n",
            "a",
            "/",
            "--token",
            "-auth",
            "auth: ",
            "Authorization: Bearer ",
            "cookie: a=b; sid=",
            "https://u:",
            "@",
            "?key=",
            "#",
            ",",
        ];
        let acts = |text: &str| -> String {
            text.chars().filter(|letter| "'\"\\$(){};|&<>`\n".contains(*letter)).collect()
        };
        let mut state = 7_u64;
        let mut pick = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 40).unwrap() % most
        };
        for _ in 0..20_000 {
            let word = |pick: &mut dyn FnMut(usize) -> usize| -> String {
                (0..pick(14)).map(|_| parts[pick(parts.len())]).collect()
            };
            let first = ["curl", "sh", "-b", "-u", "--token", "-auth", "x"][pick(7)].to_owned();
            let words = vec!["curl".to_owned(), first, word(&mut pick), word(&mut pick)];
            for (word, shown) in words.iter().zip(masked(&words)) {
                assert_eq!(acts(word), acts(&shown), "{word:?} {shown:?}");
            }
        }
    }
}
