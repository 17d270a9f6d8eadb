//! The kinds of what is held back because it would run, or decide what runs, on the host: a user accepts one by its name.

use std::fmt;

use serde::Serialize;

/// A kind of danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Danger {
    /// Git's hooks.
    Hooks,
    /// Configuration that names programs, or makes git read another place.
    Config,
    /// What an editor runs.
    Editors,
    /// What an agent on the host runs or obeys.
    Agents,
    /// What a shell's helper runs when a directory is entered, and containers for development.
    Shell,
    /// What a CI system runs.
    Ci,
    /// What a package manager runs.
    Scripts,
    /// Which code is downloaded for the next build.
    Lockfiles,
    /// Programs that are no text.
    Binaries,
    /// Symlinks that lead out of the workspace.
    Symlinks,
    /// A part of a directory whose rename the run's end interrupted.
    Unfinished,
    /// What holds a secret, where the policy has that looked for.
    Secrets,
}

impl Danger {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Hooks,
        Self::Config,
        Self::Editors,
        Self::Agents,
        Self::Shell,
        Self::Ci,
        Self::Scripts,
        Self::Lockfiles,
        Self::Binaries,
        Self::Symlinks,
        Self::Unfinished,
        Self::Secrets,
    ];

    /// As `--accept` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hooks => "hooks",
            Self::Config => "config",
            Self::Editors => "editors",
            Self::Agents => "agents",
            Self::Shell => "shell",
            Self::Ci => "ci",
            Self::Scripts => "scripts",
            Self::Lockfiles => "lockfiles",
            Self::Binaries => "binaries",
            Self::Symlinks => "symlinks",
            Self::Unfinished => "unfinished",
            Self::Secrets => "secrets",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
