//! `commands.shell = false` against GTFOBins: what its entries do to get a shell gets none. Its data comes in a package and is read by
//! the test alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Mutex;

use ringfence_real::{inputs, world::World};

/// What a shell makes of [`TYPED`], and the C library's wordexp(3) does not, which mail(1) uses.
const MARK: &str = "RF-42-RF";
const TYPED: &str = "echo RF-$(echo 42)-RF\nexit\n!sh\n:q!\n";
/// Ways to get a shell, or to start any program.
const KINDS: [&str; 2] = ["shell", "command"];
/// How many at a time: most of them wait for the end of their input.
const WORKERS: usize = 8;

/// Each way by a name: program, kind and number.
fn ways() -> BTreeMap<String, (String, String)> {
    let mut ways = BTreeMap::new();
    for file in fs::read_dir(inputs::gtfobins()).expect("the entries").flatten().map(|entry| entry.path()) {
        let Some(program) = file.file_stem().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let Ok(entry) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        for kind in KINDS {
            let list = entry.pointer(&format!("/functions/{kind}")).and_then(|list| list.as_array());
            for (number, way) in list.into_iter().flatten().enumerate() {
                if let Some(code) = way.get("code").and_then(|code| code.as_str()) {
                    ways.insert(format!("{program} {kind} {number}"), (program.clone(), code.to_owned()));
                }
            }
        }
    }
    ways
}

/// Whether a shell answered.
fn answers(name: &str, code: &str, shell: bool) -> bool {
    let world = World::new();
    let entry = world.write(
        world.base.join("entry/it"),
        &format!("#!/bin/bash\necho begun\nCOMMAND='sh'\nLFILE=x\n{code}\n"),
    );
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o755)).expect("a script");
    let entry = entry.display().to_string();
    // The entry is a script that the policy lists: there is no other shell.
    let exec =
        format!("[files]\nexec = [\"{}\"]\n[limits]\ntime = \"4s\"\n", world.base.join("entry").display());
    let list = format!("[commands]\nallow = [\"{entry}\"]\nchildren = \"free\"\nshell = {shell}");
    let policy = world.policy("default", &format!("{exec}{list}"));
    let mut command = world.command(ringfence_real::binary());
    command.args(["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", &entry]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ringfence");
    let _ = child.stdin.take().expect("its input").write_all(TYPED.as_bytes());
    let done = child.wait_with_output().expect("its output");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("begun"), "{name}: {said}");
    said.contains(MARK)
}

#[test]
fn no_entry_gets_a_shell() {
    let there = |program: &str| {
        ["/usr/bin", "/bin", "/usr/sbin"].iter().any(|at| std::path::Path::new(at).join(program).exists())
    };
    let all = ways();
    assert!(all.len() > 200, "{}", all.len());
    let queue: Mutex<Vec<_>> =
        Mutex::new(all.into_iter().filter(|(_, (program, _))| there(program)).collect());
    let tried = queue.lock().expect("no worker fails").len();
    let (open, through) = (Mutex::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no worker fails").pop();
                    let Some((name, (_, code))) = next else { break };
                    if answers(&name, &code, true) {
                        *open.lock().expect("no worker fails") += 1;
                    }
                    if answers(&name, &code, false) {
                        through.lock().expect("no worker fails").push(name);
                    }
                }
            });
        }
    });
    let (open, through) =
        (open.into_inner().expect("no worker fails"), through.into_inner().expect("no worker fails"));
    println!(
        "{tried} ways of programs that are here: {open} get a shell without the key, {} with it",
        through.len()
    );
    assert!(tried >= 40 && open >= 15, "{tried}, {open}");
    assert!(through.is_empty(), "{through:?}");
}
