//! Formats numbers, times and texts from the server. Escaping is left to maud.

use crate::dataset::write::plot::axis::{grouped, short_number};
use crate::model::{Timestamp, printable};
use crate::observe::form;

/// Longest text from the server that is shown, characters.
const LONGEST: usize = 160;

/// A text from the server, without control characters and with bounded length.
pub(super) fn shown(text: &str) -> String {
    if text.is_empty() { "—".to_owned() } else { printable(text, LONGEST) }
}

/// `12,500`
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number with at most two decimals, or in powers of ten.
pub(super) fn number(value: f64) -> String {
    if value.is_finite() { short_number(value) } else { "—".to_owned() }
}

/// `1,234 revisions`, `1 revision`
pub(super) fn counted(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", count(number), form(number, singular, plural))
}

/// `12.5 %`; `—` if `whole` is 0.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "—".to_owned();
    }
    let share = 100.0 * part as f64 / whole as f64;
    // A share that is neither nothing nor everything must not round to 0 % or 100 %.
    let share = match (part, part == whole) {
        (0, _) | (_, true) => share,
        _ => share.clamp(0.1, 99.9),
    };
    format!("{share:.1} %")
}

/// `2026-11-22 08:00:00`; fractions of a second are cut off.
pub(super) fn time(at: Timestamp) -> String {
    let text = at.to_naive_string();
    text.split('.').next().unwrap_or_default().replacen('T', " ", 1)
}

/// `2026-11-22`
pub(super) fn date(at: Timestamp) -> String {
    let text = at.to_naive_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// The date of a day, given in days since the epoch.
pub(super) fn date_of_day(day: i64) -> String {
    date(Timestamp::from_secs(day.saturating_mul(86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_to_neither_all_nor_nothing() {
        assert_eq!(percent(0, 7), "0.0 %");
        assert_eq!(percent(1, 1_000_000), "0.1 %");
        assert_eq!(percent(999_999, 1_000_000), "99.9 %");
        assert_eq!(percent(7, 7), "100.0 %");
        assert_eq!(percent(0, 0), "—");
    }

    #[test]
    fn times_read_well() {
        let at: Timestamp = "2026-11-22T08:03:00.25".parse().unwrap();
        assert_eq!((time(at).as_str(), date(at).as_str()), ("2026-11-22 08:03:00", "2026-11-22"));
        assert_eq!(date_of_day(0), "1970-01-01");
        assert_eq!(counted(1, "job", "jobs") + &counted(1200, "job", "jobs"), "1 job1,200 jobs");
    }

    #[test]
    fn texts_of_the_server_are_cut_and_have_no_control_characters() {
        assert_eq!(shown(""), "—");
        assert!(shown(&"x".repeat(10_000)).chars().count() <= LONGEST + 1);
        assert!(!shown("a\u{1b}[2J\u{202e}b").contains(['\u{1b}', '\u{202e}']));
    }
}
