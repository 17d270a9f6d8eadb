//! `approvals.grantable.commands`: what may not start, until its owner lets it, and for as long.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::{Outcome, Place, text};

struct Owned {
    place: Place,
    policy: String,
}

impl Owned {
    fn new(policy: &str) -> Self {
        let place = Place::new().in_tier(module_path!());
        let policy = place.policy(policy);
        Self { place, policy }
    }

    fn run(&self, script: &str) -> Child {
        let run = ["run", "--quiet", "--policy", &self.policy, "--workspace", ".", "--", "sh", "-c", script];
        let mut command = self.place.command(&run);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn grant(&self, run: &str, command: &str, more: &[&str]) -> Outcome {
        self.place.ringfence(&[&["grant", run, "--command", command], more].concat())
    }

    fn revoke(&self, run: &str, command: &str) -> Outcome {
        self.place.ringfence(&["revoke", run, "--command", command])
    }
}

/// What `check` says of an entry, and what there is instead.
#[test]
fn what_is_no_grant_is_told_with_its_mend() {
    let owned = Owned::new(
        "[commands]\nallow = [\"cat\"]\n[approvals]\ngrantable = { commands = [\"id **\", \"ls\"] }",
    );
    let start = ["start", "dev", "--policy", &owned.policy, "--workspace", "."];
    assert_eq!(owned.place.ringfence(&start).status, 0);
    for (command, mend) in
        [("head | x", "hint: "), ("", "hint: remove it"), ("wc -l", "covers `wc -l`: it has `id **`, `ls`")]
    {
        let refused = owned.grant("dev", command, &[]);
        assert!(refused.status == 126 && refused.err.contains(mend), "{command}: {refused:?}");
    }
    let none = owned.revoke("dev", "zzz");
    assert!(none.err.contains("`zzz` is not granted: nothing of the kind is"), "{none:?}");
    assert_eq!(owned.grant("dev", "id -u", &[]).status, 0);
    let other = owned.revoke("dev", "id");
    assert!(other.err.contains("`id` is not granted: `id -u` is"), "{other:?}");
    assert_eq!(owned.place.ringfence(&["stop", "dev"]).status, 0);
    let empty = owned.place.ringfence(&["explain", "--policy", &owned.policy, "--command", ""]);
    assert!(empty.status != 0 && empty.err.contains("it is empty"), "{empty:?}");
}

#[test]
fn a_command_is_granted_for_a_time_and_taken_away() {
    let owned = Owned::new(
        "[commands]\nallow = [\"git status **\"]\nchildren = \"free\"\ndeny = [\"git push --force\"]\n\
         [approvals]\ngrantable = { commands = [\"git push **\"] }",
    );
    let place = &owned.place;
    let host = "git init -q -b main . && git config user.name n && git config user.email n@example.org && \
                git init -q --bare remote && git commit -q --allow-empty -m first";
    let made = std::process::Command::new("sh").args(["-c", host]).current_dir(&place.workspace).status();
    assert!(made.unwrap().success());
    let start = ["start", "dev", "--policy", &owned.policy, "--workspace", "."];
    assert_eq!(place.ringfence(&start).status, 0);
    let push = |branch: &str| {
        let to = format!("HEAD:refs/heads/{branch}");
        place.ringfence(&["exec", "dev", "--", "git", "push", "./remote", &to])
    };
    let before = push("a");
    let granted =
        owned.grant("dev", "git push ./remote HEAD:refs/heads/a", &["--for", "3s", "--why", "a release"]);
    let since = Instant::now();
    let (during, other) = (push("a"), push("b"));
    while since.elapsed() < Duration::from_millis(3500) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let expired = push("a");
    let wide = owned.grant("dev", "git push **", &[]);
    let all = push("c");
    let forced = place.ringfence(&["exec", "dev", "--", "git", "push", "--force", "./remote", "HEAD:main"]);
    let refused: Vec<_> = ["git push --force ./remote", "git fetch", "curl x", "git status -s", "git"]
        .iter()
        .map(|wish| (wish, owned.grant("dev", wish, &[])))
        .collect();
    let revoked = owned.revoke("dev", "git push **");
    let (after, again) = (push("d"), owned.revoke("dev", "git push **"));
    let _ = place.ringfence(&["stop", "dev", "--grace", "0"]);
    assert_eq!(before.status, 126, "{before:?}");
    assert_eq!(granted.status, 0, "{granted:?}");
    assert!(during.status == 0 && during.err.contains("new branch"), "{during:?}");
    assert!(other.status == 126 && expired.status == 126, "{other:?} {expired:?}");
    assert!(wide.status == 0 && all.status == 0, "{wide:?} {all:?}");
    assert_eq!(forced.status, 126, "{forced:?}");
    for (wish, outcome) in refused {
        assert_eq!(outcome.status, 126, "{wish}: {outcome:?}");
    }
    assert!(
        revoked.status == 0 && after.status == 126 && again.status == 126,
        "{revoked:?} {after:?} {again:?}"
    );
    let grants = owned.place.told("grant");
    assert_eq!(grants.len(), 2, "{grants:?}");
    assert_eq!(
        (&grants[0]["access"], &grants[0]["why"], &grants[0]["seconds"]),
        (&"start".into(), &"a release".into(), &3.into())
    );
    let causes: Vec<_> = owned.place.told("revoke").iter().map(|event| event["cause"].clone()).collect();
    assert_eq!(causes, ["expired", "revoked"]);
}

/// `busybox ls` is the program `ls` of that file, in what is granted as in what is grantable.
#[test]
fn one_program_of_many_is_granted_as_it_is_called() {
    let owned = Owned::new(
        "[commands]\nallow = [\"git status **\"]\n[approvals]\n\
         grantable = { commands = [\"ls -t\", \"busybox ls **\"] }",
    );
    let place = &owned.place;
    let start = ["start", "dev", "--policy", &owned.policy, "--workspace", "."];
    assert_eq!(place.ringfence(&start).status, 0);
    let list = |option: &str| place.ringfence(&["exec", "dev", "--", "busybox", "ls", option, "."]).status;
    let before = list("-d");
    let granted = owned.grant("dev", "busybox ls -d .", &[]);
    let (during, other) = (list("-d"), list("-a"));
    let wide = owned.grant("dev", "busybox ls **", &[]);
    let all = list("-a");
    let none = ["busybox cat x", "busybox **", "busybox sh"].map(|wish| owned.grant("dev", wish, &[]));
    let _ = place.ringfence(&["stop", "dev", "--grace", "0"]);
    assert!(granted.status == 0 && wide.status == 0, "{granted:?} {wide:?}");
    assert_eq!((before, during, other, all), (126, 0, 126, 0));
    assert!(none.iter().all(|outcome| outcome.status == 126), "{none:?}");
}

/// A grant opens the file that it names, and no other one that has a program of that name.
#[test]
fn a_grant_of_one_of_many_programs_is_of_the_file_that_it_names() {
    let owned = Owned::new(
        "[files]\nexec = [\"/usr\", \"~/tools\"]\n[commands]\nallow = [\"git status **\"]\n[approvals]\n\
         grantable = { commands = [\"~/tools/busybox ls **\"] }",
    );
    let place = &owned.place;
    let tools = place.home.join("tools");
    place.host(&format!("mkdir {0} && cp /bin/busybox {0} && cp /bin/busybox {0}/toybox", tools.display()));
    let tools = tools.canonicalize().unwrap();
    let tools = tools.display();
    let start = ["start", "dev", "--policy", &owned.policy, "--workspace", "."];
    assert_eq!(place.ringfence(&start).status, 0);
    let others = [
        format!("{tools}/toybox ls **"),
        "/nowhere/busybox ls **".to_owned(),
        "busybox ls **".to_owned(),
        "/usr/bin/busybox ls -d .".to_owned(),
        "ls -d .".to_owned(),
    ];
    let others = others.map(|wish| owned.grant("dev", &wish, &[]));
    let own = owned.grant("dev", &format!("{tools}/busybox ls -d ."), &[]);
    let list = |file: &str| place.ringfence(&["exec", "dev", "--", file, "ls", "-d", "."]).status;
    let listed = (list(&format!("{tools}/busybox")), list("/usr/bin/busybox"));
    let _ = place.ringfence(&["stop", "dev", "--grace", "0"]);
    assert!(others.iter().all(|outcome| outcome.status == 126), "{others:?}");
    assert_eq!((own.status, listed), (0, (0, 126)), "{own:?}");
}

/// What one program of many starts by itself may be listed, or granted on its own.
#[test]
fn lists_and_grants_together_hold_what_one_of_many_programs_starts_by_itself() {
    let owned = Owned::new(
        "[files]\nexec = [\"/usr\", \"~/tools\"]\n[commands]\nallow = [\"git status **\", \"~/tools/toybox cat **\"]\n\
         deny = [\"~/tools/toybox head x\"]\n\
         [approvals]\ngrantable = { commands = [\"~/tools/toybox env **\", \"~/tools/toybox tac **\"] }",
    );
    let place = &owned.place;
    let tools = place.home.join("tools");
    // As in the other places: each of its programs is the script of that name.
    place.host(&format!("mkdir {0} && cp /usr/bin/perl {0}/toybox", tools.display()));
    place.write("env", "print \"ran\";\n");
    let tools = tools.canonicalize().unwrap();
    let tools = tools.display();
    let start = ["start", "dev", "--policy", &owned.policy, "--workspace", "."];
    assert_eq!(place.ringfence(&start).status, 0);
    let toybox = format!("{tools}/toybox");
    let env = |applet: &str| place.ringfence(&["exec", "dev", "--", &toybox, "env", applet, "x"]).out;
    let grant = |words: &str| owned.grant("dev", &format!("{toybox} {words} x"), &[]);
    let before = env("cat");
    let listed = grant("env cat");
    let with_list = env("cat");
    let (early, of_tac, late) = (grant("env tac"), grant("tac"), grant("env tac"));
    let with_grants = env("tac");
    let others = [grant("env rm"), grant("env sh"), grant("env head")];
    let ended = owned.revoke("dev", &format!("{toybox} tac x"));
    let after = env("tac");
    let _ = place.ringfence(&["stop", "dev", "--grace", "0"]);
    assert_eq!((listed.status, before.as_str(), with_list.as_str()), (0, "", "ran"), "{listed:?}");
    assert!(early.status == 126 && early.err.contains("may start `tac` of its file"), "{early:?}");
    assert_eq!((of_tac.status, late.status, with_grants.as_str()), (0, 0, "ran"), "{of_tac:?} {late:?}");
    assert!(others.iter().all(|outcome| outcome.status == 126), "{others:?}");
    assert_eq!((ended.status, after.as_str()), (0, ""), "{ended:?}");
}

#[test]
fn who_waits_to_start_goes_on_as_soon_as_it_is_granted_and_nobody_else_waits() {
    let owned = Owned::new(
        "[commands]\nallow = [\"sh -c *\", \"sleep *\"]\ndeny = [\"basename /secret\"]\n[approvals]\non_refusal = \"ask\"\n\
         grantable = { commands = [\"basename **\", \"dirname *\"] }",
    );
    let child = owned.run(
        "basename /a/b & sleep 0.1; echo beside; wait; basename /a/b; basename /c/d; \
         basename /secret; uname; (dirname /a/b & sleep 1; kill -9 $!; wait 2>/dev/null; echo killed); echo end",
    );
    owned.place.wait_for("basename /a/b");
    std::thread::sleep(Duration::from_millis(400));
    assert!(
        owned
            .place
            .told("process.end")
            .iter()
            .any(|event| event["file"].as_str().unwrap().ends_with("/sleep"))
    );
    let granted = owned.grant("last", "basename /a/b", &[]);
    owned.place.wait_for("basename /c/d");
    let refused = owned.revoke("last", "basename /c/d");
    let (out, err) = text(child);
    assert!(granted.status == 0 && refused.status == 0, "{granted:?} {refused:?}");
    assert_eq!(out, "beside\nb\nb\nkilled\nend\n", "{err}");
    assert_eq!(err.matches("ermission denied").count(), 3, "{err}");
    let asked: Vec<_> = owned.place.told("ask").iter().map(|event| event["path"].clone()).collect();
    assert_eq!(asked, ["basename /a/b", "basename /c/d", "dirname /a/b"]);
    let denied = owned.place.told("exec.deny");
    assert!(
        denied.iter().any(|event| event["rule"] == "the owner was asked: the owner refused it"),
        "{denied:?}"
    );
}

#[test]
fn what_is_asked_about_is_judged_again_when_it_is_granted() {
    // The words change in memory while their owner thinks.
    let owned = Owned::new(
        "[commands]\nallow = [\"/usr/bin/python3\"]\n[approvals]\non_refusal = \"ask\"\ngrantable = { commands = [\"echo **\"] }",
    );
    owned.place.write(
        "t.py",
        "import ctypes, os, threading, time\n\
        libc = ctypes.CDLL(None)\n\
        word = ctypes.create_string_buffer(b'fine')\n\
        argv = (ctypes.c_char_p * 3)(b'echo', ctypes.cast(word, ctypes.c_char_p).value, None)\n\
        argv = (ctypes.c_void_p * 3)(ctypes.cast(ctypes.c_char_p(b'echo'), ctypes.c_void_p).value, ctypes.addressof(word), None)\n\
        def change():\n\
        \x20   time.sleep(0.5); word.value = b'evil'; open('changed', 'w').close()\n\
        threading.Thread(target=change).start()\n\
        libc.execve(b'/usr/bin/echo', argv, None)\n\
        print('refused', flush=True); os._exit(0)\n",
    );
    let run =
        ["run", "--quiet", "--policy", &owned.policy, "--workspace", ".", "--", "/usr/bin/python3", "t.py"];
    let mut command = owned.place.command(&run);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    owned.place.wait_for("echo fine");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(owned.grant("last", "echo fine", &[]).status, 0);
    owned.place.wait_for("echo evil");
    assert_eq!(owned.revoke("last", "echo evil").status, 0);
    let (out, err) = text(child);
    assert_eq!(out, "refused\n", "{err}");
}

/// The files of the task may have other names at each start, and a grant is of those words all the same.
#[test]
fn a_question_about_a_file_of_a_drawn_name_is_about_that_file_alone() {
    let owned = Owned::new(
        "[commands]\nallow = [\"sh -c *\"]\n[approvals]\non_refusal = \"ask\"\ngrantable = { commands = [\"basename **\"] }",
    );
    let words =
        ["basename /tmp/abcde1.sql x", "basename --suffix=/tmp/abcde1 x", "basename '/tmp/a b c --zero'"];
    let child = owned.run(&words.map(|line| format!("{line} 2>&1; ")).concat());
    let mut granted = Vec::new();
    for line in words {
        owned.place.wait_for(line);
        granted.push(owned.grant("last", line, &[]).status);
    }
    let (out, err) = text(child);
    assert_eq!((granted.as_slice(), out.as_str()), (&[0; 3][..], "abcde1.sql\nx\na b c --zero\n"), "{err}");
    let asked: Vec<_> = owned.place.told("ask").iter().map(|event| event["path"].clone()).collect();
    assert_eq!(asked, words);
    let offered = "--command 'basename /tmp/abcde1.sql x'";
    assert!(err.contains(offered) && !err.contains('*'), "{err}");
}

/// Whoever grants has the words in clear; what is written down of it has not.
#[test]
fn of_a_granted_command_secrets_are_not_written_down() {
    let owned = Owned::new(
        "[commands]\nallow = [\"sh -c *\"]\n[approvals]\non_refusal = \"ask\"\ngrantable = { commands = [\"basename **\"] }",
    );
    let token = format!("ghp_{}", "aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2");
    let line = format!("basename --suffix={token} --password=hunter2hunter2 ./a '' x");
    let pattern = "basename --password=hunter2hunter2 *";
    let child = owned.run("basename wait; true");
    owned.place.wait_for("basename wait");
    let statuses = [
        owned.grant("last", &line, &[]).status,
        owned.grant("last", pattern, &[]).status,
        owned.revoke("last", &line).status,
        owned.revoke("last", "basename wait").status,
    ];
    let _ = text(child);
    assert_eq!(statuses, [0; 4]);
    let [granted, revoked] = ["grant", "revoke"].map(|kind| {
        owned
            .place
            .told(kind)
            .iter()
            .map(|event| event["path"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    });
    assert!(granted.iter().chain(&revoked).all(|path| !path.contains("hunter2") && !path.contains(&token)));
    assert_eq!(granted[1], "basename '--password=***' *");
    assert!(granted[0].ends_with(" '--password=***' ./a '' x"), "{granted:?}");
    assert_eq!(revoked[0], granted[0]);
}
