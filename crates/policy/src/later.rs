//! Keys whose enforcement comes later: their values are checked as the format demands, then refused by name.
//! A value that asks for nothing more than what already holds is accepted. Nothing is ever ignored.

use crate::diagnostic::{Invalid, Place, Problem, Report};
use crate::document::{ApprovalsTable, CredentialTable, Document, NetworkRule, NetworkTable, StepTable};
use crate::environment::set_name;
use crate::host::Endpoint;
use crate::identity;
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
    for (name, credential) in document.credentials.iter().flat_map(|Named(entries)| entries) {
        check.credential(name, credential);
    }
    if let Some(leaks) = &document.leaks {
        check.words("leaks.scan", leaks.scan.as_ref(), &["egress", "workspace", "output"]);
        check.word("leaks.action", leaks.action.as_ref(), &[("block", true), ("mask", true), ("warn", true)]);
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

    /// A list of a few words; only the empty one already holds.
    fn words(&mut self, key: &str, list: Option<&List<String>>, options: &[&str]) {
        let options: Vec<(&str, ())> = options.iter().map(|word| (*word, ())).collect();
        let Some(list) = list else { return };
        let read = list.value.iter().filter_map(|word| choice(key, word, &options, self.report)).count();
        if read == list.value.len() && read > 0 {
            self.refuse(key, list.place, Ok(()));
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
        let options = [("auto", true), ("none", true), ("all", true)];
        self.word("network.inspect", network.inspect.as_ref(), &options);
    }

    /// A rule needs one target: without it, nothing else of it can be read.
    fn network_rule(&mut self, rule: &At<NetworkRule>) {
        let problem =
            Problem::new(rule.place, "a network rule needs exactly one of `host`, `unix`, `host_loopback`");
        self.report.push(problem.help("write one rule for each".to_owned()));
    }

    fn credential(&mut self, name: &At<String>, credential: &At<CredentialTable>) {
        let found = self.credential_problems(name, credential);
        if found.is_empty() {
            self.refuse(&format!("credentials.{}", name.value), name.place, Ok(()));
        }
        for problem in found {
            self.report.push(problem);
        }
    }

    fn credential_problems(&self, name: &At<String>, credential: &At<CredentialTable>) -> Vec<Problem> {
        let mut found = Vec::new();
        if let Err(invalid) = identity::name(&name.value) {
            found.push(
                Problem::new(name.place, format!("`{}` is not the name of a credential", name.value))
                    .help(invalid.help),
            );
        }
        let value = &credential.value;
        for (key, present) in [
            ("source", value.source.is_some()),
            ("hosts", value.hosts.is_some()),
            ("inject", value.inject.is_some()),
        ] {
            if !present {
                found.push(Problem::new(
                    credential.place,
                    format!("`credentials.{}.{key}` is missing", name.value),
                ));
            }
        }
        if let Some(source) = &value.source {
            let table = &source.value;
            let ways =
                [table.env.is_some(), table.file.is_some(), table.command.is_some(), table.spiffe.is_some()];
            if ways.iter().filter(|present| **present).count() != 1 {
                let problem = Problem::new(source.place, "a secret comes from exactly one source");
                found.push(
                    problem.help(format!("write one of {}", quoted(&["env", "file", "command", "spiffe"]))),
                );
            }
            let checked = [
                table.env.as_ref().map(|at| set_name(&at.value).map_err(|invalid| invalid.at(at.place))),
                table.file.as_ref().map(|at| {
                    absolute(&at.value, self.scope).map(drop).map_err(|invalid| invalid.at(at.place))
                }),
                table
                    .spiffe
                    .as_ref()
                    .map(|at| identity::spiffe(&at.value).map(drop).map_err(|invalid| invalid.at(at.place))),
            ];
            found.extend(checked.into_iter().flatten().filter_map(Result::err));
        }
        for host in value.hosts.iter().flat_map(|list| &list.value) {
            found.extend(Endpoint::parse(&host.value).err().map(|invalid| invalid.at(host.place)));
        }
        if let Some(inject) = &value.inject {
            found.extend(header(&inject.value).err().map(|invalid| invalid.at(inject.place)));
        }
        if let Some(env) = value.expose.as_ref().and_then(|expose| expose.value.env.as_ref()) {
            found.extend(set_name(&env.value).err().map(|invalid| invalid.at(env.place)));
        }
        found
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

/// The form of a header with a secret in it: `Name: value {secret}`.
fn header(text: &str) -> Result<(), Invalid> {
    let example = "write it as `Authorization: Bearer {secret}`";
    if let Some(character) = text.chars().find(|character| !matches!(character, ' '..='~')) {
        // A line break here would add headers, or whole requests, of the policy's choice (CWE-113).
        let message = format!("a header cannot hold the character U+{:04X}", character as u32);
        return Err(Invalid::new(message).help(example));
    }
    let name = text.split_once(": ").map(|(name, _)| name).unwrap_or_default();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Invalid::new(format!("`{text}` does not start with the name of a header")).help(example));
    }
    if text.matches("{secret}").count() != 1 || name.contains("{secret}") {
        return Err(Invalid::new(format!("`{text}` must hold `{{secret}}` once, in its value")).help(example));
    }
    Ok(())
}
