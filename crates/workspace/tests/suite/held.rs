//! What is held back while the rest lands.

use std::fs;
use std::path::PathBuf;

use ringfence_workspace::{HoldReason, Named, Options, apply, plan_apply, plan_apply_with, render_held};

use super::support::{Case, change};

fn held(case: &Case) -> Vec<String> {
    case.diff()
        .iter()
        .filter(|change| change.held.is_some())
        .map(|change| change.path.display().to_string())
        .collect()
}

#[test]
fn protected_paths_are_held_and_the_rest_lands() {
    let case = Case::new(
        "mkdir -p .github/workflows .git/hooks; echo w > .github/workflows/w; echo c > .git/config",
        "echo pwn > .github/workflows/w; echo pwn > .github/new; echo pwn > .git/config; echo fine > fine",
    )
    .protect(&[".github", ".git/config"]);
    let applied = case.apply().unwrap();
    assert_eq!(applied.held.len(), 3);
    assert_eq!(
        (case.read(".github/workflows/w"), case.read(".git/config"), case.read("fine")),
        ("w\n".into(), "c\n".into(), "fine\n".into())
    );
    assert!(!case.host.join(".github/new").exists());
    assert!(render_held(&applied.held).contains("protected by `.github`"));
}

#[test]
fn protection_holds_in_another_case_and_below_globs() {
    let case = Case::new("mkdir -p a/secret", "mkdir -p A/SECRET b/x/secret; echo 1 > a/secret/1; echo 2 > b/x/secret/2; echo 3 > A/SECRET/3; echo 4 > b/x/4")
        .protect(&["a/secret", "**/x/secret"]);
    assert_eq!(held(&case), ["A/SECRET", "A/SECRET/3", "a/secret/1", "b/x/secret", "b/x/secret/2"]);
    case.apply().unwrap();
    assert_eq!(case.read("b/x/4"), "4\n");
    assert!(!case.host.join("b/x/secret").exists());
}

#[test]
fn no_way_around_a_protected_path_by_its_ancestors() {
    let setup = "mkdir -p .git/hooks; echo keep > .git/hooks/pre-push; mkdir .github; echo k > .github/k";
    for task in [
        "rm -r .git",
        "rm -r .git; echo 'gitdir: evil' > .git; mkdir evil",
        "rm -r .git; mkdir evil; ln -s evil .git",
        "rm -r .git; mkdir -p .git/hooks; echo pwn > .git/hooks/post-checkout",
        "cp -r .git gitreal; rm -r .git; mkdir -p .git/hooks; echo pwn > .git/hooks/pre-push",
    ] {
        let case = Case::new(setup, task).protect(&[".git/hooks", ".github"]);
        case.apply().unwrap();
        assert_eq!(case.read(".git/hooks/pre-push"), "keep\n", "{task}");
        assert!(!case.host.join(".git/hooks/post-checkout").exists(), "{task}");
    }
    let case =
        Case::new("", "mkdir -p evil/hooks; echo pwn > evil/hooks/x; ln -s evil dir").protect(&["dir/hooks"]);
    assert_eq!(held(&case), ["dir"]);
}

#[test]
fn what_git_runs_is_held_in_any_repository() {
    let case = Case::new(
        "mkdir -p .git/objects .git/refs; echo 'ref: x' > .git/HEAD",
        "mkdir -p .git/hooks sub/.git/hooks sub/.git/objects/info bare.git/hooks bare.git/objects other;
         echo x > .git/hooks/post-checkout; echo x > .git/config; echo x > sub/.git/config; echo x > sub/.git/hooks/h;
         echo x > sub/.git/objects/info/alternates; echo x > sub/.git/HEAD; echo x > bare.git/HEAD; echo x > bare.git/config;
         echo x > bare.git/hooks/h; echo 'gitdir: /elsewhere' > other/.git; mkdir in; echo 'gitdir: ../sub/.git' > in/.git;
         mkdir -p .git/refs/heads .git/rebase-merge plain/hooks; echo 0123456789012345678901234567890123456789 > .git/refs/heads/config; echo x > plain/config; echo x > plain/hooks/h;
         echo 'exec touch pwn' > .git/rebase-merge/git-rebase-todo; echo x > .git/index",
    );
    assert_eq!(
        held(&case),
        [
            ".git/config",
            ".git/hooks",
            ".git/hooks/post-checkout",
            ".git/rebase-merge",
            ".git/rebase-merge/git-rebase-todo",
            "bare.git/HEAD",
            "bare.git/config",
            "bare.git/hooks",
            "bare.git/hooks/h",
            "other/.git",
            "sub/.git/config",
            "sub/.git/hooks",
            "sub/.git/hooks/h",
            "sub/.git/objects/info/alternates"
        ]
    );
    case.apply().unwrap();
    assert_eq!(case.read(".git/refs/heads/config"), "0123456789012345678901234567890123456789\n");
    assert_eq!(case.read("in/.git"), "gitdir: ../sub/.git\n");
    assert!(!case.host.join(".git/hooks").exists());
    assert!(!case.host.join("bare.git/config").exists());
}

#[test]
fn a_submodule_named_like_a_branch_hides_nothing() {
    let case = Case::new(
        "mkdir -p .git/objects; echo x > .git/HEAD",
        "mkdir -p .git/modules/refs/x/objects; echo x > .git/modules/refs/x/HEAD; echo x > .git/modules/refs/x/config",
    );
    assert_eq!(held(&case), [".git/modules/refs/x/HEAD", ".git/modules/refs/x/config"]);
}

#[test]
fn a_git_layer_is_a_git_directory_itself() {
    let mut case =
        Case::new("mkdir objects", "mkdir hooks; echo x > hooks/h; echo x > config; echo x > objects/o");
    case.layer.name = "git0".into();
    assert_eq!(held(&case), ["config", "hooks", "hooks/h"]);
}

#[test]
fn a_worktree_made_by_git_lands() {
    let case = Case::new(
        "git init -q .; git -c user.name=x -c user.email=x@x.x commit -q --allow-empty -m x",
        "git worktree add -q wt > /dev/null 2>&1",
    );
    let found = held(&case);
    // The task sees another path of the workspace here than the host has, so the file that names it points out.
    assert!(found.iter().all(|path| path == "wt/.git"), "{found:?}");
    assert!(case.diff().iter().any(|change| change.path.ends_with("commondir") && change.held.is_none()));
}

#[test]
fn what_runs_by_itself_is_held_until_it_is_named() {
    let task = "mkdir -p .vscode .cursor .devcontainer .idea src; for f in .vscode/tasks.json .vscode/settings.json .cursor/mcp.json
        .mcp.json .devcontainer/devcontainer.json .envrc .idea/x Makefile conftest.py build.rs src/main.txt; do echo x > $f; done";
    let task = &task.replace('\n', " ");
    let case = Case::new("", task);
    let applied = case.apply().unwrap();
    for path in [
        ".vscode/tasks.json",
        ".vscode/settings.json",
        ".cursor/mcp.json",
        ".mcp.json",
        ".devcontainer",
        ".envrc",
        ".idea",
    ] {
        assert!(!case.host.join(path).exists(), "{path}");
        assert!(matches!(change(&applied.held, path).held, Some(HoldReason::RunsOnHost { .. })));
    }
    for path in ["Makefile", "conftest.py", "build.rs"] {
        assert!(change(&applied.landed, path).flag.is_some(), "{path}");
    }
    let case = Case::new("", task);
    let named = [PathBuf::from(".vscode/tasks.json"), PathBuf::from(".idea")];
    apply(
        plan_apply_with(
            &case.layers(),
            &Options { named: named.map(Named::main).into(), ..Options::default() },
        )
        .unwrap(),
        &case.journal(),
    )
    .unwrap();
    assert_eq!((case.read(".vscode/tasks.json"), case.read(".idea/x")), ("x\n".into(), "x\n".into()));
    assert!(!case.host.join(".vscode/settings.json").exists());
}

#[test]
fn naming_does_not_open_what_is_protected() {
    let case = Case::new("", "mkdir .vscode; echo x > .vscode/tasks.json").protect(&[".vscode"]);
    apply(
        plan_apply_with(
            &case.layers(),
            &Options { named: vec![Named::main(PathBuf::from(".vscode"))], ..Options::default() },
        )
        .unwrap(),
        &case.journal(),
    )
    .unwrap();
    assert!(!case.host.join(".vscode").exists());
}

#[test]
fn what_is_held_may_be_anything() {
    let case =
        Case::new("", "mkdir -p .git/hooks; ln -s /etc/passwd .git/hooks/x; mkfifo .git/hooks/y; echo x > x");
    plan_apply(&case.layers()).unwrap();
    case.apply().unwrap();
    assert_eq!(fs::read_dir(case.host.join(".git")).unwrap().count(), 0);
}

#[test]
fn a_git_directory_in_two_parts_does_not_land() {
    // The first apply: no git directory yet, only files of these names.
    let case = Case::new("", "mkdir -p lib/hooks; echo x > lib/config; echo x > lib/hooks/post-checkout");
    case.apply().unwrap();
    let second = "mkdir -p lib/objects lib/refs sub; echo ref: x > lib/HEAD; printf 'gitdir: ../lib\\n' > sub/.git; printf 'gitdir: lib\\n' > .git";
    let setup = "mkdir -p lib/hooks; echo x > lib/config; echo x > lib/hooks/post-checkout";
    assert_eq!(held(&Case::new(setup, second)), [".git", "lib/HEAD", "sub/.git"]);
}

#[test]
fn a_link_does_not_lead_around_what_is_held() {
    let case = Case::new(
        "mkdir .claude; echo x > .claude/settings.json",
        "rm -r .claude; mkdir conf; echo x > conf/settings.json; ln -s conf .claude; mkdir p; ln -s ../conf p/.vscode; ln -s conf plain",
    );
    assert_eq!(held(&case), [".claude", ".claude/settings.json", "p/.vscode"]);
}

#[test]
fn a_submodule_in_two_parts_does_not_land() {
    let setup = "mkdir -p .git/objects .git/refs; echo x > .git/HEAD; mkdir -p .git/modules/logs; echo x > .git/modules/logs/config";
    let case = Case::new(setup, "mkdir -p .git/modules/logs/objects; echo x > .git/modules/logs/HEAD");
    assert_eq!(held(&case), [".git/modules/logs/HEAD"]);
}
