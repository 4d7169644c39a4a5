//! The busiest revision and its jobs: which they are, and how long they waited.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{ArtifactsConfig, Semantics};
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::dataset::write::redact_emails;
use crate::model::{JobId, Kind, RawJson, Request, Revision};
use crate::store::{Store, StoreError};

use crate::dataset::commits::Commits;
use crate::dataset::families::coverage::{Busiest, CoverageInputs, reduce_coverage};
use crate::dataset::families::durations::job_times::{Corrections, wait_corrected, wait_reference};
use crate::dataset::families::durations::times_of;
use crate::dataset::lookups::{CommitTable, FirstCovered};
use crate::dataset::manifest::JOBS_NOT_ASKED;
use crate::dataset::output::{LineFile, Outputs, RowCounts};
use crate::dataset::pass::signatures::Signatures;
use crate::dataset::pass::{CoverageRule, Means, Want, scan};
use crate::dataset::summary_stats::{WaitTimes, job_wait_time_stats};
use crate::dataset::{Artifact, ReduceError};

/// A revision and the jobs that measured it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionJobs {
    /// The commit.
    pub node: String,
    /// Its row's `total_jobs`.
    pub total_jobs: u64,
    /// The distinct jobs of its data, ascending, whenever they were submitted.
    pub jobs: Vec<JobId>,
}

/// The busiest revision by either semantics; `None` when no revision of the window has a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusiestRevisions {
    /// What this was found from.
    inputs: String,
    corrected: Option<RevisionJobs>,
    reference: Option<RevisionJobs>,
}

impl BusiestRevisions {
    /// The one of `semantics`.
    #[must_use]
    pub fn of(&self, semantics: Semantics) -> Option<&RevisionJobs> {
        match semantics {
            Semantics::Corrected => self.corrected.as_ref(),
            Semantics::Reference => self.reference.as_ref(),
        }
    }

    /// The jobs of both.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let both: BTreeSet<JobId> =
            [&self.corrected, &self.reference].into_iter().flatten().flat_map(|one| &one.jobs).copied().collect();
        both.into_iter()
    }
}

/// What the busiest revisions are found from: they are the same as long as this is.
fn inputs_of(store: &Store, commits: &Commits) -> Result<String, StoreError> {
    let counts = store.counts()?;
    let (digest, summaries) = (counts.digest(Kind::Summaries), counts.of(Kind::Summaries));
    let missing = summaries.pending + summaries.failed;
    Ok(format!("{digest:032x} {missing} {}", commits.report.digest_hex()))
}

/// What was found before from the same answers and commits: the store's note.
pub(crate) fn noted(store: &Store, commits: &Commits) -> Result<Option<BusiestRevisions>, StoreError> {
    let inputs = inputs_of(store, commits)?;
    let found = store.busiest_note()?.and_then(|note| serde_json::from_str::<BusiestRevisions>(&note).ok());
    Ok(found.filter(|found| found.inputs == inputs))
}

/// Finds the busiest revisions, unless the store has a note of them, and leaves one.
pub(crate) fn find(
    store: &Store,
    signatures: &Signatures,
    commits: &Commits,
    means: Means<'_>,
) -> Result<BusiestRevisions, ReduceError> {
    if let Some(found) = noted(store, commits)? {
        return Ok(found);
    }
    let inputs = inputs_of(store, commits)?;
    let table = CommitTable::new(commits);
    let mut nodes = Vec::new();
    for semantics in [Semantics::Corrected, Semantics::Reference] {
        means.reducing.pass("finding the busiest revision", signatures.len() as u64);
        let want = Want { coverage: Some(CoverageRule { semantics, ranks: table.ranks() }), ..Want::default() };
        let mut first_covered = FirstCovered::default();
        let sorted = scan(store, signatures, &want, means, |block| {
            first_covered.extend(&block.first_covered);
            Ok(())
        })?;
        let inputs = CoverageInputs {
            commits: &table,
            first_covered: &first_covered,
            pairs: sorted.coverage,
            num_fractions: 0,
            groups: None,
            signatures: None,
        };
        let nothing = BTreeSet::new();
        let config = ArtifactsConfig::default();
        nodes.push(reduce_coverage(means.spill_dir, &config, &nothing, inputs, &mut Outputs::default())?);
    }
    let mut revisions = jobs_of(store, signatures, nodes, means)?.into_iter();
    let found =
        BusiestRevisions { inputs, corrected: revisions.next().flatten(), reference: revisions.next().flatten() };
    let note = serde_json::to_string(&found).map_err(|source| StoreError::Encode { source })?;
    store.keep_busiest_note(&note)?;
    Ok(found)
}

/// The jobs of revisions, in one pass.
pub(crate) fn jobs_of(
    store: &Store,
    signatures: &Signatures,
    revisions: Vec<Option<Busiest>>,
    means: Means<'_>,
) -> Result<Vec<Option<RevisionJobs>>, ReduceError> {
    let nodes: Vec<Revision> = revisions.iter().flatten().filter_map(|busiest| busiest.node.parse().ok()).collect();
    let mut jobs: Vec<BTreeSet<JobId>> = vec![BTreeSet::new(); nodes.len()];
    let want = Want { jobs_of: nodes.clone(), ..Want::default() };
    means.reducing.pass("finding the busiest revision's jobs", signatures.len() as u64);
    scan(store, signatures, &want, means, |block| {
        for (place, job) in block.jobs_of.drain(..) {
            jobs[place as usize].insert(job);
        }
        Ok(())
    })?;
    let with_jobs = |busiest: Option<Busiest>| {
        let busiest = busiest?;
        let place = nodes.iter().position(|revision| revision.to_string() == busiest.node)?;
        let jobs = jobs[place].iter().copied().collect();
        Some(RevisionJobs { node: busiest.node, total_jobs: busiest.total_jobs, jobs })
    };
    Ok(revisions.into_iter().map(with_jobs).collect())
}

/// How long the jobs of a revision waited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    /// Of each job with a wait, seconds.
    pub(crate) secs: Vec<i64>,
    /// Jobs whose details are there.
    pub(crate) num_detailed: u64,
    /// Jobs that no run has asked for: the crawl had no commits, or others.
    num_not_asked: u64,
    corrections: Corrections,
    num_negative: u64,
}

impl Waits {
    /// Measures the jobs of `revision`; each record that is there is handed to `take`.
    pub(crate) fn measure(
        store: &Store,
        semantics: Semantics,
        revision: Option<&RevisionJobs>,
        mut take: impl FnMut(JobId, &RawJson) -> Result<(), ReduceError>,
    ) -> Result<Self, ReduceError> {
        let mut waits = Self::default();
        for id in revision.iter().flat_map(|revision| revision.jobs.iter().copied()) {
            let Some(record) = store.job(id)? else {
                waits.num_not_asked += u64::from(store.settled(&Request::Job { id })?.is_none());
                continue;
            };
            waits.num_detailed += 1;
            let times = times_of(&record, id)?;
            let secs = match semantics {
                Semantics::Reference => {
                    let wait = wait_reference(times);
                    waits.num_negative += u64::from(wait.is_none());
                    wait
                }
                Semantics::Corrected => waits.corrections.keep(wait_corrected(times)),
            };
            #[expect(clippy::cast_possible_truncation, reason = "waits are whole seconds")]
            waits.secs.extend(secs.map(|secs| secs as i64));
            take(id, &record)?;
        }
        Ok(waits)
    }

    /// `job_wait_time_stats.json`; `None` without waits.
    pub(crate) fn document(&self, revision: &RevisionJobs) -> Option<Vec<u8>> {
        job_wait_time_stats(&WaitTimes {
            waits_secs: &self.secs,
            revision: &revision.node,
            total_jobs: revision.total_jobs,
            num_job_ids: revision.jobs.len() as u64,
            num_detailed_jobs: self.num_detailed,
            num_fetched: Some(self.num_detailed), // as when one run fetches them all, so that it does not depend on the runs
        })
    }
}

/// Writes the jobs of the busiest revision and how long they waited.
pub(crate) fn reduce_waits(
    store: &Store,
    folder: &Path,
    config: &ArtifactsConfig,
    wanted: &BTreeSet<Artifact>,
    busiest: Option<&RevisionJobs>,
    outputs: &mut Outputs,
) -> Result<(), ReduceError> {
    let mut file = wanted
        .contains(&Artifact::MaxRevisionJobs)
        .then(|| LineFile::create(folder, Artifact::MaxRevisionJobs))
        .transpose()?;
    let mut line = Vec::new();
    let waits = Waits::measure(store, config.semantics, busiest, |id, record| {
        let Some(file) = &mut file else { return Ok(()) };
        line.clear();
        let text = if config.redact_emails { redact_emails(record.as_str()) } else { record.as_str().to_owned() };
        dumps(&text, &mut line, AsciiMode::Escape).map_err(|source| StoreError::Damaged {
            tree: "records",
            key: format!("job {id}"),
            reason: source.to_string(),
        })?;
        line.push(b'\n');
        file.append_line(&line)
    })?;
    let num_jobs = busiest.map_or(0, |busiest| busiest.jobs.len() as u64);
    let counts = RowCounts::from([
        ("jobs_not_there".to_owned(), num_jobs - waits.num_detailed),
        (JOBS_NOT_ASKED.to_owned(), waits.num_not_asked),
        ("times_missing".to_owned(), waits.corrections.missing_time),
        ("times_reversed".to_owned(), waits.corrections.reversed + waits.num_negative),
    ]);
    if let Some(file) = file {
        file.finish(outputs, Artifact::MaxRevisionJobs, counts.clone())?;
    }
    if let Some(busiest) = busiest.filter(|_| wanted.contains(&Artifact::WaitTimeStats))
        && let Some(document) = waits.document(busiest)
    {
        outputs.put(folder, Artifact::WaitTimeStats, &document, counts)?;
    }
    Ok(())
}
