//! `cargo xtask test`: everything that must hold before a change lands, within the CI budget.

use std::process::ExitCode;

use crate::attack;
use crate::bench;
use crate::budget;
use crate::budget::measured;
use crate::command::cargo;
use crate::command::is_root;
use crate::command::run;
use crate::disk;
use crate::dist;
use crate::generate;
use crate::licences;
use crate::packages;
use crate::suites;
use crate::suites::Count;

/// What the run has seen so far.
#[derive(Default)]
struct Tally {
    count: Count,
    times: Vec<(&'static str, f64)>,
    failures: Vec<String>,
    /// Suites that were asked for; all if empty.
    only: Vec<String>,
}

impl Tally {
    /// A suite that either holds or does not.
    fn check(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), String>) -> bool {
        self.suite(name, || work().map(|()| Count { passed: 1, failed: 0 }))
    }

    /// A suite that counts its own tests.
    fn suite(&mut self, name: &'static str, work: impl FnOnce() -> Result<Count, String>) -> bool {
        if !self.only.is_empty() && !self.only.iter().any(|wanted| wanted == name) {
            return true;
        }
        let (result, seconds) = measured(name, work);
        self.times.push((name, seconds));
        match result {
            Ok(count) => {
                self.count += count;
                if count.failed > 0 {
                    self.failures.push(format!("{name}: {} failed", count.failed));
                }
                count.failed == 0
            }
            Err(error) => {
                println!("{name} FAILED: {error}");
                self.count.failed += 1;
                self.failures.push(format!("{name}: {}", error.lines().next().unwrap_or_default()));
                false
            }
        }
    }

    fn end(&self) -> ExitCode {
        println!("\n== seconds");
        for (name, seconds) in &self.times {
            println!("{name:<12} {seconds:>7.1}");
        }
        if !self.only.is_empty() {
            println!("not run: every suite but {}", self.only.join(", "));
        }
        if !is_root() {
            println!("not run: the suites as root (the caller is not root)");
        }
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        println!("{} passed, {} failed", self.count.passed, self.count.failed);
        if self.count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs the verb.
pub(crate) fn test(args: &[String]) -> Result<ExitCode, String> {
    let mut tally = Tally::default();
    let mut long = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.as_slice()) {
            ("--long", _) => long = true,
            ("--only", [name, ..]) if budget::known(name) => {
                tally.only.push(name.clone());
                args.next();
            }
            _ => return Err("usage: test [--long] [--only SUITE]...".to_owned()),
        }
    }
    if !tally.check("packages", packages::ensure) {
        return Ok(tally.end());
    }
    disk::enter(&disk::Room::Tests)?;
    tally.check("format", || run(cargo().args(["fmt", "--all", "--check"])));
    tally.check("lint", || {
        run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    });
    tally.check("docs", || {
        let mut command = cargo();
        command.args(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
        run(command.env("RUSTDOCFLAGS", "-D warnings"))
    });
    tally.check("licences", || licences::check(long));
    if !tally.check("build", suites::build) {
        return Ok(tally.end());
    }
    tally.check("generated", generate::check);
    tally.suite("tests", || suites::as_caller(long || !is_root()));
    if is_root() {
        tally.suite("tests-user", suites::as_user);
    }
    tally.suite("attacks", || attacks(long, false));
    tally.suite("tier-landlock", suites::in_tier_landlock);
    tally.suite("attacks-landlock", || attacks(long, true));
    let mut binary = None;
    tally.check("dist", || {
        binary = Some(dist::build(if long { dist::Form::Whole } else { dist::Form::Short })?);
        Ok(())
    });
    if let Some(binary) = binary {
        tally.suite("static", || suites::by_static_binary(&binary));
        tally.check("start-up", || bench::start_up_bound(&binary, if long { 50 } else { 10 }));
    }
    Ok(tally.end())
}

fn attacks(long: bool, hosted: bool) -> Result<Count, String> {
    // That the attacks work without a boundary, the other tier's run has shown.
    let control = long || !hosted;
    let options = ringfence_attacks::Options { control, control_all: long, hosted, ..attack::options() };
    let summary = ringfence_attacks::run(&options).map_err(|error| error.to_string())?;
    print!("{}", summary.table());
    Ok(Count { passed: summary.passed(), failed: summary.failed() })
}
