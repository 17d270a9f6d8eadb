//! Granted paths, resolved and collapsed: what is already covered by a grant above needs no mount of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringfence_policy::{Origin, Policy};

use crate::survey::{Found, Kind, Place, Survey};
use crate::{Ids, Refused, opened};

/// More distinct trees than this are an error: a common parent is meant.
pub(crate) const MOST_TREES: usize = 1000;

/// What a grant allows. Reading is always included; nothing is both writable and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Execute,
    Write,
}

/// One tree or file that needs a mount.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) place: Place,
    pub(crate) access: Access,
    pub(crate) mapped: bool,
}

/// All of them, in the order of their paths, parents first.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub(crate) mounts: Vec<Granted>,
    /// Links to show where the way to a grant leads through them.
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
}

impl Grants {
    /// The nearest mount at or above `path`.
    pub(crate) fn covering(&self, path: &Path) -> Option<&Granted> {
        let mut at = Some(path);
        while let Some(candidate) = at {
            if let Ok(index) =
                self.mounts.binary_search_by(|granted| granted.place.real.as_path().cmp(candidate))
            {
                return self.mounts.get(index);
            }
            at = candidate.parent();
        }
        None
    }

    /// Whether what is there, or where a link there leads, may be written.
    pub(crate) fn writes(&self, path: &Path) -> bool {
        self.mounts.iter().filter(|granted| granted.access == Access::Write).any(|granted| {
            let place = &granted.place;
            path.starts_with(&place.real) || place.links.iter().any(|link| link.path == path)
        })
    }
}

pub(crate) fn collect(policy: &Policy, survey: &Survey, ids: &Ids) -> Result<Grants, Refused> {
    let mut wanted: BTreeMap<PathBuf, (Place, Access, Origin)> = BTreeMap::new();
    let mut links = BTreeMap::new();
    let lists =
        [(&survey.read, Access::Read), (&survey.exec, Access::Execute), (&survey.write, Access::Write)];
    let mut through_links = Vec::new();
    for (found, access) in
        lists.iter().flat_map(|(list, access)| list.iter().map(move |found| (found, *access)))
    {
        let Some(place) = &found.place else { continue };
        if place.kind == Kind::Socket || place.kind == Kind::Special {
            return Err(Refused::rule(
                &found.grant.origin,
                format!(
                    "{} is a socket, a FIFO or a device, which files cannot grant",
                    found.grant.value.path.display()
                ),
                "remove the line",
            ));
        }
        if place.links.iter().any(|link| !link.system) {
            through_links.push((found, place, access));
            continue;
        }
        add(&mut wanted, &mut links, found, place, access);
    }
    for (found, place, access) in through_links {
        let named = place.real.starts_with(&survey.workspace.real)
            || place.real.ancestors().any(|ancestor| wanted.contains_key(ancestor));
        if named {
            add(&mut wanted, &mut links, found, place, access);
        } else if !found.grant.value.optional {
            return Err(Refused::rule(
                &found.grant.origin,
                format!(
                    "{} leads through a symbolic link to {}, which no rule names",
                    found.grant.value.path.display(),
                    place.real.display()
                ),
                format!("grant {} itself if that is meant", place.real.display()),
            ));
        }
    }
    let workspace_is_host = policy.workspace.mode != ringfence_policy::Mode::Temporary;
    let mounts = collapse(wanted, workspace_is_host.then_some(survey.workspace.real.as_path()), survey, ids)?;
    Ok(Grants { mounts, links })
}

fn add(
    wanted: &mut BTreeMap<PathBuf, (Place, Access, Origin)>,
    links: &mut BTreeMap<PathBuf, PathBuf>,
    found: &Found,
    place: &Place,
    access: Access,
) {
    for link in &place.links {
        links.insert(link.path.clone(), link.target.clone());
    }
    let entry = wanted
        .entry(place.real.clone())
        .or_insert_with(|| (place.clone(), access, found.grant.origin.clone()));
    if entry.1 == Access::Read {
        entry.1 = access;
    }
}

fn collapse(
    wanted: BTreeMap<PathBuf, (Place, Access, Origin)>,
    workspace: Option<&Path>,
    survey: &Survey,
    ids: &Ids,
) -> Result<Vec<Granted>, Refused> {
    let mut mounts: Vec<Granted> = Vec::new();
    let mut above: Vec<(PathBuf, Access)> = Vec::new();
    let shut: Vec<&Path> = survey.shut().map(|marked| marked.path.as_path()).collect();
    for (path, (place, access, origin)) in wanted {
        while above.last().is_some_and(|(ancestor, _)| !path.starts_with(ancestor)) {
            above.pop();
        }
        // What covers it shows nothing of a directory of secrets.
        let apart =
            |tree: &Path| shut.iter().any(|shut| opened::below(&path, shut) && shut.starts_with(tree));
        if above
            .last()
            .is_some_and(|(tree, have)| (*have == access || access == Access::Read) && !apart(tree))
        {
            continue;
        }
        if workspace.is_some_and(|workspace| {
            path.starts_with(workspace) && access == Access::Read || path == workspace
        }) {
            continue;
        }
        let mapped = mapped(&place, access, survey, ids);
        if mapped && !can_be_mapped(&place) {
            if access == Access::Write {
                return Err(Refused::rule(
                    &origin,
                    format!(
                        "{} is on {}, which cannot be idmapped for a task that root starts",
                        path.display(),
                        filesystem(&place)
                    ),
                    "start ringfence as the user who owns the files, or grant it for reading",
                ));
            }
            mounts.push(Granted { place, access, mapped: false });
        } else {
            mounts.push(Granted { place, access, mapped });
        }
        above.push((path, access));
        if mounts.len() > MOST_TREES {
            return Err(Refused::rule(
                &origin,
                format!("the policy grants more than {MOST_TREES} distinct trees"),
                format!("grant a common parent such as {} instead", common_parent(&mounts).display()),
            ));
        }
    }
    Ok(mounts)
}

/// Started by root, what the task writes and what lies in the invoker's own reach is idmapped; the system's files, which
/// everybody may read, are not, so that root's private ones among them stay unreadable.
fn mapped(place: &Place, access: Access, survey: &Survey, ids: &Ids) -> bool {
    ids.mapped
        && (access == Access::Write
            || (place.uid == ids.owner_uid && ids.owner_uid != 0)
            || private(place, survey))
}

fn private(place: &Place, survey: &Survey) -> bool {
    survey.homes.iter().any(|home| place.real.starts_with(home))
}

/// File systems whose mounts can be idmapped (mount_setattr(2), statfs(2) for the numbers).
pub(crate) fn can_be_mapped(place: &Place) -> bool {
    matches!(place.filesystem, 0xEF53 | 0x5846_5342 | 0x9123_683E | 0x0102_1994 | 0xF2F5_2010 | 0xE0F5_E1E2)
}

/// A file system's name for a message.
pub(crate) fn filesystem(place: &Place) -> String {
    match place.filesystem {
        0x794C_7630 => "overlayfs".into(),
        0x6969 => "NFS".into(),
        0x6573_5546 => "FUSE".into(),
        0x9FA0 => "proc".into(),
        0x6265_6572 => "sysfs".into(),
        other => format!("a file system of type {other:#x}"),
    }
}

fn common_parent(mounts: &[Granted]) -> PathBuf {
    let mut count: BTreeMap<&Path, usize> = BTreeMap::new();
    for granted in mounts {
        for above in granted.place.real.ancestors().skip(1) {
            *count.entry(above).or_default() += 1;
        }
    }
    // The deepest that covers most of them; where only the root does, the one that covers more than any other.
    count.remove(Path::new("/"));
    let rank = |number: usize, path: &Path| {
        let most = number * 2 > mounts.len();
        (most, if most { 0 } else { number }, path.components().count())
    };
    count
        .into_iter()
        .max_by_key(|(path, number)| rank(*number, path))
        .map_or_else(|| PathBuf::from("/"), |(path, _)| path.to_path_buf())
}
