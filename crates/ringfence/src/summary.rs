//! What an owner is told when a sandbox has ended: one line each, and only where there is something to say.

use std::collections::BTreeSet;

use crate::layers::Settled;
use crate::terminal;

/// Things that were refused, secrets that were masked or let through, and changes that wait.
pub(crate) fn say(run: &str, refused: u64, passed: u64, changes: Settled) {
    let many =
        |count: u64, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let told = [(refused, "thing", "refused"), (passed, "secret", "masked or let through")];
    for (count, what, happened) in told.into_iter().filter(|(count, ..)| *count > 0) {
        let text = format!("{} {happened}: `ringfence explain {run}`", many(count, what));
        terminal::error(&format!("{} {text}", terminal::label("run:")));
    }
    let waiting = match changes {
        Settled::None | Settled::Changes(0) => None,
        Settled::Changes(1) => Some("1 change waits".into()),
        Settled::Changes(count) => Some(format!("{count} changes wait")),
        Settled::Uncounted => Some("changes wait".into()),
    };
    if let Some(waiting) = waiting {
        let text = format!(
            "{waiting}: `ringfence diff {run} --stat`, then `ringfence apply {run}` or `ringfence discard {run}`"
        );
        terminal::error(&format!("{} {text}", terminal::label("run:")));
    }
}

/// Variables that programs ran without: what they do instead may look like a fault of theirs.
pub(crate) fn cleaned(run: &str, variables: &BTreeSet<String>) {
    const MOST: usize = 5;
    const LONGEST: usize = 40;
    if variables.is_empty() {
        return;
    }
    let mut names: Vec<String> =
        variables.iter().take(MOST).map(|name| name.chars().take(LONGEST).collect()).collect();
    names.extend((variables.len() > MOST).then(|| "..".to_owned()));
    let text = format!("programs ran without the variables {}: `ringfence explain {run}`", names.join(", "));
    terminal::error(&format!("{} {}", terminal::label("run:"), terminal::line(text)));
}

/// Decoys, each with the program that opened it: an incident is told whatever was asked for.
pub(crate) fn opened(run: &str, opened: &[(String, String)]) {
    let mut first: Vec<(&String, Vec<&String>)> = Vec::new();
    for (path, program) in opened {
        match first.iter_mut().find(|(known, _)| *known == path) {
            Some((_, programs)) if programs.contains(&program) => {}
            Some((_, programs)) => programs.push(program),
            None => first.push((path, vec![program])),
        }
    }
    for (path, programs) in first.iter().take(3) {
        // What opens it by habit may come before what does not.
        let mut who: Vec<String> = programs.iter().take(3).map(|program| (*program).clone()).collect();
        who.extend(programs.len().checked_sub(3).filter(|more| *more > 0).map(|more| format!("{more} more")));
        let text = format!("{} opened the decoy {path}: `ringfence explain {run}`", who.join(", "));
        terminal::error(&format!("{} {}", terminal::label("incident:"), terminal::line(text)));
    }
    if let Some(more) = first.len().checked_sub(3).filter(|more| *more > 0) {
        let were = if more == 1 { "decoy was" } else { "decoys were" };
        terminal::error(&format!("{} {more} more {were} opened", terminal::label("incident:")));
    }
}
