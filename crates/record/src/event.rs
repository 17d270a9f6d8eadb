//! The kinds of event and what each of them says.

use serde::{Deserialize, Serialize};

use crate::kind::Kind;

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
        /// Whether the policy grants any network.
        network: bool,
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
        /// Somebody asked for its end, of a sandbox that holds many commands.
        #[serde(skip_serializing_if = "is_false")]
        stopped: bool,
        /// How long it ran.
        duration_ms: u64,
        /// Different things that were refused, as `ringfence explain` lists them.
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
        /// Its owner may grant it while the sandbox runs.
        #[serde(skip_serializing_if = "is_false")]
        grantable: bool,
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
        /// `look`, `read`, `write`, `remove` (rename and replace, too), `execute` or `map`: what the task was going to do, as far as can be told.
        purpose: String,
        /// The process that asked, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// The script that its command line names, if it is an interpreter.
        #[serde(skip_serializing_if = "String::is_empty")]
        script: String,
        /// Where it runs none, the script of the nearest process above it that does.
        #[serde(skip_serializing_if = "String::is_empty")]
        started_by: String,
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
        /// The script that its command line names, if it is an interpreter.
        #[serde(skip_serializing_if = "String::is_empty")]
        script: String,
        /// Where it runs none, the script of the nearest process above it that does.
        #[serde(skip_serializing_if = "String::is_empty")]
        started_by: String,
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
        /// The script that its command line names, if it is an interpreter.
        #[serde(skip_serializing_if = "String::is_empty")]
        script: String,
        /// Where it runs none, the script of the nearest process above it that does.
        #[serde(skip_serializing_if = "String::is_empty")]
        started_by: String,
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
        /// The script that its command line names, if it is an interpreter.
        #[serde(skip_serializing_if = "String::is_empty")]
        script: String,
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
        /// Who granted it: the user, and the process or the terminal by which they did.
        who: String,
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
    /// A connection that is granted came to nothing: the policy did not refuse it.
    NetFail {
        /// Path of the unix socket, for one to such.
        #[serde(skip_serializing_if = "String::is_empty")]
        unix: String,
        /// The name, or address, for one to a host.
        #[serde(skip_serializing_if = "String::is_empty")]
        host: String,
        /// The port.
        #[serde(skip_serializing_if = "is_zero")]
        port: u16,
        /// Why.
        why: String,
        /// The process that asked, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
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
        /// The script that its command line names, if it is an interpreter.
        #[serde(skip_serializing_if = "String::is_empty")]
        script: String,
        /// Where it runs none, the script of the nearest process above it that does.
        #[serde(skip_serializing_if = "String::is_empty")]
        started_by: String,
        /// How often, beyond what other events tell.
        times: u64,
        /// The rule, or the lack of one.
        rule: String,
        /// Lines of policy that would allow it; none if a rule has to go first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        remedy: Vec<String>,
        /// Whether its owner may grant it while the sandbox runs.
        #[serde(skip_serializing_if = "is_false")]
        grantable: bool,
    },
    /// A credential was put on a request: the first time for each host before that is sent.
    CredentialUse {
        /// Its name in the policy.
        credential: String,
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Method and path of the request; of the first one, where this tells of several.
        request: String,
        /// The process that asked, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
    },
    /// A credential, or its placeholder, was going where its rule does not let it.
    CredentialDeny {
        /// Its name in the policy.
        credential: String,
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Method and path of the request.
        request: String,
        /// The process that asked, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
        /// Why it was refused, and what would change that.
        rule: String,
    },
    /// A container engine of the host was asked something; before it is.
    ContainerUse {
        /// Method and path of the request, and what it is about.
        request: String,
        /// The process that asked, as the sandbox counts; 0: not known, or many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
    },
    /// A request to a container engine was refused.
    ContainerDeny {
        /// Method and path of the request.
        request: String,
        /// The process that asked, as the sandbox counts; 0: not known, or many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
        /// Why, and what would change that.
        rule: String,
    },
    /// A secret was in what leaves.
    Leak {
        /// Whose it is, or the name of its form; never it itself.
        secret: String,
        /// How it is written: `raw`, `base64`, ..
        way: String,
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Method and path of the request, unless it was in the path.
        request: String,
        /// `block`, `mask` or `warn`.
        action: String,
        /// The process that asked, as the sandbox counts; 0 for many.
        process: i32,
        /// What it runs.
        program: String,
        /// How often, beyond what other events tell.
        times: u64,
        /// In one sentence.
        rule: String,
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
    /// A point of a sandbox's workspace was taken.
    WorkspaceCheckpoint {
        /// Its name.
        checkpoint: String,
        /// Its number in this run.
        number: u32,
        /// While a command ran: a copy of what was written since the last one.
        copied: bool,
        /// Who asked for it, as the host counts.
        uid: u32,
    },
    /// The workspace is as it was at a point.
    WorkspaceRollback {
        /// The point's name.
        checkpoint: String,
        /// The point's number in this run.
        number: u32,
        /// The point that what it was until then is kept as.
        kept: String,
        /// Who asked for it, as the host counts.
        uid: u32,
    },
    /// A second sandbox begins with what a first one had changed: in the log of both.
    WorkspaceFork {
        /// The first one's run.
        from: String,
        /// The point's name; empty: all that it had changed at its end.
        checkpoint: String,
        /// The second one's run.
        into: String,
        /// The second one's name.
        sandbox: String,
        /// Who asked for it, as the host counts.
        uid: u32,
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
fn is_false(value: &bool) -> bool {
    !*value
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
            Self::NetFail { .. } => Kind::NetFail,
            Self::CredentialUse { .. } => Kind::CredentialUse,
            Self::CredentialDeny { .. } => Kind::CredentialDeny,
            Self::ContainerUse { .. } => Kind::ContainerUse,
            Self::ContainerDeny { .. } => Kind::ContainerDeny,
            Self::Leak { .. } => Kind::Leak,
            Self::NetDown { .. } => Kind::NetDown,
            Self::Degraded(_) => Kind::Degraded,
            Self::WorkspaceApply { .. } => Kind::WorkspaceApply,
            Self::WorkspaceUndo { .. } => Kind::WorkspaceUndo,
            Self::WorkspaceDiscard { .. } => Kind::WorkspaceDiscard,
            Self::WorkspaceCheckpoint { .. } => Kind::WorkspaceCheckpoint,
            Self::WorkspaceRollback { .. } => Kind::WorkspaceRollback,
            Self::WorkspaceFork { .. } => Kind::WorkspaceFork,
            Self::ApplyRefuse { .. } => Kind::ApplyRefuse,
            Self::ApplyFlag { .. } => Kind::ApplyFlag,
        }
    }
}
