//! What somebody in the sandbox waits for, until the owner says something or the time is over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_confine::{Purpose, Query, Refusal, Refused};
use serde::{Deserialize, Serialize};

/// How long the owner has.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds instead of that, for tests; read in debug builds only.
const TEST_VARIABLE: &str = "RINGFENCE_TEST_PATIENCE";
/// Questions at one time.
const MOST: usize = 64;
/// Questions of one run, each of which is written down: whoever waits can be ended and come again.
const MOST_ASKED: usize = 1024;

/// One of them.
#[derive(Clone, Debug)]
pub struct Question {
    /// What it is about.
    pub path: PathBuf,
    /// Who waits, and what for.
    pub refusal: Refusal,
    /// It is refused then.
    pub until: Instant,
    /// It can be granted to later sandboxes too.
    pub lasting: bool,
    /// The owner has said yes, and it is being opened.
    answered: bool,
}

/// What the owner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// For so many seconds; `None`: until the sandbox ends.
    Grant(Option<u64>),
    /// Until it ends, and to later sandboxes too.
    Always,
    /// This one.
    Refuse,
    /// This one, those that wait, and whatever else could be asked about.
    RefuseAll,
}

impl Question {
    /// As its keeper, another process, tells of it; it knows when it is late.
    pub(crate) fn told(query: Query) -> Self {
        let Query { path, process, program, purpose, lasting } = query;
        let what = Refused::Asked { path: path.clone(), purpose };
        let refusal = Refusal { number: 0, process, program, what };
        let until = Instant::now() + patience();
        Self { path: path.into(), refusal, until, lasting, answered: false }
    }

    /// For whoever has a terminal to ask it at.
    pub(crate) fn query(&self) -> Query {
        let purpose = match &self.refusal.what {
            Refused::Asked { purpose, .. } => *purpose,
            _ => Purpose::Execute,
        };
        let Refusal { process, program, .. } = self.refusal.clone();
        Query { path: self.path.clone().into(), process, program, purpose, lasting: self.lasting }
    }
}

fn patience() -> Duration {
    let set = || std::env::var(TEST_VARIABLE).ok()?.parse().ok().map(Duration::from_secs);
    if cfg!(debug_assertions) { set().unwrap_or(PATIENCE) } else { PATIENCE }
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: Vec<Question>,
    /// How many there were.
    asked: usize,
}

impl Questions {
    /// What it is a question about, if it is one.
    pub(crate) fn about(refusal: &Refusal) -> Option<&Path> {
        match &refusal.what {
            Refused::Asked { path, .. } => Some(Path::new(path)),
            _ => None,
        }
    }

    /// What a refusal could become a question about: only what is to be read can be granted.
    pub(crate) fn could_be_about(refusal: &Refusal) -> Option<&Path> {
        match &refusal.what {
            Refused::File { path, asked, purpose: Purpose::Look | Purpose::Read } => {
                Some(Path::new(asked.as_ref().unwrap_or(path)))
            }
            _ => None,
        }
    }

    /// Whether no more are asked in this run.
    pub(crate) fn spent(&self) -> bool {
        self.asked >= MOST_ASKED
    }

    /// `false`: there are too many.
    pub(crate) fn add(&mut self, path: &Path, refusal: &Refusal, lasting: bool) -> bool {
        let room = self.open.len() < MOST && !self.spent();
        if room {
            self.asked += 1;
            let until = Instant::now() + patience();
            let refusal = refusal.clone();
            self.open.push(Question { path: path.to_path_buf(), refusal, until, lasting, answered: false });
        }
        room
    }

    pub(crate) fn first(&self) -> Option<&Question> {
        self.open().next()
    }

    /// Those that nobody has answered.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Question> {
        self.open.iter().filter(|question| !question.answered)
    }

    /// What is being waited for.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Path> {
        self.open().map(|question| question.path.as_path())
    }

    pub(crate) fn answered(&mut self, path: &Path) {
        self.open.iter_mut().filter(|question| question.path == path).for_each(|one| one.answered = true);
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        self.open.iter().any(|question| question.path == path)
    }

    pub(crate) fn take(&mut self, path: &Path) -> Option<Question> {
        let at = self.open.iter().position(|question| question.path == path)?;
        Some(self.open.remove(at))
    }

    /// Those that are meant, which are taken away: each is judged anew.
    pub(crate) fn of(&mut self, meant: impl Fn(&Refusal) -> bool) -> Vec<Question> {
        self.open.extract_if(.., |question| meant(&question.refusal)).collect()
    }

    /// Those that something which is open now answers.
    pub(crate) fn below(&mut self, path: &Path) -> Vec<Question> {
        self.open.extract_if(.., |question| question.path.starts_with(path)).collect()
    }

    pub(crate) fn late(&mut self) -> Vec<Question> {
        let now = Instant::now();
        self.open.extract_if(.., |question| !question.answered && question.until <= now).collect()
    }

    pub(crate) fn all(&mut self) -> Vec<Question> {
        self.open.extract_if(.., |question| !question.answered).collect()
    }

    pub(crate) fn until(&self) -> Option<Instant> {
        self.open.iter().filter(|question| !question.answered).map(|question| question.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_one_run_are_bounded() {
        let path = Path::new("/x");
        let what = Refused::Asked { path: path.into(), purpose: Purpose::Look };
        let refusal = Refusal { number: 0, process: 1, program: Default::default(), what };
        let mut questions = Questions::default();
        let asked =
            (0..5000).filter(|_| questions.add(path, &refusal, false) && questions.take(path).is_some());
        assert_eq!(asked.count(), MOST_ASKED);
        let mut questions = Questions::default();
        assert_eq!((0..5000).filter(|_| questions.add(path, &refusal, false)).count(), MOST);
    }
}
