//! Fills a new store: many settlements, no transactions, one flush at the end.
//!
//! For [`Incoming`](super::Incoming) stores only: nobody reads such a store before it is complete, so nothing needs to be
//! durable before then.

use std::collections::HashSet;

use super::format::META_COUNTS;
use super::index::{Applied, Index};
use super::open::{building_in, remove_folder, switch_database};
use super::sled_open::LEAST_CACHE_BYTES;
use super::staging::{KnownJobs, Staging};
use super::{Pending, Settlement, Store, StoreError, Tally};
use crate::model::{PushId, Request, Timestamp};

/// The only writer of a new store.
#[derive(Debug)]
pub struct BulkWriter<'a> {
    store: &'a Store,
    counts: Tally,
    pushes: HashSet<PushId>,
    known_jobs: KnownJobs,
}

impl<'a> BulkWriter<'a> {
    /// Reads the tally and the pushes of `store`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn new(store: &'a Store) -> Result<Self, StoreError> {
        Ok(Self { store, counts: store.counts()?, pushes: store.durable_push_ids()?, known_jobs: KnownJobs::default() })
    }

    /// Writes settlements; requests that are settled already stay as they are.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn settle(&mut self, settlements: impl IntoIterator<Item = Settlement>) -> Result<(), StoreError> {
        let staging = Staging::of_unfinished(self.store, self.counts.clone(), &mut self.pushes)?;
        let mut staging = staging.with_known_jobs(&mut self.known_jobs);
        for settlement in settlements {
            staging.settle(settlement)?;
        }
        self.counts = staging.commit()?;
        Ok(())
    }

    /// Writes a settlement of `request`, replacing an existing one.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn settle_anew(&mut self, request: &Request, settlement: Settlement) -> Result<(), StoreError> {
        let mut staging = Staging::of_unfinished(self.store, self.counts.clone(), &mut self.pushes)?;
        staging.ask_again(request, Timestamp::default())?;
        staging.settle(settlement)?;
        self.counts = staging.commit()?;
        Ok(())
    }

    /// Adds requests to the frontier, except known ones.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn discover(&mut self, pending: Vec<Pending>) -> Result<(), StoreError> {
        self.settle([Settlement::discovery(pending)])
    }

    /// Flushes everything to the disk. Returns the tally.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn finish(self) -> Result<Tally, StoreError> {
        self.store.put_meta(META_COUNTS, &self.counts)?;
        self.store.flush_all(&self.counts)?;
        Ok(self.counts)
    }
}

impl Store {
    /// Flushes everything, then writes the ledger.
    pub(super) fn flush_all(&self, counts: &Tally) -> Result<(), StoreError> {
        self.values.sync().map_err(|source| StoreError::database("flush to the disk", source.into()))?;
        let mut applied = self.applied.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let complete = applied.ok_or(StoreError::WriterStopped)?;
        *applied = Some(if self.index.is_in_memory() {
            self.build_database(complete)?
        } else {
            let complete = Applied { sum: self.index.sum()?, ..complete };
            self.index.set_applied(complete)?;
            complete
        });
        drop(applied);
        self.write_ledger(counts)
    }

    /// Writes the database that is in memory.
    fn build_database(&self, applied: Applied) -> Result<Applied, StoreError> {
        let failed = |source| StoreError::Folder { path: self.path.clone(), source };
        let building = building_in(&self.path);
        remove_folder(&building).map_err(failed)?;
        let applied = Index::build(&building, LEAST_CACHE_BYTES, self.index.entries(), applied)?;
        switch_database(&self.path).map_err(failed)?;
        Ok(applied)
    }
}
