//! Durations as text. A number of days stays one: `1095days` is not `2years 11months 29days 15h 50m 24s`.

use std::time::Duration;

use serde::Serializer;

pub(super) use humantime_serde::deserialize;

const DAY_SECS: u64 = 86_400;

/// The text of a duration, which reads back as the same: `1095days`, `28days 2h`, `1m 30s`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let days = duration.as_secs() / DAY_SECS;
    if days == 0 {
        return humantime::format_duration(duration).to_string();
    }
    let mut text = format!("{days}{}", if days == 1 { "day" } else { "days" });
    let rest = duration.saturating_sub(Duration::from_secs(days * DAY_SECS));
    if rest > Duration::ZERO {
        text.push_str(&format!(" {}", humantime::format_duration(rest)));
    }
    text
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration_text(*duration))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_not_turned_into_years() {
        for text in ["1095days", "1day", "28days 2h", "1m 30s", "10ms", "365days 6h", "0s"] {
            assert_eq!(duration_text(humantime::parse_duration(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn a_text_reads_back_as_the_same(secs in 0_u64..10_000_000_000, nanos in 0_u32..1_000_000_000) {
            let duration = Duration::new(secs, nanos);
            prop_assert_eq!(humantime::parse_duration(&duration_text(duration)), Ok(duration));
        }
    }
}
