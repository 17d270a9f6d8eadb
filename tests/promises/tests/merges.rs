//! What a merge starts from: the version that the task saw, or nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use ringfence_promises::Place;

use crate::landing::REPOSITORY;

/// In the moment in which the index is written, git itself does not trust it.
const SETTLED: &str = "sleep 0.05; touch f; sleep 0.05; git add -A; git update-index --refresh";

#[test]
fn what_the_host_staged_or_committed_since_survives_a_merge() {
    for since in [
        "true",
        "git add f",
        "git commit -qam host",
        "git commit -qam host; git gc -q --prune=now",
        "git stash -q; git stash pop -q",
    ] {
        let place = Place::new();
        place.host(REPOSITORY);
        place.host(SETTLED);
        assert_eq!(place.run("", "sed -i 's/^2$/two/' f").status, 0);
        place.host(&format!("sed -i 's/^29$/twentynine/' f; {since}"));
        let merged = place.ringfence(&["apply", "--merge"]);
        assert_eq!(merged.status, 0, "{since}: {}", merged.err);
        let wanted = place.host("seq 30 | sed 's/^2$/two/; s/^29$/twentynine/'");
        assert_eq!(place.read("f").unwrap(), wanted, "{since}");
    }
}

/// All of a small clone is written in one moment with its index: a look of git's in the next one proves it.
#[test]
fn a_fresh_clone_is_merged_once_git_has_looked() {
    for look in [true, false] {
        let place = Place::new();
        place.host(REPOSITORY);
        place.host("w=$PWD; cd ..; git clone -q \"$w\" fresh; rm -r \"$w\"; mv fresh \"$w\"; sleep 0.1");
        place.host(if look { "git status > /dev/null; sleep 0.05" } else { "true" });
        assert_eq!(place.run("", "sed -i 's/^2$/two/' f").status, 0);
        place.host("sed -i 's/^29$/twentynine/' f");
        let merged = place.ringfence(&["apply", "--merge"]);
        let wanted = place.host("seq 30 | sed 's/^2$/two/; s/^29$/twentynine/'");
        if look || merged.status == 0 {
            assert_eq!(merged.status, 0, "{}", merged.err);
            assert_eq!(place.read("f").unwrap(), wanted);
        } else {
            assert!(merged.err.contains("a `git status` before the run records it"), "{}", merged.err);
        }
    }
}

#[test]
fn where_the_version_of_the_start_is_not_proven_nothing_is_merged() {
    for (before, during, since) in [
        // The task saw what git had not.
        ("sed -i 's/^15$/mine/' f", "", "git checkout -q f"),
        ("sed -i 's/^15$/mine/' f", "", "sed -i 's/^29$/twentynine/' f; git commit -qam host"),
        // What git does not know, and what it looks at no more.
        ("git rm -q --cached f", "", "echo 31 >> f; git add f"),
        ("sed -i 's/^15$/mine/' f; git update-index --assume-unchanged f", "", "echo 31 >> f; git add f"),
        // A filter makes something else of it.
        (
            "echo 'f ident' > .gitattributes; echo '$Id$' >> f; git add -A; rm f; git checkout f 2>&1",
            "",
            "echo 31 >> f",
        ),
        // While the task ran: it began with this, or with that.
        ("", "sed -i 's/^29$/twentynine/' f; git commit -qam host", ""),
    ] {
        let place = Place::new();
        place.host(REPOSITORY);
        place.host(&format!("{SETTLED}\n{before}\nsleep 0.05"));
        let script = "echo up; read go; sed -i 's/^2$/two/' f; echo n > n";
        let mut command = place.to_run("", script);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut up = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut up).unwrap();
        place.host(&format!(":; {during}"));
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(child.wait().unwrap().success());
        place.host(&format!(":; {since}"));
        let here = place.read("f").unwrap();
        let refused = place.ringfence(&["apply", "--merge"]);
        assert!(
            refused.status == 126 && refused.err.contains("from which both sides began is not known"),
            "{before}, {during}, {since}: {refused:?}"
        );
        assert!(place.read("f").unwrap() == here && place.read("n").is_none(), "{before}");
    }
}

#[test]
fn merges_start_from_the_right_version_below_a_repository_in_worktrees_and_after_checkpoints() {
    let place = Place::new();
    place.host(REPOSITORY);
    place.host( "mkdir sub; seq 30 > sub/f; cp -r sub other; git add -A; git commit -qm sub; git worktree add -q ../tree; sleep 0.05
                  touch sub/f ../tree/sub/f; sleep 0.05; git add -A; git -C ../tree add -A; git update-index --refresh; git -C ../tree update-index --refresh");
    for directory in ["sub", "../tree/sub", "../tree"] {
        let at = |verb: &[&str]| {
            place.command(verb).current_dir(place.workspace.join(directory)).output().unwrap()
        };
        let file = if directory == "../tree" { "f" } else { "./f" };
        let before = place.host(&format!("cd {directory}; cat {file}"));
        let done = at(&[
            "run",
            "--quiet",
            "--preset",
            "default",
            "--workspace",
            ".",
            "--",
            "sed",
            "-i",
            "s/^2$/two/",
            file,
        ]);
        assert!(done.status.success(), "{directory}: {done:?}");
        place.host(&format!("cd {directory}; sed -i 's/^29$/twentynine/' {file}; git commit -qam host"));
        let merged = at(&["apply", "--merge"]);
        assert!(merged.status.success(), "{directory}: {merged:?}");
        let now = place.host(&format!("cd {directory}; cat {file}"));
        assert_eq!(
            now,
            before.replace("\n2\n", "\ntwo\n").replace("\n29\n", "\ntwentynine\n"),
            "{directory}"
        );
    }
    place.host(SETTLED);
    for verb in [
        &["start", "dev", "--preset", "default"][..],
        &["exec", "dev", "--", "sed", "-i", "s/^2$/two/", "f"],
        &["checkpoint", "dev"],
        &["exec", "dev", "--", "sed", "-i", "s/^3$/three/", "f"],
        &["stop", "dev"],
    ] {
        let done = place.ringfence(verb);
        assert_eq!(done.status, 0, "{verb:?}: {done:?}");
    }
    place.host("sed -i 's/^29$/twentynine/' f; git commit -qam host");
    let merged = place.ringfence(&["apply", "--merge"]);
    assert_eq!(merged.status, 0, "{merged:?}");
    assert_eq!(
        place.read("f").unwrap(),
        place.host("seq 30 | sed 's/^2$/two/; s/^3$/three/; s/^29$/twentynine/'")
    );
}

/// An undo gives a file another change time, by which git's index says nothing of it before git looks again: its content is known.
#[test]
fn what_was_put_back_merges_as_what_was_never_touched() {
    let twice = "ringfence";
    for (since, known) in [
        ("", true),
        (twice, true),
        ("touch -r f r; echo 3 | dd of=f conv=notrunc 2>&1; touch -r r f; rm r", false),
    ] {
        let place = Place::new();
        place.host(REPOSITORY);
        place.host(SETTLED);
        for _ in 0..1 + usize::from(since == twice) {
            assert_eq!(place.run("", "sed -i 's/^5$/five/' f").status, 0);
            assert_eq!(place.ringfence(&["apply"]).status, 0);
            assert_eq!(place.ringfence(&["undo"]).status, 0);
        }
        if !known {
            // A person's work that only the change time tells.
            place.host(since);
        }
        place.host("sleep 0.05");
        assert_eq!(place.run("", "sed -i 's/^2$/two/' f").status, 0);
        place.host("sed -i 's/^29$/twentynine/' f");
        let merged = place.ringfence(&["apply", "--merge"]);
        assert_eq!(merged.status == 0, known, "{merged:?}");
        let wanted = place.host("seq 30 | sed 's/^2$/two/; s/^29$/twentynine/'");
        assert_eq!(place.read("f").unwrap() == wanted, known, "{merged:?}");
    }
}
