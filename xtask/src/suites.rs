//! The test suite, as the caller and, if that is root, once more as an unprivileged user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

use serde_json::Value;

use crate::command::capture;
use crate::command::cargo;
use crate::command::exists;
use crate::command::root;
use crate::command::run;
use crate::command::target;
use crate::command::tee;
use crate::disk;

/// The uid of the unprivileged run; the namespace's own passwd names it.
const USER: u32 = 65499;
const SCRIPT: &str = include_str!("user.sh");
/// How many tests nextest runs at once.
const THREADS: &str = "NEXTEST_TEST_THREADS";

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Builds the binary and all test programs; at once, because what they need has other features than what the binary alone needs.
pub(crate) fn build() -> Result<(), String> {
    run(cargo().args(["build", "--quiet", "--workspace", "--all-targets", "--locked"]))?;
    run(cargo().args(["test", "--quiet", "--workspace", "--locked", "--no-run"]))
}

/// Runs the suite as whoever called.
pub(crate) fn as_caller(all: bool) -> Result<Count, String> {
    let mut command = cargo();
    let leaves = || ONCE.iter().filter(|_| !all);
    if exists("cargo-nextest") {
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--color=never"]);
        let pure = PURE.iter().filter(|_| !all).map(|package| format!("not package({package})"));
        let words =
            WORDS.iter().filter(|_| !all).map(|module| format!("not test(/^{module}(_landlock)?::/)"));
        let left: Vec<String> =
            leaves().map(|name| format!("not test(/{name}$/)")).chain(pure).chain(words).collect();
        if !left.is_empty() {
            command.args(["-E", &left.join(" and ")]);
        }
    } else {
        command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--"]);
        command.args(leaves().flat_map(|name| ["--skip", name]));
    }
    counted(&mut command)
}

/// What takes long and asks the kernel for nothing that root has more of: where the suite is run as root and as an ordinary user,
/// its short form runs it as the latter alone.
const ONCE: [&str; 22] = [
    "configure_make_and_make_check",
    "configure_and_make_are_not_disturbed",
    "everything_once_more_as_an_unprivileged_user",
    "captures::editors_and_pagers",
    "a_tree_deeper_than_any_path_is_shown_and_refused",
    "hostile_contents_neither_act_nor_take_for_ever",
    "killed_at_any_step_an_undo_is_all_or_nothing",
    "nothing_is_undone_over_later_work",
    "thousands_of_files_land",
    "no_entry_gets_a_shell",
    "the_same_requests_have_the_same_answers",
    "each_way_that_is_promised_is_stopped",
    "official_clients_stream_with_placeholders",
    "no_tunnel_comes_up",
    "a_listed_script_is_all_that_its_interpreter_runs",
    "no_listed_script_is_run_where_its_interpreter_would_go_on",
    "no_start_is_lost_when_a_limit_ends_the_run",
    "what_starts_is_told_in_order_and_soon",
    "cargo_is_not_disturbed",
    "what_is_no_http_is_told_how_it_is_left_alone",
    "clients_need_no_change_whether_looked_into_or_not",
    "nobody_is_held_up_by_a_question_on_the_terminal",
];

/// The same of whole modules: what is read of words, asked of somebody, and said to servers.
const WORDS: [&str; 26] = [
    "asked",
    "asked_anew",
    "asked_at_terminal",
    "aws",
    "certificates",
    "commands_foretold",
    "commands_git",
    "commands_remedies",
    "commands_scripts",
    "dangers",
    "git_over_ssh",
    "gpg",
    "inspection",
    "keyring",
    "leaks",
    "leaks_known",
    "leaks_printed",
    "masks",
    "oauth",
    "spiffe",
    "ssh",
    "switches",
    "terminal",
    "words",
    "commands_shells",
    "commands_words",
];

/// What runs alike whoever runs it.
const PURE: [&str; 5] =
    ["ringfence-inspect", "ringfence-leaks", "ringfence-plan", "ringfence-policy", "ringfence-terminal"];

/// What is the same in tier `landlock`; the rest is of mounts, or of paths that a copy does not keep.
const SAME: [&str; 10] = [
    "cargo_builds_the_same_files_in_direct",
    "cargo_fails_inside_as_it_does_outside",
    "configure_and_make_in_review_change_nothing",
    "configure_make_and_make_check",
    "a_repository_of_the_host_in_coding_agent",
    "everything_in_direct",
    "poison::",
    "node_test_of_pino",
    "npm_runs_scripts",
    "an_analyst_has_two_clients_and_one_command_at_a_time",
];

/// Real programs where namespaces are refused.
pub(crate) fn in_tier_landlock() -> Result<Count, String> {
    let mut command = cargo();
    if exists("cargo-nextest") {
        // Of the whole workspace, which is built as it is.
        let same = SAME.map(|name| format!("test({name})")).join(" or ");
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--color=never"]);
        command.args(["-E", &format!("package(ringfence-real) and ({same})")]);
        // How much slower it is, is told.
        command.args(["--success-output", "final"]);
    } else {
        command.args(["test", "-p", "ringfence-real", "--locked", "--no-fail-fast", "--"]).args(SAME);
    }
    counted(command.env("RINGFENCE_REAL_TIER", "landlock"))
}

/// What the static binary is asked once more: another C library answers it.
const STATIC: [&str; 7] = [
    "landing::",
    "undone::",
    "merges::",
    "in_part::",
    "snapshot::",
    "p05_nothing_lost::",
    "p06_nothing_unseen::",
];

/// Landing and undoing by that binary.
pub(crate) fn by_static_binary(binary: &Path) -> Result<Count, String> {
    let mut command = cargo();
    if exists("cargo-nextest") {
        let these = STATIC.map(|name| format!("test(/^{name}/)")).join(" or ");
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--color=never"]);
        command.args(["-E", &format!("package(ringfence-promises) and ({these})")]);
    } else {
        command.args(["test", "-p", "ringfence-promises", "--locked", "--no-fail-fast", "--"]).args(STATIC);
    }
    counted(command.env("RINGFENCE_BINARY", binary))
}

/// The long forms of the kills at random moments and of many sandboxes at once.
pub(crate) fn chaos(rounds: &str) -> Result<ExitCode, String> {
    run(cargo().args(["build", "--locked", "-p", "ringfence"]))?;
    let mut command = cargo();
    command.args([
        "test",
        "--locked",
        "-p",
        "ringfence-promises",
        "--",
        "--nocapture",
        "chaos::",
        "many::",
        "whichever_of_ours",
    ]);
    run(command.env("RINGFENCE_CHAOS", rounds).env("RINGFENCE_MANY", "1000")).map(|()| ExitCode::SUCCESS)
}

/// The long form of the kills during `apply`, `undo` and the recovery.
pub(crate) fn kills(number: &str) -> Result<ExitCode, String> {
    run(cargo().args(["build", "--locked", "-p", "ringfence"]))?;
    let mut command = cargo();
    command.args(["test", "--locked", "-p", "ringfence-promises", "--", "--nocapture", "kills::"]);
    run(command.env("RINGFENCE_KILLS", number)).map(|()| ExitCode::SUCCESS)
}

/// The long form of the random sequences of file operations.
pub(crate) fn sequences(number: &str) -> Result<ExitCode, String> {
    let mut command = cargo();
    command.args(["test", "--locked", "-p", "ringfence-workspace", "random::", "--", "--nocapture"]);
    run(command.env("RINGFENCE_TEST_SEQUENCES", number)).map(|()| ExitCode::SUCCESS)
}

/// The long form of cutting the power during an apply, its recovery or an undo.
pub(crate) fn power(points: &str) -> Result<ExitCode, String> {
    let mut command = cargo();
    command.args(["test", "--locked", "-p", "ringfence-workspace", "power::", "--", "--nocapture"]);
    run(command.env("RINGFENCE_TEST_POINTS", points)).map(|()| ExitCode::SUCCESS)
}

/// The long form of the races between a program's judgement and its start: so many of each kind, in one tier or both.
pub(crate) fn races(args: &[String]) -> Result<ExitCode, String> {
    let (mut rounds, mut names) =
        ("2500", vec!["commands::races", "nested::mounts_that_race", "commands_landlock::races"]);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match (arg, if arg == "--tier" { args.next() } else { None }) {
            ("--tier", Some("namespace")) => names.truncate(2),
            ("--tier", Some("landlock")) => drop(names.drain(..2)),
            (number, None) if number.parse::<u32>().is_ok() => rounds = number,
            _ => return Err("usage: cargo xtask races [ROUNDS] [--tier namespace|landlock]".to_owned()),
        }
    }
    run(cargo().args(["build", "--locked", "-p", "ringfence"]))?;
    let mut command = cargo();
    command.args(["test", "--locked", "-p", "ringfence-promises", "--", "--nocapture"]).args(names);
    run(command.env("RINGFENCE_RACES", rounds)).map(|()| ExitCode::SUCCESS)
}

/// The long form of the gateway's tests: every transport, ten thousand connections, Debian's tunnels.
pub(crate) fn network() -> Result<ExitCode, String> {
    run(cargo().args(["build", "--locked", "-p", "ringfence"]))?;
    let mut command = cargo();
    command.args(["test", "--locked", "-p", "ringfence-real", "--", "--nocapture"]);
    command.args(["network::", "load::", "tunnels::"]);
    run(command.env("RINGFENCE_LONG", "1")).map(|()| ExitCode::SUCCESS)
}

/// Runs the suite, as it is built, as an ordinary user in namespaces of its own.
pub(crate) fn as_user() -> Result<Count, String> {
    let scratch = std::env::temp_dir().join(format!("ringfence-user.{}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(|e| e.to_string())?;
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    let count = in_namespaces(&scratch);
    fs::remove_dir_all(&scratch).ok();
    count
}

fn in_namespaces(scratch: &Path) -> Result<Count, String> {
    // Where tests install the clients that they need (`ringfence_promises::python`).
    let clients = target().join("clients");
    fs::create_dir_all(&clients)
        .and_then(|()| std::os::unix::fs::chown(&clients, Some(USER), Some(USER)))
        .map_err(|e| format!("{}: {e}", clients.display()))?;
    let script = scratch.join("user.sh");
    fs::write(&script, SCRIPT).map_err(|e| e.to_string())?;
    let kept = [root(), target()];
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"])
        .arg(&script)
        .env("XT_ROOT", root())
        .env("XT_SCRATCH", scratch)
        .env("XT_UID", USER.to_string())
        // Only that one is known to be for everybody.
        .env("XT_TMPDIR", if disk::entered() { std::env::temp_dir() } else { "/tmp".into() })
        .env("XT_KEEP", words(&kept)?)
        .env("XT_HIDDEN", words(&hidden(&kept))?)
        .env("XT_TMP", words(&test_tmp())?)
        .env("XT_CARGO", home("CARGO_HOME", ".cargo"))
        .env("XT_RUSTUP", home("RUSTUP_HOME", ".rustup"));
    if !exists("cargo-nextest") {
        return one_by_one(command);
    }
    let binaries = scratch.join("binaries.json");
    let metadata = scratch.join("metadata.json");
    let list =
        ["nextest", "list", "--workspace", "--locked", "--list-type=binaries-only", "--message-format=json"];
    fs::write(&binaries, capture(cargo().args(list))?).map_err(|e| e.to_string())?;
    let about = ["metadata", "--format-version=1", "--locked", "--all-features"];
    fs::write(&metadata, capture(cargo().args(about))?).map_err(|e| e.to_string())?;
    command
        .args(["cargo-nextest", "nextest", "run", "--no-fail-fast", "--color=never"])
        .arg("--binaries-metadata")
        .arg(&binaries)
        .arg("--cargo-metadata")
        .arg(&metadata)
        .arg("--workspace-remap")
        .arg(root());
    counted(&mut command)
}

/// Without nextest: each test program itself.
fn one_by_one(mut command: Command) -> Result<Count, String> {
    let text =
        capture(cargo().args(["test", "--workspace", "--locked", "--no-run", "--message-format=json"]))?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs: Vec<String> = messages
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| message["executable"].as_str().map(str::to_owned))
        .collect();
    let script = "status=0; for program; do \"$program\" || status=1; done; exit $status";
    command.args(["bash", "-c", script, "bash"]).args(programs);
    counted(&mut command)
}

/// Runs a test runner and adds up what it says; a runner that fails without a failed test is an error.
fn counted(command: &mut Command) -> Result<Count, String> {
    if std::env::var_os(THREADS).is_none() {
        // Most tests wait for something half of their time.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        command.env(THREADS, processors.div_ceil(2).saturating_add(processors).to_string());
    }
    let (success, text) = tee(command)?;
    let count = read(&text);
    match (success, count) {
        (_, Count { passed: 0, failed: 0 }) => Err("the runner ran no test".to_owned()),
        (false, Count { failed: 0, .. }) => Err("the runner failed".to_owned()),
        (_, count) => Ok(count),
    }
}

/// `N passed` and `N failed` of nextest's summary, or of each `test result:` line.
fn read(text: &str) -> Count {
    let mut count = Count::default();
    // The output of a test that failed holds a result of its own.
    let mark = if text.contains("Summary [") { "Summary [" } else { "test result:" };
    for line in text.lines().map(str::trim_start) {
        let Some(rest) = line.strip_prefix(mark) else { continue };
        let words: Vec<&str> = rest.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let number: usize = pair[0].parse().unwrap_or_default();
            match pair[1] {
                "passed" => count.passed += number,
                "failed" | "timed" => count.failed += number,
                _ => {}
            }
        }
    }
    count
}

/// Ancestors of what is kept that only root may enter.
fn hidden(kept: &[PathBuf]) -> Vec<PathBuf> {
    let mut hidden: Vec<PathBuf> = Vec::new();
    for path in kept {
        let mut ancestors: Vec<&Path> = path.ancestors().skip(1).collect();
        ancestors.reverse();
        let closed = ancestors.into_iter().find(|directory| {
            fs::metadata(directory).is_ok_and(|data| data.permissions().mode() & 0o005 != 0o005)
        });
        if let Some(closed) = closed.map(Path::to_owned)
            && !hidden.contains(&closed)
        {
            hidden.push(closed);
        }
    }
    hidden
}

/// The directory for temporary files that cargo compiles into integration tests.
fn test_tmp() -> Vec<PathBuf> {
    let directory = target().join("tmp");
    if directory.is_dir() { vec![directory] } else { Vec::new() }
}

fn home(variable: &str, default: &str) -> PathBuf {
    let user = std::env::var_os("HOME").unwrap_or_default();
    std::env::var_os(variable).map_or_else(|| Path::new(&user).join(default), PathBuf::from)
}

/// Paths as words of a shell; the script splits at blanks.
fn words(paths: &[PathBuf]) -> Result<String, String> {
    let texts: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    match texts.iter().find(|text| text.contains(char::is_whitespace)) {
        Some(text) => Err(format!("`{text}`: a path with blanks cannot be handed to the unprivileged run")),
        None => Ok(texts.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        let nextest =
            "     Summary [   0.9s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        assert_eq!(read(nextest), Count { passed: 9, failed: 3 });
        let libtest =
            "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: FAILED. 1 passed; 2 failed;\n";
        assert_eq!(read(libtest), Count { passed: 4, failed: 2 });
    }
}
