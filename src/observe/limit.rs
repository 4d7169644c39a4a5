//! The limit of a crawl: the rate, or the number of fetchers.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Counters;
use crate::model::Kind;

/// The limit of a crawl's speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Unknown, or nothing to do.
    #[default]
    None,
    /// Fetchers wait for tokens.
    Rate,
    /// No fetcher waits for a token, and a kind has requests left but too few fetchers for the rate.
    Concurrency,
}

/// Consecutive looks at which a kind has too few fetchers before they count: a short queue needs no more fetchers.
const LOOKS_UNTIL_SHORT: u64 = 30;

impl Counters {
    /// Returns the current limit, and counts it for [`Counters::limit`].
    pub(super) fn look_at_limit(&self) -> Limit {
        let busy = self.kinds.iter().any(|kind| kind.in_flight.load(Relaxed) > 0);
        let free = self.waiting_for_token() == 0 && !self.waits_for_source();
        let mut short = false;
        for kind in Kind::ALL {
            let counters = &self.kinds[kind.index()];
            if !free || !self.is_short_of_fetchers(kind) {
                counters.short_in_a_row.store(0, Relaxed);
            } else if counters.short_in_a_row.fetch_add(1, Relaxed) + 1 >= LOOKS_UNTIL_SHORT {
                counters.seen_short.fetch_add(1, Relaxed);
                short = true;
            }
        }
        let limit = match (self.waiting_for_token(), short) {
            (0, true) => Limit::Concurrency,
            (0, false) => Limit::None,
            _ => Limit::Rate,
        };
        if busy {
            self.seen_limited[limit as usize].fetch_add(1, Relaxed);
        }
        limit
    }

    /// True when the kind has more requests than fetchers, and the rate would keep more fetchers busy.
    fn is_short_of_fetchers(&self, kind: Kind) -> bool {
        let fetchers = self.kinds[kind.index()].fetchers.load(Relaxed);
        fetchers > 0 && self.requests_left_of(kind) > fetchers && self.fetchers_needed(kind) > fetchers
    }

    /// Number of fetchers of a kind that would use the whole rate; 0 before the first answer.
    fn fetchers_needed(&self, kind: Kind) -> u64 {
        let secs = Duration::from_micros(self.of(kind).mean_latency_us).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and small")]
        let needed = (self.rate() * secs).ceil() as u64;
        needed
    }

    /// The limit during most of the run.
    #[must_use]
    pub fn limit(&self) -> Limit {
        let [none, rate, concurrency] = [0, 1, 2].map(|at: usize| self.seen_limited[at].load(Relaxed));
        if concurrency > rate.max(none) {
            Limit::Concurrency
        } else if rate > 0 {
            Limit::Rate
        } else {
            Limit::None
        }
    }

    /// Advice if concurrency limited the run.
    #[must_use]
    pub fn limit_hint(&self) -> Option<String> {
        if self.limit() == Limit::Concurrency { self.concurrency_hint() } else { None }
    }

    /// Advice for the kind that had too few fetchers for the longest time; `None` if it has enough now.
    #[must_use]
    pub(super) fn concurrency_hint(&self) -> Option<String> {
        let seen = |kind: &Kind| self.kinds[kind.index()].seen_short.load(Relaxed);
        let kind = Kind::ALL.into_iter().filter(|kind| seen(kind) > 0).max_by_key(seen)?;
        let (needed, fetchers) = (self.fetchers_needed(kind), self.kinds[kind.index()].fetchers.load(Relaxed));
        (needed > fetchers).then(|| {
            format!(
                "concurrency, not the rate, is the limit: {:.1} requests/s x {:.3} s of mean latency need {needed} fetchers; \
                 concurrency.{} is {fetchers}",
                self.rate(),
                Duration::from_micros(self.of(kind).mean_latency_us).as_secs_f64(),
                kind.name(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::AttemptResult;

    /// Eight fetchers of summaries where 20 requests/s need 25, and `left` to ask.
    fn short_of_fetchers(left: u64) -> Counters {
        let counters = Counters::default();
        counters.set_rate(20.0);
        counters.set_fetchers(Kind::Summaries, 8);
        let latency = Duration::from_millis(1250);
        counters.attempt(Kind::Summaries, 1, AttemptResult::Answered { body_bytes: 1, latency });
        counters.set_frontier(Kind::Summaries, left - 8, 8);
        counters
    }

    fn look(counters: &Counters, times: u64) -> Limit {
        (0..times).map(|_| counters.look_at_limit()).last().unwrap()
    }

    #[test]
    fn too_few_fetchers_for_the_rate_with_work_waiting_for_a_while_are_the_limit_and_named() {
        let counters = short_of_fetchers(98);
        assert_eq!(look(&counters, LOOKS_UNTIL_SHORT - 1), Limit::None);
        assert_eq!(counters.limit_hint(), None);
        assert_eq!(look(&counters, LOOKS_UNTIL_SHORT), Limit::Concurrency);
        assert_eq!(counters.limit(), Limit::Concurrency);
        let said = counters.limit_hint().unwrap();
        assert!(said.contains("20.0 requests/s x 1.250 s") && said.contains("25 fetchers"), "{said}");
        assert!(said.ends_with("concurrency.summaries is 8"), "{said}");
        counters.set_fetchers(Kind::Summaries, 25);
        assert_eq!(counters.limit_hint(), None, "there are enough by now");
    }

    #[test]
    fn concurrency_is_no_limit_in_the_tail_nor_with_enough_fetchers_nor_while_the_source_is_down() {
        let tail = short_of_fetchers(8);
        assert_eq!(look(&tail, 2 * LOOKS_UNTIL_SHORT), Limit::None);
        let enough = short_of_fetchers(98);
        enough.set_fetchers(Kind::Summaries, 25);
        assert_eq!(look(&enough, 2 * LOOKS_UNTIL_SHORT), Limit::None);
        let down = short_of_fetchers(98);
        let wait = down.wait_for_source();
        assert_eq!(look(&down, 2 * LOOKS_UNTIL_SHORT), Limit::None);
        drop(wait);
        assert_eq!(look(&down, LOOKS_UNTIL_SHORT), Limit::Concurrency);
    }

    #[test]
    fn a_fetcher_that_waits_for_a_token_means_that_the_rate_is_the_limit() {
        let counters = short_of_fetchers(98);
        let wait = counters.wait_for_token();
        assert_eq!(look(&counters, 2 * LOOKS_UNTIL_SHORT), Limit::Rate);
        wait.over(true);
        assert_eq!((counters.limit(), counters.tokens().0, counters.waiting_for_token()), (Limit::Rate, 1, 0));
    }
}
