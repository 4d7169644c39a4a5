//! A data set made of recorded replies.
//!
//! Every record is served with its recorded text. Values that no recording contains are derived: the `last_updated` of
//! a signature is the time of its newest datum; without data, it is after the `end_date` of every recorded list that
//! lacks the signature. A signature whose summary was not recorded has no data.

mod files;
mod lists;
mod signatures;
mod summaries;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::alert_record::AlertRecord;
use super::dataset::{AlertHead, Dataset, Datum, PushHead, Repository, SignatureHead, SummaryFrame, Window};
use super::error::SimulatorError;
use super::json_text::compact;
use super::moment;

pub(super) use files::CorpusFiles;

use files::{fault, recording};
use lists::{StoredJob, StoredPush, read_alerts, read_jobs, read_pushes, read_repositories};
use signatures::{Signature, Signatures};
use summaries::{StoredDatum, read_summaries};

/// A data set made of recorded replies.
#[derive(Debug)]
pub(super) struct Corpus {
    now: i64,
    frameworks: String,
    repositories: Vec<Repository>,
    signatures: HashMap<u64, Signatures>,
    jobs: BTreeMap<u64, StoredJob>,
    pushes: HashMap<u64, Vec<StoredPush>>,
    alerts: Vec<AlertRecord>,
}

impl Corpus {
    /// Reads a corpus.
    ///
    /// # Errors
    /// A required file is missing, or a line is not a valid recording.
    pub(super) fn read(files: &CorpusFiles<'_>) -> Result<Self, SimulatorError> {
        let frameworks = recording("frameworks.json", (1, files.require("frameworks.json")?))?;
        let recorded_at = frameworks.headers.get("Date").and_then(|date| moment::parse_http_date(date));
        let frameworks = compact(frameworks.body.get());
        let repositories = read_repositories(files)?;
        files.require("summary.jsonl")?;
        let mut summaries = read_summaries(files)?;
        let mut signatures = HashMap::new();
        for repository in &repositories {
            signatures.insert(repository.id, Signatures::read(files, repository, &mut summaries)?);
        }
        let newest = signatures
            .values()
            .flat_map(|signatures: &Signatures| &signatures.rows)
            .map(|signature| signature.head.last_updated)
            .max();
        let now = recorded_at.or(newest.map(|micros| micros / moment::SECOND + 1)).ok_or_else(|| {
            fault("frameworks.json", "has no Date header, and there are no data to derive the time from")
        })?;
        let by_name = |name: &str| repositories.iter().find(|of| of.name == name).map(|of| of.id);
        Ok(Self {
            now,
            frameworks,
            jobs: read_jobs(files, by_name)?,
            pushes: read_pushes(files)?,
            alerts: read_alerts(files, by_name)?,
            repositories,
            signatures,
        })
    }

    fn row(&self, repository: u64, rank: usize) -> Option<&Signature> {
        self.signatures.get(&repository)?.rows.get(rank)
    }

    fn push(&self, repository: u64, rank: usize) -> Option<&StoredPush> {
        self.pushes.get(&repository)?.get(rank)
    }
}

/// The head for a rank that does not exist; callers take ranks from the counts, so it is never served.
fn no_signature() -> SignatureHead<'static> {
    SignatureHead {
        id: 0,
        hash: "".into(),
        framework_id: 0,
        platform: "".into(),
        parent_id: None,
        parent_hash: None,
        last_updated: i64::MIN,
    }
}

impl Dataset for Corpus {
    fn now(&self) -> i64 {
        self.now
    }

    fn frameworks(&self) -> &str {
        &self.frameworks
    }

    fn repositories(&self) -> &[Repository] {
        &self.repositories
    }

    fn num_signatures(&self, repository: u64) -> usize {
        self.signatures.get(&repository).map_or(0, |signatures| signatures.rows.len())
    }

    fn find_signature(&self, repository: u64, id: u64) -> Option<usize> {
        self.signatures.get(&repository)?.by_id.get(&id).copied()
    }

    fn signature_head(&self, repository: u64, rank: usize) -> SignatureHead<'_> {
        let Some(Signature { head, .. }) = self.row(repository, rank) else { return no_signature() };
        SignatureHead {
            hash: Cow::Borrowed(&head.hash),
            platform: Cow::Borrowed(&head.platform),
            parent_hash: head.parent_hash.as_deref().map(Cow::Borrowed),
            ..*head
        }
    }

    fn write_signature(&self, repository: u64, rank: usize, out: &mut Vec<u8>) {
        if let Some(signature) = self.row(repository, rank) {
            out.extend_from_slice(signature.text.as_bytes());
        }
    }

    fn summary_frame(&self, repository: u64, rank: usize) -> SummaryFrame<'_> {
        self.row(repository, rank).map_or_else(SummaryFrame::default, |Signature { frame, .. }| SummaryFrame {
            head: Cow::Borrowed(&frame.head),
            naming: Cow::Borrowed(&frame.naming),
            place: Cow::Borrowed(&frame.place),
            tail: Cow::Borrowed(&frame.tail),
        })
    }

    fn visit_data(&self, repository: u64, rank: usize, window: &Window<'_>, visit: &mut dyn FnMut(&Datum<'_>)) {
        let data = self.row(repository, rank).map_or(&[] as &[StoredDatum], |signature| &signature.data);
        data.iter().map(StoredDatum::view).filter(|datum| window.contains(datum)).for_each(|datum| visit(&datum));
    }

    fn write_job(&self, repository: u64, id: u64, out: &mut Vec<u8>) -> bool {
        match self.jobs.get(&id).filter(|job| job.repository == repository) {
            Some(job) => {
                out.extend_from_slice(job.text.as_bytes());
                true
            }
            None => false,
        }
    }

    fn job_ids(&self, repository: u64, pushes: Option<&[u64]>, offset: usize, limit: usize) -> Vec<u64> {
        let of_repository = self.jobs.iter().filter(|(_, job)| job.repository == repository);
        let of_pushes = of_repository.filter(|(_, job)| pushes.is_none_or(|pushes| pushes.contains(&job.push_id)));
        of_pushes.map(|(id, _)| *id).skip(offset).take(limit).collect()
    }

    fn num_pushes(&self, repository: u64) -> usize {
        self.pushes.get(&repository).map_or(0, Vec::len)
    }

    fn push_head(&self, repository: u64, rank: usize) -> PushHead<'_> {
        let push = self.push(repository, rank);
        PushHead {
            id: push.map_or(0, |push| push.id),
            push_timestamp: push.map_or(0, |push| push.push_timestamp),
            revision: Cow::Borrowed(push.map_or("", |push| push.revision.as_str())),
        }
    }

    fn write_push(&self, repository: u64, rank: usize, out: &mut Vec<u8>) {
        if let Some(push) = self.push(repository, rank) {
            out.extend_from_slice(push.text.as_bytes());
        }
    }

    fn num_alerts(&self) -> usize {
        self.alerts.len()
    }

    fn alert_head(&self, rank: usize) -> AlertHead {
        let none = AlertHead { id: 0, created: 0, status: 0, framework: 0, repository_id: 0 };
        self.alerts.get(rank).map_or(none, |alert| alert.head)
    }

    fn alert_push_timestamp(&self, rank: usize) -> i64 {
        self.alerts.get(rank).map_or(0, |alert| alert.push_timestamp)
    }

    fn write_alert(&self, rank: usize, out: &mut Vec<u8>) {
        if let Some(alert) = self.alerts.get(rank) {
            out.extend_from_slice(alert.text.as_bytes());
        }
    }
}
