//! Expansion: the requests that follow from stored answers. The first requests, the summaries of listed signatures, the next
//! pages of alerts, the samples of signatures whose window was split.
//!
//! Everything here depends on the store alone, so the result is the same after any interruption.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::error::FetchError;
use super::expansions::Expansions;
use super::refresh::{earlier_readings, later_summaries, samples_after_joining};
use super::scope::{asks_for_headers, lacks_frameworks, selected_signatures};
use crate::config::{BatchConfig, SignatureScope};
use crate::model::{FIRST_HARVEST, FrameworkId, Kind, Request, SignatureId, Window, sampled_jobs};
use crate::source::{AlertPageOutline, PassVerdict, closing_looks, judge_pass, pages_of};
use crate::store::columns::ColumnSet;
use crate::store::{
    ChunkReader, CrawlIdentity, Outcome, Pending, SettledSummary, Settlement, Store, StoreError, job_pending,
};

/// Maximum of passes over the alert list in one run; a list that moved in all of them will not keep still.
const MAX_PASSES: u16 = 8;

/// Frameworks are asked up to this id even when the server does not list them: disabled frameworks keep their signatures.
const HIGHEST_KNOWN_FRAMEWORK: u64 = 20;

/// The requests that a crawl begins with.
#[must_use]
pub(crate) fn first_requests(batch: &BatchConfig) -> Vec<Pending> {
    let lists = if batch.signatures_by_framework {
        vec![Request::Frameworks]
    } else {
        vec![Request::Signatures { framework: None }, Request::UpdatedSignatures { framework: None }]
    };
    let alerts = Request::AlertPage { pass: 0, page: 1 };
    lists.into_iter().chain([alerts]).map(Pending::of).collect()
}

/// The expansion once no request for alert summaries is pending or in flight.
#[derive(Debug)]
pub(super) enum AfterAlerts {
    /// These requests follow; the pass is complete when there are none.
    Requests(Vec<Pending>),
    /// The list moved in every pass of this run: rows may be missing, and the next run reads it again.
    AlwaysMoved,
}

/// See [`AfterAlerts`]; `first_pass` is the pass that the run began with.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(super) fn after_alerts(store: &Store, page_size: u32, first_pass: u16) -> Result<AfterAlerts, StoreError> {
    let Some(pass) = store.last_alert_pass()? else {
        return Ok(AfterAlerts::Requests(vec![Pending::of(Request::AlertPage { pass: 0, page: 1 })]));
    };
    let mut error = None;
    let verdict = judge_pass(page_size, |page| match store.alert_page(pass, page) {
        Ok(found) => found.map(|page| {
            let num_set_aside = page.set_aside.len();
            let ids = page.ids.into_iter().chain(page.set_aside).collect();
            AlertPageOutline { count: page.count, ids, num_set_aside }
        }),
        Err(failed) => {
            error = Some(failed);
            None
        }
    });
    if let Some(error) = error {
        return Err(error);
    }
    let page = |page| Pending::of(Request::AlertPage { pass, page });
    Ok(AfterAlerts::Requests(match verdict {
        PassVerdict::NeedsPages(last) => (1..=last).map(page).collect(),
        PassVerdict::NeedsClosingLooks { last, first_is_whole } => {
            closing_looks(last, first_is_whole).map(page).collect()
        }
        PassVerdict::Still => Vec::new(),
        PassVerdict::Shifted => match pass.checked_add(1).filter(|next| next - first_pass < MAX_PASSES) {
            Some(next) => {
                tracing::info!(pass, "the list of alert summaries moved during this pass; starting another pass");
                vec![Pending::of(Request::AlertPage { pass: next, page: 1 })]
            }
            None => return Ok(AfterAlerts::AlwaysMoved),
        },
    }))
}

/// The pages that page 1 shows to exist.
pub(super) fn pages_after(pass: u16, page: u32, count: u64, page_size: u32) -> impl Iterator<Item = Pending> {
    let last = if page == 1 { pages_of(count, page_size) } else { 1 };
    (2..=last).map(move |page| Pending::of(Request::AlertPage { pass, page }))
}

/// The expansion once no request for signature lists is pending or in flight: the lists by framework, then the summaries of
/// the scope. While `alerts_to_come`, a scope that depends on the alert summaries has none.
///
/// # Errors
/// [`FetchError::Scope`] when the scope does not fit the repository, [`FetchError::Store`] when the store cannot be read.
pub(super) fn after_signatures(
    store: &Store,
    identity: &CrawlIdentity,
    alerts_to_come: bool,
) -> Result<Expansions, FetchError> {
    if !is_settled_or_unknown(store, Request::Frameworks)? {
        return Ok(Expansions::default()); // the lists follow by framework, once the frameworks are known
    }
    let frameworks = store.id_list(&Request::Frameworks)?;
    let whole_list = Request::Signatures { framework: None };
    let whole_updated = Request::UpdatedSignatures { framework: None };
    let (mut lists, mut updated_lists) = (vec![whole_list], vec![whole_updated]);
    if let Some(listed) = frameworks {
        let of = |id: &FrameworkId| Some(*id);
        let ids = frameworks_to_ask(listed);
        // A whole list that failed is not asked in parts: frameworks may be listed for the scope alone.
        let is_in_parts = |list: &Request| {
            Ok::<_, StoreError>(store.settled(list)?.is_none() && is_settled_or_unknown(store, *list)?)
        };
        if is_in_parts(&whole_list)? {
            lists = ids.iter().map(|id| Request::Signatures { framework: of(id) }).collect();
        }
        if is_in_parts(&whole_updated)? {
            updated_lists = ids.iter().map(|id| Request::UpdatedSignatures { framework: of(id) }).collect();
        }
    }
    let mut missing = Vec::new();
    for list in &lists {
        if store.settled(list)?.is_none() {
            missing.push(Pending::of(*list));
        }
    }
    let mut updated: Option<HashSet<u64>> = Some(HashSet::new());
    for list in &updated_lists {
        if let Some(ids) = store.id_list(list)? {
            if let Some(all) = &mut updated {
                all.extend(ids);
            }
        } else {
            missing.push(Pending::of(*list));
            updated = None;
        }
    }
    // Lists that failed in this run are not asked again; their signatures are left to the next run. A sample is drawn of all
    // signatures, so it waits for them.
    let failed = failed_lists(store)?;
    let waits_for = |list: &Request| identity.sample_signatures.is_some() || !failed.contains(list);
    let missing_lists = missing.iter().any(|pending| lists.contains(&pending.request) && waits_for(&pending.request));
    let mut expansions = Expansions::of(Settlement::discovery(missing));
    if missing_lists {
        return Ok(expansions);
    }
    if lacks_frameworks(store, &identity.scope)? {
        expansions.push(Expansions::of(Settlement::discovery(vec![Pending::of(Request::Frameworks)])));
    } else if !(alerts_to_come && identity.scope.signatures == SignatureScope::Alerted) {
        expansions.push(summaries(store, identity, updated.map(Arc::new))?);
    }
    Ok(expansions)
}

/// The requests that a wider scope adds to those of the store.
///
/// # Errors
/// As [`FetchError::Scope`] and [`FetchError::Store`].
pub(crate) fn widening(store: &Store, identity: &CrawlIdentity) -> Result<Expansions, FetchError> {
    after_signatures(store, identity, false)
}

/// The frameworks whose signatures are listed one by one, when the server lists the enabled ones as `listed`.
pub(super) fn frameworks_to_ask(listed: Vec<u64>) -> Vec<FrameworkId> {
    let ids: BTreeSet<u64> = listed.into_iter().chain(1..=HIGHEST_KNOWN_FRAMEWORK).collect();
    ids.into_iter().map(FrameworkId).collect()
}

fn failed_lists(store: &Store) -> Result<HashSet<Request>, StoreError> {
    let requests = store.failures().map(|failure| failure.map(|(request, _)| request));
    requests.filter(|request| request.as_ref().map_or(true, |request| request.kind() == Kind::Signatures)).collect()
}

fn is_settled_or_unknown(store: &Store, request: Request) -> Result<bool, StoreError> {
    for known in store.pending().map(|pending| Ok::<_, StoreError>(pending?.request)) {
        if known? == request {
            return Ok(false);
        }
    }
    for failure in store.failures() {
        if failure?.0 == request {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A request for the data of each signature that has none yet, and for the replicates if the scope has them; those without data
/// in the window are settled as skipped.
fn summaries(
    store: &Store,
    identity: &CrawlIdentity,
    updated: Option<Arc<HashSet<u64>>>,
) -> Result<Expansions, FetchError> {
    let mut expansions = summaries_of(store, identity, updated.clone(), false)?;
    if identity.scope.replicates {
        expansions.push(summaries_of(store, identity, updated, true)?);
    }
    Ok(expansions)
}

fn summaries_of(
    store: &Store,
    identity: &CrawlIdentity,
    updated: Option<Arc<HashSet<u64>>>,
    replicates: bool,
) -> Result<Expansions, FetchError> {
    let window = identity.data_window();
    let mut known = HashSet::new();
    let harvest = store.newest_harvest()?.filter(|harvest| harvest.number > FIRST_HARVEST);
    for_each_known_summary(store, replicates, |signature, asked_by, _| {
        if harvest.as_ref().is_none_or(|harvest| harvest.number == asked_by) {
            known.insert(signature);
        }
    })?;
    if let Some(harvest) = harvest {
        return later_summaries(store, identity, &harvest, &known, updated.as_deref(), replicates);
    }
    let missing: Vec<SignatureId> =
        selected_signatures(store, identity)?.into_iter().filter(|id| !known.contains(id)).collect();
    let asks_for_headers = asks_for_headers(identity, replicates);
    Ok(Expansions::in_portions(missing, move |signatures| {
        let mut settlement = Settlement::default();
        for &signature in signatures {
            let request = Request::Summary { signature, harvest: FIRST_HARVEST, window, replicates };
            settlement = match &updated {
                Some(updated) if !updated.contains(&signature.0) && !asks_for_headers => {
                    settlement.and(Settlement::without_records(request, Outcome::Skipped))
                }
                _ => settlement.with_discovered([Pending::of(request)]),
            };
        }
        settlement
    }))
}

/// Hands over each summary of the frontier, with or without replicates. While a writer works, a request may be seen twice, in the state that it leaves
/// and in the one that it enters, but is never missed.
fn for_each_known_summary(
    store: &Store,
    with_replicates: bool,
    mut know: impl FnMut(SignatureId, u16, Window),
) -> Result<(), StoreError> {
    let mut take = |request: Request| match request {
        Request::Summary { signature, harvest, window, replicates } if replicates == with_replicates => {
            know(signature, harvest, window);
        }
        _ => {}
    };
    for pending in store.pending() {
        take(pending?.request);
    }
    for failure in store.failures() {
        take(failure?.0);
    }
    for summary in store.settled_rows(with_replicates) {
        take(summary?.request());
    }
    Ok(())
}

/// The parts of windows that a damaged store has lost: the gaps between the parts of each split signature. Must not run
/// beside a writer, which adds parts one after the other.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(crate) fn lost_parts(store: &Store, identity: &CrawlIdentity) -> Result<Vec<Pending>, StoreError> {
    let mut lost = lost_parts_of(store, identity, false)?;
    lost.extend(lost_parts_of(store, identity, true)?);
    Ok(lost)
}

fn lost_parts_of(store: &Store, identity: &CrawlIdentity, replicates: bool) -> Result<Vec<Pending>, StoreError> {
    let whole = identity.data_window();
    let Some(newest) = store.newest_harvest()? else { return Ok(Vec::new()) };
    let harvest = newest.number;
    let mut in_parts: BTreeMap<SignatureId, Vec<Window>> = BTreeMap::new();
    for_each_known_summary(store, replicates, |signature, asked_by, window| {
        if asked_by == harvest && window != whole {
            in_parts.entry(signature).or_default().push(window);
        }
    })?;
    if in_parts.is_empty() {
        return Ok(Vec::new()); // as in most crawls
    }
    for_each_known_summary(store, replicates, |signature, asked_by, window| {
        if asked_by == harvest && window == whole {
            in_parts.remove(&signature);
        }
    })?;
    let readings = match harvest {
        FIRST_HARVEST => HashMap::new(),
        _ => earlier_readings(store, identity, harvest, replicates)?,
    };
    let mut lost = Vec::new();
    for (signature, parts) in in_parts {
        let asked = readings.get(&signature).map_or(whole, |reading| reading.window_after(identity, &newest));
        let request = |window| Pending::of(Request::Summary { signature, harvest, window, replicates });
        lost.extend(asked.gaps(parts).into_iter().map(request));
    }
    Ok(lost)
}

/// The samples of signatures whose data came in parts: of a split window, or of several harvests. A signature that lacks a
/// part has no sample yet: the median of half the data is another one.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(super) fn samples_of_signatures_in_parts(
    store: &Store,
    identity: &CrawlIdentity,
) -> Result<Vec<Pending>, StoreError> {
    let newest = store.newest_harvest()?.map_or(FIRST_HARVEST, |harvest| harvest.number);
    if newest > FIRST_HARVEST {
        return samples_after_joining(store, newest);
    }
    let whole = identity.data_window();
    let mut parts: BTreeMap<SignatureId, Vec<SettledSummary>> = BTreeMap::new();
    for summary in store.settled_summaries() {
        let summary = summary?;
        if summary.window != whole {
            parts.entry(summary.signature).or_default().push(summary);
        }
    }
    let mut discovered = Vec::new();
    let mut chunks = ChunkReader::new(store);
    for parts in parts.into_values().filter(|parts| whole.is_covered(parts.iter().map(|part| part.window))) {
        let mut jobs = Vec::new();
        for part in &parts {
            let wanted = ColumnSet::JOB_IDS | ColumnSet::SUBMIT_TIMES;
            chunks.for_each::<StoreError>(&part.request(), part.settled.num_chunks, wanted, |columns| {
                jobs.extend((0..columns.len()).map(|at| columns.aged_job(at)));
                Ok(())
            })?;
        }
        discovered.extend(sampled_jobs(&jobs).map(job_pending));
    }
    Ok(discovered)
}
