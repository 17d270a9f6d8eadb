//! What a task changed in its copy-on-write workspace, and whether it lands on the host (promise 6).
//!
//! The task wrote into the *upper* directory of an overlay; the host's directory, the *lower*, has not changed.
//! [`diff`] walks the upper, so it costs what changed. [`plan_apply`] judges the whole and refuses it where a part must
//! not land. [`apply()`] lands it: new content is built in a directory of its own inside the workspace, swapped in by
//! renames, and what it replaced is kept. [`recover()`] makes an interrupted apply all or nothing. [`discard`] forgets.
//!
//! The upper holds whatever a hostile task could make, and the host's directory may change at any moment: every step
//! goes through a descriptor of the workspace's root, beneath it and along no symlink (`man 2 openat2`).

#![forbid(unsafe_code)]

mod apply;
mod assess;
mod attributes;
mod began;
mod beneath;
mod beside;
mod capture;
mod change;
mod content;
mod copy;
mod danger;
mod escape;
mod git;
mod hunks;
mod index;
mod journal;
mod keep;
mod layer;
mod lines;
mod link;
mod looks;
mod merge;
mod name;
mod nearest;
mod noted;
mod opened;
mod operation;
mod options;
mod outputs;
mod overlay;
mod patch;
mod pieces;
mod recover;
mod refuse;
mod remove;
mod renames;
mod render;
mod restored;
mod review;
mod root;
mod rules;
mod secrets;
mod shift;
mod show;
mod snapshot;
mod stack;
mod stage;
mod text;
mod undo;
mod unfinished;
mod unsynced;
mod usage;
mod walk;
mod words;

pub use apply::{Applied, Progress, apply, apply_watched};
pub use assess::{Apply, count, count_from, diff, plan_apply, plan_apply_with};
pub use attributes::{Attribute, copy_shown};
pub use began::{Base, Began, Start};
pub use capture::{capture, captures, hold};
pub use change::{Change, Content, FileType, Flag, HoldReason, Kind};
pub use copy::{Copied, copy};
pub use danger::Danger;
pub use escape::escape;
pub use layer::{Layer, Timestamp, WORKSPACE};
pub use opened::{close_again, opened_for_good};
pub use options::{Named, Options};
pub use overlay::holds_removals;
pub use patch::{Entry, Missing, git_path};
pub use pieces::{Chosen, Pieces};
pub use recover::{Recovered, begun, kept, landed, recover, recover_leaving, unfinished, written};
pub use refuse::{Failure, Reason, Refusal, Refused};
pub use remove::{discard, empty_tree, remove_tree};
pub use render::{render_held, render_json, render_names, render_stat};
pub use review::Review;
pub use root::{FileSystem, Root};
pub use rules::runs_later;
pub use secrets::{Scan, Secrets};
pub use show::Look;
pub use snapshot::{Reversed, reverse, snapshot};
pub use stack::{How, flatten};
pub use undo::{Undo, plan_undo, reverted, undoable};
pub use usage::{Taken, disk_used, taken};
