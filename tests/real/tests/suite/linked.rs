//! Repositories whose real directory lies outside the workspace: worktrees, submodules, alternates, and forged ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringfence_real::{tree, world::World};

const WHO: &str = "
    set -e
    export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='1700000000 +0000'
    export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE='1700000000 +0000'
    export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=init.defaultBranch GIT_CONFIG_VALUE_0=main
    export GIT_CONFIG_KEY_1=protocol.file.allow GIT_CONFIG_VALUE_1=always
    commit() { echo \"$1\" >> \"$2\"; git add \"$2\"; git commit -q -m \"$1\"; }
";
const WORK: &str = "
    commit inside b; git switch -q -c more; commit again c; git rebase -q --onto HEAD~1 HEAD~1 more 2>&1
    git log --format='%H %s'; git fsck --full 2>&1; git status --porcelain
";

fn outside(world: &World, script: &str) {
    let done = world.outside(&format!("{WHO}{script}"));
    assert_eq!(done.status, 0, "{done:#?}");
}

/// Works inside as outside, and the host's files stay as they are until somebody applies.
fn works(world: &World) {
    let before = tree::listing(&world.home);
    let script = format!("{WHO}{WORK}");
    let inside = world.preset("coding-agent", &script);
    assert_eq!(tree::differences(&before, &tree::listing(&world.home)), [""; 0]);
    let outside = world.outside(&script);
    assert_eq!((outside.status, inside.status), (0, 0), "{outside:#?}{inside:#?}");
    assert!(outside.out.contains("again"), "{outside:#?}");
    assert_eq!(inside.out, outside.out);
}

/// Each attempt works outside, in a copy of the whole home, and fails inside.
fn refused(world: &World, attempts: &[&str]) {
    let mut through = Vec::new();
    for attempt in attempts {
        let mut copy = World::new();
        fs::remove_dir_all(&copy.home).expect("an empty home");
        ringfence_real::inputs::copy(&world.home, &copy.home);
        copy.workspace = copy.home.join(world.workspace.strip_prefix(&world.home).expect("below the home"));
        let script = format!("set -e\n{attempt}");
        let outside = copy.outside(&script);
        assert_eq!(outside.status, 0, "outside, `{attempt}`: {outside:#?}");
        let inside = world.preset("coding-agent", &script);
        assert_ne!(inside.status, 125, "inside, `{attempt}`: {inside:#?}");
        if inside.status == 0 {
            through.push(*attempt);
        }
    }
    assert_eq!(through, [""; 0], "got through");
}

/// A linked worktree as the workspace, its repository in `~/main`.
fn worktree() -> World {
    let world = World::new();
    outside(&world, "git init -q ~/main; cd ~/main; commit first a; git worktree add -q ~/work -b side 2>&1");
    world
}

#[test]
fn a_worktree_works() {
    works(&worktree());
}

/// In `direct` nothing can keep a task from creating what git would obey there, so the policy is refused.
#[test]
fn a_worktree_in_direct_is_refused_by_name() {
    let world = worktree();
    let lines = "[workspace]\nmode = \"direct\"\ngit = true\n";
    let inside = world.inside("default", lines, "echo started");
    assert_eq!((inside.status, inside.out.as_str()), (125, ""), "{inside:#?}");
    assert!(inside.err.contains("config.worktree") && inside.err.contains("review"), "{inside:#?}");
}

/// Where all of it exists already, it is held, and commits land on the host.
#[test]
fn a_worktree_works_in_direct_where_what_git_obeys_exists() {
    let world = worktree();
    outside(
        &world,
        "cd ~/main/.git; mkdir -p info objects/info
         touch config.worktree info/attributes objects/info/alternates worktrees/work/config.worktree",
    );
    let lines = "[workspace]\nmode = \"direct\"\ngit = true\n";
    let inside = world.inside("default", lines, &format!("{WHO}{WORK}"));
    assert_eq!(inside.status, 0, "{inside:#?}");
    let left = world.outside("git log --format='%H %s' && git fsck --full 2>&1 && git status --porcelain");
    assert_eq!((left.status, &left.out), (0, &inside.out), "{left:#?}");
}

#[test]
fn what_git_executes_in_a_worktrees_repository_cannot_be_changed() {
    refused(
        &worktree(),
        &[
            "echo true > ~/main/.git/hooks/pre-commit",
            "mv ~/main/.git/hooks ~/main/.git/old",
            "rm -r ~/main/.git/hooks; mkdir ~/main/.git/hooks",
            "git config core.fsmonitor /bin/true",
            "git config core.hooksPath /tmp",
            "echo >> ~/main/.git/config",
            "ln -f /dev/null ~/main/.git/hooks/x || cp /bin/true ~/main/.git/hooks/x",
            "mv ~/main/.git ~/main/.git2; mkdir ~/main/.git",
        ],
    );
}

#[test]
fn what_else_names_programs_in_a_worktrees_repository_cannot_be_changed() {
    let world = worktree();
    outside(
        &world,
        "git config extensions.worktreeConfig true; git config --worktree core.abbrev 12
         git init -q ~/lender; echo ~/lender/.git/objects > ~/main/.git/objects/info/alternates
         mkdir -p ~/main/.git/info; echo '*.x -text' > ~/main/.git/info/attributes",
    );
    refused(
        &world,
        &[
            "echo '* filter=x' > ~/main/.git/info/attributes",
            "mv ~/main/.git/info ~/main/.git/info2",
            "git config --worktree core.fsmonitor /bin/true",
            "echo '[core]' > ~/main/.git/worktrees/work/config.worktree",
            "echo ../../../elsewhere > ~/main/.git/worktrees/work/commondir",
            "echo /tmp > ~/main/.git/objects/info/alternates",
            "mv ~/main/.git/worktrees/work ~/main/.git/worktrees/other",
            "mv ~/main/.git/worktrees ~/main/.git/other",
        ],
    );
}

/// In `direct` a file lands on the host at once: what does not exist yet must not come to be either.
#[test]
fn what_git_would_execute_cannot_be_created_in_direct() {
    let mut through = Vec::new();
    for attempt in [
        "mkdir ~/main/.git/hooks; printf '#!/bin/sh\\n' > ~/main/.git/hooks/post-checkout",
        "mkdir -p ~/main/.git/info; echo '* filter=x' > ~/main/.git/info/attributes",
        "echo '[core]' > ~/main/.git/config.worktree",
        "echo '[core]' > ~/main/.git/worktrees/work/config.worktree",
        "echo ../../../elsewhere > ~/main/.git/worktrees/work/commondir",
        "mkdir -p ~/main/.git/objects/info; echo /tmp > ~/main/.git/objects/info/alternates",
    ] {
        let world = World::new();
        outside(
            &world,
            "git init -q --template= ~/main; cd ~/main; commit first a
             git config extensions.worktreeConfig true; git worktree add -q ~/work -b side 2>&1",
        );
        let obeyed = |path: &Path| {
            let words = ["hooks", "attributes", "config.worktree", "commondir", "alternates"];
            path.components().any(|part| words.iter().any(|word| part.as_os_str() == *word))
        };
        let before = tree::contents(&world.home.join("main/.git"), obeyed);
        let inside = world.inside("default", "[workspace]\nmode = \"direct\"\ngit = true\n", attempt);
        if tree::contents(&world.home.join("main/.git"), obeyed) != before {
            through.push((attempt, inside.status));
        }
    }
    assert_eq!(through, [("", 0); 0], "got through");
}

#[test]
fn the_other_worktrees_are_not_shown() {
    let inside = worktree().preset("coding-agent", "cat ~/main/a");
    assert_ne!(inside.status, 0, "{inside:#?}");
}

/// A submodule as the workspace, its repository in `~/super/.git/modules/sub`.
fn submodule() -> World {
    let mut world = World::new();
    outside(
        &world,
        "git init -q ~/lib; (cd ~/lib; commit first a); git init -q ~/super; cd ~/super; commit top t
         git submodule --quiet add ~/lib sub 2>&1; git commit -q -m sub",
    );
    world.workspace = world.home.join("super/sub");
    world
}

#[test]
fn a_submodule_works() {
    works(&submodule());
}

#[test]
fn what_git_executes_in_a_submodules_repository_cannot_be_changed() {
    refused(
        &submodule(),
        &[
            "echo true > ../.git/modules/sub/hooks/pre-commit",
            "mv ../.git/modules/sub/hooks ../.git/modules/sub/old",
            "git config core.fsmonitor /bin/true",
            "echo >> ../.git/modules/sub/config",
            "mv ../.git/modules/sub ../.git/modules/old; mkdir ../.git/modules/sub",
            "cat ../.git/config",
            "cat ../t",
        ],
    );
}

/// A clone that borrows its objects from `~/main`.
fn borrower() -> World {
    let world = World::new();
    outside(&world, "git init -q ~/main; (cd ~/main; commit first a); git clone -q --shared ~/main . 2>&1");
    world
}

#[test]
fn alternates_work() {
    works(&borrower());
}

#[test]
fn what_alternates_lend_is_only_read() {
    refused(
        &borrower(),
        &[
            "echo x > ~/main/.git/objects/new",
            "rm -rf ~/main/.git/objects/pack; test ! -e ~/main/.git/objects/pack",
            "echo /tmp > .git/objects/info/alternates",
            "cat ~/main/.git/config",
            "cat ~/main/a",
        ],
    );
}

/// A repository that the workspace has nothing to do with.
fn victim() -> World {
    let world = World::new();
    outside(&world, "git init -q ~/victim; cd ~/victim; commit secret a");
    world
}

fn not_followed(world: &World, what: &str) {
    let victim = world.home.join("victim/.git");
    let read = "cat ~/victim/.git/HEAD || git log --format=%s || git cat-file -p HEAD";
    let write = "echo x > ~/victim/.git/new || git commit -q --allow-empty -m x";
    // Only what the forgery adds is asked: git outside does follow it.
    for script in [read, write] {
        let inside = world.preset("coding-agent", &format!("{script}; test ! -e ~/victim"));
        assert!(!inside.out.contains("refs/heads") && !inside.out.contains("secret"), "{what}: {inside:#?}");
        // Refusing the whole run, with the cause, is as good as not showing it.
        assert!([0, 125].contains(&inside.status), "{what}: {inside:#?}");
    }
    assert!(!victim.join("new").exists(), "{what}");
}

#[test]
fn a_forged_git_file_is_not_followed() {
    let world = victim();
    for target in [
        "../victim/.git".to_owned(),
        world.home.join("victim/.git").display().to_string(),
        "../victim/.git/worktrees/none".to_owned(),
        "../victim/.git/../.git/.".to_owned(),
    ] {
        world.write(".git", &format!("gitdir: {target}\n"));
        not_followed(&world, &target);
    }
}

#[test]
fn a_git_file_with_forged_pointers_back_is_not_followed() {
    let world = victim();
    world.write(".git", "gitdir: fake\n");
    world.write("fake/gitdir", &format!("{}\n", world.workspace.join(".git").display()));
    world.write("fake/commondir", "../../victim/.git\n");
    world.write("fake/HEAD", "ref: refs/heads/main\n");
    not_followed(&world, "commondir");
    world.write("fake/config", "[core]\n\tworktree = ..\n");
    not_followed(&world, "core.worktree");
}

#[test]
fn a_link_in_place_of_git_is_not_followed() {
    let world = victim();
    symlink("../victim/.git", world.workspace.join(".git")).expect("a link");
    not_followed(&world, "a link");
    fs::remove_file(world.workspace.join(".git")).expect("the link is gone");
    symlink("../victim", world.workspace.join("way")).expect("a link");
    world.write(".git", "gitdir: way/.git\n");
    not_followed(&world, "a link on the way");
}
