//! What a crawl holds, for people: the numbers behind the artifacts, made by the same code, without writing any.
//!
//! In: the store and the configured commits. Out: an [`Overview`], plain data. Some numbers are kept for each commit,
//! each signature group and each job of the busiest revision; nothing is kept per datum. Nothing is stored or written
//! but what sorting spills.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::actor::Shutdown;
use crate::config::{Config, Semantics};
use crate::model::{JobId, RawJson, Timestamp};
use crate::observe::Reducing;
use crate::store::{CrawlIdentity, Store};

use crate::dataset::commits::Commits;
use crate::dataset::counts::Counts;
use crate::dataset::families::alerts::table::for_each_summary;
use crate::dataset::families::alerts::{AlertHistory, AlertSummaryView};
use crate::dataset::families::busiest::{self, RevisionJobs, Waits};
use crate::dataset::families::coverage::{Busiest, CoverageInputs, rows};
use crate::dataset::families::durations::job_times::{duration_corrected, wait_corrected};
use crate::dataset::families::durations::{Durations, JobTable, times_of};
use crate::dataset::families::groups::{GroupBuilder, SignatureGroups};
use crate::dataset::lookups::{CommitTable, FirstCovered};
use crate::dataset::pass::signatures::Signatures;
use crate::dataset::pass::{CoverageRule, Means, Want, finish_groups, scan};
use crate::dataset::{ReduceError, read_commits};

/// A commit of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoveredRevision {
    /// The commit.
    pub node: String,
    /// When it was made.
    pub date: Timestamp,
    /// Its row's `total_jobs`.
    pub total_jobs: u64,
}

/// A job of the busiest revision.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingJob {
    /// The job.
    pub id: JobId,
    /// What it ran, as the server has it; empty where it does not say.
    pub name: String,
    /// Where it ran, likewise.
    pub platform: String,
    /// Which machine it ran on, likewise.
    pub machine: String,
    /// From submission to start, seconds; `None` where a time is missing or they are reversed.
    pub wait_secs: Option<f64>,
    /// From start to end, minutes; likewise.
    pub minutes: Option<f64>,
}

/// What a crawl holds.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The definitions that this follows.
    pub semantics: Semantics,
    /// The commits of the window, in the order of `perf_jobs_per_revision.csv`; `None` when no commits are configured.
    pub revisions: Option<Vec<CoveredRevision>>,
    /// Their `total_jobs`.
    pub total_jobs: Counts,
    /// The signature groups.
    pub groups: SignatureGroups,
    /// How long the groups' jobs take, minutes, as in `sig_group_job_durations.csv`.
    pub minutes_by_group: BTreeMap<u32, f64>,
    /// The busiest revision; `None` without commits, or when no revision has a job.
    pub busiest: Option<RevisionJobs>,
    /// How long its jobs waited, seconds.
    pub waits_secs: Vec<i64>,
    /// `job_wait_time_stats.json`, where it can be made.
    pub wait_document: Option<Vec<u8>>,
    /// Those of its jobs whose details are there: the longest wait first, then by id.
    pub waiting_jobs: Vec<WaitingJob>,
    /// The alert summaries.
    pub alerts: AlertHistory,
    /// Signatures all of whose data are there.
    pub num_signatures: u64,
    /// Data of these.
    pub num_data: u64,
    /// Of those, data whose job the server has deleted.
    pub num_jobless: u64,
}

/// Looks through the crawl in `store`. `spill_dir`: where sorting may put what does not fit into memory.
///
/// # Errors
/// [`ReduceError`] when the store or the commits cannot be read, or the run was ended.
pub fn survey(
    store: &Store,
    identity: &CrawlIdentity,
    config: &Config,
    spill_dir: &Path,
    shutdown: &Shutdown,
) -> Result<Overview, ReduceError> {
    let commits = read_commits(config, identity)?;
    let reducing = Reducing::default();
    let means = Means::of(config, spill_dir, &reducing);
    let surveyor = Surveyor { store, semantics: config.artifacts.semantics, means, shutdown };
    let alerts = surveyor.alerts(identity)?;
    let mut overview = surveyor.pass_over(commits.as_ref())?;
    overview.alerts = alerts;
    Ok(overview)
}

struct Surveyor<'a> {
    store: &'a Store,
    semantics: Semantics,
    means: Means<'a>,
    shutdown: &'a Shutdown,
}

impl Surveyor<'_> {
    fn check_interrupted(&self) -> Result<(), ReduceError> {
        if self.shutdown.is_draining() { Err(ReduceError::Interrupted) } else { Ok(()) }
    }

    fn alerts(&self, identity: &CrawlIdentity) -> Result<AlertHistory, ReduceError> {
        let mut history = AlertHistory::default();
        for_each_summary::<ReduceError>(self.store, identity, &self.store.alert_listing()?, |_, record| {
            self.check_interrupted()?;
            if let Ok(summary) = AlertSummaryView::read(record) {
                history.push(&summary);
            }
            Ok(())
        })?;
        Ok(history)
    }

    fn pass_over(&self, commits: Option<&Commits>) -> Result<Overview, ReduceError> {
        let table = commits.map(CommitTable::new);
        let rule = |table: &CommitTable| CoverageRule { semantics: self.semantics, ranks: table.ranks() };
        let want =
            Want { coverage: table.as_ref().map(rule), groups: true, samples: Some(self.semantics), ..Want::default() };
        let parts = Signatures::complete(self.store)?;
        let mut first_covered = FirstCovered::default();
        let mut builder = GroupBuilder::default();
        let mut samples = Vec::new();
        let (mut num_data, mut num_jobless) = (0, 0);
        let sorted = scan(self.store, &parts, &want, self.means, |block| {
            self.check_interrupted()?;
            first_covered.extend(&block.first_covered);
            builder.extend(block.fingerprints.drain(..));
            samples.append(&mut block.samples);
            num_data += block.num_data;
            num_jobless += block.num_jobless;
            Ok(())
        })?;
        let groups = finish_groups(builder, self.store, &parts)?;
        let durations = Durations::measure(self.semantics, &mut JobTable::new(self.store), &samples, &groups, 0)?;
        self.check_interrupted()?;

        let mut revisions = Vec::new();
        if let Some(commits) = &table {
            let pairs = sorted.coverage;
            let first_covered = &first_covered;
            let inputs =
                CoverageInputs { commits, first_covered, pairs, num_fractions: 0, groups: None, signatures: None };
            rows(inputs, |row| {
                let commit = &commits.commits[row.rank as usize];
                let total_jobs = row.signatures.len() as u64;
                revisions.push(CoveredRevision { node: commit.node.clone(), date: commit.date, total_jobs });
                Ok(())
            })?;
        }
        let count = |revision: &CoveredRevision| i64::try_from(revision.total_jobs).unwrap_or(i64::MAX);
        let busiest = match commits {
            Some(commits) => self.busiest(commits, &parts, &revisions)?,
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
        Ok(Overview {
            semantics: self.semantics,
            total_jobs: revisions.iter().map(count).collect(),
            revisions: table.is_some().then_some(revisions),
            minutes_by_group: durations.minutes_by_group(),
            groups,
            wait_document: busiest.as_ref().and_then(|busiest| waits.document(busiest)),
            waits_secs: waits.secs,
            busiest,
            waiting_jobs,
            alerts: AlertHistory::default(),
            num_signatures: parts.len() as u64,
            num_data,
            num_jobless,
        })
    }

    /// The first row with the most jobs, with these: from the store's note, or by one more pass.
    fn busiest(
        &self,
        commits: &Commits,
        parts: &Signatures,
        revisions: &[CoveredRevision],
    ) -> Result<Option<RevisionJobs>, ReduceError> {
        if let Some(noted) = busiest::noted(self.store, commits)? {
            return Ok(noted.of(self.semantics).cloned());
        }
        let most = revisions.iter().enumerate().max_by_key(|(place, revision)| (revision.total_jobs, Reverse(*place)));
        let Some((_, most)) = most.filter(|(_, revision)| revision.total_jobs > 0) else { return Ok(None) };
        let busiest = Busiest { node: most.node.clone(), total_jobs: most.total_jobs };
        let mut found = busiest::jobs_of(self.store, parts, vec![Some(busiest)], self.means)?;
        Ok(found.pop().flatten())
    }
}

fn waiting_job(id: JobId, record: &RawJson) -> Result<WaitingJob, ReduceError> {
    #[derive(Default, Deserialize)]
    struct View {
        #[serde(default)]
        job_type_name: Option<String>,
        #[serde(default)]
        platform: Option<String>,
        #[serde(default)]
        machine_name: Option<String>,
    }
    let times = times_of(record, id)?;
    // A name of another type than documented counts as absent.
    let view: View = record.view().unwrap_or_default();
    Ok(WaitingJob {
        id,
        name: view.job_type_name.unwrap_or_default(),
        platform: view.platform.unwrap_or_default(),
        machine: view.machine_name.unwrap_or_default(),
        wait_secs: wait_corrected(times).ok(),
        minutes: duration_corrected(times).ok(),
    })
}
