//! What was refused is told alike wherever it is told: at the end of a run, in its report, by `explain`, and to the task itself.

use ringfence_promises::Place;
use serde_json::Value;

fn place() -> Place {
    Place::new().in_tier(module_path!())
}

fn hosted() -> bool {
    module_path!().contains("landlock")
}

fn explained(place: &Place) -> Value {
    let explained = place.ringfence(&["explain", "--json"]);
    assert_eq!(explained.status, 0, "{explained:?}");
    serde_json::from_str(&explained.out).unwrap()
}

fn of<'a>(explained: &'a Value, target: &str) -> Vec<&'a Value> {
    explained["refusals"].as_array().unwrap().iter().filter(|one| one["target"] == target).collect()
}

/// Where no network is granted the kernel refuses by itself, and who connects is told of all the same, each destination once.
#[test]
fn connections_without_a_network_are_told() {
    let place = place();
    place.write(
        "try.py",
        "import errno, socket\n\
         for family, kind, to in ((2, 1, ('203.0.113.5', 80)), (10, 1, ('2001:db8::5', 443)), (2, 2, ('203.0.113.6', 9)), (2, 1, ('127.0.0.1', 9))) * 40:\n \
          try: s = socket.socket(family, kind); print(errno.errorcode[s.connect_ex(to)])\n \
          except OSError as error: print(errno.errorcode[error.errno])\n",
    );
    let policy = place.policy("");
    let done = place.ringfence(&["run", "--policy", &policy, "--", "/usr/bin/python3", "-I", "-S", "try.py"]);
    let told = explained(&place);
    assert!(told["unseen"].to_string().contains("names of hosts"), "{told}");
    let shown = place.ringfence(&["explain"]).out;
    assert!(shown.contains("not seen in this run: names of hosts"), "{shown}");
    if hosted() {
        for name in ["socket (AF_INET)", "socket (AF_INET6)"] {
            let [one] = of(&told, name)[..] else { panic!("{name}: {told}") };
            assert!(one["caution"].as_str().unwrap().contains("`allow` in `[network]`"), "{one}");
        }
        return;
    }
    let once = "ENETUNREACH\nENETUNREACH\nENETUNREACH\nECONNREFUSED\n";
    assert_eq!(done.out, once.repeat(40), "{done:?}");
    assert!(done.err.contains("3 things refused"), "{done:?}");
    for (target, line) in [
        ("203.0.113.5:80", "allow = [\"203.0.113.5:80\"]"),
        ("[2001:db8::5]:443", "allow = [\"[2001:db8::5]:443\"]"),
        ("203.0.113.6:9", "allow = [\"203.0.113.6:9\"]"),
    ] {
        let [one] = of(&told, target)[..] else { panic!("{target}: {told}") };
        assert_eq!((one["kind"].as_str(), one["times"].as_u64()), (Some("host"), Some(40)), "{one}");
        assert!(one["rule"].as_str().unwrap().starts_with("no network"), "{one}");
        assert!(one["programs"][0].as_str().unwrap().contains("python3"), "{one}");
        assert_eq!(one["remedy"][1], line, "{one}");
    }
    assert!(!shown.contains("127.0.0.1"), "{shown}");
}

/// Starts, connections and watched writes as well as what was looked for: the task's own words, and none of the policy's.
#[test]
fn a_task_reads_which_starts_and_connections_it_was_refused() {
    let place = place();
    place.write("keep/file", "kept\n");
    let policy = "[workspace]\nmode = \"direct\"\nprotect = [\"keep\"]\n[runtime]\nwatch_writes = true\n\
                  [commands]\nallow = [\"sh\", \"bash\", \"cat\", \"getent\", \"git status\"]\n\
                  [network]\nallow = [\"granted.example:8080\"]\ndeny = [\"denied.example\"]";
    let script = "exec 2> /dev/null; git push 'a b'; getent hosts foo.example.org; getent hosts denied.example
        bash -c 'echo > /dev/tcp/10.1.2.3/80'; bash -c 'echo > /dev/tcp/granted.example/81'; echo x > keep/file; cat /run/ringfence/refusals";
    if hosted() {
        let refusal = place.ringfence(&["explain", "--self"]);
        assert!(refusal.err.contains("tier `landlock`"), "{refusal:?}");
        return;
    }
    let done = place.run(policy, script);
    let lines: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keep = place.workspace.join("keep/file").display().to_string();
    for (what, to) in [
        ("git push 'a b'", "execute"),
        ("foo.example.org", "ask"),
        ("denied.example", "ask"),
        ("10.1.2.3:80", "connect"),
        ("port 81 of a name", "connect"),
        (&keep, "write"),
    ] {
        let found: Vec<_> = lines.iter().filter(|one| one["refused"] == what && one["to"] == to).collect();
        let [one] = found[..] else { panic!("{what}: {done:?}") };
        assert_eq!(one["by"], "the policy does not allow it");
    }
    for word in ["granted.example", "network.", "commands.", "8080", "protect"] {
        assert!(!done.out.contains(word), "{word}: {}", done.out);
    }
}

/// One number, whoever says it: different things, by whichever programs and how often.
#[test]
fn every_count_is_of_what_is_listed() {
    let place = place();
    let report = place.base.path().join("report.json").display().to_string();
    let policy = place
        .policy("[commands]\nallow = [\"sh\", \"cat\", \"head\", \"python3 *\", \"/usr/bin/python3 -c **\"]");
    let script = "exec 2> /dev/null; cat /etc/shadow /etc/shadow; head /etc/shadow; cat /no-such-name; git push; git push
        /usr/bin/python3 -c 'import socket\nfor path in (\"/var/run/made-up.sock\", \"/var/run/nscd/socket\"):\n try: socket.socket(1).connect(path)\n except OSError: pass'; true";
    let done = place.ringfence(&["run", "--policy", &policy, "--report", &report, "--", "sh", "-c", script]);
    assert_eq!(done.status, 0, "{done:?}");
    let told = explained(&place);
    let all = told["refusals"].as_array().unwrap();
    let listed = all.iter().filter(|one| one["listed"] == true).count();
    let shown = place.ringfence(&["explain"]).out;
    assert_eq!(shown.matches("\n    refused: ").count(), listed, "{shown}\n{told}");
    let things = if listed == 1 { "thing" } else { "things" };
    assert!(done.err.contains(&format!("run: {listed} {things} refused")), "{listed}: {done:?}\n{shown}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["refusals"], listed, "{report}");
    assert_eq!(of(&told, "git push").len(), 1, "{told}");
    if !hosted() && std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok() {
        assert!(shown.contains("tried to connect to /var/run/made-up.sock"), "{shown}");
        for (name, is) in [("/etc/shadow", true), ("/var/run/made-up.sock", true), ("/no-such-name", false)] {
            let [one] = of(&told, name)[..] else { panic!("{name}: {told}") };
            assert_eq!(one["listed"], is, "{one}");
        }
        assert!(
            of(&told, "/var/run/nscd/socket")
                .iter()
                .all(|one| one["on_host"] != false || one["listed"] == false)
        );
    }
}

/// A task has all addresses to name: what else is refused is told beside a flood of them.
#[test]
fn connections_without_a_network_crowd_out_nothing() {
    let place = place();
    place.write(
        "flood.py",
        "import socket\n\
         def met(act):\n \
          try: act()\n \
          except OSError: pass\n\
         for n in range(5000): met(lambda: socket.socket(2, 2).connect(('10.1.%d.%d' % (n >> 8, n & 255), 9)))\n\
         met(lambda: socket.socket(40, 1, 0)); met(lambda: socket.socket(1, 1).connect('/run/no-such/socket'))\n",
    );
    let policy = place.policy("");
    let _ = place.ringfence(&[
        "run",
        "-q",
        "--policy",
        &policy,
        "--",
        "/usr/bin/python3",
        "-I",
        "-S",
        "flood.py",
    ]);
    let told = place.ringfence(&["explain", "--all"]).out;
    // In tier `landlock` the kernel says by itself that there is no such socket.
    for what in ["AF_VSOCK", "/run/no-such/socket"].into_iter().take(if hosted() { 1 } else { 2 }) {
        assert!(told.contains(what), "{what}: {}", told.lines().take(30).collect::<String>());
    }
}

/// What the owner starts in a sandbox is no word of the task's.
#[test]
fn what_the_owner_was_refused_is_not_told_to_the_task() {
    let place = place();
    let policy = place.policy("[commands]\nallow = [\"cat\", \"sleep 60\", \"sh -c *\"]");
    let started = place.ringfence(&["start", "box", "--policy", &policy, "--", "sleep", "60"]);
    assert_eq!(started.status, 0, "{started:?}");
    assert_eq!(place.ringfence(&["exec", "box", "--", "git", "--token=OWNERS"]).status, 126);
    let own = "git own; cat /run/ringfence/refusals";
    let told = place.ringfence(&["exec", "box", "--", "sh", "-c", own]).out;
    assert!(!told.contains("OWNERS"), "{told}");
    assert_eq!(place.ringfence(&["stop", "box", "--grace", "0"]).status, 0);
    if !hosted() && std::fs::File::open("/dev/fuse").is_ok() {
        assert!(told.contains("git own"), "{told}");
    }
}
