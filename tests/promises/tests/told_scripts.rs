//! Whoever a script starts is told of with that script's name.

use ringfence_promises::Place;
use serde_json::Value;

#[test]
fn what_a_script_starts_is_told_with_its_name() {
    let place = Place::in_home().in_tier(module_path!());
    place.write(place.home.join(".netrc"), "CANARY");
    let script = place.write("pry.sh", "cat ~/.netrc ~/.npmrc\nsh -c 'unshare -U true; true'\n");
    let decoy = if place.hosted { "" } else { "[files]\ndecoy = [\"~/.npmrc\"]" };
    let _ =
        place.run(&format!("[workspace]\nmode = \"direct\"\n{decoy}"), "sh ./pry.sh; cat ~/.pgpass; true");
    let json: Value = serde_json::from_str(&place.ringfence(&["explain", "--json", "--all"]).out).unwrap();
    let shown = place.ringfence(&["explain", "--all"]).out;
    let all = json["refusals"].as_array().unwrap();
    let scripts = |target: &str| {
        let told = all.iter().find(|one| one["target"].as_str().unwrap().ends_with(target));
        told.map(|told| told["scripts"].clone())
    };
    let own = serde_json::json!([script]);
    assert_eq!(scripts("unshare"), Some(own.clone()), "{shown}");
    assert!(shown.contains(&format!("/unshare, started by {} ", script.display())), "{shown}");
    if place.hosted || std::fs::File::open("/dev/fuse").is_err() {
        return;
    }
    for name in [".netrc", ".npmrc"] {
        assert_eq!(scripts(name), Some(own.clone()), "{name}: {shown}");
    }
    // Nothing above it runs one, and what is above the sandbox is no matter of its.
    assert_eq!(scripts(".pgpass"), Some(serde_json::json!([])), "{shown}");
}

/// Where it stands now is not where it was started.
#[test]
fn a_script_that_is_not_where_its_process_stands_is_told_as_it_was_given() {
    let place = Place::in_home().in_tier(module_path!());
    let there = place.write("there.sh", "unshare -U true; true");
    place.write("sub/away.sh", "cd /usr/lib; unshare -U true; true");
    for (script, name) in [("sh there.sh", there.to_str().unwrap()), ("cd sub; sh ./away.sh", "away.sh")] {
        let outcome = place.run("[workspace]\nmode = \"direct\"", script);
        let told = place.ringfence(&["explain", "--json"]);
        let told: Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!(told["refusals"][0]["scripts"], serde_json::json!([name]), "{told} {outcome:?}");
    }
}
