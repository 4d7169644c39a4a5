//! `run.json`: what a running crawl says of itself, beside its store, for `status` and `plan` in other processes.
//!
//! Rewritten once a second (a temporary file, then a rename), and marked at the end. A file that says "running" and was
//! not rewritten for some seconds is that of a process which was killed. It is talk, not data: nothing depends on it.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::progress::Pace;
use super::{Counters, KindProgress, Limit, ReducingNow};
use crate::config::JOB_LIFE_DAYS;
use crate::model::{Kind, Timestamp};

/// Looks at what limits the crawl.
const LOOK: Duration = Duration::from_millis(100);
/// Looks between two writings, and looks that tell what limits it now.
const LOOKS_PER_WRITING: usize = 10;
const LOOKS_REMEMBERED: usize = 100;
/// Writings between two measurements of the disk.
const WRITINGS_PER_MEASURE: u64 = 10;
/// A running crawl's file is never older than this, in seconds.
const STALE: i64 = 10;
/// When it is older than this, its process is looked for, which in a container of its own cannot be seen from here.
const LATE: i64 = 2;

/// Whether a crawl runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPhase {
    /// Its process fetches.
    Running,
    /// Its process works through the data: for the busiest revision, or for the artifacts.
    Reducing,
    /// It has come to its end.
    Finished,
    /// It was ended before.
    Interrupted,
    /// Its process is gone without a word.
    Killed,
}

/// Jobs not yet fetched that the server will have deleted soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueJobs {
    /// Within a day, or already.
    pub within_1_day: u64,
    /// Within a week.
    pub within_7_days: u64,
    /// Within 30 days.
    pub within_30_days: u64,
}

impl DueJobs {
    /// Counts `by_day`, jobs by the day (since the epoch) on which they were submitted, as seen at `now`.
    #[must_use]
    pub fn count(by_day: &BTreeMap<i64, u64>, now: Timestamp) -> Self {
        let today = now.as_secs().div_euclid(86_400);
        let within =
            |days: i64| by_day.iter().filter(|(day, _)| **day + JOB_LIFE_DAYS <= today + days).map(|(_, n)| n).sum();
        Self { within_1_day: within(1), within_7_days: within(7), within_30_days: within(30) }
    }
}

/// What `run.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Whether it runs.
    pub phase: RunPhase,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When this was written.
    pub updated_at: Timestamp,
    /// HTTP requests of this run.
    pub requests: u64,
    /// Of those, after a first attempt.
    pub retries: u64,
    /// The rate allowed now, requests per second.
    pub allowed_per_second: f64,
    /// The rate reached over the last ten seconds.
    pub reached_per_second: f64,
    /// The rate reached over the last five minutes.
    pub reached_lately_per_second: f64,
    /// Mean time of an answer, milliseconds.
    pub mean_latency_ms: f64,
    /// Requests known and not settled.
    pub requests_left: u64,
    /// How long these take at the rate reached.
    pub eta_secs: Option<u64>,
    /// What has limited the last ten seconds.
    pub limit: Limit,
    /// What would help.
    pub hint: Option<String>,
    /// Settled, of all kinds and runs.
    pub settled: u64,
    /// Given up for now.
    pub failed: u64,
    /// Where the reducers are, while they work.
    #[serde(default)]
    pub reducing: Option<ReducingNow>,
    /// Failed attempts of this run by label.
    pub errors: BTreeMap<String, u64>,
    /// The newest error.
    pub last_error: Option<String>,
    /// Bytes of the store's folder.
    pub disk_bytes: u64,
    /// Pending jobs by the day (since the epoch) on which they were submitted.
    pub pending_jobs_by_day: BTreeMap<i64, u64>,
}

impl RunPhase {
    /// True while its process is at work.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Reducing)
    }
}

impl RunState {
    /// Where it is, of the store at `store`.
    #[must_use]
    pub fn path_in(store: &Path) -> PathBuf {
        store.join("run.json")
    }

    /// What the last crawl of the store at `store` says; `None` when there was none or its file cannot be read.
    #[must_use]
    pub fn read(store: &Path) -> Option<Self> {
        let mut state: Self = serde_json::from_slice(&std::fs::read(Self::path_in(store)).ok()?).ok()?;
        let age = Timestamp::now().as_secs() - state.updated_at.as_secs();
        if state.phase.is_alive() && (age > STALE || age > LATE && !may_exist(state.pid)) {
            state.phase = RunPhase::Killed;
        }
        Some(state)
    }

    fn write(&self, store: &Path) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".run").tempfile_in(store)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.persist(Self::path_in(store)).map(drop).map_err(|error| error.error)
    }
}

/// Writes the file while a crawl runs.
#[derive(Debug)]
pub struct RunFile {
    task: JoinHandle<()>,
    teller: Arc<Mutex<Teller>>,
}

impl RunFile {
    /// Begins to write what `counters` hold into the folder of the store at `store`.
    #[must_use]
    pub fn start(counters: Arc<Counters>, store: &Path) -> Self {
        let teller = Arc::new(Mutex::new(Teller {
            counters,
            store: store.to_owned(),
            started_at: Timestamp::now(),
            pace: Pace::over(Duration::from_secs(10)),
            late_pace: Pace::over(Duration::from_mins(5)),
            looks: VecDeque::new(),
            disk_bytes: 0,
            writings: 0,
            ended: false,
        }));
        Self { task: tokio::spawn(write_on(Arc::clone(&teller))), teller }
    }

    /// Says that the crawl has come to its end, or was ended before.
    pub fn finish(self, interrupted: bool) {
        let phase = if interrupted { RunPhase::Interrupted } else { RunPhase::Finished };
        self.teller.lock().unwrap_or_else(PoisonError::into_inner).tell(phase);
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write_on(teller: Arc<Mutex<Teller>>) {
    loop {
        let telling = Arc::clone(&teller);
        let told = tokio::task::spawn_blocking(move || {
            telling.lock().unwrap_or_else(PoisonError::into_inner).tell(RunPhase::Running);
        });
        if told.await.is_err() {
            return;
        }
        for _ in 0..LOOKS_PER_WRITING {
            tokio::time::sleep(LOOK).await;
            teller.lock().unwrap_or_else(PoisonError::into_inner).look();
        }
    }
}

#[derive(Debug)]
struct Teller {
    counters: Arc<Counters>,
    store: PathBuf,
    started_at: Timestamp,
    pace: Pace,
    late_pace: Pace,
    looks: VecDeque<Limit>,
    disk_bytes: u64,
    writings: u64,
    /// Nothing is written after the last word.
    ended: bool,
}

impl Teller {
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

    fn tell(&mut self, phase: RunPhase) {
        if self.ended {
            return;
        }
        self.ended = phase != RunPhase::Running;
        if self.writings.is_multiple_of(WRITINGS_PER_MEASURE) || phase != RunPhase::Running {
            self.disk_bytes = bytes_in(&self.store);
        }
        self.writings += 1;
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
        let kinds: [KindProgress; 4] = Kind::ALL.map(|kind| counters.of(kind));
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
            disk_bytes: self.disk_bytes,
            pending_jobs_by_day: counters.pending_jobs(),
        }
    }
}

/// False when there is surely no such process.
fn may_exist(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(pid.to_string()).exists()
}

/// Bytes of all files under `folder`; what cannot be read counts nothing.
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
    async fn a_run_whose_reducers_work_says_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        counters.reducing().pass("reading", 9);
        counters.reducing().add(4);
        let run_file = RunFile::start(Arc::clone(&counters), folder.path());
        run_file.teller.lock().unwrap().tell(RunPhase::Running);
        let state = RunState::read(folder.path()).unwrap();
        let now = state.reducing.unwrap();
        assert_eq!((state.phase, now.stage.as_str(), now.done, now.total), (RunPhase::Reducing, "reading", 4, 9));
        counters.reducing().leave();
        run_file.finish(false);
        let state = RunState::read(folder.path()).unwrap();
        assert_eq!((state.phase, state.reducing), (RunPhase::Finished, None));
    }

    #[test]
    fn a_file_that_is_no_longer_rewritten_is_that_of_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        let teller = || Teller {
            counters: Arc::new(Counters::default()),
            store: folder.path().to_owned(),
            started_at: Timestamp::now(),
            pace: Pace::over(Duration::from_secs(1)),
            late_pace: Pace::over(Duration::from_secs(1)),
            looks: VecDeque::new(),
            disk_bytes: 0,
            writings: 0,
            ended: false,
        };
        let mut state = teller().state(RunPhase::Running);
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
