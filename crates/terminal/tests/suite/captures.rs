//! Real programs in a real terminal device: their output goes through unchanged but for what is expected.

use std::path::Path;
use std::process::Command;

use ringfence_terminal::Kind;

use super::{pushed, shown};

/// What a program wrote to a terminal of 80 by 24. `None` where the program or `script` is missing.
fn capture(terminal: &str, command: &str) -> Option<Vec<u8>> {
    let program = command.split(' ').find(|word| !word.contains('='))?;
    if !exists("script") || !exists(program) {
        eprintln!("skipped: no `script` or `{program}`");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    // What a program waits for is typed; what waits still is ended.
    let keys = directory.path().join("keys");
    std::fs::write(&keys, "qqqq").unwrap();
    let status = Command::new("timeout")
        .args(["5", "script", "--quiet", "--flush", "--log-out"])
        .arg(&log)
        .args(["--command", &format!("stty cols 80 rows 24; {command}")])
        .env("TERM", terminal)
        .env("HOME", directory.path())
        .current_dir(directory.path())
        .stdin(std::fs::File::open(keys).unwrap())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{command}");
    let bytes = std::fs::read(log).unwrap();
    // The first and the last line are `script`'s.
    let begin = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let end = bytes.windows(13).rposition(|window| window == b"\nScript done ").unwrap();
    Some(bytes[begin..end].to_vec())
}

fn exists(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(program).exists()))
}

/// The output is the input but for sequences of these kinds.
fn unchanged_but(terminal: &str, command: &str, expected: &[Kind]) {
    let Some(bytes) = capture(terminal, command) else { return };
    let (output, removed) = pushed(&bytes);
    println!("{terminal} {command}: {} bytes, removed {removed:?}", bytes.len());
    assert!(!output.is_empty(), "{command}");
    let unexpected: Vec<_> = removed.iter().filter(|(kind, _)| !expected.contains(kind)).collect();
    assert!(unexpected.is_empty(), "{command}: {unexpected:?} of {}", shown(&bytes));
    if removed.is_empty() {
        assert_eq!(shown(&output), shown(&bytes), "{command}");
    } else {
        // Nothing is added, and nothing changes its place.
        let mut rest = bytes.iter();
        assert!(output.iter().all(|byte| rest.any(|other| other == byte)), "{command}");
    }
}

/// Terminals whose entries differ most; an entry that is missing is left out.
fn terminals() -> Vec<&'static str> {
    let known = |name: &&str| {
        let places = ["/usr/share/terminfo", "/lib/terminfo", "/etc/terminfo"];
        places.iter().any(|place| Path::new(place).join(&name[..1]).join(name).exists())
    };
    ["xterm-256color", "screen-256color", "tmux-256color", "linux", "vt100"]
        .into_iter()
        .filter(known)
        .collect()
}

#[test]
fn editors_and_pagers() {
    for terminal in terminals() {
        // Vim saves and restores the title, and asks for the terminal's name and the cursor's style.
        let expected = [Kind::Title, Kind::Report, Kind::Keys];
        unchanged_but(terminal, "vim -u NONE -c \"call setline(1,range(50))\" -c redraw -c qa!", &expected);
        unchanged_but(
            terminal,
            "vim -c \"set nocp title t_RV=\" -c \"syntax on\" -c redraw -c qa!",
            &expected,
        );
        unchanged_but(terminal, "less -F -X /etc/passwd", &[Kind::Title]);
        unchanged_but(terminal, "seq 100 | LESS=E less", &[Kind::Title]);
    }
}

#[test]
fn monitors_and_multiplexers() {
    for terminal in terminals() {
        unchanged_but(terminal, "top -n 1", &[Kind::Title]);
        unchanged_but(terminal, "htop -n 1", &[Kind::Title]);
    }
    // Asks for the terminal's name, sets the title, and resets mintty's escape key.
    let tmux = "tmux -L ringfence -f /dev/null new-session \"echo in tmux; sleep 1\"";
    unchanged_but("xterm-256color", tmux, &[Kind::Report, Kind::Title, Kind::Keys]);
}

#[test]
fn shells_and_lines() {
    for terminal in terminals() {
        unchanged_but(terminal, "bash --norc -i -c \"echo hi\"", &[]);
        unchanged_but(terminal, "python3 -c \"import readline; print('é漢🦀')\"", &[]);
        unchanged_but(terminal, "ls --color=always -l /", &[]);
        unchanged_but(terminal, "git --no-pager diff --color --no-index /etc/passwd /dev/null; true", &[]);
        unchanged_but(terminal, "clear", &[]);
    }
}

#[test]
fn every_capability_a_program_may_send() {
    for terminal in terminals() {
        for name in [
            "smcup",
            "rmcup",
            "civis",
            "cnorm",
            "cvvis",
            "sgr0",
            "smacs",
            "rmacs",
            "enacs",
            "smkx",
            "rmkx",
            "smir",
            "rmir",
            "bold",
            "rev",
            "smso",
            "rmso",
            "el",
            "el1",
            "ed",
            "clear",
            "home",
            "ri",
            "ind",
            "sc",
            "rc",
            "tbc",
            "hts",
            "flash",
            "bel",
            "smam",
            "rmam",
            "smm",
            "rmm",
            "reset",
            "init",
            "is2",
            "rs2",
            "csr 2 10",
            "cup 3 4",
            "setaf 4",
            "setab 200",
            "rep 65 20",
            "ech 4",
            "ich 4",
            "dch 4",
            "il 4",
            "dl 4",
            "indn 4",
            "rin 4",
            "op",
            "Ss 2",
            "Se",
        ] {
            // The titles xterm's entry pushes; of `reset`, the user's colours, and for vt100 autorepeat and leaving VT52.
            let expected = match name {
                "smcup" | "rmcup" => vec![Kind::Title],
                "reset" | "init" | "is2" | "rs2" => vec![Kind::Colour, Kind::Keys, Kind::Unknown],
                _ => vec![],
            };
            let Some(bytes) = capture(terminal, &format!("tput {name} || true")) else { continue };
            let (_, removed) = pushed(&bytes);
            let unexpected: Vec<_> = removed.iter().filter(|(kind, _)| !expected.contains(kind)).collect();
            assert!(unexpected.is_empty(), "{terminal} {name}: {unexpected:?} of {}", shown(&bytes));
        }
    }
}
