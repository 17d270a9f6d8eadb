//! Promise 3: the environment is built from nothing, known secret places stay shut, `deny` wins.

use ringfence_promises::Place;

#[test]
fn the_environment_is_built_from_nothing() {
    let place = Place::new();
    let policy = place.policy("[environment]\nset = { CI = \"1\" }");
    let output = place
        .command(&["run", "--policy", &policy, "--workspace", ".", "--", "env"])
        .env("MY_SECRET", "canary")
        .env("SSH_AUTH_SOCK", "/tmp/agent")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("canary") && !text.contains("SSH_AUTH_SOCK"), "{text}");
    assert!(text.contains("CI=1\n") && text.contains("HOME="), "{text}");
}

#[test]
fn known_secrets_are_hidden_below_a_grant() {
    let place = Place::new();
    place.write(place.home.join("tools/x"), "fine");
    place.write(place.home.join(".config/gh/hosts.yml"), "canary");
    place.write(place.home.join(".config/gh/own.yml"), "canary");
    place.write(place.home.join(".aws/credentials"), "canary");
    let policy = "[files]\nread = [\"~/.config\", \"~/tools\"]";
    let outcome = place.run(policy, "cat ~/tools/x ~/.config/gh/hosts.yml ~/.aws/credentials");
    assert!(outcome.out == "fine" && outcome.status != 0, "{outcome:?}");
    // The very file, by its name.
    let outcome = place.run("[files]\nread = [\"~/.aws/credentials\"]", "cat ~/.aws/credentials");
    assert_eq!(outcome.out, "canary", "{}", outcome.err);
}

#[test]
fn a_secret_moved_into_a_grant_by_a_link_is_hidden_too() {
    let place = Place::new();
    place.write("keys/id", "canary");
    std::os::unix::fs::symlink(place.workspace.join("keys"), place.home.join(".ssh")).unwrap();
    let outcome = place.run("", "cat keys/id");
    assert!(!outcome.out.contains("canary") && outcome.status != 0, "{outcome:?}");
}

#[test]
fn deny_wins_by_every_name() {
    let place = Place::new();
    place.write(".env", "canary");
    place.write("a/b/.env", "canary");
    std::fs::create_dir(place.workspace.join("private")).unwrap();
    for mode in ["review", "direct"] {
        let policy = format!("[workspace]\nmode = \"{mode}\"\n[files]\ndeny = [\"**/.env\", \"private/**\"]");
        let script = "cat .env ./a/../.env a/b/.env; ln .env x && cat x; mv .env y && cat y; mv a c; cat c/b/.env; \
                      echo new > private/new && echo written; cp -r . /tmp/copy; cat /tmp/copy/.env; true";
        let outcome = place.run(&policy, script);
        assert!(
            !outcome.out.contains("canary") && !outcome.out.contains("written"),
            "{mode}: {}",
            outcome.out
        );
        assert_eq!(place.read(".env").as_deref(), Some("canary"));
        if place.workspace.join("c").exists() {
            std::fs::rename(place.workspace.join("c"), place.workspace.join("a")).unwrap();
        }
    }
}

#[test]
fn what_was_not_granted_does_not_exist() {
    let place = Place::new();
    place.write(place.home.join("private.txt"), "canary");
    let outcome = place.run("", "ls -A ~; cat ~/private.txt /etc/shadow /root/.bashrc; ls /home /var/log");
    assert!(!outcome.out.contains("canary") && !outcome.out.contains("private.txt"), "{}", outcome.out);
}

#[test]
fn a_denied_file_keeps_its_place_in_a_direct_workspace() {
    let place = Place::new();
    place.write("conf/secret.key", "true key");
    let policy = "[workspace]\nmode = \"direct\"\n[files]\ndeny = [\"conf/secret.key\"]";
    let outcome = place
        .run(policy, "mv conf conf2; mkdir -p conf; echo FORGED > conf/secret.key; cat conf*/secret.key");
    assert_eq!(place.read("conf/secret.key").as_deref(), Some("true key"), "{outcome:?}");
    assert!(!outcome.out.contains("true key"));
}

#[test]
fn denied_patterns_hold_in_executable_trees_and_for_single_files() {
    let place = Place::new();
    let app = place.home.join("app");
    place.write(app.join("sub/.env"), "SECRET");
    place.write(app.join("ok"), "fine");
    place.write(place.home.join("one/.env"), "SECRET");
    let policy = format!(
        "[files]\nexec = [\"{}\"]\nread = [\"{}\"]\ndeny = [\"**/.env\"]",
        app.display(),
        place.home.join("one/.env").display()
    );
    let outcome = place.run(&policy, "cat ~/app/ok ~/app/sub/.env ~/one/.env; true");
    assert!(outcome.out.contains("fine") && !outcome.out.contains("SECRET"), "{outcome:?}");
}

/// Settings that presets grant are hidden where somebody keeps a secret in them, unless the policy itself names them.
#[test]
fn settings_with_a_secret_in_them_are_hidden() {
    let place = Place::new();
    let git = place.write(place.home.join(".gitconfig"), "[user]\nname = plain\n");
    let cargo = place.write(place.home.join(".cargo/config.toml"), "[registry]\ntoken = \"canary\"\n");
    let script = "cat ~/.gitconfig ~/.cargo/config.toml";
    let seen = place.run("", script);
    assert!(seen.out.contains("plain") && !seen.out.contains("canary"), "{}", seen.out);
    std::fs::write(git, "[http]\nextraHeader = canary\n").unwrap();
    assert!(!place.run("", script).out.contains("canary"));
    let plan = place.ringfence(&["plan", "--", "true"]);
    assert!(plan.out.contains("config.toml is hidden: line 2"), "{}", plan.out);
    let policy = format!("[files]\nread = [\"{}\"]", cargo.display());
    let seen = place.run(&policy, script);
    assert_eq!(seen.out.matches("canary").count(), 1, "{}", seen.out);
}

/// However much else there is.
#[test]
fn secrets_are_hidden_in_a_crowded_home() {
    let place = Place::new();
    place.write(place.home.join(".config/gh/hosts.yml"), "canary");
    place.write(place.home.join(".config/plain"), "shown");
    for number in 0..1000 {
        place.write(place.home.join(format!("file{number}")), "");
    }
    let seen = place.run("[files]\nread = [\"~/.config\"]", "cat ~/.config/plain ~/.config/gh/hosts.yml");
    assert_eq!(seen.out, "shown", "{}", seen.err);
}

/// What a walk of an earlier run remembers of a tree must not hide what came later.
#[test]
fn what_appears_between_two_runs_is_hidden_too() {
    let place = Place::in_home();
    let deny = "[files]\ndeny = [\"**/.env\", \"**/keys/*\"]";
    let kept = place.state.join("walks");
    for directory in ["a", "a/b", "c", "keys"] {
        place.write(format!("{directory}/file"), "plain");
    }
    // Long enough ago to be remembered.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let look = "cat .env a/b/.env new/.env keys/one; true";
    assert_eq!(place.run(deny, look).out, "");
    assert!(kept.read_dir().unwrap().next().is_some(), "nothing was remembered");
    for path in [".env", "a/b/.env", "new/.env", "keys/one"] {
        place.write(path, "secret");
    }
    std::fs::rename(place.workspace.join("c"), place.workspace.join("d")).unwrap();
    place.write("d/.env", "secret");
    std::fs::write(place.workspace.join("moved"), "secret").unwrap();
    assert_eq!(place.run(deny, look).out, "");
    std::thread::sleep(std::time::Duration::from_millis(100));
    std::fs::rename(place.workspace.join("moved"), place.workspace.join("a/.env")).unwrap();
    assert_eq!(place.run(deny, "cat d/.env a/.env; true").out, "");
    // Whoever else could write there decides nothing: what others may write is not believed.
    for entry in kept.read_dir().unwrap().flatten() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(entry.path(), mode).unwrap();
        std::fs::write(entry.path(), "").unwrap();
    }
    assert_eq!(place.run(deny, "cat d/.env a/.env; true").out, "");
}
