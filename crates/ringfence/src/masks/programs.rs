//! Programs whose options hold secrets under names that do not say so.

use std::cell::OnceCell;

use ringfence_policy::runs_code;

use super::called::{called, command};
use super::shell::headed;
use super::{is_secret, statements, urls};
use crate::wrappers::{Wrapper, is_variable};

/// Options of one program, or of those whose names begin so (`*`).
struct Client {
    names: &'static [&'static str],
    /// Letters, and long options, behind which the secret is.
    options: &'static [&'static str],
    /// Letters that take nothing and may stand before one of those in one word.
    flags: &'static str,
    /// A letter's value may be the next word, or stands in the same one only.
    next: bool,
    /// What stands before the secret in the value: a user's name, with this behind it.
    behind: Option<char>,
    /// The command it has to do, by itself or in one of [`GROUPS`].
    with: Option<&'static str>,
}

/// How deep programs are that find(1) starts in each other.
const DEEPEST: usize = 4;

/// Commands with others behind them.
const GROUPS: &[&str] = &["registry", "acr", "create"];

const fn client(names: &'static [&'static str], options: &'static [&'static str]) -> Client {
    Client { names, options, flags: "", next: true, behind: None, with: None }
}

const LDAP: &[&str] = &["ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami", "ldappasswd"];

const CLIENTS: &[Client] = &[
    Client { next: false, flags: "BCEGHnNsv", ..client(&["mysql*", "mariadb*"], &["-p"]) },
    Client { flags: "ve", ..client(&["sshpass"], &["-p"]) },
    client(&["redis-cli", "valkey-cli"], &["-a", "--pass"]),
    Client { flags: "xZvLn", ..client(LDAP, &["-w"]) },
    Client { flags: "rqvjmuyTeX0123456789", ..client(&["zip"], &["-P"]) },
    Client { flags: "onqpcltvjaLCfuz", ..client(&["unzip"], &["-P"]) },
    Client { next: false, ..client(&["7z", "7za", "7zr", "7zz", "rar", "unrar"], &["-p", "-hp"]) },
    client(&["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"], &["-p"]),
    client(&["sqlcmd", "bcp", "mosquitto_*", "ipmitool"], &["-P"]),
    client(&["cqlsh", "rabbitmqadmin", "ncftp*", "twine", "useradd", "usermod"], &["-p"]),
    client(&["plink", "pscp", "psftp"], &["-pw"]),
    client(&["kadmin", "kadmin.local"], &["-w"]),
    client(&["ssh-keygen"], &["-N", "-P"]),
    client(&["snmp*"], &["-A", "-X"]),
    client(
        &["keytool", "jarsigner"],
        &["-storepass", "-keypass", "-srcstorepass", "-deststorepass", "-srckeypass", "-destkeypass"],
    ),
    client(&["aws"], &["--secret-string"]),
    client(&["osslsigncode"], &["-pass"]),
    Client {
        behind: Some(':'),
        ..client(&["skopeo", "podman", "buildah"], &["--creds", "--src-creds", "--dest-creds"])
    },
    Client { with: Some("secret"), ..client(&["gh"], &["-b", "--body"]) },
    Client { behind: Some('='), with: Some("secret"), ..client(&["kubectl", "oc"], &["--from-literal"]) },
    Client { behind: Some(':'), ..client(&["etcdctl"], &["--user"]) },
    Client { behind: Some(':'), ..client(&["dig", "nsupdate"], &["-y"]) },
    Client { behind: Some('%'), ..client(&["smbclient", "rpcclient"], &["-U", "--user"]) },
    Client { behind: Some(','), ..client(&["lftp"], &["-u", "--user"]) },
    Client { behind: Some(':'), ..client(&["http", "https", "xh", "xhs"], &["-a"]) },
    Client {
        with: Some("login"),
        ..client(&["docker", "podman", "buildah", "nerdctl", "skopeo", "helm", "oras", "az"], &["-p"])
    },
    Client {
        behind: Some(':'),
        ..client(&["openssl"], &["-passin", "-passout", "-pass", "-password", "-macopt", "-kdfopt"])
    },
    client(&["openssl"], &["-k", "-K", "-hmac"]),
];

/// Programs that take a secret as a word without an option.
struct Operand {
    names: &'static [&'static str],
    /// What it has to do; nothing: whatever it does.
    command: &'static str,
    /// A word that has to be there, one that begins so (`*`), or a letter among options (`-b`).
    with: &'static [&'static str],
    /// It is the last one, or else the one behind that.
    last: bool,
}

const OPERANDS: &[Operand] = &[
    Operand { names: &["htpasswd", "htdbm"], command: "", with: &["-b"], last: true },
    Operand { names: &["rabbitmqctl"], command: "add_user", with: &["add_user"], last: true },
    Operand { names: &["rabbitmqctl"], command: "change_password", with: &["change_password"], last: true },
    Operand { names: &["mysqladmin", "mariadb-admin"], command: "", with: &["password"], last: false },
    Operand { names: &["nmcli"], command: "", with: &["password", "psk", "wifi-sec.psk"], last: false },
    Operand { names: &["cargo", "vault"], command: "login", with: &["login"], last: true },
    Operand {
        names: &["composer", "poetry"],
        command: "config",
        with: &[
            "http-basic.*",
            "bearer.*",
            "pypi-token.*",
            "github-oauth.*",
            "gitlab-token.*",
            "gitlab-oauth.*",
        ],
        last: true,
    },
];

/// Programs that have settings, each with its value behind it; and their commands that set one.
const SETTERS: &[&str] =
    &["npm", "pnpm", "yarn", "bun", "pip*", "git", "poetry", "aws", "gcloud", "conda", "gem", "gh", "glab"];
const SETS: &[&str] = &["set", "config", "configure"];

/// Where a secret begins in a word of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) word: usize,
    pub(super) at: usize,
    /// Where it ends, if not with its word.
    pub(super) end: Option<usize>,
    /// Cookies stand there, each with its name.
    pub(super) cookies: bool,
    /// Blanks are part of it, however the word is read.
    pub(super) blanks: bool,
}

impl Secret {
    fn new(word: usize, at: usize) -> Self {
        Self { word, at, end: None, cookies: false, blanks: false }
    }

    /// Whether both are of the same letters.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let end = |one: &Self| one.end.unwrap_or(usize::MAX);
        self.at < end(other) && other.at < end(self)
    }
}

/// Of `user:password` from here on: the password, and the name where that is the key.
fn pair(word: &str, number: usize, from: usize) -> impl Iterator<Item = Secret> {
    let found = word.get(from..).and_then(|rest| rest.split_once(':')).map(|(name, password)| {
        let end = from + name.len();
        let key = urls::is_key(name, Some(password))
            .then(|| Secret { end: Some(end), ..Secret::new(number, from) });
        [key, (!password.is_empty()).then(|| Secret::new(number, end + 1))]
    });
    found.into_iter().flatten().flatten()
}

/// All that options of the programs hold that these words call.
pub(super) fn secrets(words: &[&str]) -> Vec<Secret> {
    let mut found = Vec::new();
    of_programs(words, 0, &mut found);
    found.extend(words.iter().enumerate().filter_map(|(number, word)| {
        let (at, cookies) = headed(word)?;
        Some(Secret { cookies, blanks: true, ..Secret::new(number, at) })
    }));
    found
}

fn of_programs(words: &[&str], depth: usize, found: &mut Vec<Secret>) {
    let programs = called(words);
    addresses(words, programs.last().copied(), found);
    for (index, first) in programs.iter().copied().enumerate() {
        // What it starts has options of its own.
        let own = words.get(..programs.get(index + 1).copied().unwrap_or(words.len())).unwrap_or(words);
        let is = |names: &[&str]| own.get(first).is_some_and(|word| named(names, word));
        for client in CLIENTS.iter().filter(|client| is(client.names)) {
            client.find(own, first, found);
        }
        for operand in OPERANDS.iter().filter(|operand| is(operand.names)) {
            found.extend(operand.find(own, first));
        }
        if is(SETTERS) {
            set(own, first, found);
        }
        if is(&["curl"]) {
            let pairs = own.iter().zip(own.iter().skip(1)).enumerate().skip(first);
            found.extend(pairs.flat_map(|(at, (option, word))| curl(at + 1, option, word)));
        }
        if is(statements::CLIENTS) {
            let behind = own.iter().enumerate().skip(first + 1);
            found.extend(behind.flat_map(|(number, word)| {
                let passwords = statements::passwords(word).into_iter();
                passwords.map(move |(at, end)| Secret {
                    end: Some(end),
                    blanks: true,
                    ..Secret::new(number, at)
                })
            }));
        }
        if is(&["find"]) && depth < DEEPEST {
            executed(own, first, depth, found);
        }
    }
}

/// Addresses that are secrets, behind a program and in variables. What shells, interpreters and programs that start others are given may be
/// what they run.
fn addresses(words: &[&str], program: Option<usize>, found: &mut Vec<Secret>) {
    let name = program.and_then(|at| words.get(at)).map_or("", |word| base(word));
    // Asked where it matters: who knows shells has a long list to read first.
    let plain = OnceCell::new();
    let told = |(number, word): &(usize, &&str)| {
        let behind = || program.is_some_and(|at| *number > at);
        let plain = || *plain.get_or_init(|| runs_code(name).is_none() && Wrapper::of(name).is_none());
        word.contains("https://") && (is_variable(word) || behind() && plain())
    };
    for (number, word) in words.iter().enumerate().filter(told) {
        let all = urls::addresses(word).into_iter();
        found.extend(all.map(|(at, end)| Secret { end: Some(end), ..Secret::new(number, at) }));
    }
}

/// What find(1) starts: each by words of its own, up to `;` or `{} +`.
fn executed(words: &[&str], find: usize, depth: usize, found: &mut Vec<Secret>) {
    let mut at = find + 1;
    while let Some(word) = words.get(at) {
        at += 1;
        if !["-exec", "-execdir", "-ok", "-okdir"].contains(word) {
            continue;
        }
        let rest = words.get(at..).unwrap_or_default();
        let plus = |at: usize| at > 0 && rest.get(at - 1) == Some(&"{}");
        let ends = |(at, word): (usize, &&str)| *word == ";" || *word == "+" && plus(at);
        let length = rest.iter().enumerate().position(ends).unwrap_or(rest.len());
        let mut inner = Vec::new();
        of_programs(rest.get(..length).unwrap_or_default(), depth + 1, &mut inner);
        found.extend(inner.into_iter().map(|secret| Secret { word: at + secret.word, ..secret }));
        at += length;
    }
}

fn named(names: &[&str], word: &str) -> bool {
    let name = base(word);
    names.iter().any(|own| match own.strip_suffix('*') {
        Some(own) => name.starts_with(own),
        None => *own == name,
    })
}

/// Values behind names of settings that say so.
fn set(words: &[&str], program: usize, found: &mut Vec<Secret>) {
    let does = command(words, program);
    let Some(does) = does.filter(|at| words.get(*at).is_some_and(|word| SETS.contains(word))) else { return };
    for (at, word) in words.iter().enumerate().skip(does + 1) {
        let value = words.get(at + 1).filter(|value| !value.starts_with('-'));
        if !word.starts_with('-') && is_secret(word) && value.is_some() {
            found.push(Secret::new(at + 1, 0));
        }
        // What an alias is called says nothing of what it runs.
        if *word == "alias" {
            return;
        }
    }
}

fn does<'a>(words: &[&'a str], program: usize) -> Option<&'a str> {
    words.get(command(words, program)?).copied()
}

pub(super) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

impl Operand {
    fn find(&self, words: &[&str], program: usize) -> Option<Secret> {
        let is = |word: &str| {
            self.with.iter().any(|own| match (own.strip_suffix('*'), own.strip_prefix('-')) {
                (Some(own), _) => word.starts_with(own),
                (_, Some(letter)) => {
                    word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
                }
                _ => *own == word,
            })
        };
        if !self.command.is_empty() && does(words, program) != Some(self.command) {
            return None;
        }
        let with = words.iter().skip(program + 1).position(|word| is(word))? + program + 1;
        let at = if self.last { words.len() - 1 } else { with + 1 };
        let value = words.get(at).filter(|word| at > with && !word.starts_with('-'))?;
        // Some take `name=value` there, which says of itself what it is.
        (!value.contains('=')).then(|| Secret::new(at, 0))
    }
}

impl Client {
    /// What the words behind the program say.
    fn find(&self, words: &[&str], program: usize, found: &mut Vec<Secret>) {
        let behind = words.get(program + 1..).unwrap_or_default();
        let does = |with: &str| {
            let mut from = words.iter().skip(command(words, program).unwrap_or(words.len()));
            from.find(|word| !GROUPS.contains(word)) == Some(&with)
        };
        if self.with.is_some_and(|with| !does(with)) {
            return;
        }
        let mut value = false;
        for (at, word) in behind.iter().enumerate() {
            let own = if std::mem::take(&mut value) { Some(0) } else { self.value(word) };
            value = self.next && own == Some(word.len()) && !word.is_empty();
            if let Some(from) = own.filter(|from| *from < word.len()) {
                let number = program + 1 + at;
                match self.behind {
                    None => found.push(Secret::new(number, from)),
                    Some(':') => found.extend(pair(word, number, from)),
                    Some(letter) => {
                        let place = word.get(from..).and_then(|rest| rest.find(letter));
                        found.extend(place.map(|at| Secret::new(number, from + at + 1)));
                    }
                }
            }
            // What it starts has options of its own.
            if self.names == ["sshpass"] && !value && own != Some(0) && !word.starts_with('-') {
                return;
            }
        }
    }

    /// Where the value of an option begins: at the word's end, if that is the option alone.
    fn value(&self, word: &str) -> Option<usize> {
        self.options.iter().find_map(|own| {
            let letter = own.strip_prefix('-').filter(|_| own.len() == 2);
            let Some(letter) = letter else {
                let rest = word.strip_prefix(own)?;
                let glued = own.len() < 4 && !self.next || rest.starts_with('=');
                return (rest.is_empty() || glued).then(|| own.len() + usize::from(rest.starts_with('=')));
            };
            let rest = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?;
            let rest = rest.trim_start_matches(|flag| self.flags.contains(flag));
            rest.strip_prefix(letter).map(|value| word.len() - value.len())
        })
    }
}

/// What an option of curl(1) has for its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// A user's name and a password.
    Pair,
    /// A file's name and one.
    File,
    Cookies,
    Secret,
    /// A host, before which a pair may stand.
    Proxy,
}

/// Letters, long options, and what is behind these. A long one that is another's beginning comes first.
const CURL: [(&[char], &[&str], Value); 5] = [
    (
        &['x'],
        &["--proxy", "--preproxy", "--socks4", "--socks4a", "--socks5", "--socks5-hostname"],
        Value::Proxy,
    ),
    (&[], &["--pass", "--proxy-pass"], Value::Secret),
    (&['u', 'U'], &["--user", "--proxy-user"], Value::Pair),
    (&['E'], &["--cert", "--proxy-cert"], Value::File),
    (&['b'], &["--cookie"], Value::Cookies),
];

/// Who asks curl(1), by which proxy, and with which cookies.
fn curl(index: usize, option: &str, word: &str) -> Vec<Secret> {
    let exact = |name: &str| CURL.iter().any(|(_, names, _)| names.contains(&name));
    let long = |word: &str, names: &[&str]| {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        names.contains(&name)
            || name.len() > 3 && !exact(name) && names.iter().any(|own| own.starts_with(name))
    };
    // Letters before it take nothing, as far as they are usual.
    let letter = |word: &str, ends: &[char]| {
        let rest = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?;
        let behind = rest.trim_start_matches(|letter| "sSLkfgivIGNOR0123456#".contains(letter));
        behind.strip_prefix(ends).map(|value| word.len() - value.len())
    };
    let one = |at: usize, value: Value| {
        let rest = word.get(at..)?;
        let whole = Secret::new(index, at);
        match value {
            Value::Pair => None,
            Value::Secret => Some(whole),
            Value::Cookies => rest.contains('=').then_some(Secret { cookies: true, ..whole }),
            Value::File => Some(Secret { at: at + rest.find(':')? + 1, ..whole }),
            Value::Proxy => {
                let end = rest.rfind('@')?;
                let from = rest.find("://").map_or(0, |at| at + "://".len());
                let name = rest.get(from..end)?.find(':')?;
                Some(Secret { at: at + from + name + 1, end: Some(at + end), ..whole })
            }
        }
    };
    let secret = |at: usize, value: Value| -> Vec<Secret> {
        match value {
            Value::Pair => pair(word, index, at).collect(),
            value => one(at, value).into_iter().collect(),
        }
    };
    for (ends, names, value) in CURL {
        if letter(option, ends) == Some(option.len()) || long(option, names) && !option.contains('=') {
            return secret(0, value);
        }
        if let Some(at) = letter(word, ends).filter(|at| *at < word.len()) {
            return secret(at, value);
        }
        if let Some((name, _)) = word.split_once('=').filter(|(name, _)| long(name, names)) {
            return secret(name.len() + 1, value);
        }
    }
    Vec::new()
}
