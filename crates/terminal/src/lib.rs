//! What a task may do to the user's terminal: draw on it. What would act on it is taken out of the stream.
//!
//! A terminal obeys what is written to it: it sets the clipboard, types answers into the input that the user's shell
//! reads next, redefines keys, renames and resizes windows, prints, receives files. A [`Filter`] stands between the
//! task's output and the terminal. What is not on a list of sequences that draw (`policy`, `modes`) is removed whole;
//! what is on it goes through byte for byte, so far as it is written in the plain form all terminals read alike.
//!
//! - Text goes through in runs (`text`): UTF-8 without control characters.
//! - Everything after an ESC is read by the parser of the crate `vte`, and emitted when it is complete and allowed
//!   (`sequence`). So after every [`Filter::push`] the terminal stands between two sequences, inside none.
//! - What the task set and left is undone at the end (`leftovers`).
//!
//! The output is always valid UTF-8 and holds no 8-bit control (C1), which a terminal that reads UTF-8 and one that does
//! not would take differently. The terminal must read UTF-8: `ESC % @`, which would make it stop, is among what is
//! removed.
//!
//! Why, and where the rules come from: CVE-2003-0063 (title reported back as input), CVE-2008-2383 and CVE-2022-45872
//! (DECRQSS echoes what was asked), CVE-2019-9535 (tmux integration of a terminal, from its output), CVE-2021-27135
//! (combining characters), CVE-2022-45063 (font name reported back as input); "Terminal Emulator Security Issues", H. D.
//! Moore, 2003; "XTerm Control Sequences", T. Dickey and others (ctlseqs), for what each sequence does.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]

mod filter;
mod kind;
mod ledger;
mod leftovers;
mod modes;
mod policy;
mod sequence;
mod text;

pub use filter::Filter;
pub use kind::Kind;
