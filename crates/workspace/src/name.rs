//! Paths in JSON: as text where they are UTF-8, as bytes where they are not, so that none is altered on the way.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => path.as_os_str().as_bytes().serialize(serializer),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(match Name::deserialize(deserializer)? {
        Name::Text(text) => PathBuf::from(text),
        Name::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
    })
}

/// The same for a path that may be absent.
pub(crate) mod optional {
    use super::{PathBuf, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        match path.as_deref() {
            Some(path) => super::serialize(path, serializer),
            None => serializer.serialize_none(),
        }
    }
}
