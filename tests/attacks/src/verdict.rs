//! What became of a row, as it travels from a world to the summary.

use serde::Deserialize;
use serde::Serialize;

/// The end of one row in one world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Every clause that can be judged now holds. In the control world: nothing got through unconfined.
    Held,
    /// A clause failed. In the control world: the attack works, as it should.
    Through,
    /// The row could not be judged, which counts as failed.
    NotJudged,
}

/// One row's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The row.
    pub(crate) id: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// The clauses that failed, or why it could not be judged.
    pub(crate) why: Vec<String>,
    /// The clauses that wait for a later part.
    pub(crate) waiting: Vec<String>,
    /// What the attempt printed.
    pub(crate) output: String,
    /// How long it took.
    pub(crate) seconds: f64,
}
