//! Why an apply is refused as a whole: each path with its reason and a remedy.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::Serialize;

use crate::escape::escape;
use crate::name;

/// An apply that did not take place. Nothing on the host changed, unless a reason says that something is left.
#[derive(Clone, Debug, Default, Serialize, thiserror::Error)]
pub struct Refused {
    /// Every reason that was found.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "nothing was changed:")?;
        for refusal in &self.refusals {
            let path = escape(&refusal.path);
            let path = if path.is_empty() { "the workspace" } else { &path };
            writeln!(out, "  {path}: {}", refusal.text)?;
        }
        Ok(())
    }
}

/// Some of the paths, and how many more.
fn few(paths: &[String]) -> String {
    const FEW: usize = 3;
    let shown = paths.get(..paths.len().min(FEW)).unwrap_or(&[]).join(", ");
    match paths.len().saturating_sub(FEW) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Refused {
    /// What can be done, one sentence a line to print.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let mut remedies: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for refusal in &self.refusals {
            remedies.entry(refusal.remedy).or_default().push(escape(&refusal.path));
        }
        let several = remedies.len() > 1;
        let hint = |(remedy, paths): (&str, Vec<String>)| match several && !paths.contains(&String::new()) {
            true => format!("for {}: {remedy}", few(&paths)),
            false => remedy.to_owned(),
        };
        remedies.into_iter().map(hint).collect()
    }

    pub(crate) fn one(layer: &str, path: &Path, reason: Reason) -> Self {
        Self { refusals: vec![Refusal::new(layer, path, reason)] }
    }

    /// The same in the words of an undo, which has no `--merge`: what stands in the way changed after `since`.
    #[must_use]
    pub fn of_undo(mut self, since: &str) -> Self {
        for refusal in &mut self.refusals {
            refusal.text = refusal.reason.text_since(since);
            match refusal.reason {
                Reason::ChangedOnHost | Reason::GoneFromHost | Reason::DirectoryReplaced => {
                    refusal.remedy = Reason::ChangedSinceApply.remedy();
                }
                Reason::Failed { .. } => refusal.remedy = "mend the cause, then undo again",
                _ => {}
            }
        }
        self
    }
}

/// One path that stands in the way.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Name of the layer.
    pub layer: String,
    /// Relative to the layer's directory; empty: the directory itself.
    #[serde(with = "name")]
    pub path: PathBuf,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// The same as a sentence.
    pub text: String,
    /// What can be done.
    pub remedy: &'static str,
}

impl Refusal {
    pub(crate) fn new(layer: &str, path: &Path, reason: Reason) -> Self {
        let (text, remedy) = (reason.text(), reason.remedy());
        Self { layer: layer.to_owned(), path: path.to_owned(), reason, text, remedy }
    }
}

/// Why a change must not land.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// A FIFO, a socket or a device.
    Special,
    /// Set-user-id or set-group-id.
    Setuid,
    /// File capabilities.
    Capabilities,
    /// A name that some file systems take for `.git`.
    DisguisedGit,
    /// A name that an apply itself uses.
    ReservedName,
    /// The path is too long to exist on the host.
    TooDeep,
    /// The upper holds marks that this overlay never sets.
    StrangeLayer,
    /// Changed on the host, or made there, since the task started.
    ChangedOnHost,
    /// Changed on the host since it landed.
    ChangedSinceApply,
    /// Removed on the host since the task started.
    GoneFromHost,
    /// A directory on the way was renamed, replaced, or had its attributes changed.
    DirectoryReplaced,
    /// A directory of the host on the way may not be entered.
    Closed,
    /// The workspace itself is another directory now.
    WorkspaceReplaced,
    /// It is on another device now, and nothing tells whether it is the same.
    DeviceChanged,
    /// The clock of the host runs behind the start of the task.
    ClockSetBack,
    /// Started as root: the file is not the workspace owner's.
    OtherOwner,
    /// Something is mounted there.
    OtherMount,
    /// A directory of a lower layer of the overlay that the host has there.
    LowerLayer,
    /// The layer changed after it was judged.
    LayerChanged,
    /// Another apply is at work in this workspace.
    Busy,
    /// An apply was interrupted and not recovered.
    Interrupted,
    /// The journal directory already holds one.
    JournalExists,
    /// A system call failed.
    Failed {
        /// What was tried.
        doing: String,
        /// Why it failed.
        error: String,
    },
    /// Taken back, but the host had changed meanwhile: one of two versions is kept in the journal directory.
    Left {
        /// Where.
        #[serde(with = "name")]
        kept: PathBuf,
    },
}

impl Reason {
    pub(crate) fn failed(doing: &str) -> impl FnOnce(Errno) -> Self + use<> {
        let doing = doing.to_owned();
        move |errno| Self::Failed { doing, error: errno.to_string() }
    }

    /// In one sentence.
    pub fn text(&self) -> String {
        self.text_since("the task started")
    }

    fn text_since(&self, since: &str) -> String {
        match self {
            Self::Special => "a FIFO, a socket or a device".into(),
            Self::Setuid => "has the set-user-id or set-group-id bit".into(),
            Self::Capabilities => "has file capabilities".into(),
            Self::DisguisedGit => "a name that some file systems take for `.git`".into(),
            Self::ReservedName => "a name that apply itself uses".into(),
            Self::TooDeep => "the path is too long for the host".into(),
            Self::StrangeLayer => "carries overlay marks that ringfence never makes".into(),
            Self::ChangedOnHost => format!("changed on the host since {since}"),
            Self::ChangedSinceApply => "changed on the host since it landed".into(),
            Self::GoneFromHost => format!("removed on the host since {since}"),
            Self::DirectoryReplaced => format!("replaced or renamed on the host since {since}"),
            Self::Closed => "lies behind a directory that is closed: permission denied".into(),
            Self::WorkspaceReplaced => "the workspace is not the directory that the task worked on".into(),
            Self::DeviceChanged => {
                "is on another device than the task worked on, and its file system keeps no time of birth by which it could be known"
                    .into()
            }
            Self::ClockSetBack => format!("the clock was set back since {since}"),
            Self::OtherOwner => "does not belong to the owner of the workspace".into(),
            Self::OtherMount => "something is mounted there on the host".into(),
            Self::LowerLayer => {
                "a directory from a lower layer of the overlay it is on, such as a container's image: overlayfs moves none (EXDEV)".into()
            }
            Self::LayerChanged => "changed after it was judged".into(),
            Self::Busy => "another apply is at work here".into(),
            Self::Interrupted => "an earlier apply was interrupted here".into(),
            Self::JournalExists => "an apply of this run is on record already".into(),
            Self::Failed { doing, error } => format!("cannot {doing}: {error}"),
            Self::Left { kept } => {
                format!("changed during the apply; the other version is kept as {}", escape(kept))
            }
        }
    }

    /// What can be done, in one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Special | Self::Setuid | Self::Capabilities => {
                "copy what is wanted out of the run's layer by hand, or remove it in another run"
            }
            Self::DisguisedGit | Self::ReservedName | Self::TooDeep => "rename or remove it in another run",
            Self::StrangeLayer => "discard this run, and report it: a task should not be able to do this",
            Self::ChangedOnHost | Self::GoneFromHost | Self::DirectoryReplaced => {
                "compare both versions; try `--merge`, take the wanted parts by hand, or discard and run again"
            }
            Self::Closed => "open the directory (`chmod u+rwx`), or let its owner do that, and try again",
            Self::WorkspaceReplaced => "move the directory back to where it was, or discard the run",
            Self::DeviceChanged => {
                "mount it on the same device again (its number is in the run's record), or discard the run"
            }
            Self::ChangedSinceApply => {
                "what was touched since stays a conflict, whatever it holds now: take what is wanted out of the kept files by hand"
            }
            Self::ClockSetBack => "set the clock right, then apply",
            Self::OtherOwner => "apply as the user who owns the file, or give it to the workspace's owner",
            Self::OtherMount => "unmount it, or take the wanted parts by hand",
            Self::LowerLayer => {
                "make it one of the upper layer (`cp -a DIR COPY && rm -r DIR && mv COPY DIR`) and run again, or land the rest and move or remove it by hand"
            }
            Self::LayerChanged => "wait until nothing of the run is alive, then look at the diff again",
            Self::Busy => "wait for it to end",
            Self::Interrupted => {
                "run `ringfence ps -a`: it finishes or takes back what was interrupted; where it lists none, `.ringfence-apply-*` here is something else's: look at it, and remove it"
            }
            Self::JournalExists => "look at the run's record; it was applied before",
            Self::Failed { .. } => "mend the cause, then apply again",
            Self::Left { .. } => "compare both versions and take what is wanted by hand",
        }
    }
}

/// Something could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {doing} {}: {errno}", escape(.path))]
pub struct Failure {
    /// A verb: `open`, `read`.
    pub doing: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub errno: Errno,
}

impl Failure {
    pub(crate) fn of(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { doing, path: path.to_owned(), errno }
    }
}
