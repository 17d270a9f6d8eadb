//! What `explain` says before anything runs agrees with what a run does, and warns as a run's does.

use ringfence_promises::Place;
use serde_json::Value;

/// The answers to `explain` with these arguments.
fn asked(place: &Place, policy: &str, arguments: &[&str]) -> Vec<Value> {
    let policy = place.policy(policy);
    let mut command = place.command(&["explain", "--policy", &policy, "--json"]);
    let done = command.args(arguments).output().unwrap();
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn a_directory_that_leads_to_what_is_shown_can_be_listed() {
    let place = Place::in_home();
    assert_eq!(place.run("", "ls /var").status, 0);
    let told = &asked(&place, "", &["--path", "/var"])[0];
    assert_eq!(told["allowed"], true, "{told}");
    assert_eq!(asked(&place, "", &["--path", "/var/lib"])[0]["allowed"], false);
}

#[test]
fn a_path_that_may_be_granted_is_said_to_be() {
    let place = Place::in_home();
    let file = place.write(place.base.path().join("other/file"), "x").display().to_string();
    let base = place.base.path().display();
    let policy = format!("[approvals]\ngrantable = {{ read = [\"{base}/other/**\"] }}");
    let marked = |path: &str| {
        let told = asked(&place, &policy, &["--path", path]);
        told.iter()
            .any(|one| one["action"].as_str().unwrap().starts_with("be granted") && one["allowed"] == true)
    };
    assert!(marked(&file) && !marked(&format!("{base}/else")) && !marked("own"));
}

/// There the task has a copy of its workspace.
#[test]
fn the_whole_path_of_the_workspace_leads_to_no_copy() {
    let place = Place::in_home().in_tier("landlock");
    let file = place.write("src/a.txt", "mine").display().to_string();
    let read = |path: &str| asked(&place, "", &["--path", path])[0].clone();
    let run = |path: &str| place.run("", &format!("cat {path}")).status;
    assert_eq!((run("src/a.txt"), run(&file)), (0, 1));
    let (relative, whole) = (read("src/a.txt"), read(&file));
    assert!(relative["allowed"] == true && whole["allowed"] == false, "{relative} {whole}");
    assert!(whole["rule"].as_str().unwrap().contains("copy"), "{whole}");
    // Where it works on the host's own there is none.
    let direct = "[workspace]\nmode = \"direct\"";
    assert_eq!(asked(&place, direct, &["--path", &file])[0]["allowed"], true);
}

#[test]
fn a_line_for_a_special_address_is_called_unwise() {
    let place = Place::in_home();
    let of =
        |host: &str| asked(&place, "[network]\nallow = [\"known.example\"]", &["--host", host])[0].clone();
    let told = of("169.254.169.254");
    assert!(told["caution"].as_str().unwrap_or_default().starts_with("unwise"), "{told}");
    assert_eq!(of("other.example")["caution"], Value::Null);
}

#[test]
fn a_line_break_is_no_blank() {
    let place = Place::in_home();
    let policy = place.policy("");
    let ask = |command: &str| place.ringfence(&["explain", "--policy", &policy, "--command", command]);
    let told = ask("echo a\nrm");
    assert!(told.status != 0 && told.err.contains("a line break"), "{told:?}");
    assert_eq!(ask("echo 'a\nrm'").status, 0);
}

/// The policy gives nobody more than the host does.
#[test]
fn what_the_host_keeps_from_the_task_is_not_called_allowed() {
    for tier in ["namespace", "landlock"] {
        let place = Place::in_home().in_tier(tier);
        let (open, shut) = (place.home.join("notes/open"), place.home.join("notes/shut"));
        place.write(&open, "seen");
        place.write(&shut, "never");
        std::fs::set_permissions(&shut, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let policy = "[files]\nread = [\"~/notes\"]";
        let ran = place.run(policy, &format!("cat {}; cat {}", open.display(), shut.display()));
        assert!(ran.out == "seen" && ran.err.contains("Permission denied"), "{ran:?}");
        let policy = place.policy(policy);
        for (path, said) in [(&open, "open: allowed"), (&shut, "shut: refused: `")] {
            let told =
                place.ringfence(&["explain", "--policy", &policy, "--path", &path.display().to_string()]);
            let first = told.out.lines().next().unwrap_or_default();
            assert!(first.contains(said), "{tier}: {told:?}");
            assert_eq!(first.contains("its permissions on the host"), path == &shut, "{told:?}");
        }
        assert!(
            !place
                .ringfence(&["explain", "--policy", &policy, "--path", &shut.display().to_string()])
                .out
                .contains("to allow it: [files] read")
        );
    }
}

/// Who builds a sandbox of root's has no right of root's over the directories of others.
#[test]
fn a_grant_that_roots_sandbox_cannot_reach_is_refused_with_what_helps() {
    if !ringfence_promises::root() {
        return;
    }
    ["65532", "65532:65532"].iter().for_each(|owner| unreachable_for_root(owner));
}

fn unreachable_for_root(owner: &str) {
    let place = Place::new();
    let file = place.write(place.base.path().join("theirs/docs/file"), "seen");
    let theirs = place.base.path().join("theirs");
    place.host(&format!("chown -R {owner} {0}; chmod 700 {0}", theirs.display()));
    let policy = format!("[files]\nread = [\"{}\"]", file.display());
    let script = format!("cat {}", file.display());
    let refused = place.run(&policy, &script);
    assert!(refused.status == 125 && refused.err.contains("policy.toml:4: "), "{refused:?}");
    assert!(refused.err.contains("the user with id 65532"), "{refused:?}");
    let policy_file = place.policy(&policy);
    let path = file.display().to_string();
    let told = place.ringfence(&["explain", "--policy", &policy_file, "--path", &path]);
    assert!(told.err.contains("no run starts with this policy here"), "{told:?}");
    // The remedy, as it stands there.
    let (_, remedy) = refused.err.split_once("others through: `").unwrap();
    place.host(remedy.split_once('`').unwrap().0);
    let opened = place.run(&policy, &script);
    assert_eq!((opened.status, opened.out.as_str()), (0, "seen"), "{opened:?}");
}
