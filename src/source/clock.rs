//! The server's clock, by the `Date` headers of its replies.
//!
//! The server selects alert summaries by seconds before its own time, so a wrong clock here would leave some out. That
//! range is therefore computed from the server's time where it is known. A difference of minutes is a warning, once a
//! run; one of a day is an error, because the window of a new crawl is wrong then, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tracing::warn;

use super::error::SourceError;
use crate::model::Timestamp;

/// A larger difference is a warning, seconds.
const WARN_SECS: u64 = 300;

/// This difference and a larger one are an error, seconds. The range of the alert summaries is this much longer than
/// needed.
pub(super) const MARGIN_SECS: i64 = 86_400;

/// How far the server's clock is ahead of ours. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerClock(Arc<State>);

#[derive(Debug)]
struct State {
    /// Seconds, negative when it is behind; `UNKNOWN` before the first reply.
    ahead_secs: AtomicI64,
    warned: AtomicBool,
}

const UNKNOWN: i64 = i64::MIN;

impl Default for State {
    fn default() -> Self {
        Self { ahead_secs: AtomicI64::new(UNKNOWN), warned: AtomicBool::new(false) }
    }
}

impl ServerClock {
    /// Takes note of a reply that arrived at `now`: its `Date`, and the `Age` that a cache on the way gave it.
    ///
    /// # Errors
    /// [`SourceError::ClockSkew`].
    pub(super) fn note(&self, date: Option<&str>, age: Option<&str>, now: Timestamp) -> Result<(), SourceError> {
        let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else { return Ok(()) };
        let age: i64 = age.and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or_default().into();
        let server = Timestamp::from_secs(date.timestamp().as_second().saturating_add(age));
        let ahead = server.as_secs() - now.as_secs();
        if ahead.abs() >= MARGIN_SECS {
            return Err(SourceError::ClockSkew { here: now, server });
        }
        self.0.ahead_secs.store(ahead, Ordering::Relaxed);
        if ahead.unsigned_abs() > WARN_SECS && !self.0.warned.swap(true, Ordering::Relaxed) {
            warn!(here = %now, server = %server, ahead_s = ahead, "this machine's clock differs from the server's; correct it");
        }
        Ok(())
    }

    /// How far the server's clock is ahead, seconds; `None` before its first reply with a `Date`.
    pub(crate) fn ahead_secs(&self) -> Option<i64> {
        Some(self.0.ahead_secs.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }

    /// The server's time when ours is `now`, as far as it is known.
    pub(super) fn at(&self, now: Timestamp) -> Timestamp {
        now.plus_secs(self.ahead_secs().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 22 Nov 2026 08:00:00 GMT";

    fn at(secs: i64) -> Timestamp {
        "2026-11-22T08:00:00".parse::<Timestamp>().unwrap().plus_secs(secs)
    }

    #[test]
    fn the_servers_time_is_its_date_and_the_age_of_the_reply() {
        let clock = ServerClock::default();
        assert_eq!((clock.ahead_secs(), clock.at(at(0))), (None, at(0)));
        clock.note(Some(DATE), None, at(-3600)).unwrap();
        assert_eq!((clock.ahead_secs(), clock.at(at(5))), (Some(3600), at(3605)));
        clock.note(Some(DATE), Some("600"), at(610)).unwrap();
        assert_eq!(clock.ahead_secs(), Some(-10), "the reply waited in a cache for ten minutes");
        for unusable in [None, Some("yesterday"), Some("")] {
            clock.note(unusable, None, at(0)).unwrap();
            assert_eq!(clock.ahead_secs(), Some(-10));
        }
    }

    #[test]
    fn minutes_are_a_warning_once_and_a_day_is_an_error() {
        let clock = ServerClock::default();
        clock.note(Some(DATE), None, at(300)).unwrap();
        assert!(!clock.0.warned.load(Ordering::Relaxed));
        clock.note(Some(DATE), None, at(301)).unwrap();
        assert!(clock.clone().0.warned.load(Ordering::Relaxed));
        clock.note(Some(DATE), None, at(86_399)).unwrap();
        for secs in [86_400, -86_400] {
            let error = clock.note(Some(DATE), None, at(secs)).unwrap_err();
            assert!(matches!(error, SourceError::ClockSkew { .. }), "{error}");
        }
        clock.note(Some(DATE), Some("86400"), at(86_400)).unwrap();
    }
}
