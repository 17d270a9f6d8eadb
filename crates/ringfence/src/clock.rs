//! The kernel's clocks that file times come from.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Seconds and nanoseconds since the epoch.
pub(crate) type Instant = (i64, i64);

/// Now, to the nanosecond.
pub(crate) fn now() -> Instant {
    read(ClockId::Realtime)
}

/// Waits until a file that is changed carries a time after `start`, while what was changed before carries an earlier one.
/// File times advance in ticks of 1 to 10 ms (inode_set_ctime_current in Linux's fs/inode.c); one has mostly passed.
pub(crate) fn pass(start: Instant) {
    // Not for ever: the clock may be set back.
    for _ in 0..500 {
        if read(ClockId::RealtimeCoarse) > start {
            return;
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

fn read(clock: ClockId) -> Instant {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    (tv_sec, tv_nsec)
}
