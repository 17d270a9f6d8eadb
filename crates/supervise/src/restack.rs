//! Checkpoints and rollbacks of a sandbox that lives: its copy-on-write directories are put together anew while nothing runs in it.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ringfence_confine::{Boundary, Message, RESTACKED, Stack, report};
use rustix::io::Errno;

use crate::clients::Client;
use crate::remote::Note;
use crate::serve::{Happening, Server};

/// What is asked for.
pub(crate) struct Wish {
    /// What the directories are made of from now on.
    pub(crate) stacks: Vec<Stack>,
    /// The same as the run's file keeps it.
    pub(crate) record: String,
    /// What runs is ended first.
    pub(crate) end: bool,
    /// For the log.
    pub(crate) note: Note,
}

/// What came of it.
enum Outcome {
    Done,
    /// Something runs.
    Busy,
    /// Nothing changed.
    Failed(String),
    /// Nobody knows any more: the sandbox ends.
    Lost(String),
}

impl Server<'_> {
    pub(crate) fn restack(&mut self, wish: Wish, client: &OwnedFd) {
        let outcome = if self.boundary.openings().is_none() {
            Outcome::Failed(
                "its copy-on-write directories cannot be put together anew: for that the mode is `review` or `discard`, the tier is `namespace`, and no \
                 listed script, whose directories are kept in their place, lies beside or above the workspace in the private home"
                    .into(),
            )
        } else if self.running() > 0 && !wish.end {
            Outcome::Busy
        } else {
            self.exchange(wish)
        };
        let message = match outcome {
            Outcome::Done => Message::Answer { done: true, text: String::new() },
            Outcome::Busy => Message::NotExecuted { job: 0, errno: Errno::BUSY, needs: None, unfit: None },
            Outcome::Failed(text) => Message::Answer { done: false, text },
            Outcome::Lost(text) => {
                self.boundary.kill();
                Message::Answer { done: false, text: format!("{text}; the sandbox is ended") }
            }
        };
        let _ = report::tell(client.as_fd(), &message, None);
    }

    fn exchange(&mut self, wish: Wish) -> Outcome {
        let gone = || Outcome::Lost("the sandbox does not answer".into());
        if self.boundary.quiet(wish.end).is_err() {
            return gone();
        }
        match self.until(|message| match message {
            Message::Quiet { yes } => Some(*yes),
            _ => None,
        }) {
            Some(true) => {}
            Some(false) => return Outcome::Busy,
            None => return gone(),
        }
        if self.boundary.restack(wish.stacks).is_err() {
            return gone();
        }
        // Nobody who could be in the way runs.
        match self.exchanged() {
            Some(Ok(())) => {}
            Some(Err(errno)) => return Outcome::Failed(format!("the kernel refused it: {errno}")),
            None => return gone(),
        }
        // From here on the old ones are gone.
        if self.boundary.renew().is_err() {
            return gone();
        }
        let renewed = self.until(|message| match message {
            Message::Renewed => Some(Ok(())),
            Message::Failed { errno, job: 0, .. } => Some(Err(*errno)),
            _ => None,
        });
        match renewed {
            Some(Ok(())) => {}
            Some(Err(errno)) => return Outcome::Lost(format!("the second lock: {errno}")),
            None => return gone(),
        }
        match write(self.stack_file(), &wish.record) {
            Ok(()) if (self.tell)(Happening::Points(&wish.note)) => Outcome::Done,
            Ok(()) => Outcome::Lost("it could not be written to the log".into()),
            Err(error) => Outcome::Lost(format!("writing down what it is made of: {error}")),
        }
    }

    /// Takes init's reports until one is the answer; `None`: there will be none.
    fn until<T>(&mut self, answer: impl Fn(&Message) -> Option<T>) -> Option<T> {
        loop {
            let (message, descriptor) = self.boundary.report()?;
            if let Some(answer) = answer(&message) {
                return Some(answer);
            }
            self.take(&message, descriptor.as_ref());
        }
    }

    fn exchanged(&mut self) -> Option<Result<(), Errno>> {
        loop {
            match self.boundary.opened()? {
                Message::Opened { number: RESTACKED } => return Some(Ok(())),
                Message::Failed { errno, job: RESTACKED, .. } => return Some(Err(errno)),
                message => {
                    let fine = match &mut self.grants {
                        Some(grants) => grants.told(self.boundary, &message),
                        None => true,
                    };
                    if !fine {
                        return None;
                    }
                }
            }
        }
    }
}

/// Stops everything while a client copies what there is, or lets it go on.
pub(crate) fn hold(boundary: &Boundary, client: &mut Client, hold: bool) {
    if client.holds != hold {
        client.holds = hold;
        boundary.pause(hold);
    }
    let _ = report::tell(client.socket.as_fd(), &Message::Answer { done: true, text: String::new() }, None);
}

/// Writes a client's note to the log, and tells the client whether it is there.
pub(crate) fn note(tell: &mut dyn FnMut(Happening<'_>) -> bool, client: &Client, note: &Note) {
    let done = tell(Happening::Points(note));
    let text = if done { String::new() } else { "it could not be written to the log".into() };
    let _ = report::tell(client.socket.as_fd(), &Message::Answer { done, text }, None);
}

/// In one piece: whoever reads it sees the old or the new.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    std::fs::rename(&beside, path)
}
