//! The records of the other endpoints: an id, the fields that the crawl needs, and the unchanged text.

use super::{AlertSummaryId, DatumRecord, FrameworkId, JobId, RawJson, SetAside, SignatureId, Timestamp};

/// One record of `performance/signatures`.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Key in the store.
    pub id: SignatureId,
    /// Its test framework.
    pub framework_id: FrameworkId,
    /// The unchanged record.
    pub raw: RawJson,
}

/// A reply of `performance/summary` for one signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The requested signature.
    pub signature_id: SignatureId,
    /// The reply's object without its `data`; `None` if the server does not know the signature (an empty list).
    pub header: Option<RawJson>,
    /// The data in the requested window, each id once, in the order of [`super::api_order`].
    pub data: Vec<DatumRecord>,
    /// Parts of the reply that are not in `data` or `header`, or not as they were sent.
    pub set_aside: Vec<SetAside>,
}

/// One record of `performance/alertsummary`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertSummary {
    /// Key in the store.
    pub id: AlertSummaryId,
    /// Creation time.
    pub created: Timestamp,
    /// Time when the push that raised it landed.
    pub push_timestamp: Option<Timestamp>,
    /// The unchanged record.
    pub raw: RawJson,
}

/// Times of a job, seconds since the epoch. The API writes 0 for unknown times.
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
    /// Key in the store.
    pub id: JobId,
    /// Submission, start and end.
    pub times: JobTimes,
    /// The unchanged record.
    pub raw: RawJson,
}
