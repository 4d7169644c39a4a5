//! The frontier at the start of a run: the first requests of a new crawl, or the rest of an old one.

use std::collections::BTreeSet;

use super::RunOptions;
use crate::config::Config;
use crate::fetch::{Pressure, first_requests, lost_parts};
use crate::model::{Kind, Request};
use crate::store::{Change, CrawlIdentity, Pending, Settlement, Store, StoreError};

/// Adds to the frontier: in a new store the first requests, then those that failed in an earlier run, and the parts of
/// windows that a damaged store has lost.
pub(super) fn prepare_frontier(
    store: &Store,
    identity: &CrawlIdentity,
    config: &Config,
    pressure: &Pressure,
    options: RunOptions,
) -> Result<(), StoreError> {
    let counts = store.counts()?;
    if counts.pending() + counts.settled() + counts.failed() == 0 {
        let settlement = Box::new(Settlement::discovery(first_requests(&config.batch)));
        store.commit(Change::Expand { settlement })?;
    }
    if counts.failed() > 0 {
        retry_failures(store, identity, pressure, options.lists_only)?;
    }
    if options.retry_set_aside {
        retry_set_aside(store)?;
    }
    if !options.lists_only {
        let lost = lost_parts(store, identity)?;
        if !lost.is_empty() {
            tracing::warn!(requests = lost.len(), "parts of windows are missing in the store; fetching them again");
            store.commit(Change::Expand { settlement: Box::new(Settlement::discovery(lost)) })?;
        }
    }
    Ok(())
}

/// Of the alert summaries only the last pass, which the dataset holds.
fn retry_set_aside(store: &Store) -> Result<(), StoreError> {
    let last_pass = store.last_alert_pass()?;
    let mut requests = BTreeSet::new();
    for odd in store.set_aside() {
        let (request, _, odd) = odd?;
        let is_old = matches!(request, Request::AlertPage { pass, .. } if Some(pass) != last_pass);
        if !odd.corrected && !is_old {
            requests.insert(request);
        }
    }
    if !requests.is_empty() {
        tracing::info!(requests = requests.len(), "fetching again all answers with records that were set aside");
        let requests = requests.into_iter().map(Pending::of).collect();
        store.commit(Change::AskAgain { requests })?;
    }
    Ok(())
}

fn retry_failures(
    store: &Store,
    identity: &CrawlIdentity,
    pressure: &Pressure,
    lists_only: bool,
) -> Result<(), StoreError> {
    let mut requests = Vec::new();
    for failure in store.failures() {
        let (request, failure) = failure?;
        if !lists_only || matches!(request.kind(), Kind::Alerts | Kind::Signatures) {
            match request {
                Request::Summary { signature, replicates, .. } if request.is_part(identity.data_window()) => {
                    pressure.note_earlier_failure(signature, replicates);
                }
                _ => {}
            }
            requests.push(Pending { request, submitted: failure.submitted });
        }
    }
    if !requests.is_empty() {
        tracing::info!(requests = requests.len(), "retrying requests that failed in an earlier run");
        store.commit(Change::AskAgain { requests })?;
    }
    Ok(())
}
