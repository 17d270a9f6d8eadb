//! A list without duplicates, found by their text or path.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::path::Path;
use std::path::PathBuf;

use crate::model::Grant;
use crate::pattern::PathPattern;
use crate::reader::At;

/// What two items of a list must not have in common.
pub(crate) trait Keyed {
    fn key(&self) -> &OsStr;
}

impl Keyed for Grant {
    fn key(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

impl Keyed for PathPattern {
    fn key(&self) -> &OsStr {
        self.text().as_ref()
    }
}

impl Keyed for PathBuf {
    fn key(&self) -> &OsStr {
        self.as_os_str()
    }
}

impl Keyed for String {
    fn key(&self) -> &OsStr {
        self.as_ref()
    }
}

/// The list.
#[derive(Debug)]
pub(crate) struct Collected<T> {
    pub(crate) items: Vec<At<T>>,
    /// Where items are, by the hash of their key or, where that is taken, by the next free number: no key is held twice.
    index: HashMap<u64, usize, BuildHasherDefault<Same>>,
    keys: RandomState,
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self { items: Vec::new(), index: HashMap::default(), keys: RandomState::new() }
    }
}

impl<T: Keyed> Collected<T> {
    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.items.reserve(more);
        self.index.reserve(more);
    }

    /// Adds an item, or answers the one that is there under the same key.
    pub(crate) fn add(&mut self, item: At<T>) -> Option<(&mut At<T>, At<T>)> {
        match self.find(item.value.key()) {
            Ok(at) => self.items.get_mut(at).map(|present| (present, item)),
            Err(free) => {
                self.index.insert(free, self.items.len());
                self.items.push(item);
                None
            }
        }
    }

    pub(crate) fn get(&self, key: &OsStr) -> Option<&At<T>> {
        self.items.get(self.find(key).ok()?)
    }

    /// Where the item of this key is, or the number under which it can be put.
    fn find(&self, key: &OsStr) -> Result<usize, u64> {
        let mut number = self.keys.hash_one(key);
        while let Some(at) = self.index.get(&number) {
            if self.items.get(*at).is_some_and(|item| item.value.key() == key) {
                return Ok(*at);
            }
            number = number.wrapping_add(1);
        }
        Err(number)
    }
}

impl Collected<Grant> {
    pub(crate) fn add_grant(&mut self, item: At<Grant>) {
        // The same path with and without `?`: the stricter one holds, a missing path is an error.
        if let Some((present, item)) = self.add(item)
            && present.value.optional
            && !item.value.optional
        {
            *present = item;
        }
    }

    /// The grant of this path or of the nearest directory above it. Costs the depth of the path, not the list.
    pub(crate) fn covering(&self, path: &Path) -> Option<&At<Grant>> {
        path.ancestors().find_map(|path| self.get(path.as_os_str()))
    }
}

/// The numbers are hashes already.
#[derive(Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
