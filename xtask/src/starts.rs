//! What it costs that the start of each program is judged, confirmed and told of.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Comparison, compare};
use crate::command::{capture, cargo, run, target};
use crate::speed::{LEAST, PYTHON};

/// Starts this many programs, one after the other, and says how many milliseconds each took.
const STARTS: &str = "import os, time
since = time.perf_counter()
for n in range(1000):
    os.waitpid(os.posix_spawn('/bin/true', ['true', 'x'], {}), 0)
print(time.perf_counter() - since)";

/// Something has to be looked at; nothing that is started here is refused.
const GUARD: &str = "[commands]\ndeny = [\"git push\"]\n";
/// Programs alone: nothing is looked at.
const LIST: &str = "[commands]\nallow = [\"/usr/bin/python3\", \"true\"]\n";

/// Milliseconds that are added to a start, and the most that is promised.
pub(crate) struct Added {
    pub(crate) name: &'static str,
    pub(crate) milliseconds: f64,
    pub(crate) most: f64,
}

/// A command of the release binary, under a policy of these lines.
fn inside(
    binary: &Path,
    scratch: &Path,
    name: &str,
    lines: &str,
) -> Result<impl Fn(&Path, &[&str]) -> Command, String> {
    let policy: PathBuf = scratch.join(format!("{name}.toml"));
    let text = format!("version = 1\nextends = [\"default\"]\n{lines}");
    std::fs::write(&policy, text).map_err(|e| e.to_string())?;
    let (binary, state) = (binary.to_owned(), scratch.join("state"));
    Ok(move |workspace: &Path, words: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(["run", "--quiet", "--policy"]).arg(&policy).arg("--").args(words);
        command.current_dir(workspace).env("RINGFENCE_STATE", &state);
        command
    })
}

/// For each way to hold a list: the median of what a start takes more than without one, in pairs that take turns.
pub(crate) fn added(binary: &Path, scratch: &Path, pairs: usize) -> Result<Vec<Added>, String> {
    let workspace = scratch.join("native");
    let plain = inside(binary, scratch, "plain-starts", "")?;
    let many: String = (0..10_000).map(|number| format!("\"git word{number} *\", ")).collect();
    let many = format!("[commands]\nallow = [\"/usr/bin/python3 **\", \"true *\", {many}]\n");
    let cases = [
        ("added to a start by a list that Landlock holds", "listed", LIST, 0.02),
        ("added to a start by the guard", "guarded", GUARD, 0.3),
        ("added to a start by the guard with 10,000 rules", "many", many.as_str(), 0.3),
    ];
    let mut found = Vec::new();
    for (name, file, lines, most) in cases {
        let with = inside(binary, scratch, file, lines)?;
        let words = ["/usr/bin/python3", "-I", "-S", "-c", STARTS];
        let took = |command: &mut Command| -> Result<f64, String> {
            let text = capture(command)?;
            text.trim().parse::<f64>().map_err(|_| format!("no figure: {text}"))
        };
        let mut differences = Vec::new();
        for turn in 0..pairs {
            let (mut one, mut other) = (with(&workspace, &words), plain(&workspace, &words));
            // Who goes first changes.
            let (one, other) = if turn % 2 == 0 {
                let one = took(&mut one)?;
                (one, took(&mut other)?)
            } else {
                let other = took(&mut other)?;
                (took(&mut one)?, other)
            };
            // Seconds of a thousand starts are milliseconds of one.
            differences.push(one - other);
        }
        differences.sort_by(f64::total_cmp);
        found.push(Added {
            name,
            milliseconds: differences.get(pairs / 2).copied().ok_or("no pairs")?,
            most,
        });
    }
    Ok(found)
}

/// A configure script, which starts thousands of programs: with the guard, and without.
pub(crate) fn configure(binary: &Path, scratch: &Path, pairs: usize) -> Result<Vec<Comparison>, String> {
    let input = target().join("real-inputs/cargo-libpcre-sys-0.2.2");
    if !input.is_dir() {
        let test = ["test", "--locked", "-q", "-p", "ringfence-real", "--test", "main", "configure_and_make"];
        run(cargo().args(test))?;
    }
    let workspace = scratch.join("configure");
    run(Command::new("cp").args(["-R", "--preserve=timestamps,mode,links"]).arg(&input).arg(&workspace))?;
    let words = ["sh", "-c", "rm -f config.status config.cache; ./configure --quiet --disable-cpp"];
    let outside = || {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&workspace);
        command
    };
    let guarded = inside(binary, scratch, "guarded", GUARD)?;
    let plain = inside(binary, scratch, "plain-starts", "")?;
    let least = format!("{LEAST}\nimport sys\nos.execvp(sys.argv[1], sys.argv[1:])");
    let bounded = || {
        let mut command = Command::new(PYTHON);
        command.args(["-c", &least]).args(words).current_dir(&workspace);
        command
    };
    Ok(vec![
        compare(
            "./configure with the guard, inside against outside",
            || guarded(&workspace, &words),
            outside,
            pairs,
        )?,
        compare(
            "./configure without it, inside against outside",
            || plain(&workspace, &words),
            outside,
            pairs,
        )?,
        compare(
            "./configure without it, inside against a filter of one instruction and a domain of six rules",
            || plain(&workspace, &words),
            bounded,
            pairs,
        )?,
    ])
}
