//! A request rate, which may be below one request per second.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// Requests per second: finite and at least 0.001, which is a request every 17 minutes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(f64);

/// A number that is not a [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{given} is not a rate; expected at least {}", Rate::LEAST)]
pub struct InvalidRate {
    given: f64,
}

impl Rate {
    /// The lowest rate: a run at a lower one would look like one that hangs.
    pub const LEAST: Self = Self(0.001);

    /// A rate of whole requests per second.
    #[must_use]
    pub(super) const fn whole(rate: u32) -> Self {
        Self(if rate == 0 { 1.0 } else { rate as f64 })
    }

    /// Requests per second.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Rate {
    type Error = InvalidRate;

    fn try_from(given: f64) -> Result<Self, InvalidRate> {
        if given.is_finite() && given >= Self::LEAST.0 { Ok(Self(given)) } else { Err(InvalidRate { given }) }
    }
}

impl From<NonZeroU32> for Rate {
    fn from(rate: NonZeroU32) -> Self {
        Self(f64::from(rate.get()))
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        Self::try_from(text.trim().parse::<f64>().unwrap_or(f64::NAN))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Rate {
    /// Whole rates as integers, as people write them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_string().parse::<u32>() {
            Ok(whole) => serializer.serialize_u32(whole),
            Err(_) => serializer.serialize_f64(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_back_as_written_and_may_be_below_one() {
        for text in ["5", "0.5", "0.001", "2.5", "1000000"] {
            let rate: Rate = text.parse().unwrap();
            let json = serde_json::to_string(&rate).unwrap();
            assert_eq!((rate.to_string().as_str(), json.as_str()), (text, text));
            assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
        }
    }

    #[test]
    fn a_rate_that_would_stop_a_crawl_is_refused() {
        for text in ["0", "-1", "0.0009", "nan", "inf", "-inf", "", "fast", "1e-9"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Rate>("0").unwrap_err().to_string().starts_with("0 is not a rate"));
    }
}
