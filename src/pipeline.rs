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
mod repair;
mod resume;
mod scope;
mod summary;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::dry_run::{DryRun, dry_run};
pub use self::identity::open_crawl;
pub(crate) use self::identity::refuse_other;
pub use self::online::{OnlineCheck, check_online};
pub use self::options::{LiveConfig, RunOptions, fixed_config};
pub(crate) use self::reduction::check_owner;
pub use self::reduction::reduce_store;
pub(crate) use self::scope::{scope_effect, scope_of};
pub use self::summary::{CrawlSummary, RunSummary};

use self::commits::{bring_commits, discover_busiest_jobs, revision_check};
use self::display::Display;
use self::identity::{check_window, foreseen_crawl, open_crawl_at};
use self::pools::{FetcherPools, wait_for_actors};
use self::reduction::{check_new_owner, check_records, lock_folder, make_artifacts};
use self::repair::RunRepair;
use self::resume::prepare_frontier;
use self::scope::pin_scope;
use crate::Error;
use crate::actor::{Shutdown, blocking};
use crate::config::Config;
use crate::dataset::commits::Commits;
use crate::dataset::{Artifact, DatasetError, read_commits};
use crate::fetch::{
    CrawlLimits, FetcherLinks, MAX_QUEUED, Pressure, RevisionCheck, Scheduler, SchedulerLinks, SchedulerStats,
    SourceAccess, publish_settled,
};
use crate::model::{Batch, Kind, Timestamp};
use crate::observe::{Counters, Metrics};
use crate::source::Treeherder;
use crate::store::{Change, CrawlIdentity, Store, StoreError, StoreWriter};

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
    let out = &initial.artifacts.out;
    check_new_owner(&initial)?;
    check_records(&initial)?;
    let _lock = lock_folder(&initial)?;
    let run = Run::open(config, options, shutdown, counters).await?;
    check_owner(&initial)?;
    crate::dataset::write::remove_leftovers(out);
    run.to_end(Some(artifacts)).await
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
    let run = Run::open(config, options, shutdown, counters).await?;
    Ok(run.to_end(None).await?.crawl)
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
        options: RunOptions,
        shutdown: &Shutdown,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let initial = Arc::clone(&config.borrow());
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
        let commits = if options.lists_only {
            None
        } else if early.is_some()
            && (identity.window_start, identity.window_end) == (foreseen.window_start, foreseen.window_end)
        {
            early
        } else {
            bring_commits(&initial, &identity, &pressure, shutdown).await?;
            read_commits(&initial, &identity)?
        };
        let commits = commits.map(Arc::new);
        let revisions = commits.as_ref().and_then(|commits| revision_check(commits, &identity, &initial)).map(Arc::new);
        let (identity, shutdown) = (Arc::new(identity), shutdown.clone());
        Ok(Self { store, identity, commits, revisions, pressure, options, initial, config, shutdown, counters })
    }

    /// Crawls, and makes `artifacts` unless they are `None`; repairs the store at most once on the way.
    async fn to_end(&self, artifacts: Option<&[Artifact]>) -> Result<RunSummary, Error> {
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
        let started = Instant::now();
        counters.set_rate(self.pressure.rate());
        prepare_frontier(store, &self.identity, &self.config.borrow(), &self.pressure, *options)?;
        let bind = self.config.borrow().metrics.bind;
        let counted = Arc::clone(store);
        let num_commits = move || counted.counts().map_or(0, |counts| counts.commits);
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
        let nothing_left = counts.pending() == 0 && counts.failed() == 0 && !stats.alerts_moved;
        if nothing_left && !counts.is_complete() && !interrupted && !options.lists_only {
            counts = store.commit(Change::Finish)?;
        }
        Ok(CrawlSummary {
            lost: Vec::new(),
            identity: CrawlIdentity::clone(&self.identity),
            counts,
            requests_made: counters.attempts(),
            elapsed: started.elapsed(),
            interrupted,
            alerts_moved: stats.alerts_moved,
        })
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
        let (writer, store) = StoreWriter::new(Arc::clone(&self.store), &now.store, events);
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
