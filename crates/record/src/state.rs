//! The state directory: `runs/ID/` for each run, reachable by its owner alone.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::Error;
use crate::run::{RunDir, RunRecord};
use crate::time::Timestamp;

/// The state directory.
#[derive(Clone, Debug)]
pub struct State {
    path: PathBuf,
    runs: PathBuf,
}

/// A run and what it says about itself, if that can be read.
pub type Found = (RunDir, Result<RunRecord, Error>);

impl State {
    /// Where it is: `$RINGFENCE_STATE`, else `$XDG_STATE_HOME/ringfence`, else `~/.local/state/ringfence`. Variables that
    /// are empty or not absolute do not count. `None` if nothing is left.
    pub fn location(own: Option<&OsStr>, xdg: Option<&OsStr>, home: Option<&Path>) -> Option<PathBuf> {
        let absolute = |value: &OsStr| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
        own.and_then(absolute).or_else(|| xdg.and_then(absolute).map(|xdg| xdg.join("ringfence"))).or_else(
            || home.filter(|home| home.is_absolute()).map(|home| home.join(".local/state/ringfence")),
        )
    }

    /// Opens it, and makes it with mode 0700 where it is missing.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let runs = path.join("runs");
        // The usual case first: it is there, two opens and two stats.
        if let Err(error) = own_directory(path) {
            if !matches!(error, Error::System { errno: Errno::NOENT, .. }) {
                return Err(error);
            }
            make_parents(path)?;
            own_directory(path)?;
        }
        match rustix::fs::mkdir(&runs, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::system("create", &runs)(errno)),
        }
        own_directory(&runs)?;
        Ok(Self { path: path.to_owned(), runs })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory of a new run.
    pub fn new_run(&self) -> Result<RunDir, Error> {
        let mut path = self.runs.clone();
        for _ in 0..100 {
            let id = new_id(Timestamp::now()).map_err(Error::system("read random bytes for", &path))?;
            path = self.runs.join(&id);
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => return Ok(RunDir { id, path }),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::system("create", &path)(errno)),
            }
        }
        Err(Error::system("create", &path)(Errno::EXIST))
    }

    /// Every run, the oldest first.
    pub fn runs(&self) -> Result<Vec<Found>, Error> {
        Ok(self.directories()?.into_iter().map(read_record).collect())
    }

    /// Directories of runs that were killed before their record stood: nothing ran in them. Those of the last minute are
    /// left out, whose record may be coming.
    pub fn unrecorded(&self) -> Result<Vec<PathBuf>, Error> {
        let old = |path: &Path| {
            let changed = path.symlink_metadata().and_then(|data| data.modified());
            changed.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() >= 60))
        };
        let without = |path: &PathBuf| !path.join("run.json").exists() && old(path);
        Ok(self.directories()?.into_iter().map(|directory| directory.path).filter(without).collect())
    }

    /// The run that an id, a prefix of one, or `last` means. With a workspace: only runs in it. What was begun and has no
    /// record is none.
    pub fn find(&self, name: &str, workspace: Option<&Path>) -> Result<(RunDir, RunRecord), Error> {
        let wanted = |found: &Found| match (&found.1, workspace) {
            (Ok(record), Some(workspace)) => record.workspace == workspace,
            (Err(Error::System { errno: Errno::NOENT, .. }), _) | (Err(_), Some(_)) => false,
            (_, None) => true,
        };
        // A whole id needs no search; there may be thousands.
        if is_id(name) {
            let directory = RunDir { id: name.to_owned(), path: self.runs.join(name) };
            let found = read_record(directory);
            if wanted(&found) && found.0.path.is_dir() {
                return found.1.map(|record| (found.0, record));
            }
            return Err(Error::NoRun(name.to_owned()));
        }
        let mut directories = self.directories()?;
        if name == "last" {
            while let Some(directory) = directories.pop() {
                let found = read_record(directory);
                if wanted(&found) && (found.1.is_ok() || workspace.is_none()) {
                    return found.1.map(|record| (found.0, record));
                }
            }
            return Err(Error::NoRun(name.to_owned()));
        }
        directories.retain(|directory| !name.is_empty() && directory.id.starts_with(name));
        let mut found: Vec<_> = directories.into_iter().map(read_record).filter(wanted).collect();
        match (found.pop(), found.len()) {
            (None, _) => Err(Error::NoRun(name.to_owned())),
            (Some((directory, record)), 0) => Ok((directory, record?)),
            (Some(_), others) => Err(Error::Ambiguous { name: name.to_owned(), count: others + 1 }),
        }
    }

    /// The last run of which this is so.
    pub fn last(&self, wanted: impl Fn(&RunRecord) -> bool) -> Result<(RunDir, RunRecord), Error> {
        let newest = self.directories()?.into_iter().rev();
        let mut read = newest.filter_map(|directory| Some((directory.record().ok()?, directory)));
        let found = read.find(|(record, _)| wanted(record));
        found.map(|(record, directory)| (directory, record)).ok_or_else(|| Error::NoRun("last".to_owned()))
    }

    fn directories(&self) -> Result<Vec<RunDir>, Error> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.runs).map_err(Error::io("read", &self.runs))? {
            let entry = entry.map_err(Error::io("read", &self.runs))?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            if is_id(&id) {
                found.push(RunDir { path: entry.path(), id });
            }
        }
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }
}

fn is_id(name: &str) -> bool {
    name.len() == ID_LENGTH && name.bytes().all(|byte| DIGITS.contains(&byte))
}

/// Whether a word may be taken for a run's id, or for the beginning of one.
pub fn like_id(word: &str) -> bool {
    let now = new_id(Timestamp::now()).unwrap_or_default();
    let begins = word.bytes().next() == now.bytes().next() && word.len() <= ID_LENGTH;
    is_id(word) || begins && word.bytes().all(|byte| DIGITS.contains(&byte))
}

fn read_record(directory: RunDir) -> Found {
    let record = directory.record();
    (directory, record)
}

/// Opens a directory that must be ours alone: no symlink, our uid, no rights for others.
fn own_directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(directory) => directory,
        // With O_DIRECTORY a symlink answers ENOTDIR, not ELOOP (open(2)).
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Err(Error::not_ours(path, "is a symlink or not a directory"));
        }
        Err(errno) => return Err(Error::system("open", path)(errno)),
    };
    let stat = rustix::fs::fstat(&directory).map_err(Error::system("stat", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Error::not_ours(path, "is not a directory"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Error::not_ours(path, "belongs to another user"));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(Error::not_ours(path, "is open to other users; run `chmod 700` on it"));
    }
    Ok(directory)
}

fn make_parents(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;

    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))
}

/// Without `i`, `l`, `o`, `u`, which are misread; in the order of their bytes, so that ids sort as text.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 9 digits of time (milliseconds, until the year 3084) and 4 random ones.
const ID_LENGTH: usize = 13;

fn new_id(now: Timestamp) -> Result<String, Errno> {
    let mut random = [0_u8; 4];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let digit = |value: u64| DIGITS.get(usize::from((value & 31) as u8)).copied().map_or('0', char::from);
    let time = u64::try_from(now.milliseconds()).unwrap_or(0);
    let time = (0..9).rev().map(|place| digit(time >> (5 * place)));
    Ok(time.chain(random.iter().map(|byte| digit(u64::from(*byte)))).collect())
}
