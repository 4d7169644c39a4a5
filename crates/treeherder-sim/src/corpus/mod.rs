//! A data set made of recorded replies.
//!
//! Every record is served with its recorded text. Values that no recording contains are derived: the `last_updated` of
//! a signature is the time of its newest datum; without data, it is after the `end_date` of every recorded list that
//! lacks the signature. A signature whose summary was not recorded has no data, and one whose summary was not recorded with
//! replicates has none.

mod files;
mod lists;
mod signatures;
mod summaries;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::alert_record::AlertRecord;
use super::dataset::{AlertHead, Dataset, Datum, PushHead, Repository, SignatureHead, SummaryFrame, Window};
use super::error::SimulatorError;
use super::history::{AsOf, History, Life};
use super::json_text::compact;
use super::moment;

pub(super) use files::CorpusFiles;

use files::{fault, recording};
use lists::{StoredJob, StoredPush, read_alerts, read_jobs, read_pushes, read_repositories};
use signatures::{Signature, Signatures};
use summaries::{StoredDatum, Summaries};

/// A data set made of recorded replies.
#[derive(Debug)]
pub(super) struct Corpus {
    start: i64,
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
        let mut summaries = Summaries::read(files)?;
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
        let oldest = data_of(&signatures).map(|datum| datum.push_timestamp / moment::SECOND).min();
        let mut jobs = read_jobs(files, by_name)?;
        for datum in data_of(&signatures) {
            if let Some(job) = datum.job_id.and_then(|id| jobs.get_mut(&id)) {
                job.pushed = job.pushed.min(datum.push_timestamp / moment::SECOND);
            }
        }
        Ok(Self {
            start: oldest.unwrap_or(now),
            now,
            frameworks,
            jobs,
            pushes: read_pushes(files)?,
            alerts: read_alerts(files, by_name)?,
            repositories,
            signatures,
        })
    }

    fn row(&self, repository: u64, rank: usize) -> Option<&Signature> {
        self.signatures.get(&repository)?.rows.get(rank)
    }

    /// When the data of a job appear, and the job is deleted; all times in seconds. What was recorded was there at the time of
    /// the recording.
    fn life(&self, key: u64, pushed: i64, submitted: Option<i64>, history: &History) -> Life {
        let ready = submitted.unwrap_or(pushed).min(self.now).saturating_add(history.lateness(key).unwrap_or(0));
        let expires = submitted.map_or(i64::MAX, |submitted| history.expiry(submitted).max(self.now + 1));
        Life { appears: history.arrival(pushed.min(self.now), ready), expires }
    }

    fn life_of_datum(&self, datum: &StoredDatum, history: &History) -> Life {
        let submitted = datum.submit_time.map(|micros| micros.div_euclid(moment::SECOND));
        // Up to the second in which it was pushed.
        let pushed = datum.push_timestamp.div_euclid(moment::SECOND);
        self.life(datum.job_id.unwrap_or(datum.id), pushed, submitted, history)
    }

    /// Whether a repository has a job.
    fn has_job(&self, repository: u64, (id, job): (u64, &StoredJob), as_of: &AsOf<'_>) -> bool {
        job.repository == repository && as_of.has_job(&self.life(id, job.pushed, Some(job.submitted), as_of.history))
    }

    fn push(&self, repository: u64, rank: usize) -> Option<&StoredPush> {
        self.pushes.get(&repository)?.get(rank)
    }
}

fn data_of(signatures: &HashMap<u64, Signatures>) -> impl Iterator<Item = &StoredDatum> {
    signatures.values().flat_map(|signatures| &signatures.rows).flat_map(|signature| &signature.data)
}

impl Dataset for Corpus {
    fn start(&self) -> i64 {
        self.start
    }

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

    fn signature_head(&self, repository: u64, rank: usize, as_of: &AsOf<'_>) -> Option<SignatureHead<'_>> {
        let Signature { head, data, .. } = self.row(repository, rank)?;
        let has_appeared = |datum: &&StoredDatum| as_of.has_appeared(&self.life_of_datum(datum, as_of.history));
        let last_updated = if data.is_empty() {
            // Data that were not recorded appeared until then.
            let seconds = head.last_updated.div_euclid(moment::SECOND);
            (seconds.min(self.now) <= as_of.now).then_some(head.last_updated)
        } else {
            data.iter().filter(has_appeared).map(|datum| datum.push_timestamp).max()
        };
        Some(SignatureHead {
            hash: Cow::Borrowed(&head.hash),
            platform: Cow::Borrowed(&head.platform),
            parent_hash: head.parent_hash.as_deref().map(Cow::Borrowed),
            last_updated: last_updated?,
            ..*head
        })
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

    fn visit_data(
        &self,
        repository: u64,
        rank: usize,
        window: &Window<'_>,
        as_of: &AsOf<'_>,
        visit: &mut dyn FnMut(&Datum<'_>),
    ) {
        let data = self.row(repository, rank).map_or(&[] as &[StoredDatum], |signature| signature.rows_for(window));
        let mut is_any_expired = false;
        let mut data: Vec<Datum<'_>> = data
            .iter()
            .map(|datum| (datum, self.life_of_datum(datum, as_of.history)))
            .filter(|(_, life)| as_of.has_appeared(life))
            .map(|(datum, life)| {
                let datum = datum.view(life);
                let is_expired = as_of.is_expired(&life);
                is_any_expired |= is_expired;
                if is_expired { datum.without_job() } else { datum }
            })
            .filter(|datum| window.contains(datum))
            .collect();
        if is_any_expired {
            data.sort_by_key(Datum::sort_key);
        }
        data.iter().for_each(visit);
    }

    fn write_job(&self, repository: u64, id: u64, as_of: &AsOf<'_>, out: &mut Vec<u8>) -> bool {
        let job = self.jobs.get(&id).filter(|job| self.has_job(repository, (id, job), as_of));
        if let Some(job) = job {
            out.extend_from_slice(job.text.as_bytes());
        }
        job.is_some()
    }

    fn job_ids(
        &self,
        repository: u64,
        pushes: Option<&[u64]>,
        as_of: &AsOf<'_>,
        (offset, limit): (usize, usize),
    ) -> Vec<u64> {
        let of_repository = self.jobs.iter().filter(|(id, job)| self.has_job(repository, (**id, job), as_of));
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
