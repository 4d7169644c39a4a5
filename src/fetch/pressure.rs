//! What decides how hard a run presses the server: one token bucket, one breaker, one rate controller, one memory of the
//! sizes that worked. Made once a run and shared by all its frontiers, so that no stage starts with a full bucket of its
//! own or forgets what the server was seen to bear.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::{Breaker, FetchError, RateController, TokenBucket, TokenBucketHandle, WorkedSizes};
use crate::config::{Config, LimiterConfig};
use crate::source::SourceError;

/// No pause is longer, whatever is asked and allowed.
const LONGEST_PAUSE: Duration = Duration::from_hours(10_000);

/// See the module. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Pressure {
    /// Where tokens come from.
    pub bucket: TokenBucketHandle,
    /// Whether the source is up.
    pub breaker: Breaker,
    /// Decides on the rate from what the attempts meet.
    pub controller: Arc<Mutex<RateController>>,
    /// Which sizes of requests worked.
    pub sizes: WorkedSizes,
}

fn rates(limiter: &LimiterConfig) -> (f64, f64) {
    (f64::from(limiter.requests_per_second.get()), f64::from(limiter.min_requests_per_second.get()))
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
            controller: Arc::new(Mutex::new(RateController::new(rate, least))),
            sizes: WorkedSizes::default(),
        }
    }

    /// Pauses everyone for as long as `error` asks to wait.
    ///
    /// # Errors
    /// [`FetchError::AskedToWait`] when that is longer than `allowed`.
    pub fn heed_retry_after(&self, error: &SourceError, allowed: Duration) -> Result<(), FetchError> {
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
            warn!(wait_s = wait.as_secs(), status, "the server asks to wait; everyone waits");
            self.bucket.pause_for((*wait).min(LONGEST_PAUSE));
        }
        Ok(())
    }

    /// Takes over a changed configuration.
    pub fn retune(&self, config: &Config) {
        let retry = &config.retry;
        self.breaker.retune(retry.initial_delay, retry.max_delay, retry.give_up_after);
        let (configured, least) = rates(&config.limiter);
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        controller.configure(configured, least);
        let rate = if config.limiter.adaptive { controller.rate() } else { configured };
        self.bucket.set_rate(rate, config.limiter.burst); // under the lock, so that no older decision comes after it
    }
}
