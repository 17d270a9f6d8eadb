//! Where a task may leave temporary files.

use std::path::PathBuf;

use crate::grants::Grants;
use crate::{Invoker, Survey};

pub(crate) const VAR_TMP: &str = "/var/tmp";

/// Whether something of the host's lies below it, so that it is no link to /tmp.
pub(crate) fn shows_var_tmp(survey: &Survey, grants: &Grants, invoker: &Invoker) -> bool {
    let shown = grants.mounts.iter().map(|granted| granted.place.real.as_path());
    let own = [survey.workspace.real.as_path(), invoker.home.as_path()];
    let git = survey.git.iter().map(|git| git.place.real.as_path());
    let links = grants.links.keys().map(PathBuf::as_path);
    shown.chain(own).chain(git).chain(links).any(|path| path.starts_with(VAR_TMP))
}
