//! The invoker's terminal while a task has a pseudo-terminal: keys go in, what the task draws comes out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringfence_confine::Size;
use ringfence_leaks::Scanner;
use ringfence_policy::Leaks;
use rustix::event::PollFlags;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{self, Errno, fcntl_dupfd_cloexec, ioctl_fionbio};
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::outlet::{Found, Outlet};
use crate::prompt::Prompt;
use crate::questions::{Choice, Question};
use crate::relay::{never_waiting, wait_for_room};

/// What is read at a time: little enough that a slow terminal is not written to for long.
const BUFFER: usize = 16 * 1024;

/// Bytes that are held back while a question stands; then they are let out above it, and it is drawn anew.
const HELD: usize = 1 << 20;
/// For so long a question stays where it was drawn.
const STANDS: Duration = Duration::from_secs(2);

/// Both sides of it.
pub struct Screen {
    /// Keys; `None` if there is no terminal to read from.
    keys: Option<OwnedFd>,
    output: OwnedFd,
    /// What is written at a time.
    most: usize,
    /// How the terminal was set before.
    saved: Option<Termios>,
    raw: bool,
    /// Nobody looks at it any more.
    gone: bool,
    master: Option<OwnedFd>,
    typed: Vec<u8>,
    drawn: Vec<u8>,
    /// Bytes that the task wrote.
    written: u64,
    outlet: Outlet,
    /// A question that is on it: what is drawn meanwhile is held back, and keys are the owner's words to us.
    prompt: Option<Prompt>,
    /// That, as the outlet lets it pass.
    held: Vec<u8>,
    /// What makes the terminal as the task had it, once the question is not on it.
    back: Vec<u8>,
    /// When the question was drawn; `None`: what was held is drawn now, and the question after it.
    stands: Option<Instant>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Screen").field("raw", &self.raw).finish_non_exhaustive()
    }
}

impl Screen {
    /// The terminal that `output` is; keys come from `input` if it is one too, else from the controlling terminal.
    pub(crate) fn new(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Self, Errno> {
        let keys = if isatty(input) {
            Some(fcntl_dupfd_cloexec(input, 3)?)
        } else {
            openat(CWD, c"/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok()
        };
        let (output, most) = never_waiting(fcntl_dupfd_cloexec(output, 3)?, OFlags::WRONLY);
        Ok(Self {
            keys,
            output,
            most,
            saved: None,
            raw: false,
            gone: false,
            master: None,
            typed: Vec::new(),
            drawn: Vec::new(),
            written: 0,
            outlet: Outlet::new(true),
            prompt: None,
            held: Vec::new(),
            back: Vec::new(),
            stands: None,
        })
    }

    /// Lets everything pass as it is: what the task writes may then act on the terminal.
    pub fn unfiltered(&mut self) {
        self.outlet.unfiltered();
    }

    /// Looks for secrets in what the task draws.
    pub(crate) fn sift(&mut self, scanner: &Rc<Scanner>, action: Leaks) {
        self.outlet.sift(scanner, action);
    }

    /// Those that were found since this was asked last.
    pub(crate) fn found(&mut self) -> Vec<Found> {
        self.outlet.found()
    }

    /// Its size; a usual one if it does not say.
    #[must_use]
    pub fn size(&self) -> Size {
        match tcgetwinsize(&self.output) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
                Size { rows: size.ws_row, columns: size.ws_col }
            }
            _ => Size { rows: 24, columns: 80 },
        }
    }

    /// Begins: `master` is the other side of the task's terminal.
    pub fn attach(&mut self, master: OwnedFd) {
        let _ = ioctl_fionbio(&master, true);
        self.master = Some(master);
        self.resume();
    }

    /// Keys are handed on one by one from now on, if the terminal is this process group's.
    pub fn resume(&mut self) {
        let Some(keys) = &self.keys else { return };
        if self.raw || self.master.is_none() || !in_front(keys) {
            return;
        }
        let Ok(saved) = tcgetattr(keys) else { return };
        let mut raw = saved.clone();
        raw.make_raw();
        if tcsetattr(keys, OptionalActions::Now, &raw).is_ok() {
            self.saved = Some(saved);
            self.raw = true;
        }
        self.resize();
    }

    /// Whether the terminal is another process group's for now: nothing tells when it is ours again, since a shell's `fg`
    /// continues only what is stopped.
    pub(crate) fn waits(&self) -> bool {
        self.keys.is_some() && self.master.is_some() && !self.raw && !self.gone
    }

    /// Looks whose it is.
    pub(crate) fn look(&mut self) {
        let Some(keys) = self.keys.as_ref().filter(|_| self.waits()) else { return };
        match tcgetpgrp(keys) {
            Err(Errno::IO) => self.gone = true,
            _ => self.resume(),
        }
    }

    /// Whether it was closed.
    pub(crate) fn gone(&self) -> bool {
        self.gone
    }

    /// The terminal as it was before.
    pub fn suspend(&mut self) {
        // In the background it is the shell's, and setting it would stop this process.
        if let (Some(keys), Some(saved)) = (&self.keys, self.saved.take())
            && in_front(keys)
        {
            let _ = tcsetattr(keys, OptionalActions::Now, &saved);
        }
        self.raw = false;
    }

    /// Tells the task's terminal how large this one is; the kernel tells the task.
    pub fn resize(&self) {
        if let (Some(master), Ok(size)) = (&self.master, tcgetwinsize(&self.output)) {
            let _ = tcsetwinsize(master, size);
        }
    }

    /// The same, when the window has changed: a question that stands is drawn anew, as another part of it is in view. The terminal is fit
    /// for it already, and how the task has it now is held back.
    pub(crate) fn resized(&mut self) {
        self.resize();
        if self.prompt.is_some() && self.stands.is_some() {
            self.say("\r\n");
            self.draw_question();
        }
    }

    /// Bytes that the task wrote.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Puts a question to the owner, or takes it back.
    pub(crate) fn ask(&mut self, question: Option<&Question>) {
        if self
            .prompt
            .as_ref()
            .is_some_and(|prompt| Some(&prompt.question.path) != question.map(|one| &one.path))
        {
            if self.stands.is_some() {
                self.say("\r\n");
            }
            self.close();
        }
        let able = self.raw && self.keys.is_some() && self.drawn.is_empty();
        if let Some(question) = question.filter(|_| able && self.prompt.is_none()) {
            self.prompt = Some(Prompt::new(question.clone()));
            self.put_question();
        }
    }

    /// Draws it on a terminal that is as its owner had it, and not as the task did.
    fn put_question(&mut self) {
        let (aside, back) = self.outlet.interlude();
        self.put(&aside);
        self.back = back;
        self.draw_question();
    }

    fn draw_question(&mut self) {
        let size = self.size();
        let text = self.prompt.as_mut().map(|prompt| prompt.drawn(size)).unwrap_or_default();
        self.say(&text);
        self.stands = Some(Instant::now());
    }

    /// No question is on it any more: what was held back is drawn.
    fn close(&mut self) {
        self.prompt = None;
        self.let_out();
    }

    /// The terminal is the task's again, and what was held back comes next.
    fn let_out(&mut self) {
        self.stands = None;
        self.drawn.append(&mut self.back);
        self.drawn.append(&mut self.held);
    }

    /// How long until what is held back is let out above the question.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let stands = self.stands.filter(|_| self.held.len() >= HELD)?;
        Some(STANDS.saturating_sub(stands.elapsed()))
    }

    /// What the owner said to the question that is on the screen.
    pub(crate) fn answer(&mut self) -> Option<Choice> {
        let choice = self.prompt.as_mut()?.choice.take()?;
        self.close();
        Some(choice)
    }

    fn say(&self, text: &str) {
        self.put(text.as_bytes());
    }

    fn put(&self, mut rest: &[u8]) {
        while let Some(part) = rest.get(..self.most.min(rest.len())).filter(|part| !part.is_empty()) {
            match io::write(&self.output, part) {
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => wait_for_room(&self.output),
                Err(_) => return,
            }
        }
    }

    /// What to wait for next.
    pub(crate) fn wants(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let Some(master) = &self.master else { return Vec::new() };
        if let (Some(_), Some(keys)) = (&self.prompt, &self.keys) {
            let mut wants = vec![(keys.as_fd(), PollFlags::IN)];
            match self.stands {
                None => wants.push((self.output.as_fd(), PollFlags::OUT)),
                Some(_) if self.held.len() < HELD => wants.push((master.as_fd(), PollFlags::IN)),
                Some(_) => {}
            }
            return wants;
        }
        let mut wants = Vec::with_capacity(3);
        if self.drawn.is_empty() {
            wants.push((master.as_fd(), PollFlags::IN));
        } else {
            wants.push((self.output.as_fd(), PollFlags::OUT));
        }
        match &self.keys {
            _ if !self.typed.is_empty() => wants.push((master.as_fd(), PollFlags::OUT)),
            Some(keys) if self.raw => wants.push((keys.as_fd(), PollFlags::IN)),
            _ => {}
        }
        wants
    }

    /// Moves what can be moved now. `ready`: which of [`Self::wants`] are.
    pub(crate) fn step(&mut self, ready: &[bool]) {
        if self.prompt.is_some() {
            if ready.first() == Some(&true) {
                self.take_words();
            }
            if self.prompt.is_some() {
                self.hold_back(ready.get(1) == Some(&true));
            }
            return;
        }
        if ready.first() == Some(&true) {
            self.draw();
        }
        if ready.get(1) == Some(&true) {
            self.type_in();
        }
    }

    /// After the task's end: everything that is still in its terminal, and what its leftovers need.
    pub(crate) fn drain(&mut self) {
        self.close();
        loop {
            let (before, pending) = (self.written, !self.drawn.is_empty());
            self.draw();
            if !self.drawn.is_empty() {
                wait_for_room(&self.output);
            } else if !pending && (self.master.is_none() || self.written == before) {
                break;
            }
        }
        let mut rest = std::mem::take(&mut self.drawn);
        rest.extend(self.outlet.end());
        self.put(&rest);
        self.suspend();
    }

    fn draw(&mut self) {
        if self.drawn.is_empty() {
            let Some(read) = self.read() else { return };
            self.drawn = read;
        }
        let part = self.drawn.get(..self.most).unwrap_or(&self.drawn);
        match io::write(&self.output, part) {
            Ok(length) => drop(self.drawn.drain(..length.min(self.drawn.len()))),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The task's output goes nowhere.
            Err(_) => {
                self.gone = true;
                self.drawn.clear();
            }
        }
    }

    /// What the task has drawn, as it may pass; `None`: nothing, for now or for ever.
    fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; BUFFER];
        match io::read(self.master.as_ref()?, &mut buffer) {
            Ok(length @ 1..) => {
                buffer.truncate(length);
                self.written += length as u64;
                return Some(self.outlet.push(buffer));
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO: nobody holds the task's side any more.
            _ => self.master = None,
        }
        None
    }

    /// While a question stands whoever draws goes on, as far as there is room; and is let out now and then, the question below it.
    fn hold_back(&mut self, ready: bool) {
        match self.stands {
            Some(_) if ready && self.held.len() < HELD => {
                let read = self.read().unwrap_or_default();
                self.held.extend(read);
            }
            Some(since) if self.held.len() >= HELD && since.elapsed() >= STANDS => {
                self.let_out();
            }
            None => {
                if ready && !self.drawn.is_empty() {
                    self.draw();
                }
                if self.drawn.is_empty() {
                    self.put_question();
                }
            }
            Some(_) => {}
        }
    }

    fn take_words(&mut self) {
        let Some(keys) = &self.keys else { return };
        let mut buffer = [0; 64];
        match io::read(keys, &mut buffer) {
            Ok(length @ 1..) => {
                // What is let out now may look like a question, and is not the one that would be answered.
                if self.stands.is_none() {
                    return;
                }
                let typed = buffer.get(..length).unwrap_or_default();
                let echo = self.prompt.as_mut().map(|prompt| prompt.typed(typed)).unwrap_or_default();
                self.say(&echo);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Asked again when the terminal is ours again.
            Err(Errno::IO) if !is_closed(keys) => {
                (self.raw, self.saved) = (false, None);
                self.close();
            }
            _ => {
                self.gone = true;
                self.keys = None;
                self.close();
            }
        }
    }

    fn type_in(&mut self) {
        let (Some(master), Some(keys)) = (&self.master, &self.keys) else { return };
        if self.typed.is_empty() {
            let mut buffer = [0; 1024];
            match io::read(keys, &mut buffer) {
                Ok(length @ 1..) => self.typed.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // Its shell took it.
                Err(Errno::IO) if !is_closed(keys) => {
                    (self.raw, self.saved) = (false, None);
                    return;
                }
                // Without line editing no key makes an end of file.
                _ => {
                    self.gone = true;
                    self.keys = None;
                    return;
                }
            }
        }
        match io::write(master, &self.typed) {
            Ok(length) => drop(self.typed.drain(..length.min(self.typed.len()))),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.typed.clear(),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.suspend();
    }
}

/// Whether a terminal is this process group's. One that controls nobody, or not this session, has no foreground to wait for.
/// Whether it is nobody's any more; a read in the background fails in the same way (EIO).
pub(crate) fn is_closed(terminal: &OwnedFd) -> bool {
    tcgetpgrp(terminal) == Err(Errno::IO)
}

pub(crate) fn in_front(terminal: &OwnedFd) -> bool {
    match tcgetpgrp(terminal) {
        Ok(group) => group == getpgrp(),
        Err(errno) => errno == Errno::NOTTY,
    }
}
