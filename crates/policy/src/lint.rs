//! Rules that contradict each other, can never apply, or open more than a policy may open at all.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::argv::CommandPattern;
use crate::collected::Collected;
use crate::containers;
use crate::context::Context;
use crate::credential;
use crate::destination::{Destination, Protocol};
use crate::diagnostic::{Invalid, Place, Problem, Report};
use crate::guarded;
use crate::merge::Merged;
use crate::model::Grant;
use crate::near::Near;
use crate::pattern::PatternSet;
use crate::reader::At;

/// Sockets whose holder commands a container engine or the session, and what each equals.
const SOCKETS: &[(&str, &str)] = &[
    ("/run/docker.sock", "docker"),
    ("/run/docker", "docker"),
    ("/var/lib/docker", "docker"),
    ("~/.docker/run", "docker"),
    ("~/.docker/desktop", "docker"),
    ("~/.colima", "docker"),
    ("/run/podman", "podman"),
    ("~/.local/share/containers", "podman"),
    ("/run/containerd", "containerd"),
    ("/var/lib/containerd", "containerd"),
    ("/run/crio", "CRI-O"),
    ("/run/k3s", "k3s"),
    ("/run/buildkit", "BuildKit"),
    ("/run/libvirt", "libvirt"),
    ("/run/snapd.socket", "snapd"),
    ("/run/snapd-snap.socket", "snapd"),
    ("/run/systemd", "systemd"),
    ("/run/dbus", "D-Bus"),
    ("/run/user", "the session: D-Bus, systemd, ssh-agent, rootless docker and podman"),
];

/// Variables that lead to such a socket.
const SOCKET_VARIABLES: &[(&str, &str)] = &[
    ("SSH_AUTH_SOCK", "ssh-agent"),
    ("DOCKER_HOST", "docker"),
    ("CONTAINER_HOST", "podman"),
    ("XDG_RUNTIME_DIR", "the session: D-Bus, systemd, ssh-agent, rootless docker and podman"),
];

/// Checks the merged policy.
pub(crate) fn check(merged: &Merged, context: &Context, report: &mut Report) {
    let forbidden = Forbidden::new(context);
    for (list, writable) in [(&merged.read, false), (&merged.exec, false), (&merged.write, true)] {
        for grant in &list.items {
            if let Some(invalid) = forbidden.grant(&grant.value.path, writable) {
                report.push(invalid.at(grant.place));
            }
        }
    }
    if let Some(path) = &merged.path
        && let Some(invalid) = check_workspace(&path.value, context)
    {
        report.push(invalid.at(path.place));
    }
    check_denied(merged, &context.cwd, report);
    check_write_and_exec(merged, report);
    check_commands(merged, report);
    check_unreachable(merged, report);
    check_outputs(merged, report);
    check_snapshot(merged, report);
    check_grants_end(merged, report);
    credential::check(merged, report);
    containers::check(merged, report);
    if let Some(ask) = merged.ask.as_ref().filter(|ask| {
        ask.value
            && merged.grantable.items.is_empty()
            && merged.grantable_commands.items.is_empty()
            && merged.grantable_hosts.is_empty()
    }) {
        let problem = Problem::new(ask.place, "there is nothing that the owner could be asked about");
        let help = "name it: `grantable = { read = [\"~/projects/**\"] }`";
        report.push(problem.label("no `approvals.grantable.read`").help(help.to_owned()));
    }
}

/// What the task has mounted for itself nobody takes away from it.
fn check_grants_end(merged: &Merged, report: &mut Report) {
    if merged.user_namespaces.as_ref().is_some_and(|on| on.value)
        && let Some(pattern) = merged.grantable.items.first()
    {
        let title = "`approvals.grantable.read` does not go with `runtime.user_namespaces`";
        let label = "a grant of this would not end: the task may have mounts of its own";
        let help = "remove one of the two; what is needed from the start is named in `files.read`";
        report.push(Problem::new(pattern.place, title.to_owned()).label(label).help(help.to_owned()));
    }
}

/// A snapshot is of the host's own files, where the task changes those.
fn check_snapshot(merged: &Merged, report: &mut Report) {
    let mode = merged.mode.as_ref().map(|mode| mode.value).unwrap_or_default();
    if let Some(on) = merged.snapshot.as_ref().filter(|on| on.value && mode != crate::model::Mode::Direct) {
        let problem = Problem::new(on.place, "`workspace.snapshot` has no meaning in this mode".to_owned());
        report.push(
            problem
                .label("the host's files are not changed by the task")
                .help("write `mode = \"direct\"`, or remove it".to_owned()),
        );
    }
}

/// Outputs come out of what is otherwise thrown away, and are named from the workspace.
fn check_outputs(merged: &Merged, report: &mut Report) {
    let discards = merged.mode.as_ref().is_some_and(|mode| mode.value == crate::model::Mode::Discard);
    for pattern in &merged.outputs.items {
        let problem = |title: &str| Problem::new(pattern.place, title.to_owned());
        if !discards {
            let problem = problem("`workspace.outputs` has no meaning in this mode");
            report.push(
                problem
                    .label("nothing is thrown away")
                    .help("write `mode = \"discard\"`, or remove it".to_owned()),
            );
        } else if pattern.value.text().starts_with(['/', '~', '$']) {
            let problem = problem("an output is named from the workspace");
            report.push(
                problem.label("no path from the root or the home").help("write it as `dist/**`".to_owned()),
            );
        }
    }
}

/// Why this path may not be granted by any policy, if so. The plan asks again about what a symlink leads to.
pub fn check_grant(path: &Path, writable: bool, context: &Context) -> Option<Invalid> {
    Forbidden::new(context).grant(&plain(path), writable)
}

/// Why this directory cannot be a workspace, if so.
pub fn check_workspace(path: &Path, context: &Context) -> Option<Invalid> {
    check_grant(path, true, context).map(|invalid| {
        let message = invalid.message.replacen("cannot be granted", "cannot be the workspace", 1);
        Invalid::new(message).help("choose a directory that holds only what the task works on")
    })
}

/// An error if the path is a socket that equals root on the host, or in a directory of such sockets.
pub(crate) fn engine_socket(path: &Path, context: &Context) -> Option<Invalid> {
    Forbidden::new(context).socket(path)
}

/// What no policy may grant, made once: ten thousand grants are held against it.
struct Forbidden {
    sockets: Vec<(PathBuf, &'static str)>,
    /// `None`: users such as `games` live in a system directory, where nothing is secret.
    home: Option<PathBuf>,
    state: Option<PathBuf>,
    config: Option<PathBuf>,
    /// All of these: what is not near is not forbidden.
    near: Near,
}

/// Directories whose own rules stand in [`Forbidden::refusal`], and whether they hold for what lies below.
const SYSTEM: &[(&str, bool)] = &[
    ("/proc", true),
    ("/dev", true),
    ("/sys", true),
    ("/run", false),
    ("/var/run", true),
    ("/tmp", false),
    ("/var/tmp", false),
];

impl Forbidden {
    fn new(context: &Context) -> Self {
        let absolute = |path: &Path| path.is_absolute().then(|| plain(path));
        let home = absolute(&context.home);
        let fixed = SOCKETS.iter().filter_map(|(socket, engine)| match socket.strip_prefix("~/") {
            Some(rest) => Some((home.as_ref()?.join(rest), *engine)),
            None => Some((PathBuf::from(socket), *engine)),
        });
        let by_variable = SOCKET_VARIABLES.iter().filter_map(|(name, engine)| {
            let value = context.variables.get(*name)?;
            let socket = absolute(Path::new(value.strip_prefix("unix://").unwrap_or(value)))?;
            socket.parent().is_some().then_some((socket, *engine))
        });
        let sockets: Vec<_> = fixed.chain(by_variable).collect();
        let system =
            |home: &PathBuf| ["/usr", "/bin", "/sbin", "/lib"].iter().any(|root| home.starts_with(root));
        let home = home.filter(|home| !system(home));
        let (state, config) = (absolute(&context.state_dir), absolute(&context.config_dir));
        let mut near = Near::default();
        SYSTEM.iter().for_each(|(path, whole)| near.add(Path::new(path), *whole));
        sockets.iter().for_each(|(path, _)| near.add(path, true));
        home.iter().for_each(|path| near.add(path, false));
        state.iter().chain(&config).for_each(|path| near.add(path, true));
        Self { sockets, home, state, config, near }
    }

    fn grant(&self, path: &Path, writable: bool) -> Option<Invalid> {
        if self.near.has(path) { self.refusal(path, writable) } else { None }
    }

    fn refusal(&self, path: &Path, writable: bool) -> Option<Invalid> {
        if let Some(invalid) = self.socket(path) {
            return Some(invalid);
        }
        let below = |directory: &str| inside(path, Path::new(directory));
        let is_in =
            |directory: &Option<PathBuf>| directory.as_ref().is_some_and(|directory| inside(path, directory));
        let holds = |inner: &Option<PathBuf>| inner.as_ref().is_some_and(|inner| inside(inner, path));
        let opens = match path.to_str() {
            Some("/") => "the whole host: every secret, every device, every other user's files",
            _ if below("/proc") => {
                "the host's processes, their memory and environment; the sandbox has its own /proc"
            }
            _ if below("/dev") => "the host's devices and shared memory; the sandbox has its own /dev",
            Some("/sys") => "the kernel's controls and devices",
            _ if writable && below("/sys") => "the kernel's controls and devices",
            Some("/run" | "/var/run") => "the sockets of the host's services, docker and D-Bus among them",
            Some("/tmp" | "/var/tmp") => {
                "the temporary files and sockets of all users; the sandbox has its own /tmp"
            }
            _ if self.home.as_deref().is_some_and(|home| home.as_os_str() == path.as_os_str()) => {
                "the whole home: keys, histories, credentials, what shells execute"
            }
            _ if holds(&self.home) => "every file in the home below it: keys, histories, credentials",
            _ if holds(&self.state) || is_in(&self.state) => {
                "the state directory: records, keys and what other sandboxes hold"
            }
            _ if is_in(&self.config) => "the administrator's ceiling",
            _ if writable && holds(&self.config) => "the administrator's ceiling, for writing",
            _ => return None,
        };
        let help = match path.to_str() {
            Some("/proc" | "/dev") => "remove it",
            _ => "grant the directories below it that the task needs",
        };
        Some(
            Invalid::new(format!("`{}` cannot be granted: it would open {opens}", path.display())).help(help),
        )
    }

    fn socket(&self, path: &Path) -> Option<Invalid> {
        // /var/run is a symlink to /run (FHS 3.0, section 5.13); both names mean the same socket.
        let alias = inside(path, Path::new("/var/run")).then(|| path.strip_prefix("/var").ok()).flatten();
        let alias = alias.map(|rest| Path::new("/").join(rest));
        let names =
            |socket: &Path| inside(path, socket) || alias.as_deref().is_some_and(|path| inside(path, socket));
        let (_, engine) = self.sockets.iter().find(|(socket, _)| names(socket))?;
        let message =
            format!("`{}` equals root on the host: whoever reaches it commands {engine}", path.display());
        Some(Invalid::new(message).help("remove it; no part of a sandbox can limit what is done through it"))
    }
}

/// The same path without `//` and `/./`.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// `Path::starts_with` for two plain paths, without taking them apart: it is asked thirty times for each grant.
fn inside(path: &Path, directory: &Path) -> bool {
    let (path, directory) = (path.as_os_str().as_bytes(), directory.as_os_str().as_bytes());
    // One byte decides most of them.
    match path.get(directory.len()) {
        None => path == directory,
        Some(b'/') => path.starts_with(directory),
        Some(_) => directory == b"/",
    }
}

/// A deny that hides a whole grant: one of the two is a mistake.
fn check_denied(merged: &Merged, cwd: &Path, report: &mut Report) {
    let denied = &merged.deny.items;
    let Some(first) = denied.first() else { return };
    let workspace = merged.workspace().unwrap_or(cwd);
    let set = match PatternSet::new(denied.iter().map(|pattern| &pattern.value), workspace) {
        Ok(set) => set,
        Err(invalid) => return report.push(invalid.at(first.place)),
    };
    let mut contradict = |path: &Path, place: Place| {
        if let Some(deny) = set.matching(path).and_then(|number| denied.get(number)) {
            let title = format!("`{}` is granted and denied as a whole", path.display());
            let problem =
                Problem::new(place, title).label("this can never apply").related(deny.place, "denied here");
            report.push(problem.help("remove the one that is not meant; a deny always wins".to_owned()));
        }
    };
    for list in [&merged.read, &merged.exec, &merged.write] {
        for grant in &list.items {
            contradict(&grant.value.path, grant.place);
        }
    }
    for program in absolute_programs(merged) {
        contradict(Path::new(&program.value), program.place);
    }
    if let Some(path) = &merged.path {
        contradict(&path.value, path.place);
    }
}

/// What can be written must not be executable, or a task could run what it just wrote.
fn check_write_and_exec(merged: &Merged, report: &mut Report) {
    let mut both = |above: &At<Grant>, below: &At<Grant>, problem: Problem| {
        let own = |grant: &At<Grant>| merged.workspace().is_some_and(|own| grant.value.path.starts_with(own));
        if !(own(above) && own(below)) {
            report.push(
                problem.help(
                    "keep the two apart; to run what the task builds, make it the workspace and set \
                 `commands.from_workspace = true`"
                        .to_owned(),
                ),
            );
        }
    };
    let pairs = |outer: &Collected<Grant>, inner: &At<Grant>| outer.covering(&inner.value.path).cloned();
    for write in &merged.write.items {
        if let Some(exec) = pairs(&merged.exec, write) {
            let title = format!("`{}` would be writable and executable", write.value.path.display());
            let problem =
                Problem::new(write.place, title).label("writable").related(exec.place, "executable");
            both(&exec, write, problem);
        }
    }
    for exec in &merged.exec.items {
        // The same path was found by the loop above.
        if let Some(write) = pairs(&merged.write, exec).filter(|write| write.value.path != exec.value.path) {
            let title = format!("`{}` would be writable and executable", exec.value.path.display());
            let problem =
                Problem::new(exec.place, title).label("executable").related(write.place, "writable");
            both(&write, exec, problem);
        }
    }
}

/// A program that lies in no executable tree can never start.
fn check_commands(merged: &Merged, report: &mut Report) {
    for program in absolute_programs(merged) {
        let path = Path::new(&program.value);
        let workspace = || merged.workspace().is_none_or(|workspace| path.starts_with(workspace));
        let from_workspace = merged.from_workspace.as_ref().is_some_and(|at| at.value) && workspace();
        if merged.exec.covering(path).is_none() && !from_workspace {
            let title = format!("`{}` can never start: no executable tree holds it", program.value);
            let help = format!("add it to `files.exec`: `exec = [\"{}\"]`", program.value);
            report.push(Problem::new(program.place, title).label("not in `files.exec`").help(help));
        }
    }
}

fn absolute_programs(merged: &Merged) -> impl Iterator<Item = At<String>> {
    merged.commands.iter().flat_map(|commands| &commands.items).filter_map(|entry| {
        let program = CommandPattern::parse(&entry.value, "/").ok()?.program;
        program.starts_with('/').then(|| entry.with(program))
    })
}

/// What is denied whole can never start.
fn check_unreachable(merged: &Merged, report: &mut Report) {
    if merged.commands.is_none()
        && let Some(place) = merged.guard.listed()
    {
        let problem = Problem::new(place, "a list of `commands.children` needs `commands.allow`");
        report.push(
            problem.help("without it, any program may start: list what may, or remove this".to_owned()),
        );
    }
    if merged.commands.is_none()
        && let Some(entry) = merged.grantable_commands.items.first()
    {
        let problem = Problem::new(entry.place, "`approvals.grantable.commands` needs `commands.allow`");
        report.push(
            problem.help("without it, any program may start: list what may, or remove this".to_owned()),
        );
    }
    if merged.commands.is_none()
        && let Some(pin) = merged.guard.pin.as_ref().filter(|at| at.value)
    {
        let problem = Problem::new(pin.place, "`commands.pin` needs `commands.allow`");
        report.push(
            problem.help(
                "only programs that are listed can be remembered: list them, or remove this".to_owned(),
            ),
        );
    }
    let none = merged.inspect.as_ref().filter(|inspect| inspect.value == "none");
    let looked_into = |at: &&At<Destination>| at.value.protocol == Protocol::Tls && at.value.http.is_some();
    if let (Some(none), Some(rule)) = (none, merged.reach.iter().find(looked_into)) {
        let title = "a rule about requests over TLS needs inspection, and `network.inspect` is `none`";
        let problem = Problem::new(rule.place, title).label("here").related(none.place, "forbidden here");
        report.push(problem.help("remove one of the two".to_owned()));
    }
    if let (Some(none), Some(egress)) = (none, merged.leaks.get("egress")) {
        let title = "`[leaks]` looks into what leaves, and `network.inspect` is `none`";
        let problem = Problem::new(egress.place, title).label("here").related(none.place, "forbidden here");
        report.push(
            problem
                .help("remove one of the two; `inspect = false` in a rule leaves one host alone".to_owned()),
        );
    }
    let all = merged.inspect.as_ref().filter(|inspect| inspect.value == "all");
    let closed = |at: &&At<Destination>| at.value.closed;
    if let (Some(all), Some(rule)) = (all, merged.reach.iter().find(closed)) {
        let title = "a rule keeps its TLS from inspection, and `network.inspect` is `all`";
        let problem = Problem::new(rule.place, title).label("here").related(all.place, "demanded here");
        report.push(problem.help("remove one of the two".to_owned()));
    }
    for destination in &merged.reach {
        let Some(deny) = merged.unreach.iter().find(|deny| deny.value.whole(&destination.value.endpoint))
        else {
            continue;
        };
        let title =
            format!("`{}` can never be reached: `network.deny` refuses it", destination.value.endpoint);
        let problem =
            Problem::new(destination.place, title).label("allowed here").related(deny.place, "denied here");
        report.push(problem.help("remove one of the two lines".to_owned()));
    }
    let denied = &merged.guard.deny.items;
    for entry in merged.commands.iter().flat_map(|commands| &commands.items) {
        let Some(deny) =
            denied.iter().find(|deny| guarded::covered(&entry.value, std::slice::from_ref(*deny)))
        else {
            continue;
        };
        let title = format!("`{}` can never start: `commands.deny` refuses it", entry.value);
        let problem =
            Problem::new(entry.place, title).label("allowed here").related(deny.place, "denied here");
        report.push(problem.help("remove one of the two lines".to_owned()));
    }
}
