//! What goes onto a branch or into a patch where the git directory lies elsewhere.

use ringfence_promises::Place;

use crate::landing::{REPOSITORY, host};

/// Git's own files are changes of a second layer, which have other paths.
#[test]
fn of_a_linked_worktree_only_its_files_are_on_the_branch() {
    let place = Place::new();
    host(&place, REPOSITORY);
    host(&place, "git worktree add -q ../a-tree -b side; git worktree add -q ../z-tree -b other");
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
        let names = host(&place, &format!("cd {tree}; git diff --name-only HEAD b"));
        assert_eq!(names, "deep/HEAD\nf\nnn\n", "{tree}");
        assert_eq!(
            host(&place, &format!("cd {tree}; git diff HEAD b; git branch -qD b")),
            text(shown.stdout)
        );
    }
}
