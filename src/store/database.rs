//! The open store: the log, sled's trees, and the store's description of itself. Every change goes through [`Store::write`].

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError, RwLock};

use super::format::{META_BUSIEST, META_COUNTS, META_FORMAT, META_IDENTITY, META_STORE_ID, STORE_FORMAT_VERSION};
use super::group::{Kind, Position};
use super::index::{Applied, Index};
use super::lock::Unavailable;
use super::space::Space;
use super::tree::Tree;
use super::trees::{META, Operation, RECORDS, operations_to_bytes, place_records};
use super::value::{open_json, seal_json};
use super::value_log::{Place, ValueLog};
use super::{CrawlIdentity, Ledger, StoreError, Tally};
use crate::actor::{LockedFile, fail_point};
use crate::model::{PushId, PushRevisions, Revision, Timestamp};

/// A crawl's store. Only one process can have it open.
#[derive(Debug)]
pub struct Store {
    pub(super) path: PathBuf,
    pub(super) meta: Tree,
    pub(super) pending: Tree,
    pub(super) settled: Tree,
    pub(super) failed: Tree,
    pub(super) provenance: Tree,
    pub(super) signature_ids: Tree,
    pub(super) pushes: Tree,
    pub(super) records: Tree,
    pub(super) set_aside: Tree,
    pub(super) unlisted: Tree,
    /// The same trees, by number.
    pub(super) index: Index,
    /// The part of the log that is in the trees; `None` after a failure between the two, which the next opening makes good.
    pub(super) applied: Mutex<Option<Applied>>,
    pub(super) values: ValueLog,
    /// Whether a value that the disk fails to return counts as damaged: only during `verify`, where its loss is accepted.
    pub(super) unreadable_is_damage: AtomicBool,
    /// The revision of each push; grows as columns refer to it.
    pub(super) push_table: RwLock<PushRevisions>,
    /// A damaged push was met when the store was opened.
    pub(super) push_damaged: AtomicBool,
    /// Of a store that was opened for reading only.
    pub(super) view: Option<View>,
    /// The least free space on the disk, for crawls.
    pub(super) space: Space,
    /// See [`Store::hides`].
    pub(super) hidden: Option<u16>,
    /// Locked while this process may write. Last, so that it is released last.
    pub(super) lock: Option<LockedFile>,
}

/// The means of a store that was opened for reading only.
#[derive(Debug)]
pub(super) struct View {
    pub(super) reason: Unavailable,
    /// Holds its private database.
    pub(super) _folder: tempfile::TempDir,
}

/// Changes that enter the store together.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) operations: Vec<Operation>,
    /// Keys and framed values; the values go to the log, their places to the tree `records`.
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Changes {
    pub(super) fn len(&self) -> usize {
        self.operations.len() + self.records.len()
    }
}

/// When changes must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Before [`Store::write`] returns.
    Now,
    /// When a new store is complete: nobody uses it before.
    AtTheEnd,
}

impl Store {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// See [`Space::shortage`].
    pub(super) fn shortage(&self) -> Option<StoreError> {
        self.space.shortage(&self.path)
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
        match self.hidden {
            None => self.get_meta(META_IDENTITY),
            Some(_) => self.shown(|identity, _| Some(identity)),
        }
    }

    /// Pins the identity of the crawl, durably.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn pin_identity(&self, identity: &CrawlIdentity) -> Result<(), StoreError> {
        if identity.scope.replicates && self.get_meta(META_FORMAT)? != Some(STORE_FORMAT_VERSION) {
            self.put_meta(META_FORMAT, &STORE_FORMAT_VERSION)?;
        }
        self.put_meta(META_IDENTITY, identity)?;
        self.write_ledger(&self.counts()?)
    }

    /// The tally, as of the last commit.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn counts(&self) -> Result<Tally, StoreError> {
        match self.hidden {
            None => Ok(self.get_meta(META_COUNTS)?.unwrap_or_default()),
            Some(_) => self.shown(|_, counts| counts),
        }
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
        if self.view.is_some() || self.hidden.is_some() {
            return Ok(()); // it only saves the next search
        }
        self.put_meta(META_BUSIEST, &note)
    }

    /// Writes changes: to the log, to the disk, and then to the database, which is not flushed, since the log can build it
    /// again. The only way into a store.
    pub(super) fn write(&self, changes: Changes, durability: Durability) -> Result<(), StoreError> {
        if self.view.is_some() {
            return Err(StoreError::ReadOnly(self.path.clone()));
        }
        let failed = |source: std::io::Error| StoreError::database("commit answers", source.into());
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever fails from here on, the log may be ahead of the database.
        let before = applied.take().ok_or(StoreError::WriterStopped)?;
        let Changes { mut operations, records } = changes;
        let (keys, values): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let operations_of = |places: &[Place]| {
            let of = |(key, place): (_, &Place)| Operation { tree: RECORDS, key, value: Some(place.to_bytes()) };
            operations.extend(keys.into_iter().zip(places).map(of));
            operations_to_bytes(&operations)
        };
        let head = self.values.append(Kind::Commit, &values, operations_of).map_err(failed)?;
        place_records(&mut operations, head.values_at());
        let position = head.position();
        drop(values);
        *applied = Some(match durability {
            Durability::Now => {
                self.values.sync().map_err(failed)?;
                fail_point("index.before_apply");
                let after = self.index.apply(before, &operations, position)?;
                fail_point("index.after_apply");
                self.index.pack_if_large(after)?
            }
            Durability::AtTheEnd => {
                self.index.apply_in_bulk(operations)?;
                Applied { position, ..before }
            }
        });
        Ok(())
    }

    /// Fails if the database does not hold what was written into it. [`Store::open`] has looked before.
    pub(super) fn check_index(&self) -> Result<(), StoreError> {
        let applied = *self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = applied.ok_or(StoreError::WriterStopped)?;
        self.index.check(applied)
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
        let operation = Operation { tree: META, key: key.to_vec(), value: Some(seal_json(value)?) };
        self.write(Changes { operations: vec![operation], ..Changes::default() }, Durability::Now)
    }

    /// Behind the last commit in the log that is in the database.
    pub(super) fn position(&self) -> Position {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.map_or_else(Position::default, |applied| applied.position)
    }

    /// The number of the log; `None` after a failure.
    pub(super) fn log_id(&self) -> Option<u64> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).map(|applied| applied.log_id)
    }

    pub(super) fn write_ledger(&self, counts: &Tally) -> Result<(), StoreError> {
        let applied = *self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let Applied { position, log_id, .. } = applied.unwrap_or_default();
        let ledger = Ledger {
            format: STORE_FORMAT_VERSION,
            store_id: self.get_meta(META_STORE_ID)?.unwrap_or_default(),
            identity: self.get_meta(META_IDENTITY)?,
            harvests: self.harvests()?,
            counts: counts.clone(),
            log_id,
            last_commit: position.number,
            log_end: position.end,
            written_at: Timestamp::now(),
            check: String::new(), // see `Ledger::write`
        };
        ledger.write(&self.path)
    }
}
