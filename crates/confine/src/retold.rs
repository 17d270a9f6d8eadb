//! What a task may read of what it was refused elsewhere than in the root: its own words, and no rule's.

use std::net::IpAddr;

use ringfence_plan::{asked, syscalls};
use ringfence_policy::command_line;
use ringfence_void::By;
use serde::{Deserialize, Serialize};

use crate::init::CALLS;
use crate::purpose::Purpose;
use crate::report::{Fate, Refusal, Refused};

/// Letters of one line: a command may have very many.
const LONGEST: usize = 1000;

/// What was tried, for the root's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tried {
    Call,
    Connect,
    /// For a name.
    Ask,
    Start,
    Write,
    Remove,
}

impl Tried {
    /// What it is called, and what refused it.
    pub(crate) fn told(self) -> (&'static str, By) {
        match self {
            Self::Call => ("call", By::Calls),
            Self::Connect => ("connect", By::Policy),
            Self::Ask => ("ask", By::Policy),
            Self::Start => (Purpose::Execute.word(), By::Policy),
            Self::Write => (Purpose::Write.word(), By::Policy),
            Self::Remove => (Purpose::Remove.word(), By::Policy),
        }
    }
}

/// `None`: the root's server tells of it itself, or whoever answered the task did.
pub(crate) fn of(refusal: &Refusal) -> Option<(Tried, String)> {
    let (tried, words) = match &refusal.what {
        Refused::Syscall { number, arguments } => {
            let (name, _) = syscalls::refused(*number)?;
            (Tried::Call, asked::with(name, arguments))
        }
        Refused::Connect { path } => (Tried::Connect, path.to_string_lossy().into_owned()),
        // What the kernel alone counted has no name.
        Refused::Network { host, .. } if host.starts_with('(') => return None,
        Refused::Network { host, port, .. } => match (host.parse::<IpAddr>(), port) {
            (Ok(_), 0) => (Tried::Connect, host.clone()),
            (Ok(IpAddr::V6(_)), _) => (Tried::Connect, format!("[{host}]:{port}")),
            (Ok(IpAddr::V4(_)), _) => (Tried::Connect, format!("{host}:{port}")),
            (Err(_), 0) => (Tried::Ask, host.clone()),
            // Whoever counts through the sandbox's own addresses would read the names that the policy has there.
            (Err(_), _) => (Tried::Connect, format!("port {port} of a name")),
        },
        // The owner's own words are none of the task's.
        Refused::Command(command) if command.first => return None,
        Refused::Command(command) if !matches!(command.fate, Fate::Cleaned(_) | Fate::Changed) => {
            let words: Vec<_> = command.arguments.iter().map(|word| word.to_string_lossy()).collect();
            (Tried::Start, command_line(words.iter().map(AsRef::as_ref)))
        }
        Refused::File { path, purpose: Purpose::Write, .. } if refusal.number >= CALLS => {
            (Tried::Write, path.to_string_lossy().into_owned())
        }
        Refused::File { path, purpose: Purpose::Remove, .. } if refusal.number >= CALLS => {
            (Tried::Remove, path.to_string_lossy().into_owned())
        }
        _ => return None,
    };
    let mut letters = words.chars();
    let mut short: String = letters.by_ref().take(LONGEST).collect();
    if letters.next().is_some() {
        short.push_str("..");
    }
    Some((tried, short))
}
