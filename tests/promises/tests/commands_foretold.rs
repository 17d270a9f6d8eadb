//! What `explain --command` says of a command is what a run does with it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ringfence_promises::Place;

use crate::commands::{allow, start};

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

fn program(place: &Place, name: &str, text: &str) {
    let path = place.write(name, text);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn what_is_said_of_a_path_is_what_happens() {
    let place = new_place();
    std::fs::copy("/usr/bin/true", place.workspace.join("tru")).unwrap();
    program(&place, "only.sh", "#!/bin/sh\n");
    program(&place, "sub/own.sh", "#!/bin/sh\n");
    program(&place, "nothing", "true\n");
    let link = place.base.path().join("link");
    symlink(&place.workspace, &link).unwrap();
    let (linked, up) = (link.join("tru"), place.workspace.join("sub/../tru"));
    let paths = [linked, up].map(|path| path.display().to_string());
    let cases = [
        (".", ".", "./tru"),
        (".", ".", "sub/../tru"),
        (".", ".", "./nothing"),
        (".", ".", &paths[0]),
        (".", ".", &paths[1]),
        ("sub", "..", "../tru"),
        ("sub", "..", "../only.sh"),
        ("sub", "..", "./own.sh"),
        ("sub", "..", "../../w/tru"),
    ];
    let mut said = std::collections::BTreeSet::new();
    for list in ["", "allow = [\"ls **\", \"sh\"]\n", "allow = [\"sh\"]\n"] {
        let policy = place.policy(&format!("[commands]\n{list}from_workspace = true"));
        for (from, workspace, command) in cases {
            let with = ["--policy", &policy, "--workspace", workspace];
            let at = place.workspace.join(from);
            let mut asked = place.command(&["explain", "--json", "--command", command]);
            let told = asked.args(with).current_dir(&at).output().unwrap();
            let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
            let mut run = place.command(&["run", "--quiet"]);
            let done = run.args(with).args(["--", command]).current_dir(&at).output().unwrap();
            let started = done.status.success();
            assert_eq!(told[0]["allowed"], started, "{list} {from} {command}: {told} {done:?}");
            said.insert(started);
        }
    }
    assert_eq!(said.len(), 2);
}

/// Debian's clients of PostgreSQL are a script in PATH, which starts those of a version.
#[test]
fn a_client_behind_its_wrapper_is_that_client() {
    let place = new_place();
    if !Path::new("/usr/share/postgresql-common/pg_wrapper").exists()
        || place.host("psql --version").is_empty()
    {
        return;
    }
    let list = |entry: &str| format!("{}\nshell = false\npipes = false\npin = true", allow(entry));
    let policy = list("\"psql (-X) --version\"");
    let outcome = start(&place, &policy, &["psql", "-X", "--version"]);
    assert!(outcome.status == 0 && outcome.out.contains("PostgreSQL"), "{outcome:?}");
    assert_eq!(start(&place, &policy, &["psql", "--help"]).status, 126);
    let explained = |policy: &str| {
        let policy = place.policy(policy);
        place.ringfence(&["explain", "--policy", &policy, "--command", "psql -X --version"]).out
    };
    let further = |text: &str| {
        text.lines()
            .any(|line| line.contains("start further /usr/lib/postgresql/") && line.contains(": allowed"))
    };
    let told = explained(&policy);
    assert!(further(&told), "{told}");
    let told = explained(&list("\"/usr/bin/psql **\""));
    assert!(told.contains("start further /usr/lib/postgresql/") && !further(&told), "{told}");
}

fn told(place: &Place, policy: &str, command: &str) -> ringfence_promises::Outcome {
    let policy = place.policy(policy);
    place.ringfence(&["explain", "--policy", &policy, "--workspace", ".", "--command", command])
}

#[test]
fn the_chain_says_what_the_policy_has_and_what_starts() {
    let place = new_place();
    program(&place, "p.py", "#!/usr/bin/env python3\nprint(1)\n");
    // An entry of the offer is not in the file.
    let scripts = "[commands]\nallow = [\"sh ./build.sh **\"]\nfrom_workspace = true";
    let text = told(&place, scripts, "./p.py").out;
    assert!(text.contains("start ./p.py: refused"), "{text}");
    let further = "start further python3 ./p.py: allowed: `python3 ./p.py` of the lines above, once";
    assert!(text.contains(further), "{text}");
    // A link to a listed script is that script.
    let far = place.base.path().join("tools");
    let script = place.write(far.join("rel.sh"), "#!/bin/sh\necho ran\n");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    symlink("rel.sh", far.join("link")).unwrap();
    let (far, link) = (far.display(), far.join("link").display().to_string());
    let listed = format!("[files]\nexec = [\"{far}\"]\n[commands]\nallow = [\"{far}/rel.sh **\"]");
    assert_eq!(start(&place, &listed, &[&link, "x"]).out, "ran\n");
    let text = told(&place, &listed, &format!("{link} x")).out;
    assert!(text.contains("x: allowed") && !text.contains("refused"), "{text}");
    // What stands among the words, and what tar packs with.
    let guard = "[commands]\nallow = [\"bash -c *\", \"ls **\", \"timeout **\", \"tar **\", \"prlimit? **\"]\nfrom_workspace = false";
    for (command, further) in [
        ("timeout 5 sh -c id", "start further sh -c id: refused"),
        ("timeout -k 1 5 env sh -c id", "start further sh -c id: refused"),
        ("prlimit --nofile=9 sh -c id", "start further sh -c id: refused"),
        ("tar -czf x.tgz .", "start further gzip: refused"),
        ("tar xf x.tar.xz", "start further /bin/sh -c xz: refused"),
    ] {
        let text = told(&place, guard, command).out;
        assert!(text.contains(further), "{command}: {text}");
    }
    assert!(!told(&place, guard, "tar -cf z.tgz zj").out.contains("further gzip"));
    let text = told(&place, "[commands]\nallow = [\"ldd\"]\nfrom_workspace = false", "ldd x").out;
    assert!(text.contains("start further /lib") && text.contains("--verify FILE: refused"), "{text}");
    let npm = "[commands]\nallow = [\"npm?\", \"node? **\"]\nshell = false";
    let text = told(&place, npm, "npm test").out;
    assert!(!text.contains("(code from its input)"), "{text}");
    // It runs by its own entry.
    let text = told(&place, "[commands]\nallow = [\"cat\", \"npm?\"]", "npm ci").out;
    assert!(text.contains("for scripts of packages, start node FILE: refused"), "{text}");
}

/// What a compiler is of no use without was named by nothing that says how it is allowed.
#[test]
fn the_parts_of_a_compiler_are_offered_in_one_line_that_works() {
    let place = new_place();
    place.write("x.c", "int main(void) { return 0; }\n");
    let policy = |more: &str| format!("[commands]\nallow = [\"gcc\"]\n{more}");
    let compile = ["gcc", "-o", "x", "x.c"];
    assert_ne!(start(&place, &policy(""), &compile).status, 0);
    let text = told(&place, &policy(""), &compile.join(" ")).out;
    let (_, line) = text.split_once("to allow it: [commands] ").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(start(&place, &policy(line.lines().next().unwrap()), &compile).status, 0, "{text}");
    assert!(!told(&place, &policy("children = \"free\""), &compile.join(" ")).out.contains("to allow it"));
}

/// A part was offered with the words of one run, and the next one after that.
#[test]
fn the_parts_of_a_compiler_that_failed_are_offered_in_one_line_that_works() {
    let place = new_place();
    place.write("x.c", "int main(void) { return 0; }\n");
    place.write("y.cc", "int main() { return 0; }\n");
    for (compiler, source) in [("gcc", "x.c"), ("g++", "y.cc"), ("gcc", "y.cc")] {
        let policy = |more: &str| {
            format!("[commands]\nallow = [\"{compiler} -o out ./{source}\"]\nfrom_workspace = false\n{more}")
        };
        let compile = [compiler, "-o", "out", source];
        assert_ne!(start(&place, &policy(""), &compile).status, 0);
        let text = place.ringfence(&["explain"]).out;
        let (_, line) = text.split_once("to allow it: [commands] ").unwrap_or_else(|| panic!("{text}"));
        assert!(text.contains("the preset `ci-step`"), "{text}");
        assert_eq!(start(&place, &policy(line.lines().next().unwrap()), &compile).status, 0, "{text}");
    }
    // A list of plain programs, which nothing looks at.
    let plain = "[commands]\nallow = [\"gcc\"]\nfrom_workspace = false";
    assert_ne!(start(&place, plain, &["gcc", "-o", "out", "x.c"]).status, 0);
    let text = place.ringfence(&["explain"]).out;
    assert!(text.contains("cc1, as, collect2, ld") && text.contains("--command 'gcc -o out x.c'"), "{text}");
}

#[test]
fn a_refusal_beforehand_has_its_line_and_its_cause() {
    let place = new_place();
    place.write("al", "text");
    // A list of plain programs, which no guard looks at.
    let plain = "[commands]\nallow = [\"bash\", \"ls\"]\nfrom_workspace = false";
    let text = told(&place, plain, "cat al").out;
    assert!(text.contains("to allow it: [commands] allow = [\"cat al\"]"), "{text}");
    let with = plain.replace("\"ls\"", "\"ls\", \"cat al\"");
    assert_eq!(start(&place, &with, &["cat", "al"]).out, "text");
    let text = told(&place, plain, "nosuchprog").out;
    assert!(text.contains("does not name `nosuchprog`; and no directory of PATH has"), "{text}");
    assert_eq!(start(&place, plain, &["nosuchprog"]).status, 127);
    // A list with a program that is not there starts nothing.
    let missing = plain.replace("\"ls\"", "\"ls\", \"nosuchprog\"");
    let outcome = told(&place, &missing, "ls");
    assert!(outcome.err.contains("no run starts with this policy here"), "{outcome:?}");
    assert_eq!(start(&place, &missing, &["ls"]).status, 125);
}

/// Who is no administrator has no `/usr/sbin` in PATH, and the sandbox has; of his own directories it has those where programs may start.
#[test]
fn a_command_is_looked_for_where_the_run_looks() {
    let place = new_place();
    program(&place, "plain.sh", "#!/bin/sh\n");
    let own = place.base.path().join("own");
    let tool = place.write(own.join("rf-tool"), "#!/bin/sh\n");
    std::fs::set_permissions(tool, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(place.workspace.join("plain.sh"), PermissionsExt::from_mode(0o644)).unwrap();
    let policy = place.policy("");
    let with = ["--policy", &policy, "--workspace", "."];
    let path = format!("{}:/usr/bin:/bin", own.display());
    for (command, status, said) in [
        ("chroot --version", 0, ""),
        ("rf-tool", 127, "PATH inside does not lead to"),
        ("./plain.sh", 126, "execute permission"),
        ("./", 126, "is a directory"),
        ("/etc/passwd", 126, "execute permission"),
    ] {
        let mut asked = place.command(&["explain", "--json", "--command", command]);
        let told = asked.args(with).env("PATH", &path).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
        let mut run = place.command(&["run", "--quiet"]);
        run.args(with).arg("--").args(command.split(' ')).env("PATH", &path);
        assert_eq!(run.output().unwrap().status.code(), Some(status), "{command}");
        assert_eq!(told[0]["allowed"], status == 0, "{command}: {told}");
        assert!(told[0]["rule"].as_str().unwrap().contains(said), "{command}: {told}");
    }
}

#[test]
fn what_publishes_and_code_are_called_unwise() {
    let place = new_place();
    let policy = "[commands]\nallow = [\"sh ./x.sh\", \"ls\"]\nfrom_workspace = false";
    place.write("x.sh", "git push; dash -c 'echo hi'; git -c core.pager=id log; basename /a; dirname /a/b\n");
    assert_ne!(start(&place, policy, &["sh", "./x.sh"]).status, 125);
    let text = place.ringfence(&["explain"]).out;
    assert_eq!(text.matches("    unwise").count(), 3, "{text}");
    let (_, offered) = text.split_once("To allow all of these that are not unwise").unwrap();
    assert!(offered.contains("basename") && !offered.contains("git") && !offered.contains("dash"), "{text}");
    for line in [
        "git push",
        "nice python3 -c 1",
        "timeout 5 sh -c ls",
        "git -c user.name=x -C d push origin",
        "python3 -m twine upload x",
    ] {
        let text = told(&place, policy, line).out;
        assert!(text.contains("unwise"), "{text}");
    }
}

#[test]
fn a_refused_exec_names_the_rule() {
    let place = new_place();
    let policy = place.policy("[commands]\nallow = [\"sh -c *\"]\nfrom_workspace = false");
    let started = place.ringfence(&["start", "--policy", &policy, "dev"]);
    assert_eq!(started.status, 0, "{started:?}");
    let refused = place.ringfence(&["exec", "dev", "--", "cat", "x"]);
    assert_eq!(place.ringfence(&["stop", "dev"]).status, 0);
    assert!(refused.status == 126 && refused.err.contains("does not name `/usr/bin/cat`"), "{refused:?}");
}
