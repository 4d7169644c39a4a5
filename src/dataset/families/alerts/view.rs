//! Tolerant typed views of an alert summary and its alerts.
//!
//! In: the text of a record. Out: the fields that the reducers need. Unknown fields are ignored, a field of an undocumented
//! type counts as absent, and the last of duplicate keys counts, as in Python.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::model::{AlertSummaryId, FrameworkId, RawJson, SignatureId, Timestamp};

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
    /// The bug number; `None` also for 0, which means the same.
    pub bug_number: Option<i64>,
    /// The revision that the summary is attributed to; empty if absent.
    pub revision: String,
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
    /// The signature's test; empty if the suite has no subtests.
    pub test: String,
    /// The signature's platform.
    pub platform: String,
}

impl AlertSummaryView {
    /// Reads a record of `performance/alertsummary`.
    ///
    /// # Errors
    /// If the record is not an object, or has no id.
    pub fn read(raw: &RawJson) -> Result<Self, AlertViewError> {
        let fields: Fields<'_> = raw.view().map_err(AlertViewError::NotObject)?;
        Ok(Self {
            id: fields.get("id").ok_or(AlertViewError::WithoutId)?,
            status: fields.integer("status"),
            framework: fields.get("framework"),
            bug_number: fields.integer("bug_number").filter(|&number| number != 0),
            revision: fields.get("revision").unwrap_or_default(),
            created: fields.get("created").unwrap_or_default(),
            push_timestamp_secs: fields.get("push_timestamp"),
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
        let text = |key| signature.as_ref().and_then(|fields| fields.get(key)).unwrap_or_default();
        Self {
            is_regression: fields.get("is_regression").unwrap_or_default(),
            signature_id: signature.as_ref().and_then(|fields| fields.get("id")),
            test: text("test"),
            platform: text("machine_platform"),
        }
    }
}

/// The values of an object by key, unparsed.
#[derive(Deserialize)]
#[serde(transparent)]
struct Fields<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.0.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    fn nested(&self, key: &str) -> Option<Fields<'a>> {
        self.0.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// Reads an integer, or a float with an integral value, which tools without nullable integers write.
    fn integer(&self, key: &str) -> Option<i64> {
        self.get(key).or_else(|| {
            let float: f64 = self.get(key)?;
            let exact = float.fract() == 0.0 && float.abs() < 9e15;
            #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number within 2^53")]
            exact.then_some(float as i64)
        })
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
    fn fields_of_another_type_count_as_absent() {
        let view = read(
            r#"{"id":5,"status":"7","bug_number":null,"revision":null,"created":9,"push_timestamp":1.0,
                "alerts":[null,7,{"is_regression":1,"series_signature":[]},{"series_signature":{"id":"9","test":null}}],
                "related_alerts":{},"unknown":[{}]}"#,
        );
        assert_eq!((view.status, view.bug_number, view.push_timestamp_secs), (None, None, None));
        assert_eq!((view.revision.as_str(), view.created_at()), ("", None));
        assert_eq!(view.alerts.len(), 2);
        assert!(view.alerts.iter().all(|alert| !alert.is_regression && alert.signature_id.is_none()));
        assert!(view.related_alerts.is_empty() && !view.is_settled_with_bug());
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
