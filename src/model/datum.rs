//! Data: the measured values of a signature.

use std::collections::HashSet;

use smol_str::SmolStr;

use super::{DatumId, JobId, PushId, RawJson, Revision, Timestamp};

/// A datum whose every field has the form that Treeherder documents, so that its exact JSON text can be made again:
/// keys `job_id, id, value, push_timestamp, push_id, revision, submit_time, machine_name`, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// The job that measured it; `None` when the server has deleted the job.
    pub job_id: Option<JobId>,
    /// The datum's own id.
    pub id: DatumId,
    /// The measured value, in the signature's unit.
    pub value: f64,
    /// When the datum's push landed.
    pub push_timestamp: Timestamp,
    /// The push it belongs to.
    pub push_id: PushId,
    /// The push's head revision.
    pub revision: Revision,
    /// When the job was submitted; `None` together with the job.
    pub submit_time: Option<Timestamp>,
    /// The machine it ran on; `None` together with the job.
    pub machine_name: Option<SmolStr>,
}

/// A datum of another form (a field more or less, other number text, a revision that is no hash): its text is kept,
/// and beside it what could be read of the fields that the dataset is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct IrregularDatum {
    /// The datum's text, as it came.
    pub raw: RawJson,
    /// See [`Datum::job_id`].
    pub job_id: Option<JobId>,
    /// See [`Datum::id`].
    pub id: DatumId,
    /// See [`Datum::push_timestamp`].
    pub push_timestamp: Timestamp,
    /// See [`Datum::push_id`]; 0 where the server named none.
    pub push_id: PushId,
    /// The revision where it is one.
    pub revision: Option<Revision>,
    /// See [`Datum::submit_time`].
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

/// The order of the data of a signature: `push_timestamp`, `push_id`, `job_id` (null last), then `id`, which settles the
/// ties that the server leaves in no defined order.
type ApiOrder = (Timestamp, PushId, bool, JobId, DatumId);

/// The key to sort data by.
#[must_use]
pub fn api_order(record: &DatumRecord) -> ApiOrder {
    (
        record.push_timestamp(),
        record.push_id(),
        record.job_id().is_none(),
        record.job_id().unwrap_or_default(),
        record.id(),
    )
}

/// Sorts as the API does, and keeps each datum once: the first of those with one id.
pub fn bring_to_api_order(data: &mut Vec<DatumRecord>) {
    if !data.is_sorted_by_key(api_order) {
        data.sort_by_key(api_order);
    }
    let mut ids: Vec<u64> = data.iter().map(|record| record.id().0).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        let mut seen = HashSet::with_capacity(data.len());
        data.retain(|record| seen.insert(record.id()));
    }
}

impl DatumRecord {
    /// See [`Datum::id`].
    #[must_use]
    pub fn id(&self) -> DatumId {
        match self {
            Self::Regular(datum) => datum.id,
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
