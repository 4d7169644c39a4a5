//! What takes part in a pass: a reducer.
//!
//! A reducer has a worker on each thread of the pass, which makes something of every block of signatures, and itself runs
//! as an actor on a thread of its own: it takes the workers' blocks from a bounded mailbox in key order, and when the pass
//! has ended, finishes with what the workers kept.

use std::sync::Arc;

use crate::actor::{InOrder, Ticket};
use crate::dataset::error::DatasetError;
use crate::model::{JobId, PushId, PushRevisions, Revision, SignatureId};
use crate::store::StoreError;
use crate::store::columns::{ColumnSet, Columns};

use super::signatures::Part;

/// Computes something from all stored data.
pub(crate) trait Reducer: Send + Sized {
    /// What a worker makes of a block of signatures.
    type Block: Send;
    /// Does the part of the work that needs no order; one on each thread of the pass.
    type Worker: ReducerWorker<Block = Self::Block>;
    /// What comes of it.
    type Value;

    /// The columns that the workers read; [`ColumnSet::NONE`] when there is nothing to do, and no pass is needed.
    fn columns(&self) -> ColumnSet;

    /// Makes a worker.
    fn worker(&self) -> Self::Worker;

    /// Takes the next block, in key order.
    ///
    /// # Errors
    /// Any; the pass ends then.
    fn take(&mut self, block: Self::Block) -> Result<(), DatasetError>;

    /// Computes the value when all blocks are taken. The workers come in no particular order.
    ///
    /// # Errors
    /// Any.
    fn finish(self, workers: Vec<Self::Worker>) -> Result<Self::Value, DatasetError>;
}

/// The part of a [`Reducer`] that runs on each thread of the pass. Its methods are called for each block as
/// `open (begin_signature chunk* end_signature)*`.
pub(crate) trait ReducerWorker: Send {
    /// See [`Reducer::Block`].
    type Block: Send;

    /// Begins a block of these signatures.
    fn open(&mut self, signatures: &[Part]) -> Self::Block;

    /// Begins a signature.
    fn begin_signature(&mut self, _signature: SignatureId, _block: &mut Self::Block) {}

    /// Takes a chunk of the data of a signature; chunks come in the order of the data.
    ///
    /// # Errors
    /// Any; the pass ends then.
    fn chunk(&mut self, _chunk: &Chunk<'_>, _block: &mut Self::Block) -> Result<(), DatasetError> {
        Ok(())
    }

    /// Ends a signature.
    ///
    /// # Errors
    /// Any; the pass ends then.
    fn end_signature(&mut self, jobs: &mut SignatureJobs, block: &mut Self::Block) -> Result<(), DatasetError>;
}

/// Some data of one signature, decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk<'a> {
    /// Where they are.
    pub(crate) part: &'a Part,
    /// The columns that any reducer of the pass asked for.
    pub(crate) columns: &'a Columns,
    /// The revision of each push.
    pub(crate) revisions: &'a PushRevisions,
}

impl Chunk<'_> {
    /// The revision of the datum at `at`; `None` of an irregular one that names none.
    pub(crate) fn revision(&self, at: usize) -> Option<Revision> {
        self.columns.revision(at, |push: PushId| self.revisions.get(&push).copied())
    }

    /// The error of a chunk that does not hold what it should.
    pub(crate) fn damaged(&self, source: &dyn std::fmt::Display) -> DatasetError {
        StoreError::damaged_chunk(&self.part.request(), source).into()
    }
}

/// The jobs of a signature's data. The list stays empty when no reducer of the pass asked for
/// [`ColumnSet::JOB_IDS`].
#[derive(Debug, Default)]
pub(crate) struct SignatureJobs {
    pub(crate) signature: SignatureId,
    /// Of each datum, in the order of the data; `None` when the server has deleted the job.
    pub(crate) ids: Vec<Option<JobId>>,
    distinct: Vec<u64>,
    is_sorted: bool,
}

impl SignatureJobs {
    pub(super) fn begin(&mut self, signature: SignatureId) {
        self.signature = signature;
        self.ids.clear();
        self.is_sorted = false;
    }

    pub(super) fn extend(&mut self, columns: &Columns) {
        self.ids.extend((0..columns.len()).map(|at| columns.job_id(at)));
    }

    /// The distinct jobs, ascending; worked out once, however many reducers ask.
    pub(crate) fn distinct(&mut self) -> &[u64] {
        if !self.is_sorted {
            self.distinct.clear();
            self.distinct.extend(self.ids.iter().flatten().map(|job| job.0));
            self.distinct.sort_unstable();
            self.distinct.dedup();
            self.is_sorted = true;
        }
        &self.distinct
    }
}

/// What a reducer's mailbox holds.
enum Message<R: Reducer> {
    /// What a worker made of a block; the ticket is given back when the block is taken.
    Block { number: usize, block: R::Block, ticket: Arc<Ticket> },
    /// A worker that has done its last block.
    Worker(R::Worker),
}

/// The seats of one reducer: a worker for each thread of the pass, with a way to its mailbox.
pub(super) struct Seats<'a> {
    pub(super) columns: ColumnSet,
    pub(super) workers: Vec<Box<dyn Seat + 'a>>,
}

/// A worker, whatever reducer it belongs to.
pub(super) trait Seat: Send {
    fn open(&mut self, signatures: &[Part]);
    fn begin_signature(&mut self, signature: SignatureId);
    fn chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), DatasetError>;
    fn end_signature(&mut self, jobs: &mut SignatureJobs) -> Result<(), DatasetError>;
    /// Sends the block to the reducer; false when that has failed and takes no more.
    fn hand_over(&mut self, number: usize, ticket: &Arc<Ticket>) -> bool;
    /// Sends the worker itself.
    fn leave(self: Box<Self>);
}

struct SeatOf<R: Reducer> {
    worker: R::Worker,
    block: Option<R::Block>,
    mailbox: flume::Sender<Message<R>>,
}

impl<R: Reducer> Seat for SeatOf<R> {
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

/// A reducer with its mailbox; [`Actor::run`] is its thread.
pub(super) struct Actor<R: Reducer> {
    reducer: R,
    /// Fed by the workers of the pass, which all hold the other end; closed when they have ended.
    mailbox: flume::Receiver<Message<R>>,
    num_workers: usize,
    num_blocks: usize,
}

impl<R: Reducer> Actor<R> {
    /// Makes the actor and its seats for a pass of `num_blocks` blocks by `num_workers` threads.
    pub(super) fn new<'a>(reducer: R, num_workers: usize, num_blocks: usize) -> (Self, Seats<'a>)
    where
        R: 'a,
    {
        // Blocks in flight are bounded by their tickets; the mailbox only has to keep a worker from waiting.
        let (sender, mailbox) = flume::bounded(2 * num_workers);
        let seat = |_| -> Box<dyn Seat + 'a> {
            Box::new(SeatOf::<R> { worker: reducer.worker(), block: None, mailbox: sender.clone() })
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
            return Err(DatasetError::Abandoned); // the pass has the reason
        }
        self.reducer.finish(workers)
    }
}
