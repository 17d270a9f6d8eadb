//! What it costs to be refused: names that are looked for in vain, and who works beside a crawler.

use std::path::Path;
use std::process::Command;

use crate::bench::{Comparison, measure};
use crate::command::{capture, shown};
use crate::speed::PYTHON;

/// Looks for so many different names, and says how many a second.
const CRAWL: &str = "import os, time
since = time.perf_counter()
for number in range(20000):
    try: os.stat(f'/nothing-{number}')
    except OSError: pass
print(20000 / (time.perf_counter() - since))";

/// Asks for what is granted while a child of it does something else, and says how many milliseconds that took: at the end of a run each
/// name that was refused is looked for on the host, beside nobody.
const BESIDE: &str = "import os, signal, sys, time
child = os.fork()
if child == 0:
    number = 0
    while True:
        number += 1
        if sys.argv[1] == 'crawl':
            try: os.stat(f'/nothing-{number}')
            except OSError: pass
        elif sys.argv[1] == 'look':
            try: os.stat(f'/usr/nothing-{number}')
            except OSError: pass
        else: sum(range(50))
since = time.perf_counter()
for _ in range(900000): os.stat('/usr/bin/env')
print((time.perf_counter() - since) * 1e3)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)";

/// Beside the state directory, which no workspace may hold.
fn inside(binary: &Path, scratch: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(["run", "--quiet", "--preset", "default", "--", PYTHON, "-I", "-S", "-c"]).args(words);
    command.current_dir(scratch.join("native")).env("RINGFENCE_STATE", scratch.join("state"));
    command
}

/// Refusals per second, of one process.
pub(crate) fn refusals(binary: &Path, scratch: &Path) -> Result<f64, String> {
    let text = capture(&mut inside(binary, scratch, &[CRAWL]))?;
    text.trim().parse().map_err(|_| format!("no figure: {text}"))
}

/// A process that does not crawl beside one that does, against the same beside one that only computes, and beside one that keeps the
/// kernel as busy with names that the host itself does not have: two processors may be one core's.
pub(crate) fn neighbour(binary: &Path, scratch: &Path) -> Result<Vec<Comparison>, String> {
    let beside = |what: &'static str| inside(binary, scratch, &[BESIDE, what]);
    let took = |what: &'static str| {
        move || -> Result<f64, String> {
            let text = capture(&mut beside(what))?;
            text.trim().parse().map_err(|_| format!("no figure: {text}"))
        }
    };
    [
        ("stat beside a crawler, against beside one that computes", "compute"),
        ("stat beside a crawler, against beside one that looks for names in /usr", "look"),
    ]
    .map(|(name, other)| {
        let line = [shown(&beside("crawl")), shown(&beside(other))];
        measure(name, line, took("crawl"), took(other), 15)
    })
    .into_iter()
    .collect()
}
