//! Command lines as programs read them, for the few whose options have to be told from their values.

/// What a letter takes, in a word of options (getopt(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// The letter behind it, whichever.
    Letter,
    /// The rest of its word, if there is one.
    Rest,
    /// The same up to a blank, behind which are options again (perl(1)).
    ToBlank,
    /// The rest of its word, or the next word.
    Value,
}

/// What it has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken<'a> {
    Nothing,
    Glued(&'a str),
    NextWord,
}

/// The options in a word, which stands here without its dash; `takes` is asked with what stands behind a letter.
pub(crate) fn letters<'a>(word: &'a str, takes: impl Fn(char, &str) -> Takes) -> Vec<(char, Taken<'a>)> {
    let mut found = Vec::new();
    let mut rest = word;
    while let Some(letter) = rest.chars().next() {
        let behind = rest.get(letter.len_utf8()..).unwrap_or_default();
        let end = match takes(letter, behind) {
            Takes::Nothing => 0,
            Takes::Letter => behind.chars().next().map_or(0, char::len_utf8),
            Takes::ToBlank => behind.find(char::is_whitespace).unwrap_or(behind.len()),
            Takes::Value if behind.is_empty() => {
                found.push((letter, Taken::NextWord));
                break;
            }
            Takes::Rest | Takes::Value => behind.len(),
        };
        let (value, more) = behind.split_at_checked(end).unwrap_or((behind, ""));
        found.push((letter, if value.is_empty() { Taken::Nothing } else { Taken::Glued(value) }));
        rest = more;
    }
    found
}

/// Which options take values (getopt_long(3)).
pub(super) struct Grammar {
    /// Letters that take the rest of their word, or the next one.
    pub(super) valued: &'static str,
    /// Letters that take the rest of their word, if there is one.
    pub(super) glued: &'static str,
    /// Long options that take a value.
    pub(super) long: &'static [&'static str],
    /// The first word that is no option ends them.
    pub(super) stops: bool,
}

/// A part of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Short(char, &'a str),
    Long(&'a str, &'a str),
    Word(&'a str),
}

impl Part<'_> {
    /// Whether it is this option, which may be cut short.
    pub(super) fn is(&self, letter: char, names: &[&str]) -> bool {
        match self {
            Self::Short(own, _) => *own == letter,
            Self::Long(own, _) => !own.is_empty() && names.iter().any(|name| name.starts_with(own)),
            Self::Word(_) => false,
        }
    }

    pub(super) fn value(&self) -> &str {
        match self {
            Self::Short(_, value) | Self::Long(_, value) | Self::Word(value) => value,
        }
    }
}

pub(super) static AWK: Grammar = Grammar {
    valued: "fFveEilW",
    glued: "dDopL",
    long: &["file", "field-separator", "assign", "source", "exec", "include", "load"],
    stops: true,
};
pub(super) static SED: Grammar =
    Grammar { valued: "efl", glued: "i", long: &["expression", "file", "line-length"], stops: false };
/// BSD's.
pub(super) static BMAKE: Grammar =
    Grammar { valued: "CdDfIJjmTVvWE", glued: "", long: MAKE.long, stops: false };
pub(super) static MAKE: Grammar = Grammar {
    valued: "CfIoWE",
    glued: "jlO",
    long: &[
        "directory",
        "file",
        "makefile",
        "include-dir",
        "old-file",
        "assume-old",
        "new-file",
        "assume-new",
        "what-if",
        "eval",
    ],
    stops: false,
};

impl Grammar {
    pub(super) fn parts<'a>(&self, words: &[&'a str]) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
                parts.push(Part::Word(word));
                if self.stops {
                    break;
                }
                continue;
            };
            if rest == "-" {
                break;
            }
            if let Some(long) = rest.strip_prefix('-') {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, value),
                    None if self.long.iter().any(|own| own.starts_with(long)) => {
                        (long, words.next().copied().unwrap_or_default())
                    }
                    None => (long, ""),
                };
                parts.push(Part::Long(name, value));
                continue;
            }
            let takes = |letter, _: &str| match letter {
                letter if self.valued.contains(letter) => Takes::Value,
                letter if self.glued.contains(letter) => Takes::Rest,
                _ => Takes::Nothing,
            };
            for (letter, taken) in letters(rest, takes) {
                let value = match taken {
                    Taken::Nothing => "",
                    Taken::Glued(value) => value,
                    Taken::NextWord => words.next().copied().unwrap_or_default(),
                };
                parts.push(Part::Short(letter, value));
            }
        }
        parts.extend(words.map(|word| Part::Word(word)));
        parts
    }
}

/// Whether a variable on make's command line holds a command, makefiles, or options that hold rules (make(1), `!=`).
pub(super) fn assigns_code(word: &str) -> bool {
    let Some((name, value)) = word.split_once('=') else { return false };
    let plain = name.trim_end_matches([':', '+', '?', '!']);
    match plain.trim() {
        _ if name.ends_with('!') => true,
        "SHELL" | "MAKEFILES" => !value.is_empty(),
        "MAKEFLAGS" | "MFLAGS" | "GNUMAKEFLAGS" => flags_hold_code(value),
        _ => false,
    }
}

/// As make reads it: blanks part words, and a backslash is dropped before whatever stands behind it.
fn unescaped(value: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter if letter.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Whether options that make takes from its environment hold rules, or words that it expands (make(1), MAKEFLAGS).
pub(crate) fn flags_hold_code(value: &str) -> bool {
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        // Two of them are one that is meant as it is.
        if letter == '$' && letters.next() != Some('$') {
            return true;
        }
    }
    let mut words = unescaped(value);
    if words.iter().any(|word| word.starts_with("--ev") || assigns_code(word)) {
        return true;
    }
    if let Some(first) = words.first_mut().filter(|first| !first.starts_with('-') && !first.contains('=')) {
        first.insert(0, '-');
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    MAKE.parts(&words).iter().any(|part| part.is('E', &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_their_values() {
        let parts = SED.parts(&["-nf", "a", "-i.bak", "--expr=x", "--line-l", "5", "w", "--", "-e"]);
        let expected = [
            Part::Short('n', ""),
            Part::Short('f', "a"),
            Part::Short('i', ".bak"),
            Part::Long("expr", "x"),
            Part::Long("line-l", "5"),
            Part::Word("w"),
            Part::Word("-e"),
        ];
        assert_eq!(parts, expected);
        assert_eq!(AWK.parts(&["-v", "x=1", "-f", "p", "y", "-e"]).last(), Some(&Part::Word("-e")));
    }

    #[test]
    fn code_among_flags_of_make_is_seen() {
        for value in [
            "--eval=x:",
            "kE x",
            "-kE x",
            "k $(info x)",
            "k\t--eval=x",
            "\\--eval=x",
            "--e\\val=x",
            "-\\-eval=include\\ x",
            "-- MAKE\\FILES=x",
            "k\\E x",
            "X!=id",
            "-- SHELL=/x",
            "-I -- --eval=x",
            " -- A=${x}",
            "k $$$(x)",
        ] {
            assert!(flags_hold_code(value), "{value}");
        }
        for value in [
            "",
            "ks",
            " -j8 --jobserver-auth=fifo:/tmp/E -- CFLAGS=-E",
            "I/tmp/Env -- V=1",
            "-I /tmp/Env -k",
            " -- A=$$(x) B=a\\ b",
            "V=E",
        ] {
            assert!(!flags_hold_code(value), "{value}");
        }
    }
}
