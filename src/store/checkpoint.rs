//! Writes the whole content of the database into the log again: earlier losses of the log then no longer matter.

use std::io;
use std::sync::PoisonError;

use super::group::Kind;
use super::index::{Applied, Index};
use super::open::{building_in, switch_database};
use super::trees::{Operation, operations_to_bytes};
use super::{Store, StoreError};
use crate::actor::fail_point;

/// Entries per group.
const GROUP_ENTRIES: usize = if cfg!(debug_assertions) { 64 } else { 4096 };

impl Store {
    /// Writes all entries into the log. The checkpoint counts only once its last group is written.
    pub(super) fn write_checkpoint(&self) -> Result<(), StoreError> {
        let failed = |source: io::Error| StoreError::database("write a checkpoint", source.into());
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let before = applied.take().ok_or(StoreError::WriterStopped)?;
        let append = |kind, entries: &[Operation]| {
            self.values.append(kind, &[], |_| operations_to_bytes(entries)).map_err(failed)
        };
        append(Kind::CheckpointBegin, &[])?;
        let mut entries = Vec::with_capacity(GROUP_ENTRIES);
        for entry in self.index.entries() {
            entries.push(entry?);
            if entries.len() == GROUP_ENTRIES {
                append(Kind::CheckpointPart, &entries)?;
                entries.clear();
                fail_point("checkpoint.within");
            }
        }
        let end = append(Kind::CheckpointEnd, &entries)?;
        self.values.sync().map_err(failed)?;
        let after = Applied { position: end.position(), ..before };
        self.index.set_applied(after)?;
        *applied = Some(after);
        Ok(())
    }

    /// Moves all entries of the database into sled, where a test can change them directly.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written.
    #[doc(hidden)]
    pub fn unpack_database(config: &crate::config::StoreConfig) -> Result<(), StoreError> {
        let store = Self::open_unchecked(config)?;
        let (applied, building) = (store.index.applied()?, building_in(&config.path));
        let unpacked = Index::open(&building, config.cache_bytes)?;
        unpacked.apply_in_bulk(store.index.entries().collect::<Result<Vec<_>, _>>()?)?;
        unpacked.set_applied(Applied { sum: unpacked.sum()?, packed: None, generation: 0, ..applied })?;
        drop((unpacked, store));
        switch_database(&config.path).map_err(|source| StoreError::Folder { path: config.path.clone(), source })
    }

    /// Makes the log agree with a database that a test has changed directly.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written.
    #[doc(hidden)]
    pub fn adopt_database(config: &crate::config::StoreConfig) -> Result<(), StoreError> {
        let store = Self::open_unchecked(config)?;
        store.write_checkpoint()?;
        let mut applied = store.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let after = Applied { sum: store.index.sum()?, ..applied.take().ok_or(StoreError::WriterStopped)? };
        store.index.set_applied(after)
    }
}
