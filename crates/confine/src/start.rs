//! How the command is started, in the form the kernel takes: made before the task exists, so that little is left to do.

use std::borrow::Cow;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use ringfence_plan::{bpf, syscalls};
use ringfence_sys::exec::{self, Vectors};
use ringfence_sys::seccomp::Instruction;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::orders::Orders;

/// The likely system call filter, made while there is nothing else to do.
#[derive(Debug)]
pub(crate) struct Filters {
    usual: Vec<bpf::Instruction>,
}

impl Filters {
    pub(crate) fn new() -> Self {
        Self { usual: syscalls::program(false) }
    }

    fn of(&self, orders: &Orders<'_>) -> Cow<'_, [bpf::Instruction]> {
        if orders.memfd_noexec { syscalls::program(true).into() } else { (&self.usual).into() }
    }
}

/// Vectors, filter, and what the invoker had that the construction changes for a while.
#[derive(Debug)]
pub(crate) struct Start {
    arguments: Vectors,
    environment: Vectors,
    candidates: Vec<CString>,
    pub(crate) filter: Vec<Instruction>,
    pub(crate) umask: Mode,
    pub(crate) descriptors: Rlimit,
}

impl Start {
    /// EINVAL for a NUL byte, which the supervisor has looked for already.
    pub(crate) fn of(orders: &Orders<'_>, filter: &Filters) -> Result<Self, Errno> {
        let string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::INVAL);
        let arguments =
            orders.command.iter().map(|word| string(word.clone().into_vec())).collect::<Result<_, _>>()?;
        let variable = |(name, value): (&std::ffi::OsString, &std::ffi::OsString)| {
            string([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let environment = orders.environment.iter().map(variable).collect::<Result<_, _>>()?;
        let candidates = candidates(orders).into_iter().map(string).collect::<Result<_, _>>()?;
        let filter = filter
            .of(orders)
            .iter()
            .map(|op| Instruction { code: op.code, jt: op.jt, jf: op.jf, k: op.k })
            .collect();
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        Ok(Self {
            arguments: Vectors::new(arguments),
            environment: Vectors::new(environment),
            candidates,
            filter,
            umask,
            descriptors: getrlimit(Resource::Nofile),
        })
    }

    /// Tries the candidates in order, as a shell searches PATH: a refusal is remembered, a missing one is not.
    pub(crate) fn execute(&self) -> Errno {
        let mut worst = Errno::NOENT;
        for candidate in &self.candidates {
            let errno = exec::execve(candidate, &self.arguments, &self.environment);
            if errno != Errno::NOENT && errno != Errno::NOTDIR {
                worst = errno;
                if errno != Errno::ACCESS {
                    break;
                }
            }
        }
        worst
    }
}

/// Where the command may be: itself if it has a slash, else in each directory of the sandbox's PATH.
fn candidates(orders: &Orders<'_>) -> Vec<Vec<u8>> {
    let Some(command) = orders.command.first() else { return Vec::new() };
    let name = command.as_bytes();
    if name.contains(&b'/') || name.is_empty() {
        return vec![name.to_vec()];
    }
    let path = orders.environment.get(OsStr::new("PATH")).map_or(&b""[..], |path| path.as_bytes());
    path.split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| [directory, b"/", name].concat())
        .collect()
}
