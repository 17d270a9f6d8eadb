//! The side of the runner that lives inside a world: it reads row ids and answers each with a report.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::Broken;
use crate::footprint;
use crate::judge;
use crate::places::BIN;
use crate::places::Places;
use crate::places::REPORT;
use crate::places::RunTokens;
use crate::places::TEMPLATE;
use crate::places::unfilled;
use crate::process;
use crate::process::Ended;
use crate::table::Check;
use crate::table::Row;
use crate::table::rows;
use crate::verdict::Report;
use crate::verdict::Verdict;

/// When a look at the running attempt is taken, in seconds after its start.
/// What is run in place of `bash -c`, where a row's policy names it.
const ENTRY: &str = "@RO@/entry";
const LOOK: f64 = 1.5;
const LIMIT: f64 = 90.0;
const CONTROL_LIMIT: f64 = 45.0;
const RESET: &str = r#"
shopt -s dotglob nullglob
chmod -R u+rwX -- "$HOME"/* 2>/dev/null
rm -rf -- "$HOME"/* /tmp/rf/output.txt /tmp/rf/report.json /dev/shm/* || exit 1
for log in /tmp/rf/*.log; do : > "$log"; done
cp -a -- "$T"/. "$HOME"/
"#;

/// Works on rows until standard input ends.
///
/// # Errors
/// What made the world unusable.
pub fn work(who: &str) -> Result<(), Broken> {
    let mut world = World::open(who)?;
    let rows = rows()?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        let id = line?;
        let row = rows.iter().find(|row| row.id == id).ok_or_else(|| Broken(format!("no row {id}")))?;
        let report = world.report(row).unwrap_or_else(|error| Report {
            id: row.id.clone(),
            verdict: Verdict::NotJudged,
            why: vec![format!("the world failed: {error}")],
            waiting: Vec::new(),
            output: String::new(),
            seconds: 0.0,
        });
        let text = serde_json::to_string(&report).map_err(|e| Broken(e.to_string()))?;
        writeln!(out, "{text}")?;
        out.flush()?;
    }
    world.services.kill().ok();
    world.host_process.kill().ok();
    Ok(())
}

/// A world that stands, and the processes that belong to it.
pub(crate) struct World {
    /// Run without the boundary.
    control: bool,
    /// Tier `landlock`.
    pub(crate) hosted: bool,
    pub(crate) places: Places,
    services: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    host_process: Child,
}

/// What was seen of one attempt.
pub(crate) struct Seen {
    /// The end of the attempt.
    pub(crate) ended: Ended,
    /// Its output as text.
    pub(crate) text: String,
    /// The attempt began (always, on the host).
    pub(crate) begun: bool,
    /// Each `during:` clause and whether it held.
    pub(crate) during: Vec<(String, bool)>,
    /// What it left behind where nothing may be left.
    pub(crate) left: Vec<String>,
    /// Names of this run.
    pub(crate) tokens: RunTokens,
}

impl World {
    fn open(who: &str) -> Result<Self, Broken> {
        let home =
            std::env::var_os("RF_HOME").ok_or_else(|| Broken("no world: RF_HOME is not set".to_owned()))?;
        let uid = rustix::process::getuid().as_raw();
        let mut template = Command::new("bash");
        template.arg(format!("{BIN}/template.sh")).env("T", TEMPLATE).env("PATH", path(uid));
        let built = process::start(template)?.finish(60.0)?;
        if built.exit != 0 {
            return Err(Broken(format!("template: {}", built.text())));
        }
        let mut services = Command::new("python3")
            .arg(format!("{BIN}/world.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(requests), Some(answers)) = (services.stdin.take(), services.stdout.take()) else {
            return Err(Broken("no pipes to the services".to_owned()));
        };
        let mut answers = BufReader::new(answers);
        let mut ready = String::new();
        answers.read_line(&mut ready)?;
        if ready.trim() != "ready" {
            return Err(Broken("the world's services did not start".to_owned()));
        }
        let host_process = bystander()?;
        let places = Places { home: PathBuf::from(home), uid, host_process: host_process.id() };
        let hosted = std::env::var_os("RF_TIER").is_some_and(|tier| tier == "landlock");
        Ok(Self {
            control: who.contains("control"),
            hosted,
            places,
            services,
            requests,
            answers,
            host_process,
        })
    }

    fn report(&mut self, row: &Row) -> Result<Report, Broken> {
        self.reset()?;
        let known = self.keep();
        let seen =
            if self.control { self.attempt_unconfined(row)? } else { self.attempt_inside(row, &known)? };
        let report = judge::report(self, row, seen, self.control);
        for stranger in footprint::strangers(&known, Duration::ZERO) {
            process::kill_one(stranger);
        }
        footprint::strangers(&known, Duration::from_secs(2));
        report
    }

    /// Fresh directories, and a bystander.
    fn reset(&mut self) -> Result<(), Broken> {
        // A new one each time: the last row may have killed it, which takes effect when it likes.
        self.host_process.kill().ok();
        self.host_process.wait()?;
        self.host_process = bystander()?;
        self.places.host_process = self.host_process.id();
        let ended = self.shell_in(RESET, "/", LIMIT, &RunTokens::default())?;
        if ended.exit != 0 {
            return Err(Broken(format!("reset: {}", ended.text())));
        }
        let socket = self.places.fill("@HSOCK@", &RunTokens::default());
        writeln!(self.requests, "{socket}")?;
        self.requests.flush()?;
        self.answers.read_line(&mut String::new())?;
        Ok(())
    }

    fn keep(&self) -> BTreeSet<u32> {
        footprint::processes()
    }

    /// Runs a host shell in the workspace, with the tokens filled in.
    pub(crate) fn shell(&self, script: &str, limit: f64, run: &RunTokens) -> Result<Ended, Broken> {
        let work = self.places.work();
        self.shell_in(script, &work.to_string_lossy(), limit, run)
    }

    fn shell_in(&self, script: &str, cwd: &str, limit: f64, run: &RunTokens) -> Result<Ended, Broken> {
        let mut command = self.bash(cwd);
        command.arg("-c").arg(self.places.fill(script, run));
        Ok(process::start(command)?.finish(limit)?)
    }

    /// A bash with the environment of an ordinary login.
    fn bash(&self, cwd: &str) -> Command {
        let mut command = Command::new("bash");
        let uid = self.places.uid;
        command
            .env_clear()
            .env("PATH", path(uid))
            .env("HOME", &self.places.home)
            .env("USER", if uid == 0 { "root" } else { "agent" })
            .env("LOGNAME", if uid == 0 { "root" } else { "agent" })
            .env("SHELL", "/bin/bash")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm")
            .env("XDG_RUNTIME_DIR", format!("/run/user/{uid}"))
            .env("RINGFENCE_STATE", self.places.state())
            .env("T", TEMPLATE)
            .current_dir(cwd);
        let lowered = std::env::var("RF_LOWERED").ok().filter(|lowered| !lowered.is_empty());
        let lowered: Vec<_> =
            self.hosted.then(|| "no-userns".to_owned()).into_iter().chain(lowered).collect();
        if !lowered.is_empty() {
            command.env("RINGFENCE_TEST_HOST", lowered.join(","));
        }
        command
    }

    /// Root's files are root's: nothing less than root could work on them.
    fn leave(&self) -> &'static str {
        if self.hosted && self.places.uid == 0 { " --allow-degraded root-uid" } else { "" }
    }

    fn prepare(&self, row: &Row) -> Result<RunTokens, Broken> {
        let mut run = RunTokens::default();
        if let Some(setup) = &row.premise.setup {
            let done = self.shell(setup, LIMIT, &run)?;
            if done.exit != 0 {
                return Err(Broken(format!("setup: {}", done.text())));
            }
        }
        let mut policy = String::from("version = 1\nextends = [\"default\"]\n");
        if !row.policy.iter().any(|line| line.starts_with("workspace.path")) {
            policy.push_str("workspace.path = \"@W@\"\n");
        }
        for line in &row.policy {
            policy.push_str(line);
            policy.push('\n');
        }
        fs::write(self.places.policy(), self.places.fill(&policy, &run))?;
        let mentions_log =
            row.attempt.contains("@LOG@") || row.clauses.iter().any(|c| c.text.contains("@LOG@"));
        if mentions_log && !self.control {
            self.shell(&format!("@RF@ run{} --policy @POL@ -- true", self.leave()), LIMIT, &run)?;
            run.log = judge::newest_log(&self.places.state());
        }
        if self.control {
            // What the boundary would have kept of earlier runs.
            fs::create_dir_all(self.places.state())?;
            fs::write(self.places.state().join("log"), "{}\n")?;
        }
        let filled = self.places.fill(&row.attempt, &run);
        match unfilled(&filled) {
            Some(name) => Err(Broken(format!("the world has no value for @{name}@"))),
            None => Ok(run),
        }
    }

    fn attempt_inside(&self, row: &Row, known: &BTreeSet<u32>) -> Result<Seen, Broken> {
        let run = self.prepare(row)?;
        let mark = format!("rf-begun-{}", std::process::id());
        let attempt = self.places.fill(&row.attempt, &run);
        let work = self.places.work();
        let mut command = self.bash(&work.to_string_lossy());
        if row.premise.on_host {
            command.arg("-c").arg(&attempt);
        } else {
            let launch = row.premise.launch.as_deref().unwrap_or(":");
            let terminal = terminal(row);
            let own = if row.policy.iter().any(|line| line.contains(ENTRY)) {
                self.entry(&format!("echo {mark} >&2\n{attempt}"))?;
                ENTRY
            } else {
                "bash -c \"$1\""
            };
            let leave = self.leave();
            let script =
                format!("{launch}\nexec {terminal}@RF@ run{leave} --policy @POL@ --report {REPORT} -- {own}");
            command
                .arg("-c")
                .arg(self.places.fill(&script, &run))
                .arg("bash")
                .arg(format!("echo {mark} >&2\n{attempt}"));
        }
        let invoked_inside = !row.premise.on_host;
        let strict = invoked_inside && row.premise.launch.is_none();
        let state = self.places.state();
        let mounts = footprint::mounts();
        let outside = footprint::files(&self.places.home, &[&work, &state]);
        let inside = footprint::files(&work, &[]);
        let mut seen = self.watch(row, command, run)?;
        seen.begun = row.premise.on_host || seen.text.contains(&mark);
        if invoked_inside {
            let stayed = footprint::strangers(known, Duration::from_millis(1200));
            if !stayed.is_empty() {
                seen.left.push(format!("{} processes outlived the sandbox", stayed.len()));
            }
            if footprint::mounts() != mounts {
                seen.left.push("the host's mount table changed".to_owned());
            }
            let direct = row.policy.iter().any(|line| line.contains("\"direct\""));
            let altered =
                if direct { Vec::new() } else { footprint::changed(&inside, &footprint::files(&work, &[])) };
            let elsewhere = if strict {
                footprint::changed(&outside, &footprint::files(&self.places.home, &[&work, &state]))
            } else {
                Vec::new()
            };
            for path in altered.into_iter().chain(elsewhere) {
                seen.left.push(format!("changed on the host without apply: {path}"));
            }
        }
        seen.tokens.id = judge::run_id(&state);
        Ok(seen)
    }

    /// The attempt as a script that the policy lists: where it allows no shell.
    fn entry(&self, attempt: &str) -> Result<(), Broken> {
        let path = self.places.fill(ENTRY, &RunTokens::default());
        fs::write(&path, format!("#!/bin/bash\n{attempt}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn attempt_unconfined(&self, row: &Row) -> Result<Seen, Broken> {
        let run = self.prepare(row)?;
        let attempt = self.places.fill(&row.attempt, &run);
        let launch = self.places.fill(row.premise.launch.as_deref().unwrap_or(":"), &run);
        let work = self.places.work();
        let mut command = self.bash(&work.to_string_lossy());
        // A mount namespace of its own: some attempts mount things, and here nothing stops them.
        let own = "unshare --mount --propagation private bash -c \"$1\"";
        command.arg("-c").arg(format!("{launch}\nexec {}{own}", terminal(row))).arg("bash").arg(attempt);
        let mut seen = self.watch(row, command, run)?;
        seen.begun = true;
        Ok(seen)
    }

    /// Starts the attempt, looks at it while it runs if the row asks for that, and waits for its end.
    fn watch(&self, row: &Row, command: Command, mut tokens: RunTokens) -> Result<Seen, Broken> {
        let mut running = process::start(command)?;
        tokens.supervisor = Some(running.pid());
        let mut during = Vec::new();
        let looks: Vec<&str> = row
            .clauses
            .iter()
            .filter_map(|clause| match &clause.check {
                Check::During(script) => Some(script.as_str()),
                _ => None,
            })
            .collect();
        if (row.premise.during.is_some() || !looks.is_empty()) && !running.ended_before(LOOK)? {
            if let Some(script) = &row.premise.during {
                self.shell(script, 20.0, &tokens)?;
            }
            for script in looks {
                during.push((script.to_owned(), self.shell(script, 20.0, &tokens)?.exit == 0));
            }
        }
        let limit = if self.control { CONTROL_LIMIT } else { limit(row) };
        let ended = running.finish(limit)?;
        let text = ended.text();
        fs::write(crate::places::OUTPUT, &ended.output)?;
        Ok(Seen { ended, text, begun: false, during, left: Vec::new(), tokens })
    }
}

/// What gives an attempt a terminal, if its row asks for one.
fn terminal(row: &Row) -> String {
    if row.premise.on_pty { format!("python3 {BIN}/terminal.py ") } else { String::new() }
}

fn limit(row: &Row) -> f64 {
    row.clauses
        .iter()
        .find_map(|clause| match clause.check {
            Check::Within(seconds) => Some(seconds + 5.0),
            _ => None,
        })
        .unwrap_or(LIMIT)
}

fn path(uid: u32) -> &'static str {
    if uid == 0 {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    } else {
        "/usr/local/bin:/usr/bin:/bin"
    }
}

/// A process of the same user outside, with something to see in its arguments and environment.
fn bystander() -> Result<Child, Broken> {
    Ok(Command::new("sleep")
        .arg0("CANARY-ARGV")
        .arg("100000")
        .env("RF_SECRET", "CANARY-PROCENV")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?)
}
