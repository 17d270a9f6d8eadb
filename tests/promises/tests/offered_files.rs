//! The lines that `explain` offers for files load and help, or it says what stands against that.

use ringfence_promises::{Outcome, Place, root};
use serde_json::Value;

/// The refusals of the last run.
fn explained(place: &Place) -> Vec<Value> {
    let json: Value = serde_json::from_str(&place.ringfence(&["explain", "--json"]).out).unwrap();
    json["refusals"].as_array().unwrap().clone()
}

#[track_caller]
fn find(all: &[Value], target: &str) -> Value {
    let found = all.iter().find(|one| one["target"] == target);
    assert!(found.is_some(), "{target} in {all:#?}");
    found.unwrap().clone()
}

/// What `--path` says of reading it.
fn foretold(place: &Place, policy: &str, path: &str) -> Value {
    let asked = place.ringfence(&["explain", "--policy", &place.policy(policy), "--json", "--path", path]);
    let answers: Value = serde_json::from_str(&asked.out).unwrap();
    answers[0].clone()
}

fn pasted(told: &Value) -> String {
    let lines = told["remedy"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Tier `landlock` hears of no file; so it is where the device cannot be opened.
fn heard() -> bool {
    std::fs::File::open("/dev/fuse").is_ok()
}

#[test]
fn a_pattern_that_would_hold_it_beside_a_grant_is_its_rule() {
    let place = Place::in_home();
    let file = place.write(place.base.path().join("other/.env"), "secret").display().to_string();
    let policy = "[files]\ndeny = [\"**/.env\"]";
    let told = foretold(&place, policy, &file);
    assert!(told["rule"].as_str().unwrap().contains("`files.deny`"), "{told}");
    assert_eq!((&told["allowed"], &told["remedy"]), (&Value::Bool(false), &serde_json::json!([])));
    // Its directory is held by nothing.
    let directory = place.base.path().join("other").display().to_string();
    assert!(pasted(&foretold(&place, policy, &directory)).contains("read ="));
    if heard() {
        let _ = place.run(policy, &format!("cat {file}"));
        let told = find(&explained(&place), &file);
        assert!(told["rule"].as_str().unwrap().contains("`files.deny`"), "{told}");
        assert_eq!(told["remedy"], serde_json::json!([]), "{told}");
    }
}

#[test]
fn what_lies_behind_a_link_is_offered_by_both_its_names() {
    let place = Place::in_home();
    let real = place.write(place.home.join("real/file"), "there");
    let link = place.home.join("link");
    std::os::unix::fs::symlink(real.parent().unwrap(), &link).unwrap();
    let file = link.join("file").display().to_string();
    let script = format!("cat {file}");
    let works = |lines: &str| -> Outcome { place.run(lines, &script) };
    let told = foretold(&place, "", &file);
    let outcome = works(&pasted(&told));
    assert!(outcome.status == 0 && outcome.out == "there", "{told} {outcome:?}");
    assert_eq!(foretold(&place, &pasted(&told), &file)["allowed"], true);
    // What it leads to alone is not enough, where links are what the sandbox shows.
    let half = format!("[files]\nread = [\"{}\"]", real.display());
    assert_ne!(works(&half).status, 0);
    let told = foretold(&place, &half, &file);
    assert!(told["allowed"] == false && told["rule"].as_str().unwrap().contains("a link"), "{told}");
    let both = pasted(&told).replace("read = [", &format!("read = [\"{}\", ", real.display()));
    assert_eq!(works(&both).out, "there", "{both}");
    if heard() {
        assert_ne!(works("").status, 0);
        let told = find(&explained(&place), &file);
        assert_eq!(works(&pasted(&told)).out, "there", "{told}");
    }
}

#[test]
fn what_is_to_be_removed_needs_its_directory() {
    let place = Place::in_home();
    let file = place.write(place.base.path().join("data/one"), "1").display().to_string();
    let data = place.base.path().join("data").display().to_string();
    let watched = |lines: &str| format!("{lines}\n[runtime]\nwatch_writes = true");
    let script = format!("rm -f {file}; mv {file} {data}/two; test ! -e {file}");
    for lines in [
        format!("[files]\nread = [\"{data}\"]"),
        format!("[files]\nread = [\"{data}\"]\nwrite = [\"{file}\"]"),
    ] {
        assert_ne!(place.run(&watched(&lines), &script).status, 0);
        let told = find(&explained(&place), &file);
        assert_eq!(told["remedy"], serde_json::json!(["[files]", format!("write = [\"{data}\"]")]), "{told}");
        assert_eq!(told["purpose"], "remove", "{told}");
    }
    assert_eq!(place.run(&watched(&format!("[files]\nwrite = [\"{data}\"]")), &script).status, 0);
}

/// The task of root has no id that owns anything of the host's.
#[test]
fn what_its_mode_keeps_from_the_task_of_root_is_not_offered() {
    if !root() || std::fs::metadata("/etc/shadow").is_err() {
        return;
    }
    let place = Place::in_home();
    let told = foretold(&place, "", "/etc/shadow");
    assert!(told["remedy"] == serde_json::json!([]), "{told}");
    assert!(told["caution"].as_str().unwrap().contains("permissions on the host"), "{told}");
    assert_ne!(place.run("[files]\nread = [\"/etc/shadow\"]", "cat /etc/shadow").status, 0);
    // In a home it is the workspace's owner.
    let own = place.write(place.home.join("own"), "x");
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let own = own.display().to_string();
    let told = foretold(&place, "", &own);
    let outcome = place.run(&pasted(&told), &format!("cat {own}"));
    assert_eq!(outcome.out, "x", "{told} {outcome:?}");
}

#[test]
fn no_key_is_offered_that_its_tier_refuses() {
    for (tier, offers) in [("namespace", true), ("landlock", false)] {
        let place = Place::in_home().in_tier(tier);
        let _ = place.run("", "unshare -U true");
        let all = explained(&place);
        let told = all.iter().find(|one| one["kind"] == "syscall").unwrap();
        assert_eq!(told["remedy"] != serde_json::json!([]), offers, "{told}");
        let said = told["caution"].as_str().unwrap();
        assert_eq!(said.contains("refuses the key"), !offers, "{told}");
    }
}

#[test]
fn the_lines_together_are_those_above_them() {
    if !heard() {
        return;
    }
    let place = Place::in_home();
    let files = ["a", "b"].map(|name| place.write(place.base.path().join("x").join(name), "x"));
    let [one, two] = files.map(|file| file.display().to_string());
    let script = format!("cat {one} {two}; ls /var/lib; ls /sys; test -e /sys/fs/selinux");
    let _ = place.run("", &script);
    let shown = place.ringfence(&["explain"]).out;
    let all = shown.split_once("To allow all of these").unwrap().1;
    assert!(all.contains(&one) && all.contains(&two), "{shown}");
    for other in ["/sys", "/var"] {
        assert!(!all.contains(other), "{shown}");
    }
    let told = find(&explained(&place), "/var/lib");
    assert!(told["caution"].as_str().unwrap().starts_with("unwise"), "{told}");
}
