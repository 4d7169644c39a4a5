//! The pools of fetchers, which follow the configuration, and the wait for all actors of a frontier.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::options::LiveConfig;
use crate::Error;
use crate::actor::Shutdown;
use crate::config::Config;
use crate::fetch::{FetchError, Fetcher, FetcherLinks, SchedulerStats};
use crate::model::{Batch, Kind};

/// The pools of fetchers: as many as configured, and no more than there are requests. A fetcher beyond the configured number
/// ends after its batch.
pub(super) struct FetcherPools {
    links: FetcherLinks,
    /// From the scheduler, by kind.
    inboxes: Vec<flume::Receiver<Batch>>,
    /// Kind and number of each fetcher that lives.
    alive: HashSet<(Kind, usize)>,
    /// From the scheduler: it has handed out batches.
    handed_out: Arc<Notify>,
    actors: JoinSet<Result<(Kind, usize), FetchError>>,
}

impl FetcherPools {
    /// Pools without fetchers, which come with the requests.
    pub(super) fn new(links: FetcherLinks, inboxes: Vec<flume::Receiver<Batch>>, handed_out: Arc<Notify>) -> Self {
        Self { links, inboxes, alive: HashSet::new(), handed_out, actors: JoinSet::new() }
    }

    fn grow(&mut self, config: &Config) {
        for kind in Kind::ALL {
            let counters = &self.links.access.counters;
            counters.set_fetchers(kind, config.concurrency_of(kind));
            let now = counters.of(kind);
            let num_requests = usize::try_from(now.pending + now.in_flight).unwrap_or(usize::MAX);
            for number in 0..config.concurrency_of(kind).min(num_requests) {
                if self.alive.insert((kind, number)) {
                    let inbox = self.inboxes[kind.index()].clone();
                    self.actors.spawn(Fetcher::new(self.links.clone(), kind, number, inbox).run());
                }
            }
        }
    }

    /// Applies a changed configuration.
    fn retune(&mut self, config: &Config) {
        self.grow(config);
        let access = &self.links.access;
        access.pressure.retune(config);
        access.counters.set_rate(access.pressure.rate());
    }
}

/// Waits until the scheduler and all fetchers have ended, and ends them all when one fails.
pub(super) async fn wait_for_actors(
    mut scheduler: JoinHandle<Result<SchedulerStats, FetchError>>,
    mut fetchers: FetcherPools,
    mut config: LiveConfig,
    shutdown: &Shutdown,
) -> (Result<SchedulerStats, Error>, Result<(), Error>) {
    let mut stats = None;
    let mut failure = None;
    let mut config_lives = true;
    let handed_out = Arc::clone(&fetchers.handed_out);
    while stats.is_none() || !fetchers.actors.is_empty() {
        tokio::select! {
            ended = &mut scheduler, if stats.is_none() => {
                let ended = result_of(ended, "the scheduler");
                if ended.is_err() {
                    shutdown.abandon();
                }
                stats = Some(ended);
            }
            () = handed_out.notified() => fetchers.grow(&Arc::clone(&config.borrow())),
            Some(ended) = fetchers.actors.join_next() => match result_of(ended, "a fetcher") {
                Ok(fetcher) => {
                    fetchers.alive.remove(&fetcher);
                    // Without the scheduler, the work has ended for all.
                    if stats.is_none() && !shutdown.is_draining() {
                        fetchers.grow(&Arc::clone(&config.borrow()));
                    }
                }
                Err(error) => {
                    shutdown.abandon();
                    failure.get_or_insert(error);
                }
            },
            changed = config.changed(), if config_lives => {
                config_lives = changed.is_ok();
                let now = Arc::clone(&config.borrow());
                fetchers.retune(&now);
            }
        }
    }
    let stats = stats.unwrap_or(Err(Error::Broken { part: "the scheduler" }));
    (stats, failure.map_or(Ok(()), Err))
}

fn result_of<T>(ended: Result<Result<T, FetchError>, JoinError>, part: &'static str) -> Result<T, Error> {
    ended.map_err(|_| Error::Broken { part })?.map_err(Error::from)
}
