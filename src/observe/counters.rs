//! The counters of one run: the actors write them, displays read them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Reducing;
use crate::model::{Kind, NUM_KINDS};

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult<'a> {
    /// With an answer.
    Answered {
        /// After decompression.
        body_bytes: u64,
        /// From sending to the last byte.
        latency: Duration,
    },
    /// With an error, given by its label.
    Failed(&'a str),
}

/// Upper bounds of the latency histogram, seconds; one more bucket counts slower answers.
pub(super) const LATENCY_BOUNDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Default)]
pub(super) struct KindCounters {
    /// Configured; 0 until it is set.
    pub(super) fetchers: AtomicU64,
    /// Consecutive looks at which the kind had too few fetchers, and the number of looks that counted as such.
    pub(super) short_in_a_row: AtomicU64,
    pub(super) seen_short: AtomicU64,
    pending: AtomicU64,
    pub(super) in_flight: AtomicU64,
    settled: AtomicU64,
    failed: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    body_bytes: AtomicU64,
    latency_us: AtomicU64,
    answered: AtomicU64,
    /// Answers by latency: within each bound and above the one before; the last bucket is above all bounds.
    latencies: [AtomicU64; LATENCY_BOUNDS.len() + 1],
}

/// The progress of a kind of request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindProgress {
    /// Requests to ask.
    pub pending: u64,
    /// Requests sent to a fetcher and not yet durable.
    pub in_flight: u64,
    /// Requests settled in all runs.
    pub settled: u64,
    /// Requests that failed; the next run asks again.
    pub failed: u64,
    /// HTTP requests of this run.
    pub attempts: u64,
    /// HTTP requests of this run after a first attempt.
    pub retries: u64,
    /// Bytes of the bodies of this run, after decompression.
    pub body_bytes: u64,
    /// Mean time of an answer, microseconds; 0 before the first.
    pub mean_latency_us: u64,
}

/// The counters of one run; the actors share them.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) kinds: [KindCounters; NUM_KINDS],
    /// The bucket's rate, thousandths of a request per second.
    rate_milli: AtomicU64,
    /// Number of fetchers.
    waiting_for_token: AtomicU64,
    tokens: AtomicU64,
    token_wait_us: AtomicU64,
    /// Number of fetchers that wait until the source is up again.
    pub(super) waiting_for_source: AtomicU64,
    /// Looks while requests were in flight, by limit: none, rate, concurrency.
    pub(super) seen_limited: [AtomicU64; 3],
    jobs_per_request: AtomicU64,
    /// Pending jobs by the day (since the epoch) of their submission.
    pending_jobs: Mutex<BTreeMap<i64, u64>>,
    errors: Mutex<Errors>,
    reducing: Reducing,
}

#[derive(Debug, Default)]
struct Errors {
    by_label: BTreeMap<(Kind, String), u64>,
    last: Option<String>,
}

impl Counters {
    /// Counts an attempt at its end.
    pub fn attempt(&self, kind: Kind, number: u32, result: AttemptResult<'_>) {
        let counters = &self.kinds[kind.index()];
        counters.attempts.fetch_add(1, Relaxed);
        if number > 1 {
            counters.retries.fetch_add(1, Relaxed);
        }
        match result {
            AttemptResult::Answered { body_bytes, latency } => {
                counters.answered.fetch_add(1, Relaxed);
                counters.body_bytes.fetch_add(body_bytes, Relaxed);
                counters.latency_us.fetch_add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), Relaxed);
                let secs = latency.as_secs_f64();
                let at = LATENCY_BOUNDS.iter().position(|bound| secs <= *bound).unwrap_or(LATENCY_BOUNDS.len());
                counters.latencies[at].fetch_add(1, Relaxed);
            }
            AttemptResult::Failed(label) => {
                let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                *errors.by_label.entry((kind, label.to_owned())).or_default() += 1;
            }
        }
    }

    /// Stores the text of the newest error.
    pub fn note_error(&self, text: String) {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).last = Some(text);
    }

    /// The newest error.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// Failed attempts of this run by label.
    #[must_use]
    pub(super) fn errors_by_label(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for ((_, label), num) in self.errors_by_kind() {
            *sums.entry(label).or_default() += num;
        }
        sums
    }

    /// Failed attempts of this run by kind and label.
    #[must_use]
    pub(super) fn errors_by_kind(&self) -> BTreeMap<(Kind, String), u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).by_label.clone()
    }

    /// Number of answers of a kind, the sum of their latencies in seconds, and the number of answers up to each bound
    /// of `LATENCY_BOUNDS` and above the previous one; the last number counts answers above all bounds.
    #[must_use]
    pub fn latencies(&self, kind: Kind) -> (u64, f64, [u64; LATENCY_BOUNDS.len() + 1]) {
        let counters = &self.kinds[kind.index()];
        let micros = Duration::from_micros(counters.latency_us.load(Relaxed));
        let buckets = std::array::from_fn(|at| counters.latencies[at].load(Relaxed));
        (buckets.iter().sum(), micros.as_secs_f64(), buckets)
    }

    /// Sets the numbers of pending requests and of those in flight.
    pub fn set_frontier(&self, kind: Kind, pending: u64, in_flight: u64) {
        let counters = &self.kinds[kind.index()];
        counters.pending.store(pending, Relaxed);
        counters.in_flight.store(in_flight, Relaxed);
    }

    /// Sets the numbers of settled and failed requests.
    pub fn set_settled(&self, kind: Kind, settled: u64, failed: u64) {
        let counters = &self.kinds[kind.index()];
        counters.settled.store(settled, Relaxed);
        counters.failed.store(failed, Relaxed);
    }

    /// Counts requests that became durable.
    pub fn add_settled(&self, kind: Kind, settled: u64, failed: u64) {
        let counters = &self.kinds[kind.index()];
        counters.settled.fetch_add(settled, Relaxed);
        counters.failed.fetch_add(failed, Relaxed);
    }

    /// Sets the bucket's rate, requests per second.
    pub fn set_rate(&self, rate: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive and small")]
        self.rate_milli.store((rate * 1000.0) as u64, Relaxed);
    }

    /// The bucket's rate, requests per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "rates are small")]
        let milli = self.rate_milli.load(Relaxed) as f64;
        milli / 1000.0
    }

    /// Counts a fetcher that waits for a token, until the result is dropped.
    #[must_use]
    pub fn wait_for_token(&self) -> TokenWait<'_> {
        self.waiting_for_token.fetch_add(1, Relaxed);
        TokenWait { counters: self, began: Instant::now(), granted: false }
    }

    /// Number of tokens taken, and the sum of the waits for them.
    #[must_use]
    pub fn tokens(&self) -> (u64, Duration) {
        (self.tokens.load(Relaxed), Duration::from_micros(self.token_wait_us.load(Relaxed)))
    }

    /// Counts a fetcher that waits until the source is up again, until the result is dropped.
    #[must_use]
    pub fn wait_for_source(&self) -> SourceWait<'_> {
        self.waiting_for_source.fetch_add(1, Relaxed);
        SourceWait { counters: self }
    }

    /// True while fetchers wait until the source is up again.
    pub(super) fn waits_for_source(&self) -> bool {
        self.waiting_for_source.load(Relaxed) > 0
    }

    /// Sets the number of fetchers of a kind.
    pub fn set_fetchers(&self, kind: Kind, num: usize) {
        self.kinds[kind.index()].fetchers.store(num as u64, Relaxed);
    }

    /// Mean latency over all kinds; zero before the first answer.
    #[must_use]
    pub(super) fn mean_latency(&self) -> Duration {
        let sum = |of: fn(&KindCounters) -> &AtomicU64| self.kinds.iter().map(|kind| of(kind).load(Relaxed)).sum();
        let (micros, answers): (u64, u64) = (sum(|kind| &kind.latency_us), sum(|kind| &kind.answered));
        Duration::from_micros(micros.checked_div(answers).unwrap_or(0))
    }

    /// Sets the number of jobs per request.
    pub fn set_jobs_per_request(&self, num: usize) {
        self.jobs_per_request.store(num as u64, Relaxed);
    }

    /// HTTP requests left: many jobs share one.
    #[must_use]
    pub fn requests_left(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.requests_left_of(*kind)).sum()
    }

    pub(super) fn requests_left_of(&self, kind: Kind) -> u64 {
        let now = self.of(kind);
        let known = now.pending + now.in_flight;
        match kind {
            Kind::JobDetails => known.div_ceil(self.jobs_per_request.load(Relaxed).max(1)),
            _ => known,
        }
    }

    /// Sets the pending jobs by the day of their submission.
    pub fn set_pending_jobs(&self, by_day: BTreeMap<i64, u64>) {
        *self.pending_jobs.lock().unwrap_or_else(PoisonError::into_inner) = by_day;
    }

    /// Pending jobs by the day (since the epoch) of their submission.
    #[must_use]
    pub(super) fn pending_jobs(&self) -> BTreeMap<i64, u64> {
        self.pending_jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of fetchers that wait for a token; if there are any, the rate is the limit.
    #[must_use]
    pub(super) fn waiting_for_token(&self) -> u64 {
        self.waiting_for_token.load(Relaxed)
    }

    /// The progress of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> KindProgress {
        let counters = &self.kinds[kind.index()];
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        KindProgress {
            pending: get(&counters.pending),
            in_flight: get(&counters.in_flight),
            settled: get(&counters.settled),
            failed: get(&counters.failed),
            attempts: get(&counters.attempts),
            retries: get(&counters.retries),
            body_bytes: get(&counters.body_bytes),
            mean_latency_us: get(&counters.latency_us).checked_div(get(&counters.answered)).unwrap_or(0),
        }
    }

    /// The progress of the reducers.
    #[must_use]
    pub const fn reducing(&self) -> &Reducing {
        &self.reducing
    }

    /// HTTP requests of this run.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.of(*kind).attempts).sum()
    }
}

/// A fetcher's wait for a token; dropping it ends the wait.
#[derive(Debug)]
pub struct TokenWait<'a> {
    counters: &'a Counters,
    began: Instant,
    granted: bool,
}

impl TokenWait<'_> {
    /// Ends the wait; `granted` tells whether with a token.
    pub fn over(mut self, granted: bool) {
        self.granted = granted;
    }
}

impl Drop for TokenWait<'_> {
    fn drop(&mut self) {
        let waited = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.waiting_for_token.fetch_sub(1, Relaxed);
        self.counters.token_wait_us.fetch_add(waited, Relaxed);
        if self.granted {
            self.counters.tokens.fetch_add(1, Relaxed);
        }
    }
}

/// A fetcher's wait for a source that is down; dropping it ends the wait.
#[derive(Debug)]
pub struct SourceWait<'a> {
    counters: &'a Counters,
}

impl Drop for SourceWait<'_> {
    fn drop(&mut self) {
        self.counters.waiting_for_source.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_jobs_are_one_request_left() {
        let counters = Counters::default();
        counters.set_jobs_per_request(300);
        counters.set_frontier(Kind::JobDetails, 600, 1);
        counters.set_frontier(Kind::Summaries, 5, 1);
        assert_eq!(counters.requests_left(), 9);
    }
}
