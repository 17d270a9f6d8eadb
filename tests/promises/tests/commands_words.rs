//! Words that programs read as more than they say: names that begin as options do, commands cut short, corrected, or by an alias.

use std::path::Path;

use ringfence_promises::{Outcome, Place};

use crate::commands::{allow, start};

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

fn unlisted(outcome: &Outcome) -> bool {
    outcome.status == 126 && outcome.err.contains("not with these arguments")
}

/// gcc reads more words from a file, vim and less run what stands behind `+`.
#[test]
fn no_wildcard_stands_for_a_sign_of_the_programs_own() {
    let place = new_place();
    place.write("x.c", "int x;\n");
    place.write("r.c", "-v\n");
    place.write("@r.c", "int y;\n");
    let list =
        allow("\"gcc -c ./*.c\", \"gcc -S (-O?) *\", \"gcc -o * -c x.c\", \"less * ./x.c\", \"vim? ./**\"");
    let policy = format!("{list}\nchildren = \"free\"");
    for words in [
        &["gcc", "-c", "@r.c"][..],
        &["gcc", "-S", "@r.c"],
        &["gcc", "-o", "@r.c", "-c", "x.c"],
        &["less", "+!id", "x.c"],
        &["less", "++1", "x.c"],
    ] {
        let outcome = start(&place, &policy, words);
        assert!(unlisted(&outcome), "{words:?}: {outcome:?}");
    }
    for words in [&["gcc", "-c", "x.c"][..], &["gcc", "-c", "./@r.c"], &["gcc", "-S", "-O1", "x.c"]] {
        assert_ne!(start(&place, &policy, words).status, 126, "{words:?}");
    }
    for word in ["+1", "+/int", "/dev/null"] {
        assert!(start(&place, &policy, &["less", word, "x.c"]).out.contains("int x;"), "{word}");
    }
    if Path::new("/usr/bin/vim").exists() {
        let outcome = start(&place, &policy, &["vim", "+call writefile(['x'], 'hit')"]);
        assert!(unlisted(&outcome), "{outcome:?}");
    }
}

fn denied(outcome: &Outcome) -> bool {
    outcome.status == 126 && outcome.err.contains("commands.deny")
}

/// What is said beforehand is what happens.
fn explained(place: &Place, policy: &str, command: &str) -> String {
    let path = place.policy(policy);
    place.ringfence(&["explain", "--policy", &path, "--workspace", ".", "--command", command]).out
}

/// `help.autocorrect` makes git do in its own process what a word is near to; what an alias means it starts anew.
#[test]
fn a_denial_holds_for_a_word_that_git_corrects() {
    let place = new_place();
    place.host(
        "git init -q -b main .; git config user.name n; git config user.email n@example.org
         git commit -q --allow-empty -m one; git config help.autocorrect immediate
         git config alias.st status; git config alias.tt tag; git init -q --bare ../b.git",
    );
    let policy = "[commands]\ndeny = [\"git push\", \"git tag\"]\nfrom_workspace = false";
    for words in [
        &["git", "tga", "v1"][..],
        &["git", "-C", ".", "-c", "help.autocorrect=1", "taag", "v1"],
        &["git", "pushh", "../b.git", "HEAD:refs/heads/x"],
    ] {
        let outcome = start(&place, policy, words);
        assert!(denied(&outcome), "{words:?}: {outcome:?}");
    }
    // Bytes that are no letters, too.
    let script =
        r"for word in $'push\xff' $'pu\xe9sh'; do git $word ../b.git HEAD:refs/heads/x; echo $?; done";
    let outcome = start(&place, policy, &["bash", "-c", script]);
    assert_eq!(outcome.out, "126\n126\n", "{outcome:?}");
    assert_ne!(start(&place, policy, &["git", "tt", "v1"]).status, 0);
    let told = explained(&place, policy, "git tga v1");
    assert!(told.contains("refused: `git tag` in `commands.deny`") && told.contains("for `tga`"), "{told}");
    for words in [&["git", "st"][..], &["git", "log", "--format=%s"], &["git", "-C", ".", "status"]] {
        assert_eq!(start(&place, policy, words).status, 0, "{words:?}");
        assert!(explained(&place, policy, &words.join(" ")).contains(": allowed"), "{words:?}");
    }
}

/// cargo does what an alias says in its own process, also where a program `cargo-NAME` is there.
#[test]
fn a_denial_holds_for_a_word_that_an_alias_of_cargo_may_be() {
    let place = new_place();
    let far = place.base.path().join("far");
    let cargo = far.join("cargo").display().to_string();
    place.host(&format!("mkdir {0} && cp /usr/bin/echo {0}/cargo", far.display()));
    let policy = |lists: &str| {
        format!(
            "[files]\nexec = [\"/usr\", \"{}\"]\n[commands]\nfrom_workspace = false\ndeny = [\"cargo publish\"]\n{lists}",
            far.display()
        )
    };
    for words in [
        &["pp"][..],
        &["b"],
        &["clippy", "--all"],
        &["--color", "never", "pp"],
        &["--config", "alias.x='publish'", "x"],
        &["-vC", "build", "pp"],
        &["+x", "build"],
    ] {
        let words = [&[cargo.as_str()], words].concat();
        let outcome = start(&place, &policy(""), &words);
        assert!(denied(&outcome), "{words:?}: {outcome:?}");
        let listed = policy(&format!("allow = [\"{cargo}\"]"));
        assert!(denied(&start(&place, &listed, &words)), "{words:?}");
        let told = explained(&place, &policy(""), &words.join(" ").replace('\'', ""));
        assert!(words[1] == "+x" || told.contains("refused: `cargo publish` in `commands.deny`"), "{told}");
    }
    for (word, instead) in [("b", "write `build`"), ("clippy", "start `cargo-clippy` itself")] {
        let told = explained(&place, &policy(""), &format!("{cargo} {word}"));
        assert!(told.contains(instead), "{told}");
    }
    for words in [&["build", "pp"][..], &["--color", "never", "test"], &["--list"], &["-vv", "check"]] {
        let words = [&[cargo.as_str()], words].concat();
        assert_eq!(start(&place, &policy(""), &words).out, words[1..].join(" ") + "\n");
    }
    // Who names the word takes it for what it is.
    let named = policy(&format!("allow = [\"{cargo}\", \"{cargo} clippy **\"]"));
    assert_eq!(start(&place, &named, &[&cargo, "clippy", "--all"]).out, "clippy --all\n");
    assert!(explained(&place, &named, &format!("{cargo} clippy --all")).contains(": allowed"));
    assert!(denied(&start(&place, &named, &[&cargo, "pp"])));
    assert!(denied(&start(&place, &named, &[&cargo, "publish"])));
}

/// npm takes words that begin a command, or are another name of it.
#[test]
fn a_denial_holds_for_a_word_that_is_cut_short_or_another_name() {
    let place = new_place();
    if Path::new("/usr/bin/npm").exists() {
        let policy = "[commands]\ndeny = [\"npm publish\", \"npm install-test\", \"npm exec\"]";
        for words in [
            &["publis", "--dry-run"][..],
            &["--loglevel=error", "pub"],
            &["installTest"],
            &["it"],
            &["x", "y"],
        ] {
            let words = [&["npm"], words].concat();
            let outcome = start(&place, policy, &words);
            assert!(denied(&outcome), "{words:?}: {outcome:?}");
            assert!(explained(&place, policy, &words.join(" ")).contains("refused: `npm "), "{words:?}");
        }
        assert_eq!(start(&place, policy, &["npm", "prefix"]).status, 0);
        assert_ne!(start(&place, policy, &["npm", "run"]).status, 126);
    }
    // As another name in the denial is the command's.
    let far = place.base.path().join("far").display().to_string();
    place.host(&format!("mkdir {far} && cp /usr/bin/echo {far}/npm && cp /usr/bin/echo {far}/ip"));
    let policy = format!(
        "[files]\nexec = [\"/usr\", \"{far}\"]\n[commands]\ndeny = [\"{far}/npm i\", \"{far}/ip link set\"]"
    );
    for words in [["npm", "install"].as_slice(), &["npm", "add"], &["ip", "-4", "l", "s"]] {
        let program = format!("{far}/{}", words[0]);
        let outcome = start(&place, &policy, &[&[program.as_str()], &words[1..]].concat());
        assert!(denied(&outcome), "{words:?}: {outcome:?}");
    }
    assert_eq!(start(&place, &policy, &[&format!("{far}/ip"), "l", "show"]).out, "l show\n");
}

/// A denial may be written short, or by another name, itself.
#[test]
fn a_denial_means_what_its_own_words_mean() {
    let place = new_place();
    for (entry, words) in [
        ("ip addr show", &["ip", "address", "list"][..]),
        ("ip addr show", &["ip", "a", "s"]),
        ("ip link set", &["ip", "link", "change", "lo", "mtu", "1500"]),
        ("ip link del", &["ip", "link", "delete", "x"]),
    ] {
        let policy = format!("[commands]\ndeny = [\"{entry}\"]\nfrom_workspace = false");
        let outcome = start(&place, &policy, words);
        assert!(denied(&outcome), "{words:?}: {outcome:?}");
        assert!(explained(&place, &policy, &words.join(" ")).contains("refused"), "{words:?}");
    }
}
