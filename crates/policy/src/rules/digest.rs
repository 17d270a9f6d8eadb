//! What files hold, where a policy pins programs.

use sha2::{Digest as _, Sha256};

/// SHA-256 of a file.
pub type Digest = [u8; 32];

/// SHA-256 of what is read.
///
/// # Errors
/// The reader's.
pub fn digest(mut file: impl std::io::Read) -> std::io::Result<Digest> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            length => hash.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}
