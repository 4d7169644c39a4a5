//! An answer or a failure as a change of the store. Pure, but for the clock.

use super::expand;
use crate::model::{AlertSummaryId, Batch, FIRST_HARVEST, LAST_ROWS, Request, Timestamp};
use crate::source::{Answer, Reply, SourceError};
use crate::store::{Change, CrawlIdentity, Failure, Provenance, Settlement, SignatureListing, Store, StoreError};

/// All that the change for an answer depends on beside the answer.
pub(super) struct AnswerContext<'a> {
    pub(super) store: &'a Store,
    pub(super) identity: &'a CrawlIdentity,
    /// Rows per page of alert summaries.
    pub(super) page_size: u32,
    pub(super) attempts: u32,
}

/// Settles the requests of `batch` by `answer`, each with data, as empty or as gone. `listing` holds the listed
/// signatures.
pub(super) fn settlement_of(
    batch: &Batch,
    answer: Answer,
    listing: SignatureListing,
    context: &AnswerContext<'_>,
) -> Result<Change, StoreError> {
    let provenance = Provenance {
        fetched_at: Timestamp::now(),
        attempts: context.attempts,
        body_bytes: answer.body_bytes,
        latency_ms: u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX),
    };
    let request = batch.requests()[0];
    let settlement = match (answer.reply, request) {
        (Reply::AlertPage { count, records }, Request::AlertPage { pass, page: look @ LAST_ROWS.. }) => {
            let page = context.store.alert_page(pass, look - LAST_ROWS)?;
            let last = page.and_then(|page| page.ids.last().copied());
            let ids = records.taken.iter().map(|record| record.id).filter(|id| last == Some(*id)).collect();
            let set_aside = records.odd.iter().filter(|odd| !odd.taken).map(|odd| AlertSummaryId(odd.record)).collect();
            Settlement::of_last_row(request, count, ids, set_aside)?
        }
        (Reply::AlertPage { count, records }, Request::AlertPage { pass, page }) => Settlement::of_alert_page(
            request, count, records,
        )?
        .with_discovered(expand::pages_after(pass, page, count, context.page_size)),
        (Reply::Signatures { odd }, _) => listing.settle(request, odd),
        (Reply::UpdatedSignatures(ids), _) => Settlement::of_ids(request, ids.into_iter().map(|id| id.0).collect()),
        (Reply::Frameworks { ids, list }, _) => {
            Settlement::of_frameworks(request, ids.into_iter().map(|id| id.0).collect(), &list)
        }
        (Reply::Summary(summary), Request::Summary { signature, harvest, window, replicates }) => {
            // A later harvest may add to data that are stored.
            let is_all = !replicates
                && window == context.identity.data_window()
                && (harvest == FIRST_HARVEST || context.store.summaries_of(signature).next().is_none());
            Settlement::of_summary(context.store, request, is_all, &summary)
        }
        (Reply::Jobs(jobs), _) => Settlement::of_jobs(batch.requests(), &jobs),
        // The source answers a batch by a reply of its kind.
        (Reply::AlertPage { .. } | Reply::Summary(_), _) => Settlement::default(),
    };
    let settlement = Box::new(settlement.with_provenance(provenance).with_room(answer.room));
    Ok(Change::Settle { batch: batch.clone(), settlement })
}

/// Records the requests of `batch` as failed.
pub(super) fn failure_of(batch: &Batch, attempts: u32, error: &SourceError) -> Change {
    let failure = Failure {
        reason: error.with_causes(),
        label: error.label(),
        status: error.status(),
        attempts,
        failed_at: Timestamp::now(),
        submitted: Timestamp::default(),
    };
    Change::Fail { batch: batch.clone(), failure: Box::new(failure) }
}
