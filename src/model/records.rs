//! The records of the API's other endpoints: an id, what the crawl itself needs, and the text as it came.

use super::{AlertSummaryId, DatumRecord, FrameworkId, JobId, RawJson, SignatureId, Timestamp};

/// One record of `performance/signatures`.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Its id.
    pub id: SignatureId,
    /// The framework it belongs to.
    pub framework_id: FrameworkId,
    /// The record.
    pub raw: RawJson,
}

/// One reply of `performance/summary` for one signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The signature that was asked for.
    pub signature_id: SignatureId,
    /// The reply's object without its `data`; `None` when the server knows no such signature (an empty list).
    pub header: Option<RawJson>,
    /// The data within the window that was asked for, each id once, in the order of [`super::api_order`].
    pub data: Vec<DatumRecord>,
}

/// One record of `performance/alertsummary`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertSummary {
    /// Its id.
    pub id: AlertSummaryId,
    /// When the alert was created.
    pub created: Timestamp,
    /// When the push landed that raised it.
    pub push_timestamp: Option<Timestamp>,
    /// The record.
    pub raw: RawJson,
}

/// When a job was submitted, started and ended: seconds since the epoch, as the API gives them. 0 is how the server writes
/// "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobTimes {
    /// `submit_timestamp`
    pub submit_secs: Option<i64>,
    /// `start_timestamp`
    pub start_secs: Option<i64>,
    /// `end_timestamp`
    pub end_secs: Option<i64>,
}

/// One record of `jobs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its times.
    pub times: JobTimes,
    /// The record.
    pub raw: RawJson,
}
