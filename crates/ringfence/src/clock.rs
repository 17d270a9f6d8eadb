//! A moment that parts file changes before a run from those after: what `apply` calls changed meanwhile.
//!
//! File times advance in ticks of 1 to 10 ms (inode_set_ctime_current in Linux's fs/inode.c), so that a change just before
//! and one just after the start look the same. Since Linux 6.13 a file that was looked at gets an exact time at its next
//! change, and no file of the system an earlier one after that (Documentation/filesystems/multigrain-ts.rst).

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, openat, statfs};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Seconds and nanoseconds since the epoch.
pub(crate) type Instant = (i64, i64);

/// File systems whose times are exact then: ext4, xfs, btrfs, tmpfs (FS_MGTIME; magic numbers of statfs(2)).
const EXACT: &[u64] = &[0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];

/// The moment, and whether the command has to wait for the next tick before it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Border {
    pub(crate) moment: Instant,
    wait: bool,
}

/// Draws the border now. `own` is a directory of ours whose mode is 0700, `layers` what is worked on copy-on-write.
pub(crate) fn border<'a>(own: &Path, mut layers: impl Iterator<Item = &'a Path>) -> Border {
    let now = read(ClockId::Realtime);
    let exact = |path: &Path| {
        statfs(path).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|magic| EXACT.contains(&magic)))
    };
    match stamp(own) {
        Some(moment) if moment >= now && layers.all(exact) => Border { moment, wait: false },
        _ => Border { moment: now, wait: true },
    }
}

/// Looks at a directory, changes it, and says which time that was given.
fn stamp(own: &Path) -> Option<Instant> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, own, flags, Mode::empty()).ok()?;
    fstat(&directory).ok()?;
    fchmod(&directory, Mode::RWXU).ok()?;
    let stat = fstat(&directory).ok()?;
    Some((stat.st_ctime, i64::try_from(stat.st_ctime_nsec).ok()?))
}

impl Border {
    /// Waits, where it must, until a file that is changed carries a time after the border.
    pub(crate) fn pass(self) {
        // Not for ever: the clock may be set back.
        for _ in 0..if self.wait { 500 } else { 0 } {
            if read(ClockId::RealtimeCoarse) > self.moment {
                return;
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    }
}

fn read(clock: ClockId) -> Instant {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    (tv_sec, tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn changed(path: &Path) -> Instant {
        let stat = rustix::fs::stat(path).unwrap();
        (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap())
    }

    #[test]
    fn what_changes_before_is_earlier_and_what_changes_after_is_not() {
        let home = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let (before, after) = (home.path().join("before"), home.path().join("after"));
            fs::write(&before, "x").unwrap();
            let border = border(home.path(), [home.path()].into_iter());
            border.pass();
            fs::write(&after, "x").unwrap();
            assert!(changed(&before) < border.moment, "round {round}: {border:?}");
            assert!(changed(&after) >= border.moment, "round {round}: {border:?}");
        }
    }

    #[test]
    fn where_times_are_coarse_the_next_tick_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        // No directory of ours: no exact time to begin with.
        let border = border(&home.path().join("missing"), [home.path()].into_iter());
        assert!(border.wait);
        border.pass();
        assert!(read(ClockId::RealtimeCoarse) > border.moment);
    }
}
