//! Tier `landlock`: for hosts that allow no namespaces of one's own. The task sees the host's own tree, and Landlock and the
//! filter say what of it can be used.
//!
//! Landlock can only add rights below a directory, never take one away. So what is hidden inside a readable tree is held by
//! granting everything beside it one by one; inside a writable tree it cannot be held, and such a policy is refused.

mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ringfence_policy::{CommandRules, Ground, Mode, NetworkRules, Policy, written_cache};

use crate::grants::{self, Access, Grants};
use crate::landlock::{Landlock, Right};
use crate::loose;
use crate::survey::{Marked, Survey};
use crate::{
    Degraded, Host, Ids, Invoker, Layer, Plan, Refused, Request, TIER, VOID, environment, exposed, git,
    guard, mounts, opened, syscalls, tracing, workspace,
};

/// The Landlock ABI whose scopes keep signals and abstract sockets inside (Linux 6.12).
pub(crate) const SCOPES: u32 = 6;

/// The name by which root may stay root here.
const ROOT: &str = "root-uid";

/// Below the run's directory: the task's home and its temporary directory.
const OWN: [&str; 2] = ["home", "tmp"];

/// Below it as well, and not the task's to write: whom it trusts where TLS is looked into.
const TRUST: &str = "trust";
const TRUSTED: [&str; 2] = ["authority.pem", "authorities.pem"];

/// The copy of a directory that is worked on, below its layer.
pub(crate) const COPY: &str = "copy";

/// The six devices that harm nobody.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Files that every system has and programs expect; those of /proc tell of the machine, not of its processes.
const EXPECTED: [&str; 18] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    HOSTS,
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/filesystems",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/ostype",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu/online",
];

const HOSTS: &str = "/etc/hosts";

/// What such a sandbox is given instead of mounts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hosted {
    /// What holds these and the copies; made for another user than the invoker, it is removed with the run.
    #[serde(with = "crate::wire::path")]
    pub base: PathBuf,
    /// Where the work is done: the workspace itself, or its copy.
    #[serde(with = "crate::wire::path")]
    pub workspace: PathBuf,
    /// Directories that are made for it, and removed with it.
    #[serde(with = "crate::wire::paths")]
    pub own: Vec<PathBuf>,
    /// Placeholders of credentials in files of its home, and where the policy names those.
    #[serde(with = "crate::wire::links")]
    pub exposed: Vec<(PathBuf, PathBuf)>,
    /// Links in its home, and the grants they lead to.
    #[serde(with = "crate::wire::links")]
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Trees of the task's own or granted for writing: there modes, owners and times are its to change.
    #[serde(with = "crate::wire::paths")]
    pub written: Vec<PathBuf>,
    /// Trees in which nobody but the task can have made a socket.
    #[serde(with = "crate::wire::paths")]
    pub sockets: Vec<PathBuf>,
    /// Where TLS is looked into: files with the sandbox's own authority, and with all that are trusted.
    #[serde(with = "crate::wire::paths")]
    pub trust: Vec<PathBuf>,
    /// Executable trees, of which a list of programs leaves only these executable: what lies there may be loaded as code still.
    #[serde(with = "crate::wire::paths")]
    pub libraries: Vec<PathBuf>,
    /// But not from these, the directories of PATH, where a list names what is.
    #[serde(with = "crate::wire::paths")]
    pub searched: Vec<PathBuf>,
    /// What is no file of the task's, also where it lies in a grant; copies leave it out.
    pub hidden: Vec<Hidden>,
}

/// What is hidden, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hidden {
    /// Where it lies.
    #[serde(with = "crate::wire::path")]
    pub path: PathBuf,
    /// The rule, in words.
    pub because: String,
}

/// Why the other tier cannot be had, or `None` where it can.
pub(crate) fn cause(host: &Host) -> Option<String> {
    let no_proc =
        || (!host.proc).then(|| "this host masks parts of /proc, so nobody may mount one".to_owned());
    host.no_user_namespaces.clone().or_else(no_proc)
}

/// Whether this tier can be had, as far as the kernel goes.
#[must_use]
pub fn possible(host: &Host) -> bool {
    check_host(host, "").is_ok()
}

/// What this tier cannot do is refused here.
pub(crate) fn check_host(host: &Host, cause: &str) -> Result<(), Refused> {
    let remedy =
        "allow user namespaces and a fresh /proc, which tier `namespace` needs (`ringfence doctor` says how)";
    if host.landlock < SCOPES {
        let found = match host.landlock {
            0 => "this kernel has no Landlock".to_owned(),
            abi => format!("this kernel has Landlock ABI {abi}"),
        };
        return Err(Refused::host(
            "tier `landlock`",
            format!("{cause}; and tier `landlock` needs Landlock ABI {SCOPES} (Linux 6.12): {found}"),
            remedy,
        ));
    }
    // Nothing here gives init a capability over the task.
    if host.yama >= tracing::CAPABLE {
        let cause = format!("{cause}; and {}", tracing::cause(host));
        return Err(Refused::host("tier `landlock`", cause, tracing::REMEDY));
    }
    if !host.seccomp {
        let cause =
            format!("{cause}; and this kernel has no system call filters, which tier `landlock` needs");
        return Err(Refused::host("seccomp", &cause, remedy));
    }
    Ok(())
}

/// The task is the invoker, or where that is root the owner of the workspace. Root without capabilities could not write another's files
/// in place, so there no task is root, whatever is allowed.
fn ids(policy: &Policy, survey: &Survey, invoker: &Invoker, request: &Request) -> Result<Ids, Refused> {
    let theirs = policy.workspace.mode == Mode::Direct && survey.workspace.uid != 0;
    let (uid, gid) = match invoker.uid {
        0 if request.allow_degraded.contains(ROOT) && !theirs => (0, invoker.gid),
        0 => (survey.workspace.uid, survey.workspace.gid),
        uid => (uid, invoker.gid),
    };
    if uid == 0 && !request.allow_degraded.contains(ROOT) {
        return Err(Refused {
            part: "a task that is not root".into(),
            cause: format!(
                "ringfence is started by uid 0 in tier `landlock`, and {} belongs to root too",
                survey.workspace.real.display()
            ),
            remedy: "start it as an ordinary user, give the workspace to one, or accept a task that is root within \
                     its grants: `--allow-degraded root-uid`"
                .into(),
        });
    }
    Ok(Ids {
        inside_uid: uid,
        inside_gid: gid,
        outside_uid: uid,
        outside_gid: gid,
        owner_uid: uid,
        owner_gid: gid,
        mapped: false,
    })
}

/// Names that `--allow-degraded` takes here.
pub(crate) fn allows(name: &str) -> bool {
    name == ROOT || name == loose::NAME
}

pub(crate) fn plan(
    policy: &Policy,
    survey: &Survey,
    host: &Host,
    invoker: &Invoker,
    request: &Request,
    mut degraded: Vec<Degraded>,
) -> Result<Plan, Refused> {
    let cause = cause(host).unwrap_or_default();
    let ids = ids(policy, survey, invoker, request)?;
    cannot(policy, survey)?;
    workspace::check(policy, survey, invoker, &ids)?;
    let grants = grants::collect(policy, survey, &ids)?;
    let base = if ids.outside_uid == invoker.uid { &request.layers } else { &request.aside };
    let place = Place::of(policy, survey, base);
    whole::check(policy, survey, &grants, &place)?;
    let own: Vec<PathBuf> = OWN.iter().map(|name| base.join(name)).collect();
    let inside = place.inside(&survey.workspace.real, survey);
    let temporary = own.get(1).map(PathBuf::as_path).into_iter().collect();
    let workspace = &survey.workspace.real;
    let home = own.first().map(PathBuf::as_path);
    let ground = Ground { workspace, copy: (inside != *workspace).then_some(&inside), home, temporary };
    let guard = guard::rules(policy, survey, &request.exposed, ground);
    let mut landlock = rules(policy, survey, host, &grants, &own, &place);
    if request.trust.is_some() {
        landlock.rules.push((Right::Read, base.join(TRUST)));
    }
    let linked = links(&grants, invoker, own.first());
    // The task's home is another than the run's own.
    let homely = grants.covering(&invoker.home).is_some() || policy.environment.set.contains_key("HOME");
    let hosted = Hosted {
        base: base.clone(),
        workspace: inside.clone(),
        exposed: exposed::at_home(policy, request, invoker, own.first().filter(|_| !homely), &linked)?,
        links: linked,
        written: landlock
            .rules
            .iter()
            .filter(|(right, _)| matches!(right, Right::Write | Right::Own))
            .map(|(_, path)| path.clone())
            .collect(),
        sockets: own.iter().cloned().chain(place.own().cloned()).collect(),
        libraries: grants
            .mounts
            .iter()
            .filter(|granted| granted.access == Access::Execute && guard::listed(policy))
            .map(|granted| granted.place.real.clone())
            .collect(),
        searched: distinct(survey.search_path.iter().map(|(_, real)| real.clone())),
        hidden: survey.hidden.iter().map(hidden).collect(),
        trust: request
            .trust
            .as_ref()
            .map(|_| TRUSTED.map(|name| base.join(TRUST).join(name)).to_vec())
            .unwrap_or_default(),
        own,
    };
    let network = NetworkRules::of(policy);
    let mut limits = crate::limits(policy, host, &mut degraded)?;
    limits.temporary = policy.limits.tmp.as_ref().map(|rule| rule.value);
    degraded.extend(said(&cause, &ids));
    let trusted = TRUSTED.map(|name| base.join(TRUST).join(name));
    let [first, second] = &trusted;
    let mut variables = environment::build(policy, survey, invoker, &grants, request, [first, second]);
    let home = grants.covering(&invoker.home).is_some();
    for (name, path) in ["HOME", "TMPDIR"].iter().zip(&hosted.own) {
        let kept = policy.environment.set.contains_key(*name) || *name == "HOME" && home;
        if !kept {
            variables.insert((*name).into(), path.clone().into_os_string());
        }
    }
    let directory = place.inside(&crate::directory(policy, survey, invoker, request)?, survey);
    Ok(Plan {
        tier: "landlock",
        groups: if invoker.uid == 0 { Vec::new() } else { invoker.groups.clone() },
        trees: Vec::new(),
        steps: Vec::new(),
        void: None,
        asks: false,
        layers: place.layers(policy, survey, base),
        landlock: Some(landlock),
        filter: syscalls::Variant {
            debug: policy.runtime.debug,
            hosted: true,
            quota: limits.quota.or(limits.temporary).is_some(),
            gated: network.is_some(),
            guarded: guard.is_some(),
            no_memfd: guard::no_memfd(policy, guard.is_some()),
            directories: guard.as_ref().is_some_and(CommandRules::asks_for_directories),
            // No mount keeps a loader from starting what it can read.
            mapped: guard.is_some() || policy.commands.is_some(),
            ..Default::default()
        },
        guard,
        network,
        limits,
        host_name: "",
        environment: variables,
        directory,
        command: request.command.clone(),
        mode: policy.workspace.mode,
        workspace: survey.workspace.real.clone(),
        git_fails: git::fails(policy, survey, true),
        denied: survey.denied_paths(),
        degraded,
        notes: survey.notes.iter().cloned().chain(place.notes(policy)).collect(),
        secrets: survey.secrets.clone(),
        ids,
        hosted: Some(hosted),
    })
}

fn hidden(marked: &Marked) -> Hidden {
    Hidden { path: marked.path.clone(), because: marked.because.clone() }
}

/// What is different from the other tier, said with each run.
fn said(cause: &str, ids: &Ids) -> Vec<Degraded> {
    let mut said = vec![
        Degraded {
            name: TIER.into(),
            effect: format!(
                "{cause}: tier `landlock`. The same grants hold; names, sizes and dates of the host's files can be seen, their contents \
                 not; /tmp, /dev/shm and /proc/self are not there: $TMPDIR and $HOME are the run's own"
            ),
        },
        Degraded {
            name: VOID.into(),
            effect:
                "tier `landlock`: what is not granted is refused as ever, but who looks for it is not seen"
                    .into(),
        },
    ];
    if ids.outside_uid == 0 {
        let effect = "the task is root within its grants: Landlock and the filter alone hold it".into();
        said.push(Degraded { name: ROOT.into(), effect });
    }
    said
}

/// Parts of a policy that nothing here can enforce.
fn cannot(policy: &Policy, survey: &Survey) -> Result<(), Refused> {
    let refused = |key: &str, why: &str, remedy: &str| {
        let part = match policy.origins.get(key) {
            Some(origin) => format!("{key} ({}:{})", origin.source, origin.line),
            None => key.to_owned(),
        };
        Err(Refused {
            part,
            cause: format!("{why} (tier `landlock`, `ringfence doctor` says why)"),
            remedy: remedy.into(),
        })
    };
    let elsewhere = "remove it, or run where tier `namespace` can be had";
    if !policy.network.publish.is_empty() {
        return refused("network.publish", "the task listens nowhere: the loopback is the host's", elsewhere);
    }
    if !policy.network.unix.is_empty() {
        return refused("network.allow", "no socket of the host can be led to from here", elsewhere);
    }
    if policy.containers.is_some() {
        return refused("containers", "no socket of the gateway's can be led to from here", elsewhere);
    }
    if let Some((name, _)) = policy.credentials.iter().find(|(_, rule)| rule.value.signs()) {
        let key = format!("credentials.{name}");
        return refused(&key, "no socket of an agent can be led to from here", elsewhere);
    }
    if !policy.files.decoy.is_empty() {
        return refused("files.decoy", "a decoy needs a mount of its own", elsewhere);
    }
    if policy.approvals.ask && !policy.approvals.read.is_empty() {
        return refused(
            "approvals.on_refusal",
            "who looks for what is not granted is not seen, so nobody can be asked",
            "choose `on_refusal = \"fail\"`, or run where tier `namespace` can be had",
        );
    }
    if policy.runtime.user_namespaces {
        return refused("runtime.user_namespaces", "there are none here", elsewhere);
    }
    if policy.runtime.io_uring {
        return refused(
            "runtime.io_uring",
            "its operations pass the filter, which alone holds modes and owners",
            elsewhere,
        );
    }
    if policy.runtime.watch_writes {
        return refused(
            "runtime.watch_writes",
            "what may only be read is no mount of its own here",
            elsewhere,
        );
    }
    if policy.limits.tmp.is_some() && policy.limits.exact {
        return refused(
            "limits.tmp",
            "the temporary directory is no file system of its own and is looked at every 25 ms, which `limits.exact` refuses",
            elsewhere,
        );
    }
    let direct = policy.workspace.mode == Mode::Direct;
    if direct && !(survey.protected.is_empty() && survey.absent_protected.is_empty()) {
        return refused(
            "workspace.protect",
            "Landlock cannot take back a right below a directory that is written",
            "choose `workspace.mode = \"review\"`: the task works on a copy, and `apply` holds such changes back",
        );
    }
    Ok(())
}

/// Where the work is done.
struct Place {
    /// The copies, by layer; the first is the workspace's.
    copies: Vec<PathBuf>,
    /// The host's own directory, or none that it has.
    direct: Option<PathBuf>,
    read: bool,
}

impl Place {
    fn of(policy: &Policy, survey: &Survey, base: &Path) -> Self {
        let copy = base.join(mounts::WORKSPACE).join(COPY);
        let real = survey.workspace.real.clone();
        match policy.workspace.mode {
            Mode::Review | Mode::Discard | Mode::Temporary => {
                Self { copies: vec![copy], direct: None, read: false }
            }
            Mode::Direct => Self { copies: Vec::new(), direct: Some(real), read: false },
            Mode::Read => Self { copies: Vec::new(), direct: Some(real), read: true },
        }
    }

    fn own(&self) -> impl Iterator<Item = &PathBuf> {
        self.copies.iter()
    }

    /// The directory that is worked in.
    fn root(&self) -> Option<&PathBuf> {
        self.copies.first().or(self.direct.as_ref())
    }

    /// A path in the workspace, as the task finds it.
    fn inside(&self, path: &Path, survey: &Survey) -> PathBuf {
        match (self.copies.first(), path.strip_prefix(&survey.workspace.real)) {
            (Some(copy), Ok(below)) if below.as_os_str().is_empty() => copy.clone(),
            (Some(copy), Ok(below)) => copy.join(below),
            _ => path.to_owned(),
        }
    }

    fn notes(&self, policy: &Policy) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(copy) = self.copies.first() {
            notes.push(format!("the task works on a copy of the workspace at {}", copy.display()));
            if !policy.workspace.protect.is_empty() {
                notes.push(
                    "workspace.protect: in its copy the task may write what is protected; that stays held back when the rest lands"
                        .to_owned(),
                );
            }
            if policy.workspace.mode != Mode::Temporary {
                notes.push(
                    "checkpoint, rollback and fork are refused: a copy has no layers to keep or drop".into(),
                );
            }
        }
        notes
    }

    fn layers(&self, policy: &Policy, survey: &Survey, base: &Path) -> Vec<Layer> {
        let place = &survey.workspace;
        // A temporary workspace is one of the sandbox's own: nothing of it is kept.
        self.copies
            .iter()
            .filter(|_| policy.workspace.mode != Mode::Temporary)
            .map(|_| Layer {
                name: mounts::WORKSPACE.into(),
                host: place.real.clone(),
                directory: base.join(mounts::WORKSPACE),
                device: place.device,
                inode: place.inode,
                protect: protect(policy, survey),
                outputs: workspace::outputs(policy),
                obeyed: survey.obeyed.clone(),
                leaks: policy.leaks.workspace.as_ref().map(|rule| rule.value),
                masked: Vec::new(),
            })
            .collect()
    }
}

/// What `apply` holds back: what is hidden is not in the copy either, and a name of the task's there is not what the host has by it.
fn protect(policy: &Policy, survey: &Survey) -> Vec<String> {
    let below = |marked: &Marked| {
        let path = marked.path.strip_prefix(&survey.workspace.real).ok()?;
        Some(workspace::as_pattern(path))
    };
    let hidden = survey.hidden.iter().filter_map(below);
    workspace::protect(policy, survey).into_iter().chain(hidden).collect()
}

fn rules(
    policy: &Policy,
    survey: &Survey,
    host: &Host,
    grants: &Grants,
    own: &[PathBuf],
    place: &Place,
) -> Landlock {
    let mut rules: BTreeSet<(Right, PathBuf)> = BTreeSet::new();
    let denied = |path: &Path| survey.hidden.iter().any(|marked| path.starts_with(&marked.path));
    rules.extend(DEVICES.map(|path| (Right::Device, path.into())));
    // With a network, names are the gateway's to answer, which reads that file itself.
    let hosts = NetworkRules::of(policy).is_none();
    let expected = EXPECTED.iter().filter(|path| hosts || **path != HOSTS);
    let expected = expected.map(Path::new).filter(|path| !denied(path));
    rules.extend(expected.map(|path| (Right::Read, path.to_owned())));
    for granted in &grants.mounts {
        let right = match granted.access {
            Access::Read => Right::Read,
            Access::Write => Right::Write,
            Access::Execute if guard::listed(policy) => Right::Read,
            Access::Execute => Right::Execute,
        };
        rules.insert((right, granted.place.real.clone()));
    }
    // What lies in the workspace is the task's to change, and no program of a list's.
    let programs = guard::started(survey).map(|place| &place.real).filter(|path| {
        grants.covering(path).is_some() && !place.direct.iter().any(|root| path.starts_with(root))
    });
    rules.extend(programs.map(|path| (Right::Execute, path.clone())));
    rules.extend(survey.git.iter().map(|git| (Right::Read, git.place.real.clone())));
    // A rule of the policy's is none for what is hidden; the run's own directories lie in ringfence's state, which is.
    rules.retain(|(_, path)| !denied(path) || opened::named(survey, path));
    for path in own {
        rules.insert((Right::Own, path.clone()));
    }
    if policy.runtime.tmp_exec {
        rules.extend(own.get(1).map(|path| (Right::Execute, path.clone())));
    }
    if let Some(root) = place.root() {
        let right = match place.copies.is_empty() {
            false => Right::Own,
            true if place.read => Right::Read,
            true => Right::Write,
        };
        rules.insert((right, root.clone()));
        if policy.from_workspace {
            rules.insert((Right::Execute, root.clone()));
        }
    }
    let mut except: Vec<PathBuf> = survey.hidden.iter().map(|marked| marked.path.clone()).collect();
    except.retain(|path| rules.iter().any(|(_, rule)| path.starts_with(rule)));
    Landlock { abi: host.landlock, rules: rules.into_iter().collect(), except, files: true, scoped: true }
}

fn distinct(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    paths.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The task's home has a link where a grant lies below the invoker's.
fn links(grants: &Grants, invoker: &Invoker, home: Option<&PathBuf>) -> Vec<(PathBuf, PathBuf)> {
    let Some(home) = home else { return Vec::new() };
    let below = |path: &Path| path.strip_prefix(&invoker.home).ok().map(|below| home.join(below));
    let shown: BTreeMap<PathBuf, PathBuf> = grants
        .mounts
        .iter()
        .map(|granted| &granted.place.real)
        .filter_map(|real| Some((below(real).filter(|path| path != home)?, real.clone())))
        .chain(grants.links.keys().filter_map(|link| Some((below(link)?, link.clone()))))
        // By whatever way it is there, unless it may be written.
        .filter(|(path, target)| !written_cache(path, home) || grants.writes(target))
        .collect();
    // What lies below one that is linked already is reached through it.
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    for (path, target) in shown {
        if !links.iter().any(|(above, _)| path.starts_with(above)) {
            links.push((path, target));
        }
    }
    links
}
