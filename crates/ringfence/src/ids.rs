//! An unused kernel id for a sandbox that root starts, held for as long as the sandbox lives.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;

use ringfence_record::State;
use ringfence_sys::lock::try_lock_byte;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::{Context, Failure};

/// Above every range that systemd gives to containers, below the sign bit (systemd, UIDS-GIDS.md).
const UNUSED: Range<u32> = 0x7000_0000..0x7ffe_0000;

/// The id, and the lock that keeps other sandboxes from it: one byte of a file, so that none has to be made and removed.
pub(crate) fn reserve(state: &State) -> Result<(u32, File), Failure> {
    let path = state.path().join("ids.lock");
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o600))
        .context(format!("reserving a kernel id in {}", path.display()))?;
    for _ in 0..64 {
        let id = random()?;
        if !listed(id) && try_lock_byte(file.as_fd(), id).is_ok() {
            return Ok((id, File::from(file)));
        }
    }
    Err(Failure::new("no unused kernel id was found for the task"))
}

fn random() -> Result<u32, Failure> {
    let mut bytes = [0u8; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("random numbers")?;
    Ok(UNUSED.start + u32::from_ne_bytes(bytes) % (UNUSED.end - UNUSED.start))
}

/// Whether somebody has that id already, by the files that give ids away.
fn listed(id: u32) -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let user = |text: &str| {
        text.lines().any(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(id))
    };
    let range = |text: &str| {
        text.lines().any(|line| {
            let mut fields = line.split(':').skip(1).map(str::parse::<u32>);
            match (fields.next(), fields.next()) {
                (Some(Ok(start)), Some(Ok(count))) => (start..start.saturating_add(count)).contains(&id),
                _ => false,
            }
        })
    };
    user(&read("/etc/passwd"))
        || user(&read("/etc/group"))
        || range(&read("/etc/subuid"))
        || range(&read("/etc/subgid"))
}
