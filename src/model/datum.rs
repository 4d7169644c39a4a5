//! Data: the measured values of a signature.

use std::collections::HashSet;

use smol_str::SmolStr;

use super::{DatumId, JobId, PushId, RawJson, Revision, Timestamp};

/// A datum whose fields all have the form that Treeherder documents, so that its exact JSON text can be reproduced:
/// keys `job_id, id, value, push_timestamp, push_id, revision, submit_time, machine_name`, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// The job that measured it; `None` when the server has deleted the job.
    pub job_id: Option<JobId>,
    /// Unique among all data.
    pub id: DatumId,
    /// The measured value, in the signature's unit.
    pub value: f64,
    /// Time when the push landed.
    pub push_timestamp: Timestamp,
    /// The push that was measured.
    pub push_id: PushId,
    /// The push's head revision.
    pub revision: Revision,
    /// Time when the job was submitted; `None` together with the job.
    pub submit_time: Option<Timestamp>,
    /// The machine that ran the job; `None` together with the job.
    pub machine_name: Option<SmolStr>,
}

/// A datum of another form (additional or missing fields, numbers in another notation, a revision that is not a hash): its
/// text, and the readable ones of the fields that the dataset uses.
#[derive(Clone, Debug, PartialEq)]
pub struct IrregularDatum {
    /// The original text.
    pub raw: RawJson,
    /// See [`Datum::job_id`]; also `None` if it cannot be read, which the text tells apart.
    pub job_id: Option<JobId>,
    /// See [`Datum::id`]; `None` if the server gave none.
    pub id: Option<DatumId>,
    /// See [`Datum::push_timestamp`].
    pub push_timestamp: Timestamp,
    /// See [`Datum::push_id`]; 0 if the server gave none.
    pub push_id: PushId,
    /// `None` if it is not a hash.
    pub revision: Option<Revision>,
    /// See [`Datum::submit_time`]; also `None` if it cannot be read, which the text tells apart.
    pub submit_time: Option<Timestamp>,
}

/// A datum, kept without loss in either form.
#[derive(Clone, Debug, PartialEq)]
pub enum DatumRecord {
    /// The documented form.
    Regular(Datum),
    /// Any other.
    Irregular(Box<IrregularDatum>),
}

/// The order of the data of a signature: `push_timestamp`, `push_id`, `job_id` (null last), then `id` (none last), which
/// breaks the ties whose order the server leaves undefined, as does the text of data without an id.
type ApiOrder<'a> = (Timestamp, PushId, bool, JobId, bool, DatumId, &'a str);

/// The sort key of a datum.
#[must_use]
pub fn api_order(record: &DatumRecord) -> ApiOrder<'_> {
    (
        record.push_timestamp(),
        record.push_id(),
        record.job_id().is_none(),
        record.job_id().unwrap_or_default(),
        record.id().is_none(),
        record.id().unwrap_or_default(),
        match record {
            DatumRecord::Irregular(datum) if datum.id.is_none() => datum.raw.as_str(),
            _ => "",
        },
    )
}

/// Sorts rows as the API does. Those of one datum stand together afterwards, in the order in which they came.
pub fn bring_rows_to_api_order(rows: &mut [DatumRecord]) {
    if !rows.is_sorted_by(|left, right| api_order(left) <= api_order(right)) {
        rows.sort_by(|left, right| api_order(left).cmp(&api_order(right)));
    }
}

/// Sorts data as the API does, and keeps only the first datum of each id, and all without one.
pub fn bring_to_api_order(data: &mut Vec<DatumRecord>) {
    bring_rows_to_api_order(data);
    let mut ids: Vec<DatumId> = data.iter().filter_map(DatumRecord::id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        let mut seen = HashSet::with_capacity(data.len());
        data.retain(|record| record.id().is_none_or(|id| seen.insert(id)));
    }
}

impl DatumRecord {
    /// See [`Datum::id`]; `None` for an irregular datum without one.
    #[must_use]
    pub fn id(&self) -> Option<DatumId> {
        match self {
            Self::Regular(datum) => Some(datum.id),
            Self::Irregular(datum) => datum.id,
        }
    }

    /// See [`Datum::job_id`].
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        match self {
            Self::Regular(datum) => datum.job_id,
            Self::Irregular(datum) => datum.job_id,
        }
    }

    /// See [`Datum::push_timestamp`].
    #[must_use]
    pub fn push_timestamp(&self) -> Timestamp {
        match self {
            Self::Regular(datum) => datum.push_timestamp,
            Self::Irregular(datum) => datum.push_timestamp,
        }
    }

    /// See [`Datum::push_id`].
    #[must_use]
    pub fn push_id(&self) -> PushId {
        match self {
            Self::Regular(datum) => datum.push_id,
            Self::Irregular(datum) => datum.push_id,
        }
    }

    /// See [`Datum::revision`].
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Self::Regular(datum) => Some(datum.revision),
            Self::Irregular(datum) => datum.revision,
        }
    }

    /// See [`Datum::submit_time`].
    #[must_use]
    pub fn submit_time(&self) -> Option<Timestamp> {
        match self {
            Self::Regular(datum) => datum.submit_time,
            Self::Irregular(datum) => datum.submit_time,
        }
    }
}
