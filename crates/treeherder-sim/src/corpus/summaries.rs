//! Recorded summaries: the frame of each, and its data with their recorded text.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dataset::{Datum, SummaryFrame};
use crate::error::SimulatorError;
use crate::history::Life;
use crate::json_text::{OrderedObject, compact};
use crate::moment;
use crate::query::{Query, field_bool};

use super::files::{CorpusFiles, Recording, fault, malformed, recording};

#[derive(Debug)]
pub(super) struct StoredDatum {
    pub(super) id: u64,
    pub(super) job_id: Option<u64>,
    pub(super) value: f64,
    pub(super) push_timestamp: i64,
    pub(super) push_id: u64,
    pub(super) revision: String,
    pub(super) submit_time: Option<i64>,
    pub(super) machine_name: Option<String>,
    pub(super) text: String,
}

/// A summary object: its frame and data.
pub(super) type Summary = (SummaryFrame<'static>, Vec<StoredDatum>);

/// The recorded summaries by signature.
pub(super) struct Summaries {
    pub(super) plain: HashMap<u64, Summary>,
    /// The rows of the replies with replicates.
    pub(super) replicates: HashMap<u64, Vec<StoredDatum>>,
}

impl Summaries {
    /// Reads every recorded summary: those of `summary.jsonl` and `summary_replicates.jsonl`, and from `variants.jsonl` those
    /// of other signatures.
    pub(super) fn read(files: &CorpusFiles<'_>) -> Result<Self, SimulatorError> {
        let is_plain = |query: &Query| !query.get("replicates").and_then(field_bool).unwrap_or(false);
        let plain = read_summaries(files, &["summary.jsonl", "variants.jsonl"], is_plain)?;
        let replicates = read_summaries(files, &["summary_replicates.jsonl"], |query| !is_plain(query))?;
        let replicates = replicates.into_iter().map(|(id, (_, rows))| (id, rows)).collect();
        Ok(Self { plain, replicates })
    }
}

/// Reads the summaries of `names` whose queries are `wanted`.
fn read_summaries(
    files: &CorpusFiles<'_>,
    names: &[&str],
    wanted: impl Fn(&Query) -> bool,
) -> Result<HashMap<u64, Summary>, SimulatorError> {
    let mut summaries = HashMap::new();
    for file in names {
        for line in files.lines(file) {
            let Recording { request, status, body, .. } = recording(file, line)?;
            let of_summary = request.is_some_and(|request| {
                request.path.ends_with("/performance/summary/") && wanted(&Query::parse(&request.query))
            });
            if !of_summary || status != Some(200) {
                continue;
            }
            let objects: Vec<OrderedObject<'_>> = serde_json::from_str(body.get()).map_err(malformed(file, line.0))?;
            for object in objects {
                let id = object.text("signature_id").and_then(|text| text.parse().ok());
                let id: u64 = id.ok_or_else(|| fault(file, "has a summary without signature_id"))?;
                // A variant may have a narrower window, or no data.
                if let Entry::Vacant(entry) = summaries.entry(id) {
                    entry.insert(read_summary(&object).map_err(malformed(file, line.0))?);
                }
            }
        }
    }
    Ok(summaries)
}

fn read_summary(object: &OrderedObject<'_>) -> Result<Summary, serde_json::Error> {
    let (head, next) = object.members(0, "values");
    let (naming, next) = object.members(next + 1, "job_ids");
    let (place, next) = object.members(next + 1, "data");
    let (tail, _) = object.members(next + 1, "submit_times");
    let frame = SummaryFrame { head: head.into(), naming: naming.into(), place: place.into(), tail: tail.into() };
    let records: Vec<&RawValue> = serde_json::from_str(object.text("data").unwrap_or("[]"))?;
    let data = records.into_iter().map(|record| StoredDatum::read(record.get())).collect::<Result<_, _>>()?;
    Ok((frame, data))
}

impl StoredDatum {
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            job_id: Option<u64>,
            id: u64,
            #[serde(borrow)]
            value: &'a RawValue,
            push_timestamp: String,
            push_id: u64,
            revision: String,
            submit_time: Option<String>,
            machine_name: Option<String>,
        }
        let wire: Wire<'_> = serde_json::from_str(text)?;
        let not = |text: &str, what: &str| {
            <serde_json::Error as serde::de::Error>::custom(format_args!("\"{text}\" is not a {what}"))
        };
        let moment = |text: &str| moment::parse(text).ok_or_else(|| not(text, "time"));
        Ok(Self {
            id: wire.id,
            job_id: wire.job_id,
            // serde_json may be off by the last digit; the standard library is exact.
            value: wire.value.get().parse().map_err(|_| not(wire.value.get(), "number"))?,
            push_timestamp: moment(&wire.push_timestamp)?,
            push_id: wire.push_id,
            revision: wire.revision,
            submit_time: wire.submit_time.as_deref().map(moment).transpose()?,
            machine_name: wire.machine_name,
            text: compact(text),
        })
    }

    pub(super) fn view(&self, life: Life) -> Datum<'_> {
        Datum {
            id: self.id,
            job_id: self.job_id,
            value: self.value,
            push_timestamp: self.push_timestamp,
            push_id: self.push_id,
            revision: &self.revision,
            submit_time: self.submit_time,
            machine_name: self.machine_name.as_deref(),
            life,
            text: Some(&self.text),
        }
    }
}
