//! Times as the API reads and writes them. In memory a time is microseconds since the epoch, UTC.

use jiff::Timestamp;
use jiff::fmt::{rfc2822, temporal};
use jiff::tz::{Offset, TimeZone};

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;

/// The start of year 1, the first that the server knows; seconds.
pub(crate) const YEAR_ONE: i64 = -62_135_596_800;

static WITH_SECONDS: temporal::DateTimePrinter = temporal::DateTimePrinter::new().precision(Some(0));
static WITH_MICROSECONDS: temporal::DateTimePrinter = temporal::DateTimePrinter::new().precision(Some(6));

/// Reads an ISO time as the server does: a day, a naive date and time (UTC) or one with an offset.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_microsecond());
    }
    let naive = text.parse::<jiff::civil::DateTime>().ok()?;
    Some(naive.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// Writes `2026-07-01T00:00:00`, with six digits of fraction unless it is zero. A time outside of jiff's years, -9999 to
/// 9999, is written as the epoch.
pub(crate) fn write_iso(out: &mut Vec<u8>, micros: i64) {
    let printer = if micros % SECOND == 0 { &WITH_SECONDS } else { &WITH_MICROSECONDS };
    let moment = Timestamp::from_microsecond(micros).unwrap_or_default();
    // Writing to a Vec cannot fail.
    let _ = printer.print_datetime(&Offset::UTC.to_datetime(moment), out);
}

/// Whether the API can show a time, seconds: one of the years 1 to 9999.
pub(crate) fn is_shown(seconds: i64) -> bool {
    (YEAR_ONE..253_402_300_800).contains(&seconds)
}

/// Reads the Date header of a recording; seconds since the epoch.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    rfc2822::parse(text).ok().map(|moment| moment.timestamp().as_second())
}

/// The value of a Date header; `None` outside of the years 0 to 9999.
pub(crate) fn http_date(seconds: i64) -> Option<String> {
    let moment = Timestamp::from_second(seconds).ok()?;
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn iso(micros: i64) -> String {
        let mut out = Vec::new();
        write_iso(&mut out, micros);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_fraction_has_no_digit_or_six() {
        assert_eq!(iso(1_782_864_000 * SECOND), "2026-07-01T00:00:00");
        assert_eq!(iso(1_782_864_000 * SECOND + 5), "2026-07-01T00:00:00.000005");
    }

    #[test]
    fn days_offsets_and_naive_moments_are_read() {
        let expected = Some(1_782_864_000 * SECOND);
        for text in ["2026-07-01", "2026-07-01T00:00:00", "2026-07-01T00:00:00Z", "2026-07-01T02:00:00+02:00"] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn the_date_header_is_read_back() {
        let text = "Sun, 22 Nov 2026 08:03:01 GMT";
        assert_eq!(http_date(parse_http_date(text).unwrap()).unwrap(), text);
        assert_eq!(http_date(i64::MAX), None);
    }

    proptest! {
        #[test]
        fn a_written_moment_is_read_back(micros in -2_000_000_000_000_000_i64..4_000_000_000_000_000) {
            prop_assert_eq!(parse(&iso(micros)), Some(micros));
        }
    }
}
