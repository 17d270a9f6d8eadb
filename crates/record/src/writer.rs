//! Appends events to a file: one `write(2)` an event, each bound to the one before by its hash.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::chain::{Chain, Head, MAX_LINE, NONE, Step, hexadecimal};
use crate::error::Error;
use crate::event::{Event, Identity};
use crate::kind::Severity;
use crate::ocsf::{SCHEMA_VERSION, class_of};
use crate::time::Timestamp;

/// The one writer of a file; a second one is refused while it lives.
#[derive(Debug)]
pub struct Writer {
    file: OwnedFd,
    path: PathBuf,
    run: String,
    identity: Option<Identity>,
    head: Option<Head>,
    buffer: Vec<u8>,
    closed: bool,
}

impl Drop for Writer {
    /// Not left to the descriptor: a child forked meanwhile may hold a copy for a moment.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Writer {
    /// Starts a new file. It must not exist.
    pub fn create(path: &Path, run: &str, identity: Option<Identity>) -> Result<Self, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::from_raw_mode(0o600))
            .map_err(Error::system("create", path))?;
        lock(&file, path)?;
        Ok(Self::of(file, path, run, identity, None))
    }

    /// Continues a file. One that is torn or altered is not continued.
    pub fn resume(path: &Path, run: &str, identity: Option<Identity>) -> Result<Self, Error> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::system("open", path))?;
        lock(&file, path)?;
        check_ours(&file, path)?;
        let reader = file.try_clone().map_err(Error::io("read", path))?;
        let mut chain = Chain::of(path, File::from(reader));
        loop {
            match chain.step()? {
                Step::Event(line) if line.run != run => {
                    return Err(Error::malformed(path, format!("it belongs to run `{}`", line.run)));
                }
                Step::Event(_) => {}
                Step::End { torn: false } => break,
                Step::End { torn: true } => {
                    return Err(Error::Torn { path: path.to_owned(), whole: chain.count });
                }
                Step::Broken(why) => {
                    return Err(Error::malformed(path, format!("line {}: {why}", chain.count + 1)));
                }
            }
        }
        let head = chain.head;
        Ok(Self::of(file, path, run, identity, head))
    }

    fn of(file: OwnedFd, path: &Path, run: &str, identity: Option<Identity>, head: Option<Head>) -> Self {
        let buffer = Vec::with_capacity(2048);
        Self { file, path: path.to_owned(), run: run.to_owned(), identity, head, buffer, closed: false }
    }

    /// Hands an event to the kernel; a kind that must be on disk first is there when this returns. Call it before the
    /// effect it tells of becomes visible.
    pub fn append(&mut self, event: &Event) -> Result<Head, Error> {
        let kind = event.kind();
        let head = self.write(event)?;
        if kind.durable() {
            self.sync()?;
        }
        Ok(head)
    }

    /// Waits until every event is on disk.
    pub fn sync(&mut self) -> Result<(), Error> {
        rustix::fs::fdatasync(&self.file).map_err(|errno| {
            self.closed = true;
            Error::system("sync", &self.path)(errno)
        })
    }

    /// The last event: to be kept elsewhere, and what [`crate::verify_against`] compares with.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    fn write(&mut self, event: &Event) -> Result<Head, Error> {
        if self.closed {
            return Err(Error::Closed(self.path.clone()));
        }
        let seq = self.head.map_or(0, |head| head.seq + 1);
        let mut line = std::mem::take(&mut self.buffer);
        line.clear();
        let record = self.record(event, seq, Timestamp::now());
        serde_json::to_writer(&mut line, &record).map_err(|error| Error::malformed(&self.path, error))?;
        if line.len() >= MAX_LINE {
            self.closed = true;
            return Err(Error::malformed(&self.path, "the event is too long"));
        }
        let head = Head { seq, hash: Sha256::digest(&line).into() };
        line.push(b'\n');
        // A part of an event stays, where no more fits: the next reader calls it torn.
        let outcome = write_whole(&self.file, &line).map(|()| head);
        self.buffer = line;
        match outcome {
            Ok(head) => {
                self.head = Some(head);
                Ok(head)
            }
            Err(errno) => {
                self.closed = true;
                Err(Error::system("write", &self.path)(errno))
            }
        }
    }

    fn record<'a>(&'a self, event: &'a Event, seq: u64, now: Timestamp) -> Record<'a> {
        let (kind, class) = (event.kind(), class_of(event.kind()));
        Record {
            seq,
            time: now.milliseconds(),
            time_dt: now,
            run: &self.run,
            kind: kind.name(),
            severity: kind.severity(),
            severity_id: kind.severity().id(),
            category_uid: class.category(),
            class_uid: class.class,
            activity_id: class.activity,
            type_uid: class.type_uid(),
            identity: self.identity.as_ref(),
            metadata: Metadata {
                version: SCHEMA_VERSION,
                product: Product { name: "ringfence", version: env!("CARGO_PKG_VERSION") },
                sequence: seq,
                correlation_uid: &self.run,
                event_code: kind.name(),
            },
            detail: event,
            prev: self.head.map_or(NONE, |head| head.hash),
        }
    }
}

/// The line as it is written; [`crate::Line`] is how it is read.
#[derive(Serialize)]
struct Record<'a> {
    seq: u64,
    time: i64,
    time_dt: Timestamp,
    run: &'a str,
    kind: &'static str,
    severity: Severity,
    severity_id: u32,
    category_uid: u32,
    class_uid: u32,
    activity_id: u32,
    type_uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a Identity>,
    metadata: Metadata<'a>,
    detail: &'a Event,
    #[serde(serialize_with = "hexadecimal::serialize")]
    prev: [u8; 32],
}

#[derive(Serialize)]
struct Metadata<'a> {
    version: &'static str,
    product: Product,
    sequence: u64,
    correlation_uid: &'a str,
    event_code: &'static str,
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    version: &'static str,
}

fn lock(file: &OwnedFd, path: &Path) -> Result<(), Error> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(Error::Busy { path: path.to_owned() }),
        Err(errno) => Err(Error::system("lock", path)(errno)),
    }
}

/// A planted link, or a file that somebody else can write, is no log of ours.
fn check_ours(file: &OwnedFd, path: &Path) -> Result<(), Error> {
    let stat = rustix::fs::fstat(file).map_err(Error::system("stat", path))?;
    let what = if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        "is not a regular file"
    } else if stat.st_nlink != 1 {
        "has a second name"
    } else if stat.st_uid != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if stat.st_mode & 0o077 != 0 {
        "is open to other users"
    } else {
        return Ok(());
    };
    Err(Error::not_ours(path, what))
}
/// All of it, or why the rest could not be written.
fn write_whole(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
