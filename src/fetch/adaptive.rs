//! The rate that the server bears: lowered at once when it shows strain, raised slowly when it is calm.
//!
//! Decisions only; the bucket is set by whoever asks. A 503, a timeout or a slow answer says nothing about how much would
//! be borne: enough of them halve the rate. A 429 does: the share that is refused is the share that is too much; unless it
//! makes everyone wait, so that what else would have been refused is never asked: then the rate goes down by steps, large
//! ones while refusals follow each other, and a small one after calm. What was borne then is remembered as the ceiling;
//! below it the rate is raised in quick steps, at it only by small probes, each failed one followed by a longer rest, so
//! that the rate stays near what is borne and few requests are refused.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Signs that the server is asked too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strain {
    /// 429 Too Many Requests.
    TooManyRequests,
    /// The same, with a time to wait: everyone waits, so no share of refusals can be told.
    AskedToWait(Duration),
    /// 503 Service Unavailable.
    Unavailable,
    /// No whole reply in time.
    Timeout,
    /// Answers take several times as long as they did.
    Slow,
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyRequests => "429",
            Self::AskedToWait(_) => "429 with a time to wait",
            Self::Unavailable => "503",
            Self::Timeout => "timeout",
            Self::Slow => "slow answer",
        })
    }
}

/// A change of the rate, for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Requests per second before.
    pub from: f64,
    /// Requests per second from now on.
    pub to: f64,
    /// Why.
    pub reason: String,
    /// True when the rate is the configured one again.
    pub restored: bool,
}

/// Signs of strain that lower the rate when they come within [`MEMORY`].
const SIGNS: usize = 3;
/// How long signs and answers are remembered.
const MEMORY: Duration = Duration::from_secs(10);
/// Results that come this soon after a change belong to requests sent before it, and say nothing.
const SETTLING: Duration = Duration::from_millis(500);
/// Results from which a share of refusals can be told.
const LEAST_RESULTS: usize = 5;
/// Calm after which the rate is raised below the ceiling, and between such raises.
const CALM: Duration = Duration::from_secs(2);
/// Calm before the first probe at the ceiling; it doubles with each probe that fails, up to the longest.
const REST: Duration = Duration::from_secs(20);
const LONGEST_REST: Duration = Duration::from_mins(5);
/// Below this share of the ceiling, steps are quick.
const QUICK_UP_TO: f64 = 0.95;
/// A quick step, as a share of the configured rate; and a probe, as a share of the ceiling.
const QUICK_STEP: f64 = 0.05;
const PROBE_STEP: f64 = 0.02;
/// A ceiling that was exceeded by this much in calm was none.
const CEILING_BROKEN: f64 = 1.15;
/// Put below what is thought to be borne, so that the server's own reserve fills again.
const MARGIN: f64 = 0.97;
/// What a 429 that makes everyone wait leaves of the rate: the first one, one that follows another, and one after calm.
const FIRST_WAIT: f64 = 0.7;
const NEXT_WAIT: f64 = 0.8;
const LATE_WAIT: f64 = 0.95;

/// An answer is slow when it takes this many times the usual, and longer than [`SLOW_FLOOR`]; and slowness counts from
/// this share of answers, since some are slow on any day.
const SLOW_FACTOR: f64 = 4.0;
const SLOW_FLOOR: Duration = Duration::from_secs(1);
const SLOW_SHARE: f64 = 0.25;

/// Decides on the rate from what the attempts met.
#[derive(Debug)]
pub struct RateController {
    configured: f64,
    least: f64,
    rate: f64,
    /// What was borne when strain was last seen, requests per second; infinite before.
    ceiling: f64,
    /// How long the rate rests at the ceiling before the next probe.
    rest: Duration,
    signs: VecDeque<(Instant, Strain)>,
    served: VecDeque<Instant>,
    changed_at: Instant,
    /// When strain was last seen; where the server asked to wait, when the wait is over.
    strained_at: Option<Instant>,
    /// Usual latency, seconds: a slow average.
    usual_latency: Option<f64>,
}

impl RateController {
    /// Starts at the configured rate.
    #[must_use]
    pub fn new(configured: f64, least: f64) -> Self {
        Self {
            configured,
            least: least.min(configured),
            rate: configured,
            ceiling: f64::INFINITY,
            rest: REST,
            signs: VecDeque::new(),
            served: VecDeque::new(),
            changed_at: Instant::now(),
            strained_at: None,
            usual_latency: None,
        }
    }

    /// Requests per second, now.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes on a new configuration: the rate moves to it at once when it is lower, or when nothing held it down.
    pub fn configure(&mut self, configured: f64, least: f64) {
        let held_down = self.rate < self.configured;
        self.configured = configured;
        self.least = least.min(configured);
        self.rate = if held_down { self.rate.clamp(self.least, configured) } else { configured };
        if !held_down {
            self.ceiling = f64::INFINITY;
        }
    }

    /// An attempt was served.
    pub fn served(&mut self, latency: Duration) -> Option<Decision> {
        let now = Instant::now();
        self.forget(now);
        self.served.push_back(now);
        let secs = latency.as_secs_f64();
        let usual = *self.usual_latency.get_or_insert(secs);
        let slow = latency > SLOW_FLOOR && secs > SLOW_FACTOR * usual;
        // Slow answers move the usual too, but slowly: a server that stays slow is not held to what it once was.
        self.usual_latency = Some(usual + (secs - usual) / if slow { 256.0 } else { 32.0 });
        if slow { self.strained(Strain::Slow) } else { self.raise(now) }
    }

    /// An attempt met a sign of strain.
    pub fn strained(&mut self, strain: Strain) -> Option<Decision> {
        let now = Instant::now();
        self.forget(now);
        let since_change = now - self.changed_at;
        let waits = self.strained_at.is_some_and(|over_at| now < over_at);
        if waits || (since_change < SETTLING && self.rate < self.configured) {
            return None; // sent before the last change
        }
        // Since the strain before this one; raising the rate meanwhile is no strain.
        let calm = self.strained_at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let wait = if let Strain::AskedToWait(wait) = strain { Some(wait) } else { None };
        self.strained_at = now.checked_add(wait.unwrap_or_default()).or(Some(now));
        self.signs.push_back((now, strain));
        let (num_signs, num_served) = (self.signs.len(), self.served.len());
        let share = ratio(num_signs, num_signs + num_served);
        let at_ceiling = self.ceiling.is_finite();
        let only_refusals = self.signs.iter().all(|(_, sign)| *sign == Strain::TooManyRequests);
        let (factor, borne) = if wait.is_some() {
            let left = match at_ceiling {
                false => FIRST_WAIT,
                true if calm < MEMORY => NEXT_WAIT,
                true => LATE_WAIT,
            };
            (left, self.rate * f64::midpoint(left, 1.0))
        } else if only_refusals {
            // Where strain was expected, one sign is enough, when there are answers to compare it with.
            if num_signs < if at_ceiling { 1 } else { SIGNS } || num_signs + num_served < LEAST_RESULTS {
                return None;
            }
            ((MARGIN * (1.0 - share)).clamp(0.5, MARGIN), self.rate * (1.0 - share))
        } else {
            let slow = self.signs.iter().all(|(_, sign)| *sign == Strain::Slow);
            let slow_share = ratio(num_signs, num_served);
            if num_signs < SIGNS || (slow && slow_share < SLOW_SHARE) {
                return None;
            }
            (0.5, self.rate)
        };
        let from = self.rate;
        let to = (from * factor).max(self.least);
        let was_probe = wait.is_none() || calm >= MEMORY;
        self.rest = if was_probe && from > self.ceiling * 0.9 && from < self.ceiling * CEILING_BROKEN {
            (self.rest * 2).min(LONGEST_REST) // a probe that failed
        } else {
            REST
        };
        // A single refusal at the ceiling tells little about it.
        let tells_little = at_ceiling && num_signs < SIGNS && wait.is_none();
        self.ceiling = if tells_little { self.ceiling.min(from) } else { borne.max(to) };
        let spread = self.signs.front().map_or(Duration::ZERO, |(at, _)| now - *at).as_secs_f64().ceil().max(1.0);
        let reason = format!("{} in {spread} s", self.tally());
        self.change(to, now);
        (to < from).then_some(Decision { from, to, reason, restored: false })
    }

    fn raise(&mut self, now: Instant) -> Option<Decision> {
        let calm = now.saturating_duration_since(self.calm_since());
        if self.rate >= self.configured || calm < CALM {
            return None;
        }
        if self.rate > self.ceiling * CEILING_BROKEN {
            self.ceiling = f64::INFINITY;
            self.rest = REST;
        }
        let quick = self.configured * QUICK_STEP;
        let brink = self.ceiling * QUICK_UP_TO;
        let to = if self.rate < brink {
            (self.rate + quick).min(brink)
        } else if calm >= self.rest {
            self.rate + (self.ceiling * PROBE_STEP).min(quick)
        } else {
            return None;
        };
        let (from, to) = (self.rate, to.min(self.configured));
        // After a first probe that was borne, the next ones follow sooner.
        if from >= brink {
            self.rest = (self.rest / 2).max(REST);
        }
        let restored = to >= self.configured;
        if restored {
            self.ceiling = f64::INFINITY;
            self.rest = REST;
        }
        self.rate = to;
        self.changed_at = now;
        Some(Decision { from, to, reason: format!("calm for {} s", calm.as_secs()), restored })
    }

    fn calm_since(&self) -> Instant {
        self.strained_at.map_or(self.changed_at, |at| at.max(self.changed_at))
    }

    /// Lowers the rate; what was seen at the old one says nothing about the new one.
    fn change(&mut self, to: f64, now: Instant) {
        self.rate = to;
        self.changed_at = now;
        self.signs.clear();
        self.served.clear();
    }

    /// `3 x 503`, `2 x 429, 1 x timeout`
    fn tally(&self) -> String {
        let mut counted: Vec<(usize, String)> = Vec::new();
        for name in self.signs.iter().map(|(_, sign)| sign.to_string()) {
            match counted.iter_mut().find(|(_, known)| *known == name) {
                Some((n, _)) => *n += 1,
                None => counted.push((1, name)),
            }
        }
        let parts: Vec<_> = counted.iter().map(|(n, kind)| format!("{n} x {kind}")).collect();
        parts.join(", ")
    }

    fn forget(&mut self, now: Instant) {
        while self.signs.front().is_some_and(|(at, _)| now - *at > MEMORY) {
            self.signs.pop_front();
        }
        while self.served.front().is_some_and(|at| now - *at > MEMORY) {
            self.served.pop_front();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests within ten seconds")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small counts")]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::fetch::TokenBucket;

    /// A server that serves `capacity` requests a second, with a second's worth of reserve, and answers 429 above it.
    struct Server {
        capacity: f64,
        tokens: f64,
        filled_at: Instant,
    }

    impl Server {
        fn admits(&mut self) -> bool {
            let now = Instant::now();
            let filled = self.tokens + (now - self.filled_at).as_secs_f64() * self.capacity;
            self.tokens = filled.min(self.capacity.max(1.0));
            self.filled_at = now;
            let admitted = self.tokens >= 1.0;
            if admitted {
                self.tokens -= 1.0;
            }
            admitted
        }
    }

    #[derive(Default)]
    struct Log {
        /// Instant and whether it was served, of each request.
        results: Vec<(f64, bool)>,
        decisions: Vec<(f64, Decision)>,
    }

    /// A crawl at `configured` against a server of `capacity`, for `secs` of virtual time.
    /// With `retry_after`, its 429 make everyone wait.
    async fn crawl(configured: f64, capacity: f64, secs: u64, retry_after: Option<Duration>) -> Log {
        let (bucket, tokens) = TokenBucket::new(configured, NonZeroU32::new(2).unwrap());
        tokio::spawn(bucket.run());
        let controller = Arc::new(Mutex::new(RateController::new(configured, 1.0)));
        let now = Instant::now();
        let server = Arc::new(Mutex::new(Server { capacity, tokens: capacity.max(1.0), filled_at: now }));
        let log = Arc::new(Mutex::new(Log::default()));
        let end = now + Duration::from_secs(secs);
        let fetchers: Vec<_> = (0..64_u64)
            .map(|number| {
                let (tokens, controller) = (tokens.clone(), Arc::clone(&controller));
                let (server, log) = (Arc::clone(&server), Arc::clone(&log));
                tokio::spawn(async move {
                    let latency = Duration::from_millis(40 + number);
                    while Instant::now() < end {
                        tokens.acquire().await.unwrap();
                        tokio::time::sleep(latency / 2).await;
                        let admitted = server.lock().unwrap().admits();
                        tokio::time::sleep(latency / 2).await;
                        let mut controller = controller.lock().unwrap();
                        let decision = if admitted {
                            controller.served(latency)
                        } else if let Some(wait) = retry_after {
                            tokens.pause_for(wait);
                            controller.strained(Strain::AskedToWait(wait))
                        } else {
                            controller.strained(Strain::TooManyRequests)
                        };
                        let mut log = log.lock().unwrap();
                        log.results.push((now.elapsed().as_secs_f64(), admitted));
                        if let Some(decision) = decision {
                            tokens.set_rate(decision.to, NonZeroU32::new(2).unwrap());
                            log.decisions.push((now.elapsed().as_secs_f64(), decision));
                        }
                    }
                })
            })
            .collect();
        for fetcher in fetchers {
            fetcher.await.unwrap();
        }
        std::mem::take(&mut log.lock().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_crawl_at_four_times_the_capacity_settles_within_ten_percent_of_it_and_is_seldom_refused() {
        let waits = [None, Some(Duration::from_secs(1)), Some(Duration::from_secs(5))];
        for (capacity, retry_after) in [2.0, 10.0, 100.0].into_iter().flat_map(|of| waits.map(|wait| (of, wait))) {
            let secs = 600;
            let log = crawl(4.0 * capacity, capacity, secs, retry_after).await;
            let refused = log.results.iter().filter(|(_, served)| !served).count();
            let share = refused as f64 / log.results.len() as f64;
            assert!(share < 0.05, "{:.1} % refused at {capacity}/s", share * 100.0);
            for start in (60..secs - 30).step_by(30) {
                let within = |at: f64| at >= start as f64 && at < (start + 30) as f64;
                let served = log.results.iter().filter(|(at, served)| *served && within(*at)).count() as f64 / 30.0;
                let off = (served / capacity - 1.0).abs();
                // One wait may lie in any such window.
                let waited = retry_after.map_or(0.0, |wait| wait.as_secs_f64() / 30.0);
                assert!(
                    off <= 0.1 + waited,
                    "{served:.2}/s served from {start} s on, of {capacity}/s, {retry_after:?}"
                );
            }
            let settled = log.decisions.iter().filter(|(at, _)| *at > 60.0);
            for (at, decision) in settled {
                let off = (decision.to / capacity - 1.0).abs();
                assert!(
                    off <= 0.1,
                    "rate {:.2} at {at:.0} s, of {capacity}/s, {retry_after:?}: {}",
                    decision.to,
                    decision.reason
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_is_borne_is_never_changed() {
        let log = crawl(20.0, 40.0, 120, None).await;
        assert!(log.decisions.is_empty());
        assert!(log.results.len() as f64 >= 0.98 * 20.0 * 120.0, "{}", log.results.len());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_come_while_everyone_waits_lower_the_rate_once_and_no_wait_is_too_long() {
        let mut controller = RateController::new(20.0, 1.0);
        let wait = Strain::AskedToWait(Duration::from_secs(5));
        assert!((controller.strained(wait).unwrap().to - 14.0).abs() < 1e-9);
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(controller.strained(wait), None, "it was sent before the wait");
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        let endless = Strain::AskedToWait(Duration::from_secs(u64::MAX));
        assert!(controller.strained(endless).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn three_signs_within_ten_seconds_halve_the_rate_and_say_why() {
        for (strain, reason) in [(Strain::Unavailable, "3 x 503 in 10 s"), (Strain::Timeout, "3 x timeout in 10 s")] {
            let mut controller = RateController::new(20.0, 1.0);
            assert_eq!(controller.strained(strain), None);
            tokio::time::advance(Duration::from_millis(4800)).await;
            assert_eq!(controller.strained(strain), None);
            tokio::time::advance(Duration::from_millis(4800)).await;
            let decision = controller.strained(strain).unwrap();
            assert_eq!((decision.from, decision.to, decision.reason.as_str()), (20.0, 10.0, reason));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn signs_far_apart_change_nothing() {
        let mut controller = RateController::new(20.0, 1.0);
        for _ in 0..20 {
            assert_eq!(controller.strained(Strain::Unavailable), None);
            tokio::time::advance(Duration::from_secs(6)).await;
        }
        assert!(controller.rate() >= 20.0);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_take_far_longer_than_usual_lower_the_rate_and_a_few_slow_ones_do_not() {
        let mut controller = RateController::new(20.0, 1.0);
        let mut answer = async |millis: u64| {
            tokio::time::advance(Duration::from_millis(50)).await;
            controller.served(Duration::from_millis(millis))
        };
        for number in 0..400 {
            assert_eq!(answer(if number % 20 == 0 { 3000 } else { 100 }).await, None);
        }
        let mut decision = None;
        for _ in 0..200 {
            decision = decision.or(answer(2000).await);
        }
        let decision = decision.unwrap();
        assert!((decision.to - 10.0).abs() < 1e-9 && decision.reason.contains("slow answer"), "{decision:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn calm_raises_the_rate_step_by_step_back_to_the_configured_one() {
        let mut controller = RateController::new(20.0, 1.0);
        for _ in 0..3 {
            controller.strained(Strain::Unavailable);
        }
        assert!((controller.rate() - 10.0).abs() < 1e-9);
        let mut steps = Vec::new();
        for _ in 0..6000 {
            tokio::time::advance(Duration::from_millis(100)).await;
            steps.extend(controller.served(Duration::from_millis(80)));
        }
        assert!(controller.rate() >= 20.0);
        assert!(steps.iter().all(|step| step.to > step.from && step.to - step.from <= 1.0 + 1e-9));
        assert_eq!(steps.iter().filter(|step| step.restored).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_never_goes_below_the_least_nor_above_the_configured_one() {
        let mut controller = RateController::new(8.0, 3.0);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(600)).await;
            controller.strained(Strain::Timeout);
        }
        assert!((controller.rate() - 3.0).abs() < 1e-9);
        for _ in 0..10_000 {
            tokio::time::advance(Duration::from_millis(100)).await;
            controller.served(Duration::from_millis(80));
            assert!(controller.rate() <= 8.0);
        }
        assert!(controller.rate() >= 8.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_configuration_moves_a_free_rate_and_only_bounds_one_that_is_held_down() {
        let mut controller = RateController::new(20.0, 1.0);
        controller.configure(40.0, 1.0);
        assert!((controller.rate() - 40.0).abs() < 1e-9);
        for _ in 0..3 {
            controller.strained(Strain::Unavailable);
        }
        controller.configure(60.0, 1.0);
        assert!((controller.rate() - 20.0).abs() < 1e-9);
        controller.configure(5.0, 1.0);
        assert!((controller.rate() - 5.0).abs() < 1e-9);
    }
}
