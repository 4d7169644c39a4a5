//! Records that a later harvest changed: their earlier versions stay.
//!
//! A record stands under its own key as the newest harvest saw it. When a harvest changes it for the first time, the text
//! that it replaces is kept under a key with the number of that harvest; an empty text says that the harvest was the first
//! to see the record. So the versions of a record are the texts under these keys, by harvest, and then its own.

use std::collections::{BTreeSet, HashSet};

use xxhash_rust::xxh3::Xxh3;

use super::frame;
use super::staging::Staging;
use super::trees::{Operation, RECORDS};
use super::{Store, StoreError, key};
use crate::model::{AlertSummaryId, FIRST_HARVEST, JobId, RawJson, SignatureId};

/// A change of a record by a harvest.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Of the record.
    pub id: u64,
    /// The harvest that changed it.
    pub harvest: u16,
    /// The record before; `None` if the harvest was the first to see it.
    pub before: Option<RawJson>,
}

impl Store {
    /// The changes of the records with this letter, by id, then harvest; those of one harvest only, if it is given.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub(super) fn versions(&self, letter: u8, of: Option<u16>) -> Result<Vec<Version>, StoreError> {
        self.versions_from(&key::versions_prefix(&[letter]), of)
    }

    /// The changes of all alert summaries, by id, then harvest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn alert_versions(&self) -> Result<Vec<Version>, StoreError> {
        let mut versions = self.versions(key::ALERT, None)?;
        versions.retain(|version| self.shows(version.harvest));
        Ok(versions)
    }

    /// Those of `ids` that the first harvest saw.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn seen_by_first_harvest(&self, mut ids: Vec<AlertSummaryId>) -> Result<Vec<AlertSummaryId>, StoreError> {
        let later = self.first_seen_later(key::ALERT)?;
        ids.retain(|id| !later.contains(&id.0));
        Ok(ids)
    }

    /// Signatures that the first harvest saw, ascending.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn signatures_of_first_harvest(&self) -> Result<Vec<SignatureId>, StoreError> {
        let later = self.first_seen_later(key::SIGNATURE)?;
        Ok(self.signature_ids()?.into_iter().filter(|id| !later.contains(&id.0)).collect())
    }

    /// Jobs that the first harvest fetched, ascending.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn jobs_of_first_harvest(&self) -> Result<BTreeSet<JobId>, StoreError> {
        let stored = self.stored_jobs()?.into_iter().filter(|(_, harvest)| *harvest == FIRST_HARVEST);
        let mut jobs: BTreeSet<JobId> = stored.map(|(id, _)| id).collect();
        // The second one asked again for those that were not completed.
        let asked_again = self.versions(key::JOB, Some(FIRST_HARVEST + 1))?.into_iter();
        jobs.extend(asked_again.filter(|job| job.before.is_some()).map(|job| JobId(job.id)));
        Ok(jobs)
    }

    /// The records with this letter that the hidden harvest was the first to see.
    pub(super) fn new_in_hidden(&self, letter: u8) -> Result<HashSet<u64>, StoreError> {
        let Some(hidden) = self.hidden else { return Ok(HashSet::new()) };
        let versions = self.versions(letter, Some(hidden))?.into_iter();
        Ok(versions.filter(|version| version.before.is_none()).map(|version| version.id).collect())
    }

    fn first_seen_later(&self, letter: u8) -> Result<HashSet<u64>, StoreError> {
        let versions = self.versions(letter, None)?;
        Ok(versions.into_iter().filter(|version| version.before.is_none()).map(|version| version.id).collect())
    }

    /// The last harvest that saw an alert summary, if the server no longer lists it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn alert_last_seen(&self, id: AlertSummaryId) -> Result<Option<u16>, StoreError> {
        self.last_seen(&key::alert(id))
    }

    /// As [`Store::alert_last_seen`], of a signature.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn signature_last_seen(&self, id: SignatureId) -> Result<Option<u16>, StoreError> {
        self.last_seen(&key::signature(id))
    }

    /// A digest of which alert summaries changed in which harvest, and which are no longer listed. The texts have theirs.
    ///
    /// # Errors
    /// Any error of reading.
    pub fn alert_history_digest(&self) -> Result<u64, StoreError> {
        let mut hash = Xxh3::new();
        let failed = |source| StoreError::database("be read", source);
        for piece_key in self.records.scan_prefix(key::versions_prefix(&[key::ALERT])).keys() {
            let piece_key = piece_key.map_err(failed)?;
            if key::read_version(&piece_key).is_some_and(|(_, harvest)| self.shows(harvest)) {
                hash.update(&piece_key);
            }
        }
        for entry in self.unlisted.scan_prefix([key::ALERT]) {
            let (id, last) = entry.map_err(failed)?;
            hash.update(&id);
            hash.update(&last);
        }
        Ok(hash.digest())
    }

    /// The change of the record at `record_key` by a harvest.
    pub(super) fn version(&self, record_key: &[u8], harvest: u16) -> Result<Option<Version>, StoreError> {
        let prefix = key::version(record_key, harvest);
        Ok(self.versions_from(&prefix, None)?.pop())
    }

    /// All changes of a record, by harvest. `record_key`: its own key.
    pub(super) fn versions_of(&self, record_key: &[u8]) -> Result<Vec<Version>, StoreError> {
        self.versions_from(&key::versions_prefix(record_key), None)
    }

    fn versions_from(&self, prefix: &[u8], of: Option<u16>) -> Result<Vec<Version>, StoreError> {
        let mut versions = Vec::new();
        for piece_key in self.records.scan_prefix(prefix).keys() {
            let piece_key = piece_key.map_err(|source| StoreError::database("be read", source))?;
            let Some((id, harvest)) = key::read_version(&piece_key) else { continue };
            if of.is_none_or(|of| of == harvest) {
                let version_key = &piece_key[..piece_key.len() - 2];
                let is_first = self.blob(version_key)?.is_none_or(|text| text.is_empty());
                let before = if is_first { None } else { self.text(version_key)? };
                versions.push(Version { id, harvest, before });
            }
        }
        Ok(versions)
    }
}

impl Staging<'_> {
    /// Stages a record with its pieces. A later harvest keeps the text that it replaces, and writes no text that is stored.
    pub(super) fn put_record(&mut self, record_key: &[u8], pieces: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), StoreError> {
        if self.harvest > FIRST_HARVEST {
            let new = joined(&pieces)?;
            // A damaged record has no earlier version: the answer that brings it was asked for again for that reason.
            let old = self.store.blob(record_key).ok().flatten();
            if old.as_ref() == Some(&new) {
                return Ok(());
            }
            // The settlement of a job tells which harvest was the first.
            if old.is_some() || record_key.first() != Some(&key::JOB) {
                self.put_version(record_key, &old.unwrap_or_default())?;
            }
            self.remove_pieces_from(record_key, pieces.len())?;
        }
        for (piece_key, framed) in pieces {
            self.put_value(piece_key, framed);
        }
        Ok(())
    }

    /// Stages the stored record as the version before this harvest.
    pub(super) fn keep_version(&mut self, record_key: &[u8]) -> Result<(), StoreError> {
        match self.store.blob(record_key)? {
            Some(before) => self.put_version(record_key, &before),
            None => Ok(()),
        }
    }

    fn put_version(&mut self, record_key: &[u8], before: &[u8]) -> Result<(), StoreError> {
        let version_key = key::version(record_key, self.harvest);
        if self.store.blob(&version_key)?.is_none() {
            self.put_blob(&version_key, before);
        }
        Ok(())
    }

    /// Removes the pieces of a longer record, from `number` on.
    pub(super) fn remove_pieces_from(&mut self, record_key: &[u8], number: usize) -> Result<(), StoreError> {
        for number in number..usize::from(u16::MAX) {
            let piece_key = key::piece(record_key, u16::try_from(number).unwrap_or(u16::MAX));
            let found = self.store.records.contains_key(&piece_key);
            if !found.map_err(|source| StoreError::database("be read", source))? {
                break;
            }
            self.stage(Operation { tree: RECORDS, key: piece_key, value: None });
        }
        Ok(())
    }
}

/// The text in sealed pieces of a record.
fn joined(pieces: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, StoreError> {
    let (mut text, mut raw) = (Vec::new(), Vec::new());
    for (piece_key, framed) in pieces {
        frame::open(framed, &mut raw)
            .map_err(|source| StoreError::damaged("records", piece_key, &source.to_string()))?;
        text.extend_from_slice(raw.get(2..).unwrap_or_default());
    }
    Ok(text)
}
