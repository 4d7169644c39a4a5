//! Compaction: writes the log anew, with the live values and one description of all entries, and gives back the space of
//! whatever was replaced since, also sled's.
//!
//! In: a store that nobody has open. Out: the same content. The new log is written as `values.new`, and takes the place of
//! the old one by a rename: a process that is killed before has changed nothing, and one that is killed later leaves a store
//! whose database and ledger belong to the old log, which the next opening makes anew. The numbers of the new log begin with
//! 1; the tally goes on counting, so that it shows which log is newer.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::group::{Head, Kind};
use super::repair::ask_again;
use super::trees::{Operation, PENDING, RECORDS, SETTLED, operations_to_bytes};
use super::value_log::{Place, ValueLog};
use super::{Store, StoreError, frame};
use crate::actor::fail_point;
use crate::config::StoreConfig;

/// A compaction pays off if it would free this share of the log.
const WORTH_SHARE: f64 = 1.0 / 3.0;

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
    /// Operations on all trees but `records`.
    others: Vec<Operation>,
    /// Keys of records, and their places in the old log; a damaged entry has none.
    records: Vec<(Vec<u8>, Option<Place>)>,
    /// Of the values.
    bytes: u64,
}

fn described(mut others: Vec<Operation>, keys: Vec<Vec<u8>>, places: &[Place]) -> Vec<u8> {
    let of = |(key, place): (_, &Place)| Operation { tree: RECORDS, key, value: Some(place.to_bytes().into()) };
    others.extend(keys.into_iter().zip(places).map(of));
    operations_to_bytes(&others)
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

    /// Compacts the store of `config` if a third of its log would be freed; `None` otherwise.
    ///
    /// # Errors
    /// As [`Store::compact`].
    pub fn compact_if_worth(config: &StoreConfig) -> Result<Option<Compaction>, StoreError> {
        let store = Self::open_existing(config)?;
        if store.garbage_share()? < WORTH_SHARE {
            return Ok(None);
        }
        store.compact_and_close(config).map(Some)
    }

    /// The share of the log that a compaction would free, 0 to 1. It reads all entries, and no values.
    ///
    /// # Errors
    /// Any error of reading.
    pub fn garbage_share(&self) -> Result<f64, StoreError> {
        let mut live = overhead(&[]);
        self.for_each_part(|part| {
            let mut offset = 0;
            let (mut keys, mut places) = (Vec::new(), Vec::new());
            for (key, place) in part.records {
                if let Some(place) = place {
                    keys.push(key);
                    places.push(place.at(offset));
                    offset += u64::from(place.len());
                }
            }
            live += part.bytes + overhead(&described(part.others, keys, &places));
            Ok(())
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        Ok((1.0 - live as f64 / self.values.len().max(1) as f64).max(0.0))
    }

    fn compact_and_close(mut self, config: &StoreConfig) -> Result<Compaction, StoreError> {
        let path = self.path.clone();
        let lock = self.lock.take().ok_or_else(|| StoreError::ReadOnly(path.clone()))?;
        let failed = |source| StoreError::Folder { path: path.clone(), source };
        let (log_before, database_before) = sizes(&path).map_err(failed)?;
        let next_path = ValueLog::next_path_in(&path);
        let next = self.write_next_log().inspect_err(|_| {
            // Before sled writes its last pages: the disk may be full.
            let _the_next_opening_does_it = std::fs::remove_file(&next_path);
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
        drop(Self::open_with(config, lock)?);
        let (log_after, database_after) = sizes(&path).map_err(failed)?;
        Ok(Compaction { log_before, log_after, database_before, database_after })
    }

    /// Writes all entries and their values into a new log, durably.
    fn write_next_log(&self) -> Result<ValueLog, StoreError> {
        let failed = |source: io::Error| StoreError::database("be compacted", source.into());
        let log = ValueLog::at(ValueLog::next_path_in(&self.path));
        log.continue_after(0, rand::random());
        let (mut is_undamaged, mut num_left_out) = (None, 0_u64);
        let mut raw = Vec::new();
        self.for_each_part(|part| {
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for (key, _) in part.records {
                match self.sound_value(&key, &mut raw) {
                    Ok(value) => {
                        keys.push(key);
                        values.push(value);
                    }
                    Err(error) if error.is_damaged_value() => {
                        let is_unused = is_undamaged.map_or_else(|| self.is_undamaged(), Ok)?;
                        is_undamaged = Some(is_unused);
                        if !is_unused {
                            return Err(error);
                        }
                        num_left_out += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            let append = log.append(Kind::Commit, &values, |places| described(part.others, keys, places));
            append.map_err(failed)?;
            fail_point("compact.mid_write");
            Ok(())
        })?;
        // The last group of a log is in doubt where no ledger knows it, so it is one that holds nothing.
        log.append(Kind::Commit, &[], |_| Vec::new()).and_then(|_| log.sync()).map_err(failed)?;
        if num_left_out > 0 {
            tracing::warn!("{num_left_out} damaged values to which no answer refers were left out");
        }
        Ok(log)
    }

    /// The framed value at `key`.
    fn sound_value(&self, key: &[u8], raw: &mut Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let value = self.with_record(key, <[u8]>::to_vec)?.unwrap_or_default();
        frame::open(&value, raw).map_err(|source| StoreError::damaged("records", key, &source.to_string()))?;
        Ok(value)
    }

    fn is_undamaged(&self) -> Result<bool, StoreError> {
        let mut num_damages = 0_u64;
        self.find_damage(|_| num_damages += 1)?;
        Ok(num_damages == 0)
    }

    /// Passes all entries to `take`, in parts; those without values are spread over the records.
    fn for_each_part(&self, mut take: impl FnMut(Part) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let (mut num_others, mut num_records, mut bytes) = (0_u64, 0_u64, 0_u64);
        for entry in self.index.entries() {
            let entry = entry?;
            num_others += u64::from(entry.tree != RECORDS) + u64::from(entry.tree == SETTLED);
            num_records += u64::from(entry.tree == RECORDS);
            bytes += place_of(&entry).map_or(0, |place| u64::from(place.len()));
        }
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
                let len = place.map_or(0, |place| u64::from(place.len()));
                (part.bytes, bytes) = (part.bytes + len, bytes - len);
                part.records.push((entry.key, place));
            } else {
                others_taken += 1;
                if entry.tree == SETTLED {
                    part.others.push(Operation { tree: PENDING, key: entry.key.clone(), value: None });
                }
                part.others.push(entry);
            }
            let is_held_apart = part.bytes >= GROUP_BYTES && bytes >= GROUP_BYTES;
            if is_held_apart || part.others.len() + part.records.len() >= GROUP_ENTRIES {
                take(std::mem::take(&mut part))?;
            }
        }
        take(part)
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
