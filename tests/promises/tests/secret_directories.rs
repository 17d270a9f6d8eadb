//! Directories of known secrets: no grant opens one as a whole, and all verbs say the same of it.

use ringfence_promises::Place;

fn place() -> Place {
    Place::in_home().in_tier(module_path!())
}

#[test]
fn a_directory_of_secrets_is_refused_by_its_name() {
    let place = place();
    for (directory, file) in
        [(".ssh", "config"), (".aws", "config"), (".kube", "config"), (".config/gh", "hosts.yml")]
    {
        place.write(place.home.join(directory).join(file), "canary");
        for list in ["read", "write"] {
            let policy = place.policy(&format!("[files]\n{list} = [\"~/{directory}\"]"));
            let offered = format!("such as \"~/{directory}/{file}\"");
            for verb in [
                &["run", "--policy", &policy, "--workspace", ".", "--", "true"][..],
                &["plan", "--policy", &policy, "--", "true"],
                &["check", &policy],
            ] {
                let told = place.ringfence(verb);
                let both = format!("{}{}", told.out, told.err);
                assert!(told.status != 0 && both.contains("is a directory of secrets"), "{told:?}");
                assert!(both.contains(&offered), "{told:?}");
            }
            let path = format!("~/{directory}/{file}");
            let told = place.ringfence(&["explain", "--policy", &policy, "--path", &path]);
            assert!(told.err.contains("no run starts") && told.out.contains("refused: `~/"), "{told:?}");
            assert!(told.out.contains(&format!("{list} = [\"{path}\"]")), "{told:?}");
        }
        let policy = format!("[files]\nread = [\"~/{directory}/{file}\"]");
        let granted = place.run(&policy, &format!("cat {}/{directory}/{file}", place.home.display()));
        assert_eq!(granted.out, "canary", "{}", granted.err);
    }
}

/// Of the directory itself nothing is offered.
#[test]
fn no_line_is_offered_for_a_directory_of_secrets() {
    let place = Place::in_home();
    place.write(place.home.join(".ssh/config"), "canary");
    assert_ne!(place.run("", "ls ~/.ssh").status, 0);
    let told = place.ringfence(&["explain"]);
    // Without /dev/fuse nobody hears of it.
    let heard = std::fs::File::open("/dev/fuse").is_ok();
    assert!(told.out.contains(".ssh") == heard && !told.out.contains("[\"~/.ssh\"]"), "{}", told.out);
    let told = place.ringfence(&["explain", "--path", "~/.ssh"]);
    assert!(told.out.contains("no grant opens it as a whole"), "{}", told.out);
    assert!(!told.out.contains("to allow it"), "{}", told.out);
}

#[test]
fn a_file_of_one_is_opened_below_a_wider_grant_too() {
    let place = place();
    place.write(place.home.join(".config/gh/hosts.yml"), "canary");
    place.write(place.home.join(".config/gh/own/x"), "own");
    place.write(place.home.join(".config/gh/own.yml"), "wanted");
    place.write(place.home.join(".config/plain"), "plain");
    let policy = "[files]\nread = [\"~/.config\", \"~/.config/gh/own.yml\", \"~/.config/gh/own\"]";
    let home = place.home.display();
    let script = format!(
        "cd {home}/.config; cat plain gh/own.yml gh/own/x; cat gh/hosts.yml; touch gh/x; echo > gh/own.yml; ls gh; true"
    );
    let seen = place.run(policy, &script);
    assert!(seen.out.starts_with("plainwantedown") && !seen.out.contains("canary"), "{seen:?}");
    assert!(!place.home.join(".config/gh/x").exists());
    assert_eq!(place.read(place.home.join(".config/gh/own.yml")).as_deref(), Some("wanted"));
    let named = place.policy(policy);
    for (file, said) in [("own", "allowed"), ("hosts", "refused")] {
        let path = format!("~/.config/gh/{file}.yml");
        let said = format!("{file}.yml: {said}");
        let told = place.ringfence(&["explain", "--policy", &named, "--path", &path]);
        assert!(told.out.lines().next().is_some_and(|line| line.contains(&said)), "{}", told.out);
    }
    // Where nothing can be shown in it, nothing starts.
    let policy = "[workspace]\npath = \"~/.config\"\n[files]\nread = [\"~/.config/gh/own.yml\"]";
    let named = place.policy(policy);
    let told = place.ringfence(&["run", "--policy", &named, "--", "true"]);
    assert!(told.status == 125 && told.err.contains("known secret location"), "{told:?}");
}

/// A link is no name of a secret: who writes in one directory of them opens none of another by a rule's path.
#[test]
fn a_link_from_one_to_another_opens_nothing() {
    let place = place();
    place.write(place.home.join(".config/gh/hosts.yml"), "canary");
    place.write(place.home.join(".config/gh/own/x"), "own");
    place.write(place.home.join(".config/gcloud/plain"), "plain");
    let link = |name: &str, to: &str| {
        std::os::unix::fs::symlink(to, place.home.join(".config/gcloud").join(name)).unwrap();
    };
    link("lnk", "../gh/hosts.yml");
    link("own", "../gh/own/x");
    let script =
        format!("cd {}/.config; cat gcloud/lnk; cat gh/hosts.yml; cat gh/own/x", place.home.display());
    let policy = "[files]\nread = [\"~/.config\", \"~/.config/gcloud/lnk\"]";
    let seen = place.run(policy, &script);
    assert!(seen.status == 125 && !seen.out.contains("canary"), "{seen:?}");
    assert!(
        seen.err.contains("in a directory of secrets, where a rule opens only what it names"),
        "{seen:?}"
    );
    let named = place.policy(policy);
    let told = place.ringfence(&["explain", "--policy", &named, "--path", "~/.config/gh/hosts.yml"]);
    assert!(told.err.contains("no run starts"), "{told:?}");
    let seen = place.run("[files]\nread = [\"~/.config\", \"~/.config/gcloud/lnk?\"]", &script);
    assert!(seen.out.is_empty(), "{seen:?}");
    // What is named there is opened by links, too.
    let policy = "[files]\nread = [\"~/.config\", \"~/.config/gcloud/own\", \"~/.config/gh/own\"]";
    let seen = place.run(policy, &script);
    assert_eq!(seen.out, "own", "{seen:?}");
}

/// A home whose secrets lie elsewhere, as those who keep them in a repository have it.
fn kept_elsewhere() -> Place {
    let place = place();
    for (name, text) in [("aws/credentials", "canary"), ("netrc", "canary"), ("gh/hosts.yml", "canary")] {
        place.write(place.home.join("dotfiles").join(name), text);
    }
    place.write(place.home.join("dotfiles/plain"), "plain");
    place.write(place.home.join(".ssh/config"), "canary");
    for directory in [".aws", ".config"] {
        std::fs::create_dir(place.home.join(directory)).unwrap();
    }
    for (to, link) in [
        ("../dotfiles/aws/credentials", ".aws/credentials"),
        ("dotfiles/netrc", ".netrc"),
        ("../dotfiles/gh", ".config/gh"),
        (".ssh", "sshlink"),
    ] {
        std::os::unix::fs::symlink(to, place.home.join(link)).unwrap();
    }
    place
}

#[test]
fn what_links_in_a_directory_of_secrets_lead_to_is_hidden() {
    let place = kept_elsewhere();
    let home = place.home.display();
    let policy = "[files]\nread = [\"~/dotfiles\"]";
    let script = format!("cd {home}/dotfiles; cat plain aws/credentials netrc gh/hosts.yml");
    let outcome = place.run(policy, &script);
    assert_eq!(outcome.out, "plain", "{}", outcome.err);
    let named = place.policy(policy);
    let told = place.ringfence(&["explain", "--policy", &named, "--path", "~/dotfiles/aws/credentials"]);
    assert!(told.out.contains("credentials: refused"), "{told:?}");
    // By either name it is meant.
    let policy = "[files]\nread = [\"~/dotfiles\", \"~/dotfiles/aws/credentials\"]";
    let outcome = place.run(policy, &script);
    assert_eq!(outcome.out, "plaincanary", "{}", outcome.err);
}

#[test]
fn lines_for_what_a_secret_leads_to_work_and_are_called_unwise() {
    let place = kept_elsewhere();
    let home = place.home.display().to_string();
    let explain = |policy: &str, path: &str| {
        let policy = place.policy(policy);
        place.ringfence(&["explain", "--policy", &policy, "--path", path]).out
    };
    for (path, lines) in [
        ("~/dotfiles/netrc", "read = [\"~/.netrc\", \"~/dotfiles/netrc\"]"),
        ("~/dotfiles/gh/hosts.yml", "read = [\"~/dotfiles/gh/hosts.yml\"]"),
        ("~/dotfiles/aws/credentials", "read = [\"~/dotfiles/aws/credentials\"]"),
    ] {
        for policy in ["", "[files]\nread = [\"~/dotfiles\"]"] {
            let told = explain(policy, path);
            assert!(told.contains(lines) && told.contains("unwise"), "{path}: {told}");
        }
        let policy = format!("[files]\n{lines}");
        let real = path.replace('~', &home);
        let outcome = place.run(&policy, &format!("cat {real}"));
        assert_eq!(outcome.out, "canary", "{path}: {}", outcome.err);
        let told = place.ringfence(&["check", &place.policy(&policy)]);
        assert!(format!("{}{}", told.out, told.err).contains("secret"), "{path}: {told:?}");
    }
    let told = explain("", "~/dotfiles/gh");
    assert!(told.contains("no grant opens it as a whole") && !told.contains("to allow it"), "{told}");
    let told = place.run("[files]\nread = [\"~/sshlink\"]", "true");
    assert!(told.status != 0 && told.err.contains("such as \"~/.ssh/config\""), "{told:?}");
}

/// Links are followed to directories, and from those, wherever the home lies; devices and what everybody may read are no secrets.
#[test]
fn what_links_lead_to_further_on_is_hidden_and_public_things_are_not() {
    let hosted = place().hosted;
    for mut place in [place(), Place::in_var_tmp()] {
        place.hosted = hosted;
        for (name, text) in [
            ("vault/one", "canary"),
            ("vault/two", "canary"),
            ("vault/plain", "plain"),
            ("keys/deep/k", "key"),
        ] {
            place.write(place.home.join(name), text);
        }
        for directory in [".ssh", ".aws"] {
            std::fs::create_dir(place.home.join(directory)).unwrap();
        }
        for (to, link) in [
            ("../vault/one", ".ssh/id"),
            ("../keys/deep", ".ssh/kd"),
            ("../../vault/two", "keys/deep/two"),
            ("/etc/ssl/openssl.cnf", ".aws/ca"),
            ("/dev/null", ".lesshst"),
        ] {
            std::os::unix::fs::symlink(to, place.home.join(link)).unwrap();
        }
        let home = place.home.display();
        let seen = place
            .run("[files]\nread = [\"~/vault\", \"~/keys\"]", &format!("cd {home}; cat vault/* keys/deep/k"));
        assert_eq!(seen.out, "plain", "{seen:?}");
        let policy = "[files]\nread = [\"~/keys\", \"~/keys/deep/k\", \"/etc/ssl/openssl.cnf\"]";
        let seen = place
            .run(policy, &format!("cd {home}; cat keys/deep/k; test -s /etc/ssl/openssl.cnf && echo -n +"));
        assert_eq!(seen.out, "key+", "{seen:?}");
        let named = place.policy("[files]\nread = [\"~/keys/deep\"]");
        let told = place.ringfence(&["check", &named]);
        assert!(format!("{}{}", told.out, told.err).contains("secret-granted"), "{told:?}");
        let told = place.ringfence(&["explain", "--policy", &named, "--path", "/dev/null"]);
        assert!(told.out.contains("read /dev/null: allowed"), "{told:?}");
    }
}

/// A pipe with a name hands out a secret as a file does.
#[test]
fn a_secret_that_leads_to_a_pipe_is_hidden() {
    let place = place();
    place.write(place.home.join("dotfiles/plain"), "plain");
    place.host(&format!("mkfifo {0}/dotfiles/pass && ln -s dotfiles/pass {0}/.pgpass", place.home.display()));
    let policy = "[files]\nread = [\"~/dotfiles\"]";
    let script = format!("cd {}/dotfiles; cat plain; timeout 3 cat pass; echo $?", place.home.display());
    let seen = place.run(policy, &script);
    // Who may open it waits for somebody who writes.
    assert_eq!(seen.out, "plain1\n", "{seen:?}");
}
