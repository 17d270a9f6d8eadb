//! Refused files for which the common room is taken: what the host has, and known secrets, have room of their own, so that no flood of
//! made-up names hides them.

use std::collections::BTreeMap;
use std::path::Path;

use ringfence_record::Event;

use crate::host::Host;

/// Names in one room.
const MOST: usize = 1024;

/// The rooms: secrets that the host has, what else it has, and secrets that it has not.
#[derive(Debug, Default)]
pub(crate) struct Rooms([BTreeMap<String, (Event, u64)>; 3]);

impl Rooms {
    /// Takes one down: whether it is new. `None`: it has no room, and is only counted. Who asked makes no difference, since a task can be
    /// whoever it likes.
    pub(crate) fn note(&mut self, event: &Event, host: &Host) -> Option<bool> {
        let Event::FileDeny { path, asked, purpose, .. } = event else { return None };
        let whole = asked.as_ref().unwrap_or(path);
        let has = host.has(Path::new(whole)) == Some(true);
        let secret = ringfence_policy::secret_of_others(Path::new(whole)).is_some();
        let [kept, found, sought] = &mut self.0;
        let room = match (has, secret) {
            (true, true) => kept,
            (true, false) => found,
            (false, true) => sought,
            (false, false) => return None,
        };
        let key = format!("{purpose}\n{whole}");
        if let Some((_, again)) = room.get_mut(&key) {
            *again = again.saturating_add(1);
            return Some(false);
        }
        (room.len() < MOST).then(|| room.insert(key, (event.clone(), 0)).is_none())
    }

    /// All of them, and how often each was repeated.
    pub(crate) fn known(&self) -> impl Iterator<Item = &(Event, u64)> {
        self.0.iter().flat_map(BTreeMap::values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_take_no_room_and_one_kind_takes_none_of_another() {
        let (mut rooms, host) = (Rooms::default(), Host::new());
        let mut note = |path: String| {
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
            rooms.note(&event, &host)
        };
        for number in 0..3 * MOST {
            assert_eq!(note(format!("/made-up/{number}")), None);
            let told = note(format!("/made-up/.ssh/{number}"));
            assert_eq!(told, (number < MOST).then_some(true), "{number}");
        }
        assert_eq!(note("/proc/self".into()), Some(true));
        assert_eq!(note("/proc/self".into()), Some(false));
        assert_eq!(note("/etc/shadow".into()), Some(true));
        assert_eq!(rooms.known().count(), MOST + 2);
    }
}
