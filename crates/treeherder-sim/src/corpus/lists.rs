//! The recorded lists that need no join: repositories, jobs, pushes and alert summaries.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::alert_record::AlertRecord;
use crate::dataset::Repository;
use crate::error::SimulatorError;
use crate::json_text::compact;

use super::files::{CorpusFiles, Recording, fault, malformed, recording};

#[derive(Debug)]
pub(super) struct StoredJob {
    pub(super) repository: u64,
    pub(super) push_id: u64,
    /// When its first data were pushed; without data, when it was submitted. Seconds.
    pub(super) pushed: i64,
    /// Seconds.
    pub(super) submitted: i64,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct StoredPush {
    pub(super) id: u64,
    pub(super) push_timestamp: i64,
    pub(super) revision: String,
    pub(super) text: String,
}

pub(super) fn read_repositories(files: &CorpusFiles<'_>) -> Result<Vec<Repository>, SimulatorError> {
    #[derive(Deserialize)]
    struct Named {
        id: u64,
        name: String,
    }
    let file = "repository.json";
    let text = files.require(file)?;
    // Some corpora hold the bare list.
    let is_recording = text.trim_start().starts_with('{');
    let list = if is_recording { recording(file, (1, text))?.body.get() } else { text };
    let records: Vec<&RawValue> = serde_json::from_str(list).map_err(malformed(file, 1))?;
    records
        .into_iter()
        .map(|record| {
            let Named { id, name } = serde_json::from_str(record.get()).map_err(malformed(file, 1))?;
            Ok(Repository { id, name, text: compact(record.get()) })
        })
        .collect()
}

/// The repository in a path such as `/api/project/autoland/jobs/`.
fn repository_in(path: &str) -> Option<&str> {
    path.strip_prefix("/api/project/")?.split('/').next()
}

pub(super) fn read_jobs(
    files: &CorpusFiles<'_>,
    by_name: impl Fn(&str) -> Option<u64>,
) -> Result<BTreeMap<u64, StoredJob>, SimulatorError> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        results: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Record {
        id: u64,
        push_id: u64,
        submit_timestamp: i64,
    }
    let file = "jobs.jsonl";
    let mut jobs = BTreeMap::new();
    for line in files.lines(file) {
        let Recording { request, body, .. } = recording(file, line)?;
        let repository = request.and_then(|request| by_name(repository_in(&request.path)?));
        let repository =
            repository.ok_or_else(|| fault(file, "has a job of a repository that is not in repository.json"))?;
        let list: List<'_> = serde_json::from_str(body.get()).map_err(malformed(file, line.0))?;
        for record in list.results {
            let Record { id, push_id, submit_timestamp: submitted } =
                serde_json::from_str(record.get()).map_err(malformed(file, line.0))?;
            let text = compact(record.get());
            jobs.insert(id, StoredJob { repository, push_id, pushed: submitted, submitted, text });
        }
    }
    Ok(jobs)
}

pub(super) fn read_pushes(files: &CorpusFiles<'_>) -> Result<HashMap<u64, Vec<StoredPush>>, SimulatorError> {
    #[derive(Deserialize)]
    struct Record {
        id: u64,
        revision: String,
        push_timestamp: i64,
        repository_id: u64,
    }
    let file = "push.jsonl";
    let mut pushes: HashMap<u64, Vec<StoredPush>> = HashMap::new();
    for (line, text) in files.lines(file) {
        let record: Record = serde_json::from_str(text).map_err(malformed(file, line))?;
        let Record { id, revision, push_timestamp, repository_id } = record;
        pushes.entry(repository_id).or_default().push(StoredPush { id, push_timestamp, revision, text: compact(text) });
    }
    for pushes in pushes.values_mut() {
        pushes.sort_by_key(|push| std::cmp::Reverse((push.push_timestamp, push.id)));
    }
    Ok(pushes)
}

pub(super) fn read_alerts(
    files: &CorpusFiles<'_>,
    by_name: impl Fn(&str) -> Option<u64>,
) -> Result<Vec<AlertRecord>, SimulatorError> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        results: Vec<&'a RawValue>,
    }
    let file = "alertsummary_unfiltered_limit100.jsonl";
    let mut alerts: BTreeMap<u64, AlertRecord> = BTreeMap::new();
    for line in files.lines(file) {
        let list: List<'_> =
            serde_json::from_str(recording(file, line)?.body.get()).map_err(malformed(file, line.0))?;
        for record in list.results {
            let alert = AlertRecord::read(record.get(), &by_name).map_err(malformed(file, line.0))?;
            alerts.insert(alert.head.id, alert);
        }
    }
    let mut alerts: Vec<_> = alerts.into_values().collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.head.created, alert.head.id)));
    Ok(alerts)
}
