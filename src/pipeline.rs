//! THE wiring: every channel and every actor is made here, tail first, and ended here.
//!
//! ```text
//!                  batches (by kind)            changes                 events
//!   Scheduler ======================> Fetchers ========> StoreWriter ============> Scheduler
//!       |                                 |  tokens                                   (the return edge: its capacity
//!       | reads the frontier              +--------> TokenBucket                       covers everything in flight)
//!       v                                 |  HTTP
//!     Store                               +--------> Treeherder
//!       |
//!       +==> reduce (workers) ==> artifact files, manifest.json last
//! ```
//!
//! A run: crawl what is pending; when all data are there, find the busiest revision and crawl its jobs; reduce. A run is
//! ended by cancelling at the head: scheduler and fetchers stop, their handles drop, the writer stores what it was given
//! and ends.

mod healing;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::healing::Healing;
use crate::Error;
use crate::actor::Shutdown;
use crate::commits::{CommitWindow, CommitsOrder, ensure_commits};
use crate::config::Config;
use crate::dataset::commits::Commits;
use crate::dataset::{Artifact, ReduceError, ReduceOrder, ReduceSummary, busiest_revisions, read_commits, reduce};
use crate::fetch::{
    FetchError, Fetcher, FetcherLinks, Limits, MAX_QUEUED, Pressure, Scheduler, SchedulerStats, first_requests,
    lost_parts, tell_settled,
};
use crate::model::{Batch, Kind, Timestamp};
use crate::observe::{Counters, Metrics, Progress, RunFile};
use crate::source::Treeherder;
use crate::store::{Change, Counts, CrawlIdentity, Pending, Settlement, Store, StoreError, StoreWriter, job_pending};

/// Events that may wait for the scheduler: more than can be in flight, so that the writer never waits for it.
const EVENTS: usize = 16_384;

/// New job details of a dry run at the most.
const DRY_RUN_JOB_DETAILS: usize = 10;

/// What a run was asked beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// The stored crawl's server has another address now.
    pub same_source: bool,
    /// Fetch at most ten new job details.
    pub dry_run: bool,
    /// Fetch only the lists which tell what there is to fetch, and make nothing of them.
    pub lists_only: bool,
}

/// What a crawl came to.
#[derive(Clone, Debug)]
pub struct CrawlSummary {
    /// The crawl.
    pub identity: CrawlIdentity,
    /// The store's tally at the end.
    pub counts: Counts,
    /// HTTP requests that this run made, retries included.
    pub requests_made: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Requests whose stored answers were damaged, and which the server no longer has.
    pub lost: Vec<String>,
    /// True when work was left because the run was ended.
    pub interrupted: bool,
    /// True when the list of alert summaries moved in every reading, so that rows may be missing.
    pub alerts_moved: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// The crawl.
    pub crawl: CrawlSummary,
    /// The reduction; `None` when the run was interrupted before it.
    pub reduction: Option<ReduceSummary>,
}

/// The configuration as it is now; `[limiter]`, `[concurrency]` and `[retry]` may change while a crawl runs.
pub type LiveConfig = watch::Receiver<Arc<Config>>;

/// A channel whose configuration never changes.
#[must_use]
pub fn fixed_config(config: Config) -> (watch::Sender<Arc<Config>>, LiveConfig) {
    watch::channel(Arc::new(config))
}

/// Opens the store of `config` for its crawl: pins the crawl in a new store, compares it with that of an old one.
///
/// # Errors
/// [`StoreError::OtherCrawl`] when the store holds another crawl, and what opening may raise.
pub fn open_crawl(config: &Config, options: RunOptions) -> Result<(Arc<Store>, CrawlIdentity), StoreError> {
    let store = Store::open(&config.store)?;
    let identity = match store.identity()? {
        None => {
            let identity = CrawlIdentity::create(config, Timestamp::now());
            store.pin_identity(&identity)?;
            identity
        }
        Some(mut identity) => {
            let differences = identity.differences(config, options.same_source);
            if !differences.is_empty() {
                return Err(StoreError::OtherCrawl { path: store.path().to_owned(), differences });
            }
            let base_url = config.source.base_url.trim_end_matches('/');
            if identity.base_url != base_url {
                base_url.clone_into(&mut identity.base_url);
                store.pin_identity(&identity)?;
            }
            identity
        }
    };
    Ok((Arc::new(store), identity))
}

/// Crawls what is missing, then makes the artifacts: the main job. Running it again resumes.
///
/// # Errors
/// [`Error`]; what was fetched until then is kept, and the artifacts of before stand untouched.
///
/// # Cancel safety
/// A dropped future stops waiting, not the store's writer; end a run through `shutdown`.
pub async fn run(
    config: LiveConfig,
    options: RunOptions,
    artifacts: &[Artifact],
    shutdown: &Shutdown,
    counters: Arc<Counters>,
) -> Result<RunSummary, Error> {
    let now = Arc::clone(&config.borrow());
    crate::dataset::write::check_folder(&now.artifacts.out)?;
    let (store, identity) = open_crawl(&now, options)?;
    let pressure = Pressure::start(&now);
    bring_commits(&now, &identity, &pressure, shutdown).await?;
    let commits = read_commits(&now, &identity)?.map(Arc::new);
    crate::dataset::write::remove_leftovers(&now.artifacts.out);
    let mut healing = Healing::begin(&store).await?;
    let job = CrawlJob { store: &store, identity: &identity, commits: commits.as_ref(), options, pressure: &pressure };
    let shown = Shown::start(&store, &now, &counters);
    loop {
        let done = async {
            let crawl = job.crawl(config.clone(), shutdown, &counters).await?;
            if crawl.interrupted {
                return Ok(RunSummary { crawl, reduction: None });
            }
            match make_artifacts(&store, &now, commits.as_ref(), artifacts, shutdown, &counters).await {
                Ok(reduction) => Ok(RunSummary { crawl, reduction: Some(reduction) }),
                Err(Error::Reduce(ReduceError::Interrupted)) => {
                    Ok(RunSummary { crawl: CrawlSummary { interrupted: true, ..crawl }, reduction: None })
                }
                Err(error) => Err(error),
            }
        };
        match done.await {
            Err(error) if healing.helps(&error) => healing.heal(&store).await?,
            done => {
                // One that failed has something left to do, like one that was ended.
                shown.finish(done.as_ref().map_or(true, |summary| summary.crawl.interrupted));
                let mut summary = done?;
                summary.crawl.lost = healing.lost(&store)?;
                return Ok(summary);
            }
        }
    }
}

/// Crawls what is missing in the store of `config`.
///
/// # Errors
/// [`Error`]; what was fetched until then is kept.
///
/// # Cancel safety
/// As [`run`].
pub async fn crawl(
    config: LiveConfig,
    options: RunOptions,
    shutdown: &Shutdown,
    counters: Arc<Counters>,
) -> Result<CrawlSummary, Error> {
    let now = Arc::clone(&config.borrow());
    let (store, identity) = open_crawl(&now, options)?;
    let pressure = Pressure::start(&now);
    if !options.lists_only {
        bring_commits(&now, &identity, &pressure, shutdown).await?;
    }
    let commits = read_commits(&now, &identity)?.map(Arc::new);
    let mut healing = Healing::begin(&store).await?;
    let job = CrawlJob { store: &store, identity: &identity, commits: commits.as_ref(), options, pressure: &pressure };
    // What the last crawl said of itself stands while only lists are asked for.
    let shown = (!options.lists_only).then(|| Shown::start(&store, &now, &counters));
    loop {
        match job.crawl(config.clone(), shutdown, &counters).await {
            Err(error) if healing.helps(&error) => healing.heal(&store).await?,
            done => {
                if let Some(shown) = shown {
                    shown.finish(done.as_ref().map_or(true, |summary| summary.interrupted));
                }
                let mut summary = done?;
                summary.lost = healing.lost(&store)?;
                return Ok(summary);
            }
        }
    }
}

/// Makes the artifacts of a store from what it holds, without the network.
///
/// # Errors
/// [`Error::Reduce`].
///
/// # Cancel safety
/// A dropped future stops waiting, not the reduction.
pub async fn reduce_store(
    store: Arc<Store>,
    config: &Arc<Config>,
    artifacts: &[Artifact],
    shutdown: &Shutdown,
) -> Result<ReduceSummary, Error> {
    let identity = store.identity()?.ok_or(ReduceError::EmptyStore)?;
    let commits = read_commits(config, &identity)?.map(Arc::new);
    let counters = Arc::new(Counters::default());
    let _progress = Progress::start(Arc::clone(&counters), config.log.progress, &[]);
    make_artifacts(&store, config, commits.as_ref(), artifacts, shutdown, &counters).await
}

/// Reduces on threads of its own; the runtime stays free for signals.
async fn make_artifacts(
    store: &Arc<Store>,
    config: &Arc<Config>,
    commits: Option<&Arc<Commits>>,
    artifacts: &[Artifact],
    shutdown: &Shutdown,
    counters: &Arc<Counters>,
) -> Result<ReduceSummary, Error> {
    let (store, config, commits) = (Arc::clone(store), Arc::clone(config), commits.cloned());
    let (artifacts, shutdown, counting) = (artifacts.to_vec(), shutdown.clone(), Arc::clone(counters));
    let reduced = tokio::task::spawn_blocking(move || {
        let order = ReduceOrder {
            config: &config,
            commits: commits.as_deref(),
            artifacts: &artifacts,
            shutdown: &shutdown,
            reducing: counting.reducing(),
        };
        reduce(&store, order)
    });
    let reduced = reduced.await;
    counters.reducing().leave();
    Ok(reduced.map_err(|_| Error::Broken { part: "the reduction" })??)
}

/// What people see of a run, from its first request to its last artifact: bars or lines, and the file that `status` reads.
struct Shown {
    run_file: RunFile,
    _progress: Option<Progress>,
}

impl Shown {
    fn start(store: &Store, config: &Config, counters: &Arc<Counters>) -> Self {
        Self {
            run_file: RunFile::start(Arc::clone(counters), store.path()),
            _progress: Progress::start(Arc::clone(counters), config.log.progress, &Kind::ALL),
        }
    }

    fn finish(self, interrupted: bool) {
        self.run_file.finish(interrupted);
    }
}

/// A crawl, and what stays the same however often it is tried.
#[derive(Clone, Copy)]
struct CrawlJob<'a> {
    store: &'a Arc<Store>,
    identity: &'a CrawlIdentity,
    commits: Option<&'a Arc<Commits>>,
    options: RunOptions,
    pressure: &'a Pressure,
}

impl CrawlJob<'_> {
    async fn crawl(
        self,
        mut config: LiveConfig,
        shutdown: &Shutdown,
        counters: &Arc<Counters>,
    ) -> Result<CrawlSummary, Error> {
        let Self { store, identity, options, pressure, .. } = self;
        let started = Instant::now();
        counters.set_rate(pressure.bucket.rate());
        prepare_frontier(store, identity, &config.borrow(), options)?;
        let metrics = Metrics::start(config.borrow().metrics.bind, Arc::clone(counters), Arc::clone(store)).await?;
        let jobs_before = fetched_jobs(store)?;
        // Also when nothing is pending: what follows from a stored answer may not have been stored before a kill. Only
        // the end of a crawl says that nothing does.
        let stats = if store.counts()?.is_complete() {
            tell_settled(counters, &store.counts()?);
            store.renew_ledger()?; // no writer will
            SchedulerStats::default()
        } else {
            let limits = limits(options, 0);
            crawl_frontier(store, identity, &mut config, limits, shutdown, counters, pressure).await?
        };
        let mut interrupted = stats.drained && (shutdown.is_draining() || !options.lists_only);
        if !interrupted && !options.lists_only && self.discover_busiest_jobs(&config, counters).await? {
            let fetched = usize::try_from(fetched_jobs(store)? - jobs_before).unwrap_or(usize::MAX);
            let limits = Limits { jobs_only: true, ..limits(options, fetched) };
            let jobs = crawl_frontier(store, identity, &mut config, limits, shutdown, counters, pressure).await?;
            interrupted = jobs.drained;
        }
        drop(metrics);
        let mut counts = store.counts()?;
        let nothing_left = counts.pending() == 0 && counts.failed() == 0 && !stats.alerts_moved;
        if nothing_left && !counts.is_complete() && !interrupted && !options.lists_only {
            counts = store.commit(Change::Finish)?;
        }
        Ok(CrawlSummary {
            lost: Vec::new(),
            identity: identity.clone(),
            counts,
            requests_made: counters.attempts(),
            elapsed: started.elapsed(),
            interrupted,
            alerts_moved: stats.alerts_moved,
        })
    }

    /// Finds the busiest revisions and brings their jobs into the frontier. True when there are new ones.
    async fn discover_busiest_jobs(self, config: &LiveConfig, counters: &Arc<Counters>) -> Result<bool, Error> {
        let Some(commits) = self.commits.cloned() else { return Ok(false) };
        let (store, counting) = (Arc::clone(self.store), Arc::clone(counters));
        let config = Arc::clone(&config.borrow());
        let found =
            tokio::task::spawn_blocking(move || busiest_revisions(&store, &config, &commits, counting.reducing()));
        let found = found.await;
        counters.reducing().leave();
        let busiest = found.map_err(|_| Error::Broken { part: "the search for the busiest revision" })??;
        let mut unknown = Vec::new();
        for id in busiest.jobs() {
            let pending = job_pending((id, Timestamp::default()));
            if self.store.settled(&pending.request)?.is_none() {
                unknown.push(pending);
            }
        }
        if unknown.is_empty() {
            return Ok(false);
        }
        let before = self.store.counts()?.pending();
        let expansion = Box::new(Settlement::discovery(unknown));
        Ok(self.store.commit(Change::Expand { settlement: expansion })?.pending() > before)
    }
}

/// Makes the file of commits, when the configuration says from what and it is not there.
async fn bring_commits(
    config: &Arc<Config>,
    identity: &CrawlIdentity,
    pressure: &Pressure,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let (Some(from), Some(file)) = (&config.inputs.commits_from, config.commits_file()) else { return Ok(()) };
    let window = CommitWindow { start: identity.window_start, end: identity.window_end };
    let order = CommitsOrder { from, output: &file, window, now: Timestamp::now() };
    if let Some(made) = ensure_commits(order, config, pressure, shutdown).await? {
        let (commits, requests, unlisted) = (made.num_commits, made.num_requests, made.num_unlisted);
        tracing::info!(file = %file.display(), %from, commits, requests, unlisted, "made the file of commits");
    }
    Ok(())
}

fn limits(options: RunOptions, fetched: usize) -> Limits {
    Limits {
        job_details: options.dry_run.then(|| DRY_RUN_JOB_DETAILS.saturating_sub(fetched)),
        lists_only: options.lists_only,
        jobs_only: false,
    }
}

fn fetched_jobs(store: &Store) -> Result<u64, StoreError> {
    Ok(store.counts()?.of(Kind::JobDetails).settled())
}

/// Brings the first requests into an empty frontier, those that failed in an earlier run back into it, and what a damaged
/// store has lost.
fn prepare_frontier(
    store: &Store,
    identity: &CrawlIdentity,
    config: &Config,
    options: RunOptions,
) -> Result<(), StoreError> {
    let counts = store.counts()?;
    if counts.pending() + counts.settled() + counts.failed() == 0 {
        let settlement = Box::new(Settlement::discovery(first_requests(&config.batch)));
        store.commit(Change::Expand { settlement })?;
    }
    if counts.failed() > 0 {
        let failures: Result<Vec<_>, StoreError> = store.failures().collect();
        let requests = failures?
            .into_iter()
            .filter(|(request, _)| !options.lists_only || matches!(request.kind(), Kind::Alerts | Kind::Signatures))
            .map(|(request, failure)| Pending { request, submitted: failure.submitted })
            .collect::<Vec<_>>();
        if !requests.is_empty() {
            tracing::info!(requests = requests.len(), "asking again what failed in an earlier run");
            store.commit(Change::AskAgain { requests })?;
        }
    }
    if !options.lists_only {
        let lost = lost_parts(store, identity)?;
        if !lost.is_empty() {
            tracing::warn!(requests = lost.len(), "parts of windows are missing in the store; asking for them");
            store.commit(Change::Expand { settlement: Box::new(Settlement::discovery(lost)) })?;
        }
    }
    Ok(())
}

/// One frontier, from the first batch to the last: makes the actors, tail first, and waits until all have ended.
async fn crawl_frontier(
    store: &Arc<Store>,
    identity: &CrawlIdentity,
    config: &mut LiveConfig,
    limits: Limits,
    shutdown: &Shutdown,
    counters: &Arc<Counters>,
    pressure: &Pressure,
) -> Result<SchedulerStats, Error> {
    let now = Arc::clone(&config.borrow());
    let identity = Arc::new(identity.clone());
    // What ends this frontier for an error does not end the run.
    let shutdown = &shutdown.part();

    // The store's writer, on a thread of its own, since it waits for the disk.
    let (events, to_scheduler) = flume::bounded(EVENTS);
    let (writer, handle) = StoreWriter::new(Arc::clone(store), &now.store, events);
    let writer = tokio::task::spawn_blocking(move || writer.run());

    // The fetchers, a pool of each kind.
    let mailbox_low = Arc::new(Notify::new());
    let links = FetcherLinks {
        source: Treeherder::new(&now.source, &now.batch, identity.data_window(), identity.alerts_since())?,
        pressure: pressure.clone(),
        store: handle.clone(),
        mailbox_low: Arc::clone(&mailbox_low),
        shutdown: shutdown.clone(),
        counters: Arc::clone(counters),
        config: config.clone(),
        identity: Arc::clone(&identity),
    };
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = Kind::ALL.iter().map(|_| flume::bounded::<Batch>(MAX_QUEUED)).unzip();
    let mut fetchers = FetcherPools { links, inboxes, places: HashSet::new(), actors: JoinSet::new() };
    fetchers.grow(&now);

    // The scheduler, at the head.
    let Ok(mailboxes) = mailboxes.try_into() else { return Err(Error::Broken { part: "the wiring" }) };
    let scheduler = Scheduler::new(
        handle.clone(),
        to_scheduler,
        mailboxes,
        mailbox_low,
        shutdown.clone(),
        config.clone(),
        identity,
        Arc::clone(counters),
        limits,
    );
    let scheduler = tokio::spawn(scheduler.run());
    drop(handle);

    let (stats, fetched) = wait_for_actors(scheduler, fetchers, config, shutdown).await;
    let written = writer.await.map_err(|_| Error::Broken { part: "the store's writer" })?;
    written?; // the first cause: others only saw that the writer had stopped
    fetched?;
    stats
}

/// The pools of fetchers, which grow and shrink as the configuration says. A fetcher beyond the configured number ends
/// after its batch.
struct FetcherPools {
    links: FetcherLinks,
    inboxes: Vec<flume::Receiver<Batch>>,
    /// The places that are taken.
    places: HashSet<(Kind, usize)>,
    actors: JoinSet<Result<(Kind, usize), FetchError>>,
}

impl FetcherPools {
    fn grow(&mut self, config: &Config) {
        for kind in Kind::ALL {
            self.links.counters.set_fetchers(kind, config.concurrency_of(kind));
            for place in 0..config.concurrency_of(kind) {
                if self.places.insert((kind, place)) {
                    let inbox = self.inboxes[kind.index()].clone();
                    self.actors.spawn(Fetcher::new(self.links.clone(), kind, place, inbox).run());
                }
            }
        }
    }

    /// Takes over a changed configuration.
    fn retune(&mut self, config: &Config) {
        self.grow(config);
        self.links.pressure.retune(config);
        self.links.counters.set_rate(self.links.pressure.bucket.rate());
    }
}

/// Waits until the scheduler and all fetchers have ended, and ends them all when one fails.
async fn wait_for_actors(
    mut scheduler: tokio::task::JoinHandle<Result<SchedulerStats, FetchError>>,
    mut fetchers: FetcherPools,
    config: &mut LiveConfig,
    shutdown: &Shutdown,
) -> (Result<SchedulerStats, Error>, Result<(), Error>) {
    let mut stats = None;
    let mut failure = None;
    let mut config_lives = true;
    loop {
        tokio::select! {
            ended = &mut scheduler, if stats.is_none() => {
                let ended = match ended {
                    Ok(result) => result.map_err(Error::from),
                    Err(_) => Err(Error::Broken { part: "the scheduler" }),
                };
                if ended.is_err() {
                    shutdown.abandon();
                }
                stats = Some(ended);
            }
            ended = fetchers.actors.join_next() => match ended {
                None => break,
                // Without the scheduler, there is no more work for anyone.
                Some(Ok(Ok(place))) => {
                    fetchers.places.remove(&place);
                    if stats.is_none() && !shutdown.is_draining() {
                        fetchers.grow(&Arc::clone(&config.borrow()));
                    }
                }
                Some(Ok(Err(error))) => {
                    shutdown.abandon();
                    failure.get_or_insert(Error::from(error));
                }
                Some(Err(_)) => {
                    shutdown.abandon();
                    failure.get_or_insert(Error::Broken { part: "a fetcher" });
                }
            },
            changed = config.changed(), if config_lives => {
                config_lives = changed.is_ok();
                let now = Arc::clone(&config.borrow());
                fetchers.retune(&now);
            }
        }
    }
    let stats = match stats {
        Some(stats) => stats,
        None => match scheduler.await {
            Ok(result) => result.map_err(Error::from),
            Err(_) => Err(Error::Broken { part: "the scheduler" }),
        },
    };
    (stats, failure.map_or(Ok(()), Err))
}
