//! The data of one signature from all its stored parts: of a window that was split, and of several harvests.

use std::sync::PoisonError;

use super::columns::{ColumnSet, Columns};
use super::merge::{DataChanges, RowsChanges, Series, merge};
use super::merge_rows::merge_rows;
use super::{Harvest, Outcome, SettledSummary, Store, StoreError};
use crate::model::{RawJson, Request, Timestamp, Window};

/// A stored part of a signature's data: the settled request, and the number of its chunks.
pub type StoredPart = (Request, u16);

impl SettledSummary {
    /// The part that it stores.
    #[must_use]
    pub fn part(&self) -> StoredPart {
        (self.request(), self.settled.num_chunks)
    }
}

/// The `data_end` of each harvest.
#[derive(Clone, Debug, Default)]
pub struct HarvestEnds(Vec<Timestamp>);

impl HarvestEnds {
    pub(super) fn of(harvests: &[Harvest]) -> Self {
        Self(harvests.iter().map(|harvest| harvest.data_end).collect())
    }

    /// That of harvest `number`; the epoch for an unknown one.
    #[must_use]
    pub fn end_of(&self, number: u16) -> Timestamp {
        usize::from(number).checked_sub(1).and_then(|at| self.0.get(at).copied()).unwrap_or_default()
    }
}

/// True if `parts`, all of one signature and harvest, are all of its data up to the end of that harvest, from `start` on.
#[must_use]
pub fn is_whole(parts: &[SettledSummary], start: Timestamp, ends: &HarvestEnds) -> bool {
    let Some(SettledSummary { harvest, .. }) = parts.first() else { return false };
    Window { start, end: ends.end_of(*harvest) }.is_covered(parts.iter().map(|part| part.window))
}

impl Store {
    /// The `data_end` of each harvest.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub fn harvest_ends(&self) -> Result<HarvestEnds, StoreError> {
        Ok(HarvestEnds::of(&self.harvests()?))
    }

    /// Passes the settled summaries of each signature and harvest to `take`, by signature, then harvest; with `replicates`,
    /// those with replicates.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, and those of `take`.
    pub fn for_each_reading<E: From<StoreError>>(
        &self,
        replicates: bool,
        mut take: impl FnMut(&[SettledSummary]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut parts: Vec<SettledSummary> = Vec::new();
        for summary in self.settled_rows(replicates) {
            let summary = summary?;
            let is_next =
                |last: &SettledSummary| (last.signature, last.harvest) != (summary.signature, summary.harvest);
            if parts.last().is_some_and(is_next) {
                take(&parts)?;
                parts.clear();
            }
            parts.push(summary);
        }
        if parts.is_empty() { Ok(()) } else { take(&parts) }
    }

    /// The newest header of a signature, without those of parts that were gone or skipped. `parts`: all of it, by harvest.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn newest_header(&self, parts: &[SettledSummary]) -> Result<Option<RawJson>, StoreError> {
        for part in parts.iter().rev() {
            if !matches!(part.settled.outcome, Outcome::Gone | Outcome::Skipped)
                && let Some(header) = self.summary_header(&part.request())?
            {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

/// Reads and joins the parts of signatures; its buffers serve all of them.
#[derive(Debug)]
pub struct SeriesReader<'a> {
    store: &'a Store,
    columns: Columns,
    raw: Vec<u8>,
    ends: HarvestEnds,
}

impl<'a> SeriesReader<'a> {
    /// A reader of `store`.
    ///
    /// # Errors
    /// [`StoreError`] when its harvests cannot be read.
    pub fn new(store: &'a Store) -> Result<Self, StoreError> {
        Ok(Self::with_ends(store, store.harvest_ends()?))
    }

    /// A reader of `store`, whose harvests have these `ends`.
    pub(super) fn with_ends(store: &'a Store, ends: HarvestEnds) -> Self {
        Self { store, columns: Columns::default(), raw: Vec::new(), ends }
    }

    /// The data of one signature. `parts`: all of it, by harvest.
    ///
    /// # Errors
    /// [`StoreError`] when a part is missing or damaged.
    pub fn read(&mut self, parts: &[StoredPart]) -> Result<Series, StoreError> {
        Ok(self.read_with_changes(parts)?.0)
    }

    /// As [`SeriesReader::read`], with the changes by the newest harvest of the parts.
    pub(super) fn read_with_changes(&mut self, parts: &[StoredPart]) -> Result<(Series, DataChanges), StoreError> {
        let mut joined: Option<Series> = None;
        let mut changes = DataChanges::default();
        for parts in parts.chunk_by(|(one, _), (other, _)| harvest_of(one) == harvest_of(other)) {
            let harvest = harvest_of(&parts[0].0);
            let series = self.read_harvest(parts, harvest)?;
            joined = Some(match joined.take() {
                None => series,
                Some(base) => {
                    let asked = parts.iter().filter_map(|(request, _)| window_of(request)).reduce(hull);
                    let previous_end = self.ends.end_of(harvest.saturating_sub(1));
                    let nowhere = Window { start: previous_end, end: previous_end };
                    let (series, of_harvest) =
                        merge(base, series.data, harvest, asked.unwrap_or(nowhere), previous_end);
                    changes = of_harvest;
                    series
                }
            });
        }
        Ok((joined.unwrap_or_default(), changes))
    }

    /// The rows of an answer with replicates. `parts`: all of it, by harvest.
    ///
    /// # Errors
    /// As [`SeriesReader::read`].
    pub fn read_rows(&mut self, parts: &[StoredPart]) -> Result<Series, StoreError> {
        Ok(self.read_rows_with_changes(parts)?.0)
    }

    /// As [`SeriesReader::read_rows`], with the changes by the newest harvest of the parts.
    pub(super) fn read_rows_with_changes(&mut self, parts: &[StoredPart]) -> Result<(Series, RowsChanges), StoreError> {
        let mut joined: Option<Series> = None;
        let mut changes = RowsChanges::default();
        for parts in parts.chunk_by(|(one, _), (other, _)| harvest_of(one) == harvest_of(other)) {
            let harvest = harvest_of(&parts[0].0);
            let rows = self.read_harvest(parts, harvest)?;
            joined = Some(match joined.take() {
                None => rows,
                Some(base) => {
                    let (series, of_harvest) = merge_rows(base, rows.data, harvest);
                    changes = of_harvest;
                    series
                }
            });
        }
        Ok((joined.unwrap_or_default(), changes))
    }

    /// The parts of one harvest.
    fn read_harvest(&mut self, parts: &[StoredPart], harvest: u16) -> Result<Series, StoreError> {
        let mut series = Series::default();
        for (request, num_chunks) in parts {
            for number in 0..*num_chunks {
                self.store.chunk(request, number, &mut self.raw)?;
                let damaged = |source| StoreError::damaged_chunk(request, &source);
                self.columns.decode(&self.raw, ColumnSet::ALL).map_err(damaged)?;
                let table = self.store.push_table.read().unwrap_or_else(PoisonError::into_inner);
                series.add_chunk(&self.columns, harvest, |push| table.get(&push).copied()).map_err(damaged)?;
            }
        }
        Ok(series)
    }
}

pub(super) fn harvest_of(request: &Request) -> u16 {
    match request {
        Request::Summary { harvest, .. } => *harvest,
        _ => 0,
    }
}

fn window_of(request: &Request) -> Option<Window> {
    match request {
        Request::Summary { window, .. } => Some(*window),
        _ => None,
    }
}

fn hull(one: Window, other: Window) -> Window {
    Window { start: one.start.min(other.start), end: one.end.max(other.end) }
}
