//! What is hidden in what is shown, by whichever name it is reached; and where secrets are known to lie, for what is shown at the start
//! and for what is granted later.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_plan::{
    DENIED, Found, Invoker, KNOWN, Kind, Marked, Place, Refused, SETTINGS, Secret, Secrets, Survey,
};
use ringfence_policy::{
    PathPattern, Policy, known_secrets_in, known_secrets_of_host, secret_above, why_secret,
};
use rustix::fs::{self, AtFlags, CWD, FileType};

use super::homes::Names;
use super::place::resolve;
use super::walk::{entries, read, some_entries};
use super::{Shown, grants, settings};

/// Entries of a directory of secrets that are looked through for links, the nearest first.
const MOST_ENTRIES: usize = 1000;

/// What is hidden, and what of that leads to the workspace or above it through links: what that is called itself is judged by the policy.
pub(super) struct Hidden {
    pub(super) marked: BTreeMap<PathBuf, Marked>,
    workspace: PathBuf,
    pub(super) barred: Option<String>,
    /// Files that have other names as well, by device and inode: why they are hidden, and by which name.
    linked: HashMap<(u64, u64), (String, PathBuf)>,
    /// What known secrets lead to by links, each with the name that leads there.
    led: BTreeMap<PathBuf, PathBuf>,
    /// What rules grant by a link of the system's, and by no name of its own: that opens no secret.
    by_link: Vec<PathBuf>,
}

impl Hidden {
    pub(super) fn new(workspace: &Path) -> Self {
        Self {
            marked: BTreeMap::new(),
            workspace: workspace.to_path_buf(),
            barred: None,
            linked: HashMap::new(),
            led: BTreeMap::new(),
            by_link: Vec::new(),
        }
    }

    /// Whether the path, or what it leads to, lies in a shown tree. What a link grants below it is hidden. `there`: what was found by it.
    fn inside(&mut self, shown: &Shown, path: &Path, there: Option<&Place>, because: &str) -> bool {
        let led = there.filter(|place| !place.links.is_empty());
        let real = led.map_or(path, |place| &place.real);
        let within = self.by_link.iter().filter(|granted| granted.starts_with(real) && *granted != real);
        for granted in within.cloned().collect::<Vec<_>>() {
            self.hide(&granted, because);
        }
        shown.covers(path)
            || led.is_some_and(|place| {
                self.bar(place, because);
                shown.covers(&place.real)
            })
    }

    /// Takes note of what leads through links that only root can make, which a rule that names them may follow: a secret is opened
    /// by its own name alone.
    pub(super) fn note_links(&mut self, survey: &Survey) {
        let all = || survey.read.iter().chain(&survey.exec).chain(&survey.write);
        let by_name =
            |found: &&Found, place: &Place| place.links.is_empty() || secret_above(&found.grant.value.path);
        for place in all().filter_map(|found| found.place.as_ref().filter(|place| !by_name(&found, place))) {
            let named = all().filter_map(|found| {
                found.place.as_ref().filter(|own| by_name(&found, own)).map(|own| (found, own))
            });
            let mut named = named.filter(|(_, own)| place.real.starts_with(&own.real));
            if !named.any(|(found, own)| own.real == place.real || secret_above(&found.grant.value.path)) {
                self.by_link.push(place.real.clone());
            }
        }
    }

    pub(super) fn bar(&mut self, place: &Place, because: &str) {
        if self.barred.is_none() && !place.links.is_empty() && self.workspace.starts_with(&place.real) {
            self.barred = Some(because.to_owned());
        }
    }

    /// Directories of known secrets that are hidden in a wider grant.
    pub(super) fn shut(&self) -> Vec<PathBuf> {
        let known = |marked: &&Marked| marked.kind == Kind::Directory && marked.because.starts_with(KNOWN);
        self.marked.values().filter(known).map(|marked| marked.path.clone()).collect()
    }

    /// What `files.deny` names without wildcards, and what is granted below it: by a link, for by its own name no policy does.
    pub(super) fn hide_literal(&mut self, policy: &Policy, granted: &[PathBuf]) {
        let workspace = self.workspace.clone();
        for rule in policy.files.deny.iter().filter(|rule| rule.value.literal().is_some()) {
            let (base, because) = (rule.value.base(&workspace), format!("{DENIED}`{}`", rule.value.text()));
            self.hide(&base, &because);
            if granted.is_empty() {
                continue;
            }
            let Ok(place) = resolve(&base, false) else { continue };
            for below in
                granted.iter().filter(|below| below.starts_with(&place.real) && **below != place.real)
            {
                self.hide(below, &because);
            }
        }
    }

    /// All of it, each with the link that leads there.
    pub(super) fn found(self) -> Vec<Secret> {
        let Self { marked, led, .. } = self;
        let found = marked.into_values().map(|marked| {
            let by = led.get(&marked.path).cloned();
            Secret { marked, by }
        });
        found.collect()
    }

    /// What is granted by a link is denied where it lies, also by a pattern that matches a directory above it. Patterns that begin
    /// anywhere count from the root, unless it is `named`: then they count from the tree that a rule names and that holds it.
    pub(super) fn hide_linked(&mut self, place: &Place, deny: &[PathPattern], named: bool) {
        let root = Path::new("/");
        let counts = |pattern: &PathPattern| {
            pattern.base(Path::new("")).is_absolute() || !named && pattern.text().starts_with("**/")
        };
        let emptied = |pattern: &PathPattern| {
            let whole = !named && place.kind == Kind::Directory && pattern.text().starts_with("**/");
            whole && pattern.matches_all_in(root, &place.real)
        };
        let denies = |pattern: &&PathPattern| {
            counts(pattern) && pattern.matches(root, &place.real) || emptied(pattern)
        };
        if let Some(pattern) = deny.iter().find(denies) {
            self.hide(&place.real, &format!("{DENIED}`{}`", pattern.text()));
        }
    }

    /// A file that is granted by its own name is denied by a pattern all the same.
    pub(super) fn hide_file(&mut self, place: &Place, deny: &[PathPattern]) {
        let at = place.real.parent().unwrap_or(Path::new("/"));
        if let Some(pattern) = deny.iter().find(|pattern| pattern.matches(at, &place.real)) {
            self.hide(&place.real, &format!("{DENIED}`{}`", pattern.text()));
        }
    }

    /// What was found in a directory, by no link: hidden also where nobody can look at it.
    pub(super) fn hide_found(&mut self, path: &Path, file_type: FileType, because: &str) {
        self.hide(path, because);
        if file_type != FileType::Symlink {
            let kind = if file_type == FileType::Directory { Kind::Directory } else { Kind::File };
            let marked = Marked { path: path.to_path_buf(), kind, because: because.into() };
            self.marked.entry(path.to_path_buf()).or_insert(marked);
        }
    }

    /// A link is followed: what it leads to is hidden, by whichever name it is reached.
    pub(super) fn hide(&mut self, path: &Path, because: &str) {
        let Ok(place) = resolve(path, false) else { return };
        // History that goes to /dev/null.
        if is_device(&place) && !place.links.is_empty() && because.starts_with(KNOWN) {
            return;
        }
        self.bar(&place, because);
        if !place.links.is_empty() && because.starts_with(KNOWN) {
            self.led.entry(place.real.clone()).or_insert_with(|| path.to_path_buf());
        }
        let kind = if place.kind == Kind::Directory { Kind::Directory } else { Kind::File };
        if kind == Kind::File && place.names > 1 {
            let why = || (because.to_owned(), place.real.clone());
            self.linked.entry((place.device, place.inode)).or_insert_with(why);
        }
        self.marked.entry(place.real.clone()).or_insert(Marked {
            path: place.real,
            kind,
            because: because.into(),
        });
    }
}

impl Hidden {
    /// Of a file with several names (link(2)) those are hidden that stand beside the way to a hidden one, where a right of Landlock's
    /// on the file would open it by each, and those that a rule names. Others are another grant's to show, which is said.
    pub(super) fn hide_other_names<'a>(
        &mut self,
        shown: &Shown,
        granted: impl Iterator<Item = &'a Place>,
    ) -> Option<String> {
        let (_, first) = self.linked.values().min_by_key(|(_, path)| path)?;
        let said = format!(
            "{}{}: hidden by this name; it has others (hard links), by which a grant elsewhere shows it",
            first.display(),
            if self.linked.len() > 1 {
                format!(" and {} more", self.linked.len() - 1)
            } else {
                String::new()
            }
        );
        let way = |path: &PathBuf| {
            let above = path.ancestors().skip(1).take_while(|at| shown.covers(at));
            above.map(Path::to_path_buf).collect::<Vec<_>>()
        };
        let directories: BTreeSet<PathBuf> = self.marked.keys().flat_map(way).collect();
        let mut others = Vec::new();
        for (path, kind) in directories.iter().flat_map(|directory| entries(directory)) {
            if kind == FileType::RegularFile
                && let Ok(stat) = fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
                && let Some((because, _)) = self.linked.get(&(stat.st_dev, stat.st_ino))
            {
                others.push((path, because.clone()));
            }
        }
        for place in granted.filter(|place| place.names > 1) {
            // A secret that a rule names by another name is meant.
            if let Some((because, _)) = self.linked.get(&(place.device, place.inode))
                && because.starts_with(DENIED)
            {
                others.push((place.real.clone(), because.clone()));
            }
        }
        for (path, because) in others {
            self.hide(&path, &because);
        }
        Some(said)
    }
}

/// Hides the known secrets, of the host and of these homes, that lie in what is shown or lead there. Returns what else is to be said.
pub(super) fn known(
    policy: &Policy,
    homes: &[PathBuf],
    shown: &Shown,
    hidden: &mut Hidden,
) -> Result<Vec<String>, Refused> {
    let mut notes = Vec::new();
    secrets(policy, (None, &known_secrets_of_host()), shown, hidden)?;
    for home in homes {
        let Some(names) = Names::of(home) else { continue };
        secrets(policy, (Some(home), &known_secrets_in(home, |name| names.has(name))), shown, hidden)?;
        for (path, line) in settings::secrets(policy, home, &names, shown) {
            notes.push(format!(
                "{} is hidden: line {line} holds a password or token; a rule of the policy's own that names the file shows it",
                path.display()
            ));
            hidden.hide(&path, SETTINGS);
        }
    }
    Ok(notes)
}

/// All of them, wherever they are: who grants something later can list and read less than who looks now.
pub(super) fn everywhere(policy: &Policy, invoker: &Invoker, survey: &Survey) -> Result<Secrets, Refused> {
    let mut hidden = Hidden::new(&survey.workspace.real);
    known(policy, &survey.known_homes, &Shown::everything(), &mut hidden)?;
    hidden.hide_literal(policy, &[]);
    Ok(Secrets { homes: survey.known_homes.clone(), found: hidden.found(), state: invoker.state.clone() })
}

/// Known secret locations inside a grant, of a home or of the host. A grant that names the very file opens it; one that names a
/// directory of them is refused.
fn secrets(
    policy: &Policy,
    (home, known): (Option<&Path>, &[PathPattern]),
    shown: &Shown,
    hidden: &mut Hidden,
) -> Result<(), Refused> {
    let files = &policy.files;
    // As text: policies hold paths in one form. Asked only of what a grant shows, so no index is made.
    let rule = |path: &Path| {
        let mut rules = files.read.iter().chain(&files.exec).chain(&files.write);
        rules.find(|rule| rule.value.path.as_os_str() == path.as_os_str())
    };
    for pattern in known {
        let base = pattern.base(Path::new("/"));
        let because = format!("{KNOWN}{}", pattern.text());
        if pattern.literal().is_some() {
            let there = resolve(&base, false).ok();
            if hidden.inside(shown, &base, there.as_ref(), &because) {
                match rule(&base) {
                    Some(rule) if base.is_dir() => {
                        return Err(grants::whole(&rule.origin, &base, why_secret(pattern), &policy.home));
                    }
                    Some(_) => {}
                    None => hidden.hide(&base, &because),
                }
            }
            if let Some(there) = there.filter(|place| place.kind == Kind::Directory) {
                links_within(policy, (home, &base), &there, &because, shown, hidden);
            }
            continue;
        }
        // A wildcard within one directory: looked up there, since a link may lead into a grant from anywhere.
        let Some((_, listed)) = read(&base) else {
            if shown.covers(&base) && !shown.is_everything() {
                hidden.hide(&base, &because);
            }
            continue;
        };
        for (path, _) in listed {
            if pattern.matches(Path::new("/"), &path)
                && hidden.inside(shown, &path, by_links(&path).as_ref(), &because)
                && rule(&path).is_none()
            {
                hidden.hide(&path, &because);
            }
        }
    }
    Ok(())
}

/// What links in a directory of secrets lead to is one as well, and links in what they lead to, unless a rule names just that. Directories
/// of the host's that hold sockets are left out.
fn links_within(
    policy: &Policy,
    (home, base): (Option<&Path>, &Path),
    secret: &Place,
    because: &str,
    shown: &Shown,
    hidden: &mut Hidden,
) {
    let sockets = home.is_none() && (base.starts_with("/run") || base.starts_with("/var"));
    if sockets {
        return;
    }
    let mut pending = VecDeque::from([secret.real.clone()]);
    let mut seen = BTreeSet::new();
    let mut left = MOST_ENTRIES;
    while let Some(directory) = pending.pop_front() {
        if !seen.insert(directory.clone()) {
            continue;
        }
        for (path, kind) in some_entries(&directory, left) {
            left = left.saturating_sub(1);
            if kind == FileType::Directory {
                pending.push_back(path);
                continue;
            }
            let Some(led) = (kind == FileType::Symlink).then(|| by_links(&path)).flatten() else { continue };
            let holds = hidden.workspace.starts_with(&led.real);
            if holds || led.real.starts_with(&secret.real) || says_nothing(policy, home, &led) {
                continue;
            }
            if led.kind == Kind::Directory {
                pending.push_back(led.real.clone());
            }
            if shown.covers(&led.real) && !named(policy, shown, &led.real) {
                hidden.hide(&path, because);
            }
        }
    }
}

/// Whether what a link in a directory of secrets leads to is none for that: files of the system's for everybody to read, devices, and, in
/// another user's home, what is not that user's, who could take anything away from others by links.
fn says_nothing(policy: &Policy, home: Option<&Path>, led: &Place) -> bool {
    let own = home.is_some_and(|home| led.real.starts_with(home));
    let system = led.kind != Kind::Directory || led.real.starts_with("/etc");
    let public = led.uid == 0 && led.mode & 0o004 != 0 && system && !own;
    // Where a group may read what others may not, that user may be one of it.
    let foreign = home.filter(|home| **home != *policy.home && led.mode & 0o044 != 0o040);
    let foreign = foreign.is_some_and(|home| home.metadata().is_ok_and(|home| home.uid() != led.uid));
    public || foreign || is_device(led) || led.real.starts_with("/usr")
}

/// Pipes with names are none: they hand out secrets, too.
fn is_device(place: &Place) -> bool {
    place.kind == Kind::Special && place.real.starts_with("/dev")
}

/// Whether a rule shows just this.
fn named(policy: &Policy, shown: &Shown, real: &Path) -> bool {
    let files = &policy.files;
    let mut rules = files.read.iter().chain(&files.exec).chain(&files.write);
    shown.is(real) || rules.any(|rule| rule.value.path.as_os_str() == real.as_os_str())
}

/// Whether the path, or what it leads to, lies in a shown tree.
pub(super) fn inside(shown: &Shown, path: &Path) -> bool {
    shown.covers(path) || by_links(path).is_some_and(|place| shown.covers(&place.real))
}

/// What a path leads to by links, if it does.
fn by_links(path: &Path) -> Option<Place> {
    resolve(path, false).ok().filter(|place| !place.links.is_empty())
}
