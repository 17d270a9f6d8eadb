//! Documents become one policy: lists add up, tables merge by key, single values are replaced by the later one,
//! and what restricts can only be tightened. Every value keeps the place where it was written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::collected::Collected;
use crate::containers;
use crate::credential::{self, Credential};
use crate::destination::{self, Denied, Destination, Registry};
use crate::diagnostic::{Invalid, Place, Problem, Report};
use crate::document::{
    self, Document, EnvironmentTable, FilesTable, IdentityTable, LimitsTable, NetworkRule, NetworkTable,
    SetValue, WorkspaceTable,
};
use crate::environment::{pass_name, set_name, set_value};
use crate::guarded;
use crate::host::parse_port;
use crate::identity;
use crate::later;
use crate::limits;
use crate::model::{self, EnvironmentValue, Grant, Identity, Mode, Policy, Rule};
use crate::path::{Scope, absolute, first_wildcard, grant};
use crate::pattern::PathPattern;
use crate::reader::{At, List, Named, choice};
use crate::sizes::size;
use crate::suggest::nearest;

/// What all documents so far say together.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) identity: Option<At<Identity>>,
    pub(crate) path: Option<At<PathBuf>>,
    pub(crate) mode: Option<At<Mode>>,
    pub(crate) git: Option<At<bool>>,
    pub(crate) protect: Collected<PathPattern>,
    pub(crate) outputs: Collected<PathPattern>,
    pub(crate) read: Collected<Grant>,
    pub(crate) exec: Collected<Grant>,
    pub(crate) write: Collected<Grant>,
    pub(crate) deny: Collected<PathPattern>,
    pub(crate) decoy: Collected<PathBuf>,
    /// What may be granted for reading while the sandbox runs.
    pub(crate) grantable: Collected<PathPattern>,
    pub(crate) grantable_commands: Collected<String>,
    pub(crate) grantable_hosts: Vec<At<Destination>>,
    pub(crate) grantable_credentials: Vec<At<String>>,
    /// Whether the owner is asked.
    pub(crate) ask: Option<At<bool>>,
    pub(crate) pass: Collected<String>,
    pub(crate) set: BTreeMap<String, At<EnvironmentValue>>,
    /// `None`: no document has the list.
    pub(crate) commands: Option<Collected<String>>,
    pub(crate) from_workspace: Option<At<bool>>,
    pub(crate) snapshot: Option<At<bool>>,
    pub(crate) guard: guarded::Keys,
    pub(crate) reach: Vec<At<Destination>>,
    pub(crate) unix: Vec<At<PathBuf>>,
    pub(crate) unreach: Vec<At<Denied>>,
    pub(crate) registries: Vec<At<Registry>>,
    pub(crate) publish: Vec<At<u16>>,
    /// The word of `network.inspect`.
    pub(crate) inspect: Option<At<String>>,
    pub(crate) credentials: BTreeMap<String, At<Credential>>,
    pub(crate) containers: containers::Keys,
    /// What leaves is looked through, and what is found there is only told of.
    /// By the words of `leaks.scan`.
    pub(crate) leaks: BTreeMap<String, At<()>>,
    pub(crate) leaks_action: Option<At<model::Leaks>>,
    /// Bounds by key, in the units of [`model::Limits`].
    pub(crate) limits: BTreeMap<&'static str, At<u64>>,
    pub(crate) exact: Option<At<bool>>,
    pub(crate) tmp_exec: Option<At<bool>>,
    pub(crate) debug: Option<At<bool>>,
    pub(crate) user_namespaces: Option<At<bool>>,
    pub(crate) io_uring: Option<At<bool>>,
    pub(crate) watch_writes: Option<At<bool>>,
    pub(crate) terminal_raw: Option<At<bool>>,
    pub(crate) expect_allow: Vec<At<String>>,
    pub(crate) expect_refuse: Vec<At<String>>,
    /// Where each list was last written, for errors about what is not in it.
    pub(crate) lists: BTreeMap<&'static str, Place>,
}

/// The allow-type lists, which `lists.replace` may start anew.
const REPLACEABLE: &[&str] = &[
    "files.read",
    "files.exec",
    "files.write",
    "environment.pass",
    "commands.allow",
    "commands.children",
    "network.allow",
    "network.registries",
];

/// The lists that restrict.
const TIGHTEN_ONLY: &[&str] =
    &["files.deny", "files.decoy", "workspace.protect", "network.deny", "commands.deny"];

impl Merged {
    /// Merges one document on top.
    pub(crate) fn add(&mut self, document: Document, scope: &Scope<'_>, report: &mut Report) {
        if let Some(lists) = &document.lists {
            self.replace(lists.replace.as_ref(), report);
        }
        if let Some(identity) = &document.identity {
            self.add_identity(identity, report);
        }
        if let Some(workspace) = &document.workspace {
            self.add_workspace(workspace, scope, report);
        }
        if let Some(files) = document.files {
            self.add_files(files, scope, report);
        }
        if let Some(environment) = &document.environment {
            self.add_environment(environment, scope, report);
        }
        if let Some(commands) = &document.commands {
            self.add_commands(commands.allow.as_ref(), scope, report);
            replace_by(&mut self.from_workspace, commands.from_workspace.as_ref());
            self.guard.add(commands, scope, report);
        }
        if let Some(network) = &document.network {
            self.add_network(network, scope, report);
        }
        for (name, written) in document.credentials.iter().flat_map(|Named(entries)| entries) {
            match credential::read(name, written, scope) {
                Ok(read) => drop(self.credentials.insert(name.value.clone(), name.with(read))),
                Err(problems) => problems.into_iter().for_each(|problem| report.push(problem)),
            }
        }
        if let Some(written) = &document.containers {
            self.containers.add(written, scope, report);
        }
        if let Some(leaks) = &document.leaks {
            self.add_leaks(leaks);
        }
        if let Some(written) = &document.limits {
            self.add_limits(written, report);
        }
        if let Some(runtime) = &document.runtime {
            replace_by(&mut self.tmp_exec, runtime.tmp_exec.as_ref());
            replace_by(&mut self.user_namespaces, runtime.user_namespaces.as_ref());
            replace_by(&mut self.io_uring, runtime.io_uring.as_ref());
            replace_by(&mut self.watch_writes, runtime.watch_writes.as_ref());
            for word in runtime.debug.iter().flat_map(|list| &list.value) {
                let read = choice("runtime.debug", word, &[("ptrace", true)], report).map(|on| word.with(on));
                replace_by(&mut self.debug, read.as_ref());
            }
            if let Some(written) = &runtime.terminal {
                let read = choice("runtime.terminal", written, &document::TERMINAL, report)
                    .map(|raw| written.with(raw));
                replace_by(&mut self.terminal_raw, read.as_ref());
            }
        }
        if let Some(approvals) = &document.approvals {
            self.add_approvals(approvals, scope, report);
        }
        if let Some(expect) = &document.expect {
            self.expect_allow.extend(expect.allow.iter().flat_map(|list| list.value.iter().cloned()));
            self.expect_refuse.extend(expect.refuse.iter().flat_map(|list| list.value.iter().cloned()));
        }
    }

    fn replace(&mut self, names: Option<&List<String>>, report: &mut Report) {
        for name in names.iter().flat_map(|names| &names.value) {
            match name.value.as_str() {
                "files.read" => self.read = Collected::default(),
                "files.exec" => self.exec = Collected::default(),
                "files.write" => self.write = Collected::default(),
                "environment.pass" => self.pass = Collected::default(),
                // The list still exists: an empty one allows nothing, an absent one anything.
                "commands.allow" => self.commands = self.commands.as_ref().map(|_| Collected::default()),
                "commands.children" => self.guard.forget_children(),
                "network.allow" => (self.reach, self.unix) = (Vec::new(), Vec::new()),
                "network.registries" => self.registries = Vec::new(),
                text if TIGHTEN_ONLY.contains(&text) => {
                    let problem = Problem::new(name.place, format!("`{text}` can only be tightened"));
                    let help = format!("only a list that allows can start anew, such as `{}`", "files.read");
                    report.push(problem.label("this list restricts").help(help));
                }
                text => {
                    let problem =
                        Problem::new(name.place, format!("`{text}` is not a list that can be replaced"));
                    let help = match nearest(text, REPLACEABLE.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the lists are {}", crate::reader::quoted(REPLACEABLE)),
                    };
                    report.push(problem.label("no such list").help(help));
                }
            }
        }
    }

    fn add_identity(&mut self, written: &At<IdentityTable>, report: &mut Report) {
        let value = &written.value;
        let read = match (&value.name, &value.spiffe) {
            (Some(name), None) => valid(name, identity::name(&name.value), report),
            (None, Some(id)) => valid(id, identity::spiffe(&id.value), report),
            (name, id) => {
                let problem = Problem::new(written.place, "an identity is either a `name` or a `spiffe` ID");
                report.push(problem.label(if name.is_some() { "both are here" } else { "neither is here" }));
                // Say what is wrong with each as well, so that the mend need not be tried twice.
                if let (Some(name), Some(id)) = (name, id) {
                    valid(name, identity::name(&name.value), report);
                    valid(id, identity::spiffe(&id.value), report);
                }
                None
            }
        };
        replace_by(&mut self.identity, read.as_ref());
    }

    fn add_workspace(&mut self, written: &WorkspaceTable, scope: &Scope<'_>, report: &mut Report) {
        if let Some(path) = &written.path {
            let read = match first_wildcard(&path.value) {
                None => absolute(&path.value, scope),
                Some(_) => Err(Invalid::new("the workspace is one directory, not a pattern")),
            };
            // A preset stands nowhere, so `.` there would mean whatever directory the caller is in.
            let read = valid(path, read, report).filter(|_| !scope.preset);
            replace_by(&mut self.path, read.as_ref());
        }
        if let Some(mode) = &written.mode {
            let read = choice("workspace.mode", mode, &Mode::WORDS, report).map(|value| mode.with(value));
            replace_by(&mut self.mode, read.as_ref());
        }
        replace_by(&mut self.git, written.git.as_ref());
        replace_by(&mut self.snapshot, written.snapshot.as_ref());
        if let Some(quota) = &written.quota {
            match size(&quota.value) {
                Ok(value) => self.add_limit("quota", quota.with(value)),
                Err(invalid) => report.push(invalid.at(quota.place)),
            }
        }
        add_patterns(&mut self.protect, written.protect.as_ref(), scope, report);
        if let Some(list) = &written.outputs {
            self.lists.insert("workspace.outputs", list.place);
        }
        add_patterns(&mut self.outputs, written.outputs.as_ref(), scope, report);
    }

    fn add_files(&mut self, written: FilesTable, scope: &Scope<'_>, report: &mut Report) {
        let lists = [
            ("files.read", written.read, &mut self.read),
            ("files.exec", written.exec, &mut self.exec),
            ("files.write", written.write, &mut self.write),
        ];
        for (name, written, merged) in lists {
            let Some(list) = written else { continue };
            self.lists.insert(name, list.place);
            merged.reserve(list.value.len());
            for At { value, place } in list.value {
                match grant(value, scope) {
                    Ok(value) => merged.add_grant(At { value, place }),
                    Err(invalid) => report.push(invalid.at(place)),
                }
            }
        }
        add_patterns(&mut self.deny, written.deny.as_ref(), scope, report);
        for path in written.decoy.iter().flat_map(|list| &list.value) {
            let read = match first_wildcard(&path.value) {
                None => absolute(&path.value, scope),
                Some(_) => Err(Invalid::new("a decoy is one file, not a pattern")),
            };
            if let Some(read) = valid(path, read, report) {
                self.decoy.add(read);
            }
        }
    }

    fn add_environment(&mut self, written: &EnvironmentTable, scope: &Scope<'_>, report: &mut Report) {
        for name in written.pass.iter().flat_map(|list| &list.value) {
            if let Some(name) = valid(name, pass_name(&name.value).map(|()| name.value.clone()), report) {
                self.pass.add(name);
            }
        }
        if let Some(list) = &written.pass {
            self.lists.insert("environment.pass", list.place);
        }
        for (name, value) in written.set.iter().flat_map(|set| &set.0) {
            let read = set_name(&name.value)
                .map_err(|invalid| invalid.at(name.place))
                .and_then(|()| variable(&name.value, value, scope));
            match read {
                Ok(read) => drop(self.set.insert(name.value.clone(), value.with(read))),
                Err(problem) => report.push(problem),
            }
        }
    }

    fn add_commands(&mut self, written: Option<&List<String>>, scope: &Scope<'_>, report: &mut Report) {
        let Some(list) = written else { return };
        self.lists.insert("commands.allow", list.place);
        let merged = self.commands.get_or_insert_default();
        for entry in &list.value {
            match guarded::program(entry, scope) {
                Ok(read) => drop(merged.add(entry.with(read))),
                Err(problem) => report.push(problem),
            }
        }
    }

    /// What is wrong with an entry that comes later is told by `later`.
    fn add_network(&mut self, written: &NetworkTable, scope: &Scope<'_>, report: &mut Report) {
        if let Some(list) = &written.allow {
            self.lists.insert("network.allow", list.place);
            for entry in list.value.iter().filter(|entry| later::now(&entry.value)) {
                if let NetworkRule::Table(table) = &entry.value
                    && let Some(unix) = &table.unix
                {
                    match destination::socket(table, unix, scope) {
                        Ok(path) => self.unix.push(entry.with(path)),
                        Err(problem) => report.push(problem),
                    }
                    continue;
                }
                match Destination::read(entry) {
                    Ok(read) => self.reach.push(entry.with(read)),
                    Err(problem) => report.push(problem),
                }
            }
        }
        if let Some(list) = &written.registries {
            self.lists.insert("network.registries", list.place);
            for word in &list.value {
                let read = choice("network.registries", word, &Registry::WORDS, report);
                if let Some(read) =
                    read.filter(|read| self.registries.iter().all(|known| known.value != *read))
                {
                    self.registries.push(word.with(read));
                }
            }
        }
        if let Some(list) = &written.publish {
            self.lists.insert("network.publish", list.place);
            for port in &list.value {
                let read = parse_port("network.publish", &port.value.to_string());
                if let Some(read) = valid(port, read, report)
                    && self.publish.iter().all(|known| known.value != read.value)
                {
                    self.publish.push(read);
                }
            }
        }
        replace_by(&mut self.inspect, written.inspect.as_ref());
        for entry in written.deny.iter().flat_map(|list| &list.value) {
            if let Some(read) = valid(entry, Denied::parse(&entry.value), report) {
                self.unreach.push(read);
            }
        }
    }

    /// Bounds are only ever tightened: the smaller one holds, whoever wrote it.
    fn add_limits(&mut self, written: &LimitsTable, report: &mut Report) {
        for (key, read) in limits::read(written, report) {
            self.add_limit(key, read);
        }
        if let Some(exact) = &written.exact
            && (exact.value || self.exact.is_none())
        {
            self.exact = Some(exact.clone());
        }
    }

    fn add_limit(&mut self, key: &'static str, read: At<u64>) {
        if self.limits.get(key).is_none_or(|present| read.value < present.value) {
            self.limits.insert(key, read);
        }
    }

    /// The workspace's directory as far as policy knows it.
    pub(crate) fn workspace(&self) -> Option<&Path> {
        self.path.as_ref().map(|path| path.value.as_path())
    }

    fn finish_limits(&self, report: &Report) -> model::Limits {
        let one = |key: &str| self.limits.get(key).map(|at| rule(at, report));
        model::Limits {
            memory: one("memory"),
            cpu: one("cpu"),
            processes: one("processes"),
            open_files: one("open_files"),
            file_size: one("file_size"),
            tmp: one("tmp"),
            output: one("output"),
            time: one("time"),
            exact: self.exact.as_ref().is_some_and(|at| at.value),
        }
    }

    fn inspects_all(&self) -> bool {
        self.inspect.as_ref().is_some_and(|at| at.value == "all")
    }

    /// Where something stands for a secret, or secrets are looked for, what is said in TLS is: it would pass unseen otherwise.
    fn looks_for_secrets(&self) -> bool {
        let auto = self.inspect.as_ref().is_none_or(|at| at.value == "auto");
        let placed = self.credentials.values().any(|at| at.value.expose.is_some() && !at.value.signs());
        auto && (placed || self.leaks.contains_key("egress"))
    }

    fn destinations(&self, items: &[At<Destination>], report: &Report) -> Vec<Rule<Destination>> {
        let (all, most) = (self.inspects_all(), self.looks_for_secrets());
        let mut read = rules(items, report);
        for rule in read.iter_mut().filter(|rule| all || most && !rule.value.closed) {
            rule.value.look_into();
        }
        read
    }

    /// The result type, with the place of each value as file and line.
    pub(crate) fn finish(
        &mut self,
        home: &Path,
        hash: String,
        sources: Vec<String>,
        report: &Report,
    ) -> Policy {
        let mut origins = BTreeMap::new();
        let mut note = |key: &str, place: Option<Place>| {
            if let Some(place) = place {
                origins.insert(key.to_owned(), report.origin(place));
            }
        };
        note("workspace.mode", self.mode.as_ref().map(|at| at.place));
        note("workspace.snapshot", self.snapshot.as_ref().map(|at| at.place));
        note("workspace.git", self.git.as_ref().map(|at| at.place));
        note(
            "commands.allow",
            self.commands.as_ref().and_then(|_| self.lists.get("commands.allow").copied()),
        );
        note("commands.children", self.guard.children_at());
        note("commands.from_workspace", self.from_workspace.as_ref().map(|at| at.place));
        note("runtime.terminal", self.terminal_raw.as_ref().map(|at| at.place));
        note("limits.exact", self.exact.as_ref().map(|at| at.place));
        note("network.inspect", self.inspect.as_ref().map(|at| at.place));
        note("approvals.on_refusal", self.ask.as_ref().map(|at| at.place));
        note("runtime.debug", self.debug.as_ref().map(|at| at.place));
        note("runtime.user_namespaces", self.user_namespaces.as_ref().map(|at| at.place));
        note("runtime.io_uring", self.io_uring.as_ref().map(|at| at.place));
        note("runtime.watch_writes", self.watch_writes.as_ref().map(|at| at.place));
        note("runtime.tmp_exec", self.tmp_exec.as_ref().map(|at| at.place));
        let value = |at: &Option<At<bool>>| at.as_ref().is_some_and(|at| at.value);
        Policy {
            identity: self.identity.as_ref().map(|at| rule(at, report)),
            workspace: model::Workspace {
                path: self.path.as_ref().map(|at| rule(at, report)),
                mode: self.mode.as_ref().map(|at| at.value).unwrap_or_default(),
                protect: rules(&self.protect.items, report),
                outputs: rules(&self.outputs.items, report),
                quota: self.limits.get("quota").map(|at| rule(at, report)),
                snapshot: value(&self.snapshot),
                git: value(&self.git),
            },
            files: model::Files {
                read: moved(&mut self.read.items, report),
                exec: moved(&mut self.exec.items, report),
                write: moved(&mut self.write.items, report),
                deny: rules(&self.deny.items, report),
                decoy: rules(&self.decoy.items, report),
            },
            approvals: model::Approvals {
                read: rules(&self.grantable.items, report),
                commands: rules(&self.grantable_commands.items, report),
                hosts: self.destinations(&self.grantable_hosts, report),
                credentials: self.grantable_credentials.iter().map(|name| rule(name, report)).collect(),
                ask: value(&self.ask),
            },
            environment: model::Environment {
                pass: rules(&self.pass.items, report),
                set: self.set.iter().map(|(name, at)| (name.clone(), rule(at, report))).collect(),
            },
            commands: self
                .commands
                .as_ref()
                .map(|commands| model::Commands { allow: rules(&commands.items, report) }),
            from_workspace: value(&self.from_workspace),
            guard: self.guard.finish(report),
            network: model::Network {
                registries: rules(&self.registries, report),
                allow: self.destinations(&self.reach, report),
                unix: rules(&self.unix, report),
                deny: rules(&self.unreach, report),
                publish: rules(&self.publish, report),
                inspect: self.inspects_all(),
            },
            credentials: self.credentials.iter().map(|(name, at)| (name.clone(), rule(at, report))).collect(),
            containers: self.containers.finish(report),
            leaks: self.finish_leaks(report),
            limits: self.finish_limits(report),
            runtime: model::Runtime {
                tmp_exec: value(&self.tmp_exec),
                debug: value(&self.debug),
                user_namespaces: value(&self.user_namespaces),
                io_uring: value(&self.io_uring),
                watch_writes: value(&self.watch_writes),
                terminal_raw: value(&self.terminal_raw),
            },
            expect: model::Expect {
                allow: rules(&self.expect_allow, report),
                refuse: rules(&self.expect_refuse, report),
            },
            hash,
            sources,
            home: home.to_owned(),
            origins,
        }
    }
}

pub(crate) fn rule<T: Clone>(at: &At<T>, report: &Report) -> Rule<T> {
    Rule { value: at.value.clone(), origin: report.origin(at.place) }
}

pub(crate) fn rules<T: Clone>(items: &[At<T>], report: &Report) -> Vec<Rule<T>> {
    items.iter().map(|at| rule(at, report)).collect()
}

/// The same without a copy: there may be ten thousand.
fn moved<T>(items: &mut Vec<At<T>>, report: &Report) -> Vec<Rule<T>> {
    let mut origins = report.origins();
    let rule = |at: At<T>| Rule { value: at.value, origin: origins.next(at.place) };
    std::mem::take(items).into_iter().map(rule).collect()
}

pub(crate) fn replace_by<T: Clone>(present: &mut Option<At<T>>, later: Option<&At<T>>) {
    if let Some(later) = later {
        *present = Some(later.clone());
    }
}

/// The value with its place, or a problem at that place.
pub(crate) fn valid<T, U>(written: &At<T>, read: Result<U, Invalid>, report: &mut Report) -> Option<At<U>> {
    match read {
        Ok(value) => Some(written.with(value)),
        Err(invalid) => {
            report.push(invalid.at(written.place));
            None
        }
    }
}

fn add_patterns(
    merged: &mut Collected<PathPattern>,
    written: Option<&List<String>>,
    scope: &Scope<'_>,
    report: &mut Report,
) {
    for text in written.iter().flat_map(|list| &list.value) {
        if let Some(pattern) = valid(text, PathPattern::parse(&text.value, scope.context), report) {
            merged.add(pattern);
        }
    }
}

fn variable(name: &str, value: &At<SetValue>, scope: &Scope<'_>) -> Result<EnvironmentValue, Problem> {
    match &value.value {
        SetValue::Text(text) => {
            set_value(name, text).map_err(|invalid| invalid.at(value.place))?;
            Ok(EnvironmentValue::Text(text.clone()))
        }
        SetValue::Path(table) => {
            let Some(path) = &table.path else {
                return Err(Problem::new(value.place, format!("the path of `{name}` is missing"))
                    .help("write `{ path = \"..\" }`".to_owned()));
            };
            let optional = table.optional.as_ref().is_some_and(|optional| optional.value);
            let path = absolute(&path.value, scope).map_err(|invalid| invalid.at(path.place))?;
            Ok(EnvironmentValue::Path(Grant { path, optional }))
        }
    }
}
