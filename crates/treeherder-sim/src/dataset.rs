//! The interface between the data and the endpoints.
//!
//! Signatures, alerts and pushes have a rank in the order of their backend. An endpoint filters by their heads, which are
//! cheap, and writes only the records that pass. Data are visited one by one, never collected.

use std::borrow::Cow;
use std::fmt::Debug;

use crate::history::{AsOf, Life};
use crate::json_text::{write_float, write_moment, write_option, write_string, write_uint};

/// A repository of the server.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// The record as the server sends it.
    pub(crate) text: String,
}

/// The fields of a signature that filters use.
#[derive(Clone, Debug)]
pub(crate) struct SignatureHead<'a> {
    pub(crate) id: u64,
    pub(crate) hash: Cow<'a, str>,
    pub(crate) framework_id: u64,
    pub(crate) platform: Cow<'a, str>,
    pub(crate) parent_id: Option<u64>,
    pub(crate) parent_hash: Option<Cow<'a, str>>,
    /// Microseconds; the newest `push_timestamp` of its data, or a time long ago if it has none.
    pub(crate) last_updated: i64,
}

/// The text of a summary object before each of its lists: values, job ids, data, submit times. Each part ends with a
/// comma.
#[derive(Clone, Debug, Default)]
pub(crate) struct SummaryFrame<'a> {
    pub(crate) head: Cow<'a, str>,
    pub(crate) naming: Cow<'a, str>,
    pub(crate) place: Cow<'a, str>,
    pub(crate) tail: Cow<'a, str>,
}

/// Selects data of a signature. Both bounds are exclusive, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(crate) after: i64,
    pub(crate) before: i64,
    pub(crate) revision: Option<&'a str>,
    /// A recorded datum with replicates is visited once per replicate, with the replicate as its value.
    pub(crate) replicates: bool,
    pub(crate) ties: Ties,
}

impl Window<'_> {
    /// Everything.
    pub(crate) const ALL: Window<'static> =
        Window { after: i64::MIN, before: i64::MAX, revision: None, replicates: false, ties: Ties::ById };

    pub(crate) fn contains(&self, datum: &Datum<'_>) -> bool {
        datum.push_timestamp > self.after
            && datum.push_timestamp < self.before
            && self.revision.is_none_or(|revision| revision == datum.revision)
    }
}

/// The order of data with the same push and no job, which the API does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ties {
    /// Ascending ids.
    ById,
    /// The order of one query plan.
    OnePlan,
    /// The order of another query plan.
    OtherPlan,
}

/// One datum; times in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datum<'a> {
    pub(crate) id: u64,
    pub(crate) job_id: Option<u64>,
    pub(crate) value: f64,
    pub(crate) push_timestamp: i64,
    pub(crate) push_id: u64,
    pub(crate) revision: &'a str,
    pub(crate) submit_time: Option<i64>,
    pub(crate) machine_name: Option<&'a str>,
    /// When it appears, and its job is deleted.
    pub(crate) life: Life,
    /// The recorded text, if the datum was recorded.
    pub(crate) text: Option<&'a str>,
}

impl Datum<'_> {
    /// The order of the API: push timestamp, push, job; null jobs last.
    pub(crate) fn sort_key(&self) -> (i64, u64, u64) {
        (self.push_timestamp, self.push_id, self.job_id.unwrap_or(u64::MAX))
    }

    /// The datum as it is served after its job expired.
    pub(crate) fn without_job(mut self) -> Self {
        self.job_id = None;
        self.submit_time = None;
        self.machine_name = None;
        self.text = None;
        self
    }

    /// The datum with a replicate in the place of its value.
    pub(crate) fn with_value(mut self, value: f64) -> Self {
        self.value = value;
        self.text = None;
        self
    }

    /// Writes the record.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(text) = self.text {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        out.extend_from_slice(b"{\"job_id\":");
        write_option(out, self.job_id);
        out.extend_from_slice(b",\"id\":");
        write_uint(out, self.id);
        out.extend_from_slice(b",\"value\":");
        write_float(out, self.value);
        out.extend_from_slice(b",\"push_timestamp\":");
        write_moment(out, Some(self.push_timestamp));
        out.extend_from_slice(b",\"push_id\":");
        write_uint(out, self.push_id);
        out.extend_from_slice(b",\"revision\":\"");
        out.extend_from_slice(self.revision.as_bytes());
        out.extend_from_slice(b"\",\"submit_time\":");
        write_moment(out, self.submit_time);
        out.extend_from_slice(b",\"machine_name\":");
        match self.machine_name {
            Some(name) => write_string(out, name),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
}

/// The fields of an alert summary that filters and paging use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlertHead {
    pub(crate) id: u64,
    /// Microseconds.
    pub(crate) created: i64,
    pub(crate) status: u64,
    pub(crate) framework: u64,
    pub(crate) repository_id: u64,
}

/// The fields of a push that filters use.
#[derive(Clone, Debug)]
pub(crate) struct PushHead<'a> {
    pub(crate) id: u64,
    /// Seconds.
    pub(crate) push_timestamp: i64,
    pub(crate) revision: Cow<'a, str>,
}

/// A backend: all data that the server serves. Repositories are identified by their id.
pub(crate) trait Dataset: Debug + Send + Sync {
    /// The start of the data, seconds since the epoch.
    fn start(&self) -> i64;
    /// The end of the data and the default of the server's clock, seconds since the epoch.
    fn now(&self) -> i64;
    /// The framework list, as JSON text.
    fn frameworks(&self) -> &str;
    /// All active repositories.
    fn repositories(&self) -> &[Repository];

    fn num_signatures(&self, repository: u64) -> usize;
    fn find_signature(&self, repository: u64, id: u64) -> Option<usize>;
    /// `None` if all of the signature's data are still to come.
    fn signature_head(&self, repository: u64, rank: usize, as_of: &AsOf<'_>) -> Option<SignatureHead<'_>>;
    fn write_signature(&self, repository: u64, rank: usize, out: &mut Vec<u8>);
    fn summary_frame(&self, repository: u64, rank: usize) -> SummaryFrame<'_>;
    /// Visits the data of a signature in the window, in the order of the API.
    fn visit_data(
        &self,
        repository: u64,
        rank: usize,
        window: &Window<'_>,
        as_of: &AsOf<'_>,
        visit: &mut dyn FnMut(&Datum<'_>),
    );

    /// The replicates of a datum, in the order in which they are served.
    fn replicates(&self, _datum: &Datum<'_>) -> Vec<f64> {
        Vec::new()
    }

    /// Writes a job of the repository; `false` if it does not exist.
    fn write_job(&self, repository: u64, id: u64, as_of: &AsOf<'_>, out: &mut Vec<u8>) -> bool;
    /// The ids of jobs, optionally of some pushes, ascending: those in the range of an offset and a limit.
    fn job_ids(&self, repository: u64, pushes: Option<&[u64]>, as_of: &AsOf<'_>, range: (usize, usize)) -> Vec<u64>;

    fn num_pushes(&self, repository: u64) -> usize;
    /// Ranks count from the newest push.
    fn push_head(&self, repository: u64, rank: usize) -> PushHead<'_>;
    fn write_push(&self, repository: u64, rank: usize, out: &mut Vec<u8>);

    fn num_alerts(&self) -> usize;
    /// The last version of a summary. Ranks follow the order of the list: created, then id, both descending.
    fn alert_head(&self, rank: usize) -> AlertHead;
    /// Seconds. Not part of the head: few requests need it.
    fn alert_push_timestamp(&self, rank: usize) -> i64;
    fn write_alert(&self, rank: usize, out: &mut Vec<u8>);

    fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories().iter().find(|repository| repository.name == name)
    }
}
