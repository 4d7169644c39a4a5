//! The jobs that are known only once all data are there: the samples of signatures in parts, or with `jobs.details = "all"` the
//! jobs of all data.
//!
//! Like every expansion, this depends on the store alone.

use std::collections::HashSet;

use super::expand::samples_of_signatures_in_parts;
use super::expansions::Expansions;
use crate::model::{JobId, Request, Timestamp};
use crate::store::columns::ColumnSet;
use crate::store::{ChunkReader, CrawlIdentity, Settlement, Store, StoreError, job_pending};

/// The expansions once no summary is pending or in flight.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(super) fn after_summaries(store: &Store, identity: &CrawlIdentity) -> Result<Expansions, StoreError> {
    if identity.scope.all_jobs {
        return all_jobs(store); // the samples are among them
    }
    Ok(Expansions::of(Settlement::discovery(samples_of_signatures_in_parts(store, identity)?)))
}

/// Requests for the jobs of all stored data that were never asked for, the oldest first.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(crate) fn all_jobs(store: &Store) -> Result<Expansions, StoreError> {
    let expand = |jobs: &[_]| Settlement::discovery(jobs.iter().copied().map(job_pending).collect());
    Ok(Expansions::in_portions(missing_jobs(store)?, expand))
}

/// The jobs of all stored data that were never asked for, the oldest first.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(crate) fn missing_jobs(store: &Store) -> Result<Vec<(JobId, Timestamp)>, StoreError> {
    let mut known: HashSet<JobId> = HashSet::new();
    let pending = store.pending().map(|pending| pending.map(|pending| pending.request));
    for request in pending.chain(store.failures().map(|failure| failure.map(|(request, _)| request))) {
        if let Request::Job { id } = request? {
            known.insert(id);
        }
    }
    let mut missing = Vec::new();
    let mut chunks = ChunkReader::new(store);
    for summary in store.settled_summaries() {
        let summary = summary?;
        let wanted = ColumnSet::JOB_IDS | ColumnSet::SUBMIT_TIMES;
        chunks.for_each::<StoreError>(&summary.request(), summary.settled.num_chunks, wanted, |columns| {
            for (id, submitted) in (0..columns.len()).filter_map(|at| columns.aged_job(at)) {
                if known.insert(id) && store.settled(&Request::Job { id })?.is_none() {
                    missing.push((id, submitted));
                }
            }
            Ok(())
        })?;
    }
    missing.sort_unstable_by_key(|(id, submitted)| (*submitted, *id));
    Ok(missing)
}
