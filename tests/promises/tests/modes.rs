//! The five modes of a workspace, `protect`, and what is left on the host: nothing.

use std::os::unix::fs::MetadataExt;

use ringfence_promises::Place;

fn mode(name: &str, more: &str) -> String {
    format!("[workspace]\nmode = \"{name}\"\n{more}")
}

#[test]
fn each_mode_gives_the_host_what_it_says() {
    for (name, readable, writable, lands) in [
        ("review", true, true, false),
        ("discard", true, true, false),
        ("direct", true, true, true),
        ("read", true, false, false),
        ("temporary", false, true, false),
    ] {
        let place = Place::new();
        place.write("a", "host");
        let outcome = place.run(&mode(name, ""), "cat a 2>/dev/null; echo x > new 2>/dev/null && cat new");
        assert_eq!(outcome.out.contains("host"), readable, "{name}: {}", outcome.err);
        assert_eq!(outcome.out.contains('x'), writable, "{name}: {}", outcome.err);
        assert_eq!(place.workspace.join("new").exists(), lands, "{name}");
        assert!(name == "review" || place.ringfence(&["diff"]).status == 125, "{name}: something waits");
    }
}

#[test]
fn a_step_cannot_poison_the_next() {
    for name in ["read", "temporary"] {
        let place = Place::new();
        place.write("Makefile", "all:\n\t@echo built by $(CC)\n");
        let poison = "echo 'all: ; @echo poisoned' > Makefile; echo 'CC=evil' > ~/.makerc; mkdir -p ~/bin /tmp/x; echo evil > /tmp/make; true";
        assert_eq!(place.run(&mode(name, ""), poison).status, 0);
        let outcome =
            place.run(&mode("read", ""), "make -s CC=cc; ls -A ~ /tmp | grep -c -e makerc -e make$");
        assert!(
            outcome.out.starts_with("built by cc\n") && outcome.out.ends_with("0\n"),
            "{name}: {outcome:?}"
        );
    }
}

#[test]
fn protected_paths_survive_every_way_around() {
    let place = Place::new();
    place.write(".github/workflows/ci.yml", "ok");
    place.write(".git/hooks/keep", "ok");
    let policy = mode("direct", "protect = [\".github\", \".git/hooks\"]");
    let script = "mv .github g2; mv .git git2; rm -rf .github .git/hooks; echo pwn > .github/workflows/ci.yml; echo pwn > .git/hooks/post; \
                  ln .github/workflows/ci.yml l && echo pwn > l; mkdir -p x && mv .git/hooks x; chmod -R 777 .github; true";
    let outcome = place.run(&policy, script);
    assert_eq!(place.read(".github/workflows/ci.yml").as_deref(), Some("ok"), "{}", outcome.err);
    assert_eq!(place.read(".git/hooks/keep").as_deref(), Some("ok"));
    assert!(!place.workspace.join(".git/hooks/post").exists() && !place.workspace.join("g2").exists());
    // What does not exist cannot be held in a direct workspace, and the policy is refused.
    assert_eq!(place.run(&mode("direct", "protect = [\".envrc\"]"), "true").status, 125);
}

#[test]
fn nothing_is_left_on_the_host() {
    let place = Place::new();
    place.write(place.home.join("data/x"), "x");
    place.write(".env", "secret");
    let before = place.listing();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounted = mounts();
    let policy = mode(
        "direct",
        "protect = [\".env\"]\n[files]\nread = [\"~/data\", \"~/missing?\"]\ndeny = [\"nothing/here\"]",
    );
    assert_eq!(
        place.run(&policy, "ls ~/data; echo t > /tmp/t; echo h > ~/h; mkdir ~/missing; true").status,
        0
    );
    let after: Vec<_> =
        place.listing().into_iter().filter(|(path, _)| !path.starts_with(&place.state)).collect();
    assert_eq!(after, before);
    assert_eq!(mounts(), mounted);
}

#[test]
fn tmp_is_private_and_not_executable() {
    let place = Place::new();
    let script = "cp /bin/true /tmp/t; /tmp/t && echo ran; cp /bin/true ./t && ./t && echo built; cp /bin/true ~/t; ~/t && echo home";
    assert_eq!(place.run("", script).out, "built\n");
    assert_eq!(
        place.run("[runtime]\ntmp_exec = true", "cp /bin/true /tmp/t; /tmp/t && echo ran").out,
        "ran\n"
    );
    let outcome =
        place.run("[limits]\ntmp = \"1MiB\"", "head -c 2000000 /dev/zero > /tmp/x; stat -c %s /tmp/x");
    assert!(outcome.out.trim().parse::<u64>().unwrap() <= 1 << 20, "{}", outcome.out);
}

#[test]
fn a_home_or_a_workspace_may_lie_in_var_tmp() {
    let place = Place::in_var_tmp();
    let script = "touch ~/own /var/tmp/own x && echo made && ls /var/tmp | wc -l";
    let outcome = place.ringfence(&["run", "-q", "--", "sh", "-c", script]);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "made\n2\n"), "{outcome:?}");
    assert!(!place.home.join("own").exists() && !place.workspace.join("x").exists());
}

/// For a build step: only what is named comes out.
#[test]
fn outputs_alone_come_out_of_what_is_thrown_away() {
    let place = Place::new();
    place.write("src", "source");
    place.write("dist/old", "old");
    place.write("dist/gone", "gone");
    let policy = mode("discard", "outputs = [\"dist/**\", \"out/*/report.txt\"]");
    let script = "echo evil > src; echo evil > DIST; mkdir -p dist/new out/a out/b; echo x > dist/new/x; echo y > dist/old; rm dist/gone; \
                  echo r > out/a/report.txt; echo other > out/a/other; echo other > out/b/other; echo v > .envrc; echo v > dist/.envrc";
    let ran = place.run(&policy, script);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let names = place.ringfence(&["diff", "--name-only"]);
    assert_eq!(
        names.out,
        "dist/.envrc\ndist/gone\ndist/new\ndist/new/x\ndist/old\nout\nout/a\nout/a/report.txt\n"
    );
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    assert_eq!(place.read("src").as_deref(), Some("source"));
    assert_eq!(
        (place.read("dist/old").as_deref(), place.read("dist/new/x").as_deref()),
        (Some("y\n"), Some("x\n"))
    );
    assert!(place.read("dist/gone").is_none() && place.read("out/a/report.txt").is_some());
    for absent in ["DIST", "out/a/other", "out/b", ".envrc", "dist/.envrc"] {
        assert!(!place.workspace.join(absent).exists(), "{absent}");
    }
    // Without an output nothing waits.
    let place = Place::new();
    let ran = place.run(&policy, "echo evil > src");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(place.ringfence(&["diff"]).status, 125);
    assert!(!place.listing().iter().any(|(path, _)| path.ends_with("upper")));
    for (wrong, why) in [
        ("mode = \"review\"\noutputs = [\"x\"]", "no meaning"),
        ("mode = \"discard\"\noutputs = [\"/x\"]", "from the workspace"),
    ] {
        let refused = place.run(&format!("[workspace]\n{wrong}"), "true");
        assert!(refused.status == 125 && refused.err.contains(why), "{}", refused.err);
    }
}

/// The directories of a run that changed nothing serve the next; those in which anything was done do not.
#[test]
fn a_view_begins_with_nothing_of_the_one_before() {
    let place = Place::new();
    let inode = || {
        let mut aside = std::fs::read_dir(place.state.join("aside")).unwrap().flatten();
        std::fs::metadata(aside.next().unwrap().path().join("upper")).unwrap().ino()
    };
    assert_eq!(place.run("", "true").status, 0);
    let first = inode();
    assert_eq!(place.run("", "mkdir x; rmdir x").status, 0);
    assert_eq!(inode(), first, "taken again");
    let mark = "import os; os.setxattr('.', 'user.mark', b'1'); os.chmod('.', 0o711)";
    assert_eq!(place.run("", &format!("python3 -c \"{mark}\"")).status, 0);
    let look = "import os; print(os.listxattr('.'), oct(os.stat('.').st_mode), os.listdir('.'))";
    let host = std::fs::metadata(&place.workspace).unwrap().mode();
    let expected = format!("[] 0o{host:o} []");
    let seen = place.run("", &format!("python3 -c \"{look}\""));
    assert_eq!(seen.out.trim(), expected, "{seen:?}");
    assert_ne!(inode(), first);
}

/// A directory never shrinks on ext4: who lists one that held a million names waits for them all.
#[test]
fn a_view_begins_without_the_room_that_the_one_before_took() {
    let place = Place::new();
    let size = |script: &str| place.run("", &format!("{script} stat -c %s .")).out.trim().to_owned();
    let before = size("");
    let names =
        "import os\nfor n in range(400): os.mkdir('%0200d' % n)\nfor n in range(400): os.rmdir('%0200d' % n)";
    let filled = size(&format!("printf %b \"{names}\" | python3;"));
    assert_eq!(size(""), before, "{filled} after many names");
}

/// What root made for the owner of one workspace is root's again for another run.
#[test]
fn a_view_that_root_made_for_somebody_else_is_its_own_again() {
    if !ringfence_promises::root() {
        return;
    }
    let place = Place::new();
    let uid = || {
        let mut aside = std::fs::read_dir(place.state.join("aside")).unwrap().flatten();
        std::fs::metadata(aside.next().unwrap().path()).unwrap().uid()
    };
    std::os::unix::fs::chown(&place.workspace, Some(12345), Some(12345)).unwrap();
    assert_eq!(place.run("", "true").status, 0);
    assert_eq!(uid(), 12345);
    std::os::unix::fs::chown(&place.workspace, Some(0), Some(0)).unwrap();
    let arguments = ["run", "--workspace", ".", "--allow-degraded", "root-uid", "--", "sh", "-c", "id -u"];
    let seen = place.command(&arguments).env("RINGFENCE_TEST_HOST", "no-userns").output().unwrap();
    assert_eq!((seen.status.code(), seen.stdout.as_slice()), (Some(0), &b"0\n"[..]), "{seen:?}");
}
