//! Refused files for which the common room is taken: what the host has, and known secrets, have room of their own, so that no flood of
//! made-up names hides them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringfence_confine::BEYOND;
use ringfence_record::Event;

use crate::host::Host;

/// Names in one room.
const MOST: usize = 1024;

/// Numbers of what has no number of its own in the common room: as many as two ledgers have.
const NUMBERS: usize = 16 * MOST;

const KEPT: usize = 0;
const FOUND: usize = 1;
const SOUGHT: usize = 2;
const NEAR: usize = 3;
/// Names in that by each secret that they are near: a search of one hides none of another.
const MOST_NEAR: u32 = 16;

type Room = BTreeMap<String, (Event, u64)>;

/// The rooms: secrets that the host has and what leads there, what else it has, secrets that it has not, and made-up names near those that it
/// has: what lies over the root remembers a directory that was looked for, and then no look but those for names in it is heard.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    rooms: [Room; 4],
    /// How many made-up names are near each.
    near: BTreeMap<PathBuf, u32>,
    /// What is repeated by these numbers: what is in a room, by its key, or what is only counted.
    numbers: BTreeMap<u32, Option<(usize, String)>>,
}

impl Rooms {
    /// Takes one down: whether it is new. `None`: it has no room, and is only counted. Who asked makes no difference, since a task can be
    /// whoever it likes.
    pub(crate) fn note(&mut self, event: &Event, number: u32, host: &Host) -> Option<bool> {
        let (place, near) = place(event, host).unzip();
        let noted = place.as_ref().and_then(|place| self.put(event, place, near.flatten()));
        self.number(number, place.filter(|_| noted.is_some()));
        noted
    }

    /// One of this number is only counted, and so are its repeats.
    pub(crate) fn only_counted(&mut self, number: u32) {
        self.number(number, None);
    }

    /// It is repeated by that number; what looks from beyond a ledger have is never used again.
    fn number(&mut self, number: u32, place: Option<(usize, String)>) {
        if !BEYOND.contains(&number) && self.numbers.len() < NUMBERS {
            self.numbers.insert(number, place);
        }
    }

    /// One was repeated so often: how many of that are counted nowhere here, among the others.
    pub(crate) fn again(&mut self, number: u32, times: u64) -> u64 {
        let Some(place) = self.numbers.get(&number) else { return 0 };
        let room = place.as_ref().and_then(|(room, key)| self.rooms.get_mut(*room)?.get_mut(key));
        let Some((_, again)) = room else { return times };
        *again = again.saturating_add(times);
        0
    }

    fn put(&mut self, event: &Event, (room, key): &(usize, String), near: Option<PathBuf>) -> Option<bool> {
        let room = self.rooms.get_mut(*room)?;
        if let Some((_, again)) = room.get_mut(key) {
            *again = again.saturating_add(1);
            return Some(false);
        }
        if room.len() >= MOST {
            return None;
        }
        if let Some(secret) = near {
            let names = self.near.entry(secret).or_default();
            if *names >= MOST_NEAR {
                return None;
            }
            *names += 1;
        }
        Some(room.insert(key.clone(), (event.clone(), 0)).is_none())
    }

    /// All of them, and how often each was repeated.
    pub(crate) fn known(&self) -> impl Iterator<Item = &(Event, u64)> {
        self.rooms.iter().flat_map(BTreeMap::values)
    }
}

/// Which room, and under which name; and the secret of the host's that the name is near, if it is not there itself.
fn place(event: &Event, host: &Host) -> Option<((usize, String), Option<PathBuf>)> {
    let Event::FileDeny { path, asked, purpose, .. } = event else { return None };
    let whole = asked.as_ref().unwrap_or(path);
    let has = host.has(Path::new(whole)) == Some(true);
    let secret = ringfence_policy::secret_of_others(Path::new(whole)).is_some();
    let near = host.secret_on_the_way(Path::new(whole));
    let room = match (has, secret, &near) {
        (true, true, _) | (true, _, Some(_)) => KEPT,
        (true, false, None) => FOUND,
        (false, _, Some(_)) => NEAR,
        (false, true, None) => SOUGHT,
        (false, false, None) => return None,
    };
    Some(((room, format!("{purpose}\n{whole}")), near.filter(|_| room == NEAR)))
}

/// What is said of one that was asked for again.
pub(crate) fn repeated(event: &Event, again: u64) -> Option<Event> {
    let mut event = event.clone();
    if let Event::FileDeny { process, times, .. }
    | Event::ExecDeny { process, times, .. }
    | Event::ExecClean { process, times, .. }
    | Event::NetDeny { process, times, .. }
    | Event::NetFail { process, times, .. }
    | Event::CredentialUse { process, times, .. }
    | Event::CredentialDeny { process, times, .. }
    | Event::ContainerUse { process, times, .. }
    | Event::ContainerDeny { process, times, .. }
    | Event::Leak { process, times, .. }
    | Event::SyscallDeny { process, times, .. }
    | Event::DecoyOpen { process, times, .. } = &mut event
    {
        (*process, *times) = (0, again);
    }
    (again > 0).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_take_no_room_and_one_kind_takes_none_of_another() {
        let (mut rooms, host) = (Rooms::default(), Host::new());
        let note = |rooms: &mut Rooms, path: String, number: u32| {
            let event = Event::FileDeny {
                path,
                asked: None,
                purpose: "look".into(),
                process: 1,
                program: String::new(),
                script: String::new(),
                started_by: String::new(),
                times: 1,
                rule: String::new(),
                remedy: Vec::new(),
                grantable: false,
            };
            rooms.note(&event, number, &host)
        };
        for number in 0..3 * MOST {
            assert_eq!(note(&mut rooms, format!("/made-up/{number}"), BEYOND.start), None);
            let told = note(&mut rooms, format!("/made-up/.ssh/{number}"), BEYOND.start);
            assert_eq!(told, (number < MOST).then_some(true), "{number}");
        }
        assert_eq!(note(&mut rooms, "/proc/self".into(), 7), Some(true));
        assert_eq!(note(&mut rooms, "/proc/self".into(), 7), Some(false));
        assert_eq!(note(&mut rooms, "/etc/shadow".into(), 8), Some(true));
        assert_eq!(rooms.known().count(), MOST + 2);
        // What is repeated is counted: where it is known, or among the others.
        assert_eq!((rooms.again(8, 5), rooms.again(BEYOND.start, 5), rooms.again(9, 5)), (0, 0, 0));
        assert!(rooms.known().any(|(_, again)| *again == 5));
        assert_eq!(note(&mut rooms, "/made-up/x".into(), 9), None);
        rooms.only_counted(10);
        assert_eq!((rooms.again(9, 5), rooms.again(10, 6)), (5, 6));
    }
}
