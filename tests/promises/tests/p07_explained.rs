//! Promise 7, as far as it goes now: refusals of policies, hosts and commands name the cause and the remedy.

use ringfence_promises::Place;

#[test]
fn a_bad_policy_shows_file_line_text_and_remedy() {
    let place = Place::new();
    let outcome = place.run("[files]\nreed = [\"/usr\"]", "true");
    assert_eq!(outcome.status, 125);
    for part in ["policy.toml:4", "reed", "read"] {
        assert!(outcome.err.contains(part), "{part} is missing in {}", outcome.err);
    }
}

#[test]
fn a_command_outside_every_executable_tree_is_explained() {
    let place = Place::new();
    let tool = place.write(place.base.path().join("bin/mytool"), "#!/bin/sh\necho hi\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let outcome = place.run("", "true");
    assert_eq!(outcome.status, 0, "{}", outcome.err);
    let outcome = place.ringfence(&["run", "--", tool.to_str().unwrap()]);
    assert_eq!(outcome.status, 127);
    assert!(outcome.err.contains("files.exec"), "{}", outcome.err);
}

#[test]
fn an_untrusted_policy_is_never_taken_nor_passed_over() {
    let place = Place::new();
    let file = place.write("ringfence.toml", "version = 1\nextends = [\"default\"]\n");
    let outcome = place.ringfence(&["run", "--", "true"]);
    assert!(outcome.status == 125 && outcome.err.contains("ringfence trust"), "{}", outcome.err);
    let checked = place.ringfence(&["check"]);
    assert!(checked.status == 1 && checked.out.contains("nobody has accepted it"), "{checked:?}");
    assert_eq!(place.ringfence(&["trust"]).status, 0);
    assert_eq!(place.ringfence(&["check"]).status, 0);
    assert_eq!(place.ringfence(&["run", "--", "true"]).status, 0);
    std::fs::write(&file, "version = 1\nextends = [\"default\"]\n[workspace]\nmode = \"direct\"\n").unwrap();
    let outcome = place.ringfence(&["run", "--", "sh", "-c", "echo ran"]);
    assert!(outcome.status == 125 && outcome.out.is_empty(), "{outcome:?}");
    assert!(outcome.err.contains("+mode = \"direct\""), "{}", outcome.err);
}

#[test]
fn the_plan_is_complete_and_needs_no_privilege() {
    let place = Place::new();
    let text = place.ringfence(&["plan", "--", "true"]);
    assert!(text.status == 0 && text.out.contains("overlay"), "{text:?}");
    let json = place.ringfence(&["plan", "--json", "--", "true"]);
    let plan: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(plan["steps"].as_array().unwrap().len() > 20 && plan["landlock"]["rules"].is_array());
    let merged = place.ringfence(&["plan", "--policy-only"]);
    assert!(merged.out.contains("preset default"), "{}", merged.out);
    assert_eq!(place.listing().iter().filter(|(path, _)| path.starts_with(&place.state)).count(), 0);
}

/// The one cause of a command that does not start, not a list of what it might be.
#[test]
fn what_does_not_start_says_why() {
    let place = Place::new();
    place.write("lost", "#!/nonexist/sh\n");
    place.write("own", "#!/bin/sh\n");
    place.write("plain", "x");
    for name in ["lost", "own"] {
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.workspace.join(name), executable).unwrap();
    }
    let default = "extends = [\"default\"]";
    for (policy, command, status, part) in [
        (default, "./lost", 127, "interpreter /nonexist/sh, which does not exist"),
        (default, "./plain", 126, "chmod +x"),
        (default, "nosuch", 127, "command not found"),
        (
            &format!("{default}\nenvironment.set.PATH = \"/opt\"")[..],
            "ls",
            127,
            "does not lead there: /opt (",
        ),
        (&format!("{default}\ncommands.allow = [\"git\"]"), "ls", 126, "`commands.allow` ("),
        (&format!("{default}\ncommands.from_workspace = false"), "./own", 126, "from_workspace = true"),
        ("files.exec = [\"/usr/bin\"]", "ls", 127, "which no rule makes visible"),
        ("files.read = [\"/etc/hosts\"]", "ls", 127, "files.exec = [\"/usr/bin\"]"),
    ] {
        let file = place.write(place.base.path().join("p.toml"), &format!("version = 1\n{policy}\n"));
        let report = place.base.path().join("report.json");
        let [file, report] = [file, report].map(|path| path.display().to_string());
        let ran = place.ringfence(&["run", "--policy", &file, "--report", &report, "--", command]);
        assert_eq!(ran.status, status, "{policy} {command}: {}", ran.err);
        assert!(ran.err.contains(part), "{policy} {command}: {}", ran.err);
        let report: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
        let refusals = report["refusals"].as_u64().unwrap();
        assert_eq!(refusals > 0, command != "nosuch", "{policy} {command}: {refusals}");
    }
}

/// What was refused, by which rule, what would allow it, and what speaks against that.
#[test]
fn a_run_is_explained() {
    let place = Place::in_home();
    place.write(place.home.join(".ssh/id_rsa"), "CANARY");
    place.write(place.home.join("notes"), "n");
    place.write(place.home.join("more"), "m");
    let policy = place.policy("");
    let script = "cat ~/.ssh/id_rsa ~/notes ~/more ~/nowhere; touch ~/own; python3 -c '\
        import socket; socket.socket(socket.AF_UNIX).connect(\"/run/rf-no-such.sock\")' 2>/dev/null";
    let ran = place.ringfence(&["run", "--policy", &policy, "--", "sh", "-c", script]);
    assert!(ran.err.contains(" refused: `ringfence explain "), "{ran:?}");
    let shown = place.ringfence(&["explain"]);
    for part in [
        "/.ssh/id_rsa\n    refused: `~/.ssh` is a known secret",
        "to allow it: [files] read = [\"~/.ssh/id_rsa\"]\n    unwise",
        "cat tried to read ",
        "[files]\nread = [\"~/notes\", \"~/more\"",
        "that the host does not have either",
        "tried to connect to /run/rf-no-such.sock",
    ] {
        assert!(shown.out.contains(part), "{part} is missing in {}", shown.out);
    }
    for part in ["nowhere", "CANARY", "/own"] {
        assert!(!shown.out.contains(part), "{part} in {}", shown.out);
    }
    let json = place.ringfence(&["explain", "last", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let find = |end: &str| {
        let all = json["refusals"].as_array().unwrap();
        all.iter()
            .find(|one| one["target"].as_str().unwrap().ends_with(end))
            .unwrap_or_else(|| panic!("{end} in {json}"))
    };
    assert_eq!(find("/notes")["remedy"], serde_json::json!(["[files]", "read = [\"~/notes\"]"]));
    assert!(find("/notes")["on_host"] == true && find("/notes")["caution"].is_null());
    assert!(find("/nowhere")["on_host"] == false && find("/nowhere")["remedy"] == serde_json::json!([]));
    assert_eq!(find("rf-no-such.sock")["purpose"], "connect");
    // The lines do what they say.
    let policy = place.policy("[files]\nread = [\"~/notes\", \"~/more\"]");
    assert_eq!(
        place.ringfence(&["run", "-q", "--policy", &policy, "--", "sh", "-c", "cat ~/notes ~/more"]).out,
        "nm"
    );
}

#[test]
fn a_policy_answers_beforehand() {
    let place = Place::in_home();
    place.write(place.home.join("notes"), "n");
    let notes = place.home.join("notes").display().to_string();
    let shown = place.ringfence(&["explain", "--path", &notes]);
    assert!(shown.out.contains("/notes: refused: no rule of `files` covers"), "{shown:?}");
    assert!(shown.out.contains("write ") && shown.out.contains("own home"), "{shown:?}");
    let shown = place.ringfence(&["explain", "--path", "x.txt", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert!(json[0]["allowed"] == true && json[1]["allowed"] == true, "{json}");
    let shown = place.ringfence(&["explain", "--host", "example.org"]);
    assert!(shown.out.contains("refused: no network"), "{shown:?}");
    assert!(place.ringfence(&["explain", "--command", "ls"]).out.contains("start ls: allowed"));
}

/// A line that is offered loads, and allows what was refused; where none does, that is said.
#[test]
fn offered_lines_load_and_work() {
    let place = Place::in_home();
    let data = place.base.path().join("data");
    let tools = place.base.path().join("tools");
    place.write(data.join("file"), "x");
    place.write(tools.join("bin/tool"), "x");
    place.write(data.join("od[d"), "x");
    place.write(data.join(".aws/credentials"), "CANARY");
    let (data, tools) = (data.display(), tools.display());
    let lines = format!("[files]\nexec = [\"{tools}/bin\"]");
    let explain = |path: &str| -> Vec<serde_json::Value> {
        let policy = place.policy(&lines);
        let said = place.ringfence(&["explain", "--policy", &policy, "--json", "--path", path]);
        let said: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        said.as_array().unwrap().clone()
    };
    let remedy = |answer: &serde_json::Value| {
        let lines = answer["remedy"].as_array().unwrap().iter();
        lines.map(|line| line.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // A new name is its directory's to make; where that is not there either, nothing is.
    for (path, write) in [
        (format!("{data}/file"), true),
        (format!("{data}//new"), true),
        (format!("{data}/none/new"), false),
        (format!("{data}/od[d"), false),
        (format!("{tools}/bin/tool"), false),
        (format!("{tools}/new"), false),
        ("/newroot".to_owned(), false),
        ("/usr/lib/new".to_owned(), false),
    ] {
        let answer = &explain(&path)[1];
        assert!(answer["action"] == "write" && answer["allowed"] == false, "{answer}");
        let offered = remedy(answer);
        assert_eq!(offered.is_empty(), !write, "{path}: {answer}");
        let caution = answer["caution"].as_str().unwrap();
        assert_eq!(
            caution.starts_with("`check` says medium of it (written-directly)"),
            write,
            "{path}: {answer}"
        );
        if write {
            let both = place.policy(&format!("{lines}\n{}", offered[1]));
            let done = place.ringfence(&[
                "run",
                "-q",
                "--policy",
                &both,
                "--",
                "sh",
                "-c",
                "echo y > \"$1\"",
                "sh",
                &path,
            ]);
            assert_eq!(done.status, 0, "{path}: {offered:?} {done:?}");
        }
    }
    let secret = &explain(&format!("{data}/.aws/credentials"))[0];
    assert!(secret["caution"].as_str().unwrap().starts_with("unwise"), "{secret}");
}

/// Secrets of other homes are no lines to paste, and what nobody can grant is not offered.
#[test]
fn secrets_of_others_are_called_unwise() {
    let place = Place::in_home();
    place.write(place.base.path().join("other/.aws/credentials"), "CANARY");
    place.write(place.base.path().join("other/notes"), "n");
    let script = "cat \"$0\"/other/.aws/credentials \"$0\"//other/notes; mkdir /newroot /usr/../newroot";
    let base = place.base.path().display().to_string();
    let policy = place.policy("");
    let ran = place.ringfence(&["run", "--policy", &policy, "--", "sh", "-c", script, &base]);
    assert_eq!(ran.status, 1, "{ran:?}");
    if std::fs::File::open("/dev/fuse").is_err() {
        return;
    }
    let shown = place.ringfence(&["explain"]).out;
    let told = shown.split("To allow all").next().unwrap();
    assert!(told.contains("/.aws/credentials\"]\n    unwise") && told.contains("/other/notes\"]"), "{shown}");
    let paragraph = told.split_once("tried to write /newroot").unwrap().1;
    assert!(paragraph.split("to allow it").next().unwrap().contains("cannot be granted"), "{shown}");
    let offered = shown.strip_prefix(told).unwrap();
    assert!(
        !offered.contains("credentials") && !shown.contains("//") && !shown.contains("write = ["),
        "{shown}"
    );
}

/// The task picks the names: a line that would give a home, a whole tree or what the system obeys is called unwise, and whatever `check` warns
/// of is in no summary.
#[test]
fn what_check_warns_of_is_no_line_to_paste() {
    let place = Place::in_home();
    place.write(place.home.join("notes"), "n");
    place.write(place.home.join("more"), "m");
    let own = [".config/autostart", ".config/systemd/user", "plain"];
    for directory in own {
        std::fs::create_dir_all(place.home.join(directory)).unwrap();
    }
    let mut directories: Vec<String> = own.iter().map(|own| format!("~/{own}")).collect();
    std::fs::create_dir(place.base.path().join("plain")).unwrap();
    directories.push(place.base.path().join("plain").display().to_string());
    if ringfence_promises::root() {
        directories.extend(["/var/lib", "/etc/cron.d", "/boot"].map(str::to_owned));
    }
    let policy = place.policy("");
    for directory in &directories {
        let told =
            place.ringfence(&["explain", "--policy", &policy, "--path", &format!("{directory}/x")]).out;
        let line = format!(": [files] write = [\"{directory}\"]\n    ");
        let caution = told.split(&line).nth(1).unwrap_or_else(|| panic!("{directory}: {told}"));
        let high = !directory.ends_with("plain");
        assert!(caution.starts_with(if high { "unwise: " } else { "`check` says medium" }), "{told}");
    }
    let told = place.ringfence(&["explain", "--policy", &policy, "--path", "/home"]).out;
    let read = told.split("\nwrite ").next().unwrap();
    assert!(!read.contains("to allow it") || read.contains("unwise: `/home` is a whole tree"), "{told}");
    let files: Vec<String> = directories.iter().map(|directory| format!("{directory}/x")).collect();
    let script = format!("cat ~/notes ~/more; ls /home; for f in {}; do : > $f; done", files.join(" "));
    let _ = place.ringfence(&["run", "-q", "--policy", &policy, "--", "bash", "-c", &script]);
    let shown = place.ringfence(&["explain"]).out;
    if std::fs::File::open("/dev/fuse").is_ok() {
        let (_, offered) = shown.split_once("To allow all").unwrap();
        assert!(offered.contains("[\"~/notes\", \"~/more\"]") && !offered.contains("write = ["), "{shown}");
    }
}

/// In tier `landlock` too, where what the other tier shows a copy of is refused.
#[test]
fn a_line_means_the_path_that_was_asked_for_or_is_not_there() {
    let place = Place::new();
    let policy = place.policy("");
    for name in ["x", "x?", "x\ty", "x\u{ad}", "x\u{7f}", "x*"] {
        let path = place.write(place.base.path().join("h").join(name), "x");
        let mut command = place.command(&["explain", "--policy", &policy, "--json", "--path"]);
        let done = command.arg(path).env("RINGFENCE_TEST_HOST", "no-userns").output().unwrap();
        let answers: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(answers[0]["allowed"], false, "{answers}");
        let lines = answers[0]["remedy"].as_array().unwrap();
        assert_eq!(lines.is_empty(), name != "x", "{name:?}: {answers}");
        assert_eq!(answers[0]["caution"].is_string(), name != "x", "{name:?}: {answers}");
    }
}
