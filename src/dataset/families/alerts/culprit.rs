//! Time to culprit: the time from a push to the creation of its alert.
//!
//! In: alert summaries. Out: exact differences, microseconds, so that the statistics decide about rounding.

use super::AlertSummaryView;

const MICROS: i64 = 1_000_000;

/// The differences `created - push_timestamp` of all alert summaries of any status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeToCulprit {
    /// Microseconds, in the order of the summaries; negative if the alert is older than its push.
    pub deltas_micros: Vec<i64>,
    /// Number of summaries.
    pub total_rows: u64,
    /// Summaries without a readable time of creation or of the push.
    pub missing_or_invalid_rows: u64,
    /// Number of negative differences, which are among the deltas.
    pub negative_delta_rows: u64,
}

impl TimeToCulprit {
    /// Adds an alert summary.
    pub fn push(&mut self, summary: &AlertSummaryView) {
        self.total_rows += 1;
        let delta = summary.created_at().zip(summary.push_timestamp_secs).and_then(|(created, push_secs)| {
            push_secs.checked_mul(MICROS).and_then(|push| created.as_micros().checked_sub(push))
        });
        let Some(delta) = delta else {
            self.missing_or_invalid_rows += 1;
            return;
        };
        self.negative_delta_rows += u64::from(delta < 0);
        self.deltas_micros.push(delta);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RawJson;

    #[test]
    fn microseconds_are_kept_and_unreadable_times_are_counted() {
        let mut times = TimeToCulprit::default();
        for text in [
            r#"{"id":1,"created":"1970-01-01T00:00:10.000001","push_timestamp":4}"#,
            r#"{"id":2,"created":"1970-01-01T00:00:01","push_timestamp":4}"#,
            r#"{"id":3,"created":"yesterday","push_timestamp":4}"#,
            r#"{"id":4,"created":"1970-01-01T00:00:01","push_timestamp":null}"#,
            r#"{"id":5,"created":"1970-01-01T00:00:01","push_timestamp":9223372036854775807}"#,
        ] {
            times.push(&AlertSummaryView::read(&RawJson::parse(text).unwrap()).unwrap());
        }
        assert_eq!(times.deltas_micros, [6_000_001, -3_000_000]);
        assert_eq!((times.total_rows, times.missing_or_invalid_rows, times.negative_delta_rows), (5, 3, 1));
    }
}
