//! What the tests of real programs share: a place to work in, the programs' sources, and how a tree looks.

#![forbid(unsafe_code)]

pub mod inputs;
pub mod tree;
pub mod world;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether the long forms are asked for: `RINGFENCE_LONG=1`.
#[must_use]
pub fn long() -> bool {
    std::env::var_os("RINGFENCE_LONG").is_some_and(|value| value == "1")
}

/// Whether this is root.
#[must_use]
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The binary under test: $RINGFENCE_BINARY, else the debug build, which is made if it is absent.
///
/// # Panics
/// If there is none and it cannot be built.
#[must_use]
#[expect(clippy::panic, reason = "a test without the binary has failed")]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("RINGFENCE_BINARY") {
        return path.into();
    }
    let binary = target().join("debug/ringfence");
    if !binary.is_file() {
        let built = Command::new("cargo")
            .args(["build", "--quiet", "-p", "ringfence", "--target-dir"])
            .arg(target())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        if !built.is_ok_and(|status| status.success()) {
            panic!("no {}, and `cargo build -p ringfence` failed", binary.display());
        }
    }
    binary
}

/// Cargo's target directory: this program lies in `TARGET/PROFILE/deps`.
#[must_use]
pub fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(3).unwrap_or(Path::new(".")).to_path_buf()
}
