//! One sequence, from its ESC to its end: read by `vte`, kept as it came, emitted or counted.

use vte::{Params, Perform};

use crate::kind::Kind;
use crate::ledger::Ledger;
use crate::policy;

/// No longer sequence is emitted, and of no string is more kept.
pub(crate) const MAX_SEQUENCE: usize = 256;

/// Longest number in a sequence. Terminals count in 16 bits; some have overflowed.
const MAX_DIGITS: usize = 5;

pub(crate) const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;

/// The sequence that is being read.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// As it came, without the controls inside, which act at once.
    raw: Vec<u8>,
    /// It was longer.
    overlong: bool,
    /// It is not at its end.
    pub(crate) open: bool,
    /// For a device control string: what it is for.
    device: Option<Kind>,
}

impl Sequence {
    pub(crate) fn begin(&mut self) {
        self.raw.clear();
        self.raw.push(ESC);
        (self.overlong, self.open, self.device) = (false, true, None);
    }

    /// Keeps a byte; whether there was room.
    pub(crate) fn keep(&mut self, byte: u8) -> bool {
        self.overlong |= self.raw.len() >= MAX_SEQUENCE;
        if !self.overlong {
            self.raw.push(byte);
        }
        !self.overlong
    }

    /// Keeps the digits and separators that come next, if this is a control sequence: at once, since most of what is
    /// read are these, and none is the last.
    pub(crate) fn parameters<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        if self.raw.get(1) != Some(&b'[') {
            return &[];
        }
        let length = input.iter().position(|byte| !matches!(byte, b'0'..=b';')).unwrap_or(input.len());
        let parameters = input.get(..length).unwrap_or_default();
        let room = MAX_SEQUENCE.saturating_sub(self.raw.len());
        self.overlong |= length > room;
        self.raw.extend_from_slice(parameters.get(..room).unwrap_or(parameters));
        parameters
    }

    /// OSC, DCS, SOS, PM, APC, and the title of screen: content follows, up to a control.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self.raw.get(1), Some(b']' | b'P' | b'X' | b'^' | b'_' | b'k'))
    }

    /// `ESC k`, which tmux and screen end like a string. For the parser it is complete.
    pub(crate) fn is_screen_title(&self) -> bool {
        self.raw.get(1) == Some(&b'k')
    }

    pub(crate) const fn is_overlong(&self) -> bool {
        self.overlong
    }

    /// Whether this byte ends a control sequence, be it one the parser gave up.
    pub(crate) fn is_last_of_csi(&self, byte: u8) -> bool {
        self.raw.get(1) == Some(&b'[') && self.raw.len() > 2 && matches!(byte, 0x40..=0x7e)
    }

    /// What it counts as when it is broken off, and for a string, also when it ends.
    pub(crate) fn broken_off(&self) -> Kind {
        match (self.raw.get(1), self.device) {
            (Some(b'P'), Some(kind)) => kind,
            (Some(introducer), _) if self.is_string() => {
                policy::string(*introducer, self.raw.get(2).copied())
            }
            _ => Kind::Malformed,
        }
    }

    /// Whether all terminals read it as the parser did.
    fn plain(&self) -> bool {
        let digits = self.raw.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max();
        !self.overlong
            && digits <= Some(MAX_DIGITS)
            && self.raw.iter().skip(1).all(|byte| (0x20..0x7f).contains(byte))
    }
}

/// What the parser tells while it reads one byte.
pub(crate) struct Actor<'a> {
    pub(crate) sequence: &'a mut Sequence,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) output: &'a mut Vec<u8>,
    /// The byte.
    pub(crate) byte: u8,
}

impl Actor<'_> {
    /// The sequence is at its end.
    fn end(&mut self, verdict: Result<(), Kind>) {
        self.sequence.open = false;
        match verdict {
            Ok(()) => self.output.extend_from_slice(&self.sequence.raw),
            Err(kind) => self.ledger.counts.add(kind),
        }
    }

    fn judge(&self, ignored: bool, verdict: Result<(), Kind>) -> Result<(), Kind> {
        verdict.and(if ignored || !self.sequence.plain() { Err(Kind::Malformed) } else { Ok(()) })
    }
}

impl Perform for Actor<'_> {
    fn execute(&mut self, byte: u8) {
        match byte {
            CAN | SUB => {
                // An operating system command was counted when it was dispatched.
                if self.sequence.open {
                    self.end(Err(self.sequence.broken_off()));
                }
            }
            _ => self.ledger.control(byte, self.output),
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignored: bool, last: u8) {
        match (intermediates, last) {
            // The end of a string that was already judged.
            ([], b'\\') => self.sequence.open = false,
            // Open still: see `Sequence::is_screen_title`.
            ([], b'k') => {}
            _ => {
                let verdict = self.judge(ignored, policy::escape(intermediates, last));
                if verdict.is_ok() {
                    self.ledger.leftovers.escape(intermediates, last);
                }
                self.end(verdict);
            }
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignored: bool, action: char) {
        let mut verdict = self.judge(ignored, policy::csi(params, intermediates, action));
        if verdict.is_ok() && !self.ledger.leftovers.csi(params, intermediates, action) {
            verdict = Err(Kind::Keys);
        }
        self.end(verdict);
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        let verdict = self.judge(false, policy::osc(params));
        let verdict = match self.byte {
            BEL | ESC => verdict,
            _ => verdict.and(Err(Kind::Malformed)),
        };
        self.end(verdict);
        if verdict.is_ok() {
            // After an ESC the rest of the terminator may not come; what was emitted is whole in any case.
            self.output.extend_from_slice(if self.byte == BEL { b"\x07" } else { b"\x1b\\" });
        }
    }

    fn hook(&mut self, _params: &Params, intermediates: &[u8], _ignored: bool, action: char) {
        self.sequence.device = Some(policy::device(intermediates, action));
    }
}
