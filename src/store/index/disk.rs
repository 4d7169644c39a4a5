//! The files of a database: sled's trees and the packed part, of one generation after the other.
//!
//! Packing begins a generation, with trees and a packed part of its own, named after its number; the tree `meta` stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::StoreError;
use crate::store::packed::{NAME as PACKED, Packed};
use crate::store::trees::{META, NAMES, NUM_TREES};

/// sled's entries are packed when they are more than this,
const LEAST_ENTRIES: i64 = if cfg!(debug_assertions) { 1 << 8 } else { 1 << 15 };

/// and more than this for each block of the packed part, about one in 32 entries there. (Blocks without a change are copied as
/// they are, but changes may be everywhere.)
const ENTRIES_PER_BLOCK: i64 = if cfg!(debug_assertions) { 1 } else { 4 };

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) db: sled::Db,
    pub(super) folder: PathBuf,
    live: Mutex<Live>,
}

/// sled's entries, and its trees that no longer count.
#[derive(Debug)]
pub(super) struct Live {
    /// Number of sled's entries.
    pub(super) num_entries: i64,
    /// They are packed when they are more than this.
    pub(super) most_entries: i64,
    /// Trees of earlier generations with their names: somebody may still read them.
    pub(super) retired: Vec<(String, Arc<sled::Tree>)>,
}

/// How many entries sled takes beside this packed part.
pub(super) fn most_beside(packed: Option<&Packed>) -> i64 {
    let num_blocks = packed.map_or(0, |packed| i64::try_from(packed.num_blocks()).unwrap_or(i64::MAX));
    LEAST_ENTRIES.max(num_blocks.saturating_mul(ENTRIES_PER_BLOCK))
}

/// The name of sled's tree `number` in a generation.
pub(super) fn tree_name(number: usize, generation: u64) -> String {
    if generation == 0 || number == META { NAMES[number].to_owned() } else { format!("{}.{generation}", NAMES[number]) }
}

/// The name of the packed part of a generation.
pub(super) fn packed_name(generation: u64) -> String {
    if generation == 0 { PACKED.to_owned() } else { format!("{PACKED}.{generation}") }
}

impl Disk {
    pub(super) fn new(db: sled::Db, folder: &Path, packed: Option<&Packed>) -> Self {
        let live = Live { num_entries: 0, most_entries: most_beside(packed), retired: Vec::new() };
        Self { db, folder: folder.to_owned(), live: Mutex::new(live) }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens or makes the trees of a generation.
    pub(super) fn open_trees(&self, generation: u64) -> Result<Vec<sled::Tree>, StoreError> {
        let trees = (0..NUM_TREES).map(|number| self.db.open_tree(tree_name(number, generation)));
        trees.collect::<sled::Result<_>>().map_err(|source| StoreError::database("open a tree", source))
    }

    /// Removes what a killed process has left of other generations than the one that counts.
    pub(super) fn remove_other_generations(&self, counts: u64) -> Result<(), StoreError> {
        let kept: Vec<String> = (0..NUM_TREES).map(|number| tree_name(number, counts)).collect();
        for name in self.db.tree_names() {
            let is_ours = NAMES.iter().any(|tree| {
                let behind = name.strip_prefix(tree.as_bytes());
                behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(b"."))
            });
            if is_ours && !kept.iter().any(|kept| name == kept.as_bytes()) {
                self.remove_tree(&name)?;
            }
        }
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PACKED) && name != packed_name(counts) {
                let _stays = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Whether sled has so many entries that they can be packed: only when all earlier generations are gone.
    pub(super) fn has_many_entries(&self) -> Result<bool, StoreError> {
        let mut live = self.live();
        Ok(live.num_entries > live.most_entries && self.remove_retired(&mut live)?)
    }

    /// Removes the trees of earlier generations that nobody reads any more. True when all are gone.
    pub(super) fn remove_retired(&self, live: &mut Live) -> Result<bool, StoreError> {
        for (name, tree) in std::mem::take(&mut live.retired) {
            if Arc::strong_count(&tree) == 1 {
                self.remove_tree(name.as_bytes())?;
            } else {
                live.retired.push((name, tree));
            }
        }
        Ok(live.retired.is_empty())
    }

    fn remove_tree(&self, name: &[u8]) -> Result<(), StoreError> {
        self.db.drop_tree(name).map(drop).map_err(|source| StoreError::database("remove a tree", source))
    }
}
