//! `all_signatures.jsonl` and `max_revision_jobs.jsonl`: one record of the API per line.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::compact::compact;
use super::{FileReport, ImportError};
use crate::actor::Shutdown;
use crate::model::{FrameworkId, Job, JobId, JobTimes, RawJson, Request, Signature, SignatureId};
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
    let mut report = read_records(path, shutdown, signature_of, |signature: Signature| {
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
    let mut jobs: HashMap<JobId, Job> = HashMap::new();
    let mut report = read_records(path, shutdown, job_of, |job: Job| Ok(jobs.insert(job.id, job).is_none()))?;
    report.taken = jobs.len() as u64;
    let mut jobs: Vec<Job> = jobs.into_values().collect();
    jobs.sort_by_key(|job| job.id);
    for jobs in jobs.chunks(RECORDS_PER_WRITE) {
        let asked: Vec<Request> = jobs.iter().map(|job| Request::Job { id: job.id }).collect();
        writer.settle([Settlement::of_jobs(&asked, jobs)])?;
    }
    Ok(report)
}

/// Reads one record per line; `take` tells whether it is new.
fn read_records<T>(
    path: &Path,
    shutdown: &Shutdown,
    parse: fn(&str) -> Result<T, serde_json::Error>,
    mut take: impl FnMut(T) -> Result<bool, ImportError>,
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
        let record = match parse(&text) {
            Ok(record) => record,
            Err(error) => {
                let Some(record) = record_behind_fragment(&text, parse) else {
                    let what = if error.is_eof() { "cut off".to_owned() } else { error.to_string() };
                    report.torn.add(report.lines, what.replace(char::is_control, " "));
                    continue;
                };
                report.torn.add(report.lines, "torn; the complete record after it was imported");
                record
            }
        };
        if !take(record)? {
            report.doubled += 1;
        }
    }
}

/// A script that was killed while it wrote a line appended the next record to the same line.
fn record_behind_fragment<T>(line: &str, parse: fn(&str) -> Result<T, serde_json::Error>) -> Option<T> {
    let beginnings = line.match_indices("{\"").map(|(at, _)| at).filter(|&at| at > 0);
    beginnings.take(MAX_BEGINNINGS).find_map(|at| parse(&line[at..]).ok())
}

fn signature_of(line: &str) -> Result<Signature, serde_json::Error> {
    #[derive(Deserialize)]
    struct View {
        id: SignatureId,
        framework_id: FrameworkId,
    }
    let raw = RawJson::parse(&compact(line))?;
    let view: View = raw.view()?;
    Ok(Signature { id: view.id, framework_id: view.framework_id, raw })
}

fn job_of(line: &str) -> Result<Job, serde_json::Error> {
    #[derive(Deserialize)]
    struct View {
        id: JobId,
        submit_timestamp: Option<i64>,
        start_timestamp: Option<i64>,
        end_timestamp: Option<i64>,
    }
    let raw = RawJson::parse(&compact(line))?;
    let view: View = raw.view()?;
    let times =
        JobTimes { submit_secs: view.submit_timestamp, start_secs: view.start_timestamp, end_secs: view.end_timestamp };
    Ok(Job { id: view.id, times, raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_behind_a_fragment_is_found_whatever_the_fragment_ends_with() {
        let whole = r#"{"id": 7, "framework_id": 1, "tags": ["a"], "x": {"id": 1}}"#;
        assert_eq!(signature_of(whole).unwrap().raw.as_str(), r#"{"id":7,"framework_id":1,"tags":["a"],"x":{"id":1}}"#);
        for cut in 1..whole.len() {
            let glued = format!("{}{whole}", &whole[..cut]);
            assert!(signature_of(&glued).is_err());
            assert_eq!(record_behind_fragment(&glued, signature_of).unwrap().id, SignatureId(7), "{cut}");
            assert!(record_behind_fragment(&whole[..cut], signature_of).is_none());
        }
    }
}
