//! A person at a terminal, which is tmux: full-screen programs, job control, prompts, and the terminal going away.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::{Place, binary, root};
use rustix::termios::{QueueSelector, tcflush};

/// Generous: what is waited for comes, or never does.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tmux server of the test's own with one pane, in which a shell waits.
struct Tmux {
    socket: PathBuf,
    place: Place,
}

impl Tmux {
    fn new() -> Self {
        let place = Place::new();
        let tmux = Self { socket: place.base.path().join("tmux"), place };
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&tmux.socket).args([
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
        ]);
        command.args(["env", "PS1=outside> ", "HISTFILE=/dev/null", "bash", "--norc", "--noprofile", "-i"]);
        command.current_dir(&tmux.place.workspace).env("HOME", &tmux.place.home);
        command.env("PROMPT_COMMAND", format!("jobs > {}", tmux.jobs().display()));
        command.env("RINGFENCE_STATE", &tmux.place.state).env("RF", binary()).env("LC_ALL", "C.UTF-8");
        command.env_remove("TMUX").stdin(Stdio::null());
        let made = command.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        tmux.wait_for("outside>");
        tmux
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let done = Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Keys as tmux names them.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types text as it is.
    fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Types a line.
    fn line(&self, text: &str) {
        self.text(text);
        self.press(&["Enter"]);
    }

    /// Where the shell writes its jobs before each prompt.
    fn jobs(&self) -> PathBuf {
        self.place.base.path().join("jobs")
    }

    fn stopped(&self) -> bool {
        std::fs::read_to_string(self.jobs()).is_ok_and(|jobs| jobs.contains("Stopped"))
    }

    /// Presses Ctrl-Z until the shell knows of it, which the screen may not: that key throws away what was written to its
    /// terminal and not read from there yet (termios(3), NOFLSH), so a second one what the shell says of the first.
    #[track_caller]
    fn stop(&self) {
        let begun = Instant::now();
        while !self.stopped() {
            assert!(begun.elapsed() < PATIENCE, "it never stopped; the screen:\n{}", self.screen());
            self.press(&["C-z"]);
            let pressed = Instant::now();
            while !self.stopped() && pressed.elapsed() < Duration::from_millis(700) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Presses a key until it shows: a shell that is just starting its job may take it for its own.
    #[track_caller]
    fn insist(&self, key: &str, text: &str) {
        let begun = Instant::now();
        while !self.screen().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "{text} never came; the screen:\n{}", self.screen());
            self.press(&[key]);
            std::thread::sleep(Duration::from_millis(700));
        }
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "{what} never came; the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits for a line of exactly this.
    #[track_caller]
    fn wait_line(&self, text: &str) -> String {
        self.wait(text, |screen| screen.lines().any(|line| line.trim_end() == text))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// Whether a process with this word in its command line lives.
fn lives(word: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    processes.flatten().any(|process| {
        let cmdline = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        cmdline.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}

#[test]
fn vim_opens_resizes_and_saves() {
    let tmux = Tmux::new();
    tmux.place.write("note.txt", "first line\n");
    let policy = tmux.place.policy("[workspace]\nmode = \"direct\"");
    tmux.line(&format!("clear; $RF run --quiet --policy {policy} --workspace . -- vim -u NONE -N note.txt"));
    tmux.wait_for("first line");
    tmux.text(":echo 'size' &lines 'x' &columns");
    tmux.press(&["Enter"]);
    tmux.wait_for("size 24 x 80");
    tmux.tmux(&["resize-window", "-x", "100", "-y", "30"]);
    // It may be told of the new size only after the first question.
    let begun = Instant::now();
    while !tmux.screen().contains("size 30 x 100") {
        assert!(begun.elapsed() < PATIENCE, "{}", tmux.screen());
        tmux.text(":echo 'size' &lines 'x' &columns");
        tmux.press(&["Enter"]);
        std::thread::sleep(Duration::from_millis(200));
    }
    tmux.text("Gosecond line");
    tmux.press(&["Escape"]);
    tmux.line(":wq");
    tmux.wait_for("outside>");
    assert_eq!(tmux.place.read("note.txt").as_deref(), Some("first line\nsecond line\n"));
}

#[test]
fn less_scrolls_and_quits() {
    let tmux = Tmux::new();
    let lines: String = (1..=500).map(|number| format!("line {number}\n")).collect();
    tmux.place.write("long", &lines);
    tmux.line("clear; $RF run --quiet --preset default -- less long");
    tmux.wait_line("line 23");
    tmux.press(&["G"]);
    tmux.wait_line("line 500");
    tmux.text("?line 250");
    tmux.press(&["Enter"]);
    tmux.wait_line("line 250");
    tmux.press(&["q"]);
    tmux.wait_for("outside>");
    tmux.line("echo status=$?");
    tmux.wait_line("status=0");
}

#[test]
fn top_draws_the_sandbox_only() {
    let tmux = Tmux::new();
    tmux.line("clear; $RF run --quiet --preset default -- top -d 0.3");
    let screen = tmux.wait_for("%CPU");
    let after = screen.lines().skip_while(|line| !line.contains("%CPU")).skip(1);
    let tasks = after.filter(|line| !line.trim().is_empty()).count();
    assert!(screen.contains("top") && tasks <= 4, "{screen}");
    // It draws again by itself.
    let first = tmux.screen();
    tmux.wait("a second drawing", |screen| screen != first);
    tmux.press(&["q"]);
    tmux.wait_for("outside>");
}

#[test]
fn keys_that_stop_and_end_reach_what_is_in_front() {
    let tmux = Tmux::new();
    tmux.line("clear; $RF run --quiet --preset default -- sh -c 'echo up; exec sleep 600'");
    tmux.wait_line("up");
    tmux.press(&["C-c"]);
    // What is typed before the shell is back goes to the run, which takes it with it.
    tmux.wait_for("outside>");
    tmux.line("echo status=$?");
    tmux.wait_line("status=130");
    // The whole stops, goes on in the background, comes back.
    tmux.line("clear; $RF run --quiet --preset default -- sh -c 'echo waits; read x; echo got $x; exit 5'");
    tmux.wait_line("waits");
    tmux.stop();
    tmux.line("bg; sleep 0.3; jobs");
    tmux.wait_for("Running");
    tmux.line("fg");
    tmux.wait("fg", |screen| screen.lines().any(|line| line.trim_end().ends_with("fg")));
    tmux.line("hello");
    tmux.wait_line("got hello");
    tmux.line("echo status=$?");
    tmux.wait_line("status=5");
}

/// Wherever in the start each of them falls.
#[test]
fn stopped_by_many_keys_it_is_continued_once() {
    let tmux = Tmux::new();
    for round in 0..8 {
        // What is pressed is for the run: before the shell has read its line, it would take the line away.
        tmux.line("clear");
        tmux.wait("a clear screen", |screen| screen.trim_end() == "outside>");
        tmux.line(&format!("$RF run --quiet --preset default -- sh -c 'read x; exit 5 # {round}'"));
        let begun = Instant::now();
        while tmux.tmux(&["display-message", "-p", "#{cursor_y}"]).trim() == "0" {
            assert!(begun.elapsed() < PATIENCE, "the line was not read: {}", tmux.screen());
        }
        std::thread::sleep(Duration::from_millis(4 * round));
        tmux.press(&["C-z", "C-z", "C-z"]);
        tmux.stop();
        tmux.line("clear; bg; sleep 0.3; jobs; echo looked");
        let screen = tmux.wait_line("looked");
        assert!(screen.contains("Running") && !screen.contains("Stopped"), "round {round}: {screen}");
        tmux.line("clear; kill %%; wait; echo ended");
        tmux.wait_line("ended");
    }
}

/// A process of this name, with this word in its command line.
#[track_caller]
fn process(name: &str, word: &str) -> String {
    let begun = Instant::now();
    loop {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let of = |file| std::fs::read(process.path().join(file)).unwrap_or_default();
            let (found, words) = (of("comm"), of("cmdline"));
            let worded = String::from_utf8_lossy(&words).split('\0').any(|one| one == word);
            if String::from_utf8_lossy(&found).trim_end() == name && worded {
                return process.file_name().into_string().unwrap();
            }
        }
        assert!(begun.elapsed() < PATIENCE, "no {name} with {word}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

/// The state of a process, as a letter (proc(5)).
fn state(process: &str) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('X')
}

#[track_caller]
fn comes_to(process: &str, wanted: char) {
    let begun = Instant::now();
    while state(process) != wanted {
        assert!(begun.elapsed() < PATIENCE, "{process} is {}, not {wanted}", state(process));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What was typed and not read when a run stops is its shell's.
#[test]
fn a_key_beside_the_one_that_stops_is_not_waited_for() {
    let tmux = Tmux::new();
    let task = format!("keys.{}", std::process::id());
    tmux.place.write(&task, "trap 'echo went on' CONT\necho up\nwhile :; do sleep 0.1; done\n");
    // Its parent does not look whether it is stopped, so that it can be held while both come.
    tmux.line(&format!("clear; sh -c '$RF run --quiet --preset default -- bash {task}; echo over'"));
    tmux.wait_line("up");
    let (run, inside) = (process("ringfence", &task), process("bash", &task));
    send("-STOP", &run);
    comes_to(&run, 'T');
    send("-STOP", &inside);
    comes_to(&inside, 'T');
    tmux.press(&["x"]);
    std::thread::sleep(Duration::from_millis(300));
    send("-CONT", &run);
    std::thread::sleep(Duration::from_millis(300));
    comes_to(&run, 'T');
    let terminal = tmux.tmux(&["display-message", "-p", "#{pane_tty}"]);
    let terminal = std::fs::OpenOptions::new().read(true).open(terminal.trim()).unwrap();
    tcflush(&terminal, QueueSelector::IFlush).unwrap();
    send("-CONT", &run);
    tmux.wait_line("went on");
    tmux.press(&["C-c"]);
    tmux.wait_for("over");
}

/// By whom it is stopped makes no difference: the command stops with it, in a sandbox of many commands too, which goes on.
#[test]
fn what_somebody_stops_does_nothing_until_it_is_continued() {
    for (tier, verb) in [("", "run"), ("", "exec"), ("no-userns", "run"), ("no-userns", "exec")] {
        let tmux = Tmux::new();
        let policy = tmux.place.policy("[workspace]\nmode = \"direct\"");
        let task = format!("beats.{}.{verb}.{tier}", std::process::id());
        tmux.place.write(&task, "while :; do echo >> beats; sleep 0.05; done\n");
        let degraded = if root() && !tier.is_empty() { " --allow-degraded root-uid" } else { "" };
        let which = format!("--policy {policy} --workspace .{degraded}");
        if !tier.is_empty() {
            tmux.line(&format!("export RINGFENCE_TEST_HOST={tier}"));
        }
        let begin = if verb == "run" {
            format!("$RF run --quiet {which} --")
        } else {
            tmux.line(&format!("$RF start beating {which} && echo began"));
            tmux.wait_line("began");
            "$RF exec beating --".to_owned()
        };
        tmux.line(&format!("clear; {begin} bash {task}"));
        let run = process("ringfence", &task);
        let beats = || tmux.place.read("beats").unwrap_or_default().len();
        let grows = || {
            let (begun, before) = (Instant::now(), beats());
            while begun.elapsed() < PATIENCE && beats() == before {
                std::thread::sleep(Duration::from_millis(20));
            }
            beats() > before
        };
        assert!(grows(), "{tier} {verb}");
        send("-TSTP", &run);
        let begun = Instant::now();
        while !tmux.stopped() {
            assert!(begun.elapsed() < PATIENCE, "{tier} {verb}: {}", tmux.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        let before = beats();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(beats(), before, "{tier} {verb}: it goes on");
        tmux.line("clear; bg");
        assert!(grows(), "{tier} {verb}: it does not go on");
        tmux.line("clear; sleep 0.3; jobs; echo looked");
        let screen = tmux.wait_line("looked");
        assert!(screen.contains("Running") && !screen.contains("Stopped"), "{tier} {verb}: {screen}");
        tmux.line("clear; kill %%; wait; $RF stop beating; echo ended");
        tmux.wait_line("ended");
    }
}

/// Where init judges programs, it looks at them: what it looks with is not stopped.
#[test]
fn what_stops_while_a_program_is_judged_goes_on() {
    let place = Place::new();
    for round in 0..5 {
        let script = format!("read x; /not-there-{round}/tool 2> /dev/null; echo went on");
        let mut command = place.to_run("[commands]\ndeny = [\"frobnicate\"]", &script);
        let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process("sh", &script);
        let number = run.id().to_string();
        let below = Command::new("pgrep").args(["-P", &number, "-x", "ringfence-init"]).output().unwrap();
        let init = String::from_utf8(below.stdout).unwrap().trim().to_owned();
        // The program and the stop wait for init, both at once.
        send("-STOP", &init);
        comes_to(&init, 'T');
        run.stdin.take().unwrap().write_all(b"\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        send("-TSTP", &number);
        std::thread::sleep(Duration::from_millis(100));
        send("-CONT", &init);
        std::thread::sleep(Duration::from_millis(100));
        send("-CONT", &number);
        let begun = Instant::now();
        while run.try_wait().unwrap().is_none() {
            if begun.elapsed() > PATIENCE {
                run.kill().unwrap();
                panic!("round {round}: it never goes on");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(ringfence_promises::text(run).0.contains("went on"), "round {round}");
    }
}

#[test]
fn a_shell_inside_has_jobs_of_its_own() {
    let tmux = Tmux::new();
    tmux.line("clear; $RF run --quiet --preset default -- bash --norc --noprofile -i");
    tmux.wait_for("bash-");
    tmux.line("PS1='inside> '; clear");
    tmux.wait_for("inside>");
    tmux.line("sleep 600");
    tmux.insist("C-z", "Stopped");
    tmux.line("bg; jobs");
    tmux.wait_for("Running");
    tmux.line("clear; fg");
    tmux.wait_line("sleep 600");
    tmux.insist("C-c", "inside>");
    tmux.line("echo status=$?");
    tmux.wait_line("status=130");
    tmux.line("exit 3");
    tmux.wait_for("outside>");
    tmux.line("echo status=$?");
    tmux.wait_line("status=3");
}

#[test]
fn a_prompt_for_a_password_shows_nothing() {
    let tmux = Tmux::new();
    let ask = "import getpass; print(len(getpass.getpass(\"secret: \")), \"letters\")";
    tmux.line(&format!("clear; $RF run --quiet --preset default -- /usr/bin/python3 -c '{ask}'"));
    tmux.wait_line("secret:");
    tmux.line("hunter2");
    let screen = tmux.wait_line("7 letters");
    assert!(!screen.contains("hunter2"), "{screen}");
    // And the terminal shows what is typed again.
    tmux.wait_line("outside>");
    tmux.line("echo back");
    tmux.wait_for("outside> echo back");
}

#[test]
fn interpreters_talk_and_leave_a_sane_terminal() {
    let tmux = Tmux::new();
    for (program, prompt) in [("/usr/bin/python3", ">>>"), ("node", ">")] {
        tmux.line(&format!("clear; $RF run --quiet --preset default -- {program}"));
        tmux.wait(prompt, |screen| screen.lines().any(|line| line.trim() == prompt));
        tmux.line("6 * 7000000");
        tmux.wait_line("42000000");
        // Up and again: they read keys, not lines.
        tmux.press(&["Up"]);
        tmux.line(" + 1");
        tmux.wait_line("42000001");
        tmux.press(&["C-d"]);
        tmux.wait("the shell", |screen| screen.trim_end().ends_with("outside>"));
        tmux.line("stty -a | grep -ow 'isig icanon iexten echo'");
        tmux.wait_line("isig icanon iexten echo");
    }
}

/// Whatever the task does about hang-ups, and wherever its processes went.
#[test]
fn a_terminal_that_closes_ends_everything() {
    for (close, number) in [("kill-pane", "7301"), ("kill-server", "7302")] {
        let tmux = Tmux::new();
        let word = format!("{number}.{}", std::process::id());
        let task = format!(
            "trap \"\" HUP TERM INT; (setsid sh -c \"trap \\\"\\\" HUP; sleep {word}\" &) ; sleep {word} & echo up; while :; do sleep {word}; done"
        );
        tmux.place.write("task", &task);
        tmux.line("clear; $RF run --quiet --preset default -- bash task");
        tmux.wait_line("up");
        let begun = Instant::now();
        while !lives(&word) {
            assert!(begun.elapsed() < PATIENCE, "it never began");
            std::thread::sleep(Duration::from_millis(20));
        }
        tmux.tmux(&[close]);
        let begun = Instant::now();
        while lives(&word) {
            assert!(begun.elapsed() < PATIENCE, "it lives on after {close}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn nohup_outlives_the_terminal() {
    let tmux = Tmux::new();
    let policy = tmux.place.policy("[workspace]\nmode = \"direct\"");
    let script = "echo > began; while test ! -e go; do sleep 0.05; done; echo > done";
    tmux.line(&format!("nohup $RF run --quiet --policy {policy} --workspace . -- sh -c '{script}' &"));
    let appears = |name: &str| {
        let begun = Instant::now();
        while tmux.place.read(name).is_none() {
            assert!(begun.elapsed() < PATIENCE, "{name} never came");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    appears("began");
    tmux.tmux(&["kill-pane"]);
    std::thread::sleep(Duration::from_millis(1500));
    tmux.place.write("go", "");
    appears("done");
}

#[test]
fn a_shell_inside_is_one_word() {
    let tmux = Tmux::new();
    tmux.line("clear; SHELL=/bin/bash $RF shell --preset default");
    tmux.wait("a prompt", |screen| screen.trim_end().ends_with(['$', '#']));
    tmux.line("clear; echo pid=$$ host=$(hostname)");
    tmux.wait_for("host=ringfence");
    tmux.line("exit 4");
    tmux.wait_for("outside>");
    tmux.line("echo status=$?");
    tmux.wait_line("status=4");
}
