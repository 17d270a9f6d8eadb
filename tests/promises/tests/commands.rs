//! `commands.allow`: the named programs start, nothing else does.

use ringfence_promises::Place;

fn allow(list: &str) -> String {
    format!("[commands]\nallow = [{list}]\nfrom_workspace = false")
}

fn start(place: &Place, policy: &str, command: &[&str]) -> ringfence_promises::Outcome {
    let path = place.policy(policy);
    let mut arguments = vec!["run", "--quiet", "--policy", &path, "--workspace", ".", "--"];
    arguments.extend(command);
    place.ringfence(&arguments)
}

#[test]
fn only_named_programs_start() {
    let place = Place::new();
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
    let place = Place::new();
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
fn a_script_needs_its_interpreter_named() {
    let place = Place::new();
    let tool = place.write(place.base.path().join("bin/tool"), "#!/bin/sh\necho from the script\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let exec = format!("[files]\nexec = [\"{}\"]\n", tool.parent().unwrap().display());
    let refused = start(
        &place,
        &format!("{exec}{}", allow(&format!("\"{}\"", tool.display()))),
        &[tool.to_str().unwrap()],
    );
    assert!(refused.status == 125 && refused.err.contains("script for"), "{refused:?}");
}

#[test]
fn an_empty_list_starts_nothing() {
    let place = Place::new();
    assert_eq!(start(&place, &allow(""), &["true"]).status, 126);
}
