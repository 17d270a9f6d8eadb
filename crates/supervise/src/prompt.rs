//! A question on the owner's terminal: a line of words, ended by a key that no program waits for by accident.

use std::time::{Duration, Instant};

use ringfence_confine::{Refusal, Refused, Size};

use crate::keys::Keys;
use crate::permits::{Act, entry_of};
use crate::questions::{Choice, Question};
use crate::view::{cells, plain};

/// Keys that come sooner were meant for the task.
const DEAF: Duration = Duration::from_millis(500);
const MINUTES: u64 = 10;

/// Letters of an answer.
const WORD: usize = 16;

/// What is being typed.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) question: Question,
    since: Instant,
    keys: Keys,
    word: String,
    pub(crate) choice: Option<Choice>,
}

/// The question, with how to answer it, so that all of it is in view on a terminal of that size. Names are the task's: nothing of them
/// acts on a terminal, and all of it that is drawn is underlined.
fn text(question: &Question, size: Size) -> String {
    let refusal = &question.refusal;
    let path = question.path.to_string_lossy();
    // Whoever looks at a directory alone is given all that lies below.
    let directory = question.path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let reading = match directory {
        true => "grants reading this directory, with all below it, to this sandbox",
        false => "grants reading it to this sandbox",
    };
    let (does, what, yes) = match (entry_of(&question.path), &refusal.what) {
        (Some((Act::Start, entry)), _) => ("start:", entry, "lets it start in this sandbox"),
        (Some((Act::Reach, entry)), _) => ("connect to", entry, "lets this sandbox reach it"),
        (Some((Act::Use, entry)), _) => ("use", entry, "lets this sandbox use it"),
        (None, Refused::Asked { purpose, .. }) => (purpose.word(), &*path, reading),
        (None, _) => ("use", &*path, reading),
    };
    let who = format!("ringfence: {} (process {}) wants to {does} ", named(refusal), refusal.process);
    let later = if question.lasting { "`a` to later ones too, " } else { "" };
    let how = format!(
        "ringfence: `y` {yes}, `t` for {MINUTES} minutes, {later}`n` refuses, `x` refuses all such; then Enter: "
    );
    let around = cells(&who) + cells(&how) + WORD;
    format!("{PLAIN}\r\n\x1b[K{who}{}\r\n\x1b[K{how}", crate::view::within(what, around, size))
}

/// Who waits and for what, in one line for whoever looks at the sandbox from elsewhere.
pub(crate) fn waits(question: &Question) -> String {
    let act = match (entry_of(&question.path), &question.refusal.what) {
        (Some((Act::Start, entry)), _) => format!("start {}", plain(entry)),
        (Some((Act::Reach, entry)), _) => format!("connect to {}", plain(entry)),
        (Some((Act::Use, entry)), _) => format!("use {}", plain(entry)),
        (None, Refused::Asked { purpose, .. }) => {
            format!("{} {}", purpose.word(), plain(&question.path.to_string_lossy()))
        }
        (None, _) => format!("use {}", plain(&question.path.to_string_lossy())),
    };
    let process = question.refusal.process;
    let left = question.until.saturating_duration_since(Instant::now()).as_secs();
    let (program, act) = (named(&question.refusal), shortened(&act, LONGEST_ACT));
    format!("{program} (process {process}) waits {left} more seconds at most for its owner to let it {act}")
}

/// Letters of a program in that, since a longer name could pass for the sentence; and of what is waited for, since a message holds about
/// two paths.
const LONGEST_NAME: usize = 60;
const LONGEST_ACT: usize = 1024;

/// The program that waits: without brackets, since a process is told of in some, and no longer than a name is.
fn named(refusal: &Refusal) -> String {
    let name = plain(&refusal.program.to_string()).replace(['(', ')'], "?");
    shortened(&name.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "), LONGEST_NAME)
}

/// The text, or how it begins and ends, with dots between.
fn shortened(text: &str, longest: usize) -> String {
    let (letters, half) = (text.chars().count(), (longest - 3) / 2);
    if letters <= longest {
        return text.to_owned();
    }
    let [head, tail] = [(0, half), (letters - half, half)]
        .map(|(from, many)| text.chars().skip(from).take(many).collect::<String>());
    format!("{head}...{tail}")
}

/// However the task left the terminal: no alternate screen, no region of its own for scrolling or origin, characters that replace and
/// wrap, letters as they are; then the last line, so that what follows is on it and nothing below it.
const PLAIN: &str =
    "\x1b[?1049l\x1b[?47l\x1b[?6l\x1b[r\x1b[?69l\x1b[?7h\x1b[4l\x0f\x1b(B\x1b[0m\x1b[?25h\x1b[999;1H";

impl Prompt {
    pub(crate) fn new(question: Question) -> Self {
        Self { question, since: Instant::now(), keys: Keys::default(), word: String::new(), choice: None }
    }

    /// All of it, with what is typed so far: keys that come at once were typed at what was there before.
    pub(crate) fn drawn(&mut self, size: Size) -> String {
        self.since = Instant::now();
        format!("{}{}", text(&self.question, size), self.word)
    }

    /// Takes keys; what is to be drawn of them.
    pub(crate) fn typed(&mut self, bytes: &[u8]) -> String {
        let keys: Vec<u8> = bytes.iter().filter_map(|byte| self.keys.key(*byte)).collect();
        if self.since.elapsed() < DEAF {
            return String::new();
        }
        let mut echo = String::new();
        for key in keys {
            match key {
                // Ctrl-C, Ctrl-D.
                3 | 4 => self.choice = Some(Choice::Refuse),
                b'\r' | b'\n' => self.choice = self.chosen(),
                8 | 127 if self.word.pop().is_some() => echo.push_str("\x08 \x08"),
                b' '..=b'~' if self.word.len() < WORD => {
                    self.word.push(char::from(key));
                    echo.push(char::from(key));
                }
                _ => {}
            }
            if self.choice.is_some() {
                echo.push_str("\r\n");
                break;
            }
            if matches!(key, b'\r' | b'\n') {
                self.word.clear();
                echo.push_str(&format!("\r\nringfence: {}: ", self.answers()));
            }
        }
        echo
    }

    fn answers(&self) -> &'static str {
        if self.question.lasting { "`y`, `t`, `a`, `n` or `x`" } else { "`y`, `t`, `n` or `x`" }
    }

    fn chosen(&self) -> Option<Choice> {
        match self.word.trim() {
            "y" | "yes" => Some(Choice::Grant(None)),
            "t" => Some(Choice::Grant(Some(MINUTES * 60))),
            "a" if self.question.lasting => Some(Choice::Always),
            "x" => Some(Choice::RefuseAll),
            "n" | "no" => Some(Choice::Refuse),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { rows: 24, columns: 80 };

    fn question(path: &str, program: &str) -> Question {
        Question::told(ringfence_confine::Query {
            path: path.into(),
            process: 7,
            program: ringfence_confine::Program { file: program.into(), ..Default::default() },
            purpose: ringfence_confine::Purpose::Read,
            lasting: true,
        })
    }

    fn after(keys: &[&[u8]]) -> Option<Choice> {
        let mut prompt = Prompt::new(question("/x", "cat"));
        prompt.typed(b"y\r");
        assert_eq!(prompt.choice, None, "keys that were on their way");
        prompt.since -= DEAF;
        keys.iter().for_each(|keys| drop(prompt.typed(keys)));
        prompt.choice
    }

    #[test]
    fn only_a_word_and_enter_answer() {
        assert_eq!(after(&[b"y"]), None);
        assert_eq!(after(&[b"y", b"\r"]), Some(Choice::Grant(None)));
        assert_eq!(after(&[b"z\r", b"t\r"]), Some(Choice::Grant(Some(600))));
        assert_eq!(after(&[b"\r", b"yy\r"]), None);
        assert_eq!(after(&[b"y\x7fn\r"]), Some(Choice::Refuse));
        assert_eq!(after(&[b"y\x03"]), Some(Choice::Refuse));
        assert_eq!(after(&[b"\x1b[A\r"]), None);
        assert_eq!(after(&[b"\x1b[<3", b"5;10;5My\r"]), Some(Choice::Grant(None)));
        assert_eq!(after(&[b"x\r"]), Some(Choice::RefuseAll));
        assert_eq!(after(&[b"a\r"]), Some(Choice::Always));
    }

    #[test]
    fn every_question_begins_on_a_plain_last_line_and_no_name_is_the_sentence() {
        let name = format!("x (process 3) wants to read /x{}", " ".repeat(200));
        for path in ["/x".to_owned(), format!("{}git push", Act::Start.start())] {
            let drawn = text(&question(&path, &name), SIZE);
            assert!(drawn.starts_with(&format!("{PLAIN}\r\n\x1b[K")), "{drawn:?}");
            assert!(
                drawn.contains("ringfence: x ?process 3? wants to read /x (process 7) wants"),
                "{drawn:?}"
            );
        }
    }

    #[test]
    fn keys_do_not_count_just_after_it_is_drawn_anew() {
        let mut prompt = Prompt::new(question("/x", "cat"));
        prompt.since -= DEAF;
        prompt.typed(b"y");
        assert!(prompt.drawn(SIZE).ends_with("Enter: y"));
        assert_eq!((prompt.typed(b"\r").as_str(), prompt.choice), ("", None));
    }
}
