//! The single writer: every change of the store goes through its mailbox.
//!
//! It gathers changes for at most `commit_interval`, commits them in one transaction, flushes, and only then tells the
//! scheduler. It stops when all handles are dropped, never on a cancellation: accepted changes are always stored. When the
//! disk becomes short of space, it stops the head of the crawl, and still stores what was accepted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::staging::{KnownJobs, Staging};
use super::value::{Failure, Pending};
use super::{Ledger, Settlement, Store, StoreError, Tally};
use crate::actor::Shutdown;
use crate::config::StoreConfig;
use crate::model::Batch;

/// The ledger is at most this much older than the last commit. (A ledger costs two fsyncs.)
const LEDGER_INTERVAL: Duration = Duration::from_secs(1);

/// A change of the store.
#[derive(Debug)]
pub enum Change {
    /// An answer.
    Settle {
        /// The answered batch, which is not in flight any more.
        batch: Batch,
        /// One outcome a request.
        settlement: Box<Settlement>,
    },
    /// A failed batch; the next run asks again.
    Fail {
        /// The failed batch, which is not in flight any more.
        batch: Batch,
        /// The last error.
        failure: Box<Failure>,
    },
    /// A batch that is replaced by smaller requests.
    Replace {
        /// The replaced batch, which is not in flight any more.
        batch: Batch,
        /// Requests for the frontier.
        parts: Vec<Pending>,
        /// HTTP requests for the whole batch.
        attempts: u32,
    },
    /// Requests and settlements that follow from the stored answers.
    Expand {
        /// Answers no batch.
        settlement: Box<Settlement>,
    },
    /// Failed or damaged requests that return to the frontier.
    AskAgain {
        /// With their ages.
        requests: Vec<Pending>,
    },
    /// The end of the crawl: no more requests follow from the stored answers.
    Finish,
}

/// A change that became durable.
#[derive(Debug)]
pub enum StoreEvent {
    /// The change is on the disk.
    Committed {
        /// `None` for a change without a batch.
        batch: Option<Batch>,
        /// Requests that the change added to the frontier.
        fresh: Vec<Pending>,
        /// True for [`Change::Fail`].
        failed: bool,
    },
}

/// The writer. [`StoreWriter::new`] returns it with its first handle.
#[derive(Debug)]
pub struct StoreWriter {
    store: Arc<Store>,
    /// From fetchers and scheduler; it closes when the last handle is dropped, and then the writer stops.
    inbox: flume::Receiver<Change>,
    /// To the scheduler, which holds the other end. Its capacity is the number of batches in flight, so that sending rarely
    /// waits.
    events: flume::Sender<StoreEvent>,
    /// Stops the crawl when the disk is short of space.
    head: Shutdown,
    commit_records: usize,
    commit_interval: Duration,
}

/// A handle of the writer. The writer stops when all handles are dropped.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    store: Arc<Store>,
    changes: flume::Sender<Change>,
}

impl StoreHandle {
    /// Sends a change to the writer; returns when it is in the mailbox, not when it is stored.
    ///
    /// # Errors
    /// [`StoreError::WriterStopped`].
    ///
    /// # Cancel safety
    /// A dropped future may lose the change; the request is then still pending.
    pub async fn submit(&self, change: Change) -> Result<(), StoreError> {
        self.changes.send_async(change).await.map_err(|_| StoreError::WriterStopped)
    }

    /// Sends a change to the writer if the mailbox has room; otherwise returns the change.
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

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl StoreWriter {
    /// Makes the writer and its first handle; `head` stops the crawl that feeds it. The mailbox holds two commits: one is written while the next is gathered.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        config: &StoreConfig,
        events: flume::Sender<StoreEvent>,
        head: Shutdown,
    ) -> (Self, StoreHandle) {
        let commit_records = config.commit_records.get();
        let (changes, inbox) = flume::bounded(commit_records.saturating_mul(2));
        let handle = StoreHandle { store: Arc::clone(&store), changes };
        (Self { store, inbox, events, head, commit_records, commit_interval: config.commit_interval }, handle)
    }

    /// Writes until all handles are dropped. Blocks: call it on its own thread.
    ///
    /// # Errors
    /// The first [`StoreError`]; nothing is written after it. [`StoreError::LowSpace`] when the disk became short of space;
    /// everything accepted is stored nevertheless.
    pub fn run(self) -> Result<Tally, StoreError> {
        let mut counts = self.store.counts()?;
        let mut durable_pushes: HashSet<_> = self.store.durable_push_ids()?;
        let mut known_jobs = KnownJobs::default();
        let mut ledger_due = Instant::now();
        let mut shortage = None;
        while let Ok(first) = self.inbox.recv() {
            let gathered = self.gather(first);
            if shortage.is_none() {
                shortage = self.store.shortage();
                if shortage.is_some() {
                    self.head.drain();
                }
            }
            let staging = Staging::new(&self.store, counts, &mut durable_pushes)?;
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
                // The scheduler may have stopped already, at the end of a run; stored changes stay stored.
                let _gone = self.events.send(event);
            }
        }
        self.store.write_ledger(&counts)?;
        shortage.map_or(Ok(counts), Err)
    }

    /// Gathers the changes of one interval, up to the size of a commit.
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
            staging.finish()?;
            (None, Vec::new())
        }
    };
    Ok(StoreEvent::Committed { batch, fresh, failed })
}

impl Store {
    /// Stores one change immediately, outside of a crawl.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be stored.
    pub fn commit(&self, change: Change) -> Result<Tally, StoreError> {
        let mut durable: HashSet<_> = self.durable_push_ids()?;
        let mut staging = Staging::new(self, self.counts()?, &mut durable)?;
        stage(&mut staging, change)?;
        let counts = staging.commit()?;
        self.write_ledger(&counts)?;
        Ok(counts)
    }

    /// Writes the ledger if it is behind the store: a process may have been killed between the two.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn renew_ledger(&self) -> Result<(), StoreError> {
        let counts = self.counts()?;
        let is_current = Ledger::read(&self.path)?.is_some_and(|ledger| ledger.counts == counts);
        if is_current { Ok(()) } else { self.write_ledger(&counts) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::space::Space;
    use super::*;
    use crate::model::{JobId, Request};

    fn stored_with(free: impl Fn(u64) -> u64 + Send + Sync + 'static) -> (Result<Tally, StoreError>, bool, u64) {
        let folder = tempfile::tempdir().unwrap();
        let commit_records = 2.try_into().unwrap();
        let config = StoreConfig { path: folder.path().join("store"), commit_records, ..StoreConfig::default() };
        let mut store = Store::open(&config).unwrap();
        let looks = AtomicU64::new(0);
        store.space = Space::with_source(100, Box::new(move |_| Ok(free(looks.fetch_add(1, Ordering::Relaxed)))));
        let store = Arc::new(store);
        let (events, _committed) = flume::bounded(8);
        let head = Shutdown::new();
        let (writer, handle) = StoreWriter::new(Arc::clone(&store), &config, events, head.clone());
        for id in 1..=4 {
            let pending = Pending::of(Request::Job { id: JobId(id) });
            let settlement = Box::new(Settlement::discovery(vec![pending]));
            assert!(handle.try_submit(Change::Expand { settlement }).unwrap().is_none());
        }
        drop(handle);
        let written = writer.run();
        (written, head.is_draining(), store.counts().unwrap().pending())
    }

    #[test]
    fn a_disk_short_of_space_stops_the_head_and_loses_nothing_that_was_accepted() {
        let (written, stopped, num_stored) = stored_with(|_| 100);
        assert!(written.is_ok() && !stopped && num_stored == 4);
        for first_low in 0..2 {
            let (written, stopped, num_stored) = stored_with(move |look| if look < first_low { 100 } else { 99 });
            let said = written.unwrap_err().to_string();
            assert!(said.contains("99 bytes free") && said.contains("store.min_free_bytes (100)"), "{said}");
            assert!(stopped && num_stored == 4);
        }
    }
}
