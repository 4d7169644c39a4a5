//! Defines reducers, which compute values from the data of a pass.
//!
//! A reducer has a worker on each thread of the pass, which turns every block of signatures into a result. The reducer
//! itself is an actor on its own thread: it takes these results from a bounded mailbox in key order, and finishes with the
//! workers when the pass has ended.

use std::sync::Arc;

use crate::actor::{InOrder, Ticket};
use crate::dataset::error::DatasetError;
use crate::model::{JobId, PushId, PushRevisions, Revision, SignatureId};
use crate::store::StoreError;
use crate::store::columns::{ColumnSet, Columns};

use super::signatures::Part;

/// Computes a value from all stored data.
pub(crate) trait Reducer: Send + Sized {
    /// A worker's result for a block of signatures.
    type Block: Send;
    /// Does the work that does not depend on order; one runs on each thread of the pass.
    type Worker: ReducerWorker<Block = Self::Block>;
    /// The result of the reducer.
    type Value;

    /// The columns that the workers read; [`ColumnSet::NONE`] if they read none.
    fn columns(&self) -> ColumnSet;

    fn worker(&self) -> Self::Worker;

    /// Takes the next block, in key order.
    ///
    /// # Errors
    /// Any error ends the pass.
    fn take(&mut self, block: Self::Block) -> Result<(), DatasetError>;

    /// Computes the value after the last block. The workers are in arbitrary order.
    ///
    /// # Errors
    /// Any error becomes the result of the reducer's thread.
    fn finish(self, workers: Vec<Self::Worker>) -> Result<Self::Value, DatasetError>;
}

/// The part of a [`Reducer`] that runs on each thread of the pass. For each block, the pass calls its methods as
/// `open (begin_signature chunk* end_signature)*`.
pub(crate) trait ReducerWorker: Send {
    /// See [`Reducer::Block`].
    type Block: Send;

    /// Starts a block of these signatures.
    fn open(&mut self, signatures: &[Part]) -> Self::Block;

    fn begin_signature(&mut self, _signature: SignatureId, _block: &mut Self::Block) {}

    /// Takes the next chunk of the signature's data, in the order of the data.
    ///
    /// # Errors
    /// Any error ends the pass.
    fn chunk(&mut self, _chunk: &Chunk<'_>, _block: &mut Self::Block) -> Result<(), DatasetError> {
        Ok(())
    }

    /// Ends the signature, with the jobs of all its chunks.
    ///
    /// # Errors
    /// Any error ends the pass.
    fn end_signature(&mut self, _jobs: &mut SignatureJobs, _block: &mut Self::Block) -> Result<(), DatasetError> {
        Ok(())
    }
}

/// A decoded chunk of the data of one signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk<'a> {
    /// The window that the chunk belongs to.
    pub(crate) part: &'a Part,
    /// The columns that any reducer of the pass reads.
    pub(crate) columns: &'a Columns,
    /// The revision of each push.
    pub(crate) revisions: &'a PushRevisions,
}

impl Chunk<'_> {
    /// The revision of the datum at index `at`; `None` for an irregular datum without one.
    pub(crate) fn revision(&self, at: usize) -> Option<Revision> {
        self.columns.revision(at, |push: PushId| self.revisions.get(&push).copied())
    }

    /// The error for a chunk with unexpected content.
    pub(crate) fn damaged(&self, source: &dyn std::fmt::Display) -> DatasetError {
        StoreError::damaged_chunk(&self.part.request(), source).into()
    }
}

/// The jobs of a signature's data; empty unless a reducer of the pass reads [`ColumnSet::JOB_IDS`].
#[derive(Debug, Default)]
pub(crate) struct SignatureJobs {
    pub(crate) signature: SignatureId,
    /// One per datum, in the order of the data; `None` if the server has deleted the job.
    pub(crate) ids: Vec<Option<JobId>>,
    /// The jobs of data without the key `job_id`, which are listed and never sampled.
    without_key: Vec<u64>,
    /// Data with a job id that cannot be read.
    pub(crate) num_unreadable: u64,
    distinct: Vec<u64>,
    is_sorted: bool,
}

impl SignatureJobs {
    pub(super) fn begin(&mut self, signature: SignatureId) {
        self.signature = signature;
        self.ids.clear();
        self.without_key.clear();
        self.num_unreadable = 0;
        self.is_sorted = false;
    }

    pub(super) fn extend(&mut self, columns: &Columns) {
        for at in 0..columns.len() {
            let job = columns.job_id(at);
            self.ids.push(job);
            if let Some(fields) = columns.fields(at).filter(|_| job.is_none()) {
                self.without_key.extend(fields.job_without_key().map(|job| job.0));
                self.num_unreadable += u64::from(fields.has_unreadable_job_id());
            }
        }
    }

    /// The distinct jobs under which the data are listed, ascending; computed once per signature for all reducers.
    pub(crate) fn distinct(&mut self) -> &[u64] {
        if !self.is_sorted {
            self.distinct.clear();
            self.distinct.extend(self.ids.iter().flatten().map(|job| job.0));
            self.distinct.extend_from_slice(&self.without_key);
            self.distinct.sort_unstable();
            self.distinct.dedup();
            self.is_sorted = true;
        }
        &self.distinct
    }
}

/// A message to a reducer.
enum Message<R: Reducer> {
    /// A worker's result for a block; the reducer drops the ticket after taking it.
    Block { number: usize, block: R::Block, ticket: Arc<Ticket> },
    /// A worker after its last block.
    Worker(R::Worker),
}

/// The seats of one reducer: a worker for each thread of the pass, with a sender to the mailbox.
pub(super) struct Seats<'a> {
    pub(super) columns: ColumnSet,
    pub(super) workers: Vec<Box<dyn Seat + 'a>>,
}

/// A worker of any reducer.
pub(super) trait Seat: Send {
    fn open(&mut self, signatures: &[Part]);
    fn begin_signature(&mut self, signature: SignatureId);
    fn chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), DatasetError>;
    fn end_signature(&mut self, jobs: &mut SignatureJobs) -> Result<(), DatasetError>;
    /// Sends the block to the reducer; false if the reducer has failed.
    fn hand_over(&mut self, number: usize, ticket: &Arc<Ticket>) -> bool;
    /// Sends the worker to the reducer, after the last block.
    fn leave(self: Box<Self>);
}

struct TypedSeat<R: Reducer> {
    worker: R::Worker,
    block: Option<R::Block>,
    mailbox: flume::Sender<Message<R>>,
}

impl<R: Reducer> Seat for TypedSeat<R> {
    fn open(&mut self, signatures: &[Part]) {
        self.block = Some(self.worker.open(signatures));
    }

    fn begin_signature(&mut self, signature: SignatureId) {
        if let Some(block) = &mut self.block {
            self.worker.begin_signature(signature, block);
        }
    }

    fn chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), DatasetError> {
        self.block.as_mut().map_or(Ok(()), |block| self.worker.chunk(chunk, block))
    }

    fn end_signature(&mut self, jobs: &mut SignatureJobs) -> Result<(), DatasetError> {
        self.block.as_mut().map_or(Ok(()), |block| self.worker.end_signature(jobs, block))
    }

    fn hand_over(&mut self, number: usize, ticket: &Arc<Ticket>) -> bool {
        let Some(block) = self.block.take() else { return true };
        self.mailbox.send(Message::Block { number, block, ticket: Arc::clone(ticket) }).is_ok()
    }

    fn leave(self: Box<Self>) {
        let _reducer_may_have_failed = self.mailbox.send(Message::Worker(self.worker));
    }
}

/// A reducer with its mailbox; [`ReducerActor::run`] is the body of its thread.
pub(super) struct ReducerActor<R: Reducer> {
    reducer: R,
    /// Receives from the workers of the pass; closed when all of them have ended.
    mailbox: flume::Receiver<Message<R>>,
    num_workers: usize,
    num_blocks: usize,
}

impl<R: Reducer> ReducerActor<R> {
    /// For a pass of `num_blocks` blocks by `num_workers` threads.
    pub(super) fn new<'a>(reducer: R, num_workers: usize, num_blocks: usize) -> (Self, Seats<'a>)
    where
        R: 'a,
    {
        // Tickets bound the blocks in flight; the mailbox only has to keep workers from waiting.
        let (sender, mailbox) = flume::bounded(2 * num_workers);
        let seat = |_| -> Box<dyn Seat + 'a> {
            Box::new(TypedSeat::<R> { worker: reducer.worker(), block: None, mailbox: sender.clone() })
        };
        let seats = Seats { columns: reducer.columns(), workers: (0..num_workers).map(seat).collect() };
        (Self { reducer, mailbox, num_workers, num_blocks }, seats)
    }

    pub(super) fn run(mut self) -> Result<R::Value, DatasetError> {
        let mut blocks = InOrder::default();
        let mut workers = Vec::with_capacity(self.num_workers);
        for message in self.mailbox {
            match message {
                Message::Block { number, block, ticket } => blocks.put(number, (block, ticket)),
                Message::Worker(worker) => workers.push(worker),
            }
            while let Some((block, _ticket)) = blocks.take() {
                self.reducer.take(block)?;
            }
        }
        if workers.len() < self.num_workers || blocks.num_taken() < self.num_blocks {
            return Err(DatasetError::Abandoned); // the pass returns the error
        }
        self.reducer.finish(workers)
    }
}
