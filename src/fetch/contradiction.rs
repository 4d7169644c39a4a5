//! Answers that what the server has said before contradicts: an empty list where others show that signatures exist, no data
//! where the newest datum is in the window.
//!
//! An answer goes in, the contradiction comes out, as words that follow "contradicts". Such a reply is not an answer: it is
//! asked again, and recorded as failed in the end, never settled as empty. Only empty answers are compared, so the others
//! cost nothing.

use serde::Deserialize;

use super::expand::frameworks_to_ask;
use crate::model::{AlertSummary, Batch, FrameworkId, Request, SignatureId, Timestamp, Window};
use crate::source::{Answer, Reply};
use crate::store::{CrawlIdentity, SignatureListing, Store, StoreError};

/// An empty answer that may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// No signatures.
    Signatures { framework: Option<FrameworkId> },
    /// No signatures with data since the window's start.
    Updated { framework: Option<FrameworkId> },
    /// No data of a signature; `is_known`: the server answered with the signature itself. `after`: the number of the harvest
    /// that may have stored its data, if their replicates were asked for.
    Data { signature: SignatureId, window: Window, is_known: bool, after: Option<u16> },
}

impl Suspicion {
    /// `None` for an answer with records.
    pub(super) fn of(batch: &Batch, answer: &Answer, listing: &SignatureListing) -> Option<Self> {
        match (batch.requests()[0], &answer.reply) {
            (Request::Signatures { framework }, Reply::Signatures { .. }) if listing.is_empty() => {
                Some(Self::Signatures { framework })
            }
            (Request::UpdatedSignatures { framework }, Reply::UpdatedSignatures(ids)) if ids.is_empty() => {
                Some(Self::Updated { framework })
            }
            (Request::Summary { signature, window, harvest, replicates }, Reply::Summary(summary))
                if summary.data.is_empty() =>
            {
                let after = replicates.then_some(harvest);
                Some(Self::Data { signature, window, is_known: summary.header.is_some(), after })
            }
            _ => None,
        }
    }

    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Self::Signatures { .. } | Self::Updated { .. } => "performance/signatures",
            Self::Data { .. } => "performance/summary",
        }
    }

    /// The contradiction with a stored answer.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(super) fn contradicted_by(self, store: &Store, identity: &CrawlIdentity) -> Result<Option<String>, StoreError> {
        match self {
            Self::Signatures { framework } => {
                if framework.is_none() && !store.signature_ids()?.is_empty() {
                    return Ok(Some("an earlier list, which had signatures".to_owned()));
                }
                let updated = store.id_list(&Request::UpdatedSignatures { framework })?.unwrap_or_default();
                if !updated.is_empty() {
                    return Ok(Some(format!("the list of the {} signatures with recent data", updated.len())));
                }
                self.contradicted_by_stored_alerts(store, identity)
            }
            Self::Updated { .. } => self.contradicted_by_stored_alerts(store, identity),
            Self::Data { signature, window, is_known, after } => {
                for part in store.summaries_of(signature) {
                    let part = part?;
                    if Some(part.harvest) == after && part.settled.newest_push.is_some_and(|at| window.contains(at)) {
                        return Ok(Some("its answer without replicates, which had data in the window".to_owned()));
                    }
                }
                let in_window = last_updated(store, signature)?.is_some_and(|at| window.contains(at));
                if in_window {
                    return Ok(Some("the record of the signature, whose last_updated is in the window".to_owned()));
                }
                // The server answers with an existing signature even when the window has no data of it.
                let is_missing = !is_known && is_listed_as_updated(store, signature)?;
                Ok(is_missing.then(|| "the list of signatures with recent data, which has this one".to_owned()))
            }
        }
    }

    /// A page of alert summaries to compare with: their signatures exist, and had data then. `None` where the answer is
    /// usual.
    pub(super) fn witness(self) -> Option<Batch> {
        match self {
            Self::Signatures { framework: None } | Self::Updated { framework: None } => {
                Some(Batch::of(Request::AlertPage { pass: 0, page: 1 }))
            }
            _ => None,
        }
    }

    /// The contradiction with alert summaries.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub(super) fn contradicted_by_alerts(
        self,
        alerts: &[AlertSummary],
        store: &Store,
        identity: &CrawlIdentity,
    ) -> Result<Option<String>, StoreError> {
        for alert in alerts {
            if self.is_contradicted_by(alert.raw.as_str(), store, identity)? {
                return Ok(Some(named(alert.id.0)));
            }
        }
        Ok(None)
    }

    fn contradicted_by_stored_alerts(
        self,
        store: &Store,
        identity: &CrawlIdentity,
    ) -> Result<Option<String>, StoreError> {
        for id in store.alert_listing()? {
            if let Some(alert) = store.alert_summary(id)?
                && self.is_contradicted_by(alert.as_str(), store, identity)?
            {
                return Ok(Some(named(id.0)));
            }
        }
        Ok(None)
    }

    /// An alert shows that its signature exists, and that it has a datum of that push. Once signatures are listed, only an
    /// alert of a listed one counts.
    fn is_contradicted_by(self, alert: &str, store: &Store, identity: &CrawlIdentity) -> Result<bool, StoreError> {
        #[derive(Deserialize)]
        struct View {
            repository: String,
            framework: u64,
            push_timestamp: i64,
            alerts: Vec<Alert>,
        }
        #[derive(Deserialize)]
        struct Alert {
            series_signature: Series,
        }
        #[derive(Deserialize)]
        struct Series {
            id: SignatureId,
        }
        let Ok(view) = serde_json::from_str::<View>(alert) else { return Ok(false) };
        let (Self::Signatures { framework } | Self::Updated { framework }) = self else { return Ok(false) };
        let is_of_list = framework.is_none_or(|asked| asked.0 == view.framework);
        if view.repository != identity.repository || !is_of_list {
            return Ok(false);
        }
        if matches!(self, Self::Signatures { .. }) {
            return Ok(!view.alerts.is_empty());
        }
        let is_recent = Timestamp::from_secs(view.push_timestamp) >= identity.data_window().start;
        if !is_recent || view.alerts.is_empty() || store.signature_ids()?.is_empty() {
            return Ok(is_recent && !view.alerts.is_empty());
        }
        for alert in view.alerts {
            if store.lists_signature(alert.series_signature.id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn named(alert: u64) -> String {
    format!("alert summary {alert} of the repository, which has signatures")
}

/// The time of the signature's newest datum, where its record has it.
fn last_updated(store: &Store, signature: SignatureId) -> Result<Option<Timestamp>, StoreError> {
    #[derive(Deserialize)]
    struct View {
        last_updated: Option<String>,
    }
    let Some(record) = store.signature(signature)? else { return Ok(None) };
    let view: Option<View> = serde_json::from_str(record.as_str()).ok();
    let text = view.and_then(|view| view.last_updated);
    Ok(text.and_then(|text| Timestamp::parse_naive(&text).or_else(|| text.parse().ok())))
}

/// True when the signature has data at or after the window's start, by the server's own list.
fn is_listed_as_updated(store: &Store, signature: SignatureId) -> Result<bool, StoreError> {
    let has = |framework| -> Result<bool, StoreError> {
        let ids = store.id_list(&Request::UpdatedSignatures { framework })?;
        Ok(ids.is_some_and(|ids| ids.binary_search(&signature.0).is_ok()))
    };
    if has(None)? {
        return Ok(true);
    }
    for framework in store.id_list(&Request::Frameworks)?.map_or_else(Vec::new, frameworks_to_ask) {
        if has(Some(framework))? {
            return Ok(true);
        }
    }
    Ok(false)
}
