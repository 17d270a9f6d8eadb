//! Keys whose enforcement comes later: their values are checked as the format demands, then refused by name.
//! A value that asks for nothing more than what already holds is accepted. Nothing is ever ignored.

use crate::diagnostic::{Invalid, Place, Problem, Report};
use crate::document::{ApprovalsTable, Document, NetworkRule, NetworkTable, NetworkTableRule, StepTable};
use crate::host::{Endpoint, HostPattern, parse_port};
use crate::identity;
use crate::lint::engine_socket;
use crate::path::{Scope, absolute};
use crate::pattern::PathPattern;
use crate::reader::{At, List, Named, choice, quoted};
use crate::sizes::size;

/// The error for something that this build cannot enforce.
pub(crate) fn not_yet(what: &str, place: Place) -> Problem {
    Problem::new(place, format!("{what} is not yet enforceable"))
        .label("this build cannot enforce it")
        .help("remove it: a rule that cannot be enforced is refused, never ignored".to_owned())
}

/// Checks all that `merge` does not take over.
pub(crate) fn check(document: &Document, scope: &Scope<'_>, report: &mut Report) {
    let mut check = Check { scope, report };
    if let Some(workspace) = &document.workspace {
        check.text("workspace.quota", workspace.quota.as_ref(), |text| size(text).map(drop));
        check.switch("workspace.snapshot", workspace.snapshot.as_ref(), false);
    }
    if let Some(network) = &document.network {
        check.network(network);
    }
    if let Some(leaks) = &document.leaks {
        let places = [("egress", true), ("workspace", false), ("output", false)];
        for word in leaks.scan.iter().flat_map(|list| &list.value) {
            check.word("leaks.scan", Some(word), &places);
        }
        let actions = [("block", true), ("mask", false), ("warn", true)];
        check.word("leaks.action", leaks.action.as_ref(), &actions);
    }
    for (name, step) in document.step.iter().flat_map(|Named(entries)| entries) {
        check.step(name, step);
    }
    if let Some(approvals) = &document.approvals {
        check.approvals(approvals);
    }
}

struct Check<'a> {
    scope: &'a Scope<'a>,
    report: &'a mut Report,
}

impl Check<'_> {
    /// Reports a bad value, or else that the key comes later.
    fn refuse(&mut self, key: &str, place: Place, valid: Result<(), Invalid>) {
        self.report.push(match valid {
            Ok(()) => not_yet(&format!("`{key}`"), place),
            Err(invalid) => invalid.at(place),
        });
    }

    fn text(&mut self, key: &str, value: Option<&At<String>>, read: impl Fn(&str) -> Result<(), Invalid>) {
        if let Some(value) = value {
            self.refuse(key, value.place, read(&value.value));
        }
    }

    /// A switch of which only one position is what this build does.
    fn switch(&mut self, key: &str, value: Option<&At<bool>>, holds: bool) {
        if let Some(value) = value.filter(|value| value.value != holds) {
            self.refuse(&format!("{key} = {}", value.value), value.place, Ok(()));
        }
    }

    /// One of a few words, each with whether it already holds.
    fn word(&mut self, key: &str, value: Option<&At<String>>, options: &[(&str, bool)]) {
        if let Some(value) = value
            && choice(key, value, options, self.report) == Some(false)
        {
            self.refuse(&format!("{key} = \"{}\"", value.value), value.place, Ok(()));
        }
    }

    /// A list; only the empty one already holds.
    fn list<T>(&mut self, key: &str, list: Option<&List<T>>, read: impl Fn(&T) -> Result<(), Invalid>) {
        let Some(list) = list else { return };
        let mut valid = true;
        for entry in &list.value {
            if let Err(invalid) = read(&entry.value) {
                valid = false;
                self.report.push(invalid.at(entry.place));
            }
        }
        if valid && !list.value.is_empty() {
            self.refuse(key, list.place, Ok(()));
        }
    }

    fn patterns(&mut self, key: &str, list: Option<&List<String>>) {
        let context = self.scope.context;
        self.list(key, list, |text| PathPattern::parse(text, context).map(drop));
    }

    fn network(&mut self, network: &NetworkTable) {
        for entry in network.allow.iter().flat_map(|list| &list.value).filter(|entry| !now(&entry.value)) {
            if let NetworkRule::Table(table) = &entry.value
                && self.network_rule(entry)
            {
                for (key, place) in to_come(table) {
                    self.refuse(&format!("network.allow.{key}"), place, Ok(()));
                }
            }
        }
        self.list("network.publish", network.publish.as_ref(), |port| {
            parse_port("network.publish", &port.to_string()).map(drop)
        });
        let options = [("auto", true), ("none", true), ("all", false)];
        self.word("network.inspect", network.inspect.as_ref(), &options);
    }

    /// Is the rule valid? What is wrong with it is reported.
    fn network_rule(&mut self, rule: &At<NetworkRule>) -> bool {
        let read = match &rule.value {
            NetworkRule::Text(text) => {
                Endpoint::parse(text).map(drop).map_err(|invalid| invalid.at(rule.place))
            }
            NetworkRule::Table(table) => self.network_table(table, rule.place),
        };
        let valid = read.is_ok();
        if let Err(problem) = read {
            self.report.push(problem);
        }
        valid
    }

    fn network_table(&self, rule: &NetworkTableRule, place: Place) -> Result<(), Problem> {
        fn each(
            list: Option<&List<String>>,
            read: impl Fn(&str) -> Result<(), Invalid>,
        ) -> Result<(), Problem> {
            list.iter()
                .flat_map(|list| &list.value)
                .try_for_each(|entry| read(&entry.value).map_err(|invalid| invalid.at(entry.place)))
        }
        let targets = [rule.host.is_some(), rule.unix.is_some(), rule.host_loopback.is_some()];
        if targets.iter().filter(|present| **present).count() != 1 {
            let problem =
                Problem::new(place, "a network rule needs exactly one of `host`, `unix`, `host_loopback`");
            return Err(problem.help("write one rule for each".to_owned()));
        }
        if let Some(host) = &rule.host {
            let read = if rule.port.is_some() {
                HostPattern::parse(&host.value).map(drop)
            } else {
                Endpoint::parse(&host.value).map(drop)
            };
            read.map_err(|invalid| invalid.at(host.place))?;
        }
        for port in rule.port.iter().chain(&rule.host_loopback) {
            parse_port("network.allow", &port.value.to_string()).map_err(|invalid| invalid.at(port.place))?;
        }
        if let Some(unix) = &rule.unix {
            let path = absolute(&unix.value, self.scope).map_err(|invalid| invalid.at(unix.place))?;
            if let Some(invalid) = engine_socket(&path, self.scope.context) {
                return Err(invalid.at(unix.place));
            }
        }
        if let Some(bytes) = &rule.bytes_out {
            size(&bytes.value).map_err(|invalid| invalid.at(bytes.place))?;
        }
        if let Some(protocol) = &rule.protocol {
            let known = ["tcp", "tls", "http", "postgres", "mysql", "redis", "ssh"];
            if !known.contains(&protocol.value.as_str()) {
                let problem =
                    Problem::new(protocol.place, format!("the protocol `{}` is not known", protocol.value));
                return Err(problem.help(format!("write one of {}", quoted(&known))));
            }
        }
        each(rule.methods.as_ref(), |method| {
            if !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
                return Ok(());
            }
            Err(Invalid::new(format!("`{method}` is not an HTTP method"))
                .help("write it in upper case, `GET`"))
        })?;
        each(rule.paths.as_ref(), |path| {
            if !path.starts_with('/') {
                return Err(
                    Invalid::new(format!("`{path}` is not an HTTP path")).help(format!("write `/{path}`"))
                );
            }
            PathPattern::parse(path, self.scope.context).map(drop)
        })
    }

    /// What its tables say is merged; what of that comes later is found here.
    fn step(&mut self, name: &At<String>, step: &At<StepTable>) {
        if let Some(network) = &step.value.network {
            self.network(network);
        }
        if let Err(invalid) = identity::name(&name.value) {
            let problem = Problem::new(name.place, format!("`{}` is not the name of a step", name.value));
            self.report.push(problem.help(invalid.help));
        }
    }

    fn approvals(&mut self, approvals: &ApprovalsTable) {
        if let Some(grantable) = &approvals.grantable {
            self.patterns("approvals.grantable.exec", grantable.exec.as_ref());
            self.patterns("approvals.grantable.write", grantable.write.as_ref());
            self.list("approvals.grantable.hosts", grantable.hosts.as_ref(), |host| {
                Endpoint::parse(host).map(drop)
            });
        }
    }
}

/// Is all of the rule enforced?
pub(crate) fn now(rule: &NetworkRule) -> bool {
    match rule {
        NetworkRule::Text(_) => true,
        NetworkRule::Table(table) => {
            let targets = [table.host.is_some(), table.unix.is_some(), table.host_loopback.is_some()];
            targets.iter().filter(|there| **there).count() == 1 && to_come(table).is_empty()
        }
    }
}

/// What of a rule is not enforced yet.
fn to_come(rule: &NetworkTableRule) -> Vec<(&'static str, Place)> {
    let protocol = rule.protocol.as_ref().filter(|word| PROTOCOLS.contains(&word.value.as_str()));
    [("bytes_out", rule.bytes_out.as_ref().map(|at| at.place)), ("protocol", protocol.map(|at| at.place))]
        .into_iter()
        .filter_map(|(key, place)| Some((key, place?)))
        .collect()
}

/// Protocols that are known, and not looked into yet.
const PROTOCOLS: &[&str] = &["postgres", "mysql", "redis", "ssh"];
