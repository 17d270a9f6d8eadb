//! What a policy says may be granted while a sandbox runs: any file, and no directory of secrets as a whole.

use ringfence_promises::Place;

#[test]
fn a_directory_of_secrets_is_refused_as_something_that_may_be_granted() {
    let place = Place::in_home().in_tier(module_path!());
    place.write(place.home.join(".config/hub/tok"), "canary");
    place.write(place.home.join("dotfiles/gh/hosts.yml"), "canary");
    std::os::unix::fs::symlink("../dotfiles/gh", place.home.join(".config/gh")).unwrap();
    for (directory, file) in [
        (".config/hub", ".config/hub/tok"),
        (".config/gh", "dotfiles/gh/hosts.yml"),
        ("dotfiles/gh", "dotfiles/gh/hosts.yml"),
    ] {
        let policy = place.policy(&format!("[approvals]\ngrantable = {{ read = [\"~/{directory}\"] }}"));
        for verb in [
            &["run", "--policy", &policy, "--workspace", ".", "--", "true"][..],
            &["plan", "--policy", &policy, "--", "true"],
            &["check", &policy],
        ] {
            let told = place.ringfence(verb);
            let both = format!("{}{}", told.out, told.err);
            assert!(told.status != 0 && both.contains("is a directory of secrets"), "{told:?}");
            assert!(both.contains(&format!("such as \"~/{file}\"")), "{told:?}");
        }
        let named =
            place.run(&format!("[approvals]\ngrantable = {{ read = [\"~/{file}\"] }}"), "echo started");
        assert_eq!(named.out, "started\n", "{}", named.err);
    }
}

#[test]
fn a_file_may_be_named_as_grantable() {
    let place = Place::new().in_tier(module_path!());
    let told =
        place.run("[approvals]\ngrantable = { read = [\"/etc/hostname\", \"/etc/passwd\"] }", "echo started");
    assert_eq!(told.out, "started\n", "{}", told.err);
}
