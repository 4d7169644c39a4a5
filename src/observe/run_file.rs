//! `run.json`: the state of a running crawl, in its store's folder, for `status` and `plan` in other processes.
//!
//! It is rewritten once a second (a temporary file, then a rename), and marked at the end. If the phase is `running`
//! and the file is some seconds old, the process was killed. The file is only for display: no data depend on it.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::progress::Pace;
use super::{Counters, Limit, ReducingNow};
use crate::actor::{BlockingError, blocking, temporary_file};
use crate::config::JOB_LIFE_DAYS;
use crate::model::{Kind, Timestamp};

/// Interval between looks at the limit of the crawl.
const LOOK: Duration = Duration::from_millis(100);
/// Looks between two writes, and the number of looks that decide the current limit.
const LOOKS_PER_WRITE: usize = 10;
const LOOKS_REMEMBERED: usize = 100;
/// The file of a running crawl is never older than this, seconds.
const STALE: i64 = 10;
/// If the file is older than this, seconds, its process is looked up, which may fail for a process in a container.
const LATE: i64 = 2;

/// The phase of a crawl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// The process fetches.
    Running,
    /// The process reads the data, for the busiest revision or for the artifacts.
    Reducing,
    /// The crawl came to its end.
    Finished,
    /// The crawl was stopped before its end.
    Interrupted,
    /// The process was killed.
    Killed,
}

/// Pending jobs that the server will delete soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueJobs {
    /// Within a day, or deleted already.
    pub within_1_day: u64,
    /// Within a week.
    pub within_7_days: u64,
    /// Within 30 days.
    pub within_30_days: u64,
}

impl DueJobs {
    /// Counts jobs by their time left at `now`; `by_day` has their numbers by the day (since the epoch) of their
    /// submission.
    #[must_use]
    pub fn count(by_day: &BTreeMap<i64, u64>, now: Timestamp) -> Self {
        let today = now.as_secs().div_euclid(86_400);
        let within =
            |days: i64| by_day.iter().filter(|(day, _)| **day + JOB_LIFE_DAYS <= today + days).map(|(_, n)| n).sum();
        Self { within_1_day: within(1), within_7_days: within(7), within_30_days: within(30) }
    }
}

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Never [`RunPhase::Killed`] in the file itself.
    pub phase: RunPhase,
    /// Process id.
    pub pid: u32,
    /// Start of the run.
    pub started_at: Timestamp,
    /// Time of this write.
    pub updated_at: Timestamp,
    /// HTTP requests of this run.
    pub requests: u64,
    /// HTTP requests of this run after a first attempt.
    pub retries: u64,
    /// Current rate of the bucket, requests per second.
    pub allowed_per_second: f64,
    /// Rate over the last ten seconds, requests per second.
    pub reached_per_second: f64,
    /// Rate over the last five minutes, requests per second.
    pub reached_lately_per_second: f64,
    /// Mean latency of answers, milliseconds.
    pub mean_latency_ms: f64,
    /// HTTP requests left.
    pub requests_left: u64,
    /// Seconds for these at the rate of the last five minutes.
    pub eta_secs: Option<u64>,
    /// Limit during the last ten seconds.
    pub limit: Limit,
    /// Advice about the limit.
    pub hint: Option<String>,
    /// Requests settled, of all kinds and runs.
    pub settled: u64,
    /// Requests that failed, of all kinds.
    pub failed: u64,
    /// Progress of the reducers while they run.
    pub reducing: Option<ReducingNow>,
    /// Failed attempts of this run by label.
    pub errors: BTreeMap<String, u64>,
    /// The newest error.
    pub last_error: Option<String>,
    /// Size of the store's folder, bytes.
    pub disk_bytes: u64,
    /// Pending jobs by the day (since the epoch) of their submission.
    pub pending_jobs_by_day: BTreeMap<i64, u64>,
}

impl RunPhase {
    const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Reducing)
    }
}

impl RunState {
    /// The path of the file for the store at `store`.
    #[must_use]
    pub fn path_in(store: &Path) -> PathBuf {
        store.join("run.json")
    }

    /// The state of the last crawl of the store at `store`; `None` without a readable file.
    #[must_use]
    pub fn read(store: &Path) -> Option<Self> {
        let mut state: Self = serde_json::from_slice(&std::fs::read(Self::path_in(store)).ok()?).ok()?;
        let age = Timestamp::now().as_secs() - state.updated_at.as_secs();
        if state.phase.is_alive() && (age > STALE || age > LATE && !may_exist(state.pid)) {
            state.phase = RunPhase::Killed;
        }
        state.disk_bytes = bytes_in(store); // a compaction may have followed
        Some(state)
    }

    fn write(&self, store: &Path) -> std::io::Result<()> {
        let mut file = temporary_file(".run", "").tempfile_in(store)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.persist(Self::path_in(store)).map(drop).map_err(|error| error.error)
    }
}

/// Writes `run.json` while a crawl runs.
#[derive(Debug)]
pub struct RunFile {
    task: JoinHandle<()>,
    reporter: Arc<Mutex<Reporter>>,
}

impl RunFile {
    /// Starts writing `counters` into the folder of the store at `store`.
    #[must_use]
    pub fn start(counters: Arc<Counters>, store: &Path) -> Self {
        let reporter = Arc::new(Mutex::new(Reporter {
            counters,
            store: store.to_owned(),
            started_at: Timestamp::now(),
            pace: Pace::over(Duration::from_secs(10)),
            late_pace: Pace::over(Duration::from_mins(5)),
            looks: VecDeque::new(),
            ended: false,
        }));
        Self { task: tokio::spawn(write_on(Arc::clone(&reporter))), reporter }
    }

    /// Writes the last state: finished or interrupted.
    pub fn finish(self, interrupted: bool) {
        let phase = if interrupted { RunPhase::Interrupted } else { RunPhase::Finished };
        self.reporter.lock().unwrap_or_else(PoisonError::into_inner).report(phase);
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write_on(reporter: Arc<Mutex<Reporter>>) {
    loop {
        let writing = Arc::clone(&reporter);
        let written = blocking(move || {
            writing.lock().unwrap_or_else(PoisonError::into_inner).report(RunPhase::Running);
        });
        // Without a thread, the next one reports.
        if matches!(written.await, Err(BlockingError::Panicked)) {
            return;
        }
        for _ in 0..LOOKS_PER_WRITE {
            tokio::time::sleep(LOOK).await;
            reporter.lock().unwrap_or_else(PoisonError::into_inner).look();
        }
    }
}

#[derive(Debug)]
struct Reporter {
    counters: Arc<Counters>,
    store: PathBuf,
    started_at: Timestamp,
    pace: Pace,
    late_pace: Pace,
    looks: VecDeque<Limit>,
    /// True after the last write.
    ended: bool,
}

impl Reporter {
    fn look(&mut self) {
        self.looks.push_back(self.counters.look_at_limit());
        if self.looks.len() > LOOKS_REMEMBERED {
            self.looks.pop_front();
        }
    }

    fn limit(&self) -> Limit {
        let seen = |limit| self.looks.iter().filter(|look| **look == limit).count();
        match (seen(Limit::Rate), seen(Limit::Concurrency)) {
            (rate, concurrency) if concurrency > rate.max(seen(Limit::None)) => Limit::Concurrency,
            (0, _) => Limit::None,
            _ => Limit::Rate,
        }
    }

    fn report(&mut self, phase: RunPhase) {
        if self.ended {
            return;
        }
        self.ended = phase != RunPhase::Running;
        let phase = if phase == RunPhase::Running && self.counters.reducing().now().is_some() {
            RunPhase::Reducing
        } else {
            phase
        };
        let state = self.state(phase);
        if let Err(error) = state.write(&self.store) {
            tracing::debug!(%error, "cannot write run.json");
        }
    }

    fn state(&mut self, phase: RunPhase) -> RunState {
        let counters = &self.counters;
        let requests = counters.attempts();
        let (reached, lately) = (self.pace.update(requests), self.late_pace.update(requests));
        let kinds = Kind::ALL.map(|kind| counters.of(kind));
        let requests_left = counters.requests_left();
        let (limit, latency) = (self.limit(), counters.mean_latency());
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate"
        )]
        let eta_secs = (lately > 0.0).then(|| (requests_left as f64 / lately) as u64);
        RunState {
            phase,
            pid: std::process::id(),
            started_at: self.started_at,
            updated_at: Timestamp::now(),
            requests,
            retries: kinds.iter().map(|kind| kind.retries).sum(),
            allowed_per_second: counters.rate(),
            reached_per_second: reached,
            reached_lately_per_second: lately,
            mean_latency_ms: latency.as_secs_f64() * 1000.0,
            requests_left,
            eta_secs,
            limit,
            hint: if limit == Limit::Concurrency { counters.concurrency_hint() } else { None },
            settled: kinds.iter().map(|kind| kind.settled).sum(),
            failed: kinds.iter().map(|kind| kind.failed).sum(),
            reducing: counters.reducing().now(),
            errors: counters.errors_by_label(),
            last_error: counters.last_error(),
            disk_bytes: bytes_in(&self.store),
            pending_jobs_by_day: counters.pending_jobs(),
        }
    }
}

/// False when there is certainly no such process.
fn may_exist(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(pid.to_string()).exists()
}

/// Size of all files under `folder`, bytes; unreadable ones count 0.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_due_120_days_after_they_were_submitted() {
        let now = Timestamp::from_secs(1_795_305_600);
        let today = now.as_secs() / 86_400;
        let by_day = [(119, 1), (120, 2), (114, 4), (91, 8), (10, 16), (400, 32)];
        let by_day = by_day.map(|(age, num)| (today - age, num)).into_iter().collect();
        let due = DueJobs::count(&by_day, now);
        assert_eq!(due, DueJobs { within_1_day: 35, within_7_days: 39, within_30_days: 47 });
    }

    #[tokio::test]
    async fn a_run_file_is_marked_at_the_end_of_its_crawl() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(RunState::read(folder.path()), None);
        let counters = Arc::new(Counters::default());
        counters.set_pending_jobs([(20_000, 3)].into());
        for (interrupted, phase) in [(false, RunPhase::Finished), (true, RunPhase::Interrupted)] {
            RunFile::start(Arc::clone(&counters), folder.path()).finish(interrupted);
            let state = RunState::read(folder.path()).unwrap();
            assert_eq!((state.phase, state.pending_jobs_by_day[&20_000]), (phase, 3));
        }
    }

    #[tokio::test]
    async fn a_run_shows_the_progress_of_its_reducers() {
        let folder = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        counters.reducing().pass("reading", 9);
        counters.reducing().add(4);
        let run_file = RunFile::start(Arc::clone(&counters), folder.path());
        run_file.reporter.lock().unwrap().report(RunPhase::Running);
        let state = RunState::read(folder.path()).unwrap();
        let now = state.reducing.unwrap();
        assert_eq!((state.phase, now.stage.as_str(), now.done, now.total), (RunPhase::Reducing, "reading", 4, 9));
        counters.reducing().leave();
        run_file.finish(false);
        let state = RunState::read(folder.path()).unwrap();
        assert_eq!((state.phase, state.reducing), (RunPhase::Finished, None));
    }

    #[tokio::test]
    async fn the_size_of_a_store_is_that_of_now() {
        let folder = tempfile::tempdir().unwrap();
        RunFile::start(Arc::new(Counters::default()), folder.path()).finish(false);
        let size = || RunState::read(folder.path()).unwrap().disk_bytes;
        let before = size();
        std::fs::File::create_new(folder.path().join("values")).unwrap().set_len(5000).unwrap();
        assert_eq!(size(), before + 5000);
    }

    #[test]
    fn a_file_that_is_not_rewritten_any_more_belongs_to_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = || Reporter {
            counters: Arc::new(Counters::default()),
            store: folder.path().to_owned(),
            started_at: Timestamp::now(),
            pace: Pace::over(Duration::from_secs(1)),
            late_pace: Pace::over(Duration::from_secs(1)),
            looks: VecDeque::new(),
            ended: false,
        };
        let mut state = reporter().state(RunPhase::Running);
        state.write(folder.path()).unwrap();
        assert_eq!(RunState::read(folder.path()).unwrap().phase, RunPhase::Running);
        state.updated_at = Timestamp::now().plus_secs(-5);
        state.write(folder.path()).unwrap();
        assert_eq!(RunState::read(folder.path()).unwrap().phase, RunPhase::Running, "this process is there");
        if cfg!(target_os = "linux") {
            let gone = RunState { pid: u32::MAX, ..state.clone() };
            gone.write(folder.path()).unwrap();
            assert_eq!(RunState::read(folder.path()).unwrap().phase, RunPhase::Killed);
        }
        state.updated_at = Timestamp::now().plus_secs(-60);
        state.write(folder.path()).unwrap();
        assert_eq!(RunState::read(folder.path()).unwrap().phase, RunPhase::Killed);
    }
}
