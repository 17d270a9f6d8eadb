//! What the merged policy answers, and the claims of `[expect]`.

use std::path::Path;

use ringfence_policy::{Access, Judge, Policy, decide_file, decide_run, load, opened_secrets};

use super::support::{bad, context, good, memory, preset, same};

const POLICY: &str = "[workspace]\npath = \"/w\"\nprotect = [\".git/hooks\"]\n\
    [files]\nread = [\"/r\", \"/etc\"]\nexec = [\"/e\"]\nwrite = [\"/o\"]\ndeny = [\"**/.env\", \"/r/no\"]\n";

fn answer(policy: &Policy, access: Access, path: &str) -> (bool, String) {
    let decision = decide_file(policy, Path::new("/w"), Path::new(path), access);
    (decision.is_allow(), decision.reason().to_string())
}

#[test]
fn files() {
    use Access::{Exec, Read, Write};
    let policy = good(POLICY);
    for (access, path, allowed, why) in [
        (Read, "/w", true, "in the workspace"),
        (Read, "/w/src/x", true, "in the workspace"),
        (Write, "/w/src/x", true, "in the workspace"),
        (Write, "/w/.git/hooks/pre-commit", false, "`.git/hooks` in `workspace.protect` (p.toml:4)"),
        (Read, "/w/.git/hooks/pre-commit", true, "in the workspace"),
        (Exec, "/w/x", false, "from_workspace"),
        (Read, "/w/a/.env", false, "`**/.env` in `files.deny` (p.toml:9)"),
        (Read, "/r/x", true, "`/r` in `files.read` (p.toml:6)"),
        (Write, "/r/x", false, "no rule of `files.write`"),
        (Exec, "/r/x", false, "no rule of `files.exec`"),
        (Read, "/r/no/x", false, "`/r/no` in `files.deny`"),
        (Read, "/rr", false, "no rule of `files`"),
        (Read, "/e/x", true, "`/e` in `files.exec`"),
        (Exec, "/e/x", true, "`/e` in `files.exec`"),
        (Write, "/e/x", false, "no rule"),
        (Read, "/o/x", true, "`/o` in `files.write`"),
        (Write, "/o/x", true, "`/o` in `files.write`"),
        (Exec, "/o/x", false, "no rule"),
        (Read, "/o/../root", false, "holds `..`"),
        (Read, "/", false, "no rule"),
        (Read, "/etc/hosts.allow", true, "`/etc` in `files.read`"),
        (Read, "/etc/shadow", false, "known secret"),
        (Read, "/etc/sudoers.d/x", false, "known secret"),
        (Read, "/home/u/.ssh/id_rsa", false, "known secret (private keys of SSH"),
        (Write, "/home/u/.bashrc", false, "no rule"),
        (Write, "/tmp/x", true, "the sandbox's own /tmp"),
        (Exec, "/tmp/x", false, "no rule"),
        (Write, "/dev/null", true, "every sandbox has"),
        (Read, "/dev/sda", false, "no rule"),
        (Read, "/proc/self/status", true, "own /proc"),
        (Write, "/proc/self/mem", false, "no rule"),
    ] {
        let (is_allow, reason) = answer(&policy, access, path);
        assert_eq!(is_allow, allowed, "{access:?} {path}: {reason}");
        assert!(reason.contains(why), "{access:?} {path}: {reason}");
    }
}

#[test]
fn modes_and_switches_decide() {
    use Access::{Exec, Write};
    let with = |extra: &str| good(&format!("{POLICY}{extra}"));
    assert!(answer(&with("[commands]\nfrom_workspace = true\n"), Exec, "/w/x").0);
    assert!(!answer(&with("[commands]\nfrom_workspace = true\n"), Exec, "/w/.env").0);
    assert!(answer(&with("[runtime]\ntmp_exec = true\n"), Exec, "/tmp/x").0);
    let read = good(&POLICY.replace("[workspace]", "[workspace]\nmode = \"read\""));
    assert_eq!(answer(&read, Write, "/w/x"), (false, "`workspace.mode` is `read`".to_owned()));
    for mode in ["review", "discard", "direct", "temporary"] {
        let policy = good(&POLICY.replace("[workspace]", &format!("[workspace]\nmode = \"{mode}\"")));
        assert!(answer(&policy, Write, "/w/x").0, "{mode}");
    }
}

#[test]
fn promise_3_only_a_grant_that_names_a_secret_opens_it() {
    let reads = |text: &str, path: &str| answer(&good(text), Access::Read, path).0;
    let below = "[files]\nread = [\"~/.cargo\", \"~/.config\"]\n";
    assert!(reads(below, "/home/u/.cargo/registry/x"));
    assert!(!reads(below, "/home/u/.cargo/credentials.toml"));
    assert!(!reads(below, "/home/u/.config/gh/hosts.yml"));
    let named = "[files]\nread = [\"~/.config/gh\", \"~/.ssh/known_hosts\", \"~/.netrc?\"]\n";
    assert!(reads(named, "/home/u/.config/gh/hosts.yml"));
    assert!(reads(named, "/home/u/.ssh/known_hosts"));
    assert!(reads(named, "/home/u/.netrc"));
    assert!(!reads(named, "/home/u/.ssh/id_rsa"), "only the named file is opened");
    let denied = "[files]\nread = [\"~/.config/gh\"]\ndeny = [\"~/.config/gh/hosts.yml\"]\n";
    assert!(!reads(denied, "/home/u/.config/gh/hosts.yml"), "a deny wins");

    let policy = good(named);
    let opened: Vec<String> =
        opened_secrets(&policy).iter().map(|(rule, secret)| format!("{} {secret}", rule.origin)).collect();
    assert_eq!(opened, ["p.toml:3 ~/.config/gh", "p.toml:3 ~/.ssh", "p.toml:3 ~/.netrc"]);
    assert!(opened_secrets(&good(below)).is_empty());
}

#[test]
fn se05_se06_se16_a_workspace_or_a_grant_around_secrets_does_not_open_them() {
    let policy = good("[files]\nread = [\"~/.config\", \"/etc\", \"/var\"]\n");
    for (workspace, path) in [
        ("/home/u", "/home/u/.ssh/id_ed25519"),
        ("/home/u", "/home/u/.bash_history"),
        ("/home/u/.ssh", "/home/u/.ssh/id_ed25519"),
        ("/w", "/home/u/.config/gcloud/credentials.db"),
        ("/w", "/etc/kubernetes/admin.conf"),
        ("/w", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ("/w", "/run/credentials/a/b"),
    ] {
        let decision = decide_file(&policy, Path::new(workspace), Path::new(path), Access::Read);
        assert!(!decision.is_allow(), "{path}");
    }
    let named = good("[workspace]\npath = \"~/.password-store\"\n");
    let path = Path::new("/home/u/.password-store");
    assert!(decide_file(&named, path, &path.join("x"), Access::Read).is_allow(), "the policy names it");
}

#[test]
fn programs() {
    let runs = |text: &str, program: &str| {
        let decision = decide_run(&good(text), Path::new("/w"), program);
        (decision.is_allow(), decision.reason().to_string())
    };
    let none = "[files]\nread = [\"/usr\"]\n";
    assert_eq!(runs(none, "ls"), (false, "no executable tree: `files.exec` is empty".to_owned()));
    let any = "[files]\nexec = [\"/usr\"]\n";
    assert!(runs(any, "ls").0 && runs(any, "/usr/bin/ls").0);
    assert!(!runs(any, "/opt/ls").0 && !runs(any, "./ls").0);
    let some = "[files]\nexec = [\"/usr\", \"/opt\"]\n[commands]\nallow = [\"git\", \"/usr/bin/cc\"]\n";
    assert_eq!(runs(some, "git"), (true, "`git` in `commands.allow` (p.toml:5)".to_owned()));
    assert!(runs(some, "/usr/bin/git").0 && runs(some, "/usr/bin/cc").0 && runs(some, "cc").0);
    assert_eq!(runs(some, "curl"), (false, "`commands.allow` (p.toml:5) does not name `curl`".to_owned()));
    assert!(!runs(some, "/opt/cc").0, "a path means that file only");
    assert!(!runs(some, "/srv/git").0, "not in an executable tree");
    let own = "[commands]\nallow = [\"git\"]\nfrom_workspace = true\n";
    assert!(runs(own, "./target/debug/x").0 && !runs(own, "/usr/bin/x").0 && !runs(own, "x").0);
    assert!(!runs("[files]\nexec = [\"/usr\"]\n[commands]\nallow = []\n", "ls").0);
}

#[test]
fn expectations_that_hold() {
    good(
        "extends = [\"coding-agent\"]\n[workspace]\npath = \"/w\"\n[expect]\n\
         allow = [\"run cargo build\", \"read ~/.cargo/registry/x\", \"write src/main.rs\", \"exec /usr/bin/cc\", \"run ./a.out\"]\n\
         refuse = [\"read ~/.ssh/id_ed25519\", \"read .env\", \"write .git/hooks/x\", \"connect 169.254.169.254:80\", \
         \"https GET api.example.org/repos/acme/1\", \"write /usr/bin/cc\", \"http GET a.example/\"]\n",
    );
}

#[test]
fn expectations_that_do_not_hold_name_the_rule_that_decides() {
    same(
        &bad("[files]\nexec = [\"/usr\"]\n[commands]\nallow = [\"git\"]\n[expect]\n\
             allow = [\"read ~/.ssh/id_rsa\"]\nrefuse = [\"run git push origin main\"]\n"),
        r#"
        error: the policy must allow `read ~/.ssh/id_rsa`, but refuses it
         --> p.toml:7:10
          |
        7 | allow = ["read ~/.ssh/id_rsa"]
          |          ^^^^^^^^^^^^^^^^^^^^ refuses it: `~/.ssh` is a known secret (private keys of SSH, and the hosts they open); only a grant that names it opens it
          |
          = help: change the rule that decides, or remove this line from `expect.allow`

        error: the policy must refuse `run git push origin main`, but allows it
         --> p.toml:8:11
          |
        8 | refuse = ["run git push origin main"]
          |           ^^^^^^^^^^^^^^^^^^^^^^^^^^ allows it: `git` in `commands.allow` (p.toml:5)
          |
          = help: change the rule that decides, or remove this line from `expect.refuse`
        "#,
    );
    for claim in ["https GET api.example.org/x", "connect a.example:80"] {
        assert!(bad(&format!("[expect]\nallow = [\"{claim}\"]\n")).contains("no network"), "{claim}");
    }
}

#[test]
fn claims_that_cannot_be_read() {
    for (claim, why) in [
        ("reed /x", "did you mean `read`?"),
        ("frobnicate /x", "the verbs are `run`"),
        ("read", "does not say what to read"),
        ("", "is not an action"),
        ("read /a/../b", "holds `..`"),
        ("read $NOPE", "is not set"),
        ("connect *", "a star stands only"),
        ("connect a.example:0", "not a port"),
        ("https api.example.org/x", "has no host"),
        ("https get api.example.org/x", "upper case"),
        ("https GET api.example.org", "has no path"),
        ("https GET *.example.org/x", "names no single host"),
    ] {
        for list in ["allow", "refuse"] {
            let found = bad(&format!("[expect]\n{list} = [\"{claim}\"]\n"));
            assert!(found.contains(why) && found.contains("--> p.toml:3:"), "{claim}: {found}");
        }
    }
}

#[test]
fn relative_claims_are_about_the_workspace() {
    let policy = load(&[preset("coding-agent")], &context(), &memory(&[])).unwrap();
    let judge = Judge::new(&policy, Path::new("/anywhere"));
    assert!(!judge.file(Path::new("/anywhere/.git/config"), Access::Write).is_allow());
    assert!(!judge.file(Path::new("/anywhere/sub/.env"), Access::Read).is_allow());
    assert!(judge.file(Path::new("/anywhere/.env.example"), Access::Read).is_allow());
    // Without `workspace.path` the current directory is what `.` means.
    good("[expect]\nallow = [\"write x\", \"write /proj/x\"]\nrefuse = [\"write /elsewhere/x\"]\n");
}
