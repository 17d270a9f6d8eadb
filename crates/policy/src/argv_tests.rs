//! Each form of the grammar, and what it means.

use super::*;

const PLACE: Place<'_> = Place {
    program: [b""; 3],
    read: None,
    workspace: b"/w",
    copy: Some(b"/copy"),
    home: Some((b"/home/u", b"/run/home")),
    directory: b"/w/sub",
};

fn says(pattern: &str, line: &str, how: As) -> bool {
    let pattern = CommandPattern::parse(pattern, "/home/u").unwrap();
    let arguments: Vec<&[u8]> = line.split_whitespace().skip(1).map(str::as_bytes).collect();
    pattern.matches(&arguments, PLACE, how)
}

fn allows(pattern: &str, line: &str) -> bool {
    says(pattern, line, As::Allow)
}

#[test]
fn each_form_means_what_the_grammar_says() {
    for (pattern, yes, no) in [
        ("git", &["git", "git push --force"][..], &[][..]),
        ("git ()", &["git"], &["git x"]),
        ("git status", &["git status"], &["git", "git status -s", "git statu", "git -C / status"]),
        ("git diff *", &["git diff a/b"], &["git diff", "git diff a b", "git diff --ext-diff", "git diff -"]),
        ("git diff **", &["git diff", "git diff a --stat b"], &["git -c a diff"]),
        ("git diff ** --", &["git diff --", "git diff a --"], &["git diff a"]),
        ("x a*.c", &["x a.c", "x ab.c"], &["x a/b.c", "x b.c"]),
        ("x *.c", &["x b.c"], &["x -b.c", "x d/b.c"]),
        ("x -o*", &["x -o", "x -ofile"], &["x -p"]),
        ("x --to=**", &["x --to=a/b"], &["x --t=a"]),
        ("x a?c", &["x abc"], &["x ac", "x a/c", "x abbc"]),
        // A letter beyond ASCII is several bytes, and a lone `*` whatever is no option.
        ("x a??", &["x aé", "x abc"], &["x aéb", "x ab"]),
        ("x *", &["x a/b", "x é"], &["x -a", "x", "x a b"]),
        ("x '*' 'a b'", &[], &["x * a b"]),
        (
            "git log (--oneline|-n *|--stat) *",
            &["git log m", "git log -n 3 m", "git log --stat -n 3 --oneline m"],
            &["git log --all m", "git log -n m", "git log m --stat"],
        ),
        (
            "cat ./**",
            &["cat /w/a/b", "cat x", "cat ./x"],
            &["cat ../x", "cat /etc/passwd", "cat -n", "cat ../../etc"],
        ),
        ("cat ./*.txt", &["cat /w/a.txt"], &["cat a.txt", "cat /w/sub/a.txt"]),
        ("cat /etc/*", &["cat /etc/hosts", "cat //etc/./hosts"], &["cat /etc/a/b", "cat /etc/../etc/hosts"]),
        ("cat ~/x", &["cat /home/u/x"], &["cat ~/x"]),
        ("ls /etc/", &["ls /etc", "ls /etc/"], &["ls /etc/x"]),
        ("ls /usr//**", &["ls /usr/bin/x", "ls /usr//bin"], &["ls /usr"]),
        ("head ./docs//a.txt", &["head /w/docs/a.txt", "head /w/docs//a.txt"], &[]),
        ("ls ./docs/", &["ls /w/docs/", "ls /w/docs"], &["ls docs"]),
        ("ls ~", &["ls /home/u", "ls /home/u/"], &["ls ~"]),
        ("ls ~/", &["ls /home/u"], &["ls /home/u/x"]),
        ("ls /", &["ls /", "ls //"], &["ls /x"]),
        ("ls ./", &["ls /w", "ls /w/"], &["ls /w/x"]),
        ("pip install x>=1.0&y", &["pip install x>=1.0&y"], &[]),
    ] {
        yes.iter().for_each(|line| assert!(allows(pattern, line), "{pattern}: {line}"));
        no.iter().for_each(|line| assert!(!allows(pattern, line), "{pattern}: {line}"));
    }
    let quoted = CommandPattern::parse("x '*' 'a b' ''", "/h").unwrap();
    assert!(quoted.matches(&[b"*", b"a b", b""], PLACE, As::Allow));
    let plain = CommandPattern::parse("cat '~' '$HOME/x'", "/h").unwrap();
    assert!(plain.matches(&[b"~", b"$HOME/x"], PLACE, As::Allow));
    let tilde = CommandPattern::parse("cat '~/x y'", "/home/u").unwrap();
    assert!(tilde.matches(&[b"~/x y"], PLACE, As::Allow) && tilde.matches(&[b"~/x y"], PLACE, As::Deny));
    assert!(!tilde.matches(&[b"/home/u/x y"], PLACE, As::Allow));
    assert!(tilde.matches(&[b"/home/u/x y"], PLACE, As::Deny), "as before it was plain");
    let part = CommandPattern::parse("cat ~/'x y'", "/home/u").unwrap();
    assert!(
        part.matches(&[b"/home/u/x y"], PLACE, As::Allow) && !part.matches(&[b"~/x y"], PLACE, As::Allow)
    );
    for words in [
        ["cat", "~"],
        ["cat", "~/x"],
        ["cat", "~/../x"],
        ["cat", "~u"],
        ["cat", "{x,y}"],
        ["cat", "--={a,b}c"],
        ["cat", "{}"],
        ["cat", "a~"],
    ] {
        let line = crate::command_line(words.iter());
        let entry = CommandPattern::parse(&line, "/home/u").unwrap_or_else(|_| panic!("{line}"));
        assert!(entry.matches(&[words[1].as_bytes()], PLACE, As::Allow), "{line}");
        assert!(!entry.matches(&[b"/home/u"], PLACE, As::Allow), "{line}");
        assert_eq!(crate::command_words(&line), words);
    }
    let lone = CommandPattern::parse("x *", "/h").unwrap();
    assert!(lone.matches(&[b""], PLACE, As::Allow));
    let optional = CommandPattern::parse("clang? -c *", "/h").unwrap();
    assert!(optional.optional && optional.program == "clang" && !optional.any_arguments());
    let named = CommandPattern::parse("'x?'", "/h").unwrap();
    assert!(!named.optional && named.program == "x?");
}

#[test]
fn denials_look_past_options_and_hold_whatever_follows() {
    for line in
        ["git push", "git push a", "git -C . push", "git -c a=b --no-pager push x", "git --git-dir=x push"]
    {
        assert!(says("git push", line, As::Deny), "{line}");
    }
    for line in ["git commit -m push", "git status", "git"] {
        assert!(!says("git push", line, As::Deny), "{line}");
    }
    assert!(says("rm ./src/**", "rm -r ../src/x", As::Deny) && says("rm -rf", "rm -rf x", As::Deny));
    assert!(says("curl", "curl x", As::Deny) && !says("git push *", "git push", As::Deny));
}

#[test]
fn options_before_the_first_word_take_what_their_program_says() {
    for (pattern, yes, no) in [
        (
            "git push",
            &[
                "git --no-pager push",
                "git -C --no-pager push",
                "git -c push=x push",
                "git --new x push",
                "git --exec-path=/x push",
                "/usr/bin/git -P push",
            ][..],
            &[
                "git --no-pager stash push",
                "git -P log --oneline push",
                "git -C push status",
                "git --exec-path x push",
            ][..],
        ),
        (
            "cargo publish",
            &["cargo -q publish", "cargo --color never publish", "cargo --config a=b -vv publish"],
            &["cargo -q run --bin publish", "cargo --locked run publish", "cargo -C publish build"],
        ),
        (
            "npm publish",
            &[
                "npm --global true publish",
                "npm --json publish",
                "npm --prefix --json publish",
                "npm --sil x publish",
            ],
            &["npm --silent run publish", "npm --prefix publish run"],
        ),
        (
            "docker push",
            &["docker -D push", "docker -H h push"],
            &["docker -D run push", "docker --context push ps"],
        ),
        ("podman push", &["podman -r push", "podman --log-level x push"], &["podman --remote run push"]),
        (
            "kubectl delete",
            &["kubectl -n x delete", "kubectl --insecure-skip-tls-verify delete"],
            &["kubectl --insecure-skip-tls-verify get delete", "kubectl -n delete get"],
        ),
        ("other push", &["other --no-pager x push"], &[]),
    ] {
        yes.iter().for_each(|line| assert!(says(pattern, line, As::Deny), "{pattern}: {line}"));
        no.iter().for_each(|line| assert!(!says(pattern, line, As::Deny), "{pattern}: {line}"));
    }
}

#[test]
fn a_copy_of_the_workspace_is_the_workspace() {
    assert!(allows("cat ./a/*", "cat /copy/a/x") && allows("cat /w/a/*", "cat /copy/a/x"));
    assert!(!allows("cat ./**", "cat /copy2/x") && !allows("cat ./**", "cat /copy/../copy/x"));
    for path in ["/copy/no/x", "/copy/../copy/no/x", "/copy//no/./x", "../no/x"] {
        for pattern in ["cat ./no/*", "cat /w/no/*"] {
            assert!(says(pattern, &format!("cat {path}"), As::Deny), "{pattern}: {path}");
        }
    }
}

#[test]
fn a_home_of_the_tasks_own_is_denied_as_the_home_and_permits_nothing() {
    for path in ["/home/u/no/x", "/run/home/no/x", "/run/home/../home//no/x"] {
        assert!(says("cat ~/no/*", &format!("cat {path}"), As::Deny), "{path}");
    }
    assert!(says("cat /run/home/**", "cat /run/home/x", As::Deny));
    assert!(!says("cat ~/no/*", "cat /run/home2/no/x", As::Deny));
    assert!(allows("cat ~/a/*", "cat /home/u/a/x") && !allows("cat ~/a/*", "cat /run/home/a/x"));
}

#[test]
fn what_is_malformed_is_refused() {
    for text in [
        "",
        "  ",
        "* x",
        "git (-a",
        "git -a)",
        "git 'a",
        "git ((-a))",
        "git (-a|)",
        "g|t",
        "x ./../y",
        "(-a)",
        "git (status|log) **",
        "git (-n|st*)",
        "git status|log",
        "ls ()x",
        "ls (-a)(-b)",
        "ls (-a)'x'",
        "git status;ls",
        "rm -rf /*&&ls",
        "make>log",
        "make 2>&1",
        "cat<x",
        "git {push,fetch}",
        "cat $HOME/notes/*",
        "ls ${HOME}",
    ] {
        assert!(CommandPattern::parse(text, "/h").is_err(), "{text:?}");
    }
}

#[test]
fn a_home_that_is_the_root_has_one_slash() {
    let pattern = CommandPattern::parse("cat ~/secret*", "/").unwrap();
    assert!(pattern.matches(&[b"/secrets"], PLACE, As::Deny));
}

#[test]
fn no_pattern_runs_away() {
    let pattern = format!("x {}", "*a**".repeat(60));
    let pattern = CommandPattern::parse(&pattern, "/h").unwrap();
    let long = vec![b'a'; 4096];
    assert!(pattern.matches(&[&long], PLACE, As::Allow));
    let many = CommandPattern::parse("x ** (-a|-b c) ** d", "/h").unwrap();
    let arguments = vec![&b"-a"[..]; 10_000];
    assert!(!many.matches(&arguments, PLACE, As::Allow));
}
