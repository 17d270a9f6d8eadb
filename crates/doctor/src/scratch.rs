//! A directory of this examination where the state of runs would lie: the same file system, the same owner.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ringfence_record::State;

use crate::Check;

/// Gone when dropped, with every directory that was made for it.
pub(crate) struct Scratch {
    path: PathBuf,
    /// What was not there before, the deepest first.
    made: Vec<PathBuf>,
}

impl Scratch {
    /// Opens the state directory as a run does, by the same rules, and makes a directory in it.
    pub(crate) fn new(state: &Path) -> Result<Self, String> {
        let runs = state.join("runs");
        let made = runs.ancestors().take_while(|path| !path.exists()).map(Path::to_path_buf).collect();
        let scratch = Self { path: state.join(format!("doctor-{}", std::process::id())), made };
        State::open(state).map_err(|error| error.to_string())?;
        let path = &scratch.path;
        let create = std::fs::DirBuilder::new().mode(0o700).create(path);
        create.map_err(|error| format!("making {}: {error}", path.display()))?;
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
        if ringfence_workspace::remove_tree(&self.path).is_err() {
            // It moves directories, which a Landlock domain around this process refuses; no overlay was made then.
            let _ = std::fs::remove_dir_all(&self.path);
        }
        for path in &self.made {
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// There is no place for the records of runs.
pub(crate) fn missing(cause: &str) -> Check {
    Check::missing("state directory", cause)
        .with_remedy(vec!["export RINGFENCE_STATE=DIRECTORY   # one that you own, with mode 0700".into()])
}
