//! Scripts of sed(1), read as far as to know whether they start anything: by the command `e`, or the flag `e` of `s`.

use std::iter::Peekable;
use std::str::Chars;

/// How a backslash between brackets is read: GNU's sed takes it as it is, busybox's for an escape.
const READINGS: [bool; 2] = [false, true];

/// What a script does, as far as it can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Start,
    Nothing,
    Unread,
}

/// Whether a script starts something; what nobody can read may.
pub(super) fn executes(script: &str) -> bool {
    let read = READINGS.map(|escapes| Script { rest: script.chars().peekable(), escapes }.does());
    read.contains(&Does::Start) || !read.contains(&Does::Nothing)
}

struct Script<'a> {
    rest: Peekable<Chars<'a>>,
    escapes: bool,
}

impl Script<'_> {
    fn does(mut self) -> Does {
        loop {
            while self.rest.next_if(|letter| letter.is_whitespace() || ";}".contains(*letter)).is_some() {}
            if self.rest.peek().is_none() {
                return Does::Nothing;
            }
            if self.addresses().is_none() {
                return Does::Unread;
            }
            match self.rest.next() {
                Some('e') => return Does::Start,
                Some('s') => match self.substitute() {
                    Does::Nothing => {}
                    other => return other,
                },
                Some('y') => match self.section(false).and_then(|end| self.ends(end, false)) {
                    Some(()) => {}
                    None => return Does::Unread,
                },
                Some('q' | 'Q' | 'l' | 'L') => self.blanks(" \t0123456789"),
                // A blank ends a label, and the next command may follow it.
                Some('b' | 't' | 'T' | ':' | 'v') => {
                    self.blanks(" \t");
                    let of_label = |letter: &char| !letter.is_whitespace() && !";}".contains(*letter);
                    while self.rest.next_if(of_label).is_some() {}
                }
                Some('#' | 'r' | 'R' | 'w' | 'W') => self.line(false),
                Some('a' | 'i' | 'c') => self.line(true),
                Some(plain) if "{}dDgGhHnNpPx=zF".contains(plain) => {}
                _ => return Does::Unread,
            }
        }
    }

    /// To the end of the line; of a text, a backslash before that goes on.
    fn line(&mut self, goes_on: bool) {
        while let Some(letter) = self.rest.next() {
            match letter {
                '\\' if goes_on => drop(self.rest.next()),
                '\n' => return,
                _ => {}
            }
        }
    }

    fn substitute(&mut self) -> Does {
        if self.section(true).and_then(|end| self.ends(end, false)).is_none() {
            return Does::Unread;
        }
        while let Some(flag) = self.rest.next_if(|letter| letter.is_ascii_alphanumeric()) {
            match flag {
                'e' => return Does::Start,
                'g' | 'p' | 'i' | 'I' | 'm' | 'M' | '0'..='9' => {}
                'w' => {
                    self.line(false);
                    return Does::Nothing;
                }
                _ => return Does::Unread,
            }
        }
        Does::Nothing
    }

    /// What stands between two of the same letter, which is told. Of a longer one some locales take the first byte.
    fn section(&mut self, pattern: bool) -> Option<char> {
        let end = self.rest.next().filter(|letter| letter.is_ascii() && !"\\\n".contains(*letter))?;
        self.ends(end, pattern)?;
        Some(end)
    }

    fn ends(&mut self, end: char, pattern: bool) -> Option<()> {
        loop {
            match self.rest.next()? {
                '\\' => drop(self.rest.next()?),
                letter if letter == end => return Some(()),
                '[' if pattern => self.bracket()?,
                _ => {}
            }
        }
    }

    fn bracket(&mut self) -> Option<()> {
        let _ = self.rest.next_if_eq(&'^');
        let _ = self.rest.next_if_eq(&']');
        loop {
            match self.rest.next()? {
                ']' => return Some(()),
                '\\' if self.escapes => drop(self.rest.next()?),
                '[' => {
                    if let Some(kind) = self.rest.next_if(|letter| ":.=".contains(*letter)) {
                        let mut before = ' ';
                        loop {
                            let letter = self.rest.next()?;
                            if before == kind && letter == ']' {
                                break;
                            }
                            before = letter;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn addresses(&mut self) -> Option<()> {
        self.address()?;
        self.blanks(" \t");
        if self.rest.next_if_eq(&',').is_some() {
            self.blanks(" \t");
            self.address()?;
        }
        self.blanks("! \t");
        Some(())
    }

    fn blanks(&mut self, letters: &str) {
        while self.rest.next_if(|letter| letters.contains(*letter)).is_some() {}
    }

    /// One, or none.
    fn address(&mut self) -> Option<()> {
        match self.rest.peek()? {
            '0'..='9' | '+' | '~' => self.blanks("0123456789+~"),
            '$' => drop(self.rest.next()),
            '/' | '\\' => {
                let _ = self.rest.next_if_eq(&'\\');
                self.section(true)?;
                self.blanks("IM");
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::executes;

    #[test]
    fn what_starts_something_is_told_from_what_does_not() {
        for script in [
            "e",
            "1e id",
            "1eid",
            "$!e",
            "/x/,+3 e id",
            "s/a/b/e",
            "s/a/b/gew f",
            "s,a\\,b,c,e",
            "p;s/a/b/pe",
            "{e\n}",
            "y/a/b/;e",
            "\\,x, e id",
            "a text\ne id",
            "a\\\ntext\ne id",
            "#n\ne",
            "s/a",
            "k",
            "s/[/]/x/e",
            "s/[[:alpha:]/]/x/e",
            "s/[\\]/x/e",
            "s/[]/]/x/e",
            "/[/]/e",
            ":a e id",
            "ta e id\n:a",
            "T\ta\te id\n:a",
            "v 4.2 e id",
            "l 5;e",
            "s\u{e9}*\u{fffd}id\u{fffd}e\n#\u{e9}x\u{e9}",
            "\\\u{e9}x\u{e9}p",
        ] {
            assert!(executes(script), "{script}");
        }
        for script in [
            "",
            "p",
            "s/one/e/",
            "s/$/e/",
            "s/e/x/g",
            "/start/,/end/{s/x/y/}",
            "/^version/p;/edge/d",
            "1,$s|a|e|;2q",
            "y/abe/xyz/",
            "a e text",
            "i\\\ne text",
            "s/[^/]*\\/e/e/2w e",
            "s/[/]e/x/",
            "s/[[:alpha:]/]e/x/",
            "s/[]/]e/x/",
            "$!{N;ba};:a;s/\\n/e/",
            "r e",
            "\\%e%d",
            "0~3d",
            ": a;n;b a",
            "2q 5",
            "l 70;v 4.2",
            "s/\u{e9}/e/",
            "/a/I,/b/!d",
        ] {
            assert!(!executes(script), "{script}");
        }
    }
}
