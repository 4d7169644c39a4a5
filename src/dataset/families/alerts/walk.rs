//! Walks over the stored alert summaries.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{AlertSummaryId, RawJson, Timestamp, exact_integer};
use crate::store::{CrawlIdentity, Store, StoreError};

/// Passes the alert summaries of the crawl to `take` in the order of `listing`; returns the number of summaries outside the
/// window.
///
/// # Errors
/// [`StoreError`] if a record is missing or damaged, and errors of `take`.
pub(crate) fn for_each_summary<E: From<StoreError>>(
    store: &Store,
    identity: &CrawlIdentity,
    listing: &[AlertSummaryId],
    mut take: impl FnMut(AlertSummaryId, &RawJson) -> Result<(), E>,
) -> Result<u64, E> {
    #[derive(Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        push_timestamp: Option<&'a RawValue>,
    }
    let mut num_outside = 0;
    for &id in listing {
        let missing = || StoreError::MissingValue { key: format!("alert summary {id}") };
        let record = store.alert_summary(id)?.ok_or_else(missing)?;
        let view: View<'_> = record.view().map_err(|error| damaged(id, &error))?;
        let pushed = view.push_timestamp.and_then(|raw| exact_integer(raw.get())).map(Timestamp::from_secs);
        if pushed.is_some_and(|at| at < identity.alerts_since() || at > identity.data_end) {
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
