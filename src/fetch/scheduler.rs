//! The scheduler: one actor that decides which request is next.
//!
//! It holds the store's [`Frontier`] in memory, hands batches to the pools of fetchers, and learns from the store's writer
//! which changes are durable and which requests they discovered. It ends when nothing is pending and nothing in flight, or
//! when the run is drained.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::debug;

use super::error::FetchError;
use super::expand::{self, AfterAlerts};
use super::expansions::Expansions;
use super::frontier::{Frontier, PARTIAL_JOBS_INTERVAL};
use super::jobs::after_summaries;
use crate::actor::Shutdown;
use crate::config::{Config, SignatureScope};
use crate::model::{Batch, Kind};
use crate::observe::Counters;
use crate::store::{Change, CrawlIdentity, Settlement, StoreError, StoreEvent, StoreHandle, Tally};

/// Capacity of a pool's mailbox, batches. Small, so that urgent requests do not wait long; the scheduler refills a mailbox
/// that is half empty, so that no fetcher waits for a commit.
pub(crate) const MAX_QUEUED: usize = 64;

/// Batches of a kind that may be queued or on their way to the disk, beside those that are being fetched.
const MAX_UNCOMMITTED: usize = 512;

/// Expansions on their way to the disk, each of some thousand requests at most: the writer keeps what it stores in one commit.
const MAX_EXPANDING: usize = 8;

/// How often the ages of the pending jobs are published.
const AGES_INTERVAL: Duration = Duration::from_secs(5);

/// The limits of this run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CrawlLimits {
    /// Maximum of new job details; `None`: all.
    pub(crate) job_details: Option<usize>,
    /// Ask only for the lists: alert summaries and signatures.
    pub(crate) lists_only: bool,
    /// Expand nothing: an earlier frontier of the run did, and only jobs were added since.
    pub(crate) jobs_only: bool,
}

/// The result of a frontier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SchedulerStats {
    /// Batches that were answered and stored.
    pub(crate) num_settled: u64,
    /// Batches that were recorded as failed.
    pub(crate) num_failed: u64,
    /// True when work was left because the run was drained.
    pub(crate) drained: bool,
    /// True when the list of alert summaries moved in every pass, so that rows may be missing.
    pub(crate) alerts_moved: bool,
}

/// Publishes how many requests of each kind are settled and failed.
pub(crate) fn publish_settled(counters: &Counters, counts: &Tally) {
    for kind in Kind::ALL {
        counters.set_settled(kind, counts.of(kind).settled(), counts.of(kind).failed);
    }
}

/// The scheduler's end of each channel.
#[derive(Debug)]
pub(crate) struct SchedulerLinks {
    /// To the store's writer: expansions; and the store, to read.
    pub(crate) store: StoreHandle,
    /// From the store's writer. Its capacity covers everything in flight, so the writer never waits for the scheduler.
    pub(crate) events: flume::Receiver<StoreEvent>,
    /// To the pools, by kind; dropping them ends the fetchers.
    pub(crate) mailboxes: Vec<flume::Sender<Batch>>,
    /// From the fetchers: a mailbox runs low.
    pub(crate) mailbox_low: Arc<Notify>,
    /// To the pools: batches were handed out, for which there may be too few fetchers.
    pub(crate) handed_out: Arc<Notify>,
    /// Ends the run.
    pub(crate) shutdown: Shutdown,
    /// The configuration, as it is now.
    pub(crate) config: watch::Receiver<Arc<Config>>,
    /// The crawl.
    pub(crate) identity: Arc<CrawlIdentity>,
    /// Counters of the frontier.
    pub(crate) counters: Arc<Counters>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Scheduler {
    links: SchedulerLinks,
    limits: CrawlLimits,
    frontier: Frontier,
    /// Expansions not yet handed to the writer.
    to_expand: Expansions,
    /// Expansions handed to the writer and not yet durable.
    expanding: usize,
    jobs_completed: bool,
    /// The pass over the alert list that this run began with.
    first_alert_pass: u16,
    /// True when this run has no more alert summaries to come.
    alerts_listed: bool,
    ages_published_at: Option<Instant>,
    stats: SchedulerStats,
}

impl Scheduler {
    /// A scheduler over the store's frontier.
    #[must_use]
    pub(crate) fn new(links: SchedulerLinks, limits: CrawlLimits) -> Self {
        let frontier = Frontier::new(links.identity.data_window(), limits.job_details);
        Self {
            links,
            limits,
            frontier,
            to_expand: Expansions::default(),
            expanding: 0,
            jobs_completed: limits.lists_only || limits.jobs_only,
            first_alert_pass: 0,
            alerts_listed: limits.jobs_only,
            ages_published_at: None,
            stats: SchedulerStats::default(),
        }
    }

    /// Schedules until the frontier is empty or the run is drained.
    ///
    /// # Errors
    /// [`FetchError::Store`] when the store cannot be read or its writer has stopped.
    pub(crate) async fn run(mut self) -> Result<SchedulerStats, FetchError> {
        self.links.counters.set_jobs_per_request(self.links.config.borrow().batch.job_ids.get());
        self.load_frontier()?;
        if !self.limits.jobs_only {
            // The end of the alert summaries expands the signatures again, where their selection depends on it.
            for kind in [Kind::Signatures, Kind::Alerts] {
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
                () = self.links.shutdown.drained() => {
                    self.stats.drained = true;
                    break;
                }
                event = self.links.events.recv_async() => match event {
                    Ok(event) => self.note_commit(event)?,
                    Err(flume::RecvError::Disconnected) => return Err(StoreError::WriterStopped.into()),
                },
                () = self.links.mailbox_low.notified() => {}
                changed = self.links.config.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(PARTIAL_JOBS_INTERVAL) => {}
            }
        }
        self.publish_ages();
        Ok(self.stats)
    }

    fn load_frontier(&mut self) -> Result<(), FetchError> {
        let store = Arc::clone(self.links.store.store());
        self.first_alert_pass = store.last_alert_pass()?.unwrap_or_default();
        for pending in store.pending() {
            self.frontier.push(pending?);
        }
        publish_settled(&self.links.counters, &store.counts()?);
        Ok(())
    }

    /// Takes note of a durable change.
    fn note_commit(&mut self, event: StoreEvent) -> Result<(), FetchError> {
        let StoreEvent::Committed { batch, mut fresh, failed } = event;
        let is_of_window = |kind| matches!(kind, Kind::Summaries | Kind::Replicates);
        if let Some(batch) = batch.as_ref().filter(|batch| is_of_window(batch.kind()) && !failed) {
            // Parts of a window go first: which length works is known before the next signature must be split.
            let parts = fresh.extract_if(.., |pending| is_of_window(pending.request.kind()));
            let parts: Vec<_> = parts.map(|part| part.request).collect();
            self.frontier.note_split(&batch.requests()[0], &parts);
        }
        for pending in fresh {
            self.frontier.push(pending);
        }
        let Some(batch) = batch else {
            self.expanding -= 1;
            return Ok(());
        };
        self.frontier.land(&batch);
        let num = batch.requests().len() as u64;
        if failed {
            self.stats.num_failed += 1;
            self.links.counters.add_settled(batch.kind(), 0, num);
        } else {
            self.stats.num_settled += 1;
            self.links.counters.add_settled(batch.kind(), num, 0);
        }
        self.expand_when_idle(batch.kind())
    }

    /// Adds the requests that follow from a listing kind when none of it is pending or in flight.
    fn expand_when_idle(&mut self, kind: Kind) -> Result<(), FetchError> {
        if self.frontier.is_busy(kind) {
            return Ok(());
        }
        let (store, identity) = (self.links.store.store(), &self.links.identity);
        let expansions = match kind {
            Kind::Alerts => {
                let page_size = self.links.config.borrow().batch.alert_page.get();
                match expand::after_alerts(store, page_size, self.first_alert_pass)? {
                    AfterAlerts::Requests(requests) if !requests.is_empty() => {
                        Expansions::of(Settlement::discovery(requests))
                    }
                    after => {
                        self.stats.alerts_moved |= matches!(after, AfterAlerts::AlwaysMoved);
                        self.alerts_listed = true;
                        let selects = identity.scope.signatures == SignatureScope::Alerted;
                        return if selects { self.expand_when_idle(Kind::Signatures) } else { Ok(()) };
                    }
                }
            }
            Kind::Signatures => expand::after_signatures(store, identity, !self.alerts_listed)?,
            Kind::Summaries | Kind::Replicates | Kind::JobDetails => return Ok(()),
        };
        self.to_expand.push(expansions);
        Ok(())
    }

    /// Adds the requests that are only known at the end. False when there are none.
    fn expand_at_the_end(&mut self) -> Result<bool, FetchError> {
        if !self.alerts_listed {
            // A page failed: the signatures of the others are asked for, and those of the page in the next run.
            self.alerts_listed = true;
            self.expand_when_idle(Kind::Signatures)?;
            self.hand_out_expansions()?;
            if !self.is_idle() {
                return Ok(true);
            }
        }
        if self.jobs_completed {
            return Ok(false);
        }
        self.jobs_completed = true;
        let expansions = after_summaries(self.links.store.store(), &self.links.identity)?;
        self.to_expand.push(expansions);
        if self.to_expand.is_empty() {
            return Ok(false);
        }
        self.hand_out_expansions()?;
        Ok(true)
    }

    fn hand_out_expansions(&mut self) -> Result<(), FetchError> {
        while self.expanding < MAX_EXPANDING
            && let Some(settlement) = self.to_expand.next()
        {
            match self.links.store.try_submit(Change::Expand { settlement: Box::new(settlement) })? {
                None => self.expanding += 1,
                Some(Change::Expand { settlement }) => {
                    // The mailbox is full; there is an event to come for everything in it.
                    self.to_expand.put_back(*settlement);
                    break;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn hand_out_batches(&mut self) {
        if self.ages_published_at.is_none_or(|at| at.elapsed() >= AGES_INTERVAL) {
            self.publish_ages();
        }
        for kind in self.kinds() {
            let (concurrency, job_ids) = {
                let config = self.links.config.borrow();
                (config.concurrency_of(kind), config.batch.job_ids.get())
            };
            if kind == Kind::Summaries {
                self.frontier.set_concurrency(concurrency);
            }
            if kind == Kind::Replicates && self.frontier.num_pending(Kind::Summaries) > 0 {
                // The data first: they tell which jobs to ask for before the server deletes these.
                let pending = self.frontier.num_pending(kind);
                self.links.counters.set_frontier(kind, pending as u64, self.frontier.num_in_flight(kind) as u64);
                continue;
            }
            let requests_per_batch = if kind == Kind::JobDetails { job_ids } else { 1 };
            let most = (concurrency + MAX_QUEUED + MAX_UNCOMMITTED).saturating_mul(requests_per_batch);
            let more_to_come = kind == Kind::JobDetails && self.more_jobs_may_come();
            while self.frontier.num_in_flight(kind) < most && !self.links.mailboxes[kind.index()].is_full() {
                let Some(batch) = self.frontier.take(kind, job_ids, more_to_come) else { break };
                if kind == Kind::JobDetails {
                    debug!(request = %batch, "handing out jobs");
                }
                if let Err(refused) = self.links.mailboxes[kind.index()].try_send(batch) {
                    self.frontier.put_back(&refused.into_inner());
                    break;
                }
            }
            let (pending, in_flight) = (self.frontier.num_pending(kind), self.frontier.num_in_flight(kind));
            self.links.counters.set_frontier(kind, pending as u64, in_flight as u64);
        }
        self.links.handed_out.notify_one();
    }

    /// The kinds that this run asks for.
    fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let lists_only = self.limits.lists_only;
        Kind::ALL.into_iter().filter(move |kind| !lists_only || matches!(kind, Kind::Alerts | Kind::Signatures))
    }

    /// Publishes how old the pending jobs are, since the server deletes them by age.
    fn publish_ages(&mut self) {
        self.links.counters.set_pending_jobs(self.frontier.jobs_by_day());
        self.ages_published_at = Some(Instant::now());
    }

    fn more_jobs_may_come(&self) -> bool {
        let is_busy = |kind| self.frontier.is_busy(kind);
        is_busy(Kind::Signatures) || is_busy(Kind::Summaries) || self.expanding > 0 || !self.to_expand.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.frontier.is_idle(self.kinds()) && self.expanding == 0 && self.to_expand.is_empty()
    }
}
