//! What init and the task reported, as an exit status or an error that names the cause.

use ringfence_confine::Message;
use ringfence_leaks::Hit;
use ringfence_limits::Exceeded;
use ringfence_plan::{Invoker, Plan};
use ringfence_policy::Policy;
use ringfence_record::Report;
use ringfence_supervise::{Ended, Limiter};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::not_executed::{self, Told};
use crate::{leaks, terminal};

/// How it went.
pub(crate) struct Outcome {
    pub(crate) result: Result<u8, Failure>,
    pub(crate) signal: Option<i32>,
    /// Somebody asked for its end.
    pub(crate) stopped: bool,
    /// Nothing of the task's ran.
    pub(crate) idle: bool,
}

impl Outcome {
    pub(crate) fn new(result: Result<u8, Failure>, signal: Option<i32>) -> Self {
        Self { result, signal, stopped: false, idle: false }
    }
}

/// `rule`: by which the command was refused, where something looked at it.
pub(crate) fn judge(
    policy: &Policy,
    plan: &Plan,
    invoker: &Invoker,
    (ended, rule): (&Ended, Option<&str>),
) -> Outcome {
    const KILLED: u8 = 128 + 9;
    let failed = |failure| Outcome::new(Err(failure), None);
    for message in &ended.messages {
        if let Some(failure) = unexecuted(policy, plan, invoker, (message, rule)) {
            return Outcome { idle: true, ..failed(failure) };
        }
    }
    match ended.messages.last() {
        Some(Message::Exited { status, .. }) => {
            Outcome::new(Ok(u8::try_from(status & 0xff).unwrap_or(1)), None)
        }
        Some(Message::Signalled { signal, .. }) => {
            let status = u8::try_from(128 + (signal & 0x7f)).unwrap_or(255);
            Outcome::new(Ok(status), i32::try_from(*signal).ok())
        }
        _ if ended.blind => {
            let why = "the process that serves the sandbox's root was killed, and the sandbox with it: without it nothing is found";
            Outcome::new(Err(Failure::new(why).with_status(KILLED)), Some(9))
        }
        _ => Outcome::new(Ok(KILLED), Some(9)),
    }
}

/// Why a command does not run, if this says so.
pub(crate) fn unexecuted(
    policy: &Policy,
    plan: &Plan,
    invoker: &Invoker,
    (message, rule): (&Message, Option<&str>),
) -> Option<Failure> {
    match message {
        Message::Failed { stage, errno, .. } => Some(construction(plan, *stage, *errno)),
        Message::NotExecuted { errno, needs, unfit, .. } => {
            let told = Told { errno: *errno, needs: needs.as_deref(), unfit: *unfit, rule };
            Some(not_executed::why(policy, plan, invoker, &told))
        }
        _ => None,
    }
}

/// The status where a limit was reached.
pub(crate) const LIMITED: u8 = 137;

/// A limit that was reached is the cause, whatever became of the command then.
pub(crate) fn limited(
    outcome: Outcome,
    plan: &Plan,
    limiter: Option<&Limiter>,
    report: &mut Report,
) -> Outcome {
    const XFSZ: u8 = 128 + 25; // SIGXFSZ, or a shell that saw it
    let file = plan.limits.file_size.filter(|_| outcome.result.as_ref().is_ok_and(|status| *status == XFSZ));
    let exceeded = limiter.and_then(Limiter::exceeded).cloned().or_else(|| file.map(Exceeded::file_size));
    let Some(exceeded) = exceeded else { return outcome };
    report.limit = Some(exceeded.limit.into());
    Outcome { result: Err(Failure::new(exceeded.to_string()).with_status(LIMITED)), ..outcome }
}

/// A secret in the output is the cause, whatever became of the command then.
pub(crate) fn leaked(outcome: Outcome, hit: Option<&Hit>) -> Outcome {
    match hit {
        Some(hit) => Outcome { result: Err(leaks::ended(hit)), ..outcome },
        None => outcome,
    }
}

pub(crate) fn construction(plan: &Plan, stage: u32, errno: Errno) -> Failure {
    let mut what = ringfence_confine::stage(plan, stage);
    let entering = what.starts_with("changing to the working directory");
    if entering {
        what = format!("{what} {}", plan.directory.display());
    }
    let failure = Failure::new(format!("the boundary could not be built: {}: {errno}", what.trim()));
    if entering && errno == Errno::ACCESS {
        return failure
            .hint(format!("open it to yourself: `chmod u+rx {}`", terminal::path(&plan.directory)));
    }
    // What a command does when its own limits hold already.
    let own = ["entering", "installing", "passing"].iter().any(|word| what.starts_with(word));
    if let Some(most) = plan.limits.open_files.filter(|_| own && errno == Errno::MFILE) {
        return failure.hint(format!("`limits.open_files` = {most} is too few to start a command: raise it"));
    }
    let hint = match (what.split_whitespace().next(), errno) {
        (Some("proc"), Errno::PERM) => {
            "this host masks parts of /proc, as containers do, and the kernel then refuses a fresh one; run outside the \
             container or with an unmasked /proc"
        }
        (Some("overlay"), Errno::INVAL) => {
            "the state directory's file system cannot keep changes, as a container's own overlay cannot: put it on ext4, xfs, \
             btrfs or tmpfs (a volume) by RINGFENCE_STATE, or choose `workspace.mode = \"direct\"`, `\"read\"` or `\"temporary\"`"
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

/// What of the host is different, for a record.
pub(crate) fn degraded(plan: &Plan) -> Vec<ringfence_record::Degraded> {
    let one = |degraded: &ringfence_plan::Degraded| ringfence_record::Degraded {
        name: degraded.name.clone(),
        effect: degraded.effect.clone(),
    };
    plan.degraded.iter().map(one).collect()
}

/// As a policy writes it.
pub(crate) fn mode(plan: &Plan) -> String {
    serde_json::to_value(plan.mode)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
