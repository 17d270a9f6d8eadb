//! git on local repositories: clone, commit, rebase, worktree, gc.

use ringfence_real::{tree, world::World};

/// Who commits, and when: the same hashes each time.
const WHO: &str = "
    set -e
    export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='1700000000 +0000'
    export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE='1700000000 +0000'
    export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=init.defaultBranch GIT_CONFIG_VALUE_0=main
    export GIT_CONFIG_KEY_1=advice.detachedHead GIT_CONFIG_VALUE_1=false
    commit() { echo \"$1\" >> \"$2\"; git add \"$2\"; git commit -q -m \"$1\"; }
";

/// A bare repository, a clone of it, branches, a rebase with a conflict, worktrees, packing.
const ALL: &str = "
    git init -q --bare origin.git
    git clone -q origin.git one 2>&1
    cd one
    commit first a; commit second b
    git push -q origin main
    git switch -q -c topic HEAD~1
    commit topic c; commit conflict b
    git rebase main 2>&1 | grep -o CONFLICT
    git checkout --theirs b; git add b
    GIT_EDITOR=true git rebase --continue >/dev/null 2>&1
    git worktree add -q ../two main 2>&1
    (cd ../two && commit third d)
    git worktree list | sed 's|.*/work/||'
    git worktree remove ../two
    git merge -q --no-edit main 2>&1
    git mv a moved; git commit -q -m move
    git tag -m annotated v1
    git stash list; git push -q origin --all 2>&1; git push -q origin v1 2>&1
    git gc -q --prune=now --aggressive
    cd ..
    git clone -q --shared one shared 2>&1
    git clone -q one hard 2>&1
";

/// What a repository holds, in words that do not depend on when it was packed.
const STATE: &str = "
    for r in one origin.git shared hard; do
        echo $r
        git -C $r fsck --full --strict 2>&1
        git -C $r log --all --graph --format='%H %T %s%d'
        git -C $r for-each-ref
        git -C $r status --porcelain 2>/dev/null || true
        git -C $r count-objects -v | grep -E '^(count|in-pack|packs)'
    done
    git -C one ls-files -s
";

fn compare(lines: &str) {
    let (inner, outer) = (World::new(), World::new());
    let script = format!("{WHO}{ALL}{STATE}");
    let (inside, outside) = (inner.inside("default", lines, &script), outer.outside(&script));
    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    assert!(outside.out.contains("CONFLICT") && outside.out.lines().count() > 40, "{}", outside.out);
    assert_eq!(inside.out, outside.out);
    if lines.contains("direct") {
        // What it left is whole, seen from outside.
        let left = inner.outside(&format!("{WHO}{STATE}"));
        assert!(outside.out.ends_with(&left.out) && left.status == 0, "{left:#?}");
    } else {
        assert_eq!(tree::names(&inner.workspace, |_| true), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn everything_in_review() {
    compare("");
}

#[test]
fn everything_in_direct() {
    compare("[workspace]\nmode = \"direct\"\n");
}

#[test]
fn everything_in_temporary() {
    compare("[workspace]\nmode = \"temporary\"\n");
}

#[test]
fn everything_in_discard() {
    compare("[workspace]\nmode = \"discard\"\n");
}

/// A repository that was there before: work on it, with its hooks and configuration protected.
#[test]
fn a_repository_of_the_host_in_coding_agent() {
    let make = "git init -q . && commit first a && commit second b && git branch old HEAD~1";
    let work = "
        commit third c
        git switch -q -c topic old; commit topic d; git rebase -q main 2>&1
        git switch -q main; git merge -q --no-edit topic 2>&1
        git worktree add -q linked topic 2>&1; (cd linked && commit fourth e)
        git gc -q --prune=now
        git fsck --full --strict 2>&1
        git log --all --graph --format='%H %s%d'
        git worktree list | wc -l
        git status --porcelain
    ";
    for mode in ["review", "direct"] {
        let (inner, outer) = (World::new(), World::new());
        for world in [&inner, &outer] {
            let made = world.outside(&format!("{WHO}{make}"));
            assert_eq!(made.status, 0, "{made:#?}");
        }
        let before = tree::listing(&inner.workspace);
        // `protect` of paths that do not exist needs `review` (DESIGN 4.7), so `direct` uses the smaller preset.
        let (preset, lines) = if mode == "review" {
            ("coding-agent", "")
        } else {
            ("default", "[workspace]\nmode = \"direct\"\n")
        };
        let script = format!("{WHO}{work}");
        let (inside, outside) = (inner.inside(preset, lines, &script), outer.outside(&script));
        assert_eq!((outside.status, inside.status), (0, 0), "{mode}: {outside:#?}{inside:#?}");
        assert_eq!(inside.out, outside.out, "{mode}");
        if mode == "review" {
            assert_eq!(tree::differences(&before, &tree::listing(&inner.workspace)), [""; 0]);
        } else {
            let left = inner.outside("git fsck --full --strict 2>&1 && git log --all --format=%H");
            let same = outer.outside("git fsck --full --strict 2>&1 && git log --all --format=%H");
            assert_eq!(left, same);
        }
    }
}

#[test]
fn what_git_executes_in_the_workspace_cannot_be_changed() {
    let world = World::new();
    let make = "git init -q . && commit first a && mkdir -p .github && echo x > .github/w && git add . && git commit -q -m w";
    assert_eq!(world.outside(&format!("{WHO}{make}")).status, 0);
    for attempt in [
        "echo 'true' > .git/hooks/pre-commit",
        "mv .git/hooks .git/hooks.old",
        "rm -rf .git/hooks && mkdir .git/hooks && touch .git/hooks/post-checkout",
        "git config core.fsmonitor /bin/true",
        "git config alias.st '!true'",
        "echo '[core]' >> .git/config",
        "mv .git .git2 && mkdir .git",
        "echo y > .github/w",
        "mv .github .gone",
    ] {
        // First: it works where nothing protects.
        let copy = World::with(&world.workspace);
        assert_eq!(copy.outside(attempt).status, 0, "outside: {attempt}");
        let inside = world.preset("coding-agent", attempt);
        assert_ne!(inside.status, 0, "inside: {attempt}: {inside:#?}");
        assert_ne!(inside.status, 125, "{attempt}: {inside:#?}");
    }
}
