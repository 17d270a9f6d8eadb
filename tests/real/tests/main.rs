//! Real programs inside the real binary: each does inside what it does outside, and no more of the host than granted.
//!
//! Their sources are fetched once, by name, into `real-inputs` below the target directory; `RINGFENCE_LONG=1` runs the
//! long forms.

#![expect(clippy::expect_used, reason = "a test that cannot make its place has failed")]

mod suite {
    mod builds;
    mod git;
    mod gtfobins;
    mod guarded;
    mod interpreters;
    mod linked;
    mod load;
    mod network;
    mod owners;
    mod poison;
    mod roles;
    mod runners;
    mod traces;
    mod trust;
    mod tunnels;
}
