//! The repository's commits in a crawl: the file of commits, and the jobs of the busiest revision.

use std::sync::Arc;

use crate::Error;
use crate::actor::{Shutdown, blocking};
use crate::commits::{CommitWindow, CommitsOrder, ensure_commits};
use crate::config::{CommitsFrom, Config, Semantics};
use crate::dataset::busiest_revisions;
use crate::dataset::commits::Commits;
use crate::dataset::commits::check::MIN_MISSING;
use crate::fetch::{ListedCommits, Pressure, RevisionCheck};
use crate::model::Timestamp;
use crate::observe::Counters;
use crate::store::{Change, CrawlIdentity, Settlement, Store, job_pending};

/// The check of the first answers against the commits.
pub(super) fn revision_check(
    commits: &Arc<Commits>,
    identity: &CrawlIdentity,
    config: &Config,
) -> Option<RevisionCheck> {
    let (lists, covers) = (Arc::clone(commits), Arc::clone(commits));
    Some(RevisionCheck::new(ListedCommits {
        file: config.commits_file()?,
        repository: identity.repository.clone(),
        window: (identity.window_start, identity.window_end),
        num_in_window: commits.in_window.len(),
        min_missing: MIN_MISSING,
        example: commits.in_window.first()?.node.clone(),
        refuses: config.artifacts.semantics == Semantics::Corrected,
        lists: Box::new(move |revision| lists.lists(revision)),
        covers: Box::new(move |at| covers.covers(at)),
    }))
}

/// Makes the file of commits when it is missing and the configuration names a source for it. Does nothing otherwise.
pub(super) async fn bring_commits(
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
        tracing::info!(file = %file.display(), %from, commits, requests, unlisted, "wrote the file of commits");
        if *from == CommitsFrom::Pushes {
            tracing::warn!("the commits have push times instead of dates, and no parents: Treeherder has neither");
        }
    }
    Ok(())
}

/// Finds the busiest revisions and adds their jobs to the frontier. True when there are new ones.
pub(super) async fn discover_busiest_jobs(
    store: &Arc<Store>,
    config: Arc<Config>,
    commits: Arc<Commits>,
    counters: &Arc<Counters>,
) -> Result<bool, Error> {
    let (reading, counting) = (Arc::clone(store), Arc::clone(counters));
    let found = blocking(move || busiest_revisions(&reading, &config, &commits, counting.reducing()));
    let found = found.await;
    counters.reducing().leave();
    let busiest = found.map_err(|error| Error::of_thread("the search for the busiest revision", error))??;
    let mut unknown = Vec::new();
    for id in busiest.jobs() {
        let pending = job_pending((id, Timestamp::default()));
        if store.settled(&pending.request)?.is_none() {
            unknown.push(pending);
        }
    }
    if unknown.is_empty() {
        return Ok(false);
    }
    let before = store.counts()?.pending();
    let settlement = Box::new(Settlement::discovery(unknown));
    Ok(store.commit(Change::Expand { settlement })?.pending() > before)
}
