//! The summaries that a later harvest asks for.
//!
//! A signature that moved, that is, has newer data on the server than in the store, is asked from an overlap before its newest
//! known push on. Two lists tell of these: the signatures with data since the end of the harvest before moved, and of those
//! with data since the overlap before that end, the ones whose known data are all older. Treeherder does not tell of other
//! data that arrive late for old pushes, so one that did not move is asked again too, once in a while, if it had data within
//! the overlap before its last reading. So every datum that arrives within the overlap is found, however seldom its signature
//! runs. Like every expansion, this depends on the store alone.

use std::collections::{HashMap, HashSet};

use super::error::FetchError;
use super::expansions::Expansions;
use super::scope::{asks_for_headers, selected_signatures};
use crate::model::{Request, SignatureId, Timestamp, Window, sampled_jobs};
use crate::store::{
    CrawlIdentity, Harvest, Outcome, Pending, SeriesReader, SettledSummary, Settlement, Store, StoreError, is_whole,
    job_pending,
};

/// The last reading of a signature by the harvests before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The harvest that read it.
    harvest: u16,
    /// Of the newest known datum; `None` without data.
    newest_push: Option<Timestamp>,
}

impl Reading {
    /// The window that a later harvest asks for at first.
    pub(super) fn window_after(&self, identity: &CrawlIdentity, harvest: &Harvest) -> Window {
        let whole = identity.data_window();
        let Some(newest) = self.newest_push.filter(|_| !harvest.lateness.is_full) else { return whole };
        let start = harvest.lateness.overlap_before(newest);
        Window { start: start.max(whole.start), end: whole.end }
    }
}

/// The last reading of each signature before harvest `number`, of its data or of their replicates.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(super) fn earlier_readings(
    store: &Store,
    identity: &CrawlIdentity,
    number: u16,
    replicates: bool,
) -> Result<HashMap<SignatureId, Reading>, StoreError> {
    let (start, ends) = (identity.data_window().start, store.harvest_ends()?);
    let mut readings: HashMap<SignatureId, Reading> = HashMap::new();
    store.for_each_reading(replicates, |parts| {
        let SettledSummary { signature, harvest, .. } = parts[0];
        // Parts that were never joined lack others, which failed.
        if harvest < number && is_whole(parts, start, &ends) {
            let newest_push = parts.iter().filter_map(|part| part.settled.newest_push).max();
            readings.insert(signature, Reading { harvest, newest_push });
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(readings)
}

/// Why a later harvest asks for the data of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It was never asked for, or had no data.
    New,
    /// The server has newer data of it than the store.
    Moved,
    /// It has no newer data, and may have got some for old pushes.
    LateCheck,
    /// Everything is asked for again.
    Full,
}

/// A signature that a later harvest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) signature: SignatureId,
    pub(crate) window: Window,
    /// `None`: it is new and has no data in the window, so it is settled without a request.
    pub(crate) reason: Option<Reason>,
}

/// The signatures that a later harvest asks for, or settles without a request, ascending: by the readings of `store`, and by
/// the server's lists that `lists` has. `updated`: the signatures with data since the window's start, where the server said
/// so. With `replicates`, those whose replicates it asks for.
///
/// # Errors
/// [`FetchError`] when the scope selects nothing or a store cannot be read.
pub(crate) fn due_signatures(
    store: &Store,
    lists: &Store,
    identity: &CrawlIdentity,
    harvest: &Harvest,
    updated: Option<&HashSet<u64>>,
    replicates: bool,
) -> Result<Vec<Due>, FetchError> {
    let ends = store.harvest_ends()?;
    let previous_end = ends.end_of(harvest.number.saturating_sub(1));
    let ids_of = |list: Request| lists.id_list(&list).map(|ids| ids.map(HashSet::<u64>::from_iter));
    let [moved, in_overlap] = harvest.lateness.lists_of_moved(previous_end).map(ids_of);
    let (moved, in_overlap, overlap) = (moved?, in_overlap?, harvest.lateness.overlap_before(previous_end));
    let readings = earlier_readings(store, identity, harvest.number, replicates)?;
    let listed = lists.listed_signatures()?;
    // A sample is drawn once.
    let selected = if identity.sample_signatures.is_some() {
        let drawn =
            if replicates { earlier_readings(store, identity, harvest.number, false)? } else { readings.clone() };
        let mut sampled: Vec<SignatureId> = drawn.into_keys().collect();
        sampled.sort_unstable();
        sampled
    } else {
        selected_signatures(lists, identity)?
    };
    let mut due = Vec::new();
    for signature in selected.into_iter().filter(|id| listed.contains(id)) {
        let may_have_data = updated.is_none_or(|updated| updated.contains(&signature.0));
        // Without a list, all with data in the window may be in it.
        let is_in = |list: &Option<HashSet<u64>>| list.as_ref().map_or(may_have_data, |ids| ids.contains(&signature.0));
        let reading = readings.get(&signature);
        let window = reading.map_or(identity.data_window(), |reading| reading.window_after(identity, harvest));
        let reason = match reading.map(|reading| (reading, reading.newest_push)) {
            None => (may_have_data || asks_for_headers(identity, replicates)).then_some(Reason::New),
            Some(_) if harvest.lateness.is_full && may_have_data => Some(Reason::Full),
            Some((_, None)) if may_have_data => Some(Reason::New),
            Some((_, None)) => continue,
            Some((reading, Some(newest))) => {
                if is_in(&moved) || (newest < overlap && is_in(&in_overlap)) {
                    Some(Reason::Moved)
                } else if is_late_check_due(harvest, newest, ends.end_of(reading.harvest)) {
                    Some(Reason::LateCheck)
                } else {
                    continue; // the stored data are all that there is
                }
            }
        };
        due.push(Due { signature, window, reason });
    }
    Ok(due)
}

/// The expansion of the signature lists of a later harvest. `known`: the signatures that it has asked for.
///
/// # Errors
/// As [`due_signatures`].
pub(super) fn later_summaries(
    store: &Store,
    identity: &CrawlIdentity,
    harvest: &Harvest,
    known: &HashSet<SignatureId>,
    updated: Option<&HashSet<u64>>,
    replicates: bool,
) -> Result<Expansions, FetchError> {
    let mut due = due_signatures(store, store, identity, harvest, updated, replicates)?;
    due.retain(|due| !known.contains(&due.signature));
    let harvest = harvest.number;
    Ok(Expansions::in_portions(due, move |due| {
        due.iter().fold(Settlement::default(), |settlement, Due { signature, window, reason }| {
            let (signature, window) = (*signature, *window);
            let request = Request::Summary { signature, harvest, window, replicates };
            match reason {
                Some(_) => settlement.with_discovered([Pending::of(request)]),
                None => settlement.and(Settlement::without_records(request, Outcome::Skipped)),
            }
        })
    }))
}

/// True if a signature that did not move may have got data for old pushes since it was read.
fn is_late_check_due(harvest: &Harvest, newest: Timestamp, read_up_to: Timestamp) -> bool {
    let since_reading = harvest.data_end.as_secs().saturating_sub(read_up_to.as_secs());
    newest >= harvest.lateness.overlap_before(read_up_to) && since_reading >= harvest.lateness.late_check_secs
}

/// The samples of the signatures whose data a later harvest adds to, as they will be when its answers are joined.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(super) fn samples_after_joining(store: &Store, harvest: u16) -> Result<Vec<Pending>, StoreError> {
    let mut discovered = Vec::new();
    let mut reader = SeriesReader::new(store)?;
    for signature in store.signatures_to_join(harvest, false)? {
        let parts = store.summaries_of(signature).map(|part| part.map(|part| part.part()));
        let series = reader.read(&parts.collect::<Result<Vec<_>, _>>()?)?;
        let jobs = series.data.iter().map(|record| {
            let submitted = record.submit_time().unwrap_or_else(|| record.push_timestamp());
            record.job_id().map(|id| (id, submitted))
        });
        discovered.extend(sampled_jobs(&jobs.collect::<Vec<_>>()).map(job_pending));
    }
    Ok(discovered)
}
