//! What is granted while a sandbox runs: asked by its owner's clients, decided and written down by a clerk, opened and taken away
//! by the boundary.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_confine::{
    Boundary, Command, Decision, GrantedCommand, GrantedHost, Message, NOT_LOCKED, Opening, Purpose, Refusal,
    Refused, report,
};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::permits::{Permit, entry_of};
use crate::prompt;
use crate::questions::{Choice, Question, Questions};
use crate::remote::Ask;

const UNANSWERED: &str = "the sandbox ended before there was an answer";
/// Names that questions may be about, in all: each stays a name of the root.
const MOST_OFFERS: usize = 4096;
/// Grants at one time.
const MOST: usize = 256;

/// Decides about grants, and writes them down before they take effect.
pub trait Clerk {
    /// What is opened for that wish.
    ///
    /// # Errors
    /// Why it is not, in words.
    fn grant(&mut self, number: u32, wish: &Wish) -> Result<Opening, String>;

    /// A grant has ended; `false` if that could not be written down.
    fn ended(&mut self, number: u32, path: &Path, cause: &str) -> bool;

    /// What is granted of this entry for commands, by this number.
    ///
    /// # Errors
    /// Why it is not, in words.
    fn permit(&mut self, number: u32, entry: &str, terms: &Terms) -> Result<GrantedCommand, String>;

    /// What is granted of this destination, `NAME:PORT`.
    ///
    /// # Errors
    /// Why it is not, in words.
    fn reach(&mut self, entry: &str, terms: &Terms) -> Result<GrantedHost, String>;

    /// Whether this credential may be granted.
    ///
    /// # Errors
    /// Why it may not, in words.
    fn lend(&mut self, name: &str, terms: &Terms) -> Result<(), String>;

    /// The entry that the owner may be asked about for a connection to this host.
    fn offer_host(&self, host: &str, port: u16) -> Option<String>;

    /// The entry that the owner may be asked about for this command.
    fn offer_command(&self, command: &Command) -> Option<String>;

    /// Whether the owner may be asked about this path of the host, and is it a directory.
    fn offer(&self, path: &Path) -> Option<bool>;

    /// Whether a file can be granted to later sandboxes too.
    fn lasts(&self) -> bool;

    /// Grants it to them.
    fn keep(&mut self, path: &Path);

    /// Somebody waits for it; `false` if that could not be written down.
    fn asked(&mut self, refusal: &Refusal) -> bool;

    /// It was not granted; `false` if that could not be written down.
    fn declined(&mut self, refusal: &Refusal, why: &str) -> bool;
}

/// What an owner wants to grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// On the host and in the sandbox.
    pub path: PathBuf,
    /// For how long, and why.
    pub terms: Terms,
}

/// How something is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Seconds; `None` until the sandbox ends.
    pub seconds: Option<u64>,
    /// In the owner's words.
    pub why: String,
    /// The user, and the process that said so, or the terminal.
    pub who: String,
}

impl Terms {
    /// `None`: the owner answered a question on a terminal.
    fn new(seconds: Option<u64>, why: String, client: Option<&OwnedFd>) -> Self {
        let peer = client.and_then(|client| sockopt::socket_peercred(client).ok());
        let who = match peer {
            Some(peer) => format!("uid {}, process {}", peer.uid.as_raw(), peer.pid.as_raw_nonzero()),
            None => format!("uid {}, at a terminal", rustix::process::geteuid().as_raw()),
        };
        Self { seconds, why, who }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The root is told to show a mount point.
    Showing,
    Opening,
    Open,
    Closing,
}

struct Live {
    opening: Opening,
    state: State,
    until: Option<Instant>,
    /// Why it is being taken away.
    cause: String,
    /// Who waits for what becomes of it.
    clients: Vec<OwnedFd>,
    /// Later sandboxes get it too, once it is open: what cannot be opened is no line of a policy.
    always: bool,
}

/// The grants of a sandbox.
pub struct Grants<'a> {
    pub(crate) clerk: &'a mut dyn Clerk,
    live: Vec<Live>,
    pub(crate) permits: Vec<Permit>,
    /// Commands that were not granted a moment ago, by who wanted them.
    pub(crate) declined: Vec<(i32, PathBuf, Instant)>,
    /// Those that the owner refused, by the names of their questions: no more than were asked.
    pub(crate) refused: BTreeSet<PathBuf>,
    pub(crate) next: u32,
    pub(crate) questions: Questions,
    offers: usize,
}

impl<'a> Grants<'a> {
    /// None so far.
    pub fn new(clerk: &'a mut dyn Clerk) -> Self {
        Self {
            clerk,
            live: Vec::new(),
            permits: Vec::new(),
            declined: Vec::new(),
            refused: BTreeSet::new(),
            next: 0,
            questions: Questions::default(),
            offers: 0,
        }
    }

    /// Takes a refusal that the owner may be asked about instead. `None`: it is none of those; `Some(false)`: it could not be
    /// written down.
    pub(crate) fn take_up(&mut self, boundary: &Boundary, refusal: &Refusal) -> Option<bool> {
        if self.leads(refusal) {
            boundary.written(refusal);
            return Some(true);
        }
        if let Some(path) = Questions::about(refusal) {
            if !self.clerk.asked(refusal) {
                return Some(false);
            }
            let full = !self.questions.add(path, refusal, self.clerk.lasts());
            return Some(!full || self.decline(boundary, refusal, path, "there are too many questions"));
        }
        if let Some(taken) = self.take_up_entry(boundary, refusal) {
            return Some(taken);
        }
        let path = Questions::could_be_about(refusal)?;
        let directory =
            self.clerk.offer(path).filter(|_| self.offers < MOST_OFFERS && !self.questions.spent())?;
        self.offers += 1;
        Some(boundary.offer(refusal, path, directory).is_ok())
    }

    /// Whether it is the mounter that makes the way to what is being granted: no program of the task's looks for that.
    fn leads(&self, refusal: &Refusal) -> bool {
        let Refused::File { path, asked: None, purpose: Purpose::Look } = &refusal.what else { return false };
        let making = |live: &&Live| live.state == State::Opening && live.opening.own;
        refusal.program.file.is_empty()
            && self.live.iter().filter(making).any(|live| live.opening.path.starts_with(path))
    }

    /// What the owner is to be asked next.
    pub(crate) fn question(&self) -> Option<&Question> {
        self.questions.first()
    }

    /// What the owner said of a question; `false`: it could not be written down.
    pub(crate) fn decide(&mut self, boundary: &Boundary, path: &Path, choice: Choice) -> bool {
        match choice {
            // Several connections may wait for one answer.
            Choice::Refuse => {
                self.refused.extend(entry_of(path).map(|_| path.to_owned()));
                std::iter::from_fn(|| self.questions.take(path))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .all(|question| self.decline(boundary, &question.refusal, path, "the owner refused it"))
            }
            Choice::RefuseAll => {
                self.offers = MOST_OFFERS;
                self.questions.all().into_iter().all(|question| {
                    let why = "the owner refused all that could be asked about";
                    self.decline(boundary, &question.refusal, &question.path, why)
                })
            }
            Choice::Grant(seconds) => {
                let terms = Terms::new(seconds, "asked while somebody waited for it".to_owned(), None);
                if let Some((act, entry)) = entry_of(path) {
                    return self.permit(boundary, (act, entry), &terms, None);
                }
                self.questions.answered(path);
                self.ask(boundary, &Wish { path: path.to_path_buf(), terms }, None)
            }
            Choice::Always => {
                let granted = self.decide(boundary, path, Choice::Grant(None));
                if let Some(live) = self.live.iter_mut().find(|live| live.opening.path == path) {
                    live.always = true;
                    if live.state == State::Open {
                        self.clerk.keep(path);
                    }
                }
                granted
            }
        }
    }

    /// Nobody waits for it any more; `false`: that could not be written down.
    pub(crate) fn left(&mut self, path: &Path) -> bool {
        let gone = self.questions.open().find(|question| question.path == path).is_some();
        let question = gone.then(|| self.questions.take(path)).flatten();
        question.is_none_or(|question| self.clerk.declined(&question.refusal, "nobody waits for it any more"))
    }

    /// The owner has not refused all that could be asked about.
    pub(crate) fn asks(&self) -> bool {
        self.offers < MOST_OFFERS
    }

    /// As many as may be.
    pub(crate) fn full(&self) -> bool {
        self.live.len() + self.permits.len() >= MOST
    }

    pub(crate) fn decline(&mut self, boundary: &Boundary, refusal: &Refusal, path: &Path, why: &str) -> bool {
        let written = self.clerk.declined(refusal, why);
        if matches!(refusal.what, Refused::Command(_) | Refused::Network { .. }) {
            self.remember_declined(refusal, path);
            boundary.written(refusal);
            return written;
        }
        let _ = boundary.decide(path, Decision::Refused);
        written
    }

    /// Somebody wants one; `false`: what became of it could not be written down.
    pub(crate) fn ask(&mut self, boundary: &Boundary, wish: &Wish, client: Option<&OwnedFd>) -> bool {
        let other = self.live.iter().map(|live| &live.opening.path);
        let overlaps = |path: &&PathBuf| path.starts_with(&wish.path) || wish.path.starts_with(path);
        let denied = if self.full() {
            Err(format!("{MOST} grants are open: revoke some first"))
        } else if let Some(path) = other.into_iter().find(overlaps) {
            Err(format!("`{}` is granted already: revoke that first", path.display()))
        } else {
            self.clerk.grant(self.next, wish)
        };
        let opening = match denied {
            // Its name is there already, for whoever waits for it.
            Ok(opening) => Opening { own: opening.own && !self.questions.has(&wish.path), ..opening },
            Err(why) => {
                if let Some(client) = client {
                    answer(client, false, &why);
                }
                return match self.questions.take(&wish.path) {
                    Some(question) => self.decline(boundary, &question.refusal, &wish.path, &why),
                    None => true,
                };
            }
        };
        self.next += 1;
        let until = wish.terms.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let (state, sent) = if opening.own {
            (State::Opening, boundary.open(&opening))
        } else {
            (State::Showing, boundary.show(&opening))
        };
        let clients = client.and_then(|client| client.try_clone().ok()).into_iter().collect();
        let live = Live { opening, state, until, cause: String::new(), clients, always: false };
        match sent {
            Ok(()) => {
                self.live.push(live);
                true
            }
            Err(errno) => self.fail(boundary, live, errno),
        }
    }

    /// The owner wants one to end, or all.
    pub(crate) fn revoke(&mut self, boundary: &Boundary, path: Option<&Path>, client: &OwnedFd) {
        let concerned = |live: &&mut Live| path.is_none_or(|path| live.opening.path == path);
        let mut found = match path {
            None => self.withdraw(boundary, "revoked", |_| true).0,
            Some(_) => 0,
        };
        if found > 0 {
            answer(client, true, "nothing is granted any more; what runs goes on");
        }
        for live in self.live.iter_mut().filter(concerned) {
            found += 1;
            live.clients.extend(client.try_clone());
            live.close(boundary, "revoked");
        }
        let asked: Vec<PathBuf> = self.questions.waiting().map(Path::to_owned).collect();
        for asked in asked.iter().filter(|asked| path.is_none_or(|path| *asked == path)) {
            found += 1;
            self.decide(boundary, asked, Choice::Refuse);
            let what =
                entry_of(asked).map_or_else(|| asked.display().to_string(), |(_, entry)| entry.to_owned());
            answer(client, true, &format!("`{what}` is refused to whoever waits for it"));
        }
        if found == 0 {
            match path {
                Some(path) => answer(client, false, &format!("nothing is granted at `{}`", path.display())),
                None => answer(client, true, "nothing was granted"),
            }
        }
    }

    /// A report about one; `false`: something cannot be taken away, and the sandbox must not go on.
    pub(crate) fn told(&mut self, boundary: &Boundary, message: &Message) -> bool {
        match message {
            Message::Left(path) => self.left(path),
            Message::Shown => {
                let Some(at) = self.live.iter().position(|live| live.state == State::Showing) else {
                    return true;
                };
                let mut live = self.live.remove(at);
                live.state = State::Opening;
                match boundary.open(&live.opening) {
                    Ok(()) => self.live.push(live),
                    Err(errno) => return self.fail(boundary, live, errno),
                }
                true
            }
            Message::Opened { number } => {
                if let Some(live) = self.live.iter_mut().find(|live| live.opening.number == *number) {
                    live.state = State::Open;
                    if live.always {
                        self.clerk.keep(&live.opening.path);
                    }
                    for question in self.questions.below(&live.opening.path) {
                        let _ = boundary.decide(&question.path, Decision::Granted);
                    }
                    let text = format!("`{}` can be read from now on", live.opening.path.display());
                    live.clients.drain(..).for_each(|client| answer(&client, true, &text));
                    if !live.cause.is_empty() {
                        live.close(boundary, "revoked");
                    }
                }
                true
            }
            Message::Closed { number } => match self.take(*number) {
                Some(live) => self.end(
                    &live,
                    true,
                    "it is not shown any more; what a task has open already, or stands in, it keeps",
                ),
                None => true,
            },
            Message::Failed { errno, job, .. } => match self.take(*job) {
                Some(live) if live.state == State::Closing => {
                    self.end(&live, false, &format!("it could not be taken away: {errno}"));
                    false
                }
                Some(live) => self.fail(boundary, live, *errno),
                None => true,
            },
            _ => true,
        }
    }

    /// Nobody is left who could take one away; `false`: there was something to take.
    pub(crate) fn orphaned(&self) -> bool {
        self.live.is_empty()
    }

    /// Ends what has lasted long enough, and refuses what nobody answered. `false`: that could not be written down.
    pub(crate) fn expire(&mut self, boundary: &Boundary) -> bool {
        let now = Instant::now();
        if !self.expire_entries(boundary) {
            return false;
        }
        for live in self.live.iter_mut().filter(|live| live.until.is_some_and(|until| until <= now)) {
            live.close(boundary, "expired");
        }
        let late = self.questions.late();
        late.into_iter().all(|question| {
            self.decline(boundary, &question.refusal, &question.path, "nobody answered in time")
        })
    }

    /// How long until the next one ends.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let open = self.live.iter().filter(|live| live.state == State::Open);
        let permits = self.permits.iter().filter_map(|permit| permit.until);
        let next = open.filter_map(|live| live.until).chain(self.questions.until()).chain(permits).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn take(&mut self, number: u32) -> Option<Live> {
        let at = self.live.iter().position(|live| live.opening.number == number)?;
        Some(self.live.remove(at))
    }

    /// It never came to be.
    fn fail(&mut self, boundary: &Boundary, live: Live, errno: Errno) -> bool {
        let why = match errno {
            Errno::LOOP => "a symbolic link leads there: name what it leads to".to_owned(),
            Errno::NOTCONN => "its root is in memory, which can show nothing new (no /dev/fuse)".to_owned(),
            Errno::TIMEDOUT => "it took too long, or a task ended the process that did it".to_owned(),
            NOT_LOCKED => "what is hidden in it could not be kept so for who is in it when the grant ends, which takes a user namespace \
                           in the sandbox: grant the files that are needed"
                .to_owned(),
            errno => errno.to_string(),
        };
        let live = Live { cause: format!("not possible: {why}"), ..live };
        let declined = match self.questions.take(&live.opening.path) {
            Some(question) => self.decline(boundary, &question.refusal, &live.opening.path, &why),
            None => true,
        };
        self.end(&live, false, &why) && declined
    }

    /// It is to end: nobody waits for an answer any more. `false`: that could not be written down.
    pub(crate) fn leave(&mut self, boundary: &Boundary) -> bool {
        self.questions
            .all()
            .into_iter()
            .all(|question| self.decline(boundary, &question.refusal, &question.path, UNANSWERED))
    }

    /// The sandbox has ended: what was being taken away went with it, and nobody waits any more.
    pub(crate) fn finish(&mut self) {
        for question in self.questions.all() {
            self.clerk.declined(&question.refusal, UNANSWERED);
        }
        for live in std::mem::take(&mut self.live).iter().filter(|live| live.state == State::Closing) {
            self.end(live, true, "the sandbox has ended, and with it what was granted");
        }
    }

    fn end(&mut self, live: &Live, done: bool, text: &str) -> bool {
        for client in &live.clients {
            answer(client, done, &format!("`{}`: {text}", live.opening.path.display()));
        }
        self.clerk.ended(live.opening.number, &live.opening.path, &live.cause)
    }
}

impl Live {
    /// Once; what is still being opened is closed when it is.
    fn close(&mut self, boundary: &Boundary, cause: &str) {
        if self.cause.is_empty() {
            cause.clone_into(&mut self.cause);
        }
        if self.state == State::Open {
            // Whoever looks there next asks again; told afterwards, the first of them would be sent to what is gone (ESTALE).
            let _ = boundary.decide(&self.opening.path, Decision::Ended);
            if boundary.close(self.opening.number).is_ok() {
                self.state = State::Closing;
            }
        }
    }
}

pub(crate) fn answer(client: &OwnedFd, done: bool, text: &str) {
    let _ = report::tell(client.as_fd(), &Message::Answer { done, text: text.to_owned() }, None);
}

/// Where no policy lets anything be granted. The client stays: it may ask for something else.
pub(crate) fn refuse(client: &OwnedFd) -> bool {
    answer(
        client,
        false,
        "no rule of `approvals.grantable` in its policy lets anything be granted while it runs",
    );
    true
}

impl Grants<'_> {
    /// Whether it was about grants.
    pub(crate) fn answer(&mut self, boundary: &Boundary, ask: Ask, client: &OwnedFd) -> bool {
        let path = |path: OsString| PathBuf::from(path);
        match ask {
            Ask::Grant { path: wanted, seconds, why } => {
                let terms = Terms::new(seconds, why, Some(client));
                self.ask(boundary, &Wish { path: path(wanted), terms }, Some(client));
            }
            Ask::Permit { act, entry, seconds, why } => {
                let terms = Terms::new(seconds, why, Some(client));
                self.permit(boundary, (act, &entry), &terms, Some(client));
            }
            Ask::Waiting => {
                self.questions.open().for_each(|question| answer(client, false, &prompt::waits(question)));
                answer(client, true, "");
            }
            Ask::Withdraw { act, entry } => self.revoke_entry(boundary, act, &entry, client),
            Ask::Revoke { path: wanted } => self.revoke(boundary, wanted.map(path).as_deref(), client),
            _ => return false,
        }
        true
    }
}
