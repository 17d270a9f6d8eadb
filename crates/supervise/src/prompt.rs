//! A question on the owner's terminal: a line of words, ended by a key that no program waits for by accident.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_confine::{Refusal, Refused};

use crate::permits::{Act, entry_of};
use crate::questions::{Choice, Question};

/// Keys that come sooner were meant for the task.
const DEAF: Duration = Duration::from_millis(500);
const MINUTES: u64 = 10;

/// What is being typed.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) path: PathBuf,
    /// The question as it is drawn.
    text: String,
    since: Instant,
    word: String,
    /// Whether `a` is an answer.
    lasting: bool,
    pub(crate) choice: Option<Choice>,
}

/// The question, with how to answer it. Names are the task's: nothing of them acts on a terminal.
pub(crate) fn text(question: &Question) -> String {
    drawn(&question.path, &question.refusal, question.lasting)
}

fn drawn(path: &Path, refusal: &Refusal, lasting: bool) -> String {
    let program = named(refusal);
    if let Some((act, entry)) = entry_of(path) {
        let (wants, lets) = match act {
            Act::Start => ("start:", "lets it start in this sandbox"),
            Act::Reach => ("connect to", "lets this sandbox reach it"),
            Act::Use => ("use", "lets this sandbox use it"),
        };
        return format!(
            "{PLAIN}\r\n\x1b[Kringfence: {program} (process {}) wants to {wants} {}\r\n\x1b[K\
             ringfence: `y` {lets}, `t` for {MINUTES} minutes, `n` refuses, `x` refuses all such; then Enter: ",
            refusal.process,
            plain(entry),
        );
    }
    let does = match &refusal.what {
        Refused::Asked { purpose, .. } => purpose.word(),
        _ => "use",
    };
    format!(
        "{PLAIN}\r\n\x1b[Kringfence: {program} (process {}) wants to {does} {}\r\n\x1b[K\
         ringfence: `y` grants reading it to this sandbox, `t` for {MINUTES} minutes, {}`n` refuses, `x` refuses all such; then Enter: ",
        refusal.process,
        plain(&path.to_string_lossy()),
        if lasting { "`a` to later ones too, " } else { "" },
    )
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

/// The whole of it, in letters that stand for themselves: what is granted must be what is read.
fn plain(text: &str) -> String {
    let shown = |one: char| one.is_ascii_graphic() || one == ' ' || one.is_alphanumeric();
    text.chars().map(|one| if shown(one) { one } else { '?' }).collect()
}

impl Prompt {
    pub(crate) fn new(path: PathBuf, text: String, lasting: bool) -> Self {
        Self { path, text, since: Instant::now(), word: String::new(), lasting, choice: None }
    }

    /// All of it, with what is typed so far, to be drawn anew: keys that come at once were typed at what was there before.
    pub(crate) fn again(&mut self) -> String {
        self.since = Instant::now();
        format!("{}{}", self.text, self.word)
    }

    /// Takes keys; what is to be drawn of them.
    pub(crate) fn typed(&mut self, keys: &[u8]) -> String {
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
                b' '..=b'~' if self.word.len() < 16 => {
                    self.word.push(char::from(*key));
                    echo.push(char::from(*key));
                }
                _ => {}
            }
            if self.choice.is_some() {
                echo.push_str("\r\n");
                break;
            }
            if matches!(key, b'\r' | b'\n') {
                self.word.clear();
                let path = plain(&self.path.to_string_lossy());
                echo.push_str(&format!("\r\nringfence: {path}: {}: ", self.keys()));
            }
        }
        echo
    }

    fn keys(&self) -> &'static str {
        if self.lasting { "`y`, `t`, `a`, `n` or `x`" } else { "`y`, `t`, `n` or `x`" }
    }

    fn chosen(&self) -> Option<Choice> {
        match self.word.trim() {
            "y" | "yes" => Some(Choice::Grant(None)),
            "t" => Some(Choice::Grant(Some(MINUTES * 60))),
            "a" if self.lasting => Some(Choice::Always),
            "x" => Some(Choice::RefuseAll),
            "n" | "no" => Some(Choice::Refuse),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(keys: &[&[u8]]) -> Option<Choice> {
        let mut prompt = Prompt::new("/x".into(), String::new(), true);
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
        assert_eq!(after(&[b"x\r"]), Some(Choice::RefuseAll));
        assert_eq!(after(&[b"a\r"]), Some(Choice::Always));
    }

    #[test]
    fn every_question_begins_on_a_plain_last_line_and_no_name_is_the_sentence() {
        let name = format!("x (process 3) wants to read /x{}", " ".repeat(200));
        for path in ["/x".to_owned(), format!("{}git push", Act::Start.start())] {
            let program = ringfence_confine::Program { file: name.clone().into(), ..Default::default() };
            let what =
                Refused::File { path: "/x".into(), asked: None, purpose: ringfence_confine::Purpose::Read };
            let refusal = Refusal { number: 1, process: 7, program, what };
            let drawn = drawn(Path::new(&path), &refusal, false);
            assert!(drawn.starts_with(&format!("{PLAIN}\r\n\x1b[K")), "{drawn:?}");
            assert!(
                drawn.contains("ringfence: x ?process 3? wants to read /x (process 7) wants"),
                "{drawn:?}"
            );
        }
    }

    #[test]
    fn keys_do_not_count_just_after_it_is_drawn_anew() {
        let mut prompt = Prompt::new("/x".into(), "Q".into(), true);
        prompt.since -= DEAF;
        prompt.typed(b"y");
        assert_eq!((prompt.again().as_str(), prompt.typed(b"\r").as_str(), prompt.choice), ("Qy", "", None));
    }

    #[test]
    fn names_do_not_act_or_turn_around() {
        assert_eq!(plain("/a b/\u{202e}gpj.é\x1b]52;c;x\x07"), "/a b/?gpj.é?]52;c;x?");
    }
}
