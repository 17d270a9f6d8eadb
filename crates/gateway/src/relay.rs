//! Moves the bytes of a connection both ways: small ones through one buffer that all connections share, streams within the
//! kernel.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ringfence_inspect::{Shows, Spoken};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::carried::Session;
use crate::hellos::Hellos;

/// Bytes of the buffer.
const BUFFER: usize = 64 << 10;
/// After so many bytes in one direction it counts as a stream.
const STREAM: usize = 256 << 10;
/// Bytes that a pipe may hold, where the host lets it.
const PIPE: usize = 1 << 20;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(3600);

/// What every connection reads into. Nothing stays in it while somebody waits.
#[derive(Debug)]
pub(crate) struct Buffer(RefCell<Vec<u8>>);

impl Default for Buffer {
    fn default() -> Self {
        Self(RefCell::new(vec![0; BUFFER]))
    }
}

/// What the two kinds of streams have in common.
pub(crate) trait Stream: AsFd {
    async fn readable(&self) -> io::Result<()>;
    async fn writable(&self) -> io::Result<()>;
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn try_write(&self, buffer: &[u8]) -> io::Result<usize>;
    fn try_io<R>(&self, interest: Interest, io: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
}

macro_rules! stream {
    ($kind:ty) => {
        impl Stream for $kind {
            async fn readable(&self) -> io::Result<()> {
                Self::readable(self).await
            }

            async fn writable(&self) -> io::Result<()> {
                Self::writable(self).await
            }

            fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                Self::try_read(self, buffer)
            }

            fn try_write(&self, buffer: &[u8]) -> io::Result<usize> {
                Self::try_write(self, buffer)
            }

            fn try_io<R>(&self, interest: Interest, io: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                Self::try_io(self, interest, io)
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

/// What leaves is held against this.
pub(crate) struct Bounds<'a> {
    /// Whether so many bytes more may leave.
    pub(crate) spend: &'a dyn Fn(usize) -> bool,
    /// What the first message must be.
    pub(crate) spoken: Option<Spoken>,
    /// What the client may say next, in TLS that is passed through.
    pub(crate) hellos: Option<&'a Hellos>,
    /// The same, of the server's answers.
    pub(crate) answers: Option<&'a Hellos>,
    /// Who hears what the server says.
    pub(crate) heard: Option<&'a Session<'a>>,
}

impl Bounds<'_> {
    /// None.
    pub(crate) const NONE: Bounds<'static> =
        Bounds { spend: &|_| true, spoken: None, hellos: None, answers: None, heard: None };

    fn spend(&self, bytes: usize) -> io::Result<()> {
        if (self.spend)(bytes) { Ok(()) } else { Err(ErrorKind::QuotaExceeded.into()) }
    }
}

/// Until both sides have ended, or one breaks.
///
/// # Errors
/// QuotaExceeded and InvalidData if the task went beyond its bounds; all others are the network's.
pub(crate) async fn both(
    buffer: &Buffer,
    task: &impl Stream,
    up: &impl Stream,
    bounds: &Bounds<'_>,
) -> io::Result<()> {
    let alive = Alive(Cell::new(Instant::now()));
    let out = async {
        if let Some(spoken) = bounds.spoken {
            first(spoken, task, up, &alive, bounds).await?;
        }
        one(buffer, task, up, &alive, &Bounds { heard: None, ..*bounds }).await
    };
    let back = Bounds { heard: bounds.heard, answers: bounds.hellos, ..Bounds::NONE };
    // An error of one direction ends the other too.
    tokio::try_join!(out, one(buffer, up, task, &alive, &back)).map(|_| ())
}

/// Sends the beginning on once it shows what is spoken.
async fn first(
    spoken: Spoken,
    from: &impl Stream,
    to: &impl Stream,
    alive: &Alive,
    bounds: &Bounds<'_>,
) -> io::Result<()> {
    let mut said = Vec::new();
    let mut part = [0; 512];
    loop {
        alive.waited(|| from.readable()).await?;
        let length = match from.try_read(&mut part) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            read => read?,
        };
        said.extend_from_slice(part.get(..length).unwrap_or_default());
        match spoken.shows(&said) {
            Shows::More if length > 0 => {}
            // It ends without a word.
            Shows::More if said.is_empty() => return Ok(()),
            Shows::Fits => break,
            Shows::More | Shows::Differs => return Err(ErrorKind::InvalidData.into()),
        }
    }
    bounds.spend(said.len())?;
    write_all(to, &said, alive).await
}

async fn one(
    buffer: &Buffer,
    from: &impl Stream,
    to: &impl Stream,
    alive: &Alive,
    bounds: &Bounds<'_>,
) -> io::Result<()> {
    let mut moved = 0;
    loop {
        alive.waited(|| from.readable()).await?;
        let (length, rest) = match pass(buffer, from, to, bounds) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            passed => passed?,
        };
        if length == 0 {
            break;
        }
        write_all(to, &rest, alive).await?;
        moved += length;
        if moved >= STREAM
            && bounds.hellos.is_none_or(Hellos::is_over)
            && let Ok(pipe) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        {
            let _ = fcntl_setpipe_size(&pipe.1, PIPE);
            within_kernel(from, to, &pipe, alive, bounds).await?;
            break;
        }
    }
    rustix::net::shutdown(to, rustix::net::Shutdown::Write).or_else(|errno| match errno {
        // The other side was faster.
        rustix::io::Errno::NOTCONN => Ok(()),
        errno => Err(errno.into()),
    })
}

/// Moves what is there through the buffer: how much was read, and what could not be written yet.
fn pass(
    buffer: &Buffer,
    from: &impl Stream,
    to: &impl Stream,
    bounds: &Bounds<'_>,
) -> io::Result<(usize, Vec<u8>)> {
    let mut buffer = buffer.0.borrow_mut();
    let length = from.try_read(&mut buffer)?;
    if length == 0 {
        return Ok((0, Vec::new()));
    }
    bounds.spend(length)?;
    let read = buffer.get(..length).unwrap_or_default();
    if bounds.hellos.is_some_and(|hellos| !hellos.said(read)) {
        return Err(ErrorKind::InvalidData.into());
    }
    bounds.answers.iter().for_each(|hellos| hellos.answered(read));
    bounds.heard.iter().for_each(|session| session.hear(read));
    let written = match to.try_write(read) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        written => written?,
    };
    Ok((length, read.get(written..).unwrap_or_default().to_vec()))
}

async fn write_all(to: &impl Stream, mut rest: &[u8], alive: &Alive) -> io::Result<()> {
    while !rest.is_empty() {
        alive.waited(|| to.writable()).await?;
        match to.try_write(rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            written => rest = rest.get(written?..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// To the end of the stream. The pipe is empty whenever this reads.
async fn within_kernel(
    from: &impl Stream,
    to: &impl Stream,
    pipe: &(OwnedFd, OwnedFd),
    alive: &Alive,
    bounds: &Bounds<'_>,
) -> io::Result<()> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    let (out, into) = pipe;
    loop {
        alive.waited(|| from.readable()).await?;
        let read = || Ok(splice(from.as_fd(), None, into, None, PIPE, flags)?);
        let mut left = match from.try_io(Interest::READABLE, read) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            read => read?,
        };
        if left == 0 {
            return Ok(());
        }
        bounds.spend(left)?;
        while left > 0 {
            alive.waited(|| to.writable()).await?;
            let write = || Ok(splice(out, None, to.as_fd(), None, left, flags)?);
            match to.try_io(Interest::WRITABLE, write) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => left -= written?.min(left),
            }
        }
    }
}

/// When something last moved, in either direction.
struct Alive(Cell<Instant>);

impl Alive {
    async fn waited<F: Future<Output = io::Result<()>>>(&self, ready: impl Fn() -> F) -> io::Result<()> {
        loop {
            if let Ok(ready) = timeout(IDLE, ready()).await {
                self.0.set(Instant::now());
                return ready;
            }
            if self.0.get().elapsed() >= IDLE {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }
}
