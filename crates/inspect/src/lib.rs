//! What the gateway looks at in connections that are passed through: the first message of TLS, and of a few protocols more.
//!
//! [`Peek`] takes the bytes of a connection as they come, until its ClientHello is whole; [`ClientHello::judge`] holds
//! it against the name that was asked for, and [`Again`] finds the second one that a server may ask for. Nothing here reads a socket or keeps time: the caller does, and ends a
//! connection whose ClientHello is not whole in time. All memory is bounded by [`LARGEST_HELLO`].
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]

mod again;
mod first;
mod hello;
mod peek;

pub use again::Again;
pub use first::{Shows, Spoken};
pub use hello::{ClientHello, Malformed, Mismatch};
pub use peek::{LARGEST_HELLO, Peek, Step};
