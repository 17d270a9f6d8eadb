//! Passwords in statements of SQL, which clients are handed as a word.

/// Those clients.
pub(super) const CLIENTS: &[&str] = &[
    "psql",
    "pgcli",
    "mysql",
    "mariadb",
    "mycli",
    "mysqlsh",
    "sqlite3",
    "sqlcipher",
    "sqlcmd",
    "cqlsh",
    "usql",
    "duckdb",
    "clickhouse*",
];
/// What statements begin with that set one.
const VERBS: [&str; 7] = ["alter", "attach", "change", "create", "grant", "pragma", "set"];
/// Words of clients' own at the beginning of a line, behind which a program stands.
const OWN: [&str; 4] = ["system", "source", "shell", "sys"];
/// Words behind which nothing is said of a password any more.
const AWAY: [&str; 8] = ["and", "as", "from", "is", "not", "or", "set", "where"];
/// Passwords of one word.
const MOST: usize = 64;

/// What the last words said of what comes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Nothing,
    /// A string is the password.
    Quoted,
    /// So is a word.
    Any,
}

#[derive(Default)]
struct Statement {
    verb: bool,
    begun: bool,
    next: Next,
    /// A password was named, and may stand behind `=`.
    named: bool,
    identified: bool,
}

/// From where to where they stand. A client runs what stands behind words of its own: where such may be, none is told.
pub(super) fn passwords(word: &str) -> Vec<(usize, usize)> {
    let own = |line: &str| {
        let line = line.trim_start();
        let first = line.split(char::is_whitespace).next().unwrap_or_default();
        line.starts_with(['.', '!']) || OWN.iter().any(|own| first.eq_ignore_ascii_case(own))
    };
    if !word.contains(char::is_whitespace) || word.contains(['\\', '`', '$']) || word.lines().any(own) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let (mut at, mut statement) = (begin(word), Statement::default());
    while let Some(letter) = word.get(at..).and_then(|rest| rest.chars().next()) {
        let from = at;
        at += letter.len_utf8();
        match letter {
            ';' => statement = Statement::default(),
            '=' if statement.named => statement.next = Next::Quoted,
            '\'' | '"' => {
                let Some(end) = closing(word, at, letter) else { break };
                if std::mem::take(&mut statement.next) != Next::Nothing && statement.verb && end > at {
                    found.push((at, end));
                }
                at = end + 1;
            }
            letter if is_part(letter) => {
                let rest = word.get(from..).unwrap_or_default();
                at = from + rest.len() - rest.trim_start_matches(is_part).len();
                let name = word.get(from..at).unwrap_or_default();
                // `N'text'`, `E'text'`: the kind of the string that begins here.
                let kind = word.get(at..).is_some_and(|rest| rest.starts_with('\''));
                if kind && name.len() == 1 {
                    continue;
                }
                if statement.reads(name) && statement.verb {
                    found.push((from, at));
                }
            }
            _ => {}
        }
        if found.len() >= MOST {
            break;
        }
    }
    found
}

impl Statement {
    /// One word more; whether it is the password itself.
    fn reads(&mut self, name: &str) -> bool {
        let is = |own: &str| name.eq_ignore_ascii_case(own);
        if !std::mem::replace(&mut self.begun, true) {
            self.verb = VERBS.iter().any(|own| is(own));
            return false;
        }
        let next = std::mem::take(&mut self.next);
        if is("password") || is("key") || is("rekey") {
            (self.next, self.named) = (Next::Quoted, true);
        } else if is("identified") {
            self.identified = true;
        } else if is("by") && std::mem::take(&mut self.identified) {
            self.next = Next::Any;
        } else {
            // What stands behind `=` is another thing's.
            self.named &= !AWAY.iter().any(|own| is(own));
            return next == Next::Any && !is("random") && !is("values");
        }
        false
    }
}

/// Where the statement begins in a word that may have an option before it.
fn begin(word: &str) -> usize {
    match word.strip_prefix('-') {
        None => 0,
        Some(long) if long.starts_with('-') => word.find('=').map_or(word.len(), |at| at + 1),
        Some(short) => 1 + short.chars().next().map_or(0, char::len_utf8),
    }
}

fn is_part(letter: char) -> bool {
    letter.is_alphanumeric() || "_-@.#%:".contains(letter)
}

/// Where a string ends: at its quote, of which two are one in it.
fn closing(word: &str, from: usize, quote: char) -> Option<usize> {
    let mut at = from;
    loop {
        at += word.get(at..)?.find(quote)?;
        if !word.get(at + 1..)?.starts_with(quote) {
            return Some(at);
        }
        at += 2;
    }
}
