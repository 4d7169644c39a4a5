//! Counts alert summaries by day, framework and status.
//!
//! In: alert summaries, one at a time. Out: counts. Memory grows with days, frameworks and statuses, not with alerts.

use std::collections::BTreeMap;

use super::{AlertSummaryView, TimeToCulprit};
use crate::model::FrameworkId;

/// The key by which summaries are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaisedOn {
    /// Day of creation (UTC), days since the epoch; `None` without a readable time.
    pub day: Option<i64>,
    /// `None` without a readable framework.
    pub framework: Option<FrameworkId>,
    /// `None` without a readable status.
    pub status: Option<i64>,
}

/// The alert summaries of a crawl over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertHistory {
    /// Number of summaries by day, framework and status.
    pub tally: BTreeMap<RaisedOn, u64>,
    /// Times from push to alert of all summaries.
    pub time_to_culprit: TimeToCulprit,
}

impl AlertHistory {
    /// Adds an alert summary.
    pub fn push(&mut self, summary: &AlertSummaryView) {
        let day = summary.created_at().map(|at| at.as_secs().div_euclid(86_400));
        *self.tally.entry(RaisedOn { day, framework: summary.framework, status: summary.status }).or_default() += 1;
        self.time_to_culprit.push(summary);
    }

    /// Number of summaries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.time_to_culprit.total_rows
    }

    /// True if there are no summaries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RawJson;

    #[test]
    fn summaries_are_counted_by_day_framework_and_status_whatever_is_missing() {
        let mut history = AlertHistory::default();
        for text in [
            r#"{"id":1,"created":"1970-01-02T23:59:59.9","framework":13,"status":7,"push_timestamp":5}"#,
            r#"{"id":2,"created":"1970-01-02T00:00:00","framework":13,"status":7}"#,
            r#"{"id":3,"created":"1969-12-31T23:00:00","framework":"x","status":null}"#,
            r#"{"id":4}"#,
        ] {
            history.push(&AlertSummaryView::read(&RawJson::parse(text).unwrap()).unwrap());
        }
        let kind =
            |day, framework: Option<u64>, status| RaisedOn { day, framework: framework.map(FrameworkId), status };
        assert_eq!(history.tally[&kind(Some(1), Some(13), Some(7))], 2);
        assert_eq!(history.tally[&kind(Some(-1), None, None)], 1);
        assert_eq!(history.tally[&kind(None, None, None)], 1);
        assert_eq!((history.len(), history.time_to_culprit.deltas_micros.len()), (4, 1));
    }
}
