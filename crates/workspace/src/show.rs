//! The diff as a person reads it: the dangerous first, every byte made safe for a terminal, hostile sizes cut.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use similar::DiffOp;

use crate::change::{Change, Content};
use crate::escape::escape;
use crate::hunks::{self, Hunk, Line};
use crate::render::{ORDINARY, amount, rank, shown, summed_up, total, why};
use crate::review::Review;
use crate::text::{self, Budget, Versions};
use crate::words::{self, Parts};

/// More of a line is not shown.
const LONG: usize = 2000;
/// More lines of a file are not shown, unless it was asked for by its path.
const LINES: usize = 2000;
/// More changes than this are summed up by [`crate::render_stat`].
const CHANGES: usize = 1000;
/// For the lines of one file, and for the words of one place.
const PATIENCE: Duration = Duration::from_millis(200);
const WORDS: Duration = Duration::from_millis(20);
/// For the words of everything.
const ALL_WORDS: Duration = Duration::from_secs(2);

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With colours.
    pub colour: bool,
    /// All lines of each file.
    pub all: bool,
}

impl Review {
    /// Writes it.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn show(&self, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let mut order: Vec<&Change> = self.changes.iter().collect();
        order.sort_by_key(|change| (rank(change), change.index, &change.path));
        let (singles, rest) = split(&order);
        // A file that moved is one entry.
        let moved: BTreeSet<_> = singles
            .iter()
            .filter_map(|change| change.renamed_from.as_ref().map(|from| (change.index, from)))
            .collect();
        let mut pen = Pen::new(look, out);
        let mut budget = if look.all { Budget::whole() } else { Budget::look() };
        for change in &singles {
            if change.renamed_to.is_some() && moved.contains(&(change.index, &change.path)) {
                continue;
            }
            pen.heading(change)?;
            let Some((upper, host)) = self.sites.get(change.index) else { continue };
            match text::versions(change, upper, host, &mut budget) {
                Some(both) if both.is_text() => pen.text(&both, budget.patience(PATIENCE))?,
                None if matches!(change.content, Some(Content::Text { .. })) => pen.more()?,
                _ => {}
            }
        }
        if !rest.is_empty() {
            write!(pen.out, "{} more changes:\n{}", rest.len(), crate::render::render_stat(&rest))?;
        }
        let mut end = String::new();
        total(&mut end, &self.changes);
        write!(pen.out, "{end}")
    }
}

impl Review {
    /// The changes as [`Self::show`] orders them, the dangerous first; what stands for others (`whole`) comes before all of those.
    pub fn in_order(&self, whole: impl Fn(&Change) -> bool) -> Vec<&Change> {
        let inside =
            |above: &Change, one: &Change| one.index == above.index && one.path.starts_with(&above.path);
        let first = |change: &Change| match whole(change) {
            true => self.changes.iter().filter(|one| inside(change, one)).map(rank).min(),
            false => None,
        };
        let mut order: Vec<_> = self
            .changes
            .iter()
            .map(|change| (first(change).unwrap_or_else(|| rank(change)), change))
            .collect();
        order.sort_by_key(|(rank, change)| (*rank, change.index, &change.path));
        order.into_iter().map(|(_, change)| change).collect()
    }

    /// Writes the lines of one change, as many as [`Self::show`] does; nothing for what is no text.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn lines(&self, change: &Change, look: Look, out: &mut dyn Write) -> io::Result<()> {
        let Some((upper, host)) = self.sites.get(change.index) else { return Ok(()) };
        let mut pen = Pen::new(Look { all: false, ..look }, out);
        match text::versions(change, upper, host, &mut Budget::look()) {
            Some(both) if both.is_text() => pen.text(&both, PATIENCE),
            None if matches!(change.content, Some(Content::Text { .. })) => pen.more(),
            _ => Ok(()),
        }
    }
}

/// The changes that are shown one by one, and the others: bulk pushes no single change away.
fn split<'a>(order: &[&'a Change]) -> (Vec<&'a Change>, Vec<Change>) {
    if order.len() <= CHANGES {
        return (order.to_vec(), Vec::new());
    }
    let (dangerous, ordinary): (Vec<&Change>, Vec<&Change>) =
        order.iter().copied().partition(|change| rank(change) < ORDINARY);
    let (_, few) = summed_up(&ordinary, |path| path.parent().unwrap_or(Path::new("")));
    let mut singles = dangerous;
    singles.extend(few);
    singles.truncate(CHANGES);
    let shown: BTreeSet<_> = singles.iter().map(|change| (change.index, &change.path)).collect();
    let rest = order.iter().filter(|change| !shown.contains(&(change.index, &change.path)));
    (singles.clone(), rest.map(|change| (*change).clone()).collect())
}

/// Writes lines.
pub(crate) struct Pen<'a> {
    pub(crate) out: &'a mut dyn Write,
    pub(crate) look: Look,
    /// After this no more words are compared.
    words: Instant,
}

const PLAIN: &str = "\u{1b}[0m";
const BOLD: &str = "\u{1b}[1m";
const CYAN: &str = "\u{1b}[36m";
const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
/// Bold and underlined.
const MARKED: &str = "\u{1b}[1;4m";
const UNMARKED: &str = "\u{1b}[22;24m";

impl<'a> Pen<'a> {
    pub(crate) fn new(look: Look, out: &'a mut dyn Write) -> Self {
        Self { out, look, words: Instant::now() + ALL_WORDS }
    }
    fn colour(&self, code: &'static str) -> &'static str {
        if self.look.colour { code } else { "" }
    }

    /// One line for the change, and one for what is to be known of it. They begin with a letter or `!`, which no line of
    /// a file here does.
    pub(crate) fn heading(&mut self, change: &Change) -> io::Result<()> {
        let (bold, plain) = (self.colour(BOLD), self.colour(PLAIN));
        let letter = if change.renamed_from.is_some() { 'R' } else { change.kind.letter() };
        let amount = amount(change);
        let amount = if amount.is_empty() { String::new() } else { format!(" | {amount}") };
        writeln!(self.out, "{bold}{letter} {}{amount}{plain}", shown(change))?;
        let why = why(change);
        if !why.is_empty() {
            let red = self.colour(RED);
            writeln!(self.out, "{red}! {why}{plain}")?;
        }
        for attribute in &change.attributes {
            use std::os::unix::ffi::OsStrExt;
            let size = |size: Option<usize>| size.map_or("none".into(), |size| format!("{size} bytes"));
            let name = escape(std::ffi::OsStr::from_bytes(&attribute.name));
            writeln!(self.out, "x {name}: {} -> {}", size(attribute.old), size(attribute.new))?;
        }
        Ok(())
    }

    fn text(&mut self, both: &Versions, patience: Duration) -> io::Result<()> {
        let (old, new) = (hunks::lines(&both.old), hunks::lines(&both.new));
        let mut left = if self.look.all { usize::MAX } else { LINES };
        for hunk in hunks::hunks(&old, &new, patience) {
            if left == 0 {
                return self.more();
            }
            self.hunk(&hunk, &old, &new, &mut left)?;
        }
        Ok(())
    }

    fn more(&mut self) -> io::Result<()> {
        writeln!(self.out, "@@ more is not shown; name the path, after `--`, to see all of it @@")
    }

    /// Writes a hunk, at most so many lines of it.
    pub(crate) fn hunk(
        &mut self,
        hunk: &Hunk,
        old: &[&[u8]],
        new: &[&[u8]],
        left: &mut usize,
    ) -> io::Result<()> {
        let (cyan, plain) = (self.colour(CYAN), self.colour(PLAIN));
        writeln!(self.out, "{cyan}{}{plain}", hunks::header(hunk))?;
        for operation in hunk {
            let before = old.get(operation.old_range()).unwrap_or(&[]);
            let after = new.get(operation.new_range()).unwrap_or(&[]);
            let worth = matches!(operation, DiffOp::Replace { .. }) && self.look.colour;
            let parts = (worth && Instant::now() < self.words)
                .then(|| words::compare(before, after, WORDS))
                .flatten();
            let (mut gone, mut fresh) = (0, 0);
            for line in hunks::walk(operation) {
                if *left == 0 {
                    return Ok(());
                }
                *left -= 1;
                let (sign, code, text, marked) = match line {
                    Line::Both(at) => (' ', "", old.get(at), None),
                    Line::Gone(at) => {
                        gone += 1;
                        ('-', RED, old.get(at), parts.as_ref().and_then(|parts| parts.0.get(gone - 1)))
                    }
                    Line::New(at) => {
                        fresh += 1;
                        ('+', GREEN, new.get(at), parts.as_ref().and_then(|parts| parts.1.get(fresh - 1)))
                    }
                };
                self.line(sign, code, text.copied().unwrap_or(&[]), marked)?;
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        sign: char,
        code: &'static str,
        text: &[u8],
        parts: Option<&Parts<'_>>,
    ) -> io::Result<()> {
        let (code, plain) = (self.colour(code), if code.is_empty() { "" } else { self.colour(PLAIN) });
        let whole = [(false, text)];
        let parts = parts.filter(|_| text.len() <= LONG).map_or(&whole[..], |parts| parts);
        write!(self.out, "{code}{sign}")?;
        for (differs, part) in parts {
            let part = part.strip_suffix(b"\n").unwrap_or(part);
            let shown = safe(part.get(..part.len().min(LONG)).unwrap_or(&[]));
            match differs {
                true => write!(self.out, "{MARKED}{shown}{UNMARKED}")?,
                false => write!(self.out, "{shown}")?,
            }
        }
        if text.len() > LONG {
            write!(self.out, " ... {} more bytes", text.len() - LONG)?;
        }
        writeln!(self.out, "{plain}")?;
        if text.ends_with(b"\n") { Ok(()) } else { writeln!(self.out, "\\ No newline at end of file") }
    }
}

/// A line of a file: as [`escape()`] makes it, but backslashes and tabs are what they are.
fn safe(text: &[u8]) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut out = String::new();
    for (at, part) in text.split(|byte| *byte == b'\\').enumerate() {
        out.push_str(if at == 0 { "" } else { "\\" });
        for (at, part) in part.split(|byte| *byte == b'\t').enumerate() {
            out.push_str(if at == 0 { "" } else { "\t" });
            out.push_str(&escape(std::ffi::OsStr::from_bytes(part)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_acts_on_no_terminal() {
        assert_eq!(safe(b"a\\n\t\x1b[8mb\x00\r"), "a\\n\t\\u{1b}[8mb\\0\\r");
        assert_eq!(safe("x\u{202e}y".as_bytes()), "x\\u{202e}y");
    }
}
