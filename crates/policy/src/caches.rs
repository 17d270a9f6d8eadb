//! What package managers keep of what they fetched before, and write to whatever they do.

use std::path::Path;

/// Below the home (cargo, go, pip, npm, Maven; each where its own documentation says).
const CACHES: &[&str] =
    &[".cargo/registry", ".cargo/git", "go/pkg/mod", ".cache/pip", ".npm/_cacache", ".m2/repository"];

/// Of these, npm's: it makes its temporary files there, and fails where it cannot.
const WRITTEN: &str = ".npm/_cacache";

/// Whether the program of this cache fails where it can only read it.
#[must_use]
pub fn written_cache(path: &Path, home: &Path) -> bool {
    path.strip_prefix(home).is_ok_and(|below| below == Path::new(WRITTEN))
}

/// Whether a grant to read this shows it copy-on-write: what is written there is thrown away with the sandbox.
#[must_use]
pub fn package_cache(path: &Path, home: &Path) -> bool {
    path.strip_prefix(home).is_ok_and(|below| CACHES.iter().any(|cache| below == Path::new(cache)))
}
