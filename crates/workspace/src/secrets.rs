//! Secrets in what a task brings: looked for by the scanner that looks through what it sends.

use std::cell::Cell;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use ringfence_leaks::{Hit, Known, Scanner};
use serde::{Deserialize, Serialize};

use crate::change::{Change, FileType, HoldReason, Kind};
use crate::content::fill;
use crate::danger::Danger;
use crate::overlay::Upper;

/// A larger file is held for its size.
const MOST: u64 = 1 << 30;
/// Where no policy asks, larger files are not looked through, and so much in all.
const GLANCE: (u64, u64) = (1 << 20, 64 << 20);
const PART: u64 = 64 << 10;

/// What is done about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scan {
    /// It is held back until it is accepted.
    Hold,
    /// It lands, and is told of.
    Warn,
}

/// What is looked for: known secrets, and well-known forms.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Option<Arc<Scanner>>);

impl PartialEq for Secrets {
    /// Layers are the same whatever is looked for in them.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Secrets {}

impl Secrets {
    /// These, and well-known forms.
    #[must_use]
    pub fn new(known: &[Known]) -> Self {
        Self(Scanner::new(known, true).map(Arc::new))
    }

    /// What is in a change, in words; also that it could not be looked through.
    pub(crate) fn within(&self, change: &Change, upper: &Upper) -> Option<String> {
        match self.look(change, upper, MOST)? {
            Ok(found) => Some(found),
            Err(Unseen::Large) => Some("it is too large to be looked through for secrets".to_owned()),
            Err(Unseen::Closed) => Some("it cannot be looked through for secrets".to_owned()),
        }
    }

    /// What seems to be in one, where no policy asks: only to be looked at.
    pub(crate) fn glance(&self, change: &Change, upper: &Upper, looked: &Cell<u64>) -> Option<String> {
        let (each, all) = GLANCE;
        let most = each.min(all.saturating_sub(looked.get()));
        looked.set(looked.get().saturating_add(change.new_size.unwrap_or(0).min(each)));
        self.look(change, upper, most)?.ok()
    }

    /// Looks through a change that brings something; its content only up to a size.
    fn look(&self, change: &Change, upper: &Upper, most: u64) -> Option<Result<String, Unseen>> {
        if !change.brings() {
            return None;
        }
        let own = match &self.0 {
            Some(own) => Arc::clone(own),
            None => Arc::new(Scanner::new(&[], true)?),
        };
        let found = |hit: Hit, place: &str| match hit.way {
            "form" => format!("its {place} holds what looks like a secret: {}", hit.name),
            "raw" => format!("its {place} holds {}", hit.name),
            way => format!("its {place} holds {} ({way})", hit.name),
        };
        if let Some(hit) = own.whole(change.path.as_os_str().as_bytes()) {
            return Some(Ok(found(hit, "name")));
        }
        let target = change.target.as_ref().and_then(|target| own.whole(target.as_os_str().as_bytes()));
        if let Some(hit) = target {
            return Some(Ok(found(hit, "target")));
        }
        if let Some(hit) = own.whole(&change.values) {
            return Some(Ok(found(hit, "extended attributes")));
        }
        let content = change.file_type == FileType::File
            && !matches!(change.kind, Kind::ModeChanged | Kind::AttributesChanged);
        let size = change.new_size.unwrap_or(0);
        match content {
            true if size > most => Some(Err(Unseen::Large)),
            true => match contents(&own, change, upper, size) {
                Ok(hit) => hit.map(|hit| Ok(found(hit, "content"))),
                Err(_) => Some(Err(Unseen::Closed)),
            },
            false => None,
        }
    }
}

/// Why something was not looked through.
enum Unseen {
    Large,
    Closed,
}

fn contents(
    own: &Scanner,
    change: &Change,
    upper: &Upper,
    size: u64,
) -> Result<Option<Hit>, rustix::io::Errno> {
    let file = upper.file(&change.path)?;
    let mut stream = own.begin();
    let mut part = vec![0; usize::try_from(PART.min(size)).unwrap_or_default()];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(PART.min(size - at)).unwrap_or_default();
        let Some(part) = part.get_mut(..length) else { break };
        fill(&file, at, part)?;
        if let Some(hit) = stream.push(own, part) {
            return Ok(Some(hit));
        }
        at += length as u64;
    }
    Ok(stream.end(own))
}

/// Why one is held.
pub(crate) fn held(secret: &str) -> HoldReason {
    HoldReason::RunsOnHost { kind: Danger::Secrets, reason: secret.to_owned() }
}
