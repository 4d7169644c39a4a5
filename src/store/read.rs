//! Reads a store: small values by listing them, records by key.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::atomic::Ordering;

use super::tree::Tree;
use super::value::{Failure, Pending, Provenance, SetAside, Settled, open_frame, open_json};
use super::value_log::Place;
use super::{Outcome, Store, StoreError, key};
use crate::model::{AlertSummaryId, JobId, PushId, PushRevisions, RawJson, Request, SignatureId, Timestamp, Window};

/// A settled request for the data of one signature in one window, and its settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledSummary {
    /// Whose data these are.
    pub signature: SignatureId,
    /// See [`Request::Summary`].
    pub harvest: u16,
    /// Half-open; the whole data window, or a part of it.
    pub window: Window,
    /// See [`Request::Summary`].
    pub replicates: bool,
    /// Outcome, and numbers of records and chunks.
    pub settled: Settled,
}

impl SettledSummary {
    /// The request that was settled.
    #[must_use]
    pub fn request(&self) -> Request {
        let Self { signature, harvest, window, replicates, .. } = *self;
        Request::Summary { signature, harvest, window, replicates }
    }
}

/// Ids of eight bytes each.
pub(super) fn ids_of(raw: &[u8]) -> impl Iterator<Item = u64> {
    let (ids, _) = raw.as_chunks::<8>();
    ids.iter().map(|id| u64::from_be_bytes(*id))
}

pub(super) fn reading(source: sled::Error) -> StoreError {
    StoreError::database("be read", source)
}

pub(super) fn request_of(tree: &'static str, key: &[u8]) -> Result<Request, StoreError> {
    Request::from_key(key).ok_or_else(|| StoreError::damaged(tree, key, "the key is invalid"))
}

fn open_submitted(key: &[u8], framed: &[u8]) -> Result<Timestamp, StoreError> {
    let raw = open_frame("pending", key, framed)?;
    let micros = raw.as_slice().try_into().map_err(|_| StoreError::damaged("pending", key, "it is not a time"))?;
    Ok(Timestamp::from_micros(i64::from_be_bytes(micros)))
}

impl Store {
    /// The frontier: pending requests, in key order.
    pub fn pending(&self) -> impl Iterator<Item = Result<Pending, StoreError>> {
        self.pending.iter().map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            let submitted = open_submitted(&key, &framed)?;
            Ok(Pending { request: request_of("pending", &key)?, submitted })
        })
    }

    /// See [`Pending::submitted`]; `None` of a request that is not pending.
    pub(super) fn submitted(&self, request: &Request) -> Result<Option<Timestamp>, StoreError> {
        let key = request.key();
        self.pending.get(&key).map_err(reading)?.map(|framed| open_submitted(&key, &framed)).transpose()
    }

    /// Failed requests with their reasons, in key order.
    pub fn failures(&self) -> impl Iterator<Item = Result<(Request, Failure), StoreError>> {
        self.failed.iter().map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            Ok((request_of("failed", &key)?, open_json("failed", &key, &framed)?))
        })
    }

    /// Records that were corrected or set aside, by request, then id. The number of a record without an id stands for it.
    pub fn set_aside(&self) -> impl Iterator<Item = Result<(Request, u64, SetAside), StoreError>> {
        self.set_aside.iter().map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            let (request, record) =
                key::read_odd(&key).ok_or_else(|| StoreError::damaged("set_aside", &key, "the key is invalid"))?;
            Ok((request, record, open_json("set_aside", &key, &framed)?))
        })
    }

    /// The settlement of `request`; `None` while it is not settled.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn settled(&self, request: &Request) -> Result<Option<Settled>, StoreError> {
        let key = request.key();
        self.settled.get(&key).map_err(reading)?.map(|framed| Settled::open(&key, &framed)).transpose()
    }

    /// True when `request` is settled, pending or failed.
    pub(super) fn is_known(&self, request: &Request) -> Result<bool, StoreError> {
        let key = request.key();
        for tree in [&self.settled, &self.pending, &self.failed] {
            if tree.contains_key(&key).map_err(reading)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Settled requests, in key order.
    pub fn all_settled(&self) -> impl Iterator<Item = Result<(Request, Settled), StoreError>> {
        self.settled.iter().map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            Ok((request_of("settled", &key)?, Settled::open(&key, &framed)?))
        })
    }

    /// Settled summaries, by signature, then harvest, then window.
    pub fn settled_summaries(&self) -> impl Iterator<Item = Result<SettledSummary, StoreError>> {
        self.summaries_from([Request::summary_letter(false)])
    }

    /// As [`Store::settled_summaries`], of those with replicates if `replicates`.
    pub fn settled_rows(&self, replicates: bool) -> impl Iterator<Item = Result<SettledSummary, StoreError>> {
        self.summaries_from([Request::summary_letter(replicates)])
    }

    /// The settled summaries of a signature, by harvest, then window.
    pub fn summaries_of(&self, signature: SignatureId) -> impl Iterator<Item = Result<SettledSummary, StoreError>> {
        self.rows_of(signature, false)
    }

    /// As [`Store::summaries_of`], of those with replicates if `replicates`.
    pub fn rows_of(
        &self,
        signature: SignatureId,
        replicates: bool,
    ) -> impl Iterator<Item = Result<SettledSummary, StoreError>> {
        self.summaries_from(Request::summaries_prefix(signature, replicates))
    }

    fn summaries_from(&self, prefix: impl AsRef<[u8]>) -> impl Iterator<Item = Result<SettledSummary, StoreError>> {
        let summary = |(key, framed): (sled::IVec, sled::IVec)| {
            let settled = Settled::open(&key, &framed)?;
            match Request::from_key(&key) {
                Some(Request::Summary { signature, harvest, window, replicates }) => {
                    Ok(SettledSummary { signature, harvest, window, replicates, settled })
                }
                _ => Err(StoreError::damaged("settled", &key, "it is not the key of a summary")),
            }
        };
        let is_shown = |summary: &Result<SettledSummary, StoreError>| {
            summary.as_ref().map_or(true, |summary| self.shows(summary.harvest))
        };
        self.settled.scan_prefix(prefix).map(move |entry| entry.map_err(reading).and_then(summary)).filter(is_shown)
    }

    /// False for the number of a harvest that is hidden from readers.
    #[must_use]
    pub fn shows(&self, harvest: u16) -> bool {
        self.hidden.is_none_or(|hidden| harvest < hidden)
    }

    /// Signatures with pending or failed summaries, each with the harvest that asks; with `replicates`, of those summaries.
    pub fn unsettled_summaries(
        &self,
        replicates: bool,
    ) -> impl Iterator<Item = Result<(SignatureId, u16), StoreError>> {
        let of_tree = move |(name, tree): (&'static str, &Tree)| {
            tree.scan_prefix([Request::summary_letter(replicates)]).keys().map(move |key| {
                let key = key.map_err(reading)?;
                match request_of(name, &key)? {
                    Request::Summary { signature, harvest, .. } => Ok((signature, harvest)),
                    _ => Err(StoreError::damaged(name, &key, "it is not the key of a summary")),
                }
            })
        };
        let is_shown = |summary: &Result<(SignatureId, u16), StoreError>| {
            summary.as_ref().map_or(true, |(_, harvest)| self.shows(*harvest))
        };
        [("pending", &self.pending), ("failed", &self.failed)].into_iter().flat_map(of_tree).filter(is_shown)
    }

    /// Jobs with stored records and the harvest that stored them, ascending.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn stored_jobs(&self) -> Result<BTreeMap<JobId, u16>, StoreError> {
        let mut jobs = BTreeMap::new();
        for entry in self.settled.scan_prefix(b"j") {
            let (key, framed) = entry.map_err(reading)?;
            let settled = Settled::open(&key, &framed)?;
            let Request::Job { id } = request_of("settled", &key)? else {
                return Err(StoreError::damaged("settled", &key, "it is not the key of a job"));
            };
            if settled.outcome == Outcome::Data && self.shows(settled.harvest) {
                jobs.insert(id, settled.harvest);
            }
        }
        if let Some(hidden) = self.hidden {
            // Jobs that were not completed are asked for in each harvest, so the one before stored these.
            let asked_again = self.versions(key::JOB, Some(hidden))?.into_iter();
            jobs.extend(asked_again.filter(|job| job.before.is_some()).map(|job| (JobId(job.id), hidden - 1)));
        }
        Ok(jobs)
    }

    /// The origin of an answer, by the first of the requests that it settled.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn provenance(&self, request: &Request) -> Result<Option<Provenance>, StoreError> {
        let key = request.key();
        let found = self.provenance.get(&key).map_err(reading)?;
        found.map(|framed| open_json("provenance", &key, &framed)).transpose()
    }

    /// Ids of all known signatures, ascending.
    ///
    /// # Errors
    /// Any error of reading.
    pub fn signature_ids(&self) -> Result<Vec<SignatureId>, StoreError> {
        let ids = self.signature_ids.iter().keys().map(|key| {
            let key = key.map_err(reading)?;
            let id =
                key.as_ref().try_into().map_err(|_| StoreError::damaged("signature_ids", &key, "it is not an id"))?;
            Ok(SignatureId(u64::from_be_bytes(id)))
        });
        let mut ids = ids.collect::<Result<Vec<_>, StoreError>>()?;
        let new = self.new_in_hidden(key::SIGNATURE)?;
        ids.retain(|id| !new.contains(&id.0));
        Ok(ids)
    }

    /// True when the signature is known.
    ///
    /// # Errors
    /// Any error of reading.
    pub fn lists_signature(&self, id: SignatureId) -> Result<bool, StoreError> {
        self.signature_ids.contains_key(id.0.to_be_bytes()).map_err(reading)
    }

    /// The record of a signature.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn signature(&self, id: SignatureId) -> Result<Option<RawJson>, StoreError> {
        self.shown_text(&key::signature(id))
    }

    /// The record of a job; `None` when it was not fetched, or is gone.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn job(&self, id: JobId) -> Result<Option<RawJson>, StoreError> {
        match self.settled(&Request::Job { id })? {
            Some(Settled { outcome: Outcome::Data, .. }) => {
                let record = self.shown_text(&key::job(id))?;
                record.map(Some).ok_or_else(|| StoreError::MissingValue { key: format!("job {id}") })
            }
            // It is asked for again, since it was not completed.
            None if self.hidden.is_some() => self.shown_text(&key::job(id)),
            _ => Ok(None),
        }
    }

    /// The record of an alert summary.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn alert_summary(&self, id: AlertSummaryId) -> Result<Option<RawJson>, StoreError> {
        self.shown_text(&key::alert(id))
    }

    /// The stored ids of a list: updated signatures, frameworks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn id_list(&self, request: &Request) -> Result<Option<Vec<u64>>, StoreError> {
        if self.settled(request)?.is_none() {
            return Ok(None);
        }
        let found = self.blob(&key::id_list(request))?;
        if found.is_none() && matches!(request, Request::Signatures { .. }) {
            return Ok(None); // from an archive of an earlier version
        }
        let raw = found.ok_or_else(|| StoreError::MissingValue { key: request.to_string() })?;
        Ok(Some(ids_of(&raw).collect()))
    }

    /// The list of the enabled frameworks, as sent; `None` where only their ids were kept.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn frameworks(&self) -> Result<Option<RawJson>, StoreError> {
        self.text(&key::header(&Request::Frameworks))
    }

    /// The reply to a summary request, without its data.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn summary_header(&self, request: &Request) -> Result<Option<RawJson>, StoreError> {
        self.text(&key::header(request))
    }

    /// Reads chunk `number` of a summary's columns into `out`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::MissingValue`], and any error of reading.
    pub fn chunk(&self, request: &Request, number: u16, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let key = key::chunk(request, usize::from(number));
        let copy = |raw: &[u8]| {
            out.clear();
            out.extend_from_slice(raw);
        };
        let found = self.with_record(&key, copy).map_err(|error| match error {
            StoreError::Damaged { tree, reason, .. } => StoreError::Damaged { tree, key: request.to_string(), reason },
            error => error,
        })?;
        found.ok_or_else(|| StoreError::MissingValue { key: request.to_string() })
    }

    /// Passes the value at `key`, out of its frame, to `read`; `None` without a value.
    pub(super) fn with_record<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, StoreError> {
        let Some(found) = self.records.get(key).map_err(reading)? else { return Ok(None) };
        let place = Place::from_bytes(&found);
        let place = place.ok_or_else(|| StoreError::damaged("records", key, "it is not the place of a value"))?;
        self.values.read(place, read).map(Some).map_err(|source| {
            let is_damage = matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
            if is_damage || self.unreadable_is_damage.load(Ordering::Relaxed) {
                return StoreError::damaged("records", key, &source.to_string());
            }
            StoreError::Unreadable { path: self.values.path().to_owned(), offset: place.offset(), source }
        })
    }

    /// The revisions of all pushes that columns refer to.
    #[must_use]
    pub fn push_revisions(&self) -> PushRevisions {
        self.push_table.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The pushes in the database; the table in memory may hold more.
    pub(super) fn durable_push_ids(&self) -> Result<HashSet<PushId>, StoreError> {
        self.pushes
            .iter()
            .keys()
            .map(|key| {
                let key = key.map_err(reading)?;
                let id = key.as_ref().try_into().map_err(|_| StoreError::damaged("pushes", &key, "it is not an id"))?;
                Ok(PushId(u64::from_be_bytes(id)))
            })
            .collect()
    }

    /// The record at `key` as readers see it: that of before the open harvest, if that is hidden.
    fn shown_text(&self, key: &[u8]) -> Result<Option<RawJson>, StoreError> {
        let version = self.hidden.map(|harvest| self.version(key, harvest)).transpose()?.flatten();
        version.map_or_else(|| self.text(key), |version| Ok(version.before))
    }

    pub(super) fn text(&self, key: &[u8]) -> Result<Option<RawJson>, StoreError> {
        let Some(raw) = self.blob(key)? else { return Ok(None) };
        let text = std::str::from_utf8(&raw).map_err(|_| StoreError::damaged("records", key, "it is not UTF-8"))?;
        RawJson::parse(text).map(Some).map_err(|source| StoreError::damaged("records", key, &source.to_string()))
    }

    /// Joins the pieces of a record.
    pub(super) fn blob(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut record = Vec::new();
        let mut number: u16 = 0;
        loop {
            let piece_key = key::piece(key, number);
            let found = self.with_record(&piece_key, |raw| {
                let (num_pieces, piece) = raw.split_first_chunk::<2>()?;
                record.extend_from_slice(piece);
                Some(u16::from_be_bytes(*num_pieces))
            });
            let Some(num_pieces) = found? else {
                if number == 0 {
                    return Ok(None);
                }
                return Err(StoreError::damaged("records", key, "one of its pieces is missing"));
            };
            let short = || StoreError::damaged("records", key, "one of its pieces is too short");
            let num_pieces = num_pieces.ok_or_else(short)?;
            number += 1;
            if number >= num_pieces {
                return Ok(Some(record));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;
    use crate::store::{Change, Settlement};

    #[test]
    fn a_value_that_the_disk_fails_to_return_is_reported_with_its_offset_and_is_damage_only_where_its_loss_is_accepted()
    {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { path: folder.path().join("store"), ..crate::config::Config::default().store };
        let mut store = Store::open(&config).unwrap();
        let settlement = Settlement::of_ids(Request::Frameworks, vec![1, 2]);
        store.commit(Change::Expand { settlement: Box::new(settlement) }).unwrap();
        assert_eq!(store.id_list(&Request::Frameworks).unwrap(), Some(vec![1, 2]));

        store.values.make_unreadable();
        let error = store.id_list(&Request::Frameworks).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }) && !error.is_damaged_value(), "{error}");
        let mut damages = 0;
        assert!(matches!(store.find_damage(|_| damages += 1), Err(StoreError::Unreadable { .. })));
        assert_eq!(damages, 0);
        store.unreadable_is_damage.store(true, Ordering::Relaxed);
        assert!(store.id_list(&Request::Frameworks).unwrap_err().is_damaged_value());
        store.find_damage(|_| damages += 1).unwrap();
        assert_eq!(damages, 1);
    }
}
