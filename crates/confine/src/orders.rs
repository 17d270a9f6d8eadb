//! What init is told: first the part of a plan that it carries out, then which commands to start and what to do with them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use ringfence_plan::syscalls::Variant;
use ringfence_plan::{Ids, Landlock, Limits, Node, Plan, Step, Tree};
use ringfence_policy::{CommandRules, GrantedCommand, GrantedHost, NetworkRules};
use ringfence_void::Decision;
use serde::{Deserialize, Serialize};

use crate::report::Refusal;
use crate::retold::Tried;

/// The fields of [`Plan`] of the same names.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders<'a> {
    pub(crate) ids: Ids,
    pub(crate) trees: Cow<'a, [Tree]>,
    pub(crate) steps: Cow<'a, [Step]>,
    /// The root comes from its server; directories of it from which several names are wanted, parents first,
    /// and how many.
    pub(crate) void: Option<Vec<(OsString, usize)>>,
    pub(crate) landlock: Cow<'a, Option<Landlock>>,
    pub(crate) filter: Variant,
    pub(crate) guard: Cow<'a, Option<CommandRules>>,
    /// There is a gateway; the descriptor that leads to it comes first.
    pub(crate) network: Cow<'a, Option<NetworkRules>>,
    pub(crate) host_name: Cow<'a, str>,
    pub(crate) limits: Limits,
    /// The sandbox ends with its first job.
    pub(crate) single: bool,
    /// Memory and processes are looked at, for want of a control group.
    pub(crate) watched: bool,
}

impl<'a> Orders<'a> {
    pub(crate) fn of(plan: &'a Plan, single: bool, watched: bool) -> Self {
        Self {
            ids: plan.ids,
            trees: Cow::Borrowed(&plan.trees),
            steps: Cow::Borrowed(&plan.steps),
            void: plan.void.as_deref().map(crowded),
            landlock: Cow::Borrowed(&plan.landlock),
            filter: plan.filter,
            guard: Cow::Borrowed(&plan.guard),
            network: Cow::Borrowed(&plan.network),
            host_name: Cow::Borrowed(plan.host_name),
            limits: plan.limits,
            single,
            watched,
        }
    }
}

/// A name that is looked for alone costs as much as a whole listing.
const SEVERAL: usize = 2;

fn crowded(nodes: &[Node]) -> Vec<(OsString, usize)> {
    let mut names: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for path in nodes.iter().flat_map(|node| node.path.ancestors()) {
        if let Some(parent) = path.parent() {
            names.entry(parent).or_default().insert(path);
        }
    }
    let crowded = names.into_iter().filter(|(_, names)| names.len() >= SEVERAL);
    crowded.map(|(directory, names)| (directory.as_os_str().to_owned(), names.len())).collect()
}

/// What the root's server is told, for a sandbox that has one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoidOrders<'a> {
    pub(crate) ids: Ids,
    pub(crate) nodes: Cow<'a, [Node]>,
    /// The owner is asked about some of what is not there.
    pub(crate) asks: bool,
    /// What lies over it and shows it too, and remembers by itself which names are not there.
    pub(crate) over: Vec<PathBuf>,
}

/// What the root's server is told afterwards.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Tell {
    /// A refusal is written down: it takes effect.
    Written {
        /// Its number.
        number: u32,
    },
    /// This was refused elsewhere: the task may read so.
    Refused(Tried, String),
    /// Show one more name.
    Show(Node),
    /// This look came upon something that the owner may be asked about.
    Offer { number: u32, path: OsString, directory: bool },
    /// The owner has spoken.
    Decide { path: OsString, decision: Decision },
}

/// One command in a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its number; reports carry it.
    pub id: u32,
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Its variables, all of them.
    pub environment: BTreeMap<OsString, OsString>,
    /// Where it starts, inside.
    pub directory: OsString,
    /// Descriptors 0 to 2.
    pub streams: [Stream; 3],
    /// A pseudo-terminal of its own, as the controlling one.
    pub terminal: Option<Size>,
}

impl Job {
    /// The same, started from the copy of the workspace where its command is named by a path in that.
    #[must_use]
    pub fn in_copy(mut self, workspace: &Path, inside: &Path) -> Self {
        if let Some(first) = self.command.first_mut()
            && let Ok(below) = Path::new(first).strip_prefix(workspace)
            && !below.components().any(|part| part == Component::ParentDir)
        {
            *first = inside.join(below).into_os_string();
        }
        self
    }
}

/// One of a command's descriptors 0 to 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// A descriptor that is handed over.
    Passed,
    /// The sandbox's own /dev/null.
    #[default]
    Null,
    /// The pseudo-terminal.
    Terminal,
}

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What init is asked while the sandbox lives.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Tell of processes through the socket that comes along.
    Lives,
    /// Start a command.
    Start(Job),
    /// Send a signal to a command: to its process, or to its whole group as a terminal would.
    Signal { job: u32, signal: i32, group: bool },
    /// Stop every process.
    Pause,
    /// Let them all go on.
    Resume,
    /// The gateway refused something: tell of it, with who asked.
    Who(Refusal),
    /// A refusal is written down.
    Written {
        /// Its number.
        number: u32,
    },
    /// A command may start.
    Permit {
        /// Names this permit.
        number: u32,
        /// Which.
        granted: GrantedCommand,
    },
    /// It may not any more.
    Withdraw {
        /// Which.
        number: u32,
    },
    /// A destination may be reached.
    Reach {
        /// Names this grant.
        number: u32,
        /// Which.
        granted: GrantedHost,
    },
    /// It may not any more.
    Unreach {
        /// Which.
        number: u32,
    },
    /// A command that was refused, and waits, is to be judged again.
    Retry {
        /// The refusal's number.
        number: u32,
    },
    /// Is nothing running? With `end`, what runs is ended first.
    Quiet { end: bool },
    /// Make anew what every command enters: what lies where it leads has changed.
    Renew,
    /// End every process, and init.
    End,
}
