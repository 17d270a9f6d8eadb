//! `commands.allow`: the named programs start, nothing else does.

use crate::races;
use ringfence_promises::Place;

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

pub(crate) fn allow(list: &str) -> String {
    format!("[commands]\nallow = [{list}]\nfrom_workspace = false")
}

pub(crate) fn start(place: &Place, policy: &str, command: &[&str]) -> ringfence_promises::Outcome {
    let path = place.policy(policy);
    let mut arguments = vec!["run", "--quiet", "--policy", &path, "--workspace", ".", "--"];
    arguments.extend(command);
    place.ringfence(&arguments)
}

#[test]
fn only_named_programs_start() {
    let place = new_place();
    let policy = allow("\"cat\", \"sh\"");
    place.write("x", "content");
    assert_eq!(start(&place, &policy, &["cat", "x"]).out, "content");
    let refused = start(&place, &policy, &["ls"]);
    assert!(refused.status == 126 && refused.err.contains("commands.allow"), "{refused:?}");
    let outcome = start(&place, &policy, &["sh", "-c", "ls; cp /bin/ls ./l; ./l; cat x"]);
    assert!(outcome.out.ends_with("content") && outcome.err.contains("denied"), "{outcome:?}");
}

#[test]
fn the_loader_starts_no_other_program_of_path() {
    let place = new_place();
    let loader = std::fs::read_dir("/lib64")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("ld-linux"));
    let script = format!("{} /usr/bin/id && echo got through", loader.unwrap().display());
    let outcome = start(&place, &allow("\"sh\""), &["sh", "-c", &script]);
    assert!(!outcome.out.contains("got through"), "{outcome:?}");
}

#[test]
fn arguments_decide() {
    let place = new_place();
    place.write("x", "content");
    place.write("d/y", "deep");
    let policy = allow("\"cat ./*\", \"echo (-n|-e) *\", \"sh -c *\", \"true\"");
    assert_eq!(start(&place, &policy, &["cat", "x"]).out, "content");
    assert_eq!(start(&place, &policy, &["/usr/bin/echo", "-n", "-n", "a"]).out, "a");
    for command in
        [&["cat", "d/y"][..], &["cat"], &["cat", "x", "x"], &["cat", "/etc/hosts"], &["echo", "--", "a"]]
    {
        let outcome = start(&place, &policy, command);
        let why = outcome.err.contains("not with these arguments") && outcome.err.contains("commands.allow");
        assert!(outcome.status == 126 && why && outcome.out.is_empty(), "{command:?}: {outcome:?}");
    }
    let outcome =
        start(&place, &policy, &["sh", "-c", "cat d/y; cat x; /bin/sh x; true a b && command -p cat x"]);
    assert!(outcome.out == "contentcontent" && outcome.err.contains("denied"), "{outcome:?}");
}

#[test]
fn denials_stand_above_and_are_explained_and_written_down() {
    let place = new_place();
    let policy = "[commands]\ndeny = [\"ls /\", \"id\"]";
    let outcome = start(
        &place,
        policy,
        &["sh", "-c", "ls --color=never / && echo got; (exec -a x id) ; env id --password=hunter2; ls"],
    );
    assert!(
        outcome.status == 0 && !outcome.out.contains("got") && !outcome.out.contains("uid="),
        "{outcome:?}"
    );
    let explained = place.ringfence(&["explain"]);
    for part in [
        "tried to start ls --color=never /",
        "`ls /` in `commands.deny`",
        "tried to start id",
        "password=***",
    ] {
        assert!(explained.out.contains(part), "{part}: {explained:?}");
    }
    assert!(!explained.out.contains("hunter2"));
    let path = place.policy(policy);
    let asked = |command: &str| place.ringfence(&["explain", "--policy", &path, "--command", command]).out;
    assert!(asked("ls -l /").contains("refused: `ls /` in `commands.deny`"), "{}", asked("ls -l /"));
    assert!(asked("ls x").contains("allowed"), "{}", asked("ls x"));
}

#[test]
fn children_have_the_rules_that_are_written_for_them() {
    let place = new_place();
    let with =
        |children: &str| format!("[commands]\nallow = [\"sh\"]\nchildren = {children}\ndeny = [\"ls /\"]\n");
    let run =
        |children: &str| start(&place, &with(children), &["sh", "-c", "expr 1 + 1; basename /a; ls /"]).out;
    assert_eq!(run("\"same\""), "");
    assert_eq!(run("[\"basename\"]"), "a\n");
    assert_eq!(run("\"free\""), "2\na\n");
    for children in ["[\"basename\"]", "\"free\""] {
        assert_eq!(start(&place, &with(children), &["basename", "/a"]).status, 126, "{children}");
    }
}

/// What reads code whatever it is given, by a program of that name.
#[test]
fn what_goes_on_reading_code_is_a_shell() {
    let place = new_place();
    let far = place.base.path().join("far");
    let far = far.display();
    place.host(&format!("mkdir {far} && cp /bin/echo {far}/phpdbg8.2 && cp /bin/echo {far}/newlisp"));
    let policy = format!("[files]\nexec = [\"{far}\", \"/usr\"]\n[commands]\nshell = false");
    for line in ["phpdbg8.2 -s", "phpdbg8.2 -qrr x.php", "newlisp -s 4000 -e 1", "newlisp x.lsp -e 1"] {
        let path = format!("{far}/{line}");
        let outcome = start(&place, &policy, &path.split(' ').collect::<Vec<_>>());
        assert!(outcome.status == 126 && outcome.out.is_empty(), "{line}: {outcome:?}");
    }
}

#[test]
fn no_shell_and_no_code_on_a_command_line() {
    let place = new_place();
    place.write("x.py", "print('file')");
    place.write("m.mk", "a:\n\techo out; true\n");
    let run = |command: &[&str]| start(&place, "[commands]\nshell = false", command);
    assert_eq!(run(&["python3", "x.py"]).out, "file\n");
    assert_eq!(run(&["env", "expr", "1", "+", "1"]).out, "2\n");
    for command in [
        &["sh", "-c", "echo no"][..],
        &["bash", "x.sh"],
        &["python3", "-c", "print('no')"],
        &["python3"],
        &["perl", "-e", "print 'no'"],
        &["env", "-S", "echo no"],
        &["env", "sh", "-c", "echo no"],
        &["find", ".", "-exec", "echo", "no", ";"],
        &["awk", "BEGIN{system(\"echo no\")}"],
        &["xargs", "echo", "no"],
        &["nice", "sh", "-c", "echo no"],
        &["make", "-sf", "m.mk"],
        &["/usr/bin/ldd", "/bin/true"],
    ] {
        let outcome = run(command);
        assert!(
            outcome.status != 0 && !outcome.out.contains("no") && outcome.out.is_empty(),
            "{command:?}: {outcome:?}"
        );
    }
}

#[test]
fn variables_make_no_other_program_of_it() {
    let place = new_place();
    place.write("start.py", "print('got in')");
    let script = "export PYTHONSTARTUP=start.py LD_PRELOAD=./x.so BASH_ENV=./e GIT_EXTERNAL_DIFF=./d KEPT=1 LUA_INIT=2; env";
    let with = |more: &str| format!("[commands]\nallow = [\"sh -c *\", \"env\"]\n{more}");
    let outcome = start(&place, &with(""), &["sh", "-c", script]);
    let lines: Vec<&str> = outcome.out.lines().collect();
    for gone in ["PYTHONSTARTUP=", "LD_PRELOAD=", "BASH_ENV=", "GIT_EXTERNAL_DIFF=", "LUA_INIT="] {
        assert!(!lines.iter().any(|line| line.starts_with(gone)), "{outcome:?}");
    }
    assert!(lines.contains(&"KEPT=1") && (place.hosted || outcome.err.is_empty()), "{outcome:?}");
    let explained = place.ringfence(&["explain"]).out;
    assert!(
        explained.contains("started programs without") && explained.contains("PYTHONSTARTUP"),
        "{explained}"
    );
    // What the policy names itself stays, and where no program is limited, all do.
    let outcome = start(&place, &with("[environment]\nset = { LUA_INIT = \"1\" }"), &["sh", "-c", script]);
    assert!(!outcome.out.contains("LUA_INIT=2") && !outcome.out.contains("\nPYTHONSTARTUP"), "{outcome:?}");
    let outcome = start(&place, &with("[environment]\nset = { LUA_INIT = \"2\" }"), &["sh", "-c", script]);
    assert!(outcome.out.contains("LUA_INIT=2"), "{outcome:?}");
    let outcome = start(&place, "[commands]\ndeny = [\"ls\"]", &["sh", "-c", script]);
    assert!(outcome.out.contains("PYTHONSTARTUP=start.py"), "{outcome:?}");
    // A program of the workspace is the task's own, whatever it loads; what it starts is not.
    std::fs::copy("/usr/bin/env", place.workspace.join("own")).unwrap();
    let script = "export LD_LIBRARY_PATH=./lib; ./own; echo then; ./own env";
    let outcome = start(&place, &with("from_workspace = true"), &["sh", "-c", script]);
    let (own, started) = outcome.out.split_once("then\n").unwrap_or_default();
    assert!(own.contains("LD_LIBRARY_PATH=./lib"), "{outcome:?}");
    assert!(started.contains("PATH=") && !started.contains("LD_LIBRARY_PATH=./lib"), "{outcome:?}");
}

/// A program has other names by hard links: Perl, bzip2, unzip.
#[test]
fn a_denied_program_is_denied_by_its_other_names() {
    let place = new_place();
    let far = place.base.path().join("far");
    let far = far.display();
    place.host(&format!(
        "mkdir {far} && cd {far} && cp /usr/bin/id one && ln one two && ln one four && cp one three"
    ));
    let policy =
        format!("[files]\nexec = [\"{far}\"]\n[commands]\ndeny = [\"{far}/one\"]\nfrom_workspace = false");
    let outcome = start(&place, &policy, &["sh", "-c", &format!("{far}/one; {far}/two; {far}/three -u")]);
    assert_eq!(outcome.out.lines().count(), 1, "{outcome:?}");
    // Each of its names that is denied counts.
    let several = policy.replace("far/one\"", &format!("far/one -g\", \"{far}/two -u\""));
    let script = format!("{far}/four -u; {far}/four -g; {far}/one -u; {far}/two -g; {far}/three -u");
    let outcome = start(&place, &several, &["sh", "-c", &script]);
    assert_eq!(outcome.out.lines().count(), 1, "{outcome:?}");
    // What git is told by its name is another matter.
    place.host(&format!("cd {far} && cp /usr/bin/git git && ln git git-upload-pack"));
    let policy = policy.replace("far/one", "far/git-upload-pack *");
    let outcome =
        start(&place, &policy, &["sh", "-c", &format!("{far}/git --version; {far}/git-upload-pack .")]);
    assert!(outcome.out.starts_with("git version") && outcome.out.lines().count() == 1, "{outcome:?}");
    // By a name that git has not, it is git.
    place.host(&format!("cd {far} && ln git g"));
    let policy = policy.replace("git-upload-pack *", "git version");
    let script = format!("{far}/g version; {far}/g -C . version; {far}/g --exec-path");
    let outcome = start(&place, &policy, &["sh", "-c", &script]);
    assert!(outcome.out.lines().count() == 1 && outcome.out.starts_with('/'), "{outcome:?}");
}

/// One file that is many programs by hard links: a denial of one is none of the others.
#[test]
fn a_denied_part_of_many_programs_is_that_alone() {
    let place = new_place();
    let far = place.base.path().join("far");
    let far = far.display();
    place.host(&format!("mkdir {far} && cd {far} && cp /bin/echo busybox && ln busybox ls && ln busybox nc"));
    let policy =
        format!("[files]\nexec = [\"{far}\"]\n[commands]\ndeny = [\"{far}/nc\"]\nfrom_workspace = false");
    let script = format!(
        "{far}/ls 1; {far}/nc 2; bash -c 'exec -a nc {far}/ls 3'; {far}/busybox nc 4; {far}/busybox ls 5; exec -a ls {far}/nc 6"
    );
    let outcome = start(&place, &policy, &["bash", "-c", &script]);
    assert_eq!(outcome.out, "1\nls 5\n6\n", "{outcome:?}");
}

/// What a file of many programs is called says which of them it is, as that file reads it, and a list of one is no list of another.
#[test]
fn one_of_many_programs_is_no_other_one() {
    let place = new_place();
    place.write("file", "text\n");
    let far = place.base.path().join("far");
    let far = far.display();
    place.host(&format!(
        "mkdir {far} && cd {far} && cp /bin/busybox . && ln busybox cat && ln busybox other && ln -s busybox head"
    ));
    // All of a list in one run; of each what it printed.
    let asked = |policy: &str, lines: &[(&str, String)]| -> Vec<String> {
        let policy = format!("[files]\nexec = [\"{far}\"]\n[commands]\nfrom_workspace = false\n{policy}");
        let each = |(file, line): &(&str, String)| format!("['{far}/{file}', qw({line})], ");
        let each: String = lines.iter().map(each).collect();
        let code = format!(
            "$| = 1; for ({each}) {{ print '=='; my ($f, @w) = @$_; unless (fork) {{ exec {{ $f }} @w; print \"$!\\n\"; exit }} wait }}"
        );
        place.write("try.pl", &code);
        let outcome = start(&place, &policy, &["perl", "try.pl"]);
        let said: Vec<_> = outcome.out.split("==").skip(1).map(str::to_owned).collect();
        assert_eq!(said.len(), lines.len(), "{policy}: {outcome:?}");
        said
    };
    let refused = "Permission denied\n";
    let words = ["", "busybox ", "-busybox ", "busyboxes any/busybox "];
    for (file, own, other) in [("cat", "cat", "head"), ("head", "head", "cat"), ("busybox", "cat", "head")] {
        let entry = if file == "busybox" { "busybox cat" } else { own };
        let right: Vec<_> = words.iter().map(|words| (file, format!("{words}{own} file"))).collect();
        let wrong = [format!("{other} file"), "sh -c /bin/id".to_owned(), format!("-{other} file")];
        let wrong = wrong.iter().flat_map(|line| words.iter().map(move |words| format!("{words}{line}")));
        let wrong: Vec<_> = wrong
            .flat_map(|line| ["busybox", "cat", "other", "head"].map(|file| (file, line.clone())))
            .collect();
        for list in [
            format!("allow = [\"perl\", \"{far}/{entry} **\"]"),
            format!("allow = [\"perl **\", \"{far}/{entry} f*\"]"),
        ] {
            assert!(asked(&list, &right).iter().all(|said| said == "text\n"), "{list}");
            let said = asked(&list, &wrong);
            assert!(said.iter().all(|said| said == refused), "{list}: {said:?} {wrong:?}");
        }
    }
    for (list, held) in [
        ("deny = [\"cat\"]".to_owned(), [true, false, false]),
        ("deny = [\"busybox cat\"]".to_owned(), [true, false, false]),
        (format!("deny = [\"{far}/busybox\"]"), [true, true, true]),
        ("deny = [\"busybox\"]".to_owned(), [true, true, true]),
        ("shell = false".to_owned(), [false, false, true]),
    ] {
        for (line, held) in ["cat file", "head file", "sh -c /bin/true"].into_iter().zip(held) {
            let lines = words.iter().map(|words| format!("{words}{line}"));
            let lines: Vec<_> = lines
                .flat_map(|line| ["busybox", "cat", "other", "head"].map(|file| (file, line.clone())))
                .collect();
            let said = asked(&list, &lines);
            assert!(said.iter().all(|said| (said == refused) == held), "{list}: {lines:?} {said:?}");
        }
    }
}

/// git is what it is called, whatever its file is called.
#[test]
fn a_denied_command_of_git_is_that_by_every_file_of_its() {
    let place = new_place();
    let far = place.base.path().join("far");
    let far = far.display();
    place.host(&format!(
        "mkdir {far} && cd {far} && cp /usr/bin/git . && ln git git-version && ln git git-status"
    ));
    let policy =
        format!("[files]\nexec = [\"{far}\"]\n[commands]\ndeny = [\"git version\"]\nfrom_workspace = false");
    for file in ["git", "git-version", "git-status"] {
        for (words, held) in
            [("'git', 'version'", true), ("'git-version'", true), ("'git', '--exec-path'", false)]
        {
            let code = format!("exec {{ '{far}/{file}' }} {words}; print \"$!\\n\"");
            let said = start(&place, &policy, &["perl", "-e", &code]).out;
            let held = held || file == "git-version";
            assert_eq!(said == "Permission denied\n", held, "{file} {words}: {said}");
        }
    }
}

/// A descriptor has its number for who asks alone.
#[test]
fn what_a_descriptor_names_starts() {
    let place = new_place();
    let policy = allow("\"bash -c *\", \"id -u\"");
    for name in ["/dev/fd/77", "/proc/self/fd/77"] {
        let script = format!("exec 77</usr/bin/id; {name} -u; {name} -g; {name}7 -u");
        let outcome = start(&place, &policy, &["bash", "-c", &script]);
        assert_eq!(outcome.out.lines().count(), 1, "{outcome:?}");
    }
}

#[test]
fn races_let_nothing_through() {
    let (place, rounds) = (new_place(), races::rounds());
    races::build(&place);
    // Landlock lets all of them run: what holds is the guard alone.
    let policy = "[commands]\ndeny = [\"id\", \"echo through\"]\nfrom_workspace = true";
    for kind in ["argument", "path", "link", "file"] {
        races::held(kind, &start(&place, policy, &["./race", kind, &rounds.to_string()]), rounds);
    }
}

#[test]
fn what_fails_to_start_holds_nobody_up() {
    let place = new_place();
    place.write("text", "no program");
    let script = "import os, subprocess, time\n\
        began = time.monotonic()\n\
        for command in ['/usr/bin/nowhere', './text', '/usr', '/etc/hosts']:\n\
        \x20   try: os.execv(command, ['x'])\n\
        \x20   except OSError as error: print(error.errno, end=' ')\n\
        try: os.execv('/usr/bin/true', ['x' * 200000] * 3)\n\
        except OSError as error: print(error.errno, end=' ')\n\
        subprocess.run(['true'], check=True)\n\
        time.sleep(0.3)\n\
        print(open('/proc/self/status').read().split('TracerPid:')[1].split()[0])\n";
    // Where /proc shows nothing of processes, that nobody waits has to do.
    let script = if place.hosted {
        script.replace("open('/proc/self/status').read()", "'TracerPid: 0'")
    } else {
        script.into()
    };
    place.write("t.py", &script);
    let outcome = start(&place, "[commands]\ndeny = [\"ls\"]", &["python3", "t.py"]);
    assert_eq!((outcome.out.as_str(), outcome.status), ("2 13 13 13 7 0\n", 0), "{outcome:?}");
}

#[test]
fn each_program_is_told_of_from_its_start_to_its_end() {
    let place = new_place();
    place.write(
        "t.py",
        "import os, signal, subprocess, threading\n\
        subprocess.run(['sh', '-c', 'exec true --password=hunter2'])\n\
        subprocess.run(['sh', '-c', 'exit 3'])\n\
        child = subprocess.Popen(['sleep', '60']); threading.Event().wait(0.3); child.send_signal(signal.SIGKILL); child.wait()\n\
        try: subprocess.run(['id'])\n\
        except PermissionError: pass\n\
        os.chdir('/usr')\n\
        threading.Thread(target=lambda: os._exit(7)).start()\n\
        threading.Event().wait()\n",
    );
    let policy = "[commands]\nallow = [\"/usr/bin/python3\", \"sh\", \"true\", \"sleep\"]\npin = true\n";
    assert_eq!(start(&place, policy, &["/usr/bin/python3", "t.py"]).status, 7);
    let run = place.ringfence(&["ps", "--tree", "last", "--json"]);
    let lived: Vec<serde_json::Value> = serde_json::from_str(&run.out).unwrap();
    let find = |command: &str| {
        let found = lived.iter().find(|one| one["command"].as_str().unwrap().starts_with(command));
        found.unwrap_or_else(|| panic!("{command}: {lived:#?}"))
    };
    let python = find("/usr/bin/python3 t.py");
    assert!(
        python["exit"] == 7 && python["depth"] == 0 && python["memory_kib"].as_u64() > Some(1000),
        "{python}"
    );
    assert_eq!(python["refused"], serde_json::json!(["id"]));
    let file = std::fs::read(python["file"].as_str().unwrap()).unwrap();
    let digest: String =
        <sha2::Sha256 as sha2::Digest>::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(python["sha256"], digest.as_str());
    assert!(find("true '--password=***")["exit"] == 0 && !run.out.contains("hunter2"), "{}", run.out);
    let three = find("sh -c");
    assert_eq!((&three["exit"], &three["parent"]), (&3.into(), &python["process"]), "{three}");
    let killed = find("sleep 60");
    assert!(killed["exit"].is_null() && killed["file"].as_str().unwrap().ends_with("sleep"), "{killed}");
    let shown = place.ringfence(&["ps", "--tree", "last"]).out;
    assert!(shown.contains("(exit 3, ") && shown.contains("    refused: id"), "{shown}");
}

#[test]
fn explain_tells_the_rest_of_the_chain() {
    let place = Place::in_home().in_tier(module_path!());
    let tool = place.write(place.base.path().join("bin/tool"), "#!/bin/sh\necho first\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (tool, exec) = (tool.display().to_string(), tool.parent().unwrap().display().to_string());
    let policy = place.policy(&format!(
        "[files]\nexec = [\"{exec}\"]\n[commands]\nallow = [\"git status **\", \"{tool}\", \"make\"]\nchildren = [\"cc\"]\ndeny = [\"git push --force\"]\n\
         [approvals]\ngrantable = {{ commands = [\"git push **\"] }}"
    ));
    let asked = |command: &str| place.ringfence(&["explain", "--policy", &policy, "--command", command]).out;
    let push = asked("git push origin main");
    for part in [
        "start git push origin main: refused: `commands.allow`",
        "be granted while it runs git push origin main: allowed: `git push **` in `approvals.grantable.commands`",
        "what it needs further:",
        "  execute /",
        "  start further ssh: refused",
        "  connect to the remote's host: refused",
        "/.ssh: refused: `~/.ssh` is a known secret",
    ] {
        assert!(push.contains(part), "{part}: {push}");
    }
    assert!(!asked("git push --force origin").contains("be granted"), "{}", asked("git push --force origin"));
    // No shell reads it.
    for words in ["git commit -m \"a b\"", "git status | cat", "git status; id", "git log 'x"] {
        let refused = place.ringfence(&["explain", "--policy", &policy, "--command", words]);
        assert!(refused.status == 125 && refused.err.contains("single quote"), "{words}: {refused:?}");
    }
    assert!(asked("git status 'a | b'").contains(": allowed"), "{}", asked("git status 'a | b'"));
    let make = asked("make all");
    assert!(
        make.contains("start further sh: refused") && make.contains("start further cc: allowed"),
        "{make}"
    );
    let own = asked(&tool);
    assert!(own.contains(&format!("start {tool}: allowed")) && own.contains("  be run by /"), "{own}");
    // A link to what is listed is that.
    let dash = place.policy("[commands]\nallow = [\"make\", \"dash\"]");
    let make = place.ringfence(&["explain", "--policy", &dash, "--command", "make all"]).out;
    assert!(
        make.contains("start further sh: allowed") && make.contains("start further cc: refused"),
        "{make}"
    );
}

/// What debuggers print of programs that the guard let start, and of one that it did not.
#[test]
fn debuggers_work_beside_the_guard() {
    let place = new_place();
    place.write("p.c", "#include <unistd.h>\nint depth(int x) { return x + 1; }\nint main(void) { return depth(41) - 42; }\n");
    let mut cc = std::process::Command::new("cc");
    let built = cc.args(["-g", "-O0", "-o", "p", "p.c"]).current_dir(&place.workspace).status();
    assert!(built.unwrap().success());
    let policy = "[commands]\ndeny = [\"id\"]\n[runtime]\ndebug = [\"ptrace\"]";
    let run = |script: &str| start(&place, policy, &["sh", "-c", script]);
    let traced = run("strace -f -o t sh -c '/usr/bin/true; id; ./p'; grep execve t");
    for part in ["execve(\"/usr/bin/true\", [\"/usr/bin/true\"]", "execve(\"./p\"", "EACCES"] {
        assert!(traced.out.contains(part), "{part}: {traced:?}");
    }
    assert!(!traced.out.lines().any(|line| line.contains("/id\"") && line.ends_with("= 0")), "{traced:?}");
    let gdb = run("gdb -q -nx -batch -ex 'break depth' -ex run -ex bt -ex 'print x' -ex continue ./p 2>&1");
    for part in ["#0  depth (x=41)", "#1  0x", "$1 = 41", "exited normally"] {
        assert!(gdb.out.contains(part), "{part}: {gdb:?}");
    }
    // Who was confirmed is free again, for a debugger that comes later.
    let attached = run("sleep 30 & sleep 0.3; timeout 2 strace -p $! -o t & sleep 0.7; \
         gdb -q -nx -batch -p $! 2>&1 | tail -1; wait $!; cat t; kill %1; \
         sleep 30 & sleep 0.3; gdb -q -nx -batch -ex 'info proc' -p $! 2>&1; kill $!");
    assert!(
        attached.out.contains("nanosleep") && attached.out.contains("exe = '/usr/bin/sleep'"),
        "{attached:?}"
    );
    let explained = place.ringfence(&["explain", "--json"]).out;
    assert!(!explained.contains("\"tamper\""), "{explained}");
}

#[test]
fn an_empty_list_starts_nothing() {
    let place = new_place();
    assert_eq!(start(&place, &allow(""), &["true"]).status, 126);
}

/// What `explain` offers can be put into the policy as it is, whatever the words were.
#[test]
fn an_entry_that_is_offered_allows_what_was_refused() {
    let place = new_place();
    let list =
        |more: &str| format!("[commands]\nallow = [\"perl\", \"sort ()\"{more}]\nfrom_workspace = false");
    for word in
        ["it's (a|b) *", "a\nb", "", "'", "\\back \"slash\"", "~/x?", "\u{202e}x", "\u{85}x", "./a//b"]
    {
        place.write("word", word);
        let script = "local $/; open F, 'word'; my $w = <F> // ''; exec 'printf', '[%s]', $w";
        let asked = |policy: &str| start(&place, policy, &["perl", "-e", script]).out;
        assert_eq!(asked(&list("")), "", "{word}");
        let told = place.ringfence(&["explain", "--json"]).out;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let remedy = &told["refusals"][0]["remedy"][1];
        let entry = remedy.as_str().unwrap_or_else(|| panic!("{told}"));
        let entry = entry.strip_prefix("allow = [").and_then(|rest| rest.strip_suffix(']')).unwrap();
        assert_eq!(asked(&list(&format!(", {entry}"))), format!("[{word}]"), "{entry}");
    }
    place.write("word", "/tmp/../x");
    let script = "local $/; open F, 'word'; exec 'printf', <F>";
    assert_eq!(start(&place, &list(""), &["perl", "-e", script]).out, "");
    let told = place.ringfence(&["explain"]).out;
    assert!(told.contains("no entry can hold these words") && !told.contains("to allow it"), "{told}");
}

/// A message has an end, and names that a task chooses have none.
#[test]
fn whatever_is_named_starts_are_told_of() {
    let place = new_place();
    let script = r#"
import os, subprocess
subprocess.run(["true"], env={"BASH_FUNC_" + "x" * 15000: "1", "PATH": os.environ["PATH"]})
for part in range(3): subprocess.run(["python3", "-c", "print(1)"])
deep = os.getcwd()
while len(deep) < 3900: deep += "/" + "d" * 200; os.mkdir(deep)
os.chdir(deep)
with open("/usr/bin/id", "rb") as f, open("id", "wb") as g: g.write(f.read())
os.chmod("id", 0o755)
try: subprocess.run(["./id"] + ["y" * 100] * 15)
except OSError as error: print(error.errno)
for part in range(3): os.mkdir("e" * 200); os.chdir("e" * 200)
try: subprocess.run(["/usr/bin/true"])
except OSError as error: print(error.errno)
"#;
    place.write("names.py", script);
    let policy = "[commands]\nallow = [\"python3 **\", \"true ()\", \"sh ./x\"]\nfrom_workspace = false\n[limits]\ntime = \"60s\"";
    let outcome = start(&place, policy, &["python3", "names.py"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "1\n1\n1\n13\n13\n"), "{}", outcome.err);
    assert!(place.told("process.start").len() >= 5 && place.told("process.end").len() >= 5);
    assert_eq!(place.told("exec.clean").len(), 1);
    let denied = place.told("exec.deny");
    for words in ["/id", "longer than any that can be judged"] {
        assert!(denied.iter().any(|event| event.to_string().contains(words)), "{words}: {denied:?}");
    }
}

/// More than init holds at one time: none fails.
#[test]
fn starts_that_come_at_once_wait_for_each_other() {
    let script = "for n in $(seq 300); do /bin/true || echo failed & done; wait; echo all";
    let outcome = start(&new_place(), "[commands]\ndeny = [\"curl\"]", &["bash", "-c", script]);
    assert!(outcome.status == 0 && outcome.out == "all\n", "{outcome:?}");
}
