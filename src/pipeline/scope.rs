//! The scope of a run: as it is pinned in the store, or wider.

use crate::Error;
use crate::config::{Config, Scope, ScopeError};
use crate::fetch::{all_jobs, missing_jobs, widening};
use crate::model::{Kind, Request};
use crate::store::{Change, CrawlIdentity, Pending, Settlement, Store, StoreError, Tally};

/// The scope that `config` asks of a store with `identity` and `counts`. As long as no data were asked for, any other scope
/// may take its place; then only a wider one.
///
/// # Errors
/// [`StoreError::Scope`].
pub(crate) fn scope_of(identity: &CrawlIdentity, counts: &Tally, config: &Config) -> Result<Scope, StoreError> {
    let stored = &identity.scope;
    let asked = config.scope_over(stored)?;
    let sampled = identity.sample_signatures.is_some();
    let is_drawn_alike = !sampled || asked.of_data() == stored.of_data();
    let is_wider = asked.includes(stored) && is_drawn_alike;
    if asked == *stored || is_wider || counts.of(Kind::Summaries).total() == 0 {
        return Ok(asked);
    }
    let (path, differences) = (config.store.path.clone(), stored.differences(&asked));
    Err(ScopeError::NotWider { path, differences, sampled }.into())
}

/// Pins the scope that `config` asks for, and adds the requests that follow from it to the frontier. They are stored first:
/// a finished crawl derives nothing again, so the pinned scope must not be ahead of them.
///
/// # Errors
/// [`Error`] if the scope is not wider than the pinned one, or does not fit the repository.
pub(super) fn pin_scope(store: &Store, identity: &mut CrawlIdentity, config: &Config) -> Result<(), Error> {
    let counts = store.counts()?;
    let scope = scope_of(identity, &counts, config)?;
    if scope == identity.scope {
        return Ok(());
    }
    let wider = CrawlIdentity { scope, ..identity.clone() };
    if rereads_alerts(&identity.scope, &wider.scope)
        && let Some(pass) = store.last_alert_pass()?
    {
        let first = Request::AlertPage { pass: pass.saturating_add(1), page: 1 };
        store.commit(Change::Expand { settlement: Box::new(Settlement::discovery(vec![Pending::of(first)])) })?;
    }
    if counts.of(Kind::Summaries).total() > 0 {
        tracing::info!(before = %identity.scope, now = %wider.scope, "the scope is wider than before; fetching the difference");
        if wider.scope.replicates && !identity.scope.replicates {
            tracing::info!("fetching the replicates of all signatures of the scope, over the whole window");
        }
        for settlement in widening(store, &wider)? {
            store.commit(Change::Expand { settlement: Box::new(settlement) })?;
        }
    }
    // One that is not finished derives them at its end.
    if wider.scope.all_jobs && !identity.scope.all_jobs && counts.is_complete() {
        tracing::info!("fetching the details of the jobs of all stored data");
        for settlement in all_jobs(store)? {
            store.commit(Change::Expand { settlement: Box::new(settlement) })?;
        }
    }
    store.pin_identity(&wider)?;
    *identity = wider;
    Ok(())
}

/// True if the list of alert summaries must be read again: it was asked for without some of them, or with too many.
fn rereads_alerts(before: &Scope, after: &Scope) -> bool {
    before.alert_statuses.is_default() != after.alert_statuses.is_default()
}

/// The effect of a scope on a crawl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopeEffect {
    /// The scope.
    pub(crate) scope: Scope,
    /// Summary requests that a crawl of all signatures would make in addition.
    pub(crate) num_saved: u64,
    /// Summary requests that the store does not have, since its scope is narrower.
    pub(crate) num_added: u64,
    /// Requests for replicates that the store does not have.
    pub(crate) num_replicates: u64,
    /// Jobs of stored data that the store was not asked for, since its scope has only sampled ones.
    pub(crate) num_jobs: u64,
    /// Requests for alert summaries, about: the list is read again, since the store has only those of the default statuses.
    pub(crate) num_alert_pages: u64,
}

/// The effect of the scope that `config` asks for, on a store that has the lists. Changes nothing.
///
/// # Errors
/// As [`pin_scope`].
pub(crate) fn scope_effect(store: &Store, config: &Config) -> Result<ScopeEffect, Error> {
    let Some(identity) = store.identity()? else { return Ok(ScopeEffect::default()) };
    let scope = scope_of(&identity, &store.counts()?, config)?;
    let requests = |scope: &Scope| -> Result<[u64; 2], Error> {
        let identity = CrawlIdentity { scope: scope.clone(), ..identity.clone() };
        let mut num_added = [0; 2];
        for added in widening(store, &identity)? {
            for (num, kind) in num_added.iter_mut().zip([Kind::Summaries, Kind::Replicates]) {
                *num += added.num_discovered(kind);
            }
        }
        Ok(num_added)
    };
    let ([all, _], [asked, num_replicates]) = (requests(&Scope::default())?, requests(&scope)?);
    let alerts = store.counts()?.of(Kind::Alerts).settled();
    let num_alert_pages = if rereads_alerts(&identity.scope, &scope) { alerts } else { 0 };
    let num_jobs = if scope.all_jobs { missing_jobs(store)?.len() as u64 } else { 0 };
    Ok(ScopeEffect {
        num_jobs,
        num_saved: all.saturating_sub(asked),
        num_added: asked,
        num_replicates,
        num_alert_pages,
        scope,
    })
}
