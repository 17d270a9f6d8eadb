//! What the benchmark measures of tier `landlock`: everything here runs in a user namespace that allows no further one.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Comparison, compare};
use crate::command::{exists, run, target};
use crate::speed::{inside_and_outside, ringfence, write_project};

/// Set where the namespace is around us.
const MARK: &str = "RINGFENCE_BENCH_HOSTED";
/// A peer that builds its boundary in the same way.
const PEER: &str = "sandlock";
/// Calls in one loop.
const CALLS: u32 = 20_000;

/// A comparison and what is promised of its ratio; `judged`: calls that init makes, in each run.
pub(crate) struct Row {
    pub(crate) compared: Comparison,
    pub(crate) target: Option<f64>,
    pub(crate) judged: Option<u32>,
}

/// Starts this program again where no user namespace can be made, unless that is where it is. Does not return then.
pub(crate) fn enter() -> Result<(), String> {
    if std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let inner = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"";
    let error = Command::new("unshare")
        .args(["--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-ec", inner, "bench"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .exec();
    Err(format!("unshare (package util-linux): {error}"))
}

/// Everything; the peer is installed by cargo where it is missing.
pub(crate) fn rows(binary: &Path, scratch: &Path, runs: usize) -> Result<Vec<Row>, String> {
    let workspace = scratch.join("hosted");
    std::fs::create_dir_all(&workspace).map_err(|e| e.to_string())?;
    let row = |compared, target| Row { compared, target, judged: None };
    let mut rows = vec![row(cold_start(binary, scratch, &workspace, runs)?, Some(1.0))];
    write_project(&workspace)?;
    let line = ["sh", "-c", "make -s clean && make -s -j2"];
    let name = "a build in tier `landlock`, inside against outside";
    rows.push(row(inside_and_outside(name, binary, scratch, &workspace, &line, runs.min(7))?, Some(1.05)));
    archive(&workspace)?;
    let line = ["sh", "-c", "mkdir out && tar -C out -xf archive.tar; status=$?; rm -rf out; exit $status"];
    let name = "`tar x` of 10,000 files and their removal in tier `landlock`, inside against outside";
    rows.push(row(inside_and_outside(name, binary, scratch, &workspace, &line, runs.min(7))?, Some(1.5)));
    std::fs::write(workspace.join("data"), "x").map_err(|e| e.to_string())?;
    for (name, call) in [
        ("chmod", "os.chmod('data', 0o644)"),
        ("utime", "os.utime('data', (1, 1))"),
        ("fchmod", "os.fchmod(file, 0o644)"),
    ] {
        let code = format!("import os\nfile = os.open('data', 0)\nfor n in range({CALLS}): {call}");
        let line = ["python3", "-c", &code];
        let name = format!("{CALLS} calls of {name} in tier `landlock`, inside against outside");
        let compared = inside_and_outside(&name, binary, scratch, &workspace, &line, runs.min(5))?;
        rows.push(Row { compared, target: None, judged: Some(CALLS) });
    }
    Ok(rows)
}

impl Row {
    /// For a reader.
    pub(crate) fn table(&self) -> String {
        let mut text = self.compared.table();
        if let Some(target) = self.target {
            let missed = if self.compared.ratio() <= target { "" } else { ", missed" };
            text.push_str(&format!("  target: {target:.2} at most{missed}\n"));
        }
        if let Some((each, second)) = self.cost() {
            text.push_str(&format!("  {each:.1} us a judged call, {second:.0} a second\n"));
        }
        text
    }

    /// For a program.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut value = self.compared.json();
        if let (Some((each, second)), Some(object)) = (self.cost(), value.as_object_mut()) {
            object.insert("judged_us".into(), each.into());
            object.insert("judged_per_second".into(), second.into());
        }
        value
    }

    /// Microseconds that a call takes longer for being judged, and how many are judged in a second.
    fn cost(&self) -> Option<(f64, f64)> {
        let [inside, outside] = self.compared.medians();
        let calls = f64::from(self.judged?);
        Some(((inside - outside) * 1e3 / calls, calls * 1e3 / inside))
    }
}

/// `/bin/true` under both, with the same trees readable and the workspace written.
fn cold_start(binary: &Path, scratch: &Path, workspace: &Path, runs: usize) -> Result<Comparison, String> {
    let peer = peer()?;
    let ours = || {
        let mut command = ringfence(binary, scratch, workspace);
        command.args(["--preset", "default", "--", "/bin/true"]);
        command
    };
    let theirs = || {
        let mut command = Command::new(&peer);
        command.args(["run", "-r", "/usr", "-r", "/lib", "-r", "/lib64", "-r", "/bin", "-r", "/etc", "-w"]);
        command.arg(workspace).args(["--", "/bin/true"]).current_dir(workspace);
        command
    };
    compare("cold start of /bin/true in tier `landlock`, against sandlock", ours, theirs, runs)
}

pub(crate) fn peer() -> Result<PathBuf, String> {
    if exists(PEER) {
        return Ok(PEER.into());
    }
    let root = target().join("peers");
    let program = root.join("bin").join(PEER);
    if !program.is_file() {
        run(Command::new("cargo")
            .args(["install", "--quiet", "--locked", "sandlock-cli", "--root"])
            .arg(&root))?;
    }
    Ok(program)
}

/// Ten thousand small files in a hundred directories, with modes and times of their own.
fn archive(workspace: &Path) -> Result<(), String> {
    let code = "import io, tarfile
with tarfile.open('archive.tar', 'w') as archive:
    for number in range(10000):
        entry = tarfile.TarInfo(f'{number // 100}/{number}')
        entry.size, entry.mode, entry.mtime = 200, (0o640, 0o755)[number % 2], 1000000000 + number
        archive.addfile(entry, io.BytesIO(b'x' * 200))";
    run(Command::new("python3").args(["-c", code]).current_dir(workspace))
}
