//! The administrator's ceiling: a policy that no other may exceed. Whatever is above it is an error that names
//! both lines; what it denies, protects or limits holds for every policy.

use std::path::{Path, PathBuf};

use crate::collected::Collected;
use crate::destination::{Destination, Protocol, Registry, covers};
use crate::diagnostic::{Place, Problem, Report};
use crate::document::Document;
use crate::guarded;
use crate::limits;
use crate::load::Loader;
use crate::merge::Merged;
use crate::model::{Grant, Leaks, Mode};
use crate::pattern::PathPattern;
use crate::reader::{At, Named};

/// Reads the ceiling, if there is one, and holds the policy against it.
pub(crate) fn apply(policy: &mut Merged, loader: &mut Loader<'_>, report: &mut Report) {
    let (first, wrong) = (report.names().len(), report.count());
    let Some(ceiling) = loader.ceiling(report) else { return };
    // What is above a ceiling that cannot be read is not known.
    if report.count() > wrong {
        return;
    }
    let start = Place { source: first, start: 0, end: 0 };
    let bound = Bound { ceiling: &ceiling, start };
    bound.files(policy, report);
    bound.grantable(policy, report);
    bound.network(policy, report);
    bound.registries(policy, report);
    bound.publish(policy, report);
    bound.unix(policy, report);
    policy.containers.bound(&ceiling.containers, report);
    bound.grantable_commands(policy, report);
    bound.grantable_hosts(policy, report);
    bound.mode(policy, report);
    bound.outputs(policy, report);
    bound.lists(policy, report);
    bound.switches(policy, report);
    bound.limits(policy, report);
    bound.inspection(policy, report);
    // What it has looked into is looked into in every policy.
    if let Some(all) = ceiling.inspect.as_ref().filter(|at| at.value == "all") {
        policy.inspect = Some(all.clone());
    }
    // What leaves is looked through in every policy, and none makes less of what is found.
    for (word, on) in &ceiling.leaks {
        policy.leaks.entry(word.clone()).or_insert_with(|| on.clone());
    }
    if !ceiling.leaks.is_empty() {
        let of = |action: &Option<At<Leaks>>| action.as_ref().map_or(Leaks::Block, |at| at.value);
        if of(&ceiling.leaks_action) > of(&policy.leaks_action) {
            policy.leaks_action = ceiling.leaks_action.clone();
        }
    }
    policy.guard.bound(&ceiling.guard, start, ceiling.commands.as_ref(), report);
    for pattern in &ceiling.deny.items {
        policy.deny.add(pattern.clone());
    }
    policy.unreach.extend(ceiling.unreach.iter().cloned());
    for path in &ceiling.decoy.items {
        policy.decoy.add(path.clone());
    }
    for pattern in &ceiling.protect.items {
        policy.protect.add(pattern.clone());
    }
}

/// Keys that say nothing about the most that others may do are a mistake in a ceiling.
pub(crate) fn check_keys(document: &Document, report: &mut Report) {
    let path = document.workspace.as_ref().and_then(|workspace| workspace.path.as_ref()).map(|at| at.place);
    let set = document.environment.as_ref().and_then(|environment| environment.set.as_ref());
    let set = set.and_then(|set| set.0.first()).map(|(name, _)| name.place);
    let expect = document.expect.as_ref().and_then(|expect| expect.allow.as_ref().or(expect.refuse.as_ref()));
    for (key, place) in [
        ("identity", document.identity.as_ref().map(|at| at.place)),
        ("workspace.path", path),
        ("environment.set", set),
        (
            "credentials",
            document.credentials.iter().flat_map(|Named(all)| all).next().map(|(name, _)| name.place),
        ),
        ("expect", expect.map(|at| at.place)),
        ("step", document.step.iter().flat_map(|Named(steps)| steps).next().map(|(name, _)| name.place)),
    ] {
        if let Some(place) = place {
            let problem = Problem::new(place, format!("`{key}` has no meaning in a ceiling"));
            report.push(problem.label("this bounds nothing").help("remove it".to_owned()));
        }
    }
}

/// So many grants of a list are shown one by one.
const SHOWN: usize = 3;

struct Bound<'a> {
    ceiling: &'a Merged,
    /// The beginning of the ceiling: shown where it has no line about something.
    start: Place,
}

impl Bound<'_> {
    fn files(&self, policy: &Merged, report: &mut Report) {
        let (read, exec, write) = (&self.ceiling.read, &self.ceiling.exec, &self.ceiling.write);
        // Executable and writable trees are readable too.
        self.grants("files.read", &policy.read, &[read, exec, write], report);
        self.grants("files.exec", &policy.exec, &[exec], report);
        self.grants("files.write", &policy.write, &[write], report);
    }

    /// Each grant must lie at or below one of the ceiling's grants of at least that right.
    fn grants(
        &self,
        key: &'static str,
        grants: &Collected<Grant>,
        covers: &[&Collected<Grant>],
        report: &mut Report,
    ) {
        let above =
            |grant: &&At<Grant>| !covers.iter().any(|cover| cover.covering(&grant.value.path).is_some());
        let mut above = grants.items.iter().filter(above);
        for grant in above.by_ref().take(SHOWN) {
            let path = &grant.value.path;
            let (place, label) = match self.nearest(path) {
                Some(lower) => (lower.place, format!("the ceiling allows less here: no `{key}`")),
                None => (self.list(key), format!("the ceiling's `{key}` does not hold it")),
            };
            let title = format!("`{}` in `{key}` is above the ceiling", path.display());
            let problem = Problem::new(grant.place, title).label("granted here").related(place, label);
            let help = format!("remove it, or have the administrator add it to the ceiling's `{key}`");
            report.push(problem.help(help));
        }
        if let Some(next) = above.next() {
            let title = format!("{} more grants in `{key}` are above the ceiling", above.count() + 1);
            let help = "a ceiling bounds presets too: `extends = [\"default\"]` in it allows what that preset grants";
            let problem = Problem::new(next.place, title).label("the first of them");
            report.push(problem.related(self.list(key), "the ceiling's grants").help(help.to_owned()));
        }
    }

    /// The same of commands, where the ceiling has a list of them.
    fn grantable_commands(&self, policy: &Merged, report: &mut Report) {
        let Some(most) = &self.ceiling.commands else { return };
        let own = &self.ceiling.grantable_commands;
        for entry in &policy.grantable_commands.items {
            let covered =
                guarded::covered(&entry.value, &most.items) || guarded::covered(&entry.value, &own.items);
            if !covered {
                let title =
                    format!("`{}` in `approvals.grantable.commands` is above the ceiling", entry.value);
                let problem = Problem::new(entry.place, title).label("grantable here");
                let label = "the ceiling neither allows it nor has the same line";
                let problem = problem.related(self.list("commands.allow"), label);
                report.push(
                    problem.help("remove it, or have the administrator add it to the ceiling".to_owned()),
                );
            }
        }
    }

    /// What may be granted later must be granted by the ceiling, or be grantable there.
    fn grantable(&self, policy: &Merged, report: &mut Report) {
        let ceiling = self.ceiling;
        for pattern in &policy.grantable.items {
            let base = pattern.value.base(Path::new("/"));
            let granted = [&ceiling.read, &ceiling.exec, &ceiling.write];
            let same = |most: &At<PathPattern>| {
                most.value.text() == pattern.value.text() && most.value.base(Path::new("/")) == base
            };
            if granted.iter().any(|list| list.covering(&base).is_some())
                || ceiling.grantable.items.iter().any(same)
            {
                continue;
            }
            let title =
                format!("`{}` in `approvals.grantable.read` is above the ceiling", pattern.value.text());
            let problem = Problem::new(pattern.place, title).label("grantable here");
            let label = "the ceiling neither grants it nor has the same line";
            let problem = problem.related(self.list("approvals.grantable.read"), label);
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        }
    }

    /// What may be granted later must be allowed by the ceiling without more, or be grantable there.
    fn grantable_hosts(&self, policy: &Merged, report: &mut Report) {
        let within = |host: &Destination| {
            let all = self.ceiling.reach.iter().chain(&self.ceiling.grantable_hosts);
            all.filter(|most| most.value.http.is_none()).any(|most| {
                most.value.endpoint.port == host.endpoint.port
                    && covers(&most.value.endpoint.host, &host.endpoint.host)
                    && (most.value.protocol == host.protocol || most.value.protocol == Protocol::Tcp)
            })
        };
        for host in policy.grantable_hosts.iter().filter(|at| !within(&at.value)) {
            let title =
                format!("`{}` in `approvals.grantable.hosts` is above the ceiling", host.value.endpoint);
            let problem = Problem::new(host.place, title).label("grantable here");
            let label = "the ceiling neither allows it nor has it among its own";
            let problem = problem.related(self.list("approvals.grantable.hosts"), label);
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        }
    }

    /// Each destination must be covered by one of the ceiling's, with the same port.
    fn network(&self, policy: &Merged, report: &mut Report) {
        let within = |destination: &Destination| {
            self.ceiling.reach.iter().any(|most| {
                most.value.endpoint.port == destination.endpoint.port
                    && covers(&most.value.endpoint.host, &destination.endpoint.host)
                    && (most.value.http.is_none() || most.value.http == destination.http)
                    && most
                        .value
                        .bytes_out
                        .is_none_or(|most| destination.bytes_out.is_some_and(|own| own <= most))
                    && (most.value.closed || !destination.closed)
                    && (most.value.protocol == destination.protocol || most.value.protocol == Protocol::Tcp)
            })
        };
        for destination in policy.reach.iter().filter(|at| !within(&at.value)).take(SHOWN) {
            let title = format!("`{}` in `network.allow` is above the ceiling", destination.value.endpoint);
            let problem = Problem::new(destination.place, title).label("allowed here");
            let problem = problem.related(self.list("network.allow"), "the ceiling does not allow it");
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        }
    }

    fn unix(&self, policy: &Merged, report: &mut Report) {
        let above = |at: &&At<PathBuf>| self.ceiling.unix.iter().all(|most| most.value != at.value);
        for socket in policy.unix.iter().filter(above) {
            let title = format!("`{}` in `network.allow` is above the ceiling", socket.value.display());
            let problem = Problem::new(socket.place, title).label("allowed here");
            let problem = problem.related(self.list("network.allow"), "the ceiling does not name it");
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        }
    }

    fn publish(&self, policy: &Merged, report: &mut Report) {
        let above = |at: &&At<u16>| self.ceiling.publish.iter().all(|most| most.value != at.value);
        for port in policy.publish.iter().filter(above) {
            let title = format!("`{}` in `network.publish` is above the ceiling", port.value);
            let problem = Problem::new(port.place, title).label("published here");
            let problem = problem.related(self.list("network.publish"), "the ceiling does not name it");
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        }
    }

    fn registries(&self, policy: &Merged, report: &mut Report) {
        let above = |at: &&At<Registry>| self.ceiling.registries.iter().all(|most| most.value != at.value);
        for registry in policy.registries.iter().filter(above) {
            let title = format!("`{}` in `network.registries` is above the ceiling", registry.value.word());
            let problem = Problem::new(registry.place, title).label("allowed here");
            let problem = problem.related(self.list("network.registries"), "the ceiling does not name it");
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        }
    }

    /// A grant of another right that covers the path: the line a reader will look for.
    fn nearest(&self, path: &Path) -> Option<&At<Grant>> {
        [&self.ceiling.read, &self.ceiling.exec, &self.ceiling.write]
            .iter()
            .find_map(|list| list.covering(path))
    }

    fn list(&self, key: &str) -> Place {
        self.ceiling.lists.get(key).copied().unwrap_or(self.start)
    }

    /// Nothing is kept from inspection where the ceiling looks for secrets in what leaves.
    fn inspection(&self, policy: &Merged, report: &mut Report) {
        let none = |merged: &Merged| merged.inspect.clone().filter(|at| at.value == "none");
        let Some(own) = none(policy).filter(|_| none(self.ceiling).is_none()) else { return };
        let looks = self.ceiling.leaks.get("egress").map(|at| at.place);
        if let Some(place) = looks.or(self.ceiling.inspect.as_ref().map(|at| at.place)) {
            let problem = Problem::new(own.place, "`network.inspect` is `none`, which is above the ceiling");
            report.push(
                problem.label("set here").related(place, "the ceiling looks into what leaves".to_owned()),
            );
        }
    }

    fn mode(&self, policy: &Merged, report: &mut Report) {
        let value = |mode: &Option<At<Mode>>| mode.as_ref().map(|at| at.value).unwrap_or_default();
        let (wanted, most) = (value(&policy.mode), value(&self.ceiling.mode));
        if reach(wanted) <= reach(most) {
            return;
        }
        let bound = self.ceiling.mode.as_ref().map_or(self.start, |at| at.place);
        let label = format!("the ceiling allows at most `{}`", name(most));
        let title = format!("`workspace.mode` is `{}`, which is above the ceiling", name(wanted));
        let problem = match &policy.mode {
            Some(mode) => Problem::new(mode.place, title).label("set here").related(bound, label),
            None => Problem::new(bound, format!("{title} (it is the default)")).label(label),
        };
        report.push(problem.help(format!("write `mode = \"{}\"`", name(most))));
    }

    /// What comes out of a workspace that is otherwise thrown away, where the ceiling has none that keeps changes.
    fn outputs(&self, policy: &Merged, report: &mut Report) {
        let most = self.ceiling.mode.as_ref().map(|at| at.value).unwrap_or_default();
        if reach(most) > reach(Mode::Discard) {
            return;
        }
        let allowed: Vec<_> = self.ceiling.outputs.items.iter().map(|at| at.value.text()).collect();
        for pattern in policy.outputs.items.iter().filter(|at| !allowed.contains(&at.value.text())) {
            let title = format!("the output `{}` is above the ceiling", pattern.value.text());
            let problem = Problem::new(pattern.place, title).label("set here");
            let bound = self.ceiling.mode.as_ref().map_or(self.start, |at| at.place);
            let problem = problem.related(bound, format!("the ceiling allows at most `{}`", name(most)));
            report.push(problem.help("remove it: only `outputs` of the ceiling's come out".to_owned()));
        }
    }

    /// Programs and passed variables: bounded where the ceiling has a list.
    fn lists(&self, policy: &Merged, report: &mut Report) {
        if let Some(most) = &self.ceiling.commands {
            let bound = self.list("commands.allow");
            match &policy.commands {
                None => {
                    let problem = Problem::new(bound, "any program may start, which is above the ceiling");
                    let help = "write a `commands.allow` that names only programs of the ceiling's";
                    report.push(problem.label("the ceiling allows only these").help(help.to_owned()));
                }
                Some(commands) => self.names("commands.allow", &commands.items, most, report),
            }
        }
        if self.ceiling.lists.contains_key("environment.pass") {
            self.names("environment.pass", &policy.pass.items, &self.ceiling.pass, report);
        }
    }

    fn names(&self, key: &str, names: &[At<String>], most: &Collected<String>, report: &mut Report) {
        let above = |name: &&At<String>| {
            let same = most.get(name.value.as_ref()).is_some();
            !same && (key != "commands.allow" || !guarded::covered(&name.value, &most.items))
        };
        for name in names.iter().filter(above) {
            let problem =
                Problem::new(name.place, format!("`{}` in `{key}` is above the ceiling", name.value));
            let problem =
                problem.label("allowed here").related(self.list(key), "the ceiling does not name it");
            report
                .push(problem.help("remove it, or have the administrator add it to the ceiling".to_owned()));
        }
    }

    fn switches(&self, policy: &Merged, report: &mut Report) {
        let ceiling = self.ceiling;
        for (key, wanted, most) in [
            ("commands.from_workspace = true", &policy.from_workspace, &ceiling.from_workspace),
            ("workspace.git = true", &policy.git, &ceiling.git),
            ("runtime.debug = [\"ptrace\"]", &policy.debug, &ceiling.debug),
            ("runtime.user_namespaces = true", &policy.user_namespaces, &ceiling.user_namespaces),
            ("runtime.io_uring = true", &policy.io_uring, &ceiling.io_uring),
            ("runtime.tmp_exec = true", &policy.tmp_exec, &ceiling.tmp_exec),
            ("runtime.terminal = \"raw\"", &policy.terminal_raw, &ceiling.terminal_raw),
        ] {
            let Some(wanted) = wanted.as_ref().filter(|at| at.value) else { continue };
            if most.as_ref().is_some_and(|at| at.value) {
                continue;
            }
            let bound = most.as_ref().map_or(self.start, |at| at.place);
            let label =
                if most.is_some() { "the ceiling forbids it" } else { "the ceiling does not allow it" };
            let problem = Problem::new(wanted.place, format!("`{key}` is above the ceiling"));
            report.push(problem.label("set here").related(bound, label).help("remove it".to_owned()));
        }
    }

    fn limits(&self, policy: &mut Merged, report: &mut Report) {
        for (key, most) in &self.ceiling.limits {
            match policy.limits.get(key) {
                Some(wanted) if wanted.value > most.value => report.push(limits::above(key, wanted, most)),
                Some(_) => {}
                None => drop(policy.limits.insert(*key, most.clone())),
            }
        }
        let direct = policy.mode.as_ref().is_some_and(|mode| mode.value == Mode::Direct);
        if direct && self.ceiling.snapshot.as_ref().is_some_and(|on| on.value) {
            policy.snapshot.clone_from(&self.ceiling.snapshot);
        }
        if self.ceiling.exact.as_ref().is_some_and(|exact| exact.value) {
            policy.exact.clone_from(&self.ceiling.exact);
        }
    }
}

/// How much of the host a mode lets a task change.
fn reach(mode: Mode) -> u8 {
    match mode {
        Mode::Read | Mode::Temporary => 0,
        Mode::Discard => 1,
        Mode::Review => 2,
        Mode::Direct => 3,
    }
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Read => "read",
        Mode::Temporary => "temporary",
        Mode::Discard => "discard",
        Mode::Review => "review",
        Mode::Direct => "direct",
    }
}
