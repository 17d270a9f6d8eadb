//! `commands.shell = false`, and what is told of command lines: secrets in scripts, entries that let nothing start.

use ringfence_promises::Place;
use serde_json::Value;

use crate::commands::start;

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

/// Agents put nearly all that they do in the string of a shell.
#[test]
fn secrets_in_a_script_are_not_in_the_record() {
    let place = new_place();
    let script = "true || { curl -u me:secretpw1 h; mysql -psecretpw2 db; sshpass -p secretpw3 ssh h; \
                  curl -H 'X-Api-Key: secretpw4' h; ssh h \"mysql -p'secretpw5'\"; flock l mysql -psecretpw6; \
                  docker compose -f x exec db mysql -psecretpw7; SSHPASS=secretpw8 sshpass -e ssh h; }";
    let outcome = start(&place, "[commands]\ndeny = [\"su\"]", &["bash", "-c", script]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let told: Vec<Value> = place.told("process.start");
    let told = told.iter().map(Value::to_string).find(|told| told.contains("sshpass")).unwrap();
    assert!(!told.contains("secretpw"), "{told}");
    for shown in ["curl -u me:***", "mysql -p*** db", "sshpass -p *** ssh h", "X-Api-Key: ***"] {
        assert!(told.contains(shown), "{shown}: {told}");
    }
}

/// Each program that starts is an event with its words.
#[test]
fn secrets_among_words_are_not_in_the_record() {
    let place = new_place();
    let far = place.base.path().join("far");
    let names = "curl git git-remote-https pip skopeo osslsigncode prog psql mysql strace taskset watch";
    let far = far.display();
    place.host(&format!("mkdir {far}; for name in {names}; do cp /usr/bin/true {far}/$name; done"));
    let policy = format!("[files]\nexec = [\"/usr\", \"{far}\"]\n[commands]\ndeny = [\"su\"]");
    let path = place.policy(&policy);
    let search = format!("{far}:/usr/bin:/bin");
    for line in [
        "curl·-u·sk_live_4secretpw51h:·h",
        "git-remote-https·o·https://secretpw1234:x-oauth-basic@github.example/a",
        "git·clone·https://k3jd83hdsecretpw2kdls02kdl29dk3jd83hdk29dkw93kdls02kd@dev.example/x",
        "pip·install·--extra-index-url·https://Zx9k3jd8secretpw3hdk29dk@h/s·x",
        "skopeo·copy·--src-creds·u:secretpw·a·b",
        "osslsigncode·sign·-pass·secretpw",
        "prog·--pwd·secretpw·--pwd=secretpw",
        "env·PASS=secretpw·SIGNING_KEY=secretpw·CREDENTIALS=secretpw·true",
        "curl·https://h/?X-Amz-Signature=secretpw·https://hooks.slack.com/services/T/B/secretpw",
        "psql·-c·ALTER USER a PASSWORD 'secretpw'",
        "find·.·-maxdepth·0·-exec·mysql·-psecretpw·;",
        "strace·-f·mysql·-psecretpw",
        "taskset·1·mysql·-psecretpw",
        "watch·mysql·-psecretpw",
        "curl·-u·name·-psecretname",
    ] {
        let words: Vec<&str> = line.split('·').collect();
        let mut run = place.command(&["run", "--quiet", "--policy", &path, "--workspace", ".", "--"]);
        let done = run.args(&words).env("PATH", &search).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{line}: {done:?}");
        let told: String = place.told("process.start").iter().map(Value::to_string).collect();
        assert!(told.contains(&format!("\"{}\"", words[0])), "{told}");
        assert!(!told.contains("secretpw"), "{told}");
        assert_eq!(told.contains("secretname"), line.contains("secretname"), "{told}");
    }
}

#[test]
fn settings_that_name_no_program_start() {
    let place = new_place();
    place.write("x.pl", "print 'ran'");
    let policy =
        "[commands]\nallow = [\"git\", \"perl\", \"awk\", \"ssh?\"]\nshell = false\nfrom_workspace = false";
    let run = |command: &[&str]| start(&place, policy, command);
    let outcome = run(&["git", "-c", "user.name=A B", "-c", "color.ui=never", "version"]);
    assert!(outcome.status == 0 && outcome.out.starts_with("git version"), "{outcome:?}");
    let outcome = run(&["perl", "-MList::Util", "-MPOSIX", "x.pl"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "ran"), "{outcome:?}");
    for word in ["--version", "-V"] {
        assert_ne!(run(&["awk", word]).status, 126, "{word}");
    }
    if std::path::Path::new("/usr/bin/ssh").exists() {
        assert_eq!(run(&["ssh", "-o", "BatchMode=yes", "-oConnectTimeout=5", "-V"]).status, 0);
        assert_eq!(run(&["ssh", "-6oStrictHostKeyChecking=accept-new", "-4oBatchMode=yes", "-V"]).status, 0);
        for setting in ["-oBatchMode=yes\nProxyCommand=id", "-vo", "-oKnownHostsCommand=/bin/true"] {
            let outcome = run(&["ssh", setting, "ProxyCommand=id", "-V"]);
            assert!(outcome.status == 126 && outcome.err.contains("commands.shell"), "{outcome:?}");
        }
    }
    for words in [
        ["-c", "core.pager=id", "-p", "log"],
        ["-c", "user.name=x\n[core]pager=id", "-p", "log"],
        ["-c", "user.name=x", "-c", "alias.version=!id"],
    ] {
        let outcome = run(&[&["git"], &words[..]].concat());
        assert!(outcome.status == 126 && outcome.err.contains("commands.shell"), "{outcome:?}");
    }
    let outcome = run(&["awk", "BEGIN { print 1 }"]);
    assert!(outcome.status == 126 && outcome.err.contains("instead: awk -f FILE"), "{outcome:?}");
    assert_eq!(run(&["perl", "-MList::Util;print 1", "x.pl"]).status, 126);
}

/// Perl takes the rest of a word for these, and never the next one.
#[test]
fn no_option_of_an_interpreter_hides_code_behind_it() {
    let place = new_place();
    place.write("x.pl", "print 'ran'");
    let policy = "[commands]\nallow = [\"perl\"]\nshell = false\nfrom_workspace = false";
    for word in ["-iI", "-CI", "-DI", "-i.old", "-iI -w"] {
        let outcome = start(&place, policy, &["perl", word, "-e", "print STDOUT 'hit'"]);
        assert!(outcome.status == 126 && outcome.err.contains("commands.shell"), "{word}: {outcome:?}");
    }
    let outcome = start(&place, policy, &["perl", "-iI -e", "print STDOUT 'hit'"]);
    assert!(outcome.status == 126 && outcome.err.contains("commands.shell"), "{outcome:?}");
    for word in ["-CI", "-CSE", "-i.old"] {
        assert_eq!(start(&place, policy, &["perl", word, "x.pl"]).out, "ran", "{word}");
    }
}

/// Python and Perl take what begins like an option for a value, where others do not.
#[test]
fn no_value_that_looks_like_an_option_hides_code() {
    let place = new_place();
    place.write("x.pl", "print 'ran'");
    let policy = "[commands]\nallow = [\"perl\", \"python3\"]\nshell = false\nfrom_workspace = false";
    for words in [
        &["python3", "-W", "--", "-c", "print('hit')"][..],
        &["python3", "-W", "-mjson.tool", "-c", "print('hit')"],
        &["python3", "-X", "-mjson.tool", "-c", "print('hit')"],
        &["python3", "-W", "-V"],
        &["perl", "-I", "--", "-e", "print 'hit'"],
        &["perl", "-I", "-v"],
    ] {
        let outcome = start(&place, policy, words);
        assert!(outcome.status == 126 && outcome.err.contains("commands.shell"), "{words:?}: {outcome:?}");
    }
    assert_eq!(start(&place, policy, &["perl", "-I", "lib", "--", "x.pl", "-e"]).out, "ran");
    assert_eq!(start(&place, policy, &["perl", "-I", "--", "x.pl"]).out, "ran");
}

/// In tier `landlock` `/proc/self` is not there.
#[test]
fn code_from_a_descriptor_by_a_directory_is_refused() {
    let place = Place::new();
    place.write("x.pl", "print 'ran'");
    let policy = place.policy("[commands]\nallow = [\"perl **\", \"env **\"]\nshell = false");
    let run = |policy: &str, command: &str| {
        let code: &[u8] = if command.starts_with("make") { b"$(info hit)x:;" } else { b"print 'hit'" };
        let arguments = format!("run --quiet --policy {policy} --workspace . -- {command}");
        let words: Vec<&str> = arguments.split(' ').collect();
        let mut child = place.command(&words);
        child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), code).ok();
        ringfence_promises::text(child).0
    };
    assert_eq!(run(&policy, "env -C /proc/self perl /proc/self/cwd/fd/0"), "");
    assert_eq!(run(&policy, "perl /proc/self/cwd/x.pl"), "ran");
    place.write("x.mk", "$(info ran)x:;");
    let policy = place.policy("[commands]\nallow = [\"make **\"]\nshell = false");
    assert_eq!(run(&policy, "make -C /dev -f stdin"), "");
    assert_eq!(run(&policy, "make -sC . -f x.mk x"), "ran\n");
}

#[test]
fn a_shell_of_another_build_is_one() {
    let place = new_place();
    let far = place.base.path().join("far");
    let far = far.display();
    place.host(&format!(
        "mkdir {far} && cd {far} && cp /usr/bin/bash bash-static && cp bash-static mksh-static && \
         cp bash-static bash-5.2 && cp /usr/bin/perl ruby-mri && cp bash-static ex1"
    ));
    let policy =
        format!("[files]\nexec = [\"/usr\", \"{far}\"]\n[commands]\nshell = false\nfrom_workspace = false");
    for (name, option) in
        [("bash-static", "-c"), ("mksh-static", "-c"), ("bash-5.2", "-c"), ("ruby-mri", "-e")]
    {
        let outcome = start(&place, &policy, &[&format!("{far}/{name}"), option, "print 1"]);
        assert!(outcome.status == 126 && outcome.err.contains("commands.shell"), "{name}: {outcome:?}");
    }
    assert_eq!(start(&place, &policy, &[&format!("{far}/ex1"), "-c", "echo other"]).out, "other\n");
}

#[test]
fn entries_that_no_shell_makes_void_are_named() {
    let place = Place::new();
    let policy = place.policy("[commands]\nallow = [\"xargs?\", \"cat\", \"script -c ls\"]\nshell = false");
    let text = place.ringfence(&["check", &policy]).out;
    assert!(text.contains("the entry `xargs?` lets nothing start"), "{text}");
    assert!(text.contains("the entry `script -c ls` lets nothing start"), "{text}");
    assert_eq!(text.matches("lets nothing start").count(), 2, "{text}");
}

/// What a program hands on is judged where it starts, and what only looks like code is none.
#[test]
fn what_is_no_code_starts() {
    let place = new_place();
    place.write("f", "b\na\n");
    let policy = "[commands]\nallow = [\"env\", \"sort\", \"node\"]\nshell = false\nfrom_workspace = false";
    let refused = |outcome: &ringfence_promises::Outcome| {
        outcome.status == 126 && outcome.err.contains("commands.shell")
    };
    assert_eq!(start(&place, policy, &["env", "-u", "X", "LC_ALL=C", "sort", "-S", "1M", "f"]).out, "a\nb\n");
    for words in [&["env", "LC_ALL=C", "-S", "sort f"][..], &["env", "-u", "sort", "-S", "sort f"]] {
        let outcome = start(&place, policy, words);
        assert!(refused(&outcome), "{words:?}: {outcome:?}");
    }
    let outcome = start(&place, policy, &["node", "--version", "--no-warnings"]);
    assert!(outcome.out.starts_with('v'), "{outcome:?}");
    assert!(refused(&start(&place, policy, &["node", "--version", "--no-version"])));
    let policy = "[commands]\nallow = [\"sed\", \"echo\"]\nshell = false\nfrom_workspace = false";
    assert_eq!(start(&place, policy, &["sed", "-ne", "a\\", "-e", "e echo", "f"]).out, "e echo\ne echo\n");
    assert!(refused(&start(&place, policy, &["sed", "-e", "a\\", "-f", "f", "-e", "e echo hit", "f"])));
    let policy = "[commands]\nallow = [\"git\", \"vim?\"]\nshell = false\nfrom_workspace = false";
    let hooks = |path: &str| format!("core.hooksPath={path}");
    let git =
        |path: &str| start(&place, policy, &["git", "-c", &hooks(path), "-c", "safe.directory=*", "version"]);
    assert!(git("/dev/null").out.starts_with("git version") && refused(&git("/dev/null/../x")));
    if std::path::Path::new("/usr/bin/vim").exists() {
        assert_eq!(start(&place, policy, &["vim", "-Nu", "NONE", "--version"]).status, 0);
        assert!(refused(&start(&place, policy, &["vim", "-Nu", "f", "--version"])));
    }
}

/// What names a program that does nothing is no code, and a module that runs a file is what runs that file; `explain` says the same.
#[test]
fn only_what_is_run_is_code() {
    let place = new_place();
    place.write("app.py", "print('ran')\n");
    place.host("git init -q . && git -c user.name=x -c user.email=x commit -q --allow-empty -m x");
    let policy = "[commands]\nshell = false\nfrom_workspace = false";
    let path = place.policy(policy);
    for (line, starts) in [
        ("git -c core.pager=cat -c core.editor=true log --format=ran", true),
        ("git -c pager.log=false -c credential.helper= -c http.sslVerify=false log --format=ran", true),
        ("git -c core.pager=id log", false),
        ("git -c core.editor=true;id log", false),
        ("git -c credential.helper=id log", false),
        ("git clone -q --config core.autocrlf=false . ./ran", true),
        ("git clone -q --config core.sshCommand=id . ./other", false),
        ("git notes add -m x", true),
        ("git notes append -c HEAD:app.py", true),
        ("/usr/bin/python3 -m cProfile -o x.prof app.py", true),
        ("/usr/bin/python3 -m cProfile -m code", false),
        ("/usr/bin/python3 -m cProfile /dev/stdin", false),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = start(&place, policy, &words);
        let refused = outcome.status == 126 && outcome.err.contains("commands.shell");
        assert_eq!(!refused, starts, "{line}: {outcome:?}");
        // For `explain` a `;` would be a shell's.
        if !line.contains(';') {
            let told = place.ringfence(&["explain", "--policy", &path, "--command", line]).out;
            assert_eq!(!told.contains("refused: `commands.shell"), starts, "{line}: {told}");
        }
    }
}

/// A script is judged by its name: this one reads Perl from its input.
#[test]
fn a_prompt_that_is_a_script_is_refused() {
    if !std::path::Path::new("/usr/bin/cpan").exists() {
        return;
    }
    let place = new_place();
    for command in [&["cpan"][..], &["env", "PERL_MM_USE_DEFAULT=1", "cpan", "-w"]] {
        let outcome = start(&place, "[commands]\nshell = false\nfrom_workspace = false", command);
        assert_eq!(outcome.status, 126, "{outcome:?}");
    }
    let told = place.ringfence(&["explain"]).out;
    assert!(told.contains("refuses `cpan`"), "{told}");
}

/// A class of Java's own is one, too.
#[test]
fn a_prompt_that_is_a_class_is_refused() {
    if !std::path::Path::new("/usr/bin/java").exists() {
        return;
    }
    let place = new_place();
    let policy = "[commands]\nshell = false\nfrom_workspace = false";
    for words in [&["com.sun.tools.example.debug.tty.TTY"][..], &["-m", "jdk.jshell/x.Y"], &["@/dev/stdin"]] {
        let outcome = start(&place, policy, &[&["java"], words].concat());
        assert!(outcome.status == 126 && outcome.err.contains("commands.shell"), "{words:?}: {outcome:?}");
    }
    assert_ne!(start(&place, policy, &["java", "-version"]).status, 126);
}

const NO_SHELL: &str = "[commands]\nshell = false\nfrom_workspace = false";

fn refused(outcome: &ringfence_promises::Outcome) -> bool {
    outcome.status == 126 && outcome.err.contains("commands.shell")
}

fn is_there(program: &str) -> bool {
    std::path::Path::new(program).exists()
}

/// By its own name it is; its interpreter with it for a file is the same.
#[test]
fn a_script_is_judged_behind_its_interpreter_too() {
    let place = new_place();
    place.write("x.json", "{}\n");
    for (script, words) in [
        ("/usr/bin/json_pp", &["-f", "eval"][..]),
        ("/usr/bin/cpan", &["-j", "/dev/stdin", "-v"]),
        ("/usr/bin/cg_diff", &["--mod-filename=s/a/b/e", "x.json", "x.json"]),
    ] {
        if is_there(script) {
            for command in [&["perl", script], &["perl", "-w", script][..], &[script]] {
                let outcome = start(&place, NO_SHELL, &[command, words].concat());
                assert!(refused(&outcome), "{command:?}: {outcome:?}");
            }
        }
    }
    assert!(!refused(&start(&place, NO_SHELL, &["perl", "/usr/bin/json_pp", "-f", "json"])));
    let pdb = ["/usr/bin/pdb3", "/usr/bin/ipython3"].into_iter().filter(|path| is_there(path));
    for script in pdb {
        assert!(refused(&start(&place, NO_SHELL, &["/usr/bin/python3", script, "x.json"])), "{script}");
    }
    if is_there("/usr/bin/pytest") {
        place.write("test_x.py", "def test_x(): pass\n");
        for command in
            [&["pytest", "--trace"][..], &["pytest", "-x", "--pdb"], &["pytest", "--pdbcls=pdb:Pdb"]]
        {
            assert!(refused(&start(&place, NO_SHELL, command)), "{command:?}");
        }
        let module = |words: &[&str]| {
            start(
                &place,
                NO_SHELL,
                &[&["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider"], words].concat(),
            )
        };
        assert!(refused(&module(&["--pdb", "test_x.py"])));
        assert_eq!(module(&["-q", "--tb=short", "test_x.py"]).status, 0);
    }
}

/// `python3 /usr/lib/python3.11/code.py` is `python3 -m code`.
#[test]
fn a_file_of_pythons_own_library_is_the_module_that_it_is() {
    let place = new_place();
    let library = place.host("/usr/bin/python3 -c 'import code; print(code.__file__)'");
    let library = library.trim().trim_end_matches("/code.py");
    assert!(library.starts_with("/usr/lib"), "{library}");
    place.write("x.json", "{}\n");
    let python = |words: &[&str]| start(&place, NO_SHELL, &[&["/usr/bin/python3"], words].concat());
    for (name, word) in [
        ("code.py", ""),
        ("timeit.py", "print('hit')"),
        ("trace.py", "x"),
        ("cProfile.py", "/dev/stdin"),
        ("runpy.py", "x"),
    ] {
        let outcome = python(&[&format!("{library}/{name}"), word]);
        assert!(refused(&outcome) && outcome.err.contains("which is -m"), "{name}: {outcome:?}");
    }
    assert!(refused(&python(&["-I", &format!("{library}/./asyncio")])));
    assert_eq!(python(&[&format!("{library}/json/tool.py"), "x.json"]).out, "{}\n");
}

/// Options that name code, where what they name is a pipe.
#[test]
fn what_is_code_beside_a_pipe_alone_is_refused_there() {
    let place = new_place();
    place.write("x.py/y", "");
    let up = format!("x.py/{}dev/stdin", "../".repeat(20));
    let python = "/usr/bin/python3";
    for command in [
        &["/usr/bin/pygmentize", "-x", "-l", &up, "f"][..],
        &[python, "-m", "pygments", "-gxl", "../../../../../../../../../dev/stdin", "f"],
        &["/usr/bin/npm", "init", "--init-module=/dev/stdin"],
        &["/usr/bin/npm", "--init-mod", "/dev/fd/0", "init"],
    ] {
        if is_there(command[0]) {
            let outcome = start(&place, NO_SHELL, command);
            assert!(refused(&outcome), "{command:?}: {outcome:?}");
        }
    }
    for command in [&["/usr/bin/pygmentize", "-l", "py", "/dev/null"][..], &["/usr/bin/npm", "prefix"]] {
        if is_there(command[0]) {
            assert_eq!(start(&place, NO_SHELL, command).status, 0, "{command:?}");
        }
    }
}

/// `-L` takes nothing, so that what stands behind it in its word is an option.
#[test]
fn each_letter_that_vim_takes_is_known() {
    let place = new_place();
    for vim in ["vim", "rvim", "view"] {
        if is_there(&format!("/usr/bin/{vim}")) {
            for word in ["-Lu", "-nLu", "-LNu"] {
                assert!(
                    refused(&start(&place, NO_SHELL, &[vim, word, "/dev/stdin", "--version"])),
                    "{vim} {word}"
                );
            }
            assert_eq!(start(&place, NO_SHELL, &[vim, "-LNu", "NONE", "--version"]).status, 0, "{vim}");
        }
    }
}
