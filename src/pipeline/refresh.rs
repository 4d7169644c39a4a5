//! The parts of a refresh: the end of the next harvest, how it looks for late data, and the plan of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::identity::refuse_other;
use super::options::RunOptions;
use super::textfile::write_textfile;
use crate::Error;
use crate::actor::blocking;
use crate::config::{Config, StoreConfig, WindowConfig};
use crate::fetch::{Reason, due_signatures, first_requests};
use crate::model::{Kind, Timestamp};
use crate::store::{
    Change, Compaction, CrawlIdentity, Harvest, Lateness, Pending, Settlement, Store, StoreError, Tally,
};

/// The end of the next harvest of a store with `stored`.
///
/// # Errors
/// [`StoreError::BackwardHarvest`] if the store has data up to a later time.
pub(super) fn next_end(stored: &CrawlIdentity, asked: &Config, now: Timestamp) -> Result<Timestamp, StoreError> {
    let data_end = asked.window.data_end.unwrap_or(now);
    if data_end < stored.data_end {
        let path = asked.store.path.clone();
        return Err(StoreError::BackwardHarvest { path, stored: stored.data_end, asked: data_end });
    }
    Ok(data_end)
}

/// `asked` without the end of the data: the store has its own.
pub(super) fn without_end(asked: &Config) -> Config {
    let window = WindowConfig { data_end: None, ..asked.window.clone() };
    Config { window, ..asked.clone() }
}

/// Closes the store, which nobody else may have, and compacts it if that makes it much smaller. A store that cannot be
/// compacted stays as it is, with a warning: that costs disk space only.
pub(super) async fn compact_if_worth(store: Arc<Store>, config: &Config) -> Result<(), Error> {
    let own = config.store.clone();
    let compacted = blocking(move || match Arc::into_inner(store) {
        Some(store) => store.close_and_compact_if_worth(&own),
        None => Err(StoreError::Locked(own.path)),
    })
    .await;
    match compacted.map_err(|error| Error::of_thread("the compaction", error))? {
        Ok(None) => {}
        Ok(Some(Compaction { log_before, log_after, .. })) => {
            tracing::info!(before = log_before, now = log_after, "compacted the store; bytes of its log");
            write_textfile(config); // it has the size of the store
        }
        Err(error) => tracing::warn!("cannot compact the store: {error}"),
    }
    Ok(())
}

/// The requests of a refresh, beside those for the lists.
#[derive(Clone, Debug)]
pub struct RefreshPlan {
    /// Of the harvest that it would open.
    pub identity: CrawlIdentity,
    /// The tally of the lists, which the plan has fetched.
    pub lists: Tally,
    /// Signatures by the reason why their data would be asked for.
    pub due: BTreeMap<Reason, u64>,
    /// Signatures whose replicates would be asked for.
    pub replicates: u64,
    /// New jobs, about, if those of all data are asked for: as many a day as the store has.
    pub jobs: Option<u64>,
    /// New signatures without data in the window.
    pub num_skipped: u64,
}

/// A plan in the making: a temporary store takes the lists, so that the store stays as it is.
#[derive(Debug)]
pub(super) struct RefreshPlanning {
    store: Store,
    identity: CrawlIdentity,
    harvest: Harvest,
    lists: StoreConfig,
    _folder: tempfile::TempDir,
}

impl RefreshPlanning {
    /// Begins a plan for the store of `config`.
    ///
    /// # Errors
    /// [`StoreError::HarvestOpen`] if the last harvest is not finished, those of [`next_end`], and any error of reading.
    pub(super) fn begin(config: &Config, options: RunOptions, now: Timestamp) -> Result<Self, StoreError> {
        let path = &config.store.path;
        let store = Store::open_to_read(&config.store)?;
        let (Some(stored), Some(newest)) = (store.identity()?, store.newest_harvest()?) else {
            return Err(StoreError::Missing(path.clone()));
        };
        refuse_other(&stored, &without_end(config), options)?;
        if newest.is_open() {
            return Err(StoreError::HarvestOpen { path: path.clone(), harvest: newest.number });
        }
        let data_end = next_end(&stored, config, now)?;
        let identity = stored.extended_to(data_end);
        let lateness = Lateness::of(&config.window, options.full);
        let harvest = Harvest { number: newest.number.saturating_add(1), data_end, lateness, ..newest };
        let folder = tempfile::tempdir().map_err(|source| StoreError::Folder { path: std::env::temp_dir(), source })?;
        let lists = StoreConfig { path: folder.path().join("lists"), ..config.store.clone() };
        let requests = first_requests(&config.batch).into_iter();
        let moved = lateness.lists_of_moved(newest.data_end).map(Pending::of);
        let lists_store = Store::open(&lists)?;
        lists_store.pin_identity(&identity)?;
        let settlement = Box::new(Settlement::discovery(requests.chain(moved).collect()));
        lists_store.commit(Change::Expand { settlement })?;
        Ok(Self { store, identity, harvest, lists, _folder: folder })
    }

    /// The configuration of the crawl that fetches the lists.
    pub(super) fn config_of_lists(&self, config: &Config) -> Config {
        Config { store: self.lists.clone(), ..without_end(config) }
    }

    /// The plan, by the lists with this tally.
    ///
    /// # Errors
    /// [`Error`] if the scope selects nothing or a store cannot be read.
    pub(super) fn finish(self, counts: Tally) -> Result<RefreshPlan, Error> {
        let lists = Store::open_existing(&self.lists)?;
        let updated = lists.updated_signatures()?;
        let (due, identity) = (BTreeMap::new(), self.identity);
        let mut plan = RefreshPlan { identity, lists: counts, due, replicates: 0, jobs: None, num_skipped: 0 };
        let due_of = |identity: &CrawlIdentity, replicates| {
            due_signatures(&self.store, &lists, identity, &self.harvest, Some(&updated), replicates)
        };
        for due in due_of(&plan.identity, false)? {
            match due.reason {
                Some(reason) => *plan.due.entry(reason).or_default() += 1,
                None => plan.num_skipped += 1,
            }
        }
        if plan.identity.scope.replicates {
            let due = due_of(&plan.identity, true)?;
            plan.replicates = due.iter().filter(|due| due.reason.is_some()).count() as u64;
        }
        if let Some(before) = self.store.identity()?.filter(|before| before.scope.all_jobs) {
            let secs =
                |from: Timestamp, to: Timestamp| u64::try_from(to.as_secs() - from.as_secs()).unwrap_or_default();
            let known = self.store.counts()?.of(Kind::JobDetails).total();
            let known_secs = secs(before.data_window().start, before.data_end).max(1);
            plan.jobs = Some(known.saturating_mul(secs(before.data_end, plan.identity.data_end)).div_ceil(known_secs));
        }
        Ok(plan)
    }
}
