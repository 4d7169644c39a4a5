//! The busiest revision, its jobs and their wait times: `max_revision_jobs.jsonl` and `job_wait_time_stats.json`.
//!
//! In: the store's note of the busiest revisions, or two passes that find them; the details of their jobs. Values:
//! [`BusiestRevisions`] and [`Waits`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::actor::Shutdown;
use crate::config::{Config, Semantics};
use crate::dataset::catalogue::Artifact;
use crate::dataset::commits::{Commits, NodeKey};
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::manifest::JOBS_NOT_ASKED;
use crate::dataset::output::RowCounts;
use crate::dataset::pass::signatures::{Part, Signatures};
use crate::dataset::pass::{Chunk, Means, Pass, Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::promise::Promised;
use crate::dataset::summary_stats::{WaitTimes, job_wait_time_stats};
use crate::dataset::write::Redaction;
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::{JobId, Kind, RawJson, Request};
use crate::observe::Reducing;
use crate::store::columns::ColumnSet;
use crate::store::{Store, StoreError};

use super::coverage::{CommitTable, Coverage, CoverageReducer, revision_key};
use super::durations::job_times::{Corrections, times_of, wait_corrected, wait_reference};

pub(crate) struct BusiestRevision;

impl Family for BusiestRevision {
    type Value = ();

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let commits = making.context.commits_for(Artifact::MaxRevisionJobs)?;
        let pass_ended = making.pass_ended();
        making.spawn(move |context| {
            pass_ended.wait()?;
            let found = find(context.store, context.signatures, commits, context.means)?;
            write(context, found.of(context.options().semantics))
        })
    }
}

/// A revision and the jobs that measured it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionJobs {
    /// The hash of the commit.
    pub node: String,
    /// `total_jobs` of the revision in `perf_jobs_per_revision.csv`.
    pub total_jobs: u64,
    /// The distinct jobs of its data, ascending, with any time of submission.
    pub jobs: Vec<JobId>,
}

/// The busiest revision by each semantics; `None` without revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusiestRevisions {
    /// See [`inputs_of`].
    inputs: String,
    corrected: Option<RevisionJobs>,
    reference: Option<RevisionJobs>,
}

impl BusiestRevisions {
    /// The busiest revision by `semantics`.
    #[must_use]
    pub fn of(&self, semantics: Semantics) -> Option<&RevisionJobs> {
        match semantics {
            Semantics::Corrected => self.corrected.as_ref(),
            Semantics::Reference => self.reference.as_ref(),
        }
    }

    /// The distinct jobs of both revisions, ascending.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let both: BTreeSet<JobId> =
            [&self.corrected, &self.reference].into_iter().flatten().flat_map(|one| &one.jobs).copied().collect();
        both.into_iter()
    }
}

/// Identifies the inputs of the search: equal inputs have the same busiest revisions.
fn inputs_of(store: &Store, commits: &Commits) -> Result<String, StoreError> {
    let counts = store.counts()?;
    let (digest, summaries) = (counts.digest(Kind::Summaries), counts.of(Kind::Summaries));
    let missing = summaries.pending + summaries.failed;
    Ok(format!("{digest:032x} {missing} {}", commits.report.digest_hex()))
}

/// The store's note of an earlier search, if it had the same inputs.
pub(crate) fn noted(store: &Store, commits: &Commits) -> Result<Option<BusiestRevisions>, StoreError> {
    let inputs = inputs_of(store, commits)?;
    let found = store.busiest_note()?.and_then(|note| serde_json::from_str::<BusiestRevisions>(&note).ok());
    Ok(found.filter(|found| found.inputs == inputs))
}

/// Keeps the store's note while `join` changes how the data are stored, but not what they are.
pub(crate) fn keep_busiest_revisions<T>(
    store: &Store,
    commits: &Commits,
    join: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let found = noted(store, commits)?;
    let joined = join()?;
    if let Some(found) = found {
        let inputs = inputs_of(store, commits)?;
        if inputs != found.inputs {
            let note = serde_json::to_string(&BusiestRevisions { inputs, ..found });
            store.keep_busiest_note(&note.map_err(|source| StoreError::Encode { source })?)?;
        }
    }
    Ok(joined)
}

/// Returns the busiest revisions from the store's note, or finds them and stores a note.
fn find(
    store: &Store,
    signatures: &Signatures,
    commits: &Commits,
    means: Means<'_>,
) -> Result<BusiestRevisions, DatasetError> {
    if let Some(found) = noted(store, commits)? {
        return Ok(found);
    }
    let inputs = inputs_of(store, commits)?;
    let busiest = std::thread::scope(|scope| {
        let mut pass = Pass::new(scope, store, signatures, means);
        let mut start = |semantics| {
            let reducer = CoverageReducer::new(CommitTable::new(commits, semantics), semantics, &means);
            pass.start(reducer, move |coverage| most_jobs(coverage, semantics))
        };
        let (corrected, reference) = (start(Semantics::Corrected)?, start(Semantics::Reference)?);
        pass.run("finding the busiest revision")?;
        Ok::<_, DatasetError>(vec![corrected.into_value()?, reference.into_value()?])
    })?;
    let mut revisions = jobs_of(store, signatures, busiest, means)?.into_iter();
    let found =
        BusiestRevisions { inputs, corrected: revisions.next().flatten(), reference: revisions.next().flatten() };
    let note = serde_json::to_string(&found).map_err(|source| StoreError::Encode { source })?;
    store.keep_busiest_note(&note)?;
    Ok(found)
}

/// A revision with its `total_jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Busiest {
    pub(crate) node: String,
    pub(crate) total_jobs: u64,
    /// How its node is compared with the revisions of data.
    pub(crate) semantics: Semantics,
}

/// The first revision with the most jobs, which may be 0: its jobs may all have been submitted late. `None` without
/// revisions.
fn most_jobs(coverage: Coverage, semantics: Semantics) -> Result<Option<Busiest>, DatasetError> {
    let mut busiest: Option<Busiest> = None;
    coverage.for_each_revision(|commit, signatures| {
        let total_jobs = signatures.len() as u64;
        if busiest.as_ref().is_none_or(|busiest| total_jobs > busiest.total_jobs) {
            busiest = Some(Busiest { node: commit.node.clone(), total_jobs, semantics });
        }
        Ok(())
    })?;
    Ok(busiest)
}

/// Finds the jobs of revisions in one pass.
pub(crate) fn jobs_of(
    store: &Store,
    signatures: &Signatures,
    revisions: Vec<Option<Busiest>>,
    means: Means<'_>,
) -> Result<Vec<Option<RevisionJobs>>, DatasetError> {
    let wanted: Vec<Wanted> =
        revisions.iter().flatten().map(|busiest| Wanted(NodeKey::of_text(&busiest.node), busiest.semantics)).collect();
    if wanted.is_empty() {
        return Ok(vec![None; revisions.len()]);
    }
    let jobs = std::thread::scope(|scope| {
        let mut pass = Pass::new(scope, store, signatures, means);
        let found = pass.start(JobsOf { jobs: vec![BTreeSet::new(); wanted.len()], wanted }, Ok)?;
        pass.run("finding the busiest revision's jobs")?;
        found.into_value()
    })?;
    let mut jobs = jobs.into_iter();
    let with_jobs = |busiest: Option<Busiest>| {
        let busiest = busiest?;
        let jobs = jobs.next()?.into_iter().collect();
        Some(RevisionJobs { node: busiest.node, total_jobs: busiest.total_jobs, jobs })
    };
    Ok(revisions.into_iter().map(with_jobs).collect())
}

/// The text of a revision, and how it is compared.
#[derive(Clone)]
struct Wanted(NodeKey, Semantics);

struct JobsOf {
    wanted: Vec<Wanted>,
    /// One set per revision.
    jobs: Vec<BTreeSet<JobId>>,
}

impl Reducer for JobsOf {
    /// Indices into the revisions, and jobs.
    type Block = Vec<(usize, JobId)>;
    type Worker = JobFinder;
    type Value = Vec<BTreeSet<JobId>>;

    fn columns(&self) -> ColumnSet {
        ColumnSet::JOB_IDS | ColumnSet::PUSH_IDS | ColumnSet::REVISIONS | ColumnSet::IRREGULAR
    }

    fn worker(&self) -> JobFinder {
        JobFinder(self.wanted.clone())
    }

    fn take(&mut self, block: Vec<(usize, JobId)>) -> Result<(), DatasetError> {
        for (place, job) in block {
            self.jobs[place].insert(job);
        }
        Ok(())
    }

    fn finish(self, _workers: Vec<JobFinder>) -> Result<Vec<BTreeSet<JobId>>, DatasetError> {
        Ok(self.jobs)
    }
}

struct JobFinder(Vec<Wanted>);

impl ReducerWorker for JobFinder {
    type Block = Vec<(usize, JobId)>;

    fn open(&mut self, _signatures: &[Part]) -> Vec<(usize, JobId)> {
        Vec::new()
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, block: &mut Vec<(usize, JobId)>) -> Result<(), DatasetError> {
        for at in 0..chunk.columns.len() {
            let Some(job) = chunk.columns.job_id(at) else { continue };
            let is_wanted = |Wanted(node, semantics): &Wanted| match (chunk.revision(at), chunk.columns.irregular(at)) {
                (Some(revision), _) => *node == NodeKey::Hash(revision),
                (None, datum) => datum.and_then(|datum| revision_key(datum, *semantics)).as_ref() == Some(node),
            };
            block.extend((0..).zip(&self.0).filter(|(_, wanted)| is_wanted(wanted)).map(|(place, _)| (place, job)));
        }
        Ok(())
    }

    fn end_signature(
        &mut self,
        _jobs: &mut SignatureJobs,
        _block: &mut Vec<(usize, JobId)>,
    ) -> Result<(), DatasetError> {
        Ok(())
    }
}

/// The wait times of a revision's jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    /// Wait times, seconds; jobs without one are left out.
    pub(crate) secs: Vec<i64>,
    /// Jobs with stored details.
    pub(crate) num_detailed: u64,
    /// Jobs that no run has requested: the crawl had no commits, or different ones.
    num_not_asked: u64,
    corrections: Corrections,
    num_negative: u64,
}

impl Waits {
    /// Measures the jobs of `revision`, and passes each stored record to `take`.
    pub(crate) fn measure(
        store: &Store,
        semantics: Semantics,
        revision: Option<&RevisionJobs>,
        mut take: impl FnMut(JobId, &RawJson) -> Result<(), DatasetError>,
    ) -> Result<Self, DatasetError> {
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
            num_fetched: Some(self.num_detailed), // as if one run fetched all, so that the bytes do not depend on the runs
        })
    }
}

/// Writes the wanted artifacts; none of a revision without jobs.
fn write(context: &Context<'_>, busiest: Option<&RevisionJobs>) -> Result<(), DatasetError> {
    let Some(busiest) = busiest.filter(|busiest| !busiest.jobs.is_empty()) else { return Ok(()) };
    let mut file = context.line_file(Artifact::MaxRevisionJobs)?;
    let options = context.options();
    let mut redaction = Redaction::new(options.redact_emails);
    let mut line = Vec::new();
    let waits = Waits::measure(context.store, options.semantics, Some(busiest), |id, record| {
        let Some(file) = &mut file else { return Ok(()) };
        line.clear();
        dumps(&redaction.apply(record.as_str()), &mut line, AsciiMode::Escape).map_err(|source| {
            StoreError::Damaged { tree: "records", key: format!("job {id}"), reason: source.to_string() }
        })?;
        line.push(b'\n');
        file.append_line(&line)
    })?;
    let num_jobs = busiest.jobs.len() as u64;
    let counts = RowCounts::from([
        ("jobs_not_there".to_owned(), num_jobs - waits.num_detailed),
        (JOBS_NOT_ASKED.to_owned(), waits.num_not_asked),
        ("times_missing".to_owned(), waits.corrections.missing_time),
        ("times_reversed".to_owned(), waits.corrections.reversed + waits.num_negative),
    ]);
    if let Some(file) = file {
        context.finish(file.written(), &counts.clone().into_iter().chain(redaction.counts()).collect())?;
    }
    context.put(Artifact::WaitTimeStats, waits.document(busiest).as_deref(), &counts)
}

/// The busiest revisions of the window.
///
/// # Errors
/// [`DatasetError`] if the store is unreadable.
pub fn busiest_revisions(
    store: &Store,
    config: &Config,
    commits: &Commits,
    reducing: &Reducing,
) -> Result<BusiestRevisions, DatasetError> {
    // Sorting needs a folder for temporary files. The folder of the store exists; that of the artifacts may not.
    let uninterrupted = Shutdown::new();
    let means = Means::of(config, store.path(), reducing, &uninterrupted);
    let signatures = Signatures::complete(store)?;
    find(store, &signatures, commits, means)
}
