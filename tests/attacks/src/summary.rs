//! Adds up the reports: a table by group for a reader, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::pool::Who;
use crate::pool::control;
use crate::table::Control;
use crate::table::Row;
use crate::verdict::Report;
use crate::verdict::Verdict;

/// What became of the chosen rows.
#[derive(Debug)]
pub struct Summary {
    rows: Vec<Row>,
    who: Vec<Who>,
    reports: BTreeMap<(Who, String), Report>,
    /// Rows that wait for a later part were asked for by id.
    all_stages: bool,
    control_all: bool,
    /// Control runs were asked for.
    pub(crate) controlled: bool,
}

/// The state of one row for one launching user.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Held,
    Through(Vec<String>),
    NotJudged(Vec<String>),
    Later,
}

#[derive(Default)]
struct Counts {
    held: usize,
    through: usize,
    not_judged: usize,
    later: usize,
}

impl Summary {
    pub(crate) fn new(
        rows: Vec<Row>,
        who: Vec<Who>,
        reports: BTreeMap<(Who, String), Report>,
        all_stages: bool,
        control_all: bool,
    ) -> Self {
        Self { rows, who, reports, all_stages, control_all, controlled: true }
    }

    /// Rows that held, summed over the launching users; of the control runs alone, those that worked.
    #[must_use]
    pub fn passed(&self) -> usize {
        if self.who.is_empty() {
            return self.rows.iter().filter(|row| self.counted_control(row) == Some(true)).count();
        }
        self.who.iter().map(|who| self.counts(*who, None).held).sum()
    }

    /// Rows that got through or could not be judged.
    #[must_use]
    pub fn failed(&self) -> usize {
        if self.who.is_empty() {
            return self.rows.iter().filter(|row| self.counted_control(row) == Some(false)).count();
        }
        self.who
            .iter()
            .map(|who| {
                let counts = self.counts(*who, None);
                counts.through + counts.not_judged
            })
            .sum()
    }

    /// Whether the control run of a row showed that the attack works; `None` where the data asks for no such run.
    fn counted_control(&self, row: &Row) -> Option<bool> {
        let who = if self.waits(row) || !self.controlled { None } else { control(row, false) }?;
        Some(
            self.reports.get(&(who, row.id.clone())).is_some_and(|report| report.verdict == Verdict::Through),
        )
    }

    fn waits(&self, row: &Row) -> bool {
        row.stage != "run" && !self.all_stages
    }

    fn state(&self, who: Who, row: &Row) -> State {
        if self.waits(row) {
            return State::Later;
        }
        let Some(report) = self.reports.get(&(who, row.id.clone())) else {
            return State::NotJudged(vec!["it was not run".to_owned()]);
        };
        match report.verdict {
            Verdict::Through => State::Through(report.why.clone()),
            Verdict::NotJudged => State::NotJudged(report.why.clone()),
            Verdict::Held if self.counted_control(row) == Some(false) => {
                State::NotJudged(vec!["the attack did not work without the boundary either".to_owned()])
            }
            Verdict::Held => State::Held,
        }
    }

    fn counts(&self, who: Who, group: Option<&str>) -> Counts {
        let mut counts = Counts::default();
        for row in self.rows.iter().filter(|row| group.is_none_or(|group| row.group == group)) {
            match self.state(who, row) {
                State::Held => counts.held += 1,
                State::Through(_) => counts.through += 1,
                State::NotJudged(_) => counts.not_judged += 1,
                State::Later => counts.later += 1,
            }
        }
        counts
    }

    fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !groups.contains(&row.group.as_str()) {
                groups.push(&row.group);
            }
        }
        groups
    }

    /// The table by group, then each row that did not hold and why.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        write!(text, "{:<12} {:>5} {:>6} {:>6} {:>6}", "group", "rows", "later", "works", "alone").ok();
        for who in &self.who {
            write!(text, " | {:>4}: {:>5} {:>8} {:>11}", who.name(), "held", "through", "not judged").ok();
        }
        text.push('\n');
        for group in self.groups().into_iter().map(Some).chain([None]) {
            self.line(&mut text, group);
        }
        for row in &self.rows {
            if self.who.is_empty() && self.counted_control(row) == Some(false) {
                writeln!(text, "{} {}: did not work unconfined", row.id, row.technique).ok();
            }
            for who in &self.who {
                let (word, why) = match self.state(*who, row) {
                    State::Through(why) => ("GOT THROUGH", why),
                    State::NotJudged(why) => ("NOT JUDGED", why),
                    State::Held | State::Later => continue,
                };
                writeln!(text, "{word} {} as {}: {}", row.id, who.name(), row.technique).ok();
                for line in why {
                    writeln!(text, "    {}", line.escape_debug()).ok();
                }
            }
        }
        if self.control_all {
            self.surprises(&mut text);
        }
        text
    }

    fn line(&self, text: &mut String, group: Option<&str>) {
        let chosen: Vec<&Row> =
            self.rows.iter().filter(|row| group.is_none_or(|group| row.group == group)).collect();
        let later = chosen.iter().filter(|row| self.waits(row)).count();
        let works = chosen.iter().filter(|row| self.counted_control(row) == Some(true)).count();
        let alone = chosen.iter().filter(|row| !self.waits(row) && control(row, false).is_none()).count();
        let name = group.unwrap_or("all");
        write!(text, "{name:<12} {:>5} {later:>6} {works:>6} {alone:>6}", chosen.len()).ok();
        for who in &self.who {
            let counts = self.counts(*who, group);
            let (held, through, not_judged) = (counts.held, counts.through, counts.not_judged);
            write!(text, " | {:>4}  {held:>5} {through:>8} {not_judged:>11}", "").ok();
        }
        text.push('\n');
    }

    /// Rows that the data judges without a control run, although one would have worked here.
    fn surprises(&self, text: &mut String) {
        for row in self.rows.iter().filter(|row| row.control == Control::Alone) {
            let report = control(row, true).and_then(|who| self.reports.get(&(who, row.id.clone())));
            if report.is_some_and(|report| report.verdict == Verdict::Through) {
                writeln!(text, "{}: works unconfined here, the data says `alone`", row.id).ok();
            }
        }
    }

    /// What each run of each row printed, for `--id`.
    #[must_use]
    pub fn verbose(&self) -> String {
        let mut text = String::new();
        for ((who, id), report) in &self.reports {
            writeln!(text, "== {id} as {} ({:.1} s): {:?}", who.name(), report.seconds, report.verdict).ok();
            for line in &report.why {
                writeln!(text, "   {}", line.escape_debug()).ok();
            }
            for line in &report.waiting {
                writeln!(text, "   waits for {line}").ok();
            }
            for line in report.output.lines() {
                writeln!(text, "   > {}", line.escape_debug()).ok();
            }
        }
        text
    }

    /// The same for programs: one object with a list of rows.
    #[must_use]
    pub fn json(&self) -> String {
        let rows: Vec<serde_json::Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        serde_json::json!({ "passed": self.passed(), "failed": self.failed(), "rows": rows }).to_string()
    }

    fn row_json(&self, row: &Row) -> serde_json::Value {
        let mut results = serde_json::Map::new();
        for who in &self.who {
            let (state, why) = match self.state(*who, row) {
                State::Held => ("held", Vec::new()),
                State::Through(why) => ("through", why),
                State::NotJudged(why) => ("not-judged", why),
                State::Later => ("later", Vec::new()),
            };
            let seconds = self.reports.get(&(*who, row.id.clone())).map(|report| report.seconds);
            results.insert(
                who.name().to_owned(),
                serde_json::json!({ "state": state, "why": why, "seconds": seconds }),
            );
        }
        let control_seconds = control(row, false)
            .and_then(|who| self.reports.get(&(who, row.id.clone())))
            .map(|report| report.seconds);
        serde_json::json!({
            "id": row.id, "group": row.group, "technique": row.technique, "stage": row.stage, "why": row.why,
            "works_unconfined": self.counted_control(row), "control_seconds": control_seconds, "results": results,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: &str, verdict: Verdict) -> Report {
        Report {
            id: id.to_owned(),
            verdict,
            why: Vec::new(),
            waiting: Vec::new(),
            output: String::new(),
            seconds: 0.0,
        }
    }

    fn summary(control: Verdict, user: Option<Verdict>) -> Summary {
        let rows: Vec<Row> =
            crate::table::rows().unwrap().into_iter().filter(|row| row.id == "FR01").collect();
        let mut reports = BTreeMap::new();
        reports.insert((Who::Control, "FR01".to_owned()), report("FR01", control));
        if let Some(verdict) = user {
            reports.insert((Who::User, "FR01".to_owned()), report("FR01", verdict));
        }
        Summary::new(rows, vec![Who::User], reports, false, false)
    }

    #[test]
    fn a_refusal_counts_only_if_the_attack_works_unconfined() {
        assert_eq!(summary(Verdict::Through, Some(Verdict::Held)).passed(), 1);
        assert_eq!(summary(Verdict::Held, Some(Verdict::Held)).passed(), 0);
        assert_eq!(summary(Verdict::Held, Some(Verdict::Held)).failed(), 1);
    }

    #[test]
    fn a_row_that_was_not_run_or_not_judged_counts_as_failed() {
        assert_eq!(summary(Verdict::Through, None).failed(), 1);
        assert_eq!(summary(Verdict::Through, Some(Verdict::NotJudged)).failed(), 1);
        assert_eq!(summary(Verdict::Through, Some(Verdict::Through)).failed(), 1);
    }
}
