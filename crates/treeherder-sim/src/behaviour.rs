//! How the server misbehaves: latency, capacity, faults and the time limit of large requests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::draw::Draw;
use crate::error::BehaviourError;
use crate::fault::FaultRule;

/// Latency, capacity and faults of the server. The default has none of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// Time from a request to its reply.
    pub latency: Latency,
    /// Requests per second that the server accepts, with a burst of one second's worth; it answers the others with 429.
    /// `None` is unlimited.
    pub capacity: Option<f64>,
    /// The `Retry-After` header of a 429, rounded up to whole seconds. `None` sends no such header, as Treeherder does.
    pub retry_after: Option<Duration>,
    /// Which requests fail and how; the first rule that applies wins. Whether the n-th attempt of a request fails
    /// depends only on the seed, the request and n.
    pub faults: Vec<FaultRule>,
    /// Ends a summary request that matches more data than this, as Treeherder does when a worker exceeds its time limit. A
    /// request for half the window may succeed. `None` is unlimited.
    pub kill_over_data: Option<usize>,
    /// Ends the requests for alert summaries whose page has one of these ids, in the same way: the query for a row of
    /// thousands of alerts takes too long.
    pub kill_alerts: Vec<u64>,
    /// Time until such a request ends.
    pub kill_after: Duration,
    /// Whether the connection closes then, as it may behind a balancer; otherwise the reply is gunicorn's page with status
    /// 500, as that of the real server.
    pub kill_hangs_up: bool,
    /// Seconds by which the Date header is ahead of the real time.
    pub date_skew_secs: i64,
    /// Whether connections stay open for further requests; gunicorn's default worker closes them.
    pub keep_alive: bool,
    /// Seed of random latencies and faults.
    pub seed: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: Latency::None,
            capacity: None,
            retry_after: None,
            faults: Vec::new(),
            kill_over_data: None,
            kill_alerts: Vec::new(),
            kill_after: Duration::from_secs(30),
            kill_hangs_up: false,
            date_skew_secs: 0,
            keep_alive: true,
            seed: 0,
        }
    }
}

impl Behaviour {
    /// Checks the values that the types do not restrict.
    ///
    /// # Errors
    /// A rate is not between 0 and 1, or the capacity is not positive.
    pub(crate) fn validate(&self) -> Result<(), BehaviourError> {
        if let Some(capacity) = self.capacity
            && !(capacity.is_finite() && capacity > 0.0)
        {
            return Err(BehaviourError::Capacity { capacity: capacity.to_string() });
        }
        self.faults.iter().try_for_each(FaultRule::validate)
    }
}

/// Time from a request to its reply. Written `none`, `50ms`, `20ms..200ms` or `lognormal:80ms,0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Latency {
    /// No latency.
    #[default]
    None,
    /// The same latency for every request.
    Fixed(Duration),
    /// Uniformly distributed.
    Uniform {
        /// The lower bound.
        min: Duration,
        /// The upper bound.
        max: Duration,
    },
    /// Log-normally distributed: many quick replies and a few slow ones. At most an hour.
    LogNormal {
        /// Half of the replies are faster than this.
        median: Duration,
        /// Standard deviation of the natural logarithm; 0.5 is moderate, 1 is extreme.
        sigma: f64,
    },
}

/// Upper bound of a log-normal latency, seconds, so that a large sigma cannot block a test for ever.
const LONGEST: f64 = 3600.0;

impl Latency {
    /// Draws a latency from the distribution.
    pub(crate) fn sample(&self, draw: &mut Draw) -> Duration {
        match *self {
            Self::None => Duration::ZERO,
            Self::Fixed(latency) => latency,
            Self::Uniform { min, max } => min + max.saturating_sub(min).mul_f64(draw.unit()),
            Self::LogNormal { median, sigma } => {
                let seconds = median.as_secs_f64() * (sigma * draw.normal()).exp();
                Duration::from_secs_f64(seconds.clamp(0.0, LONGEST))
            }
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Fixed(latency) => write!(f, "{}", humantime::format_duration(*latency)),
            Self::Uniform { min, max } => {
                write!(f, "{}..{}", humantime::format_duration(*min), humantime::format_duration(*max))
            }
            Self::LogNormal { median, sigma } => {
                write!(f, "lognormal:{},{sigma}", humantime::format_duration(*median))
            }
        }
    }
}

impl FromStr for Latency {
    type Err = BehaviourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || BehaviourError::Latency { text: text.to_owned() };
        let duration = |part: &str| humantime::parse_duration(part.trim()).map_err(|_| malformed());
        let text = text.trim();
        if text == "none" || text == "0" {
            return Ok(Self::None);
        }
        if let Some(parameters) = text.strip_prefix("lognormal:") {
            let (median, sigma) = parameters.split_once(',').ok_or_else(malformed)?;
            let sigma: f64 = sigma.trim().parse().map_err(|_| malformed())?;
            if !(sigma.is_finite() && sigma >= 0.0) {
                return Err(malformed());
            }
            return Ok(Self::LogNormal { median: duration(median)?, sigma });
        }
        if let Some((min, max)) = text.split_once("..") {
            let (min, max) = (duration(min)?, duration(max)?);
            return if min <= max { Ok(Self::Uniform { min, max }) } else { Err(malformed()) };
        }
        duration(text).map(Self::Fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_read_back_as_written() {
        for text in ["none", "50ms", "20ms..200ms", "lognormal:80ms,0.5"] {
            assert_eq!(text.parse::<Latency>().unwrap().to_string(), text);
        }
        for text in ["", "fast", "200ms..20ms", "lognormal:80ms", "lognormal:80ms,-1"] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
    }

    #[test]
    fn half_of_a_lognormal_latency_lies_below_its_median() {
        let latency: Latency = "lognormal:80ms,0.5".parse().unwrap();
        let below =
            (0..2000).filter(|&n| latency.sample(&mut Draw::of(1, 2, n, 0)) < Duration::from_millis(80)).count();
        assert!((900..1100).contains(&below), "{below}");
    }

    #[test]
    fn a_capacity_of_nothing_is_refused() {
        for capacity in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let behaviour = Behaviour { capacity: Some(capacity), ..Behaviour::default() };
            assert!(behaviour.validate().is_err());
        }
    }
}
