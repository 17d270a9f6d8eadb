//! Who is asking and where things are: read once, here, from the process' own environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_plan::{Invoker, Plan};
use ringfence_policy::{Context, Mode};
use ringfence_record::State;
use rustix::thread::{CapabilitySet, capabilities};
use zeroize::Zeroize;

use crate::failure::{Context as _, Failure};

/// Where an administrator's ceiling is.
const CONFIG: &str = "/etc/ringfence";

/// Refuses to run with more rights than the invoker has.
pub(crate) fn refuse_setuid() -> Result<(), Failure> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    if getuid() == geteuid() && getgid() == getegid() {
        return Ok(());
    }
    Err(Failure::new("this binary is set-user-id or set-group-id, which it must never be")
        .hint("remove the bit: chmod u-s,g-s ringfence"))
}

/// Root of a container may lack what root needs to make namespaces whose tasks are not root: what it lacks.
pub(crate) fn powerless_root(invoker: &Invoker) -> Result<Option<String>, Failure> {
    const NEEDED: &[(CapabilitySet, &str)] = &[
        (CapabilitySet::CHOWN, "CAP_CHOWN"),
        (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
        (CapabilitySet::FOWNER, "CAP_FOWNER"),
        (CapabilitySet::KILL, "CAP_KILL"),
        (CapabilitySet::SETGID, "CAP_SETGID"),
        (CapabilitySet::SETUID, "CAP_SETUID"),
        (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    ];
    if !invoker.root {
        return Ok(None);
    }
    let missing = missing(NEEDED)?;
    Ok((!missing.is_empty())
        .then(|| format!("started by root without {}, as in a container", missing.join(", "))))
}

/// Root of a container may not be able to start a task as the workspace's owner: that is found out before anything is made for it.
pub(crate) fn may_become(plan: &Plan, invoker: &Invoker) -> Result<(), Failure> {
    const NEEDED: &[(CapabilitySet, &str)] = &[
        (CapabilitySet::CHOWN, "CAP_CHOWN"),
        (CapabilitySet::SETGID, "CAP_SETGID"),
        (CapabilitySet::SETUID, "CAP_SETUID"),
    ];
    let (task, me) = (plan.ids.outside_uid, invoker.uid);
    if plan.hosted.is_none() || me != 0 || task == me {
        return Ok(());
    }
    let missing = missing(NEEDED)?;
    if missing.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(format!(
        "the task would be uid {task}, the owner of {}, and root without {} cannot start it",
        plan.workspace.display(),
        missing.join(", ")
    ))
    .hint(format!("start ringfence as uid {task}, or grant these capabilities"));
    Err(match plan.mode {
        Mode::Direct => {
            failure.hint("or choose `workspace.mode = \"review\"` with `--allow-degraded root-uid`")
        }
        _ => failure.hint("or accept a task that is root within its grants: `--allow-degraded root-uid`"),
    })
}

fn missing(needed: &'static [(CapabilitySet, &'static str)]) -> Result<Vec<&'static str>, Failure> {
    let have = capabilities(None).context("looking at the capabilities")?.effective;
    Ok(needed.iter().filter(|(one, _)| !have.contains(*one)).map(|(_, name)| *name).collect())
}

/// The invoker of this process.
pub(crate) fn invoker() -> Result<Invoker, Failure> {
    let mut invoker = bare()?;
    invoker.variables = variables();
    Ok(invoker)
}

/// The variables of this process.
pub(crate) fn variables() -> BTreeMap<OsString, OsString> {
    std::env::vars_os().collect()
}

/// The invoker without variables, of which no copy is left in memory: the sandbox's init begins as a copy of it.
pub(crate) fn bare() -> Result<Invoker, Failure> {
    let mut variables = variables();
    let invoker = of(&variables);
    for value in std::mem::take(&mut variables).into_values() {
        value.into_vec().zeroize();
    }
    invoker
}

fn of(variables: &BTreeMap<OsString, OsString>) -> Result<Invoker, Failure> {
    let home = home(variables)?;
    let cwd = std::env::current_dir()
        .context("the current directory")
        .map_err(|failure| failure.hint("change to one that is there, and that you may enter"))?;
    let state = state(variables, &home)?;
    recordable(&home, "the home directory")?;
    recordable(&state, "the state directory")?;
    Ok(ringfence_confine::probe::invoker(home, cwd, state, BTreeMap::new()))
}

/// The state directory, made if it is missing.
pub(crate) fn open_state(invoker: &Invoker) -> Result<State, Failure> {
    State::open(&invoker.state).map_err(|error| {
        Failure::new(format!("the state directory: {error}"))
            .hint("or name another, which you can make: `export RINGFENCE_STATE=DIRECTORY`")
    })
}

/// Records are JSON: a path in them is text.
pub(crate) fn recordable(path: &Path, what: &str) -> Result<(), Failure> {
    if path.to_str().is_some() {
        return Ok(());
    }
    Err(Failure::new(format!("{what} {} holds bytes that are not UTF-8", path.display()))
        .hint("rename it: a run's record could not name it"))
}

/// What paths and variables in a policy mean.
pub(crate) fn context(invoker: &Invoker) -> Context {
    Context {
        home: invoker.home.clone(),
        // Only a ceiling asks.
        listed_home: Path::new(CONFIG).symlink_metadata().ok().and_then(|_| listed_home()),
        cwd: invoker.cwd.clone(),
        variables: invoker
            .variables
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
            .collect(),
        config_dir: CONFIG.into(),
        state_dir: invoker.state.clone(),
        step: None,
    }
}

/// What the user database says (passwd(5)).
fn listed_home() -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    let home = PathBuf::from(line.split(':').nth(5)?);
    home.is_absolute().then(|| home.canonicalize().unwrap_or(home))
}

/// $HOME if it is the invoker's own, else what the user database says.
fn home(variables: &BTreeMap<OsString, OsString>) -> Result<PathBuf, Failure> {
    let uid = rustix::process::geteuid().as_raw();
    let own = |path: &Path| {
        path.is_absolute() && path.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == uid)
    };
    let named = variables.get(OsStr::new("HOME")).map(PathBuf::from);
    let home = named.filter(|path| own(path)).or_else(|| listed_home().filter(|path| own(path)));
    let home = home.ok_or_else(|| {
        Failure::new("no home directory: $HOME is not a directory of yours, nor is the one in /etc/passwd")
            .hint("set HOME to a directory that you own")
    })?;
    home.canonicalize().context(format!("the home directory {}", home.display()))
}

fn state(variables: &BTreeMap<OsString, OsString>, home: &Path) -> Result<PathBuf, Failure> {
    let set =
        |name: &str| variables.get(OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("RINGFENCE_STATE");
    if let Some(relative) = own.as_ref().filter(|path| path.is_relative()) {
        return Err(Failure::new(format!(
            "RINGFENCE_STATE is `{}`, which is another directory wherever one stands: runs would not be found again",
            relative.display()
        ))
        .hint("set it to an absolute path"));
    }
    // A relative $XDG_STATE_HOME is to be ignored (XDG Base Directory Specification).
    let state = own
        .or_else(|| {
            set("XDG_STATE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("ringfence"))
        })
        .unwrap_or_else(|| home.join(".local/state/ringfence"));
    // Compared with resolved paths later.
    Ok(ringfence_policy::trail(&state).and_then(|mut trail| trail.pop()).unwrap_or(state))
}
