//! Why a plan cannot be made: who is at fault is in the type.

/// The part that cannot be enforced, the cause and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {cause}")]
pub struct Refused {
    /// Which part of the policy or the host.
    pub part: String,
    /// Why.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

impl Refused {
    /// The host lacks something.
    #[must_use]
    pub fn host(part: &str, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { part: format!("this host lacks {part}"), cause: cause.into(), remedy: remedy.into() }
    }

    /// The workspace cannot be one.
    #[must_use]
    pub fn workspace(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { part: "workspace".into(), cause: cause.into(), remedy: remedy.into() }
    }

    /// A rule of the policy cannot be carried out.
    #[must_use]
    pub fn rule(
        origin: &ringfence_policy::Origin,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let part = match origin.line {
            0 => origin.source.to_string(),
            line => format!("{}:{line}", origin.source),
        };
        Self { part, cause: cause.into(), remedy: remedy.into() }
    }
}
