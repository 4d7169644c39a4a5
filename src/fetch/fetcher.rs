//! A fetcher settles batches one at a time, and owns nothing that outlives a batch.
//!
//! For each attempt: the breaker's gate, a token, the request. An answer goes to the store's writer; a passing error is
//! waited out; what was too much is asked in parts; what still fails is recorded as failed. Before a batch is asked in
//! parts or given up while nobody else was answered either, the source is probed: an outage says nothing about a batch.
//! Every batch comes back as a change of the store, or stays pending because the run ends.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::{debug, info, warn};

use super::breaker::{Gate, Toll};
use super::retry::{RetryDelays, Retryability, classify, failures_before_parts};
use super::{FetchError, MAX_QUEUED, Pressure, RateController, Strain, expand};
use crate::actor::Shutdown;
use crate::config::{Config, RetryConfig};
use crate::model::{Batch, Kind, Request, Timestamp};
use crate::observe::{AttemptResult, Counters};
use crate::source::{Answer, Reply, SignatureSink, SourceError, Split, Treeherder, batches_of, printable, split};
use crate::store::{
    Change, CrawlIdentity, Failure, Pending, Provenance, Settlement, SignatureListing, StoreError, StoreHandle,
};

/// When so many single jobs of a batch have failed in a row, the rest of it is not asked: the endpoint is broken, not they.
const HOPELESS_JOBS: u32 = 3;

/// Characters of an error with its sources at the most.
const LONGEST_REASON: usize = 1000;

/// What all fetchers share.
#[derive(Clone, Debug)]
pub struct FetcherLinks {
    /// The source.
    pub source: Treeherder,
    /// How hard the run presses the server.
    pub pressure: Pressure,
    /// Where answers go.
    pub store: StoreHandle,
    /// Tells the scheduler that the mailbox of a pool runs low.
    pub mailbox_low: Arc<Notify>,
    /// Ends the run.
    pub shutdown: Shutdown,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The configuration, as it is now: `[limiter]`, `[concurrency]` and `[retry]` may change while a crawl runs.
    pub config: watch::Receiver<Arc<Config>>,
    /// The crawl.
    pub identity: Arc<CrawlIdentity>,
}

/// One fetcher of a pool.
#[derive(Debug)]
pub struct Fetcher {
    links: FetcherLinks,
    kind: Kind,
    /// Its place in the pool, from 0: it ends when the configured concurrency is at most this.
    place: usize,
    /// From the scheduler, shared by the pool; it closes when the scheduler has no more work.
    inbox: flume::Receiver<Batch>,
}

/// How a batch ended in this fetcher.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Answered, as a whole or in parts, and handed to the writer.
    Answered,
    /// Handed to the writer: given up for now, at least in part, or replaced by other requests.
    NotAnswered,
    /// The run ends; it stays pending.
    LeftPending,
}

/// What came of a probe.
enum Probed {
    Answered,
    Failed,
    /// The run ends.
    Ended,
}

/// What is known of the larger batch that a batch is a part of.
#[derive(Default)]
struct Trail {
    /// Attempts that it took.
    attempts: u32,
    /// Single jobs of it that failed since one was answered.
    failed_in_a_row: u32,
}

impl Fetcher {
    /// Fetcher number `place` of the pool of `kind`.
    #[must_use]
    pub fn new(links: FetcherLinks, kind: Kind, place: usize, inbox: flume::Receiver<Batch>) -> Self {
        Self { links, kind, place, inbox }
    }

    /// Fetches until the scheduler has no more work, the run ends, or the pool is made smaller than its place. Returns
    /// that place, so that it can be taken again.
    ///
    /// # Errors
    /// [`FetchError`] when the crawl cannot go on.
    pub async fn run(mut self) -> Result<(Kind, usize), FetchError> {
        self.fetch().await?;
        Ok((self.kind, self.place))
    }

    async fn fetch(&mut self) -> Result<(), FetchError> {
        let mut config_lives = true;
        loop {
            if self.place >= self.links.config.borrow_and_update().concurrency_of(self.kind) {
                return Ok(());
            }
            let batch = tokio::select! {
                biased;
                () = self.links.shutdown.drained() => return Ok(()),
                changed = self.links.config.changed(), if config_lives => {
                    config_lives = changed.is_ok();
                    continue;
                }
                received = self.inbox.recv_async() => match received {
                    Ok(batch) => batch,
                    Err(flume::RecvError::Disconnected) => return Ok(()),
                },
            };
            if self.inbox.len() <= MAX_QUEUED / 2 {
                self.links.mailbox_low.notify_one();
            }
            match self.settle(&batch, &mut Trail::default()).await {
                Ok(Ending::Answered | Ending::NotAnswered) => {}
                Ok(Ending::LeftPending) => return Ok(()),
                Err(error) => {
                    // The others hear of it at once, so that nothing more is asked.
                    self.links.shutdown.drain();
                    return Err(error);
                }
            }
        }
    }

    async fn settle(&self, batch: &Batch, trail: &mut Trail) -> Result<Ending, FetchError> {
        if let Some(most) = self.links.pressure.sizes.most_jobs()
            && batch.requests().len() > most
        {
            return self.ask_batches(batches_of(batch, most), trail, None).await;
        }
        let mut delays = RetryDelays::new(&self.retry());
        let mut attempts: u32 = 0; // those that count against the batch
        let mut too_much: u32 = 0; // those that less may help against
        let answers_before = self.links.pressure.breaker.num_answers();
        loop {
            if !self.may_ask().await? {
                return Ok(Ending::LeftPending);
            }
            attempts += 1;
            let listing = Arc::new(Mutex::new(SignatureListing::default()));
            let result = tokio::select! {
                biased;
                () = self.links.shutdown.abandoned() => return Ok(Ending::LeftPending),
                result = self.links.source.fetch(batch, sink_of(&listing)) => result,
            };
            let error = match result {
                Ok(answer) => {
                    self.note_answer(batch, attempts, &answer);
                    trail.failed_in_a_row = 0;
                    let change = self.settlement(batch, answer, taken(&listing), attempts)?;
                    self.links.store.submit(change).await?;
                    return Ok(Ending::Answered);
                }
                Err(error) => Arc::new(error),
            };
            let label = error.label();
            self.links.counters.attempt(self.kind, attempts, AttemptResult::Failed(&label));
            self.links.counters.note_error(format!("{batch}: {}", chain(&error)));
            self.heed_retry_after(&error)?; // a wait that is too long ends the run
            self.note_strain(&error);
            let verdict = classify(&error);
            if verdict == Retryability::Refused {
                return Err(self.refused(batch, error));
            }
            if verdict == Retryability::Lasting {
                self.links.pressure.breaker.answered();
            } else if let Toll::Outage { began } = self.links.pressure.breaker.failed(&error) {
                if began {
                    warn!(error = %chain(&error), "many requests in a row failed; probing the source until it answers one");
                }
                attempts -= 1;
                continue; // the gate holds until the source answers
            }
            let max_attempts = self.retry().max_attempts.get();
            let before_parts = failures_before_parts(batch, &error, max_attempts);
            too_much += u32::from(before_parts.is_some());
            let in_parts =
                before_parts.is_some_and(|failures| too_much >= failures) && split(batch, None) != Split::Indivisible;
            let given_up = verdict == Retryability::Lasting || attempts >= max_attempts;
            if !in_parts && !given_up {
                self.wait_before_retry(batch, attempts, &mut delays, &error).await;
                continue;
            }
            if verdict != Retryability::Lasting && self.links.pressure.breaker.num_answers() == answers_before {
                match self.probe().await? {
                    Probed::Answered => {}
                    Probed::Failed => {
                        (attempts, too_much) = (0, 0); // they met an outage
                        continue;
                    }
                    Probed::Ended => return Ok(Ending::LeftPending),
                }
            }
            trail.attempts += attempts;
            if in_parts {
                return self.ask_in_parts(batch, attempts, trail, &error).await;
            }
            trail.failed_in_a_row += 1;
            self.links.store.submit(failure(batch, trail.attempts, &error)).await?;
            return Ok(Ending::NotAnswered);
        }
    }

    fn refused(&self, batch: &Batch, source: Arc<SourceError>) -> FetchError {
        let user_agent = self.links.config.borrow().source.user_agent.clone();
        FetchError::Refused { request: batch.to_string(), user_agent, source }
    }

    /// Waits for the gate and for a token. False when the run ends meanwhile.
    async fn may_ask(&self) -> Result<bool, FetchError> {
        loop {
            let recovered = self.links.pressure.breaker.recovered();
            let was_down = self.links.pressure.breaker.is_down();
            match self.links.pressure.breaker.gate() {
                Gate::Open => {
                    if !self.take_token().await? {
                        return Ok(false);
                    }
                    if was_down || !self.links.pressure.breaker.is_down() {
                        return Ok(true);
                    } // it went down while this one waited: the token is spent, the request is not
                }
                Gate::Wait(wait) => {
                    let _waiting = self.links.counters.wait_for_source();
                    tokio::select! {
                        biased;
                        () = self.links.shutdown.drained() => return Ok(false),
                        () = recovered => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Gate::Probe => {
                    let _waiting = self.links.counters.wait_for_source();
                    if let Probed::Ended = self.probe().await? {
                        return Ok(false);
                    }
                }
                Gate::GiveUp(waited) => return Err(self.unreachable(waited)),
            }
        }
    }

    /// Waits for a token. False when the run ends meanwhile.
    async fn take_token(&self) -> Result<bool, FetchError> {
        let waiting = self.links.counters.wait_for_token();
        let token = tokio::select! {
            biased;
            () = self.links.shutdown.drained() => None,
            token = self.links.pressure.bucket.acquire() => Some(token),
        };
        waiting.over(matches!(token, Some(Ok(()))));
        token.transpose().map(|token| token.is_some())
    }

    /// Asks the smallest thing there is, to see whether the source answers.
    async fn probe(&self) -> Result<Probed, FetchError> {
        if !self.take_token().await? {
            return Ok(Probed::Ended);
        }
        let probe = Batch::of(Request::Frameworks);
        let result = tokio::select! {
            biased;
            () = self.links.shutdown.abandoned() => return Ok(Probed::Ended),
            result = self.links.source.fetch(&probe, Box::new(drop)) => result,
        };
        let error = match result {
            Ok(answer) => {
                let counted = AttemptResult::Answered { body_bytes: answer.body_bytes, latency: answer.latency };
                self.links.counters.attempt(Kind::Signatures, 1, counted);
                self.note_recovery();
                return Ok(Probed::Answered);
            }
            Err(error) => Arc::new(error),
        };
        self.links.counters.attempt(Kind::Signatures, 1, AttemptResult::Failed(&error.label()));
        self.heed_retry_after(&error)?;
        match classify(&error) {
            Retryability::Refused => Err(self.refused(&probe, error)),
            Retryability::Lasting => {
                self.note_recovery();
                Ok(Probed::Answered)
            }
            Retryability::Passing | Retryability::TooMuch => {
                self.links.pressure.breaker.probe_failed(&error);
                debug!(error = %chain(&error), "the source does not answer even the smallest request");
                Ok(Probed::Failed)
            }
        }
    }

    fn note_recovery(&self) {
        if self.links.pressure.breaker.answered() {
            info!("the source answers again");
        }
    }

    fn unreachable(&self, waited: Duration) -> FetchError {
        let nothing = || Arc::new(SourceError::Status { status: 503, retry_after: None, excerpt: String::new() });
        let source = self.links.pressure.breaker.last_error().unwrap_or_else(nothing);
        let base_url = self.links.config.borrow().source.base_url.clone();
        FetchError::Unreachable { base_url, waited_secs: waited.as_secs(), source }
    }

    fn note_answer(&self, batch: &Batch, attempts: u32, answer: &Answer) {
        debug!(request = %batch, attempts, bytes = answer.body_bytes, latency_ms = answer.latency.as_millis(), "answered");
        let counted = AttemptResult::Answered { body_bytes: answer.body_bytes, latency: answer.latency };
        self.links.counters.attempt(self.kind, attempts, counted);
        self.note_recovery();
        if let Some(secs) = self.secs_of_part(batch) {
            self.links.pressure.sizes.part_worked(secs);
        }
        self.adapt(RateController::served);
    }

    /// The length of a part of the data window; `None` for everything else.
    fn secs_of_part(&self, batch: &Batch) -> Option<i64> {
        match batch.requests()[0] {
            Request::Summary { window, .. } if window != self.links.identity.data_window() => Some(window.secs()),
            _ => None,
        }
    }

    fn note_strain(&self, error: &SourceError) {
        let strain = match error {
            SourceError::Status { status: 429, retry_after: Some(wait), .. } if !wait.is_zero() => {
                Strain::AskedToWait(*wait)
            }
            SourceError::Status { status: 429, .. } => Strain::TooManyRequests,
            SourceError::Status { status: 503, .. } => Strain::Unavailable,
            SourceError::Timeout { .. } => Strain::Timeout,
            _ => return,
        };
        self.adapt(|controller| controller.strained(strain));
    }

    fn adapt(&self, decide: impl FnOnce(&mut RateController) -> Option<super::adaptive::RateChange>) {
        // Under the controller's lock, so that the last decision is the last to reach the bucket, and one that was made by
        // an older configuration does not undo what a retuning has set.
        let mut controller = self.links.pressure.controller.lock().unwrap_or_else(PoisonError::into_inner);
        let config = Arc::clone(&self.links.config.borrow());
        if !config.limiter.adaptive {
            return;
        }
        let Some(change) = decide(&mut controller) else { return };
        self.links.pressure.bucket.set_rate(change.to, config.limiter.burst);
        drop(controller);
        self.links.counters.set_rate(change.to);
        let (from, to) = (change.from, change.to);
        if to < from {
            warn!("rate {from:.1} -> {to:.1}: {}", change.reason);
        } else if change.restored {
            info!("rate {from:.1} -> {to:.1}: {}, the configured rate again", change.reason);
        } else {
            debug!("rate {from:.1} -> {to:.1}: {}", change.reason);
        }
    }

    fn heed_retry_after(&self, error: &SourceError) -> Result<(), FetchError> {
        let allowed = self.links.config.borrow().limiter.max_retry_after;
        self.links.pressure.heed_retry_after(error, allowed)
    }

    async fn wait_before_retry(&self, batch: &Batch, attempts: u32, delays: &mut RetryDelays, error: &SourceError) {
        let delay = delays.next_delay();
        debug!(request = %batch, attempt = attempts, delay_ms = delay.as_millis(), error = %chain(error), "retrying request");
        tokio::select! {
            biased;
            () = self.links.shutdown.drained() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }

    async fn ask_in_parts(
        &self,
        batch: &Batch,
        attempts: u32,
        trail: &mut Trail,
        error: &SourceError,
    ) -> Result<Ending, FetchError> {
        info!(request = %batch, attempts, error = %chain(error), "asking in parts");
        if let Some(secs) = self.secs_of_part(batch) {
            self.links.pressure.sizes.part_failed(secs);
        }
        match split(batch, self.links.pressure.sizes.longest_part_secs()) {
            Split::Requests(requests) => {
                let parts = requests.into_iter().map(Pending::of).collect();
                self.links.store.submit(Change::Replace { batch: batch.clone(), parts, attempts }).await?;
                Ok(Ending::NotAnswered)
            }
            Split::Batches(batches) => {
                let size = batches.iter().map(|part| part.requests().len()).max().unwrap_or(1);
                let ending = self.ask_batches(batches, trail, Some(error)).await?;
                if ending == Ending::Answered {
                    self.links.pressure.sizes.jobs_worked_in_parts(size);
                }
                Ok(ending)
            }
            Split::Indivisible => Ok(Ending::NotAnswered),
        }
    }

    /// Asks batches one after the other. `error` is what the batch that held them all met.
    async fn ask_batches(
        &self,
        batches: Vec<Batch>,
        trail: &mut Trail,
        error: Option<&SourceError>,
    ) -> Result<Ending, FetchError> {
        let spent = trail.attempts;
        let mut ending = Ending::Answered;
        for batch in &batches {
            trail.attempts = spent;
            if let Some(error) = error
                && trail.failed_in_a_row >= HOPELESS_JOBS
            {
                self.links.store.submit(failure(batch, spent, error)).await?;
                ending = Ending::NotAnswered;
                continue;
            }
            match Box::pin(self.settle(batch, trail)).await? {
                Ending::Answered => {}
                Ending::NotAnswered => ending = Ending::NotAnswered,
                Ending::LeftPending => return Ok(Ending::LeftPending),
            }
        }
        Ok(ending)
    }

    fn settlement(
        &self,
        batch: &Batch,
        answer: Answer,
        listing: SignatureListing,
        attempts: u32,
    ) -> Result<Change, StoreError> {
        let provenance = Provenance {
            fetched_at: Timestamp::now(),
            attempts,
            body_bytes: answer.body_bytes,
            latency_ms: u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX),
        };
        let request = batch.requests()[0];
        let page_size = self.links.config.borrow().batch.alert_page.get();
        let settlement = match (answer.reply, request) {
            (Reply::AlertPage { count, records }, Request::AlertPage { pass, page }) => {
                Settlement::of_alert_page(request, count, &records)?
                    .with_discovered(expand::pages_after(pass, page, count, page_size))
            }
            (Reply::Signatures, _) => listing.settle(request),
            (Reply::UpdatedSignatures(ids), _) => Settlement::of_ids(request, ids.into_iter().map(|id| id.0).collect()),
            (Reply::Frameworks(ids), _) => Settlement::of_ids(request, ids.into_iter().map(|id| id.0).collect()),
            (Reply::Summary(summary), Request::Summary { window, .. }) => {
                let whole = window == self.links.identity.data_window();
                Settlement::of_summary(self.links.store.store(), request, whole, &summary)
            }
            (Reply::Jobs(jobs), _) => Settlement::of_jobs(batch.requests(), &jobs),
            // The source answers a batch by a reply of its kind.
            (Reply::AlertPage { .. } | Reply::Summary(_), _) => Settlement::default(),
        };
        let settlement = Box::new(settlement.with_provenance(provenance));
        Ok(Change::Settle { batch: batch.clone(), settlement })
    }

    fn retry(&self) -> RetryConfig {
        self.links.config.borrow().retry.clone()
    }
}

/// Compresses the signatures of a list while the rest of it is on its way.
fn sink_of(listing: &Arc<Mutex<SignatureListing>>) -> SignatureSink {
    let listing = Arc::clone(listing);
    Box::new(move |portion| listing.lock().unwrap_or_else(PoisonError::into_inner).add(portion))
}

fn taken(listing: &Mutex<SignatureListing>) -> SignatureListing {
    std::mem::take(&mut listing.lock().unwrap_or_else(PoisonError::into_inner))
}

fn failure(batch: &Batch, attempts: u32, error: &SourceError) -> Change {
    let reason = chain(error);
    warn!(request = %batch, attempts, error = %reason, "giving up for now; the next run asks again");
    let failure = Failure {
        reason,
        label: error.label(),
        status: error.status(),
        attempts,
        failed_at: Timestamp::now(),
        submitted: Timestamp::default(),
    };
    Change::Fail { batch: batch.clone(), failure: Box::new(failure) }
}

/// An error with its sources, on one line without control characters.
pub(super) fn chain(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    printable(&text, LONGEST_REASON)
}
