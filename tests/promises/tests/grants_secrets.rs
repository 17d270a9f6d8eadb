//! Secrets stay hidden from what is granted while a sandbox runs as they do from what its policy grants.

use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ringfence_promises::{Outcome, Place, text};

/// A home with secrets by their own names and by others.
fn place() -> Place {
    let place = Place::in_home();
    let home = &place.home;
    for secret in [
        ".composer/auth.json",
        ".composer/hub/tok",
        "dotfiles/netrc",
        "dotfiles/gh/hosts.yml",
        "dotfiles/envfile",
        "dotfiles/aws",
        "dotfiles/history",
        ".config/hub/tok",
        ".config/hub/deep/tok",
    ] {
        place.write(home.join(secret), "CANARY\n");
    }
    place.write(home.join("dotfiles/gitconfig"), "[url \"https://me:CANARY@host/\"]\n");
    for plain in [".composer/plain", "dotfiles/plain"] {
        place.write(home.join(plain), "plain\n");
    }
    std::fs::create_dir(home.join(".aws")).unwrap();
    for (to, link) in [
        ("dotfiles/netrc", ".netrc"),
        ("../dotfiles/gh", ".config/gh"),
        ("dotfiles/envfile", "mylink"),
        ("../dotfiles/aws", ".aws/credentials"),
        ("dotfiles/history", ".bash_history"),
        ("dotfiles/gitconfig", ".gitconfig"),
    ] {
        symlink(to, home.join(link)).unwrap();
    }
    place
}

/// Grants these paths to a script that says when it is up.
fn granted(place: &Place, policy: &str, script: &str, paths: &[&str]) -> (Vec<Outcome>, String) {
    granted_on(place, "", policy, script, paths)
}

/// The same where the host has less.
fn granted_on(
    place: &Place,
    without: &str,
    policy: &str,
    script: &str,
    paths: &[&str],
) -> (Vec<Outcome>, String) {
    let policy = place.policy(policy);
    let script = format!("touch up; {script}");
    let mut command = place.command(&["run", "--quiet", "--policy", &policy, "--", "sh", "-c", &script]);
    if !without.is_empty() {
        command.env("RINGFENCE_TEST_HOST", without);
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let since = Instant::now();
    while place.told("sandbox.start").is_empty() && since.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let path = |path: &str| place.home.join(path).display().to_string();
    let grant = |wanted: &&str| place.ringfence(&["grant", "last", "--read", &path(wanted), "--for", "1m"]);
    let told = paths.iter().map(grant).collect();
    let (out, err) = text(child);
    (told, format!("{out}{err}"))
}

#[test]
fn secrets_stay_hidden_in_a_directory_that_is_granted_later() {
    let place = place();
    let home = place.home.display();
    let script = format!(
        "for i in $(seq 200); do cat {home}/.composer/plain {home}/dotfiles/plain >/dev/null 2>&1 && break; sleep 0.1; done; \
         cd {home}; cat .composer/plain dotfiles/plain .composer/auth.json dotfiles/netrc dotfiles/gh/hosts.yml \
         dotfiles/envfile dotfiles/aws dotfiles/history dotfiles/gitconfig"
    );
    let policy = "[files]\ndeny = [\"~/mylink\"]\n[approvals]\ngrantable = { read = [\"~/.composer\", \"~/dotfiles\"] }";
    let (told, out) = granted(&place, policy, &script, &[".composer", "dotfiles"]);
    assert!(told.iter().all(|told| told.status == 0), "{told:?}");
    assert!(out.starts_with("plain\nplain\n") && !out.contains("CANARY"), "{out}");
}

/// What covers them would be the one lock, for who stands in the directory after the end too.
#[test]
fn without_landlock_no_directory_that_holds_some_is_granted_later() {
    let place = place();
    let home = place.home.display();
    place.write(place.home.join("plain/x"), "plain\n");
    let script = format!("for i in $(seq 100); do cat {home}/plain/x 2>/dev/null && break; sleep 0.1; done");
    let policy =
        "[files]\ndeny = [\"~/mylink\"]\n[approvals]\ngrantable = { read = [\"~/dotfiles\", \"~/plain\"] }";
    let (told, out) = granted_on(&place, "no-landlock", policy, &script, &["dotfiles", "plain"]);
    assert_eq!(told.iter().map(|told| told.status).collect::<Vec<_>>(), [126, 0], "{told:?}");
    assert!(told[0].err.contains("Landlock") && told[0].err.contains("grant the files"), "{told:?}");
    assert!(out.contains("plain"), "{out}");
}

/// What covers them is locked in place by a user namespace of its own: unlocked, it would go when the grant ends.
#[test]
fn where_their_covers_cannot_be_locked_no_directory_that_holds_some_is_granted_later() {
    let place = place();
    let home = place.home.display();
    place.write(place.home.join("plain/x"), "plain\n");
    let policy = place.policy(
        "[files]\ndeny = [\"~/mylink\"]\n[approvals]\ngrantable = { read = [\"~/dotfiles\", \"~/plain\"] }",
    );
    let script = format!(
        "for i in $(seq 100); do cat {home}/plain/x 2>/dev/null && break; sleep 0.1; done; ls {home}/dotfiles"
    );
    let verb = place.command(&["run", "--quiet", "--policy", &policy, "--", "sh", "-c", &script]);
    // Two: that in which ringfence runs, and the sandbox's.
    let limited = "echo 2 > /proc/sys/user/max_user_namespaces; exec unshare -U --map-user=1234 --map-group=1234 \"$@\"";
    let mut command = place.under("unshare", &["-U", "--map-root-user", "sh", "-c", limited, "sh"], &verb);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let since = Instant::now();
    while place.told("sandbox.start").is_empty() && since.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let grant =
        |path: &str| place.ringfence(&["grant", "last", "--read", place.home.join(path).to_str().unwrap()]);
    let (refused, given) = (grant("dotfiles"), grant("plain"));
    let (out, err) = text(child);
    assert!(refused.status == 126 && refused.err.contains("takes a user namespace"), "{refused:?} {err}");
    assert!(given.status == 0 && out == "plain\n", "{given:?} {out}{err}");
}

#[test]
fn what_a_secret_leads_to_is_granted_by_no_other_name() {
    let place = place();
    let policy = "[files]\ndeny = [\"~/mylink\"]\n[approvals]\ngrantable = { read = [\"~/dotfiles/**\"] }";
    let paths =
        ["dotfiles/netrc", "dotfiles/gh", "dotfiles/gh/hosts.yml", "dotfiles/envfile", "dotfiles/aws"];
    let (told, _) = granted(&place, policy, "sleep 5", &paths);
    for (path, told) in paths.iter().zip(told) {
        assert_eq!(told.status, 126, "{path}: {told:?}");
        let said = ["a known secret by another name", "a directory of secrets", "files.deny"];
        assert!(said.iter().any(|said| told.err.contains(said)), "{path}: {told:?}");
    }
}

#[test]
fn a_file_of_secrets_that_is_named_is_granted_and_no_directory_of_them() {
    let place = place();
    let policy = "[approvals]\ngrantable = { read = [\"~/.composer/auth.json\", \"~/dotfiles/gh/hosts.yml\", \"~/.config/**\"] }";
    let home = place.home.display();
    let script = format!(
        "for i in $(seq 50); do cat {home}/.composer/auth.json {home}/dotfiles/gh/hosts.yml 2>/dev/null && break; sleep 0.1; done; \
         sleep 3"
    );
    let paths = [".composer/auth.json", "dotfiles/gh/hosts.yml", ".config/hub", ".config/hub/deep"];
    let (told, out) = granted(&place, policy, &script, &paths);
    assert_eq!(told.iter().map(|told| told.status).collect::<Vec<_>>(), [0, 0, 126, 126], "{told:?}");
    assert!(out.contains("CANARY\nCANARY"), "{told:?} {out}");
}

#[test]
fn nobody_is_asked_about_a_secret_by_another_name() {
    let place = place();
    let data = place.base.path().join("data");
    place.write(data.join("netrc"), "CANARY\n");
    std::fs::remove_file(place.home.join(".netrc")).unwrap();
    symlink(data.join("netrc"), place.home.join(".netrc")).unwrap();
    let data = data.display();
    let policy =
        place.policy(&format!("[approvals]\non_refusal = \"ask\"\ngrantable = {{ read = [\"{data}/**\"] }}"));
    let script = format!("cat {data}/netrc");
    let mut command = place.command(&["run", "--quiet", "--policy", &policy, "--", "sh", "-c", &script]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let since = Instant::now();
    let (out, _) = text(child);
    assert!(out.is_empty() && since.elapsed() < Duration::from_secs(45), "{:?}", since.elapsed());
    assert!(place.told("ask").is_empty(), "{:?}", place.told("ask"));
}
