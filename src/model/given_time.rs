//! Times as a person gives them: dates, or relative to now.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use thiserror::Error;

use super::timestamp::{ParseTimestampError, Timestamp};

const DAY_SECS: u64 = 86_400;

/// The text is not a time that a person gives.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}, nor one before now such as \"120days ago\" or \"yesterday\"")]
pub struct ParseGivenTimeError(ParseTimestampError);

/// A time of the configuration: the text of a [`Timestamp`], or `120days ago`, `12h ago`, `yesterday`, `today`, `now`.
///
/// Whole days before now are midnights (UTC), so that a text means the same all day long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenTime {
    /// The time.
    pub at: Timestamp,
    /// It counts from now, and is another one tomorrow.
    pub is_relative: bool,
}

impl GivenTime {
    /// Parses `text` at `now`.
    ///
    /// # Errors
    /// [`ParseGivenTimeError`], which shows the forms.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, ParseGivenTimeError> {
        let before = match text.trim().to_lowercase().as_str() {
            "now" => return Ok(Self { at: now, is_relative: true }),
            "today" => Some(Duration::ZERO),
            "yesterday" => Some(Duration::from_secs(DAY_SECS)),
            other => other.strip_suffix("ago").and_then(|length| humantime::parse_duration(length.trim()).ok()),
        };
        let Some(before) = before else {
            return text.parse().map(|at| Self { at, is_relative: false }).map_err(ParseGivenTimeError);
        };
        let at = now.plus_secs(i64::try_from(before.as_secs()).unwrap_or(i64::MAX).saturating_neg());
        let is_days = before.as_secs().is_multiple_of(DAY_SECS);
        Ok(Self { at: if is_days { at.midnight() } else { at }, is_relative: true })
    }
}

impl<'de> Deserialize<'de> for GivenTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GivenVisitor;
        impl<'de> Visitor<'de> for GivenVisitor {
            type Value = GivenTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"2026-07-01\", \"2026-07-01T00:00:00Z\" or \"120days ago\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GivenTime, E> {
                GivenTime::parse(text, Timestamp::now()).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GivenTime, A::Error> {
                let at = Timestamp::deserialize(MapAccessDeserializer::new(map))?;
                Ok(GivenTime { at, is_relative: false })
            }
        }
        deserializer.deserialize_any(GivenVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now = "2026-11-22T08:03:09Z".parse().unwrap();
        GivenTime::parse(text, now).map_or_else(|error| error.to_string(), |given| given.at.to_string())
    }

    #[test]
    fn times_are_given_as_dates_or_relative_to_now() {
        for (text, meant) in [
            ("2026-07-01", "2026-07-01T00:00:00Z"),
            ("2026-07-01T10:00:00Z", "2026-07-01T10:00:00Z"),
            ("120days ago", "2026-07-25T00:00:00Z"),
            ("120d ago", "2026-07-25T00:00:00Z"),
            ("1 week ago", "2026-11-15T00:00:00Z"),
            (" 12h ago ", "2026-11-21T20:03:09Z"),
            ("yesterday", "2026-11-21T00:00:00Z"),
            ("Today", "2026-11-22T00:00:00Z"),
            ("now", "2026-11-22T08:03:09Z"),
        ] {
            assert_eq!(at(text), meant, "{text}");
        }
    }

    #[test]
    fn another_text_is_refused_with_the_short_form_and_the_relative_one() {
        for text in ["120days", "1/7/2026", "ago", "soon", "2026-13-01"] {
            let said = at(text);
            assert!(
                said.contains(&format!("`{text}`")) && said.contains("2026-07-01 ") && said.contains("ago"),
                "{said}"
            );
        }
    }
}
