//! What is written down of a run when it starts: its record, its first event, and what its report says of it.

use ringfence_plan::{Plan, VOID};
use ringfence_record::{Event, Identity, Process, Report, RunRecord, Source, Status, Timestamp};

use crate::layers::Fate;
use crate::run::Run;
use crate::{clock, layers, masks, outcome, terminal};

impl Run {
    pub(crate) fn describe(&self, plan: &Plan, report: &mut Report) {
        report.run = Some(self.directory.id().to_owned());
        report.tier = Some(plan.tier.to_owned());
        report.degraded = outcome::degraded(plan);
        report.mode = Some(outcome::mode(plan));
        // It keeps the boundary as it is: told at the end, where somebody waits for that.
        let later = plan.hosted.is_some() || self.name.is_none();
        for degraded in plan.degraded.iter().filter(|degraded| degraded.name != VOID || !later) {
            terminal::error(&format!("{} {}", terminal::label("note:"), degraded.effect));
        }
    }

    pub(crate) fn record(&self, plan: &Plan, started: clock::Instant) -> RunRecord {
        RunRecord {
            id: self.directory.id().to_owned(),
            name: self.name.clone(),
            started: Timestamp::now(),
            command: words(plan),
            identity: self.identity(),
            workspace: plan.workspace.clone(),
            mode: outcome::mode(plan),
            layers: layers::describe(plan, started),
            output: crate::leaks::describe(self.policy, &self.invoker),
            most_output: plan.limits.output,
            denied: crate::leaks::remembered(self.policy, &plan.denied),
            keep: self.fate == Fate::Keep,
            status: Status::Running,
            supervisor: Process::own(),
            head: None,
        }
    }

    /// Who is running, as the policy says.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.policy.identity.as_ref().map(|rule| Identity {
            name: match &rule.value {
                ringfence_policy::Identity::Name(name) | ringfence_policy::Identity::Spiffe(name) => {
                    name.clone()
                }
            },
            asserted_by: "policy".into(),
        })
    }

    pub(crate) fn start_event(&self, plan: &Plan) -> Event {
        Event::SandboxStart {
            policy: self.policy.hash.clone(),
            sources: self.policy.sources.iter().map(|name| named_source(name)).collect(),
            tier: plan.tier.to_owned(),
            command: words(plan),
            workspace: plan.workspace.display().to_string(),
            mode: outcome::mode(plan),
            degraded: outcome::degraded(plan),
            network: plan.network.is_some(),
        }
    }
}

/// The command, without what looks like a secret.
pub(crate) fn words(plan: &Plan) -> Vec<String> {
    let words: Vec<_> = plan.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    masks::masked(&words)
}

fn named_source(name: &str) -> Source {
    Source { name: name.to_owned(), sha256: String::new() }
}
