//! Scripts in `commands.allow`: they run as themselves, and their interpreters for them alone.

use ringfence_promises::Place;

use crate::commands::{allow, start};

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

/// A script in an executable tree, and the line that makes it one.
fn script(place: &Place, text: &str) -> (std::path::PathBuf, String) {
    let tool = place.write(place.base.path().join("bin/tool"), text);
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let exec = format!("[files]\nexec = [\"{}\"]\n", tool.parent().unwrap().display());
    (tool, exec)
}

#[test]
fn a_script_opens_its_interpreter_for_itself_alone() {
    let place = Place::in_home().in_tier(module_path!());
    let (tool, exec) =
        script(&place, "#!/bin/sh -u\nprintf 'script %s;' \"$@\"\nsh -c 'echo other'\n$CHILD\n");
    let path = tool.to_str().unwrap();
    let policy = format!("{exec}{}", allow(&format!("\"{path} *\", \"env\"")));
    let outcome = start(&place, &policy, &[path, "a b"]);
    assert!(outcome.out == "script a b;" && outcome.err.contains("denied"), "{outcome:?}");
    assert_eq!(start(&place, &policy, &["env", path, "x"]).out, "script x;");
    for command in
        [&[path][..], &["sh", "-c", "echo no"], &["env", "sh", path, "x"], &["env", "sh", "-u", "x"]]
    {
        let outcome = start(&place, &policy, command);
        assert!(outcome.status == 126 && outcome.out.is_empty(), "{command:?}: {outcome:?}");
    }
    // env(1) finds the interpreter; that runs the script, and no other.
    let (tool, exec) = script(&place, "#!/usr/bin/env -S perl -w\nprint \"perl @ARGV\"\n");
    let path = tool.to_str().unwrap();
    let policy = format!("{exec}{}", allow(&format!("\"{path}\"")));
    assert_eq!(start(&place, &policy, &[path, "x"]).out, "perl x");
    for command in [&["perl", "-e", "print 1"][..], &["/usr/bin/env", "perl", "-w", path]] {
        assert_eq!(start(&place, &policy, command).out, "", "{command:?}");
    }
}

#[test]
fn a_script_that_the_task_can_write_is_its_interpreter() {
    let place = new_place();
    let own = place.write("own.sh", "#!/bin/sh\necho own\n");
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let with = |list: &str| format!("[commands]\nallow = [{list}]\nfrom_workspace = true");
    assert_eq!(start(&place, &with("\"sh ./*.sh\""), &["./own.sh"]).out, "own\n");
    for list in ["\"true x\"", "\"sh ./other.sh\"", &format!("\"{}\", \"true x\"", own.display())] {
        let outcome = start(&place, &with(list), &["./own.sh"]);
        assert!(outcome.status != 0 && outcome.out.is_empty(), "{list}: {outcome:?}");
    }
}

/// The names of shells are names of programs: a script of such a name is what runs it.
#[test]
fn a_script_is_no_shell_by_its_name() {
    for (name, runs) in [("pipx", true), ("js-yaml", true), ("python3-config", true), ("pdb.py", false)] {
        let place = Place::in_home().in_tier(module_path!());
        let tool =
            place.write(place.base.path().join("bin").join(name), "#!/usr/bin/python3\nprint('ran')\n");
        std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = tool.display();
        let exec = format!("[files]\nexec = [\"{}\"]\n", tool.parent().unwrap().display());
        let policy = format!("{exec}[commands]\nshell = false\nallow = [\"{path}\", \"true\"]");
        for arguments in [&["exec", "x"][..], &["-c", "f"], &[]] {
            let command = [&[tool.to_str().unwrap()], arguments].concat();
            let outcome = start(&place, &policy, &command);
            assert_eq!(outcome.out == "ran\n", runs, "{command:?}: {outcome:?}");
        }
    }
}

/// The interpreter opens the script again, by its path.
#[test]
fn nothing_is_put_in_the_place_of_a_listed_script() {
    let place = new_place();
    // In the private home, where the task may rename what it likes.
    let tool =
        place.write(place.base.path().join("home/.local/bin/tool"), "#!/usr/bin/python3\nprint('tool')\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let exec = format!("[files]\nexec = [\"{}\"]\n", tool.parent().unwrap().display());
    let (path, base) = (tool.to_str().unwrap(), tool.ancestors().nth(2).unwrap().to_str().unwrap());
    let programs = "\"sh -c *\", \"mv\", \"cp\", \"mkdir\", \"chmod\"";
    let policy = format!("{exec}{}", allow(&format!("\"{path}\", {programs}")));
    let mine = place.write("mine", "#!/usr/bin/python3\nprint('mine')\n");
    std::fs::set_permissions(&mine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let exchange = format!(
        "{path}; cp mine /tmp/mine; mv {base} /tmp/away; mv {base}/bin /tmp/away; mkdir -p {base}/bin; cp /tmp/mine {path}; {path}; python3 {path}; true"
    );
    let outcome = start(&place, &policy, &["sh", "-c", &exchange]);
    assert!(outcome.out.starts_with("tool\n") && !outcome.out.contains("mine"), "{outcome:?}");
    // One that the task can write is none.
    let mine = mine.to_str().unwrap();
    let policy = format!("[commands]\nallow = [\"{mine}\", {programs}]\nfrom_workspace = true");
    let outcome = start(&place, &policy, &["sh", "-c", &format!("{mine}; python3 {mine}; ./mine; true")]);
    assert!(!outcome.out.contains("mine"), "{outcome:?}");
    let explained = place.ringfence(&["explain"]);
    // In tier `landlock` the workspace is a copy, in another place.
    assert!(place.hosted || explained.out.contains("list this beside it"), "{explained:?}");
    let policy = policy.replace(mine, "python3 ./mine");
    assert_eq!(start(&place, &policy, &["sh", "-c", "./mine; python3 ./mine"]).out, "mine\nmine\n");
}

/// The interpreter of a listed script is not another program by its name, nor one that the task laid out.
#[test]
fn a_script_opens_its_interpreter_by_its_own_name_alone() {
    let place = Place::in_home().in_tier(module_path!());
    let (tool, exec) = script(&place, "#!/bin/bash\nprintf 'tool\\n'\n");
    let other = place.write(tool.with_file_name("other"), "#!/usr/bin/env python3\nprint('other')\n");
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (path, other) = (tool.to_str().unwrap(), other.to_str().unwrap());
    let list = format!("\"{path}\", \"{other}\", \"perl\", \"env\"");
    let policy = format!("{exec}{}", allow(&list));
    let lay = "use File::Temp; my $d = File::Temp::tempdir(); symlink '/usr/bin/python3', \"$d/python3\"; \
               open F, '>', \"$ENV{HOME}/.bash_profile\"; print F qq(printf 'evil\\n'\\n); close F;";
    let start =
        |code: &str| start(&place, &policy, &["perl", "-e", &format!("{lay} {code}; print \"$!\\n\"")]);
    for (code, expected) in [
        (format!("exec {{ '/bin/bash' }} 'bash', '{path}'"), "Permission denied\n"),
        (format!("exec {{ '/bin/bash' }} '/bin/bash', '{path}'"), "tool\n"),
        (format!("exec '{path}'"), "tool\n"),
        (format!("exec '{other}'"), "other\n"),
        (format!("exec {{ '/bin/bash' }} '-bash', '{path}'"), "Permission denied\n"),
        (format!("exec {{ '/usr/bin/python3' }} \"$d/python3\", '{other}'"), "Permission denied\n"),
        (format!("exec {{ \"$d/python3\" }} 'python3', '{other}'"), "Permission denied\n"),
    ] {
        let outcome = start(&code);
        assert_eq!(outcome.out, expected, "{code}: {outcome:?}");
    }
}

/// `env` hands on the name that a script was called by, which may be a link.
#[test]
fn scripts_of_env_start_by_every_name_that_stays() {
    let place = new_place();
    let made = |name: &str, text: &str| {
        let file = place.write(place.base.path().join("far/lib").join(name), text);
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        file
    };
    let tool = made("tool.py", "#!/usr/bin/env python3\nimport sys; print('tool', *sys.argv[1:])\n");
    let other = made("other", "#!/usr/bin/env -S -u X A=1 python3 -I\nprint('other')\n");
    made("shell", "#!/bin/bash -f\necho shell \"$@\"\n");
    let awk = made("columns", "#!/usr/bin/awk -f\nBEGIN { print \"awk\", ARGV[ARGC - 1]; exit }\n");
    let far = place.base.path().join("far");
    place.host(&format!("cd {} && mkdir bin && ln -s ../lib/tool.py bin/tool", far.display()));
    let (far, bin) = (far.display(), far.join("bin"));
    let list = format!(
        "\"{far}/bin/tool **\", \"{}\", \"{}\", \"sh -c *\", \"mkdir\", \"ln\"",
        other.display(),
        awk.display()
    );
    let policy = format!("[files]\nexec = [\"{far}\"]\n{}", allow(&list));
    let (bin, tool, other, awk) = (bin.display(), tool.display(), other.display(), awk.display());
    let script = format!(
        "{bin}/tool 1; cd {bin}; ./tool 2; PATH=\"$PATH:{bin}\" tool 3; {tool} 4; {other}; {awk} a; {awk} -- -b"
    );
    let outcome = start(&place, &policy, &["sh", "-c", &script]);
    assert_eq!(outcome.out, "tool 1\ntool 2\ntool 3\ntool 4\nother\nawk a\nawk -b\n", "{outcome:?}");
    let shell =
        format!("[files]\nexec = [\"{far}\"]\n{}", allow(&format!("\"{far}/lib/shell **\", \"sh -c *\"")));
    let outcome = start(&place, &shell, &["sh", "-c", &format!("{far}/lib/shell -v --x")]);
    assert_eq!(outcome.out, "shell -v --x\n", "{outcome:?}");
    // A link of the task's own may lead elsewhere in the next moment, and an option is no argument of the script.
    for script in [
        format!("ln -s {tool} mine; ./mine 5"),
        format!("{awk} -f /etc/hosts"),
        format!("{awk} --source 'BEGIN {{ print 6 }}'"),
    ] {
        let outcome = start(&place, &policy, &["sh", "-c", &script]);
        assert!(outcome.status != 0 && outcome.out.is_empty(), "{script}: {outcome:?}");
    }
    assert!(place.ringfence(&["explain"]).out.contains("for its own"));
}

/// The refusal says the entry that grants what it refuses.
#[test]
fn a_script_of_any_other_interpreter_needs_an_entry_of_that() {
    let place = new_place();
    let (tool, exec) = script(&place, "#!/usr/bin/make -f\nall:\n\t@:\nother: ; $(info other)\n");
    let tool = tool.to_str().unwrap();
    let policy = |list: &str| format!("{exec}{}", allow(list));
    let refused = start(&place, &policy(&format!("\"{tool} **\"")), &[tool, "other"]);
    assert_eq!((refused.status, refused.out.as_str()), (126, ""), "{refused:?}");
    let told = place.ringfence(&["explain"]).out;
    let entry = format!("/usr/bin/make -f {tool}");
    assert!(told.contains(&entry) && !told.contains("only its removal"), "{told}");
    let granted = policy(&format!("\"{tool} **\", \"{entry} other\""));
    assert!(start(&place, &granted, &[tool, "other"]).out.starts_with("other\n"));
    assert_eq!(start(&place, &granted, &[tool, "X:=$(info no)"]).out, "");
}

/// By another name it can be written to.
#[test]
fn a_listed_script_with_a_name_in_a_tree_that_is_written_is_its_interpreter() {
    let place = Place::in_home().in_tier(module_path!());
    let (tool, exec) = script(&place, "#!/bin/sh\necho own\n");
    let written = place.base.path().join("home/far");
    place.host(&format!("mkdir -p {0} && ln {1} {0}/other", written.display(), tool.display()));
    let policy =
        format!("{exec}write = [\"{}\"]\n{}", written.display(), allow(&format!("\"{0}\"", tool.display())));
    let other = written.join("other");
    let outcome = start(&place, &policy, &[tool.to_str().unwrap()]);
    assert_eq!((outcome.status, outcome.out.as_str()), (126, ""), "{outcome:?}");
    assert!(place.ringfence(&["explain"]).out.contains("by another name"), "{outcome:?}");
    std::fs::remove_file(other).unwrap();
    assert_eq!(start(&place, &policy, &[tool.to_str().unwrap()]).out, "own\n");
}

/// What a variable makes an interpreter run before the script, or in its place.
#[test]
fn no_variable_brings_code_to_a_listed_script() {
    let place = new_place();
    let (tool, exec) = script(&place, "#!/usr/bin/tclsh\nputs own\n");
    place.write("ev/init.tcl", "puts EVIL\n");
    let list = format!("\"{}\", \"sh -c *\"", tool.display());
    let line = format!("TCL_LIBRARY=$PWD/ev {}", tool.display());
    let outcome = start(&place, &format!("{exec}{}", allow(&list)), &["sh", "-c", &line]);
    assert_eq!(outcome.out, "own\n", "{outcome:?}");
    // A name that begins as spoilt ones do.
    let kept = start(
        &place,
        &allow("\"env **\", \"sh -c *\""),
        &["env", "_JAVA_OPTIONS=x", "JAVA_TOOL_OPTIONS=x", "env"],
    );
    assert!(!kept.out.contains("\n_JAVA_OPTIONS=") && !kept.out.contains("\nJAVA_TOOL"), "{kept:?}");
    // dash has functions in files of its path.
    place.write("printenv", "echo EVIL; printenv() { :; }\n");
    for shell in ["/bin/sh", "/bin/busybox sh"] {
        let (tool, exec) = script(&place, &format!("#!{shell}\nprintenv NONE\necho own\n"));
        let line = format!("env PATH=%func:.%func:$PATH {}", tool.display());
        let list = format!("\"{}\", \"sh -c *\", \"env\", \"printenv\"", tool.display());
        let outcome = start(&place, &format!("{exec}{}", allow(&list)), &["sh", "-c", &line]);
        assert_eq!(outcome.out, "own\n", "{shell}: {outcome:?}");
        assert!(place.host(&line).contains("EVIL"), "{shell}");
    }
    let (tool, exec) = script(&place, "#!/bin/bash\necho $\"own\"\n");
    let list = format!("\"{}\", \"sh -c *\", \"env\"", tool.display());
    place.write("x.po", "msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=UTF-8\\n\"\nmsgid \"own\"\nmsgstr \"$(builtin echo EVIL)\"\n");
    // As msgfmt(1) makes it: magic, revision, two texts, their tables, no hashes.
    let code = "import struct
ids, texts = [b'', b'own'], [b'Content-Type: text/plain; charset=UTF-8\\n', b'$(builtin echo EVIL)']
at, table, data = 28 + 32, b'', b''
for text in ids + texts:
    table += struct.pack('<2I', len(text), at + len(data)); data += text + b'\\0'
open('x.mo', 'wb').write(struct.pack('<7I', 0x950412de, 0, 2, 28, 44, 0, 60) + table + data)";
    place.host(&format!(
        "python3 -c \"{code}\" && mkdir -p loc/en/LC_MESSAGES && mv x.mo loc/en/LC_MESSAGES/"
    ));
    let line = format!("TEXTDOMAIN=x TEXTDOMAINDIR=$PWD/loc LANGUAGE=en LC_ALL=C.UTF-8 {}", tool.display());
    let outcome = start(&place, &format!("{exec}{}", allow(&list)), &["sh", "-c", &line]);
    assert_eq!(outcome.out, "own\n", "{outcome:?}");
    assert!(place.host(&line).contains("EVIL"));
}

/// A script that is named as its directory has it is the one of the directory where that was judged.
#[test]
fn a_race_of_directories_finds_no_other_script() {
    let place = new_place();
    let tool = place.write(place.base.path().join("far/tool.py"), "#!/usr/bin/env python3\nprint('fine')\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    place.write("tool.py", "print('through')\n");
    crate::races::build(&place);
    let far = tool.parent().unwrap().to_str().unwrap();
    let policy = format!(
        "[files]\nexec = [\"{far}\"]\n[commands]\nallow = [\"{far}/tool.py **\"]\nfrom_workspace = true"
    );
    let outcome = start(&place, &policy, &["./race", "directory", "100", far]);
    let last = outcome.out.lines().last().unwrap_or_default();
    println!("{last}");
    assert!(outcome.status == 0 && !outcome.out.contains("through"), "{outcome:?}");
    assert!(last.contains(" rounds: ") && !last.contains(" 0 ran"), "{outcome:?}");
}

#[test]
fn a_pinned_program_is_what_it_was_at_the_start() {
    let place = Place::in_home().in_tier(module_path!());
    let (tool, exec) = script(&place, "#!/bin/sh\necho first\n");
    let path = tool.to_str().unwrap();
    for (pin, second) in [("true", (126, "")), ("false", (0, "second\n"))] {
        std::fs::write(&tool, "#!/bin/sh\necho first\n").unwrap();
        let policy = place.policy(&format!("{exec}[commands]\nallow = [\"{path}\"]\npin = {pin}"));
        assert_eq!(place.ringfence(&["start", "pinned", "--policy", &policy]).status, 0);
        let run = || place.ringfence(&["exec", "pinned", "--", path]);
        let first = run();
        std::fs::write(&tool, "#!/bin/sh\necho second\n").unwrap();
        let outcome = run();
        let explained = place.ringfence(&["explain", "pinned"]);
        let _ = place.ringfence(&["stop", "pinned", "--grace", "0"]);
        assert_eq!((first.status, first.out.as_str()), (0, "first\n"), "{first:?}");
        assert_eq!((outcome.status, outcome.out.as_str()), second, "{outcome:?}");
        assert_eq!(explained.out.contains("changed since the start"), pin == "true", "{explained:?}");
    }
}

/// What `explain --command` says beforehand is what happens.
#[test]
fn what_is_explained_beforehand_is_what_happens() {
    let place = Place::new();
    let far = place.base.path().join("far");
    let far = far.display();
    place.host(&format!(
        "mkdir {far} && cd {far} && cp /bin/busybox . && ln busybox cat && ln -s busybox head
         printf '#!/bin/sh\\necho ran\\n' > one; printf '#!/usr/bin/make -f\\nall: ; @:\\n' > two; printf '#!/bin/bash -l\\necho ran\\n' > three
         chmod 755 one two three; ln -s one four; echo text > {}/file",
        place.workspace.display()
    ));
    let list = format!(
        "allow = [\"{far}/one **\", \"{far}/two **\", \"{far}/three\", \"{far}/cat **\", \"echo 'it''s'?*\"]"
    );
    let policies = [
        format!("{list}\nfrom_workspace = false"),
        format!("{list}\nshell = false"),
        "deny = [\"busybox cat\"]".to_owned(),
    ];
    for policy in policies {
        let path = place.policy(&format!("[files]\nexec = [\"{far}\"]\n[commands]\n{policy}"));
        for command in [
            format!("{far}/one a"),
            format!("{far}/two all"),
            format!("{far}/three"),
            format!("{far}/four"),
            format!("{far}/cat file"),
            format!("{far}/head file"),
            format!("{far}/busybox cat file"),
            "busybox cat file".to_owned(),
            "echo 'it''s x'".to_owned(),
            "echo other".to_owned(),
        ] {
            let told = place
                .ringfence(&["explain", "--policy", &path, "--workspace", ".", "--command", &command])
                .out;
            let first = told.lines().next().unwrap_or_default().to_owned();
            let script = format!(
                "exec \"$0\" run --quiet --policy {path} --workspace . -- {}",
                command.replace("''", "'\\''")
            );
            let run = place.under("bash", &["-c", &script], &place.command(&[])).output().unwrap();
            let ran = run.status.code() != Some(126);
            assert_eq!(first.contains(": allowed: "), ran, "{policy}: {command}: {first} {run:?}");
        }
    }
}
