//! What `explain` offers for commands that were refused: lines that work where they are pasted, in the policy's own names, and none that a
//! task could have made up.

use ringfence_promises::Place;

use crate::commands::start;

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

fn program(place: &Place, name: &str, text: &str) {
    let path = place.write(name, text);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// What is offered for each refusal, and the refusals in words.
fn offered(place: &Place) -> (Vec<String>, String) {
    let told: serde_json::Value = serde_json::from_str(&place.ringfence(&["explain", "--json"]).out).unwrap();
    let lines = told["refusals"].as_array().unwrap().iter();
    let lines = lines.filter_map(|one| Some(one["remedy"][1].as_str()?.to_owned()));
    (lines.collect(), place.ringfence(&["explain"]).out)
}

#[test]
fn a_script_of_the_workspace_needs_an_entry_of_its_interpreter() {
    let place = new_place();
    std::fs::create_dir(place.workspace.join("sub")).unwrap();
    program(&place, "sub/b.sh", "#!/bin/sh\necho built $1\n");
    let policy = |more: &str| format!("[commands]\nallow = [\"bash -c *\"{more}]\nfrom_workspace = true");
    for script in ["cd sub; ./b.sh c", "./sub/b.sh c", "$PWD/sub/b.sh c"] {
        let outcome = start(&place, &policy(""), &["bash", "-c", script]);
        assert_eq!(outcome.out, "", "{outcome:?}");
        let (lines, told) = offered(&place);
        assert_eq!(lines, ["allow = [\"sh ./sub/b.sh c\"]"], "{script}: {told}");
        let outcome = start(&place, &policy(", \"sh ./sub/b.sh c\""), &["bash", "-c", script]);
        assert_eq!(outcome.out, "built c\n", "{script}: {outcome:?}");
    }
}

/// Of a list of programs alone too, where nothing looks at starts.
#[test]
fn a_script_beside_a_plain_list_is_told_which_entry_it_needs() {
    let place = new_place();
    program(&place, "b.sh", "#!/bin/sh -e\necho built $1\n");
    let policy = |more: &str| format!("[commands]\nallow = [\"ls\"{more}]\nfrom_workspace = true");
    let outcome = start(&place, &policy(""), &["./b.sh", "c"]);
    assert!(
        outcome.err.contains("explain --command './b.sh c'") && !outcome.err.contains("files.exec"),
        "{outcome:?}"
    );
    let written = place.policy(&policy(""));
    let told =
        place.ringfence(&["explain", "--policy", &written, "--workspace", ".", "--command", "./b.sh c"]).out;
    assert!(told.contains("refused: `commands.allow` does not let `/bin/sh` run it"), "{told}");
    assert!(told.contains("allow = [\"sh -e ./b.sh c\"]"), "{told}");
    let outcome = start(&place, &policy(", \"sh -e ./b.sh c\""), &["./b.sh", "c"]);
    assert_eq!(outcome.out, "built c\n", "{outcome:?}");
}

#[test]
fn what_the_task_wrote_is_in_no_executable_tree_and_no_entry_is_offered() {
    let place = new_place();
    program(&place, "b.sh", "#!/bin/sh\necho RAN\n");
    let script = "cp /usr/bin/true ./mine; ./mine; ./b.sh; cp /usr/bin/true $TMPDIR/t; $TMPDIR/t; ls x";
    let policy = "[commands]\nallow = [\"bash -c *\", \"cp\", \"sh ./b.sh\"]\nfrom_workspace = false";
    let outcome = start(&place, policy, &["bash", "-c", script]);
    assert!(!outcome.out.contains("RAN"), "{outcome:?}");
    let (lines, told) = offered(&place);
    assert_eq!(lines, ["allow = [\"ls x\"]"], "{told}");
    assert!(told.contains("from_workspace = true") && !told.contains("/workspace/copy"), "{told}");
    assert!(told.matches("is in no executable tree").count() == 3, "{told}");
}

#[test]
fn a_name_of_the_tasks_choice_is_no_entry() {
    let place = new_place();
    program(&place, "x: list this beside it: `bash", "#!/bin/nothing\n");
    let script = "cp /usr/bin/true './x: list this beside it: `perl'; './x: list this beside it: `perl'; './x: list this beside it: `bash'; ls 'x: list this beside it: `perl'";
    for from_workspace in ["true", "false"] {
        let policy =
            format!("[commands]\nallow = [\"bash -c *\", \"cp\"]\nfrom_workspace = {from_workspace}");
        start(&place, &policy, &["bash", "-c", script]);
        let (lines, told) = offered(&place);
        assert!(lines.iter().all(|line| line.starts_with("allow = [\"ls 'x: list this")), "{lines:?} {told}");
    }
}

#[test]
fn a_quote_in_the_name_of_a_program_is_a_quote() {
    let place = Place::in_home().in_tier(module_path!());
    for name in ["q'x", "qx"] {
        let tool =
            place.write(place.home.join("tools").join(name), &format!("#!/bin/sh\necho \"ran {name}\"\n"));
        std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let list = |more: &str| {
        format!(
            "[files]\nexec = [\"~/tools\"]\n[commands]\nallow = [\"bash -c *\"{more}]\nfrom_workspace = true"
        )
    };
    let tools = place.home.canonicalize().unwrap().join("tools");
    let script = format!("cd {}; \"./q'x\"; ./qx", tools.display());
    start(&place, &list(""), &["bash", "-c", &script]);
    let (lines, told) = offered(&place);
    let entry = lines.iter().find(|line| line.contains("q''x")).unwrap_or_else(|| panic!("{told}"));
    let entry = entry.strip_prefix("allow = [").and_then(|rest| rest.strip_suffix(']')).unwrap();
    let outcome = start(&place, &list(&format!(", {entry}")), &["bash", "-c", &script]);
    assert_eq!(outcome.out, "ran q'x\n", "{entry} {outcome:?}");
}

#[test]
fn bytes_that_are_no_letters_and_paths_with_two_slashes_have_entries_that_hold() {
    let place = new_place();
    let below = format!("./{}", place.workspace.display());
    for (name, word) in [("two", "$'two\\xff\\xfe'"), ("", &below), ("", ".//etc")] {
        let script = match name {
            "" => format!("ls {word}"),
            _ => format!(": > {word}; ls {word}"),
        };
        let list = |more: &str| format!("[commands]\nallow = [\"bash -c *\"{more}]\nfrom_workspace = false");
        start(&place, &list(""), &["bash", "-c", &script]);
        let (lines, told) = offered(&place);
        let [line] = lines.as_slice() else { panic!("{word}: {told}") };
        assert!(!line.contains('\u{fffd}'), "{line}");
        let entry = line.strip_prefix("allow = [").and_then(|rest| rest.strip_suffix(']')).unwrap();
        let outcome = start(&place, &list(&format!(", {entry}")), &["bash", "-c", &script]);
        assert_eq!(offered(&place).0, Vec::<String>::new(), "{word}: {entry}: {outcome:?}");
        assert_eq!(outcome.status == 0, !name.is_empty(), "{word}: {entry}: {outcome:?}");
    }
}

#[test]
fn words_of_the_task_hide_no_remedy() {
    let place = new_place();
    let policy = "[commands]\nallow = [\"bash -c *\"]\nfrom_workspace = true";
    program(&place, "x", "#!/usr/bin/make -f\nall:\n");
    for words in ["X='`/opt/y` is in no executable tree'", "'X=(`runtime.user_namespaces`)'"] {
        start(&place, policy, &["bash", "-c", &format!("./x {words}")]);
        let (lines, told) = offered(&place);
        assert!(lines.len() == 1 && lines[0].contains("make -f ./x"), "{told}");
        assert!(!told.contains("from_workspace") && !told.contains("no list of commands"), "{told}");
    }
    let two = "mkdir a b; cp x a; cp x b; cd a; ./x; cd ../b; ./x";
    start(&place, &policy.replace("\"]", "\", \"mkdir\", \"cp\"]"), &["bash", "-c", two]);
    let (lines, told) = offered(&place);
    assert_eq!(lines, ["allow = [\"make -f ./a/x\"]", "allow = [\"make -f ./b/x\"]"], "{told}");
}

#[test]
fn a_part_of_a_command_goes_to_the_list_of_parts_and_what_may_be_granted_says_so() {
    let place = new_place();
    let policy = |children: &str| {
        format!(
            "[commands]\nallow = [\"bash -c *\"]\nchildren = [{children}]\nfrom_workspace = false\n[approvals]\ngrantable = {{ commands = [\"ls **\"] }}"
        )
    };
    start(&place, &policy("\"true\""), &["bash", "-c", "ls /usr; true"]);
    let (lines, told) = offered(&place);
    assert_eq!(lines, ["children = [\"ls /usr\"]"], "{told}");
    assert!(told.contains("with any arguments: children = [\"ls\"], which is unwise"), "{told}");
    assert!(told.contains("ringfence grant") && told.contains("--command 'ls /usr' --for 10m"), "{told}");
    let outcome = start(&place, &policy("\"true\", \"ls /usr\""), &["bash", "-c", "ls /usr; true"]);
    assert!(outcome.out.contains("bin"), "{outcome:?}");
    // The sandbox's own command is no part of another.
    start(&place, &policy("\"true\""), &["id", "-u"]);
    let (lines, told) = offered(&place);
    assert!(
        lines == ["allow = [\"id -u\"]"] && told.starts_with("the task tried to start id -u\n"),
        "{told}"
    );
}

#[test]
fn a_listed_script_that_is_called_by_another_name_says_its_own() {
    let place = Place::in_home().in_tier(module_path!());
    let tools = place.home.join("tools");
    std::fs::create_dir(&tools).unwrap();
    let tool = place.write(tools.join("t"), "#!/bin/sh\necho ran\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let policy = "[files]\nexec = [\"~/tools\"]\n[commands]\nallow = [\"bash -c *\", \"ln\", \"~/tools/t\"]\nfrom_workspace = true";
    let path = tool.canonicalize().unwrap();
    let script = format!("ln -s {} l; ./l; {}", path.display(), path.display());
    let outcome = start(&place, policy, &["bash", "-c", &script]);
    assert_eq!(outcome.out, "ran\n", "{outcome:?}");
    let (lines, told) = offered(&place);
    let expected = format!("call it by `{}`", path.display());
    assert!(lines.is_empty() && told.contains(&expected) && told.contains("no entry is missing"), "{told}");
}

#[test]
fn an_entry_by_path_that_can_never_start_is_told_beside_one_by_name() {
    let place = new_place();
    let directory = place.home.join("tools");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("own");
    std::fs::copy("/usr/bin/true", &file).unwrap();
    let file = file.display();
    for (entries, lost) in
        [(format!("\"own\", \"{file}\", \"true\""), true), ("\"own\", \"true\"".into(), false)]
    {
        let policy = place.policy(&format!("[commands]\nallow = [{entries}]"));
        let path = format!("{}:/usr/bin", directory.display());
        let done =
            place.command(&["run", "--policy", &policy, "--", "true"]).env("PATH", path).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(told.contains("can never start: no executable tree holds it"), lost, "{told}");
        assert_eq!(done.status.success(), !lost, "{told}");
    }
}

/// A file of many programs: what entries match is the name that is called.
#[test]
fn one_of_many_programs_is_named_by_what_it_was_called() {
    let place = Place::in_home().in_tier(module_path!());
    let tools = place.home.join("tools");
    place.host(&format!(
        "mkdir {0} && cp /bin/busybox {0}/rustup && ln -s rustup {0}/basename && ln {0}/rustup {0}/dirname",
        tools.display()
    ));
    let tools = tools.canonicalize().unwrap();
    let at = |name: &str| tools.join(name).display().to_string();
    let list = |more: &str| {
        format!(
            "[files]\nexec = [\"/usr\", \"~/tools\"]\n[commands]\nallow = [\"busybox ls **\", \"{}  -- a\"{more}]",
            at("basename")
        )
    };
    for (command, wanted, out) in [
        (format!("{} /x/b", at("basename")), format!("{} /x/b", at("basename")), "b\n"),
        (format!("{} /x/b", at("dirname")), format!("{} /x/b", at("dirname")), "/x\n"),
        ("busybox dirname /x/b".to_owned(), "busybox dirname /x/b".to_owned(), "/x\n"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(start(&place, &list(""), &words).status, 126, "{command}");
        let (lines, told) = offered(&place);
        assert_eq!(lines, [format!("allow = [\"{wanted}\"]")], "{told}");
        let named = command.contains("basename");
        assert_eq!(told.contains("names `basename` of `"), named, "{told}");
        let policy = place.policy(&list(""));
        let beforehand = place.ringfence(&["explain", "--policy", &policy, "--command", &command]);
        assert!(beforehand.out.contains(&format!("allow = [\"{wanted}\"]")), "{beforehand:?}");
        let outcome = start(&place, &list(&format!(", \"{wanted}\"")), &words);
        assert_eq!(outcome.out, out, "{command}: {outcome:?}");
    }
}

#[test]
fn no_line_is_offered_for_the_loader_which_runs_nothing_by_its_entry_alone() {
    let place = new_place();
    let loader = std::fs::read_dir("/lib64").unwrap().map(|entry| entry.unwrap().path());
    let loader = loader.into_iter().find(|path| path.to_string_lossy().contains("ld-linux")).unwrap();
    let real = loader.canonicalize().unwrap();
    let list = |more: &str| format!("[commands]\nallow = [\"bash -c *\"{more}]");
    let command = format!("{} /usr/bin/basename /a", loader.display());
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(start(&place, &list(""), &words).status, 126);
    let (lines, told) = offered(&place);
    let entry = format!("{} /usr/bin/basename /a", real.display());
    assert_eq!(lines, [""; 0], "{told}");
    let instead = "the program itself is the entry to add";
    assert!(told.contains(instead) && !told.contains("only its removal"), "{told}");
    assert_eq!(start(&place, &list(&format!(", \"{entry}\"")), &words).out, "");
    let policy = place.policy(&list(""));
    let beforehand = place.ringfence(&["explain", "--policy", &policy, "--command", &command]).out;
    for part in ["a loader, which starts any program", instead] {
        assert!(beforehand.contains(part) && !beforehand.contains("to allow it"), "{part}: {beforehand}");
    }
    // Where no mount forbids to map a program of PATH, that is refused still.
    let outcome = start(&place, &list(&format!(", \"{entry}\", \"basename\"")), &words);
    assert_eq!(outcome.out, "a\n", "{outcome:?}");
}

/// `env` starts a second program, which would be refused next.
#[test]
fn behind_env_two_entries_are_offered_and_do_together() {
    let place = new_place();
    program(&place, "x.sh", "#!/usr/bin/env -S sh -e\necho built $1\n");
    program(&place, "y.sh", "#!/usr/bin/env sh\necho built $1\n");
    let policy = |more: &str| format!("[commands]\nallow = [\"bash -c *\"{more}]\nfrom_workspace = true");
    for (script, first, second) in [
        ("./x.sh c", "env '-S sh -e' ./x.sh c", "sh -e ./x.sh c"),
        ("./y.sh c", "env sh ./y.sh c", "sh ./y.sh c"),
        ("env sh ./y.sh c", "env sh ./y.sh c", "sh ./y.sh c"),
    ] {
        assert_eq!(start(&place, &policy(""), &["bash", "-c", script]).out, "", "{script}");
        let (lines, told) = offered(&place);
        assert_eq!(lines, [format!("allow = [\"{first}\", \"{second}\"]")], "{told}");
        let one = place.policy(&policy(&format!(", \"{first}\"")));
        let beforehand =
            place.ringfence(&["explain", "--policy", &one, "--workspace", ".", "--command", script]).out;
        assert!(beforehand.contains(&format!("start further {second}: refused")), "{script}: {beforehand}");
        let both = policy(&format!(", \"{first}\", \"{second}\""));
        assert_eq!(start(&place, &both, &["bash", "-c", script]).out, "built c\n", "{script}");
    }
}

/// The words behind `env` are the task's: of those that no entry starts, or that would mean something else, only the first is offered.
#[test]
fn behind_env_only_what_an_entry_starts_is_offered() {
    let place = new_place();
    for name in ["sub/tool", "up"] {
        program(&place, name, "#!/bin/sh\necho ran\n");
    }
    let loader = std::fs::read_dir("/lib64").unwrap().map(|entry| entry.unwrap().path());
    let loader = loader.into_iter().find(|path| path.to_string_lossy().contains("ld-linux")).unwrap();
    let policy = |more: &str| format!("[commands]\nallow = [\"bash -c *\"{more}]\nfrom_workspace = true");
    for script in [
        format!("env {} /usr/bin/id", loader.display()),
        "env '~/bin/evil' a".to_owned(),
        "cd sub; env ./tool arg".to_owned(),
        "cd sub; env ../up".to_owned(),
        "env 'git?' a".to_owned(),
        "env /nowhere/tool a".to_owned(),
        "env env 'git?' a".to_owned(),
    ] {
        start(&place, &policy(""), &["bash", "-c", &script]);
        let (lines, told) = offered(&place);
        let [line] = lines.as_slice() else { panic!("{script}: {told}") };
        let entries = line.strip_prefix("allow = [").and_then(|rest| rest.strip_suffix(']')).unwrap();
        let many = if script.starts_with("env env") { 2 } else { 1 };
        assert!(entries.split("\", \"").all(|one| one.trim_start_matches('"').starts_with("env ")), "{told}");
        assert_eq!(entries.matches("\", \"").count() + 1, many, "{script}: {told}");
        let outcome = start(&place, &policy(&format!(", {entries}")), &["bash", "-c", "echo fine"]);
        assert_eq!(outcome.out, "fine\n", "{script}: {outcome:?}");
    }
}

/// Whatever its words are, the command that a hint names is one to paste.
#[test]
fn what_a_hint_says_to_ask_can_be_asked() {
    let place = new_place();
    program(&place, "a b.sh", "#!/bin/sh\necho $1\n");
    let written = "[commands]\nallow = [\"ls\"]\nfrom_workspace = true";
    let outcome = start(&place, written, &["./a b.sh", "x;y", "$z"]);
    let asked = outcome.err.split("explain --command ").nth(1).and_then(|rest| rest.split("`, asked").next());
    let asked = asked.unwrap_or_else(|| panic!("{outcome:?}"));
    let (told, policy) = (place.ringfence(&["explain"]).out, place.policy(written));
    assert!(told.contains("may not be executed") && !told.contains("only its removal"), "{told}");
    let binary = ringfence_promises::binary();
    let done = place
        .host(&format!("{} explain --policy {policy} --workspace . --command {asked}", binary.display()));
    assert!(done.contains("allow = [\"sh './a b.sh' 'x;y' '$z'\"]"), "{done}");
}

/// In tier `landlock` the workspace is a copy: its script is started there, by whatever path it is named.
#[test]
fn a_script_of_the_workspace_starts_by_its_whole_path() {
    let place = new_place();
    program(&place, "b.sh", "#!/bin/sh\necho built $1\n");
    let whole = place.workspace.join("b.sh").display().to_string();
    for list in ["", "allow = [\"sh ./b.sh **\", \"sleep 600\"]\n"] {
        let policy = format!("[commands]\n{list}from_workspace = true");
        let outcome = start(&place, &policy, &[&whole, "c"]);
        assert_eq!(outcome.out, "built c\n", "{list}: {outcome:?}");
    }
}

#[test]
fn what_lies_above_the_workspace_is_said_to() {
    let place = new_place();
    std::fs::create_dir(place.workspace.join("src")).unwrap();
    program(&place, "b.sh", "#!/bin/sh\necho built\n");
    let mut command = place.command(&["run", "-q", "--preset", "default", "--", "../b.sh"]);
    let done = command.current_dir(place.workspace.join("src")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("outside of the workspace") && said.contains("--workspace"), "{said}");
}

#[test]
fn no_entry_is_written_of_words_that_are_too_long() {
    let place = new_place();
    let policy = "[commands]\nallow = [\"bash -c **\", \"sh -c 'echo *'\", \"id -u\"]";
    let script = "id $(printf 'x%.0s' {1..5000}); sh -c \"$(printf 'x%.0s' {1..2500})\"; true";
    start(&place, policy, &["bash", "-c", script]);
    let (lines, told) = offered(&place);
    assert!(lines.is_empty() && !told.contains("To allow"), "{told}");
    assert_eq!(told.matches("its words are too long for an entry").count(), 2, "{told}");
}

#[test]
fn what_a_command_may_start_freely_is_told_by_that_rule() {
    let place = new_place();
    let policy = place.policy("[commands]\nallow = [\"sh **\"]\nchildren = \"free\"");
    let told = place.ringfence(&["explain", "--policy", &policy, "--command", "id -u"]).out;
    let line = told.lines().find(|line| line.starts_with("be started by a command id -u: allowed")).unwrap();
    assert!(line.contains("`commands.children = \"free\"` ("), "{told}");
    assert!(!told.contains("no `commands.allow`"), "{told}");
}

#[test]
fn a_directory_is_no_program() {
    let place = new_place();
    for list in ["allow = [\"/usr/bin\"]", "allow = [\"ls\", \"/usr/bin? -l\"]", "deny = [\"/usr/bin\"]"] {
        let list = format!("[commands]\n{list}");
        let outcome = start(&place, &list, &["ls"]);
        assert!(
            outcome.status == 125 && outcome.err.contains("`/usr/bin` is a directory"),
            "{list}: {outcome:?}"
        );
        assert!(outcome.err.contains("policy.toml:4"), "{outcome:?}");
        let checked = place.ringfence(&["check", &place.policy(&list)]);
        let said = format!("{}{}", checked.out, checked.err);
        assert!(checked.status != 0 && said.contains("`/usr/bin` is a directory"), "{list}: {said}");
    }
}

#[test]
fn a_part_whose_words_no_entry_can_hold_is_offered_alone() {
    let place = new_place();
    place.write("x", "content\n");
    let policy = |more: &str| format!("[commands]\nallow = [\"bash -c *\"]\nchildren = [\"id\"{more}]");
    let script = "cat $PWD/../${PWD##*/}/x; true";
    start(&place, &policy(""), &["bash", "-c", script]);
    let (lines, told) = offered(&place);
    assert_eq!(lines, ["children = [\"cat\"]"], "{told}");
    assert!(
        told.contains("no entry can hold its words as they are: this one") && !told.contains("To allow"),
        "{told}"
    );
    let outcome = start(&place, &policy(", \"cat\""), &["bash", "-c", script]);
    assert_eq!(outcome.out, "content\n", "{outcome:?}");
    // What is anything by its words is not.
    start(&place, &policy(""), &["bash", "-c", "busybox ls $PWD/../x; true"]);
    assert!(offered(&place).0.iter().all(|line| !line.contains("busybox\"")), "{}", offered(&place).1);
}

#[test]
fn a_script_brings_its_interpreter_along_by_the_entry_that_is_offered() {
    let place = new_place();
    let tools = Place::new();
    for (name, line) in [
        ("plain", "#!/usr/bin/python3"),
        ("by-env", "#!/usr/bin/env python3"),
        ("other", "#!/usr/bin/make -f"),
    ] {
        program(&tools, name, &format!("{line}\n"));
    }
    let tools = tools.workspace.display();
    let policy = place.policy(&format!(
        "[files]\nexec = [\"{tools}\"]\n[commands]\nallow = [\"true\", \"{tools}/plain one\", \"{tools}/by-env one\"]"
    ));
    for name in ["plain", "by-env", "other"] {
        for word in ["one", "two"] {
            let command = format!("{tools}/{name} {word}");
            let told = place.ringfence(&["explain", "--policy", &policy, "--command", &command]).out;
            let further = told.split_once("what it needs further:").unwrap().1;
            assert_eq!(further.contains("refused"), name == "other", "{command}: {told}");
        }
    }
}

/// In tier `landlock` the directory of such files is the run's own: no line is offered.
#[test]
fn a_file_of_a_name_that_is_drawn_is_offered_as_its_kind() {
    let place = new_place();
    let policy = |more: &str| format!("[commands]\nallow = [\"bash -c *\", \"mktemp **\"{more}]");
    let script = "f=$(mktemp --suffix=.s); echo text > $f; cat -- $f";
    let outcome = start(&place, &policy(""), &["bash", "-c", script]);
    assert!(outcome.err.contains("Permission denied"), "{outcome:?}");
    let (lines, told) = offered(&place);
    if module_path!().contains("landlock") {
        assert!(lines.is_empty(), "{told}");
        return;
    }
    assert_eq!(lines, ["allow = [\"cat -- /tmp/*.s\"]"], "{told}");
    let outcome = start(&place, &policy(", \"cat -- /tmp/*.s\""), &["bash", "-c", script]);
    assert_eq!(outcome.out, "text\n", "{outcome:?}");
}

/// The line for the workspace was offered, which lets no script start beside `shell = false`, and the tree knew nothing of it.
#[test]
fn a_run_says_by_the_rule_that_explain_names_why_its_command_did_not_start() {
    let place = new_place();
    program(&place, "b.sh", "#!/bin/sh\n");
    let policy = "[commands]\nallow = [\"ls **\"]\nshell = false\nfrom_workspace = false";
    let outcome = start(&place, policy, &["./b.sh"]);
    let (_, told) = offered(&place);
    let rule = told.lines().find_map(|line| line.trim().strip_prefix("refused: ")).unwrap();
    assert!(outcome.err.contains(&format!("hint: {rule}\n")), "{outcome:?} {told}");
    let tree = place.ringfence(&["ps", "--tree", "last"]).out;
    assert_eq!(tree.trim(), "refused: ./b.sh");
    // A list alone refuses the interpreter next.
    let outcome = start(&place, "[commands]\nallow = [\"ls\"]\nfrom_workspace = false", &["./b.sh"]);
    assert!(!outcome.err.contains("to allow it: commands.from_workspace"), "{outcome:?}");
    // An entry that names the file behind a link.
    let tools = place.base.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::copy("/bin/true", tools.join("real")).unwrap();
    std::os::unix::fs::symlink("real", tools.join("called")).unwrap();
    let policy =
        format!("[files]\nexec = [{tools:?}]\n[commands]\nallow = [\"{}/real --version\"]", tools.display());
    let outcome = start(&place, &policy, &[tools.join("called").to_str().unwrap(), "x"]);
    assert!(outcome.err.contains("but not with these arguments"), "{outcome:?}");
}
