//! Command lines as they are written down: without what looks like a secret.
//!
//! Any word may be a script, and whoever reads it may be about to allow it. So a mask lies on letters alone that no shell acts upon, and
//! directly behind a name that is shown; a secret that holds others is shown from there on.

mod called;
mod json;
mod programs;
mod reader;
mod shell;
mod statements;
mod urls;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use ringfence_leaks::{Scanner, looks_random};
use ringfence_policy::runs_code;

use self::json::{Readers, Reads};
use self::programs::{Secret, base, secrets};
use self::shell::{Place, places};

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
    "credentials",
    "authorization",
    "auth",
    "bearer",
    "private-key",
    "private_key",
    "secret-key",
    "secret_key",
    "secret_key_base",
    "access-key",
    "access_key",
    "signing_key",
    "encryption-key",
    "encryption_key",
    "session_key",
    "master_key",
    "_pass",
    "sshpass",
    "_pwd",
    "cookie",
];
/// What such names say who somebody is by, and what no secret is (RFC 9421, and what clouds sign addresses with).
const SHOWN: &[&str] = &["x-amz-credential", "x-goog-credential"];
/// The name of what a file may hold.
const FILED: &str = "credentials";
/// Settings of git and npm with such names hold commands.
const COMMANDS: &[&str] = &["alias.", "pager.", "scripts."];
/// Options with such names that take nothing, and how the names of more begin.
const BARE: &[&str] = &["--anyauth", "--proxy-anyauth", "--verify-passphrase"];
const BARE_BEGINS: &[&str] = &["--no-", "--ask-"];
/// What says where a secret lies, and to what it is handed (`docker build --secret id=k,src=FILE`), begins or goes on so.
const PLACED: &[&str] = &["id=", "type=", "src=", "source=", "target=", "env="];
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
/// Secrets of one word.
const MOST: usize = 64;
pub(crate) const MASK: &str = "***";

/// Without what stands behind an option or a name that says so, in the authority of a URL, and in a well-known form.
pub(crate) fn masked(words: &[String]) -> Vec<String> {
    let own: Vec<&str> = words.iter().map(String::as_str).collect();
    let readers = Readers::new(&own);
    // What is told of a word; of what lies on one another, the first.
    let mut told: BTreeMap<usize, Vec<Secret>> = BTreeMap::new();
    for secret in secrets(&own) {
        let others = told.entry(secret.word).or_default();
        if others.len() < MOST && !others.iter().any(|other| other.meets(&secret)) {
            others.push(secret);
        }
    }
    let asks = words.iter().any(|word| ASKING.iter().any(|own| base(word).starts_with(own)));
    let mut next = false;
    // What stands behind letters of a shell's, such as `csh --secret`, may be what it runs. Asked only where it matters: who knows shells
    // has a long list to read first.
    let (mut code, mut read) = (false, 0);
    let mut is_code = |end: usize| {
        for word in words.get(read..end).unwrap_or_default() {
            code = runs_code(base(word)).is_some() || code && word.starts_with('-');
        }
        read = end;
        code
    };
    let before = std::iter::once("").chain(words.iter().map(String::as_str));
    let one = |(number, (option, word)): (usize, (&str, &String))| {
        if std::mem::take(&mut next)
            && is_value(word, 0, option.starts_with("--") && !is_code(number) && !asks)
            && !is_file(option, word, 0)
            && !is_placed(option, word)
        {
            return hidden(word, 0, true);
        }
        if let Some(secrets) = told.get(&number) {
            return told_of(word, secrets);
        }
        next = is_option(word);
        script(word, readers.of(number))
    };
    before.zip(words).enumerate().map(one).collect()
}

/// A word in which values are secrets.
fn told_of(word: &str, secrets: &[Secret]) -> String {
    let mut secrets: Vec<&Secret> = secrets.iter().collect();
    secrets.sort_by_key(|secret| secret.at);
    let (mut out, mut at) = (String::new(), 0);
    for secret in secrets {
        match at {
            0 => out.push_str(word.get(..secret.at).unwrap_or_default()),
            at => out.push_str(&scan(word.get(..secret.at).unwrap_or(word), at, None)),
        }
        match (secret.cookies, secret.end) {
            (true, _) => return out + &scan(word, secret.at, Some(true)),
            (false, Some(end)) => {
                at = cover(word.get(..end).unwrap_or(word), secret.at, secret.blanks, &mut out);
            }
            (false, None) => return out + &hidden(word, secret.at, secret.blanks),
        }
    }
    out + &scan(word, at, None)
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET.iter().any(|own| lower.ends_with(own))
        && !COMMANDS.iter().any(|own| lower.starts_with(own))
        && !SHOWN.contains(&lower.as_str())
}

/// Whether credentials are in the file that is named here.
fn is_file(name: &str, text: &str, at: usize) -> bool {
    const ENDS: [&str; 3] = [".json", ".toml", ".yaml"];
    const LONGEST: usize = 256;
    let known = name.len() >= FILED.len()
        && name.get(name.len() - FILED.len()..).is_some_and(|tail| tail.eq_ignore_ascii_case(FILED));
    let value = || {
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.char_indices().map(|(end, _)| end).nth(LONGEST);
        let rest = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        rest.get(..run(rest, 0, false)).unwrap_or_default()
    };
    known && ENDS.iter().any(|own| value().ends_with(own))
}

/// The same of a variable.
fn is_variable(name: &str) -> bool {
    is_secret(name) || ["pass", "pw"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Letters that can be many options at once, or one with its value, are one all the same: [`is_value`] decides.
fn is_option(name: &str) -> bool {
    name.starts_with('-')
        && !BARE_BEGINS.iter().any(|own| name.starts_with(own))
        && !BARE.contains(&name)
        && name_at(name, 0).len() == name.len()
        && (is_secret(name) || is_pwd(name))
}

/// A long option of this name; others have a directory there, which is a path.
fn is_pwd(name: &str) -> bool {
    name.starts_with("--") && name.to_ascii_lowercase().ends_with("pwd")
}

/// Whether what begins here is the value of the option before it. If that is not sure, it could as well be a program: then one that
/// looks like a secret is.
fn is_value(text: &str, at: usize, sure: bool) -> bool {
    let from = at + text.get(at..).map_or(0, |rest| rest.len() - rest.trim_start_matches(['\'', '"']).len());
    let value = text.get(from..run(text, from, false)).unwrap_or_default();
    looks_random(value.as_bytes()) || sure && !value.starts_with('-')
}

/// Whether it names a secret that lies elsewhere; what looks like one itself does not.
fn is_placed(option: &str, value: &str) -> bool {
    option == "--secret"
        && !looks_random(value.as_bytes())
        && value.split(',').any(|part| PLACED.iter().any(|own| part.starts_with(own)))
}

/// A word that may be a script, with what options of its commands hold.
fn script(text: &str, reads: Reads) -> String {
    let mut places = places(text);
    if is_chosen(text) {
        // A word of it may be run, and which one is not known.
        places.retain(|place| is_value(text, place.at, false));
    }
    let values = json::secrets(text, reads).into_iter();
    places.extend(values.map(|(at, end)| Place { at, end, cookies: false, commas: true }));
    places.sort_by_key(|place| place.at);
    scan_at(text, 0, None, (&places, reads))
}

fn scan(text: &str, from: usize, cookies: Option<bool>) -> String {
    scan_at(text, from, cookies, (&[], Reads::Unknown))
}

/// A word, or a script, from here on; `cookies`: the values of cookies stand there, and whether the first one does.
fn scan_at(text: &str, from: usize, mut cookies: Option<bool>, (places, reads): (&[Place], Reads)) -> String {
    let (mut out, mut begins, mut at) = (String::new(), true, from);
    let mut places = places.iter().peekable();
    // Of a long script each is looked for once.
    let (mut command, chosen) = (Command::default(), OnceCell::new());
    while let Some(letter) = text.get(at..).and_then(|rest| rest.chars().next()) {
        while places.next_if(|place| place.at < at).is_some() {}
        if let Some(place) = places.next_if(|place| place.at == at) {
            cookies = place.cookies.then_some(true).or(cookies);
            if !place.cookies {
                // Braces before it are those of its document.
                let begin = if place.commas { at } else { 0 };
                let word = text.get(begin..place.end).unwrap_or_default();
                at = begin + cover(word, at - begin, true, &mut out);
            }
            begins = place.cookies;
            continue;
        }
        let left = places.peek().map_or(usize::MAX, |place| place.at - at);
        let name = if begins { name_at(text, at) } else { "" };
        let name = name.get(..left).unwrap_or(name);
        let behind = at + name.len();
        let lower = name.to_ascii_lowercase();
        let session = cookies.is_some_and(|first| first || SESSIONS.iter().any(|own| lower.contains(own)));
        // Whether what is said there to have a value may be started: as an alias, or since a command of the script is a variable.
        let mut is_run =
            || command.at(text, at).starts_with("alias") || *chosen.get_or_init(|| is_chosen(text));
        let value = match text.as_bytes().get(behind) {
            Some(b'=') if is_file(name, text, behind + 1) => None,
            Some(b'=') if is_variable(name) && is_run() && !is_value(text, behind + 1, false) => None,
            Some(b'=') if is_variable(name) || is_pass(name) || session && !name.is_empty() => {
                Some((behind + 1, false))
            }
            Some(b'"' | b'\\') if is_secret(name) => {
                // A document that stands where a program does is run.
                let mut runs = || reads == Reads::Code && command.at(text, at).starts_with(['{', '[']);
                let from = quoted(text, at, behind);
                from.filter(|from| is_value(text, *from, false) || !runs()).map(|from| (from, false))
            }
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
                let is = is_value(text, from, name.starts_with("--")) && !is_file(name, text, from);
                let word = text.get(from..run(text, from, false)).unwrap_or_default();
                (is && !is_placed(name, word)).then_some((from, false))
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

/// Where a command of a script begins.
#[derive(Default)]
struct Command {
    begins: usize,
    /// So far it was looked for.
    until: usize,
}

impl Command {
    /// What stands before this place in the command that it is in; places come in their order.
    fn at<'a>(&mut self, text: &'a str, place: usize) -> &'a str {
        let new = text.as_bytes().get(self.until..place).unwrap_or_default();
        let ends = |byte: &u8| b";&|(`\n".contains(byte);
        if let Some(last) = new.iter().rposition(ends) {
            self.begins = self.until + last + 1;
        }
        self.until = place;
        let command = text.get(self.begins..place).unwrap_or_default();
        command.trim_start().trim_start_matches(['\'', '"'])
    }
}

/// Whether a command of a script is what a variable holds.
fn is_chosen(text: &str) -> bool {
    /// Bytes before it that tell; where they are blanks alone, it may be one.
    const NEAR: usize = 64;
    const BEFORE: [&str; 10] = ["do", "then", "else", "exec", "eval", "sudo", "env", "time", "nohup", "!"];
    let starts = |before: &str| {
        let before = before.trim_end_matches([' ', '\t', '"', '\'', '{']);
        let word = before.rsplit(|letter: char| letter.is_whitespace()).next().unwrap_or_default();
        before.is_empty() || before.ends_with([';', '&', '|', '(', '`', '\n']) || BEFORE.contains(&word)
    };
    // `$(($x + 1))` runs nothing.
    let counted = |at: usize| {
        let before = text.get(..at).unwrap_or_default();
        let inner = text.get(at..).filter(|_| before.trim_end_matches([' ', '{']).ends_with("$(("));
        let count = |letter: &u8| letter.is_ascii_alphanumeric() || b"$_ {}+-*/%".contains(letter);
        let length = inner.map_or(0, |inner| inner.bytes().take(NEAR).take_while(count).count());
        inner.and_then(|inner| inner.get(length..)).is_some_and(|rest| rest.starts_with("))"))
    };
    text.match_indices('$').filter(|(at, _)| !counted(*at)).any(|(at, _)| {
        let from = (at.saturating_sub(NEAR)..=at).find(|from| text.is_char_boundary(*from)).unwrap_or(at);
        starts(text.get(from..at).unwrap_or_default())
    })
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
    let setting = text.get(..at).is_some_and(|before| before.ends_with('='));
    let looks = |allowed: bool| allowed && is_value(text, from, false);
    let fine = at == 0 || from == behind + 1 || string && (told || looks(true)) || looks(setting && told);
    fine.then_some((from, at == 0))
}

/// Options that are called so with a value; with such names others take nothing.
fn is_pass(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_pwd(name)
        || name.starts_with("--")
            && lower.ends_with("pass")
            && !["bypass", "compass"].iter().any(|own| lower.ends_with(own))
}

/// Where the value begins of a name in JSON within a text: quotes are around both, and no blank is between.
fn quoted(text: &str, at: usize, behind: usize) -> Option<usize> {
    let (before, rest) = (text.get(..at)?, text.get(behind..)?);
    let between = ["\":\"", "\\\":\\\""].into_iter().find(|own| rest.starts_with(own))?;
    let quote = if between.starts_with('\\') { "\\\"" } else { "\"" };
    before.strip_suffix(quote)?.ends_with(['{', ',']).then_some(behind + between.len())
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
    without_forms(urls::without_secrets(word))
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

#[cfg(test)]
mod clients_tests;
#[cfg(test)]
mod tests;
