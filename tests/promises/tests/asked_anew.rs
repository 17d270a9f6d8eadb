//! Questions that stand: who waits is interrupted, or the terminal shows something else.

use std::time::Duration;

use ringfence_promises::text;

use crate::asked::Asking;

/// A signal ends the call of who waits, who tries again: that is one question, which stands.
#[test]
fn a_question_stands_while_who_waits_is_only_interrupted() {
    let asking = Asking::new();
    let path = format!("{}/one", asking.data);
    let child = asking.start(&format!(
        "python3 -I -S -c 'import signal\n\
         signal.signal(signal.SIGALRM, lambda *_: None)\n\
         signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)\n\
         print(open(\"{path}\").read(), end=\"\")'"
    ));
    asking.place.wait_for(&path);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(asking.place.told("ask").len(), 1, "{:?}", asking.place.told("file.deny").first());
    assert_eq!(asking.grant(&path, &[]).status, 0);
    assert_eq!(text(child).0, "granted\n");
    assert_eq!((asking.place.told("ask").len(), asking.place.told("file.deny").len()), (1, 0));
}

/// What is let out above a question may look like one: no key counts until the question is drawn again, and for a moment then.
#[test]
fn no_key_counts_while_the_question_is_not_on_the_terminal() {
    let asking = Asking::new();
    let data = &asking.data;
    let inside = format!(
        "stty -echo -opost; (sleep 1; head -c 3000000 /dev/zero | tr '\\0' b) & cat {data}/one || echo denied; kill $! 2>/dev/null; wait"
    );
    let steps = r#"
question()
find(b"b" * 1000, asked)         # it is being let out, as far as this is read
os.write(terminal, b"n\r")
time.sleep(0.5)
question()
os.write(terminal, b"n\r")
try:
    end = time.time() + 1
    while time.time() < end:
        if select.select([terminal], [], [], 0.1)[0]: seen += os.read(terminal, 65536)
    while True:
        os.write(terminal, b"y\r")
        time.sleep(0.2)
        while select.select([terminal], [], [], 0.1)[0]: seen += os.read(terminal, 65536)
except OSError: pass
print(b"granted" in seen, b"denied" in seen)
"#;
    let arguments = ["run", "--quiet", "--policy", &asking.policy, "--", "sh", "-c", &inside];
    let done = asking.under_terminal(&arguments, steps).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "True False\n", "{done:?}");
}

/// A shell that waits for what it starts (vfork(2)) hears of no signal until that has its answer.
#[test]
fn whoever_ends_a_run_ends_its_questions() {
    let asking = Asking::new();
    let policy = asking.place.policy(
        "[commands]\nallow = [\"sh -c *\"]\n[approvals]\non_refusal = \"ask\"\ngrantable = { commands = [\"wc **\"] }",
    );
    let script = "wc -l /etc/passwd; echo over";
    let child = asking
        .place
        .command(&["run", "--quiet", "--policy", &policy, "--", "sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    asking.place.wait_for("wc -l /etc/passwd");
    let since = std::time::Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let (out, err) = text(child);
    assert!(since.elapsed() < Duration::from_secs(20) && !out.contains("over"), "{out} {err}");
    let told = asking.place.told("exec.deny");
    let unanswered =
        |event: &serde_json::Value| event["rule"].as_str().unwrap().contains("ended before there");
    assert!(told.iter().any(unanswered), "{told:?}");
}

/// What the terminal asks about can be granted: one of many programs, by the file that its entry names.
#[test]
fn one_program_of_many_is_asked_about_as_it_is_listed() {
    let asking = Asking::new();
    let policy = asking.place.policy(
        "[commands]\nallow = [\"sh -c *\"]\n[approvals]\non_refusal = \"ask\"\n\
         grantable = { commands = [\"busybox dirname **\"] }",
    );
    let steps = "question(); find(b'busybox dirname /a/b', 0); answer(b'y\\r', b'/a\\r')\nend()\n";
    let arguments = ["run", "--quiet", "--policy", &policy, "--", "sh", "-c", "busybox dirname /a/b; true"];
    let done = asking.under_terminal(&arguments, steps).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "status 0\n", "{done:?}");
}

/// What is named from a directory is asked about as what it is there, and nothing else is granted by that name.
#[test]
fn a_path_is_asked_about_as_the_file_that_it_is_there() {
    let asking = Asking::new();
    for name in ["secret", "sub/secret"] {
        asking.place.write(name, &format!("{name}\n"));
    }
    let policy = asking.place.policy(
        "[commands]\nallow = [\"sh -c *\"]\n[approvals]\non_refusal = \"ask\"\ngrantable = { commands = [\"cat **\"] }",
    );
    let child = asking
        .place
        .command(&[
            "run",
            "--quiet",
            "--policy",
            &policy,
            "--",
            "sh",
            "-c",
            "cd sub; cat ./secret; cat ./other; cd ..; cat ./secret",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    asking.place.wait_for("cat ./sub/secret");
    let granted = asking.place.ringfence(&["grant", "last", "--command", "cat ./sub/secret"]);
    assert_eq!(granted.status, 0, "{granted:?}");
    asking.place.wait_for("cat ./sub/other");
    assert_eq!(asking.place.ringfence(&["revoke", "last", "--command", "cat ./sub/other"]).status, 0);
    asking.place.wait_for("cat ./secret");
    let refused = asking.place.ringfence(&["revoke", "last", "--command", "cat ./secret"]);
    assert_eq!(refused.status, 0, "{refused:?}");
    let (out, err) = text(child);
    assert_eq!(out, "sub/secret\n", "{err}");
    let explained = asking.place.ringfence(&["explain"]).out;
    assert!(explained.contains(" --command 'cat ./sub/other'"), "{explained}");
}
