//! The request rate that the server can serve: additive increase, multiplicative decrease.
//!
//! * A **429** says that this rate is too high. The rate is cut and remembered as the ceiling. The first cut halves the
//!   rate, since nothing is known of the capacity yet; later ones take [`CUT`], and twice as much as the cut before when
//!   they follow it within [`CALM`], up to half.
//! * A **503** or a **timeout** says that the server is in trouble, and nothing about its capacity: [`SIGNS`] of them within
//!   [`CALM`] halve the rate, and the ceiling stays.
//! * **Answers** raise the rate by [`STEP`]: once per [`PACE`] while it is below the ceiling, once per [`CALM`] at the
//!   ceiling. A ceiling that was exceeded by half without a 429 is forgotten.
//!
//! Slow answers need no rule: the number of fetchers bounds the requests in flight, so the rate falls as latency grows.
//! This file only decides; [`Pressure`](super::Pressure) sets the bucket.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// The time between two cuts, and between two raises below the ceiling. Replies that come sooner after a cut belong to
/// requests sent before it: refusals usually take less than a second.
const PACE: Duration = Duration::from_secs(1);

/// How long the server must be calm before the rate is raised at the ceiling, and how long signs are remembered. A server
/// with a second's worth of reserve shows within this time that a rate is 10 % too high.
const CALM: Duration = Duration::from_secs(10);

/// Signs of trouble within [`CALM`] that count: a single 503 or timeout may be chance.
const SIGNS: usize = 3;

/// Share of the rate that a cut at a known ceiling takes. Together with [`STEP`], the rate stays within 10 % of the
/// capacity; smaller cuts meet more refusals, larger ones waste more of the capacity.
const CUT: f64 = 0.05;

/// A raise, as a share of the configured rate below the ceiling, and of the ceiling at it. At one raise per [`PACE`], any
/// rate is back at 90 % of the configured one within 45 s; twice as much would overshoot a capacity of a quarter by half.
const STEP: f64 = 0.02;

/// A sign that the server is asked too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strain {
    /// 429 Too Many Requests.
    TooManyRequests,
    /// 429 with `Retry-After`: everyone waits this long.
    AskedToWait(Duration),
    /// 503 Service Unavailable.
    Unavailable,
    /// No complete reply in time.
    Timeout,
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyRequests => "429",
            Self::AskedToWait(_) => "429 with Retry-After",
            Self::Unavailable => "503",
            Self::Timeout => "timeout",
        })
    }
}

/// A change of the rate, for the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RateChange {
    /// Requests per second before.
    pub(super) from: f64,
    /// Requests per second from now on.
    pub(super) to: f64,
    /// `3 x 503 in 10 s`, `calm for 2 s`
    pub(super) reason: String,
    /// True when the rate is the configured one again.
    pub(super) restored: bool,
}

/// Decides on the rate from the results of the attempts.
#[derive(Debug)]
pub(super) struct RateController {
    configured: f64,
    least: f64,
    rate: f64,
    /// The rate that the server refused last, requests per second; infinite when unknown.
    ceiling: f64,
    /// The last cut after a 429, as a share of the rate.
    last_cut: f64,
    signs: VecDeque<(Instant, Strain)>,
    /// The last cut, or the end of the wait that came with it.
    cut_at: Option<Instant>,
    /// Strain before this comes from requests sent before the last cut.
    ignore_until: Instant,
    /// The last change of any kind; raises count from here.
    changed_at: Instant,
}

impl RateController {
    /// Starts at the configured rate.
    pub(super) fn new(configured: f64, least: f64) -> Self {
        let now = Instant::now();
        Self {
            configured,
            least: least.min(configured),
            rate: configured,
            ceiling: f64::INFINITY,
            last_cut: CUT,
            signs: VecDeque::new(),
            cut_at: None,
            ignore_until: now,
            changed_at: now,
        }
    }

    /// Requests per second, now.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Applies a new configuration: an uncut rate follows it at once, a cut one only stays within the new limits.
    pub(super) fn configure(&mut self, configured: f64, least: f64) {
        let was_cut = self.rate < self.configured;
        self.configured = configured;
        self.least = least.min(configured);
        self.rate = if was_cut { self.rate.clamp(self.least, configured) } else { configured };
        if !was_cut {
            self.ceiling = f64::INFINITY;
        }
    }

    /// An attempt was answered.
    pub(super) fn served(&mut self) -> Option<RateChange> {
        let now = Instant::now();
        let calm = now.saturating_duration_since(self.changed_at);
        let below_ceiling = self.ceiling * (1.0 - CUT);
        let (interval, to) = if self.rate < below_ceiling {
            (PACE, (self.rate + self.configured * STEP).min(below_ceiling))
        } else {
            (CALM, self.rate + self.ceiling.min(self.configured) * STEP)
        };
        if self.rate >= self.configured || calm < interval {
            return None;
        }
        let (from, to) = (self.rate, to.min(self.configured));
        let restored = to >= self.configured;
        if restored || to > self.ceiling * 1.5 {
            self.ceiling = f64::INFINITY;
        }
        self.rate = to;
        self.changed_at = now;
        Some(RateChange { from, to, reason: format!("calm for {} s", calm.as_secs()), restored })
    }

    /// An attempt met a sign of strain.
    pub(super) fn strained(&mut self, strain: Strain) -> Option<RateChange> {
        let now = Instant::now();
        if now < self.ignore_until {
            return None;
        }
        self.signs.retain(|(at, _)| now - *at <= CALM);
        self.signs.push_back((now, strain));
        let cut = match strain {
            Strain::TooManyRequests | Strain::AskedToWait(_) => self.cut_at_ceiling(now, strain),
            Strain::Unavailable | Strain::Timeout if self.signs.len() < SIGNS => return None,
            Strain::Unavailable | Strain::Timeout => 0.5,
        };
        let wait = if let Strain::AskedToWait(wait) = strain { Some(wait) } else { None };
        let (from, to) = (self.rate, (self.rate * (1.0 - cut)).max(self.least));
        let reason = self.reason(now);
        self.rate = to;
        self.signs.clear();
        self.changed_at = now.checked_add(wait.unwrap_or_default()).unwrap_or(now);
        self.cut_at = Some(self.changed_at);
        self.ignore_until = if wait.is_some() { self.changed_at } else { now + PACE };
        (to < from).then_some(RateChange { from, to, reason, restored: false })
    }

    /// Learns the ceiling from a 429; returns the share of the rate to cut.
    fn cut_at_ceiling(&mut self, now: Instant, strain: Strain) -> f64 {
        let is_calm = self.cut_at.is_none_or(|at| now.saturating_duration_since(at) >= CALM);
        let cut = if self.ceiling.is_infinite() {
            0.5
        } else if is_calm {
            CUT
        } else {
            (self.last_cut * 2.0).min(0.5)
        };
        // A wait refills the server's reserve, so that a rate is refused late: the capacity is well below it.
        let overshot = matches!(strain, Strain::AskedToWait(_)) && (!is_calm || self.ceiling.is_infinite());
        self.ceiling = if overshot { self.rate * (1.0 - cut / 4.0) } else { self.rate };
        self.last_cut = cut;
        cut
    }

    /// `3 x 503 in 4 s`, `2 x 429, 1 x timeout in 10 s`
    fn reason(&self, now: Instant) -> String {
        let mut counted: Vec<(usize, String)> = Vec::new();
        for name in self.signs.iter().map(|(_, sign)| sign.to_string()) {
            match counted.iter_mut().find(|(_, known)| *known == name) {
                Some((count, _)) => *count += 1,
                None => counted.push((1, name)),
            }
        }
        let parts: Vec<_> = counted.iter().map(|(count, name)| format!("{count} x {name}")).collect();
        let spread = self.signs.front().map_or(Duration::ZERO, |(at, _)| now - *at).as_secs_f64().ceil().max(1.0);
        format!("{} in {spread} s", parts.join(", "))
    }
}
