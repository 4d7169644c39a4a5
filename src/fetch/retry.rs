//! Which errors may pass, and the delays between attempts. The only file with backoff, which only generates delays.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::config::RetryConfig;
use crate::source::SourceError;

/// Whether asking again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retryability {
    /// It may pass: ask again after a delay.
    Passing,
    /// Perhaps too much was asked at once: ask again, and split the request when it fails again.
    TooMuch,
    /// Asking again gives the same.
    Lasting,
    /// The crawl cannot go on: the server refuses this client, lacks the repository, or has another date, or the system
    /// refuses a thread.
    Refused,
}

/// Classifies `error`: whether the request that met it may succeed when it is asked again.
pub(super) fn classify(error: &SourceError) -> Retryability {
    match error {
        SourceError::Forbidden
        | SourceError::UnknownRepository { .. }
        | SourceError::ClockSkew { .. }
        | SourceError::Thread { .. } => Retryability::Refused,
        // The server ends every query after 30 s: by 500, by a dropped connection, or through its balancer by 502, 503, 504.
        SourceError::GaveUp { .. }
        | SourceError::Timeout { .. }
        | SourceError::Interrupted { .. }
        | SourceError::TooLarge { .. }
        | SourceError::Status { status: 502..=504 | 413 | 414, .. } => Retryability::TooMuch,
        error if error.is_of_the_request() => Retryability::Lasting,
        // Among these are the replies of a proxy or a login page: a state of the way to the source.
        SourceError::Status { .. }
        | SourceError::Redirect { .. }
        | SourceError::Connect { .. }
        | SourceError::NotJson { .. }
        | SourceError::BrokenEncoding { .. }
        | SourceError::BrokenJson { .. }
        | SourceError::WrongShape { .. }
        | SourceError::Contradictory { .. } => Retryability::Passing,
    }
}

/// True if the source is up although a request met `error`: the error is in the content of its reply, or in the request.
pub(super) fn shows_life(error: &SourceError) -> bool {
    error.is_of_the_request() || matches!(error, SourceError::Contradictory { .. } | SourceError::TooLarge { .. })
}

/// The delays between the attempts of one request: doubling, with jitter of half their length.
#[derive(Debug)]
pub(super) struct RetryDelays(ExponentialBackoff);

impl RetryDelays {
    /// Delays as `config` says.
    pub(super) fn new(config: &RetryConfig) -> Self {
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
    pub(super) fn next_delay(&mut self) -> Duration {
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
    fn a_reply_shows_life_unless_an_outage_may_give_it() {
        let too_large = SourceError::TooLarge { limit: 1 };
        let contradictory = SourceError::Contradictory { endpoint: "jobs", found: String::new() };
        for error in [status(400), status(404), status(413), status(414), too_large, contradictory] {
            assert!(shows_life(&error), "{error}");
        }
        let page = SourceError::NotJson { status: 200, content_type: "text/html".into() };
        for error in [status(204), status(401), status(429), status(500), status(503), page, SourceError::Forbidden] {
            assert!(!shows_life(&error), "{error}");
        }
    }

    #[test]
    fn statuses_are_classified() {
        for (code, expected) in [
            (204, Retryability::Passing),
            (400, Retryability::Lasting),
            (401, Retryability::Passing),
            (404, Retryability::Lasting),
            (406, Retryability::Lasting),
            (407, Retryability::Passing),
            (414, Retryability::TooMuch),
            (429, Retryability::Passing),
            (451, Retryability::Passing),
            (500, Retryability::Passing),
            (502, Retryability::TooMuch),
            (503, Retryability::TooMuch),
            (504, Retryability::TooMuch),
        ] {
            assert_eq!(classify(&status(code)), expected, "{code}");
        }
        assert_eq!(classify(&SourceError::Forbidden), Retryability::Refused);
        let redirect = SourceError::Redirect { status: 302, location: String::new() };
        assert_eq!(classify(&redirect), Retryability::Passing);
        assert_eq!(classify(&SourceError::TooLarge { limit: 1 }), Retryability::TooMuch);
        assert_eq!(
            classify(&SourceError::NotJson { status: 200, content_type: "text/html".into() }),
            Retryability::Passing
        );
    }

    #[test]
    fn delays_double_within_jitter_up_to_the_longest() {
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
