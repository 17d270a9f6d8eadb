//! What can go wrong with the files of a run: which file, what was tried, why.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A file of the record could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {doing} {}: {errno}", .path.display())]
    System {
        /// A verb: `open`, `write`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// It is not the kind of file that this crate makes, or not ours alone.
    #[error("{} {what}", .path.display())]
    Unsafe {
        /// Which file.
        path: PathBuf,
        /// What it is, as the rest of a sentence.
        what: &'static str,
    },
    /// The content is not what this crate writes.
    #[error("{} cannot be read: {why}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The last event is torn: a crash or a full disk cut it short.
    #[error("{} ends in the middle of an event, after {whole} whole ones", .path.display())]
    Torn {
        /// Which file.
        path: PathBuf,
        /// Events before the cut.
        whole: u64,
    },
    /// Another process of ours writes to it.
    #[error("{} is in use by another ringfence", .path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// No run is meant by this name.
    #[error("no run matches `{0}`")]
    NoRun(String),
    /// More than one run is meant by this name.
    #[error("`{name}` matches {count} runs")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many.
        count: usize,
    },
    /// An earlier write failed, so nothing more is written behind it.
    #[error("{} is closed after a failed write", .0.display())]
    Closed(PathBuf),
}

impl Error {
    pub(crate) fn system(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::System { doing, path: path.to_owned(), errno }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System {
            doing,
            path: path.to_owned(),
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        }
    }

    pub(crate) fn malformed(path: &Path, why: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), why: why.to_string() }
    }

    pub(crate) fn not_ours(path: &Path, what: &'static str) -> Self {
        Self::Unsafe { path: path.to_owned(), what }
    }
}
