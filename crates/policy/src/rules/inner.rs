//! What a program of busybox or toybox starts of its own file by itself, without an execve(2), which nobody sees. Nothing here needs a list
//! of all their programs: what is not known to start none may start any of them.

use std::ops::Range;

use super::last;
use super::program::{Meaning, by_word, may_be_toybox};

/// Programs of busybox 1.36 and toybox 0.8 that start no other, by whatever words; behind the empty line those that every toybox 0.8 has.
/// Not: `tar` (`-I`, compressors), `install` (strip), editors.
const QUIET: &str = include_str!("quiet.txt");

/// Of those, the ones whose words may be code that starts programs, by an execve(2): where anything may be among the words, so may code.
const CODE: [&str; 4] = ["awk", "bc", "dc", "sed"];

/// Well-known programs that no build of theirs has: by such a name they start what is seen.
const FOREIGN: &str = "apt apt-get aws cargo clang cmake curl dnf docker g++ gcc gcloud gh git go gradle helm java javac kubectl mvn \
    mysql ninja node npm npx perl php pip pip3 pnpm podman psql pytest python python3 rsync ruby rustc rustup scp sftp sqlite3 ssh \
    systemctl terraform uv yarn";

/// How many programs one line may name, of which each is judged.
const MOST: usize = 64;

/// Programs that start what stands behind their options.
struct Launcher {
    name: &'static str,
    /// Options of one letter that take nothing, by both projects' usage.
    flags: &'static str,
    /// Those that take what stands behind them in the same word, or the next word.
    valued: &'static str,
    /// A duration comes first.
    duration: bool,
    /// `-` and `NAME=VALUE` come first.
    variables: bool,
}

const PLAIN: Launcher = Launcher { name: "", flags: "", valued: "", duration: false, variables: false };
const LAUNCHERS: [Launcher; 6] = [
    Launcher { name: "env", flags: "i0", valued: "u", variables: true, ..PLAIN },
    Launcher { name: "nice", valued: "n", ..PLAIN },
    Launcher { name: "nohup", ..PLAIN },
    Launcher { name: "setsid", flags: "cdw", ..PLAIN },
    Launcher { name: "time", flags: "apv", valued: "fo", ..PLAIN },
    Launcher { name: "timeout", flags: "iv", valued: "ks", duration: true, ..PLAIN },
];

/// It may start any program of its file, as far as can be told.
#[derive(Debug)]
struct Any;

/// Adds what these start by themselves, and so on; whether that may be any other program of the file.
pub(super) fn follow(file: &[u8], all: &mut Vec<Meaning<'_>>) -> bool {
    let mut at = 0;
    while let Some(one) = all.get(at).cloned() {
        at += 1;
        let Ok(found) = started(file, &one) else { return true };
        all.extend(found);
        if all.len() > MOST {
            return true;
        }
    }
    false
}

/// Whether a file of many may have a program of this name.
pub(super) fn may_be_theirs(file: &[u8], name: &[u8]) -> bool {
    // toybox has begun a git of its own, which no release builds.
    let own = name == b"git" && !last(file).starts_with(b"busybox");
    own || !is(FOREIGN, name)
}

/// Whether this may be a link for toybox, to any other of its programs.
pub(super) fn is_link(file: &[u8], word: &[u8]) -> bool {
    may_be_toybox(file) && !surely(word, &[])
}

/// Whether toybox surely has what it looks up itself: of a word that it does not know it reads the link of that name, and is what that names.
fn surely(word: &[u8], words: &[&[u8]]) -> bool {
    let (_, own) = QUIET.split_once("\n\n").unwrap_or_default();
    let launches = word == b"find" || LAUNCHERS.iter().any(|launcher| launcher.name.as_bytes() == word);
    launches || is(own, word) || words.is_empty() && [&b"--help"[..], b"--version"].contains(&word)
}

fn is(list: &str, name: &[u8]) -> bool {
    list.split_ascii_whitespace().any(|own| own.as_bytes() == name)
}

fn started<'a>(file: &[u8], one: &Meaning<'a>) -> Result<Vec<Meaning<'a>>, Any> {
    let (called, words) = (one.called, one.arguments());
    if one.sought.is_some_and(|word| !surely(word, words)) {
        return Err(Any);
    }
    // By its own name alone the file says what it holds, and by options of its own.
    let options = [&b"--help"[..], b"--list", b"--list-full", b"--version"];
    if is(QUIET, called)
        || one.option && options.contains(&called)
        || !may_be_theirs(file, called)
        || by_word(called) && words.is_empty()
    {
        let code = one.open && CODE.iter().any(|name| name.as_bytes() == called);
        return if code { Err(Any) } else { Ok(Vec::new()) };
    }
    // What may be any word may be an option, and `-exec` too.
    if one.open {
        return Err(Any);
    }
    let ranges = match LAUNCHERS.iter().find(|launcher| launcher.name.as_bytes() == called) {
        Some(launcher) => launcher.program(words)?.map(|at| (at..words.len(), false)).into_iter().collect(),
        None if called == b"find" => executed(words)?,
        None => return Err(Any),
    };
    Ok(ranges.into_iter().filter_map(|(range, open)| one.within(file, range, open)).collect())
}

impl Launcher {
    /// Where its program stands, if there is one.
    fn program(&self, words: &[&[u8]]) -> Result<Option<usize>, Any> {
        let mut at = 0;
        while let Some(letters) = words.get(at).and_then(|word| word.strip_prefix(b"-")) {
            if letters.is_empty() {
                break;
            }
            at += 1;
            if letters == b"-" {
                break;
            }
            for (index, letter) in letters.iter().enumerate() {
                let one = |list: &str| list.as_bytes().contains(letter);
                if one(self.valued) {
                    at += usize::from(index + 1 == letters.len());
                    break;
                }
                if !one(self.flags) {
                    return Err(Any);
                }
            }
        }
        if self.variables {
            at += usize::from(words.get(at).is_some_and(|word| *word == b"-"));
            at += words.iter().skip(at).take_while(|word| word.contains(&b'=')).count();
        }
        if self.duration {
            match words.get(at) {
                Some([first, ..]) if first.is_ascii_digit() || *first == b'.' => at += 1,
                // Earlier ones take the program there.
                Some(_) => return Err(Any),
                None => {}
            }
        }
        Ok((at < words.len()).then_some(at))
    }
}

/// What `find` starts: of each where its words stand, and whether more may stand for them.
fn executed(words: &[&[u8]]) -> Result<Vec<(Range<usize>, bool)>, Any> {
    let names = |word: &&[u8]| word.windows(2).any(|pair| pair == b"{}");
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let dashes = word.iter().take_while(|byte| **byte == b'-').count();
        let name = word.get(dashes..).unwrap_or_default();
        if dashes == 0 || !(name.starts_with(b"exec") || name.starts_with(b"ok")) {
            continue;
        }
        let rest = words.get(at..).unwrap_or_default();
        let own = rest.split(|word| *word == b";").next().unwrap_or_default();
        // busybox ends at each `+`, toybox only behind `{}`.
        let plus = own.iter().position(|word| *word == b"+");
        if plus.is_some_and(|plus| plus == 0 || own.get(plus - 1).is_none_or(|word| *word != b"{}")) {
            return Err(Any);
        }
        let own = own.get(..plus.unwrap_or(own.len())).unwrap_or_default();
        // Or it was the value of another test.
        if own.first().is_some_and(|word| names(word) || word.starts_with(b"-")) {
            return Err(Any);
        }
        if !own.is_empty() {
            found.push((at..at + own.len(), own.iter().any(names)));
        }
        if found.len() > MOST {
            return Err(Any);
        }
        at += own.len();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::Execution;
    use super::super::program::meanings;
    use super::*;

    /// What a line names, and whether it may be anything.
    fn told(line: &str) -> (Vec<String>, bool) {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (file, arguments) = (&b"/opt/toybox"[..], arguments.as_slice());
        let meant = meanings(&Execution { file, arguments, directory: b"/", first: true, within: true });
        let one = |meaning: &Meaning<'_>| {
            let words = std::iter::once(meaning.called).chain(meaning.arguments().iter().copied());
            let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
            words.join(" ") + if meaning.open { " .." } else { "" }
        };
        (meant.all.iter().skip(1).map(one).collect(), meant.any)
    }

    #[test]
    fn what_stands_in_the_place_of_a_program_is_one() {
        for (line, programs) in [
            ("cat head", &[][..]),
            ("toybox", &[]),
            ("toybox --help", &[]),
            ("toybox --version", &[]),
            ("/usr/bin/cat x", &[]),
            ("env toybox", &["toybox"]),
            ("env dd x", &["dd x"]),
            ("find . -name head -type f", &[]),
            ("env -i A=head", &[]),
            ("env", &[]),
            ("env -u A - B=c cat x", &["cat x"]),
            ("env -0uA cat x", &["cat x"]),
            ("nice -n 5 toybox cat x", &["cat x"]),
            ("nice env time -o f cat x", &["env time -o f cat x", "time -o f cat x", "cat x"]),
            ("timeout -k 2 -s KILL 3s cat x", &["cat x"]),
            ("setsid -c curl x", &["curl x"]),
            ("nohup -- /bin/cat x", &["cat x"]),
            ("find a b -exec cat x ; -ok rm {} ; -print", &["cat x", "rm {} .."]),
            ("find . -execdir env cat x ;", &["env cat x", "cat x"]),
            ("find . --exec cat -n {} + -exec head ;", &["cat -n {} ..", "head"]),
        ] {
            let expected: Vec<String> = programs.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(told(line), (expected, false), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_followed_may_be_anything() {
        let words = vec!["env"; 100].join(" ");
        for line in [
            "sh -c x",
            "",
            "toybox --list",
            "toybox --version x",
            "toybox ./cat x",
            "toybox ./x cat x",
            "toybox cat/ x",
            "toybox awk x",
            "toybox dd x",
            "toybox curl x",
            "toybox toybox",
            "toybox toybox cat x",
            "toybox toybox-x cat x",
            "toybox busybox cat x",
            "toybox coreutils cat x",
            "toybox-x cat x",
            "busybox cat x",
            "./awk x",
            "./curl x",
            "-cat x",
            "./-toybox cat x",
            "--version",
            "env toybox curl x",
            "env toybox toybox",
            "env toybox ./cat x",
            "env toybox-x cat x",
            "env coreutils cat x",
            "env --list",
            "xargs",
            "tar -c -I base64 x",
            "udhcpc -s head",
            "nobody-knows x",
            "env nobody-knows x",
            "env -S cat",
            "env --unset A cat",
            "env xargs cat",
            "nice -5 cat",
            "timeout cat x",
            "timeout -t 3 cat x",
            "nohup -x",
            "find ead -exec h{} -n1 x ;",
            "find x -exec env {} x ;",
            "find x -exec xargs -a in find ;",
            "find x -exec find {} -name y ;",
            "find x -exec awk {} ;",
            "find x -exec cat + -exec head x ;",
            "find x -exec + ;",
            "find x -name -exec -exec head x ;",
            "find x -name -ok --help -exec head x ;",
            &words,
        ] {
            assert!(told(line).1, "{line}");
        }
    }
}
