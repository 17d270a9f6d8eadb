//! Changes as a reader sees them: the dangerous first, bulk summed up, every name escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::change::{Change, Content, FileType, Flag, HoldReason, Kind};
use crate::escape::escape;
use crate::layer::WORKSPACE;

/// More changes of one kind in one directory than this are one line, so that bulk does not push single changes away.
const BULK: usize = 50;
/// With more ordinary lines than this, directories are summed up by the first part of their path.
const LINES: usize = 200;
/// A name takes at most this much of a line before the numbers.
const WIDTH: usize = 60;

/// One line a change, in the spirit of `git diff --stat`.
pub fn render_stat(changes: &[Change]) -> String {
    let mut out = String::new();
    let mut single: Vec<&Change> = Vec::new();
    let (dangerous, ordinary): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| rank(change) < ORDINARY);
    single.extend(dangerous);
    let (mut many, mut few) = summed_up(&ordinary, |path| path.parent().unwrap_or(Path::new("")));
    if many.len() + few.len() > LINES {
        // Bulk that is spread over many directories.
        (many, few) = summed_up(&ordinary, |path| path.iter().next().map_or(Path::new(""), Path::new));
    }
    single.extend(few);
    // A file that moved is one line, where its new name has one.
    let moved: BTreeSet<_> = single
        .iter()
        .filter_map(|change| change.renamed_from.as_ref().map(|from| (change.index, from.clone())))
        .collect();
    single.retain(|change| {
        change.renamed_to.is_none()
            || rank(change) < ORDINARY
            || !moved.contains(&(change.index, change.path.clone()))
    });
    single.sort_by(|one, other| {
        (rank(one), &one.layer, &one.path).cmp(&(rank(other), &other.layer, &other.path))
    });
    let width = single.iter().map(|change| shown(change).chars().count()).max().unwrap_or(0).min(WIDTH);
    for change in &single {
        line(&mut out, change, width);
    }
    for ((layer, directory, kind), changes) in many {
        let place = if directory.as_os_str().is_empty() { "./".into() } else { escape(directory.join("")) };
        let (added, removed) = lines(changes.iter().copied());
        let layer = prefix(layer);
        let _ = writeln!(
            out,
            "  {} {layer}{place} | {} files, +{added} -{removed}",
            kind.letter(),
            changes.len()
        );
    }
    total(&mut out, changes);
    out
}

/// The changes of one kind in one place.
pub(crate) type Group<'a> = ((&'a str, &'a Path, Kind), Vec<&'a Change>);

/// The groups that are one line, and the changes that have their own.
pub(crate) fn summed_up<'a>(
    changes: &[&'a Change],
    place: impl Fn(&'a Path) -> &'a Path,
) -> (Vec<Group<'a>>, Vec<&'a Change>) {
    let mut groups: BTreeMap<(&str, &Path, Kind), Vec<&Change>> = BTreeMap::new();
    for change in changes {
        groups.entry((&change.layer, place(&change.path), change.kind)).or_default().push(change);
    }
    let (many, few): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(_, changes)| changes.len() > BULK);
    (many, few.into_iter().flat_map(|(_, changes)| changes).collect())
}

/// What is held back or flagged, with the reasons; empty if nothing is.
pub fn render_held(changes: &[Change]) -> String {
    let mut out = String::new();
    // What the user left out he knows: a tree of it is one line.
    let mut left: Option<&Change> = None;
    for change in changes {
        let below = left.is_some_and(|top| top.index == change.index && change.path.starts_with(&top.path));
        if below && change.held == Some(HoldReason::LeftOut) {
            continue;
        }
        left = (change.held == Some(HoldReason::LeftOut)).then_some(change);
        if let Some(held) = &change.held {
            let _ = writeln!(out, "held back: {} ({})", shown(change), held.text());
        }
    }
    for change in changes {
        if let Some(flag) = &change.flag {
            let _ = writeln!(out, "look at: {} ({})", shown(change), flag.reason);
        }
    }
    out
}

/// The paths alone, one a line.
pub fn render_names(changes: &[Change]) -> String {
    let mut out = String::new();
    for change in changes {
        let _ = writeln!(out, "{}{}", prefix(&change.layer), escape(&change.path));
    }
    out
}

/// The same as data. `shown` is the path as it may be printed.
pub fn render_json(changes: &[Change]) -> Value {
    changes
        .iter()
        .map(|change| {
            let mut value = json!(change);
            if let Some(object) = value.as_object_mut() {
                object.insert("shown".into(), escape(&change.path).into());
            }
            value
        })
        .collect()
}

/// From here on bulk is summed up.
pub(crate) const ORDINARY: u8 = 4;

/// The dangerous first.
pub(crate) fn rank(change: &Change) -> u8 {
    let executable = |mode: Option<u32>| mode.is_some_and(|mode| mode & 0o111 != 0);
    match change {
        Change { refused: Some(_), .. } => 0,
        Change { held: Some(_), .. } => 1,
        Change { flag: Some(Flag { minor: false, .. }), .. } => 2,
        Change {
            file_type: FileType::Symlink,
            kind: Kind::Created | Kind::Modified | Kind::TypeChanged,
            ..
        } => 3,
        Change { kind: Kind::TypeChanged, .. } => 3,
        Change { file_type: FileType::File, .. }
            if executable(change.new_mode) && !executable(change.old_mode) =>
        {
            3
        }
        Change { flag: Some(_), .. } => ORDINARY,
        _ => ORDINARY + 1,
    }
}

fn line(out: &mut String, change: &Change, width: usize) {
    let mark = match rank(change) {
        0 => '!',
        1 => 'H',
        2 => '*',
        _ if change.flag.is_some() => '*',
        _ => ' ',
    };
    let letter = if change.renamed_from.is_some() { 'R' } else { change.kind.letter() };
    let _ = write!(out, "{mark} {letter} {:width$} | {}", shown(change), amount(change));
    let why = why(change);
    let _ = writeln!(out, "{}{why}", if why.is_empty() { "" } else { "  " });
}

/// What is to be known of a change before it lands.
pub(crate) fn why(change: &Change) -> String {
    match change {
        Change { refused: Some(reason), .. } => format!("refused: {}", reason.text()),
        Change { held: Some(held), .. } => format!("held back: {}", held.text()),
        Change { flag: Some(flag), .. } => format!("look at: {}", flag.reason),
        _ => String::new(),
    }
}

pub(crate) fn amount(change: &Change) -> String {
    let mode = match (change.old_mode, change.new_mode) {
        (Some(old), Some(new)) if old != new && change.file_type != FileType::Symlink => {
            format!("mode {old:o} -> {new:o}")
        }
        (None, Some(new)) if new & 0o6111 != 0 && change.file_type == FileType::File => {
            format!("mode {new:o}")
        }
        _ => String::new(),
    };
    let size = |size: Option<u64>| size.unwrap_or(0);
    let content = match (&change.content, &change.target, change.file_type) {
        (Some(Content::Text { added, removed }), _, _) => format!("+{added} -{removed}"),
        (Some(Content::Binary { old, new }), _, _) => {
            let sizes = format!("{} -> {} bytes", size(change.old_size), size(change.new_size));
            match (old, new) {
                (Some(old), Some(new)) if old != new => format!("{old} -> {new}, {sizes}"),
                (Some(one), _) | (_, Some(one)) => format!("{one}, {sizes}"),
                (None, None) => format!("bin {sizes}"),
            }
        }
        (None, Some(target), _) => match &change.old_target {
            Some(old) if old != target => format!("link {} -> {}", escape(old), escape(target)),
            _ => format!("link -> {}", escape(target)),
        },
        (None, None, FileType::Directory) => "directory".into(),
        (None, None, FileType::Fifo) => "FIFO".into(),
        (None, None, FileType::Socket) => "socket".into(),
        (None, None, FileType::Device) => "device".into(),
        (None, None, FileType::Symlink) => "link".into(),
        (None, None, FileType::File) => String::new(),
    };
    let attributes = match change.attributes.len() {
        0 => String::new(),
        1 => "1 attribute".into(),
        count => format!("{count} attributes"),
    };
    [content, mode, attributes].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn total(out: &mut String, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    // What moved is one entry, shown under its new name.
    let moved: BTreeSet<&Path> = changes.iter().filter_map(|change| change.renamed_from.as_deref()).collect();
    let old_name = |change: &&Change| change.renamed_to.is_some() && moved.contains(&*change.path);
    let changes: Vec<&Change> = changes.iter().filter(|change| !old_name(change)).collect();
    let count = |wanted: &dyn Fn(&Change) -> bool| changes.iter().filter(|change| wanted(change)).count();
    let (added, removed) = lines(changes.iter().copied());
    let plural = if changes.len() == 1 { "change" } else { "changes" };
    let _ = write!(out, " {} {plural}, +{added} -{removed} lines", changes.len());
    let deleted = count(&|change| change.kind == Kind::Deleted);
    for (number, what) in [
        (deleted, "deleted"),
        (count(&|change| change.held.is_some()), "held back"),
        (count(&|change| change.flag.is_some()), "to look at"),
        (count(&|change| change.refused.is_some()), "refused"),
    ] {
        if number > 0 {
            let _ = write!(out, ", {number} {what}");
        }
    }
    out.push('\n');
}

fn lines<'a>(changes: impl IntoIterator<Item = &'a Change>) -> (u64, u64) {
    changes.into_iter().fold((0, 0), |(added, removed), change| match change.content {
        Some(Content::Text { added: more, removed: less }) => (added + more, removed + less),
        _ => (added, removed),
    })
}

pub(crate) fn shown(change: &Change) -> String {
    let slash = if change.file_type == FileType::Directory { "/" } else { "" };
    let from = change.renamed_from.as_ref().map(|from| format!("{} -> ", escape(from))).unwrap_or_default();
    format!("{}{from}{}{slash}", prefix(&change.layer), escape(&change.path))
}

/// The workspace goes without saying.
fn prefix(layer: &str) -> String {
    if layer == WORKSPACE { String::new() } else { format!("[{}] ", escape(layer)) }
}
