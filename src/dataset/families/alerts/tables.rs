//! The two tables of regressions with a bug.
//!
//! In: alert summaries as listed. Out: the rows of `alerts_with_bug_and_test_info.csv` in the same order, and those of
//! `alert_summary_fail_perf_sigs.csv` by summary id. Both tables hold the summaries with a bug and status 6, 7 or 8.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{AlertSummaryView, TimeToCulprit};
use crate::model::{AlertSummaryId, RawJson, SignatureId};

/// A test that regressed on a platform. Serializes as `{"test": …, "platform": …}`, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct TestOnPlatform {
    /// The signature's test; empty if the suite has no subtests, `None` if it is null.
    pub test: Option<String>,
    /// The signature's platform.
    pub platform: Option<String>,
}

/// A row of `alerts_with_bug_and_test_info.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BugRow {
    /// `regression_bug_id`
    pub bug_number: i64,
    /// `reg_perf_tests_list`: tests of the regressions in alerts and related alerts, distinct, sorted, without empty ones.
    pub tests: Vec<TestOnPlatform>,
    /// `perf_reg_alert_summary_id`
    pub summary_id: AlertSummaryId,
    /// `regressor_push_head_revision`
    pub revision: String,
    /// `alert_creation_date`: as sent by the server.
    pub created: String,
}

/// A row of `alert_summary_fail_perf_sigs.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailingRow {
    /// `alert_summary_id`
    pub summary_id: AlertSummaryId,
    /// `revision`
    pub revision: String,
    /// `fail_perf_sig_ids`: signatures of the regressions among the summary's own alerts, distinct, ascending.
    pub signature_ids: Vec<SignatureId>,
}

impl BugRow {
    /// The row of `summary`; `None` unless it was settled with a bug.
    #[must_use]
    pub(crate) fn of(summary: &AlertSummaryView) -> Option<Self> {
        let bug_number = summary.bug_number.filter(|_| summary.is_settled_with_bug())?;
        let tests: BTreeSet<TestOnPlatform> = summary
            .alerts
            .iter()
            .chain(&summary.related_alerts)
            .filter(|alert| {
                alert.is_regression && [&alert.test, &alert.platform].into_iter().flatten().any(|name| !name.is_empty())
            })
            .map(|alert| TestOnPlatform { test: alert.test.clone(), platform: alert.platform.clone() })
            .collect();
        Some(Self {
            bug_number,
            tests: tests.into_iter().collect(),
            summary_id: summary.id,
            revision: summary.revision.clone(),
            created: summary.created.clone(),
        })
    }

    /// The tests as dictionaries: key and value pairs in the order of the column.
    #[must_use]
    pub(crate) fn test_dicts(&self) -> Vec<[(&'static str, Option<&str>); 2]> {
        self.tests.iter().map(|at| [("test", at.test.as_deref()), ("platform", at.platform.as_deref())]).collect()
    }
}

impl FailingRow {
    /// The row of `summary`; `None` unless it was settled with a bug.
    #[must_use]
    pub(crate) fn of(summary: &AlertSummaryView) -> Option<Self> {
        summary.is_settled_with_bug().then(|| {
            let ids: BTreeSet<SignatureId> = summary
                .alerts
                .iter()
                .filter(|alert| alert.is_regression)
                .filter_map(|alert| alert.signature_id)
                .collect();
            let signature_ids = ids.into_iter().collect();
            Self { summary_id: summary.id, revision: summary.revision.clone(), signature_ids }
        })
    }

    /// The cells of the row.
    #[must_use]
    pub(crate) fn cells(&self) -> [String; 4] {
        let count = self.signature_ids.len().to_string();
        [self.summary_id.to_string(), self.revision.clone(), self.ids_text(), count]
    }

    /// The column's text: a JSON list such as `[1, 2]`.
    #[must_use]
    pub(crate) fn ids_text(&self) -> String {
        let ids: Vec<String> = self.signature_ids.iter().map(SignatureId::to_string).collect();
        format!("[{}]", ids.join(", "))
    }
}

/// The tables derived from the alert summaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AlertTables {
    /// Rows in the order of the summaries.
    pub bug_rows: Vec<BugRow>,
    /// Rows by summary id.
    pub failing_rows: BTreeMap<AlertSummaryId, FailingRow>,
    /// Times from push to alert of all summaries.
    pub time_to_culprit: TimeToCulprit,
    /// Number of records that are not an alert summary, or have no id; no table includes them.
    pub unreadable: u64,
    /// Number of records left out because of a repeated id: paging may return a summary twice.
    pub repeated: u64,
    seen: BTreeSet<AlertSummaryId>,
}

impl AlertTables {
    /// Adds the next alert summary.
    pub(crate) fn push(&mut self, raw: &RawJson) {
        let Ok(summary) = AlertSummaryView::read(raw) else {
            self.unreadable += 1;
            return;
        };
        if !self.seen.insert(summary.id) {
            self.repeated += 1;
            return;
        }
        self.time_to_culprit.push(&summary);
        self.bug_rows.extend(BugRow::of(&summary));
        self.failing_rows.extend(FailingRow::of(&summary).map(|row| (row.summary_id, row)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::dataset::corpus;

    fn tables_of<'a>(summaries: impl IntoIterator<Item = &'a RawJson>) -> AlertTables {
        let mut tables = AlertTables::default();
        summaries.into_iter().for_each(|raw| tables.push(raw));
        tables
    }

    fn corpus_tables() -> AlertTables {
        let pages = corpus::jsonl("api/alertsummary_limit100.jsonl");
        let records: Vec<RawJson> = pages
            .iter()
            .flat_map(|page| page["body"]["results"].as_array().unwrap())
            .map(|record| RawJson::parse(&record.to_string()).unwrap())
            .collect();
        tables_of(&records)
    }

    /// The pairs of a list of dictionaries of texts, written by Python.
    fn python_pairs(literal: &str) -> Vec<TestOnPlatform> {
        let mut texts = Vec::new();
        let mut chars = literal.chars();
        while let Some(quote) = chars.by_ref().find(|c| matches!(c, '\'' | '"')) {
            let mut text = String::new();
            while let Some(c) = chars.next().filter(|&c| c != quote) {
                text.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            texts.push(text);
        }
        let pair = |four: &[String]| {
            assert_eq!((four[0].as_str(), four[2].as_str()), ("test", "platform"));
            TestOnPlatform { test: Some(four[1].clone()), platform: Some(four[3].clone()) }
        };
        texts.chunks(4).map(pair).collect()
    }

    #[test]
    fn bug_rows_are_those_of_the_reference() {
        let tables = corpus_tables();
        let golden = corpus::csv("golden/alerts_with_bug_and_test_info.csv");
        assert_eq!(golden.len(), tables.bug_rows.len());
        for (row, expected) in tables.bug_rows.iter().zip(golden) {
            let mut tests = python_pairs(&expected[1]);
            tests.sort(); // the reference has the order of a hash table
            assert_eq!(row.tests, tests);
            let cells =
                [&row.bug_number.to_string(), &expected[1], &row.summary_id.to_string(), &row.revision, &row.created];
            assert_eq!(expected, cells.map(String::as_str));
        }
    }

    #[test]
    fn failing_rows_are_those_of_the_reference() {
        let tables = corpus_tables();
        let rows: Vec<Vec<String>> = tables
            .failing_rows
            .values()
            .map(|row| {
                let count = row.signature_ids.len().to_string();
                vec![row.summary_id.to_string(), row.revision.clone(), row.ids_text(), count]
            })
            .collect();
        assert_eq!(rows, corpus::csv("golden/alert_summary_fail_perf_sigs.csv"));
    }

    #[test]
    fn times_to_culprit_are_those_of_the_reference() {
        let golden: Value = serde_json::from_str(&corpus::text("golden/time_to_culprit_stats.json")).unwrap();
        let stats = &golden["stats"];
        let times = corpus_tables().time_to_culprit;
        assert_eq!(stats["total_rows"], times.total_rows);
        assert_eq!(stats["missing_or_invalid_rows"], times.missing_or_invalid_rows);
        assert_eq!(stats["negative_delta_rows"], times.negative_delta_rows);
        assert_eq!(stats["count"].as_u64().unwrap(), times.deltas_micros.len() as u64);
        let mut deltas = times.deltas_micros;
        deltas.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "a few days in microseconds")]
        let hours = |micros: i64| micros as f64 / 3_600e6;
        let sum: i64 = deltas.iter().sum();
        for (key, hours) in [
            ("min_hours", hours(deltas[0])),
            ("median_hours", hours(deltas[deltas.len() / 2])),
            ("max_hours", hours(*deltas.last().unwrap())),
            ("mean_hours", hours(sum) / 41.0),
        ] {
            assert!((stats[key].as_f64().unwrap() - hours).abs() < 1e-9, "{key}");
        }
    }

    #[test]
    fn regressions_count_once_and_only_where_they_belong() {
        let alert = |id: u64, regression: bool, test: &str, platform: &str| {
            format!(
                r#"{{"is_regression":{regression},"series_signature":{{"id":{id},"test":{test},"machine_platform":"{platform}"}}}}"#
            )
        };
        let own = [
            alert(9, true, "\"b\"", "linux"),
            alert(2, true, "null", "linux"),
            alert(9, true, "\"b\"", "linux"),
            alert(3, true, "\"\"", ""),
            alert(4, false, "\"x\"", "linux"),
        ];
        let related = alert(5, true, "\"a\"", "mac");
        let text = format!(
            r#"{{"id":1,"status":8,"bug_number":7,"revision":"r","created":"c","alerts":[{}],"related_alerts":[{related}]}}"#,
            own.join(",")
        );
        let raw = RawJson::parse(&text).unwrap();
        let others = [r#"{"id":2,"status":9,"bug_number":7}"#, r#"{"id":3,"status":6,"bug_number":0}"#, "7"]
            .map(|text| RawJson::parse(text).unwrap());
        let tables = tables_of(others.iter().chain([&raw, &raw]));
        assert_eq!((tables.bug_rows.len(), tables.unreadable, tables.repeated), (1, 1, 1));
        assert_eq!(
            tables.bug_rows[0].test_dicts(),
            [
                [("test", None), ("platform", Some("linux"))],
                [("test", Some("a")), ("platform", Some("mac"))],
                [("test", Some("b")), ("platform", Some("linux"))],
            ]
        );
        let failing: Vec<String> = tables.failing_rows.values().map(FailingRow::ids_text).collect();
        assert_eq!(failing, ["[2, 3, 9]"]);
        assert_eq!(tables.time_to_culprit.total_rows, 3);
    }
}
