//! Containers that a sandbox made with an engine of the host: they end with it. The keeper, which outlives the others for that, removes them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// So many are removed at one time.
const AT_ONCE: usize = 16;
/// How long one may take: an engine kills first, and waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// Removes them all; one that is gone already is none.
pub(crate) fn remove(engine: &Path, made: &[String]) {
    for some in made.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            for id in some {
                scope.spawn(move || {
                    // Podman would ask it to end before that, and wait.
                    let _ = ask(engine, &format!("POST /containers/{id}/kill?signal=KILL"));
                    let _ = ask(engine, &format!("DELETE /containers/{id}?force=1&v=1"));
                });
            }
        });
    }
}

fn ask(engine: &Path, request: &str) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(engine)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!(
        "{request} HTTP/1.1\r\nHost: docker\r\nUser-Agent: ringfence\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    // It is done when it is answered.
    stream.read(&mut [0; 512]).map(drop)
}
