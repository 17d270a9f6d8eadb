//! The shipped presets: they load anywhere, grant no secret and no network, and hold what they say.

use std::path::Path;

use ringfence_policy::{Access, Context, Judge, Mode, load, opened_secrets, presets};

use super::support::{context, memory, preset};

#[test]
fn each_loads_and_needs_nothing_of_this_machine_but_the_system() {
    for home in ["/home/u", "/root", "/", "/usr/games", "/home/a [b]*$c"] {
        let context = Context {
            home: home.into(),
            // Who has a home in /usr cannot write there and keeps the state elsewhere.
            state_dir: match home {
                "/usr/games" => "/var/lib/ringfence".into(),
                home => Path::new(home).join(".local/state/ringfence"),
            },
            variables: Default::default(),
            ..context()
        };
        for (name, _) in presets() {
            let policy =
                load(&[preset(name)], &context, &memory(&[])).unwrap_or_else(|found| panic!("{found}"));
            let mode = if *name == "support-agent" { Mode::Temporary } else { Mode::Review };
            assert_eq!(policy.workspace.mode, mode, "{name}");
            assert!(policy.workspace.path.is_none(), "{name}");
            // Who edits code runs what it makes; the other roles have a list, and those with a client of the user's an empty one.
            let clients = ["analyst", "support-agent"].contains(name);
            let listed = policy.commands.as_ref().map(|commands| commands.allow.len());
            let expected = if clients { Some(0) } else { (*name == "ci-step").then_some(1) };
            assert_eq!((listed, policy.from_workspace), (expected, !clients), "{name}");
            assert_eq!((policy.guard.shell(), policy.guard.pipes()), (!clients, !clients), "{name}");
            assert!(policy.files.write.is_empty() && !policy.runtime.tmp_exec, "{name}");
            assert!(opened_secrets(&policy).is_empty(), "{name}");
            let required =
                |path: &Path| ["/usr", "/bin", "/sbin", "/lib"].iter().any(|must| Path::new(must) == path);
            for rule in policy.files.read.iter().chain(&policy.files.exec) {
                assert_eq!(rule.value.optional, !required(&rule.value.path), "{name}: {:?}", rule.value.path);
            }
            assert_eq!(policy.workspace.git, name == &"coding-agent");
        }
    }
}

#[test]
fn none_grants_what_the_sandbox_makes_itself_or_a_secret() {
    let policy = load(&[preset("coding-agent")], &context(), &memory(&[])).unwrap();
    let own = [
        "/tmp",
        "/dev",
        "/proc",
        "/etc/passwd",
        "/etc/group",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/machine-id",
        "/etc/nsswitch.conf",
        "/etc/resolv.conf",
    ];
    for rule in policy.files.read.iter().chain(&policy.files.exec) {
        assert!(!own.iter().any(|own| rule.value.path.starts_with(own)), "{:?}", rule.value.path);
    }
    let judge = Judge::new(&policy, Path::new("/w"));
    for path in [
        "/etc/shadow",
        "/etc/ssl/private/x",
        "/home/u/.npmrc",
        "/home/u/.cargo/credentials.toml",
        "/home/u/.ssh/x",
        "/home/u/.config/git/credentials",
        "/home/u/.bash_history",
        "/home/u/x",
        "/run/secrets/x",
        "/etc/ssh/x",
    ] {
        assert!(!judge.file(Path::new(path), Access::Read).is_allow(), "{path}");
    }
    for path in [
        "/usr/bin/cc",
        "/home/u/.rustup/toolchains/stable/bin/rustc",
        "/home/u/.cargo/bin/cargo",
        "/lib64/ld.so",
    ] {
        assert!(judge.file(Path::new(path), Access::Exec).is_allow(), "{path}");
    }
    for path in
        ["/etc/ld.so.cache", "/home/u/.cargo/registry/cache/x", "/home/u/.gitconfig", "/etc/localtime"]
    {
        assert!(judge.file(Path::new(path), Access::Read).is_allow(), "{path}");
        assert!(!judge.file(Path::new(path), Access::Write).is_allow(), "{path}");
    }
}

#[test]
fn the_coding_agent_cannot_change_what_runs_later_on_the_host() {
    let policy = load(&[preset("coding-agent")], &context(), &memory(&[])).unwrap();
    let judge = Judge::new(&policy, Path::new("/w"));
    for path in [
        ".git/hooks/pre-commit",
        ".git/config",
        ".git/objects/info/alternates",
        ".github/workflows/ci.yml",
        ".envrc",
        ".vscode/tasks.json",
        ".idea/x",
        ".husky/pre-commit",
        ".claude/settings.json",
        ".cursor/rules",
        ".mcp.json",
        ".gitlab-ci.yml",
    ] {
        let path = Path::new("/w").join(path);
        assert!(
            !judge.file(&path, Access::Write).is_allow() && judge.file(&path, Access::Read).is_allow(),
            "{path:?}"
        );
    }
    for path in [".git/index", "src/main.rs", "AGENTS.md"] {
        assert!(judge.file(&Path::new("/w").join(path), Access::Write).is_allow(), "{path}");
    }
    for path in [".env", "a/.env.local", "deploy/id_rsa", "a/b/key.p12"] {
        assert!(!judge.file(&Path::new("/w").join(path), Access::Read).is_allow(), "{path}");
    }
}
