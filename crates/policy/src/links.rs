//! What rules of `files` name through links of the host's: where those lead is what a boundary shows, or hides.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::decision::{Access, Judge, Reason};
use crate::model::{Grant, Mode, Rule};
use crate::pattern::PathPattern;
use crate::secrets::secret_above;
use crate::trail::trail;

/// Whether root made a link, where only root can: a rule that leads through it means what it leads to.
#[must_use]
pub fn system_link(owner: u32, (of_parent, mode): (u32, u32)) -> bool {
    owner == 0 && of_parent == 0 && mode & 0o022 == 0
}

/// A grant whose path leads through links.
pub(crate) struct Linked {
    /// What it leads to.
    real: PathBuf,
    /// Its list, and its place there.
    kind: Access,
    number: usize,
    /// The policy's own author wrote it: patterns that begin anywhere count from there.
    own: bool,
    /// Whether a run shows that for this rule.
    shown: bool,
}

impl<'a> Judge<'a> {
    /// The rule that grants a path by another name.
    pub(crate) fn granted_by_link(
        &self,
        path: &Path,
        access: Access,
    ) -> Option<(&'static str, &'a Rule<Grant>)> {
        let found = self.linked().iter().find(|linked| {
            let of_kind = access == Access::Read || linked.kind == access;
            linked.shown && of_kind && path.starts_with(&linked.real)
        })?;
        let key = match found.kind {
            Access::Read => "files.read",
            Access::Exec => "files.exec",
            Access::Write => "files.write",
        };
        Some((key, self.list(found.kind).get(found.number)?))
    }

    /// What denies a path where links lead: a rule that names it by one, or a pattern, for a grant that does.
    pub(crate) fn denied_by_link(&self, path: &Path) -> Option<Reason> {
        // What leads to the workspace is asked of the host once, with all else that is hidden.
        if path == self.root() {
            return None;
        }
        self.denied_elsewhere(path).or_else(|| {
            self.own_links(path).find_map(|linked| {
                let emptied = || self.emptied((&linked.real, &linked.real), path, |_| true);
                let below = self.wild(&linked.real, path).or_else(emptied);
                below.or_else(|| self.denied_from_root(linked, path))
            })
        })
    }

    /// Whether a pattern denies it for nothing but grants by links, so that a line with its own name would open it.
    #[must_use]
    pub fn opened_by_name(&self, path: &Path, access: Access) -> bool {
        let of_kind = |linked: &Linked| linked.kind == Access::Read || linked.kind == access;
        let denied = |linked: &Linked| self.denied_from_root(linked, path).is_some();
        let mut links = self.own_links(path).filter(|linked| denied(linked)).peekable();
        let other = || {
            self.denied_by_name(path).is_some()
                || self.denied_elsewhere(path).is_some()
                || self.denied_if_granted(path).is_some()
                || !self.undenied(path, access).is_allow()
        };
        links.peek().is_some() && links.all(|linked| linked.real == path && of_kind(linked)) && !other()
    }

    /// The entry without wildcards that leads there, or above, by links.
    fn denied_elsewhere(&self, path: &Path) -> Option<Reason> {
        let denials = self.led_denials.get_or_init(|| self.denials_that_lead());
        let (_, number) = denials.iter().find(|(real, _)| path.starts_with(real))?;
        self.policy.files.deny.get(*number).map(Reason::denial)
    }

    /// Grants of the policy's own that lead there, or above, where it has patterns that could deny what they lead to.
    fn own_links(&self, path: &Path) -> impl Iterator<Item = &Linked> {
        let wild = self.policy.files.deny.iter().any(|rule| rule.value.literal().is_none());
        let linked = if wild { self.linked() } else { Default::default() };
        linked.iter().filter(move |linked| linked.own && path.starts_with(&linked.real))
    }

    /// The pattern that denies what a grant leads to, or this below it, counted from the root: no tree that a rule names holds that.
    fn denied_from_root(&self, linked: &Linked, path: &Path) -> Option<Reason> {
        let (root, anywhere) = (Path::new("/"), |pattern: &PathPattern| pattern.text().starts_with("**/"));
        let mut deny = self.policy.files.deny.iter().filter(|rule| anywhere(&rule.value));
        let by = deny.find(|rule| rule.value.matches(root, path)).map(Reason::denial);
        let above = linked.real.parent().unwrap_or(root);
        let by = by.or_else(|| self.emptied((above, root), path, anywhere))?;
        (!self.names_itself(&linked.real, linked.kind)).then_some(by)
    }

    /// Whether a rule of the policy's own, or for reading the workspace, grants this without a link.
    fn names_itself(&self, real: &Path, kind: Access) -> bool {
        let workspace = self.policy.workspace.mode != Mode::Temporary && self.holds(real);
        match kind {
            Access::Read => workspace || real.ancestors().any(|at| self.rules(at).any(own)),
            _ => real.ancestors().any(|at| self.rule(kind, at).is_some_and(own)),
        }
    }

    /// All of them, looked for when first asked.
    fn linked(&self) -> &[Linked] {
        self.linked.get_or_init(|| self.look_for_links())
    }

    fn look_for_links(&self) -> Vec<Linked> {
        let (mut all, plain) = (Vec::new(), Plain::default());
        let lists = [Access::Read, Access::Exec, Access::Write].map(|kind| (kind, self.list(kind)));
        let rules =
            lists.iter().flat_map(|(kind, list)| list.iter().enumerate().map(move |rule| (*kind, rule)));
        for (kind, (number, rule)) in rules {
            let path = &rule.value.path;
            let Some((links, real)) = leads(path, &plain) else { continue };
            let system = links.iter().all(|link| self.is_of_system(link));
            let looked = !self.is_held(path, kind, &plain) || secret_above(path);
            all.push((Linked { real, kind, number, own: own(rule), shown: looked && system }, looked));
        }
        // A link of somebody's choosing leads only to what another rule names.
        for at in 0..all.len() {
            let Some((Linked { real, shown: false, .. }, true)) = all.get(at) else { continue };
            let led = |path: &Path| all.iter().any(|(other, _)| other.shown && other.real == path);
            let named = self.holds(real)
                || real.ancestors().any(|path| self.rules(path).next().is_some() || led(path));
            if let Some((linked, _)) = all.get_mut(at) {
                linked.shown = named;
            }
        }
        all.into_iter().map(|(linked, _)| linked).collect()
    }

    fn list(&self, kind: Access) -> &'a [Rule<Grant>] {
        match kind {
            Access::Read => &self.policy.files.read,
            Access::Exec => &self.policy.files.exec,
            Access::Write => &self.policy.files.write,
        }
    }

    fn is_of_system(&self, link: &Path) -> bool {
        let of = |path: &Path| path.symlink_metadata().ok();
        let made = |link: &Path| {
            let (own, parent) = (of(link)?, of(link.parent()?)?);
            Some(system_link(own.uid(), (parent.uid(), parent.mode())))
        };
        !link.starts_with(&self.policy.home) && !self.holds(link) && made(link) == Some(true)
    }

    /// Whether a granted directory above holds it: no link is followed for a rule that adds nothing.
    fn is_held(&self, path: &Path, kind: Access, plain: &Plain) -> bool {
        let mut nearest = None;
        for at in path.ancestors().skip(1) {
            if at == self.root() && self.policy.workspace.mode != Mode::Temporary {
                nearest = Some(Access::Read);
                break;
            }
            let kinds = [Access::Write, Access::Exec, Access::Read];
            let Some(have) = kinds.into_iter().find(|kind| self.rule(*kind, at).is_some()) else { continue };
            if !at.is_dir() || leads(at, plain).is_some() {
                continue;
            }
            nearest = Some(have);
            // One that grants reading adds nothing to another above it.
            if have != Access::Read {
                break;
            }
        }
        nearest.is_some_and(|have| have == kind || kind == Access::Read)
    }

    /// Denials without wildcards whose paths lead elsewhere, each with its number.
    fn denials_that_lead(&self) -> Vec<(PathBuf, usize)> {
        let deny = self.policy.files.deny.iter().enumerate();
        let (literal, plain) = (deny.filter(|(_, rule)| rule.value.literal().is_some()), Plain::default());
        let real = |rule: &Rule<PathPattern>| leads(&rule.value.base(self.root()), &plain);
        literal.filter_map(|(number, rule)| Some((real(rule)?.1, number))).collect()
    }
}

/// Written by the policy's own author.
fn own(rule: &Rule<Grant>) -> bool {
    !rule.origin.source.starts_with("preset ")
}

/// Directories to which no link leads: of ten thousand rules most share theirs.
type Plain = RefCell<HashSet<PathBuf>>;

/// The links on the way to what is there, and what they lead to; `None`: nothing is there, or no link.
fn leads(path: &Path, plain: &Plain) -> Option<(Vec<PathBuf>, PathBuf)> {
    // One question of the kernel for most.
    let found = path.symlink_metadata().ok()?;
    let parent = path.parent().unwrap_or(path);
    if !found.is_symlink() && plain.borrow().contains(parent) {
        return None;
    }
    let mut links = trail(path)?;
    let real = links.pop()?;
    if links.is_empty() {
        plain.borrow_mut().insert(parent.to_path_buf());
        return None;
    }
    real.symlink_metadata().ok()?;
    Some((links, real))
}
