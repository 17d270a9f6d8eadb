//! The root's server: a process of the sandbox that answers who looks for what is not granted, and tells the supervisor first.
//!
//! It alone holds the FUSE descriptor: when it dies, every caller is told so at once instead of waiting for ever. It never
//! goes through the root itself, or it would wait for its own answer.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_plan::{Ids, enforcer};
use ringfence_sys::seccomp::{self, Instruction};
use ringfence_sys::{exec, fds, signals};
use ringfence_void::{Act, By, Decision, First, LONGEST_REQUEST, Ledger, Look, Server};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use rustix::net::RecvFlags;
use rustix::process::{self, DumpableBehavior};
use rustix::thread::CapabilitySet;

use crate::child::{self, Outcome, at};
use crate::orders::{Tell, VoidOrders};
use crate::purpose::Purpose;
use crate::report::{Message, Refusal, Refused, send, send_with};
use crate::rest::Rest;
use crate::script::Program;
use crate::stage::Stage;
use crate::{caller, channel, spare};

/// Init asks for nothing of its own: it looks for what a task connects to, and tells of that itself.
const INIT: i32 = 1;
/// Looks that the ledger has no room for have these numbers, between its own and init's: who sees the host's files says which are told of.
pub const BEYOND: std::ops::Range<u32> = 1 << 29..1 << 30;
/// The numbers of incidents begin here.
const INCIDENTS: u32 = 1 << 31;
/// And those of questions here.
const QUESTIONS: u32 = 3 << 30;
/// How far it gives way to others.
const NICE: i32 = 5;
/// How soon what was counted is told, and how soon after who waited has ended its question ends.
const SOON: Duration = Duration::from_millis(50);
/// Counts in one message.
const MOST_COUNTS: usize = 256;
/// Init looks for this once all is to end: it is answered when all that was counted is told.
const END: &std::ffi::CStr = c"/.ringfence-end";
/// Bytes of the longest packet from the supervisor: a name that is to be shown, PATH_MAX and a little.
const TOLD: usize = 5 << 10;
/// Requests that are answered before the supervisor is listened to again.
const BATCH: usize = 64;

/// What it got from its maker.
pub(crate) struct Inherited {
    /// Orders come here, reports leave.
    pub(crate) told: OwnedFd,
    /// Its other end is the supervisor's life.
    pub(crate) alive: OwnedFd,
    /// The root leaves here, for init.
    pub(crate) root: OwnedFd,
}

/// Init ends what is there, this server too: what it counted is told first.
pub(crate) fn tell_all() {
    let _ = statat(CWD, END, AtFlags::SYMLINK_NOFOLLOW);
}

/// Never returns.
pub(crate) fn run(inherited: &Inherited) -> ! {
    match prepare(inherited) {
        Ok(Some(mut void)) => loop {
            if void.turn().is_err() {
                exec::exit_now(0)
            }
        },
        // Not wanted.
        Ok(None) => exec::exit_now(0),
        Err((stage, errno)) => {
            send(inherited.told.as_fd(), &Message::Failed { stage, errno, job: 0 });
            exec::exit_now(125)
        }
    }
}

struct Void<'a> {
    told: &'a OwnedFd,
    fuse: OwnedFd,
    proc: OwnedFd,
    server: Server,
    ledger: Ledger,
    /// Decoys that were opened: no flood of refusals takes their room.
    incidents: Ledger,
    /// What lies over the void.
    over: Vec<PathBuf>,
    /// Looks that are being written down.
    unwritten: BTreeMap<u32, Look>,
    /// Questions so far, and looks beyond the ledger's room.
    questions: u32,
    beyond: u32,
    /// When what was counted is told.
    due: Option<Instant>,
    rest: Rest,
    request: Vec<u8>,
    answer: Vec<u8>,
}

fn prepare(inherited: &Inherited) -> Outcome<Option<Void<'_>>> {
    let failed = || at(Stage::Void);
    let Inherited { told, alive, root } = inherited;
    child::die_with_parent(alive).map_err(failed())?;
    signals::block_only(&signals::Set::all()).map_err(failed())?;
    // All that does not need the orders first: init waits for what comes behind.
    rustix::thread::set_name(c"ringfence-void").map_err(failed())?;
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed())?;
    // Whoever looks for names in vain takes no time from others.
    let _ = process::nice(NICE);
    let proc = mount(c"proc", &[]).map_err(failed())?;
    fds::keep_only(&[told, alive, root, &proc]);
    child::gain_no_privileges().map_err(failed())?;
    exec::wipe_start();
    let program: Vec<Instruction> = enforcer::server()
        .iter()
        .map(|op| Instruction { code: op.code, jt: op.jt, jf: op.jf, k: op.k })
        .collect();
    spare::take_pages();
    let Ok((orders, _)) = channel::receive::<VoidOrders<'_>>(told.as_fd()) else { return Ok(None) };
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // Before the ids are taken: for root, only kernel uid 0 may.
    let fuse = openat(CWD, c"/dev/fuse", flags, Mode::empty()).map_err(failed())?;
    child::take_ids(&orders.ids).map_err(failed())?;
    // Changing ids cleared the death signal and may have missed a death; and it may have made the process dumpable.
    child::die_with_parent(alive).map_err(failed())?;
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed())?;
    let made = mount_fuse(&fuse, &orders.ids).map_err(failed())?;
    send_with(root.as_fd(), &Message::Ready, &made).map_err(failed())?;
    drop(made);
    child::keep_capabilities(CapabilitySet::SYS_PTRACE).map_err(failed())?;
    fds::keep_only(&[told, &fuse, &proc]);
    let void = Void {
        told,
        fuse,
        proc,
        server: Server::new(&orders.nodes, (orders.ids.inside_uid, orders.ids.inside_gid), orders.asks),
        // Its keys are random: they are drawn before that is forbidden.
        ledger: Ledger::default(),
        incidents: Ledger::starting(INCIDENTS),
        over: orders.over,
        unwritten: BTreeMap::new(),
        questions: 0,
        beyond: 0,
        due: None,
        rest: Rest::default(),
        request: vec![0; LONGEST_REQUEST],
        answer: Vec::new(),
    };
    seccomp::install(&program).map_err(failed())?;
    Ok(Some(void))
}

/// A detached mount (mount(8), fuse.txt).
fn mount_fuse(fuse: &OwnedFd, ids: &Ids) -> Result<OwnedFd, Errno> {
    let (descriptor, uid, gid) =
        (fuse.as_raw_fd().to_string(), ids.inside_uid.to_string(), ids.inside_gid.to_string());
    mount(
        c"fuse",
        &[
            (c"fd", Some(&descriptor)),
            (c"rootmode", Some("40000")),
            (c"user_id", Some(&uid)),
            (c"group_id", Some(&gid)),
            // The kernel checks modes itself, without asking.
            (c"default_permissions", None),
            (c"allow_other", None),
            (c"source", Some("void")),
        ],
    )
}

fn mount(kind: &std::ffi::CStr, options: &[(&std::ffi::CStr, Option<&str>)]) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        match value {
            Some(value) => fsconfig_set_string(&context, *name, *value)?,
            None => fsconfig_set_flag(&context, *name)?,
        }
    }
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

impl Void<'_> {
    /// Errors end it.
    fn turn(&mut self) -> Result<(), Errno> {
        let mut polled = [PollFd::new(&self.fuse, PollFlags::IN), PollFd::new(self.told, PollFlags::IN)];
        let due = self.due.map(|due| due.saturating_duration_since(Instant::now()));
        let patience = due.into_iter().chain(self.server.leaves().then_some(SOON)).min();
        self.rest.poll(&mut polled, patience)?;
        let [asked, told] = polled.map(|polled| !polled.revents().is_empty());
        if told {
            self.listen()?;
        }
        if asked {
            for _ in 0..BATCH {
                if !self.serve()? {
                    break;
                }
            }
        }
        for path in self.server.left(|thread| caller::lives(&self.proc, &thread.to_string())) {
            send(self.told.as_fd(), &Message::Left(path));
        }
        self.tell_counts();
        Ok(())
    }

    /// Whether there was a request.
    fn serve(&mut self) -> Result<bool, Errno> {
        let length = match rustix::io::read(&self.fuse, &mut self.request[..]) {
            Ok(length) => length,
            // None, or one whose caller is gone.
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR | Errno::NOENT) => return Ok(true),
            Err(errno) => return Err(errno),
        };
        let request = self.request.get(..length).unwrap_or_default();
        match self.server.serve(request, &mut self.answer) {
            Some(look) => self.judge(look),
            None => self.reply(),
        }
        Ok(true)
    }

    /// Nothing is due for some requests, and nobody waits for the answers to others any more.
    fn reply(&self) {
        if !self.answer.is_empty() {
            let _ = rustix::io::write(&self.fuse, &self.answer);
        }
    }

    fn judge(&mut self, look: Look) {
        if look.thread == INIT {
            if look.path.as_os_str().as_bytes() == END.to_bytes() {
                while self.tell_some_counts() {}
            } else {
                self.init_came_by(&look);
            }
            return self.finish(&look);
        }
        let program = Program::at(&self.proc, &look.thread.to_string());
        if look.act == Act::Asked {
            let number = QUESTIONS + self.questions % QUESTIONS;
            self.questions = self.questions.wrapping_add(1);
            let (purpose, _) = self.intent(&look);
            let what = Refused::Asked { path: look.path.into_os_string(), purpose };
            let process = caller::process(&self.proc, look.thread);
            let program = program.started_at(&self.proc, process);
            return send(self.told.as_fd(), &Message::Refused(Refusal { number, process, program, what }));
        }
        let intent = self.intent(&look);
        let ledger = if look.act == Act::Opened { &mut self.incidents } else { &mut self.ledger };
        let path = [look.path.as_os_str().as_bytes()];
        // What lies below a name that is not there is told apart: the way ends at the same name.
        let below = intent.1.as_deref().map(|below| below.as_os_str().as_bytes()).unwrap_or_default();
        let [file, script] = program.key();
        let number = match ledger.note_for(&path, &[file, script, below], intent.0.strength()) {
            First::New(number) => number,
            First::Beyond if look.act != Act::Opened => {
                ledger.passed_on();
                self.next_beyond()
            }
            First::Again | First::Beyond => {
                self.due.get_or_insert_with(|| Instant::now() + SOON);
                return self.finish(&look);
            }
        };
        let refusal = self.describe(number, &look, program, intent);
        self.unwritten.insert(number, look);
        send(self.told.as_fd(), &Message::Refused(refusal));
    }

    /// What the task is going to do, and with what below the name that is not there. Of a bait its opening says all.
    fn intent(&self, look: &Look) -> (Purpose, Option<PathBuf>) {
        if look.act == Act::Opened {
            return (Purpose::Read, None);
        }
        caller::intent(&self.proc, look.thread, &look.path, |named| self.server.real(named))
    }

    fn next_beyond(&mut self) -> u32 {
        let number = BEYOND.start + self.beyond % BEYOND.start;
        self.beyond = self.beyond.wrapping_add(1);
        number
    }

    /// Over the void that is remembered all the same, and nothing more is heard of the name: so this is told, without waiting, for init
    /// must not. Whom it was for only init knows.
    fn init_came_by(&mut self, look: &Look) {
        let remembered = self.over.iter().any(|over| look.path.starts_with(over));
        if look.act != Act::Absent || !remembered {
            return;
        }
        let number = match self.ledger.note(&[look.path.as_os_str().as_bytes()], &[]) {
            First::New(number) => number,
            First::Beyond => {
                self.ledger.passed_on();
                self.next_beyond()
            }
            First::Again => {
                self.due.get_or_insert_with(|| Instant::now() + SOON);
                return;
            }
        };
        let refusal = self.refusal(number, look, (0, Program::default()), (Purpose::Look, None));
        send(self.told.as_fd(), &Message::Refused(refusal));
    }

    fn describe(
        &mut self,
        number: u32,
        look: &Look,
        program: Program,
        (purpose, asked): (Purpose, Option<PathBuf>),
    ) -> Refusal {
        let process = caller::process(&self.proc, look.thread);
        let program = program.started_at(&self.proc, process);
        if look.act == Act::Opened {
            let path = look.path.clone().into_os_string();
            return Refusal { number, process, program, what: Refused::Decoy { path } };
        }
        self.refusal(number, look, (process, program), (purpose, asked))
    }

    /// Of a name; the task may read of it.
    fn refusal(
        &mut self,
        number: u32,
        look: &Look,
        (process, program): (i32, Program),
        (purpose, asked): (Purpose, Option<PathBuf>),
    ) -> Refusal {
        let path = look.path.clone().into_os_string();
        let whole = asked.as_deref().unwrap_or(&look.path);
        let by = if look.act == Act::Hidden { By::Rule } else { By::Nothing };
        self.server.told.add(whole, purpose.word(), by);
        let asked = asked.map(PathBuf::into_os_string);
        Refusal { number, process, program, what: Refused::File { path, asked, purpose } }
    }

    fn finish(&mut self, look: &Look) {
        self.server.finish(look, &mut self.answer);
        self.reply();
    }

    /// Refusals that are written down take effect, and what the owner says.
    fn listen(&mut self) -> Result<(), Errno> {
        let mut told = [0; TOLD];
        loop {
            match rustix::net::recv(self.told, &mut told[..], RecvFlags::DONTWAIT) {
                // The supervisor is gone.
                Ok((_, 0)) => return Err(Errno::PIPE),
                Ok((_, length)) => {
                    let tell = told.get(..length).and_then(|bytes| postcard::from_bytes(bytes).ok());
                    self.obey(tell.ok_or(Errno::BADMSG)?);
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn obey(&mut self, tell: Tell) {
        match tell {
            Tell::Written { number } => {
                if let Some(look) = self.unwritten.remove(&number) {
                    self.finish(&look);
                }
            }
            Tell::Refused(tried, words) => {
                let (purpose, by) = tried.told();
                self.server.told.add(Path::new(&words), purpose, by);
            }
            Tell::Show(node) => {
                self.server.add(&node);
                send(self.told.as_fd(), &Message::Shown);
            }
            Tell::Offer { number, path, directory } => {
                if let Some(look) = self.unwritten.remove(&number) {
                    self.server.offer(Path::new(&path), directory, &look, &mut self.answer);
                    self.reply();
                }
            }
            Tell::Decide { path, decision } => {
                let path = Path::new(&path);
                if decision == Decision::Refused {
                    self.server.told.add(path, Purpose::Read.word(), By::Nothing);
                }
                let (waiting, error) = self.server.decide(path, decision);
                for unique in waiting {
                    Server::refuse(unique, error, &mut self.answer);
                    self.reply();
                }
            }
        }
    }

    fn tell_counts(&mut self) {
        if self.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = self.tell_some_counts().then(|| Instant::now() + SOON);
    }

    /// Whether there are more.
    fn tell_some_counts(&mut self) -> bool {
        let mut dirty = false;
        for ledger in [&mut self.ledger, &mut self.incidents] {
            if ledger.dirty() {
                let (counts, others) = ledger.counts(MOST_COUNTS);
                send(self.told.as_fd(), &Message::Again { counts, others });
                dirty |= ledger.dirty();
            }
        }
        dirty
    }
}
