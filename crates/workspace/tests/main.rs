//! The promise that nothing lands unseen, tried against real overlays (one binary: one link).

#![forbid(unsafe_code)]

#[cfg(test)]
mod suite {
    mod apply;
    mod conflict;
    mod crash;
    mod diff;
    mod discard;
    mod held;
    mod hostile;
    mod mounted;
    mod patch;
    mod power;
    mod race;
    mod random;
    mod root;
    mod support;
    mod undo;
}
