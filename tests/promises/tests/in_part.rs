//! Applies in part: what is left out, held back or changed on the host stays what it is for every later apply, recovery and undo.

use ringfence_promises::Place;

use crate::landing::answered;

/// A workspace in which the host and then the task did this.
fn place(before: &str, task: &str) -> Place {
    let place = Place::new();
    place.host(before);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let run = place.run("", task);
    assert_eq!(run.status, 0, "{run:?}");
    place
}

/// Statuses of verbs, one after the other.
fn verbs(place: &Place, all: &[&[&str]]) -> Vec<i32> {
    all.iter().map(|arguments| place.ringfence(arguments).status).collect()
}

/// An apply that is killed at this rename, after which the host does this before the next verb makes it whole.
fn killed_at(place: &Place, rename: u32, edit: &str) {
    let inject = format!("inject=renameat2:signal=SIGKILL:when={rename}");
    let strace = ["-f", "-o", "/dev/null", "-e", "trace=renameat2", "-e", &inject];
    let mut command = place.under("strace", &strace, &place.command(&["apply"]));
    let ended = command.output().unwrap();
    assert!(!ended.status.success(), "{ended:?}");
    place.host(edit);
    let _ = place.ringfence(&["ps", "-a"]);
}

/// Is this in the workspace, or kept with a run?
fn kept(place: &Place, word: &str) -> bool {
    let found = |directory: &std::path::Path| {
        let mut command = std::process::Command::new("grep");
        command.args(["-rqs", word]).arg(directory).status().unwrap().success()
    };
    found(&place.workspace) || found(&place.state.join("runs"))
}

#[test]
fn what_is_left_out_does_not_land_whatever_is_accepted() {
    let workflow = "mkdir -p .github/workflows; echo old > .github/workflows/ci.yml";
    let task = "echo evil > .github/workflows/ci.yml; echo a > a";
    let old = |place: &Place| place.read(".github/workflows/ci.yml").unwrap();
    let place = place(workflow, task);
    let left = place.ringfence(&["apply", "--accept", "ci", "last", "--", "a"]);
    assert_eq!((left.status, old(&place).as_str()), (0, "old\n"), "{left:?}");
    let left =
        ["apply", "--accept", "ci", "--accept", ".github", "--leave", ".github/workflows/ci.yml", "last"];
    assert_eq!(place.ringfence(&left).status, 0);
    assert_eq!(old(&place), "old\n");
    let mut asked = place.command(&["apply", "-i", "--accept", "ci"]);
    let mut child =
        asked.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"n\nn\nn\n").unwrap();
    child.wait().unwrap();
    assert_eq!(old(&place), "old\n");
}

#[test]
fn no_series_of_applies_makes_a_repository_with_hooks() {
    let place = place("git init -q; echo x > x", "mkdir lib; echo 'ref: refs/heads/master' > lib/HEAD");
    let config = "mkdir lib/hooks; printf '[core]\\n bare = false\\n worktree = .\\n' > lib/config; echo x > lib/hooks/post-checkout";
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    assert_eq!(place.run("", config).status, 0);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    assert_eq!(
        place.run("", "mkdir lib/objects lib/refs; echo o > lib/objects/o; echo r > lib/refs/r").status,
        0
    );
    let last = place.ringfence(&["apply"]);
    assert!(last.out.contains("git takes for its own"), "{last:?}");
    assert!(!place.workspace.join("lib/objects").exists() && !place.workspace.join("lib/refs").exists());
}

#[test]
fn what_a_recovery_kept_stays_kept() {
    let (two, task) = ("echo ORIGINAL > a; echo 0 > b", "echo task > a; echo task > b");
    let edited = place(two, task);
    killed_at(&edited, 3, "echo HOSTWORK >> a");
    let _ = verbs(&edited, &[&["apply"], &["apply", "--leave", "a"], &["undo"]]);
    assert!(kept(&edited, "HOSTWORK"), "an edit");

    let saved = place(two, task);
    killed_at(&saved, 3, "echo HOSTWORK > a.n; mv a.n a");
    let _ = verbs(&saved, &[&["apply", "--leave", "a"], &["undo"]]);
    assert!(kept(&saved, "ORIGINAL") && kept(&saved, "HOSTWORK"), "a file that is saved by a rename");

    let made = place("echo 0 > b", "mkdir a; echo t > a/x; echo t > b");
    killed_at(&made, 3, "[ ! -d a ] || echo HOSTWORK > a/host");
    let there = made.workspace.join("a").exists() || kept(&made, "HOSTWORK");
    let _ = verbs(&made, &[&["apply"], &["undo"]]);
    assert!(!there || kept(&made, "HOSTWORK"), "a file in a new directory");

    // It had landed before the kill: what was written since is not what landed.
    let landed = place("echo 0 > a; echo 0 > b", "echo t > a; echo t > b; mkdir n; echo t > n/x");
    killed_at(&landed, 5, "echo HOSTWORK >> a; [ ! -d n ] || echo HOSTWORK > n/host");
    let _ = verbs(&landed, &[&["undo"]]);
    assert!(landed.read("a").unwrap().contains("HOSTWORK"), "{:?}", landed.read("a"));
}

const COMMITTED: &str = "git init -q; seq 1 30 > F; git add -A; git -c user.name=a -c user.email=a@b commit -qm x; sleep 1.1; rm .git/index; git reset -q; sleep 0.1";

#[test]
fn what_was_merged_is_not_landed_over_again() {
    let task = "sed -i s/^2$/task2/ F; mkdir -p .github/workflows; echo x > .github/workflows/c.yml";
    let edit = "sed -i s/^28$/HOSTWORK/ F";
    let both = |place: &Place| {
        let text = place.read("F").unwrap();
        (text.contains("task2"), text.contains("HOSTWORK"))
    };
    let merged = place(COMMITTED, task);
    merged.host(edit);
    assert_eq!(verbs(&merged, &[&["apply"], &["apply", "--merge"]]), [126, 0]);
    assert_eq!(both(&merged), (true, true));
    let rest = merged.ringfence(&["apply", "--accept", "ci"]);
    assert_eq!((rest.status, both(&merged)), (0, (true, true)), "{rest:?}");
    assert!(merged.workspace.join(".github/workflows/c.yml").exists());

    let undone = place(COMMITTED, task);
    undone.host(edit);
    assert_eq!(verbs(&undone, &[&["apply", "--merge"], &["undo"], &["apply"]]), [0, 0, 126]);
    assert_eq!(both(&undone), (false, true));
    assert_eq!(verbs(&undone, &[&["apply", "--merge", "--accept", "ci"]]), [0]);
    assert_eq!(both(&undone), (true, true));

    let modes = place(COMMITTED, task);
    modes.host("sed -i s/^28$/HOSTWORK/ F; chmod 700 F");
    assert_eq!(verbs(&modes, &[&["apply", "--merge"]]), [126]);
}

#[test]
fn a_conflict_stays_one_after_something_else_landed() {
    let cases = [
        (
            "echo notes > P; echo x > other",
            "rm P; mkdir P; echo a > P/a; echo t >> other",
            "echo HOSTWORK >> P",
        ),
        ("echo x > other", "mkdir P; echo a > P/a; echo t >> other", "echo HOSTWORK > P"),
        (
            "mkdir D; echo f > D/f; echo o > other",
            "echo t > D/f; echo t > other",
            "chmod 700 D; echo HOSTWORK >> D/f",
        ),
        (
            "mkdir D E; echo o > D/f; echo HOSTWORK > E/f; echo o > other",
            "rm -r D; echo t > other",
            "mv D D.mine; mv E D",
        ),
        (
            "mkdir D E; echo o > D/f; echo HOSTWORK > E/f; echo o > other",
            "echo t > D/f; echo t > other",
            "mv D D.mine; mv E D",
        ),
    ];
    for (before, task, edit) in cases {
        let place = place(before, task);
        place.host(edit);
        let all = verbs(&place, &[&["apply"], &["apply", "last", "--", "other"], &["apply"]]);
        assert_eq!(all, [126, 0, 126], "{task}; {edit}");
        assert!(place.host("grep -rl HOSTWORK . | grep -v mine").lines().count() >= 1, "{task}; {edit}");
    }
}

#[test]
fn what_waits_after_a_part_landed_is_shown_as_it_is() {
    let place = place(
        "git init -q; seq 20 > b; seq 30 > gone; seq 40 > a; git add -A; git -c user.name=a -c user.email=a@b commit -qm x",
        "mkdir nd; mv b nd/b; mv gone nd/gone; echo y >> a",
    );
    assert_eq!(verbs(&place, &[&["apply", "last", "--", "nd/b"]]), [0]);
    let shown = place.ringfence(&["diff", "--stat"]);
    assert!(!shown.out.contains("refused") && shown.out.contains("gone -> nd/gone"), "{shown:?}");
    assert_eq!(verbs(&place, &[&["apply", "--branch", "work"]]), [0]);
    assert!(
        place.host("git show --stat --format= work").contains("gone => nd/gone"),
        "{}",
        place.host("git show --stat work")
    );
    assert_eq!(verbs(&place, &[&["apply"]]), [0]);
    assert!(place.read("nd/gone").is_some() && place.read("gone").is_none());
}

#[test]
fn what_is_held_back_keeps_its_old_name_on_a_branch_too() {
    let place = place(
        "git init -q; seq 20 > b; seq 40 > a; git add -A; git -c user.name=a -c user.email=a@b commit -qm x",
        "mv b .envrc; echo y >> a",
    );
    assert_eq!(verbs(&place, &[&["apply", "--branch", "work"]]), [0]);
    let commit = place.host("git show --stat --format= work");
    assert!(commit.contains(" a ") && !commit.contains(" b "), "{commit}");
    let patch = place.ringfence(&["diff", "--patch"]);
    assert!(!patch.out.contains("deleted file"), "{patch:?}");
}

#[test]
fn a_directory_that_was_renamed_goes_with_its_new_name() {
    let place = place("mkdir src; seq 20 > src/a; seq 30 > src/b; echo o > o", "mv src lib; echo t > o");
    assert_eq!(verbs(&place, &[&["apply", "last", "--", "lib"]]), [0]);
    assert_eq!(
        place.host("find . -mindepth 1 | sort | tr '\\n' ' '; cat o"),
        "./lib ./lib/a ./lib/b ./o o\n"
    );
}

#[test]
fn old_is_what_ended_long_ago() {
    let place = place("echo HOST > f", "echo task > f");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(verbs(&place, &[&["apply"], &["prune", "--older", "2s"], &["undo"]]), [0, 0, 0]);
    assert_eq!(place.read("f").as_deref(), Some("HOST\n"));
}

/// A new directory of which nothing lands does not land either, and comes with what lands later; one that is empty is a change itself.
#[test]
fn a_directory_of_what_is_left_out_stays() {
    let place = Place::new();
    assert_eq!(place.run("", "mkdir -p a/b/c empty; echo x > a/b/c/x; echo y > a/y; echo z > z").status, 0);
    let files = || place.host("find . -mindepth 1 | sort | tr '\\n' ' '");
    assert_eq!(place.ringfence(&["apply", "--leave", "a/b/c/x"]).status, 0);
    assert_eq!(files(), "./a ./a/y ./empty ./z ");
    assert_eq!(place.ringfence(&["undo"]).status, 0);
    assert_eq!(files(), "");
    // Asked for are the files and the empty directory, in their order.
    let (status, said) = answered(&place, "n\nn\nn\ny\n");
    assert_eq!((status, &*files()), (0, "./z "), "{said}");
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    assert_eq!(files(), "./a ./a/b ./a/b/c ./a/b/c/x ./a/y ./empty ./z ");
}

/// Nothing is said to land that is in a directory which does not.
#[test]
fn what_is_accepted_waits_with_its_directory() {
    let place = Place::new();
    place.host("echo file > d");
    assert_eq!(place.run("", "rm d; mkdir d; echo x > d/.envrc").status, 0);
    let done = place.ringfence(&["apply", "--accept", "d/.envrc", "--", "d/.envrc"]);
    assert!(done.status == 0 && done.out.starts_with("nothing landed"), "{done:?}");
    assert_eq!(place.read("d").as_deref(), Some("file\n"));
    let done = place.ringfence(&["apply", "--accept", "d/.envrc"]);
    assert!(done.status == 0 && place.read("d/.envrc").is_some(), "{done:?}");
}

/// Links that lead out may be accepted, names that mean something else may not.
#[test]
fn what_is_accepted_is_accepted_alone() {
    for name in ["git~1", ".GIT", ".ringfence-apply-0"] {
        let place = Place::new();
        assert_eq!(
            place.run("", &format!("ln -s /nowhere {name}; ln -s /nowhere out; echo z > z")).status,
            0
        );
        let done = place.ringfence(&["apply", "--accept", "symlinks"]);
        assert!(done.status == 126 && done.err.contains(name), "{done:?}");
        assert_eq!(place.host("ls -A"), "", "{name}");
        let done = place.ringfence(&["apply", "--accept", "symlinks", "--leave", name]);
        assert_eq!((done.status, &*place.host("ls -A")), (0, "out\nz\n"), "{done:?}");
    }
}

#[test]
fn an_apply_of_nothing_leaves_checkpoints_alone() {
    let place = Place::new();
    place.host("echo zero > a");
    let policy = place.policy("");
    assert_eq!(verbs(&place, &[&["start", "dev", "--policy", &policy, "--workspace", "."]]), [0]);
    let run = place.last_run();
    let word =
        |word: &str| place.ringfence(&["exec", "dev", "--", "sh", "-c", &format!("echo {word} >> a")]).status;
    assert_eq!((word("one"), place.ringfence(&["checkpoint", "dev", "p1"]).status), (0, 0));
    assert_eq!((word("two"), place.ringfence(&["checkpoint", "dev", "p2"]).status), (0, 0));
    assert_eq!(verbs(&place, &[&["rollback", "dev", "p1"], &["stop", "dev"]]), [0, 0]);
    place.host("echo one >> a");
    let applied = place.ringfence(&["apply", &run]);
    assert!(applied.status == 0 && applied.out.contains("its checkpoints stay"), "{applied:?}");
    assert_eq!(verbs(&place, &[&["rollback", &run, "p2"]]), [0]);
    assert!(place.ringfence(&["diff", &run]).out.contains("two"), "{:?}", place.ringfence(&["diff", &run]));
}

#[test]
fn what_a_person_writes_at_once_after_the_end_is_his() {
    let place = Place::new();
    place.host("echo zero > a");
    let run = place.to_run("[workspace]\nmode = \"direct\"\nsnapshot = true\n", "echo junk >> a");
    let mut command = place.under("sh", &["-c", "\"$@\"; echo mine >> a", "sh"], &run);
    assert!(command.output().unwrap().status.success());
    assert_eq!(verbs(&place, &[&["undo"]]), [126]);
    assert!(place.read("a").unwrap().ends_with("mine\n"));
}

#[test]
fn a_sandbox_that_ended_is_known_by_its_name() {
    let place = Place::new();
    let policy = place.policy("");
    assert_eq!(verbs(&place, &[&["start", "dev", "--policy", &policy, "--workspace", "."]]), [0]);
    assert_eq!(verbs(&place, &[&["exec", "dev", "--", "sh", "-c", "echo x > a"], &["stop", "dev"]]), [0, 0]);
    assert_eq!(place.ringfence(&["diff", "dev", "--name-only"]).out, "a\n");
    assert!(place.ringfence(&["ps", "-a"]).out.contains("`dev`"), "{:?}", place.ringfence(&["ps", "-a"]));
    assert_eq!(verbs(&place, &[&["apply", "dev"]]), [0]);
}

#[test]
fn a_bare_name_below_the_workspace_is_not_guessed() {
    let place = place(
        "mkdir src; echo 0 > a; echo 0 > src/a; echo 0 > src/b",
        "echo 1 > a; echo 1 > src/a; echo 1 > src/b",
    );
    let below = |name: &str| {
        let mut command = place.command(&["apply", "last", "--", name]);
        let output = command.current_dir(place.workspace.join("src")).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let both = below("a");
    assert!(both.0 == 125 && both.1.contains("which is meant?"), "{both:?}");
    let one = below("b");
    assert!(one.0 == 125 && one.1.contains("the one from here is `./b`"), "{one:?}");
    assert_eq!(
        (below("./a").0, place.read("a").as_deref(), place.read("src/a").as_deref()),
        (0, Some("0\n"), Some("1\n"))
    );
}

#[test]
fn what_the_host_exchanged_or_removed_since_the_end_is_a_conflict() {
    let exchanged = place("mkdir D E; echo orig > D/f; echo HOSTWORK > E/f", "echo task > D/f");
    exchanged.host("mv D D.mine; mv E D; touch D/new");
    assert_eq!(verbs(&exchanged, &[&["apply"]]), [126]);
    assert_eq!(exchanged.read("D/f").as_deref(), Some("HOSTWORK\n"));
    // As editors and `sed -i` save.
    let saved = "sed -i s/l3/L3/ a; mv b b.old; cp b.old b; rm b.old";
    for edit in ["rm a", "mv a other"] {
        let removed = place("seq -f l%g 5 > a; echo b > b", saved);
        removed.host(edit);
        let refused = removed.ringfence(&["apply"]);
        assert!(refused.status == 126 && refused.err.contains("a: removed on the host"), "{refused:?}");
        assert!(removed.read("a").is_none());
    }
    let neither = place("mkdir D; seq -f l%g 5 > D/a; echo b > b", "sed -i s/l3/L3/ D/a; echo new > D/b");
    neither.host("echo beside > D/beside; touch D/other");
    assert_eq!(verbs(&neither, &[&["apply"], &["undo"]]), [0, 0]);
}

#[test]
fn a_directory_that_the_host_removed_since_the_end_does_not_come_back() {
    for tier in ["namespace", "landlock"] {
        for task in [
            "echo task > D/E/new",
            "echo task >> D/E/f",
            "chmod 700 D",
            "rm -r D; mkdir -p D/E; echo new > D/E/f",
        ] {
            let place = Place::new().in_tier(tier);
            place.host("mkdir -p D/E; echo orig > D/E/f; echo a > a");
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert_eq!(place.run("", &format!("echo b > b; {task}")).status, 0);
            place.host("rm -r D");
            let refused = place.ringfence(&["apply"]);
            assert!(
                refused.status == 126 && refused.err.contains("D: removed on the host"),
                "{tier} {task}: {refused:?}"
            );
            assert_eq!(
                verbs(&place, &[&["apply", "last", "--", "b"], &["undo"], &["apply", "last", "--", "b"]]),
                [0; 3]
            );
            assert_eq!(place.host("ls"), "a\nb\n", "{tier} {task}");
        }
    }
}

#[test]
fn a_directory_that_the_host_moved_away_in_the_midst_of_a_run_does_not_come_back() {
    for tier in ["namespace", "landlock"] {
        let place = Place::new().in_tier(tier);
        place.host("mkdir -p D/E; echo orig > D/E/f; echo a > a");
        std::thread::sleep(std::time::Duration::from_millis(50));
        let child =
            place.to_run("", "echo new > D/E/new; sleep 1.5; mkdir own; echo b > own/b").spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(900));
        place.host("mv D D.mine");
        assert!(child.wait_with_output().unwrap().status.success());
        let refused = place.ringfence(&["apply"]);
        assert!(
            refused.status == 126 && refused.err.contains("D: removed on the host"),
            "{tier}: {refused:?}"
        );
        assert_eq!(verbs(&place, &[&["apply", "last", "--", "own"]]), [0]);
        assert_eq!(place.host("ls"), "D.mine\na\nown\n", "{tier}");
    }
}

#[test]
fn where_a_link_of_the_host_leads_is_what_it_is_named() {
    let place = place(
        "mkdir -p gh/workflows ide env cl; ln -s gh .github; ln -s ./ide .vscode; ln -s env/e .envrc; ln -s cl .claude; echo o > env/e",
        "echo evil > gh/workflows/b.yml; echo '{}' > ide/tasks.json; echo evil > env/e; echo '{}' > cl/settings.json; echo fine > cl/notes; echo a > a",
    );
    assert_eq!(verbs(&place, &[&["apply"]]), [0]);
    let there = |path: &str| place.workspace.join(path).exists();
    assert!(
        !there("gh/workflows/b.yml") && !there("ide/tasks.json") && !there("cl/settings.json") && there("a")
    );
    assert_eq!(place.read("env/e").as_deref(), Some("o\n"));
}

#[test]
fn links_of_the_host_are_followed_to_their_end() {
    for links in
        ["ln -s $PWD/gh .github", "ln -s a .github; ln -s gh a", "mkdir sub; ln -s sub/../gh .github"]
    {
        let place = place(
            &format!("mkdir -p gh/workflows; echo o > gh/workflows/c.yml; {links}"),
            "echo evil >> gh/workflows/c.yml; echo a > a.txt",
        );
        assert_eq!(verbs(&place, &[&["apply"]]), [0]);
        assert_eq!(place.read("gh/workflows/c.yml").as_deref(), Some("o\n"), "{links}");
        assert!(place.read("a.txt").is_some(), "{links}");
    }
}

#[test]
fn a_name_is_of_the_workspace_where_one_stands() {
    let place = Place::new();
    let policy = place.policy("");
    let there = |name: &str, arguments: &[&str]| {
        let directory = place.home.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        place.command(arguments).current_dir(directory).output().unwrap().status.code().unwrap()
    };
    for name in ["one", "two"] {
        assert_eq!(there(name, &["start", "job", "--policy", &policy, "--workspace", "."]), 0);
        assert_eq!(there(name, &["exec", "job", "--", "sh", "-c", "echo x > made"]), 0);
        assert_eq!(there(name, &["stop", "job"]), 0);
    }
    assert_eq!((there("one", &["discard", "job"]), there("two", &["apply", "job"])), (0, 0));
    assert!(place.home.join("two/made").exists() && !place.home.join("one/made").exists());
    assert_eq!(there("three", &["diff", "job"]), 125);
}

#[test]
fn what_was_written_after_a_snapshots_end_is_kept_whoever_put_it_back() {
    let place = Place::new();
    place.host("echo orig > f");
    assert_eq!(place.run("[workspace]\nmode = \"direct\"\nsnapshot = true\n", "echo task1 > f").status, 0);
    let first = place.last_run();
    place.host("sleep 0.05; echo HOSTWORK > f");
    assert_eq!(verbs(&place, &[&["undo", &first]]), [126]);
    assert_eq!(place.run("", "echo task2 > f").status, 0);
    assert_eq!(verbs(&place, &[&["apply"], &["undo"], &["undo", &first]]), [0, 0, 126]);
    assert_eq!(place.read("f").as_deref(), Some("HOSTWORK\n"));
}

#[test]
fn what_lies_behind_a_mount_waits() {
    // Who is not root is it in a user namespace of his own.
    let namespaces = if ringfence_promises::root() { "-m" } else { "-rm" };
    let place = place("mkdir d; echo a > a; echo x > d/x", "echo A >> a; echo X >> d/x; echo N > d/n");
    let inside = |arguments: &[&str]| {
        let behind = [namespaces, "sh", "-c", "mount -t tmpfs none d && exec \"$@\"", "sh"];
        let mut command = place.under("unshare", &behind, &place.command(arguments));
        command.output().unwrap().status.code().unwrap()
    };
    assert_eq!(inside(&["apply"]), 126);
    assert_eq!(inside(&["apply", "--leave", "d"]), 0);
    assert_eq!((place.read("a").as_deref(), place.read("d/x").as_deref()), (Some("a\nA\n"), Some("x\n")));
    assert_eq!(inside(&["apply", "--leave", "d"]), 0);
    assert_eq!(verbs(&place, &[&["apply"]]), [0]);
    assert_eq!((place.read("d/x").as_deref(), place.read("d/n").as_deref()), (Some("x\nX\n"), Some("N\n")));
}

#[test]
fn a_link_of_the_host_that_leads_to_nothing_yet_is_followed_too() {
    for links in ["ln -s env/e .envrc", "ln -s b .envrc; ln -s env/e b", "ln -s $PWD/env/e .envrc"] {
        let place = place(links, "mkdir env; echo evil > env/e; echo a > a");
        assert_eq!(verbs(&place, &[&["apply"]]), [0], "{links}");
        assert!(place.read("env/e").is_none() && place.read("a").is_some(), "{links}");
    }
}
