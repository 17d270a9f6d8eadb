//! A package whose install script pries: the install ends as if nothing were there to be found, and all of it is told.

use std::process::Command;

use ringfence_promises::Place;
use serde_json::Value;

/// What such scripts do, one line for each thing that they got.
const PRY: &str = r#"
const fs = require("fs"), os = require("os"), net = require("net"), path = require("path");
const got = (what, data) => console.log("GOT " + what + " " + String(data).trim().slice(0, 60));
for (const file of [".ssh/id_rsa", ".aws/credentials", ".npmrc", ".netrc", ".bash_history"])
  try { got("~/" + file, fs.readFileSync(path.join(os.homedir(), file))); } catch {}
for (const file of ["/etc/shadow", "/root/.ssh/id_rsa", "/proc/1/environ"])
  try { got(file, fs.readFileSync(file)); } catch {}
for (const name of fs.readdirSync(os.homedir())) if (name.startsWith("private-")) got("name", name);
for (const [name, value] of Object.entries(process.env)) if (/TOKEN|SECRET/.test(name)) got(name, value);
let left = 2;
for (const socket of ["/var/run/docker.sock", process.env.SSH_AUTH_SOCK || path.join(os.homedir(), "agent.sock")]) {
  const peer = net.connect(socket, () => { got(socket, "connected"); peer.end(); });
  peer.on("error", () => {}).on("close", () => { if (--left === 0) console.log("PRIED"); });
}
"#;

/// A home worth prying into, and a workspace with the packed package; the listener is an agent of the host's.
fn prepare() -> (Place, std::os::unix::net::UnixListener) {
    let place = Place::in_home();
    for (file, text) in [
        (".ssh/id_rsa", "CANARY-KEY"),
        (".aws/credentials", "CANARY-AWS"),
        (".netrc", "CANARY-NETRC"),
        (".bash_history", "CANARY-HISTORY"),
        ("private-notes", "CANARY-NOTES"),
    ] {
        place.write(place.home.join(file), text);
    }
    let agent = std::os::unix::net::UnixListener::bind(place.home.join("agent.sock")).unwrap();
    let package = place.base.path().join("pry");
    place.write(package.join("pry.js"), PRY);
    let manifest =
        r#"{"name": "pry", "version": "1.0.0", "scripts": {"install": "node pry.js > pried.txt"}}"#;
    place.write(package.join("package.json"), manifest);
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", "--offline", "--pack-destination"]).arg(&place.workspace).arg(&package);
    let packed = pack.env("HOME", place.base.path()).output().unwrap();
    assert!(packed.status.success(), "{packed:?}");
    place.write("package.json", r#"{"name": "own", "version": "1.0.0"}"#);
    (place, agent)
}

/// Installs it, and says what was printed and what the script got.
fn install(place: &Place, policy: &str, hosted: bool) -> (String, String) {
    let install = "npm install --offline --no-audit --no-fund --cache \"$TMPDIR/npm\" --foreground-scripts ./pry-1.0.0.tgz 2>&1";
    let policy = place.policy(policy);
    let mut words = vec!["run", "--policy", &policy, "--workspace", "."];
    // Root's files are root's: nothing less than root could work on them there.
    if hosted && ringfence_promises::root() {
        words.extend(["--allow-degraded", "root-uid"]);
    }
    words.extend(["--", "sh", "-c", install]);
    let mut command = place.command(&words);
    command.env("NPM_TOKEN", "CANARY-ENV").env("SSH_AUTH_SOCK", place.home.join("agent.sock"));
    if hosted {
        command.env("RINGFENCE_TEST_HOST", "no-userns");
    }
    let done = command.output().unwrap();
    let said = [done.stdout.clone(), done.stderr.clone()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(done.status.success() && said.contains("added 1 package"), "the install fails: {said}");
    let pried = place.read("node_modules/pry/pried.txt").unwrap();
    assert!(pried.ends_with("PRIED\n"), "the script did not get to its end: {pried}");
    assert!(!pried.contains("CANARY"), "{pried}");
    (said, pried)
}

#[test]
fn an_install_script_that_pries_finds_nothing_and_is_told_of() {
    let (place, _agent) = prepare();
    let policy = "[workspace]\nmode = \"direct\"\n[files]\ndecoy = [\"~/.aws/credentials\"]";
    let (said, pried) = install(&place, policy, false);
    let got: Vec<&str> = pried.lines().filter(|line| line.starts_with("GOT")).collect();
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        return assert!(got.is_empty(), "{got:?}");
    }
    // A decoy is all that it found.
    assert!(got.len() == 1 && got[0].starts_with("GOT ~/.aws/credentials [default]"), "{got:?}");
    assert!(said.contains("incident:") && said.contains("/pry.js (node)"), "{said}");

    let explained = place.ringfence(&["explain", "last", "--json"]);
    let explained: Value = serde_json::from_str(&explained.out).unwrap();
    let text = explained.to_string();
    let pry = place.workspace.join("node_modules/pry/pry.js");
    let by_script = |path: &str| {
        let mut told = explained["refusals"].as_array().unwrap().iter();
        told.any(|one| {
            let scripts = one["scripts"].as_array().unwrap();
            one["target"].as_str().unwrap().contains(path)
                && scripts.iter().any(|script| pry.as_os_str() == script.as_str().unwrap())
        })
    };
    for path in
        [".ssh", ".netrc", ".bash_history", "/etc/shadow", "docker.sock", "agent.sock", ".aws/credentials"]
    {
        assert!(by_script(path), "{path} is not explained, with the script that looked there: {text}");
    }
    let words = place.ringfence(&["explain", "last"]).out;
    let told = words.lines().find(|line| line.contains("/etc/shadow")).unwrap();
    assert!(told.contains("/pry.js (node)"), "{told}");
}

/// There who looks is not seen; what it finds is the same.
#[test]
fn it_finds_nothing_in_tier_landlock_either() {
    let (place, _agent) = prepare();
    let (said, pried) = install(&place, "[workspace]\nmode = \"direct\"", true);
    assert!(said.contains("tier `landlock`"), "{said}");
    assert_eq!(pried, "PRIED\n");
}

/// A package manager writes to its cache whatever it does; what it wrote is gone with the sandbox.
#[test]
fn caches_are_shown_and_written_to_in_a_view_of_their_own() {
    let place = Place::in_home();
    place.write(place.home.join(".npm/_cacache/known"), "old");
    place.write(place.home.join(".cargo/registry/known"), "old");
    let package = place.base.path().join("plain");
    place.write(package.join("package.json"), "{\"name\":\"plain\",\"version\":\"1.0.0\"}");
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", "--pack-destination"]).arg(&place.workspace).current_dir(&package);
    assert!(pack.env("HOME", place.base.path()).output().unwrap().status.success());
    let script = "set -e; for cache in .npm/_cacache .cargo/registry; do cd ~/$cache; test $(cat known) = old; echo evil > known; \
        mkdir -p tmp; echo x > tmp/x; mv tmp/x y; done";
    for _ in 0..2 {
        let written = place.run("", script);
        assert_eq!(written.status, 0, "{written:?}");
    }
    let install = place.run("", "npm install --offline --no-audit --no-fund ./plain-1.0.0.tgz 2>&1");
    assert!(install.status == 0 && install.out.contains("added 1 package"), "{install:?}");
    assert!(!place.home.join(".npm/_cacache/tmp").exists() && !place.home.join(".cargo/registry/y").exists());
    assert_eq!(std::fs::read_to_string(place.home.join(".cargo/registry/known")).unwrap(), "old");
}

/// What its user fetched before is npm's to write to, or not there.
#[test]
fn a_cache_of_its_user_keeps_npm_from_nothing() {
    for (hosted, linked) in [(false, false), (true, false), (true, true)] {
        let (place, _agent) = prepare();
        place.host(if linked { "mkdir -p ~/.npm ~/far; ln -s ~/far ~/.npm/_cacache" } else { "true" });
        place.host(
            "mkdir -p ~/.npm/_cacache/tmp ~/.npm/_cacache/content-v2; echo x > ~/.npm/_cacache/content-v2/x",
        );
        let place = if hosted { place.in_tier("landlock") } else { place };
        let done =
            place.run("", "npm install --offline --no-audit --no-fund --ignore-scripts ./pry-1.0.0.tgz 2>&1");
        assert!(done.status == 0 && done.out.contains("added 1 package"), "{hosted}: {done:?}");
        let moved = place.run("", "mkdir -p node_modules/a && mv node_modules b && ls b");
        assert!(moved.status == 0 && moved.out == "a\n", "{hosted}: {moved:?}");
        assert_eq!(place.host("find ~/.npm/_cacache/ -type f | wc -l"), "1\n", "{hosted}");
    }
}
