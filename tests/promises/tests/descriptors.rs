//! Descriptors 0 to 2, the exit status, and nothing else that is inherited.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Stdio;

use ringfence_promises::Place;

#[test]
fn the_status_is_the_commands_own() {
    let place = Place::new();
    for status in [0, 1, 2, 77, 124, 255] {
        assert_eq!(place.run("", &format!("exit {status}")).status, status);
    }
    assert_eq!(place.run("", "kill -TERM $$").status, 143);
    assert_eq!(place.run("", "kill -KILL $$").status, 137);
}

#[test]
fn a_regular_file_cannot_be_opened_again_with_other_rights() {
    let place = Place::new();
    let log = place.base.path().join("log");
    std::fs::write(&log, "keep\n").unwrap();
    let input = place.base.path().join("input");
    std::fs::write(&input, "in\n").unwrap();
    let script = "cat; echo out; : > /dev/stdout; : > /proc/self/fd/1; echo pwn > /dev/stdin; echo end >&2; echo more > /dev/stderr";
    let status = place
        .command(&["run", "--quiet", "--", "sh", "-c", script])
        .stdin(File::open(&input).unwrap())
        .stdout(OpenOptions::new().append(true).open(&log).unwrap())
        .stderr(OpenOptions::new().append(true).open(&log).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    let text = std::fs::read_to_string(&log).unwrap();
    for part in ["keep\n", "in\n", "out\n", "end\n", "more\n"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert_eq!(std::fs::read_to_string(&input).unwrap(), "in\n");
}

#[test]
fn a_directory_is_refused_and_a_closed_one_is_null() {
    let place = Place::new();
    let output = place.command(&["run", "--", "true"]).stdin(File::open("/").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8(output.stderr).unwrap().contains("directory"));
    let script =
        format!("exec '{}' run --quiet -- sh -c 'cat; echo ok' <&-", ringfence_promises::binary().display());
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(&place.workspace)
        .env("HOME", &place.home)
        .env("RINGFENCE_STATE", &place.state)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ok\n");
}

#[test]
fn hundreds_of_megabytes_pass_whole() {
    let place = Place::new();
    const SIZE: usize = 200 << 20;
    let script = format!("head -c {SIZE} /dev/zero");
    // Through a pipe.
    let mut child =
        place.command(&["run", "--quiet", "--", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    let mut out = child.stdout.take().unwrap();
    loop {
        match out.read(&mut buffer).unwrap() {
            0 => break,
            length => total += length,
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(total, SIZE);
    // Into a file, relayed; the supervisor's memory does not grow with it.
    let target = place.base.path().join("big");
    let child = place
        .command(&["run", "--quiet", "--", "sh", "-c", &script])
        .stdout(File::create(&target).unwrap())
        .spawn();
    let mut child = child.unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(target.metadata().unwrap().len(), SIZE as u64);
    assert!(most < 64 << 10, "the supervisor held {most} kB");
}

#[test]
fn inherited_descriptors_do_not_pass() {
    let place = Place::new();
    let mut secret = tempfile::tempfile().unwrap();
    secret.write_all(b"canary").unwrap();
    let binary = ringfence_promises::binary();
    let path = place.write(place.base.path().join("secret"), "canary");
    let script = format!(
        "exec 9<'{}'; exec '{}' run --quiet -- sh -c 'ls /proc/self/fd; cat <&9'",
        path.display(),
        binary.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(&place.workspace)
        .env("HOME", &place.home)
        .env("RINGFENCE_STATE", &place.state)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("canary") && !text.split_whitespace().any(|fd| fd == "9"), "{text}");
}

/// What the task writes into its input reaches nobody of the caller's, and its input cannot be set for others.
#[test]
fn a_pipe_of_the_callers_is_not_handed_over() {
    let place = Place::new();
    let inside = "(echo PWNED > /proc/self/fd/0); \
        python3 -c \"import fcntl, os; fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK)\"; echo said";
    let script = format!(
        "cd \"$BASE\" && mkfifo p q && exec 6<>p 7<>q 8<p; cd -; '{}' run --quiet -- sh -c '{inside}' <&8 >&7; \
         timeout 1 cat <&6; timeout 1 cat <&7; grep flags /proc/self/fdinfo/8",
        ringfence_promises::binary().display(),
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(&place.workspace)
        .env("BASE", place.base.path())
        .env("HOME", &place.home)
        .env("RINGFENCE_STATE", &place.state)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("said") && !text.contains("PWNED"), "{text}");
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    assert_eq!(u32::from_str_radix(flags, 8).unwrap() & 0o4000, 0, "O_NONBLOCK in {text}");
}

#[test]
fn two_streams_into_one_pipe_keep_their_order() {
    let place = Place::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8; do echo $i; echo $i >&2; done";
    let mut child = place
        .command(&["run", "--quiet", "--", "sh", "-c", script])
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text, (1..=8).map(|number| format!("{number}\n{number}\n")).collect::<String>());
}
