//! What init and the task reported, as an exit status or an error that names the cause.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringfence_confine::Message;
use ringfence_limits::Exceeded;
use ringfence_plan::{Invoker, Plan, Right};
use ringfence_record::Report;
use ringfence_supervise::{Ended, Limiter};
use rustix::io::Errno;

use crate::failure::Failure;

/// How it went.
pub(crate) struct Outcome {
    pub(crate) result: Result<u8, Failure>,
    pub(crate) signal: Option<i32>,
}

pub(crate) fn judge(plan: &Plan, invoker: &Invoker, ended: &Ended) -> Outcome {
    let failed = |failure| Outcome { result: Err(failure), signal: None };
    for message in &ended.messages {
        match message {
            Message::Failed { stage, errno, .. } => return failed(construction(plan, *stage, *errno)),
            Message::NotExecuted { errno, .. } => return failed(not_executed(plan, invoker, *errno)),
            _ => {}
        }
    }
    match ended.messages.last() {
        Some(Message::Exited { status, .. }) => {
            Outcome { result: Ok(u8::try_from(status & 0xff).unwrap_or(1)), signal: None }
        }
        Some(Message::Signalled { signal, .. }) => Outcome {
            result: Ok(u8::try_from(128 + (signal & 0x7f)).unwrap_or(255)),
            signal: i32::try_from(*signal).ok(),
        },
        _ => Outcome { result: Ok(137), signal: Some(9) },
    }
}

/// A limit that was reached is the cause, whatever became of the command then.
pub(crate) fn limited(
    outcome: Outcome,
    plan: &Plan,
    limiter: Option<&Limiter>,
    report: &mut Report,
) -> Outcome {
    const LIMITED: u8 = 137;
    const XFSZ: u8 = 128 + 25; // SIGXFSZ, or a shell that saw it
    let file = plan.limits.file_size.filter(|_| outcome.result.as_ref().is_ok_and(|status| *status == XFSZ));
    let exceeded = limiter.and_then(Limiter::exceeded).cloned().or_else(|| file.map(Exceeded::file_size));
    let Some(exceeded) = exceeded else { return outcome };
    report.limit = Some(exceeded.limit.into());
    Outcome { result: Err(Failure::new(exceeded.to_string()).with_status(LIMITED)), ..outcome }
}

fn construction(plan: &Plan, stage: u32, errno: Errno) -> Failure {
    let what = ringfence_confine::stage(plan, stage);
    let failure = Failure::new(format!("the boundary could not be built: {}: {errno}", what.trim()));
    let hint = match (what.split_whitespace().next(), errno) {
        (Some("proc"), Errno::PERM) => {
            "this host masks parts of /proc, as containers do, and the kernel then refuses a fresh one; run outside the \
             container or with an unmasked /proc (tier `landlock`, which needs none, is not built yet)"
        }
        (Some("overlay"), _) => "choose `workspace.mode = \"direct\"`, `\"read\"` or `\"temporary\"`",
        (Some("opening"), Errno::STALE) => {
            "it was exchanged for another file while the sandbox was set up; run again"
        }
        (Some("installing"), Errno::BUSY) => {
            "a filter of this process already has a listener, as inside another sandbox; run outside of it"
        }
        (Some("opening"), Errno::INVAL) => {
            "file systems are mounted below it, which copy-on-write cannot show; use mode `direct`"
        }
        _ => return failure,
    };
    failure.hint(hint)
}

/// Whether a rule makes the path executable already.
fn granted(plan: &Plan, path: &Path) -> bool {
    let rules = plan.landlock.iter().flat_map(|landlock| &landlock.rules);
    rules.filter(|(right, _)| *right == Right::Execute).any(|(_, tree)| path.starts_with(tree))
}

fn not_executed(plan: &Plan, invoker: &Invoker, errno: Errno) -> Failure {
    let name = plan.command.first().cloned().unwrap_or_default();
    let shown = name.to_string_lossy().into_owned();
    let on_host = host_path(&name, invoker);
    match errno {
        Errno::NOENT | Errno::NOTDIR => {
            let failure = Failure::new(format!("{shown}: command not found")).with_status(Failure::NOT_FOUND);
            match on_host {
                Some(path) if path.exists() && granted(plan, &path) => failure.hint(format!(
                    "{} is granted, but the interpreter or loader it names is not visible: `extends = [\"default\"]` grants \
                     the usual ones, and $PATH inside must lead to it",
                    path.display()
                )),
                Some(path) if path.exists() => failure
                    .hint(format!(
                        "{} exists on this host, but no rule makes it or its interpreter visible",
                        path.display()
                    ))
                    .hint(format!(
                        "to allow it: files.exec = [\"{}\"]",
                        path.parent().unwrap_or(Path::new("/")).display()
                    )),
                _ => failure,
            }
        }
        Errno::NOEXEC => {
            Failure::new(format!("{shown}: not a program of this machine, and without `#!` no script"))
                .with_status(Failure::REFUSED)
                .hint("name its interpreter, as in `ringfence run -- sh SCRIPT`")
        }
        Errno::ACCESS | Errno::PERM | Errno::ISDIR => {
            let directory = on_host.as_ref().is_some_and(|path| path.is_dir());
            let failure = if directory {
                format!("{shown}: is a directory")
            } else {
                format!("{shown}: may not be executed")
            };
            let failure = Failure::new(failure).with_status(Failure::REFUSED);
            if directory {
                failure
            } else {
                failure.hint("it lacks the execute permission, or no rule of `files.exec`, `commands.allow` or `from_workspace` covers it")
            }
        }
        other => Failure::new(format!("{shown}: {other}")).with_status(Failure::REFUSED),
    }
}

/// Where the invoker would have found the command.
fn host_path(name: &std::ffi::OsStr, invoker: &Invoker) -> Option<std::path::PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(invoker.cwd.join(name));
    }
    let path = invoker.variables.get(std::ffi::OsStr::new("PATH"))?;
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|path| path.is_file())
}
