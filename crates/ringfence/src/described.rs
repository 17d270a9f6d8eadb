//! A plan as records and reports tell of it.

use ringfence_plan::Plan;

/// Its command, made printable.
pub(crate) fn words(plan: &Plan) -> Vec<String> {
    plan.command.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// What is done another way.
pub(crate) fn degraded(plan: &Plan) -> Vec<ringfence_record::Degraded> {
    let one = |degraded: &ringfence_plan::Degraded| ringfence_record::Degraded {
        name: degraded.name.clone(),
        effect: degraded.effect.clone(),
    };
    plan.degraded.iter().map(one).collect()
}

/// How the task works on its workspace.
pub(crate) fn mode(plan: &Plan) -> String {
    serde_json::to_value(plan.mode)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
