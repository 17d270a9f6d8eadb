//! The CI budget: seconds a suite may take in its short form, and the command of its long form.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Instant;

/// One suite.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    what: &'static str,
    /// Seconds on two cores with an empty target directory.
    short: u64,
    long: &'static str,
}

/// A suite that takes more than so many times its seconds fails.
const SLACK: u64 = 3;

/// Every suite of `cargo xtask test`, in its order.
pub(crate) const SUITES: [Suite; 15] = [
    suite("packages", "system programs installed where missing", 40, "-"),
    suite("format", "cargo fmt --check", 5, "-"),
    suite("lint", "clippy on all targets, warnings are errors", 90, "-"),
    suite("docs", "rustdoc, warnings are errors", 30, "-"),
    suite("licences", "licences, sources, duplicate crates", 5, "cargo xtask test --long --only licences"),
    suite("build", "binary and test programs", 155, "-"),
    suite("generated", "schema and budget table are current", 20, "cargo xtask generate --check"),
    suite(
        "tests",
        "the test suite as the caller; as root without what takes longest",
        360,
        "cargo nextest run --workspace",
    ),
    suite(
        "tests-user",
        "the test suite as an unprivileged user (root only)",
        365,
        "cargo nextest run --workspace",
    ),
    suite(
        "attacks",
        "the attack table as an ordinary user and as root",
        265,
        "cargo xtask attack --control-all",
    ),
    suite(
        "tier-landlock",
        "real builds, tests and repositories where namespaces are refused",
        60,
        "RINGFENCE_REAL_TIER=landlock cargo nextest run -p ringfence-real",
    ),
    suite(
        "attacks-landlock",
        "the attack table there, as an ordinary user and as root",
        160,
        "cargo xtask attack --tier landlock --control-all",
    ),
    suite("dist", "the static release binary, hardly optimised", 200, "cargo xtask dist"),
    suite(
        "static",
        "landing and undoing by that binary",
        25,
        "RINGFENCE_BINARY=FILE cargo nextest run -p ringfence-promises",
    ),
    suite("start-up", "cold start against bwrap, 10 interleaved runs", 20, "cargo xtask bench"),
];

const fn suite(name: &'static str, what: &'static str, short: u64, long: &'static str) -> Suite {
    Suite { name, what, short, long }
}

/// Whether a suite has that name.
pub(crate) fn known(name: &str) -> bool {
    SUITES.iter().any(|suite| suite.name == name)
}

/// Prints the table.
pub(crate) fn budget() -> ExitCode {
    print!("{}", document());
    ExitCode::SUCCESS
}

/// `docs/ci-budget.md`.
pub(crate) fn document() -> String {
    let mut text = String::from(
        "# CI budget\n\n`cargo xtask generate` writes this file from the table in `xtask/src/budget.rs`. CI has two \
         cores and 30 minutes.\nA suite that takes more than three times its seconds fails; each run prints what it \
         took.\n\n| suite | what | seconds in CI | long form |\n|---|---|---:|---|\n",
    );
    for suite in &SUITES {
        let long = if suite.long == "-" { "-".to_owned() } else { format!("`{}`", suite.long) };
        writeln!(text, "| {} | {} | {} | {long} |", suite.name, suite.what, suite.short).ok();
    }
    let sum: u64 = SUITES.iter().map(|suite| suite.short).sum();
    writeln!(text, "| all | | {sum} | |").ok();
    text
}

/// Runs a suite and holds its time against the budget.
pub(crate) fn measured<T>(name: &str, work: impl FnOnce() -> Result<T, String>) -> (Result<T, String>, f64) {
    println!("\n== {name}");
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    let seconds = took.as_secs_f64();
    let Some(suite) = SUITES.iter().find(|suite| suite.name == name) else {
        return (Err(format!("{name} has no line in the CI budget")), seconds);
    };
    println!("== {name}: {seconds:.1} s of {} s", suite.short);
    if took.as_secs() > suite.short * SLACK && result.is_ok() {
        let limit = suite.short * SLACK;
        return (Err(format!("{name} took {seconds:.0} s; its budget allows {limit} s at most")), seconds);
    }
    (result, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_budgets_together_fit_into_ci() {
        assert!(SUITES.iter().map(|suite| suite.short).sum::<u64>() <= 30 * 60);
    }

    #[test]
    fn a_suite_without_a_budget_fails() {
        assert!(measured("nothing", || Ok(())).0.is_err());
        assert!(measured("format", || Ok(())).0.is_ok());
    }
}
