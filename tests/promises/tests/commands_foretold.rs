//! What `explain --command` says of a command is what a run does with it.

use std::path::Path;

use ringfence_promises::Place;

use crate::commands::{allow, start};

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
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
