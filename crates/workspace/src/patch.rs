//! The changes as a patch that `git apply` takes: raw bytes, whole, in the order of the paths.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};

use crate::change::{Change, FileType, Kind};
use crate::escape::escape;
use crate::hunks::{self, Line};
use crate::layer::WORKSPACE;
use crate::review::Review;
use crate::text::{self, Budget, Versions};

/// For the lines of one file, and of all.
const PATIENCE: Duration = Duration::from_millis(500);
const ALL: Duration = Duration::from_secs(10);
/// Text that is longer is written like binary.
const LONG: usize = 8 << 20;
/// The modes that git knows.
const PLAIN: &str = "100644";
const EXECUTABLE: &str = "100755";
const LINK: &str = "120000";

/// What a patch does not say.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Which path.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// A path as a commit has it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Relative to the workspace.
    pub path: PathBuf,
    /// Git's mode and the content; `None`: it is gone.
    pub content: Option<(&'static str, Vec<u8>)>,
}

/// A path as git's own formats write it.
pub fn git_path(prefix: &str, path: &Path) -> Vec<u8> {
    let whole = [prefix.as_bytes(), path.as_os_str().as_bytes()].concat();
    quoted("", &whole)
}

/// One side of a path, as git sees it.
struct Side {
    mode: &'static str,
    content: Vec<u8>,
}

impl Review {
    /// Writes the patch, and says what it leaves out: what is held back or refused, and what git knows nothing of. Git takes
    /// names for those of its repository: `prefix` is the workspace in it.
    ///
    /// # Errors
    /// Those of the writer; `FileTooLarge` for content that no patch can hold, with its path.
    pub fn patch(&self, prefix: &Path, out: &mut dyn Write) -> io::Result<Vec<Missing>> {
        let (changes, mut missing) = self.of_the_workspace();
        // Nothing is written of what cannot be written to its end.
        let mut budget = Budget::whole();
        for change in changes.iter().filter(|change| fits(change)) {
            let (old, new) = text::sides(change);
            let sizes = [change.old_size.filter(|_| old), change.new_size.filter(|_| new)];
            if !sizes.into_iter().flatten().all(|size| budget.take(size)) {
                return Err(too_large(change));
            }
        }
        let mut budget = Budget::whole();
        let end = Instant::now() + ALL;
        // Where only one of the two names may change, the file comes new or stays.
        let gone: BTreeMap<_, _> = changes
            .iter()
            .filter(|change| change.renamed_to.is_some())
            .map(|change| (&change.path, fits(change)))
            .collect();
        let moved: BTreeSet<_> = changes
            .iter()
            .filter(|change| fits(change))
            .filter_map(|change| change.renamed_from.as_ref())
            .filter(|from| gone.get(from) == Some(&true))
            .collect();
        for (at, change) in changes.iter().copied().enumerate() {
            let mut lacks = |why: &str| missing.push(Missing { path: change.path.clone(), why: why.into() });
            if let Some(why) = outside(change) {
                lacks(&why);
                continue;
            }
            if change.file_type == FileType::Directory && change.kind != Kind::TypeChanged {
                let next = changes.get(at + 1);
                let empty = next.is_none_or(|next| !next.path.starts_with(&change.path));
                match change.kind {
                    Kind::Created if empty => lacks("git knows no empty directories"),
                    Kind::ModeChanged => lacks("git knows no modes of directories"),
                    _ => {}
                }
                continue;
            }
            if !change.attributes.is_empty() {
                lacks("its extended attributes: git knows none");
            }
            if bits(change.old_mode) != bits(change.new_mode) && change.kind == Kind::ModeChanged {
                lacks("git knows no other permission than to execute");
            }
            // Its new name says where it was.
            if change.kind == Kind::Deleted && moved.contains(&change.path) {
                continue;
            }
            let alone;
            let change = match &change.renamed_from {
                Some(from) if !moved.contains(from) => {
                    alone = Change { renamed_from: None, old_mode: None, old_size: None, ..change.clone() };
                    &alone
                }
                _ => change,
            };
            let (old, new) = self.both(change, &mut budget)?;
            one(
                out,
                (prefix, change),
                old.as_ref(),
                new.as_ref(),
                PATIENCE.min(end.saturating_duration_since(Instant::now())),
            )?;
        }
        Ok(missing)
    }

    /// The changes as a commit has them, without what is held back or refused, and what it leaves out.
    ///
    /// # Errors
    /// `FileTooLarge` for content that is too much to hold, with its path.
    pub fn entries(&self) -> io::Result<(Vec<Entry>, Vec<Missing>)> {
        let (changes, mut missing) = self.of_the_workspace();
        let mut entries = Vec::new();
        let mut budget = Budget::whole();
        for change in changes {
            if let Some(why) = outside(change) {
                missing.push(Missing { path: change.path.clone(), why });
                continue;
            }
            let (old, new) = self.both(change, &mut budget)?;
            let path = change.path.clone();
            match (old, new) {
                (_, Some(side)) => entries.push(Entry { path, content: Some((side.mode, side.content)) }),
                (Some(_), None) => entries.push(Entry { path, content: None }),
                (None, None) => {}
            }
        }
        // What goes makes room for what comes.
        entries.sort_by_key(|entry| entry.content.is_some());
        Ok((entries, missing))
    }

    /// The changes that may be in it, and in one line those of git directories beside the workspace: their paths are others.
    fn of_the_workspace(&self) -> (Vec<&Change>, Vec<Missing>) {
        let (ours, beside): (Vec<&Change>, Vec<_>) =
            self.changes.iter().partition(|change| change.layer == WORKSPACE);
        let why = match beside.len() {
            0 => None,
            1 => Some("1 change inside of the git directory, which lies outside of the workspace".into()),
            count => Some(format!(
                "{count} changes inside of the git directory, which lies outside of the workspace"
            )),
        };
        (ours, why.into_iter().map(|why| Missing { path: PathBuf::from(".git"), why }).collect())
    }

    fn both(&self, change: &Change, budget: &mut Budget) -> io::Result<(Option<Side>, Option<Side>)> {
        let (upper, host) = self.sites.get(change.index).ok_or(io::ErrorKind::NotFound)?;
        let Versions { old, new } = match text::sides(change) {
            (false, false) => Versions { old: Vec::new(), new: Vec::new() },
            _ => text::versions(change, upper, host, budget).ok_or_else(|| too_large(change))?,
        };
        let link = |path: &Option<PathBuf>| path.as_ref().map(|path| path.as_os_str().as_bytes().to_vec());
        let side = |kind: FileType, mode: Option<u32>, text: Vec<u8>, target: &Option<PathBuf>| match kind {
            FileType::File => Some(Side { mode: mode_of(mode), content: text }),
            FileType::Symlink => Some(Side { mode: LINK, content: link(target)? }),
            _ => None,
        };
        let before = change.old_type.unwrap_or(change.file_type);
        let before = (change.kind != Kind::Created || change.renamed_from.is_some())
            .then(|| side(before, change.old_mode, old, &change.old_target))
            .flatten();
        let now =
            change.brings().then(|| side(change.file_type, change.new_mode, new, &change.target)).flatten();
        Ok((before, now))
    }
}

fn too_large(change: &Change) -> io::Error {
    let text = format!("{}: too large for a patch, or not readable", escape(&change.path));
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

/// Why a change has no place in a patch.
fn outside(change: &Change) -> Option<String> {
    if let Some(reason) = &change.refused {
        return Some(format!("apply refuses it: {}", reason.text()));
    }
    if let Some(held) = &change.held {
        return Some(format!("held back: {}", held.text()));
    }
    if change.path.iter().any(|name| name == ".git") {
        return Some("inside of a git directory".into());
    }
    let special = matches!(change.file_type, FileType::Fifo | FileType::Socket | FileType::Device);
    (special && change.brings()).then(|| "git knows no such files".into())
}

fn fits(change: &Change) -> bool {
    outside(change).is_none()
}

fn bits(mode: Option<u32>) -> u32 {
    mode.unwrap_or(0) & !0o111
}

fn mode_of(mode: Option<u32>) -> &'static str {
    if mode.unwrap_or(0) & 0o100 == 0 { PLAIN } else { EXECUTABLE }
}

fn one(
    out: &mut dyn Write,
    (prefix, change): (&Path, &Change),
    old: Option<&Side>,
    new: Option<&Side>,
    patience: Duration,
) -> io::Result<()> {
    let (from, to) = (prefix.join(text::before(change)), prefix.join(&change.path));
    let (from, to) = (from.as_path(), to.as_path());
    match (old, new) {
        (None, None) => Ok(()),
        // A file that becomes a link, or the other way round, goes and comes.
        (Some(before), Some(now)) if (before.mode == LINK) != (now.mode == LINK) => {
            entry(out, (from, from), Some(before), None, patience)?;
            entry(out, (to, to), None, Some(now), patience)
        }
        _ => entry(out, (from, to), old, new, patience),
    }
}

fn entry(
    out: &mut dyn Write,
    (from, to): (&Path, &Path),
    old: Option<&Side>,
    new: Option<&Side>,
    patience: Duration,
) -> io::Result<()> {
    let nothing: &[u8] = &[];
    let (before, now) =
        (old.map_or(nothing, |side| &side.content), new.map_or(nothing, |side| &side.content));
    if from == to && before == now && old.map(|side| side.mode) == new.map(|side| side.mode) {
        return Ok(());
    }
    let name = |prefix: &str, path: &Path| quoted(prefix, path.as_os_str().as_bytes());
    write_all(out, &[b"diff --git ", &name("a/", from), b" ", &name("b/", to), b"\n"])?;
    match (old, new) {
        (Some(old), None) => writeln!(out, "deleted file mode {}", old.mode)?,
        (None, Some(new)) => writeln!(out, "new file mode {}", new.mode)?,
        (Some(old), Some(new)) if old.mode != new.mode => {
            writeln!(out, "old mode {}\nnew mode {}", old.mode, new.mode)?;
        }
        _ => {}
    }
    if from != to {
        let percent = if before == now { 100 } else { 50 };
        writeln!(out, "similarity index {percent}%")?;
        write_all(out, &[b"rename from ", &quoted("", from.as_os_str().as_bytes()), b"\n"])?;
        write_all(out, &[b"rename to ", &quoted("", to.as_os_str().as_bytes()), b"\n"])?;
    }
    if before == now && !(before.is_empty() && from == to) {
        return Ok(());
    }
    let id = |side: Option<&Side>| side.map_or("0".repeat(40), |side| blob(&side.content));
    writeln!(out, "index {}..{}", id(old), id(new))?;
    let binary = before.contains(&0) || now.contains(&0) || before.len() > LONG || now.len() > LONG;
    if binary {
        return literal(out, now);
    }
    if before == now {
        return Ok(());
    }
    for (sign, side, prefix, path) in [("---", old, "a/", from), ("+++", new, "b/", to)] {
        let name = side.map_or_else(|| b"/dev/null".to_vec(), |_| name(prefix, path));
        // A name with a blank ends with a tab.
        let tab: &[u8] = if name.contains(&b' ') && !name.starts_with(b"\"") { b"\t" } else { b"" };
        write_all(out, &[sign.as_bytes(), b" ", &name, tab, b"\n"])?;
    }
    let (old, new) = (hunks::lines(before), hunks::lines(now));
    for hunk in hunks::hunks(&old, &new, patience) {
        writeln!(out, "{}", hunks::header(&hunk))?;
        for line in hunk.iter().flat_map(hunks::walk) {
            let (sign, text) = match line {
                Line::Both(at) => (b" ", old.get(at)),
                Line::Gone(at) => (b"-", old.get(at)),
                Line::New(at) => (b"+", new.get(at)),
            };
            let text = text.copied().unwrap_or(nothing);
            let end: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n\\ No newline at end of file\n" };
            write_all(out, &[sign, text, end])?;
        }
    }
    Ok(())
}

fn write_all(out: &mut dyn Write, parts: &[&[u8]]) -> io::Result<()> {
    parts.iter().try_for_each(|part| out.write_all(part))
}

/// The name of an object of git's (its older form; a repository with the newer one takes only patches of text).
fn blob(content: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path as git writes it: in quotes, with octal escapes, where it holds anything unusual.
pub(crate) fn quoted(prefix: &str, path: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && !b"\"\\".contains(byte);
    let mut out = prefix.as_bytes().to_vec();
    if path.iter().all(plain) {
        out.extend(path);
        return out;
    }
    out.insert(0, b'"');
    for byte in path {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            byte if plain(byte) => out.push(*byte),
            byte => out.extend(format!("\\{byte:03o}").bytes()),
        }
    }
    out.push(b'"');
    out
}

/// The new content, packed as git wants it but not compressed.
fn literal(out: &mut dyn Write, content: &[u8]) -> io::Result<()> {
    writeln!(out, "GIT binary patch\nliteral {}", content.len())?;
    for part in stored(content).chunks(52) {
        let length = u8::try_from(part.len()).unwrap_or(0);
        let letter = if length <= 26 { b'A' + length - 1 } else { b'a' + length - 27 };
        let mut line = vec![letter];
        for word in part.chunks(4) {
            let mut bytes = [0_u8; 4];
            for (to, from) in bytes.iter_mut().zip(word) {
                *to = *from;
            }
            line.extend(base85(u32::from_be_bytes(bytes)));
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    writeln!(out)
}

fn base85(mut word: u32) -> [u8; 5] {
    const DIGITS: &[u8; 85] =
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    let mut out = [0; 5];
    for to in out.iter_mut().rev() {
        *to = DIGITS.get(usize::try_from(word % 85).unwrap_or(0)).copied().unwrap_or(b'0');
        word /= 85;
    }
    out
}

/// A stream of zlib (RFC 1950) whose blocks are stored as they are (RFC 1951, 3.2.4).
fn stored(content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = content.chunks(0xffff).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    // Adler-32; so many bytes at a time do not overflow.
    let (mut low, mut high) = (1_u32, 0_u32);
    for part in content.chunks(5552) {
        for byte in part {
            low += u32::from(*byte);
            high += low;
        }
        (low, high) = (low % 65_521, high % 65_521);
    }
    out.extend((high << 16 | low).to_be_bytes());
    out
}
