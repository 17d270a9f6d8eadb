//! Variables of guarded programs: what turns an allowed command line into another is taken out, and nothing else.

use ringfence_promises::Place;

use crate::commands::{allow, start};

fn place() -> Place {
    Place::new().in_tier(module_path!())
}

#[test]
fn options_in_variables_are_none_of_a_command_line() {
    let place = place();
    let lines = "LESSKEYIN=k ZIPOPT=-T BC_ENV_ARGS=f MANOPT=-P PIP_PYTHON=p AWS_CONFIG_FILE=a ANSIBLE_CONFIG=a PLTCONFIGDIR=p GST_REGISTRY=g XZ_OPT=-1 env";
    let script = format!("{lines} | sort");
    let policy = allow("\"sh -c *\", \"env ()\", \"sort ()\"");
    let outcome = start(&place, &policy, &["sh", "-c", &script]);
    assert!(outcome.status == 0 && outcome.out.contains("XZ_OPT=-1"), "{outcome:?}");
    for name in
        ["LESSKEYIN", "ZIPOPT", "BC_ENV_ARGS", "MANOPT", "PIP_PYTHON", "AWS_CONFIG", "ANSIBLE", "PLT", "GST"]
    {
        assert!(!outcome.out.contains(name), "{name}: {}", outcome.out);
    }
}

/// git's own scripts load modules by one, cpan and terraform take options from others.
#[test]
fn variables_of_scripts_and_their_options_are_taken_out() {
    let place = place();
    let names =
        ["GITPERLLIB", "CPAN_OPTS", "TF_CLI_ARGS", "TF_CLI_ARGS_plan", "GCC_COMPARE_DEBUG", "VALGRIND_OPTS"];
    let set: Vec<String> = names.iter().map(|name| format!("{name}=x")).collect();
    let script = format!("{} TF_VAR_x=y env", set.join(" "));
    let policy = allow("\"sh -c *\", \"env ()\"");
    let outcome = start(&place, &policy, &["sh", "-c", &script]);
    assert!(outcome.status == 0 && outcome.out.contains("TF_VAR_x=y"), "{outcome:?}");
    for name in names {
        assert!(!outcome.out.contains(&format!("\n{name}=")), "{name}: {}", outcome.out);
        assert!(!outcome.out.starts_with(&format!("{name}=")), "{name}: {}", outcome.out);
    }
}

#[test]
fn make_hands_its_own_options_on() {
    let place = place();
    place.write("Makefile", "all:\n\t+$(MAKE) -C sub a b\n");
    place.write("sub/Makefile", "a b:\n\t@printf '%s %s\\n' $@ \"$(MAKEFLAGS)\"\n");
    let policy = allow("\"make **\", \"sh -c *\", \"printf **\"");
    let outcome = start(&place, &policy, &["make", "-s", "-j2", "V=1", "all"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    for part in ["a ", "b ", "-j2 --jobserver-", "V=1"] {
        assert!(outcome.out.contains(part), "{part}: {outcome:?}");
    }
    assert!(!outcome.err.contains("jobserver unavailable"), "{outcome:?}");
    let cleaned = place.told("exec.clean");
    assert!(cleaned.iter().all(|event| !event.to_string().contains("MAKEFLAGS")), "{cleaned:?}");
}

/// git hands on where its own programs are, and what a commit ends with is the whole of git's housekeeping.
#[test]
fn a_commit_ends_as_it_does_outside() {
    let place = place();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/coding-agent.toml");
    let example = std::fs::read_to_string(example).unwrap();
    // What builds is not everywhere.
    let git = example.lines().filter_map(|line| Some(line.trim().strip_prefix("\"git ")?.split_once('"')?.0));
    let git: Vec<_> = git.map(|entry| format!("\"git {entry}\"")).collect();
    let git = git.join(", ");
    let text = format!(
        "version = 1\nextends = [\"coding-agent\"]\n[commands]\nallow = [\"bash -c *\", \"git status **\", \"git commit **\"]\nchildren = [{git}]\n"
    );
    let policy = place.base.path().join("agent.toml");
    std::fs::write(&policy, text).unwrap();
    place.host(
        "git init -q -b main .; git config user.name n; git config user.email n@example.org; git config gc.auto 1
         git config gc.autoDetach false; git config gc.writeCommitGraph true
         for one in 1 2 3; do date >f$one; git add f$one; git commit -qm $one; git gc -q; done
         for one in $(seq 600); do echo $one >g$one; done; git add -A",
    );
    let policy = policy.display().to_string();
    let run = |words: &[&str]| {
        let run = ["run", "--quiet", "--policy", &policy, "--workspace", ".", "--"];
        place.ringfence(&[&run, words].concat())
    };
    let outcome = run(&["git", "commit", "-qm", "all"]);
    assert!(outcome.status == 0 && !outcome.err.contains("fatal"), "{outcome:?}");
    assert!(place.told("exec.deny").is_empty(), "{:?}", place.told("exec.deny"));
    assert!(place.told("exec.clean").is_empty(), "{:?}", place.told("exec.clean"));
    // Another one is the task's.
    run(&["bash", "-c", "GIT_EXEC_PATH=/usr/bin git status; true"]);
    assert!(place.told("exec.clean").iter().any(|event| event.to_string().contains("GIT_EXEC_PATH")));
}

/// Agents say so that no editor and no pager is to be waited for.
#[test]
fn an_editor_that_does_nothing_is_nobodys_choice_of_program() {
    let place = place();
    place.host(
        "git init -q -b main .; git config user.name n; git config user.email n@example.org
         echo one > f; git add f; git commit -qm one",
    );
    let policy = allow("\"bash -c *\", \"git **\", \"true\"");
    let script = |editor: &str| {
        format!("GIT_TRACE=0 GIT_PAGER=cat GIT_EDITOR={editor} git commit -q --amend && git log --format=%s")
    };
    for editor in ["true", ":"] {
        let outcome = start(&place, &policy, &["bash", "-c", &script(editor)]);
        assert_eq!((outcome.out.as_str(), outcome.status), ("one\n", 0), "{editor}: {outcome:?}");
        assert!(place.told("exec.clean").is_empty(), "{:?}", place.told("exec.clean"));
    }
    let outcome = start(&place, &policy, &["bash", "-c", &script("'echo x >'")]);
    assert!(outcome.status != 0, "{outcome:?}");
    assert!(place.told("exec.clean").iter().any(|event| event.to_string().contains("GIT_EDITOR")));
}
