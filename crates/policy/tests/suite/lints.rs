//! Grants that open too much, and rules that contradict each other.

use ringfence_policy::{Context, check_grant, check_workspace, load};

use super::support::{bad, context, file, good, memory, same};

#[test]
fn po11_whole_roots() {
    for (path, opens) in [
        ("/", "the whole host"),
        ("//", "the whole host"),
        ("/./", "the whole host"),
        ("/proc", "the host's processes"),
        ("/proc/self", "the host's processes"),
        ("/sys", "the kernel's controls"),
        ("/dev", "the host's devices"),
        ("/dev/shm", "the host's devices"),
        ("/run", "docker and D-Bus"),
        ("/var/run", "docker and D-Bus"),
        ("/tmp", "the sandbox has its own /tmp"),
        ("~", "the whole home"),
        ("~/", "the whole home"),
        ("/home/u", "the whole home"),
        ("/home", "every file in the home"),
        ("~/.local", "the state directory"),
        ("~/.local/state/ringfence", "the state directory"),
        ("~/.local/state/ringfence/runs", "the state directory"),
        ("/etc/ringfence", "the administrator's ceiling"),
        ("/etc/ringfence/ceiling.toml", "the administrator's ceiling"),
    ] {
        for list in ["read", "exec", "write"] {
            for optional in ["", "?"] {
                let found = bad(&format!("[files]\n{list} = [\"{path}{optional}\"]\n"));
                assert!(
                    found.contains("cannot be granted: it would open") && found.contains(opens),
                    "{path}: {found}"
                );
                assert!(found.contains("--> p.toml:3:"), "{found}");
            }
        }
    }
    good(
        "[files]\nread = [\"/etc\", \"/sys/devices\", \"/usr\", \"/home/other\", \"~/x\", \"/tmp/x\", \"/run/x\"]\n",
    );
    assert!(bad("[files]\nwrite = [\"/etc\"]\n").contains("ceiling, for writing"));
    assert!(bad("[files]\nwrite = [\"/sys/fs/cgroup\"]\n").contains("the kernel's controls"));
}

#[test]
fn po12_sockets_that_equal_root() {
    same(
        &bad(
            "[files]\nwrite = [\"/var/run/docker.sock\"]\n[network]\nallow = [{ unix = \"/run/docker.sock\" }]\n",
        ),
        r#"
        error: `/var/run/docker.sock` equals root on the host: whoever reaches it commands docker
         --> p.toml:3:10
          |
        3 | write = ["/var/run/docker.sock"]
          |          ^^^^^^^^^^^^^^^^^^^^^^
          |
          = help: remove it; no part of a sandbox can limit what is done through it

        error: `/run/docker.sock` equals root on the host: whoever reaches it commands docker
         --> p.toml:5:19
          |
        5 | allow = [{ unix = "/run/docker.sock" }]
          |                   ^^^^^^^^^^^^^^^^^^
          |
          = help: remove it; no part of a sandbox can limit what is done through it
        "#,
    );
    for path in [
        "/run/user/1000",
        "/run/user",
        "/var/run/user/0/bus",
        "/run/podman/podman.sock",
        "/run/containerd",
        "/var/run/containerd/containerd.sock",
        "/run/dbus/system_bus_socket",
        "~/.docker/run/docker.sock",
        "/tmp/agent.1",
        "$SSH_AUTH_SOCK",
    ] {
        for list in ["read", "exec", "write"] {
            let found = bad(&format!("[files]\n{list} = [\"{path}\"]\n"));
            assert!(found.contains("equals root on the host"), "{path}: {found}");
        }
    }
    assert!(bad("[files]\nread = [\"/run/user/1000\"]\n").contains("docker"));
}

#[test]
fn homes_of_system_users_do_not_forbid_the_system() {
    let home = |home: &str| Context { home: home.into(), ..context() };
    assert_eq!(check_grant("/usr".as_ref(), false, &home("/usr/games")), None);
    assert!(check_grant("/srv".as_ref(), false, &home("/srv/u")).is_some());
    // A context that is not filled in forbids nothing by accident and allows no root.
    assert_eq!(check_grant("/usr".as_ref(), true, &Context::default()), None);
    assert!(check_grant("/".as_ref(), false, &Context::default()).is_some());
}

#[test]
fn po23_the_workspace_is_never_a_root_a_home_or_a_parent_of_the_state() {
    for directory in ["/", "/home/u", "/home", "/home/u/.local", "/proc", "/run"] {
        let policy = format!("{}/p.toml", directory.trim_end_matches('/'));
        let files = memory(&[(&policy, "version = 1\n[workspace]\npath = \".\"\n")]);
        let found = load(&[file(&policy)], &context(), &files).unwrap_err().to_string();
        assert!(found.contains("cannot be the workspace"), "{directory}: {found}");
        assert!(check_workspace(directory.as_ref(), &context()).is_some(), "{directory}");
    }
    assert_eq!(check_workspace("/home/u/project".as_ref(), &context()), None);
    assert!(bad("[workspace]\npath = \"/srv/*\"\n").contains("one directory, not a pattern"));
}

#[test]
fn a_deny_that_hides_a_whole_grant() {
    same(
        &bad("[files]\nread = [\"/srv/a/b\"]\ndeny = [\"/srv/a\"]\n"),
        r#"
        error: `/srv/a/b` is granted and denied as a whole
         --> p.toml:3:9
          |
        3 | read = ["/srv/a/b"]
          |         ^^^^^^^^^^ this can never apply
          |
         ::: p.toml:4:9
          |
        4 | deny = ["/srv/a"]
          |         -------- denied here
          |
          = help: remove the one that is not meant; a deny always wins
        "#,
    );
    for (grant, deny) in [
        ("read = [\"/srv/x.pem\"]", "/srv/*.pem"),
        ("exec = [\"/srv/x\"]", "/**/x"),
        ("write = [\"~/x\"]", "~/x"),
    ] {
        assert!(
            bad(&format!("[files]\n{grant}\ndeny = [\"{deny}\"]\n")).contains("denied as a whole"),
            "{deny}"
        );
    }
    let relative = "[workspace]\npath = \"/srv\"\n[files]\nread = [\"/srv/x/y\"]\ndeny = [\"x\"]\n";
    assert!(bad(relative).contains("denied as a whole"));
    let program = "[files]\nexec = [\"/srv\"]\ndeny = [\"/srv/bin\"]\n[commands]\nallow = [\"/srv/bin/x\"]\n";
    assert!(bad(program).contains("`/srv/bin/x` is granted and denied"));
    assert!(
        bad("[workspace]\npath = \"/srv/x\"\n[files]\ndeny = [\"/srv\"]\n")
            .contains("`/srv/x` is granted and denied")
    );
    // Without `workspace.path` the current directory is the workspace.
    assert!(bad("[files]\nread = [\"/proj/x/y\"]\ndeny = [\"x\"]\n").contains("denied as a whole"));
    // A deny below a grant is what denies are for.
    good("[files]\nread = [\"/srv/a\"]\ndeny = [\"/srv/a/b\", \"**/.env\", \"/srv/*.pem\"]\n");
}

#[test]
fn writable_and_executable() {
    same(
        &bad("[files]\nexec = [\"/srv/tools\"]\nwrite = [\"/srv/tools/cache\"]\n"),
        r#"
        error: `/srv/tools/cache` would be writable and executable
         --> p.toml:4:10
          |
        4 | write = ["/srv/tools/cache"]
          |          ^^^^^^^^^^^^^^^^^^ writable
          |
         ::: p.toml:3:9
          |
        3 | exec = ["/srv/tools"]
          |         ------------ executable
          |
          = help: keep the two apart; to run what the task builds, make it the workspace and set `commands.from_workspace = true`
        "#,
    );
    assert_eq!(bad("[files]\nexec = [\"/srv\"]\nwrite = [\"/srv\"]\n").matches("error:").count(), 1);
    assert!(bad("[files]\nexec = [\"/srv/x/y\"]\nwrite = [\"/srv\"]\n").contains("p.toml:3:9"));
    good(
        "[files]\nexec = [\"/srv/x\"]\nwrite = [\"/srv/xy\", \"/srv/y\"]\nread = [\"/srv/x\", \"/srv/y\"]\n",
    );
    good("[workspace]\npath = \"/srv\"\n[files]\nexec = [\"/srv/x\"]\nwrite = [\"/srv/x\"]\n");
    bad("[workspace]\npath = \"/srv\"\n[files]\nexec = [\"/srv2\"]\nwrite = [\"/srv2\"]\n");
}

#[test]
fn a_program_outside_all_executable_trees() {
    same(
        &bad("[files]\nexec = [\"/usr\"]\n[commands]\nallow = [\"/usr/bin/cc\", \"/opt/x/cc\"]\n"),
        r#"
        error: `/opt/x/cc` can never start: no executable tree holds it
         --> p.toml:5:25
          |
        5 | allow = ["/usr/bin/cc", "/opt/x/cc"]
          |                         ^^^^^^^^^^^ not in `files.exec`
          |
          = help: add it to `files.exec`: `exec = ["/opt/x/cc"]`
        "#,
    );
    good("[workspace]\npath = \"/srv\"\n[commands]\nallow = [\"/srv/tool\"]\nfrom_workspace = true\n");
}
