//! Both versions of a file, read within bounds, so that no task can make a look at its changes slow or large.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::beneath::Tree;
use crate::change::{Change, FileType, Kind};
use crate::content::fill;
use crate::overlay::Upper;

/// By so much of its beginning a file says of which type it is.
const HEAD: u64 = 8 << 10;

/// What may still be spent on reading and comparing.
pub(crate) struct Budget {
    /// A file that is longer is not read.
    file: u64,
    bytes: u64,
    end: Instant,
}

impl Budget {
    /// For a look at everything: 1 MiB a file, 64 MiB and 5 s in all.
    pub(crate) fn look() -> Self {
        Self { file: 1 << 20, bytes: 64 << 20, end: Instant::now() + Duration::from_secs(5) }
    }

    /// For a patch, which has to be whole: 64 MiB a file, 512 MiB in all.
    pub(crate) fn whole() -> Self {
        Self { file: 64 << 20, bytes: 512 << 20, end: Instant::now() + Duration::from_secs(3600) }
    }

    /// What one comparison may take of the time that is left.
    pub(crate) fn patience(&self, most: Duration) -> Duration {
        most.min(self.end.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn take(&mut self, size: u64) -> bool {
        let enough = size <= self.file && size <= self.bytes && Instant::now() < self.end;
        if enough {
            self.bytes -= size;
        }
        enough
    }
}

/// The content before and after; empty where there is no file on that side.
pub(crate) struct Versions {
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
}

impl Versions {
    pub(crate) fn is_text(&self) -> bool {
        !self.old.contains(&0) && !self.new.contains(&0)
    }
}

/// Which sides of a change are regular files: before and after.
pub(crate) fn sides(change: &Change) -> (bool, bool) {
    let before = match change.kind {
        Kind::Created => change.renamed_from.is_some().then_some(FileType::File),
        _ => Some(change.old_type.unwrap_or(change.file_type)),
    };
    let now = change.brings().then_some(change.file_type);
    (before == Some(FileType::File), now == Some(FileType::File))
}

/// Where the old version is on the host.
pub(crate) fn before(change: &Change) -> &Path {
    change.renamed_from.as_deref().unwrap_or(&change.path)
}

/// Reads both; `None`: neither is a file, one cannot be read, or it is too much.
pub(crate) fn versions(change: &Change, upper: &Upper, host: &Tree, budget: &mut Budget) -> Option<Versions> {
    let (old, new) = sides(change);
    if !(old || new) {
        return None;
    }
    let mut read = |wanted, size: Option<u64>, open: &dyn Fn() -> Result<OwnedFd, Errno>| match wanted {
        false => Some(Vec::new()),
        true => size.filter(|size| budget.take(*size)).and_then(|size| whole(&open().ok()?, size)),
    };
    Some(Versions {
        old: read(old, change.old_size, &|| host.file(before(change)))?,
        new: read(new, change.new_size, &|| upper.file(&change.path))?,
    })
}

/// What the first bytes of both sides say that they are, a media type; `None` where they say nothing, or cannot be read.
pub(crate) fn media_types(
    change: &Change,
    upper: &Upper,
    host: &Tree,
    budget: &mut Budget,
) -> (Option<&'static str>, Option<&'static str>) {
    let (old, new) = sides(change);
    let mut look = |wanted, size: Option<u64>, open: &dyn Fn() -> Result<OwnedFd, Errno>| {
        let size = size.filter(|_| wanted)?.min(HEAD);
        let head = budget.take(size).then(|| whole(&open().ok()?, size)).flatten()?;
        media_type(&head)
    };
    (
        look(old, change.old_size, &|| host.file(before(change))),
        look(new, change.new_size, &|| upper.file(&change.path)),
    )
}

fn media_type(head: &[u8]) -> Option<&'static str> {
    let text = || match std::str::from_utf8(head) {
        // A letter may be cut off at the end.
        Err(error) if error.error_len().is_some() => false,
        _ => !head.is_empty() && !head.contains(&0),
    };
    // Few bytes say little, and some of it stands anywhere in the head: what is text, or a script, is not called a picture.
    let weak = |found: &infer::Type| match found.mime_type() {
        "image/bmp" | "application/x-llvm-bitcode" => true,
        "application/pdf" => !head.starts_with(b"%PDF"),
        _ => head.starts_with(b"#!"),
    };
    if text() {
        return Some("text/plain");
    }
    infer::get(head).filter(|found| !weak(found)).map(|found| found.mime_type())
}

/// So many bytes of a file, if it has them.
pub(crate) fn whole(file: &OwnedFd, size: u64) -> Option<Vec<u8>> {
    let mut text = vec![0; usize::try_from(size).ok()?];
    fill(file, 0, &mut text).ok()?.then_some(text)
}
