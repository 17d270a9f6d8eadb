//! `cargo xtask bench`: interleaved comparisons, so that what else the machine does hits both sides alike.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::time::Instant;

use crate::command::is_root;
use crate::command::shown;
use crate::crawl;
use crate::disk;
use crate::dist;
use crate::hosted;
use crate::network;
use crate::speed;
use crate::starts;
use crate::trees;

/// The ratio that the project promises for a cold start, and how far the bound in CI is from it.
const COLD_START: f64 = 0.8;
const GENEROUS: f64 = 10.0;
const BESIDE: &str = "memory beside a sleeping task, in shares";
const REFUSALS: &str = "names looked for in vain a second, each told";

/// Two commands, timed in turns.
pub(crate) struct Comparison {
    name: String,
    line: [String; 2],
    /// Milliseconds of each run, sorted.
    times: [Vec<f64>; 2],
    /// The ratio of each pair, sorted.
    ratios: Vec<f64>,
}

/// Runs two commands in turns, after one run of each that does not count. A command that fails ends it.
pub(crate) fn compare(
    name: &str,
    first: impl Fn() -> Command,
    second: impl Fn() -> Command,
    runs: usize,
) -> Result<Comparison, String> {
    compare_to(0, name, first, second, runs)
}

/// The same, where the second one ends with this status.
pub(crate) fn compare_to(
    status: i32,
    name: &str,
    first: impl Fn() -> Command,
    second: impl Fn() -> Command,
    runs: usize,
) -> Result<Comparison, String> {
    let line = [shown(&first()), shown(&second())];
    measure(name, line, || time(first(), 0), || time(second(), status), runs)
}

/// The same with two ways to get at milliseconds.
pub(crate) fn measure(
    name: &str,
    line: [String; 2],
    first_time: impl Fn() -> Result<f64, String>,
    second_time: impl Fn() -> Result<f64, String>,
    runs: usize,
) -> Result<Comparison, String> {
    first_time()?;
    second_time()?;
    let mut times = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for turn in 0..runs {
        // Who goes first changes, so that neither always finds the caches as the other left them.
        let (a, b) = if turn % 2 == 0 {
            let a = first_time()?;
            (a, second_time()?)
        } else {
            let b = second_time()?;
            (first_time()?, b)
        };
        times[0].push(a);
        times[1].push(b);
        ratios.push(a / b);
    }
    times.iter_mut().chain([&mut ratios]).for_each(|list| list.sort_by(f64::total_cmp));
    Ok(Comparison { name: name.to_owned(), line, times, ratios })
}

fn time(mut command: Command, wanted: i32) -> Result<f64, String> {
    let line = shown(&command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().map_err(|e| format!("{line}: {e}"))?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if status.code() == Some(wanted) { Ok(took) } else { Err(format!("{line}: {status}")) }
}

impl Comparison {
    /// The first command less what a third one takes, against the second.
    pub(crate) fn less(mut self, name: &str, third: &Self) -> Self {
        let own = quantile(&third.times[1], 0.5);
        self.times[0].iter_mut().for_each(|time| *time -= own);
        let middle = quantile(&self.times[1], 0.5);
        self.ratios = self.times[0].iter().map(|time| time / middle).collect();
        name.clone_into(&mut self.name);
        self.line[0] = format!("{} (less {})", self.line[0], third.line[1]);
        self
    }

    /// The ratio of the medians, first to second.
    pub(crate) fn ratio(&self) -> f64 {
        quantile(&self.times[0], 0.5) / quantile(&self.times[1], 0.5)
    }

    /// The medians in milliseconds, first and second.
    pub(crate) fn medians(&self) -> [f64; 2] {
        [quantile(&self.times[0], 0.5), quantile(&self.times[1], 0.5)]
    }

    /// For a reader.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n  {:>10} {:>10} {:>10}  command\n", self.name, "median ms", "p10", "p90");
        for (times, line) in self.times.iter().zip(&self.line) {
            let [low, middle, high] = [0.1, 0.5, 0.9].map(|part| quantile(times, part));
            writeln!(text, "  {middle:>10.2} {low:>10.2} {high:>10.2}  {line}").ok();
        }
        let [low, middle, high] = [0.1, 0.5, 0.9].map(|part| quantile(&self.ratios, part));
        let runs = self.ratios.len();
        let ratio = self.ratio();
        writeln!(text, "  ratio of medians {ratio:.3}; of {runs} pairs: {middle:.3} ({low:.3} to {high:.3})")
            .ok();
        text
    }

    /// The same, and whether it keeps what is promised.
    pub(crate) fn judged(&self, target: f64) -> String {
        let missed = if self.ratio() <= target { "" } else { ", missed" };
        format!("{}  target: {target:.2} at most{missed}\n", self.table())
    }

    /// For a program.
    pub(crate) fn json(&self) -> serde_json::Value {
        let sides: Vec<serde_json::Value> = self
            .times
            .iter()
            .zip(&self.line)
            .map(|(times, line)| {
                let [low, middle, high] = [0.1, 0.5, 0.9].map(|part| quantile(times, part));
                serde_json::json!({ "command": line, "median_ms": middle, "p10_ms": low, "p90_ms": high })
            })
            .collect();
        serde_json::json!({ "name": self.name, "runs": self.ratios.len(), "ratio": self.ratio(), "sides": sides })
    }
}

/// A quantile of a sorted list, between neighbours by their distance.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    #[expect(clippy::cast_precision_loss, reason = "lists of a few dozen entries")]
    let at = part * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the last index"
    )]
    let low = at.floor() as usize;
    let high = (low + 1).min(last);
    sorted[low] + (sorted[high] - sorted[low]) * at.fract()
}

/// Runs the verb.
pub(crate) fn bench(args: &[String]) -> Result<ExitCode, String> {
    let (mut json, mut runs, mut only, mut without, mut given, mut net, mut files, mut cold) =
        (false, 50, false, false, None, false, None, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = true,
            // What is measured of the starts of programs, alone; with `--tier-landlock`, there.
            "--starts" => only = true,
            // Cold starts and what the size of a policy adds to them, alone.
            "--cold" => cold = true,
            // What large workspaces cost, alone.
            "--trees" => {
                let value = args.next().and_then(|text| text.parse().ok());
                files = Some(value.ok_or("`--trees` needs a number of files")?);
            }
            // The gateway alone, beside Squid and mitmproxy.
            "--network" => net = true,
            // What is measured where no namespaces can be had, alone.
            "--tier-landlock" => without = true,
            "--binary" => given = Some(PathBuf::from(args.next().ok_or("`--binary` needs a path")?)),
            "--runs" => {
                let value = args.next().and_then(|text| text.parse().ok());
                runs = value.ok_or("`--runs` needs a number")?;
            }
            _ => {
                return Err("usage: bench [--runs N] [--cold | --starts | --network | --tier-landlock | --trees FILES] [--binary PATH] [--json]"
                    .to_owned());
            }
        }
    }
    disk::enter(&disk::Room::Trees)?;
    if without {
        hosted::enter()?;
    }
    // It is started from other directories.
    let binary = match given {
        Some(path) => path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?,
        None => dist::build(dist::Form::Whole)?,
    };
    let scratch = std::env::temp_dir().join(format!("ringfence-speed.{}", std::process::id()));
    std::fs::create_dir_all(&scratch).map_err(|e| e.to_string())?;
    if let Some(files) = files {
        let found = trees::trees(&binary, &scratch, files, runs);
        std::fs::remove_dir_all(&scratch).ok();
        return found.map(|()| ExitCode::SUCCESS);
    }
    if without && !only {
        let rows = hosted::rows(&binary, &scratch, runs);
        std::fs::remove_dir_all(&scratch).ok();
        let rows = rows?;
        if json {
            println!("{}", serde_json::json!(rows.iter().map(hosted::Row::json).collect::<Vec<_>>()));
        } else {
            rows.iter().for_each(|row| print!("{}", row.table()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if net {
        let found = network::network(&binary, &scratch, runs.min(5), json);
        std::fs::remove_dir_all(&scratch).ok();
        return found.map(|()| ExitCode::SUCCESS);
    }
    if only {
        let found = starts_of_programs(&binary, &scratch, runs, json);
        std::fs::remove_dir_all(&scratch).ok();
        return found.map(|()| ExitCode::SUCCESS);
    }
    if cold {
        let found =
            cold_starts(&binary, runs).and_then(|cold| Ok((cold, speed::policies(&binary, &scratch, runs)?)));
        std::fs::remove_dir_all(&scratch).ok();
        let (cold, policies) = found?;
        cold.iter().chain(&policies).for_each(|one| print!("{}", one.table()));
        return Ok(ExitCode::SUCCESS);
    }
    let all = cold_starts(&binary, runs).and_then(|cold| {
        let mut all: Vec<_> = cold.into_iter().map(|one| (one, Some(COLD_START))).collect();
        let targets = [1.05, 1.05, 1.05, 1.0, 1.05, 1.05, 1.05, 1.03].map(Some).into_iter();
        all.extend(speed::native(&binary, &scratch)?.into_iter().zip(targets));
        let live = [1.0 / 0.9, 1.0 / 0.9, 2.0, 1.5].map(Some).into_iter();
        all.extend(speed::live(&binary, &scratch, runs)?.into_iter().zip(live));
        all.extend(speed::policies(&binary, &scratch, runs)?.into_iter().zip([1.5, 3.0].map(Some)));
        all.extend(crawl::neighbour(&binary, &scratch)?.into_iter().zip([1.05, 1.05].map(Some)));
        Ok((all, speed::beside(&binary, &scratch)?, crawl::refusals(&binary, &scratch)?))
    });
    std::fs::remove_dir_all(&scratch).ok();
    let (all, beside, refusals) = all?;
    if json {
        let mut rows: Vec<_> = all.iter().map(|(one, _)| one.json()).collect();
        rows.push(serde_json::json!({ "name": BESIDE, "pss_kib": beside }));
        rows.push(serde_json::json!({ "name": REFUSALS, "per_second": refusals }));
        println!("{}", serde_json::json!(rows));
        return Ok(ExitCode::SUCCESS);
    }
    for (one, target) in &all {
        print!("{}", target.map_or_else(|| one.table(), |target| one.judged(target)));
    }
    println!("{BESIDE}\n  {beside} KiB; target: 2048 at most");
    println!("{REFUSALS}\n  {refusals:.0}");
    Ok(ExitCode::SUCCESS)
}

/// What it costs to judge each start, and a configure script with and without that.
fn starts_of_programs(binary: &Path, scratch: &Path, runs: usize, json: bool) -> Result<(), String> {
    std::fs::create_dir_all(scratch.join("native")).map_err(|e| e.to_string())?;
    let added = starts::added(binary, scratch, runs.min(9))?;
    let configured = starts::configure(binary, scratch, runs.min(15))?;
    if json {
        let mut rows: Vec<_> = configured.iter().map(Comparison::json).collect();
        rows.extend(added.iter().map(|one| serde_json::json!({ "name": one.name, "ms": one.milliseconds })));
        println!("{}", serde_json::json!(rows));
        return Ok(());
    }
    for one in &added {
        let missed = if one.milliseconds <= one.most { "" } else { ", missed" };
        println!("{}\n  {:.3} ms; target: {:.2} at most{missed}", one.name, one.milliseconds, one.most);
    }
    for (one, target) in configured.iter().zip([1.15, 1.02, 1.02]) {
        print!("{}", one.judged(target));
    }
    Ok(())
}

/// The cold start within ten times of what is promised: a change of kind is noticed in CI, noise is not.
pub(crate) fn start_up_bound(binary: &Path, runs: usize) -> Result<(), String> {
    for cold in cold_starts(binary, runs)? {
        print!("{}", cold.table());
        let (ratio, bound) = (cold.ratio(), COLD_START * GENEROUS);
        if ratio > bound {
            return Err(format!("{}: {ratio:.2} times bwrap, more than {bound}", cold.name));
        }
    }
    Ok(())
}

/// `ringfence run --preset default -- /bin/true` against bubblewrap with the same grants.
///
/// By an ordinary user, who is the typical one, and by root, if that is who measures.
fn cold_starts(binary: &Path, runs: usize) -> Result<Vec<Comparison>, String> {
    let users = if is_root() { &[Some(SOMEBODY), None][..] } else { &[None] };
    users.iter().map(|user| cold_start(binary, *user, runs)).collect()
}

/// Nobody's number on any system.
pub(crate) const SOMEBODY: u32 = 65_530;

fn cold_start(binary: &Path, user: Option<u32>, runs: usize) -> Result<Comparison, String> {
    let scratch = std::env::temp_dir().join(format!("ringfence-bench.{}", std::process::id()));
    let compared = cold_start_in(&scratch, binary, user, runs);
    std::fs::remove_dir_all(&scratch).ok();
    compared
}

fn cold_start_in(
    scratch: &Path,
    binary: &Path,
    user: Option<u32>,
    runs: usize,
) -> Result<Comparison, String> {
    let workspace = scratch.join("home/workspace");
    std::fs::create_dir_all(&workspace).map_err(|e| e.to_string())?;
    // Where the user can reach it.
    let copy = scratch.join("ringfence");
    std::fs::copy(binary, &copy).map_err(|e| e.to_string())?;
    let home = scratch.join("home");
    for path in [scratch, &home, &workspace] {
        std::os::unix::fs::chown(path, user, user).map_err(|e| e.to_string())?;
    }
    let run = |mut command: Command| {
        if let Some(user) = user {
            command.uid(user).gid(user).env("HOME", &home);
        }
        command.current_dir(&workspace).env("RINGFENCE_STATE", scratch.join("state"));
        command
    };
    let ours = |words: &[&str]| {
        let mut command = Command::new(&copy);
        command.args(words);
        run(command)
    };
    let grants = granted(ours(&["plan", "--preset", "default", "--json"]))?;
    let theirs = || run(bubblewrap(&grants, &workspace));
    let name = match user {
        Some(_) => "cold start of /bin/true by an ordinary user",
        None => "cold start of /bin/true",
    };
    compare(name, || ours(&["run", "--preset", "default", "--", "/bin/true"]), theirs, runs)
}

/// The directories and files that the plan of the preset binds.
fn granted(mut command: Command) -> Result<Vec<String>, String> {
    let text = crate::command::capture(&mut command)?;
    let plan: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("ringfence plan: {e}"))?;
    let trees = plan["trees"].as_array().ok_or("ringfence plan names no trees")?;
    let hosts = trees.iter().filter_map(|tree| tree["host"].as_str().map(str::to_owned));
    // The workspace's layer exists only while a run does; its bind is counted as the workspace's.
    let hosts = hosts.filter(|host| Path::new(host).exists());
    let found: Vec<String> = hosts
        .filter(|host| !["/dev", "/proc"].iter().any(|start| Path::new(host).starts_with(start)))
        .collect();
    if found.is_empty() { Err("ringfence plan names no tree".to_owned()) } else { Ok(found) }
}

/// Links of the root that lead into /usr.
const LINKS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

fn bubblewrap(grants: &[String], workspace: &Path) -> Command {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--new-session"]);
    for grant in grants.iter().filter(|grant| Path::new(grant) != workspace) {
        command.args(["--ro-bind", grant, grant]);
    }
    for link in LINKS.iter().filter(|link| !grants.iter().any(|grant| grant == *link)) {
        if let Ok(target) = std::fs::read_link(link) {
            command.arg("--symlink").arg(target).arg(link);
        }
    }
    command.args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind"]);
    command.arg(workspace).arg(workspace).arg("--chdir").arg(workspace).arg("/bin/true");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert!((quantile(&[1.0, 2.0, 3.0], 0.5) - 2.0).abs() < 1e-9);
        assert!((quantile(&[1.0, 2.0], 0.5) - 1.5).abs() < 1e-9);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_command_that_fails_is_no_measurement() {
        assert!(compare("x", || Command::new("true"), || Command::new("false"), 1).is_err());
        assert!(compare("x", || Command::new("true"), || Command::new("true"), 3).is_ok());
    }
}
