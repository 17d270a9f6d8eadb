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

#[test]
fn an_install_script_that_pries_finds_nothing_and_is_told_of() {
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
    let _agent = std::os::unix::net::UnixListener::bind(place.home.join("agent.sock")).unwrap();
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

    let policy = "[workspace]\nmode = \"direct\"\n[files]\ndecoy = [\"~/.aws/credentials\"]";
    let install = "npm install --offline --no-audit --no-fund --cache /tmp/npm --foreground-scripts ./pry-1.0.0.tgz 2>&1";
    let mut command = place.command(&[
        "run",
        "--policy",
        &place.policy(policy),
        "--workspace",
        ".",
        "--",
        "sh",
        "-c",
        install,
    ]);
    command.env("NPM_TOKEN", "CANARY-ENV").env("SSH_AUTH_SOCK", place.home.join("agent.sock"));
    let done = command.output().unwrap();
    let said = [done.stdout.clone(), done.stderr.clone()].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(done.status.success() && said.contains("added 1 package"), "the install fails: {said}");
    let pried = place.read("node_modules/pry/pried.txt").unwrap();
    assert!(pried.ends_with("PRIED\n"), "the script did not get to its end: {pried}");
    let got: Vec<&str> = pried.lines().filter(|line| line.starts_with("GOT")).collect();
    assert!(!pried.contains("CANARY"), "{pried}");
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        return assert!(got.is_empty(), "{got:?}");
    }
    // A decoy is all that it found.
    assert!(got.len() == 1 && got[0].starts_with("GOT ~/.aws/credentials [default]"), "{got:?}");
    assert!(said.contains("incident:") && said.contains("/node"), "{said}");

    let explained = place.ringfence(&["explain", "last", "--json"]);
    let explained: Value = serde_json::from_str(&explained.out).unwrap();
    let text = explained.to_string();
    for path in
        [".ssh", ".netrc", ".bash_history", "/etc/shadow", "docker.sock", "agent.sock", ".aws/credentials"]
    {
        assert!(text.contains(path), "{path} is not explained: {text}");
    }
    let words = place.ringfence(&["explain", "last"]).out;
    let told = words.lines().find(|line| line.contains("/etc/shadow")).unwrap();
    assert!(told.contains("node"), "{told}");
}
