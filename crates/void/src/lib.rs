//! The file system that stands where the policy grants nothing: it answers the kernel's FUSE requests from a tree that only
//! grows, and says which names were looked for in vain. Bytes in, bytes out: who reads and writes them is `confine`'s.

#![forbid(unsafe_code)]

mod asked;
mod ledger;
mod serve;
mod told;
mod tree;
mod wire;

pub use asked::Decision;
pub use ledger::{First, Ledger};
pub use serve::{ALWAYS_ASKED, Act, Look, OFTEN_ASKED, Server};
pub use told::{By, Told};
pub use wire::LONGEST_REQUEST;
