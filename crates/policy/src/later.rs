//! Keys whose enforcement comes later: their values are checked as the format demands, then refused by name.
//! A value that asks for nothing more than what already holds is accepted. Nothing is ever ignored.

use crate::diagnostic::{Invalid, Place, Problem, Report};
use crate::document::{self, ApprovalsTable, Document, NetworkRule, NetworkTable, StepTable};
use crate::identity;
use crate::path::Scope;
use crate::pattern::PathPattern;
use crate::reader::{At, List, Named, choice};

/// The error for something that this build cannot enforce.
pub(crate) fn not_yet(what: &str, place: Place) -> Problem {
    Problem::new(place, format!("{what} is not yet enforceable"))
        .label("this build cannot enforce it")
        .help("remove it: a rule that cannot be enforced is refused, never ignored".to_owned())
}

/// Checks all that `merge` does not take over.
pub(crate) fn check(document: &Document, scope: &Scope<'_>, report: &mut Report) {
    let mut check = Check { scope, report };
    if let Some(network) = &document.network {
        check.network(network);
    }
    if let Some(leaks) = &document.leaks {
        let places = [("egress", true), ("workspace", true), ("output", true)];
        for word in leaks.scan.iter().flat_map(|list| &list.value) {
            check.word("leaks.scan", Some(word), &places);
        }
        check.word("leaks.action", leaks.action.as_ref(), &document::ACTION);
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
            self.network_rule(entry);
        }
        self.word("network.inspect", network.inspect.as_ref(), &document::INSPECT);
    }

    /// A rule needs one target: without it, nothing else of it can be read.
    fn network_rule(&mut self, rule: &At<NetworkRule>) {
        let problem =
            Problem::new(rule.place, "a network rule needs exactly one of `host`, `unix`, `host_loopback`");
        self.report.push(problem.help("write one rule for each".to_owned()));
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
        }
    }
}

/// Has the rule one target, so that it can be read?
pub(crate) fn now(rule: &NetworkRule) -> bool {
    match rule {
        NetworkRule::Text(_) => true,
        NetworkRule::Table(table) => {
            let targets = [table.host.is_some(), table.unix.is_some(), table.host_loopback.is_some()];
            targets.iter().filter(|there| **there).count() == 1
        }
    }
}
