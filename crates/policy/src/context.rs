//! What the caller knows and this crate does not look up by itself: the invoker's home, variables, and files.

use std::collections::BTreeMap;
use std::fs::{Metadata, OpenOptions};
use std::io;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most that a policy file may hold: 10,000 rules are a fifth of it.
const LARGEST: u64 = 1 << 20;

/// What paths and variables in a policy mean.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What `~` stands for.
    pub home: PathBuf,
    /// What it stands for in a ceiling: the user database's, since `$HOME` is the invoker's to choose.
    pub listed_home: Option<PathBuf>,
    /// The current directory, absolute.
    pub cwd: PathBuf,
    /// The invoker's variables, for `$NAME` in paths.
    pub variables: BTreeMap<String, String>,
    /// Where the administrator's `ceiling.toml` is, such as `/etc/ringfence`.
    pub config_dir: PathBuf,
    /// Where the records of sandboxes are; never granted.
    pub state_dir: PathBuf,
    /// The step whose additions count.
    pub step: Option<String>,
}

/// Reads policy files for [`load`](crate::load()).
pub trait Files {
    /// The whole content of a file. `NotFound` for a ceiling means that there is none.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The same for a ceiling: a file that only root can change.
    fn read_ceiling(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Is there anything of that name, a dangling symlink included?
    fn exists(&self, path: &Path) -> bool;
}

/// The files of this host: regular ones only, of at most 1 MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFiles;

impl Files for HostFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Self::content(path, false)
    }

    fn read_ceiling(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(directory) = path.parent() {
            roots(&directory.metadata()?)?;
        }
        Self::content(path, true)
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }
}

/// Is it root's, and nobody else's to write?
fn roots(metadata: &Metadata) -> io::Result<()> {
    let others = metadata.mode() & 0o022 != 0;
    if !others && (metadata.uid() == 0 || metadata.uid() == UNMAPPED && in_user_namespace()) {
        return Ok(());
    }
    Err(io::Error::other("others than root can change it; a ceiling and its directory must be root's alone"))
}

/// Whom users outside of a user namespace are shown as (user_namespaces(7)).
const UNMAPPED: u32 = 65534;

fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

impl HostFiles {
    fn content(path: &Path, ceiling: bool) -> io::Result<Vec<u8>> {
        // O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever; std adds O_CLOEXEC.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let kind = metadata.file_type();
        if !kind.is_file() {
            let name = match () {
                () if kind.is_dir() => "a directory",
                () if kind.is_fifo() => "a FIFO",
                () if kind.is_char_device() || kind.is_block_device() => "a device",
                () => "not a file",
            };
            return Err(io::Error::other(format!("it is {name}; a policy must be a regular file")));
        }
        if ceiling {
            roots(&metadata)?;
        }
        let mut content = Vec::with_capacity(usize::try_from(metadata.len().min(LARGEST)).unwrap_or(0) + 1);
        file.take(LARGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST {
            return Err(io::Error::other("it is larger than 1 MiB, the most that a policy may be"));
        }
        Ok(content)
    }
}
