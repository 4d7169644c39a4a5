//! Which errors pass, and how long to wait for that. The only file with backoff, as a generator of delays alone.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::config::RetryConfig;
use crate::model::Batch;
use crate::source::SourceError;

/// What an error means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retryability {
    /// It may pass: ask again after a delay.
    Passing,
    /// It may be that too much was asked at once: ask again, and in parts when it comes again.
    TooMuch,
    /// Asking again gives the same.
    Lasting,
    /// The server wants nothing from this client.
    Refused,
}

/// What `error` means for the request that met it.
#[must_use]
pub fn classify(error: &SourceError) -> Retryability {
    match error {
        SourceError::Forbidden => Retryability::Refused,
        // The server ends every query after 30 s: by a dropped connection, or through its balancer by 502, 503, 504.
        SourceError::Timeout { .. } | SourceError::Interrupted { .. } | SourceError::TooLarge { .. } => {
            Retryability::TooMuch
        }
        SourceError::Status { status: 502..=504 | 413 | 414, .. } => Retryability::TooMuch,
        SourceError::Status { status: 408 | 425 | 429 | 500..=599, .. }
        | SourceError::Connect { .. }
        | SourceError::NotJson { .. }
        | SourceError::BrokenJson { .. }
        | SourceError::WrongShape { .. } => Retryability::Passing,
        SourceError::Status { .. } | SourceError::Redirect { .. } => Retryability::Lasting,
    }
}

/// Failures that may come from too much being asked, before it is asked in parts.
const REPEATS: u32 = 2;

/// After how many such failures `batch` is asked in parts; `None` when less would meet the same error.
#[must_use]
pub fn failures_before_parts(batch: &Batch, error: &SourceError, max_attempts: u32) -> Option<u32> {
    let several = batch.requests().len() > 1;
    match error {
        SourceError::Status { status: 413 | 414, .. } => Some(1),
        error if classify(error) == Retryability::TooMuch => Some(REPEATS.min(max_attempts)),
        // One of several may spoil the reply to all.
        SourceError::Status { status: 400, .. } if several => Some(1),
        SourceError::WrongShape { .. } if several => Some(REPEATS.min(max_attempts)),
        SourceError::Status { status: 500..=599, .. } | SourceError::BrokenJson { .. } if several => Some(max_attempts),
        _ => None,
    }
}

/// The delays between the attempts of one request: doubling, with jitter of half their length.
#[derive(Debug)]
pub struct RetryDelays(ExponentialBackoff);

impl RetryDelays {
    /// Delays as `config` says.
    #[must_use]
    pub fn new(config: &RetryConfig) -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(config.initial_delay)
                .with_max_interval(config.max_delay)
                .with_multiplier(2.0)
                .with_randomization_factor(0.5)
                .with_max_elapsed_time(None) // attempts are counted, not time
                .build(),
        )
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> SourceError {
        SourceError::Status { status, retry_after: None, excerpt: String::new() }
    }

    #[test]
    fn statuses_are_classified() {
        for (code, expected) in [
            (400, Retryability::Lasting),
            (404, Retryability::Lasting),
            (406, Retryability::Lasting),
            (414, Retryability::TooMuch),
            (429, Retryability::Passing),
            (500, Retryability::Passing),
            (502, Retryability::TooMuch),
            (503, Retryability::TooMuch),
            (504, Retryability::TooMuch),
        ] {
            assert_eq!(classify(&status(code)), expected, "{code}");
        }
        assert_eq!(classify(&SourceError::Forbidden), Retryability::Refused);
        assert_eq!(classify(&SourceError::TooLarge { limit: 1 }), Retryability::TooMuch);
        assert_eq!(
            classify(&SourceError::NotJson { status: 200, content_type: "text/html".into() }),
            Retryability::Passing
        );
    }

    #[test]
    fn less_is_asked_only_where_less_may_help() {
        use crate::model::{JobId, Request, SignatureId, Timestamp, Window};
        let window = Window { start: Timestamp::from_secs(0), end: Timestamp::from_secs(1) };
        let one = Batch::of(Request::Summary { signature: SignatureId(1), window });
        let several = Batch::of_jobs(vec![JobId(1), JobId(2)]).unwrap();
        let of = |batch: &Batch, code| failures_before_parts(batch, &status(code), 5);
        for (code, of_one, of_several) in [
            (400, None, Some(1)),
            (404, None, None),
            (414, Some(1), Some(1)),
            (429, None, None),
            (500, None, Some(5)),
            (502, Some(2), Some(2)),
            (504, Some(2), Some(2)),
        ] {
            assert_eq!((of(&one, code), of(&several, code)), (of_one, of_several), "{code}");
        }
        let strange = SourceError::WrongShape { endpoint: "jobs", found: String::new() };
        assert_eq!(failures_before_parts(&several, &strange, 5), Some(2));
        assert_eq!(failures_before_parts(&one, &strange, 5), None);
        assert_eq!(failures_before_parts(&one, &status(502), 1), Some(1), "even when there is only one attempt");
    }

    #[test]
    fn delays_double_within_jitter_and_end_at_the_longest() {
        let config = RetryConfig {
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(8),
            ..RetryConfig::default()
        };
        let mut delays = RetryDelays::new(&config);
        for mean in [1.0, 2.0, 4.0, 8.0, 8.0, 8.0] {
            let delay = delays.next_delay().as_secs_f64();
            assert!((mean * 0.5..=mean * 1.5).contains(&delay), "{delay} around {mean}");
        }
    }
}
