//! Promise 6: in `review` the host changes only by `apply`, whole or not at all.

use ringfence_promises::Place;

#[test]
fn nothing_changes_until_apply_and_then_all_of_it() {
    let place = Place::new();
    for (name, text) in [("change", "1\n"), ("remove", "x"), ("keep", "k")] {
        place.write(name, text);
    }
    let before = place.listing();
    assert_eq!(
        place
            .run("", "echo 2 > change; rm remove; mkdir -p d/e; echo n > d/e/new; ln -s ../keep d/link")
            .status,
        0
    );
    let host = |list: &[(std::path::PathBuf, u64)]| {
        list.iter().filter(|(path, _)| path.starts_with(&place.workspace)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(host(&place.listing()), host(&before));
    let diff = place.ringfence(&["diff", "--stat"]);
    for part in ["change", "remove", "d/e/new", "d/link"] {
        assert!(diff.out.contains(part), "{part}: {}", diff.out);
    }
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    assert_eq!(place.read("change").as_deref(), Some("2\n"));
    assert_eq!(place.read("d/e/new").as_deref(), Some("n\n"));
    assert!(place.read("remove").is_none());
    // What was replaced is kept.
    let kept = place.listing().into_iter().any(|(path, _)| {
        path.starts_with(&place.state) && std::fs::read_to_string(path).is_ok_and(|text| text == "1\n")
    });
    assert!(kept, "the old content is gone");
    assert_eq!(place.ringfence(&["apply"]).status, 125);
}

/// One bad change refuses the whole.
#[test]
fn apply_refuses_what_must_not_land() {
    for (script, word) in [
        ("mkfifo evil", "FIFO"),
        ("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"evil\")'", "socket"),
    ] {
        let place = Place::new();
        place.write("a", "before");
        assert_eq!(place.run("", &format!("echo after > a; {script}")).status, 0);
        let refused = place.ringfence(&["apply"]);
        assert_eq!(refused.status, 126, "{script}: {}", refused.out);
        assert!(
            refused.err.contains("evil") && refused.err.to_lowercase().contains(&word.to_lowercase()),
            "{}",
            refused.err
        );
        assert_eq!(place.read("a").as_deref(), Some("before"), "{script}");
    }
}

/// A link out of the workspace lands only by its name or kind.
#[test]
fn a_link_out_waits_until_it_is_accepted() {
    for target in ["/etc/passwd", "../../outside"] {
        let place = Place::new();
        place.write("a", "before");
        assert_eq!(place.run("", &format!("echo after > a; ln -s {target} evil")).status, 0);
        let evil = place.workspace.join("evil");
        let applied = place.ringfence(&["apply"]);
        assert!(applied.status == 0 && applied.out.contains("held back: evil (symlinks: "), "{applied:?}");
        assert!(evil.symlink_metadata().is_err(), "{target}");
        assert_eq!(place.read("a").as_deref(), Some("after\n"), "{target}");
        assert_eq!(place.ringfence(&["apply", "--accept", "evil"]).status, 0);
        assert!(evil.is_symlink(), "{target}");
    }
}

#[test]
fn apply_refuses_what_changed_on_the_host() {
    for change in ["echo theirs > a", "rm a", "rm a; mkdir a"] {
        let place = Place::new();
        place.write("a", "before");
        assert_eq!(place.run("", "echo mine > a; echo other > b").status, 0);
        let status = std::process::Command::new("sh")
            .args(["-c", change])
            .current_dir(&place.workspace)
            .status()
            .unwrap();
        assert!(status.success());
        let refused = place.ringfence(&["apply"]);
        assert_eq!(refused.status, 126, "{change}: {}", refused.out);
        assert!(place.read("b").is_none(), "{change}: part of it landed");
    }
}

#[test]
fn protected_paths_and_hooks_are_held_back() {
    let place = Place::new();
    let policy = "[workspace]\nprotect = [\".github\"]";
    let script = "mkdir -p .github/workflows; echo x > .github/workflows/ci.yml; git init -q .; echo x > .git/hooks/post-commit; echo fine > ok";
    assert_eq!(place.run(policy, script).status, 0);
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    assert!(applied.out.contains("held back") && applied.out.contains(".github"), "{}", applied.out);
    assert_eq!(place.read("ok").as_deref(), Some("fine\n"));
    for path in [".github/workflows/ci.yml", ".git/hooks/post-commit", ".git/config"] {
        assert!(place.read(path).is_none(), "{path}");
    }
}

/// Git's configuration, the repository's and the user's, and links make git run and obey files of the tree.
#[test]
fn what_git_obeys_by_another_name_is_held_back() {
    for (setup, evil) in [
        ("git config include.path ../.gitconfig", ".gitconfig"),
        ("git config includeIf.gitdir:/x.path ../conf/inc", "conf/inc"),
        ("git config --global core.hooksPath .githooks", ".githooks/pre-commit"),
        ("printf '[core] hooksPath = hooks.d # c' >> .git/config", "hooks.d/pre-commit"),
        ("git config filter.x.clean './tools/clean --fast'", "tools/clean"),
        ("rm -r .git/hooks; mkdir gh; ln -s ../gh .git/hooks", "gh/pre-commit"),
        ("mkdir scripts; echo > scripts/pc; ln -s ../../scripts/pc .git/hooks/pre-commit", "scripts/pc"),
        ("mkdir kept; echo > kept/f; ln -s kept .guarded", "kept/f"),
        ("mkdir 'a[b]'; git config core.hooksPath 'a[b]'", "a[b]/pre-commit"),
    ] {
        let place = Place::new();
        let host = |script: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-ec", script]).current_dir(&place.workspace).env("HOME", &place.home);
            assert!(command.status().unwrap().success(), "{script}");
        };
        host(&format!("git init -q .; mkdir -p .git/hooks; {setup}"));
        let script = format!("mkdir -p \"$(dirname '{evil}')\"; echo evil > '{evil}'; echo fine > ok");
        let ran = place.run("[workspace]\nprotect = [\".guarded\"]", &script);
        assert_eq!(ran.status, 0, "{setup}: {}", ran.err);
        let applied = place.ringfence(&["apply"]);
        // What the policy names could not even be written inside.
        let held = applied.out.contains("held back") || setup.contains(".guarded");
        assert!(applied.status == 0 && held, "{setup}: {} {}", applied.out, applied.err);
        assert_eq!(place.read("ok").as_deref(), Some("fine\n"), "{setup}");
        assert!(place.read(evil).is_none_or(|text| !text.contains("evil")), "{setup}");
        // Its owner may want it.
        if !setup.contains(".guarded") {
            let accepted = place.ringfence(&["apply", "--accept", evil]);
            assert_eq!(accepted.status, 0, "{setup}: {}", accepted.err);
            assert_eq!(place.read(evil).as_deref(), Some("evil\n"), "{setup}");
            host(&format!("echo harmless > '{evil}'"));
        }
        // Asked for, they are read-only inside as well; where nothing could hold them, nothing runs.
        let policy = "[workspace]\nprotect = [\".git/hooks\", \".git/config\", \".guarded\"]";
        for mode in ["review", "direct"] {
            let ran = place.run(&format!("{policy}\nmode = \"{mode}\""), &format!("{script}; cat '{evil}'"));
            let unharmed = place.read(evil).is_none_or(|text| !text.contains("evil"));
            assert!(unharmed, "{setup} in {mode}: {} {}", ran.out, ran.err);
            assert!(
                mode == "review" || ran.status == 125 || !ran.out.contains("evil"),
                "{setup}: {}",
                ran.out
            );
        }
    }
}

/// A pattern that finds nothing in a direct workspace would hold nothing.
#[test]
fn a_direct_workspace_takes_no_pattern_that_holds_nothing() {
    let place = Place::new();
    place.write("ci-1.yml", "1");
    let policy = |pattern: &str| format!("[workspace]\nmode = \"direct\"\nprotect = [\"{pattern}\"]");
    let refused = place.run(&policy("**/hooks/*.sh"), "true");
    assert_eq!(refused.status, 125, "{}", refused.out);
    assert!(refused.err.contains("**/hooks/*.sh"), "{}", refused.err);
    assert_ne!(place.run(&policy("ci-*.yml"), "echo 2 > ci-1.yml").status, 0);
    assert_eq!(place.read("ci-1.yml").as_deref(), Some("1"));
}

#[test]
fn discard_leaves_nothing() {
    let place = Place::new();
    assert_eq!(place.run("", "mkdir -p deep/er; echo x > deep/er/x; chmod 000 deep").status, 0);
    assert_eq!(place.ringfence(&["discard"]).status, 0);
    assert!(!place.listing().iter().any(|(path, _)| path.ends_with("upper") || path.ends_with("work")));
    assert!(!place.workspace.join("deep").exists());
}

#[test]
fn a_mount_below_the_workspace_is_refused_and_not_shown_empty() {
    let place = Place::new();
    std::fs::create_dir_all(place.workspace.join("with space/m")).unwrap();
    let binary = ringfence_promises::binary().display().to_string();
    let script = format!(
        "mount -t tmpfs below 'with space/m' && echo x > 'with space/m/f' && {binary} run --preset default -- sh -c 'echo y > \"with space/m/f\"'"
    );
    let mut command = std::process::Command::new("unshare");
    command.args(if ringfence_promises::root() { &["-m"][..] } else { &["-Urm"] });
    command.args(["sh", "-c", &script]).current_dir(&place.workspace);
    let done = command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state).output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(125), "{err}");
    assert!(err.contains("mount") && err.contains("hint:"), "{err}");
}

/// What was held back lands later, one by one, and only it is left meanwhile.
#[test]
fn what_was_held_back_can_land_later() {
    let place = Place::new();
    let script = "mkdir -p .vscode sub; echo {} > .vscode/tasks.json; echo v > .envrc; echo fine > sub/ok";
    assert_eq!(place.run("", script).status, 0);
    let first = place.ringfence(&["apply"]);
    assert!(first.status == 0 && first.out.contains("--accept"), "{} {}", first.out, first.err);
    let diff = place.ringfence(&["diff", "--stat"]);
    assert!(diff.out.contains(".envrc") && !diff.out.contains("sub/ok"), "{}", diff.out);
    let second = place.ringfence(&["apply", "--accept", ".envrc"]);
    assert_eq!(second.status, 0, "{}", second.err);
    assert_eq!(place.read(".envrc").as_deref(), Some("v\n"));
    assert!(place.read(".vscode/tasks.json").is_none());
    let third = place.ringfence(&["apply", "--accept", ".vscode"]);
    assert_eq!(third.status, 0, "{}", third.err);
    assert_eq!(place.read(".vscode/tasks.json").as_deref(), Some("{}\n"));
    assert_eq!(place.ringfence(&["diff"]).status, 125, "nothing is left");
}

/// Runs a script where a namespace of the test's own may mount; `$RF` is the binary.
fn with_mounts(place: &Place, script: &str) -> (i32, String) {
    let mut command = std::process::Command::new("unshare");
    command.args(if ringfence_promises::root() { &["-m"][..] } else { &["-Urm"] });
    command.args(["sh", "-c", script]).current_dir(&place.workspace);
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    let done = command.env("RF", ringfence_promises::binary()).output().unwrap();
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.code().unwrap_or(-1), text)
}

/// An apply that the host does not let happen changes nothing, and the run can still be thrown away.
#[test]
fn a_read_only_workspace_takes_nothing_and_keeps_nothing_up() {
    let place = Place::new();
    assert_eq!(place.run("", "echo x > new").status, 0);
    let readonly = "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" &&";
    let (status, text) = with_mounts(&place, &format!("{readonly} $RF apply"));
    assert_eq!(status, 125, "{text}");
    assert!(text.contains("Read-only file system") && !text.contains("cannot remove"), "{text}");
    let (status, text) = with_mounts(&place, &format!("{readonly} $RF discard"));
    assert_eq!(status, 0, "{text}");
    assert_eq!(place.ringfence(&["apply"]).status, 125);
    assert!(place.read("new").is_none());
}

/// The one verb that frees a full disk works on it.
#[test]
fn a_full_disk_can_be_freed() {
    let place = Place::new();
    std::fs::create_dir_all(&place.state).unwrap();
    let script = "mount -t tmpfs -o size=256k,mode=700 full $RINGFENCE_STATE && \
                  $RF run --quiet --preset default -- sh -c 'head -c 1M /dev/zero > big'; \
                  head -c 1M /dev/zero > $RINGFENCE_STATE/rest; \
                  $RF discard && test ! -e $RINGFENCE_STATE/runs/*/workspace";
    let (status, text) = with_mounts(&place, script);
    assert_eq!(status, 0, "{text}");
}

/// One bad path does not keep the good ones from landing.
#[test]
fn what_must_not_land_can_be_left_out() {
    let place = Place::new();
    place.write("gone/keep", "k");
    let script = "mkdir -p venv/bin; mkfifo venv/bin/python3; echo x > venv/cfg; echo y > code; rm -r gone";
    assert_eq!(place.run("", script).status, 0);
    let refused = place.ringfence(&["apply"]);
    assert!(refused.status == 126 && refused.err.contains("--leave venv/bin/python3"), "{}", refused.err);
    let applied = place.ringfence(&["apply", "--leave", "venv/bin", "--leave", "gone/keep"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    assert!(applied.out.contains("left out"), "{}", applied.out);
    assert_eq!(place.read("code").as_deref(), Some("y\n"));
    assert_eq!(place.read("venv/cfg").as_deref(), Some("x\n"));
    assert_eq!(place.read("gone/keep").as_deref(), Some("k"));
    assert!(!place.workspace.join("venv/bin").exists());
    let diff = place.ringfence(&["diff", "--stat"]);
    assert!(diff.out.contains("venv/bin/python3") && !diff.out.contains("code"), "{}", diff.out);
}

/// What landed goes back the way it came, part by part, and never over later work.
#[test]
fn what_was_applied_can_be_undone() {
    let place = Place::new();
    place.write("a", "before");
    place.write("gone/x", "x");
    let script = "echo after > a; rm -r gone; mkdir d; echo n > d/n; echo v > .envrc";
    assert_eq!(place.run("", script).status, 0);
    assert_eq!(place.ringfence(&["undo"]).status, 125, "nothing landed yet");
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    assert_eq!(place.ringfence(&["apply", "--accept", ".envrc"]).status, 0);
    // The last part first.
    let undone = place.ringfence(&["undo"]);
    assert_eq!(undone.status, 0, "{}", undone.err);
    assert!(place.read(".envrc").is_none() && place.read("d/n").is_some());
    place.write("a", "mine");
    let refused = place.ringfence(&["undo"]);
    assert!(
        refused.status == 126 && refused.err.contains("a: changed"),
        "{} {}",
        refused.status,
        refused.err
    );
    assert!(place.read("a").as_deref() == Some("mine") && place.read("gone/x").is_none());
    place.write("a", "after\n");
    // The same bytes again are somebody's work too.
    assert_eq!(place.ringfence(&["undo"]).status, 126);
}

/// After an undo the host is as before, and the run can be applied again if its changes are still there.
#[test]
fn an_undone_apply_can_be_applied_again() {
    let place = Place::new();
    place.write("a", "before");
    assert_eq!(place.run("", "echo after > a; echo v > .envrc").status, 0);
    for _ in 0..3 {
        let applied = place.ringfence(&["apply"]);
        assert_eq!(applied.status, 0, "{}", applied.err);
        assert_eq!(place.read("a").as_deref(), Some("after\n"));
        let undone = place.ringfence(&["undo"]);
        assert_eq!(undone.status, 0, "{}", undone.err);
        assert_eq!(place.read("a").as_deref(), Some("before"));
    }
    let again = place.ringfence(&["undo"]);
    assert!(again.status == 125 && again.err.contains("can be undone"), "{}", again.err);
}
