//! `cargo xtask bench --network`: what the gateway costs, beside HAProxy, Squid, mitmproxy and sandlock, each doing the same job in the same world.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::{root, run, target};
use crate::hosted::peer;

const SCRIPT: &str = "xtask/src/network.py";
const WORLD: &str = "tests/promises/world/world.py";
/// Debian's packages of Squid with what it needs to start; none is installed.
const SQUID: [&str; 8] = [
    "squid",
    "squid-common",
    "squid-langpack",
    "libecap3",
    "libtdb1",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libltdl7",
];

/// HAProxy, the same.
const HAPROXY: [&str; 4] = ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"];

/// What is promised: one way against another, of the rate at least, or of the microseconds added at most.
const TARGETS: [(&str, &str, &str, f64); 13] = [
    ("plain: ringfence", "plain: nothing between", "rate", 0.9),
    // What no process in between goes below on this machine.
    ("plain: ringfence", "plain: HAProxy", "rate", 0.9),
    ("plain: ringfence", "plain: HAProxy", "new", 100.0),
    ("plain: ringfence", "plain: HAProxy", "kept", 50.0),
    ("TLS: ringfence", "TLS: HAProxy", "rate", 0.9),
    ("TLS: ringfence", "TLS: HAProxy", "new", 100.0),
    ("TLS: ringfence", "TLS: nothing between", "rate", 0.9),
    ("TLS, looked into: ringfence", "TLS: ringfence", "rate", 0.6),
    ("plain: ringfence", "plain: nothing between", "new", 100.0),
    ("TLS: ringfence", "TLS: nothing between", "new", 100.0),
    ("TLS, looked into: ringfence", "TLS: nothing between", "new", 300.0),
    ("TLS, looked into: ringfence", "TLS: nothing between", "kept", 50.0),
    ("TLS, a secret put on: ringfence", "TLS: nothing between", "kept", 100.0),
];

/// Measures and prints; what cannot be fetched is said, and left out.
pub(crate) fn network(binary: &Path, scratch: &Path, rounds: usize, json: bool) -> Result<(), String> {
    let base = scratch.join("world");
    for directory in ["workspace", "mitm"] {
        fs::create_dir_all(base.join(directory)).map_err(|e| e.to_string())?;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !crate::command::is_root() {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command.arg("python3").arg(root().join(WORLD)).arg(&base);
    command.arg("/usr/bin/python3").arg(root().join(SCRIPT)).arg("compare").arg(rounds.to_string());
    command.current_dir(base.join("workspace")).env("BASE", &base).env("RF", binary);
    command.env("RINGFENCE_STATE", scratch.join("state"));
    for (name, found) in [
        ("SQUID", extracted("squid", &SQUID)),
        ("HAPROXY", extracted("haproxy", &HAPROXY)),
        ("MITMPROXY", mitmproxy()),
        ("SANDLOCK", peer()),
    ] {
        match found {
            Ok(path) => {
                command.env(name, path);
            }
            Err(why) => println!("without {name}: {why}"),
        }
    }
    let done = command.output().map_err(|error| format!("unshare: {error}"))?;
    let text = String::from_utf8_lossy(&done.stdout);
    let found: Value = serde_json::from_str(text.trim())
        .map_err(|_| format!("{}{}", text, String::from_utf8_lossy(&done.stderr)))?;
    if json {
        println!("{found}");
        return Ok(());
    }
    println!(
        "the gateway, medians of {rounds} runs in turns\n{:>10} {:>10} {:>10} {:>10} {:>10}",
        "MiB/s", "sent", "new, us", "kept, us", "name, us"
    );
    let number = |way: &str, what: &str| found[way][what].as_f64().unwrap_or(f64::NAN);
    for way in found.as_object().into_iter().flat_map(|ways| ways.keys()) {
        println!(
            "{:>10.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0}  {way}",
            number(way, "rate"),
            number(way, "sent"),
            number(way, "new"),
            number(way, "kept"),
            number(way, "name")
        );
    }
    for (way, against, what, wanted) in TARGETS {
        let (own, other) = (number(way, what), number(against, what));
        let (seen, held, words) = if what == "rate" {
            (own / other, own / other >= wanted, "of the rate; target: at least")
        } else {
            (own - other, own - other <= wanted, "us added; target: at most")
        };
        let missed = if held { "" } else { ", missed" };
        println!("{way}, {what}: {seen:.2} {words} {wanted}, against {against}{missed}");
    }
    Ok(())
}

/// The files of Debian's packages, below the target directory.
fn extracted(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let place = target().join("bench").join(name);
    if !place.is_dir() {
        let fetch = target().join("bench/fetch").join(name);
        fs::create_dir_all(&fetch).map_err(|e| e.to_string())?;
        run(Command::new("apt-get").args(["download", "--quiet"]).args(packages).current_dir(&fetch))?;
        for archive in fs::read_dir(&fetch).map_err(|e| e.to_string())?.flatten() {
            run(Command::new("dpkg-deb").arg("--extract").arg(archive.path()).arg(&place))?;
        }
    }
    Ok(place)
}

/// mitmproxy's program without a terminal, in an environment of its own.
fn mitmproxy() -> Result<PathBuf, String> {
    let place = target().join("bench/mitmproxy");
    let program = place.join("bin/mitmdump");
    if !program.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
        run(Command::new(place.join("bin/pip")).args(["install", "--quiet", "mitmproxy"]))?;
    }
    Ok(program)
}
