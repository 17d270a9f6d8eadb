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
