//! What the kernel is told: policy, survey and host in, a complete printable list of steps out.
//!
//! Every decision is made here, without a descriptor, a privilege or a look at the host, so that all of it can be tested
//! as data. [`confine`](../ringfence_confine) only carries it out.

#![forbid(unsafe_code)]

pub mod asked;
pub mod bpf;
mod changes;
mod conditions;
mod decoys;
pub mod enforcer;
mod environment;
mod exposed;
mod gated;
mod git;
mod grants;
mod guard;
mod holds;
mod host;
mod hosted;
mod landlock;
mod loose;
mod mounts;
mod opened;
mod print;
mod refused;
mod restack;
mod steps;
mod survey;
mod synthetic;
pub mod syscalls;
mod temporary;
mod told;
mod tracing;
mod trusted;
mod void;
mod windows;
mod wire;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use ringfence_policy::{CommandRules, Destination, Leaks, Mode, NetworkRules, Policy, Protocol, Rule};

pub use exposed::Exposed;
pub use host::{Host, Invoker};
pub use hosted::{Hidden, Hosted, possible};
pub use landlock::{Landlock, Right};
pub use refused::Refused;
pub use restack::Stacked;
pub use steps::{Flags, Step, Tree};
pub use survey::{
    DENIED, Found, GitApart, GitDirectory, Interpreter, KNOWN, Kind, Link, Loader, Many, Marked, Place,
    Program, SETTINGS, Secret, Secrets, Survey,
};
pub use told::REFUSALS;
pub use void::{Content, Node};
pub use workspace::as_pattern;

/// What one run asks for, beside the policy.
#[derive(Clone, Debug)]
pub struct Request {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Names given to `--allow-degraded`.
    pub allow_degraded: BTreeSet<String>,
    /// The workspace was named for this run: the command starts there if the invoker stands elsewhere.
    pub enter: bool,
    /// Where the copy-on-write layers go; the run's own directory.
    pub layers: PathBuf,
    /// The same in tier `landlock`, where another user than the invoker must come by it.
    pub aside: PathBuf,
    /// For a sandbox started by root: an unused kernel id.
    pub unused_id: u32,
    /// 32 hexadecimal digits for /etc/machine-id.
    pub machine_id: String,
    /// Where TLS is looked into: the authority of this sandbox, and all that are trusted, both as PEM.
    pub trust: Option<Trust>,
    /// Names in each layer's directory of the changes that it begins with, the topmost first.
    pub base: Vec<String>,
    /// What the task sees of credentials.
    pub exposed: Exposed,
    /// What the policy's decoys hold.
    pub decoys: BTreeMap<PathBuf, String>,
}

/// Which ids the task has, here and there (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ids {
    /// User id inside.
    pub inside_uid: u32,
    /// Group id inside.
    pub inside_gid: u32,
    /// The kernel's user id for it.
    pub outside_uid: u32,
    /// The kernel's group id for it.
    pub outside_gid: u32,
    /// Idmapped mounts turn this owner on disk into the task, and back.
    pub owner_uid: u32,
    /// The same for the group.
    pub owner_gid: u32,
    /// Whether mounts are idmapped: only where root starts the sandbox.
    pub mapped: bool,
}

/// A directory that is worked on copy-on-write.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Layer {
    /// `workspace`, or `git` and a number.
    pub name: String,
    /// The host's directory, which is only read.
    #[serde(with = "wire::path")]
    pub host: PathBuf,
    /// Holds `upper` and `work`.
    #[serde(with = "wire::path")]
    pub directory: PathBuf,
    /// Device number of the host's directory.
    pub device: u64,
    /// Its inode number.
    pub inode: u64,
    /// Patterns of what `apply` holds back.
    pub protect: Vec<String>,
    /// Patterns of what it holds back until it is accepted by name.
    pub obeyed: Vec<String>,
    /// With `discard`: patterns of all that may land; `None`: everything may.
    pub outputs: Option<Vec<String>>,
    /// What is done about secrets in what is to land; `None`: they are not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaks: Option<Leaks>,
    /// What lies in the view as something empty, below what a mount hides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<Masked>,
}

/// Something empty in a view.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Masked {
    /// Where, relative to the view.
    #[serde(with = "wire::path")]
    pub path: PathBuf,
    /// A directory.
    pub directory: bool,
}

/// Bounds on resources; `None`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Memory of all processes together, in bytes.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files of one process.
    pub open_files: Option<u64>,
    /// Size of one file in bytes.
    pub file_size: Option<u64>,
    /// Bytes on stdout and stderr together.
    pub output: Option<u64>,
    /// Wall-clock time in milliseconds.
    pub time: Option<u64>,
    /// Bytes of the workspace's layers on disk; 1 KiB for each name. Looked at.
    pub quota: Option<u64>,
    /// The same of what is temporary, in tier `landlock`; elsewhere that is a file system of its own.
    pub temporary: Option<u64>,
    /// Memory, processors and processes are held by a control group; else memory and processes are looked at every 100 ms.
    pub exact: bool,
}

impl Plan {
    /// Where the task finds what is at the workspace's own path on the host.
    #[must_use]
    pub fn inside(&self) -> PathBuf {
        match &self.hosted {
            Some(hosted) => hosted.workspace.clone(),
            None => self.workspace.clone(),
        }
    }
}

/// Something the host cannot do that was done another way, or left out by leave.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Degraded {
    /// Name, as `--allow-degraded` takes it.
    pub name: String,
    /// What is different, in one sentence.
    pub effect: String,
}

/// The name of what is missing where the root does not see who looks for what is not granted.
pub const VOID: &str = "void";

/// Name in a layer's directory of what stands in for what is hidden.
pub const MASKS: &str = "masks";

/// The name of what is different in tier `landlock`.
pub const TIER: &str = "tier";

/// The complete list of what is done. Nothing is decided after it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Plan {
    /// `namespace` or `landlock`.
    pub tier: &'static str,
    /// Ids of the task.
    pub ids: Ids,
    /// Supplementary groups that stay.
    pub groups: Vec<u32>,
    /// Trees of the host that are taken hold of before anything is built.
    pub trees: Vec<Tree>,
    /// How the root is built, in order.
    pub steps: Vec<Step>,
    /// What the root shows where nothing is mounted, seeing who looks; `None` where it is a tmpfs, which sees nothing.
    pub void: Option<Vec<Node>>,
    /// The owner is asked about what `approvals.grantable` covers, as soon as somebody uses it.
    pub asks: bool,
    /// Copy-on-write directories.
    pub layers: Vec<Layer>,
    /// The second lock, or `None` where the kernel has no Landlock.
    pub landlock: Option<Landlock>,
    /// What [`syscalls::program`] makes the filter of; `vm.memfd_noexec` is set if it says so.
    pub filter: syscalls::Variant,
    /// What programs and arguments are judged by, one by one; `None`: Landlock's execute rights hold alone.
    #[serde(serialize_with = "print::guard")]
    pub guard: Option<CommandRules>,
    /// What can be reached, by the gateway; `None`: there is no network and no gateway.
    pub network: Option<NetworkRules>,
    /// Bounds on resources.
    pub limits: Limits,
    /// Host name inside.
    pub host_name: &'static str,
    /// The variables of the task.
    #[serde(serialize_with = "print::variables")]
    pub environment: BTreeMap<OsString, OsString>,
    /// Where the command starts.
    #[serde(with = "wire::path")]
    pub directory: PathBuf,
    /// The command.
    #[serde(serialize_with = "print::words")]
    pub command: Vec<OsString>,
    /// Mode of the workspace.
    pub mode: Mode,
    /// Path of the workspace.
    #[serde(with = "wire::path")]
    pub workspace: PathBuf,
    /// In tier `landlock`: what stands in for the mounts.
    pub hosted: Option<Hosted>,
    /// What git cannot do here, because its directory lies outside of the workspace.
    pub git_fails: Option<String>,
    /// What the policy denies, as far as it is there: where what leaves is looked through, nothing of that may.
    #[serde(skip)]
    pub denied: Vec<PathBuf>,
    /// What this host could not do.
    pub degraded: Vec<Degraded>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What no later grant opens.
    #[serde(skip)]
    pub secrets: Secrets,
}

/// Whom the task trusts where TLS is looked into.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The authority of this sandbox, as PEM.
    pub own: String,
    /// All that are trusted, as PEM.
    pub all: String,
    /// The same, as Java reads it.
    pub java: Vec<u8>,
    /// Files of the host that programs without a setting read, by their real paths.
    pub bundles: Vec<PathBuf>,
    /// Such files of Java.
    pub stores: Vec<PathBuf>,
}

/// What the task trusts where TLS is looked into: the sandbox's own authority, and with it all others.
pub const AUTHORITY: &str = "/etc/ringfence-authority.pem";
/// The second of these.
pub const AUTHORITIES: &str = "/etc/ringfence-authorities.pem";
/// The same, as Java reads it.
pub const AUTHORITIES_OF_JAVA: &str = "/etc/ringfence-authorities.jks";

/// Where the task asks for names.
pub const RESOLVER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(198, 18, 0, 1);

/// Makes the plan.
///
/// # Errors
/// [`Refused`] names the part that cannot be enforced here, its cause and the remedy.
pub fn plan(
    policy: &Policy,
    survey: &Survey,
    host: &Host,
    invoker: &Invoker,
    request: &Request,
) -> Result<Plan, Refused> {
    let cause = hosted::cause(host);
    check_leave(request)?;
    if let Some(cause) = cause {
        hosted::check_host(host, &cause)?;
        return hosted::plan(policy, survey, host, invoker, request, Vec::new());
    }
    let mut degraded = check_host(policy, host)?;
    let ids = ids(survey, invoker, request);
    let grants = grants::collect(policy, survey, &ids)?;
    let mut layout = mounts::layout(policy, survey, invoker, request, &ids, &grants, host)?;
    let landlock = landlock::rules(policy, survey, host, &grants, invoker, &mut degraded)?;
    loose::check(policy, &mut layout, survey, invoker.root, request, &mut degraded)?;
    let limits = limits(policy, host, &mut degraded)?;
    let guard = guard::rules(policy, survey, &request.exposed, guard::mounted(survey));
    tracing::check(policy, host, guard.is_some(), &mut degraded)?;
    let mut notes = survey.notes.clone();
    notes.extend(layout.notes);
    if let Some(cause) = &host.no_fuse {
        if policy.approvals.ask && !policy.approvals.read.is_empty() {
            return Err(Refused::host(
                "a root that sees who looks, which `approvals.on_refusal = \"ask\"` needs",
                cause,
                "make /dev/fuse usable, or choose `on_refusal = \"fail\"`",
            ));
        }
        degraded.push(Degraded {
            name: VOID.into(),
            effect: format!(
                "{cause}: what is not granted is refused as ever, but who looks for it is not seen"
            ),
        });
    }
    // The sysctl belongs to root even in a pid namespace of one's own (tried on 6.18).
    let memfd_noexec = host.memfd_noexec && invoker.root;
    let no_memfd = guard::no_memfd(policy, guard.is_some());
    if !memfd_noexec && !no_memfd {
        notes.push("vm.memfd_noexec cannot be set here: memfd_create works only with MFD_NOEXEC_SEAL".into());
    }
    notes.extend(prices(policy));
    notes.extend(uninspected(policy));
    if request.trust.is_some() {
        notes.push("network: TLS to destinations with rules about requests, and to all others where secrets could leave by it, is looked into; programs that read the usual variables, or the system's own store, trust the sandbox's own authority".into());
    }
    let renames = layout.steps.iter().any(|step| matches!(step, Step::Overlay { .. }));
    Ok(Plan {
        tier: "namespace",
        groups: if invoker.root { Vec::new() } else { invoker.groups.clone() },
        trees: layout.trees,
        steps: layout.steps,
        void: layout.void,
        asks: policy.approvals.ask && !policy.approvals.read.is_empty(),
        layers: layout.layers,
        landlock,
        filter: syscalls::Variant {
            memfd_noexec,
            debug: policy.runtime.debug,
            user_namespaces: policy.runtime.user_namespaces,
            io_uring: policy.runtime.io_uring,
            gated: false,
            quota: limits.quota.is_some(),
            guarded: guard.is_some(),
            no_memfd,
            mapped_ids: invoker.root,
            directories: guard.as_ref().is_some_and(CommandRules::asks_for_directories),
            mapped: false,
            hosted: false,
            watch_writes: policy.runtime.watch_writes,
            renames,
        },
        guard,
        network: NetworkRules::of(policy),
        limits,
        host_name: "ringfence",
        environment: environment::build(
            policy,
            survey,
            invoker,
            &grants,
            request,
            [AUTHORITY, AUTHORITIES].map(std::path::Path::new),
        ),
        directory: directory(policy, survey, invoker, request)?,
        command: request.command.clone(),
        mode: policy.workspace.mode,
        workspace: survey.workspace.real.clone(),
        hosted: None,
        git_fails: git::fails(policy, survey, false),
        denied: survey.denied_paths(),
        degraded,
        notes,
        secrets: survey.secrets.clone(),
        ids,
    })
}

/// What passes without being looked into is said.
fn uninspected(policy: &Policy) -> Option<String> {
    let blind = |of: fn(Protocol) -> bool| {
        let blind = |rule: &&Rule<Destination>| of(rule.value.protocol) && rule.value.http.is_none();
        policy.network.allow.iter().filter(blind).count()
    };
    let tls = blind(|protocol| protocol == Protocol::Tls);
    let tcp = blind(|protocol| !matches!(protocol, Protocol::Tls | Protocol::Http));
    (tls + tcp > 0).then(|| {
        format!(
            "network: {tls} destinations are held to the server's name in TLS and {tcp} to their address alone; \
             what is said to them is not looked into"
        )
    })
}

/// What a switch costs is said wherever it is on.
fn prices(policy: &Policy) -> impl Iterator<Item = String> {
    let said = [
        (
            policy.runtime.user_namespaces,
            "runtime.user_namespaces gives up Landlock's rights on files (what is in a domain can never mount) and the masks of /proc: mounts alone hold files, \
             the kernel's code for namespaces and mounts can be reached, and what a program of `[commands]` loads is the task's to choose",
        ),
        (
            policy.runtime.io_uring,
            "runtime.io_uring lets operations pass that no filter sees: unix sockets of the host below a grant can be connected to, \
             and set-id bits be set",
        ),
    ];
    said.into_iter().filter(|(on, _)| *on).map(|(_, price)| price.to_owned())
}

/// What needs a control group and has none is looked at instead, and said; a processor cannot be held by looking.
fn limits(policy: &Policy, host: &Host, degraded: &mut Vec<Degraded>) -> Result<Limits, Refused> {
    let value = |rule: &Option<Rule<u64>>| rule.as_ref().map(|rule| rule.value);
    let asked = &policy.limits;
    let mut limits = Limits {
        memory: value(&asked.memory),
        cpu: value(&asked.cpu),
        processes: value(&asked.processes),
        open_files: value(&asked.open_files),
        file_size: value(&asked.file_size),
        output: value(&asked.output),
        time: value(&asked.time),
        quota: quota(policy)?,
        temporary: None,
        exact: true,
    };
    if let Some(cause) = &host.no_control_groups
        && (limits.memory.is_some() || limits.processes.is_some() || limits.cpu.is_some())
    {
        let key = if asked.exact { "limits.exact" } else { "limits.cpu" };
        if asked.exact || limits.cpu.is_some() {
            return Err(Refused::host(
                &format!("control groups, which `{key}` needs"),
                cause,
                "start ringfence where control groups are delegated, as by `systemd-run --user --scope -p Delegate=yes \
                 ringfence ...`, or as root; or remove the key",
            ));
        }
        limits.exact = false;
        degraded.push(Degraded {
            name: "polled".into(),
            effect: format!("{cause}: memory and processes are looked at every 100 ms, and may be over their limits for that long"),
        });
    }
    Ok(limits)
}

/// An empty workspace in memory has that size, and whatever is copied on write is looked at.
fn quota(policy: &Policy) -> Result<Option<u64>, Refused> {
    let Some(rule) = &policy.workspace.quota else { return Ok(None) };
    let refused = |cause: &str, remedy: &str| Err(Refused::rule(&rule.origin, cause, remedy));
    match policy.workspace.mode {
        Mode::Direct => refused(
            "`workspace.quota` cannot be held on the host's own files",
            "choose `workspace.mode = \"review\"`, or have the file system hold it (quotactl(2))",
        ),
        Mode::Review | Mode::Discard if policy.limits.exact => refused(
            "`workspace.quota` is looked at every 25 ms, and `limits.exact` refuses that",
            "choose `workspace.mode = \"temporary\"`, where the kernel holds it, or remove one of the two",
        ),
        _ if policy.runtime.io_uring => refused(
            "`runtime.io_uring` lets a task reserve any part of a disk at once, which no quota that is looked at can hold",
            "remove one of the two",
        ),
        _ => Ok(Some(rule.value)),
    }
}

/// Only what can be left out by leave is. Which tier it will be may not be known yet.
fn check_leave(request: &Request) -> Result<(), Refused> {
    let unknown = request.allow_degraded.iter().find(|name| !hosted::allows(name));
    unknown.map_or(Ok(()), |name| {
        Err(Refused {
            part: "--allow-degraded".into(),
            cause: format!("`{name}` is nothing that this version can run without"),
            remedy: "remove it; what has a substitute is done that way, said and recorded".into(),
        })
    })
}

/// What cannot be done without is refused here; what has a substitute is named.
fn check_host(policy: &Policy, host: &Host) -> Result<Vec<Degraded>, Refused> {
    if !host.seccomp {
        return Err(Refused::host(
            "seccomp",
            "this kernel has no system call filters",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ));
    }
    let copy_on_write = matches!(policy.workspace.mode, Mode::Review | Mode::Discard);
    if copy_on_write && !host.overlay {
        return Err(Refused::host(
            "overlayfs",
            "this kernel cannot mount an overlay in a user namespace (Linux 5.11)",
            "choose `workspace.mode = \"direct\"`, `\"read\"` or `\"temporary\"`",
        ));
    }
    Ok(Vec::new())
}

/// An id as the task sees it: never 0.
const fn shown(id: u32) -> u32 {
    if id == 0 { 1000 } else { id }
}

/// The ids where an ordinary user starts the sandbox: the same numbers on both sides. uid 0 of somebody else's namespace
/// is shown as an ordinary one. `None` for root, whose task has an id of its own.
#[must_use]
pub fn own_ids(invoker: &Invoker) -> Option<Ids> {
    let (uid, gid) = (invoker.uid, invoker.gid);
    (!invoker.root).then_some(Ids {
        inside_uid: shown(uid),
        inside_gid: shown(gid),
        outside_uid: uid,
        outside_gid: gid,
        owner_uid: uid,
        owner_gid: gid,
        mapped: false,
    })
}

/// The ids of the task. A sandbox started by root never has kernel uid 0 and never shows uid 0 inside.
fn ids(survey: &Survey, invoker: &Invoker, request: &Request) -> Ids {
    let owner = &survey.workspace;
    own_ids(invoker).unwrap_or(Ids {
        inside_uid: shown(owner.uid),
        inside_gid: shown(owner.gid),
        outside_uid: request.unused_id,
        outside_gid: request.unused_id,
        owner_uid: owner.uid,
        owner_gid: owner.gid,
        mapped: true,
    })
}

/// The command starts where the invoker stands, which must be in the workspace.
fn directory(
    policy: &Policy,
    survey: &Survey,
    invoker: &Invoker,
    request: &Request,
) -> Result<PathBuf, Refused> {
    let workspace = &survey.workspace.real;
    let inside = invoker.cwd.starts_with(workspace);
    // An empty workspace has no directories below it yet.
    if policy.workspace.mode == Mode::Temporary && inside || request.enter && !inside {
        return Ok(workspace.clone());
    }
    if inside {
        return Ok(invoker.cwd.clone());
    }
    Err(Refused::workspace(
        format!(
            "the current directory {} is outside the workspace {}",
            invoker.cwd.display(),
            workspace.display()
        ),
        format!(
            "change to {} first, or name the workspace for this run with `--workspace DIR`",
            workspace.display()
        ),
    ))
}
