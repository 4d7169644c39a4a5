//! Asks a server until it answers or asking again is useless: for requests outside the frontier.
//!
//! A future that makes one attempt goes in, its answer comes out. Every attempt takes a token of the run's bucket,
//! `Retry-After` pauses everyone, errors that may pass are retried with backoff, and a run that ends asks for nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tracing::debug;

use super::error::FetchError;
use super::pressure::Pressure;
use super::retry::{RetryDelays, Retryability, classify};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::source::SourceError;

/// Makes requests for a run. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    config: Arc<Config>,
    pressure: Pressure,
    shutdown: Shutdown,
    num_attempts: Arc<AtomicU64>,
}

/// Why an attempt series ended without an answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The run was ended.
    #[error("interrupted")]
    Interrupted,
    /// It failed by an error that lasts, or as often as `retry.max_attempts` allows.
    #[error("no answer after {attempts} attempts")]
    Failed {
        /// Attempts made.
        attempts: u32,
        /// The error of the last one.
        #[source]
        source: SourceError,
    },
    /// The run cannot go on.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl Asker {
    /// Asks as `config` says, as hard as `pressure` allows, until `shutdown`.
    #[must_use]
    pub(crate) fn new(config: Arc<Config>, pressure: Pressure, shutdown: &Shutdown) -> Self {
        Self { config, pressure, shutdown: shutdown.part(), num_attempts: Arc::default() }
    }

    /// Makes no further attempt; those in flight are completed.
    pub(crate) fn drain(&self) {
        self.shutdown.drain();
    }

    /// Attempts made so far.
    #[must_use]
    pub(crate) fn num_attempts(&self) -> u64 {
        self.num_attempts.load(Ordering::Relaxed)
    }

    /// Makes attempts until one is answered; `what` names the request in the log.
    ///
    /// # Errors
    /// [`AskError`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub(crate) async fn ask<T, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let retry = &self.config.retry;
        let mut delays = RetryDelays::new(retry);
        let mut attempts = 0;
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.drained() => return Err(AskError::Interrupted),
                token = self.pressure.bucket.acquire() => token?,
            }
            attempts += 1;
            self.num_attempts.fetch_add(1, Ordering::Relaxed);
            let answer = tokio::select! {
                biased;
                () = self.shutdown.abandoned() => return Err(AskError::Interrupted),
                answer = attempt() => answer,
            };
            let source = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.pressure.heed_retry_after(&source, self.config.limiter.max_retry_after)?;
            let may_pass = matches!(classify(&source), Retryability::Passing | Retryability::TooMuch);
            if !may_pass || attempts >= retry.max_attempts.get() {
                return Err(AskError::Failed { attempts, source });
            }
            let delay = delays.next_delay();
            debug!(what, attempt = attempts, delay_ms = delay.as_millis(), error = %source.with_causes(), "retrying request");
            tokio::select! {
                biased;
                () = self.shutdown.drained() => return Err(AskError::Interrupted),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn asker(config: Config) -> Asker {
        let pressure = Pressure::start(&config);
        Asker::new(Arc::new(config), pressure, &Shutdown::new())
    }

    fn status(status: u16, retry_after: Option<Duration>) -> SourceError {
        SourceError::Status { status, retry_after, excerpt: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn every_attempt_takes_a_token_of_the_bucket() {
        let asker = asker(Config::default()); // 5 a second, 2 at once
        let start = Instant::now();
        let times = Mutex::new(Vec::new());
        for _ in 0..4 {
            let result = asker
                .ask("it", async || {
                    times.lock().unwrap().push(start.elapsed().as_secs_f64());
                    if times.lock().unwrap().len() % 3 == 0 { Err(status(500, None)) } else { Ok(()) }
                })
                .await;
            result.unwrap();
        }
        let times = times.into_inner().unwrap();
        assert_eq!(asker.num_attempts(), times.len() as u64);
        for (first, start) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                #[expect(clippy::cast_precision_loss, reason = "small counts")]
                let taken = (last - first + 1) as f64;
                assert!(taken <= 5.0 * (end - start) + 2.0 + 1e-6, "{times:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_waited_out_and_lasting_errors_are_not_retried() {
        let asker = asker(Config::default());
        let start = Instant::now();
        let mut left = vec![status(429, Some(Duration::from_secs(30)))];
        let answered = asker.ask("it", || std::future::ready(left.pop().map_or(Ok(()), Err))).await;
        assert!(answered.is_ok() && start.elapsed() >= Duration::from_secs(30), "{:?}", start.elapsed());

        let gone = asker.ask("it", async || Err::<(), _>(status(404, None))).await;
        assert!(matches!(gone, Err(AskError::Failed { attempts: 1, .. })));
        let down = asker.ask("it", async || Err::<(), _>(status(502, None))).await;
        assert!(matches!(down, Err(AskError::Failed { attempts: 5, .. })));
        let long = asker.ask("it", async || Err::<(), _>(status(503, Some(Duration::from_hours(1))))).await;
        assert!(matches!(long, Err(AskError::Fetch(FetchError::AskedToWait { asked_secs: 3600, .. }))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_ends_asks_for_nothing_more() {
        let asker = asker(Config::default());
        asker.drain();
        let answer = asker.ask("it", async || Ok(())).await;
        assert!(matches!(answer, Err(AskError::Interrupted)) && asker.num_attempts() == 0);
    }
}
