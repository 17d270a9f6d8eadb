//! Extended attributes of the user (`user.*`): those that a task set land with the file, all others stay as they are.

use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize, Serializer};

use crate::escape::escape;

/// XATTR_LIST_MAX and XATTR_SIZE_MAX (xattr(7)).
const MOST: usize = 65_536;

/// An attribute that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// Its whole name.
    #[serde(serialize_with = "printable")]
    pub name: Vec<u8>,
    /// Bytes on the host; `None`: it is not there.
    pub old: Option<usize>,
    /// Bytes now; `None`: it is gone.
    pub new: Option<usize>,
}

impl Attribute {
    pub(crate) fn of(setting: &Setting) -> Self {
        let length = |value: &Option<Vec<u8>>| value.as_ref().map(Vec::len);
        Self { name: setting.name.clone(), old: length(&setting.old), new: length(&setting.new) }
    }
}

fn printable<S: Serializer>(name: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    use std::os::unix::ffi::OsStrExt;
    serializer.serialize_str(&escape(std::ffi::OsStr::from_bytes(name)))
}

/// An attribute of a directory that stays in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) name: Vec<u8>,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
}

impl Setting {
    /// The same the other way round.
    pub(crate) fn reversed(self) -> Self {
        Self { name: self.name, old: self.new, new: self.old }
    }
}

/// What is the user's, and not an overlay's own.
pub(crate) fn ours(name: &[u8]) -> bool {
    name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

/// Is this a descriptor itself, whose link in /proc is to be followed?
fn descriptor(path: &Path) -> bool {
    path.parent() == Some(Path::new("/proc/self/fd"))
}

fn list(path: &Path, into: &mut [u8]) -> Result<usize, Errno> {
    if descriptor(path) { rustix::fs::listxattr(path, into) } else { rustix::fs::llistxattr(path, into) }
}

fn get(path: &Path, name: &[u8], into: &mut [u8]) -> Result<usize, Errno> {
    if descriptor(path) {
        rustix::fs::getxattr(path, name, into)
    } else {
        rustix::fs::lgetxattr(path, name, into)
    }
}

/// The names of the extended attributes of a path whose last component is not followed.
pub(crate) fn names(path: &Path) -> Result<Vec<Vec<u8>>, Errno> {
    let mut few = [0_u8; 512];
    // Most files have none or one.
    let mut many = Vec::new();
    let found = match list(path, &mut few) {
        Ok(length) => few.get(..length),
        Err(Errno::RANGE) => {
            many.resize(MOST, 0_u8);
            let length = list(path, &mut many)?;
            many.get(..length)
        }
        Err(Errno::OPNOTSUPP) => None,
        Err(errno) => return Err(errno),
    };
    let names = found.unwrap_or(&[]).split(|byte| *byte == 0);
    Ok(names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The value of one; `None`: it is not there.
pub(crate) fn value(path: &Path, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut few = [0_u8; 256];
    match get(path, name, &mut few) {
        Ok(length) => Ok(few.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::RANGE) => {
            let mut many = vec![0_u8; MOST];
            let length = get(path, name, &mut many)?;
            many.truncate(length);
            Ok(Some(many))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Gives one its value, or takes it away.
pub(crate) fn set(path: &Path, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
    let outcome = match (value, descriptor(path)) {
        (Some(value), true) => rustix::fs::setxattr(path, name, value, XattrFlags::empty()),
        (Some(value), false) => rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()),
        (None, true) => rustix::fs::removexattr(path, name),
        (None, false) => rustix::fs::lremovexattr(path, name),
    };
    match outcome {
        Err(Errno::NODATA | Errno::OPNOTSUPP) if value.is_none() => Ok(()),
        other => other,
    }
}

/// Gives a file those attributes of another that are chosen by their names, and takes away what it has beyond them.
pub(crate) fn copy(from: &Path, to: &Path, chosen: impl Fn(&[u8]) -> bool) -> Result<(), Errno> {
    let wanted = names(from)?;
    for name in names(to)?.iter().filter(|name| chosen(name) && !wanted.contains(name)) {
        set(to, name, None)?;
    }
    for name in wanted.iter().filter(|name| chosen(name)) {
        set(to, name, value(from, name)?.as_deref())?;
    }
    Ok(())
}

/// Gives a file what whoever looks sees of another one: the user's attributes, and lists of who may do what. What the caller may not read,
/// and what the other file system does not take or has no room for, is left out.
///
/// # Errors
/// The kernel's.
pub fn copy_shown(from: &Path, to: &Path) -> std::io::Result<()> {
    let shown = |name: &&Vec<u8>| ours(name) || name.starts_with(b"system.posix_acl_");
    for name in names(from)?.iter().filter(shown) {
        let outcome = value(from, name).and_then(|value| set(to, name, value.as_deref()));
        match outcome {
            Err(
                Errno::ACCESS
                | Errno::PERM
                | Errno::OPNOTSUPP
                | Errno::NOSPC
                | Errno::DQUOT
                | Errno::TOOBIG
                | Errno::RANGE
                | Errno::INVAL,
            ) => {}
            done => done?,
        }
    }
    Ok(())
}

/// What differs between two files in the attributes that are the user's; `known` are the names on the new one. What cannot
/// be read counts as not there.
pub(crate) fn settings(new: &Path, known: &[Vec<u8>], old: Option<&Path>) -> Vec<Setting> {
    let before = old.map(|old| names(old).unwrap_or_default()).unwrap_or_default();
    let mut all: Vec<&Vec<u8>> = known.iter().chain(&before).filter(|name| ours(name)).collect();
    all.sort_unstable();
    all.dedup();
    let read = |path: &Path, names: &[Vec<u8>], name: &Vec<u8>| {
        names.contains(name).then(|| value(path, name).ok().flatten()).flatten()
    };
    all.into_iter()
        .filter_map(|name| {
            let now = read(new, known, name);
            let before = old.and_then(|old| read(old, &before, name));
            (now != before).then(|| Setting { name: name.clone(), old: before, new: now })
        })
        .collect()
}
