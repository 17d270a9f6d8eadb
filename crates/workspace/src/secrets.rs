//! Secrets in what a task brings: looked for by the scanner that looks through what it sends.

use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ringfence_leaks::{Hit, Known, Scanner};
use serde::{Deserialize, Serialize};

use crate::change::{Change, FileType, Flag, HoldReason};
use crate::content::fill;
use crate::danger::Danger;
use crate::overlay::Upper;
use crate::text::Budget;

/// A larger file is held for its size.
const MOST: u64 = 1 << 30;
/// How files are called that hold secrets.
const NAMES: [&str; 6] = [
    "**/{.env,.env.local,.env.*.local,.env.{development,production,staging,test},.flaskenv}",
    "**/{.netrc,_netrc,.pgpass,.my.cnf,.git-credentials,.pypirc,.htpasswd,.dockercfg,.s3cfg,.boto}",
    "**/{id_rsa,id_dsa,id_ecdsa,id_ecdsa_sk,id_ed25519,id_ed25519_sk}",
    "**/*.{pem,key,p12,pfx,ppk,jks,keystore,kdbx,tfstate,tfvars,ovpn,keytab}",
    "**/{.aws/credentials,.docker/config.json,.kube/config}",
    "**/{.config/gcloud,.gnupg}/**",
];
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
        match look(self.scanner()?.as_ref(), change, upper, MOST)? {
            Ok(found) => Some(found),
            Err(Unseen::Large) => Some("it is too large to be looked through for secrets".to_owned()),
            Err(Unseen::Closed) => Some("it cannot be looked through for secrets".to_owned()),
        }
    }

    /// Looks through changes of which no policy asks that: what seems to be in them is flagged, and files named like secrets. The small
    /// ones first; how many were not looked through.
    pub(crate) fn glance(&self, changes: &mut [Change], upper: &Upper, budget: &mut Budget) -> usize {
        let Some(scanner) = self.scanner() else { return changes.len() };
        let names = names();
        let mut order: Vec<&mut Change> = changes.iter_mut().filter(|change| change.held.is_none()).collect();
        order.sort_by_key(|change| change.content_brought());
        let mut unseen = 0;
        for change in order {
            let size = change.content_brought();
            let most = if budget.take(size) { size } else { 0 };
            match look(&scanner, change, upper, most) {
                Some(Ok(found)) => Flag::add(&mut change.flag, &found, false),
                Some(Err(_)) => unseen += 1,
                None => {}
            }
            if change.brings() && change.file_type != FileType::Directory && names.is_match(&change.path) {
                Flag::add(&mut change.flag, "files of this name often hold secrets", true);
            }
        }
        unseen
    }

    fn scanner(&self) -> Option<Arc<Scanner>> {
        self.0.clone().or_else(|| Scanner::new(&[], true).map(Arc::new))
    }
}

/// Looks through a change that brings something; its content only up to a size.
fn look(own: &Scanner, change: &Change, upper: &Upper, most: u64) -> Option<Result<String, Unseen>> {
    if !change.brings() {
        return None;
    }
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
    match change.content_brought() {
        0 => None,
        size if size > most => Some(Err(Unseen::Large)),
        size => match contents(own, change, upper, size) {
            Ok(hit) => hit.map(|hit| Ok(found(hit, "content"))),
            Err(_) => Some(Err(Unseen::Closed)),
        },
    }
}

/// Why something was not looked through.
enum Unseen {
    Large,
    Closed,
}

fn names() -> &'static GlobSet {
    static ALL: OnceLock<GlobSet> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = GlobSetBuilder::new();
        // A test reads each of them.
        for pattern in NAMES {
            if let Ok(glob) = GlobBuilder::new(pattern).case_insensitive(true).build() {
                all.add(glob);
            }
        }
        all.build().unwrap_or_default()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for pattern in NAMES {
            GlobBuilder::new(pattern).build().unwrap();
        }
        for name in [
            ".env",
            "a/.env.local",
            ".netrc",
            "k/id_ed25519",
            "ca.pem",
            ".aws/credentials",
            "h/.gnupg/x/y",
            "PROD.PEM",
        ] {
            assert!(names().is_match(name), "{name}");
        }
        for name in [".env.example", "id_rsa.pub", "credentials", "pem", "environment", "key"] {
            assert!(!names().is_match(name), "{name}");
        }
    }
}
