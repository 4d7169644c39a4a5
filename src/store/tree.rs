//! A tree of the database: sled's entries over those of the packed part, which takes them in from time to time. In a store that
//! is being filled, which nobody reads before its end, all entries are in memory.

use std::io;
use std::iter::Fuse;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use sled::IVec;

use super::packed::{Packed, PackedCursor, WholeBlock};
use super::replay;

/// Stands in sled for an entry of the packed part that was removed. Values of the store are empty or longer.
pub(super) const REMOVED: &[u8] = b"-";

/// The entries of a tree in memory.
type Memory = Arc<RwLock<replay::Entries>>;

/// A tree, read as one. Its entries are changed through [`Index`](super::index::Index) only.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    number: u8,
    parts: Arc<RwLock<Parts>>,
}

#[derive(Clone, Debug)]
struct Parts {
    live: Live,
    packed: Option<Arc<Packed>>,
}

/// The entries that can be changed.
#[derive(Clone, Debug)]
enum Live {
    /// Counted, so that it is not removed from sled while somebody reads it.
    Sled(Arc<sled::Tree>),
    Memory(Memory),
}

impl Live {
    fn get(&self, key: &[u8]) -> sled::Result<Option<IVec>> {
        match self {
            Self::Sled(tree) => tree.get(key),
            Self::Memory(entries) => {
                let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
                Ok(entries.get(key).map(|value| value.as_ref().into()))
            }
        }
    }

    fn scan_prefix(&self, prefix: &[u8]) -> LiveEntries {
        match self {
            Self::Sled(tree) => {
                LiveEntries::Sled { entries: Box::new(tree.scan_prefix(prefix).fuse()), _tree: Arc::clone(tree) }
            }
            Self::Memory(entries) => {
                LiveEntries::Memory { entries: Arc::clone(entries), prefix: prefix.into(), last: None }
            }
        }
    }
}

enum LiveEntries {
    Sled { entries: Box<Fuse<sled::Iter>>, _tree: Arc<sled::Tree> },
    Memory { entries: Memory, prefix: Box<[u8]>, last: Option<Box<[u8]>> },
}

impl LiveEntries {
    fn next(&mut self) -> sled::Result<Option<(IVec, IVec)>> {
        match self {
            Self::Sled { entries, .. } => entries.next().transpose(),
            Self::Memory { entries, prefix, last } => {
                let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
                let from = last.as_ref().map_or_else(|| Included(prefix.as_ref()), |last| Excluded(last.as_ref()));
                let next = entries.range::<[u8], _>((from, Unbounded)).next();
                let next = next.filter(|(key, _)| key.starts_with(prefix));
                Ok(next.map(|(key, value)| {
                    *last = Some(key.clone());
                    (key.as_ref().into(), value.as_ref().into())
                }))
            }
        }
    }
}

fn of_packed(error: io::Error) -> sled::Error {
    match error.kind() {
        io::ErrorKind::InvalidData => sled::Error::ReportableBug(error.to_string()),
        _ => sled::Error::Io(error),
    }
}

impl Parts {
    fn packed<T>(&self, tree: u8, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> sled::Result<Option<T>> {
        self.packed.as_ref().map_or(Ok(None), |packed| packed.get(tree, key, read)).map_err(of_packed)
    }
}

impl Tree {
    pub(super) fn new(number: u8, live: sled::Tree, packed: Option<Arc<Packed>>) -> Self {
        Self::with(number, Live::Sled(Arc::new(live)), packed)
    }

    pub(super) fn in_memory(number: u8) -> Self {
        Self::with(number, Live::Memory(Memory::default()), None)
    }

    fn with(number: u8, live: Live, packed: Option<Arc<Packed>>) -> Self {
        Self { number, parts: Arc::new(RwLock::new(Parts { live, packed })) }
    }

    fn parts(&self) -> RwLockReadGuard<'_, Parts> {
        self.parts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// sled's part; `None` of a tree in memory.
    pub(super) fn sled(&self) -> Option<Arc<sled::Tree>> {
        match &self.parts().live {
            Live::Sled(tree) => Some(Arc::clone(tree)),
            Live::Memory(_) => None,
        }
    }

    pub(super) fn packed_part(&self) -> Option<Arc<Packed>> {
        self.parts().packed.clone()
    }

    /// Puts other parts with the same entries in the place of these, for all clones of this tree.
    pub(super) fn replace(&self, live: sled::Tree, packed: Arc<Packed>) {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        *parts = Parts { live: Live::Sled(Arc::new(live)), packed: Some(packed) };
    }

    /// Puts an entry into a tree in memory, or removes it.
    pub(super) fn change_in_memory(&self, key: &[u8], value: Option<&[u8]>) {
        let parts = self.parts();
        let Live::Memory(entries) = &parts.live else { return };
        let mut entries = entries.write().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(value) => drop(entries.insert(key.into(), value.into())),
            None => drop(entries.remove(key)),
        }
    }

    /// The value at `key`.
    pub(super) fn get(&self, key: impl AsRef<[u8]>) -> sled::Result<Option<IVec>> {
        let (key, parts) = (key.as_ref(), self.parts());
        match parts.live.get(key)? {
            Some(value) => Ok(Some(value).filter(|value| value != REMOVED)),
            None => parts.packed(self.number, key, |value| IVec::from(value)),
        }
    }

    /// True when there is an entry at `key`.
    pub(super) fn contains_key(&self, key: impl AsRef<[u8]>) -> sled::Result<bool> {
        self.get(key).map(|value| value.is_some())
    }

    /// True when the packed part has an entry at `key`, even if it was removed or replaced.
    pub(super) fn is_packed(&self, key: &[u8]) -> sled::Result<bool> {
        self.parts().packed(self.number, key, |_| ()).map(|found| found.is_some())
    }

    /// All entries, in key order.
    pub(super) fn iter(&self) -> Entries {
        self.scan_prefix([])
    }

    /// The entries of which the keys begin with `prefix`, in key order.
    pub(super) fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Entries {
        let (prefix, parts) = (prefix.as_ref(), self.parts());
        let packed = parts
            .packed
            .as_ref()
            .map(|packed| (Arc::clone(packed), PackedCursor::at(packed, self.number, prefix).map_err(of_packed)));
        let live = parts.live.scan_prefix(prefix);
        Entries { live, prefix: prefix.into(), packed, next_live: None, next_packed: None }
    }

    /// Changes an entry in sled, behind the store's back.
    #[cfg(test)]
    pub(super) fn insert(&self, key: impl AsRef<[u8]>, value: &str) -> sled::Result<()> {
        match &self.parts().live {
            Live::Sled(tree) => tree.insert(key, value).map(drop),
            Live::Memory(_) => panic!("the store is being filled"),
        }
    }
}

impl IntoIterator for &Tree {
    type Item = sled::Result<(IVec, IVec)>;
    type IntoIter = Entries;

    fn into_iter(self) -> Entries {
        self.iter()
    }
}

/// Entries of a tree, in key order.
pub(super) struct Entries {
    live: LiveEntries,
    prefix: Box<[u8]>,
    /// `None` at its end.
    packed: Option<(Arc<Packed>, sled::Result<PackedCursor>)>,
    next_live: Option<(IVec, IVec)>,
    next_packed: Option<(IVec, IVec)>,
}

impl Entries {
    /// The keys alone.
    pub(super) fn keys(self) -> impl Iterator<Item = sled::Result<IVec>> {
        self.map(|entry| entry.map(|(key, _)| key))
    }

    /// Takes the next entries as a block of the packed part if they are a whole one, without an entry of sled among them.
    pub(super) fn next_whole_block(&mut self) -> sled::Result<Option<WholeBlock>> {
        if self.next_packed.is_some() || !self.prefix.is_empty() {
            return Ok(None);
        }
        if self.next_live.is_none() {
            self.next_live = self.live.next()?;
        }
        let live = self.next_live.as_ref().map(|(key, _)| key.as_ref());
        match &mut self.packed {
            Some((packed, Ok(cursor))) => cursor.next_block_before(packed, live).map_err(of_packed),
            _ => Ok(None), // the next entry says why
        }
    }

    /// The next entry of the packed part.
    fn read_packed(&mut self) -> sled::Result<Option<(IVec, IVec)>> {
        let Some((packed, cursor)) = &mut self.packed else { return Ok(None) };
        let cursor = cursor.as_mut().map_err(|error| error.clone())?;
        let of = |key: &[u8], value: &[u8]| key.starts_with(&self.prefix).then(|| (key.into(), value.into()));
        let next = cursor.next(packed, of).map_err(of_packed)?.flatten();
        if next.is_none() {
            self.packed = None;
        }
        Ok(next)
    }
}

impl Iterator for Entries {
    type Item = sled::Result<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next_packed.is_none() {
                match self.read_packed() {
                    Ok(entry) => self.next_packed = entry,
                    Err(error) => {
                        self.packed = None;
                        return Some(Err(error));
                    }
                }
            }
            if self.next_live.is_none() {
                match self.live.next() {
                    Ok(entry) => self.next_live = entry,
                    Err(error) => return Some(Err(error)),
                }
            }
            let order = match (&self.next_live, &self.next_packed) {
                (None, _) => std::cmp::Ordering::Greater,
                (_, None) => std::cmp::Ordering::Less,
                (Some((live, _)), Some((packed, _))) => live.cmp(packed),
            };
            let entry = match order {
                std::cmp::Ordering::Greater => self.next_packed.take(),
                std::cmp::Ordering::Less => self.next_live.take(),
                std::cmp::Ordering::Equal => {
                    self.next_packed = None;
                    self.next_live.take()
                }
            };
            match entry {
                Some((_, value)) if value == REMOVED => {}
                entry => return entry.map(Ok),
            }
        }
    }
}
