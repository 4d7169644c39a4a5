//! The stored data of a signature meet those of a newer answer.
//!
//! In: the stored data with the harvests that saw them, and the answer of a later harvest for a window. Out: the data to
//! store from then on, and the changes for the feed. This is pure, and linear but for sorting.
//!
//! Nothing that was stored disappears: a datum that the server no longer lists stays, and no known job field becomes null.
//! The result does not depend on how the window was cut, nor on the order of its parts.

mod changes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smol_str::SmolStr;

use super::columns::{Columns, ColumnsError};
use crate::model::{
    Datum, DatumFields, DatumId, DatumRecord, JobId, PushId, Revision, Seen, Timestamp, Window, api_order,
    bring_to_api_order,
};

pub use changes::{DataChanges, DatumChange, DatumList, RowsChange, RowsChanges};

/// The data of a signature in the order of [`api_order`], each id once, and the harvests that saw each of them. Of an answer with
/// replicates, the rows of each datum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The data.
    pub data: Vec<DatumRecord>,
    /// As many as data.
    pub seen: Vec<Seen>,
}

impl Series {
    /// The data of an answer of `harvest`.
    #[must_use]
    pub fn of_answer(data: Vec<DatumRecord>, harvest: u16) -> Self {
        let seen = vec![Seen::once(harvest); data.len()];
        Self { data, seen }
    }

    /// Appends all rows of a chunk with all columns. `harvest` is that of a chunk which has no harvests of its own.
    ///
    /// # Errors
    /// As [`Columns::record`]; a part of the chunk is appended then.
    pub fn add_chunk(
        &mut self,
        columns: &Columns,
        harvest: u16,
        revision_of: impl Fn(PushId) -> Option<Revision>,
    ) -> Result<(), ColumnsError> {
        for index in 0..columns.len() {
            columns.add_rows(index, &revision_of, &mut self.data)?;
            self.seen.resize(self.data.len(), columns.seen(index).unwrap_or(Seen::once(harvest)));
        }
        Ok(())
    }

    /// The harvests that saw each datum with an id.
    pub(super) fn seen_by_id(&self) -> HashMap<DatumId, Seen> {
        self.data.iter().zip(&self.seen).filter_map(|(record, seen)| Some((record.id()?, *seen))).collect()
    }

    /// Brings the data to the order of [`api_order`]; equal ones keep theirs.
    pub(super) fn sort(&mut self) {
        if self.data.is_sorted_by(|left, right| api_order(left) <= api_order(right)) {
            return;
        }
        let mut data: Vec<_> = self.data.drain(..).zip(self.seen.drain(..)).collect();
        data.sort_by(|(left, _), (right, _)| api_order(left).cmp(&api_order(right)));
        (self.data, self.seen) = data.into_iter().unzip();
    }
}

/// Merges the data that `harvest` got for the window `asked` into `base`.
///
/// A datum is matched by its id, or by its text if it has none. The newer fields hold, but job fields that the newer datum
/// lacks are kept. `newer` may be in any order. Data pushed before `previous_end`, the end of the data of the harvest before,
/// count as late.
///
/// # Panics
/// When `base` has not as many harvests as data.
#[must_use]
pub fn merge(
    base: Series,
    mut newer: Vec<DatumRecord>,
    harvest: u16,
    asked: Window,
    previous_end: Timestamp,
) -> (Series, DataChanges) {
    assert_eq!(base.data.len(), base.seen.len(), "the harvests are not those of the data");
    bring_to_api_order(&mut newer);
    let mut changes = DataChanges::default();
    let mut merged = base;
    let mut unmatched = Unmatched::new(&newer);
    for (record, seen) in merged.data.iter_mut().zip(&mut merged.seen) {
        if let Some(at) = unmatched.take(record) {
            meet(record, seen, &newer[at], &mut changes);
            seen.last = harvest;
        } else if asked.contains(record.push_timestamp()) && seen.last < harvest && !seen.unlisted {
            seen.unlisted = true;
            changes.unlisted.add(record);
        }
    }
    let is_matched = unmatched.is_matched;
    for (record, _) in newer.into_iter().zip(is_matched).filter(|(_, is_matched)| !is_matched) {
        changes.added.add(&record);
        if record.push_timestamp() < previous_end {
            changes.late.add(&record);
        }
        merged.data.push(record);
        merged.seen.push(Seen::once(harvest));
    }
    merged.sort();
    (merged, changes)
}

/// The newer data that no stored one has matched yet.
struct Unmatched<'a> {
    by_id: HashMap<DatumId, usize, RandomState>,
    /// Those without an id; several may have one text.
    by_text: HashMap<&'a str, Vec<usize>, RandomState>,
    is_matched: Vec<bool>,
}

impl<'a> Unmatched<'a> {
    fn new(newer: &'a [DatumRecord]) -> Self {
        let mut unmatched = Self {
            by_id: HashMap::with_capacity_and_hasher(newer.len(), RandomState::default()),
            by_text: HashMap::default(),
            is_matched: vec![false; newer.len()],
        };
        for (at, record) in newer.iter().enumerate() {
            match (record.id(), record) {
                (Some(id), _) => {
                    unmatched.by_id.insert(id, at);
                }
                (None, DatumRecord::Irregular(datum)) => {
                    unmatched.by_text.entry(datum.raw.as_str()).or_default().push(at);
                }
                (None, DatumRecord::Regular(_)) => {}
            }
        }
        unmatched
    }

    /// The index of the newer form of a stored datum.
    fn take(&mut self, stored: &DatumRecord) -> Option<usize> {
        let at = match (stored.id(), stored) {
            (Some(id), _) => *self.by_id.get(&id)?,
            (None, DatumRecord::Irregular(datum)) => self.by_text.get_mut(datum.raw.as_str())?.pop()?,
            (None, DatumRecord::Regular(_)) => return None,
        };
        self.is_matched[at] = true;
        Some(at)
    }
}

/// Replaces a stored datum by its newer form.
fn meet(record: &mut DatumRecord, seen: &mut Seen, newer: &DatumRecord, changes: &mut DataChanges) {
    let (merged, job_expired) = if is_same(record, newer) { (None, false) } else { join(record, newer) };
    if let Some(after) = merged.filter(|merged| !is_same(record, merged))
        && let Some(id) = after.id()
    {
        let before = std::mem::replace(record, after.clone());
        changes.changed.push(DatumChange { id, before, after });
    }
    match (seen.job_expired, job_expired) {
        (false, true) => changes.expired.add(record),
        (true, false) => changes.job_returned.add(record),
        _ => {}
    }
    seen.job_expired = job_expired;
    if seen.unlisted {
        changes.listed_again.add(record);
        seen.unlisted = false;
    }
}

/// Equal to the bit: 0.0 and -0.0 have different texts.
fn is_same(left: &DatumRecord, right: &DatumRecord) -> bool {
    let bits = |record: &DatumRecord| match record {
        DatumRecord::Regular(datum) => datum.value.to_bits(),
        DatumRecord::Irregular(_) => 0,
    };
    left == right && bits(left) == bits(right)
}

/// The newer datum with the job fields that only the stored one has, and true if there are any; `None` if the stored one
/// stays as a whole.
fn join(stored: &DatumRecord, newer: &DatumRecord) -> (Option<DatumRecord>, bool) {
    let (known, told) = (JobFields::of(stored), JobFields::of(newer));
    if !told.lacks_some_of(&known) {
        return (Some(newer.clone()), false);
    }
    match (stored, newer) {
        (DatumRecord::Regular(_), DatumRecord::Regular(datum)) => {
            let JobFields { job_id, submit_time, machine_name } = told.or_kept(known);
            let datum = Datum { job_id, submit_time, machine_name, ..datum.clone() };
            (Some(DatumRecord::Regular(datum)), true)
        }
        // The text of an irregular datum cannot be put together from two.
        _ => (None, true),
    }
}

/// How a newer form of a datum meets the job fields of the stored one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// It has all of them.
    Adds,
    /// Here it is with those that it lacks.
    Completes(DatumRecord),
    /// It lacks some, and cannot be put together with them.
    Holds,
}

/// See [`Known`].
pub(super) fn with_known_job(stored: &DatumRecord, newer: &DatumRecord) -> Known {
    if !JobFields::of(newer).lacks_some_of(&JobFields::of(stored)) {
        return Known::Adds;
    }
    join(stored, newer).0.map_or(Known::Holds, Known::Completes)
}

/// The fields of a datum that the server forgets together with the job.
struct JobFields {
    job_id: Option<JobId>,
    submit_time: Option<Timestamp>,
    machine_name: Option<SmolStr>,
}

impl JobFields {
    fn of(record: &DatumRecord) -> Self {
        let machine_name = match record {
            DatumRecord::Regular(datum) => datum.machine_name.clone(),
            DatumRecord::Irregular(datum) => {
                DatumFields::read(datum.raw.as_str()).ok().and_then(|fields| fields.machine_name())
            }
        };
        Self { job_id: record.job_id(), submit_time: record.submit_time(), machine_name }
    }

    fn lacks_some_of(&self, known: &Self) -> bool {
        (known.job_id.is_some() && self.job_id.is_none())
            || (known.submit_time.is_some() && self.submit_time.is_none())
            || (known.machine_name.is_some() && self.machine_name.is_none())
    }

    /// Completes the fields of one job from known ones. Those of two jobs are not mixed: the known ones stay then.
    fn or_kept(self, known: Self) -> Self {
        if known.job_id.is_some() && known.job_id != self.job_id {
            return known;
        }
        Self {
            job_id: self.job_id,
            submit_time: self.submit_time.or(known.submit_time),
            machine_name: self.machine_name.or(known.machine_name),
        }
    }
}
