//! The second lock for files (landlock(7)): holds even where a mount flag would not.

use std::path::PathBuf;

use ringfence_policy::{Mode, Policy};

use crate::grants::{Access, Grants};
use crate::guard;
use crate::survey::Survey;
use crate::temporary::{VAR_TMP, shows_var_tmp};
use crate::{Degraded, Host, Invoker, Refused};

/// The Landlock ABI that lets files go from one directory to another (Linux 5.19).
const REFER: u32 = 2;
/// The Landlock ABI that governs truncation (Linux 6.2).
const TRUNCATE: u32 = 3;

/// What a rule allows below its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Opening files for reading, listing directories.
    Read,
    /// Everything that changes files and names; device files cannot be made.
    Write,
    /// The same in tier `landlock` for directories of the run's own, and one right more, of no use there: so nothing that is not a
    /// directory's own comes there by a rename or a link (landlock(7), LANDLOCK_ACCESS_FS_REFER), sockets of the host among it.
    Own,
    /// Starting programs.
    Execute,
    /// Everything that changes files and names, and whiteouts, which are devices: nobody's but our own.
    Layer,
    /// Writing to what is there, without making or removing names, and ioctls of devices.
    Device,
}

/// The rules, by path inside the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Landlock {
    /// The ABI they are meant for: the host's highest.
    pub abi: u32,
    /// Right and path; a rule on a directory holds for everything below, across mounts.
    #[serde(with = "crate::wire::rules")]
    pub rules: Vec<(Right, PathBuf)>,
    /// What lies at and below these has no right from a rule above it: that rule is made for everything beside the way to them.
    #[serde(with = "crate::wire::paths")]
    pub except: Vec<PathBuf>,
    /// Rights on files are held; not where the task may mount, which a domain with such rights forbids.
    pub files: bool,
    /// Signals and abstract sockets end at the sandbox (ABI 6).
    pub scoped: bool,
}

pub(crate) fn rules(
    policy: &Policy,
    survey: &Survey,
    host: &Host,
    grants: &Grants,
    invoker: &Invoker,
    degraded: &mut Vec<Degraded>,
) -> Result<Option<Landlock>, Refused> {
    if host.landlock == 0 {
        if policy.commands.is_some() {
            return Err(Refused::host(
                "Landlock",
                "`commands.allow` needs its execute right",
                "boot with `lsm=landlock,...` (Linux 5.13 or later), or remove `[commands]`",
            ));
        }
        degraded.push(Degraded {
            name: "landlock".into(),
            effect: "this kernel has no Landlock: the mounts alone hold the files".into(),
        });
        return Ok(None);
    }
    let scoped = host.landlock >= 6;
    if host.landlock < TRUNCATE {
        let refer = if host.landlock < REFER {
            "; and no file can be renamed or linked from one directory to another (EXDEV): programs copy there"
        } else {
            ""
        };
        degraded.push(Degraded {
            name: "landlock".into(),
            effect: format!(
                "this kernel's Landlock (ABI {}) does not govern truncation: there the mounts alone hold files that are granted for reading{refer}",
                host.landlock
            ),
        });
    }
    if policy.runtime.user_namespaces {
        let scopes =
            Landlock { abi: host.landlock, rules: Vec::new(), except: Vec::new(), files: false, scoped };
        return Ok(scoped.then_some(scopes));
    }
    let mut rules = vec![
        (Right::Read, "/".into()),
        (Right::Write, PathBuf::from("/tmp")),
        (Right::Write, "/dev/shm".into()),
        (Right::Device, "/dev".into()),
        (Right::Device, "/proc".into()),
    ];
    if shows_var_tmp(survey, grants, invoker) {
        rules.push((Right::Write, VAR_TMP.into()));
        if policy.runtime.tmp_exec {
            rules.push((Right::Execute, VAR_TMP.into()));
        }
    }
    let workspace = &survey.workspace.real;
    let copies = survey.git.iter().filter(|git| !git.read_only).map(|git| &git.place.real);
    if policy.workspace.mode != Mode::Read {
        rules.push((Right::Write, workspace.clone()));
        rules.extend(copies.map(|path| (Right::Write, path.clone())));
    }
    if grants.covering(&invoker.home).is_none() && !invoker.home.starts_with(workspace) {
        rules.push((Right::Write, invoker.home.clone()));
    }
    for granted in &grants.mounts {
        match granted.access {
            Access::Read => {}
            Access::Write => rules.push((Right::Write, granted.place.real.clone())),
            Access::Execute if guard::listed(policy) => {}
            Access::Execute => rules.push((Right::Execute, granted.place.real.clone())),
        }
    }
    rules.extend(guard::started(survey).map(|place| (Right::Execute, place.real.clone())));
    if policy.from_workspace {
        rules.push((Right::Execute, workspace.clone()));
    }
    if policy.runtime.tmp_exec {
        rules.push((Right::Execute, "/tmp".into()));
    }
    rules.sort();
    rules.dedup();
    Ok(Some(Landlock { abi: host.landlock, rules, except: Vec::new(), files: true, scoped }))
}
