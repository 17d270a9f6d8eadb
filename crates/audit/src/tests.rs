//! Each rule has a policy that it finds, and one beside it that it does not.

use std::path::Path;

use ringfence_policy::{Context, HostFiles, Policy, Source, load};

use crate::{Finding, Level, Subject, audit, rules};

fn policy(place: &Path, text: &str) -> Policy {
    let file = place.join("policy.toml");
    std::fs::write(&file, format!("version = 1\n{text}\n")).unwrap();
    let home = place.join("home");
    let context = Context {
        home,
        cwd: place.join("home/w"),
        config_dir: place.join("etc"),
        state_dir: place.join("state"),
        ..Context::default()
    };
    load(&[Source::File(file)], &context, &HostFiles).unwrap_or_else(|found| panic!("{text}\n{found}"))
}

fn findings(text: &str, look: bool, make: impl FnOnce(&Path)) -> Vec<Finding> {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    let workspace = root.join("home/w");
    std::fs::create_dir_all(&workspace).unwrap();
    make(&root);
    let policy = policy(&root, text);
    audit(&Subject { policy: &policy, workspace: &workspace, search: &[], look })
}

/// Is it found with this, and not with that?
#[track_caller]
fn tells(rule: &str, level: Level, with: &str, without: &str) {
    let found = findings(with, false, |_| {});
    let of = |found: &[Finding]| found.iter().filter(|one| one.rule.id == rule).map(|one| one.level).max();
    assert_eq!(of(&found), Some(level), "{with}: {found:#?}");
    let one = found.iter().find(|one| one.rule.id == rule).unwrap();
    assert!(!one.what.is_empty() && !one.why.is_empty() && !one.remedy.is_empty(), "{one:#?}");
    let found = findings(without, false, |_| {});
    assert_eq!(of(&found), None, "{without}: {found:#?}");
}

#[test]
fn what_a_rule_does_not_open_is_not_found_in_it() {
    for wide in ["0.0.0.0/0", "[::/0]:443"] {
        let found = findings(&format!("[network]\nallow = [\"{wide}\"]"), false, |_| {});
        assert!(found.iter().any(|one| one.rule.id == "egress-any"), "{found:#?}");
        assert!(!found.iter().any(|one| one.rule.id == "egress-metadata"), "{found:#?}");
    }
}

#[test]
fn egress_is_ranked() {
    let allow = |host: &str| format!("[network]\nallow = [{host}]\n[leaks]\nscan = [\"egress\"]");
    let fine = allow("\"api.example.org\"");
    for (rule, level, host) in [
        ("egress-any", Level::High, "\"0.0.0.0/0\""),
        ("egress-any", Level::High, "\"[2000::/3]:443\""),
        ("egress-any", Level::Medium, "\"17.1.0.0/16\""),
        ("egress-metadata", Level::High, "\"169.254.169.254:80\""),
        ("egress-metadata", Level::High, "\"169.254.0.0/16\""),
        ("egress-metadata", Level::High, "{ host = \"metadata.google.internal\", port = 80 }"),
        ("egress-metadata", Level::High, "\"*.google.internal\""),
        ("egress-shared-domain", Level::High, "\"*.amazonaws.com\""),
        ("egress-shared-domain", Level::High, "\"*.core.windows.net\""),
        ("egress-shared-domain", Level::High, "\"*.github.io\""),
        ("egress-file-drop", Level::High, "\"pastebin.com\""),
        ("egress-file-drop", Level::High, "\"x.ngrok.io\""),
        ("egress-file-drop", Level::High, "\"*.trycloudflare.com\""),
        (
            "egress-file-drop",
            Level::Medium,
            "{ host = \"pastebin.com\", methods = [\"GET\"], paths = [\"/raw/*\"] }",
        ),
        ("egress-accounts", Level::Medium, "\"api.github.com\""),
        ("egress-accounts", Level::Medium, "{ host = \"api.github.com\", methods = [\"POST\"] }"),
        ("egress-wildcard", Level::Low, "\"*.example.org\""),
        ("egress-private", Level::Medium, "\"10.0.0.0/8\""),
        ("egress-engine", Level::High, "\"build.example.org:2375\""),
        ("egress-loopback", Level::Low, "{ host_loopback = 5432 }"),
    ] {
        tells(rule, level, &allow(host), &fine);
    }
    // What is bounded is none.
    for host in [
        "{ host = \"api.github.com\", methods = [\"GET\"] }",
        "{ host = \"api.github.com\", methods = [\"POST\"], paths = [\"/repos/me/**\"] }",
        "{ host_loopback = 5432, protocol = \"http\", methods = [\"GET\"], paths = [\"/a\"] }",
        "\"10.1.2.3\"",
        "\"notpastebin.com\"",
        "\"bucket.s3.amazonaws.com\"",
    ] {
        let found = findings(&allow(host), false, |_| {});
        assert!(found.iter().all(|one| one.level == Level::Note), "{host}: {found:#?}");
    }
    tells("egress-unscanned", Level::Note, "[network]\nallow = [\"a.example.org\"]", &fine);
    let inspected = allow("{ host = \"a.example.org\", methods = [\"GET\"] }");
    let open = "[network]\nallow = [\"api.example.org\"]\n";
    tells("egress-not-inspected", Level::Note, open, &inspected);
    // Where secrets are looked for, only what a rule keeps from it is not.
    let closed = allow("{ host = \"a.example.org\", inspect = false }");
    tells("egress-not-inspected", Level::Note, &closed, &fine);
    let credential = "[credentials.token]\nsource.env = \"TOKEN\"\nhosts = [\"api.example.org\"]\n";
    tells("egress-not-inspected", Level::Note, open, &format!("{credential}{open}"));
}

#[test]
fn what_is_written_is_ranked() {
    let write = |path: &str| format!("[files]\nwrite = [\"{path}\"]");
    let fine = "[files]\nread = [\"~/.config/autostart\", \"~/.bashrc\"]";
    for (rule, level, path) in [
        ("runs-later", Level::High, "~/.bashrc"),
        ("runs-later", Level::High, "~/.config"),
        ("runs-later", Level::High, "~/.config/systemd/user"),
        ("runs-later", Level::High, "~/.local/bin"),
        ("runs-later", Level::High, "/etc/cron.d"),
        ("runs-later", Level::High, "/etc"),
        ("runs-later", Level::High, "~/.gitconfig"),
        ("runs-later", Level::Medium, "~/.cargo/registry"),
        ("written-directly", Level::Medium, "~/notes"),
        ("written-directly", Level::Low, "/var/cache/own"),
    ] {
        tells(rule, level, &write(path), fine);
    }
    let direct = "[workspace]\nmode = \"direct\"";
    tells("direct-unprotected", Level::High, direct, "[workspace]\nmode = \"review\"");
    let some = findings(&format!("{direct}\nprotect = [\".git\", \".github\"]"), false, |_| {});
    let text = format!("{some:?}");
    assert!(!text.contains(".git/hooks/pre-commit") && text.contains(".vscode/tasks.json"), "{text}");
    tells("secret-granted", Level::High, "[files]\nread = [\"~/.ssh/config\"]", "[files]\nread = [\"~/x\"]");
}

#[test]
fn commands_credentials_and_switches_are_ranked() {
    let exec = "[files]\nexec = [\"/usr\"]\n";
    let commands = |lines: &str| format!("{exec}[commands]\n{lines}");
    let none = commands("allow = [\"cat\"]");
    tells("commands-any", Level::Note, exec, &none);
    tells(
        "command-interpreter",
        Level::Low,
        &commands("allow = [\"python3\"]"),
        &commands("allow = [\"python3 /usr/x.py\"]"),
    );
    tells(
        "command-interpreter",
        Level::Note,
        &commands("allow = [\"bash -c *\"]"),
        &commands("allow = [\"bash\"]\nshell = false"),
    );
    for entry in ["xargs", "gdb **", "/usr/bin/ed", "tmux", "python3 -c 'x'"] {
        tells(
            "command-dead",
            Level::Note,
            &commands(&format!("allow = [\"{entry}\"]\nshell = false")),
            &commands(&format!("allow = [\"{entry}\", \"cat\"]")),
        );
    }
    tells(
        "command-dead",
        Level::Note,
        &commands("allow = [\"make\"]\nchildren = [\"sh\"]\nshell = false"),
        &commands(
            "allow = [\"python3\", \"gdb --version\", \"/usr/own/xargs\", \"find\", \"git **\"]\nshell = false",
        ),
    );
    for (lists, deny, other) in [
        ("allow = [\"cat\", \"git push *\"]", "git push", "git push --force"),
        ("allow = [\"cat\", \"/usr/bin/git-push **\"]", "git push", "git pull"),
        ("allow = [\"cat\", \"/usr/bin/curl -I **\"]", "curl", "/opt/curl"),
        (
            "allow = [\"cat\"]\n[approvals]\ngrantable = { commands = [\"git push **\"] }",
            "git push",
            "git push ./x",
        ),
    ] {
        let of = |deny: &str| commands(&format!("deny = [\"{deny}\"]\n{lists}"));
        tells("command-dead", Level::Note, &of(deny), &of(other));
    }
    tells("command-children", Level::Medium, &commands("allow = [\"make\"]\nchildren = \"free\""), &none);
    tells("command-brought", Level::Note, &commands("allow = [\"cat\"]\nfrom_workspace = true"), &none);
    let network = "\n[network]\nallow = [\"a.example.org\"]";
    tells(
        "command-sends",
        Level::Low,
        &(commands("allow = [\"curl\"]") + network),
        &commands("allow = [\"curl\"]"),
    );
    let credential = |lines: &str| {
        format!(
            "[network]\nallow = [{{ host = \"a.example.org\", methods = [\"GET\"] }}, \"*.example.org\"]\n[credentials.x]\n{lines}"
        )
    };
    let bounded = "source = { env = \"X\" }\nhosts = [\"a.example.org\"]\nmethods = [\"GET\"]\npaths = [\"/me/**\"]\nexpose = { env = \"X_TOKEN\" }";
    let fine = credential(bounded);
    let any =
        credential("source = { env = \"X\" }\nhosts = [\"a.example.org\"]\nexpose = { env = \"X_TOKEN\" }");
    tells("credential-wide", Level::Medium, &any, &fine);
    let unplaced = credential("source = { env = \"X\" }\nhosts = [\"a.example.org\"]\nmethods = [\"GET\"]");
    tells("credential-unplaced", Level::Low, &unplaced, &fine);
    tells("credential-wildcard", Level::Medium, &fine.replace("hosts = [\"a.", "hosts = [\"*."), &fine);
    // A variable whose name tells nothing may be handed over.
    let passed = format!("[environment]\npass = [\"X\"]\n{fine}");
    tells("credential-readable", Level::High, &passed, &fine);
    for (switch, level) in [
        ("user_namespaces = true", Level::Medium),
        ("io_uring = true", Level::Medium),
        ("debug = [\"ptrace\"]", Level::Low),
    ] {
        tells("switch", level, &format!("[runtime]\n{switch}"), "[runtime]");
    }
    let grantable = |path: &str| format!("[approvals]\ngrantable = {{ read = [\"{path}\"] }}");
    tells("grantable-wide", Level::Low, &grantable("~/**"), &grantable("~/projects/**"));
    let set = |value: &str| format!("[environment]\nset = {{ API_TOKEN = \"{value}\" }}");
    tells("secret-in-policy", Level::High, &set("Zx81kQp0aLw93RtYbn47Vd"), &set("none"));
}

#[test]
fn secrets_in_files_are_found_where_the_task_can_read_them() {
    let make = |root: &Path| {
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("home/w/.env", "A=1");
        write("home/w/settings.yaml", "password: Zx81kQp0aLw93RtYbn47Vd\n");
        write("home/w/a.js", "const token = \"Zx81kQp0aLw93RtYbn47Vd\";\n");
        write("home/w/Cargo.lock", "token = \"Zx81kQp0aLw93RtYbn47Vd\"\n");
        write("home/w/README.txt", "write API_TOKEN=... here, or -----BEGIN PRIVATE KEY-----\n");
        write("home/w/node_modules/x/.env", "A=1");
        write("home/shared/app.ini", "api_key = Zx81kQp0aLw93RtYbn47Vd\n");
        std::os::unix::fs::symlink("loop", root.join("home/w/loop.env")).unwrap();
        std::os::unix::fs::symlink("loop.env", root.join("home/w/loop")).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(root.join("home/w/pipe.env")).status();
        assert!(fifo.unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", root.join("home/w/zero.env")).unwrap();
    };
    let told = |text: &str, rule: &str| -> Vec<String> {
        let found = findings(text, true, make);
        found.iter().filter(|one| one.rule.id == rule).map(|one| one.what.clone()).collect()
    };
    let read = "[files]\nread = [\"~/shared\"]";
    let found = told(read, "secret-in-workspace");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("/w/.env`, whose name")
            && found[1].contains("a.js`, which holds a random value named `token`")
            && found[2].contains("settings.yaml`, which holds a random value named `password`"),
        "{found:?}"
    );
    assert!(!format!("{found:?}").contains("Zx81"), "a secret was printed: {found:?}");
    assert_eq!(told(read, "secret-in-grant").len(), 1);
    let hidden =
        "[files]\nread = [\"~/shared\"]\ndeny = [\"**/.env\", \"**/a.js\", \"**/*.yaml\", \"**/*.ini\"]";
    assert!(told(hidden, "secret-in-workspace").is_empty() && told(hidden, "secret-in-grant").is_empty());
}

#[test]
fn a_denied_file_that_git_tracks_is_told_of() {
    let make = |root: &Path| {
        let workspace = root.join("home/w");
        std::fs::write(workspace.join(".env"), "A=1").unwrap();
        for words in [&["init", "-q"][..], &["add", "-f", ".env"]] {
            let done =
                std::process::Command::new("git").args(words).current_dir(&workspace).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    };
    let of = |text: &str| {
        findings(text, true, make).iter().filter(|one| one.rule.id == "secret-in-history").count()
    };
    assert_eq!(of("[files]\ndeny = [\"**/.env\"]"), 1);
    assert_eq!(of("[files]\ndeny = [\"**/.env\", \".git/objects\"]"), 0);
    assert_eq!(of("[files]\ndeny = [\"**/.netrc\"]"), 0);
}

#[test]
fn names_of_rules_are_unlike_and_a_hostile_policy_ends() {
    let mut names: Vec<&str> = rules().iter().map(|rule| rule.id).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rules().len());
    let docs = include_str!("../../../docs/check.md");
    for rule in rules() {
        assert!(docs.contains(&format!("\n| `{}` |", rule.id)), "docs/check.md lacks {}", rule.id);
    }
    let hosts: Vec<String> = (0..2000).map(|number| format!("\"*.h{number}.github.io\"")).collect();
    let found = findings(&format!("[network]\nallow = [{}]", hosts.join(", ")), false, |_| {});
    assert!(found.len() <= 300, "{}", found.len());
}
