//! How hard a run presses the server: one token bucket, one breaker, one rate controller, one memory of the request sizes
//! that worked. It is made once a run and shared by all its frontiers, so that no stage starts with a full bucket of its
//! own or forgets what was learned about the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::adaptive::{RateChange, RateController, Strain};
use super::breaker::Breaker;
use super::error::FetchError;
use super::limiter::{TokenBucket, TokenBucketHandle};
use super::sizes::WorkedSizes;
use crate::config::{Config, LimiterConfig};
use crate::model::SignatureId;
use crate::observe::Counters;
use crate::source::{ServerClock, SourceError};

/// Maximum pause, for any request of the server and any configuration.
const LONGEST_PAUSE: Duration = Duration::from_hours(10_000);

/// See the module. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Pressure {
    pub(super) bucket: TokenBucketHandle,
    pub(super) breaker: Breaker,
    pub(super) sizes: WorkedSizes,
    controller: Arc<Mutex<RateController>>,
    /// The server's, compared with ours once a run.
    pub(crate) clock: ServerClock,
}

fn rates(limiter: &LimiterConfig) -> (f64, f64) {
    (limiter.requests_per_second.get(), limiter.min_requests_per_second.get())
}

/// The sign of strain in `error`, if it is one.
fn strain_of(error: &SourceError) -> Option<Strain> {
    match error {
        SourceError::Status { status: 429, retry_after: Some(wait), .. } if !wait.is_zero() => {
            Some(Strain::AskedToWait(*wait))
        }
        SourceError::Status { status: 429, .. } => Some(Strain::TooManyRequests),
        SourceError::Status { status: 503, .. } => Some(Strain::Unavailable),
        SourceError::Timeout { .. } => Some(Strain::Timeout),
        _ => None,
    }
}

impl Pressure {
    /// Starts a run's bucket, full; it ends with the last clone. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(config: &Config) -> Self {
        let (rate, least) = rates(&config.limiter);
        let (bucket, handle) = TokenBucket::new(rate, config.limiter.burst);
        tokio::spawn(bucket.run());
        let retry = &config.retry;
        Self {
            bucket: handle,
            breaker: Breaker::new(retry.initial_delay, retry.max_delay, retry.give_up_after),
            sizes: WorkedSizes::default(),
            controller: Arc::new(Mutex::new(RateController::new(rate, least))),
            clock: ServerClock::default(),
        }
    }

    /// Parts of the signature's window failed in an earlier run: they are not split all over again.
    pub(crate) fn note_earlier_failure(&self, signature: SignatureId, replicates: bool) {
        self.sizes.signature_failed_before(signature, replicates);
    }

    /// Tokens per second, now.
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        self.bucket.rate()
    }

    /// Pauses everyone for as long as `error` asks to wait.
    ///
    /// # Errors
    /// [`FetchError::AskedToWait`] when that is longer than `allowed`.
    pub(super) fn heed_retry_after(&self, error: &SourceError, allowed: Duration) -> Result<(), FetchError> {
        let SourceError::Status { status, retry_after: Some(wait), .. } = error else { return Ok(()) };
        if *wait > allowed {
            let source = SourceError::Status { status: *status, retry_after: Some(*wait), excerpt: String::new() };
            return Err(FetchError::AskedToWait {
                asked_secs: wait.as_secs(),
                allowed_secs: allowed.as_secs(),
                source,
            });
        }
        if !wait.is_zero() {
            warn!(wait_s = wait.as_secs(), status, "the server sent Retry-After; pausing all requests");
            self.bucket.pause_for((*wait).min(LONGEST_PAUSE));
        }
        Ok(())
    }

    /// Adapts the rate to an attempt that was answered.
    pub(super) fn note_answer(&self, config: &watch::Receiver<Arc<Config>>, counters: &Counters) {
        self.adapt(config, counters, RateController::served);
    }

    /// Adapts the rate to an attempt that met `error`.
    pub(super) fn note_error(&self, error: &SourceError, config: &watch::Receiver<Arc<Config>>, counters: &Counters) {
        if let Some(strain) = strain_of(error) {
            self.adapt(config, counters, |controller| controller.strained(strain));
        }
    }

    fn adapt(
        &self,
        config: &watch::Receiver<Arc<Config>>,
        counters: &Counters,
        decide: impl FnOnce(&mut RateController) -> Option<RateChange>,
    ) {
        // The configuration is read and the bucket set under the controller's lock: the last decision reaches the bucket
        // last, and one by an older configuration does not undo a retuning.
        let mut controller = self.controller();
        let config = Arc::clone(&config.borrow());
        if !config.limiter.adaptive {
            return;
        }
        let Some(change) = decide(&mut controller) else { return };
        self.bucket.set_rate(change.to, config.limiter.burst);
        drop(controller);
        counters.set_rate(change.to);
        let RateChange { from, to, reason, restored } = change;
        if to < from {
            warn!("rate {from:.1} -> {to:.1}: {reason}");
        } else if restored {
            info!("rate {from:.1} -> {to:.1}: {reason}, back at the configured rate");
        } else {
            debug!("rate {from:.1} -> {to:.1}: {reason}");
        }
    }

    /// Applies a changed configuration.
    pub(crate) fn retune(&self, config: &Config) {
        let retry = &config.retry;
        self.breaker.retune(retry.initial_delay, retry.max_delay, retry.give_up_after);
        let (configured, least) = rates(&config.limiter);
        let mut controller = self.controller();
        controller.configure(configured, least);
        let rate = if config.limiter.adaptive { controller.rate() } else { configured };
        self.bucket.set_rate(rate, config.limiter.burst); // under the lock, so that no older decision comes after it
    }

    fn controller(&self) -> MutexGuard<'_, RateController> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
