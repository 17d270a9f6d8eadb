//! Inside a container made by runc: it works, or is refused with the cause, and `doctor` says the same.

use std::path::Path;
use std::process::Command;

use ringfence_promises::{Place, binary, root};
use serde_json::{Value, json};

/// What Docker gives root by default.
pub(crate) const USUAL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

pub(crate) struct Container {
    pub(crate) uid: u32,
    pub(crate) capabilities: Vec<&'static str>,
    pub(crate) masked: bool,
    /// As Docker's default profile answers what makes namespaces and mounts (moby's profiles/seccomp/default.json).
    pub(crate) filtered: bool,
}

/// Runs words in it; without root, in a rootless one. The status, and everything that was printed.
pub(crate) fn inside(container: &Container, words: &[&str]) -> (i32, String) {
    start(container, &[&["/rf"], words].concat())
}

/// The same, of other words than the program's.
fn start(container: &Container, words: &[&str]) -> (i32, String) {
    let place = Place::new();
    let bundle = place.base.path().join("bundle");
    let rootfs = bundle.join("rootfs");
    for directory in ["usr", "etc", "tmp", "home", "w", "rf", "proc", "dev", "sys"] {
        std::fs::create_dir_all(rootfs.join(directory)).unwrap();
    }
    place.write(".env", "SECRET");
    std::fs::write(rootfs.join("policy.toml"), GUARDED).unwrap();
    for link in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(Path::new("usr").join(link), rootfs.join(link)).unwrap();
    }
    if root() {
        for path in [rootfs.join("home"), place.workspace.clone()] {
            std::os::unix::fs::chown(path, Some(container.uid), Some(container.uid)).unwrap();
        }
        // The way to both must be open to that user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.base.path(), open).unwrap();
    }
    let mut made = Command::new("runc");
    made.arg("spec").args((!root()).then_some("--rootless")).current_dir(&bundle);
    assert!(made.status().unwrap().success(), "runc is not installed: apt-get install runc");
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let process = config["process"].as_object_mut().unwrap();
    process.insert("terminal".into(), false.into());
    process.insert("args".into(), json!(words));
    process.insert("cwd".into(), "/w".into());
    process.insert("env".into(), json!(["PATH=/usr/bin:/bin", "HOME=/home"]));
    process.insert("noNewPrivileges".into(), false.into());
    if root() {
        process.insert("user".into(), json!({ "uid": container.uid, "gid": container.uid }));
    }
    // A rootless one's own user is its root.
    let own = if container.uid == 0 || !root() { container.capabilities.clone() } else { Vec::new() };
    let all = json!({ "bounding": container.capabilities, "effective": own, "permitted": own });
    process.insert("capabilities".into(), all);
    config["root"] = json!({ "path": "rootfs", "readonly": false });
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    let bind = |from: &Path, to: &str, how: &str| json!({ "destination": to, "type": "bind", "source": from, "options": ["rbind", how] });
    mounts.push(bind(Path::new("/usr"), "/usr", "ro"));
    mounts.push(bind(Path::new("/etc"), "/etc", "ro"));
    mounts.push(bind(&place.workspace, "/w", "rw"));
    // The file alone: what is around it is the test's.
    std::fs::remove_dir(rootfs.join("rf")).unwrap();
    std::fs::write(rootfs.join("rf"), "").unwrap();
    mounts.push(bind(&binary(), "/rf", "ro"));
    let linux = config["linux"].as_object_mut().unwrap();
    linux.remove("resources");
    if !container.masked {
        linux.insert("maskedPaths".into(), json!([]));
        linux.insert("readonlyPaths".into(), json!([]));
    }
    if container.filtered {
        let refused = [
            "unshare",
            "mount",
            "umount2",
            "setns",
            "fsopen",
            "fsmount",
            "move_mount",
            "open_tree",
            "mount_setattr",
            "pivot_root",
            "pidfd_getfd",
        ];
        let namespaces =
            json!({ "index": 0, "value": 0x7E02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" });
        linux.insert(
            "seccomp".into(),
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": [
                { "names": all_but(&refused), "action": "SCMP_ACT_ALLOW" },
                { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
                { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [namespaces] },
            ] }),
        );
    }
    std::fs::write(&file, config.to_string()).unwrap();
    let mut run = Command::new("runc");
    run.arg("--root").arg(place.base.path().join("runc")).args(["run", "-b"]).arg(&bundle);
    run.arg(format!("rf{}", place.base.path().file_name().unwrap().to_string_lossy()));
    let done = run.env("XDG_RUNTIME_DIR", place.base.path()).output().unwrap();
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.code().unwrap_or(-1), text)
}

/// Every system call that the library behind runc knows by name would be long; these are what a shell and the program use.
fn all_but(refused: &[&str]) -> Vec<String> {
    let header = std::fs::read_to_string("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").unwrap();
    let names =
        header.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_whitespace().next());
    let own = |name: &&str| !refused.contains(name) && !matches!(*name, "clone" | "clone3");
    names.filter(own).map(str::to_owned).collect()
}

/// What is written, read and reached there; its last line says that it came so far.
const WORK: &str = "echo x > new && chmod 640 new && ls -l new; cat /w/.env; cat /proc/1/environ; echo x > /etc/x; kill -9 1; sleep 5 & echo DONE";

/// Each start is judged: by the memory of who starts, and by a look at what was started.
const GUARDED: &str =
    "version = 1\nextends = [\"default\"]\n[commands]\nallow = [\"sh -c *\", \"expr 1 + 1\"]\n";

#[test]
fn starts_are_judged_in_a_container_too() {
    let container = Container { uid: 1000, capabilities: USUAL.to_vec(), masked: true, filtered: root() };
    let mut words = vec!["run", "--policy", "/policy.toml", "--workspace", "/w"];
    // A rootless container's own user is its root.
    words.extend(if root() { &[][..] } else { &["--allow-degraded", "root-uid"] });
    words.extend(["--", "sh", "-c", "echo $(expr 1 + 1)$(expr 1 + 1); expr 40 + 3; /usr/bin/id; echo DONE"]);
    let (status, text) = inside(&container, &words);
    assert!(status == 0 && text.contains("22\n") && text.contains("DONE"), "{status} {text}");
    assert!(
        text.contains("tier `landlock`") && !text.lines().any(|line| line == "43") && !text.contains("uid="),
        "{text}"
    );
}

/// What a container allows, and what becomes of a run there.
enum Expected {
    /// This tier; the second: only by leave, since everything is root's.
    Tier(&'static str, bool),
}

#[test]
fn it_works_in_a_container_in_the_tier_that_can_be_had() {
    let usual = || USUAL.to_vec();
    let plain = |uid| Container { uid, capabilities: usual(), masked: false, filtered: false };
    let docker = |uid| Container { masked: true, filtered: true, ..plain(uid) };
    let powerful = Container { capabilities: [usual(), vec!["CAP_SYS_ADMIN"]].concat(), ..plain(0) };
    let (namespace, landlock, root_too) = (
        Expected::Tier("namespace", false),
        Expected::Tier("landlock", false),
        Expected::Tier("landlock", true),
    );
    // A rootless container's own user is its root.
    let masked = if root() { landlock } else { Expected::Tier("landlock", true) };
    let mut cases = vec![(plain(1000), namespace), (Container { masked: true, ..plain(1000) }, masked)];
    if root() {
        let landlock = || Expected::Tier("landlock", false);
        cases.extend([
            (Container { filtered: true, ..plain(1000) }, landlock()),
            (docker(1000), landlock()),
            (Container { capabilities: Vec::new(), ..docker(1000) }, landlock()),
            (docker(0), root_too),
            (Container { capabilities: vec!["CAP_KILL"], ..plain(0) }, Expected::Tier("landlock", true)),
            (powerful, Expected::Tier("namespace", false)),
        ]);
    }
    for (number, (container, Expected::Tier(tier, by_leave))) in cases.iter().enumerate() {
        let run = ["run", "--preset", "coding-agent", "--report", "/w/report.json"];
        let words = ["--", "sh", "-c", WORK];
        let (status, text) = inside(container, &[&run[..], &words[..]].concat());
        let (verdict, doctor) = inside(container, &["doctor"]);
        let (status, text) = if *by_leave {
            assert!(
                status == 125 && !text.contains("DONE") && text.contains("root-uid"),
                "case {number}: {status} {text}"
            );
            assert_eq!(verdict, 1, "case {number}: {doctor}");
            inside(container, &[&run[..], &["--allow-degraded", "root-uid"], &words[..]].concat())
        } else {
            assert!(verdict == 0 && doctor.contains(&format!("tier `{tier}`")), "case {number}: {doctor}");
            (status, text)
        };
        assert!(
            status == 0 && text.contains("DONE") && text.contains("-rw-r-----"),
            "case {number}: {status} {text}"
        );
        assert!(!text.contains("SECRET") && !text.contains("PATH="), "case {number}: {text}");
        assert_eq!(text.contains("tier `landlock`"), *tier == "landlock", "case {number}: {text}");
        assert!(text.contains("1 change waits"), "case {number}: {text}");
    }
}

/// Nothing of the container is needed for it: neither a capability nor a call that Docker's profile keeps for those who have one.
#[test]
fn a_container_has_its_network_by_name_and_by_nothing_else() {
    const INSIDE: &str = "curl -sm9 http://host.ringfence.internal:8000/ | grep -c page\ncurl -sm9 http://127.0.0.1:8000/; echo own $?\n\
                          curl -sm9 http://other.example/; echo other $?\n\
                          python3 -c 'import socket; s = socket.socket(1); s.bind(\"u\"); s.listen(); c = socket.socket(1); c.connect(\"u\"); c.send(b\"unix\"); print(s.accept()[0].recv(9))'";
    let script = format!(
        "mkdir -p /home/site /home/w; cd /home/w; echo page > /home/site/page\n\
         python3 -m http.server --bind 127.0.0.1 --directory /home/site 8000 2>/dev/null & server=$!\n\
         until curl -s http://127.0.0.1:8000/ > /dev/null; do sleep 0.05; done\n\
         cat > /home/policy.toml <<'END'\nversion = 1\nextends = [\"default\"]\n[network]\nallow = [{{ host_loopback = 8000 }}]\nEND\n\
         cat > /home/w/inside.sh <<'END'\n{INSIDE}\nEND\n\
         /rf run --policy /home/policy.toml --workspace . $LEAVE -- sh inside.sh; kill $server"
    );
    let container = Container { uid: 1000, capabilities: USUAL.to_vec(), masked: true, filtered: true };
    let script = script.replace("$LEAVE", if root() { "" } else { "--allow-degraded root-uid" });
    let (status, text) = start(&container, &["sh", "-c", &script]);
    assert_eq!(status, 0, "{text}");
    for line in ["\n1\nown 7\nother 6\nb'unix'\n", "tier `landlock`"] {
        assert!(format!("\n{text}").contains(line), "{line}: {text}");
    }
}
