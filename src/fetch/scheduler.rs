//! The scheduler: one actor that decides what is asked next.
//!
//! It holds the frontier of the store in memory, hands batches to the pools of fetchers, and learns from the store's
//! writer what became durable and what it led to. A request is in flight at most once. It ends when nothing is pending
//! and nothing in flight, or when the run is drained.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::debug;

use super::FetchError;
use super::expand::{self, AfterAlerts};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::model::{Batch, JobId, Kind, Request, Timestamp};
use crate::observe::Counters;
use crate::store::{Change, Counts, CrawlIdentity, Pending, Settlement, StoreError, StoreEvent, StoreHandle};

/// Batches that wait in a pool's mailbox at the most. Few, so that what is urgent soon has its turn; the scheduler fills a
/// mailbox up when it is half empty, so that no fetcher waits for a commit.
pub const MAX_QUEUED: usize = 64;

/// Batches of a kind that may be asked for or on their way to the disk, beside those that are being fetched.
const MAX_UNCOMMITTED: usize = 512;

/// A batch of jobs that is not full goes out this long after the last one, so that jobs are not left to the end.
const PARTIAL_JOBS_INTERVAL: Duration = Duration::from_mins(5);

/// How often the ages of the pending jobs are told.
const AGES_INTERVAL: Duration = Duration::from_secs(5);

/// What the scheduler is limited to in this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// New job details at the most; `None`: all.
    pub job_details: Option<usize>,
    /// Ask only for the lists which tell what there is to ask: alert summaries and signatures.
    pub lists_only: bool,
    /// Work nothing out of the lists and the data: an earlier frontier of the run did, and only jobs were added since.
    pub jobs_only: bool,
}

/// What came of a frontier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStats {
    /// Batches that were answered and stored.
    pub num_settled: u64,
    /// Batches that were given up for now.
    pub num_failed: u64,
    /// True when work was left because the run was drained.
    pub drained: bool,
    /// True when the list of alert summaries moved in every reading, so that rows may be missing.
    pub alerts_moved: bool,
}

/// Tells what is settled and failed of each kind.
pub fn tell_settled(counters: &Counters, counts: &Counts) {
    for kind in Kind::ALL {
        counters.set_settled(kind, counts.of(kind).settled(), counts.of(kind).failed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Scheduler {
    store: StoreHandle,
    /// From the store's writer. Its capacity covers everything in flight, so the writer never waits for the scheduler.
    events: flume::Receiver<StoreEvent>,
    /// To the pools, by kind; dropping them tells the fetchers that there is no more work.
    pools: [flume::Sender<Batch>; 4],
    /// From the fetchers: a mailbox runs low.
    mailbox_low: Arc<Notify>,
    shutdown: Shutdown,
    config: watch::Receiver<Arc<Config>>,
    identity: Arc<CrawlIdentity>,
    counters: Arc<Counters>,
    limits: Limits,

    /// Requests to hand out, one a batch; job details stand in `jobs`.
    queues: [VecDeque<Request>; 4],
    /// Jobs to ask for, the oldest first: those the server deletes first.
    jobs: BTreeSet<(Timestamp, JobId)>,
    jobs_handed_out_at: Instant,
    in_flight: HashSet<Request>,
    /// How many of those are of each kind.
    num_in_flight: [usize; 4],
    /// Expansions not yet handed to the writer, and those handed to it and not yet durable.
    to_expand: VecDeque<Settlement>,
    expanding: usize,
    samples_completed: bool,
    /// The reading of the alert list that this run began with.
    first_alert_pass: u16,
    ages_told_at: Option<Instant>,
    stats: SchedulerStats,
}

impl Scheduler {
    /// A scheduler over the store's frontier.
    #[expect(clippy::too_many_arguments, reason = "the wiring names each end of each channel once")]
    #[must_use]
    pub fn new(
        store: StoreHandle,
        events: flume::Receiver<StoreEvent>,
        pools: [flume::Sender<Batch>; 4],
        mailbox_low: Arc<Notify>,
        shutdown: Shutdown,
        config: watch::Receiver<Arc<Config>>,
        identity: Arc<CrawlIdentity>,
        counters: Arc<Counters>,
        limits: Limits,
    ) -> Self {
        Self {
            store,
            events,
            pools,
            mailbox_low,
            shutdown,
            config,
            identity,
            counters,
            limits,
            queues: Default::default(),
            jobs: BTreeSet::new(),
            jobs_handed_out_at: Instant::now(),
            in_flight: HashSet::new(),
            num_in_flight: [0; 4],
            to_expand: VecDeque::new(),
            expanding: 0,
            samples_completed: limits.lists_only || limits.jobs_only,
            first_alert_pass: 0,
            ages_told_at: None,
            stats: SchedulerStats::default(),
        }
    }

    /// Schedules until the frontier is empty or the run is drained.
    ///
    /// # Errors
    /// [`FetchError::Store`] when the store cannot be read or its writer has stopped.
    pub async fn run(mut self) -> Result<SchedulerStats, FetchError> {
        self.counters.set_jobs_per_request(self.config.borrow().batch.job_ids.get());
        self.load_frontier()?;
        if !self.limits.jobs_only {
            for kind in [Kind::Alerts, Kind::Signatures] {
                self.expand_when_idle(kind)?;
            }
        }
        loop {
            self.hand_out_expansions()?;
            self.hand_out_batches();
            if self.is_idle() && !self.expand_at_the_end()? {
                break;
            }
            tokio::select! {
                biased;
                () = self.shutdown.drained() => {
                    self.stats.drained = true;
                    break;
                }
                event = self.events.recv_async() => match event {
                    Ok(event) => self.take_in(event)?,
                    Err(flume::RecvError::Disconnected) => return Err(StoreError::WriterStopped.into()),
                },
                () = self.mailbox_low.notified() => {}
                changed = self.config.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(PARTIAL_JOBS_INTERVAL) => {}
            }
        }
        self.tell_ages();
        Ok(self.stats)
    }

    fn load_frontier(&mut self) -> Result<(), FetchError> {
        let store = Arc::clone(self.store.store());
        self.first_alert_pass = store.last_alert_pass()?.unwrap_or_default();
        for pending in store.pending() {
            self.enqueue(pending?);
        }
        tell_settled(&self.counters, &store.counts()?);
        Ok(())
    }

    fn enqueue(&mut self, pending: Pending) {
        match pending.request {
            Request::Job { id } => drop(self.jobs.insert((pending.submitted, id))),
            request => self.queues[request.kind().index()].push_back(request),
        }
    }

    fn take_in(&mut self, event: StoreEvent) -> Result<(), FetchError> {
        let StoreEvent::Committed { batch, mut fresh, failed } = event;
        if batch.as_ref().is_some_and(|batch| batch.kind() == Kind::Summaries) {
            // Parts of a window go first: which length works is known before the next signature must be split.
            let parts = fresh.extract_if(.., |pending| pending.request.kind() == Kind::Summaries).collect::<Vec<_>>();
            for part in parts.into_iter().rev() {
                self.queues[Kind::Summaries.index()].push_front(part.request);
            }
        }
        for pending in fresh {
            self.enqueue(pending);
        }
        let Some(batch) = batch else {
            self.expanding -= 1;
            return Ok(());
        };
        let kind = batch.kind();
        for request in batch.requests() {
            if self.in_flight.remove(request) {
                self.num_in_flight[kind.index()] -= 1;
            }
        }
        let num = batch.requests().len() as u64;
        if failed {
            self.stats.num_failed += 1;
            self.counters.add_settled(kind, 0, num);
        } else {
            self.stats.num_settled += 1;
            self.counters.add_settled(kind, num, 0);
        }
        self.expand_when_idle(kind)
    }

    /// Works out what follows when no request of a listing kind is under way.
    fn expand_when_idle(&mut self, kind: Kind) -> Result<(), FetchError> {
        if !self.queues[kind.index()].is_empty() || self.num_in_flight[kind.index()] > 0 {
            return Ok(());
        }
        let store = self.store.store();
        let expansions = match kind {
            Kind::Alerts => {
                let page_size = self.config.borrow().batch.alert_page.get();
                match expand::after_alerts(store, page_size, self.first_alert_pass)? {
                    AfterAlerts::Requests(requests) => vec![Settlement::discovery(requests)],
                    AfterAlerts::NeverStood => {
                        self.stats.alerts_moved = true;
                        Vec::new()
                    }
                }
            }
            Kind::Signatures => expand::after_signatures(store, &self.identity)?,
            Kind::Summaries | Kind::JobDetails => return Ok(()),
        };
        self.to_expand.extend(expansions.into_iter().filter(|expansion| !expansion.is_empty()));
        Ok(())
    }

    /// What is only known at the end. False when there is nothing more.
    fn expand_at_the_end(&mut self) -> Result<bool, FetchError> {
        if self.samples_completed {
            return Ok(false);
        }
        self.samples_completed = true;
        let samples = expand::samples_of_split_signatures(self.store.store(), &self.identity)?;
        let expansion = Settlement::discovery(samples);
        if expansion.is_empty() {
            return Ok(false);
        }
        self.to_expand.push_back(expansion);
        self.hand_out_expansions()?;
        Ok(true)
    }

    fn hand_out_expansions(&mut self) -> Result<(), FetchError> {
        while let Some(settlement) = self.to_expand.pop_front() {
            match self.store.try_submit(Change::Expand { settlement: Box::new(settlement) })? {
                None => self.expanding += 1,
                Some(Change::Expand { settlement }) => {
                    // The mailbox is full; there is an event to come for everything in it.
                    self.to_expand.push_front(*settlement);
                    break;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn hand_out_batches(&mut self) {
        if self.ages_told_at.is_none_or(|told_at| told_at.elapsed() >= AGES_INTERVAL) {
            self.tell_ages();
        }
        for kind in Kind::ALL {
            if !self.asks_for(kind) {
                continue;
            }
            let most = self.config.borrow().concurrency_of(kind) + MAX_QUEUED + MAX_UNCOMMITTED;
            let requests_per_batch = match kind {
                Kind::JobDetails => self.config.borrow().batch.job_ids.get(),
                _ => 1,
            };
            while self.num_in_flight[kind.index()] < most.saturating_mul(requests_per_batch)
                && !self.pools[kind.index()].is_full()
            {
                let Some(batch) = self.next_batch(kind) else { break };
                if let Err(refused) = self.pools[kind.index()].try_send(batch) {
                    self.put_back(&refused.into_inner());
                    break;
                }
            }
            let pending = match kind {
                Kind::JobDetails => self.jobs.len(),
                _ => self.queues[kind.index()].len(),
            };
            self.counters.set_frontier(kind, pending as u64, self.num_in_flight[kind.index()] as u64);
        }
    }

    fn asks_for(&self, kind: Kind) -> bool {
        !self.limits.lists_only || matches!(kind, Kind::Alerts | Kind::Signatures)
    }

    /// Tells how old the pending jobs are, since the server deletes them by age.
    fn tell_ages(&mut self) {
        let mut by_day = BTreeMap::new();
        for (submitted, _) in self.jobs.iter().filter(|(submitted, _)| *submitted > Timestamp::default()) {
            *by_day.entry(submitted.as_secs().div_euclid(86_400)).or_default() += 1;
        }
        self.counters.set_pending_jobs(by_day);
        self.ages_told_at = Some(Instant::now());
    }

    /// Takes the next batch of `kind` and counts it as in flight.
    fn next_batch(&mut self, kind: Kind) -> Option<Batch> {
        let batch = match kind {
            Kind::JobDetails => self.next_jobs()?,
            _ => Batch::of(self.queues[kind.index()].pop_front()?),
        };
        self.in_flight.extend(batch.requests());
        self.num_in_flight[kind.index()] += batch.requests().len();
        Some(batch)
    }

    /// A full batch of the oldest jobs; one that is not full only when no more are to come, or after a while.
    fn next_jobs(&mut self) -> Option<Batch> {
        let size = self.config.borrow().batch.job_ids.get();
        let allowed = self.limits.job_details.unwrap_or(usize::MAX);
        let more_to_come = self.more_jobs_may_come() && self.jobs_handed_out_at.elapsed() < PARTIAL_JOBS_INTERVAL;
        if self.jobs.len() < size.min(allowed) && more_to_come {
            return None;
        }
        let mut ids = Vec::new();
        while ids.len() < size.min(allowed)
            && let Some((_, id)) = self.jobs.pop_first()
        {
            ids.push(id);
        }
        let batch = Batch::of_jobs(ids)?;
        if let Some(left) = &mut self.limits.job_details {
            *left -= batch.requests().len();
        }
        self.jobs_handed_out_at = Instant::now();
        debug!(request = %batch, "handing out jobs");
        Some(batch)
    }

    fn more_jobs_may_come(&self) -> bool {
        let busy = |kind: Kind| !self.queues[kind.index()].is_empty() || self.num_in_flight[kind.index()] > 0;
        busy(Kind::Signatures) || busy(Kind::Summaries) || self.expanding > 0 || !self.to_expand.is_empty()
    }

    fn put_back(&mut self, batch: &Batch) {
        let kind = batch.kind();
        self.num_in_flight[kind.index()] -= batch.requests().len();
        for request in batch.requests() {
            self.in_flight.remove(request);
            match *request {
                // Whatever their age, they are the next to go out.
                Request::Job { id } => drop(self.jobs.insert((Timestamp::default(), id))),
                request => self.queues[kind.index()].push_front(request),
            }
        }
    }

    fn is_idle(&self) -> bool {
        let no_more_jobs =
            self.jobs.is_empty() || self.limits.job_details == Some(0) || !self.asks_for(Kind::JobDetails);
        self.in_flight.is_empty()
            && no_more_jobs
            && self.expanding == 0
            && self.to_expand.is_empty()
            && Kind::ALL.iter().all(|kind| self.queues[kind.index()].is_empty() || !self.asks_for(*kind))
    }
}
