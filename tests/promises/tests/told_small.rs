//! What is said of decoys, of odd names and of grants, to the letter.

use ringfence_promises::Place;
use serde_json::Value;

fn explained(place: &Place) -> Vec<Value> {
    let json: Value = serde_json::from_str(&place.ringfence(&["explain", "--json"]).out).unwrap();
    json["refusals"].as_array().unwrap().clone()
}

fn heard() -> bool {
    std::fs::File::open("/dev/fuse").is_ok()
}

#[test]
fn a_decoy_is_opened_and_counted_once() {
    if !heard() {
        return;
    }
    let place = Place::in_home();
    let names = ["a", "b", "c", "d"].map(|name| format!("~/{name}"));
    let policy = place.policy(&format!("[files]\ndecoy = {names:?}"));
    // Each by two programs.
    let script = "for name in a b c d; do cat ~/$name; head -c1 ~/$name; done";
    let ran = place.ringfence(&["run", "--policy", &policy, "--", "sh", "-c", script]);
    assert_eq!(ran.err.matches(" opened the decoy ").count(), 3, "{ran:?}");
    assert!(ran.err.contains("1 more decoy was opened"), "{ran:?}");
    for told in explained(&place).iter().filter(|one| one["kind"] == "decoy") {
        assert_eq!(told["outcome"], "opened", "{told}");
    }
    // None of them is a refusal, nor a secret that left.
    let (count, shown) = (place.told("sandbox.end")[0]["refusals"].clone(), explained(&place));
    let refused = shown.iter().filter(|one| one["outcome"] == "refused" && one["listed"] == true).count();
    assert_eq!(count, refused, "{shown:?}");
}

#[test]
fn a_name_with_a_line_break_is_told_as_one_that_no_policy_holds() {
    let place = Place::in_home();
    let file = place.write(place.base.path().join("docs/two\nlines"), "x");
    let docs = file.parent().unwrap().display().to_string();
    let policy = place.policy("");
    let path = file.display().to_string();
    let told = place.ringfence(&["explain", "--policy", &policy, "--json", "--path", &path]);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let said = told[0]["caution"].as_str().unwrap();
    assert!(said.contains("U+000A") && said.contains(&format!("one of its directory, {docs}")), "{told}");
    assert!(!said.contains("executed"), "{told}");
}

#[test]
fn a_grant_names_its_ways_and_its_end() {
    let place = Place::in_home();
    let file = place.write(place.base.path().join("other/file"), "x").display().to_string();
    let base = place.base.path().display();
    let policy = place.policy(&format!("[approvals]\ngrantable = {{ read = [\"{base}/other/**\"] }}"));
    let none = place.ringfence(&["grant", "dev"]);
    for way in ["--read", "--command", "--host", "--credential"] {
        assert!(none.status != 0 && none.err.contains(way), "{way}: {none:?}");
    }
    let started = place.ringfence(&["start", "--policy", &policy, "dev"]);
    assert_eq!(started.status, 0, "{started:?}");
    let missing = place.ringfence(&["exec", "dev", "--", "cat", &file]);
    let while_it_runs = place.ringfence(&["explain", "dev"]).out;
    let granted = place.ringfence(&["grant", "dev", "--read", &file, "--for", "10m"]);
    let lasting = place.ringfence(&["grant", "dev", "--json", "--read", &file]);
    let stopped = place.ringfence(&["stop", "dev"]);
    assert!(stopped.status == 0 && missing.status != 0, "{stopped:?} {missing:?}");
    let until = granted.out.trim_end().rsplit_once(", until ").map(|(_, until)| until);
    assert!(until.is_some_and(|until| until.len() == 20 && until.ends_with('Z')), "{granted:?}");
    assert!(!lasting.out.contains("until"), "{lasting:?}");
    if heard() {
        assert!(while_it_runs.contains("while it runs: ringfence grant "), "{while_it_runs}");
        let afterwards = place.ringfence(&["explain"]).out;
        assert!(afterwards.contains("while the next one runs: ringfence grant last --read"), "{afterwards}");
        assert!(!afterwards.contains("while it runs"), "{afterwards}");
    }
}

/// By whatever reads them.
#[test]
fn what_is_told_as_json_says_of_what_it_is() {
    let place = Place::in_home();
    let file = place.write(place.base.path().join("other/file"), "x").display().to_string();
    let base = place.base.path().display();
    let policy = place.policy(&format!("[approvals]\ngrantable = {{ read = [\"{base}/other/**\"] }}"));
    assert_eq!(place.ringfence(&["start", "--policy", &policy, "dev"]).status, 0);
    let told =
        |arguments: &[&str]| -> Value { serde_json::from_str(&place.ringfence(arguments).out).unwrap() };
    let granted = told(&["grant", "dev", "--json", "--read", &file]);
    assert_eq!((&granted["access"], &granted["target"]), (&Value::from("read"), &Value::from(file.as_str())));
    assert_eq!(told(&["explain", "dev", "--json"])["run"], granted["run"]);
    assert_eq!(place.ringfence(&["stop", "dev"]).status, 0);
}

/// Each place in PATH is tried.
#[test]
fn a_command_of_the_owners_that_is_refused_counts_once() {
    let place = Place::in_home();
    let policy = place.policy("[commands]\nallow = [\"cat\", \"git status\"]");
    assert_eq!(place.ringfence(&["start", "--policy", &policy, "dev"]).status, 0);
    assert_eq!(place.ringfence(&["exec", "dev", "--", "git", "push"]).status, 126);
    let stopped = place.ringfence(&["stop", "dev"]);
    assert_eq!(stopped.status, 0);
    let told = place.told("exec.deny");
    assert_eq!(told.len(), 1, "{told:?}");
}

/// Its port is known where its name alone was asked for.
#[test]
fn ssh_is_offered_its_own_port() {
    if !std::path::Path::new("/usr/bin/ssh").exists() {
        return;
    }
    let place = Place::in_home();
    let _ =
        place.run("[network]\nallow = [\"other.example:443\"]", "ssh -o BatchMode=yes git.example.org true");
    let told = place.ringfence(&["explain"]).out;
    assert!(told.contains("allow = [\"git.example.org:22\"]"), "{told}");
}

/// A program looks whether a file is there, reads it, then writes it: one thing was refused, the most of these.
#[test]
fn the_most_of_what_a_program_did_with_a_file_is_told() {
    if !heard() {
        return;
    }
    let place = Place::in_home();
    let path = place.write(place.base.path().join("other/plain"), "x").display().to_string();
    let script = format!(
        "python3 -ISc '\nimport os\npath = \"{path}\"\n\
         def tried(what):\n  try: what()\n  except OSError: pass\n\
         tried(lambda: os.stat(path)); tried(lambda: open(path)); tried(lambda: open(path, \"r+\"))\n'"
    );
    assert_eq!(place.run("", &script).status, 0);
    let shown = explained(&place);
    let of: Vec<_> = shown.iter().filter(|one| one["target"] == path.as_str()).collect();
    let [one] = &of[..] else { panic!("{of:?}") };
    assert_eq!(one["purpose"], "write", "{one}");
    let (count, shown) = (place.told("sandbox.end")[0]["refusals"].clone(), explained(&place));
    let refused = shown.iter().filter(|one| one["outcome"] == "refused" && one["listed"] == true).count();
    assert_eq!(count, refused, "{shown:?}");
}

/// Outside of every grant, as what it was going to be, and by its whole name: a line that lets a tree be read would not help.
#[test]
fn what_changes_a_file_is_told_as_a_change() {
    if !heard() {
        return;
    }
    let place = Place::in_home();
    let base = place.base.path().join("beside").display().to_string();
    let script = format!(
        "import os, socket\n\
         for call in (lambda: os.truncate('{base}/truncate', 0), lambda: os.symlink('x', '{base}/symlink'),\n\
         \x20        lambda: os.utime('{base}/utime'), lambda: os.setxattr('{base}/xattr', 'user.a', b'x'),\n\
         \x20        lambda: os.chmod('{base}/chmod', 0o600), lambda: os.link('plain', '{base}/link'),\n\
         \x20        lambda: os.rename('plain', '{base}/rename'), lambda: os.rename('{base}/old', 'new'),\n\
         \x20        lambda: socket.socket(socket.AF_UNIX).bind('{base}/bind')):\n\
         \x20   try: call()\n\
         \x20   except OSError as error: print(error)\n"
    );
    place.write("plain", "x");
    place.write("change.py", &script);
    let outcome = place.run("", "/usr/bin/python3 -S change.py");
    let told: Vec<(String, String)> = place
        .told("file.deny")
        .iter()
        .filter_map(|event| {
            let name = event["asked"].as_str()?.strip_prefix(&base)?.trim_start_matches('/');
            Some((name.to_owned(), event["purpose"].as_str()?.to_owned()))
        })
        .collect();
    for name in ["truncate", "symlink", "utime", "xattr", "chmod", "link", "rename", "bind"] {
        assert!(told.contains(&(name.into(), "write".into())), "{name}: {told:?} {outcome:?}");
    }
    assert!(told.contains(&("old".into(), "remove".into())), "{told:?} {outcome:?}");
}

/// A link of the task's own is no name of what lies where it leads.
#[test]
fn what_a_link_of_the_tasks_names_is_no_path_of_the_hosts() {
    if !heard() {
        return;
    }
    let place = Place::in_home();
    place.write(place.home.join(".ssh/key"), "SECRET\n");
    place.write(place.home.join(".aws/seen"), "SECRET\n");
    let script = "mkdir -p /tmp/.ssh && ln -s ~/.ssh/key /tmp/.ssh/environment; cat /tmp/.ssh/environment; \
                  cd /tmp; cat .ssh/environment; cd ~; head -c1 .aws/seen; cd /usr; head -c1 ..$HOME/.kube/up; true";
    let outcome = place.run("", script);
    let told = place.told("file.deny");
    let names: Vec<&str> = told.iter().filter_map(|event| event["asked"].as_str()).collect();
    assert!(!told.is_empty() && names.iter().all(|name| !name.ends_with("environment")), "{names:?}");
    for name in [".aws/seen", ".kube/up"] {
        assert!(names.iter().any(|asked| asked.ends_with(&format!("/{name}"))), "{names:?} {outcome:?}");
    }
}

/// By whatever call, and where a name leads up: lines for a part of it would not help, or open what was not meant.
#[test]
fn what_is_looked_at_is_told_by_its_whole_name() {
    if !heard() {
        return;
    }
    let place = Place::in_home();
    place.write(place.home.join("docs/plain"), "x");
    place.write(place.home.join("other/plain"), "x");
    place.write(place.home.join("data/secret.key"), "x");
    let base = place.base.path().join("beside").display().to_string();
    place.write(format!("{base}/there"), "x");
    let home = place.home.display().to_string();
    place.write(
        "look.py",
        &format!(
            "import ctypes, os\n\
             libc = ctypes.CDLL(None)\n\
             watch = libc.inotify_init1(0)\n\
             for call in (lambda: os.statvfs('{base}/statvfs'), lambda: os.getxattr('{base}/getxattr', 'user.a'),\n\
             \x20        lambda: os.listxattr('{base}/listxattr'), lambda: libc.inotify_add_watch(watch, b'{base}/inotify', 1),\n\
             \x20        lambda: open('/usr/lib/../..{base}/up/file'),\n\
             \x20        lambda: open('{home}/docs/../data/secret.key'), lambda: open('{home}/other/../w/own'),\n\
             \x20        lambda: open('{home}/nowhere/../data/secret.key')):\n\
             \x20   try: call()\n\
             \x20   except OSError as error: print(error)\n"
        ),
    );
    place.write("own", "x");
    let outcome = place.run("", "/usr/bin/python3 -S look.py");
    let told = place.told("file.deny");
    let named: Vec<&str> = told.iter().filter_map(|event| event["asked"].as_str()).collect();
    for name in ["statvfs", "getxattr", "listxattr", "inotify", "up/file"] {
        assert!(named.contains(&format!("{base}/{name}").as_str()), "{name}: {named:?} {outcome:?}");
    }
    let shown = explained(&place);
    let of = |target: String| shown.iter().find(|one| one["target"] == target.as_str());
    // What it leads to, with no line: the way is not shown either.
    let up = of(format!("{home}/data/secret.key")).unwrap();
    assert!(up["purpose"] == "read" && up["remedy"] == serde_json::json!([]), "{up}");
    assert!(up["rule"].as_str().unwrap().ends_with("which is not shown"), "{up}");
    assert!(up["caution"].as_str().unwrap().contains("by its own name"), "{up}");
    // What it leads to is open: the way alone is refused.
    let way = of(format!("{home}/other")).unwrap();
    assert!(way["purpose"] == "look" && way["remedy"][1] == "read = [\"~/other\"]", "{way}");
    let nowhere = of(format!("{home}/nowhere")).unwrap();
    assert_eq!(nowhere["remedy"], serde_json::json!([]), "{nowhere}");
}
