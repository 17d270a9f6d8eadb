//! `[leaks]`: put together, and finished.

use crate::diagnostic::Report;
use crate::document::LeaksTable;
use crate::merge::{Merged, rule};
use crate::model::{LeakRules, Leaks, Rule};

impl Merged {
    /// What restricts is only tightened: a scan is not taken back, nor is a stricter action.
    pub(crate) fn add_leaks(&mut self, leaks: &LeaksTable) {
        for word in leaks.scan.iter().flat_map(|list| &list.value) {
            self.leaks.entry(word.value.clone()).or_insert_with(|| word.with(()));
        }
        if let Some(written) = &leaks.action
            && let Some(action) = Leaks::named(&written.value)
            && self.leaks_action.as_ref().is_none_or(|at| at.value < action)
        {
            self.leaks_action = Some(written.with(action));
        }
    }

    pub(crate) fn finish_leaks(&self, report: &Report) -> LeakRules {
        let action = self.leaks_action.as_ref().map_or(Leaks::Block, |at| at.value);
        let of = |word: &str| -> Option<Rule<Leaks>> {
            self.leaks.get(word).map(|at| rule(&at.with(action), report))
        };
        LeakRules { egress: of("egress"), workspace: of("workspace"), output: of("output") }
    }
}
