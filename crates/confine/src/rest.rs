//! Waiting for long: code that is not used is given back, which would cost more than it saves in one that is soon woken.

use std::cell::Cell;
use std::time::Duration;

use ringfence_sys::memory;
use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// Who slept so long will sleep longer.
const SOON: Duration = Duration::from_millis(100);

/// A loop that waits.
#[derive(Debug, Default)]
pub struct Rest {
    /// Nothing was used since the code was given back.
    resting: Cell<bool>,
}

impl Rest {
    /// poll(2) for at most so long; `None`: for ever. An interrupted wait is over.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll(&self, polled: &mut [PollFd<'_>], patience: Option<Duration>) -> Result<(), Errno> {
        let mut left = patience;
        if !self.resting.get() && patience.is_none_or(|patience| patience > SOON) {
            if wait(polled, Some(SOON))? {
                return Ok(());
            }
            memory::forget_code();
            self.resting.set(true);
            left = patience.map(|patience| patience.saturating_sub(SOON));
        }
        if wait(polled, left)? {
            self.resting.set(false);
        }
        Ok(())
    }
}

/// Whether something happened.
fn wait(polled: &mut [PollFd<'_>], patience: Option<Duration>) -> Result<bool, Errno> {
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(polled, patience.as_ref()) {
        Ok(number) => Ok(number > 0),
        Err(Errno::INTR) => Ok(true),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_waits_as_long_as_it_is_told() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let rest = Rest::default();
        // Shorter than the time after which code is given back, longer, and once that has happened.
        for patience in [50, 150, 50, 150].map(Duration::from_millis) {
            let begun = Instant::now();
            rest.poll(&mut [PollFd::new(&reader, rustix::event::PollFlags::IN)], Some(patience)).unwrap();
            assert!(begun.elapsed() >= patience, "{:?} of {patience:?}", begun.elapsed());
        }
    }
}
