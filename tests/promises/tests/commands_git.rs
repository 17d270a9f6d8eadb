//! Commands of git that are programs of their own, `git-NAME`: those who write a policy, and those who start them, spell them in two ways.

use ringfence_promises::Place;

use crate::commands::start;

/// A program of its own that git would find, and a policy that lets it start.
fn new_place() -> (Place, String) {
    let place = Place::new().in_tier(module_path!());
    let far = place.base.path().join("far");
    let far = far.display().to_string();
    place.host(&format!("mkdir {far} && cp /usr/bin/echo {far}/git-own && ln -s git-own {far}/git-link"));
    (place, far)
}

fn policy(far: &str, lists: &str) -> String {
    format!("[files]\nexec = [\"/usr\", \"{far}\"]\n[commands]\nfrom_workspace = false\n{lists}")
}

#[test]
fn a_denial_of_a_command_of_git_holds_in_both_spellings() {
    let (place, far) = new_place();
    let own = format!("{far}/git-own");
    for entry in
        [format!("{own} push"), "git-own push".into(), "git own push".into(), format!("{own} push **")]
    {
        for allow in ["", &format!("allow = [\"{own} **\"]\n")] {
            let policy = policy(&far, &format!("{allow}deny = [\"{entry}\"]"));
            let outcome = start(&place, &policy, &[&own, "push", "origin"]);
            assert!(outcome.status == 126 && outcome.out.is_empty(), "{entry}: {outcome:?}");
            assert_eq!(start(&place, &policy, &[&own, "pull", "push"]).out, "pull push\n", "{entry}");
        }
    }
    for entry in ["git own push", "git-own push"] {
        let policy = policy(&far, &format!("deny = [\"{entry}\"]"));
        for command in [&[&own, "-v", "x", "push"][..], &["git", "own", "-v", "x", "push"]] {
            let outcome = start(&place, &policy, command);
            assert!(outcome.status == 126 && outcome.err.contains("commands.deny"), "{entry}: {outcome:?}");
        }
        assert_eq!(start(&place, &policy, &[&own, "pull", "-v", "push"]).out, "pull -v push\n", "{entry}");
    }
    let denied = policy(&far, "deny = [\"git-own push\", \"git-receive-pack ./**\"]");
    // git would start what is denied itself.
    for command in [
        &["git", "own", "push"][..],
        &["git", "-C", ".", "own", "push", "origin"],
        &[&own, "--verbose", "push"],
        &[&own, "-c", "x", "push"],
        &["git-receive-pack", "./x"],
        &["git", "receive-pack", "./x"],
    ] {
        let outcome = start(&place, &denied, command);
        assert!(outcome.status == 126 && outcome.err.contains("commands.deny"), "{command:?}: {outcome:?}");
        let path = place.policy(&denied);
        let told = place.ringfence(&["explain", "--policy", &path, "--command", &command.join(" ")]).out;
        assert!(told.contains("refused: `git-"), "{command:?}: {told}");
    }
    assert!(start(&place, &denied, &["git", "--version"]).out.starts_with("git version"));
}

/// What stands behind an option that takes nothing is the command, and what stands there in its own words is none.
#[test]
fn a_denial_knows_which_options_of_git_take_a_value() {
    let place = Place::new().in_tier(module_path!());
    place.host("git init -q . && git -c user.name=x -c user.email=x commit -q --allow-empty -m x && git tag v1 && git branch tag");
    let policy = "[commands]\ndeny = [\"git tag\"]";
    for (line, denied) in [
        ("git --no-pager log --oneline tag", false),
        ("git --no-pager -P --bare --git-dir=.git log -1 tag", false),
        ("git -C . --git-dir .git log -1 tag", false),
        ("git --no-pager tag", true),
        ("git --no-pager -C . -c core.pager=cat --git-dir=.git tag", true),
        ("git -C --no-pager tag", true),
        ("git --nobody-knows x tag", true),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = start(&place, policy, &words);
        assert_eq!(outcome.status, if denied { 126 } else { 0 }, "{line}: {outcome:?}");
        let path = place.policy(policy);
        let told = place.ringfence(&["explain", "--policy", &path, "--command", line]).out;
        assert_eq!(told.contains("refused: `git tag` in"), denied, "{line}: {told}");
    }
}

#[test]
fn an_entry_for_a_command_of_git_opens_that_alone() {
    let (place, far) = new_place();
    let (own, link) = (format!("{far}/git-own"), format!("{far}/git-link"));
    let listed =
        policy(&far, &format!("allow = [\"{own} track *\", \"{link} say *\", \"git-upload-pack ./x\"]"));
    assert_eq!(start(&place, &listed, &[&own, "track", "a"]).out, "track a\n");
    assert_eq!(start(&place, &listed, &[&link, "say", "a"]).out, "say a\n");
    let there = start(&place, &listed, &["git-upload-pack", "./x"]);
    assert!(there.status == 128 && there.err.contains("git repository"), "{there:?}");
    for allow in ["\"git-upload-pack ./x\"", "\"git-upload-pack **\"", "\"git-upload-pack\""] {
        let lists = policy(&far, &format!("allow = [{allow}]"));
        for command in [&["git", "--version"][..], &["git", "push", "origin"], &["git-receive-pack", "./x"]] {
            let outcome = start(&place, &lists, command);
            assert!(outcome.status == 126, "{allow} {command:?}: {outcome:?}");
        }
        assert_eq!(start(&place, &lists, &["git-upload-pack", "./x"]).status, 128, "{allow}");
    }
    // One file by two names, which is one for Landlock.
    place.host(&format!("cp /usr/bin/git {far}/git && ln {far}/git {far}/git-upload-archive"));
    let one = policy(&far, &format!("allow = [\"{far}/git-upload-archive\"]"));
    assert_eq!(start(&place, &one, &[&format!("{far}/git"), "--version"]).status, 126);
    let held = policy(&far, &format!("allow = [\"{far}/git-upload-archive\", \"{own}\", \"bash\", \"ln\"]"));
    let shell = |script: &str| start(&place, &held, &["bash", "-c", script]);
    for script in [
        format!("exec -a git {far}/git-upload-archive --version"),
        format!("exec -a git-version {far}/git-upload-archive"),
        format!("exec -a other {far}/git-upload-archive --version"),
        format!("ln -sf {far}/git-upload-archive git-version; exec ./git-version"),
        format!("exec -a git {own} version"),
        format!("exec -a git-version {own} a"),
    ] {
        let outcome = shell(&script);
        assert!(outcome.status == 126 && outcome.out.is_empty(), "{script}: {outcome:?}");
    }
    assert_eq!(shell(&format!("exec {far}/git-upload-archive ./x")).status, 128);
    // A program that is no link to git is one by any other name.
    assert_eq!(shell(&format!("exec -a other {own} a")).out, "a\n");
    for command in [&[own.as_str(), "pull", "a"][..], &[&own, "track"], &["git", "--version"]] {
        let outcome = start(&place, &listed, command);
        assert!(outcome.status == 126 && outcome.out.is_empty(), "{command:?}: {outcome:?}");
    }
    // What is offered is what lets it start.
    for command in ["git-upload-pack ./y", "/usr/bin/git-upload-pack ./y", &format!("{own} pull a")] {
        let path = place.policy(&listed);
        let told = place.ringfence(&["explain", "--policy", &path, "--command", command]).out;
        let line = told.split_once("[commands] ").and_then(|(_, line)| line.lines().next());
        let words: Vec<&str> = command.split(' ').collect();
        let outcome = start(&place, &policy(&far, line.unwrap_or_default()), &words);
        assert!(line.is_some() && outcome.status != 126, "{command}: {told} {outcome:?}");
    }
}

#[test]
fn a_grant_for_a_command_of_git_opens_that_alone() {
    let (place, far) = new_place();
    let lists = "allow = [\"git status **\"]\n[approvals.grantable]\ncommands = [\"git-upload-pack **\"]";
    let path = place.policy(&policy(&far, lists));
    let start = place.ringfence(&["start", "dev", "--policy", &path, "--workspace", "."]);
    assert_eq!(start.status, 0, "{start:?}");
    let granted = place.ringfence(&["grant", "dev", "--command", "git-upload-pack"]);
    assert_eq!(granted.status, 0, "{granted:?}");
    let exec = |command: &[&str]| place.ringfence(&[&["exec", "dev", "--"], command].concat()).status;
    assert_eq!(exec(&["git", "--version"]), 126);
    assert_eq!(exec(&["git", "push", "origin"]), 126);
    assert_eq!(exec(&["git-upload-pack", "./x"]), 128);
    assert_eq!(place.ringfence(&["stop", "dev"]).status, 0);
}
