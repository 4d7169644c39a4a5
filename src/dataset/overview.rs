//! Computes the numbers of the report, with the code of the artifacts, and without writing any.
//!
//! In: the store and the configured commits. Out: an [`Overview`], plain data. Memory grows with commits, signature
//! groups and the jobs of the busiest revision, not with data. Only sorting writes, to temporary files.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use pytext::counts::ValueCounts;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::actor::Shutdown;
use crate::config::{Config, Semantics};
use crate::model::{JobId, RawJson, Timestamp, text_of};
use crate::observe::Reducing;
use crate::store::columns::ColumnSet;
use crate::store::{CrawlIdentity, Store};

use super::commits::Commits;
use super::commits::check::share_of;
use super::error::DatasetError;
use super::families::alerts::{AlertHistory, AlertSummaryView, for_each_summary_of_scope};
use super::families::busiest::{self, Busiest, RevisionJobs, Waits};
use super::families::coverage::{CommitTable, Coverage, CoverageReducer};
use super::families::durations::job_times::{duration_corrected, times_of, wait_corrected};
use super::families::durations::{Durations, SampleReducer, Samples};
use super::families::groups::{GroupsReducer, SignatureGroups};
use super::families::replicates::ReplicateShare;
use super::pass::signatures::{Part, Signatures};
use super::pass::{Means, Pass, Reducer, ReducerWorker, SignatureJobs};
use super::promise::Promised;
use super::sources::read_commits;

/// A commit of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoveredRevision {
    /// The hash, as written in the file of commits.
    pub node: String,
    /// The commit date.
    pub date: Timestamp,
    /// Number of signatures that ran on the commit: `total_jobs` in `perf_jobs_per_revision.csv`.
    pub total_jobs: u64,
}

/// A job of the busiest revision.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingJob {
    /// The server's id.
    pub id: JobId,
    /// `job_type_name` of the record; empty if absent.
    pub name: String,
    /// `platform` of the record; empty if absent.
    pub platform: String,
    /// `machine_name` of the record; empty if absent.
    pub machine: String,
    /// From submission to start, seconds; `None` if a time is missing or the two are reversed.
    pub wait_secs: Option<f64>,
    /// From start to end, minutes; `None` if a time is missing or the two are reversed.
    pub minutes: Option<f64>,
}

/// The numbers of a crawl, for the report.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The definitions that the numbers follow.
    pub semantics: Semantics,
    /// The commits of the window, in the order of `perf_jobs_per_revision.csv`; `None` if no commits are configured.
    pub revisions: Option<Vec<CoveredRevision>>,
    /// The number of revisions with data that the file of commits lists, and of all; `None` without commits.
    pub revisions_listed: Option<(u64, u64)>,
    /// The `total_jobs` of these commits.
    pub total_jobs: ValueCounts,
    /// Signatures that always run together.
    pub groups: SignatureGroups,
    /// Mean duration of each group's jobs, minutes, as in `sig_group_job_durations.csv`.
    pub minutes_by_group: BTreeMap<u32, f64>,
    /// The busiest revision; `None` without commits, or if no revision has a job.
    pub busiest: Option<RevisionJobs>,
    /// Wait times of its jobs, seconds.
    pub waits_secs: Vec<i64>,
    /// `job_wait_time_stats.json`; `None` without wait times.
    pub wait_document: Option<Vec<u8>>,
    /// The jobs of the busiest revision with stored details: the longest wait first, then by id.
    pub waiting_jobs: Vec<WaitingJob>,
    /// Alert summaries by day, framework and status.
    pub alerts: AlertHistory,
    /// Number of signatures with complete data.
    pub num_signatures: u64,
    /// Number of data of these signatures.
    pub num_data: u64,
    /// Number of these data whose job the server has deleted.
    pub num_jobless: u64,
    /// How many data have replicates; `None` if the scope leaves them out.
    pub replicates: Option<ReplicateShare>,
}

/// Computes the numbers of the crawl in `store`. `spill_dir`: the folder for the temporary files of sorting.
///
/// # Errors
/// [`DatasetError`] if the store or the commits are unreadable, or the run was interrupted.
pub fn compute_overview(
    store: &Store,
    identity: &CrawlIdentity,
    config: &Config,
    spill_dir: &Path,
    shutdown: &Shutdown,
) -> Result<Overview, DatasetError> {
    let commits = read_commits(config, identity)?;
    let reducing = Reducing::default();
    let means = Means::of(config, spill_dir, &reducing, shutdown);
    let signatures = Signatures::complete(store)?;
    let reader = StoreReader { store, semantics: config.artifacts.semantics, means, signatures: &signatures };
    let alerts = reader.alerts(identity)?;
    let data = reader.data(commits.as_ref())?;
    let mut overview = reader.overview(commits.as_ref(), alerts, data)?;
    if identity.scope.replicates {
        overview.replicates = Some(ReplicateShare::measure(store, &signatures, &means)?);
    }
    Ok(overview)
}

struct StoreReader<'a> {
    store: &'a Store,
    semantics: Semantics,
    means: Means<'a>,
    signatures: &'a Signatures,
}

/// The results of one pass over the data.
struct PassResults {
    revisions: Vec<CoveredRevision>,
    groups: SignatureGroups,
    samples: Samples,
    totals: DataTotals,
}

impl StoreReader<'_> {
    fn alerts(&self, identity: &CrawlIdentity) -> Result<AlertHistory, DatasetError> {
        let mut history = AlertHistory::default();
        for_each_summary_of_scope::<DatasetError>(self.store, identity, &self.store.alert_listing()?, |_, record| {
            self.means.check_interrupted()?;
            if let Ok(summary) = AlertSummaryView::read(record) {
                history.push(&summary);
            }
            Ok(())
        })?;
        Ok(history)
    }

    fn data(&self, commits: Option<&Commits>) -> Result<PassResults, DatasetError> {
        std::thread::scope(|scope| {
            let mut pass = Pass::new(scope, self.store, self.signatures, self.means);
            let coverage = commits
                .map(|commits| {
                    let reducer =
                        CoverageReducer::new(CommitTable::new(commits, self.semantics), self.semantics, &self.means);
                    pass.start(reducer, revisions_of)
                })
                .transpose()?;
            let groups = pass.start(GroupsReducer::new(self.store, self.signatures), Ok)?;
            let samples = pass.start(SampleReducer::new(self.semantics), Ok)?;
            let totals = pass.start(DataTotals::default(), Ok)?;
            pass.run("reading the data")?;
            Ok(PassResults {
                revisions: coverage.map_or(Ok(Vec::new()), Promised::into_value)?,
                groups: groups.into_value()?,
                samples: samples.into_value()?,
                totals: totals.into_value()?,
            })
        })
    }

    fn overview(
        &self,
        commits: Option<&Commits>,
        alerts: AlertHistory,
        data: PassResults,
    ) -> Result<Overview, DatasetError> {
        let PassResults { revisions, groups, samples, totals } = data;
        let durations = Durations::measure(self.semantics, self.store, samples, &groups)?;
        self.means.check_interrupted()?;
        let busiest = match commits {
            Some(commits) => self.busiest(commits, &revisions)?,
            None => None,
        };
        let mut waiting_jobs = Vec::new();
        let waits = Waits::measure(self.store, self.semantics, busiest.as_ref(), |id, record| {
            waiting_jobs.push(waiting_job(id, record)?);
            Ok(())
        })?;
        waiting_jobs.sort_by(|one: &WaitingJob, other| {
            let longest = |job: &WaitingJob| job.wait_secs.unwrap_or(-1.0);
            longest(other).total_cmp(&longest(one)).then(one.id.cmp(&other.id))
        });
        let count = |revision: &CoveredRevision| i64::try_from(revision.total_jobs).unwrap_or(i64::MAX);
        Ok(Overview {
            semantics: self.semantics,
            total_jobs: revisions.iter().map(count).collect(),
            revisions: commits.is_some().then_some(revisions),
            revisions_listed: commits
                .and_then(|commits| share_of(&commits.counts(&self.store.push_revisions(), self.semantics))),
            minutes_by_group: durations.minutes_by_group(),
            groups,
            wait_document: busiest.as_ref().and_then(|busiest| waits.document(busiest)),
            waits_secs: waits.secs,
            busiest,
            waiting_jobs,
            alerts,
            num_signatures: self.signatures.len() as u64,
            num_data: totals.num_data,
            num_jobless: totals.num_jobless,
            replicates: None,
        })
    }

    /// The first revision with the most jobs, and these jobs: from the note in the store, or by another pass.
    fn busiest(&self, commits: &Commits, revisions: &[CoveredRevision]) -> Result<Option<RevisionJobs>, DatasetError> {
        if let Some(noted) = busiest::noted(self.store, commits)? {
            return Ok(noted.of(self.semantics).cloned());
        }
        let most = revisions.iter().enumerate().max_by_key(|(place, revision)| (revision.total_jobs, Reverse(*place)));
        let Some((_, most)) = most else { return Ok(None) };
        let busiest = Busiest { node: most.node.clone(), total_jobs: most.total_jobs, semantics: self.semantics };
        let mut found = busiest::jobs_of(self.store, self.signatures, vec![Some(busiest)], self.means)?;
        Ok(found.pop().flatten())
    }
}

fn revisions_of(coverage: Coverage) -> Result<Vec<CoveredRevision>, DatasetError> {
    let mut revisions = Vec::new();
    coverage.for_each_revision(|commit, signatures| {
        let total_jobs = signatures.len() as u64;
        revisions.push(CoveredRevision { node: commit.node.clone(), date: commit.date, total_jobs });
        Ok(())
    })?;
    Ok(revisions)
}

/// Counts data, and data whose job the server has deleted.
#[derive(Clone, Copy, Debug, Default)]
struct DataTotals {
    num_data: u64,
    num_jobless: u64,
}

impl Reducer for DataTotals {
    type Block = Self;
    type Worker = Self;
    type Value = Self;

    fn columns(&self) -> ColumnSet {
        ColumnSet::JOB_IDS
    }

    fn worker(&self) -> Self {
        *self
    }

    fn take(&mut self, block: Self) -> Result<(), DatasetError> {
        self.num_data += block.num_data;
        self.num_jobless += block.num_jobless;
        Ok(())
    }

    fn finish(self, _workers: Vec<Self>) -> Result<Self, DatasetError> {
        Ok(self)
    }
}

impl ReducerWorker for DataTotals {
    type Block = Self;

    fn open(&mut self, _signatures: &[Part]) -> Self {
        Self::default()
    }

    fn end_signature(&mut self, jobs: &mut SignatureJobs, block: &mut Self) -> Result<(), DatasetError> {
        block.num_data += jobs.ids.len() as u64;
        block.num_jobless += jobs.ids.iter().filter(|job| job.is_none()).count() as u64;
        Ok(())
    }
}

fn waiting_job(id: JobId, record: &RawJson) -> Result<WaitingJob, DatasetError> {
    #[derive(Default, Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        job_type_name: Option<&'a RawValue>,
        #[serde(borrow)]
        platform: Option<&'a RawValue>,
        #[serde(borrow)]
        machine_name: Option<&'a RawValue>,
    }
    let times = times_of(record, id)?;
    let view: View<'_> = record.view().unwrap_or_default();
    Ok(WaitingJob {
        id,
        name: text_of(view.job_type_name).unwrap_or_default(),
        platform: text_of(view.platform).unwrap_or_default(),
        machine: text_of(view.machine_name).unwrap_or_default(),
        wait_secs: wait_corrected(times).ok(),
        minutes: duration_corrected(times).ok(),
    })
}
