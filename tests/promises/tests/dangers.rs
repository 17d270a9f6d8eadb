//! What would run on the host, or decide what runs there, does not land unseen, whatever it is called and however it is reached.

use ringfence_promises::Place;

/// The host did the first, a task the second, and all of it was applied; then the third holds on the host, and what was not
/// dangerous landed.
fn lands_without(before: &str, task: &str, holds: &str) {
    for tier in ["namespace", "landlock"] {
        let place = Place::new().in_tier(tier);
        place.host(&format!(
            "git init -q; git config user.email a@b.example; git config user.name n; {before}"
        ));
        std::thread::sleep(std::time::Duration::from_millis(30));
        let run = place.run("", &format!("set -e; {task}; echo fine > beside"));
        assert_eq!(run.status, 0, "{task}: {run:?}");
        let applied = place.ringfence(&["apply"]);
        assert_eq!(applied.status, 0, "{tier}: {task}: {applied:?}");
        place.host(&format!("test -e beside; {holds}"));
    }
}

#[test]
fn a_link_on_the_way_to_what_the_host_obeys_stays() {
    let hook = "printf '#!/bin/sh\\necho evil\\n'";
    for (before, task, holds) in [
        (
            "mkdir real; ln -s real mid; ln -s mid .githooks; git config core.hooksPath .githooks",
            format!("rm mid; mkdir mid; {hook} > mid/pre-commit; chmod 755 mid/pre-commit"),
            "test -L mid",
        ),
        (
            "mkdir scripts; echo ok > scripts/impl.sh; ln -s impl.sh scripts/hook.sh; ln -s ../../scripts/hook.sh .git/hooks/pre-commit",
            format!("rm scripts/hook.sh; {hook} > scripts/hook.sh; chmod 755 scripts/hook.sh"),
            "test -L scripts/hook.sh",
        ),
        (
            "ln -s ../../scripts/later.sh .git/hooks/pre-commit",
            format!("mkdir scripts; {hook} > scripts/later.sh; chmod 755 scripts/later.sh"),
            "test ! -e scripts/later.sh",
        ),
        (
            "echo '[x]' > base.inc; ln -s base.inc mid.inc; ln -s mid.inc team.inc; git config include.path ../team.inc",
            "rm mid.inc; printf '[core]\\n fsmonitor = evil\\n' > mid.inc".to_owned(),
            "test -L mid.inc",
        ),
        (
            "mkdir cfg; echo '{}' > cfg/keep; ln -s cfg .vscode",
            "mkdir other; echo '{\"t\":1}' > other/tasks.json; rm -r cfg; ln -s other cfg".to_owned(),
            "test ! -e .vscode/tasks.json",
        ),
        (
            "mkdir env; echo old > env/e; ln -s env/e .envrc",
            "mkdir n; echo evil > n/e; rm -r env; ln -s n env".to_owned(),
            "test \"$(cat .envrc)\" = old",
        ),
    ] {
        lands_without(before, &task, holds);
    }
}

#[test]
fn scripts_are_found_by_whatever_name_they_are_run() {
    let scripts = "echo '{\"name\":\"x\",\"scripts\":{\"postinstall\":\"evil\"}}'";
    for (before, task, holds) in [
        (
            "echo '{}' > package.json",
            format!("{scripts} > base.json; rm package.json; ln -s base.json package.json"),
            "test ! -L package.json",
        ),
        (
            "echo '{}' > base.json; ln -s base.json package.json",
            format!("{scripts} > base.json"),
            "! grep -q evil base.json",
        ),
        (
            "echo ok > clean.sh; git config filter.x.clean 'sh clean.sh'",
            "echo evil > clean.sh".to_owned(),
            "test \"$(cat clean.sh)\" = ok",
        ),
        (
            "mkdir -p .hg/store",
            "echo shared >> .hg/requires; echo $PWD/x > .hg/sharedpath".to_owned(),
            "test ! -e .hg/sharedpath",
        ),
        ("true", "mkdir .jj; echo /elsewhere > .jj/repo".to_owned(), "test ! -e .jj/repo"),
    ] {
        lands_without(before, &task, holds);
    }
}

#[test]
fn names_that_tools_obey_are_held() {
    let names = [
        "binding.gyp",
        "sub/.Rprofile",
        ".irbrc",
        ".circleci/config.yml",
        "Jenkinsfile",
        ".travis.yml",
        "azure-pipelines.yml",
        ".forgejo/workflows/a.yml",
        ".woodpecker.yml",
        ".drone.yml",
        ".buildkite/pipeline.yml",
        ".github/actions/a/action.yml",
        ".aider.conf.yml",
        ".qwen/settings.json",
        ".kilocode/mcp.json",
        ".continue/mcpServers/a.yaml",
        ".gemini/commands/a.toml",
        ".lazy.lua",
        ".vim/coc-settings.json",
        ".config/mise/conf.d/a.toml",
        ".git/remotes/origin",
    ];
    let all = names.join(" ");
    lands_without(
        "true",
        &format!("for name in {all}; do mkdir -p $(dirname $name); echo x > $name; done"),
        &format!("for name in {all}; do test ! -e $name || {{ echo $name; exit 1; }}; done"),
    );
}

#[test]
fn what_checks_and_what_pins_does_not_go_unseen() {
    let all = "Cargo.lock package-lock.json .github/workflows/scan.yml .git/hooks/pre-push .git/config";
    lands_without(
        "mkdir -p .github/workflows pack/.github/workflows; touch Cargo.lock package-lock.json .github/workflows/scan.yml .git/hooks/pre-push; touch pack/yarn.lock pack/.github/workflows/x",
        &format!("rm {all}; rm -r pack"),
        &format!("for name in {all}; do test -e $name; done; test ! -e pack"),
    );
    lands_without("true", "rm -rf .git", "git status > /dev/null");
    for (before, task, kept) in [
        ("mkdir hk; echo x > hk/pre-commit; git config core.hooksPath hk", "rm -rf hk", "hk/pre-commit"),
        (
            "mkdir -p gh/workflows; touch gh/workflows/s.yml; ln -s gh .github",
            "rm gh/workflows/s.yml",
            "gh/workflows/s.yml",
        ),
        ("touch real.lock; ln -s real.lock Cargo.lock", "rm real.lock", "real.lock"),
        ("echo '[x]' > team.inc; git config include.path ../team.inc", "rm team.inc", "team.inc"),
        (
            "m=.git/modules/sub; mkdir -p $m/hooks; touch $m/config $m/hooks/pre-commit",
            "rm -r .git/modules/sub/config .git/modules/sub/hooks",
            ".git/modules/sub/hooks/pre-commit .git/modules/sub/config",
        ),
    ] {
        lands_without(before, task, &format!("ls {kept}"));
    }
}

#[test]
fn no_repository_comes_to_be_among_branches() {
    for tier in ["namespace", "landlock"] {
        let place = Place::new().in_tier(tier);
        place.host("git init -q");
        let parts = "d=.git/refs/heads/x; mkdir -p \"$d/ref: refs\" $d/hooks lib/objects lib/refs; echo k > \"$d/ref: refs/k\"; \
            printf 'ref: refs/../../../../../lib' > $d/commondir; printf '%040d\\ntouch ran\\n' 0 > $d/hooks/pre-commit; chmod 755 $d/hooks/pre-commit; \
            echo k > lib/objects/k; echo k > lib/refs/k; printf '[core]\\n\\trepositoryformatversion=0\\n\\tfsmonitor = touch ran; false\\n' > lib/config";
        assert_eq!((place.run("", parts).status, place.ringfence(&["apply"]).status), (0, 0));
        let whole = "echo 'ref: refs/heads/m' > .git/refs/heads/x/HEAD; mkdir sub; echo 'gitdir: ../.git/refs/heads/x' > sub/.git; echo 1 > sub/file";
        assert_eq!((place.run("", whole).status, place.ringfence(&["apply"]).status), (0, 0));
        place.host(
            "test -e sub/file; test ! -e sub/.git; test ! -e .git/refs/heads/x/commondir; test ! -e .git/refs/heads/x/hooks/pre-commit",
        );
    }
}

/// Branches, logs and worktrees of those names are what they are.
#[test]
fn what_git_does_every_day_lands() {
    lands_without(
        "git checkout -q -b feature/hooks; for i in $(seq 60); do git commit -q --allow-empty -m \"some message $i\"; done",
        "echo n > n; git add n; git commit -qm mine",
        "git log -g --format=%gs -1 feature/hooks | grep -q 'commit: mine'",
    );
    lands_without(
        "echo a > a; git add a; git commit -qm a",
        "for name in config hooks/x commondirs attributes; do git branch $name; done; git branch -d config; git symbolic-ref refs/remotes/origin/HEAD refs/heads/attributes; \
            git worktree add -q ../w 2> /dev/null || git worktree add -q w; git gc -q; git config --unset user.name",
        "git rev-parse -q --verify attributes > /dev/null; git rev-parse -q --verify hooks/x > /dev/null; git worktree list | grep -q /w",
    );
}

#[test]
fn what_is_protected_below_a_link_is_protected_where_that_leads() {
    for tier in ["namespace", "landlock"] {
        let place = Place::new().in_tier(tier);
        place.host("mkdir other real; ln -s other new; ln -s real conf; echo old > real/secret");
        let policy = "[workspace]\nprotect = [\"new/x\", \"conf/secret\"]\n";
        let run = place.run(
            policy,
            "echo n > other/x; rm new; mkdir new; echo m > new/x; echo evil > real/secret; echo a > a; true",
        );
        assert_eq!((run.status, place.ringfence(&["apply"]).status), (0, 0), "{tier}: {run:?}");
        place.host("test -e a; test ! -e other/x; test -L new; test \"$(cat conf/secret)\" = old");
    }
}

#[test]
fn an_output_takes_no_place_that_is_none() {
    let place = Place::new();
    place.host("echo mine > file; mkdir d; echo mine > d/keep");
    let policy = "[workspace]\nmode = \"discard\"\noutputs = [\"**/*.html\"]\n";
    let run = place.run(
        policy,
        "rm file; mkdir -p file n; echo z > file/z.html; echo z > d/z.html; echo z > n/z.html; rm d/keep",
    );
    assert_eq!(run.status, 0, "{run:?}");
    let _ = place.ringfence(&["apply"]);
    place.host("test \"$(cat file)\" = mine; test -e d/keep; test -e d/z.html; test -e n/z.html");
}

#[test]
fn a_directory_that_is_refused_for_what_it_takes_along_is_on_no_branch() {
    let place = Place::new();
    place.host(
        "git init -q; git config user.email a@b.example; git config user.name n; mkdir D; echo a > D/child; echo b > D/other; echo c > c; git add .; git commit -qm a",
    );
    assert_eq!(place.run("", "rm -r D; echo file > D; echo more >> c").status, 0);
    place.host("echo HOSTWORK > D/child; git commit -qam host");
    assert_eq!(place.ringfence(&["apply"]).status, 126);
    assert_eq!(place.ringfence(&["apply", "--branch", "work"]).status, 0);
    assert_eq!(place.host("git diff --name-only HEAD work"), "c\n");
}

#[test]
fn what_everybody_may_write_is_told() {
    let place = Place::new();
    assert_eq!(
        place
            .run("", "umask 0; echo x > open; mkdir -m 777 wide; echo y > wide/y; umask 022; echo z > usual")
            .status,
        0
    );
    let shown = place.ringfence(&["diff", "--stat"]).out;
    let told = |name: &str| shown.lines().any(|line| line.contains(name) && line.contains("every user"));
    assert!(told("open") && told("wide/") && told("wide/y") && !told("usual"), "{shown}");
}

#[test]
fn a_pattern_that_says_where_it_begins_hides_what_a_preset_grants() {
    for tier in ["namespace", "landlock"] {
        let place = Place::in_home().in_tier(tier);
        place.write(place.home.join(".cargo/registry/keys/a.pem"), "SECRETKEY");
        place.write(place.home.join(".cargo/registry/keys/b.txt"), "plain");
        let run = place.run(
            "[files]\ndeny = [\"~/**/*.pem\"]\n",
            &format!("cat {0}/a.pem; cat {0}/b.txt", place.home.join(".cargo/registry/keys").display()),
        );
        assert!(!run.out.contains("SECRETKEY") && run.out.contains("plain"), "{tier}: {run:?}");
    }
}
