//! One boot under QEMU: no network, a time limit, and what the guest says on its second serial line.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How the processor is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    Kvm,
    Emulated,
}

impl Accelerator {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulated => "tcg",
        }
    }
}

/// What a boot is made of.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) disk: &'a Path,
    /// What is tried, one variant a line.
    pub(crate) variants: &'a str,
    /// More words for the kernel.
    pub(crate) line: &'a str,
    /// A directory for what it writes.
    pub(crate) scratch: PathBuf,
}

/// Seconds until a guest must have said that it is up, if its processor is a real one.
const UP: u64 = 45;

/// Boots, waits for the end or the limit, and returns what was said, line by line; and whether it came to its end.
pub(crate) fn boot(
    machine: &Machine<'_>,
    accelerator: Accelerator,
    limit: Duration,
) -> Result<(Vec<String>, bool), String> {
    let say = |e: std::io::Error| format!("{}: {e}", machine.scratch.display());
    fs::create_dir_all(&machine.scratch).map_err(say)?;
    let (asked, said) = (machine.scratch.join("variants"), machine.scratch.join("said"));
    let mut text = machine.variants.as_bytes().to_vec();
    text.resize(text.len().next_multiple_of(4096), 0);
    fs::write(&asked, text).map_err(say)?;
    File::create(&said).map_err(say)?;
    let mut running = Running(start(machine, accelerator, &asked, &said)?);
    let began = Instant::now();
    loop {
        let lines: Vec<String> =
            String::from_utf8_lossy(&fs::read(&said).map_err(say)?).lines().map(str::to_owned).collect();
        if lines.iter().any(|line| line == "end") {
            return Ok((lines, true));
        }
        let gone = running.0.try_wait().map_err(say)?.is_some();
        let dead = accelerator == Accelerator::Kvm && lines.is_empty() && began.elapsed().as_secs() > UP;
        if gone || dead || began.elapsed() > limit {
            return Ok((lines, false));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Ended whatever becomes of us: setpriv asks the kernel for a signal on our death.
fn start(
    machine: &Machine<'_>,
    accelerator: Accelerator,
    asked: &Path,
    said: &Path,
) -> Result<Child, String> {
    let file = |path: &Path, more: &str| {
        format!("file={},format=raw,if=virtio,{more}", path.display().to_string().replace(',', ",,"))
    };
    let console = machine.scratch.join("console");
    let processor = if accelerator == Accelerator::Kvm { "host" } else { "max" };
    Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-machine",
            "q35",
        ])
        .args([
            "-accel",
            accelerator.name(),
            "-cpu",
            processor,
            "-smp",
            "1",
            "-m",
            "2048",
            "-display",
            "none",
        ])
        .args(["-no-reboot", "-nic", "none"])
        .arg("-kernel")
        .arg(machine.kernel)
        .arg("-initrd")
        .arg(machine.initramfs)
        .args([
            "-drive",
            &file(machine.disk, "snapshot=on,cache=unsafe"),
            "-drive",
            &file(asked, "readonly=on"),
        ])
        .args([
            "-serial",
            &format!("file:{}", console.display()),
            "-serial",
            &format!("file:{}", said.display()),
        ])
        .arg("-append")
        .arg(format!("console=ttyS0 loglevel=4 panic=-1 mitigations=off no_timer_check {}", machine.line))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("qemu-system-x86_64 (package qemu-system-x86): {e}"))
}

/// Our own child, and no other.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
