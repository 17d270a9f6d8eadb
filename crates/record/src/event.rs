//! One decision or action. OCSF's class and activity follow from its kind, by one table.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::time::{milliseconds, rfc3339};

/// How much it matters (OCSF `severity_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Severity {
    /// A fact.
    Informational = 1,
    /// A refusal.
    Medium = 3,
    /// An incident.
    High = 4,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Event {
    kind: &'static str,
    severity: Severity,
    detail: Map<String, Value>,
}

/// Kind, class_uid, activity_id (OCSF 1.8.0).
const CLASSES: &[(&str, u32, u32)] = &[
    ("sandbox.start", 6002, 3),
    ("sandbox.end", 6002, 4),
    ("degraded", 6002, 99),
    ("exec.deny", 1007, 1),
    ("net.deny", 4001, 5),
    ("policy.error", 6008, 1),
    ("workspace.apply", 6003, 3),
    ("workspace.discard", 6003, 4),
    ("apply.refuse", 6003, 3),
    ("apply.flag", 6003, 3),
];

impl Event {
    /// An event of a known kind; `detail` is what is particular about it.
    #[must_use]
    pub fn new(kind: &'static str, severity: Severity, detail: Value) -> Self {
        let detail = match detail {
            Value::Object(detail) => detail,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Self { kind, severity, detail }
    }

    /// The line without its link to the line before.
    pub(crate) fn to_json(&self, run: &str, sequence: u64, now: SystemTime) -> Map<String, Value> {
        let (class, activity) = CLASSES
            .iter()
            .find(|(kind, ..)| *kind == self.kind)
            .map_or((0, 0), |(_, class, activity)| (*class, *activity));
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| {
            line.insert(name.to_owned(), value);
        };
        put("kind", json!(self.kind));
        put("seq", json!(sequence));
        put("when", json!(rfc3339(now)));
        put("time", json!(milliseconds(now)));
        put("run", json!(run));
        put("class_uid", json!(class));
        put("category_uid", json!(class / 1000));
        put("activity_id", json!(activity));
        put("type_uid", json!(class * 100 + activity));
        put("severity_id", json!(self.severity as u8));
        put("metadata", json!({ "version": "1.8.0", "product": { "name": "ringfence" }, "sequence": sequence, "correlation_uid": run }));
        put("detail", Value::Object(self.detail.clone()));
        line
    }
}
