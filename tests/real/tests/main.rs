//! Real programs inside the real binary: each does inside what it does outside, and no more of the host than granted.

mod builds;
mod git;
mod linked;
mod owners;
mod poison;
mod suites;
mod traces;
mod trust;
