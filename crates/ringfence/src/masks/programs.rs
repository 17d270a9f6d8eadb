//! Programs whose options hold secrets under names that do not say so.

/// Options of one program, or of those whose names begin so (`*`).
struct Client {
    names: &'static [&'static str],
    /// Letters, and long options, behind which the secret is.
    options: &'static [&'static str],
    /// A letter's value may be the next word, or stands in the same one only.
    next: bool,
    /// What stands before the secret in the value: a user's name, with this behind it.
    behind: Option<char>,
    /// A word that has to be there, too.
    with: Option<&'static str>,
}

const fn client(names: &'static [&'static str], options: &'static [&'static str]) -> Client {
    Client { names, options, next: true, behind: None, with: None }
}

const CLIENTS: &[Client] = &[
    Client { next: false, ..client(&["mysql*", "mariadb*"], &["-p"]) },
    client(&["sshpass"], &["-p"]),
    client(&["redis-cli", "valkey-cli"], &["-a"]),
    client(&["ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami", "ldappasswd"], &["-w"]),
    client(&["zip", "unzip"], &["-P"]),
    Client { next: false, ..client(&["7z", "7za", "7zr", "7zz", "rar", "unrar"], &["-p"]) },
    client(&["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"], &["-p"]),
    client(&["sqlcmd", "bcp"], &["-P"]),
    Client { behind: Some('%'), ..client(&["smbclient", "rpcclient"], &["-U", "--user"]) },
    Client { behind: Some(','), ..client(&["lftp"], &["-u", "--user"]) },
    Client { behind: Some(':'), ..client(&["http", "https", "xh", "xhs"], &["-a"]) },
    Client {
        with: Some("login"),
        ..client(&["docker", "podman", "buildah", "nerdctl", "skopeo", "helm", "oras"], &["-p"])
    },
    Client { behind: Some(':'), ..client(&["openssl"], &["-passin", "-passout", "-pass", "-password"]) },
    client(&["openssl"], &["-k", "-K"]),
];

/// Programs that are looked for in one command: what is long is nobody's intent.
const MOST: usize = 16;

/// Where a secret begins in a word of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) word: usize,
    pub(super) at: usize,
    /// Cookies stand there, each with its name.
    pub(super) cookies: bool,
}

/// All that options of these words' programs hold.
pub(super) fn secrets(words: &[&str]) -> Vec<Secret> {
    let mut found = Vec::new();
    let programs = words.iter().enumerate().flat_map(|(first, word)| {
        CLIENTS.iter().filter(|client| client.is(base(word))).map(move |client| (first, client))
    });
    for (first, client) in programs.take(MOST) {
        client.find(words, first, &mut found);
    }
    if words.iter().any(|word| base(word) == "curl") {
        let before = std::iter::once(&"").chain(words);
        found.extend(before.zip(words).enumerate().filter_map(|(at, (option, word))| curl(at, option, word)));
    }
    found
}

pub(super) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

impl Client {
    fn is(&self, name: &str) -> bool {
        self.names.iter().any(|own| match own.strip_suffix('*') {
            Some(own) => name.starts_with(own),
            None => *own == name,
        })
    }

    /// What the words behind the program say.
    fn find(&self, words: &[&str], program: usize, found: &mut Vec<Secret>) {
        let behind = words.get(program + 1..).unwrap_or_default();
        if self.with.is_some_and(|with| !behind.contains(&with)) {
            return;
        }
        let mut value = false;
        for (at, word) in behind.iter().enumerate() {
            let secret = if std::mem::take(&mut value) { Some(0) } else { self.glued(word) };
            value = secret.is_none() && self.next && self.options.contains(word);
            if let Some(from) = secret.and_then(|from| self.within(word, from)) {
                found.push(Secret { word: program + 1 + at, at: from, cookies: false });
            }
            // What it starts has options of its own.
            if self.is("sshpass") && !value && secret != Some(0) && !word.starts_with('-') {
                return;
            }
        }
    }

    /// Where the value begins that stands in the same word as its option.
    fn glued(&self, word: &str) -> Option<usize> {
        self.options.iter().find_map(|own| {
            let rest = word.strip_prefix(own).filter(|rest| !rest.is_empty())?;
            match own.len() {
                2 => Some(2),
                _ => rest.starts_with('=').then_some(own.len() + 1),
            }
        })
    }

    fn within(&self, word: &str, from: usize) -> Option<usize> {
        match self.behind {
            None => Some(from),
            Some(letter) => word.get(from..)?.find(letter).map(|at| from + at + 1),
        }
    }
}

/// What an option of curl(1) says: who asks, and cookies.
fn curl(index: usize, option: &str, word: &str) -> Option<Secret> {
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
    let secret = |at: usize, cookies: bool| {
        let (name, _) = word.get(at..)?.split_once(if cookies { '=' } else { ':' })?;
        Some(Secret { word: index, at: if cookies { at } else { at + name.len() + 1 }, cookies })
    };
    for (ends, names, cookies) in [(&['u', 'U'][..], &WHO[..], false), (&['b'], &["--cookie"], true)] {
        if letter(option, ends) == Some(option.len()) || long(option, names) && !option.contains('=') {
            return secret(0, cookies);
        }
        if let Some(at) = letter(word, ends).filter(|at| *at < word.len()) {
            return secret(at, cookies);
        }
        if let Some((name, _)) = word.split_once('=').filter(|(name, _)| long(name, names)) {
            return secret(name.len() + 1, cookies);
        }
    }
    None
}
