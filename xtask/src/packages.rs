//! The system programs that the tests use: installed by root where apt is, named otherwise.

use std::path::Path;
use std::process::Command;

use crate::command::exists;
use crate::command::is_root;
use crate::command::run;

/// Program and Debian package. The product itself needs none of them.
const PROGRAMS: &[(&str, &str)] = &[
    ("bash", "bash"),
    ("busybox", "busybox"),
    ("bwrap", "bubblewrap"),
    ("bzip2", "bzip2"),
    ("curl", "curl"),
    ("dbus-run-session", "dbus-daemon"),
    ("dbus-send", "dbus-bin"),
    ("docker-registry", "docker-registry"),
    ("firejail", "firejail"),
    ("gcc", "gcc"),
    ("gdb", "gdb"),
    ("git", "git"),
    ("gnome-keyring-daemon", "gnome-keyring"),
    ("gpg", "gnupg"),
    ("jq", "jq"),
    ("less", "less"),
    ("make", "make"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("pip3", "python3-pip"),
    ("python3", "python3"),
    ("runc", "runc"),
    ("x86_64-linux-musl-gcc", "musl-tools"),
    ("secret-tool", "libsecret-tools"),
    ("setpriv", "util-linux"),
    ("skopeo", "skopeo"),
    ("sqlite3", "sqlite3"),
    ("strace", "strace"),
    ("tmux", "tmux"),
    ("top", "procps"),
    ("unshare", "util-linux"),
    ("vim", "vim"),
    ("javac", "default-jdk-headless"),
    ("podman", "podman"),
    ("psql", "postgresql-client"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("wget", "wget"),
];

/// Installs or names what is missing.
pub(crate) fn ensure() -> Result<(), String> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() || !exists("apt-get") {
        return Err(format!("missing packages: {list}; install them with: apt-get install {list}"));
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))?;
    let left = self::missing();
    if left.is_empty() { Ok(()) } else { Err(format!("still missing: {}", left.join(" "))) }
}

fn missing() -> Vec<&'static str> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect();
    // The sandbox sees the system's Python, not one of the invoker's home.
    let python = Path::new("/usr/bin/python3");
    if !python.is_file() {
        missing.push("python3");
    }
    for (module, package) in [("pytest", "python3-pytest"), ("h2", "python3-h2")] {
        let asked = Command::new(python).args(["-c", &format!("import {module}")]).output();
        if !asked.is_ok_and(|done| done.status.success()) {
            missing.push(package);
        }
    }
    missing.sort_unstable();
    missing.dedup();
    missing
}
