//! Git directories outside the workspace that belong to it: worktrees, submodules, alternates.
//!
//! `.git` in a workspace is somebody else's text. A directory it names counts only if that directory points back at this
//! workspace, which the author of the workspace cannot forge without having written there already.

use std::path::{Component, Path, PathBuf};

use ringfence_plan::{GitApart, GitDirectory, Invoker, Kind, Place, Survey};

use super::place::resolve;

/// Longest pointer file that is read.
const LONGEST: u64 = 64 * 1024;

/// Looks for it, and shows what belongs to the workspace where `show` is set.
pub(super) fn look(survey: &mut Survey, invoker: &Invoker, show: bool) {
    let found = belongs(&survey.workspace.real);
    if show {
        follow(survey, invoker, found.as_ref());
    }
    survey.git_apart = found.filter(|apart| !apart.directory.starts_with(&survey.workspace.real));
}

fn follow(survey: &mut Survey, invoker: &Invoker, found: Option<&GitApart>) {
    let pointer = survey.workspace.real.join(".git");
    let repository = match named(&survey.workspace.real, &pointer) {
        None => pointer,
        Some(directory) => match found {
            Some(found) => {
                // What lies in the workspace is there anyway, and its path is the task's to change.
                if !found.directory.starts_with(&survey.workspace.real) {
                    add(survey, invoker, &found.directory, false);
                }
                found.directory.clone()
            }
            None => {
                survey.notes.push(format!(
                    "{} names {}, which does not point back at this workspace: not followed",
                    pointer.display(),
                    directory.display()
                ));
                return;
            }
        },
    };
    alternates(survey, invoker, &repository.join("objects"));
}

/// The repository that a worktree or a submodule belongs to.
fn belongs(workspace: &Path) -> Option<GitApart> {
    let pointer = workspace.join(".git");
    let directory = named(workspace, &pointer)?;
    let found = |directory, submodule| GitApart { directory, submodule };
    worktree(&directory, &pointer)
        .map(|directory| found(directory, false))
        .or_else(|| submodule(&directory, workspace).map(|directory| found(directory, true)))
}

/// The directory that a `.git` which is a file names.
fn named(workspace: &Path, pointer: &Path) -> Option<PathBuf> {
    let text = small(pointer)?;
    let name = text.strip_prefix("gitdir:")?.trim();
    // It is shown to people, and nobody's repository is called so.
    (!name.contains(char::is_control)).then(|| normal(&workspace.join(name)))
}

/// A linked worktree: DIR/gitdir names our `.git`, DIR/commondir the repository (gitrepository-layout(5)).
fn worktree(directory: &Path, pointer: &Path) -> Option<PathBuf> {
    let back = small(&directory.join("gitdir"))?;
    let back = resolve(Path::new(back.trim()), false).ok()?;
    if back.real != resolve(pointer, false).ok()?.real {
        return None;
    }
    let common = small(&directory.join("commondir"))?;
    let common = normal(&directory.join(common.trim()));
    directory.strip_prefix(common.join("worktrees")).ok()?;
    common.join("HEAD").is_file().then_some(common)
}

/// A submodule: core.worktree in DIR/config names our workspace.
fn submodule(directory: &Path, workspace: &Path) -> Option<PathBuf> {
    let config = small(&directory.join("config"))?;
    let named = config.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "worktree").then(|| value.trim().to_owned())
    })?;
    let named = resolve(&normal(&directory.join(named)), false).ok()?;
    (named.real == workspace).then(|| directory.to_path_buf())
}

/// Object stores that are borrowed: only read, only if they look like one and belong to the same user.
fn alternates(survey: &mut Survey, invoker: &Invoker, objects: &Path) {
    let Some(text) = small(&objects.join("info/alternates")) else { return };
    let owner = survey.workspace.uid;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let path = normal(&objects.join(line));
        let Ok(place) = resolve(&path, invoker.root) else { continue };
        let looks_right = place.kind == Kind::Directory
            && place.real.file_name().is_some_and(|name| name == "objects")
            && place.real.join("pack").is_dir()
            && place.real.parent().is_some_and(|parent| parent.join("HEAD").is_file())
            && place.uid == owner;
        if looks_right {
            push(survey, place, true);
        } else {
            survey
                .notes
                .push(format!("{} is not an object store of the same owner: not followed", path.display()));
        }
    }
}

fn add(survey: &mut Survey, invoker: &Invoker, directory: &Path, read_only: bool) {
    if let Ok(place) = resolve(directory, invoker.root) {
        push(survey, place, read_only);
    }
}

fn push(survey: &mut Survey, place: Place, read_only: bool) {
    let seen = survey.git.iter().any(|git| place.real.starts_with(&git.place.real));
    if !seen && !place.real.starts_with(&survey.workspace.real) && place.kind == Kind::Directory {
        let how = if read_only { "read" } else { "worked on" };
        survey.notes.push(format!("{} belongs to the workspace's repository: {how}", place.real.display()));
        survey.git.push(GitDirectory { place, read_only });
    }
}

/// The text of a small regular file.
pub(super) fn small(path: &Path) -> Option<String> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return None;
    }
    std::fs::read_to_string(path).ok()
}

/// Without `.` and `..`, by text alone.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}
