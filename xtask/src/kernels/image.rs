//! What the guest boots: a disk with this machine's own programs on it, and an initramfs that mounts it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{capture, is_root, run};

/// Debian packages whose programs the guest has, with what they depend on.
const PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "curl",
    "dash",
    "diffutils",
    "findutils",
    "gcc",
    "git",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "jq",
    "kmod",
    "libc-bin",
    "login",
    "mount",
    "openssh-client",
    "openssl",
    "passwd",
    "perl-base",
    "procps",
    "python3",
    "python3-h2",
    "sed",
    "sqlite3",
    "strace",
    "tar",
    "util-linux",
];

/// For the disk, before there is one.
const DISK_MODULES: &[&str] = &["virtio_pci", "virtio_blk", "ext4"];
/// On the disk, loaded by whoever needs them.
const LATER_MODULES: &[&str] = &[
    "overlay",
    "fuse",
    "loop",
    "tun",
    "nf_tables",
    "nft_chain_nat",
    "nft_redir",
    "nft_nat",
    "nft_ct",
    "nft_reject_inet",
];

const INIT: &str = include_str!("init.sh");
const GUEST: &str = include_str!("guest.sh");

/// Trees of /etc that no package lists.
const SETTINGS: &str = "etc/alternatives etc/ld.so.conf etc/ld.so.conf.d etc/nsswitch.conf";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\n\
                      agent:x:1000:1000:An agent:/home/agent:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n";
const GROUP: &str =
    "root:x:0:\ndaemon:x:1:\ntty:x:5:\ndisk:x:6:\nshadow:x:42:\nagent:x:1000:\nnogroup:x:65534:\n";
const SHADOW: &str = "root:!CANARY-SHADOW:20000::::::\nagent:!:20000::::::\n";

/// The system on the disk, without any kernel's modules. `programs` are put at their paths.
pub(crate) fn system(root: &Path, programs: &[(&Path, &str)], extra: &[PathBuf]) -> Result<(), String> {
    remove(root)?;
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    for directory in [
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "proc",
        "sys",
        "dev",
        "tmp",
        "run",
        "kernels",
        "var/tmp",
    ] {
        make(&root.join(directory))?;
    }
    for directory in ["root", "home/agent", "etc"] {
        make(&root.join(directory))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).map_err(say(root))?;
    }
    let list = files(PACKAGES)?;
    let names: Vec<&str> = list.iter().filter_map(|path| path.strip_prefix("/").ok()?.to_str()).collect();
    let listed = root.with_extension("list");
    fs::write(&listed, names.join("\n")).map_err(say(&listed))?;
    shell(
        "tar -C / --no-recursion --ignore-failed-read --warning=none -T \"$1\" -cf - | tar -C \"$2\" -xf -; \
         tar -C / -cf - $3 | tar -C \"$2\" -xf -; \
         ln -sf mawk \"$2/etc/alternatives/awk\"; ",
        &[&listed, root, Path::new(SETTINGS)],
    )?;
    for package in extra {
        // Its /lib is a link here, which must stay one.
        shell(
            "dpkg-deb --fsys-tarfile \"$1\" | tar -C \"$2\" --keep-directory-symlink -xf -",
            &[package, root],
        )?;
    }
    for (name, text) in [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/shadow", SHADOW),
        ("etc/hosts", "127.0.0.1 localhost\n"),
    ] {
        fs::write(root.join(name), text).map_err(say(root))?;
    }
    fs::set_permissions(root.join("etc/shadow"), fs::Permissions::from_mode(0o600)).map_err(say(root))?;
    fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700)).map_err(say(root))?;
    fs::set_permissions(root.join("var/tmp"), fs::Permissions::from_mode(0o1777)).map_err(say(root))?;
    for (from, to) in programs {
        fs::copy(from, at(to)).map_err(say(from))?;
    }
    fs::write(root.join("kernels/guest.sh"), GUEST).map_err(say(root))?;
    run(Command::new("/sbin/ldconfig").arg("-r").arg(root))
}

/// A file system with that system and this kernel's modules on it. Root's files are root's there, whoever makes it.
pub(crate) fn disk(root: &Path, kernel: &Kernel, to: &Path) -> Result<(), String> {
    let modules = root.join("usr/lib/modules");
    remove(&modules)?;
    for module in kernel.modules(LATER_MODULES)? {
        let below = module.strip_prefix(&kernel.tree).map_err(|e| e.to_string())?;
        let place = root.join("usr").join(below);
        make(place.parent().unwrap_or(root))?;
        fs::copy(&module, &place).map_err(say(&module))?;
    }
    run(Command::new("depmod").arg("-b").arg(root).arg(&kernel.release))?;
    let mut command = if is_root() {
        Command::new("mke2fs")
    } else {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "mke2fs"]);
        command
    };
    command.args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", "-d"]).arg(root).arg(to).arg("3G");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    run(&mut command)
}

/// The first file system: busybox, what the disk needs, and a script.
pub(crate) fn initramfs(busybox: &Path, kernel: &Kernel, work: &Path, to: &Path) -> Result<(), String> {
    remove(work)?;
    make(&work.join("bin"))?;
    make(&work.join("modules"))?;
    fs::copy(busybox, work.join("bin/busybox")).map_err(say(busybox))?;
    fs::write(work.join("init"), INIT).map_err(say(work))?;
    fs::set_permissions(work.join("init"), fs::Permissions::from_mode(0o755)).map_err(say(work))?;
    let mut order = String::new();
    for module in kernel.modules(DISK_MODULES)? {
        let name = module.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let place = work.join("modules").join(&name);
        fs::copy(&module, &place).map_err(say(&module))?;
        if name.ends_with(".xz") {
            run(Command::new("xz").args(["-d", "-f"]).arg(&place))?;
        }
        order.push_str(name.trim_end_matches(".xz"));
        order.push('\n');
    }
    fs::write(work.join("modules/order"), order).map_err(say(work))?;
    shell(
        "cd \"$1\" && find . | \"$2\" cpio -o -H newc 2> /dev/null | gzip -1 > \"$3\"",
        &[work, busybox, to],
    )
}

/// An unpacked kernel package.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) release: String,
    /// Where the package was unpacked.
    pub(crate) tree: PathBuf,
}

impl Kernel {
    /// Finds what a package holds.
    pub(crate) fn of(tree: PathBuf) -> Result<Self, String> {
        let names = fs::read_dir(tree.join("boot")).map_err(say(&tree))?;
        let release = names
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
            .next()
            .ok_or_else(|| format!("{} holds no kernel", tree.display()))?;
        run(Command::new("depmod").arg("-b").arg(&tree).arg(&release))?;
        Ok(Self { release, tree })
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.tree.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The files of modules and of what they need, in the order in which they load; what is built in has none.
    fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>, String> {
        let mut found: Vec<PathBuf> = Vec::new();
        for name in names {
            let shown = capture(
                Command::new("modprobe")
                    .args(["--show-depends", "-S", &self.release, "-d"])
                    .arg(&self.tree)
                    .arg(name),
            )?;
            for path in shown.lines().filter_map(|line| line.strip_prefix("insmod ")) {
                let path = PathBuf::from(path.trim());
                if !found.contains(&path) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }
}

/// Every file of these packages and of what they depend on, but for documentation; Python's compiled files beside its own.
fn files(packages: &[&str]) -> Result<BTreeSet<PathBuf>, String> {
    let shown = capture(
        Command::new("apt-cache")
            .args([
                "depends",
                "--recurse",
                "--installed",
                "--no-recommends",
                "--no-suggests",
                "--no-conflicts",
            ])
            .args(["--no-breaks", "--no-replaces", "--no-enhances"])
            .args(packages),
    )?;
    let known = capture(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Abbrev} ${Package}\n"]))?;
    let installed: BTreeSet<&str> = known.lines().filter_map(|line| line.strip_prefix("ii  ")).collect();
    let wanted: BTreeSet<&str> = shown
        .lines()
        .filter(|line| !line.starts_with([' ', '|', '<']))
        .filter(|name| installed.contains(name))
        .collect();
    if let Some(missing) = packages.iter().find(|name| !wanted.contains(*name)) {
        return Err(format!("the guest needs the package {missing}: apt-get install {missing}"));
    }
    let listed = capture(Command::new("dpkg").arg("-L").args(&wanted))?;
    let mut files = BTreeSet::new();
    for path in listed.lines().map(Path::new).filter(|path| path.is_absolute() && !useless(path)) {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else { continue };
        let Ok(parent) = fs::canonicalize(parent) else { continue };
        let place = parent.join(name);
        if place.symlink_metadata().is_err()
            || ["/bin", "/sbin", "/lib", "/lib64"].map(Path::new).contains(&place.as_path())
        {
            continue;
        }
        if place.is_dir()
            && let Ok(compiled) = fs::read_dir(place.join("__pycache__"))
        {
            files.extend(compiled.filter_map(Result::ok).map(|entry| entry.path()));
        }
        files.insert(place);
    }
    Ok(files)
}

fn useless(path: &Path) -> bool {
    [
        "/usr/share/doc",
        "/usr/share/man",
        "/usr/share/locale",
        "/usr/share/info",
        "/usr/share/lintian",
        "/usr/share/perl",
    ]
    .iter()
    .any(|tree| path.starts_with(tree))
}

/// A line of shell with paths as its arguments.
fn shell(script: &str, paths: &[&Path]) -> Result<(), String> {
    let status = Command::new("bash")
        .args(["-o", "pipefail", "-ec", script, "kernels"])
        .args(paths)
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("bash: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{script}: {status}")) }
}

fn make(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(say(path))
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn say(path: &Path) -> impl Fn(std::io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}
