//! The reduction as a step of the pipeline: on threads of its own, so that the runtime stays free for signals.

use std::sync::Arc;

use crate::Error;
use crate::actor::{Shutdown, blocking};
use crate::config::Config;
use crate::dataset::commits::Commits;
use crate::dataset::{
    Artifact, DatasetError, FolderKind, FolderLock, Owner, ReduceOrder, ReduceSummary, check_bisect_inputs,
    check_llm_records, read_commits, reduce,
};
use crate::observe::{Counters, Progress};
use crate::store::Store;

/// Makes the artifacts of a store, without the network.
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
    let identity = store.identity()?.ok_or(DatasetError::EmptyStore)?;
    let commits = read_commits(config, &identity)?.map(Arc::new);
    let _lock = lock_folder(config)?;
    let counters = Arc::new(Counters::default());
    let _progress = Progress::start(Arc::clone(&counters), config.log.progress, &[]);
    make_artifacts(&store, config, commits.as_ref(), artifacts, shutdown, &counters).await
}

/// Refuses a folder of artifacts that holds files of another store or program. Changes nothing.
pub(crate) fn check_owner(config: &Config) -> Result<(), DatasetError> {
    match Owner::at(&config.store.path) {
        Some(owner) => Ok(FolderKind::artifacts().check(&config.artifacts.out, &owner)?),
        None => Ok(()), // opening the store reports the damage
    }
}

/// As [`check_owner`], of a store that does not exist yet. An existing one must be opened first: its ledger may be damaged.
pub(super) fn check_new_owner(config: &Config) -> Result<(), DatasetError> {
    if Store::exists(&config.store.path) { Ok(()) } else { check_owner(config) }
}

/// Makes the folder of the artifacts, and keeps other processes from writing to it while the result lives.
pub(super) fn lock_folder(config: &Config) -> Result<FolderLock, DatasetError> {
    Ok(FolderKind::artifacts().lock(&config.artifacts.out)?)
}

/// Warns before the crawl if an input file is malformed that only some artifacts need: the crawl may take days, and the file can
/// be corrected meanwhile.
pub(super) fn check_records(config: &Config) -> Result<(), Error> {
    if let Some(defect) = check_bisect_inputs(config) {
        tracing::warn!("{defect}; the artifacts that need this file will not be made");
    }
    match check_llm_records(config) {
        Err(error @ DatasetError::Relabel(..)) => {
            tracing::warn!("{}; the artifacts that need this file will not be made", error.with_causes());
            Ok(())
        }
        checked => Ok(checked?),
    }
}

pub(super) async fn make_artifacts(
    store: &Arc<Store>,
    config: &Arc<Config>,
    commits: Option<&Arc<Commits>>,
    artifacts: &[Artifact],
    shutdown: &Shutdown,
    counters: &Arc<Counters>,
) -> Result<ReduceSummary, Error> {
    let (store, config, commits) = (Arc::clone(store), Arc::clone(config), commits.cloned());
    let (artifacts, shutdown, counting) = (artifacts.to_vec(), shutdown.clone(), Arc::clone(counters));
    let reduced = blocking(move || {
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
    Ok(reduced.map_err(|error| Error::of_thread("the reduction", error))??)
}
