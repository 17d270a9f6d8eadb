//! Workspaces that cannot be one.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringfence_policy::{Access, Judge, Mode, Policy};

use crate::survey::{Kind, Survey};
use crate::{Ids, Invoker, Refused, grants};

/// Trees of what the host itself runs and obeys.
const SYSTEM: [&str; 13] = [
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/sbin",
];

/// Refuses it.
pub(crate) fn check(policy: &Policy, survey: &Survey, invoker: &Invoker, ids: &Ids) -> Result<(), Refused> {
    let place = &survey.workspace;
    let shown = place.real.display();
    let mode = policy.workspace.mode;
    if let (Mode::Direct, Some(rule)) = (mode, &policy.leaks.workspace) {
        return Err(Refused::rule(
            &rule.origin,
            "`leaks.scan` has the workspace's changes looked through when they land, and on the host's own files they land at once",
            "choose `workspace.mode = \"review\"`, or leave `workspace` out of `leaks.scan`",
        ));
    }
    if mode == Mode::Temporary {
        return Ok(());
    }
    if place.kind != Kind::Directory {
        return Err(Refused::workspace(format!("{shown} is not a directory"), "name a directory"));
    }
    let system = [
        "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
        "/var",
    ];
    if system.iter().any(|path| place.real == Path::new(path)) && place.real != invoker.home {
        return Err(Refused::workspace(
            format!("{shown} is a directory of the system"),
            "change to the project's directory, or name it with `--workspace`",
        ));
    }
    let tree = SYSTEM.iter().find(|tree| place.real.starts_with(tree));
    if let (Mode::Direct, Some(tree)) = (mode, tree) {
        return Err(Refused::workspace(
            format!("{shown} is part of the system below {tree}, and what a task writes there holds at once"),
            "choose `workspace.mode = \"review\"`, or grant what it is to write there: `files.write`",
        ));
    }
    let decision = Judge::new(policy, &place.real).file(&place.real, Access::Read);
    if !decision.is_allow() {
        return Err(Refused::workspace(
            format!("{shown} cannot be a workspace: {}", decision.reason()),
            "change to the project's directory, or name it with `--workspace`",
        ));
    }
    if let Some(barred) = &survey.barred {
        return Err(Refused::workspace(
            format!("{shown} cannot be a workspace: {barred} leads there"),
            "change to the project's directory, or name it with `--workspace`",
        ));
    }
    let copy_on_write = matches!(mode, Mode::Review | Mode::Discard);
    if survey.known_homes.iter().any(|home| home.starts_with(&place.real)) {
        return Err(Refused::workspace(
            format!("{shown} is or holds the home directory, with everything that is private in it"),
            "change to the project's directory, or name it with `--workspace`",
        ));
    }
    if invoker.state.starts_with(&place.real) && copy_on_write {
        return Err(Refused::workspace(
            format!("{shown} holds ringfence's own state directory {}", invoker.state.display()),
            "set RINGFENCE_STATE to a directory outside the workspace",
        ));
    }
    if ids.mapped && mode != Mode::Read && !grants::can_be_mapped(place) {
        return Err(Refused::workspace(
            format!(
                "{shown} is on {}, which cannot be idmapped for a task that root starts",
                grants::filesystem(place)
            ),
            "start ringfence as the user who owns it, put it on ext4, xfs, btrfs or tmpfs, or choose \
             `workspace.mode = \"read\"` or `\"temporary\"`",
        ));
    }
    Ok(())
}

/// All that may come out of a workspace that is thrown away.
pub(crate) fn outputs(policy: &Policy) -> Option<Vec<String>> {
    let outputs = || policy.workspace.outputs.iter().map(|rule| rule.value.text().to_owned()).collect();
    (policy.workspace.mode == Mode::Discard).then(outputs)
}

/// Patterns of what `apply` holds back.
pub(crate) fn protect(policy: &Policy, survey: &Survey) -> Vec<String> {
    let protect = policy.workspace.protect.iter().map(|rule| rule.value.text().to_owned());
    protect.chain(survey.led_to.iter().cloned()).collect()
}

/// The pattern of `workspace.protect` that means this path of the workspace; any byte is meant where one is no UTF-8.
#[must_use]
pub fn as_pattern(path: &Path) -> String {
    let mut pattern = String::from("/");
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '*' | '?' | '[' | ']' | '{' | '}' | '\\' => pattern.extend(['[', character, ']']),
                plain => pattern.push(plain),
            }
        }
        pattern.extend(chunk.invalid().iter().map(|_| '?'));
    }
    pattern
}
