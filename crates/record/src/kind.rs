//! The names of events, and how much each matters.

use serde::{Deserialize, Serialize};

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
    /// `net.fail`
    NetFail,
    /// `credential.use`
    CredentialUse,
    /// `credential.deny`
    CredentialDeny,
    /// `container.use`
    ContainerUse,
    /// `container.deny`
    ContainerDeny,
    /// `leak`
    Leak,
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
    /// `workspace.checkpoint`
    WorkspaceCheckpoint,
    /// `workspace.rollback`
    WorkspaceRollback,
    /// `workspace.fork`
    WorkspaceFork,
    /// `apply.refuse`
    ApplyRefuse,
    /// `apply.flag`
    ApplyFlag,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 34] = [
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
        Self::NetFail,
        Self::CredentialUse,
        Self::CredentialDeny,
        Self::ContainerUse,
        Self::ContainerDeny,
        Self::Leak,
        Self::NetDown,
        Self::Degraded,
        Self::WorkspaceApply,
        Self::WorkspaceUndo,
        Self::WorkspaceDiscard,
        Self::WorkspaceCheckpoint,
        Self::WorkspaceRollback,
        Self::WorkspaceFork,
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
            Self::NetFail => "net.fail",
            Self::CredentialUse => "credential.use",
            Self::CredentialDeny => "credential.deny",
            Self::ContainerUse => "container.use",
            Self::ContainerDeny => "container.deny",
            Self::Leak => "leak",
            Self::NetDown => "net.down",
            Self::Degraded => "degraded",
            Self::WorkspaceApply => "workspace.apply",
            Self::WorkspaceUndo => "workspace.undo",
            Self::WorkspaceDiscard => "workspace.discard",
            Self::WorkspaceCheckpoint => "workspace.checkpoint",
            Self::WorkspaceRollback => "workspace.rollback",
            Self::WorkspaceFork => "workspace.fork",
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
            | Self::CredentialUse
            | Self::ContainerUse
            | Self::NetFail
            | Self::Revoke
            | Self::WorkspaceUndo
            | Self::WorkspaceDiscard
            | Self::WorkspaceCheckpoint
            | Self::WorkspaceRollback
            | Self::WorkspaceFork => Severity::Informational,
            Self::PolicyError | Self::Degraded | Self::FileDeny | Self::ExecClean => Severity::Low,
            Self::LimitHit
            | Self::ExecDeny
            | Self::NetDeny
            | Self::ContainerDeny
            | Self::NetDown
            | Self::Grant
            | Self::SyscallDeny
            | Self::ApplyFlag => Severity::Medium,
            Self::ApplyRefuse | Self::CredentialDeny | Self::Leak | Self::DecoyOpen | Self::ExecTamper => {
                Severity::High
            }
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
                | Self::CredentialUse
                | Self::CredentialDeny
                | Self::ContainerUse
                | Self::ContainerDeny
                | Self::Leak
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
