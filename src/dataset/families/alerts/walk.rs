//! Walks over the stored alert summaries.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::AlertStatuses;
use crate::model::{AlertSummaryId, RawJson, Timestamp, exact_integer};
use crate::store::{CrawlIdentity, Store, StoreError};

/// Passes the alert summaries that the older scripts fetch to `take`, in the order of `listing`; returns the number
/// of summaries outside the window.
///
/// # Errors
/// [`StoreError`] if a record is missing or damaged, and errors of `take`.
pub(crate) fn for_each_summary<E: From<StoreError>>(
    store: &Store,
    identity: &CrawlIdentity,
    listing: &[AlertSummaryId],
    take: impl FnMut(AlertSummaryId, &RawJson) -> Result<(), E>,
) -> Result<u64, E> {
    walk(store, identity, listing, &AlertStatuses::default(), take)
}

/// As [`for_each_summary`], with the summaries of all statuses in the crawl's scope.
///
/// # Errors
/// As [`for_each_summary`].
pub(crate) fn for_each_summary_of_scope<E: From<StoreError>>(
    store: &Store,
    identity: &CrawlIdentity,
    listing: &[AlertSummaryId],
    take: impl FnMut(AlertSummaryId, &RawJson) -> Result<(), E>,
) -> Result<u64, E> {
    walk(store, identity, listing, &identity.scope.alert_statuses, take)
}

fn walk<E: From<StoreError>>(
    store: &Store,
    identity: &CrawlIdentity,
    listing: &[AlertSummaryId],
    statuses: &AlertStatuses,
    mut take: impl FnMut(AlertSummaryId, &RawJson) -> Result<(), E>,
) -> Result<u64, E> {
    #[derive(Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        status: Option<&'a RawValue>,
        #[serde(borrow)]
        push_timestamp: Option<&'a RawValue>,
    }
    let mut num_outside = 0;
    for &id in listing {
        let missing = || StoreError::MissingValue { key: format!("alert summary {id}") };
        let record = store.alert_summary(id)?.ok_or_else(missing)?;
        let view: View<'_> = record.view().map_err(|error| damaged(id, &error))?;
        if !statuses.has(view.status.and_then(|raw| exact_integer(raw.get()))) {
            continue;
        }
        let pushed = view.push_timestamp.and_then(|raw| exact_integer(raw.get())).map(Timestamp::from_secs);
        if !identity.has_alert_of(pushed) {
            num_outside += 1;
            continue;
        }
        take(id, &record)?;
    }
    Ok(num_outside)
}

pub(super) fn damaged(id: AlertSummaryId, error: &dyn fmt::Display) -> StoreError {
    StoreError::Damaged { tree: "records", key: format!("alert summary {id}"), reason: error.to_string() }
}
