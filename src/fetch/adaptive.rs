//! The rate that the server bears: lowered at once when it shows strain, raised slowly when it is calm.
//!
//! Decisions only; the bucket is set by whoever asks. Lowering halves the rate, but never below what the server has just
//! been serving; raising adds a little, and less where strain was last seen, so that the rate stays near what is borne.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Signs that the server is asked too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strain {
    /// 429 Too Many Requests.
    TooManyRequests,
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
}

/// Signs of strain that lower the rate when they come within [`MEMORY`].
const SIGNS: usize = 3;
/// How long signs and answers are remembered.
const MEMORY: Duration = Duration::from_secs(10);
/// After a change, what was under way before it says nothing; also the shortest time to measure what is served.
const SETTLING: Duration = Duration::from_millis(500);
/// Calm after which the rate is raised, and between raises.
const CALM: Duration = Duration::from_secs(2);
/// An answer is slow when it takes this many times the usual, and longer than [`SLOW_FLOOR`].
const SLOW_FACTOR: f64 = 4.0;
const SLOW_FLOOR: Duration = Duration::from_secs(2);

/// Decides on the rate from what the attempts met.
#[derive(Debug)]
pub struct RateController {
    configured: f64,
    least: f64,
    rate: f64,
    /// Where strain was last seen, requests per second.
    ceiling: f64,
    signs: VecDeque<(Instant, Strain)>,
    served: VecDeque<Instant>,
    changed_at: Instant,
    strained_at: Option<Instant>,
    /// Usual latency, seconds: a slow average of answers that were not slow.
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
        self.served.push_back(now);
        let slow = match self.usual_latency {
            Some(usual) => latency > SLOW_FLOOR && latency.as_secs_f64() > SLOW_FACTOR * usual,
            None => false,
        };
        if slow {
            return self.strained(Strain::Slow);
        }
        let latency = latency.as_secs_f64();
        self.usual_latency = Some(self.usual_latency.map_or(latency, |usual| usual + (latency - usual) / 32.0));
        self.forget(now);
        self.raise(now)
    }

    /// An attempt met a sign of strain.
    pub fn strained(&mut self, strain: Strain) -> Option<Decision> {
        let now = Instant::now();
        self.forget(now);
        if now - self.changed_at < SETTLING && self.rate < self.configured {
            return None; // sent before the last change
        }
        self.strained_at = Some(now);
        self.signs.push_back((now, strain));
        // Near the ceiling one sign is enough: it is where strain was expected.
        let enough = if self.rate < self.ceiling * 1.1 && self.ceiling.is_finite() { 1 } else { SIGNS };
        if self.signs.len() < enough || now - self.changed_at < SETTLING {
            return None;
        }
        let measured = now - self.changed_at.max(now - MEMORY.min(now - self.changed_at));
        let span = measured.max(SETTLING).as_secs_f64();
        let since = now - Duration::from_secs_f64(span);
        #[expect(clippy::cast_precision_loss, reason = "a count of requests within ten seconds")]
        let being_served = self.served.iter().filter(|at| **at >= since).count() as f64 / span;
        let from = self.rate;
        self.ceiling = from;
        // A little below what is served, so that the strain ends.
        let to = (from / 2.0).max(being_served.min(from) * 0.96).min(from * 0.98).max(self.least);
        let count = self.signs.len();
        let spread = (now - self.signs.front().map_or(now, |(at, _)| *at)).as_secs_f64().ceil().max(1.0);
        let reason = format!("{count} x {strain} in {spread} s");
        self.signs.clear();
        self.change(to, now);
        (to < from).then_some(Decision { from, to, reason })
    }

    fn raise(&mut self, now: Instant) -> Option<Decision> {
        let calm_since = self.strained_at.map_or(self.changed_at, |at| at.max(self.changed_at));
        if self.rate >= self.configured || now - calm_since < CALM {
            return None;
        }
        let step = if self.rate < 0.9 * self.ceiling { self.configured * 0.05 } else { self.rate * 0.01 };
        let from = self.rate;
        let to = (from + step).min(self.configured);
        self.change(to, now);
        Some(Decision { from, to, reason: format!("calm for {} s", CALM.as_secs()) })
    }

    fn change(&mut self, to: f64, now: Instant) {
        self.rate = to;
        self.changed_at = now;
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
