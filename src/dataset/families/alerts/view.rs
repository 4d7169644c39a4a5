//! Tolerant typed views of an alert summary and its alerts.
//!
//! In: the text of a record. Out: the fields that the reducers need. Unknown fields are ignored. A field of an undocumented
//! type is read as the scripts read it, which pass the records through a CSV file: a number may be a text, and any value is
//! true or false.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::model::{AlertSummaryId, FrameworkId, RawJson, SignatureId, Timestamp, exact_id, exact_integer};

/// A record that is not an alert summary.
#[derive(Debug, Error)]
pub enum AlertViewError {
    /// The record is not a JSON object.
    #[error("alert summary is not a JSON object")]
    NotObject(#[source] serde_json::Error),
    /// The record has no id, which identifies it in the tables.
    #[error("alert summary without an integer id")]
    WithoutId,
}

/// The fields of an alert summary that the reducers need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSummaryView {
    /// The server's id.
    pub id: AlertSummaryId,
    /// The triage status: 6 won't fix, 7 fixed, 8 backed out, or another, which the reducers do not distinguish.
    pub status: Option<i64>,
    /// The framework whose tests raised it.
    pub framework: Option<FrameworkId>,
    /// True if the framework is a number with a fraction, such as `1.0`.
    pub has_float_framework: bool,
    /// The repository; empty if absent.
    pub repository: String,
    /// The bug number; `None` also for 0, which means the same.
    pub bug_number: Option<i64>,
    /// The revision that the summary is attributed to; empty if absent.
    pub revision: String,
    /// The revision that was blamed first; empty if absent.
    pub original_revision: String,
    /// The last revision before that with data; empty if absent.
    pub original_prev_push_revision: String,
    /// The time of creation as sent by the server; empty if absent.
    pub created: String,
    /// Time of the push, seconds since the epoch.
    pub push_timestamp_secs: Option<i64>,
    /// The summary's own alerts.
    pub alerts: Vec<AlertView>,
    /// Alerts of other summaries that were assigned to this one.
    pub related_alerts: Vec<AlertView>,
}

/// The fields of an alert that the reducers need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// True if the change is a regression.
    pub is_regression: bool,
    /// The signature that changed.
    pub signature_id: Option<SignatureId>,
    /// The signature's test; empty if the suite has no subtests, `None` if it is null.
    pub test: Option<String>,
    /// The signature's platform.
    pub platform: Option<String>,
    /// The value before, as sent.
    pub prev_value: Option<Box<str>>,
    /// The value after, as sent.
    pub new_value: Option<Box<str>>,
    /// The threshold, as sent; no known server sends it with an alert.
    pub alert_threshold: Option<Box<str>>,
}

impl AlertSummaryView {
    /// Reads a record of `performance/alertsummary`.
    ///
    /// # Errors
    /// If the record is not an object, or has no id.
    pub fn read(raw: &RawJson) -> Result<Self, AlertViewError> {
        let fields: Fields<'_> = raw.view().map_err(AlertViewError::NotObject)?;
        Ok(Self {
            id: fields.id("id").map(AlertSummaryId).ok_or(AlertViewError::WithoutId)?,
            status: fields.integer("status"),
            framework: fields.id("framework").map(FrameworkId),
            has_float_framework: fields.is_float("framework"),
            repository: fields.text("repository").unwrap_or_default(),
            bug_number: fields.integer("bug_number").filter(|&number| number != 0),
            revision: fields.text("revision").unwrap_or_default(),
            original_revision: fields.text("original_revision").unwrap_or_default(),
            original_prev_push_revision: fields.text("original_prev_push_revision").unwrap_or_default(),
            created: fields.text("created").unwrap_or_default(),
            // The scripts do not accept a float as a time.
            push_timestamp_secs: fields.integer("push_timestamp").filter(|_| !fields.is_float("push_timestamp")),
            alerts: fields.alerts("alerts"),
            related_alerts: fields.alerts("related_alerts"),
        })
    }

    /// The instant of [`AlertSummaryView::created`]; a time without a zone is UTC.
    #[must_use]
    pub fn created_at(&self) -> Option<Timestamp> {
        self.created.parse().ok()
    }

    /// True if the two tables of regressions include the summary: it has a bug, and its status is "won't fix" (6), "fixed"
    /// (7) or "backed out" (8).
    #[must_use]
    pub fn is_settled_with_bug(&self) -> bool {
        matches!(self.status, Some(6..=8)) && self.bug_number.is_some()
    }
}

impl AlertView {
    fn read(fields: &Fields<'_>) -> Self {
        let signature: Option<Fields<'_>> = fields.nested("series_signature");
        let text = |key| signature.as_ref().and_then(|fields| fields.text(key));
        let raw = |key| fields.raw(key).map(Box::from);
        Self {
            is_regression: fields.is_true("is_regression"),
            signature_id: signature.as_ref().and_then(|fields| fields.id("id")).map(SignatureId),
            test: text("test"),
            platform: text("machine_platform"),
            prev_value: raw("prev_value"),
            new_value: raw("new_value"),
            alert_threshold: raw("alert_threshold"),
        }
    }
}

/// The values of an object by key, unparsed.
#[derive(Deserialize)]
#[serde(transparent)]
struct Fields<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn raw(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|raw| raw.get())
    }

    fn id(&self, key: &str) -> Option<u64> {
        self.raw(key).and_then(exact_id)
    }

    fn integer(&self, key: &str) -> Option<i64> {
        self.raw(key).and_then(exact_integer)
    }

    fn is_float(&self, key: &str) -> bool {
        self.raw(key).is_some_and(|raw| raw.contains(['.', 'e', 'E']))
    }

    /// A string, or the text of another value; `None` for null.
    fn text(&self, key: &str) -> Option<String> {
        let raw = self.raw(key).filter(|raw| *raw != "null")?;
        Some(serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()))
    }

    /// Whether Python takes the value for true: any but null, false, 0 and what is empty.
    fn is_true(&self, key: &str) -> bool {
        match self.raw(key) {
            None | Some("null" | "false" | "\"\"") => false,
            Some(raw) if raw.starts_with(['[', '{']) => {
                raw.bytes().filter(|byte| !byte.is_ascii_whitespace()).count() > 2
            }
            Some(raw) => raw.parse::<f64>() != Ok(0.0),
        }
    }

    fn nested(&self, key: &str) -> Option<Fields<'a>> {
        self.0.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    fn alerts(&self, key: &str) -> Vec<AlertView> {
        let list: Vec<&RawValue> =
            self.0.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        list.into_iter()
            .filter_map(|raw| serde_json::from_str::<Fields<'_>>(raw.get()).ok())
            .map(|fields| AlertView::read(&fields))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> AlertSummaryView {
        AlertSummaryView::read(&RawJson::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn fields_of_another_type_are_read_as_python_reads_them() {
        let view = read(
            r#"{"id":5,"status":"7","bug_number":null,"revision":null,"created":9,"push_timestamp":1.0,
                "alerts":[null,7,{"is_regression":1,"series_signature":[]},
                    {"series_signature":{"id":"9","test":null,"machine_platform":""}}],
                "related_alerts":{},"unknown":[{}]}"#,
        );
        assert_eq!((view.status, view.bug_number, view.push_timestamp_secs), (Some(7), None, None));
        assert_eq!((view.revision.as_str(), view.created.as_str(), view.created_at()), ("", "9", None));
        assert_eq!(view.alerts.iter().map(|alert| alert.is_regression).collect::<Vec<_>>(), [true, false]);
        let test = &view.alerts[1];
        assert_eq!((test.signature_id, &test.test, test.platform.as_deref()), (Some(SignatureId(9)), &None, Some("")));
        assert!(view.related_alerts.is_empty() && !view.is_settled_with_bug());
        assert_eq!(read(r#"{"id":5,"push_timestamp":"7"}"#).push_timestamp_secs, Some(7));
    }

    #[test]
    fn any_value_is_a_regression_that_python_takes_for_true() {
        for (value, expected) in [
            ("true", true),
            ("1", true),
            ("-0.5", true),
            ("\"no\"", true),
            ("[0]", true),
            ("{\"a\":0}", true),
            ("false", false),
            ("0", false),
            ("-0.0", false),
            ("\"\"", false),
            ("[ ]", false),
            ("{}", false),
            ("null", false),
        ] {
            let text = format!(r#"{{"id":1,"alerts":[{{"is_regression":{value}}}]}}"#);
            assert_eq!(read(&text).alerts[0].is_regression, expected, "{value}");
        }
    }

    #[test]
    fn a_bug_number_may_be_written_as_a_float_and_zero_is_none() {
        assert_eq!(read(r#"{"id":1,"bug_number":1999001.0}"#).bug_number, Some(1_999_001));
        assert_eq!(read(r#"{"id":1,"bug_number":0}"#).bug_number, None);
        assert_eq!(read(r#"{"id":1,"bug_number":1.5}"#).bug_number, None);
    }

    #[test]
    fn a_record_without_identity_is_refused() {
        let read = |text: &str| AlertSummaryView::read(&RawJson::parse(text).unwrap());
        assert!(matches!(read("[]"), Err(AlertViewError::NotObject(_))));
        assert!(matches!(read("{}"), Err(AlertViewError::WithoutId)));
        assert!(matches!(read(r#"{"id":-1}"#), Err(AlertViewError::WithoutId)));
    }
}
