//! Compaction: writes the log anew, with the live values in bundles and one description of all entries, and gives back the
//! space of whatever was replaced since. The database is then built again, so that all entries are in its packed part.
//!
//! In: a store that nobody has open. Out: the same content, in the newest format. The new log is written as `values.new`, the
//! database for it as `db.new`. The log takes the place of the old one by a rename: a process that is killed before has
//! changed nothing, and one that is killed later leaves a store whose database and ledger belong to the old log, which the
//! next opening makes anew. The numbers of the new log begin with 1; the tally goes on counting, so that it shows which log is
//! newer.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::bundle::{BUNDLE_BYTES, Bundler, slots};
use super::format::{META_FORMAT, STORE_FORMAT_VERSION};
use super::group::{Head, Kind};
use super::index::{Applied, Index};
use super::open::{building_in, remove_folder, switch_database};
use super::repair::ask_again;
use super::trees::{META, Operation, PENDING, RECORDS, SETTLED, put_operation};
use super::value::seal_json;
use super::value_log::{Place, ValueLog};
use super::{Store, StoreError, frame};
use crate::actor::fail_point;
use crate::config::StoreConfig;

/// A compaction pays off if it would free this share of the log,
const WORTH_SHARE: f64 = 1.0 / 3.0;

/// or if this share of the store is loose: values that a bundle would take, and entries in sled. They shrink to less than half.
const LOOSE_SHARE: f64 = 0.5;

/// Stores with a shorter log are small enough as they are.
const LEAST_LOOSE_LOG_BYTES: u64 = 2 << 20;

/// Bytes of values per group, at least: they hold the two copies of its description apart, so that a damage which is smaller
/// does not reach both.
const GROUP_BYTES: u64 = if cfg!(debug_assertions) { 32 << 10 } else { 1 << 20 };

/// Most entries per group, which are in memory together.
const GROUP_ENTRIES: usize = 1 << 16;

/// Sizes before and after a compaction, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Compaction {
    /// Of the log, before.
    pub log_before: u64,
    /// Of the log, after.
    pub log_after: u64,
    /// Of the database, before.
    pub database_before: u64,
    /// Of the database, after.
    pub database_after: u64,
}

/// The content of one group.
#[derive(Debug, Default)]
struct Part {
    /// Operations on all trees but `records`, as bytes, which take a quarter of the memory.
    others: Vec<u8>,
    num_others: usize,
    /// Keys of records, and their places in the old log; a damaged entry has none.
    records: Vec<(Vec<u8>, Option<Place>)>,
    /// Of the values.
    bytes: u64,
}

/// A log that was written anew.
struct NextLog {
    log: ValueLog,
    /// Of the values and bundles, in the order of the records, with the number of records in each; without those that were
    /// left out.
    places: Vec<(Place, u16)>,
    left_out: HashSet<Vec<u8>>,
    end: Applied,
}

/// An entry of a store that has the newest format.
fn in_newest_format(entry: Operation) -> Result<Operation, StoreError> {
    let is_format = entry.tree == META && entry.key == META_FORMAT;
    let value = if is_format { Some(seal_json(&STORE_FORMAT_VERSION)?) } else { entry.value };
    Ok(Operation { value, ..entry })
}

/// The places of the records in values and bundles.
fn of_records(places: &[(Place, u16)]) -> impl Iterator<Item = Place> {
    places.iter().flat_map(|(place, num_records)| slots(*num_records).map(|slot| place.in_slot(slot)))
}

/// The entries of a group.
fn described(mut others: Vec<u8>, keys: Vec<Vec<u8>>, places: impl IntoIterator<Item = Place>) -> Vec<u8> {
    for (key, place) in keys.into_iter().zip(places) {
        put_operation(&Operation { tree: RECORDS, key, value: Some(place.to_bytes()) }, &mut others);
    }
    others
}

/// Bytes of a group besides its values.
fn overhead(operations: &[u8]) -> u64 {
    2 * (Head::BYTES + frame::seal(operations).len()) as u64
}

impl Store {
    /// Compacts the store of `config`, which must exist and which no process may have open.
    ///
    /// # Errors
    /// Those of [`Store::open_existing`]; [`StoreError::Damaged`] when a value cannot be read, and [`StoreError::Database`]
    /// when the new log cannot be written: nothing was changed then.
    pub fn compact(config: &StoreConfig) -> Result<Compaction, StoreError> {
        Self::open_existing(config)?.compact_and_close(config)
    }

    /// Closes the store, which was opened by `config`, and compacts it if a third of its log would be freed, or half of the
    /// store is not packed yet, and if the disk has room for a second copy; `None` otherwise.
    ///
    /// # Errors
    /// As [`Store::compact`], and [`StoreError::Corrupt`] if the database does not hold what was written into it: the next
    /// opening builds it from the log.
    pub fn close_and_compact_if_worth(self, config: &StoreConfig) -> Result<Option<Compaction>, StoreError> {
        if !self.is_loose()? && self.garbage_share()? < WORTH_SHARE {
            return Ok(None);
        }
        let (log, database) =
            sizes(&self.path).map_err(|source| StoreError::Folder { path: self.path.clone(), source })?;
        if self.space.lacks(log + database, &self.path) {
            let bytes = log + database;
            tracing::warn!(
                bytes,
                "the store stays larger than needed: the disk has no room for the copy that a compaction writes"
            );
            return Ok(None);
        }
        self.check_index()?;
        self.compact_and_close(config).map(Some)
    }

    /// The share of the log that a compaction would free, 0 to 1. It reads all entries, and no values.
    ///
    /// # Errors
    /// Any error of reading.
    pub fn garbage_share(&self) -> Result<f64, StoreError> {
        let mut live = overhead(&[]);
        self.for_each_part(|part| {
            let (mut keys, mut places, mut len_of, mut end) = (Vec::new(), Vec::new(), len_once(), 0);
            for (key, place) in part.records {
                if let Some(place) = place {
                    end += len_of(Some(place));
                    keys.push(key);
                    places.push(place.at(end - u64::from(place.len())));
                }
            }
            live += part.bytes + overhead(&described(part.others, keys, places));
            Ok(())
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        Ok((1.0 - live as f64 / self.values.len().max(1) as f64).max(0.0))
    }

    /// Whether so much of the store is loose that a compaction pays off; a small one is small enough. It reads the entries of
    /// records, up to the one that decides.
    fn is_loose(&self) -> Result<bool, StoreError> {
        let failed = |source| StoreError::Folder { path: self.path.clone(), source };
        let (log, database) = sizes(&self.path).map_err(failed)?;
        if log < LEAST_LOOSE_LOG_BYTES {
            return Ok(false);
        }
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let is_enough = |loose: u64| loose as f64 >= LOOSE_SHARE * (log + database) as f64;
        let mut loose = database.saturating_sub(self.index.packed_bytes());
        for entry in self.index.entries_of(|tree| tree == RECORDS) {
            if is_enough(loose) {
                break;
            }
            let fits = |place: &Place| place.slot().is_none() && (place.len() as usize) < BUNDLE_BYTES;
            loose += place_of(&entry?).filter(fits).map_or(0, |place| u64::from(place.len()));
        }
        Ok(is_enough(loose))
    }

    fn compact_and_close(mut self, config: &StoreConfig) -> Result<Compaction, StoreError> {
        let path = self.path.clone();
        let lock = self.lock.take().ok_or_else(|| StoreError::ReadOnly(path.clone()))?;
        let failed = |source| StoreError::Folder { path: path.clone(), source };
        let (log_before, database_before) = sizes(&path).map_err(failed)?;
        let next_path = ValueLog::next_path_in(&path);
        let next = self.write_next(config).inspect_err(|_| {
            // Before sled writes its last pages: the disk may be full.
            let _the_next_opening_does_it = std::fs::remove_file(&next_path);
            let _the_next_opening_does_it = remove_folder(&building_in(&path));
        });
        drop(self);
        let switched = next.and_then(|next| {
            fail_point("compact.before_switch");
            let switched = std::fs::rename(next.path(), ValueLog::path_in(&path));
            fail_point("compact.after_switch");
            switched.and_then(|()| File::open(&path)?.sync_all()).map_err(failed)
        });
        if let Err(error) = switched {
            let _the_next_opening_does_it = std::fs::remove_file(&next_path);
            return Err(error);
        }
        switch_database(&path).map_err(failed)?;
        drop(Self::open_with(config, lock)?);
        let (log_after, database_after) = sizes(&path).map_err(failed)?;
        Ok(Compaction { log_before, log_after, database_before, database_after })
    }

    /// Writes the next log, and the database for it.
    fn write_next(&self, config: &StoreConfig) -> Result<ValueLog, StoreError> {
        let NextLog { log, places, left_out, end } = self.write_next_log()?;
        let mut places = of_records(&places);
        let is_kept = |entry: &Result<Operation, StoreError>| {
            entry.as_ref().map_or(true, |entry| entry.tree != RECORDS || !left_out.contains(&entry.key))
        };
        let entries = self.index.entries().filter(is_kept).map(|entry| match entry {
            Ok(entry) if entry.tree == RECORDS => Ok(Operation { value: places.next().map(Place::to_bytes), ..entry }),
            entry => entry.and_then(in_newest_format),
        });
        let building = building_in(&self.path);
        remove_folder(&building).map_err(|source| StoreError::Folder { path: building.clone(), source })?;
        Index::build(&building, config.cache_bytes, entries, end)?;
        Ok(log)
    }

    /// Writes all entries and their values into a new log, durably.
    fn write_next_log(&self) -> Result<NextLog, StoreError> {
        let failed = |source: io::Error| StoreError::database("be compacted", source.into());
        let log = ValueLog::at(ValueLog::next_path_in(&self.path));
        log.continue_after(0, rand::random());
        let (mut places, mut left_out, mut is_undamaged) = (Vec::new(), HashSet::new(), None);
        self.for_each_part(|part| {
            let mut bundler = Bundler::default();
            for (key, _) in part.records {
                match self.with_record(&key, <[u8]>::to_vec) {
                    Ok(raw) => bundler.put(key, raw.unwrap_or_default()),
                    Err(error) if error.is_damaged_value() => {
                        let is_unused = is_undamaged.map_or_else(|| self.is_undamaged(), Ok)?;
                        is_undamaged = Some(is_unused);
                        if !is_unused {
                            return Err(error);
                        }
                        left_out.insert(key);
                    }
                    Err(error) => return Err(error),
                }
            }
            let (values, num_records, keys) = bundler.finish();
            let before = places.len();
            let append = log.append(Kind::Commit, &values, |of_values| {
                places.extend(of_values.iter().copied().zip(num_records));
                described(part.others, keys, of_records(&places[before..]))
            });
            let values_at = append.map_err(failed)?.values_at();
            places[before..].iter_mut().for_each(|(place, _)| *place = place.behind(values_at));
            fail_point("compact.mid_write");
            Ok(())
        })?;
        // The last group of a log is in doubt where no ledger knows it, so it is one that holds nothing.
        let last = log.append(Kind::Commit, &[], |_| Vec::new()).map_err(failed)?;
        log.sync().map_err(failed)?;
        if !left_out.is_empty() {
            tracing::warn!("{} damaged values to which no answer refers were left out", left_out.len());
        }
        let end = Applied { position: last.position(), log_id: last.log_id, ..Applied::default() };
        Ok(NextLog { log, places, left_out, end })
    }

    fn is_undamaged(&self) -> Result<bool, StoreError> {
        let mut num_damages = 0_u64;
        self.find_damage(|_| num_damages += 1)?;
        Ok(num_damages == 0)
    }

    /// Passes all entries to `take`, in parts; those without values are spread over the records.
    fn for_each_part(&self, mut take: impl FnMut(Part) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let (mut num_others, mut num_records, mut bytes) = (0_u64, 0_u64, 0_u64);
        let mut len_of = len_once();
        for entry in self.index.entries() {
            let entry = entry?;
            num_others += u64::from(entry.tree != RECORDS) + u64::from(entry.tree == SETTLED);
            num_records += u64::from(entry.tree == RECORDS);
            bytes += len_of(place_of(&entry));
        }
        let mut len_of = len_once();
        // Each settled request is pending first: where the group of its settlement is lost, it is asked again.
        let settled = self.index.entries_of(|tree| tree == SETTLED);
        let asked = settled.map(|entry| entry.map(|entry| ask_again(entry.key)));
        let mut others = asked.chain(self.index.entries_of(|tree| tree != RECORDS));
        let mut records = self.index.entries_of(|tree| tree == RECORDS);
        let (mut others_taken, mut records_taken) = (0_u64, 0_u64);
        let mut part = Part::default();
        loop {
            let is_other = u128::from(others_taken) * u128::from(num_records)
                <= u128::from(records_taken) * u128::from(num_others);
            let next = if is_other {
                others.next().or_else(|| records.next())
            } else {
                records.next().or_else(|| others.next())
            };
            let Some(entry) = next.transpose()? else { break };
            if entry.tree == RECORDS {
                records_taken += 1;
                let place = place_of(&entry);
                let len = len_of(place);
                (part.bytes, bytes) = (part.bytes + len, bytes - len);
                part.records.push((entry.key, place));
            } else {
                others_taken += 1;
                let asked =
                    (entry.tree == SETTLED).then(|| Operation { tree: PENDING, key: entry.key.clone(), value: None });
                for operation in asked.into_iter().chain([in_newest_format(entry)?]) {
                    put_operation(&operation, &mut part.others);
                    part.num_others += 1;
                }
            }
            let is_held_apart = part.bytes >= GROUP_BYTES && bytes >= GROUP_BYTES;
            if is_held_apart || part.num_others + part.records.len() >= GROUP_ENTRIES {
                take(std::mem::take(&mut part))?;
            }
        }
        take(part)
    }
}

/// Lengths of values in the order of their keys, of a bundle at its first value.
fn len_once() -> impl FnMut(Option<Place>) -> u64 {
    let mut last = None;
    move |place| {
        let Some(place) = place else { return 0 };
        let is_new = last.replace(place.offset()) != Some(place.offset());
        if is_new { u64::from(place.len()) } else { 0 }
    }
}

fn place_of(entry: &Operation) -> Option<Place> {
    let value = entry.value.as_deref().filter(|_| entry.tree == RECORDS);
    value.and_then(Place::from_bytes)
}

/// Sizes of the log and of the database.
fn sizes(store: &Path) -> io::Result<(u64, u64)> {
    let mut database = 0;
    for entry in std::fs::read_dir(store.join("db"))? {
        let metadata = entry?.metadata()?;
        database += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok((std::fs::metadata(ValueLog::path_in(store))?.len(), database))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_changed_since_it_was_opened_is_not_written_into_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { path: folder.path().join("store"), ..StoreConfig::default() };
        let store = Store::open(&config).unwrap();
        for _ in 0..100 {
            store.keep_busiest_note(&"replaced".repeat(10)).unwrap();
        }
        assert!(store.garbage_share().unwrap() > WORTH_SHARE);
        store.pending.insert("by no group", "of the log").unwrap();
        let log = std::fs::read(ValueLog::path_in(&config.path)).unwrap();
        let refused = store.close_and_compact_if_worth(&config);
        assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
        assert!(std::fs::read(ValueLog::path_in(&config.path)).unwrap() == log);
        let store = Store::open(&config).unwrap();
        assert!(!store.pending.contains_key("by no group").unwrap(), "the log has built it again");
        assert!(store.close_and_compact_if_worth(&config).unwrap().is_some());
    }
}
