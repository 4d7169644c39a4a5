//! Moments as the API writes and reads them. Held as microseconds since the epoch, UTC.

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;

/// Reads an ISO moment as the server does: a day, a naive date and time (UTC) or one with an offset.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_microsecond());
    }
    let naive = text.parse::<jiff::civil::DateTime>().ok()?;
    Some(naive.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// Reads the Date header of a recording; seconds since the epoch.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|moment| moment.timestamp().as_second())
}

/// Writes `2026-07-01T00:00:00`, with six digits of fraction unless it is zero.
pub(crate) fn write_iso(out: &mut Vec<u8>, micros: i64) {
    let (seconds, fraction) = (micros.div_euclid(SECOND), micros.rem_euclid(SECOND));
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    write_digits(out, year, 4);
    out.push(b'-');
    write_digits(out, month, 2);
    out.push(b'-');
    write_digits(out, day, 2);
    out.push(b'T');
    write_digits(out, of_day / 3600, 2);
    out.push(b':');
    write_digits(out, of_day / 60 % 60, 2);
    out.push(b':');
    write_digits(out, of_day % 60, 2);
    if fraction != 0 {
        out.push(b'.');
        write_digits(out, fraction, 6);
    }
}

/// The value of a Date header.
pub(crate) fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds.div_euclid(86_400);
    let (year, month, day) = civil(days);
    let of_day = seconds.rem_euclid(86_400);
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or("")
    };
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days.rem_euclid(7)),
        name(&MONTHS, month - 1),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Year, month and day of a day counted from the epoch (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn write_digits(out: &mut Vec<u8>, number: i64, width: usize) {
    let mut buffer = [b'0'; 20];
    let mut rest = number.unsigned_abs();
    let mut used = 0;
    for slot in buffer.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
    }
    out.extend_from_slice(&buffer[buffer.len() - used.max(width)..]);
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
        assert_eq!(http_date(parse_http_date(text).unwrap()), text);
    }

    proptest! {
        #[test]
        fn a_written_moment_is_read_back(micros in -2_000_000_000_000_000_i64..4_000_000_000_000_000) {
            prop_assert_eq!(parse(&iso(micros)), Some(micros));
        }
    }
}
