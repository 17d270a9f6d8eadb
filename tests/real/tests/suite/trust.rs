//! A policy file found in a workspace is somebody else's text: it counts only as it was accepted, and never makes
//! way for another policy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringfence_real::world::{Outcome, World};

const POLICY: &str = "version = 1\nextends = [\"default\"]\n\n[workspace]\nmode = \"direct\"\n";
const WIDER: &str = "\n[files]\nread = [\"~/private\"]\n";

fn world() -> World {
    let world = World::new();
    world.write("ringfence.toml", POLICY);
    world.write(world.home.join("private/note"), "a note\n");
    world
}

/// Leaves a file on the host if anything ran under the file's policy, and says so under any other.
fn run(world: &World) -> Outcome {
    let _ = fs::remove_file(world.workspace.join("ran"));
    world.ringfence(&["run", "--", "bash", "-c", "echo ran | tee ran"])
}

#[track_caller]
fn refused(world: &World) -> String {
    let outcome = run(world);
    assert_eq!((outcome.status, outcome.out.as_str()), (125, ""), "{outcome:#?}");
    assert!(!world.workspace.join("ran").exists());
    outcome.err
}

#[track_caller]
fn runs(world: &World) {
    let outcome = run(world);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "ran\n"), "{outcome:#?}");
    assert!(world.workspace.join("ran").exists(), "another policy was used: {outcome:#?}");
}

#[track_caller]
fn trust(world: &World) {
    let trusted = world.ringfence(&["trust"]);
    assert_eq!(trusted.status, 0, "{trusted:#?}");
}

#[test]
fn a_new_file_is_refused_until_it_is_trusted() {
    let world = world();
    let message = refused(&world);
    assert!(message.contains("ringfence.toml") && message.contains("ringfence trust"), "{message}");
    trust(&world);
    runs(&world);
}

#[test]
fn an_edited_file_is_refused_with_the_difference() {
    let world = world();
    trust(&world);
    runs(&world);
    world.write("ringfence.toml", &format!("{POLICY}{WIDER}"));
    let message = refused(&world);
    assert!(message.contains("+read = [\"~/private\"]") && message.contains("trust"), "{message}");
    // A step back is what was accepted.
    world.write("ringfence.toml", POLICY);
    runs(&world);
    world.write("ringfence.toml", &format!("{POLICY}{WIDER}"));
    trust(&world);
    runs(&world);
    let note = world.ringfence(&["run", "--", "cat", "../private/note"]);
    assert_eq!(note.out, "a note\n", "{note:#?}");
}

#[test]
fn a_task_that_edits_its_own_policy_stops_the_next_run() {
    let world = world();
    trust(&world);
    let script = "printf '[files]\\nread = [\"~/private\"]\\n' >> ringfence.toml";
    let edited = world.ringfence(&["run", "--", "bash", "-c", script]);
    assert_eq!(edited.status, 0, "{edited:#?}");
    let message = refused(&world);
    assert!(message.contains("+read = [\"~/private\"]"), "{message}");
}

#[test]
fn an_edited_file_that_it_extends_is_refused_too() {
    let world = world();
    world.write("base.toml", "version = 1\n");
    world.write("ringfence.toml", &POLICY.replace("\"default\"", "\"default\", \"./base.toml\""));
    trust(&world);
    runs(&world);
    world.write("base.toml", &format!("version = 1\n{WIDER}"));
    let message = refused(&world);
    assert!(message.contains("+read = [\"~/private\"]"), "{message}");
}

#[test]
fn an_edit_that_hides_itself_is_shown_escaped() {
    let world = world();
    trust(&world);
    world.write("ringfence.toml", &format!("{POLICY}# \u{1b}[2K\u{1b}[1A\u{202e}\n{WIDER}"));
    let message = refused(&world);
    assert!(!message.contains('\u{1b}') && !message.contains('\u{202e}'), "{message:?}");
    assert!(message.contains("+read = "), "{message}");
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let world = world();
    trust(&world);
    let path = world.workspace.join("ringfence.toml");
    let replace = |how: &dyn Fn(&Path)| {
        fs::remove_file(&path).expect("the file is gone");
        how(&path);
        refused(&world);
    };
    replace(&|path| symlink("nowhere", path).expect("a link"));
    replace(&|path| symlink("ringfence.toml", path).expect("a link"));
    replace(&|path| {
        let made = world.outside(&format!("mkfifo '{}'", path.display()));
        assert_eq!(made.status, 0);
    });
    replace(&|path| fs::write(path, "not = [toml").expect("a file"));
    fs::remove_file(&path).expect("the file is gone");
    fs::create_dir(&path).expect("a directory");
    refused(&world);
}

#[test]
fn a_file_above_counts_as_well() {
    let mut world = world();
    fs::create_dir_all(world.workspace.join("deep/er")).expect("directories");
    trust(&world);
    runs(&world);
    world.write("ringfence.toml", &format!("{POLICY}{WIDER}"));
    world.workspace = world.workspace.join("deep/er");
    refused(&world);
}

#[test]
fn trust_is_of_one_place() {
    let (one, mut other) = (world(), world());
    trust(&one);
    other.state.clone_from(&one.state);
    let message = refused(&other);
    assert!(message.contains("nobody has accepted it"), "{message}");
}
