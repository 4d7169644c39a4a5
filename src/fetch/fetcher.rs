//! A fetcher settles batches one at a time, and owns nothing that outlives a batch.
//!
//! For each attempt: the breaker's gate, a token, the request ([`SourceAccess`]). The table of [`verdict`](super::verdict)
//! decides how the batch goes on. Every batch comes back as a change of the store, or stays pending because the run ends.

mod pages;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::access::{Probed, SourceAccess};
use super::contradiction::Suspicion;
use super::error::FetchError;
use super::page_in_parts::PageInParts;
use super::retry::RetryDelays;
use super::revision_check::RevisionCheck;
use super::scheduler::MAX_QUEUED;
use super::settlement::{AnswerContext, failure_of, settlement_of};
use super::sizes::Subject;
use super::verdict::{FailedAttempt, Failures, Verdict};
use crate::actor::{Room, fail_point};
use crate::model::{Batch, Kind, Request};
use crate::source::{Answer, Reply, SourceError, Split, batches_of, split};
use crate::store::{Change, CrawlIdentity, Pending, SignatureListing, StoreHandle};

/// After so many single jobs of a batch have failed in a row, the rest is not asked: the endpoint is broken, not the jobs.
const HOPELESS_JOBS: u32 = 3;

/// The links that all fetchers share.
#[derive(Clone, Debug)]
pub(crate) struct FetcherLinks {
    /// The way to the source.
    pub(crate) access: SourceAccess,
    /// To the store's writer: answers and failures.
    pub(crate) store: StoreHandle,
    /// To the scheduler: a pool's mailbox runs low.
    pub(crate) mailbox_low: Arc<Notify>,
    /// The crawl.
    pub(crate) identity: Arc<CrawlIdentity>,
    /// `None` without commits.
    pub(crate) revisions: Option<Arc<RevisionCheck>>,
}

/// One fetcher of a pool.
#[derive(Debug)]
pub(crate) struct Fetcher {
    links: FetcherLinks,
    kind: Kind,
    /// Its number in the pool, from 0: it ends when the configured concurrency is at most this.
    number: usize,
    /// From the scheduler, shared by the pool; it closes when the scheduler has no more work.
    inbox: flume::Receiver<Batch>,
}

/// How a batch ended in this fetcher.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Answered, whole or in parts, and handed to the writer.
    Answered,
    /// Handed to the writer: failed at least in part, or replaced by other requests.
    NotAnswered,
    /// The run ends; the batch stays pending.
    LeftPending,
}

/// The history of the larger batch that a batch is a part of.
#[derive(Default)]
struct Trail {
    /// Attempts that it took.
    attempts: u32,
    /// Single jobs of it that failed since one was answered.
    failed_in_a_row: u32,
    /// Rows of the page of alert summaries, if that is read in parts.
    page: Option<PageInParts>,
}

impl Fetcher {
    /// Fetcher `number` of the pool of `kind`.
    #[must_use]
    pub(crate) fn new(links: FetcherLinks, kind: Kind, number: usize, inbox: flume::Receiver<Batch>) -> Self {
        Self { links, kind, number, inbox }
    }

    /// Fetches until the scheduler has no more work, the run ends, or the pool shrinks below its number. Returns that
    /// number, so that it can be used again.
    ///
    /// # Errors
    /// [`FetchError`] when the crawl cannot go on.
    pub(crate) async fn run(self) -> Result<(Kind, usize), FetchError> {
        let mut config = self.links.access.config.clone();
        let mut config_lives = true;
        loop {
            if self.number >= config.borrow_and_update().concurrency_of(self.kind) {
                break;
            }
            let batch = tokio::select! {
                biased;
                () = self.links.access.shutdown.drained() => break, // queued batches stay pending
                changed = config.changed(), if config_lives => {
                    config_lives = changed.is_ok();
                    continue;
                }
                received = self.inbox.recv_async() => match received {
                    Ok(batch) => batch,
                    Err(flume::RecvError::Disconnected) => break, // the scheduler has finished
                },
            };
            if self.inbox.len() <= MAX_QUEUED / 2 {
                self.links.mailbox_low.notify_one();
            }
            match self.settle(&self.sized(batch), &mut Trail::default()).await {
                Ok(Ending::Answered | Ending::NotAnswered) => {}
                Ok(Ending::LeftPending) => break,
                Err(error) => {
                    // The others stop at once, so that nothing more is asked.
                    self.links.access.shutdown.drain();
                    return Err(error);
                }
            }
        }
        Ok((self.kind, self.number))
    }

    /// The verdict on a failed attempt after a probe; `None` if the run ends.
    async fn probe(&self, failed: FailedAttempt<'_>) -> Result<Option<Verdict>, FetchError> {
        Ok(match self.links.access.probe().await? {
            Probed::Answered => Some(FailedAttempt { source_answered: true, ..failed }.verdict()),
            Probed::Failed => Some(Verdict::AwaitSource),
            Probed::Ended => None,
        })
    }

    /// Makes attempts until the batch is off this fetcher's hands.
    async fn settle(&self, batch: &Batch, trail: &mut Trail) -> Result<Ending, FetchError> {
        let access = &self.links.access;
        if let Some(most) = access.pressure.sizes.most_jobs()
            && batch.requests().len() > most
        {
            return self.settle_parts(batches_of(batch, most), trail, None).await;
        }
        let mut delays = RetryDelays::new(&access.config.borrow().retry);
        let mut failures = Failures::default();
        let answers_before = access.pressure.breaker.num_answers();
        let subject = Subject::of(batch);
        let is_unreadable = self.is_unreadable(batch, trail)?;
        loop {
            if let Some(error) = subject.and_then(|subject| access.pressure.sizes.hopeless(subject)) {
                return self.record(batch, trail.attempts + failures.num, &error).await;
            }
            if !access.may_ask().await? {
                return Ok(Ending::LeftPending);
            }
            let attempt = failures.num + 1;
            let asked = Instant::now();
            let answered = access.attempt(batch).await;
            let took = asked.elapsed();
            let error = match answered {
                None => return Ok(Ending::LeftPending),
                Some(Ok((mut answer, listing))) => match self.contradiction(batch, &mut answer, &listing).await? {
                    None => return self.store(batch, answer, listing, attempt, trail).await,
                    Some(error) => error,
                },
                Some(Err(error)) => error,
            };
            let in_outage = access.note_error(batch, attempt, &error)?;
            let max_attempts = if is_unreadable { 1 } else { access.config.borrow().retry.max_attempts.get() };
            let failures_now = failures.and(batch, &error, max_attempts);
            let avoidable = !in_outage && failures_now.num_avoidable > failures.num_avoidable;
            let failed = FailedAttempt {
                batch,
                error: &error,
                failures: failures_now,
                max_attempts,
                took,
                in_outage,
                source_answered: access.pressure.breaker.num_answers() != answers_before,
                subject_failures: self.count_failure(subject.filter(|_| avoidable), &error),
            };
            let mut verdict = failed.verdict();
            if verdict == Verdict::Probe {
                let Some(after_probe) = self.probe(failed).await? else { return Ok(Ending::LeftPending) };
                verdict = after_probe;
                if verdict == Verdict::AwaitSource {
                    failures = Failures::default(); // they all met the outage
                }
            } else if !in_outage {
                failures = failed.failures;
            }
            let ends = matches!(verdict, Verdict::Split | Verdict::Record);
            if ends && is_whole_list(batch) && !access.check_repository().await? {
                return Ok(Ending::LeftPending);
            }
            match verdict {
                Verdict::StopCrawl => return Err(access.refused(batch, error).await),
                Verdict::AwaitSource | Verdict::Probe => {} // the gate holds until the source answers
                Verdict::Retry => self.wait_before_retry(batch, attempt, &mut delays, &error).await,
                Verdict::Split | Verdict::SetAside | Verdict::Record => {
                    return self.give_up(verdict, batch, attempt, trail, &error).await;
                }
            }
        }
    }

    /// Asks no more for `batch` as it is.
    async fn give_up(
        &self,
        verdict: Verdict,
        batch: &Batch,
        attempts: u32,
        trail: &mut Trail,
        error: &SourceError,
    ) -> Result<Ending, FetchError> {
        trail.attempts += attempts;
        match verdict {
            Verdict::Split => self.split(batch, attempts, trail, error).await,
            Verdict::SetAside => self.set_row_aside(batch, trail, error).await,
            _ => {
                trail.failed_in_a_row += 1;
                self.record(batch, trail.attempts, error).await
            }
        }
    }
}

/// True for a list of all signatures: the server answers 500 when it lacks the repository.
fn is_whole_list(batch: &Batch) -> bool {
    matches!(
        batch.requests()[0],
        Request::Signatures { framework: None }
            | Request::UpdatedSignatures { framework: None }
            | Request::MovedSignatures { .. }
    )
}

/// One function for each verdict.
impl Fetcher {
    /// Counts a failure of a subject's request; returns how many there were in a row.
    fn count_failure(&self, subject: Option<Subject>, error: &Arc<SourceError>) -> u32 {
        subject.map_or(0, |subject| self.links.access.pressure.sizes.failed(subject, error))
    }

    async fn store(
        &self,
        batch: &Batch,
        answer: Answer,
        listing: SignatureListing,
        attempts: u32,
        trail: &mut Trail,
    ) -> Result<Ending, FetchError> {
        let links = &self.links;
        links.access.note_answer(batch, attempts, &answer);
        links.revisions.as_ref().map_or(Ok(()), |check| check.compare(&answer.reply))?;
        let replicates = batch.kind() == Kind::Replicates;
        if let Some(secs) = self.secs_of_part(batch) {
            links.access.pressure.sizes.part_worked(replicates, secs);
        }
        let has_data = match &answer.reply {
            Reply::Summary(summary) => !summary.data.is_empty(),
            Reply::AlertPage { records, .. } => !records.taken.is_empty(),
            _ => false,
        };
        if let Some(subject) = Subject::of(batch).filter(|_| has_data) {
            links.access.pressure.sizes.answered(subject);
        }
        trail.failed_in_a_row = 0;
        match (&mut trail.page, batch.rows(), answer) {
            (
                Some(page),
                Some(rows),
                Answer { reply: Reply::AlertPage { count, records }, body_bytes, latency, .. },
            ) => {
                trail.attempts += attempts;
                page.add_cost(body_bytes, latency);
                page.add(rows, count, records);
            }
            (_, _, answer) => self.submit(batch, answer, listing, attempts).await?,
        }
        Ok(Ending::Answered)
    }

    async fn submit(
        &self,
        batch: &Batch,
        answer: Answer,
        listing: SignatureListing,
        attempts: u32,
    ) -> Result<(), FetchError> {
        let links = &self.links;
        let context = AnswerContext {
            store: links.store.store(),
            identity: &links.identity,
            page_size: self.page_size(),
            attempts,
        };
        let settlement = settlement_of(batch, answer, listing, &context)?;
        fail_point("fetcher.before_submit");
        Ok(links.store.submit(settlement).await?)
    }

    async fn contradiction(
        &self,
        batch: &Batch,
        answer: &mut Answer,
        listing: &SignatureListing,
    ) -> Result<Option<Arc<SourceError>>, FetchError> {
        let Some(suspicion) = Suspicion::of(batch, answer, listing) else { return Ok(None) };
        answer.room = Room::default(); // it must not wait for a witness's room while it has one
        let Self { links: FetcherLinks { access, store, identity, .. }, .. } = self;
        let known = suspicion.contradicted_by(store.store(), identity)?;
        let found = match (known, suspicion.witness()) {
            (None, Some(witness)) => match access.ask_witness(&witness).await? {
                Some(records) => suspicion.contradicted_by_alerts(&records, store.store(), identity)?,
                None => Some("nothing that can be checked: no alert summaries to compare it with".to_owned()),
            },
            (known, _) => known,
        };
        Ok(found.map(|found| Arc::new(SourceError::Contradictory { endpoint: suspicion.endpoint(), found })))
    }

    async fn wait_before_retry(&self, batch: &Batch, attempt: u32, delays: &mut RetryDelays, error: &SourceError) {
        let delay = delays.next_delay();
        debug!(request = %batch, attempt, delay_ms = delay.as_millis(), error = %error.with_causes(), "retrying request");
        tokio::select! {
            biased;
            () = self.links.access.shutdown.drained() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }

    async fn split(
        &self,
        batch: &Batch,
        attempts: u32,
        trail: &mut Trail,
        error: &SourceError,
    ) -> Result<Ending, FetchError> {
        info!(request = %batch, attempts, error = %error.with_causes(), "splitting request");
        let (sizes, replicates) = (&self.links.access.pressure.sizes, batch.kind() == Kind::Replicates);
        if let Some(secs) = self.secs_of_part(batch) {
            sizes.part_failed(replicates, secs);
        }
        match split(batch, sizes.longest_part_secs(replicates)) {
            Split::Requests(requests) => {
                let parts = requests.into_iter().map(Pending::of).collect();
                self.links.store.submit(Change::Replace { batch: batch.clone(), parts, attempts }).await?;
                Ok(Ending::NotAnswered)
            }
            Split::Batches(parts) if batch.rows().is_some() => self.read_in_parts(batch, parts, trail, error).await,
            Split::Batches(batches) => {
                let size = batches.iter().map(|part| part.requests().len()).max().unwrap_or(1);
                let ending = self.settle_parts(batches, trail, Some(error)).await?;
                if ending == Ending::Answered {
                    sizes.jobs_worked_in_parts(size);
                }
                Ok(ending)
            }
            Split::Indivisible => Ok(Ending::NotAnswered),
        }
    }

    /// Settles batches one after the other. `error` is the one that the batch of them all met.
    async fn settle_parts(
        &self,
        batches: Vec<Batch>,
        trail: &mut Trail,
        error: Option<&SourceError>,
    ) -> Result<Ending, FetchError> {
        let spent = trail.attempts;
        let mut ending = Ending::Answered;
        for batch in &batches {
            trail.attempts = spent;
            let settled = match error {
                Some(error) if trail.failed_in_a_row >= HOPELESS_JOBS => self.record(batch, spent, error).await?,
                _ => Box::pin(self.settle(batch, trail)).await?,
            };
            match settled {
                Ending::Answered => {}
                Ending::NotAnswered => ending = Ending::NotAnswered,
                Ending::LeftPending => return Ok(Ending::LeftPending),
            }
        }
        Ok(ending)
    }

    async fn record(&self, batch: &Batch, attempts: u32, error: &SourceError) -> Result<Ending, FetchError> {
        warn!(request = %batch, attempts, error = %error.with_causes(), "request failed; the next run will retry it");
        self.links.store.submit(failure_of(batch, attempts, error)).await?;
        Ok(Ending::NotAnswered)
    }

    /// The length of a part of the data window; `None` for everything else.
    fn secs_of_part(&self, batch: &Batch) -> Option<i64> {
        match batch.requests()[0] {
            request @ Request::Summary { window, .. } if request.is_part(self.links.identity.data_window()) => {
                Some(window.secs())
            }
            _ => None,
        }
    }
}
