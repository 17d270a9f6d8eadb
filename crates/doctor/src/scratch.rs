//! A directory of this examination where the state of runs would lie: the same file system, the same owner.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::Check;

/// Gone when dropped, with every directory that was made for it.
pub(crate) struct Scratch {
    path: PathBuf,
    /// What was not there before, the deepest first.
    made: Vec<PathBuf>,
}

impl Scratch {
    pub(crate) fn new(state: &Path) -> io::Result<Self> {
        let made = state.ancestors().take_while(|path| !path.exists()).map(Path::to_path_buf).collect();
        let path = state.join(format!("doctor-{}", std::process::id()));
        let scratch = Self { path, made };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&scratch.path)?;
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it.
    pub(crate) fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // An overlay leaves a directory without any permission in it.
        let _ = ringfence_workspace::remove_tree(&self.path);
        for path in &self.made {
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// There is no place for the records of runs.
pub(crate) fn missing(state: &Path, error: &io::Error) -> Check {
    Check::missing("state directory", format!("{} cannot be written: {error}", state.display()))
        .with_remedy(vec!["export RINGFENCE_STATE=DIRECTORY   # one that you own".into()])
}
