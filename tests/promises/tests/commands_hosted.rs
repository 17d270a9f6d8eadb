//! `commands` where no mount and no namespace helps: what differs from the other tier, whose tests run here as well.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use ringfence_promises::Place;

use crate::commands::start;

fn place() -> Place {
    Place { hosted: true, ..Place::new() }
}

/// Loads a copy of a library of the host's as code: by the loader, and by a mapping of its own.
const LOADS: &str = "import ctypes, ctypes.util, mmap, os, shutil, sys\n\
    name = ctypes.util.find_library('m')\n\
    found = [d + '/' + name for d in ('/lib/x86_64-linux-gnu', '/lib/aarch64-linux-gnu', '/lib64', '/usr/lib') if os.path.exists(d + '/' + name)][0]\n\
    ctypes.CDLL(found)\n\
    shutil.copy(found, sys.argv[1])\n\
    for load in (lambda: ctypes.CDLL(sys.argv[1]), lambda: mmap.mmap(os.open(sys.argv[1], 0), 4096, prot=5, flags=2)):\n\
    \x20   try: load(); print('loaded', end=' ')\n\
    \x20   except OSError as error: print('refused', end=' ')\n\
    mmap.mmap(os.open(sys.argv[1], 0), 4096, prot=1, flags=2)\n\
    try: print('memory', os.memfd_create('x', 8))\n\
    except OSError: mmap.mmap(-1, 4096, prot=7); print('own')\n";

#[test]
fn code_is_loaded_from_where_programs_may_start() {
    let place = place();
    place.write("load.py", LOADS);
    let with = |more: &str| format!("[commands]\nallow = [\"/usr/bin/python3\", \"ldconfig?\"]\n{more}");
    let outcome = start(&place, &with("from_workspace = false"), &["/usr/bin/python3", "load.py", "./x.so"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "refused refused own\n"), "{outcome:?}");
    let explained = place.ringfence(&["explain"]).out;
    let told = format!("tried to load as code {} ", place.workspace.join("x.so").display());
    assert!(explained.contains(&told) && explained.contains("from_workspace = true"), "{explained}");
    let outcome = start(&place, &with("from_workspace = true"), &["/usr/bin/python3", "load.py", "./x.so"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "loaded loaded own\n"), "{outcome:?}");
    // Of a directory of PATH, that is the reason.
    let loader = "exec $(echo /lib64/ld-linux*) /usr/bin/id";
    start(&place, "[commands]\nallow = [\"sh\", \"basename\"]", &["sh", "-c", loader]);
    let explained = place.ringfence(&["explain"]).out;
    for part in ["load as code /usr/bin/id", "from /usr/bin, a directory of PATH", "from other directories"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
}

#[test]
fn the_workspace_is_meant_wherever_its_copy_lies() {
    let place = place();
    place.write("no/x", "SECRET");
    place.write("yes/x", "content ");
    let workspace = place.workspace.display();
    for list in [
        format!("deny = [\"cat {workspace}/no/**\"]"),
        "deny = [\"cat ./no/**\"]".to_owned(),
        format!("allow = [\"sh -c *\", \"cat {workspace}/yes/*\"]"),
        "allow = [\"sh -c *\", \"cat ./yes/*\"]".to_owned(),
    ] {
        let script = "cat no/x; cat $PWD/no/x; cat $PWD/../copy/no/x; cat ./yes/.././no/x; cd no; cat x; cat $PWD/x; \
                      cd ../yes; cat x; cat $PWD/x; cat ../no/x";
        let outcome = start(&place, &format!("[commands]\n{list}"), &["sh", "-c", script]);
        assert_eq!(outcome.out, "content content ", "{list}: {outcome:?}");
        assert_eq!(outcome.err.matches("enied").count(), 7, "{list}: {outcome:?}");
    }
}

#[test]
fn who_hides_its_memory_starts_nothing() {
    let place = place();
    let script = "import ctypes, os\n\
        ctypes.CDLL(None).prctl(4, 0)\n\
        try: os.execv('/usr/bin/echo', ['echo', 'started'])\n\
        except OSError as error: print(error.errno)\n";
    place.write("t.py", script);
    let outcome = start(&place, "[commands]\ndeny = [\"id\"]", &["python3", "t.py"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "13\n"), "{outcome:?}");
    let explained = place.ringfence(&["explain"]).out;
    assert!(explained.contains("cannot be read"), "{explained}");
}

#[test]
fn what_a_list_names_is_nothing_that_the_task_writes() {
    let place = place();
    let tool = place.write(place.base.path().join("bin/tool"), "#!/bin/sh\necho ran\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (tool, tree) = (tool.display(), tool.parent().unwrap().display());
    let listed = format!("[commands]\nallow = [\"{tool}\", \"sh -c *\"]");
    let policy = format!("[files]\nwrite = [\"{tree}\"]\n{listed}");
    let outcome = start(&place, &policy, &["sh", "-c", "echo ran"]);
    assert!(outcome.status == 125 && outcome.out.is_empty(), "{outcome:?}");
    assert!(outcome.err.contains("files.write") && outcome.err.contains("hint:"), "{outcome:?}");
    // The same in an executable tree is a program, and the tree stays as it is.
    let policy = format!("[files]\nexec = [\"{tree}\"]\n{listed}");
    let script = format!("{tool}; echo x > {tree}/new; cp /bin/true {tool}; {tool}");
    let outcome = start(&place, &policy, &["sh", "-c", &script]);
    assert_eq!(outcome.out, "ran\nran\n", "{outcome:?}");
}

/// Each has a copy, a record and a guard of its own, whatever else works on the same directory.
#[test]
fn two_runs_at_once_on_one_workspace_do_not_meet() {
    let place = place();
    place.write("shared", "as it was\n");
    let policy = place.policy("[commands]\nallow = [\"sh\", \"cat\", \"kill *\", \"python3\"]");
    let start = |script: &str| {
        let mut command = place.command(&["run", "--quiet", "--policy", &policy, "--workspace", "."]);
        command.args(["--", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let begin = |name: &str, other: &str| {
        let script = format!(
            "echo {name} > {name}; echo {name} >> shared; echo $$; read pid; cat {other}; kill -0 $pid && echo SIGNALLED; id; \
             cat shared; python3 -c \"import os; print(os.readlink('/proc/$pid/cwd'))\"; read end"
        );
        let mut child = start(&script);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pid = lines.next().unwrap().unwrap();
        (child, lines, pid)
    };
    let (mut first, mut second) = (begin("first", "second"), begin("second", "first"));
    let told = |to: &mut Child, what: &str| writeln!(to.stdin.as_mut().unwrap(), "{what}").unwrap();
    told(&mut first.0, &second.2);
    told(&mut second.0, &first.2);
    for ((mut child, mut lines, _), name) in [(first, "first"), (second, "second")] {
        // Neither has ended before both have looked.
        assert_eq!(lines.next().unwrap().unwrap(), "as it was", "{name}");
        assert_eq!(lines.next().unwrap().unwrap(), name);
        told(&mut child, "end");
        assert_eq!(lines.next().map(Result::unwrap), None, "{name}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
    }
    assert_eq!(place.read("shared").as_deref(), Some("as it was\n"));
    // What one changed first is a conflict for the other, and said.
    let runs: Vec<_> =
        std::fs::read_dir(place.state.join("runs")).unwrap().map(|run| run.unwrap().file_name()).collect();
    let applied: Vec<_> = runs.iter().map(|run| place.ringfence(&["apply", run.to_str().unwrap()])).collect();
    assert_eq!(applied.iter().filter(|outcome| outcome.status == 0).count(), 1, "{applied:?}");
    assert!(applied.iter().any(|outcome| outcome.err.contains("shared")), "{applied:?}");
}

/// What was seen of a file holds for as long as its name leads to it.
#[test]
fn a_link_that_the_host_turns_leads_where_it_leads() {
    for tier in ["namespace", "landlock"] {
        let place = Place::new().in_tier(tier);
        let tools = place.home.join("tools");
        std::fs::create_dir(&tools).unwrap();
        let turn = |to: &str| {
            std::os::unix::fs::symlink(to, tools.join("next")).unwrap();
            std::fs::rename(tools.join("next"), tools.join("go")).unwrap();
        };
        turn("/usr/bin/true");
        let shown = tools.display();
        let script = format!(
            "{shown}/go && {shown}/go && echo ran; while [ ! -e {shown}/turned ]; do sleep 0.05; done; {shown}/go; echo $?"
        );
        let policy = format!("[files]\nread = [\"{shown}\"]\n[commands]\ndeny = [\"false\"]\n");
        let mut command = place.to_run(&policy, &script);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        std::thread::sleep(std::time::Duration::from_millis(700));
        turn("/usr/bin/false");
        std::fs::write(tools.join("turned"), "").unwrap();
        let (out, err) = ringfence_promises::text(child.unwrap());
        assert_eq!(out, "ran\n126\n", "{tier}: {err}");
    }
}

/// A line with a directory of this run in it would hold for no other.
#[test]
fn no_entry_is_offered_for_what_this_run_alone_has() {
    let place = place();
    start(&place, "[commands]\nallow = [\"sh -c *\"]", &["sh", "-c", "cat \"$TMPDIR/q\"; cat ./q"]);
    let explained = place.ringfence(&["explain"]).out;
    assert!(
        explained.contains("allow = [\"cat ./q\"]") && !explained.contains("allow = [\"cat /"),
        "{explained}"
    );
    assert!(explained.contains("one with `*` or `**` in their place"), "{explained}");
}

#[test]
fn the_home_of_a_run_is_denied_as_the_home_and_permits_nothing() {
    let place = place();
    for (name, text) in [("data/x", "content"), ("data/no", "SECRET")] {
        let path = place.home.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let files = "[files]\nread = [\"~/data\"]\n[commands]\n";
    let script = "cat ~/data/no; cd ~; cat data/no; cat ./data/x";
    let denies = format!("{files}deny = [\"cat ~/data/no\"]");
    let outcome = start(&place, &denies, &["bash", "-c", script]);
    assert_eq!(outcome.out, "content", "{outcome:?}");
    // A link in there is the task's: what an entry names could be any file.
    let lists = format!("{files}allow = [\"bash -c *\", \"cat ~/data/*\"]");
    let outcome = start(&place, &lists, &["bash", "-c", "cat ~/data/x"]);
    assert!(outcome.status == 126 && outcome.out.is_empty(), "{outcome:?}");
    let explained = place.ringfence(&["explain"]).out;
    let told = format!("the home is the run's own here, and entries mean {}", place.home.display());
    assert!(explained.contains(&told) && explained.contains("by the path below that home"), "{explained}");
    assert!(!explained.contains("to allow it"), "{explained}");
    let whole = format!("cat {}/data/x", place.home.display());
    assert_eq!(start(&place, &lists, &["bash", "-c", &whole]).out, "content");
    let policy = place.policy(&lists);
    let said = place.ringfence(&["explain", "--policy", &policy, "--command", "cat ~/data/x"]).out;
    assert!(said.contains(&format!("start {whole}: allowed")), "{said}");
    assert!(said.contains("in tier `landlock` by this path alone"), "{said}");
}
