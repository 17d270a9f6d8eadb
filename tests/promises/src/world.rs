//! A host of the test's own, with servers on addresses that look public; see `world/world.py`.

use std::path::PathBuf;
use std::process::Command;

use crate::{Outcome, Place, binary, outcome, root};

/// A place, and a host around it for each command.
#[derive(Debug)]
pub struct World {
    /// Home, workspace, state.
    pub place: Place,
    /// Logs, certificates and the site of the servers.
    pub base: PathBuf,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::expect_used, reason = "a test that cannot make its world has failed")]
impl World {
    /// Makes it.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let place = Place::new();
        let base = place.base.path().canonicalize().expect("its path").join("world");
        std::fs::create_dir_all(base.join("site")).expect("a directory");
        Self { place, base }
    }

    /// In tier `landlock` if a test's module is of it: one file of tests may be two modules.
    #[must_use]
    pub fn in_tier(self, module: &str) -> Self {
        Self { place: self.place.in_tier(module), ..self }
    }

    /// Runs a shell script on that host; `$RF` is the binary, `$BASE` the world's directory.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn host(&self, script: &str) -> Outcome {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net"]);
        if !root() {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["python3", concat!(env!("CARGO_MANIFEST_DIR"), "/world/world.py")]);
        command.arg(&self.base).args(["bash", "-c", script]);
        command.current_dir(&self.place.workspace).stdin(std::process::Stdio::null());
        command.env("HOME", &self.place.home).env("RINGFENCE_STATE", &self.place.state);
        command.env("RF", binary()).env("BASE", &self.base);
        if self.place.hosted {
            command.env("RINGFENCE_TEST_HOST", "no-userns");
        }
        command.env_remove("RINGFENCE_POLICY").env_remove("XDG_STATE_HOME");
        outcome(command.output().expect("unshare and python3"))
    }

    /// Runs a shell script inside, under the preset `default`, this `[network]` and a grant of the world's certificates.
    #[must_use]
    pub fn run(&self, network: &str, script: &str) -> Outcome {
        let policy = self.policy(network);
        let script = self.place.write(self.place.base.path().join("script.sh"), script);
        self.host(&format!("exec {} -- bash -c \"$(cat {})\"", self.start(&policy), script.display()))
    }

    /// How a run under this policy begins, up to its command.
    #[must_use]
    pub fn start(&self, policy: &str) -> String {
        // Root's files are root's: nothing less than root could work on them.
        let leave = if self.place.hosted && root() { " --allow-degraded root-uid" } else { "" };
        format!("\"$RF\" run --quiet --policy {policy} --workspace .{leave}")
    }

    /// Writes a policy with this `[network]`.
    #[must_use]
    pub fn policy(&self, network: &str) -> String {
        let base = self.base.display();
        self.place.policy(&format!(
            "[files]\nread = [\"{base}/ca.pem\"]\n[environment]\nset = {{ BASE = \"{base}\" }}\n[network]\n{network}"
        ))
    }

    /// A log of the world: `dns.log` or `hits.log`.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.base.join(name)).expect("a log")
    }

    /// The events of all runs.
    #[must_use]
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.place.events()
    }

    /// Whether a refused connection or question was written down: host, port (0 for a question) and a part of the rule.
    #[must_use]
    pub fn refused(&self, host: &str, port: u16, rule: &str) -> bool {
        self.events().iter().any(|event| {
            let detail = &event["detail"];
            event["kind"] == "net.deny"
                && detail["host"] == host
                && detail["port"].as_u64().unwrap_or(0) == u64::from(port)
                && detail["rule"].as_str().is_some_and(|text| text.contains(rule))
        })
    }
}
