//! What `explain` says of a refusal is its cause, and what it offers loads and helps.

use std::os::unix::ffi::OsStringExt;

use ringfence_promises::{Place, text};
use serde_json::Value;

/// One that both tiers can show to a task.
fn new_place() -> Place {
    Place::in_home().in_tier(module_path!())
}

/// Of a run: for people, and each refusal.
fn explained(place: &Place) -> (String, Vec<Value>) {
    let json = place.ringfence(&["explain", "--json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    (place.ringfence(&["explain"]).out, json["refusals"].as_array().unwrap().clone())
}

#[track_caller]
fn find<'a>(all: &'a [Value], target: &str) -> &'a Value {
    let found = all.iter().find(|one| one["target"] == target);
    assert!(found.is_some(), "{target} in {all:#?}");
    found.unwrap()
}

#[test]
fn a_name_that_is_denied_is_told_with_its_rule_and_nothing_is_offered() {
    let place = new_place();
    let policy = "[network]\nallow = [\"known.example.org\"]\ndeny = [\"upload.example.org\", \"*.put.example.org:443\", \"mail.example.org:25\"]";
    let script = "for host in upload a.put mail; do curl -sm5 https://$host.example.org; done; true";
    assert_eq!(place.run(policy, script).status, 0);
    let (shown, all) = explained(&place);
    for (name, rule) in
        [("upload.example.org", "upload.example.org"), ("a.put.example.org", "*.put.example.org:443")]
    {
        let told = find(&all, name);
        let said = told["rule"].as_str().unwrap();
        assert!(said.starts_with(&format!("`{rule}` in `network.deny`")), "{shown}");
        assert_eq!(told["remedy"], serde_json::json!([]), "{shown}");
    }
    // Denied at another port than the line names.
    let mail = find(&all, "mail.example.org");
    assert_eq!(mail["remedy"][1], "allow = [\"mail.example.org:443\"]", "{shown}");
}

/// A question for a name says no port.
#[test]
fn a_line_for_a_name_alone_says_that_its_port_is_the_usual_one() {
    let place = new_place();
    let script = "curl -sm5 http://one.example.org; curl -sm5 http://two.example.org; true";
    assert_eq!(place.run("[network]\nallow = [\"known.example.org\"]", script).status, 0);
    let (shown, _) = explained(&place);
    let part = "allow = [\"one.example.org:443\"]\n    only its name was asked for, which says no port: choose it (`https://` has 443, `http://` 80, ssh 22)\n";
    assert!(shown.contains(part), "{shown}");
    let all = "\n[network]\nallow = [\"one.example.org:443\", \"two.example.org:443\"]\n";
    assert!(shown.contains(all), "{shown}");
}

#[test]
fn a_host_that_may_be_granted_says_how() {
    let place = new_place();
    let policy = "[network]\nallow = [\"known.example.org:80\", \"known.example.org:443\"]\ndeny = [\"no.example.org\"]\n\
                  [approvals]\ngrantable = { hosts = [\"*.example.org\", \"[2001:db8::/32]:9\"] }";
    let script = "curl -sm5 https://foo.example.org; curl -sm5 https://no.example.org; curl -sm5 https://foo.example.com\n\
                  curl -gsm5 'http://[2001:db8::7]:9/'; curl -gsm5 'http://[2001:db8::7]:10/'; true";
    assert_eq!(place.run(policy, script).status, 0);
    let (shown, all) = explained(&place);
    for (target, grantable) in [
        ("foo.example.org", true),
        ("no.example.org", false),
        ("foo.example.com", false),
        ("[2001:db8::7]:9", true),
        ("[2001:db8::7]:10", false),
    ] {
        assert_eq!(find(&all, target)["grantable"], grantable, "{target}: {shown}");
    }
    assert!(shown.contains(" --host foo.example.org --for 10m\n"), "{shown}");
    assert!(shown.contains(" --host '[2001:db8::7]:9' --for 10m\n"), "{shown}");
    assert_eq!(shown.matches("while the next one runs: ringfence grant last").count(), 2, "{shown}");
}

#[test]
fn no_line_is_offered_for_an_address_that_no_rule_opens() {
    let place = new_place();
    for lines in ["", "[network]\nallow = [\"known.example.org\"]"] {
        let policy = place.policy(lines);
        let asked = |host: &str| place.ringfence(&["explain", "--policy", &policy, "--host", host]).out;
        for host in ["127.0.0.1:22", "[::1]:22", "0.0.0.0:22", "224.0.0.1:22"] {
            let told = asked(host);
            assert!(told.contains("refused") && !told.contains("to allow it"), "{told}");
        }
        assert!(asked("10.0.0.1:22").contains("allow = [\"10.0.0.1:22\"]"), "{}", asked("10.0.0.1:22"));
    }
}

#[test]
fn what_lies_where_nothing_starts_is_no_matter_of_commands() {
    let place = new_place();
    let tool = place.write(place.base.path().join("tools/tool"), "#!/bin/sh\necho started\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (tool, tools) = (tool.display().to_string(), tool.parent().unwrap().display().to_string());
    let lines = |files: &str| format!("[files]\n{files} = [\"{tools}\"]\n[commands]\nallow = [\"sh -c *\"]");
    let script = format!("{tool} x");
    assert_ne!(place.run(&lines("read"), &script).status, 0);
    let (shown, all) = explained(&place);
    let told = find(&all, &script);
    let policy = place.policy(&lines("read"));
    let foretold = place.ringfence(&["explain", "--policy", &policy, "--command", &tool]).out;
    assert!(foretold.contains(told["rule"].as_str().unwrap()), "{foretold}{shown}");
    assert_eq!(told["remedy"], serde_json::json!(["[files]", format!("exec = [\"{tool}\"]")]), "{shown}");
    // Where it could start, it is a matter of those.
    assert_ne!(place.run(&lines("exec"), &script).status, 0);
    let (shown, all) = explained(&place);
    assert_eq!(find(&all, &script)["remedy"][0], "[commands]", "{shown}");
}

#[test]
fn a_socket_of_the_host_is_offered_as_one() {
    let place = new_place();
    let directory = place.base.path().join("sockets");
    std::fs::create_dir(&directory).unwrap();
    let socket = directory.join("agent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (directory, socket) = (directory.display().to_string(), socket.display().to_string());
    let line = format!("allow = [{{ unix = \"{socket}\" }}]");
    for files in ["".to_owned(), format!("[files]\nread = [\"{directory}\"]\n")] {
        let policy = place.policy(&files);
        let asked = || place.ringfence(&["explain", "--policy", &policy, "--path", &socket]).out;
        let told = asked();
        assert!(!told.contains("to allow it: [files]"), "{told}");
        if module_path!().contains("landlock") {
            assert!(
                !told.contains("to allow it") && told.contains("leads to no socket of the host"),
                "{told}"
            );
            continue;
        }
        assert!(told.contains(&format!("to allow it: [network] {line}")), "{told}");
        let outcome = place.run(&format!("{files}[network]\n{line}"), "true");
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let told = asked();
        assert!(!told.contains("to allow it") && told.contains("lets it be connected to"), "{told}");
    }
}

#[test]
fn a_refused_call_names_what_it_asked_for() {
    let place = new_place();
    let script = "import socket, fcntl\n\
        for asked in ((2, 3, 1), (2, 1, 262), (10, 1, 132), (1, 2, 0), (16, 3, 12)):\n  \
          try: socket.socket(*asked)\n  \
          except OSError: pass\n\
        for request in (0x5412, 0x541C):\n  \
          try: fcntl.ioctl(0, request, b'x')\n  \
          except OSError: pass\n";
    place.write("try.py", script);
    for network in ["", "[network]\nallow = [\"known.example.org\"]"] {
        assert_eq!(place.run(network, "python3 -I -S try.py").status, 0);
        calls_are_told(&explained(&place));
    }
}

fn calls_are_told((shown, all): &(String, Vec<Value>)) {
    for (target, rule) in [
        ("socket (AF_INET, SOCK_RAW)", "those of TCP and UDP; SOCK_RAW is refused"),
        ("socket (AF_INET, IPPROTO_MPTCP)", "those of TCP and UDP; IPPROTO_MPTCP is refused"),
        ("socket (AF_INET6, IPPROTO_SCTP)", "IPPROTO_SCTP is refused"),
        ("socket (AF_UNIX, SOCK_DGRAM)", "unix sockets are streams and sequenced packets; SOCK_DGRAM is"),
        ("socket (AF_NETLINK, NETLINK_NETFILTER)", "NETLINK_NETFILTER is refused"),
        ("ioctl (TIOCSTI)", "injecting input"),
        ("ioctl (TIOCLINUX)", "injecting input"),
    ] {
        let told = find(all, target);
        assert!(told["rule"].as_str().unwrap().contains(rule), "{target}: {shown}");
        assert_eq!(told["arguments"].as_array().unwrap().len(), 6, "{target}: {told}");
    }
    assert_eq!(find(all, "socket (AF_INET, IPPROTO_MPTCP)")["arguments"][2], "0x106");
}

/// Tier `landlock` hears of no file, and asks about none; so it is where the device cannot be opened.
#[test]
fn names_that_no_policy_can_hold_are_told_as_that() {
    let place = new_place();
    if module_path!().contains("landlock") || std::fs::File::open("/dev/fuse").is_err() {
        return;
    }
    let docs = place.base.path().join("docs");
    std::fs::create_dir(&docs).unwrap();
    for name in [&b"bad\xff"[..], b"odd*name"] {
        std::fs::write(docs.join(std::ffi::OsString::from_vec(name.to_vec())), "x").unwrap();
    }
    let docs = docs.display();
    let _ = place.run("", &format!("cat \"$(printf '{docs}/bad\\377')\" '{docs}/odd*name'"));
    let (shown, all) = explained(&place);
    let told = find(&all, &format!("{docs}/bad\u{fffd}"));
    assert_eq!(
        told["caution"], "no line allows it: its name is not UTF-8, which a policy cannot hold",
        "{shown}"
    );
    assert!(shown.contains("its name is not UTF-8"), "{shown}");
    let odd = find(&all, &format!("{docs}/odd*name"))["caution"].to_string();
    assert!(odd.contains(&format!("one of its directory, {docs}, allows it")), "{shown}");
    let ran = place.run(&format!("[files]\nread = [\"{docs}\"]"), &format!("cat '{docs}/odd*name'"));
    assert_eq!(ran.out, "x", "{ran:?}");
}

#[test]
fn what_the_owner_refused_can_be_asked_again_whatever_its_name() {
    let place = new_place();
    if module_path!().contains("landlock") || std::fs::File::open("/dev/fuse").is_err() {
        return;
    }
    let file = place.write(place.base.path().join("docs/odd?name"), "x");
    let (docs, file) = (file.parent().unwrap().display().to_string(), file.display().to_string());
    let policy = format!("[approvals]\non_refusal = \"ask\"\ngrantable = {{ read = [\"{docs}/**\"] }}");
    let mut command = place.to_run(&policy, &format!("cat '{file}'"));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    place.wait_for(&file);
    let refused = place.ringfence(&["revoke", "last", "--read", &file]);
    assert_eq!(refused.status, 0, "{refused:?}");
    let _ = text(child);
    let (shown, all) = explained(&place);
    let told = find(&all, &file);
    assert!(told["rule"].as_str().unwrap().contains("the owner refused it"), "{shown}");
    let caution = told["caution"].as_str().unwrap();
    assert!(caution.contains("asked again") && caution.contains("directory"), "{shown}");
    assert!(!caution.contains("above every grant"), "{shown}");
}
