//! Started by root: whose the files are, who the kernel sees, and file systems that cannot be idmapped.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringfence_real::{binary, root, tree, world::World, world::outcome};

/// Someone who is not in the host's passwd.
const OTHER: u32 = 34_567;
const DIRECT: &str = "[workspace]\nmode = \"direct\"\n";

/// A checkout of somebody else.
fn theirs() -> World {
    let world = World::new();
    let made = world.outside("git init -q . && echo a > a && mkdir d && echo b > d/b && git add .");
    assert_eq!(made.status, 0, "{made:#?}");
    give(&world);
    world
}

fn give(world: &World) {
    chown(&world.workspace, Some(OTHER), Some(OTHER)).expect("chown needs root");
    for path in tree::names(&world.workspace, |_| true) {
        chown(world.workspace.join(path), Some(OTHER), Some(OTHER)).expect("chown needs root");
    }
}

/// What these tests are about needs root to ask for it.
fn only_root() -> bool {
    if !root() {
        println!("not run: the caller is not root");
    }
    root()
}

#[test]
fn files_come_out_owned_by_the_owner_of_the_checkout() {
    if !only_root() {
        return;
    }
    let world = theirs();
    let script = "set -e; id -u; stat -c %u:%g . a d/b; echo new > new; mkdir e; ln -s a link; echo more >> a
        git -c user.name=n -c user.email=e@example.org commit -q -m x; mv d/b e/b; stat -c %u new e link e/b";
    let inside = world.inside("default", DIRECT, script);
    assert_eq!(inside.status, 0, "{inside:#?}");
    let ids: Vec<&str> = inside.out.lines().collect();
    let own = ids.first().copied().unwrap_or_default();
    assert_ne!(own, "0", "{inside:#?}");
    assert!(ids.iter().all(|id| *id == own || *id == format!("{own}:{own}")), "{inside:#?}");
    assert_eq!(world.read("new").as_deref(), Some("new\n"));
    for (path, entry) in tree::listing(&world.workspace) {
        assert_eq!(entry.owner, OTHER, "{}", path.display());
    }
    assert_eq!(world.workspace.metadata().expect("a workspace").gid(), OTHER);
}

#[test]
fn the_kernel_never_sees_root() {
    if !only_root() {
        return;
    }
    for (world, whose) in [(theirs(), "theirs"), (World::new(), "root's")] {
        let marker = format!("86{}", std::process::id());
        let script = format!("cat /proc/self/uid_map; (sleep {marker} & sleep {marker})");
        let mut run = world.command(binary());
        run.args(["run", "--preset", "default", "--", "bash", "-c", &script]);
        let mut run = run.spawn().expect("the binary starts");
        let found = wait_for(&marker);
        for pid in &found {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            for line in status.lines().filter(|line| line.starts_with("Uid:") || line.starts_with("Gid:")) {
                let ids: Vec<&str> = line.split_whitespace().skip(1).collect();
                assert!(ids.len() == 4 && !ids.contains(&"0"), "{whose}: {line}");
                assert!(!ids.contains(&OTHER.to_string().as_str()), "{whose}: {line}");
            }
            let capabilities = status.lines().filter(|line| line.starts_with("Cap"));
            assert!(capabilities.into_iter().all(|line| line.ends_with("\t0000000000000000")), "{status}");
        }
        run.kill().expect("it can be killed");
        run.wait().expect("it ends");
        assert!(found.len() >= 2, "{whose}: the task was not seen: {found:?}");
    }
}

/// The processes with this word on their command line, apart from ringfence's own and its caller's.
fn wait_for(marker: &str) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let found: Vec<String> = ringfence_real::world::processes(&format!("sleep\0{marker}\0"));
        if found.len() >= 2 || begun.elapsed() > Duration::from_secs(20) {
            return found;
        }
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn shadow_is_not_readable() {
    if !only_root() {
        return;
    }
    for world in [theirs(), World::new()] {
        for path in ["/etc/shadow", "/proc/1/root/etc/shadow", "/proc/self/root/etc/shadow"] {
            let inside = world.preset("default", &format!("cat {path}"));
            assert!(inside.status == 1 && inside.out.is_empty(), "{path}: {inside:#?}");
        }
        // Granted with all that is around it, it is still a known secret.
        let inside = world.inside("default", "[files]\nread = [\"/etc\"]\n", "cat /etc/shadow");
        assert!(inside.status != 0 && inside.out.is_empty(), "{inside:#?}");
    }
}

/// Runs a script in a mount namespace where the world's `over` is an overlay of its `lower`.
fn over(world: &World, script: &str) -> ringfence_real::world::Outcome {
    let prepare = "set -e; cd \"$BASE\"; mkdir -p lower upper scratch over
        mount -t tmpfs none scratch; mkdir scratch/upper scratch/work
        mount -t overlay -o lowerdir=lower,upperdir=scratch/upper,workdir=scratch/work none over; cd over; set +e";
    let script = format!("{prepare}\n{script}");
    let mut command = world.command("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &script]);
    outcome(command.env("BASE", &world.base).env("RF", binary()))
}

#[test]
fn a_workspace_on_an_overlay_is_read_or_refused() {
    if !only_root() {
        return;
    }
    let world = World::new();
    world.write(world.base.join("lower/a"), "from below\n");
    let read = "$RF run --policy $BASE/read.toml -- bash -c 'cat a; echo x > a'; echo status $?";
    world.write(
        world.base.join("read.toml"),
        "version = 1\nextends = [\"default\"]\nworkspace.mode = \"read\"\n",
    );
    let inside = over(&world, read);
    assert_eq!(inside.out, "from below\nstatus 1\n", "{inside:#?}");
    assert!(inside.err.contains("Read-only file system"), "{inside:#?}");

    for mode in ["direct", "review"] {
        let policy = format!("version = 1\nextends = [\"default\"]\nworkspace.mode = \"{mode}\"\n");
        world.write(world.base.join(format!("{mode}.toml")), &policy);
        let run = format!("$RF run --policy $BASE/{mode}.toml -- touch ran; echo status $?; ls");
        let inside = over(&world, &run);
        assert_eq!(inside.out, "status 125\na\n", "{mode}: {inside:#?}");
        assert!(inside.err.contains("overlay"), "{mode}: {inside:#?}");
    }
}

/// As in a privileged container: the root itself is an overlay.
#[test]
fn on_an_overlay_root_reading_and_temporary_work() {
    if !only_root() {
        return;
    }
    let world = World::new();
    let scratch = world.base.join("scratch");
    fs::create_dir(&scratch).expect("a directory");
    fs::copy(binary(), world.base.join("ringfence")).expect("the binary is copied");
    for mode in ["read", "temporary", "direct", "review"] {
        let policy = format!("version = 1\nextends = [\"default\"]\nworkspace.mode = \"{mode}\"\n");
        world.write(world.base.join(format!("{mode}.toml")), &policy);
    }
    world.write("a", "from below\n");
    let prepare = "set -e; mount -t tmpfs none \"$BASE/scratch\"; cd \"$BASE/scratch\"; mkdir upper work root
        mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work none root; cd root
        # Temporary files may lie on a file system of their own, which is not below.
        [ -e .$BASE/ringfence ] || (mkdir -p .$BASE && cd \"$BASE\" && cp -a --parents ringfence *.toml home \"$OLDPWD$BASE\")
        for i in proc sys dev; do mount --rbind /$i $i; done
        state=.${BASE}/state; mkdir -p -m 700 $state; mount -t tmpfs -o mode=700 none $state
        mkdir -p old; pivot_root . old; cd \"$BASE/home/work\"; set +e; export RINGFENCE_STATE=$BASE/state";
    let script = format!(
        "{prepare}
        stat -f -c %T /
        run() {{ \"$BASE/ringfence\" run --policy \"$BASE/$1.toml\" -- bash -c \"$2\"; echo $1 $?; }}
        run read 'cat a; echo x > a'
        run temporary 'echo new > b && cat b && ls && touch /usr/x'
        run direct 'touch ran'; run review 'touch ran'; ls"
    );
    let mut command: Command = world.command("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &script]);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let inside = outcome(command.env("BASE", &world.base));
    let expected = "overlayfs\nfrom below\nread 1\nnew\nb\ntemporary 1\ndirect 125\nreview 125\na\n";
    assert_eq!(inside.out, expected, "{inside:#?}");
    assert!(inside.err.matches("overlay").count() >= 2, "{inside:#?}");
}
