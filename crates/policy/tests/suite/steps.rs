//! Steps: additions that count only when they are asked for, and must be right always.

use super::support::{bad, good};

#[test]
fn a_step_that_is_not_asked_for_changes_nothing_and_is_checked_all_the_same() {
    let policy =
        good("[step.fetch.network]\nallow = [\"a.example.org\"]\n[step.fetch.limits]\ntime = \"1m\"\n");
    assert!(policy.network.allow.is_empty() && policy.limits.time.is_none());
    for (text, why) in [
        ("[step.fetch.network]\nallow = [\"*\"]", "a star stands only"),
        ("[step.fetch.files]\nread = [\"/nonsense/**\"]", "read"),
        ("[step.fetch.network]\npublish = [0]", "not a port"),
        ("[step.\"a b\".network]\nallow = []", "is not the name of a step"),
        ("[step.fetch.environment]\npass = [\"A=B\"]", "A=B"),
    ] {
        let found = bad(text);
        assert!(found.contains(why), "{text}\n{found}");
    }
}
