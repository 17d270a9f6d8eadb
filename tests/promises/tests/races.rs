//! Starts that race with what they start (`race.c`): what is common to their tests.

use ringfence_promises::{Outcome, Place};

/// The program, in the workspace as `race`.
pub(crate) fn build(place: &Place) {
    place.write("race.c", include_str!("race.c"));
    let mut cc = std::process::Command::new("cc");
    cc.args(["-O1", "-pthread", "-o", "race", "race.c"]).current_dir(&place.workspace);
    assert!(cc.status().unwrap().success());
}

/// Rounds of each kind; `cargo xtask races` asks for more.
pub(crate) fn rounds() -> u32 {
    std::env::var("RINGFENCE_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

/// Nothing came through in so many rounds at least, of which some were caught and some, innocent ones, went on.
pub(crate) fn held(kind: &str, outcome: &Outcome, rounds: u32) {
    let last = outcome.out.lines().last().unwrap_or_default();
    println!("{kind}: {last}");
    assert!(outcome.status == 0 && !outcome.out.contains("through"), "{kind}: {outcome:?}");
    let went: Option<u32> = last.split_once(" rounds: ").and_then(|(count, _)| count.parse().ok());
    assert!(went.is_some_and(|went| went >= rounds), "{kind}: {outcome:?}");
    assert!(!last.contains(" 0 ran") && !last.contains(" 0 refused, 0 ended"), "{kind}: {last}");
}
