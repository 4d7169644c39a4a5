//! Reads all data once, in key order: each chunk is decoded once for any number of reducers.
//!
//! ```text
//!   Signatures::blocks -> workers (decode a chunk, show it to every reducer's worker) => mailbox of each reducer => its value
//! ```
//!
//! The pass deals signatures to its workers in blocks of about equally many data. Reducers take blocks in the order of the
//! signatures, so their values do not depend on the number of workers. A block is in flight until every reducer has taken
//! it, and the number of blocks in flight is bounded ([`crate::actor::deal`]).

pub(super) mod external_sort;
mod reducer;
pub(crate) mod signatures;

use std::path::Path;
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

use crate::actor::{DealError, Inbox, Numbered, Shutdown, deal, parallelism};
use crate::config::Config;
use crate::model::PushRevisions;
use crate::observe::Reducing;
use crate::store::columns::{ColumnSet, Columns, DATA_PER_CHUNK, encode};
use crate::store::{ChunkReader, SeriesReader, Store, StoreError};

use self::external_sort::PairSorter;
pub(crate) use self::reducer::{Chunk, Reducer, ReducerWorker, SignatureJobs};
use self::reducer::{ReducerActor, Seat, Seats};
use self::signatures::{Block, Part, Signatures, by_signature};
use super::error::DatasetError;
use super::promise::{Promised, promise};

/// Maximum number of reducers of one pass that sort: coverage and the job index, or coverage by both semantics.
const MAX_SORTING_REDUCERS: usize = 2;

/// The resources of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    workers: usize,
    memory_bytes: usize,
    /// The folder for the temporary files of sorting.
    spill_dir: &'a Path,
    pub(crate) reducing: &'a Reducing,
    /// Interrupts the pass.
    pub(crate) shutdown: &'a Shutdown,
}

impl<'a> Means<'a> {
    pub(crate) fn of(config: &Config, spill_dir: &'a Path, reducing: &'a Reducing, shutdown: &'a Shutdown) -> Self {
        let workers = match config.reduce.workers {
            0 => parallelism(),
            workers => workers,
        };
        Self { workers, memory_bytes: config.reduce.memory_bytes.get(), spill_dir, reducing, shutdown }
    }

    /// A sorter with one worker's share of the memory.
    pub(crate) fn sorter(&self) -> PairSorter {
        PairSorter::new(self.memory_bytes / (self.workers * MAX_SORTING_REDUCERS), self.spill_dir)
    }

    /// # Errors
    /// [`DatasetError::Interrupted`] if the run is ending.
    pub(crate) fn check_interrupted(&self) -> Result<(), DatasetError> {
        if self.shutdown.is_draining() { Err(DatasetError::Interrupted) } else { Ok(()) }
    }
}

/// Starts a thread.
///
/// # Errors
/// [`DatasetError::Thread`] if the system refuses it.
pub(crate) fn spawn_in<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, DatasetError> {
    std::thread::Builder::new().spawn_scoped(scope, run).map_err(DatasetError::Thread)
}

/// The first error of the two, except that [`DatasetError::Abandoned`] yields to its cause.
pub(crate) fn first_reason(one: Result<(), DatasetError>, other: Result<(), DatasetError>) -> Result<(), DatasetError> {
    match (one, other) {
        (Ok(()) | Err(DatasetError::Abandoned), Err(error)) => Err(error),
        (one, _) => one,
    }
}

/// A pass with its reducers.
pub(crate) struct Pass<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    store: &'env Store,
    signatures: &'env Signatures,
    means: Means<'env>,
    blocks: Vec<Block>,
    seats: Vec<Seats<'scope>>,
    /// Those of the reducers.
    threads: Vec<ScopedJoinHandle<'scope, Result<(), DatasetError>>>,
}

impl<'scope, 'env> Pass<'scope, 'env> {
    /// A pass over `signatures`, without reducers.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        store: &'env Store,
        signatures: &'env Signatures,
        means: Means<'env>,
    ) -> Self {
        Self { scope, store, signatures, means, blocks: signatures.blocks(), seats: Vec::new(), threads: Vec::new() }
    }

    fn num_workers(&self) -> usize {
        self.means.workers.clamp(1, self.blocks.len().max(1))
    }

    /// Starts `reducer` on its own thread, which calls `then` with the value.
    ///
    /// # Errors
    /// [`DatasetError::Thread`].
    pub(crate) fn start<R, T>(
        &mut self,
        reducer: R,
        then: impl FnOnce(R::Value) -> Result<T, DatasetError> + Send + 'scope,
    ) -> Result<Promised<T>, DatasetError>
    where
        R: Reducer + 'scope,
        T: Send + Sync + 'scope,
    {
        let (actor, seats) = ReducerActor::new(reducer, self.num_workers(), self.blocks.len());
        let (promise, promised) = promise();
        let means = self.means;
        self.threads.push(spawn_in(self.scope, move || {
            let value = actor.run()?;
            means.check_interrupted()?;
            promise.keep(then(value)?);
            Ok(())
        })?);
        self.seats.push(seats);
        Ok(promised)
    }

    /// Reads the data, feeds the reducers, and waits for them: then every promised value is there. Reads nothing without
    /// reducers.
    ///
    /// # Errors
    /// The first error of the pass or of a reducer.
    pub(crate) fn run(mut self, stage: &'static str) -> Result<(), DatasetError> {
        if self.seats.is_empty() {
            return Ok(());
        }
        let seats = std::mem::take(&mut self.seats);
        let mut result = self.read(seats, stage);
        self.means.reducing.enter("computing and writing the artifacts");
        for thread in self.threads {
            result = first_reason(result, thread.join().unwrap_or(Err(DatasetError::WorkerPanicked)));
        }
        result
    }

    /// Ends the reducers without their data.
    pub(crate) fn abandon(self) {
        drop(self.seats);
        for thread in self.threads {
            let _abandoned = thread.join();
        }
    }

    fn read(&self, seats: Vec<Seats<'scope>>, stage: &'static str) -> Result<(), DatasetError> {
        let num_workers = self.num_workers();
        let mut wanted = seats.iter().fold(ColumnSet::NONE, |wanted, seats| wanted | seats.columns);
        if wanted.contains(ColumnSet::JOB_IDS) {
            wanted = wanted | ColumnSet::IRREGULAR; // for `SignatureJobs`
        }
        self.means.reducing.pass(stage, self.signatures.len() as u64);
        let revisions = self.store.push_revisions();
        let mut seats: Vec<_> = seats.into_iter().map(|seats| seats.workers.into_iter()).collect();
        let workers = (0..num_workers).map(|_| {
            let seats = seats.iter_mut().filter_map(Iterator::next).collect();
            let worker = Worker {
                signatures: self.signatures,
                chunks: ChunkReader::new(self.store),
                series: SeriesReader::new(self.store)?,
                columns: Columns::default(),
                wanted,
                revisions: &revisions,
                jobs: SignatureJobs::default(),
                reducing: self.means.reducing,
                seats,
            };
            Ok::<_, DatasetError>(move |inbox| worker.run(inbox))
        });
        let workers = workers.collect::<Result<_, _>>()?;
        let blocks = self.blocks.iter().map(|block| self.means.check_interrupted().map(|()| block));
        match deal(blocks, 3 * num_workers, workers) {
            Ok(()) => Ok(()),
            Err(DealError::Failed(error)) => Err(error),
            Err(DealError::Panicked) => Err(DatasetError::WorkerPanicked),
            Err(DealError::Thread(error)) => Err(DatasetError::Thread(error)),
        }
    }
}

/// One thread of the pass.
struct Worker<'a, 'scope> {
    signatures: &'a Signatures,
    chunks: ChunkReader<'a>,
    /// For signatures whose parts must be joined.
    series: SeriesReader<'a>,
    columns: Columns,
    wanted: ColumnSet,
    revisions: &'a PushRevisions,
    jobs: SignatureJobs,
    reducing: &'a Reducing,
    seats: Vec<Box<dyn Seat + 'scope>>,
}

impl<'a> Worker<'a, '_> {
    fn run(mut self, inbox: Inbox<&'a Block>) -> Result<(), DatasetError> {
        for Numbered { number, item: block, ticket } in inbox {
            let block = self.signatures.parts_in(block);
            self.seats.iter_mut().for_each(|seat| seat.open(&block));
            let mut num_signatures = 0;
            for parts in by_signature(&block) {
                self.read(parts)?;
                num_signatures += 1;
            }
            self.reducing.add(num_signatures);
            let ticket = Arc::new(ticket);
            if !self.seats.iter_mut().all(|seat| seat.hand_over(number, &ticket)) {
                return Err(DatasetError::Abandoned); // a reducer failed; its thread returns the error
            }
        }
        self.seats.into_iter().for_each(Seat::leave);
        Ok(())
    }

    fn read(&mut self, parts: &[Part]) -> Result<(), DatasetError> {
        let Self { chunks, series, columns, wanted, revisions, jobs, seats, .. } = self;
        let signature = parts[0].signature;
        jobs.begin(signature);
        for seat in seats.iter_mut() {
            seat.begin_signature(signature);
        }
        let mut show = |part: &Part, columns: &Columns| {
            let chunk = Chunk { part, columns, revisions };
            if wanted.contains(ColumnSet::JOB_IDS) {
                jobs.extend(columns);
            }
            seats.iter_mut().try_for_each(|seat| seat.chunk(&chunk))
        };
        if parts.iter().all(|part| part.harvest == parts[0].harvest) {
            for part in parts {
                chunks.for_each(&part.request(), part.num_chunks, *wanted, |columns| show(part, columns))?;
            }
        } else {
            // The open harvest has more of them: they are read as they will be when its answers are joined.
            let stored: Vec<_> = parts.iter().map(Part::stored).collect();
            let joined = series.read(&stored)?;
            let mut is_known = |push, revision| revisions.get(&push) == Some(&revision);
            for chunk in encode(&joined.data, Some(&joined.seen), &mut is_known, DATA_PER_CHUNK) {
                let decoded = columns.decode(&chunk.bytes, *wanted);
                decoded.map_err(|source| StoreError::damaged_chunk(&parts[0].request(), &source))?;
                show(&parts[0], columns)?;
            }
        }
        seats.iter_mut().try_for_each(|seat| seat.end_signature(jobs))
    }
}

#[cfg(test)]
mod tests;
