//! What lands piece by piece, by kind, merged, or on a branch.

use std::io::Write;
use std::process::Stdio;

use ringfence_promises::Place;

pub(crate) fn answered(place: &Place, answers: &str) -> (i32, String) {
    let mut command = place.command(&["apply", "--interactive"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.code().unwrap_or(-1), text)
}

#[test]
fn hunks_and_changes_land_as_they_are_answered() {
    let place = Place::new();
    place.host("seq 30 > f; echo keep > keep; mkdir old; echo o > old/o; echo m > moves");
    let script = "sed -i 's/^2$/two/; s/^15$/fifteen/; s/^29$/twentynine/' f; rm keep; rm -r old; mkdir -p new/deep; echo n > new/deep/n;
                  mv moves moved; echo v > .envrc; mkdir other; echo x > other/x";
    assert_eq!(place.run("", script).status, 0);
    // .envrc, f: three hunks, keep, moved, new/deep/n, old, other/x
    let (status, text) = answered(&place, "y\ny\nn\ny\nn\ny\nn\nwhat\ny\ny\n");
    assert_eq!(status, 0, "{text}");
    let wanted = place.host("seq 30 | sed 's/^2$/two/; s/^29$/twentynine/'");
    assert_eq!(place.read("f").unwrap(), wanted, "{text}");
    let there = |path: &str| place.workspace.join(path).exists();
    assert!(there("keep") && there(".envrc") && there("moved") && !there("moves"), "{text}");
    assert!(!there("new") && !there("old") && there("other/x"), "{text}");
    // The rest waits, and lands later.
    let diff = place.ringfence(&["diff", "--stat"]);
    assert!(
        diff.out.contains("f ") && diff.out.contains("new/deep/n") && !diff.out.contains("moved"),
        "{}",
        diff.out
    );
    let rest = place.ringfence(&["apply"]);
    assert_eq!(rest.status, 0, "{}", rest.err);
    assert!(place.read("f").unwrap().contains("fifteen") && there("new/deep/n") && !there("keep"));
    for _ in 0..2 {
        let undone = place.ringfence(&["undo"]);
        assert_eq!(undone.status, 0, "{}", undone.err);
    }
    assert_eq!(place.read("f").unwrap(), place.host("seq 30"));
    assert!(
        there("keep")
            && there("moves")
            && there("old/o")
            && !there("moved")
            && !there("other")
            && !there(".envrc")
    );
}

#[test]
fn what_was_not_answered_does_not_land() {
    let place = Place::new();
    place.host("seq 30 > f");
    assert_eq!(place.run("", "echo 31 >> f; echo a > a; echo z > z").status, 0);
    let (status, text) = answered(&place, "y\nq\n");
    assert_eq!(status, 0, "{text}");
    assert!(
        place.read("a").is_some() && place.read("z").is_none() && !place.read("f").unwrap().contains("31")
    );
}

#[test]
fn each_kind_is_held_and_lands_by_its_name() {
    let elf = "cp /bin/true tool";
    for (script, path, kind) in [
        (
            "git init -q . 2> /dev/null; rm .git/hooks/*; echo x > .git/hooks/post-commit",
            ".git/hooks/post-commit",
            "hooks",
        ),
        ("mkdir .hg; echo x > .hg/hgrc", ".hg/hgrc", "config"),
        ("mkdir .vscode; echo x > .vscode/tasks.json", ".vscode/tasks.json", "editors"),
        ("echo x > .mcp.json", ".mcp.json", "agents"),
        ("echo x > .envrc", ".envrc", "shell"),
        ("mkdir -p .github/workflows; echo x > .github/workflows/ci.yml", ".github/workflows/ci.yml", "ci"),
        ("echo '{\"scripts\":{\"postinstall\":\"x\"}}' > package.json", "package.json", "scripts"),
        ("echo x > Cargo.lock", "Cargo.lock", "lockfiles"),
        (elf, "tool", "binaries"),
    ] {
        let place = Place::new();
        assert_eq!(place.run("", &format!("{script}; echo fine > fine")).status, 0);
        let first = place.ringfence(&["apply"]);
        assert_eq!(first.status, 0, "{kind}: {}", first.err);
        assert!(place.read("fine").is_some() && !place.workspace.join(path).exists(), "{kind}");
        assert!(first.out.contains(&format!("({kind}: ")), "{kind}: {}", first.out);
        let other = if kind == "ci" { "hooks" } else { "ci" };
        // Nothing landed, and the status says so.
        assert_eq!(place.ringfence(&["apply", "--accept", other]).status, 126);
        assert!(!place.workspace.join(path).exists(), "{kind} by {other}");
        let accepted = place.ringfence(&["apply", "--accept", kind]);
        assert_eq!(accepted.status, 0, "{kind}: {}", accepted.err);
        assert!(place.workspace.join(path).exists(), "{kind}");
    }
    let place = Place::new();
    place.write("package.json", "{\"name\":\"x\",\"scripts\":{\"a\":\"b\"}}");
    assert_eq!(
        place
            .run(
                "",
                "echo '{\"name\":\"y\",\"scripts\":{\"a\":\"b\"}}' > package.json; ln -s /etc/passwd out"
            )
            .status,
        0
    );
    let first = place.ringfence(&["apply"]);
    assert!(first.status == 0 && first.out.contains("out (symlinks: "), "{first:?}");
    assert!(place.read("package.json").unwrap().contains('y'), "no script changed");
    assert!(place.workspace.join("out").symlink_metadata().is_err());
    let accepted = place.ringfence(&["apply", "--accept", "symlinks"]);
    assert_eq!(accepted.status, 0, "{}", accepted.err);
    assert!(place.workspace.join("out").is_symlink());
}

pub(crate) const REPOSITORY: &str = "git init -q -b main .; git config user.name x; git config user.email x@example.org;
    seq 30 > f; printf 'a\\0b' > bin; echo gone > gone; echo ignored > .gitignore; mkdir 'd d'; echo x > 'd d/ü';
    git add -A; git commit -qm first";

#[test]
fn both_sides_of_a_file_are_merged_on_request() {
    let place = Place::new();
    place.host(REPOSITORY);
    assert_eq!(place.run("", "sed -i 's/^2$/two/' f; echo n > n").status, 0);
    place.host("sed -i 's/^29$/twentynine/' f");
    assert_eq!(place.ringfence(&["apply"]).status, 126);
    let merged = place.ringfence(&["apply", "--merge"]);
    assert_eq!(merged.status, 0, "{}", merged.err);
    assert_eq!(place.read("f").unwrap(), place.host("seq 30 | sed 's/^2$/two/; s/^29$/twentynine/'"));
    let undone = place.ringfence(&["undo"]);
    assert_eq!(undone.status, 0, "{}", undone.err);
    assert_eq!(place.read("f").unwrap(), place.host("seq 30 | sed 's/^29$/twentynine/'"));
    // The same lines on both sides.
    place.host("sleep 0.05; git commit -qam second");
    assert_eq!(place.run("", "sed -i 's/^5$/five/' f; echo m > m").status, 0);
    place.host("sed -i 's/^5$/V/' f");
    let refused = place.ringfence(&["apply", "--merge"]);
    assert!(refused.status == 126 && refused.err.contains("the same lines"), "{}", refused.err);
    assert!(place.read("m").is_none() && place.read("f").unwrap().contains("V\n"));
}

#[test]
fn a_branch_gets_the_changes_and_the_files_stay() {
    let place = Place::new();
    place.host(REPOSITORY);
    let before = place.host("git status --porcelain; git rev-parse HEAD; cat f");
    let policy = "identity = { name = \"build-agent\" }";
    let script = "echo more >> f; printf 'a\\0c' > bin; rm gone; echo i > ignored; echo y > 'd d/ü'; echo q > 'q\"uote'; ln -s f link; echo '#!' > run; chmod 755 run; \
                  mkdir -p .github/workflows; echo x > .github/workflows/ci.yml";
    assert_eq!(place.run(policy, script).status, 0);
    let hook = "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch \"$HOME/hooked\"\\n' > .git/hooks/reference-transaction; chmod 755 .git/hooks/*";
    place.host(hook);
    let shown = place.ringfence(&["diff", "--git"]);
    assert!(shown.status == 0 && shown.err.contains("ignored: git ignores it"), "{}", shown.err);
    assert!(
        !place.listing().iter().any(|(path, _)| path.to_string_lossy().contains("preview-")),
        "its repository is left"
    );
    let json: serde_json::Value =
        serde_json::from_str(&place.ringfence(&["diff", "--git", "--json"]).out).unwrap();
    assert_eq!((json["entries"].as_array().unwrap().len(), &json["diff"]), (7, &shown.out.clone().into()));
    let done = place.ringfence(&["apply", "--branch", "agent/work"]);
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(done.err.contains("ci.yml"), "{}", done.err);
    assert!(!place.home.join("hooked").exists(), "a hook ran");
    place.host("rm .git/hooks/reference-transaction");
    assert_eq!(place.host("git status --porcelain; git rev-parse HEAD; cat f"), before);
    let names = place.host("git -c core.quotePath=false diff --name-status main agent/work");
    assert_eq!(names, "M\tbin\nM\td d/ü\nM\tf\nD\tgone\nA\tlink\nA\t\"q\\\"uote\"\nA\trun\n");
    assert_eq!(place.host("git diff --binary -M main agent/work"), shown.out);
    assert_eq!(place.host("git log -1 --format=%an agent/work"), "build-agent\n");
    assert!(place.host("git ls-tree agent/work run link").contains("100755"));
    place.host("git fsck --strict");
    let again = place.ringfence(&["apply", "--branch", "agent/work"]);
    assert!(again.status == 125 && again.err.contains("already"), "{}", again.err);
    assert_eq!(place.ringfence(&["apply", "--branch", "../x"]).status, 125);
    // The run waits on, for the files too.
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    assert!(place.read("f").unwrap().ends_with("more\n"));
}

/// Else it would be nowhere on the host.
#[test]
fn what_is_held_under_its_new_name_keeps_its_old_one() {
    let place = Place::new();
    place.host("mkdir d; seq 20 > d/steps; seq 30 > plain; echo other > d/other");
    let moved = place.run("", "mv d/steps .envrc; rmdir d 2>/dev/null || mv d e; mv plain simple");
    assert_eq!(moved.status, 0, "{moved:?}");
    let landed = place.ringfence(&["apply"]);
    assert!(landed.status == 0 && landed.out.contains("held back: d/steps"), "{landed:?}");
    let there = |path: &str| place.workspace.join(path).exists();
    assert!(there("d/steps") && !there(".envrc") && there("simple") && !there("plain"), "{landed:?}");
    let accepted = place.ringfence(&["apply", "--accept", ".envrc"]);
    assert!(accepted.status == 0 && there(".envrc") && !there("d"), "{accepted:?}");
    // What a person removed meanwhile does not come back, whatever else is renamed.
    place.host("seq 40 > edited; seq 50 > other");
    assert_eq!(place.run("", "echo more >> edited; mv other another").status, 0);
    place.host("rm edited");
    let refused = place.ringfence(&["apply"]);
    assert!(refused.status == 126 && refused.err.contains("edited: removed on the host"), "{refused:?}");
    assert!(!refused.err.contains("another: "), "{refused:?}");
}

#[test]
fn links_and_what_is_left_by_name_keep_their_old_names_too() {
    let place = Place::new();
    place.host("mkdir src; seq 20 > src/x; seq 30 > src/y; ln -s conf/env link");
    assert_eq!(place.run("", "mv src lib; mv link .envrc").status, 0);
    let landed = place.ringfence(&["apply", "--leave", "lib/x"]);
    assert_eq!(landed.status, 0, "{landed:?}");
    assert_eq!(place.host("find . ! -type d | sort"), "./lib/y\n./link\n./src/x\n./src/y\n");
    let rest = place.ringfence(&["apply", "--accept", "shell"]);
    assert_eq!(rest.status, 0, "{rest:?}");
    assert_eq!(place.host("find . ! -type d | sort"), "./.envrc\n./lib/x\n./lib/y\n");
}

#[test]
fn what_is_named_lands_alone() {
    let place = Place::new();
    place.host("seq 20 > moved; seq 30 > a; mkdir old; seq 40 > old/x");
    let script = "mv moved again; echo more >> a; mkdir -p new/deep new/other hooks; seq 50 > new/deep/f; seq 60 > new/g; \
        echo x > new/.envrc; mv old fresh; mkfifo out";
    assert_eq!(place.run("", script).status, 0);
    let files = || place.host("find . -mindepth 1 | sort | tr '\\n' ' '");
    let apply = |arguments: &[&str]| place.ringfence(&[&["apply", "last"], arguments].concat());
    for wrong in ["nowhere", "new/deep/none", "../b"] {
        let refused = apply(&["--", wrong]);
        assert!(refused.status == 125 && files() == "./a ./moved ./old ./old/x ", "{refused:?}");
    }
    // What leads to nothing that lands stays.
    let held = apply(&["--", "new/.envrc"]);
    assert!(held.out.contains("nothing landed") && held.out.contains("new/.envrc"), "{held:?}");
    assert_eq!(files(), "./a ./moved ./old ./old/x ");
    let landed = apply(&["--", "again", "./new/deep"]);
    assert!(landed.status == 0 && landed.out.contains(" stay with the run"), "{landed:?}");
    assert_eq!(files(), "./a ./again ./new ./new/deep ./new/deep/f ./old ./old/x ");
    // The FIFO is refused for its own sake; the way that is shown keeps to what was named.
    let refused = apply(&["--leave", "a", "--", "new", "out", "a"]);
    assert_eq!((refused.status, files().contains("new/g")), (126, false), "{refused:?}");
    assert!(refused.err.contains(" --leave a --leave out -- new out a`"), "{refused:?}");
    let kept = apply(&["--leave", "a", "--leave", "out", "--", "new", "out", "a"]);
    assert!(kept.status == 0 && kept.out.contains("1 change held back:"), "{kept:?}");
    assert_eq!(
        files(),
        "./a ./again ./new ./new/deep ./new/deep/f ./new/g ./new/other ./old ./old/x ",
        "{kept:?}"
    );
    assert_eq!(place.host("wc -l < a"), "30\n");
    let rest = apply(&["--accept", "new/.envrc", "--leave", "out"]);
    assert_eq!(rest.status, 0, "{rest:?}");
    assert!(files().starts_with("./a ./again ./fresh ./fresh/x ./hooks ./new ./new/.envrc "), "{}", files());
    for _ in 0..3 {
        assert_eq!(place.ringfence(&["undo"]).status, 0);
    }
    assert_eq!(files(), "./a ./moved ./old ./old/x ");
    // Pieces of what is named, and nothing else is asked for.
    let by_branch = apply(&["--branch", "b", "--", "a"]);
    assert!(by_branch.err.contains("cannot be used with"), "{by_branch:?}");
}

/// As a prompt does after whatever touches files: the index is written anew.
const LOOK: &str = "touch -d '1 hour' f; before=$(sha256sum .git/index); git status > /dev/null; [ \"$before\" != \"$(sha256sum .git/index)\" ]";

#[test]
fn looks_of_git_are_no_changes() {
    let place = Place::new();
    place.host(REPOSITORY);
    // On both sides.
    assert_eq!(
        place.run("", "echo more >> gone; touch -d '2 hours' f bin; git status > /dev/null").status,
        0
    );
    assert_eq!(place.ringfence(&["diff", "--name-only"]).out, "gone\n");
    place.host(LOOK);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    // Of what landed: the undo puts back the index from before.
    let before = place.host("git ls-files -s");
    assert_eq!(place.run("", "git mv gone kept; git add -A").status, 0);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    place.host(LOOK);
    let undone = place.ringfence(&["undo"]);
    assert!(undone.status == 0 && place.host("git ls-files -s") == before, "{undone:?}");
    // What a person added since is not lost.
    assert_eq!(place.run("", "git mv gone kept; git add -A").status, 0);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    place.host("echo mine > mine; git add mine");
    let refused = place.ringfence(&["undo"]);
    assert!(refused.status == 126 && refused.err.contains(".git/index"), "{refused:?}");
}

#[test]
fn where_nothing_differs_there_is_nothing_to_land() {
    let place = Place::new();
    place.write("d/a", "same\n");
    assert_eq!(place.run("", "cp d/a b; mv b d/a; mkdir e; rmdir e").status, 0);
    let looked = place.ringfence(&["diff"]);
    assert!(looked.status == 0 && looked.err.contains("nothing differs"), "{looked:?}");
    let applied = place.ringfence(&["apply"]);
    assert!(applied.status == 0 && applied.out.contains("nothing differs"), "{applied:?}");
    assert_eq!(place.ringfence(&["undo"]).status, 125);
    assert_eq!(place.ringfence(&["diff"]).status, 125);
}

#[test]
fn worktrees_and_submodules_have_branches_of_their_own() {
    let place = Place::new();
    place.host(REPOSITORY);
    place.host(
        "git config --global protocol.file.allow always; git clone -q . ../library; git submodule -q add ../library sub
         git commit -qm sub; git worktree add -q ../tree",
    );
    let within = |directory: &str, verb: &[&str]| {
        let done = place.command(verb).current_dir(place.workspace.join(directory)).output().unwrap();
        assert!(done.status.success(), "{directory}: {verb:?}: {done:?}");
        [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    for directory in [".", "sub", "../tree"] {
        let script = "echo more >> f; [ ! -d sub ] || echo more >> sub/f";
        within(directory, &["run", "--quiet", "--preset", "default", "--", "sh", "-c", script]);
        let [shown, missing] = within(directory, &["diff", "--git"]);
        assert_eq!(missing.contains("sub/f: of the submodule sub"), directory != "sub", "{missing}");
        assert!(
            shown.starts_with("diff --git a/f b/f\n") && shown.matches("diff --git").count() == 1,
            "{shown}"
        );
        within(directory, &["apply", "--branch", "agent"]);
        assert_eq!(place.host(&format!("cd {directory}; git diff HEAD agent; git branch -qD agent")), shown);
        within(directory, &["discard"]);
    }
}

/// What git would execute of a repository, and a command of the host that shows that it does.
const PLANTED: [(&str, &str, &str); 9] = [
    (
        "a hook",
        "for hook in reference-transaction post-index-change pre-auto-gc; do
             printf '#!/bin/sh\ntouch \"$HOME/ran\"\n' > .git/hooks/$hook; chmod 755 .git/hooks/$hook; done",
        "git update-ref refs/heads/control HEAD",
    ),
    (
        "a directory of hooks",
        "mkdir own; printf '#!/bin/sh\ntouch \"$HOME/ran\"\n' > own/reference-transaction; chmod 755 own/*;
         git config core.hooksPath own",
        "git update-ref refs/heads/control HEAD",
    ),
    (
        "a hook of the configuration",
        "printf '[hook \"x\"]\n\tevent = reference-transaction\n\tcommand = touch \"$HOME/ran\"\n' >> .git/config",
        // Not known to every version.
        "git hook run reference-transaction 2>/dev/null || touch \"$HOME/ran\"",
    ),
    ("a watcher", "git config core.fsmonitor 'touch \"$HOME/ran\"; false'", "git status > /dev/null"),
    (
        "an included file",
        "printf '[core]\n\tfsmonitor = touch \"$HOME/ran\"; false\n' > .conf; git config include.path ../.conf",
        "git status > /dev/null",
    ),
    (
        "a filter",
        "git config filter.x.clean 'touch \"$HOME/ran\"; cat'; git config filter.x.smudge 'touch \"$HOME/ran\"; cat';
         git config filter.x.required true; echo '* filter=x' > .git/info/attributes",
        "echo x > fresh; git add fresh; git rm -q --cached fresh; rm fresh",
    ),
    (
        "drivers of attributes",
        "git config diff.x.textconv 'touch \"$HOME/ran\"; cat'; git config diff.x.command 'touch \"$HOME/ran\"';
         git config merge.x.driver 'touch \"$HOME/ran\"; cat %A'; echo '* diff=x merge=x' > .git/info/attributes",
        "git --no-pager diff",
    ),
    (
        "a remote that objects are missing from",
        "git config extensions.partialClone evil; git config remote.evil.promisor true; git config remote.evil.url 'ext::sh -c touch% \"$HOME/ran\"';
         git config protocol.ext.allow always; git config core.sshCommand 'touch \"$HOME/ran\"; false';
         git config credential.helper '!touch \"$HOME/ran\"; false'; git config gpg.program 'touch'; git config core.pager 'touch \"$HOME/ran\"'",
        "git fetch -q evil || true",
    ),
    (
        "another git",
        "mkdir tools; printf '#!/bin/sh\ntouch \"$HOME/ran\"\nexec /usr/bin/git \"$@\"\n' > tools/git; chmod 755 tools/git",
        "PATH=tools:$PATH git --version > /dev/null",
    ),
];

#[test]
fn the_hosts_git_executes_nothing_of_a_workspace() {
    let first = Place::new();
    first.host(REPOSITORY);
    for (what, plant, control) in PLANTED {
        let place = Place::new();
        place.host(&format!(
            "cp -a {}/. .; sleep 0.05; git add f; git update-index --refresh",
            first.workspace.display()
        ));
        assert_eq!(place.run("", "sed -i 's/^20$/twenty/' f; echo n > new").status, 0);
        place.host(&format!("sed -i 's/^3$/three/' f; touch -d '1 minute' f; {plant}"));
        let ran = place.home.join("ran");
        place.host(control);
        assert!(ran.exists(), "{what}: the control does nothing");
        std::fs::remove_file(&ran).unwrap();
        let own = std::env::var("PATH").unwrap();
        let path = format!("tools:{}:./tools:{own}", place.workspace.join("tools").display());
        for verb in [&["diff", "--git"][..], &["apply", "--branch", "agent/work"], &["apply", "--merge"]] {
            let done = place.command(verb).env("PATH", &path).output().unwrap();
            assert!(done.status.success(), "{what}: {verb:?}: {}", String::from_utf8_lossy(&done.stderr));
            assert!(!ran.exists(), "{what}: {verb:?}");
        }
        let text = place.read("f").unwrap();
        assert!(text.contains("twenty") && text.contains("three"), "{what}: {text}");
    }
}

/// The task staged something, and so the host's index of the start is nowhere in its layer.
#[test]
fn looks_of_git_do_not_stand_in_the_way_of_an_index_that_the_task_wrote() {
    for during in ["touch f bin; git status", "git add f; git reset -q f; git status"] {
        let place = Place::new();
        place.host(REPOSITORY);
        assert_eq!(place.run("", "echo more >> gone; git add gone").status, 0);
        place.host(&format!(
            "before=$(stat -c %i-%z .git/index); {during}; [ \"$before\" != \"$(stat -c %i-%z .git/index)\" ]"
        ));
        let landed = place.ringfence(&["apply"]);
        assert_eq!(landed.status, 0, "{during}: {landed:?}");
        assert_eq!(place.host("git diff --cached --name-only; git diff --name-only"), "gone\n", "{during}");
    }
    // What a person staged is no look, nor is what may be run or read by others now.
    for change in [
        "echo x >> f; git add f",
        "git rm -q --cached bin",
        "git update-index --assume-unchanged f",
        "chmod 600 .git/index",
    ] {
        let place = Place::new();
        place.host(REPOSITORY);
        assert_eq!(place.run("", "echo more >> gone; git add gone").status, 0);
        place.host(change);
        let refused = place.ringfence(&["apply"]);
        let why = refused.err.contains(".git/index: changed on the host");
        assert!(refused.status == 126 && why, "{change}: {refused:?}");
    }
    let place = Place::new();
    place.host(REPOSITORY);
    for verb in [
        &["start", "dev", "--preset", "default"][..],
        &["exec", "dev", "--", "sh", "-c", "echo more >> gone; git add gone"],
        &["checkpoint", "dev"],
        &["exec", "dev", "--", "sh", "-c", "echo more >> gone; git add gone"],
    ] {
        assert_eq!(place.ringfence(verb).status, 0, "{verb:?}");
    }
    place.host(LOOK);
    assert_eq!(place.ringfence(&["stop", "dev"]).status, 0);
    let landed = place.ringfence(&["apply"]);
    assert_eq!(landed.status, 0, "{landed:?}");
}

/// Whoever throws a run away while its apply is at work is refused: all of it landed, or none.
#[test]
fn a_discard_takes_nothing_away_under_an_apply() {
    let mut refused = 0;
    for delay in [0, 5, 10, 20, 40, 60, 90, 120] {
        let place = Place::new();
        assert_eq!(
            place.run("", "i=0; while [ $i -lt 1500 ]; do echo x > f$i; i=$((i + 1)); done").status,
            0
        );
        let run = place.last_run();
        let quiet = Stdio::null;
        let mut applying =
            place.command(&["apply", &run, "--yes"]).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        let discarded = place.ringfence(&["discard", &run]);
        let landed = applying.wait().unwrap().success();
        let there = place.host("ls | wc -l");
        assert_eq!(there, if landed { "1500\n" } else { "0\n" }, "{delay}: {discarded:?}");
        assert_ne!(landed, discarded.status == 0, "{delay}: {discarded:?}");
        assert_eq!(discarded.status == 0, discarded.out.contains("are gone"), "{delay}: {discarded:?}");
        let at_work = ["another apply is at work here", "in use by another ringfence"];
        refused += usize::from(at_work.iter().any(|said| discarded.err.contains(said)));
    }
    assert!(refused > 0, "none met the apply at work");
}

#[test]
fn each_hint_of_a_refusal_is_marked_as_ours() {
    let place = Place::new();
    place.host("echo a > a; echo b > b");
    assert_eq!(place.run("", "echo x >> a; rm b; mkfifo pipe").status, 0);
    place.host("echo y >> a; echo y >> b");
    let refused = place.ringfence(&["apply"]);
    assert_eq!(refused.status, 126, "{}", refused.err);
    let hints: Vec<_> = refused.err.lines().filter(|line| line.contains("hint: ")).collect();
    assert!(hints.len() >= 2, "{}", refused.err);
    assert!(hints.iter().all(|line| line.starts_with("ringfence: hint: ")), "{}", refused.err);
    assert!(!refused.err.lines().any(str::is_empty), "{}", refused.err);
}
