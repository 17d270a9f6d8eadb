//! Builds the boundary: carries out a plan between clone and exec, and decides nothing.
//!
//! [`probe`] and [`survey`] look at the host before the plan is made; [`start`] makes the sandbox; what runs in the new
//! processes is in `child` (the order of construction is the order of that page), `root` and `init`.

#![forbid(unsafe_code)]

mod child;
mod init;
mod landlock;
mod parent;
pub mod probe;
mod report;
mod root;
pub mod survey;

pub use init::FORWARDED;
pub use parent::{Boundary, Failure, Prepared, Stream, stage, start};
pub use report::Message;
