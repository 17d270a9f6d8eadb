//! What is known of the stream so far: what was removed, and what the task has set.

use crate::kind::{Counts, Kind};
use crate::leftovers::Leftovers;

/// Counts and leftovers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) counts: Counts,
    pub(crate) leftovers: Leftovers,
}

impl Ledger {
    /// A control character: emitted or counted.
    pub(crate) fn control(&mut self, control: u8, output: &mut Vec<u8>) {
        match allowed(control) {
            Ok(()) => {
                self.leftovers.control(control);
                output.push(control);
            }
            Err(kind) => self.counts.add(kind),
        }
    }
}

/// Whether a control character may go through where it stands. NUL is padding, which terminals skip; DEL is not here
/// because they do not agree on it. DC1 and DC3 stop and start the flow of what shares the line.
pub(crate) const fn allowed(control: u8) -> Result<(), Kind> {
    match control {
        0x00 | 0x07..=0x0f => Ok(()),
        // ENQ: the terminal types its answer-back message.
        0x05 => Err(Kind::Report),
        _ => Err(Kind::Control),
    }
}
