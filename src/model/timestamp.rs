//! Instants in UTC, to the microsecond: the resolution of the API.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Microseconds since 1970-01-01T00:00:00 UTC.
///
/// Parses RFC 3339 text, naive ISO text (which is UTC, as everywhere in the API) and a date (midnight); displays as
/// `2026-07-01T00:00:00Z`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a time such as 2026-07-01 or 2026-07-01T00:00:00Z")]
pub struct ParseTimestampError {
    text: String,
}

const MICROS: i64 = 1_000_000;
const EPOCH: jiff::civil::Date = jiff::civil::Date::constant(1970, 1, 1);

impl Timestamp {
    /// From whole seconds since the epoch; saturates at the ends of the range.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(MICROS))
    }

    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded towards the past.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// The fraction of the second, microseconds; the API omits a fraction of 0.
    #[must_use]
    pub const fn subsec_micros(self) -> i64 {
        self.0.rem_euclid(MICROS)
    }

    /// This instant plus `secs` seconds; saturates.
    #[must_use]
    pub const fn plus_secs(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(MICROS)))
    }

    /// The machine's clock, in whole seconds.
    #[must_use]
    pub fn now() -> Self {
        Self::from_secs(jiff::Timestamp::now().as_second())
    }

    /// The midnight (UTC) at or before this instant; saturates.
    #[must_use]
    pub const fn midnight(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(86_400 * MICROS)))
    }

    /// Appends the API's naive ISO text: six digits of fraction, or none if it is 0.
    pub(super) fn write_naive(self, out: &mut Vec<u8>) {
        let days = self.0.div_euclid(86_400 * MICROS);
        let in_day = self.0.rem_euclid(86_400 * MICROS);
        // Beyond jiff's calendar, which ends at the year 9999, it is the calendar's last day.
        let date = EPOCH.saturating_add(jiff::SignedDuration::from_secs(days * 86_400));
        let year = date.year();
        let (secs, micros) = (in_day / MICROS, in_day % MICROS);
        let [mo1, mo2] = two_digits(date.month().into());
        let [d1, d2] = two_digits(date.day().into());
        let [h1, h2] = two_digits(secs / 3600);
        let [mi1, mi2] = two_digits(secs / 60 % 60);
        let [s1, s2] = two_digits(secs % 60);
        if (0..=9999).contains(&year) {
            let ([y1, y2], [y3, y4]) = (two_digits((year / 100).into()), two_digits((year % 100).into()));
            out.extend_from_slice(&[y1, y2, y3, y4]);
        } else {
            out.extend_from_slice(year.to_string().as_bytes());
        }
        out.extend_from_slice(&[b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2]);
        if micros != 0 {
            let ([f1, f2], [f3, f4]) = (two_digits(micros / 10_000), two_digits(micros / 100 % 100));
            let [f5, f6] = two_digits(micros % 100);
            out.extend_from_slice(&[b'.', f1, f2, f3, f4, f5, f6]);
        }
    }

    /// The ISO text of the UTC time without an offset, as `write_naive` appends it.
    #[must_use]
    pub fn to_naive_string(self) -> String {
        let mut out = Vec::with_capacity(26);
        self.write_naive(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Parses exactly the API's naive form, `YYYY-MM-DDTHH:MM:SS` with or without a six-digit fraction; `None` for any other
    /// text.
    #[must_use]
    pub fn parse_naive(text: &str) -> Option<Self> {
        Self::parse_naive_bytes(text.as_bytes())
    }

    /// As [`Timestamp::parse_naive`]. It must be fast, since it runs twice per datum.
    pub(super) fn parse_naive_bytes(text: &[u8]) -> Option<Self> {
        let (whole, fraction) = text.split_first_chunk::<19>()?;
        let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2] = *whole else {
            return None;
        };
        let two = |tens: u8, ones: u8| {
            let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
            (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
        };
        let year = two(y1, y2)? * 100 + two(y3, y4)?;
        let (month, day) = (two(mo1, mo2)?, two(d1, d2)?);
        let (hour, minute, second) = (two(h1, h2)?, two(mi1, mi2)?, two(s1, s2)?);
        let micros = match *fraction {
            [] => 0,
            [b'.', f1, f2, f3, f4, f5, f6] => two(f1, f2)? * 10_000 + two(f3, f4)? * 100 + two(f5, f6)?,
            _ => return None,
        };
        let is_a_date = (1..=12).contains(&month) && day >= 1 && day <= days_of_month(year, month);
        if !is_a_date || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_from_civil(year, month, day);
        Some(Self((days * 86_400 + hour * 3600 + minute * 60 + second) * MICROS + micros))
    }
}

/// The digits of a number below 100.
const fn two_digits(number: i64) -> [u8; 2] {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is below 100")]
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// The length of a month (1 to 12) of the proleptic Gregorian calendar.
const fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch of a date of the proleptic Gregorian calendar. jiff's way takes half as long again, twice per datum.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March put the leap day last; 400 such years are 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.to_naive_string())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(parsed) = Self::parse_naive(text) {
            return Ok(parsed);
        }
        if let Ok(parsed) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(parsed.as_microsecond()));
        }
        text.parse::<jiff::civil::DateTime>()
            .and_then(|naive| naive.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|zoned| Self(zoned.timestamp().as_microsecond()))
            .map_err(|_| ParseTimestampError { text: text.to_owned() })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// Accepts text, and TOML's dates, which serde sees as a map of one entry.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl<'de> Visitor<'de> for TimeVisitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"2026-07-01T00:00:00Z\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Timestamp, A::Error> {
                let entry: Option<(String, String)> = map.next_entry()?;
                let (_, text) = entry.ok_or_else(|| de::Error::custom("an empty table is not a time"))?;
                text.parse().map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn naive_text_means_utc_with_and_without_fraction() {
        for (text, micros) in [
            ("1970-01-01T00:00:00", 0),
            ("2026-07-01T00:00:00", 1_782_864_000_000_000),
            ("2026-11-20T19:43:28.323121", 1_795_203_808_323_121),
            ("1969-12-31T23:59:59", -1_000_000),
        ] {
            assert_eq!(Timestamp::parse_naive(text), Some(Timestamp(micros)), "{text}");
            assert_eq!(Timestamp(micros).to_naive_string(), text);
        }
    }

    #[test]
    fn zones_dates_and_offsets_are_read() {
        let july: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
        for text in ["2026-07-01", "2026-07-01T02:00:00+02:00", "2026-07-01T00:00:00.000Z", " 2026-07-01T00:00:00 "] {
            assert_eq!(text.parse::<Timestamp>().unwrap(), july, "{text}");
        }
        assert!("yesterday".parse::<Timestamp>().unwrap_err().to_string().contains("yesterday"));
        assert_eq!(july.to_string(), "2026-07-01T00:00:00Z");
    }

    #[test]
    fn impossible_dates_are_refused() {
        for text in [
            "2026-02-30T00:00:00",
            "2026-02-29T00:00:00",
            "1900-02-29T00:00:00",
            "2026-04-31T00:00:00",
            "2026-00-10T00:00:00",
            "2026-01-00T00:00:00",
            "2026-01-32T00:00:00",
            "2026-01-01T00:60:00",
            "2026-01-01T00:00:60",
            "2026-01-01T00:00:00.12345",
            "2026-01-01T00:00:00,123456",
            "2026-13-01T00:00:00",
            "2026-01-01T24:00:00",
            "2026-01-01T00:00:0a",
            "2026-01-01 00:00:00",
        ] {
            assert_eq!(Timestamp::parse_naive(text), None, "{text}");
        }
        assert!(
            ["2024-02-29T00:00:00", "2000-02-29T23:59:59"].iter().all(|text| Timestamp::parse_naive(text).is_some())
        );
    }

    proptest! {
        #[test]
        fn text_and_instant_go_over_into_each_other(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
            let text = Timestamp(micros).to_naive_string();
            prop_assert_eq!(Timestamp::parse_naive(&text), Some(Timestamp(micros)));
            let with_jiff: jiff::civil::DateTime = text.parse().unwrap();
            let zoned = with_jiff.to_zoned(jiff::tz::TimeZone::UTC).unwrap();
            prop_assert_eq!(zoned.timestamp().as_microsecond(), micros);
        }
    }
}
