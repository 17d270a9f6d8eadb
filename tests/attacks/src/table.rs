//! The table as data: rows, premises and clauses, parsed from the tab separated file.

use crate::Broken;

const TABLE: &str = include_str!("../attacks.tsv");
const COLUMNS: usize = 12;

/// Parts of the product that a row may have to wait for; `run` is what must hold now.
pub(crate) const STAGES: [&str; 13] = [
    "run",
    "gateway",
    "void",
    "guard",
    "credentials",
    "limits",
    "live",
    "audit",
    "landlock",
    "apply",
    "checkpoint",
    "report",
    "terminal",
];

/// One attack.
#[derive(Clone, Debug)]
pub struct Row {
    /// It means something in tier `namespace` alone.
    pub(crate) only_namespace: bool,
    /// It means something in tier `landlock` alone.
    pub(crate) only_hosted: bool,
    /// Short name, such as `FR01`.
    pub id: String,
    /// Group, such as `file-read`.
    pub group: String,
    /// What is tried, in words.
    pub technique: String,
    /// What happens around the attempt.
    pub(crate) premise: Premise,
    /// A line of bash.
    pub(crate) attempt: String,
    /// What must hold afterwards.
    pub(crate) clauses: Vec<Clause>,
    /// The part of the product that must exist before the row can be judged.
    pub stage: String,
    /// Lines of TOML after the fixed beginning of the policy.
    pub(crate) policy: Vec<String>,
    /// Whether the attack is first shown to work without the boundary.
    pub(crate) control: Control,
    /// The boundary may refuse to start the attempt at all.
    pub(crate) may_refuse: bool,
    /// Why the row waits, or why it has no control run.
    pub why: String,
}

/// How a row is shown to work where nothing stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// It works for an ordinary user.
    Works,
    /// It works for uid 0 only, in a user namespace of its own.
    WorksForRoot,
    /// It is judged by the sandboxed run alone; `why` says why.
    Alone,
}

/// The second half of the column `policy_premise`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Premise {
    /// Host shell before the start.
    pub(crate) setup: Option<String>,
    /// Host shell in front of the call of ringfence.
    pub(crate) launch: Option<String>,
    /// Host shell while the attempt runs.
    pub(crate) during: Option<String>,
    /// Host shell after the attempt, before diff and apply.
    pub(crate) then: Option<String>,
    /// The attempt itself runs on the host.
    pub(crate) on_host: bool,
    /// The attempt runs on a terminal.
    pub(crate) on_pty: bool,
}

/// One thing that must hold.
#[derive(Clone, Debug)]
pub(crate) struct Clause {
    /// As written.
    pub(crate) text: String,
    /// The part of the product that the clause waits for, if it is not the row's.
    pub(crate) stage: Option<String>,
    /// It is judged in tier `namespace` alone.
    pub(crate) only_namespace: bool,
    /// What is checked.
    pub(crate) check: Check,
}

/// The kinds of clause.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    /// The output contains this.
    Shows(String),
    /// The output does not contain this.
    Hides(String),
    /// The exit status is this one.
    ExitIs(i32),
    /// The exit status is not 0.
    ExitNotZero,
    /// Any exit status.
    ExitAny,
    /// It ended within so many seconds.
    Within(f64),
    /// A host command succeeds afterwards.
    Host(String),
    /// A host command succeeds while the attempt runs.
    During(String),
    /// `ringfence diff` names this.
    Diff(String),
    /// `ringfence apply` is run: `Some(true)` must succeed, `Some(false)` must refuse.
    Apply(Option<bool>),
    /// The run's record has an event of this kind, with this text in it.
    Event(String, String),
    /// For the reader.
    Note,
}

/// All rows, in the order of the file.
///
/// # Errors
/// The line and what is wrong with it.
pub fn rows() -> Result<Vec<Row>, Broken> {
    TABLE
        .lines()
        .enumerate()
        .skip(1)
        .map(|(number, line)| row(line).map_err(|e| Broken(format!("attacks.tsv line {}: {e}", number + 1))))
        .collect()
}

fn row(line: &str) -> Result<Row, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [id, group, technique, _source, premise, attempt, expected, tier, stage, policy, control, why] =
        columns.as_slice()
    else {
        return Err(format!("{} columns instead of {COLUMNS}", columns.len()));
    };
    if !STAGES.contains(stage) {
        return Err(format!("no part is called `{stage}`"));
    }
    let mut words = control.split(' ');
    let shown = match words.next() {
        Some("works") => Control::Works,
        Some("works-for-root") => Control::WorksForRoot,
        Some("alone") => Control::Alone,
        _ => return Err(format!("control is `works`, `works-for-root` or `alone`, not `{control}`")),
    };
    if (*stage != "run" || shown == Control::Alone) && why.is_empty() {
        return Err("a row that waits, or has no control run, says why".to_owned());
    }
    Ok(Row {
        id: (*id).to_owned(),
        group: (*group).to_owned(),
        technique: (*technique).to_owned(),
        premise: parse_premise(premise)?,
        attempt: (*attempt).to_owned(),
        only_namespace: *tier == "namespace",
        only_hosted: *tier == "landlock",
        clauses: expected.split(" ;; ").map(clause).collect::<Result<_, _>>()?,
        stage: (*stage).to_owned(),
        policy: policy.split(" ;; ").filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        control: shown,
        may_refuse: words.any(|word| word == "may-refuse"),
        why: (*why).to_owned(),
    })
}

fn parse_premise(text: &str) -> Result<Premise, String> {
    let mut parts = text.split(" | ");
    let grants = parts.next().unwrap_or_default();
    let mut premise = Premise { on_pty: grants.contains("on a pty"), ..Premise::default() };
    for part in parts {
        let (key, value) = part.split_once(": ").ok_or_else(|| format!("no key in `{part}`"))?;
        let value = value.to_owned();
        match key {
            "setup" => premise.setup = Some(value),
            "launch" => premise.launch = Some(value),
            "during" => premise.during = Some(value),
            "then" => premise.then = Some(value),
            "run-on" => premise.on_host = true,
            "note" => {}
            _ => return Err(format!("`{key}` is no part of a premise")),
        }
    }
    Ok(premise)
}

fn clause(text: &str) -> Result<Clause, String> {
    let (stage, body) = match text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((stage, body)) => (Some(stage.to_owned()), body),
        None => (None, text),
    };
    if let Some(stage) = &stage
        && !STAGES.contains(&stage.as_str())
    {
        return Err(format!("no part is called `{stage}`"));
    }
    let (kind, value) = body.split_once(':').ok_or_else(|| format!("no kind in clause `{body}`"))?;
    let (kind, only_namespace) = match kind.split_once('@') {
        Some((kind, "namespace")) => (kind, true),
        Some(_) => return Err(format!("`{kind}` is no kind of clause")),
        None => (kind, false),
    };
    let owned = value.to_owned();
    let check = match kind {
        "out" => Check::Shows(owned),
        "out!" => Check::Hides(owned),
        "host" => Check::Host(owned),
        "during" => Check::During(owned),
        "diff" => Check::Diff(owned),
        "note" => Check::Note,
        "event" => {
            let (kind, text) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
            Check::Event(kind.to_owned(), text.to_owned())
        }
        "within" => Check::Within(value.parse().map_err(|_| format!("seconds: `{value}`"))?),
        "exit" => match value {
            "any" => Check::ExitAny,
            "nz" => Check::ExitNotZero,
            number => Check::ExitIs(number.parse().map_err(|_| format!("exit status: `{value}`"))?),
        },
        "apply" => Check::Apply(match value {
            "ok" => Some(true),
            "refused" => Some(false),
            "any" => None,
            _ => return Err(format!("apply is ok, refused or any, not `{value}`")),
        }),
        _ => return Err(format!("`{kind}` is no kind of clause")),
    };
    Ok(Clause { text: text.to_owned(), stage, only_namespace, check })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_parses_and_has_its_own_id() {
        let rows = rows().unwrap();
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids.len(), rows.len());
        assert!(rows.len() >= 301);
    }

    #[test]
    fn a_row_that_must_hold_now_has_something_to_judge() {
        for row in rows().unwrap().iter().filter(|row| row.stage == "run") {
            assert!(
                row.clauses
                    .iter()
                    .any(|c| c.stage.is_none() && !matches!(c.check, Check::Note | Check::ExitAny)),
                "{} has no clause to judge",
                row.id
            );
        }
    }

    #[test]
    fn bad_clauses_are_named() {
        assert!(clause("outt:x").is_err());
        assert!(clause("exit:x").is_err());
        assert!(clause("[nowhere] host:true").is_err());
        let event = clause("event@namespace:file.deny @OUT@/x").unwrap();
        assert!(matches!(event.check, Check::Event(kind, text) if kind == "file.deny" && text == "@OUT@/x"));
    }
}
