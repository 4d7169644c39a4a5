//! `all_signatures.jsonl` and `max_revision_jobs.jsonl`: one record of the API per line.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::compact::compact;
use super::{FileReport, ImportError};
use crate::actor::Shutdown;
use crate::model::{Job, JobId, OddRecord, Request, Signature, Sorted, printable};
use crate::store::{BulkWriter, Settlement};

/// Records per write.
const RECORDS_PER_WRITE: usize = 1000;

/// Most beginnings of objects in a line that are tried for a complete record after a fragment.
const MAX_BEGINNINGS: usize = 200;

/// Imports the records of signatures.
pub(super) fn take_signatures(
    path: &Path,
    writer: &mut BulkWriter<'_>,
    shutdown: &Shutdown,
) -> Result<FileReport, ImportError> {
    let mut seen = HashSet::new();
    let mut gathered = Vec::new();
    let mut report = read_records(path, shutdown, signature_of, |Record { value: signature, .. }| {
        let is_new = seen.insert(signature.id);
        gathered.push(signature); // the last of several records counts
        if gathered.len() >= RECORDS_PER_WRITE {
            writer.settle([Settlement::of_imported_signatures(std::mem::take(&mut gathered))])?;
        }
        Ok(is_new)
    })?;
    report.taken = seen.len() as u64;
    writer.settle([Settlement::of_imported_signatures(gathered)])?;
    Ok(report)
}

/// Imports the records of jobs.
pub(super) fn take_jobs(
    path: &Path,
    writer: &mut BulkWriter<'_>,
    shutdown: &Shutdown,
) -> Result<FileReport, ImportError> {
    // The jobs of one push: at most a few thousand.
    let mut jobs: HashMap<JobId, Record<Job>> = HashMap::new();
    let mut report = read_records(path, shutdown, job_of, |job| Ok(jobs.insert(job.value.id, job).is_none()))?;
    report.taken = jobs.len() as u64;
    let mut jobs: Vec<Record<Job>> = jobs.into_values().collect();
    jobs.sort_by_key(|job| job.value.id);
    for jobs in jobs.chunks(RECORDS_PER_WRITE) {
        let asked: Vec<Request> = jobs.iter().map(|job| Request::Job { id: job.value.id }).collect();
        let taken = jobs.iter().map(|job| job.value.clone()).collect();
        let jobs = Sorted { taken, odd: jobs.iter().filter_map(|job| job.original.clone()).collect() };
        writer.settle([Settlement::of_jobs(&asked, &jobs)])?;
    }
    Ok(report)
}

/// Reads one record per line; `take` tells whether it is new.
fn read_records<T>(
    path: &Path,
    shutdown: &Shutdown,
    parse: fn(&str) -> Result<Record<T>, serde_json::Error>,
    mut take: impl FnMut(Record<T>) -> Result<bool, ImportError>,
) -> Result<FileReport, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_owned(), source };
    let mut input = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut report = FileReport::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(report);
        }
        if shutdown.is_draining() {
            return Err(ImportError::Interrupted);
        }
        report.lines += 1;
        let text = String::from_utf8_lossy(line.trim_ascii());
        if text.is_empty() {
            continue;
        }
        let mut record = match parse(&text) {
            Ok(record) => record,
            Err(error) => {
                let Some(record) = record_behind_fragment(&text, parse) else {
                    let what = if error.is_eof() { "cut off".to_owned() } else { error.to_string() };
                    report.torn.add(report.lines, printable(&what, 120));
                    continue;
                };
                report.torn.add(report.lines, "torn; the complete record after it was imported");
                record
            }
        };
        if matches!(text, Cow::Owned(_)) {
            record.original = Some(OddRecord::corrected(record.id, line.trim_ascii()));
        }
        report.corrected += u64::from(record.original.is_some());
        if !take(record)? {
            report.doubled += 1;
        }
    }
}

/// A script that was killed while it wrote a line appended the next record to the same line.
fn record_behind_fragment<T>(line: &str, parse: fn(&str) -> Result<Record<T>, serde_json::Error>) -> Option<Record<T>> {
    let beginnings = line.match_indices("{\"").map(|(at, _)| at).filter(|&at| at > 0);
    beginnings.take(MAX_BEGINNINGS).find_map(|at| parse(&line[at..]).ok())
}

fn signature_of(line: &str) -> Result<Record<Signature>, serde_json::Error> {
    // An object within a torn record may have an id too.
    #[derive(Deserialize)]
    struct View<'a> {
        #[serde(borrow, rename = "framework_id")]
        _framework_id: &'a RawValue,
    }
    let line = compact(line);
    let mut sorted = Sorted::<Signature>::default();
    sorted.add_own_signature(line.as_bytes())?;
    if let Some(signature) = sorted.taken.last() {
        signature.raw.view::<View<'_>>()?;
    }
    Record::only(sorted, |signature| signature.id.0)
}

fn job_of(line: &str) -> Result<Record<Job>, serde_json::Error> {
    let mut sorted = Sorted::<Job>::default();
    sorted.add_job(compact(line).as_bytes())?;
    Record::only(sorted, |job| job.id.0)
}

/// A record, and its original if it was corrected.
struct Record<T> {
    id: u64,
    value: T,
    original: Option<OddRecord>,
}

impl<T> Record<T> {
    /// The only record, or the reason why it cannot be stored.
    fn only(sorted: Sorted<T>, id_of: fn(&T) -> u64) -> Result<Self, serde_json::Error> {
        let Sorted { mut taken, mut odd } = sorted;
        match taken.pop() {
            Some(value) => Ok(Self { id: id_of(&value), value, original: odd.pop() }),
            None => Err(serde::de::Error::custom(odd.pop().map(|odd| odd.reason).unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SignatureId;

    #[test]
    fn a_record_behind_a_fragment_is_found_whatever_the_fragment_ends_with() {
        let whole = r#"{"id": 7, "framework_id": 1, "tags": ["a"], "x": {"id": 1}}"#;
        assert_eq!(
            signature_of(whole).unwrap().value.raw.as_str(),
            r#"{"id":7,"framework_id":1,"tags":["a"],"x":{"id":1}}"#
        );
        for cut in 1..whole.len() {
            let glued = format!("{}{whole}", &whole[..cut]);
            assert!(signature_of(&glued).is_err());
            assert_eq!(record_behind_fragment(&glued, signature_of).unwrap().value.id, SignatureId(7), "{cut}");
            assert!(record_behind_fragment(&whole[..cut], signature_of).is_none());
        }
    }
}
