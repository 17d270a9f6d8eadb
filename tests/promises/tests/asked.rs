//! `approvals.on_refusal = "ask"`: whoever uses what may be granted waits for its owner, and nobody else does.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::{Outcome, Place, text};
use serde_json::Value;

/// A place whose owner is asked about `~/projects` and a directory beside the home.
pub(crate) struct Asking {
    pub(crate) place: Place,
    pub(crate) policy: String,
    pub(crate) data: String,
    projects: String,
}

impl Asking {
    pub(crate) fn new() -> Self {
        let place = Place::in_home();
        let data = place.base.path().join("data");
        let projects = place.home.join("projects");
        for directory in [projects.join("a/deep"), data.clone()] {
            std::fs::create_dir_all(&directory).unwrap();
        }
        for file in [
            projects.join("a/one"),
            projects.join("a/deep/two"),
            data.join("one"),
            data.join("two"),
            projects.join("a/deep/three"),
        ] {
            std::fs::write(file, "granted\n").unwrap();
        }
        let (data, projects) = (data.display().to_string(), projects.display().to_string());
        let policy = place.policy(&format!(
            "[approvals]\non_refusal = \"ask\"\ngrantable = {{ read = [\"~/projects/**\", \"{data}/**\"] }}"
        ));
        Self { place, policy, data, projects }
    }

    pub(crate) fn start(&self, script: &str) -> Child {
        let mut command =
            self.place.command(&["run", "--quiet", "--policy", &self.policy, "--", "sh", "-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn grant(&self, path: &str, more: &[&str]) -> Outcome {
        self.place.ringfence(&[&["grant", "last", "--read", path], more].concat())
    }
}

#[test]
fn who_waits_goes_on_as_soon_as_it_is_granted() {
    let asking = Asking::new();
    let (data, projects) = (&asking.data, &asking.projects);
    let child = asking.start(&format!(
        "cat {data}/one {projects}/a/one; echo x > {data}/one; ls {data}; cat {projects}/a/deep/two; sh {projects}/a/one"
    ));
    for path in [format!("{data}/one"), format!("{projects}/a/one"), format!("{projects}/a/deep/two")] {
        asking.place.wait_for(&path);
        let given = asking.grant(&path, &["--why", "it is needed"]);
        assert_eq!(given.status, 0, "{given:?}");
    }
    let (out, err) = text(child);
    assert_eq!(out, "granted\ngranted\none\ngranted\n", "{err}");
    assert!(err.contains("Read-only file system"), "{err}");
    assert!(err.contains("waits for") && err.contains("ringfence grant"), "the owner is told: {err}");
    let grants = asking.place.told("grant");
    assert_eq!(grants.len(), 3);
    let uid = std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap();
    let who = grants[0]["who"].as_str().unwrap_or_default();
    assert!(who.starts_with(&format!("uid {uid}, process ")), "{grants:?}");
    let asked = &asking.place.told("ask")[0];
    assert!(asked["program"].as_str().unwrap().ends_with("/cat") && asked["purpose"] == "read", "{asked}");
}

/// Whoever looks at the run from elsewhere sees that it waits, and on what, until it is answered.
#[test]
fn who_waits_is_seen_from_elsewhere() {
    let asking = Asking::new();
    let path = format!("{}/one", asking.data);
    let child = asking.start(&format!("cat {path}; echo over; sleep 2"));
    asking.place.wait_for(&path);
    let waits = format!("for its owner to let it read {path}");
    let explained = asking.place.ringfence(&["explain", "last"]);
    assert!(explained.out.contains(&waits) && explained.out.contains("/cat (process "), "{explained:?}");
    assert!(
        explained.out.contains("`ringfence grant ") && !explained.out.contains("nothing that is seen"),
        "{explained:?}"
    );
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&asking.place.ringfence(arguments).out).unwrap()
    };
    let waiting = json(&["explain", "last", "--json"])["waiting"].clone();
    assert!(waiting[0].as_str().unwrap().contains(&waits) && waiting[1].is_null(), "{waiting}");
    let listed = asking.place.ringfence(&["ps"]);
    assert!(listed.out.contains(&waits[..40]), "{listed:?}");
    assert!(json(&["ps", "--json"])[0]["waiting"][0].as_str().unwrap().contains(&waits));
    assert_eq!(asking.grant(&path, &[]).status, 0);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(json(&["explain", "last", "--json"])["waiting"], Value::Array(Vec::new()));
    assert!(!asking.place.ringfence(&["ps"]).out.contains("waits"));
    assert_eq!(text(child).0, "granted\nover\n");
    // And what led there is gone with it, of a sandbox with a name as well.
    let sockets =
        || asking.place.listing().into_iter().filter(|(path, _)| path.ends_with("control.sock")).count();
    assert_eq!(sockets(), 0);
    assert_eq!(asking.place.ringfence(&["start", "dev", "--policy", &asking.policy]).status, 0);
    assert_eq!(sockets(), 1);
    assert_eq!(asking.place.ringfence(&["stop", "dev"]).status, 0);
    assert_eq!(sockets(), 0);
}

/// In the directory that somebody waits in, and elsewhere.
#[test]
fn nobody_else_waits_and_a_caller_can_be_killed() {
    let asking = Asking::new();
    let data = &asking.data;
    let child = asking.start(&format!(
        "cat {data}/one & waits=$!; sleep 0.5; \
         ls {data}/none {data}/. /etc/none 2>&1 | grep -c 'No such'; ls {data} | wc -l; cat /etc/hostname >/dev/null; \
         kill -9 $waits; wait $waits; echo killed $?; \
         cat {data}/two & waits=$!; sleep 0.5; kill -TERM $waits; wait $waits; echo ended $?"
    ));
    let begun = Instant::now();
    let (out, err) = text(child);
    assert_eq!(out, "2\n0\nkilled 137\nended 143\n", "{err}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn what_may_not_be_granted_is_refused_at_once_and_time_is_limited_by_the_owner() {
    let asking = Asking::new();
    let (data, projects) = (&asking.data, &asking.projects);
    let child = asking.start(&format!(
        "cat ~/.ssh/id_rsa /etc/shadow; echo x > {data}/new; cat {data}/none; echo at once; \
         cat {projects}/a/one; while cat {projects}/a/one >/dev/null 2>&1 && test ! -e stop; do sleep 0.1; done; echo over"
    ));
    let path = format!("{projects}/a/one");
    asking.place.wait_for(&path);
    assert_eq!(asking.grant(&path, &["--for", "1s"]).status, 0);
    // It has expired, and the next one asks anew.
    let since = Instant::now();
    while asking.place.told("ask").len() < 2 {
        assert!(since.elapsed() < Duration::from_secs(20), "nobody asks again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(asking.place.told("revoke").len(), 1);
    let refused = asking.place.ringfence(&["revoke", "last", "--read", &path]);
    assert_eq!(refused.status, 0, "{refused:?}");
    let (out, err) = text(child);
    assert_eq!(out, "at once\ngranted\nover\n", "{err}");
    let denied = asking.place.told("file.deny");
    let rule = |event: &&Value| event["rule"].as_str().unwrap().contains("the owner was asked");
    assert_eq!(denied.iter().filter(rule).count(), 1, "{denied:?}");
}

#[test]
fn a_policy_that_asks_about_nothing_or_cannot_ask_is_an_error() {
    let place = Place::new();
    let nothing = place.run("[approvals]\non_refusal = \"ask\"", "echo ran");
    assert_eq!((nothing.status, nothing.out.as_str()), (125, ""), "{nothing:?}");
    assert!(nothing.err.contains("grantable"), "{nothing:?}");
    let policy = place.policy("[approvals]\non_refusal = \"ask\"\ngrantable = { read = [\"/srv/**\"] }");
    let mut command = place.command(&["run", "--policy", &policy, "--", "echo", "ran"]);
    let blind = command.env("RINGFENCE_TEST_HOST", "no-fuse").output().unwrap();
    let err = String::from_utf8_lossy(&blind.stderr).into_owned();
    assert!(blind.status.code() == Some(125) && err.contains("on_refusal"), "{err}");
}

/// Runs a program under a terminal of its own (script(1) is not always there; python is), and says what it is to be seen there.
const TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
seen, asked = b"", 0
def find(text, start):
    global seen
    end = time.time() + 20
    while seen.find(text, start) < 0 and time.time() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try: seen += os.read(terminal, 4096)
            except OSError: break
    at = seen.find(text, start)
    if at < 0: print("never came:", text, "in", seen[:600], "..", seen[-600:])
    return max(at, 0) + len(text)
def question():
    global asked
    asked = find(b"Enter: ", find(b"wants to", asked))
def answer(text, expected):
    time.sleep(0.7)
    os.write(terminal, text)
    # What the task says of it may come after the next question.
    return find(expected, asked)
def end():
    _, status = os.waitpid(pid, 0)
    print("status", os.waitstatus_to_exitcode(status))
"#;

impl Asking {
    /// `steps` answer; what was not as they say is printed, and is an error here.
    pub(crate) fn under_terminal(&self, arguments: &[&str], steps: &str) -> Command {
        let run = self.place.command(arguments);
        let mut command = Command::new("python3");
        command.arg("-c").arg(format!("{TERMINAL}{steps}")).arg(run.get_program()).args(run.get_args());
        command.current_dir(&self.place.workspace).env("HOME", &self.place.home);
        command.env("RINGFENCE_STATE", &self.place.state).env("TERM", "xterm");
        command
    }
}

#[test]
fn who_refuses_all_is_not_asked_again_and_explain_says_so() {
    let asking = Asking::new();
    let place = &asking.place;
    let policy = place.policy(
        "[commands]\nallow = [\"sh -c *\"]\n[approvals]\non_refusal = \"ask\"\ngrantable = { commands = [\"id **\"] }",
    );
    for (word, asked, told) in [
        ("n", 1, "it is asked again in the next sandbox alone"),
        ("x", 1, "it is asked again in the next sandbox alone"),
    ] {
        let steps = format!("for n in range({asked}): question(); answer(b'{word}\\r', b'denied')\nend()\n");
        let words = ["run", "--quiet", "--policy", &policy, "--", "sh", "-c", "id -u; id -u; true"];
        let done = asking.under_terminal(&words, &steps).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "status 0\n", "{word}: {done:?}");
        let explained = place.ringfence(&["explain"]).out;
        assert!(explained.contains(told), "{word}: {explained}");
    }
}

#[test]
fn the_terminal_asks_and_takes_words_only() {
    let asking = Asking::new();
    let (data, projects) = (&asking.data, &asking.projects);
    std::fs::write(format!("{data}/three"), "granted\n").unwrap();
    let steps = r#"
find(b"READY", 0); since = time.time()
question()
if time.time() - since < 0.15:       # on a busy machine nobody knows how old the question is
    os.write(terminal, b"y\r")       # too soon: it was meant for the task
asked = answer(b"what\r", b"`y`, `t`, `a`, `n` or `x`")
answer(b"y\r", b"granted")
question(); answer(b"n\r", b"No such file")
question(); answer(b"t\r", b"granted")
question(); answer(b"a\r", b"grants it to later sandboxes too")
question(); answer(b"x\r", b"AFTER")
os.write(terminal, b"typed\r"); find(b"got typed", asked)
end()
"#;
    let inside = format!(
        "stty -echo; echo READY; cat {data}/one; cat {data}/two; cat {projects}/a/one; cat {data}/three; cat {projects}/a/deep/two; cat {projects}/a/deep/three; echo AFTER; read line; echo got $line"
    );
    let arguments = ["run", "--quiet", "--policy", &asking.policy, "--", "sh", "-c", &inside];
    let done = asking.under_terminal(&arguments, steps).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "status 0\n", "{done:?}");
    let grants = asking.place.told("grant");
    let seconds: Vec<_> = grants.iter().map(|grant| grant["seconds"].as_u64()).collect();
    assert_eq!(seconds, [None, Some(600), None], "{grants:?}");
    assert!(
        grants.iter().all(|grant| grant["who"].as_str().is_some_and(|who| who.ends_with("at a terminal")))
    );
    // Only what was to last.
    let policy = std::fs::read_to_string(&asking.policy).unwrap();
    assert!(policy.contains("three") && !policy.contains("one"), "{policy}");
}

/// Whoever asks for a name behind a link would learn what the host has there; the owner could not grant it, and `a` must not write it.
#[test]
fn what_stands_behind_a_link_of_the_hosts_is_not_asked_about() {
    let asking = Asking::new();
    let (place, data) = (&asking.place, &asking.data);
    place.write(place.home.join(".ssh/key"), "SECRET\n");
    std::os::unix::fs::symlink(place.home.join(".ssh"), format!("{data}/l")).unwrap();
    let script = format!(
        "for f in key none; do timeout 2 stat {data}/l/$f >/dev/null 2>&1; echo $?; done; cat {data}/l/key; sleep 0.3"
    );
    let before = std::fs::read_to_string(&asking.policy).unwrap();
    let words = ["run", "--quiet", "--policy", &asking.policy, "--", "sh", "-c", &script];
    let steps = "find(b'1', 0)\nif b'wants to' in seen: question(); answer(b'a\\r', b'')\nend()\n";
    let seen = asking.under_terminal(&words, steps).output().unwrap();
    assert!(seen.stdout.ends_with(b"status 0\n"), "{seen:?}");
    assert_eq!(std::fs::read_to_string(&asking.policy).unwrap(), before);
    let (out, err) = text(asking.start(&script));
    assert_eq!(out, "1\n1\n", "124 tells that it is there: {err}");
    assert!(place.told("ask").is_empty(), "{err}");
    let child = asking.start("sleep 3");
    std::thread::sleep(Duration::from_millis(500));
    let refused = asking.grant(&format!("{data}/l/key"), &[]);
    assert_ne!(refused.status, 0, "{refused:?}");
    assert!(place.told("grant").is_empty(), "{refused:?}");
    assert!(!text(child).1.contains("waits for"));
}

/// The policy file may be named from where the run starts; what cannot be written is told in words.
#[test]
fn always_writes_to_the_file_that_was_named_from_below() {
    let asking = Asking::new();
    let name = asking.policy.rsplit_once('/').unwrap().1;
    let below = asking.place.workspace.join("below");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::copy(&asking.policy, asking.place.workspace.join(name)).unwrap();
    let inside =
        format!("stty -echo; echo READY; cat {}/one; cat {}/two; sleep 0.3", asking.data, asking.data);
    let steps = "find(b\"READY\", 0)\nquestion(); answer(b\"a\\r\", b\"sandboxes too: \")\n\
                 open(sys.argv[-5], 'a').write('[files]\\nnone = 1\\n')\n\
                 question(); answer(b\"a\\r\", b\"not written to\"); end()\n\
                 if b'u{1b}' in seen: print('codes', seen)\n";
    let named = format!("../{name}");
    let arguments = ["run", "--quiet", "--workspace", ".", "--policy", &named, "--", "sh", "-c", &inside];
    let mut command = asking.under_terminal(&arguments, steps);
    let done = command.current_dir(&below).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "status 0\n", "{done:?}");
    let written = std::fs::read_to_string(asking.place.workspace.join(name)).unwrap();
    assert!(written.contains(&format!("{}/one", asking.data)), "{written}");
}

/// The owner's terminal is a client's, and the sandbox is another process's.
#[test]
fn a_command_of_a_named_sandbox_asks_at_its_own_terminal() {
    let asking = Asking::new();
    let data = &asking.data;
    let started = asking.place.ringfence(&["start", "dev", "--policy", &asking.policy]);
    assert_eq!(started.status, 0, "{started:?}");
    let inside = format!(
        "stty -echo; echo READY; cat {data}/one; cat {data}/two; cat {}/a/one; cat {}/a/deep/two; read line; echo got $line",
        asking.projects, asking.projects
    );
    let steps = r#"
find(b"READY", 0)
question(); asked = answer(b"what\r", b"`t`"); answer(b"y\r", b"granted")
question(); answer(b"n\r", b"No such file")
# Somebody else answers this one: it goes from the terminal, and what is typed then is the task's.
question(); find(b"granted", asked)
question(); answer(b"t\r", b"granted")
os.write(terminal, b"typed\r"); find(b"got typed", asked)
end()
"#;
    let mut command = asking.under_terminal(&["exec", "dev", "--", "sh", "-c", &inside], steps);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    asking.place.wait_for(&format!("{}/a/one", asking.projects));
    std::thread::sleep(Duration::from_millis(300));
    let given = asking.place.ringfence(&["grant", "dev", "--read", &format!("{}/a/one", asking.projects)]);
    assert_eq!(given.status, 0, "{given:?}");
    assert_eq!(text(child).0, "status 0\n");
    let seconds: Vec<_> = asking.place.told("grant").iter().map(|one| one["seconds"].as_u64()).collect();
    assert_eq!(seconds, [None, None, Some(600)]);
    assert_eq!(asking.place.ringfence(&["stop", "dev"]).status, 0);
}

#[test]
fn a_grant_for_always_is_a_line_of_the_policy() {
    let asking = Asking::new();
    let place = &asking.place;
    let wanted = format!("{}/one", asking.data);
    let text = std::fs::read_to_string(&asking.policy).unwrap();
    let own = place.write("ringfence.toml", &format!("# Mine.\n{text}"));
    assert_eq!(place.ringfence(&["trust"]).status, 0);
    let run = |script: &str| {
        let mut command = place.command(&["run", "--quiet", "--", "sh", "-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let child = run(&format!("cat {wanted}"));
    asking.place.wait_for(&wanted);
    let given = asking.grant(&wanted, &["--always", "ringfence.toml"]);
    assert!(given.status == 0 && given.out.contains("later sandboxes"), "{given:?}");
    assert_eq!(text_of(child), "granted\n");
    let now = std::fs::read_to_string(&own).unwrap();
    assert!(now.starts_with("# Mine.\n") && now.contains(&wanted), "{now}");
    // Trusted still, and nobody is asked any more.
    assert_eq!(text_of(run(&format!("cat {wanted}"))), "granted\n");
    assert_eq!(asking.place.told("ask").len(), 1);
    // What is no policy afterwards is not written.
    let broken = place.write("broken.toml", "version = 1\nfiles = 3\n");
    let child = run(&format!("cat {}/two", asking.data));
    asking.place.wait_for(&format!("{}/two", asking.data));
    let refused = asking.grant(&format!("{}/two", asking.data), &["--always", "broken.toml"]);
    assert_eq!(refused.status, 125, "{refused:?}");
    assert_eq!(std::fs::read_to_string(broken).unwrap(), "version = 1\nfiles = 3\n");
    assert_eq!(text_of(child), "granted\n");
    // What a policy would read as another path neither: `odd?` is `odd`, if that is there.
    let odd = format!("{}/odd?", asking.data);
    std::fs::write(&odd, "granted\n").unwrap();
    let child = run(&format!("cat '{odd}'"));
    asking.place.wait_for(&odd);
    let refused = asking.grant(&odd, &["--always", "ringfence.toml"]);
    assert!(refused.err.contains("pattern"), "{refused:?}");
    assert_eq!(text_of(child), "granted\n");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), now);
    let names: Vec<_> =
        std::fs::read_dir(&place.workspace).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn text_of(child: Child) -> String {
    let (out, err) = text(child);
    assert!(err.is_empty() || err.contains("waits for"), "{err}");
    out
}

/// Of a grant of the directory above what was asked about, and of one that was refused before, nothing stays behind.
#[test]
fn what_was_taken_away_is_asked_about_anew() {
    let asking = Asking::new();
    let (place, wanted) = (&asking.place, format!("{}/a/one", asking.projects));
    // Looks all the time, and tells each change of what comes of it; the moment in which a mount goes may refuse.
    let script = format!(
        "import os, time\nlast, end = None, time.monotonic() + 60\n\
         while time.monotonic() < end and not os.path.exists('stop'):\n\
         \x20   try: os.close(os.open('{wanted}', 0)); now = 'read'\n\
         \x20   except PermissionError: continue\n\
         \x20   except OSError as error: now = error.strerror\n\
         \x20   if now != last: open('told', 'a').write(now + chr(10))\n\
         \x20   last = now\n"
    );
    place.write("look.py", &script);
    let lines = format!("{}\n", std::fs::read_to_string(&asking.policy).unwrap());
    place.write(&asking.policy, &format!("{lines}[workspace]\nmode = \"direct\"\n"));
    let started = place.ringfence(&["start", "dev", "--policy", &asking.policy]);
    assert_eq!(started.status, 0, "{started:?}");
    let mut looking = place.command(&["exec", "dev", "--", "python3", "look.py"]).spawn().unwrap();
    let until = |what: &str, come: &dyn Fn() -> bool| {
        let since = Instant::now();
        while !come() {
            assert!(since.elapsed() < Duration::from_secs(20), "{what}: {:?}", place.read("told"));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let told = |count: usize| move || place.read("told").is_some_and(|told| told.lines().count() == count);
    let act = |verb: &str, path: &str| {
        let done = place.ringfence(&[verb, "dev", "--read", path]);
        assert_eq!(done.status, 0, "{verb} {path}: {done:?}");
    };
    let above = format!("{}/a", asking.projects);
    place.wait_for(&wanted);
    act("grant", &above);
    until("granted", &told(1));
    act("revoke", &above);
    until("asked again", &|| place.told("ask").len() == 2);
    act("revoke", &wanted);
    until("refused", &told(2));
    // The owner thinks better of it.
    act("grant", &wanted);
    until("granted again", &told(3));
    // It may have been asked about before it was mounted; nobody asks while it is.
    let asked = place.told("ask").len();
    act("revoke", &wanted);
    until("asked a third time", &|| place.told("ask").len() > asked);
    act("revoke", &wanted);
    until("refused again", &told(4));
    place.write("stop", "");
    assert!(looking.wait().unwrap().success());
    assert_eq!(place.ringfence(&["stop", "dev", "--grace", "0"]).status, 0);
    let absent = "No such file or directory";
    assert_eq!(place.read("told").unwrap(), format!("read\n{absent}\nread\n{absent}\n"));
}

/// As long as the owner has, here two seconds.
#[test]
fn what_nobody_answers_does_not_exist_in_the_end() {
    let asking = Asking::new();
    let run = ["run", "--quiet", "--policy", &asking.policy, "--", "cat"];
    let path = format!("{}/one", asking.data);
    let outcome = asking
        .place
        .command(&[&run[..], &[&path]].concat())
        .env("RINGFENCE_TEST_PATIENCE", "2")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.stdout.is_empty() && err.contains("No such file"), "{outcome:?}");
    let refused = asking.place.told("file.deny");
    assert!(
        refused.iter().any(|one| one["rule"] == "the owner was asked: nobody answered in time"),
        "{refused:?}"
    );
}

/// The name of a program is the task's: it begins no line, and hides nothing of what is waited for.
#[test]
fn no_name_passes_for_a_line_of_ours_or_for_all_of_one() {
    let asking = Asking::new();
    let path = format!("{}/one", asking.data);
    let name = format!(
        "y\nringfence: ask: sh waits to start x: `ringfence grant RUN --command x`{}let it read nothing",
        " ".repeat(120)
    );
    let child = asking.start(&format!(
        "mkdir '{name}'; cp /usr/bin/cat '{name}/cat'; '{name}/cat' {path}; echo over; sleep 2"
    ));
    asking.place.wait_for(&path);
    let listed = asking.place.ringfence(&["ps"]).out;
    let waits = listed.lines().find(|line| line.contains("more seconds at most")).unwrap();
    assert!(waits.contains(&format!("for its owner to let it read {path}: `ringfence explain ")), "{listed}");
    let explained = asking.place.ringfence(&["explain", "last"]).out;
    assert!(!explained.contains("\nringfence: ask:") && explained.contains(&path), "{explained}");
    assert_eq!(asking.grant(&path, &[]).status, 0);
    let (out, err) = text(child);
    assert_eq!(out, "granted\nover\n", "{err}");
    let asked: Vec<&str> = err.lines().filter(|line| line.starts_with("ringfence: ask:")).collect();
    assert!(asked.len() == 1 && asked[0].contains("/y\\nringfence: ask:"), "{err}");
}

/// What others draw while a question stands is held back, as far as there is room, and then let out above it: they go on.
#[test]
fn nobody_is_held_up_by_a_question_on_the_terminal() {
    let asking = Asking::new();
    let data = &asking.data;
    let inside = format!(
        "stty -echo -opost; echo READY; (sleep 1; head -c 200000 /dev/zero | tr '\\0' a; : > first; \
         head -c 4000000 /dev/zero | tr '\\0' b; : > second) & cat {data}/one; wait; echo 'ALL\\nDONE'"
    );
    let steps = r#"
find(b"READY", 0)
question(); since, workspace = time.time(), os.environ["AT"]
def come(name):
    while not any(name in files for _, _, files in os.walk(workspace)):
        if time.time() - since > 15: return print("never came:", name)
        if select.select([terminal], [], [], 0.05)[0]: globals()["seen"] += os.read(terminal, 65536)
come("first")
if b"a" * 100 in seen: print("drawn over the question")
come("second")
if seen.count(b"wants to") < 2: print("the question is not drawn anew")
settled = time.time() + 3       # keys count some time after it is drawn anew
while time.time() < settled:
    if select.select([terminal], [], [], 0.1)[0]: seen += os.read(terminal, 65536)
os.write(terminal, b"y\r")
parts = [seen]
while select.select([terminal], [], [], 20)[0]:
    try: parts.append(os.read(terminal, 65536))
    except OSError: break
seen = b"".join(parts)
print(seen[-17:].strip())
end()
if seen.count(b"a" * 1000) < 100: print("lost", len(seen))
print(seen.count(b"b") >= 4000000)
"#;
    let arguments = ["run", "--quiet", "--policy", &asking.policy, "--", "sh", "-c", &inside];
    let mut command = asking.under_terminal(&arguments, steps);
    let done = command.env("AT", asking.place.state.parent().unwrap()).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "b'granted\\nALL\\nDONE'\nstatus 0\nTrue\n",
        "{:.900}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Who was killed waits for nothing: the question ends at once, and the next one who looks there asks anew.
#[test]
fn a_question_ends_with_who_waited() {
    let asking = Asking::new();
    let path = format!("{}/one", asking.data);
    let child = asking.start(&format!(
        "cat {path} & sleep 0.7; kill -9 $!; wait $! 2>/dev/null; sleep 1.5; : > mark; cat {path}"
    ));
    asking.place.wait_for(&path);
    let since = Instant::now();
    while asking.place.told("file.deny").is_empty() {
        assert!(since.elapsed() < Duration::from_secs(20), "the question stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    let explained = asking.place.ringfence(&["explain", "last", "--json"]);
    let json: Value = serde_json::from_str(&explained.out).unwrap();
    assert_eq!(json["waiting"], Value::Array(Vec::new()), "{json}");
    while asking.place.told("ask").len() < 2 {
        assert!(since.elapsed() < Duration::from_secs(20), "nobody asks anew");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(asking.grant(&path, &[]).status, 0);
    assert_eq!(text(child).0, "granted\n");
    let denied = &asking.place.told("file.deny")[0];
    assert!(denied["rule"].as_str().unwrap().contains("nobody waits for it any more"), "{denied}");
}

/// Each question has an outcome in the record, that of a run which ends while it asks as well.
#[test]
fn a_question_ends_with_its_run() {
    let asking = Asking::new();
    let path = format!("{}/one", asking.data);
    let mut child = asking.start(&format!("cat {path}"));
    asking.place.wait_for(&path);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
    let denied = asking.place.told("file.deny");
    let told = denied.iter().any(|event| {
        event["path"] == path.as_str()
            && event["rule"].as_str().is_some_and(|rule| rule.contains("the sandbox ended before"))
    });
    assert!(told, "{denied:?}");
}
