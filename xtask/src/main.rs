//! The project's own tasks, one file a verb.
#![forbid(unsafe_code)]

mod attack;
mod bench;
mod budget;
mod command;
mod crawl;
mod disk;
mod dist;
mod elf;
mod fuzz;
mod generate;
mod gtfobins;
mod hosted;
mod kernels;
mod licences;
mod network;
mod packages;
mod speed;
mod starts;
mod suites;
mod test;
mod trees;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask VERB
  test [--long] [--only SUITE]...
                         everything that must hold before a change lands
  attack ...             the attack table (--group, --id, --as, --jobs, --json, --control-only)
  chaos [ROUNDS]         kills at random moments, 500 without a number
  kills [NUMBER]         kills during apply, undo and the recovery, 1000 without a number
  races [ROUNDS] [--tier namespace|landlock]
                         programs changed while they are judged, 2500 of each kind without a number
  sequences [NUMBER]     random file operations natively against review, apply and undo, 5000 without a number
  network                the gateway: every transport, ten thousand connections at once, Debian's tunnels
  power [POINTS]         the power cut at any point of an apply, 1000 without a number; as root, on a loop device
  gtfobins               what GTFOBins knows, with the programs that Debian has, in a mount namespace of its own
  kernels [--long] [--only 6.1|6.12]
                         Debian's kernels under QEMU, and docs/kernels.md
  fuzz [--seconds N] [TARGET]...
                         parsers of hostile bytes, a minute each without a number
  dist                   the static release binary
  bench [--runs N] [--starts | --network | --tier-landlock | --trees FILES] [--binary PATH] [--json]
  budget                 the CI budget
  generate [--check]     files that are made from the code";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let verb = if args.is_empty() { String::new() } else { args.remove(0) };
    let done = match verb.as_str() {
        "test" => test::test(&args),
        "attack" => attack::attack(&args),
        "chaos" => suites::chaos(args.first().map_or("500", String::as_str)),
        "kills" => suites::kills(args.first().map_or("1000", String::as_str)),
        "races" => suites::races(&args),
        "sequences" => suites::sequences(args.first().map_or("5000", String::as_str)),
        "network" => suites::network(),
        "power" => suites::power(args.first().map_or("1000", String::as_str)),
        "gtfobins" => gtfobins::gtfobins(),
        "kernels" => kernels::kernels(&args),
        "fuzz" => fuzz::fuzz(&args),
        "dist" => dist::dist(),
        "bench" => bench::bench(&args),
        "budget" => Ok(budget::budget()),
        "generate" => generate::generate(&args),
        // What the attack table starts inside a world.
        "attack-worker" => ringfence_attacks::work(args.first().map_or("", String::as_str))
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        _ => Err(USAGE.to_owned()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}
