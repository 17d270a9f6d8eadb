//! What was refused is told alike wherever it is told: at the end of a run, in its report, by `explain`, and to the task itself.

use ringfence_promises::Place;
use serde_json::Value;

fn place() -> Place {
    Place::new().in_tier(module_path!())
}

fn hosted() -> bool {
    module_path!().contains("landlock")
}

/// Starts, connections and watched writes as well as what was looked for: the task's own words, and none of the policy's.
#[test]
fn a_task_reads_which_starts_and_connections_it_was_refused() {
    let place = place();
    place.write("keep/file", "kept\n");
    let policy = "[workspace]\nmode = \"direct\"\nprotect = [\"keep\"]\n[runtime]\nwatch_writes = true\n\
                  [commands]\nallow = [\"sh\", \"bash\", \"cat\", \"getent\", \"git status\"]\n\
                  [network]\nallow = [\"granted.example:8080\"]\ndeny = [\"denied.example\"]";
    let script = "exec 2> /dev/null; git push 'a b'; getent hosts foo.example.org; getent hosts denied.example
        bash -c 'echo > /dev/tcp/10.1.2.3/80'; bash -c 'echo > /dev/tcp/granted.example/81'; echo x > keep/file; cat /run/ringfence/refusals";
    if hosted() {
        let refusal = place.ringfence(&["explain", "--self"]);
        assert!(refusal.err.contains("tier `landlock`"), "{refusal:?}");
        return;
    }
    let done = place.run(policy, script);
    let lines: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keep = place.workspace.join("keep/file").display().to_string();
    for (what, to) in [
        ("git push 'a b'", "execute"),
        ("foo.example.org", "ask"),
        ("denied.example", "ask"),
        ("10.1.2.3:80", "connect"),
        ("port 81 of a name", "connect"),
        (&keep, "write"),
    ] {
        let found: Vec<_> = lines.iter().filter(|one| one["refused"] == what && one["to"] == to).collect();
        let [one] = found[..] else { panic!("{what}: {done:?}") };
        assert_eq!(one["by"], "the policy does not allow it");
    }
    for word in ["granted.example", "network.", "commands.", "8080", "protect"] {
        assert!(!done.out.contains(word), "{word}: {}", done.out);
    }
}
