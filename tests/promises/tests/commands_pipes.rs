//! `commands.pipes = false`: no program begins with what another one writes.

use ringfence_promises::Place;

fn new_place() -> Place {
    Place::new().in_tier(module_path!())
}

#[test]
fn no_command_reads_what_another_writes() {
    let place = new_place();
    place.write(
        "p.py",
        "import os, subprocess, sys\n\
        given = subprocess.run(['cat'], capture_output=True, text=True).stdout\n\
        print('given', given.strip(), flush=True)\n\
        a = subprocess.Popen(['echo', 'through'], stdout=subprocess.PIPE)\n\
        subprocess.Popen(['cat'], stdin=a.stdout).wait()\n\
        read, write = os.pipe()\n\
        os.write(write, b'through'); os.close(write)\n\
        subprocess.Popen(['cat', f'/dev/fd/{read}'], pass_fds=[read]).wait()\n",
    );
    for (pipes, through) in [("false", 0), ("true", 1)] {
        let path = place.policy(&format!("[commands]\npipes = {pipes}"));
        let run = ["run", "--quiet", "--policy", &path, "--workspace", ".", "--"];
        let mut command = place.command(&[&run[..], &["python3", "p.py"]].concat());
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"hello\n").unwrap();
        let done = child.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(out.starts_with("given hello\n"), "{out} {err}");
        assert_eq!(out.contains("through"), through == 1, "{pipes}: {out} {err}");
        assert_eq!(err.contains("PermissionError"), through == 0, "{pipes}: {err}");
    }
    let path = place.policy("[commands]\npipes = false");
    let words = ["run", "--quiet", "--policy", &path, "--workspace", ".", "--", "echo a | cat"];
    let outcome = place.ringfence(&words);
    assert!(outcome.status == 127 && outcome.err.contains("an argument each"), "{outcome:?}");
}

/// A pseudo-terminal hands on what is written to its other end as a pipe does.
#[test]
fn a_terminal_of_the_tasks_own_is_a_pipe() {
    let place = new_place();
    place.write(
        "p.py",
        "import fcntl, os, pty, subprocess, termios\n\
        try: main, end = pty.openpty()\n\
        except OSError: raise SystemExit('PermissionError: none is made here')\n\
        os.write(main, b'through\\n')\n\
        def first(stdin):\n  \
          try: subprocess.Popen(['head', '-n1'], stdin=stdin).wait()\n  \
          except OSError as error: print(error, flush=True)\n\
        first(end)\n\
        if os.fork(): raise SystemExit(os.wait()[1])\n\
        os.setsid(); fcntl.ioctl(end, termios.TIOCSCTTY, 0)\n\
        os.write(main, b'second\\n')\n\
        first(open('/dev/tty'))\n",
    );
    for (pipes, through) in [("false", false), ("true", !place.hosted)] {
        let path = place.policy(&format!("[commands]\npipes = {pipes}"));
        let run = ["run", "--quiet", "--policy", &path, "--workspace", ".", "--", "python3", "p.py"];
        let outcome = place.ringfence(&run);
        for line in ["through", "second"] {
            assert_eq!(outcome.out.contains(line), through, "{pipes}: {outcome:?}");
        }
        let refused = outcome.out.matches("Permission denied").count();
        assert_eq!(refused, if pipes == "false" && !place.hosted { 2 } else { 0 }, "{pipes}: {outcome:?}");
    }
    assert!(
        place.hosted
            || place.told("exec.deny").iter().any(|event| event.to_string().contains("pipes = false"))
    );
}
