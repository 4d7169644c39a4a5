//! The busiest revision and its jobs: which they are, and how long they waited.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::artifact::json::{AsciiMode, dumps};
use crate::artifact::redact_emails;
use crate::config::{ArtifactsConfig, Semantics};
use crate::model::{JobId, Kind, Revision};
use crate::store::{Store, StoreError};

use super::commits::Commits;
use super::coverage::{CoverageInputs, reduce_coverage};
use super::durations::times_of;
use super::job_times::{Corrections, wait_corrected, wait_reference};
use super::output::{LineFile, Outputs, RowCounts};
use super::scan::{CoverageRule, Means, SignatureParts, Want, scan};
use super::summary_stats::{WaitTimes, job_wait_time_stats};
use super::tables::{CommitTable, FirstCovered};
use super::{Artifact, ReduceError};

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

/// Finds the busiest revisions; what was found from the same answers and commits before is taken from the store's note.
pub(super) fn find(
    store: &Store,
    signatures: &[SignatureParts],
    commits: &Commits,
    means: Means<'_>,
) -> Result<BusiestRevisions, ReduceError> {
    let counts = store.counts()?;
    let (digest, summaries) = (counts.digest(Kind::Summaries), counts.of(Kind::Summaries));
    let missing = summaries.pending + summaries.failed;
    let inputs = format!("{digest:032x} {missing} {}", commits.report.digest_hex());
    if let Some(note) = store.busiest_note()?
        && let Ok(found) = serde_json::from_str::<BusiestRevisions>(&note)
        && found.inputs == inputs
    {
        return Ok(found);
    }
    let table = CommitTable::new(commits);
    let mut nodes = Vec::new();
    for semantics in [Semantics::Corrected, Semantics::Reference] {
        let want = Want { coverage: Some(CoverageRule { semantics, ranks: table.ranks() }), ..Want::default() };
        let mut first_covered = FirstCovered::new();
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
    let jobs_of: Vec<Revision> = nodes.iter().flatten().filter_map(|busiest| busiest.node.parse().ok()).collect();
    let mut jobs: Vec<BTreeSet<JobId>> = vec![BTreeSet::new(); jobs_of.len()];
    let want = Want { jobs_of: jobs_of.clone(), ..Want::default() };
    scan(store, signatures, &want, means, |block| {
        for (place, job) in block.jobs_of {
            jobs[place as usize].insert(job);
        }
        Ok(())
    })?;
    let mut revisions = nodes.into_iter().map(|busiest| {
        let busiest = busiest?;
        let place = jobs_of.iter().position(|revision| revision.to_string() == busiest.node)?;
        let jobs = jobs[place].iter().copied().collect();
        Some(RevisionJobs { node: busiest.node, total_jobs: busiest.total_jobs, jobs })
    });
    let found =
        BusiestRevisions { inputs, corrected: revisions.next().flatten(), reference: revisions.next().flatten() };
    let note = serde_json::to_string(&found).map_err(|source| StoreError::Encode { source })?;
    store.keep_busiest_note(&note)?;
    Ok(found)
}

/// Writes the jobs of the busiest revision and how long they waited.
pub(super) fn reduce_waits(
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
    let mut waits = Vec::new();
    let mut corrections = Corrections::default();
    let (mut num_detailed, mut negative) = (0, 0);
    let mut line = Vec::new();
    for id in busiest.iter().flat_map(|busiest| busiest.jobs.iter().copied()) {
        let Some(record) = store.job(id)? else { continue };
        num_detailed += 1;
        let times = times_of(&record, id)?;
        match config.semantics {
            Semantics::Reference => match wait_reference(times) {
                Some(wait) => waits.push(wait),
                None => negative += 1,
            },
            Semantics::Corrected => waits.extend(corrections.keep(wait_corrected(times))),
        }
        if let Some(file) = &mut file {
            line.clear();
            let text = if config.redact_emails { redact_emails(record.as_str()) } else { record.as_str().to_owned() };
            dumps(&text, &mut line, AsciiMode::Escape).map_err(|source| StoreError::Damaged {
                tree: "records",
                key: format!("job {id}"),
                reason: source.to_string(),
            })?;
            line.push(b'\n');
            file.append_line(&line)?;
        }
    }
    let num_jobs = busiest.map_or(0, |busiest| busiest.jobs.len() as u64);
    let counts = RowCounts::from([
        ("jobs_not_there".to_owned(), num_jobs - num_detailed),
        ("times_missing".to_owned(), corrections.missing_time),
        ("times_reversed".to_owned(), corrections.reversed + negative),
    ]);
    if let Some(file) = file {
        file.finish(outputs, Artifact::MaxRevisionJobs, counts.clone())?;
    }
    if let Some(busiest) = busiest.filter(|_| wanted.contains(&Artifact::WaitTimeStats)) {
        #[expect(clippy::cast_possible_truncation, reason = "waits are whole seconds")]
        let waits_secs: Vec<i64> = waits.iter().map(|wait| *wait as i64).collect();
        let document = job_wait_time_stats(&WaitTimes {
            waits_secs: &waits_secs,
            revision: &busiest.node,
            total_jobs: busiest.total_jobs,
            num_job_ids: num_jobs,
            num_detailed_jobs: num_detailed,
            num_fetched: Some(num_detailed), // as when one run fetches them all, so that it does not depend on the runs
        });
        if let Some(document) = document {
            outputs.put(folder, Artifact::WaitTimeStats, &document, counts)?;
        }
    }
    Ok(())
}
