//! Where each kind of event stands in OCSF: one table.

use crate::kind::Kind;

/// The release of the schema that is written against.
pub const SCHEMA_VERSION: &str = "1.8.0";

/// Class and activity of an event in OCSF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// `class_uid`; its category is the thousands.
    pub class: u32,
    /// `activity_id`.
    pub activity: u32,
}

impl Class {
    /// `category_uid`.
    pub fn category(self) -> u32 {
        self.class / 1000
    }

    /// `type_uid`.
    pub fn type_uid(self) -> u32 {
        self.class * 100 + self.activity
    }
}

/// The table. A kind without a line does not compile.
pub fn class_of(kind: Kind) -> Class {
    let (class, activity) = match kind {
        Kind::SandboxStart => (6002, 3),     // Application Lifecycle: Start
        Kind::SandboxEnd => (6002, 4),       // Application Lifecycle: Stop
        Kind::PolicyError => (6008, 1),      // Application Error: General Error
        Kind::ExecStart => (1007, 1),        // Process Activity: Launch
        Kind::ExecEnd => (1007, 2),          // Process Activity: Terminate
        Kind::ProcessStart => (1007, 1),     // Process Activity: Launch
        Kind::ProcessEnd => (1007, 2),       // Process Activity: Terminate
        Kind::LimitHit => (6002, 99),        // Application Lifecycle: Other
        Kind::ExecDeny => (1007, 1),         // Process Activity: Launch
        Kind::ExecTamper => (2004, 1),       // Detection Finding: Create
        Kind::ExecClean => (1007, 1),        // Process Activity: Launch
        Kind::FileDeny => (1001, 14),        // File System Activity: Open
        Kind::SyscallDeny => (1003, 4),      // Kernel Activity: Invoke
        Kind::DecoyOpen => (2004, 1),        // Detection Finding: Create
        Kind::Ask => (3005, 99),             // User Access Management: Other
        Kind::Grant => (3005, 1),            // User Access Management: Assign Privileges
        Kind::Revoke => (3005, 2),           // User Access Management: Revoke Privileges
        Kind::NetDeny => (4001, 5),          // Network Activity: Refuse
        Kind::NetFail => (4001, 4),          // Network Activity: Fail
        Kind::CredentialUse => (3003, 99),   // Authorize Session: Other
        Kind::CredentialDeny => (2004, 1),   // Detection Finding: Create
        Kind::ContainerUse => (6003, 99),    // API Activity: Other
        Kind::ContainerDeny => (6003, 99),   // API Activity: Other
        Kind::Leak => (2006, 1),             // Data Security Finding: Create
        Kind::NetDown => (6002, 99),         // Application Lifecycle: Other
        Kind::Degraded => (6002, 99),        // Application Lifecycle: Other
        Kind::WorkspaceApply => (6003, 3),   // API Activity: Update
        Kind::WorkspaceUndo => (6003, 3),    // API Activity: Update
        Kind::WorkspaceDiscard => (6003, 4), // API Activity: Delete
        Kind::WorkspaceCheckpoint | Kind::WorkspaceFork => (6003, 1), // API Activity: Create
        Kind::WorkspaceRollback => (6003, 3), // API Activity: Update
        Kind::ApplyRefuse => (6003, 3),
        Kind::ApplyFlag => (6003, 3),
    };
    Class { class, activity }
}
