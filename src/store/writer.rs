//! The one writer: everything that changes the store goes through its mailbox.
//!
//! It gathers changes for at most `commit_interval`, commits them in one transaction, flushes, and only then tells the
//! scheduler. It stops when all handles are gone, never on a cancellation: what it has accepted is kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::staging::{KnownJobs, Staging};
use super::value::{Failure, Pending};
use super::{Counts, Ledger, Settlement, Store, StoreError};
use crate::config::StoreConfig;
use crate::model::Batch;

/// The ledger is at most this much older than the last commit.
const LEDGER_INTERVAL: Duration = Duration::from_secs(1);

/// Something to store.
#[derive(Debug)]
pub enum Change {
    /// An answer.
    Settle {
        /// The batch that it answers; its place in flight becomes free.
        batch: Batch,
        /// The answer.
        settlement: Box<Settlement>,
    },
    /// A batch that is given up for now.
    Fail {
        /// The batch.
        batch: Batch,
        /// Why.
        failure: Box<Failure>,
    },
    /// A batch that is asked in other parts.
    Replace {
        /// The batch.
        batch: Batch,
        /// What takes its place in the frontier.
        parts: Vec<Pending>,
        /// HTTP requests that it took to see that.
        attempts: u32,
    },
    /// Requests and settlements that follow from what is stored.
    Expand {
        /// What follows.
        settlement: Box<Settlement>,
    },
    /// Requests that are to be asked again.
    AskAgain {
        /// The requests.
        requests: Vec<Pending>,
    },
    /// The crawl has come to its end: nothing follows from what is stored.
    Finish,
}

/// What became durable.
#[derive(Debug)]
pub enum StoreEvent {
    /// A change of a batch is on the disk.
    Committed {
        /// The batch; `None` for an expansion.
        batch: Option<Batch>,
        /// Requests that the change brought into the frontier.
        fresh: Vec<Pending>,
        /// True when the batch was given up for now.
        failed: bool,
    },
}

/// The store's writer. [`StoreWriter::new`] gives the handle through which it is reached.
#[derive(Debug)]
pub struct StoreWriter {
    store: Arc<Store>,
    /// From fetchers and scheduler; it closes when the last handle is dropped, and then the writer ends.
    inbox: flume::Receiver<Change>,
    /// To the scheduler, which holds the other end. Its capacity is the number of batches in flight, so that telling it
    /// never waits for long.
    events: flume::Sender<StoreEvent>,
    commit_records: usize,
    commit_interval: Duration,
}

/// Where changes are handed in. Dropping all handles ends the writer.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    store: Arc<Store>,
    changes: flume::Sender<Change>,
}

impl StoreHandle {
    /// Hands a change to the writer; returns when it has a place in the mailbox, not when it is stored.
    ///
    /// # Errors
    /// [`StoreError::WriterStopped`].
    ///
    /// # Cancel safety
    /// A dropped future may lose the change; the request is then still pending.
    pub async fn submit(&self, change: Change) -> Result<(), StoreError> {
        self.changes.send_async(change).await.map_err(|_| StoreError::WriterStopped)
    }

    /// Hands a change to the writer when there is room; gives it back when there is none.
    ///
    /// # Errors
    /// [`StoreError::WriterStopped`].
    pub fn try_submit(&self, change: Change) -> Result<Option<Change>, StoreError> {
        match self.changes.try_send(change) {
            Ok(()) => Ok(None),
            Err(flume::TrySendError::Full(change)) => Ok(Some(change)),
            Err(flume::TrySendError::Disconnected(_)) => Err(StoreError::WriterStopped),
        }
    }

    /// The store, to read.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl StoreWriter {
    /// Makes the writer and its first handle. The mailbox holds two commits: one is written while the next gathers.
    #[must_use]
    pub fn new(store: Arc<Store>, config: &StoreConfig, events: flume::Sender<StoreEvent>) -> (Self, StoreHandle) {
        let commit_records = config.commit_records.get();
        let (changes, inbox) = flume::bounded(commit_records.saturating_mul(2));
        let handle = StoreHandle { store: Arc::clone(&store), changes };
        (Self { store, inbox, events, commit_records, commit_interval: config.commit_interval }, handle)
    }

    /// Writes until all handles are gone. Blocks: call it on a thread of its own.
    ///
    /// # Errors
    /// The first [`StoreError`]; nothing is written after it.
    pub fn run(self) -> Result<Counts, StoreError> {
        let mut counts = self.store.counts()?;
        let mut durable_pushes: HashSet<_> = self.store.durable_push_ids()?;
        let mut known_jobs = KnownJobs::default();
        let mut ledger_due = Instant::now();
        while let Ok(first) = self.inbox.recv() {
            let gathered = self.gather(first);
            let staging = Staging::new(&self.store, counts, &mut durable_pushes);
            let mut staging = staging.with_known_jobs(&mut known_jobs);
            let mut events = Vec::with_capacity(gathered.len());
            for change in gathered {
                events.push(stage(&mut staging, change)?);
            }
            counts = staging.commit()?;
            if Instant::now() >= ledger_due {
                self.store.write_ledger(&counts)?;
                ledger_due = Instant::now() + LEDGER_INTERVAL;
            }
            for event in events {
                // The scheduler may have gone already, when the run is being ended; what is stored stays stored.
                let _gone = self.events.send(event);
            }
        }
        self.store.write_ledger(&counts)?;
        Ok(counts)
    }

    /// Takes what comes within the interval, up to a commit's size.
    fn gather(&self, first: Change) -> Vec<Change> {
        let mut gathered = vec![first];
        let deadline = Instant::now() + self.commit_interval;
        while gathered.len() < self.commit_records {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(change) => gathered.push(change),
                Err(flume::RecvTimeoutError::Timeout | flume::RecvTimeoutError::Disconnected) => break,
            }
        }
        gathered
    }
}

fn stage(staging: &mut Staging<'_>, change: Change) -> Result<StoreEvent, StoreError> {
    let mut failed = false;
    let (batch, fresh) = match change {
        Change::Settle { batch, settlement } => (Some(batch), staging.settle(*settlement)?),
        Change::Expand { settlement } => (None, staging.settle(*settlement)?),
        Change::Fail { batch, failure } => {
            for (number, request) in batch.requests().iter().enumerate() {
                staging.fail(request, &failure, number == 0)?;
            }
            failed = true;
            (Some(batch), Vec::new())
        }
        Change::Replace { batch, parts, attempts } => {
            let mut fresh = Vec::new();
            for request in batch.requests() {
                fresh.extend(staging.replace(request, &parts, attempts)?);
            }
            (Some(batch), fresh)
        }
        Change::AskAgain { requests } => {
            for pending in &requests {
                staging.ask_again(&pending.request, pending.submitted)?;
            }
            (None, requests)
        }
        Change::Finish => {
            staging.finish();
            (None, Vec::new())
        }
    };
    Ok(StoreEvent::Committed { batch, fresh, failed })
}

impl Store {
    /// Stores a change by itself and at once, outside of a crawl.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be stored.
    pub fn commit(&self, change: Change) -> Result<Counts, StoreError> {
        let mut durable: HashSet<_> = self.durable_push_ids()?;
        let mut staging = Staging::new(self, self.counts()?, &mut durable);
        stage(&mut staging, change)?;
        let counts = staging.commit()?;
        self.write_ledger(&counts)?;
        Ok(counts)
    }

    /// Writes the ledger where it is behind the store: a process may have been killed between the two.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn renew_ledger(&self) -> Result<(), StoreError> {
        let counts = self.counts()?;
        let is_current = Ledger::read(&self.path)?.is_some_and(|ledger| ledger.counts == counts);
        if is_current { Ok(()) } else { self.write_ledger(&counts) }
    }
}
