//! Changes piece by piece: the hunks of a file, and the version that has only some of them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::change::{Change, FileType, Kind};
use crate::hunks::{self, Hunk};
use crate::layer::{Identity, WORKSPACE};
use crate::merge::merge;
use crate::refuse::Reason;
use crate::review::Review;
use crate::show::{Look, Pen};
use crate::text::{self, Budget, Versions};

const PATIENCE: Duration = Duration::from_secs(1);

/// A version of a file that is neither the host's nor the task's, to land in its place.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub(crate) layer: usize,
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
    /// What was on the host when it was made.
    pub(crate) old: Option<Identity>,
    /// It takes up what changed on the host meanwhile.
    pub(crate) merged: bool,
}

impl Chosen {
    /// Of which file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A text file in hunks.
pub struct Pieces<'a> {
    change: &'a Change,
    both: Versions,
    hunks: Vec<Hunk>,
}

impl Review {
    /// The hunks of a change; `None`: it is a whole, being no text, new, gone, or more than its content.
    pub fn pieces<'a>(&self, change: &'a Change) -> Option<Pieces<'a>> {
        let text = change.kind == Kind::Modified && change.file_type == FileType::File;
        let (upper, host) = self.sites.get(change.index).filter(|_| text)?;
        let both = text::versions(change, upper, host, &mut Budget::whole())?;
        if !both.is_text() {
            return None;
        }
        let hunks = hunks::hunks(&hunks::lines(&both.old), &hunks::lines(&both.new), PATIENCE);
        Some(Pieces { change, both, hunks })
    }

    /// Writes the line that says what a change is.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn heading(&self, change: &Change, look: Look, out: &mut dyn Write) -> io::Result<()> {
        Pen::new(look, out).heading(change)
    }

    /// The files of the workspace that changed on both sides, made one from the text with which the task began, by the word of `base`.
    ///
    /// # Errors
    /// The path of a file that cannot be, and why.
    pub fn merge(&self, base: &dyn Fn(&Path) -> Option<Vec<u8>>) -> Result<Vec<Chosen>, (PathBuf, String)> {
        const UNKNOWN: &str = "the version from which both sides began is not known: git had not recorded it when the run began, or the file \
                               changed on the host before the run had ended (where it was just checked out, a `git status` before the run records it)";
        let both_changed =
            |change: &&Change| change.refused == Some(Reason::ChangedOnHost) && change.kind == Kind::Modified;
        let one = |change: &Change| {
            let failed = |why: String| (change.path.clone(), why);
            if change.old_mode != change.new_mode {
                return Err(failed(
                    "its mode is another one on each side: give it the same by `chmod`".into(),
                ));
            }
            let Some(pieces) = self.pieces(change) else { return Err(failed("it is no text".into())) };
            // Git directories beside the workspace have names of their own.
            let base = Some(&change.path).filter(|_| change.layer == WORKSPACE).and_then(|path| base(path));
            let base = base.ok_or_else(|| failed(UNKNOWN.into()))?;
            let content = merge(&base, &pieces.both.old, &pieces.both.new).map_err(|places| {
                failed(match places {
                    1 => "both sides changed the same lines".to_owned(),
                    _ => format!("both sides changed the same lines, in {places} places"),
                })
            })?;
            Ok(pieces.chosen(content, true))
        };
        self.changes.iter().filter(both_changed).map(one).collect()
    }
}

impl Pieces<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.hunks.len()
    }

    /// Writes one.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn show(&self, at: usize, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let Some(hunk) = self.hunks.get(at) else { return Ok(()) };
        let (old, new) = (hunks::lines(&self.both.old), hunks::lines(&self.both.new));
        let mut all = usize::MAX;
        Pen::new(look, out).hunk(hunk, &old, &new, &mut all)
    }

    /// The version that has these, by their numbers, and no others.
    pub fn choose(&self, wanted: &[usize]) -> Chosen {
        let (old, new) = (hunks::lines(&self.both.old), hunks::lines(&self.both.new));
        let (mut content, mut at) = (Vec::new(), 0);
        for (number, hunk) in self.hunks.iter().enumerate() {
            let (before, after) = hunks::extent(hunk);
            content.extend(old.get(at..before.start).unwrap_or(&[]).concat());
            let part = if wanted.contains(&number) { new.get(after) } else { old.get(before.clone()) };
            content.extend(part.unwrap_or(&[]).concat());
            at = before.end;
        }
        content.extend(old.get(at..).unwrap_or(&[]).concat());
        self.chosen(content, false)
    }

    fn chosen(&self, content: Vec<u8>, merged: bool) -> Chosen {
        let Change { index, path, old, .. } = self.change;
        Chosen { layer: *index, path: path.clone(), content, old: *old, merged }
    }
}
