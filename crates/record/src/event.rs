//! The kinds of event and what each of them says.

use serde::{Deserialize, Serialize};

/// What happened. One variant a kind, so that a kind and its details cannot be mixed up.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A sandbox begins: written before the command's first instruction.
    SandboxStart {
        /// SHA-256 of the merged policy.
        policy: String,
        /// Where its parts come from.
        sources: Vec<Source>,
        /// `namespace` or `landlock`.
        tier: String,
        /// The command and its arguments.
        command: Vec<String>,
        /// The workspace on the host.
        workspace: String,
        /// `review`, `discard`, `direct`, `read` or `temporary`.
        mode: String,
        /// What this host cannot do, and was allowed to be missing or is done another way.
        degraded: Vec<Degraded>,
    },
    /// A sandbox ended and nothing of it runs any more.
    SandboxEnd {
        /// Exit status of `ringfence run`.
        exit: i32,
        /// The signal that ended the command.
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// The limit that ended it.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<String>,
        /// How long it ran.
        duration_ms: u64,
        /// Refusals known so far.
        refusals: u64,
    },
    /// A policy could not be loaded.
    PolicyError {
        /// Which file or preset.
        source: String,
        /// Why.
        message: String,
    },
    /// A command begins in a sandbox that holds many.
    ExecStart {
        /// Its number in this sandbox.
        job: u32,
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// It ended.
    ExecEnd {
        /// Its number in this sandbox.
        job: u32,
        /// Exit status; 128 and the signal's number for one that a signal ended.
        exit: i32,
    },
    /// A program starts, and somebody judged it.
    ProcessStart {
        /// Its process, as the sandbox counts.
        process: i32,
        /// The process that it is a child of; 0 where that is not known.
        parent: i32,
        /// Its file.
        file: String,
        /// SHA-256 of that, where the policy pins programs.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// The command and its arguments.
        command: Vec<String>,
        /// The directory of the process.
        directory: String,
    },
    /// It ended.
    ProcessEnd {
        /// Its process, as the sandbox counts; 0: so many more that started were not written down one by one.
        process: i32,
        /// Its file.
        file: String,
        /// Its status; none where a signal ended it, or nobody saw its end.
        #[serde(skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
        /// The signal that ended it, where that was seen.
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// How long it ran.
        duration_ms: u64,
        /// Time of the processor, and of the kernel, for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        user_ms: Option<u64>,
        /// The same in the kernel.
        #[serde(skip_serializing_if = "Option::is_none")]
        system_ms: Option<u64>,
        /// The most memory that it held.
        #[serde(skip_serializing_if = "Option::is_none")]
        memory_kib: Option<u64>,
        /// Of how many this tells.
        times: u64,
    },
    /// A limit ended the sandbox.
    LimitHit {
        /// Its key in `[limits]`.
        limit: String,
        /// What the task did, in one sentence.
        what: String,
    },
    /// A command was refused.
    ExecDeny {
        /// The command and its arguments.
        command: Vec<String>,
        /// The rule, or the lack of one.
        rule: String,
        /// Lines of policy that would allow it.
        remedy: Vec<String>,
        /// The process that who asked is a child of; none where nobody looked.
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<i32>,
        /// Its file, where that was looked at.
        #[serde(skip_serializing_if = "String::is_empty")]
        file: String,
        /// The directory of the process.
        #[serde(skip_serializing_if = "String::is_empty")]
        directory: String,
        /// The process that asked, as the sandbox counts; 0 for many, and for the sandbox's own command.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
    },
    /// A program was changed between its judgement and its start; its process was ended.
    ExecTamper {
        /// The command that was judged.
        command: Vec<String>,
        /// Its file.
        file: String,
        /// The process, as the sandbox counts.
        process: i32,
        /// What it runs instead.
        program: String,
        /// Why it was ended.
        rule: String,
    },
    /// A program runs without some of the variables that it was to have.
    ExecClean {
        /// The command.
        command: Vec<String>,
        /// Its file.
        file: String,
        /// The variables.
        variables: Vec<String>,
        /// The process, as the sandbox counts; 0 for many.
        process: i32,
        /// How often, beyond what other events tell.
        times: u64,
        /// Why.
        rule: String,
    },
    /// A file was refused.
    FileDeny {
        /// Where the way ended.
        path: String,
        /// The whole path as the task named it, where that is longer.
        #[serde(skip_serializing_if = "Option::is_none")]
        asked: Option<String>,
        /// `look`, `read`, `write` or `execute`: what the task was going to do, as far as can be told.
        purpose: String,
        /// The process that asked, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often at least, beyond what other events tell.
        times: u64,
        /// The rule, or the lack of one.
        rule: String,
        /// Lines of policy that would allow it; none if a rule has to go first.
        remedy: Vec<String>,
        /// Whether its owner may grant it while the sandbox runs.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        grantable: bool,
    },
    /// A system call was refused.
    SyscallDeny {
        /// Its name.
        name: String,
        /// Its six arguments, in hexadecimal.
        arguments: Vec<String>,
        /// The process that made it, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often at least, beyond what other events tell.
        times: u64,
        /// Why it is refused.
        rule: String,
    },
    /// A decoy was opened: whoever did looks for secrets.
    DecoyOpen {
        /// Which.
        path: String,
        /// The process that opened it, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often at least, beyond what other events tell.
        times: u64,
        /// The rule that put it there.
        rule: String,
    },
    /// Somebody waits for what its owner may grant.
    Ask {
        /// On the host and in the sandbox.
        path: String,
        /// `look`, `read`, `write` or `execute`.
        purpose: String,
        /// Who waits, as the sandbox counts.
        process: i32,
        /// What it runs.
        program: String,
    },
    /// Its owner granted more while it runs.
    Grant {
        /// On the host and in the sandbox.
        path: String,
        /// `read`.
        access: String,
        /// For so long; none: until the sandbox ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
        /// The owner's words.
        why: String,
        /// The rule that lets it be granted.
        rule: String,
    },
    /// Such a grant has ended; what a task has open already it keeps.
    Revoke {
        /// Which.
        path: String,
        /// `revoked`, `expired`, or why it never came to be.
        cause: String,
    },
    /// A connection was refused.
    NetDeny {
        /// Path of the unix socket, for one to such.
        #[serde(skip_serializing_if = "String::is_empty")]
        unix: String,
        /// The name, or address, for one to a host.
        #[serde(skip_serializing_if = "String::is_empty")]
        host: String,
        /// The port; 0: only the name was asked for.
        #[serde(skip_serializing_if = "is_zero")]
        port: u16,
        /// The process that asked, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
        /// The rule, or the lack of one.
        rule: String,
        /// Lines of policy that would allow it; none if a rule has to go first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        remedy: Vec<String>,
    },
    /// The gateway ended before its sandbox, which has no network since.
    NetDown {
        /// What that means, in one sentence.
        what: String,
    },
    /// Something is missing that the policy asks for, by leave.
    Degraded(Degraded),
    /// Changes of a workspace landed on the host.
    WorkspaceApply {
        /// The workspace on the host.
        workspace: String,
        /// How many landed.
        landed: u64,
        /// How many were held back.
        held: u64,
        /// Where what they replaced is kept.
        undo: String,
    },
    /// What an apply replaced was put back.
    WorkspaceUndo {
        /// The workspace on the host.
        workspace: String,
        /// How many entries.
        restored: u64,
        /// Where what they replaced is kept.
        kept: String,
    },
    /// Changes of a workspace were thrown away.
    WorkspaceDiscard {
        /// The workspace on the host.
        workspace: String,
    },
    /// An apply was refused as a whole; nothing changed.
    ApplyRefuse {
        /// The workspace on the host.
        workspace: String,
        /// Which paths, and why.
        changes: Vec<Change>,
    },
    /// A change needs a look: held back, or it runs on the host by itself.
    ApplyFlag {
        /// The workspace on the host.
        workspace: String,
        /// Which paths, and why.
        changes: Vec<Change>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// A part of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// A file, or `preset:NAME`.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: String,
}

/// Something the host cannot do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// Name, as `--allow-degraded` takes it.
    pub name: String,
    /// What is different, in one sentence.
    pub effect: String,
}

/// A path of the workspace and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Relative to the workspace, escaped.
    pub path: String,
    /// Why, in one sentence.
    pub reason: String,
}

/// Who is running, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// A name or a SPIFFE ID.
    pub name: String,
    /// `policy`, `ceiling` or `workload-api`.
    pub asserted_by: String,
}

/// The name of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Kind {
    /// `sandbox.start`
    SandboxStart,
    /// `sandbox.end`
    SandboxEnd,
    /// `policy.error`
    PolicyError,
    /// `exec.start`
    ExecStart,
    /// `exec.end`
    ExecEnd,
    /// `process.start`
    ProcessStart,
    /// `process.end`
    ProcessEnd,
    /// `limit.hit`
    LimitHit,
    /// `exec.deny`
    ExecDeny,
    /// `exec.tamper`
    ExecTamper,
    /// `exec.clean`
    ExecClean,
    /// `file.deny`
    FileDeny,
    /// `syscall.deny`
    SyscallDeny,
    /// `decoy.open`
    DecoyOpen,
    /// `ask`
    Ask,
    /// `grant`
    Grant,
    /// `revoke`
    Revoke,
    /// `net.deny`
    NetDeny,
    /// `net.down`
    NetDown,
    /// `degraded`
    Degraded,
    /// `workspace.apply`
    WorkspaceApply,
    /// `workspace.undo`
    WorkspaceUndo,
    /// `workspace.discard`
    WorkspaceDiscard,
    /// `apply.refuse`
    ApplyRefuse,
    /// `apply.flag`
    ApplyFlag,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 25] = [
        Self::SandboxStart,
        Self::SandboxEnd,
        Self::PolicyError,
        Self::ExecStart,
        Self::ExecEnd,
        Self::ProcessStart,
        Self::ProcessEnd,
        Self::LimitHit,
        Self::ExecDeny,
        Self::ExecTamper,
        Self::ExecClean,
        Self::FileDeny,
        Self::SyscallDeny,
        Self::DecoyOpen,
        Self::Ask,
        Self::Grant,
        Self::Revoke,
        Self::NetDeny,
        Self::NetDown,
        Self::Degraded,
        Self::WorkspaceApply,
        Self::WorkspaceUndo,
        Self::WorkspaceDiscard,
        Self::ApplyRefuse,
        Self::ApplyFlag,
    ];

    /// As it is written in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::SandboxStart => "sandbox.start",
            Self::SandboxEnd => "sandbox.end",
            Self::PolicyError => "policy.error",
            Self::ExecStart => "exec.start",
            Self::ExecEnd => "exec.end",
            Self::ProcessStart => "process.start",
            Self::ProcessEnd => "process.end",
            Self::LimitHit => "limit.hit",
            Self::ExecDeny => "exec.deny",
            Self::ExecTamper => "exec.tamper",
            Self::ExecClean => "exec.clean",
            Self::FileDeny => "file.deny",
            Self::SyscallDeny => "syscall.deny",
            Self::DecoyOpen => "decoy.open",
            Self::Ask => "ask",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::NetDeny => "net.deny",
            Self::NetDown => "net.down",
            Self::Degraded => "degraded",
            Self::WorkspaceApply => "workspace.apply",
            Self::WorkspaceUndo => "workspace.undo",
            Self::WorkspaceDiscard => "workspace.discard",
            Self::ApplyRefuse => "apply.refuse",
            Self::ApplyFlag => "apply.flag",
        }
    }

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            Self::SandboxStart
            | Self::SandboxEnd
            | Self::ExecStart
            | Self::ExecEnd
            | Self::ProcessStart
            | Self::ProcessEnd
            | Self::WorkspaceApply
            | Self::Ask
            | Self::Revoke
            | Self::WorkspaceUndo
            | Self::WorkspaceDiscard => Severity::Informational,
            Self::PolicyError | Self::Degraded | Self::FileDeny | Self::ExecClean => Severity::Low,
            Self::LimitHit
            | Self::ExecDeny
            | Self::NetDeny
            | Self::NetDown
            | Self::Grant
            | Self::SyscallDeny
            | Self::ApplyFlag => Severity::Medium,
            Self::ApplyRefuse | Self::DecoyOpen | Self::ExecTamper => Severity::High,
        }
    }

    /// Must it be on disk before its effect (promise 5: grants, uses of credentials, applies, incidents)?
    pub fn durable(self) -> bool {
        matches!(
            self,
            Self::WorkspaceApply
                | Self::WorkspaceUndo
                | Self::WorkspaceDiscard
                | Self::ApplyRefuse
                | Self::ApplyFlag
                | Self::DecoyOpen
                | Self::ExecTamper
                | Self::Grant
                | Self::Revoke
        )
    }
}

impl From<Kind> for &'static str {
    fn from(kind: Kind) -> Self {
        kind.name()
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or(format!("unknown kind of event `{name}`"))
    }
}

impl Event {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::SandboxStart { .. } => Kind::SandboxStart,
            Self::SandboxEnd { .. } => Kind::SandboxEnd,
            Self::PolicyError { .. } => Kind::PolicyError,
            Self::ExecStart { .. } => Kind::ExecStart,
            Self::ExecEnd { .. } => Kind::ExecEnd,
            Self::ProcessStart { .. } => Kind::ProcessStart,
            Self::ProcessEnd { .. } => Kind::ProcessEnd,
            Self::LimitHit { .. } => Kind::LimitHit,
            Self::ExecDeny { .. } => Kind::ExecDeny,
            Self::ExecTamper { .. } => Kind::ExecTamper,
            Self::ExecClean { .. } => Kind::ExecClean,
            Self::FileDeny { .. } => Kind::FileDeny,
            Self::SyscallDeny { .. } => Kind::SyscallDeny,
            Self::DecoyOpen { .. } => Kind::DecoyOpen,
            Self::Ask { .. } => Kind::Ask,
            Self::Grant { .. } => Kind::Grant,
            Self::Revoke { .. } => Kind::Revoke,
            Self::NetDeny { .. } => Kind::NetDeny,
            Self::NetDown { .. } => Kind::NetDown,
            Self::Degraded(_) => Kind::Degraded,
            Self::WorkspaceApply { .. } => Kind::WorkspaceApply,
            Self::WorkspaceUndo { .. } => Kind::WorkspaceUndo,
            Self::WorkspaceDiscard { .. } => Kind::WorkspaceDiscard,
            Self::ApplyRefuse { .. } => Kind::ApplyRefuse,
            Self::ApplyFlag { .. } => Kind::ApplyFlag,
        }
    }
}

/// How much an event matters; the numbers are OCSF's `severity_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong.
    Informational = 1,
    /// Worth knowing.
    Low = 2,
    /// Somebody should look.
    Medium = 3,
    /// Somebody should act.
    High = 4,
    /// At once.
    Critical = 5,
}

impl Severity {
    /// `severity_id`.
    pub fn id(self) -> u32 {
        match self {
            Self::Informational => 1,
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::try_from(kind.name().to_owned()), Ok(kind));
        }
        assert!(Kind::try_from("sandbox".to_owned()).is_err());
    }
}
