//! What may happen: the merged policy, interpreted once. Everything after this crate works on these types.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::containers::Containers;
use crate::credential::Credential;
use crate::destination::{Denied, Destination, Registry};
use crate::pattern::PathPattern;

/// Where a rule was written, so that a refusal can name it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// `preset coding-agent`, the path of a policy file, or `command line`.
    pub source: Arc<str>,
    /// 1-based line in that source; 0 where the source has no lines.
    pub line: u32,
}

/// A value together with where it was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rule<T> {
    /// What the rule says.
    pub value: T,
    /// Where it was written.
    pub origin: Origin,
}

/// A policy after `extends`, merging and the ceiling. Deny by default: an empty list grants nothing.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Policy {
    /// Who is running, and which source said so.
    pub identity: Option<Rule<Identity>>,
    /// The directory the task works on.
    pub workspace: Workspace,
    /// Files outside the workspace.
    pub files: Files,
    /// What may be granted while the sandbox runs.
    pub approvals: Approvals,
    /// The variables of the task.
    pub environment: Environment,
    /// Which programs may start; `None` (no document has a `commands.allow`): any program in an executable tree.
    pub commands: Option<Commands>,
    /// What the workspace's own programs may do.
    pub from_workspace: bool,
    /// What each execution is looked at for.
    pub guard: Guard,
    /// What can be reached.
    pub network: Network,
    /// Secrets that the gateway holds, by name.
    pub credentials: BTreeMap<String, Rule<Credential>>,
    /// A container engine of the host that may be asked.
    pub containers: Option<Containers>,
    /// What is looked through for secrets, and what is done about them.
    pub leaks: LeakRules,
    /// Bounds on resources.
    pub limits: Limits,
    /// Switches for special needs.
    pub runtime: Runtime,
    /// Claims that were checked when the policy loaded.
    pub expect: Expect,
    /// SHA-256 over all documents that were merged, in hex.
    pub hash: String,
    /// The documents in the order they were merged, first to last.
    pub sources: Vec<String>,
    /// The invoker's home, which `~` stood for; the known secrets are below it.
    pub home: PathBuf,
    /// Where the single values were written that carry no rule of their own, by key (`workspace.mode`).
    pub origins: BTreeMap<String, Origin>,
}

/// A name, or a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// A plain name: 1 to 64 of `[a-z0-9._-]`, starting with a letter or digit.
    Name(String),
    /// A SPIFFE ID (SPIFFE-ID.md: scheme `spiffe`, trust domain, path).
    Spiffe(String),
}

/// How the workspace reaches the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Copy-on-write; lands by `ringfence apply`.
    #[default]
    Review,
    /// Copy-on-write, thrown away.
    Discard,
    /// The host's files themselves.
    Direct,
    /// Read-only.
    Read,
    /// An empty directory, no host directory behind it.
    Temporary,
}

impl Mode {
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("review", Self::Review),
        ("discard", Self::Discard),
        ("direct", Self::Direct),
        ("read", Self::Read),
        ("temporary", Self::Temporary),
    ];
}

/// `[workspace]`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Workspace {
    /// Absolute path; `None` where no document names one (the caller then takes the current directory).
    pub path: Option<Rule<PathBuf>>,
    /// How the task sees it.
    pub mode: Mode,
    /// Readable, never writable. Relative patterns are relative to the workspace.
    pub protect: Vec<Rule<PathPattern>>,
    /// With `discard`: all that may come out, by an apply. Relative to the workspace.
    pub outputs: Vec<Rule<PathPattern>>,
    /// The most that the task may put there, in bytes.
    pub quota: Option<Rule<u64>>,
    /// With `direct`: what is there at the start is kept for undo.
    pub snapshot: bool,
    /// Follow git's links (worktrees, submodules, alternates) out of the workspace.
    pub git: bool,
}

/// One granted path: absolute, `~` and `$VARS` expanded, not resolved through symlinks, no glob.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Grant {
    /// The path as the host names it.
    pub path: PathBuf,
    /// Written with a trailing `?`: no error if it does not exist.
    pub optional: bool,
}

/// `[files]`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Files {
    /// Readable trees or files; not executable.
    pub read: Vec<Rule<Grant>>,
    /// Readable and executable trees or files.
    pub exec: Vec<Rule<Grant>>,
    /// Readable and writable trees or files.
    pub write: Vec<Rule<Grant>>,
    /// Hidden even inside a grant.
    pub deny: Vec<Rule<PathPattern>>,
    /// Files that a bait is shown for.
    pub decoy: Vec<Rule<PathBuf>>,
}

/// `[approvals]`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Approvals {
    /// What may be granted for reading while the sandbox runs. Relative patterns are relative to the workspace.
    pub read: Vec<Rule<PathPattern>>,
    /// Commands that may be; entries of the same form as [`Commands::allow`].
    pub commands: Vec<Rule<String>>,
    /// Destinations that may be.
    pub hosts: Vec<Rule<Destination>>,
    /// Credentials that are of no use before they are.
    pub credentials: Vec<Rule<String>>,
    /// Whoever uses such a thing waits, and the owner is asked.
    pub ask: bool,
}

/// `[environment]`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Environment {
    /// Names taken over from the invoker.
    pub pass: Vec<Rule<String>>,
    /// Names and values set. A value written `path:P?` is kept only where P exists; it holds P, expanded.
    pub set: BTreeMap<String, Rule<EnvironmentValue>>,
}

/// The value of one variable.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentValue {
    /// Literal text.
    Text(String),
    /// A path; the variable is left out where the path does not exist and `optional` is set.
    Path(Grant),
}

/// `commands.allow`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Commands {
    /// Entries that [`crate::CommandPattern`] reads: a bare name (looked up in the executable trees) or an absolute path, and
    /// what its arguments may be.
    pub allow: Vec<Rule<String>>,
}

/// The rest of `[commands]`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Guard {
    /// Entries of the same form, which stand above every other rule.
    pub deny: Vec<Rule<String>>,
    /// Whether shells, and code on command lines, may run; `None`: they may.
    pub shell: Option<Rule<bool>>,
    /// Whether commands may be joined by pipes, and several run at a time; `None`: they may.
    pub pipes: Option<Rule<bool>>,
    /// What a command may start.
    pub children: Children,
    /// Whether listed programs must be what they were at the start.
    pub pin: Option<Rule<bool>>,
}

impl Guard {
    /// Whether listed programs must be what they were at the start.
    #[must_use]
    pub fn pin(&self) -> bool {
        self.pin.as_ref().is_some_and(|rule| rule.value)
    }

    /// Whether commands may be joined by pipes, and several run at a time.
    #[must_use]
    pub fn pipes(&self) -> bool {
        self.pipes.as_ref().is_none_or(|rule| rule.value)
    }

    /// Whether shells, and code on command lines, may run.
    #[must_use]
    pub fn shell(&self) -> bool {
        self.shell.as_ref().is_none_or(|rule| rule.value)
    }
}

/// `commands.children`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Children {
    /// What the command itself may be.
    #[default]
    Same,
    /// Any program in an executable tree.
    Free,
    /// These too.
    Programs(Vec<Rule<String>>),
}

impl Children {
    /// The list, if it is one.
    #[must_use]
    pub fn programs(&self) -> &[Rule<String>] {
        match self {
            Self::Programs(programs) => programs,
            Self::Same | Self::Free => &[],
        }
    }
}

/// `[network]`. Both empty: there is none.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Network {
    /// Clients whose registries may be reached; which hosts these are is found out where the policy is used, and added to
    /// `allow`.
    pub registries: Vec<Rule<Registry>>,
    /// What may be reached.
    pub allow: Vec<Rule<Destination>>,
    /// Sockets of the host that may be reached.
    pub unix: Vec<Rule<PathBuf>>,
    /// What may not, whatever allows it.
    pub deny: Vec<Rule<Denied>>,
    /// Ports of the task that the host's loopback leads to.
    pub publish: Vec<Rule<u16>>,
    /// All TLS is looked into.
    pub inspect: bool,
}

/// `[leaks]`: each `None`: it is not looked through.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct LeakRules {
    /// What is sent.
    pub egress: Option<Rule<Leaks>>,
    /// What a task changed, when it is to land.
    pub workspace: Option<Rule<Leaks>>,
    /// What a task writes to stdout and stderr.
    pub output: Option<Rule<Leaks>>,
}

impl LeakRules {
    /// Those that are there, by the words of `leaks.scan`.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Rule<Leaks>)> {
        let all = [("egress", &self.egress), ("workspace", &self.workspace), ("output", &self.output)];
        all.into_iter().filter_map(|(word, rule)| Some((word, rule.as_ref()?)))
    }
}

/// `leaks.action`.
///
/// Later ones are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leaks {
    /// It is sent, and told of.
    Warn,
    /// It is sent without the secret.
    Mask,
    /// What holds a secret is not sent.
    Block,
}

impl Leaks {
    /// The one with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Warn, Self::Mask, Self::Block].into_iter().find(|action| action.word() == word)
    }

    /// As policies and events have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Mask => "mask",
            Self::Block => "block",
        }
    }
}

/// `[limits]`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Limits {
    /// Memory of all processes together, in bytes.
    pub memory: Option<Rule<u64>>,
    /// Thousandths of a processor.
    pub cpu: Option<Rule<u64>>,
    /// Processes and threads.
    pub processes: Option<Rule<u64>>,
    /// Open files of one process.
    pub open_files: Option<Rule<u64>>,
    /// Size of one file in bytes.
    pub file_size: Option<Rule<u64>>,
    /// Size of the private /tmp in bytes.
    pub tmp: Option<Rule<u64>>,
    /// Bytes on stdout and stderr together.
    pub output: Option<Rule<u64>>,
    /// Wall-clock time in milliseconds.
    pub time: Option<Rule<u64>>,
    /// A host that can only poll is refused.
    pub exact: bool,
}

/// `[runtime]`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Runtime {
    /// Programs in /tmp may be executed.
    pub tmp_exec: bool,
    /// The task may trace its own processes.
    pub debug: bool,
    /// The task may make namespaces and mounts of its own.
    pub user_namespaces: bool,
    /// The task may use io_uring.
    pub io_uring: bool,
    /// Writes to what may only be read are told of, at a price for each open that writes.
    pub watch_writes: bool,
    /// What the task writes to a terminal may act on it.
    pub terminal_raw: bool,
}

/// `[expect]`, kept for `check`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Expect {
    /// Actions that must be allowed.
    pub allow: Vec<Rule<String>>,
    /// Actions that must be refused.
    pub refuse: Vec<Rule<String>>,
}
