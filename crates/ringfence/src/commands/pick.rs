//! `ringfence apply --interactive`: change by change and hunk by hunk, what lands and what stays with the run.

use std::io::{BufRead, Write};

use ringfence_workspace::{
    Change, Danger, FileType, HoldReason, Kind, Layer, Look, Named, Options, Refusal, Review,
};

use crate::failure::{Context, Failure};
use crate::terminal;

const HELP: &str = "y - yes, let it land
n - no, leave it with the run
a - yes, and all other hunks of this file
d - no, and no other hunk of this file
q - nothing of what was not asked yet
? - this";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    All,
    None,
    Quit,
}

/// Asks for everything that may land, the dangerous first, and turns the answers into options of the apply.
pub(crate) fn pick(review: &Review, layers: &[Layer], options: &mut Options) -> Result<(), Failure> {
    let look = Look { colour: terminal::colour_out(), all: true };
    let mut asker = Asker { review, look, barred: barred(review, layers, options), quit: false };
    // What becomes of these becomes of all that is below them.
    let mut settled: Vec<&Change> = Vec::new();
    for change in review.in_order(stands_for_others) {
        let above = |above: &&&Change| above.layer == change.layer && change.path.starts_with(&above.path);
        if settled.iter().any(|one| above(&one)) || named_by_another(review, change) {
            continue;
        }
        let new = change.file_type == FileType::Directory && change.kind == Kind::Created;
        if new && !stands_for_others(change) && below(review, change).next().is_some() {
            continue;
        }
        let answer = match asker.quit {
            true => Answer::Quit,
            false => asker.change(change, options)?,
        };
        let gone = change.file_type == FileType::Directory && change.kind == Kind::Deleted;
        if gone || answer != Answer::Yes {
            settled.push(change);
        }
        if answer != Answer::Yes {
            let old = change.renamed_from.clone();
            let names = [Some(change.path.clone()), old].into_iter().flatten();
            options.left.extend(names.map(|path| Named::of(change, path)));
        }
    }
    Ok(())
}

/// What would be refused, if all that is held back were accepted: that is found out only of what would land.
fn barred(review: &Review, layers: &[Layer], options: &Options) -> Vec<Refusal> {
    let held = review.changes().iter().filter(|change| change.held.is_some());
    let mut all = options.clone();
    all.named.extend(held.map(|change| Named::of(change, change.path.clone())));
    if all.named.len() == options.named.len() {
        return Vec::new();
    }
    let refused = ringfence_workspace::plan_apply_with(layers, &all).err();
    refused.map(|refused| refused.refusals).unwrap_or_default()
}

/// A directory of which is asked before what is in it: it is gone, nothing of it may land, or others could write to it.
fn stands_for_others(change: &Change) -> bool {
    let open = change.kind == Kind::Created && change.new_mode.is_some_and(|mode| mode & 0o022 != 0);
    change.file_type == FileType::Directory
        && (change.kind == Kind::Deleted || change.refused.is_some() || open)
}

/// The old name of a file that moved: its new name is asked for.
fn named_by_another(review: &Review, change: &Change) -> bool {
    change.renamed_to.as_ref().is_some_and(|to| {
        review
            .changes()
            .iter()
            .any(|other| other.path == *to && other.renamed_from.as_ref() == Some(&change.path))
    })
}

fn below<'a>(review: &'a Review, above: &'a Change) -> impl Iterator<Item = &'a Change> {
    let inside = |change: &&Change| change.path != above.path && change.path.starts_with(&above.path);
    review.changes().iter().filter(inside)
}

struct Asker<'a> {
    review: &'a Review,
    look: Look,
    barred: Vec<Refusal>,
    quit: bool,
}

impl Asker<'_> {
    fn change(&mut self, change: &Change, options: &mut Options) -> Result<Answer, Failure> {
        self.say(|review, look, out| review.heading(change, look, out))?;
        if change.file_type == FileType::Directory && change.kind == Kind::Deleted {
            terminal::print(&format!("with {} entries in it", below(self.review, change).count()));
        }
        if matches!(change.held, Some(HoldReason::Protected { .. })) {
            return Ok(Answer::No);
        }
        if change.refused.is_some() {
            return Ok(Answer::No);
        }
        let bars = |one: &&Refusal| {
            let own = !one.path.as_os_str().is_empty() && one.layer == change.layer;
            own && change.path.starts_with(&one.path)
        };
        if let Some(bar) = self.barred.iter().find(bars).filter(|_| change.held.is_some()) {
            let path = ringfence_workspace::escape(&bar.path);
            terminal::print(&format!("it stays with the run: {path}: {}", bar.text));
            return Ok(Answer::No);
        }
        let accepted = |kind: &Danger| options.kinds.contains(kind);
        let held = match &change.held {
            Some(HoldReason::RunsOnHost { kind, .. }) if !accepted(kind) => {
                ", which is held back for what is said above"
            }
            _ => "",
        };
        let new = change.file_type == FileType::Directory && change.kind == Kind::Created;
        let answer = match self.review.pieces(change) {
            Some(pieces) if change.held.is_none() => return self.hunks(change, &pieces, options),
            Some(pieces) => {
                for at in 0..pieces.count() {
                    self.say(|_, look, out| pieces.show(at, look, out))?;
                }
                self.ask(&format!("Land this change{held}"))?
            }
            None if new && stands_for_others(change) => {
                let mode = change.new_mode.unwrap_or_default() & 0o7777;
                self.ask(&format!("Land this directory{held}, to which others may write (mode {mode:o})"))?
            }
            None => {
                self.say(|review, look, out| review.lines(change, look, out))?;
                self.ask(&format!("Land this change{held}"))?
            }
        };
        // There is nothing but the whole.
        let answer = if answer == Answer::All { Answer::Yes } else { answer };
        if answer == Answer::Yes && change.held.is_some() {
            options.named.push(Named::of(change, change.path.clone()));
        }
        Ok(answer)
    }

    fn hunks(
        &mut self,
        change: &Change,
        pieces: &ringfence_workspace::Pieces<'_>,
        options: &mut Options,
    ) -> Result<Answer, Failure> {
        let (mut wanted, mut rest) = (Vec::new(), None);
        for at in 0..pieces.count() {
            let answer = match rest {
                Some(answer) => answer,
                None => {
                    self.say(|_, look, out| pieces.show(at, look, out))?;
                    self.ask(&format!("({}/{}) Land this hunk", at + 1, pieces.count()))?
                }
            };
            match answer {
                Answer::Yes => wanted.push(at),
                Answer::All => {
                    wanted.push(at);
                    rest = Some(Answer::Yes);
                }
                Answer::No => {}
                Answer::None | Answer::Quit => rest = Some(Answer::No),
            }
        }
        if wanted.len() == pieces.count() {
            return Ok(Answer::Yes);
        }
        if wanted.is_empty() {
            return Ok(Answer::No);
        }
        debug_assert_eq!(change.kind, Kind::Modified);
        options.chosen.push(pieces.choose(&wanted));
        Ok(Answer::Yes)
    }

    fn say(
        &self,
        with: impl FnOnce(&Review, Look, &mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        super::diff::write(|out| with(self.review, self.look, out))
    }

    /// The end of the input is `q`.
    fn ask(&mut self, question: &str) -> Result<Answer, Failure> {
        loop {
            super::diff::write(|out| write!(out, "{question} [y,n,a,d,q,?]? "))?;
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line).context("reading the answer")?;
            let answer = match line.trim() {
                "y" => Answer::Yes,
                "n" => Answer::No,
                "a" => Answer::All,
                "d" => Answer::None,
                "q" => Answer::Quit,
                _ if read == 0 => Answer::Quit,
                _ => {
                    terminal::print(HELP);
                    continue;
                }
            };
            self.quit = answer == Answer::Quit;
            return Ok(answer);
        }
    }
}
