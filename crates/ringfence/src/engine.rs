//! Containers that a sandbox made with an engine of the host: they end with it. The keeper, which outlives the others for that, removes them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long one may take: an engine kills first, and waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// Removes them all; one that is gone already is none.
pub(crate) fn remove(engine: &Path, made: &[String]) {
    for id in made {
        let _ = removed(engine, id);
    }
}

fn removed(engine: &Path, id: &str) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(engine)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!(
        "DELETE /containers/{id}?force=1&v=1 HTTP/1.1\r\nHost: docker\r\nUser-Agent: ringfence\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    // It is done when it is answered.
    stream.read(&mut [0; 512]).map(drop)
}
