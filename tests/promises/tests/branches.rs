//! What goes onto a branch or into a patch where the git directory lies elsewhere, and why a branch cannot be made.

use ringfence_promises::Place;

use crate::landing::REPOSITORY;

/// Git's own files are changes of a second layer, which have other paths.
#[test]
fn of_a_linked_worktree_only_its_files_are_on_the_branch() {
    let place = Place::new();
    place.host(REPOSITORY);
    place.host("git worktree add -q ../a-tree -b side; git worktree add -q ../z-tree -b other");
    let policy = place.policy("[workspace]\ngit = true");
    for tree in ["../a-tree", "../z-tree"] {
        let at =
            |verb: &[&str]| place.command(verb).current_dir(place.workspace.join(tree)).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let script =
            "echo more >> f; echo n > nn; git add -A; mkdir deep; echo d > deep/HEAD; git add -N deep";
        let done = at(&["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script]);
        assert!(done.status.success(), "{tree}: {done:?}");
        assert!(text(at(&["diff", "--name-only"]).stdout).contains("[git0] worktrees/"), "{tree}");
        let patch = at(&["diff", "--patch"]);
        let (out, err) = (text(patch.stdout), text(patch.stderr));
        assert_eq!(out.matches("diff --git").count(), 3, "{tree}: {out}");
        assert!(out.contains("diff --git a/f b/f\n") && out.contains("a/deep/HEAD"), "{tree}: {out}");
        assert!(err.lines().count() == 1 && err.contains("lies outside of the workspace"), "{tree}: {err}");
        let shown = at(&["diff", "--git"]);
        let err = text(shown.stderr);
        assert!(err.lines().count() == 1 && err.contains("lies outside of the workspace"), "{tree}: {err}");
        let done = at(&["apply", "--branch", "b"]);
        let (out, err) = (text(done.stdout), text(done.stderr));
        assert!(done.status.success() && out.starts_with("3 changes on"), "{tree}: {out}{err}");
        assert!(err.lines().count() == 1 && err.contains("lies outside of the workspace"), "{tree}: {err}");
        let names = place.host(&format!("cd {tree}; git diff --name-only HEAD b"));
        assert_eq!(names, "deep/HEAD\nf\nnn\n", "{tree}");
        assert_eq!(place.host(&format!("cd {tree}; git diff HEAD b; git branch -qD b")), text(shown.stdout));
    }
}

/// What an apply refuses of a directory is refused of what is in it, and is on no branch and in no patch.
#[test]
fn what_apply_refuses_is_on_no_branch() {
    for (edit, what) in
        [("rm -r d", "gone"), ("mv d old; mkdir d; cp old/x d", "replaced"), ("rm d/x; rmdir d", "gone")]
    {
        let place = Place::new();
        place.host(REPOSITORY);
        place.host("mkdir d; echo x > d/x; git add -A; git commit -qm two");
        assert_eq!(place.run("", "echo more >> f; echo y >> d/x; echo n > d/n").status, 0);
        place.host(edit);
        assert_eq!(place.ringfence(&["apply"]).status, 126, "{what}");
        let patch = place.ringfence(&["diff", "--patch"]);
        assert!(patch.out.contains("b/f") && !patch.out.contains("b/d/"), "{what}: {patch:?}");
        let done = place.ringfence(&["apply", "--branch", "b"]);
        assert!(done.status == 0 && done.err.contains("d/x"), "{what}: {done:?}");
        assert_eq!(place.host("git diff --name-only HEAD b"), "f\n", "{what}: {done:?}");
    }
}

#[test]
fn why_no_branch_can_be_made_is_said_with_a_way_out() {
    let place = Place::new();
    place.host("seq 3 > f");
    assert_eq!(place.run("", "echo more >> f").status, 0);
    for verb in [&["apply", "--branch", "x"][..], &["diff", "--git"]] {
        let refused = place.ringfence(verb);
        let words = refused.err.contains("is in no git repository") && refused.err.contains("hint: ");
        assert!(refused.status == 125 && words && !refused.err.contains("rev-parse"), "{refused:?}");
    }
    place.host(REPOSITORY);
    place.host("git branch agent; git branch team/one");
    assert_eq!(place.ringfence(&["discard"]).status, 0);
    assert_eq!(place.run("", "echo more >> f").status, 0);
    let events = place.told("workspace.apply").len();
    for (branch, why) in [
        ("a..b", "git allows no branch to be called `a..b`"),
        ("../x", "git allows no branch to be called `../x`"),
        ("@{-1}", "git allows no branch to be called `@{-1}`"),
        ("HEAD", "git allows no branch to be called `HEAD`"),
        ("-x", "git allows no branch to be called `-x`"),
        ("", "git allows no branch to be called ``"),
        ("agent", "there is a branch agent already"),
        ("agent/work", "there is a branch agent, and git keeps none called agent/work beside it"),
        ("agent/work/deep", "there is a branch agent, and git keeps none called agent/work/deep beside it"),
        ("team", "there is a branch team/one, and git keeps none called team beside it"),
    ] {
        let refused = place.ringfence(&["apply", &format!("--branch={branch}")]);
        let words = refused.err.contains(&format!("error: {why}\n")) && refused.err.contains("hint: ");
        assert!(refused.status == 125 && words && !refused.err.contains("fatal"), "{branch}: {refused:?}");
    }
    assert_eq!(place.told("workspace.apply").len(), events, "nothing happened");
    assert_eq!(place.ringfence(&["apply", "--branch", "agents/work"]).status, 0);
    // A repository that git does not work with.
    place.host("printf '[core]\\n\\trepositoryformatversion = 99\\n' > .git/config");
    let refused = place.ringfence(&["apply", "--branch", "x"]);
    let words =
        refused.err.contains("git does not work with the repository") && refused.err.contains("hint: ");
    assert!(refused.status == 125 && words, "{refused:?}");
}

/// Git says nothing of what is beyond a link, and the host still has the link.
#[test]
fn a_directory_in_the_place_of_a_link_is_on_the_branch() {
    let place = Place::new();
    place.host(REPOSITORY);
    place.host("mkdir sub; ln -s f sub/lnk; echo '*.o' > .gitignore; git add -A; git commit -qm two");
    let script = "rm sub/lnk; mkdir sub/lnk; echo h > sub/lnk/y; echo o > sub/lnk/z.o; echo 'n*' > sub/lnk/.gitignore; echo n > sub/lnk/n";
    for (workspace, base) in [(".", ""), ("sub", "sub/")] {
        let directory = place.workspace.join(workspace);
        let at = |verb: &[&str]| place.command(verb).current_dir(&directory).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let policy = place.policy("");
        let script = if base.is_empty() { script.to_owned() } else { script.replace("sub/", "") };
        let done = at(&["run", "-q", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", &script]);
        assert!(done.status.success(), "{done:?}");
        let shown = at(&["diff", "--git"]);
        assert!(text(shown.stdout).contains("b/sub/lnk/y"), "{workspace}: {}", text(shown.stderr));
        let done = at(&["apply", "--branch", "b"]);
        assert!(done.status.success(), "{workspace}: {done:?}");
        let names = place.host("git diff --name-only HEAD b; git branch -qD b");
        assert_eq!(names, "sub/lnk\nsub/lnk/.gitignore\nsub/lnk/y\n", "{workspace}");
    }
}

/// To unpack an import gives objects a new time that are there already.
#[test]
fn a_look_with_git_changes_no_times() {
    let place = Place::new();
    place.host(REPOSITORY);
    place.host(
        "cp f one; echo two > f; git commit -qam two; find .git -exec touch -h -d '1 hour ago' {} +; touch ../stamp",
    );
    assert_eq!(place.run("", "git gc -q; cat one > f; rm one; echo n > n").status, 0);
    let newer = || place.host("find .git -newer ../stamp");
    assert_eq!(place.ringfence(&["diff", "--git"]).status, 0);
    assert_eq!(newer(), "");
    let done = place.ringfence(&["apply", "--branch", "b"]);
    assert_eq!(done.status, 0, "{done:?}");
    assert!(!newer().lines().any(|path| path.len() == ".git/objects/37/".len() + 38), "{}", newer());
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
    assert_eq!(place.host("git fsck --no-dangling 2>&1; git diff --stat b -- f"), "");
}

/// A forged `.git` has nothing said.
#[test]
fn nothing_is_said_of_a_git_directory_that_is_none_or_is_shown() {
    let place = Place::new();
    let said = |rest: &str, script: &str| {
        let policy = place.policy(rest);
        let run =
            place.ringfence(&["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script]);
        let plan = place.ringfence(&["plan", "--policy", &policy, "--workspace", ".", "--", "true"]);
        format!("{}{}", run.err, plan.out)
    };
    place.host("mkdir g; printf '[core]\n\tworktree = ..\n' > g/config; printf 'gitdir: g\n' > .git");
    assert!(!said("", "false").contains("git's directory"));
    place.host(r#"d=../x$'\n'ringfence:\ lie; mkdir -p "$d"; printf '[core]\n\tworktree = ../work\n' > "$d/config"; printf 'gitdir: %s\n' "$d" > .git"#);
    let forged = said("", "false");
    assert!(!forged.contains("git's directory") && !forged.contains("\nringfence: lie"), "{forged}");
    // Whoever grants it has it.
    place.host("rm -rf .git g; w=$PWD; git init -q ../main; cd ../main; git -c user.name=x -c user.email=x@x commit -q --allow-empty -m one; rm -r $w; git worktree add -q $w");
    let git = place.workspace.parent().unwrap().join("main/.git");
    assert!(said("", "false").contains("is not shown, so that git fails"));
    let read = said(&format!("[files]\nread = [\"{}\"]", git.display()), "false");
    assert!(read.contains("can be read, not written, so that git adds"), "{read}");
    let write = said(&format!("[files]\nwrite = [\"{}\"]", git.display()), "false");
    assert!(!write.contains("git's directory"), "{write}");
}

/// Where git fails because its directory lies elsewhere, the end of the run says so, and what helps.
#[test]
fn why_git_fails_in_a_worktree_and_a_submodule_is_said() {
    let tiers = [
        (Place::new(), "", "../tree", "`workspace.git = true` in the policy shows it"),
        (Place::new(), "", "super/sub", "`workspace.git = true` in the policy shows it"),
        (Place::new().in_tier("landlock"), "[workspace]\ngit = true", "../tree", "can be read, not written"),
        (
            Place::new().in_tier("landlock"),
            "[workspace]\ngit = true",
            "super/sub",
            "git finds none in a copy",
        ),
    ];
    for (place, lines, tree, said) in tiers {
        place.host(REPOSITORY);
        place.host(
            "git worktree add -q ../tree -b side; git init -q super; cd super
             git -c protocol.file.allow=always submodule --quiet add \"$PWD/..\" sub",
        );
        let policy = place.policy(lines);
        let at = |script: &str| {
            let mut command =
                place.command(&["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script]);
            let done = command.current_dir(place.workspace.join(tree)).output().unwrap();
            (done.status.code(), String::from_utf8(done.stderr).unwrap())
        };
        let (status, err) = at("echo x > x; git add x");
        assert!(status != Some(0) && err.contains(said), "{tree}: {err}");
        let (status, err) = at("true");
        assert!(status == Some(0) && !err.contains(said), "{tree}: {err}");
        // What it points to.
        if !lines.is_empty() {
            assert!(at("echo x > x").1.contains("1 change waits"), "{tree}");
            let mut command = place.command(&["apply", "--branch", "made"]);
            let done = command.current_dir(place.workspace.join(tree)).output().unwrap();
            assert!(done.status.success(), "{tree}: {done:?}");
        }
    }
}
