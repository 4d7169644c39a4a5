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
//! A run crawls the frontier; when all data are there, it finds the busiest revision and crawls its jobs; then it reduces.
//! When it meets damaged values, it repairs the store and goes through the same steps once more. To end a run, cancel at
//! the head: scheduler and fetchers stop, their handles drop, and the writer stores all that it accepted and ends.

mod commits;
mod display;
mod dry_run;
mod identity;
mod online;
mod options;
mod pools;
mod reduction;
mod refresh;
mod repair;
mod resume;
mod scope;
mod summary;
mod textfile;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::dry_run::{DryRun, dry_run};
pub use self::identity::open_crawl;
pub(crate) use self::identity::{has_begun, refuse_other};
pub use self::online::{OnlineCheck, check_online};
pub use self::options::{LiveConfig, RunOptions, fixed_config};
pub(crate) use self::reduction::check_owner;
pub use self::reduction::reduce_store;
pub use self::refresh::RefreshPlan;
pub(crate) use self::scope::{ScopeEffect, scope_effect, scope_of};
pub use self::summary::{CrawlSummary, RunSummary};
pub(crate) use self::textfile::write_textfile;

use self::commits::{bring_commits, discover_busiest_jobs, revision_check};
use self::display::Display;
use self::identity::{check_window, foreseen_crawl, is_only_planned, open_crawl_at};
use self::pools::{FetcherPools, wait_for_actors};
use self::reduction::{check_new_owner, check_records, lock_folder, make_artifacts};
use self::refresh::{RefreshPlanning, compact_if_worth, next_end, without_end};
use self::repair::RunRepair;
use self::resume::prepare_frontier;
use self::scope::pin_scope;
use crate::Error;
use crate::actor::{Shutdown, blocking};
use crate::config::Config;
use crate::dataset::commits::Commits;
use crate::dataset::{Artifact, DatasetError, keep_busiest_revisions, read_commits};
use crate::fetch::{
    CrawlLimits, FetcherLinks, MAX_QUEUED, Pressure, RevisionCheck, Scheduler, SchedulerLinks, SchedulerStats,
    SourceAccess, first_requests, publish_settled,
};
use crate::model::{Batch, Kind, Timestamp};
use crate::observe::{Counters, Metrics};
use crate::source::Treeherder;
use crate::store::{Change, CrawlIdentity, Lateness, Ledger, Store, StoreError, StoreWriter};

/// Capacity of the return edge, events: more than can be in flight, so that the writer never waits for the scheduler.
const EVENTS: usize = 16_384;

/// Maximum of new job details in a dry run.
const DRY_RUN_JOB_DETAILS: usize = 10;

/// Crawls missing data, then makes the artifacts: the main job. Running it again resumes.
///
/// # Errors
/// [`Error`]; everything fetched until then is kept, and the previous artifacts are unchanged.
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
    let initial = Arc::clone(&config.borrow());
    if goes_on_with_an_import(&initial)? {
        return refresh(config, options, artifacts, shutdown, counters).await;
    }
    run_as_pinned(config, initial, options, artifacts, shutdown, counters).await
}

/// True for a store whose data came from files: these go only so far, and their end is not the one of the crawl.
fn goes_on_with_an_import(config: &Config) -> Result<bool, StoreError> {
    let ledger = Ledger::read(&config.store.path)?;
    Ok(ledger.is_some_and(|ledger| ledger.harvests.last().is_some_and(|newest| newest.is_imported)))
}

async fn run_as_pinned(
    config: LiveConfig,
    initial: Arc<Config>,
    options: RunOptions,
    artifacts: &[Artifact],
    shutdown: &Shutdown,
    counters: Arc<Counters>,
) -> Result<RunSummary, Error> {
    in_folder(&Arc::clone(&initial), async {
        let run = Run::open(config, initial, options, shutdown, counters).await?;
        Ok((run.to_end(Some(artifacts)).await?, run.store))
    })
    .await
}

/// Runs `run`, which leaves the store open, with the folder of the artifacts as its own. Closes and compacts the store then.
async fn in_folder(
    config: &Config,
    run: impl Future<Output = Result<(RunSummary, Arc<Store>), Error>>,
) -> Result<RunSummary, Error> {
    check_new_owner(config)?;
    check_records(config)?;
    let _lock = lock_folder(config)?;
    let (summary, store) = run.await?;
    close_after(&summary.crawl, store, config).await?;
    Ok(summary)
}

/// Closes the store; compacts it if that is worth its while, after a crawl that has changed it.
async fn close_after(crawl: &CrawlSummary, store: Arc<Store>, config: &Config) -> Result<(), Error> {
    if crawl.interrupted || crawl.requests_made == 0 { Ok(()) } else { compact_if_worth(store, config).await }
}

/// Brings a store and its artifacts up to `window.data_end` or now: finishes the open harvest, opens the next one, crawls it,
/// joins its answers with those before, and makes the artifacts. An empty store is filled as by [`run`]. The next harvest is
/// pinned in the store when it is opened, so a refresh that was killed goes on with it.
///
/// # Errors
/// [`Error`], as of [`run`], and [`StoreError::BackwardHarvest`] if the store has data up to a later time. Everything fetched
/// until then is kept, and the previous artifacts are unchanged.
///
/// # Cancel safety
/// As [`run`].
pub async fn refresh(
    config: LiveConfig,
    options: RunOptions,
    artifacts: &[Artifact],
    shutdown: &Shutdown,
    counters: Arc<Counters>,
) -> Result<RunSummary, Error> {
    let asked = Arc::clone(&config.borrow());
    let path = &asked.store.path;
    let Some(stored) = Ledger::read(path)?.and_then(|ledger| ledger.identity).filter(|_| !is_only_planned(path)) else {
        return run_as_pinned(config, asked, options, artifacts, shutdown, counters).await;
    };
    let now = Timestamp::now();
    let data_end = next_end(&stored, &asked, now)?;
    in_folder(&asked, async {
        let initial = Arc::new(without_end(&asked));
        let mut run = Run::open(config, initial, options, shutdown, counters).await?;
        if !run.is_finished()? {
            let finished = run.to_end(None).await?;
            if finished.crawl.interrupted {
                return Ok((finished, run.store));
            }
        }
        let may_open = run.store.newest_harvest()?.is_some_and(|newest| !newest.is_open());
        if may_open && data_end > run.identity.data_end {
            run = run.begin_harvest(data_end, now).await?;
        }
        Ok((run.to_end(Some(artifacts)).await?, run.store))
    })
    .await
}

/// Finds out which requests a refresh would make; `None` if it was interrupted. Fetches the lists, and leaves the store as it
/// is.
///
/// # Errors
/// [`Error`], as of [`refresh`].
///
/// # Cancel safety
/// As [`run`].
pub async fn plan_refresh(
    config: &Config,
    options: RunOptions,
    shutdown: &Shutdown,
) -> Result<Option<RefreshPlan>, Error> {
    let planning = RefreshPlanning::begin(config, options, Timestamp::now())?;
    let (_keep, live) = fixed_config(planning.config_of_lists(config));
    let options = RunOptions { lists_only: true, ..options };
    let lists = crawl(live, options, shutdown, Arc::new(Counters::default())).await?;
    if lists.interrupted { Ok(None) } else { planning.finish(lists.counts).map(Some) }
}

/// Crawls the missing data of the store of `config`.
///
/// # Errors
/// [`Error`]; everything fetched until then is kept.
///
/// # Cancel safety
/// As [`run`].
pub async fn crawl(
    config: LiveConfig,
    options: RunOptions,
    shutdown: &Shutdown,
    counters: Arc<Counters>,
) -> Result<CrawlSummary, Error> {
    let initial = Arc::clone(&config.borrow());
    let run = Run::open(config, Arc::clone(&initial), options, shutdown, counters).await?;
    let crawl = run.to_end(None).await?.crawl;
    if !options.lists_only {
        close_after(&crawl, run.store, &initial).await?;
    }
    Ok(crawl)
}

/// All that stays the same in a run, however often its steps are tried.
struct Run {
    store: Arc<Store>,
    identity: Arc<CrawlIdentity>,
    commits: Option<Arc<Commits>>,
    /// Of the first answers against the commits.
    revisions: Option<Arc<RevisionCheck>>,
    /// Shared by all frontiers.
    pressure: Pressure,
    started: Instant,
    options: RunOptions,
    /// The configuration at the start: for all that does not change while a crawl runs.
    initial: Arc<Config>,
    config: LiveConfig,
    shutdown: Shutdown,
    counters: Arc<Counters>,
}

impl Run {
    async fn open(
        config: LiveConfig,
        initial: Arc<Config>,
        options: RunOptions,
        shutdown: &Shutdown,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        initial.require_contact()?;
        let now = Timestamp::now();
        let foreseen = foreseen_crawl(&initial, options, now)?;
        check_window(&foreseen, now)?;
        // Before a store is made; a file that the crawl makes itself is read when it is there.
        let is_made = options.lists_only || initial.inputs.commits_from.is_some();
        let early = if is_made { None } else { read_commits(&initial, &foreseen)? };
        let (store, mut identity) = open_crawl_at(&initial, options, now)?;
        if !options.lists_only {
            pin_scope(&store, &mut identity, &initial)?;
        }
        let pressure = Pressure::start(&initial);
        let commits = if early.is_some()
            && (identity.window_start, identity.window_end) == (foreseen.window_start, foreseen.window_end)
        {
            early.map(Arc::new)
        } else {
            None
        };
        let (identity, shutdown) = (Arc::new(identity), shutdown.clone());
        let (revisions, started) = (None, Instant::now());
        let run = Self {
            store,
            identity,
            commits,
            revisions,
            pressure,
            started,
            options,
            initial,
            config,
            shutdown,
            counters,
        };
        run.with_commits().await
    }

    /// Reads the commits of the window, unless they are read already or not needed; makes the file where that is configured.
    async fn with_commits(mut self) -> Result<Self, Error> {
        let Self { initial, identity, .. } = &self;
        if self.commits.is_none() && !self.options.lists_only {
            bring_commits(initial, identity, &self.pressure, &self.shutdown).await?;
            self.commits = read_commits(initial, identity)?.map(Arc::new);
        }
        let of = |commits| revision_check(commits, &self.identity, &self.initial);
        self.revisions = self.commits.as_ref().and_then(of).map(Arc::new);
        Ok(self)
    }

    /// True if nothing is left to ask in the open harvest.
    fn is_finished(&self) -> Result<bool, StoreError> {
        let newest = self.store.newest_harvest()?;
        Ok(newest.is_some_and(|newest| !newest.is_open()) && self.store.counts()?.is_complete())
    }

    /// The same run in the next harvest, which it opens.
    async fn begin_harvest(self, data_end: Timestamp, now: Timestamp) -> Result<Self, Error> {
        let first = first_requests(&self.initial.batch);
        let lateness = Lateness::of(&self.initial.window, self.options.full);
        let identity = self.store.open_harvest(data_end, lateness, &first, now)?;
        check_window(&identity, now)?;
        tracing::info!(before = %self.identity.data_end, now = %identity.data_end, "opened the next harvest");
        let commits = if identity.window_end == self.identity.window_end { self.commits.clone() } else { None };
        Self { identity: Arc::new(identity), commits, revisions: None, ..self }.with_commits().await
    }

    /// Crawls, and makes `artifacts` unless they are `None`; repairs the store at most once on the way.
    async fn to_end(&self, artifacts: Option<&[Artifact]>) -> Result<RunSummary, Error> {
        if artifacts.is_some() {
            check_owner(&self.initial)?; // now the store has its id
            crate::dataset::write::remove_leftovers(&self.initial.artifacts.out);
        }
        let mut repair = RunRepair::begin(&self.store).await?;
        // While only lists are fetched, `status` shows the last crawl.
        let display = (!self.options.lists_only).then(|| Display::start(&self.store, &self.initial, &self.counters));
        let done = loop {
            match self.crawl_and_reduce(artifacts).await {
                Err(error) if repair.helps(&error) => repair.repair(&self.store).await?,
                done => break done,
            }
        };
        if let Some(display) = display {
            // A run that failed has work left, like one that was ended.
            display.finish(done.as_ref().map_or(true, |summary| summary.crawl.interrupted));
            write_textfile(&self.initial);
        }
        let mut summary = done?;
        summary.crawl.lost = repair.lost(&self.store)?;
        Ok(summary)
    }

    async fn crawl_and_reduce(&self, artifacts: Option<&[Artifact]>) -> Result<RunSummary, Error> {
        let crawl = self.crawl().await?;
        let Some(artifacts) = artifacts.filter(|_| !crawl.interrupted) else {
            return Ok(RunSummary { crawl, reduction: None });
        };
        let Self { store, initial, commits, shutdown, counters, .. } = self;
        match make_artifacts(store, initial, commits.as_ref(), artifacts, shutdown, counters).await {
            Ok(reduction) => Ok(RunSummary { crawl, reduction: Some(reduction) }),
            Err(Error::Reduce(DatasetError::Interrupted)) => {
                Ok(RunSummary { crawl: CrawlSummary { interrupted: true, ..crawl }, reduction: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Crawls the frontier, then the jobs of the busiest revision.
    async fn crawl(&self) -> Result<CrawlSummary, Error> {
        let Self { store, options, counters, .. } = self;
        counters.set_rate(self.pressure.rate());
        prepare_frontier(store, &self.identity, &self.config.borrow(), &self.pressure, *options)?;
        let bind = self.config.borrow().metrics.bind;
        // The tasks of the server end a moment after it is dropped, and must not keep the store open.
        let counted = Arc::downgrade(store);
        let num_commits = move || {
            let counts = counted.upgrade().and_then(|store| store.counts().ok());
            counts.map_or(0, |counts| counts.commits)
        };
        let metrics = Metrics::start(bind, Arc::clone(counters), num_commits).await?;
        let jobs_before = fetched_jobs(store)?;
        // Also when nothing is pending: a kill may have come between an answer and the requests that follow from it. Only
        // the stored end of a crawl says that nothing follows.
        let stats = if store.counts()?.is_complete() {
            publish_settled(counters, &store.counts()?);
            store.renew_ledger()?; // no writer will
            SchedulerStats::default()
        } else {
            self.crawl_frontier(self.limits(0)).await?
        };
        let mut interrupted = stats.drained && (self.shutdown.is_draining() || !options.lists_only);
        if !interrupted
            && !options.lists_only
            && let Some(commits) = self.commits.clone()
        {
            let config = Arc::clone(&self.config.borrow());
            if discover_busiest_jobs(store, config, commits, counters).await? {
                let fetched = usize::try_from(fetched_jobs(store)? - jobs_before).unwrap_or(usize::MAX);
                let limits = CrawlLimits { jobs_only: true, ..self.limits(fetched) };
                interrupted = self.crawl_frontier(limits).await?.drained;
            }
        }
        drop(metrics);
        let mut counts = store.counts()?;
        if counts.pending() == 0 && !counts.is_complete() && !interrupted && !options.lists_only {
            interrupted = !self.join_harvest().await?;
            counts = store.counts()?;
        }
        let nothing_left = counts.pending() == 0 && counts.failed() == 0 && !stats.alerts_moved;
        if nothing_left && !counts.is_complete() && !interrupted && !options.lists_only {
            counts = store.commit(Change::Finish)?;
        }
        Ok(CrawlSummary {
            lost: Vec::new(),
            identity: CrawlIdentity::clone(&self.identity),
            counts,
            requests_made: counters.attempts(),
            elapsed: self.started.elapsed(),
            interrupted,
            alerts_moved: stats.alerts_moved,
        })
    }

    /// Joins the answers of the harvest with those before. False if it was interrupted.
    async fn join_harvest(&self) -> Result<bool, Error> {
        let (store, commits, shutdown) = (Arc::clone(&self.store), self.commits.clone(), self.shutdown.clone());
        let joined = blocking(move || {
            let join = || store.join_harvest(&shutdown);
            match &commits {
                Some(commits) => keep_busiest_revisions(&store, commits, join),
                None => join(),
            }
        });
        Ok(joined.await.map_err(|error| Error::of_thread("the end of the harvest", error))??)
    }

    /// The limits of a frontier when the run has fetched `fetched` job details already.
    fn limits(&self, fetched: usize) -> CrawlLimits {
        CrawlLimits {
            job_details: self.options.dry_run.then(|| DRY_RUN_JOB_DETAILS.saturating_sub(fetched)),
            lists_only: self.options.lists_only,
            jobs_only: false,
        }
    }

    /// One frontier, from the first batch to the last: makes the actors, tail first, and waits until all have ended.
    async fn crawl_frontier(&self, limits: CrawlLimits) -> Result<SchedulerStats, Error> {
        let config = self.config.clone();
        let now = Arc::clone(&config.borrow());
        // An error that ends this frontier does not end the run.
        let shutdown = self.shutdown.part();

        // The store's writer, on a thread of its own, since it waits for the disk.
        let (events, to_scheduler) = flume::bounded(EVENTS);
        let (writer, store) = StoreWriter::new(Arc::clone(&self.store), &now.store, events, shutdown.clone());
        let writer = blocking(move || writer.run());

        // The fetchers, a pool of each kind.
        let mailbox_low = Arc::new(Notify::new());
        let (window, alerts_since) = (self.identity.data_window(), self.identity.alerts_since());
        let access = SourceAccess {
            source: Treeherder::new(&now.source, &now.batch, window, alerts_since, self.pressure.clock.clone())?
                .with_alert_statuses(!self.identity.scope.alert_statuses.is_default()),
            pressure: self.pressure.clone(),
            shutdown: shutdown.clone(),
            counters: Arc::clone(&self.counters),
            config: config.clone(),
        };
        let links = FetcherLinks {
            access,
            store: store.clone(),
            mailbox_low: Arc::clone(&mailbox_low),
            identity: Arc::clone(&self.identity),
            revisions: self.revisions.clone(),
        };
        let (mailboxes, inboxes) = Kind::ALL.iter().map(|_| flume::bounded::<Batch>(MAX_QUEUED)).unzip();
        let handed_out = Arc::new(Notify::new());
        let fetchers = FetcherPools::new(links, inboxes, Arc::clone(&handed_out));

        // The scheduler, at the head. It holds the last handle of the writer besides the fetchers.
        let links = SchedulerLinks {
            store,
            events: to_scheduler,
            mailboxes,
            mailbox_low,
            handed_out,
            shutdown: shutdown.clone(),
            config: config.clone(),
            identity: Arc::clone(&self.identity),
            counters: Arc::clone(&self.counters),
        };
        let scheduler = tokio::spawn(Scheduler::new(links, limits).run());

        let (stats, fetched) = wait_for_actors(scheduler, fetchers, config, &shutdown).await;
        let written = writer.await.map_err(|error| Error::of_thread("the store's writer", error))?;
        written?; // the first cause: the others only saw that the writer had stopped
        fetched?;
        stats
    }
}

fn fetched_jobs(store: &Store) -> Result<u64, StoreError> {
    Ok(store.counts()?.of(Kind::JobDetails).settled())
}
