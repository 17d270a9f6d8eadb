//! The long form of the test against GTFOBins: with the programs that Debian has, installed where nothing of the machine is changed.

use std::process::{Command, ExitCode};

use crate::command::{cargo, is_root, root, run};

const SCRIPT: &str = include_str!("gtfobins.sh");

/// Debian packages whose programs GTFOBins has an entry for, but for those that everybody has, and for large ones.
const PACKAGES: &[&str] = &[
    "ash",
    "at",
    "bc",
    "bsd-mailx",
    "busybox",
    "cowsay",
    "cpio",
    "csh",
    "dialog",
    "distcc",
    "ed",
    "elvish",
    "entr",
    "expect",
    "file",
    "fish",
    "ftp",
    "gawk",
    "gdb",
    "genisoimage",
    "hping3",
    "ksh",
    "less",
    "lftp",
    "libcap2-bin",
    "ltrace",
    "lua5.4",
    "m4",
    "make",
    "man-db",
    "mawk",
    "mc",
    "mksh",
    "mtr-tiny",
    "multitime",
    "nano",
    "nmap",
    "ncat",
    "php-cli",
    "posh",
    "psmisc",
    "putty-tools",
    "rc",
    "rlwrap",
    "rsync",
    "ruby",
    "sash",
    "screen",
    "socat",
    "sqlite3",
    "sshpass",
    "strace",
    "taskwarrior",
    "tcl",
    "tcsh",
    "time",
    "tmux",
    "unzip",
    "valgrind",
    "vim",
    "w3m",
    "wget",
    "yash",
    "zip",
    "zsh",
];

/// Runs the verb: as root, and where apt is.
pub(crate) fn gtfobins() -> Result<ExitCode, String> {
    if !is_root() {
        return Err("`gtfobins` installs packages in a mount namespace: run it as root".to_owned());
    }
    run(cargo().args(["build", "--locked", "-p", "ringfence"]))?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "gtfobins"])
        .arg(root())
        .args(PACKAGES);
    run(&mut command).map(|()| ExitCode::SUCCESS)
}
