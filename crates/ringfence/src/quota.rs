//! `workspace.quota`: what a task may take of the disk for its copy-on-write workspace; and `limits.tmp`, where what is temporary lies
//! on disk, too (tier `landlock`). No unprivileged user can have the kernel hold
//! that, so it is looked at: the file system's free space each time, and what the layers take only where that says that it may be too
//! much.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfence_limits::Exceeded;
use ringfence_plan::Plan;
use ringfence_supervise::Disk;
use ringfence_workspace::{Taken, taken};
use rustix::fs::{CWD, Mode, OFlags, fstatvfs, openat};

use crate::failure::{Context, Failure};

/// A file costs the kernel about as much beside what it holds.
const ENTRY: u64 = 1024;
/// How much more the file system may be found to hold while the layers are still being looked at.
const SURPLUS: u64 = 128 << 20;
/// After a look that found nothing, the next comes after so many times what it took, unless the file system fills further.
const PAUSE: u32 = 10;
/// But not sooner: where it may be too much, and where that does not look so.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(250);

/// Looks whether it is exceeded.
#[derive(Debug)]
struct Quota {
    limit: u64,
    /// What is said where there is more.
    told: fn(u64) -> Exceeded,
    /// Where its layers are, and a descriptor that their file system is asked by.
    places: Vec<(PathBuf, OwnedFd)>,
    /// What was there before the task was.
    before: u64,
    /// What the file system held at the last look that saw all, and what the layers took of it.
    known: (u64, u64),
    /// When the layers are looked at next, whatever the file system says.
    rest: Option<Instant>,
}

/// All that is looked at; `None`: nothing.
pub(crate) fn disk(plan: &Plan, begun: bool) -> Result<Option<Box<dyn Disk>>, Failure> {
    let mut all = Vec::new();
    if let Some(limit) = plan.limits.quota {
        let temporary = plan.hosted.as_ref().filter(|_| plan.layers.is_empty());
        let places: Vec<_> = match temporary {
            Some(hosted) => vec![hosted.workspace.clone()],
            None => plan.layers.iter().map(|layer| layer.directory.clone()).collect(),
        };
        let there = begun || plan.hosted.is_some();
        if !places.is_empty() {
            all.push(Quota::new(limit, Exceeded::quota, places, there)?);
        }
    }
    if let (Some(limit), Some(hosted)) = (plan.limits.temporary, &plan.hosted) {
        all.push(Quota::new(limit, Exceeded::temporary, hosted.own.clone(), begun)?);
    }
    Ok((!all.is_empty()).then(|| Box::new(Quotas(all)) as Box<dyn Disk>))
}

#[derive(Debug)]
struct Quotas(Vec<Quota>);

impl Disk for Quotas {
    /// What has no name may lie in any of the places, and is counted in each.
    fn exceeded(&mut self, unnamed: (u64, bool)) -> Option<Exceeded> {
        self.0.iter_mut().find_map(|quota| quota.exceeded(unnamed))
    }
}

impl Quota {
    /// What lies in the places now does not count, unless it is all the task's.
    fn new(
        limit: u64,
        told: fn(u64) -> Exceeded,
        places: Vec<PathBuf>,
        begun: bool,
    ) -> Result<Self, Failure> {
        let open = |path: PathBuf| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let place = openat(CWD, &path, flags, Mode::empty()).context(path.display().to_string())?;
            Ok((path, place))
        };
        let places = places.into_iter().map(open).collect::<Result<Vec<_>, Failure>>()?;
        let mut quota = Self { limit, told, places, before: 0, known: (0, 0), rest: None };
        quota.known.0 = quota.held();
        if begun {
            quota.before = cost(&quota.look(u64::MAX));
        }
        Ok(quota)
    }

    /// Blocks and names of the whole file system.
    fn held(&self) -> u64 {
        let of = |place: &OwnedFd| {
            let found = fstatvfs(place).ok()?;
            let blocks = found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(found.f_frsize);
            Some(blocks + found.f_files.saturating_sub(found.f_ffree).saturating_mul(ENTRY))
        };
        // Mostly all on one: then all say the same. Where nobody says, all of it may be the task's.
        self.places.iter().map(|(_, place)| of(place).unwrap_or(u64::MAX)).max().unwrap_or(u64::MAX)
    }

    fn look(&self, most: u64) -> Taken {
        let mut all = Taken { whole: true, ..Taken::default() };
        let mut count = 0_u32;
        for (place, _) in &self.places {
            let found = taken(place, &mut |_| {
                count += 1;
                !count.is_multiple_of(1024) || self.held() < most
            });
            all.bytes += found.bytes;
            all.entries += found.entries;
            all.whole &= found.whole;
        }
        all
    }
}

impl Quota {
    fn exceeded(&mut self, unnamed: (u64, bool)) -> Option<Exceeded> {
        let held = self.held();
        let (then, took) = self.known;
        let may_be = took.saturating_add(held.saturating_sub(then)).saturating_add(unnamed.0);
        let now = Instant::now();
        // Others may have freed what the task took: then the file system says nothing.
        let due = self.rest.is_none_or(|rest| rest <= now);
        let grew = may_be > self.limit && held > then.saturating_add(SURPLUS);
        if !(due || grew) {
            return None;
        }
        let begun = Instant::now();
        let most = held.saturating_add(SURPLUS);
        let found = self.look(most);
        let took = cost(&found).saturating_sub(self.before);
        // What cannot be seen is the task's: it closed it to everybody, or fills the disk faster than anybody could look.
        let unseen = may_be > self.limit && !(found.whole && unnamed.1);
        if took.saturating_add(unnamed.0) > self.limit || unseen {
            return Some((self.told)(self.limit));
        }
        // As long as something is not seen, whatever the disk holds more may be in it, however slowly it came.
        if found.whole && unnamed.1 {
            self.known = (held, took);
        }
        let least = if may_be > self.limit { SOON } else { LATER };
        self.rest = Some(Instant::now() + (begun.elapsed() * PAUSE).max(least));
        None
    }
}

fn cost(taken: &Taken) -> u64 {
    taken.bytes.saturating_add(taken.entries.saturating_mul(ENTRY))
}
