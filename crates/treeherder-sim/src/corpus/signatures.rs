//! The recorded signature lists, joined with the recorded summaries.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use crate::dataset::{Repository, SignatureHead, SummaryFrame, Window};
use crate::error::SimulatorError;
use crate::json_text::{OrderedObject, compact, write_option, write_string};
use crate::moment;
use crate::query::Query;

use super::files::{CorpusFiles, Recording, malformed, recording};
use super::summaries::{StoredDatum, Summaries};

#[derive(Debug, Default)]
pub(super) struct Signatures {
    pub(super) rows: Vec<Signature>,
    pub(super) by_id: HashMap<u64, usize>,
}

#[derive(Debug)]
pub(super) struct Signature {
    pub(super) head: SignatureHead<'static>,
    pub(super) text: String,
    pub(super) frame: SummaryFrame<'static>,
    pub(super) data: Vec<StoredDatum>,
    /// The rows of a reply with replicates; `None` if none was recorded.
    pub(super) replicates: Option<Vec<StoredDatum>>,
}

impl Signature {
    /// All rows of a reply for `window`. Without a recorded reply, the data have no replicates.
    pub(super) fn rows_for(&self, window: &Window<'_>) -> &[StoredDatum] {
        self.replicates.as_ref().filter(|_| window.replicates).unwrap_or(&self.data)
    }
}

/// The fields of a signature list's record that the simulator uses.
#[derive(Deserialize)]
struct SignatureRecord {
    id: u64,
    signature_hash: String,
    framework_id: u64,
    machine_platform: String,
    suite: String,
    #[serde(default)]
    test: String,
    #[serde(default = "lower_is_better_by_default")]
    lower_is_better: bool,
    #[serde(default)]
    has_subtests: bool,
    #[serde(default)]
    tags: Vec<String>,
    parent_signature: Option<String>,
    #[serde(default)]
    extra_options: Vec<String>,
    measurement_unit: Option<String>,
    #[serde(default)]
    application: String,
    should_alert: Option<bool>,
}

fn lower_is_better_by_default() -> bool {
    true
}

impl Signatures {
    pub(super) fn read(
        files: &CorpusFiles<'_>,
        repository: &Repository,
        summaries: &mut Summaries,
    ) -> Result<Self, SimulatorError> {
        let file = format!("signatures_{}.json", repository.name);
        let Some(text) = files.get(&file) else { return Ok(Self::default()) };
        let list: OrderedObject<'_> =
            serde_json::from_str(recording(&file, (1, text))?.body.get()).map_err(malformed(&file, 1))?;
        let records = list
            .0
            .iter()
            .map(|(_, text)| serde_json::from_str(text.get()).map(|record| (record, compact(text.get()))))
            .collect::<Result<Vec<(SignatureRecord, String)>, _>>()
            .map_err(malformed(&file, 1))?;
        let by_hash: HashMap<&str, u64> =
            records.iter().map(|(record, _)| (record.signature_hash.as_str(), record.id)).collect();
        let parents: Vec<Option<u64>> =
            records.iter().map(|(record, _)| by_hash.get(record.parent_signature.as_deref()?).copied()).collect();
        let ends = read_ends(files, &repository.name)?;
        let mut signatures = Self::default();
        for ((record, text), parent_id) in records.into_iter().zip(parents) {
            let (frame, data) =
                summaries.plain.remove(&record.id).unwrap_or_else(|| (record.frame(repository, parent_id), Vec::new()));
            let replicates = summaries.replicates.remove(&record.id);
            signatures.by_id.insert(record.id, signatures.rows.len());
            let newest = data.iter().map(|datum| datum.push_timestamp).max();
            let last_updated = newest.unwrap_or_else(|| {
                ends.iter()
                    .filter(|end| !end.ids.contains(&record.id))
                    .map(|end| end.moment + 1)
                    .max()
                    .unwrap_or(i64::MIN)
            });
            let head = SignatureHead {
                id: record.id,
                hash: record.signature_hash.into(),
                framework_id: record.framework_id,
                platform: record.machine_platform.into(),
                parent_id,
                parent_hash: record.parent_signature.map(Cow::Owned),
                last_updated,
            };
            signatures.rows.push(Signature { head, text, frame, data, replicates });
        }
        Ok(signatures)
    }
}

/// A recorded list of the signatures that were last updated at or before a time.
struct End {
    /// Microseconds.
    moment: i64,
    ids: HashSet<u64>,
}

/// Reads the lists recorded with an `end_date` alone: a signature that is not in such a list was updated after that
/// date.
fn read_ends(files: &CorpusFiles<'_>, repository: &str) -> Result<Vec<End>, SimulatorError> {
    let file = "signatures_variants.jsonl";
    let path = format!("/api/project/{repository}/performance/signatures/");
    let mut ends = Vec::new();
    for line in files.lines(file) {
        let Recording { request, status, body, .. } = recording(file, line)?;
        let Some(request) = request.filter(|request| request.path == path && status == Some(200)) else { continue };
        let query = Query::parse(&request.query);
        let is_only_end = query.pairs().all(|(name, _)| name == "end_date");
        if let Some(moment) = query.get("end_date").filter(|_| is_only_end).and_then(moment::parse) {
            let list: OrderedObject<'_> = serde_json::from_str(body.get()).map_err(malformed(file, line.0))?;
            ends.push(End { moment, ids: list.0.iter().filter_map(|(id, _)| id.parse().ok()).collect() });
        }
    }
    Ok(ends)
}

impl SignatureRecord {
    /// The summary frame of a signature whose summary was not recorded.
    fn frame(&self, repository: &Repository, parent_id: Option<u64>) -> SummaryFrame<'static> {
        let quoted = |text: &str| {
            let mut out = Vec::new();
            write_string(&mut out, text);
            String::from_utf8_lossy(&out).into_owned()
        };
        let bool_or_null = |flag: Option<bool>| flag.map_or_else(|| "null".to_owned(), |flag| flag.to_string());
        let mut parent = Vec::new();
        write_option(&mut parent, parent_id);
        let test = if self.test.is_empty() { String::new() } else { format!(" {}", self.test) };
        let name = format!("{}{test} opt {}", self.suite, self.extra_options.join(" "));
        SummaryFrame {
            head: format!(
                "\"signature_id\":{},\"framework_id\":{},\"signature_hash\":{},\"platform\":{},\"test\":{},\"suite\":{},\
                 \"lower_is_better\":{},\"has_subtests\":{},\"tags\":{},",
                self.id,
                self.framework_id,
                quoted(&self.signature_hash),
                quoted(&self.machine_platform),
                quoted(&self.test),
                quoted(&self.suite),
                self.lower_is_better,
                self.has_subtests,
                quoted(&self.tags.join(" ")),
            )
            .into(),
            naming: format!(
                "\"name\":{},\"parent_signature\":{},",
                quoted(&name),
                String::from_utf8_lossy(&parent)
            )
            .into(),
            place: format!(
                "\"repository_name\":{},\"repository_id\":{},",
                quoted(&repository.name),
                repository.id
            )
            .into(),
            tail: format!(
                "\"measurement_unit\":{},\"application\":{},\"should_alert\":{},\"alert_change_type\":null,\
                 \"alert_threshold\":null,",
                self.measurement_unit.as_deref().map_or_else(|| "null".to_owned(), quoted),
                quoted(&self.application),
                bool_or_null(self.should_alert),
            )
            .into(),
        }
    }
}
