//! How programs read the word that says what they do, for denials: cut short, by another name, corrected, or by an alias. The list is
//! data (`verbs.toml`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::leading;
use crate::shells::Called;

/// Bytes of the longest word that is compared with others letter by letter.
const LONGEST: usize = 40;
/// Words of one command line that are: those behind them may be anything.
const MOST_WORDS: usize = 512;

#[derive(Debug, Deserialize)]
struct List {
    verb: Vec<Verb>,
}

/// One program of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verb {
    names: Vec<String>,
    reads: Reads,
    #[serde(default)]
    commands: Vec<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    sure: Vec<String>,
    #[serde(default)]
    common: Vec<String>,
    #[serde(default)]
    deep: bool,
    #[serde(default)]
    camel: bool,
    #[serde(default)]
    fold: bool,
    why: String,
    /// How the same is done where it is refused; `WORD` stands for the word.
    #[serde(default)]
    instead: String,
    /// All that is meant by itself, each with every name of it.
    #[serde(skip)]
    own: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reads {
    Named,
    Short,
    Corrected,
    Aliased,
}

/// What a word may be read as, beside itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Readings {
    words: Vec<String>,
    /// And whatever begins so.
    begins: Option<String>,
}

/// A command line, as its program may read it.
#[derive(Debug)]
pub(crate) struct Line {
    /// By their place.
    words: BTreeMap<usize, Rc<Readings>>,
    verb: &'static Verb,
}

fn list() -> &'static [Verb] {
    static LIST: OnceLock<Vec<Verb>> = OnceLock::new();
    LIST.get_or_init(|| {
        let read = toml::from_str::<List>(include_str!("verbs.toml"));
        let mut verbs = read.map(|list| list.verb).unwrap_or_default();
        for verb in &mut verbs {
            // What an alias means is a command, in the list of these or not.
            let aliases = verb.aliases.iter().flat_map(|alias| alias.split(' '));
            let names = verb.commands.iter().map(String::as_str).chain(aliases);
            verb.own = names.map(|name| (name.to_owned(), verb.named(name))).collect();
        }
        verbs
    })
}

/// The line of a program, by one of its names.
pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Option<&'static Verb> {
    names.into_iter().filter_map(|name| std::str::from_utf8(name).ok()).find_map(|name| {
        let name = Called::of(name);
        list().iter().find(|verb| name.is_among(&verb.names))
    })
}

/// Whether git itself is a command of this name.
pub(crate) fn is_built_in(command: &[u8]) -> bool {
    of([&b"git"[..]]).is_some_and(|git| git.commands.iter().any(|own| own.as_bytes() == command))
}

impl Verb {
    /// Where the word may stand. `toolchain`: `+NAME` before it is for the program that starts this one.
    fn places(&self, arguments: &[&[u8]], toolchain: bool) -> Vec<usize> {
        let before = usize::from(toolchain && arguments.first().is_some_and(|word| word.starts_with(b"+")));
        let name = self.names.first().map_or("", String::as_str);
        let places = leading::words(name, arguments.get(before..).unwrap_or_default());
        let is_word = |at: &usize| arguments.get(*at).is_some_and(|word| !word.starts_with(b"-"));
        places.into_iter().map(|at| at + before).filter(is_word).collect()
    }

    /// What the words of a command line may be read as.
    pub(crate) fn line(&'static self, arguments: &[&[u8]]) -> Line {
        Line { words: self.readings(arguments), verb: self }
    }

    fn readings(&self, arguments: &[&[u8]]) -> BTreeMap<usize, Rc<Readings>> {
        let places = match self.deep {
            true => (0..arguments.len()).collect(),
            false => self.places(arguments, false),
        };
        // Each word is read once, however often it is there.
        let mut read: BTreeMap<&[u8], Rc<Readings>> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for at in places {
            let Some(word) = arguments.get(at) else { continue };
            // Nobody writes so many before a command: each costs a comparison with all commands.
            let full = self.reads == Reads::Corrected && read.len() >= MOST_WORDS;
            let one = read
                .entry(word)
                .or_insert_with(|| Rc::new(if full { Readings::any() } else { self.reading(word) }));
            if **one != Readings::default() {
                found.insert(at, Rc::clone(one));
            }
        }
        found
    }

    fn reading(&self, word: &[u8]) -> Readings {
        if word.is_empty() || word.starts_with(b"-") {
            return Readings::default();
        }
        if self.reads == Reads::Corrected {
            return Readings { words: self.corrected(word), begins: None };
        }
        // No name of the others' has a letter that is none.
        let Ok(word) = std::str::from_utf8(word) else { return Readings::default() };
        let word = if self.camel { dashed(word) } else { Cow::Borrowed(word) };
        let word = if self.fold { Cow::Owned(word.to_lowercase()) } else { word };
        let exact = self.own.get(&*word);
        if exact.is_some() || self.reads != Reads::Short {
            return Readings { words: exact.cloned().unwrap_or_default(), begins: None };
        }
        let from = self.own.range::<str, _>((Bound::Included(&*word), Bound::Unbounded));
        let words = from.take_while(|(own, _)| own.starts_with(&*word)).flat_map(|(_, names)| names.clone());
        Readings { words: words.collect(), begins: Some(word.into_owned()) }
    }

    /// The words that one of a denial means: it may be cut short, too. One that git would correct is a mistake of the
    /// owner's, and ten thousand of them would be compared with all commands.
    pub(crate) fn meant(&self, word: &[u8]) -> Vec<String> {
        match self.reads {
            Reads::Short | Reads::Named => self.reading(word).words,
            Reads::Corrected | Reads::Aliased => Vec::new(),
        }
    }

    /// Whether what is read so may be what a denial says.
    pub(crate) fn means(&self, read: &Readings, word: &[u8]) -> bool {
        read.means(word) || self.meant(word).iter().any(|own| read.means(own.as_bytes()))
    }

    /// Every name of what a name means.
    fn named(&self, name: &str) -> Vec<String> {
        let pairs = || self.aliases.iter().filter_map(|alias| alias.split_once(' '));
        let command = pairs().find(|(alias, _)| *alias == name).map_or(name, |(_, command)| command);
        let others = pairs().filter(|(_, own)| *own == command).map(|(alias, _)| alias);
        std::iter::once(command).chain(others).map(str::to_owned).collect()
    }

    /// The commands that a word which is none may be corrected to (help.c of git).
    fn corrected(&self, word: &[u8]) -> Vec<String> {
        const FLOOR: usize = 7;
        let begun = || self.common.iter().any(|own| own.as_bytes().starts_with(word));
        if word.len() > LONGEST || self.commands.iter().any(|own| own.as_bytes() == word) || begun() {
            return Vec::new();
        }
        let near = |own: &str| distance(word, own.as_bytes());
        let sure: Vec<(&str, usize)> = self.sure.iter().map(|own| (own.as_str(), near(own))).collect();
        let nearest = |own: &&String| {
            let own_distance = near(own);
            let nearer = |(other, distance): &(&str, usize)| *other != *own && *distance <= own_distance;
            own_distance + 1 < FLOOR && !sure.iter().any(nearer)
        };
        self.commands.iter().filter(nearest).cloned().collect()
    }

    /// The word by which the program may do anything, with any words.
    pub(crate) fn unknown<'a>(&self, arguments: &[&'a [u8]], toolchain: bool) -> Option<&'a [u8]> {
        if self.reads != Reads::Aliased {
            return None;
        }
        let unknown = |word: &&[u8]| !self.commands.iter().any(|own| own.as_bytes() == *word);
        let places = self.places(arguments, toolchain).into_iter();
        places.filter_map(|at| arguments.get(at).copied()).find(unknown)
    }

    /// Why a word that stands where it is not denied itself is meant by a denial.
    pub(crate) fn told(&self, told: &str, word: &[u8]) -> String {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(byte);
        // Where the word could be no sentence, or hold a secret.
        let shown = Some(word).filter(|word| word.len() <= LONGEST && word.iter().all(plain));
        let shown = shown.map(String::from_utf8_lossy);
        let whole =
            |word: &str| self.aliases.iter().find_map(|alias| alias.strip_prefix(word)?.strip_prefix(' '));
        let instead = match (&shown, self.instead.as_str()) {
            (Some(word), instead) if !instead.is_empty() => match whole(word) {
                Some(command) => format!("; write `{command}`"),
                None => format!("; {}", instead.replace("WORD", word)),
            },
            _ => String::new(),
        };
        let shown = shown.map_or_else(|| "for this".into(), |word| format!("for `{word}`"));
        format!("{told}, {shown}: {}{instead}", self.why)
    }

    /// The word of a command line that is not what an entry says, if it is read as that.
    pub(crate) fn misread<'a>(&self, arguments: &[&'a [u8]], meant: &[u8]) -> Option<&'a [u8]> {
        let read = self.readings(arguments);
        let mut others = read.into_iter().filter(|(_, read)| self.means(read, meant));
        let at = others.next().map(|(at, _)| at)?;
        arguments.get(at).copied().filter(|word| *word != meant)
    }
}

impl Line {
    pub(crate) fn verb(&self) -> &'static Verb {
        self.verb
    }

    /// What a word may be, that of the command itself (`first`) or one behind it.
    pub(crate) fn at(&self, at: usize, first: bool) -> Option<&Readings> {
        self.words.get(&at).filter(|_| first || self.verb.deep).map(Rc::as_ref)
    }

    /// What is found under the words that the command may be.
    pub(crate) fn among<'a, T>(&'a self, words: &'a BTreeMap<Vec<u8>, T>) -> impl Iterator<Item = &'a T> {
        self.words.values().flat_map(|read| read.among(words))
    }
}

impl Readings {
    fn any() -> Self {
        Self { words: Vec::new(), begins: Some(String::new()) }
    }

    /// Whether it may be any word.
    pub(crate) fn is_any(&self) -> bool {
        self.begins.as_ref().is_some_and(String::is_empty)
    }

    /// Whether it may be this word.
    pub(crate) fn means(&self, word: &[u8]) -> bool {
        self.begins.as_ref().is_some_and(|begins| word.starts_with(begins.as_bytes()))
            || self.words().any(|own| own == word)
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.words.iter().map(String::as_bytes)
    }

    fn among<'a, T>(&'a self, words: &'a BTreeMap<Vec<u8>, T>) -> impl Iterator<Item = &'a T> {
        let begun = self.begins.iter().map(String::as_bytes).flat_map(|begins| {
            let from = words.range::<[u8], _>((Bound::Included(begins), Bound::Unbounded));
            from.take_while(move |(word, _)| word.starts_with(begins)).map(|(_, found)| found)
        });
        self.words().filter_map(move |word| words.get(word)).chain(begun)
    }
}

/// `aB` as `a-b`.
fn dashed(word: &str) -> Cow<'_, str> {
    if !word.contains(|letter: char| letter.is_ascii_uppercase()) {
        return Cow::Borrowed(word);
    }
    let letters = word.chars().flat_map(|letter| {
        let dash = letter.is_ascii_uppercase().then_some('-');
        dash.into_iter().chain([letter.to_ascii_lowercase()])
    });
    Cow::Owned(letters.collect())
}

/// How far a word is from another, as git counts it: letters that change places cost nothing, one that is missing 1, another one 2, one too
/// many 3.
fn distance(word: &[u8], other: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in word.iter().enumerate() {
        let mut next = vec![(at + 1) * 3];
        for (index, own) in other.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut least = cell(&row, index) + if letter == own { 0 } else { 2 };
            let last = at.checked_sub(1).zip(index.checked_sub(1));
            let swapped =
                last.filter(|(at, index)| word.get(*at) == Some(own) && other.get(*index) == Some(letter));
            if let Some((_, index)) = swapped {
                least = least.min(cell(&before, index));
            }
            least = least.min(cell(&row, index + 1) + 3).min(cell(&next, index) + 1);
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(program: &str, line: &str) -> Vec<String> {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let read = of([program.as_bytes()]).unwrap().readings(&arguments);
        read.values().flat_map(|read| read.words.clone()).collect()
    }

    fn unknown(line: &str, toolchain: bool) -> bool {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        of([&b"cargo"[..]]).unwrap().unknown(&arguments, toolchain).is_some()
    }

    #[test]
    fn the_list_can_be_read() {
        assert!(list().len() > 8);
        let aliases = || list().iter().flat_map(|verb| &verb.aliases);
        assert!(aliases().all(|alias| alias.split(' ').count() == 2));
        assert!(is_built_in(b"upload-pack") && !is_built_in(b"lfs"));
    }

    /// As `help.autocorrect = immediate` of git 2.47 has it.
    #[test]
    fn what_git_corrects_is_what_it_may_be() {
        for (word, command) in [
            ("pushh", "push"),
            ("psuh", "push"),
            ("pishh", "push"),
            ("us", "push"),
            ("tga", "tag"),
            ("taag", "tag"),
        ] {
            assert_eq!(read("git", word), [command], "{word}");
            assert_eq!(read("git", &format!("-C d {word}")), [command], "{word}");
        }
        for word in
            ["push", "pus", "p", "st", "co", "ci", "br", "sh", "x", "ls-files", "lfs-push-to", "submodule"]
        {
            assert!(!read("git", word).contains(&"push".to_owned()), "{word}");
        }
        assert_eq!(read("git", "ls"), ["log"]);
        assert!(read("git", "-C psuh status").is_empty());
    }

    #[test]
    fn what_is_cut_short_or_has_other_names_is_what_it_may_be() {
        let means =
            |program: &str, word: &str, command: &str| read(program, word).iter().any(|own| own == command);
        for (program, word, command) in [
            ("npm", "publis", "publish"),
            ("npm", "pu", "publish"),
            ("npm-cli.js", "--loglevel=error pub", "publish"),
            ("npm", "--x y pub", "publish"),
            ("npm", "i", "install"),
            ("npm", "install", "i"),
            ("npm", "installTes", "install-test"),
            ("npm", "install-cl", "ci"),
            ("gem3.1", "pus", "push"),
            ("ip", "l", "link"),
            ("ip", "link s", "set"),
            ("hg", "pus", "push"),
            ("svn", "ci", "commit"),
            ("cargo", "r", "run"),
        ] {
            let begun = of([program.as_bytes()])
                .unwrap()
                .readings(&word.split(' ').map(str::as_bytes).collect::<Vec<_>>());
            let begun = begun.values().any(|read| read.means(command.as_bytes()));
            assert!(means(program, word, command) || begun, "{program} {word}");
        }
        for (program, word, command) in [
            ("npm", "run publish-it", "publish"),
            ("npm", "prefix", "publish"),
            ("npm", "--prefix pub install", "publish"),
            ("npm", "install", "install-test"),
            ("gem", "help", "push"),
            ("svn", "comm", "commit"),
        ] {
            assert!(!means(program, word, command), "{program} {word}");
        }
    }

    /// Bytes, not letters, are what git counts; and a denial may be written short itself.
    #[test]
    fn a_denial_means_what_its_own_word_means() {
        let denied = |program: &str, arguments: &[&[u8]], entry: &str| {
            let verb = of([program.as_bytes()]).unwrap();
            verb.readings(arguments).values().any(|read| verb.means(read, entry.as_bytes()))
        };
        assert!(denied("git", &[b"push\xff"], "push") && denied("git", &[b"pu\xe9sh"], "push"));
        for (program, word, entry) in [
            ("ip", "delete", "del"),
            ("ip", "list", "show"),
            ("ip", "address", "addr"),
            ("ip", "change", "set"),
            ("ip", "ch", "set"),
            ("svn", "commit", "ci"),
            ("pnpm", "install", "i"),
            ("tc", "q", "qdisc"),
            ("gem", "PUSH", "push"),
            ("gem", "Pu", "push"),
            ("npm", "publish", "pub"),
        ] {
            assert!(denied(program, &[word.as_bytes()], entry), "{program} {word} {entry}");
        }
        assert!(!denied("ip", &[b"link"], "addr") && !denied("svn", &[b"update"], "ci"));
    }

    #[test]
    fn a_line_of_many_words_is_read_in_little_time_and_its_last_may_be_any() {
        let begun = std::time::Instant::now();
        let words: Vec<String> = (0..50_000).map(|number| format!("w{number}")).collect();
        let line: Vec<&[u8]> = words.iter().flat_map(|word| [&b"-x"[..], word.as_bytes()]).collect();
        let git = of([&b"git"[..]]).unwrap();
        let read = git.readings(&line);
        assert!(read.get(&80_001).is_some_and(|read| read.means(b"push") && read.is_any()));
        assert!(read.get(&301).is_none_or(|read| !read.means(b"push")));
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_no_command_of_cargo_may_be_any() {
        for line in
            ["pp", "clippy", "b", "--color never pp", "-vC build pp", "-Zx pp", "+x build", "--config a=b pp"]
        {
            assert!(unknown(line, false), "{line}");
        }
        for line in
            ["build", "--color never build", "-C d test", "--version", "-vv check --all", "-Z x build"]
        {
            assert!(!unknown(line, false), "{line}");
        }
        assert!(!unknown("+nightly build", true) && unknown("+nightly pp", true));
    }
}
