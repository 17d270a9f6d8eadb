//! Why a command did not start, looked for on the host: the kernel's ENOENT and EACCES name no cause.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use ringfence_confine::Unfit;
use ringfence_plan::{Invoker, Plan, Right};
use ringfence_policy::{Judge, Policy};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::terminal;

/// What init and the task's process said of a command that did not start.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) errno: Errno,
    /// The interpreter or loader that the command's file names, as far as the task could see it.
    pub(crate) needs: Option<&'a Path>,
    pub(crate) unfit: Option<Unfit>,
    /// By which it was refused, where something looked at its start.
    pub(crate) rule: Option<&'a str>,
}

/// What keeps it from starting whatever the policy is: its name, or its file.
pub(crate) fn by_itself(name: &OsStr, told: &Told<'_>) -> Option<Failure> {
    if name.is_empty() {
        let failure = Failure::new("command not found: its name is empty");
        return Some(failure.with_status(Failure::NOT_FOUND));
    }
    let shown = name.to_string_lossy();
    let refused = |why: &str| Failure::new(format!("{shown}: {why}")).with_status(Failure::REFUSED);
    if told.errno == Errno::NOEXEC {
        let failure = refused("not a program of this machine, and without `#!` no script");
        return Some(failure.hint("name its interpreter, as in `sh SCRIPT`"));
    }
    // To the kernel it is a letter of the interpreter's name.
    if told.needs.is_some_and(|needs| needs.as_os_str().as_bytes().ends_with(b"\r")) {
        let missing = told.errno == Errno::NOENT;
        let failure =
            refused("its first line ends with a carriage return, so that its interpreter is not found")
                .with_status(if missing { Failure::NOT_FOUND } else { Failure::REFUSED });
        return Some(failure.hint(format!("convert it: `sed -i 's/\\r$//' {}`", terminal::word(&shown))));
    }
    Some(match told.unfit? {
        Unfit::Directory => refused("is a directory"),
        Unfit::NotRegular => refused("is no regular file, and nothing else can be executed"),
        Unfit::NoPermission => {
            refused("may not be executed").hint("it lacks the execute permission: chmod +x")
        }
    })
}

/// The same, and what the policy has to do with it.
pub(crate) fn why(policy: &Policy, plan: &Plan, invoker: &Invoker, told: &Told<'_>) -> Failure {
    let name = plan.command.first().cloned().unwrap_or_default();
    if let Some(failure) = by_itself(&name, told) {
        return failure;
    }
    let shown = name.to_string_lossy().into_owned();
    let on_host = host_path(&name, plan, invoker);
    // The copy of a workspace may be gone with the task.
    let on_host = on_host.map(|path| if path.exists() { path } else { in_workspace(plan, path) });
    let on_host = on_host.filter(|path| path.exists());
    match told.errno {
        Errno::NOENT | Errno::NOTDIR => {
            let failure = Failure::new(format!("{shown}: command not found")).with_status(Failure::NOT_FOUND);
            match on_host {
                Some(path) => not_found(failure, policy, plan, (&name, &path), told.needs),
                None if shown.contains(char::is_whitespace) => failure.hint(
                    "a command is its words, an argument each; this one is a single word, and no shell splits it",
                ),
                None => failure,
            }
        }
        Errno::ACCESS | Errno::PERM | Errno::ISDIR => match on_host {
            Some(path) if path.is_dir() => {
                Failure::new(format!("{shown}: is a directory")).with_status(Failure::REFUSED)
            }
            path => {
                let failure = Failure::new(format!("{shown}: may not be executed"));
                let failure = failure.with_status(Failure::REFUSED);
                match path.as_deref().zip(told.needs) {
                    Some((path, needs)) if granted(plan, path) && !granted(plan, needs) && needs.exists() => {
                        if policy.commands.is_some() {
                            return failure.hint(unlisted(plan, needs));
                        }
                        let text = format!(
                            "{} needs {}, which no rule of `files.exec` covers",
                            path.display(),
                            needs.display()
                        );
                        failure.hint(text).hint(usual(needs))
                    }
                    _ => failure.hint(forbidden(policy, plan, (&name, path.as_deref()), told)),
                }
            }
        },
        other => Failure::new(format!("{shown}: {other}")).with_status(Failure::REFUSED),
    }
}

/// What is not listed with its interpreter. Its first line is the workspace's, and not this process's to read.
fn unlisted(plan: &Plan, needs: &Path) -> String {
    let line = ringfence_policy::command_line(plan.command.iter().map(|word| word.to_string_lossy()));
    format!(
        "`[commands]` does not let {} run it; `ringfence explain --command {}`, asked with the same policy, says which entry would",
        needs.display(),
        terminal::word(&line)
    )
}

/// The grant that is missing.
fn to_allow(path: &Path) -> String {
    let directory = path.parent().unwrap_or(Path::new("/"));
    format!("{TO_ALLOW}files.exec = [\"{}\"]", directory.display())
}

/// The same for an interpreter or a loader.
fn usual(needs: &Path) -> String {
    format!("{}, or extends = [\"default\"]", to_allow(needs))
}

/// Before lines of policy in a hint.
const TO_ALLOW: &str = "to allow it: ";

/// A failed start as a record tells it: the cause, and the lines of policy that would allow it.
pub(crate) fn recorded(failure: &Failure) -> (String, Vec<String>) {
    let (mut rule, mut remedy) = (failure.text().to_owned(), Vec::new());
    for hint in failure.hints() {
        let (cause, lines) = hint.split_once(TO_ALLOW).unwrap_or((hint, ""));
        let cause = cause.trim_end_matches("; ");
        if !cause.is_empty() {
            rule.push_str("; ");
            rule.push_str(cause);
        }
        remedy.extend(lines.split(", or ").next().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    (rule, remedy)
}

fn not_found(
    failure: Failure,
    policy: &Policy,
    plan: &Plan,
    (name, path): (&OsStr, &Path),
    needs: Option<&Path>,
) -> Failure {
    if !granted(plan, path) {
        if let Some(above) = plan.workspace.parent().filter(|_| goes_up(path))
            && path
                .canonicalize()
                .is_ok_and(|real| real.starts_with(above) && !real.starts_with(&plan.workspace))
        {
            let text = format!("it lies outside of the workspace {}", plan.workspace.display());
            return failure.hint(text).hint("`--workspace DIR` takes a directory that holds it");
        }
        let text = format!("{} exists on this host, but no rule makes it visible", path.display());
        return failure.hint(text).hint(to_allow(path));
    }
    if !name.as_bytes().contains(&b'/') && !searched(plan).any(|directory| directory.join(name).exists()) {
        let origin = policy.environment.set.get("PATH").map(|rule| format!(" ({})", rule.origin));
        return failure.hint(format!(
            "it is {}, but $PATH inside does not lead there: {}{}",
            path.display(),
            plan.environment.get(OsStr::new("PATH")).map(|path| path.to_string_lossy()).unwrap_or_default(),
            origin.unwrap_or_default()
        ));
    }
    match needs {
        Some(interpreter) if !interpreter.exists() => failure.hint(format!(
            "{} names the interpreter {}, which does not exist on this host",
            path.display(),
            interpreter.display()
        )),
        Some(interpreter) if !granted(plan, interpreter) => {
            let text = format!("{} needs {}, which no rule makes visible", path.display(), interpreter.display());
            failure.hint(text).hint(usual(interpreter))
        }
        _ => failure.hint(format!(
            "{} is granted, but something it needs is not visible: `extends = [\"default\"]` grants the usual",
            path.display()
        )),
    }
}

/// The one reason why a file that is there may not be executed.
fn forbidden(policy: &Policy, plan: &Plan, (name, path): (&OsStr, Option<&Path>), told: &Told<'_>) -> String {
    let executable =
        |path: &Path| path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    let own = path.is_some_and(|path| path.starts_with(&plan.workspace) || path.starts_with(plan.inside()));
    // The key alone lets no script start whose interpreter is not listed.
    let script = told.needs.filter(|needs| policy.commands.is_some() && !granted(plan, needs));
    if let Some(rule) = told.rule.filter(|_| path.is_none_or(executable)) {
        // What judged it knows the file behind links, and `explain` tells the same.
        return rule.to_owned();
    }
    match (path, &policy.commands) {
        (Some(path), _) if !executable(path) => "it lacks the execute permission: chmod +x".into(),
        _ if own && !policy.from_workspace && script.is_some() => format!(
            "it lies in the workspace, of which nothing starts without `commands.from_workspace`; and {}",
            unlisted(plan, script.unwrap_or(Path::new("")))
        ),
        _ if own && !policy.from_workspace => {
            "it lies in the workspace; to allow it: commands.from_workspace = true".into()
        }
        (path, commands) => {
            let path = path.map(|path| in_workspace(plan, path.to_owned()));
            let line = path.as_deref().map_or(name.to_string_lossy(), |path| path.to_string_lossy());
            let arguments = plan.command.iter().skip(1).map(|word| word.to_string_lossy());
            let line = ringfence_policy::command_line(std::iter::once(line).chain(arguments));
            let decision = Judge::new(policy, &plan.workspace).run(&line);
            if !decision.is_allow() {
                return decision.reason().to_string();
            }
            match plan.guard.is_some() || commands.is_some() {
                true => "a rule of `commands` refuses what it leads to: `ringfence explain` says which, and what would allow it",
                false => "no rule of `files.exec` covers it",
            }
            .to_owned()
        }
    }
}

/// Whether no search path leads to the command.
pub(crate) fn nowhere(plan: &Plan) -> bool {
    let Some(name) = plan.command.first() else { return true };
    let there = |directory: PathBuf| directory.join(name).exists();
    if name.as_bytes().contains(&b'/') { !there(plan.directory.clone()) } else { !searched(plan).any(there) }
}

/// Whether a rule makes the path executable.
fn granted(plan: &Plan, path: &Path) -> bool {
    let rules = plan.landlock.iter().flat_map(|landlock| &landlock.rules);
    let real = path.canonicalize().unwrap_or(path.to_path_buf());
    let inside =
        path.strip_prefix(&plan.workspace).map_or(path.to_path_buf(), |below| plan.inside().join(below));
    rules
        .filter(|(right, _)| *right == Right::Execute)
        .any(|(_, tree)| real.starts_with(tree) || !goes_up(path) && inside.starts_with(tree))
}

/// By its letters such a path is below where it is not.
fn goes_up(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

/// What lies in the copy of the workspace, by the name that the policy has for it.
fn in_workspace(plan: &Plan, path: PathBuf) -> PathBuf {
    let below = path.strip_prefix(plan.inside()).ok().map(|below| plan.workspace.join(below));
    below.unwrap_or(path)
}

/// The directories of $PATH inside.
fn searched(plan: &Plan) -> impl Iterator<Item = PathBuf> {
    let path = plan.environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// Where the command is on the host: where it was named, or found by the search path inside or the invoker's.
fn host_path(name: &OsStr, plan: &Plan, invoker: &Invoker) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(plan.directory.join(name));
    }
    let outside = invoker.variables.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let outside = std::env::split_paths(&outside).collect::<Vec<_>>();
    searched(plan).chain(outside).map(|directory| directory.join(name)).find(|path| path.is_file())
}
