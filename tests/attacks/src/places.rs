//! Where things are in the world, and the values of the table's tokens.

use std::path::Path;
use std::path::PathBuf;

/// The runner and the binary under test.
pub(crate) const BIN: &str = "/home/bin";
/// The tree that each row starts from.
pub(crate) const TEMPLATE: &str = "/home/world/template";
/// What the last attempt printed.
pub(crate) const OUTPUT: &str = "/tmp/rf/output.txt";
/// The report of the last run.
pub(crate) const REPORT: &str = "/tmp/rf/report.json";

/// The directories of one world.
pub(crate) struct Places {
    /// Home of the launching user.
    pub(crate) home: PathBuf,
    /// Numeric user.
    pub(crate) uid: u32,
    /// A process of the same user outside the sandbox.
    pub(crate) host_process: u32,
}

impl Places {
    /// `@W@`
    pub(crate) fn work(&self) -> PathBuf {
        self.home.join("task/work")
    }

    /// `@STATE@`
    pub(crate) fn state(&self) -> PathBuf {
        self.home.join(".local/state/ringfence")
    }

    /// `@POL@`
    pub(crate) fn policy(&self) -> PathBuf {
        self.home.join("task/policy.toml")
    }

    /// Token and value; the values that only a run has come in `run`.
    pub(crate) fn tokens(&self, run: &RunTokens) -> Vec<(&'static str, String)> {
        let task = self.home.join("task");
        let show = |path: &Path| path.display().to_string();
        vec![
            ("@W@", show(&self.work())),
            ("@RO@", show(&task.join("ro"))),
            ("@OUT@", show(&task.join("out"))),
            ("@HOME@", show(&self.home)),
            ("@STATE@", show(&self.state())),
            ("@LOG@", run.log.clone().unwrap_or_else(|| show(&self.state().join("log")))),
            ("@POL@", show(&self.policy())),
            ("@SBX@", run.id.clone().unwrap_or_default()),
            ("@RF@", format!("{BIN}/ringfence")),
            ("@RFDIR@", BIN.to_owned()),
            ("@HOSTPID@", self.host_process.to_string()),
            ("@SUPPID@", run.supervisor.map(|pid| pid.to_string()).unwrap_or_default()),
            ("@HPORT@", "18080".to_owned()),
            ("@HSOCK@", show(&task.join("out/host.sock"))),
            ("@ABS@", "rf-abstract".to_owned()),
            ("@ALLOWED_IP@", "203.0.113.10".to_owned()),
            ("@DENIED_IP@", "203.0.113.20".to_owned()),
            ("@DENIED_IP6@", "2001:db8::20".to_owned()),
            ("@DNS_IP@", "203.0.113.53".to_owned()),
            ("@META_IP@", "169.254.169.254".to_owned()),
            ("@CGNAT_IP@", "100.64.0.10".to_owned()),
            ("@LINKLOCAL_IP@", "169.254.10.10".to_owned()),
            ("@SINK@", "/tmp/rf/sink.log".to_owned()),
            ("@DNSLOG@", "/tmp/rf/dns.log".to_owned()),
            ("@HITLOG@", "/tmp/rf/hits.log".to_owned()),
            ("@META_HEXPAIR@", "a9fe:a9fe".to_owned()),
            ("@WIRE@", "/tmp/rf/wire.log".to_owned()),
            ("@TXT@", OUTPUT.to_owned()),
        ]
    }

    /// Puts the values in.
    pub(crate) fn fill(&self, text: &str, run: &RunTokens) -> String {
        self.tokens(run).iter().fold(text.to_owned(), |filled, (token, value)| filled.replace(token, value))
    }
}

/// What is known of one run.
#[derive(Default)]
pub(crate) struct RunTokens {
    /// The run's id.
    pub(crate) id: Option<String>,
    /// The pid of `ringfence run`.
    pub(crate) supervisor: Option<u32>,
    /// The log of a run.
    pub(crate) log: Option<String>,
}

/// A token that nothing filled in.
pub(crate) fn unfilled(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find('@') {
        let tail = &rest[start + 1..];
        let end = tail.find('@')?;
        let name = &tail[..end];
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        {
            return Some(name);
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_tokens_are_found() {
        assert_eq!(unfilled("cat @NOWHERE@/x"), Some("NOWHERE"));
        assert_eq!(unfilled("u@allowed.example a@b"), None);
    }
}
