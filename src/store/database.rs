//! The open store: sled's trees, the value log, and the store's description of itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{PoisonError, RwLock};

use sled::{Db, Tree};

use super::format::{META_BUSIEST, META_COUNTS, META_IDENTITY, META_STORE_ID, STORE_FORMAT_VERSION};
use super::value::{open_json, seal_json};
use super::value_log::ValueLog;
use super::{CrawlIdentity, Ledger, StoreError, Tally};
use crate::model::{PushId, PushRevisions, Revision, Timestamp};

/// A crawl's store. Only one process can have it open.
#[derive(Debug)]
pub struct Store {
    pub(super) path: PathBuf,
    pub(super) db: Db,
    /// sled's file, for `fsync`.
    pub(super) db_file: File,
    pub(super) meta: Tree,
    pub(super) pending: Tree,
    pub(super) settled: Tree,
    pub(super) failed: Tree,
    pub(super) provenance: Tree,
    pub(super) signature_ids: Tree,
    pub(super) pushes: Tree,
    pub(super) records: Tree,
    pub(super) set_aside: Tree,
    pub(super) values: ValueLog,
    /// Whether a value that the disk fails to return counts as damaged: only during `verify`, where its loss is accepted.
    pub(super) unreadable_is_damage: AtomicBool,
    /// The revision of each push; grows as columns refer to it.
    pub(super) push_table: RwLock<PushRevisions>,
    /// A damaged push was met when the store was opened.
    pub(super) push_damaged: AtomicBool,
}

impl Store {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a function that adds the revision of a push to the push table, and tells whether the table now has that
    /// revision; otherwise the chunk must hold it. The table stays locked for reading between calls: make them soon, and on
    /// one thread.
    pub(crate) fn interner(&self) -> impl FnMut(PushId, Revision) -> bool {
        let read = || self.push_table.read().unwrap_or_else(PoisonError::into_inner);
        let mut table = Some(read());
        move |push, revision| {
            if let Some(known) = table.get_or_insert_with(read).get(&push) {
                return *known == revision;
            }
            table = None; // the lock for reading would block the one for writing
            let mut written = self.push_table.write().unwrap_or_else(PoisonError::into_inner);
            *written.entry(push).or_insert(revision) == revision
        }
    }

    /// The identity of the crawl; `None` while the store is empty.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn identity(&self) -> Result<Option<CrawlIdentity>, StoreError> {
        self.get_meta(META_IDENTITY)
    }

    /// Pins the identity of the crawl, durably.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn pin_identity(&self, identity: &CrawlIdentity) -> Result<(), StoreError> {
        self.put_meta(META_IDENTITY, identity)?;
        self.flush("write the crawl's identity")?;
        self.write_ledger(&self.counts()?)
    }

    /// The tally, as of the last commit.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn counts(&self) -> Result<Tally, StoreError> {
        Ok(self.get_meta(META_COUNTS)?.unwrap_or_default())
    }

    /// A note about the last search for the busiest revisions: its inputs, and the jobs that it found.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn busiest_note(&self) -> Result<Option<String>, StoreError> {
        self.get_meta(META_BUSIEST)
    }

    /// Stores the note of [`Store::busiest_note`].
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn keep_busiest_note(&self, note: &str) -> Result<(), StoreError> {
        self.put_meta(META_BUSIEST, &note)?;
        self.flush("write a note")
    }

    /// Flushes everything to the disk. sled by itself flushes its pages (`sync_file_range`) but not the file's length and
    /// extents, which some file systems lose when the power fails.
    pub(super) fn flush(&self, action: &'static str) -> Result<(), StoreError> {
        self.db.flush().map_err(|source| StoreError::database(action, source))?;
        self.db_file.sync_data().map_err(|source| StoreError::database(action, source.into()))
    }

    /// The number of entries of a tree. (`Tree::len` never returns where sled cannot read one.)
    pub(super) fn num_entries(tree: &Tree) -> Result<u64, StoreError> {
        let mut num = 0;
        for key in tree.iter().keys() {
            key.map_err(|source| StoreError::database("be read", source))?;
            num += 1;
        }
        Ok(num)
    }

    pub(super) fn get_meta<T: for<'de> serde::Deserialize<'de>>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let found = self.meta.get(key).map_err(|source| StoreError::database("read its description", source))?;
        found.map(|framed| open_json("meta", key, &framed)).transpose()
    }

    pub(super) fn put_meta<T: serde::Serialize>(&self, key: &[u8], value: &T) -> Result<(), StoreError> {
        let framed = seal_json(value)?;
        let put = self.meta.insert(key, framed);
        put.map_err(|source| StoreError::database("write its description", source)).map(drop)
    }

    pub(super) fn write_ledger(&self, counts: &Tally) -> Result<(), StoreError> {
        let ledger = Ledger {
            format: STORE_FORMAT_VERSION,
            store_id: self.get_meta(META_STORE_ID)?.unwrap_or_default(),
            identity: self.identity()?,
            counts: counts.clone(),
            written_at: Timestamp::now(),
        };
        ledger.write(&self.path)
    }
}
