//! What a task might leave, and what must never land.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use ringfence_workspace::{Danger, HoldReason, Kind, Named, Options, Reason, apply, plan_apply_with};

use super::support::{Case, change, snapshot};

#[test]
fn symlinks_out() {
    for (task, path) in [
        ("ln -s /etc/passwd leak", "leak"),
        ("ln -s ../outside/secret leak", "leak"),
        ("mkdir d; ln -s ../../outside d/leak", "d/leak"),
        ("ln -s d/../../outside leak", "leak"),
        ("ln -s / leak", "leak"),
        ("rm old; ln -s ../outside old", "old"),
        ("rm file; ln -s ../outside/secret file", "file"),
        ("rm -r dir; ln -s ../outside dir", "dir"),
    ] {
        let case = Case::new("ln -s dir old; echo x > file; mkdir dir; echo y > dir/y", task);
        stays(&case, path);
    }
}

/// It is held back, lands with nothing else that is accepted, and by its own name or kind.
fn stays(case: &Case, path: &str) {
    let before = snapshot(&case.host);
    let wanted = case.host.join(path);
    let kinds = Danger::ALL.into_iter().filter(|kind| *kind != Danger::Symlinks).collect();
    let above = Path::new(path).parent().unwrap().to_owned();
    let named = vec![Named::main(above)];
    let options = Options { named, kinds, ..Options::default() };
    let applied = apply(plan_apply_with(&case.layers(), &options).unwrap(), &case.journal()).unwrap();
    let held = change(&applied.held, path).held.as_ref().map(HoldReason::text).unwrap_or_default();
    assert!(held.starts_with("symlinks: a link out of the workspace, to "), "{path}: {held}");
    assert_eq!(before.get(Path::new(path)), snapshot(&case.host).get(Path::new(path)), "{path}");
    let journals = vec![case.journal()];
    let options = Options { named: vec![Named::main(path.into())], journals, ..Options::default() };
    let second = case.home.path().join("apply-2");
    apply(plan_apply_with(&case.layers(), &options).unwrap(), &second).unwrap();
    assert!(wanted.is_symlink(), "{path}");
    assert_eq!(fs::read(case.home.path().join("outside/secret")).unwrap(), b"CANARY");
}

#[test]
fn an_unchanged_symlink_out_is_no_change_and_inner_links_land() {
    let case = Case::new(
        "ln -s ../outside old; mkdir d",
        "touch -h old; ln -s ../old d/inner; ln -s d inside; echo x > x",
    );
    case.apply().unwrap();
    assert_eq!(fs::read_link(case.host.join("inside")).unwrap(), Path::new("d"));
}

#[test]
fn special_files_and_bits() {
    let socket = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'";
    for (task, path, reason) in [
        ("mkfifo s", "s", Reason::Special),
        (socket, "s", Reason::Special),
        ("rm file; mkfifo file", "file", Reason::Special),
        ("cp /bin/true su; chmod 4755 su", "su", Reason::Setuid),
        ("cp /bin/true su; chmod 2755 su", "su", Reason::Setuid),
        ("chmod 6755 file", "file", Reason::Setuid),
        ("mkdir d; chmod 2755 d", "d", Reason::Setuid),
        ("chmod 4755 dir", "dir", Reason::Setuid),
        ("mkdir -p a/b; mkfifo a/b/s", "a/b/s", Reason::Special),
    ] {
        let case = Case::new("echo x > file; mkdir dir", task);
        case.refused(path, |found| *found == reason);
    }
}

#[test]
fn a_directory_that_inherits_its_group_lands() {
    let case = Case::new("mkdir d; chmod 2775 d", "mkdir -p d/e/f; echo x > d/e/x");
    case.apply().unwrap();
    assert_eq!(fs::metadata(case.host.join("d/e/f")).unwrap().mode() & 0o2000, 0o2000);
}

#[test]
fn a_link_that_climbs_out_through_another_link() {
    // Each looks harmless: `up` stays inside, and the text of `out` climbs as far as it descended.
    let case = Case::new("mkdir -p a/b d", "ln -s .. a/up; ln -s ../a/up/../outside/secret d/out");
    stays(&case, "d/out");
}

#[test]
fn the_sticky_bit_does_not_land() {
    let case = Case::new("mkdir old", "mkdir st; chmod 1777 st old");
    case.apply().unwrap();
    assert_eq!(fs::metadata(case.host.join("old")).unwrap().mode() & 0o7777, 0o777);
    assert_eq!(fs::metadata(case.host.join("st")).unwrap().mode() & 0o7777, 0o777);
}

#[test]
fn disguises_of_git_and_names_of_ours() {
    for name in [".Git", ".GIT", "git~1", ".git ", ".g\u{200c}it"] {
        let case = Case::new(
            "mkdir .git",
            &format!("mkdir -p '{name}/hooks'; echo x > '{name}/hooks/post-checkout'"),
        );
        case.refused(name, |reason| *reason == Reason::DisguisedGit);
    }
    let case = Case::new("", "mkdir .ringfence-apply-0; echo x > .ringfence-apply-0/0");
    case.refused(".ringfence-apply-0", |reason| *reason == Reason::ReservedName);
    Case::new("", "touch Makefile makefile .gitignore").apply().unwrap();
}

#[test]
fn forged_marks_of_the_overlay_are_data() {
    let case = Case::new(
        "mkdir d; echo x > d/x; echo y > y",
        "mkdir rd; python3 -c '
import os
for p, n, v in ((\"rd\", \"user.overlay.redirect\", b\"/../../outside\"), (\"rd\", \"user.overlay.opaque\", b\"y\"),
                (\"d\", \"user.overlay.opaque\", b\"y\"), (\"y\", \"user.overlay.metacopy\", b\"\"), (\"y\", \"user.overlay.whiteout\", b\"\")):
    try: os.setxattr(p, n, v)
    except OSError: pass
'; echo z > rd/z",
    );
    assert_eq!(case.summary(), ["A rd", "A rd/z"]);
    case.apply().unwrap();
    assert_eq!(case.read("d/x"), "x\n");
}

#[test]
fn marks_that_this_overlay_never_makes_are_refused() {
    for (name, value) in
        [("user.overlay.redirect", "/outside"), ("user.overlay.metacopy", ""), ("user.overlay.opaque", "z")]
    {
        let case = Case::new("mkdir d; echo x > d/x", "echo y > d/y");
        let script = format!("import os; os.setxattr('d', '{name}', b'{value}')");
        let done =
            Command::new("python3").args(["-c", &script]).current_dir(&case.layer.upper).status().unwrap();
        assert!(done.success());
        case.refused("d", |reason| *reason == Reason::StrangeLayer);
    }
}

#[test]
fn a_whiteout_made_of_an_attribute_is_one() {
    let case = Case::new("mkdir d; echo x > d/x; echo y > d/y", "touch d/z; rm d/z; chmod 755 d");
    let script = "import os; os.makedirs('d', exist_ok=True); open('d/x', 'w').close(); os.setxattr('d/x', 'user.overlay.whiteout', b''); os.setxattr('d', 'user.overlay.opaque', b'x')";
    let done = Command::new("python3").args(["-c", script]).current_dir(&case.layer.upper).status().unwrap();
    assert!(done.success());
    assert_eq!(case.summary(), ["D d/x"]);
}

#[test]
fn no_device_is_a_whiteout_but_zero_zero() {
    // A task cannot make one; as root of the machine the test can.
    let case = Case::new("echo x > x", "true");
    let made =
        Command::new("mknod").args(["x", "c", "1", "3"]).current_dir(&case.layer.upper).status().unwrap();
    if !made.success() {
        return;
    }
    let changes = case.diff();
    assert_eq!(change(&changes, "x").kind, Kind::TypeChanged);
    case.refused("x", |reason| *reason == Reason::Special);
}
