//! A fetcher settles batches one at a time, and owns nothing that outlives a batch.
//!
//! For each attempt: the breaker's gate, a token, the request. An answer goes to the store's writer; a passing error is
//! waited out; what was too much is asked in parts; what still fails is recorded as failed. A batch that is given up
//! because the run ends stays pending.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::breaker::{Breaker, Gate, Toll};
use super::limiter::TokenBucketHandle;
use super::retry::{RetryDelays, Retryability, classify};
use super::{FetchError, RateController, Strain, expand};
use crate::actor::Shutdown;
use crate::config::{Config, RetryConfig};
use crate::model::{Batch, Kind, Request, Timestamp};
use crate::observe::{AttemptResult, Counters};
use crate::source::{Answer, Reply, SourceError, Split, Treeherder, split};
use crate::store::{Change, CrawlIdentity, Failure, Pending, Provenance, Settlement, StoreError, StoreHandle};

/// Attempts that fail because too much was asked, before it is asked in parts.
const ATTEMPTS_BEFORE_SPLIT: u32 = 2;

/// What all fetchers share.
#[derive(Clone, Debug)]
pub struct FetcherLinks {
    /// The source.
    pub source: Treeherder,
    /// Where tokens come from.
    pub bucket: TokenBucketHandle,
    /// Whether the source is up.
    pub breaker: Breaker,
    /// Decides on the rate from what the attempts meet.
    pub controller: Arc<Mutex<RateController>>,
    /// Where answers go.
    pub store: StoreHandle,
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
enum Ending {
    /// Handed to the writer.
    Stored,
    /// The run ends; it stays pending.
    LeftPending,
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
            match self.settle(&batch).await? {
                Ending::Stored => {}
                Ending::LeftPending => return Ok(()),
            }
        }
    }

    async fn settle(&self, batch: &Batch) -> Result<Ending, FetchError> {
        let mut delays = RetryDelays::new(&self.retry());
        let mut attempts: u32 = 0; // those that count against the batch
        loop {
            if !self.may_ask().await? {
                return Ok(Ending::LeftPending);
            }
            attempts += 1;
            let result = tokio::select! {
                biased;
                () = self.links.shutdown.abandoned() => return Ok(Ending::LeftPending),
                result = self.links.source.fetch(batch) => result,
            };
            let error = match result {
                Ok(answer) => {
                    self.note_answer(batch, attempts, &answer);
                    let change = self.settlement(batch, answer, attempts)?;
                    self.links.store.submit(change).await?;
                    return Ok(Ending::Stored);
                }
                Err(error) => error,
            };
            let label = error.label();
            self.links.counters.attempt(self.kind, attempts, AttemptResult::Failed(&label));
            self.links.counters.note_error(format!("{batch}: {}", chain(&error)));
            self.note_strain(&error);
            self.heed_retry_after(&error)?;
            let verdict = classify(&error);
            if verdict == Retryability::Refused {
                let user_agent = self.links.config.borrow().source.user_agent.clone();
                return Err(FetchError::Refused { request: batch.to_string(), user_agent, source: error });
            }
            if verdict == Retryability::Lasting {
                self.links.breaker.answered();
            } else if let Toll::Outage { began } = self.links.breaker.failed() {
                if began {
                    warn!(error = %chain(&error), "the source answers nothing; probing it until it does");
                }
                attempts -= 1;
                continue; // the gate holds until the source answers
            }
            let max_attempts = self.retry().max_attempts.get();
            let too_much = verdict == Retryability::TooMuch && attempts >= ATTEMPTS_BEFORE_SPLIT;
            let last = verdict == Retryability::Lasting || attempts >= max_attempts;
            if too_much || last {
                match split(batch) {
                    Split::Indivisible if last => {}
                    Split::Indivisible => {
                        self.wait_before_retry(batch, attempts, &mut delays, &error).await;
                        continue;
                    }
                    // A single list or window is asked in parts only where less may help.
                    Split::Requests(_) if verdict != Retryability::TooMuch && last => {}
                    parts => return self.ask_in_parts(batch, parts, attempts, &error).await,
                }
                self.links.store.submit(failure(batch, attempts, &error)).await?;
                return Ok(Ending::Stored);
            }
            self.wait_before_retry(batch, attempts, &mut delays, &error).await;
        }
    }

    /// Waits for the gate and for a token. False when the run ends meanwhile.
    async fn may_ask(&self) -> Result<bool, FetchError> {
        loop {
            match self.links.breaker.gate() {
                Gate::Open => {
                    let waiting = self.links.counters.wait_for_token();
                    let token = tokio::select! {
                        biased;
                        () = self.links.shutdown.drained() => None,
                        token = self.links.bucket.acquire() => Some(token),
                    };
                    waiting.over(matches!(token, Some(Ok(()))));
                    return token.transpose().map(|token| token.is_some());
                }
                Gate::Wait(wait) => tokio::select! {
                    biased;
                    () = self.links.shutdown.drained() => return Ok(false),
                    () = self.links.breaker.recovered() => {}
                    () = tokio::time::sleep(wait) => {}
                },
                Gate::Probe => {
                    if !self.probe().await? {
                        return Ok(false);
                    }
                }
                Gate::GiveUp(waited) => return Err(self.unreachable(waited).await),
            }
        }
    }

    /// Asks the smallest thing there is, to see whether the source answers. False when the run ends meanwhile.
    async fn probe(&self) -> Result<bool, FetchError> {
        let probe = Batch::of(Request::Frameworks);
        let result = tokio::select! {
            biased;
            () = self.links.shutdown.drained() => return Ok(false),
            token = self.links.bucket.acquire() => { token?; tokio::select! {
                biased;
                () = self.links.shutdown.abandoned() => return Ok(false),
                result = self.links.source.fetch(&probe) => result,
            } }
        };
        match result {
            Ok(answer) => {
                let counted = AttemptResult::Answered { body_bytes: answer.body_bytes, latency: answer.latency };
                self.links.counters.attempt(Kind::Signatures, 1, counted);
                self.links.breaker.answered();
                info!("the source answers again");
            }
            Err(error) => {
                self.links.counters.attempt(Kind::Signatures, 1, AttemptResult::Failed(&error.label()));
                self.heed_retry_after(&error)?;
                match classify(&error) {
                    Retryability::Refused => {
                        let user_agent = self.links.config.borrow().source.user_agent.clone();
                        return Err(FetchError::Refused { request: probe.to_string(), user_agent, source: error });
                    }
                    Retryability::Lasting => drop(self.links.breaker.answered()),
                    Retryability::Passing | Retryability::TooMuch => {
                        let _down = self.links.breaker.failed();
                        debug!(error = %chain(&error), "the source still answers nothing");
                    }
                }
            }
        }
        Ok(true)
    }

    async fn unreachable(&self, waited: Duration) -> FetchError {
        // Asked once more, for the error that the person reads.
        let probe = Batch::of(Request::Frameworks);
        let source = match self.links.source.fetch(&probe).await {
            Err(error) => error,
            Ok(_) => SourceError::Status { status: 503, retry_after: None, excerpt: String::new() },
        };
        let base_url = self.links.config.borrow().source.base_url.clone();
        FetchError::Unreachable { base_url, waited_secs: waited.as_secs(), source }
    }

    fn note_answer(&self, batch: &Batch, attempts: u32, answer: &Answer) {
        debug!(request = %batch, attempts, bytes = answer.body_bytes, latency_ms = answer.latency.as_millis(), "answered");
        let counted = AttemptResult::Answered { body_bytes: answer.body_bytes, latency: answer.latency };
        self.links.counters.attempt(self.kind, attempts, counted);
        if self.links.breaker.answered() {
            info!("the source answers again");
        }
        self.adapt(|controller| controller.served(answer.latency));
    }

    fn note_strain(&self, error: &SourceError) {
        let strain = match error {
            SourceError::Status { status: 429, .. } => Strain::TooManyRequests,
            SourceError::Status { status: 503, .. } => Strain::Unavailable,
            SourceError::Timeout { .. } => Strain::Timeout,
            _ => return,
        };
        self.adapt(|controller| controller.strained(strain));
    }

    fn adapt(&self, decide: impl FnOnce(&mut RateController) -> Option<super::adaptive::Decision>) {
        let config = Arc::clone(&self.links.config.borrow());
        if !config.limiter.adaptive {
            return;
        }
        // Under the controller's lock, so that the last decision is the last to reach the bucket.
        let mut controller = self.links.controller.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(decision) = decide(&mut controller) else { return };
        self.links.bucket.set_rate(decision.to, config.limiter.burst);
        drop(controller);
        self.links.counters.set_rate(decision.to);
        let (from, to) = (decision.from, decision.to);
        if to < from {
            warn!("rate {from:.1} -> {to:.1}: {}", decision.reason);
        } else if decision.restored {
            info!("rate {from:.1} -> {to:.1}: {}, the configured rate again", decision.reason);
        } else {
            debug!("rate {from:.1} -> {to:.1}: {}", decision.reason);
        }
    }

    fn heed_retry_after(&self, error: &SourceError) -> Result<(), FetchError> {
        let SourceError::Status { status, retry_after: Some(wait), .. } = error else { return Ok(()) };
        let allowed = self.links.config.borrow().limiter.max_retry_after;
        if *wait > allowed {
            let source = SourceError::Status { status: *status, retry_after: Some(*wait), excerpt: String::new() };
            return Err(FetchError::AskedToWait {
                asked_secs: wait.as_secs(),
                allowed_secs: allowed.as_secs(),
                source,
            });
        }
        if !wait.is_zero() {
            warn!(wait_s = wait.as_secs(), status, "the server asks to wait; everyone waits");
            self.links.bucket.pause_for(*wait);
        }
        Ok(())
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
        parts: Split,
        attempts: u32,
        error: &SourceError,
    ) -> Result<Ending, FetchError> {
        info!(request = %batch, attempts, error = %chain(error), "asking in parts");
        match parts {
            Split::Requests(requests) => {
                let parts = requests.into_iter().map(Pending::of).collect();
                self.links.store.submit(Change::Replace { batch: batch.clone(), parts, attempts }).await?;
            }
            Split::Batches(halves) => {
                for half in halves {
                    if let Ending::LeftPending = Box::pin(self.settle(&half)).await? {
                        return Ok(Ending::LeftPending);
                    }
                }
            }
            Split::Indivisible => {}
        }
        Ok(Ending::Stored)
    }

    fn settlement(&self, batch: &Batch, answer: Answer, attempts: u32) -> Result<Change, StoreError> {
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
            (Reply::Signatures(signatures), _) => Settlement::of_signatures(request, signatures),
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
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
