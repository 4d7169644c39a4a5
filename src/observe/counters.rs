//! Counters of one run, added to by the actors, read by whoever shows them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Kind;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult<'a> {
    /// With an answer.
    Answered {
        /// Bytes of the body, after decompression.
        body_bytes: u64,
        /// From sending to the last byte.
        latency: Duration,
    },
    /// With an error, by its label.
    Failed(&'a str),
}

#[derive(Debug, Default)]
struct KindCounters {
    pending: AtomicU64,
    in_flight: AtomicU64,
    settled: AtomicU64,
    failed: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    body_bytes: AtomicU64,
    latency_us: AtomicU64,
    answered: AtomicU64,
}

/// Where a kind of request stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindProgress {
    /// Known and not asked.
    pub pending: u64,
    /// Handed out and not yet durable.
    pub in_flight: u64,
    /// Settled, in all runs.
    pub settled: u64,
    /// Given up for now.
    pub failed: u64,
    /// HTTP requests of this run.
    pub attempts: u64,
    /// Of those, after a first attempt.
    pub retries: u64,
    /// Bytes of the bodies of this run.
    pub body_bytes: u64,
    /// Mean time of an answer, microseconds; 0 before the first.
    pub mean_latency_us: u64,
}

/// Counters of one run. Shared by reference.
#[derive(Debug, Default)]
pub struct Counters {
    kinds: [KindCounters; 4],
    /// The bucket's rate, thousandths of a request per second.
    rate_milli: AtomicU64,
    /// Fetchers that wait for a token.
    waiting_for_token: AtomicU64,
    errors: Mutex<Errors>,
}

#[derive(Debug, Default)]
struct Errors {
    by_label: BTreeMap<String, u64>,
    last: Option<String>,
}

impl Counters {
    /// Counts an attempt that ended.
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
            }
            AttemptResult::Failed(label) => {
                let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                *errors.by_label.entry(label.to_owned()).or_default() += 1;
            }
        }
    }

    /// Keeps the text of the newest error.
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
    pub fn errors_by_label(&self) -> BTreeMap<String, u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).by_label.clone()
    }

    /// Tells where a kind stands.
    pub fn set_frontier(&self, kind: Kind, pending: u64, in_flight: u64) {
        let counters = &self.kinds[kind.index()];
        counters.pending.store(pending, Relaxed);
        counters.in_flight.store(in_flight, Relaxed);
    }

    /// Tells what is settled and failed of a kind.
    pub fn set_settled(&self, kind: Kind, settled: u64, failed: u64) {
        let counters = &self.kinds[kind.index()];
        counters.settled.store(settled, Relaxed);
        counters.failed.store(failed, Relaxed);
    }

    /// Counts what became durable.
    pub fn add_settled(&self, kind: Kind, settled: u64, failed: u64) {
        let counters = &self.kinds[kind.index()];
        counters.settled.fetch_add(settled, Relaxed);
        counters.failed.fetch_add(failed, Relaxed);
    }

    /// Tells the bucket's rate, requests per second.
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

    /// One fetcher more (or less) waits for a token.
    pub fn wait_for_token(&self, begins: bool) {
        if begins {
            self.waiting_for_token.fetch_add(1, Relaxed);
        } else {
            self.waiting_for_token.fetch_sub(1, Relaxed);
        }
    }

    /// Fetchers that wait for a token: 0 with work pending means that concurrency, not the rate, is the limit.
    #[must_use]
    pub fn waiting_for_token(&self) -> u64 {
        self.waiting_for_token.load(Relaxed)
    }

    /// Where a kind stands.
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

    /// HTTP requests of this run.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.of(*kind).attempts).sum()
    }
}
