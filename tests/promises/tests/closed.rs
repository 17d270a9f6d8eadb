//! Directories that a task closed, to everybody or to a look inside: what it changed lands and is undone all the same.

use ringfence_promises::Place;

use crate::landing::host;

/// A directory that may be read and not searched, and others: what is in them is shown and lands, with the mode that the task gave.
fn any_mode_lands(place: &Place) {
    host(place, "mkdir d e f g; echo one > d/a; echo one > e/a; echo one > f/a; echo one > g/a; chmod 555 g");
    let script = "echo task > d/a; chmod 644 d; echo task > e/a; chmod 400 e; echo task > f/a; chmod 0 f
                  echo task > g/a; mkdir -p new/in; echo n > new/in/n; chmod 200 new/in; chmod 600 new";
    assert_eq!(place.run("", script).status, 0);
    let diff = place.ringfence(&["diff", "--name-only"]);
    assert_eq!(diff.out, "d\nd/a\ne\ne/a\nf\nf/a\ng/a\nnew\nnew/in\nnew/in/n\n", "{diff:?}");
    assert_eq!(place.ringfence(&["apply", "last", "--", "g"]).status, 0);
    let landed = place.ringfence(&["apply"]);
    assert_eq!(landed.status, 0, "{landed:?}");
    assert_eq!(host(place, "stat -c '%n %a' *"), "d 644\ne 400\nf 0\ng 555\nnew 600\n");
    host(place, "chmod 700 d e f new");
    assert_eq!(
        host(place, "stat -c %a new/in; chmod 700 new/in; cat ?/a new/in/n"),
        "200\ntask\ntask\ntask\ntask\nn\n"
    );
}

#[test]
fn any_mode_of_a_directory_lands() {
    any_mode_lands(&Place::new());
}

#[test]
fn any_mode_of_a_directory_lands_in_tier_landlock() {
    any_mode_lands(&Place::new().in_tier("landlock"));
}

#[test]
fn checkpoints_know_directories_of_any_mode() {
    let place = Place::new();
    host(&place, "mkdir d; echo one > d/a");
    let policy = place.policy("");
    let verbs: [&[&str]; 8] = [
        &["start", "dev", "--policy", &policy, "--workspace", "."],
        &["exec", "dev", "--", "sh", "-c", "echo task > d/a; mkdir z; echo z > z/y; chmod 0 z; chmod 644 d"],
        &["checkpoint", "dev", "one"],
        &["diff", "dev", "--at", "one"],
        &["checkpoint", "dev", "--list"],
        &["exec", "dev", "--", "sh", "-c", "echo more > more"],
        &["stop", "dev"],
        &["apply"],
    ];
    for words in verbs {
        let done = place.ringfence(words);
        assert_eq!(done.status, 0, "{words:?} {done:?}");
    }
    assert_eq!(host(&place, "stat -c %a d z; chmod 700 d z; cat d/a z/y more"), "644\n0\ntask\nz\nmore\n");
}
