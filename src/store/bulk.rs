//! Filling a store that is being made: many settlements, no transactions, one flush at the end.
//!
//! For [`Incoming`](super::Incoming) stores only: nobody reads such a store before it is complete, so nothing needs to
//! be durable on the way.

use std::collections::HashSet;

use super::format::{META_COUNTS, META_VALUES};
use super::staging::{KnownJobs, Staging};
use super::{Counts, Pending, Settlement, Store, StoreError};
use crate::model::{PushId, Request, Timestamp};

/// The one writer of a store that is being made.
#[derive(Debug)]
pub struct BulkWriter<'a> {
    store: &'a Store,
    counts: Counts,
    pushes: HashSet<PushId>,
    known_jobs: KnownJobs,
}

impl<'a> BulkWriter<'a> {
    /// A writer to `store`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn new(store: &'a Store) -> Result<Self, StoreError> {
        Ok(Self { store, counts: store.counts()?, pushes: store.durable_push_ids()?, known_jobs: KnownJobs::default() })
    }

    /// Writes settlements; what is settled already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn settle(&mut self, settlements: impl IntoIterator<Item = Settlement>) -> Result<(), StoreError> {
        let staging = Staging::of_unfinished(self.store, self.counts.clone(), &mut self.pushes);
        let mut staging = staging.with_known_jobs(&mut self.known_jobs);
        for settlement in settlements {
            staging.settle(settlement)?;
        }
        self.counts = staging.write()?;
        Ok(())
    }

    /// Writes a settlement of `request` in place of the one that there may be.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn settle_anew(&mut self, request: &Request, settlement: Settlement) -> Result<(), StoreError> {
        let mut staging = Staging::of_unfinished(self.store, self.counts.clone(), &mut self.pushes);
        staging.ask_again(request, Timestamp::default())?;
        staging.settle(settlement)?;
        self.counts = staging.write()?;
        Ok(())
    }

    /// Brings requests into the frontier, those that are not settled.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn discover(&mut self, pending: Vec<Pending>) -> Result<(), StoreError> {
        self.settle([Settlement::discovery(pending)])
    }

    /// Waits until everything is on the disk. Returns the tally.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub fn finish(self) -> Result<Counts, StoreError> {
        self.store.put_meta(META_COUNTS, &self.counts)?;
        self.store.flush_all(&self.counts)?;
        Ok(self.counts)
    }
}

impl Store {
    /// Flushes everything, then writes the ledger.
    pub(super) fn flush_all(&self, counts: &Counts) -> Result<(), StoreError> {
        let action = "flush to the disk";
        self.values.sync().map_err(|source| StoreError::database(action, source.into()))?;
        self.put_meta(META_VALUES, &self.values.len())?;
        self.flush(action)?;
        self.write_ledger(counts)
    }
}
