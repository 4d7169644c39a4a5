//! Expansion: the requests that follow from stored answers. The first requests, the summaries of listed signatures, the next
//! pages of alerts, the samples of signatures whose window was split.
//!
//! Everything here depends on the store alone, so the result is the same after any interruption.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::config::BatchConfig;
use crate::model::{FrameworkId, Kind, Request, SignatureId, Window, sampled_jobs};
use crate::source::{AlertPageOutline, PassVerdict, closing_looks, judge_pass, pages_of};
use crate::store::columns::ColumnSet;
use crate::store::{
    ChunkReader, CrawlIdentity, Outcome, Pending, SettledSummary, Settlement, Store, StoreError, job_pending,
};

/// Maximum of passes over the alert list in one run; a list that moved in all of them will not keep still.
const MAX_PASSES: u16 = 8;

/// Signatures per expansion, so that a long list does not fill the writer's memory.
const SIGNATURES_PER_EXPANSION: usize = 1000;

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

/// The expansion once no request for signature lists is pending or in flight: the lists by framework, then the summaries.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(super) fn after_signatures(store: &Store, identity: &CrawlIdentity) -> Result<Vec<Settlement>, StoreError> {
    if !is_settled_or_unknown(store, Request::Frameworks)? {
        return Ok(Vec::new()); // the lists follow by framework, once the frameworks are known
    }
    let frameworks = store.id_list(&Request::Frameworks)?;
    let whole_list = Request::Signatures { framework: None };
    let whole_updated = Request::UpdatedSignatures { framework: None };
    let (mut lists, mut updated_lists) = (vec![whole_list], vec![whole_updated]);
    if let Some(listed) = frameworks {
        let of = |id: &FrameworkId| Some(*id);
        let ids = frameworks_to_ask(listed);
        if store.settled(&whole_list)?.is_none() {
            lists = ids.iter().map(|id| Request::Signatures { framework: of(id) }).collect();
        }
        if store.settled(&whole_updated)?.is_none() {
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
    let mut expansions = vec![Settlement::discovery(missing)];
    if !missing_lists {
        expansions.extend(summaries(store, identity, updated.as_ref())?);
    }
    Ok(expansions)
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

/// A request for the data of each signature that has none yet; those without data in the window are settled as skipped.
fn summaries(
    store: &Store,
    identity: &CrawlIdentity,
    updated: Option<&HashSet<u64>>,
) -> Result<Vec<Settlement>, StoreError> {
    let window = identity.data_window();
    let mut known = HashSet::new();
    for_each_known_summary(store, |signature, _| {
        known.insert(signature);
    })?;
    let missing: Vec<SignatureId> =
        store.chosen_signatures(identity)?.into_iter().filter(|id| !known.contains(id)).collect();
    let expansion = |signatures: &[SignatureId]| {
        let mut settlement = Settlement::default();
        for &signature in signatures {
            let request = Request::Summary { signature, window };
            settlement = match updated {
                Some(updated) if !updated.contains(&signature.0) => {
                    settlement.and(Settlement::without_records(request, Outcome::Skipped))
                }
                _ => settlement.with_discovered([Pending::of(request)]),
            };
        }
        settlement
    };
    Ok(missing.chunks(SIGNATURES_PER_EXPANSION).map(expansion).collect())
}

/// Hands over each summary of the frontier. While a writer works, a request may be seen twice, in the state that it leaves
/// and in the one that it enters, but is never missed.
fn for_each_known_summary(store: &Store, mut know: impl FnMut(SignatureId, Window)) -> Result<(), StoreError> {
    let mut take = |request: Request| {
        if let Request::Summary { signature, window } = request {
            know(signature, window);
        }
    };
    for pending in store.pending() {
        take(pending?.request);
    }
    for failure in store.failures() {
        take(failure?.0);
    }
    for summary in store.settled_summaries() {
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
    let whole = identity.data_window();
    let mut in_parts: BTreeMap<SignatureId, Vec<Window>> = BTreeMap::new();
    for_each_known_summary(store, |signature, window| {
        if window != whole {
            in_parts.entry(signature).or_default().push(window);
        }
    })?;
    if in_parts.is_empty() {
        return Ok(Vec::new()); // as in most crawls
    }
    for_each_known_summary(store, |signature, window| {
        if window == whole {
            in_parts.remove(&signature);
        }
    })?;
    let mut lost = Vec::new();
    for (signature, mut parts) in in_parts {
        parts.sort_unstable_by_key(|part| part.start);
        let request = |window| Pending::of(Request::Summary { signature, window });
        lost.extend(gaps(&parts, whole).into_iter().map(request));
    }
    Ok(lost)
}

/// The samples of signatures whose window was split. A signature that lacks a part has no sample yet: the median of half
/// the data is another one.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(super) fn samples_of_split_signatures(store: &Store, identity: &CrawlIdentity) -> Result<Vec<Pending>, StoreError> {
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
    for parts in parts.into_values().filter(|parts| cover(parts, whole)) {
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

/// True when `parts`, by their start, leave no gap in `whole`.
fn cover(parts: &[SettledSummary], whole: Window) -> bool {
    let windows: Vec<Window> = parts.iter().map(|part| part.window).collect();
    gaps(&windows, whole).is_empty()
}

/// The gaps that `parts`, sorted by their start, leave in `whole`.
fn gaps(parts: &[Window], whole: Window) -> Vec<Window> {
    let mut gaps = Vec::new();
    let mut covered_until = whole.start;
    for part in parts {
        if part.start > covered_until {
            gaps.push(Window { start: covered_until, end: part.start });
        }
        covered_until = covered_until.max(part.end);
    }
    if covered_until < whole.end {
        gaps.push(Window { start: covered_until, end: whole.end });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn day(n: i64) -> Timestamp {
        Timestamp::from_secs(n * 86_400)
    }

    fn days(start: i64, end: i64) -> Window {
        Window { start: day(start), end: day(end) }
    }

    #[test]
    fn the_gaps_of_a_window_are_outside_all_its_parts() {
        let whole = days(0, 8);
        assert_eq!(gaps(&[whole], whole), []);
        assert_eq!(gaps(&[days(0, 4), days(4, 8)], whole), []);
        assert_eq!(gaps(&[days(0, 2), days(1, 4), days(4, 9)], whole), []);
        assert_eq!(gaps(&[], whole), [whole]);
        assert_eq!(gaps(&[days(0, 4)], whole), [days(4, 8)]);
        assert_eq!(gaps(&[days(2, 4), days(5, 6), days(6, 8)], whole), [days(0, 2), days(4, 5)]);
        assert_eq!(gaps(&[days(0, 5), days(1, 2), days(6, 7)], whole), [days(5, 6), days(7, 8)]);
    }
}
