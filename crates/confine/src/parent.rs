//! The supervisor's side: takes hold of what only it can, clones, and hands over.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use ringfence_plan::{Plan, Tree};
use ringfence_sys::clone::{Forked, SANDBOX_NAMESPACES, USER_NAMESPACE, clone};
use ringfence_sys::exec::{self, Vectors};
use ringfence_sys::mount::{self, Attributes};
use ringfence_sys::seccomp::Instruction;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit};

use crate::child::{self, Inherited};
use crate::report::{self, Message, STEPS, TREES};
use crate::root;

/// One of the task's descriptors 0 to 2.
#[derive(Debug)]
pub enum Stream {
    /// This one.
    Pass(OwnedFd),
    /// The sandbox's own /dev/null.
    Null,
}

/// Everything the child needs in the form the kernel takes, so that little is left to do after the clone.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) arguments: Vectors,
    pub(crate) environment: Vectors,
    pub(crate) candidates: Vec<CString>,
    pub(crate) filter: Vec<Instruction>,
    pub(crate) umask: Mode,
    /// The invoker's limit on open files.
    pub(crate) descriptors: Rlimit,
}

/// A sandbox that was made.
#[derive(Debug)]
pub struct Boundary {
    init: Pid,
    /// Readable when init has ended, and with it the whole sandbox.
    pub pidfd: OwnedFd,
    /// Where init and task report.
    pub report: OwnedFd,
    /// Closing it ends the sandbox while it is being built; bytes on it are the parent's word to go on.
    alive: OwnedFd,
}

/// Why no sandbox was made.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {errno}")]
pub struct Failure {
    /// What was being done.
    pub part: String,
    /// The kernel's answer.
    pub errno: Errno,
    /// What to do about it, where that is known.
    pub remedy: Option<String>,
}

/// Makes the sandbox; its command waits for [`Boundary::go`]. The caller must have one thread.
///
/// # Errors
/// [`Failure`] for what goes wrong before the clone; later failures come as [`Message::Failed`].
pub fn start(plan: &Plan, streams: [Stream; 3]) -> Result<Boundary, Failure> {
    let prepared = prepare(plan)?;
    let trees = if plan.ids.mapped { map_trees(plan)? } else { plan.trees.iter().map(|_| None).collect() };
    let (report_in, report_out) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(fail("socketpair"))?;
    let (alive_in, alive_out) = pipe_with(PipeFlags::CLOEXEC).map_err(fail("pipe"))?;
    match clone(SANDBOX_NAMESPACES).map_err(no_namespaces)? {
        Forked::Child => {
            // The child's copy would keep the pipe open after the parent's death.
            drop(alive_out);
            drop(report_in);
            child::run(Inherited {
                plan,
                prepared: &prepared,
                trees,
                report: report_out,
                alive: alive_in,
                streams,
            })
        }
        Forked::Parent(init, pidfd) => {
            drop((report_out, alive_in, streams, trees));
            let boundary = Boundary { init, pidfd, report: report_in, alive: alive_out };
            if plan.ids.mapped {
                write_maps(plan, init).and_then(|()| boundary.say()).map_err(fail("writing the id maps"))?;
            }
            Ok(boundary)
        }
    }
}

impl Boundary {
    /// Lets the command start, once everything that must be written down before is.
    ///
    /// # Errors
    /// The kernel's. A sandbox that is gone already is none: its report says why.
    pub fn go(&self) -> Result<(), Errno> {
        match self.say() {
            Err(Errno::PIPE) => Ok(()),
            other => other,
        }
    }

    fn say(&self) -> Result<(), Errno> {
        rustix::io::write(&self.alive, b"!").map(drop)
    }

    /// Sends a signal to init, which hands it on to the task.
    pub fn forward(&self, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// Ends the whole sandbox at once.
    pub fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// The next report, with the descriptor that came along; waits for it. `None` once nobody is left to report.
    #[must_use]
    pub fn report(&self) -> Option<(Message, Option<OwnedFd>)> {
        report::receive(self.report.as_fd())
    }
}

impl Drop for Boundary {
    /// Waits until nothing of the sandbox is left, whatever became of the caller's plans for it.
    fn drop(&mut self) {
        self.kill();
        reap(self.init);
    }
}

/// What a failed stage was about, for a message.
#[must_use]
pub fn stage(plan: &Plan, stage: u32) -> String {
    if stage >= TREES {
        let tree = plan.trees.get((stage - TREES) as usize);
        return tree
            .map_or_else(|| "a tree of the plan".into(), |tree| format!("opening {}", tree.host.display()));
    }
    if stage >= STEPS {
        return plan.describe((stage - STEPS) as usize);
    }
    let text = match stage {
        1 => "taking the sandbox's ids",
        2 | 3 => "tying the sandbox's life to this process",
        4 => "making the root",
        5 => "changing the root",
        6 => "setting the host name",
        7 => "raising the loopback interface",
        8 => "setting limits",
        9 => "dropping privileges",
        10 => "starting the task",
        11 => "changing to the working directory",
        12 => "entering the Landlock domain",
        13 => "installing the system call filter",
        _ => "passing the descriptors",
    };
    text.into()
}

fn fail(part: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { part: part.to_owned(), errno, remedy: None }
}

fn reap(pid: Pid) {
    while matches!(rustix::process::waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
}

fn prepare(plan: &Plan) -> Result<Prepared, Failure> {
    let string = |bytes: Vec<u8>| {
        CString::new(bytes).map_err(|_| Failure {
            part: "an argument or variable holds a NUL byte".into(),
            errno: Errno::INVAL,
            remedy: None,
        })
    };
    let arguments =
        plan.command.iter().map(|word| string(word.clone().into_vec())).collect::<Result<_, _>>()?;
    let mut variables = Vec::with_capacity(plan.environment.len());
    for (name, value) in &plan.environment {
        let mut line = name.as_bytes().to_vec();
        line.push(b'=');
        line.extend(value.as_bytes());
        variables.push(string(line)?);
    }
    let candidates = candidates(plan).into_iter().map(string).collect::<Result<_, _>>()?;
    let filter =
        plan.filter.iter().map(|op| Instruction { code: op.code, jt: op.jt, jf: op.jf, k: op.k }).collect();
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    Ok(Prepared {
        arguments: Vectors::new(arguments),
        environment: Vectors::new(variables),
        candidates,
        filter,
        umask,
        descriptors: getrlimit(Resource::Nofile),
    })
}

/// Where the command may be: itself if it has a slash, else in each directory of the sandbox's PATH.
fn candidates(plan: &Plan) -> Vec<Vec<u8>> {
    let Some(command) = plan.command.first() else { return Vec::new() };
    let name = command.as_bytes();
    if name.contains(&b'/') || name.is_empty() {
        return vec![name.to_vec()];
    }
    let path = plan.environment.get(OsStr::new("PATH")).map_or(&b""[..], |path| path.as_bytes());
    path.split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| [directory, b"/", name].concat())
        .collect()
}

fn no_namespaces(errno: Errno) -> Failure {
    let remedy = match errno {
        Errno::PERM => {
            "user namespaces are forbidden here: in a container, run it with a seccomp profile that allows \
                        them; on Ubuntu, `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        Errno::NOSPC | Errno::USERS => "the limit is reached: raise `sysctl user.max_user_namespaces`",
        _ => "this kernel has no user namespaces or clone3 (Linux 5.3)",
    };
    Failure { part: "making the sandbox's namespaces".into(), errno, remedy: Some(remedy.into()) }
}

/// Root takes hold of the trees that are idmapped while it still may; the rest is left to the child.
fn map_trees(plan: &Plan) -> Result<Vec<Option<OwnedFd>>, Failure> {
    let map = user_namespace(plan).map_err(|errno| Failure {
        part: "making the user namespace that describes the id mapping".into(),
        errno,
        remedy: None,
    })?;
    plan.trees
        .iter()
        .map(|tree| if tree.mapped { map_tree(tree, &map).map(Some) } else { Ok(None) })
        .collect()
}

fn map_tree(tree: &Tree, map: &OwnedFd) -> Result<OwnedFd, Failure> {
    let fail = |errno| {
        Failure {
        part: format!("idmapping {}", tree.host.display()),
        errno,
        remedy: (errno == Errno::INVAL).then(|| {
            "its file system cannot be idmapped: use ext4, xfs, btrfs or tmpfs, or start ringfence as the files' owner".into()
        }),
    }
    };
    let detached = root::open(tree, true).map_err(fail)?;
    let attributes = Attributes { private: true, ..Attributes::default() };
    mount::set_attributes(detached.as_fd(), c"", tree.recursive, attributes, Some(map.as_fd()))
        .map_err(fail)?;
    Ok(detached)
}

/// A user namespace in which the owner on disk is the task's kernel id: what mount_setattr(2) calls a mapping.
fn user_namespace(plan: &Plan) -> Result<OwnedFd, Errno> {
    let (hold_in, hold_out) = pipe_with(PipeFlags::CLOEXEC)?;
    match clone(USER_NAMESPACE)? {
        Forked::Child => {
            drop(hold_out);
            let _ = rustix::io::read(&hold_in, &mut [0; 1]);
            exec::exit_now(0)
        }
        Forked::Parent(pid, _pidfd) => {
            let ids = &plan.ids;
            let number = pid.as_raw_nonzero();
            let made = write(
                &format!("/proc/{number}/uid_map"),
                &format!("{} {} 1", ids.owner_uid, ids.outside_uid),
            )
            .and_then(|()| {
                write(&format!("/proc/{number}/gid_map"), &format!("{} {} 1", ids.owner_gid, ids.outside_gid))
            })
            .and_then(|()| {
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
                rustix::fs::open(format!("/proc/{number}/ns/user"), flags, Mode::empty())
            });
            drop(hold_out);
            reap(pid);
            made
        }
    }
}

fn write_maps(plan: &Plan, init: Pid) -> Result<(), Errno> {
    let ids = &plan.ids;
    let number = init.as_raw_nonzero();
    write(&format!("/proc/{number}/uid_map"), &format!("{} {} 1", ids.inside_uid, ids.outside_uid))?;
    write(&format!("/proc/{number}/gid_map"), &format!("{} {} 1", ids.inside_gid, ids.outside_gid))
}

fn write(path: &str, text: &str) -> Result<(), Errno> {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes()).map(drop)
}
