//! The kernel's coarse clock, which file times come from.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Seconds and nanoseconds since the epoch.
pub(crate) type Instant = (i64, i64);

/// Now, as a file changed now would carry it.
pub(crate) fn coarse() -> Instant {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::RealtimeCoarse);
    (tv_sec, tv_nsec)
}

/// A moment whose tick is later than `tick`: whatever changed before this program started is older, whatever changes from now
/// on is not. Waits for the next tick (1 to 10 ms) only if none has passed.
pub(crate) fn after(tick: Instant) -> Instant {
    loop {
        let now = coarse();
        if now != tick {
            return now;
        }
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}
