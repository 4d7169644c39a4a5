//! Reading: the frontier by listing small values, records by key.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::value::{Failure, Pending, Provenance, Settled, StoredPage, open_frame, open_json};
use super::value_log::Place;
use super::{CrawlIdentity, Outcome, Store, StoreError, frame, key};
use crate::model::{AlertSummaryId, JobId, PushId, PushRevisions, RawJson, Request, SignatureId, Timestamp, Window};

/// A settled request for the data of one signature in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledSummary {
    /// The signature.
    pub signature: SignatureId,
    /// The window.
    pub window: Window,
    /// How it was settled.
    pub settled: Settled,
}

impl SettledSummary {
    /// The request that was settled.
    #[must_use]
    pub fn request(&self) -> Request {
        Request::Summary { signature: self.signature, window: self.window }
    }
}

fn reading(source: sled::Error) -> StoreError {
    StoreError::database("be read", source)
}

fn request_of(tree: &'static str, key: &[u8]) -> Result<Request, StoreError> {
    Request::from_key(key).ok_or_else(|| StoreError::damaged(tree, key, "it is the key of no request"))
}

fn open_submitted(key: &[u8], framed: &[u8]) -> Result<Timestamp, StoreError> {
    let raw = open_frame("pending", key, framed)?;
    let micros = raw.as_slice().try_into().map_err(|_| StoreError::damaged("pending", key, "it is no time"))?;
    Ok(Timestamp::from_micros(i64::from_be_bytes(micros)))
}

impl Store {
    /// The frontier: what is still to be asked, in key order.
    pub fn pending(&self) -> impl Iterator<Item = Result<Pending, StoreError>> {
        self.pending.iter().map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            let submitted = open_submitted(&key, &framed)?;
            Ok(Pending { request: request_of("pending", &key)?, submitted })
        })
    }

    /// See [`Pending::submitted`]; `None` of what is not pending.
    pub(super) fn submitted(&self, request: &Request) -> Result<Option<Timestamp>, StoreError> {
        let key = request.key();
        self.pending.get(&key).map_err(reading)?.map(|framed| open_submitted(&key, &framed)).transpose()
    }

    /// What was given up for now, with the reasons, in key order.
    pub fn failures(&self) -> impl Iterator<Item = Result<(Request, Failure), StoreError>> {
        self.failed.iter().map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            Ok((request_of("failed", &key)?, open_json("failed", &key, &framed)?))
        })
    }

    /// How `request` was settled; `None` while it is not.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn settled(&self, request: &Request) -> Result<Option<Settled>, StoreError> {
        let key = request.key();
        self.settled.get(&key).map_err(reading)?.map(|framed| Settled::open(&key, &framed)).transpose()
    }

    /// True when `request` is settled, pending or given up.
    pub(super) fn is_known(&self, request: &Request) -> Result<bool, StoreError> {
        let key = request.key();
        for tree in [&self.settled, &self.pending, &self.failed] {
            if tree.contains_key(&key).map_err(reading)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Everything that is settled, in key order.
    pub fn all_settled(&self) -> impl Iterator<Item = Result<(Request, Settled), StoreError>> {
        self.settled.iter().map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            Ok((request_of("settled", &key)?, Settled::open(&key, &framed)?))
        })
    }

    /// The settled summaries, by signature, then window.
    pub fn settled_summaries(&self) -> impl Iterator<Item = Result<SettledSummary, StoreError>> {
        self.settled.scan_prefix(b"s").map(|entry| {
            let (key, framed) = entry.map_err(reading)?;
            let settled = Settled::open(&key, &framed)?;
            match Request::from_key(&key) {
                Some(Request::Summary { signature, window }) => Ok(SettledSummary { signature, window, settled }),
                _ => Err(StoreError::damaged("settled", &key, "it is the key of no summary")),
            }
        })
    }

    /// The signatures of whose data some are pending or were given up.
    pub fn unsettled_signatures(&self) -> impl Iterator<Item = Result<SignatureId, StoreError>> {
        [("pending", &self.pending), ("failed", &self.failed)].into_iter().flat_map(|(name, tree)| {
            tree.scan_prefix(b"s").keys().map(move |key| {
                let key = key.map_err(reading)?;
                match request_of(name, &key)? {
                    Request::Summary { signature, .. } => Ok(signature),
                    _ => Err(StoreError::damaged(name, &key, "it is the key of no summary")),
                }
            })
        })
    }

    /// The jobs whose records are stored, ascending.
    pub fn stored_jobs(&self) -> impl Iterator<Item = Result<JobId, StoreError>> {
        self.settled.scan_prefix(b"j").filter_map(|entry| {
            let id = |(key, framed): (sled::IVec, sled::IVec)| {
                let settled = Settled::open(&key, &framed)?;
                match request_of("settled", &key)? {
                    Request::Job { id } => Ok((settled.outcome == Outcome::Data).then_some(id)),
                    _ => Err(StoreError::damaged("settled", &key, "it is the key of no job")),
                }
            };
            entry.map_err(reading).and_then(id).transpose()
        })
    }

    /// Where the answer to `request` came from.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn provenance(&self, request: &Request) -> Result<Option<Provenance>, StoreError> {
        let key = request.key();
        let found = self.provenance.get(&key).map_err(reading)?;
        found.map(|framed| open_json("provenance", &key, &framed)).transpose()
    }

    /// All signatures that were listed, ascending.
    ///
    /// # Errors
    /// What reading may raise.
    pub fn signature_ids(&self) -> Result<Vec<SignatureId>, StoreError> {
        self.signature_ids
            .iter()
            .keys()
            .map(|key| {
                let key = key.map_err(reading)?;
                let id =
                    key.as_ref().try_into().map_err(|_| StoreError::damaged("signature_ids", &key, "it is no id"))?;
                Ok(SignatureId(u64::from_be_bytes(id)))
            })
            .collect()
    }

    /// Was the signature listed?
    ///
    /// # Errors
    /// What reading may raise.
    pub fn lists_signature(&self, id: SignatureId) -> Result<bool, StoreError> {
        self.signature_ids.contains_key(id.0.to_be_bytes()).map_err(reading)
    }

    /// The record of a signature.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn signature(&self, id: SignatureId) -> Result<Option<RawJson>, StoreError> {
        self.text(&key::signature(id))
    }

    /// The record of a job; `None` when it was not fetched or is gone.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn job(&self, id: JobId) -> Result<Option<RawJson>, StoreError> {
        match self.settled(&Request::Job { id })? {
            Some(Settled { outcome: Outcome::Data, .. }) => {
                let record = self.text(&key::job(id))?;
                record.map(Some).ok_or_else(|| StoreError::MissingValue { key: format!("job {id}") })
            }
            _ => Ok(None),
        }
    }

    /// The record of an alert summary.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn alert_summary(&self, id: AlertSummaryId) -> Result<Option<RawJson>, StoreError> {
        self.text(&key::alert(id))
    }

    /// A page of alert summaries as it was read.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn alert_page(&self, pass: u16, page: u32) -> Result<Option<StoredPage>, StoreError> {
        let request = Request::AlertPage { pass, page };
        if self.settled(&request)?.is_none() {
            return Ok(None);
        }
        let key = key::page(&request);
        let found = self.with_record(&key, |framed| open_json("records", &key, framed))?;
        found.ok_or_else(|| StoreError::MissingValue { key: request.to_string() })?.map(Some)
    }

    /// The last reading of the list of alert summaries, from 0; `None` before the first.
    ///
    /// # Errors
    /// What reading may raise.
    pub fn last_alert_pass(&self) -> Result<Option<u16>, StoreError> {
        let mut last = None;
        for tree in [&self.pending, &self.failed, &self.settled] {
            if let Some(entry) = tree.scan_prefix(b"a").keys().next_back()
                && let Some(Request::AlertPage { pass, .. }) = Request::from_key(&entry.map_err(reading)?)
            {
                last = last.max(Some(pass));
            }
        }
        Ok(last)
    }

    /// The ids of the dataset's alert summaries, as listed: the last reading, each id once.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn alert_listing(&self) -> Result<Vec<AlertSummaryId>, StoreError> {
        let Some(pass) = self.last_alert_pass()? else { return Ok(Vec::new()) };
        let mut prefix = Request::AlertPage { pass, page: 1 }.key();
        prefix.truncate(prefix.len() - 4); // of the pass, whatever the page
        let (mut seen, mut listing) = (HashSet::new(), Vec::new());
        for key in self.settled.scan_prefix(prefix).keys() {
            // Page 0 is the closing look at page 1. A page that failed is left out; the crawl is then incomplete.
            if let Request::AlertPage { page: number @ 1.., .. } = request_of("settled", &key.map_err(reading)?)?
                && let Some(page) = self.alert_page(pass, number)?
            {
                listing.extend(page.ids.into_iter().filter(|id| seen.insert(*id)));
            }
        }
        Ok(listing)
    }

    /// The signatures of the crawl, ascending: all that are listed, or the sample.
    ///
    /// # Errors
    /// What reading may raise.
    pub fn chosen_signatures(&self, identity: &CrawlIdentity) -> Result<Vec<SignatureId>, StoreError> {
        let mut ids = self.signature_ids()?;
        if let Some(size) = identity.sample_signatures {
            ids.sort_by_cached_key(|id| (xxh3_64_with_seed(&id.0.to_be_bytes(), identity.sample_seed), *id));
            ids.truncate(size as usize);
            ids.sort_unstable();
        }
        Ok(ids)
    }

    /// The ids of a list that was stored for `request`: updated signatures, frameworks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn id_list(&self, request: &Request) -> Result<Option<Vec<u64>>, StoreError> {
        if self.settled(request)?.is_none() {
            return Ok(None);
        }
        let found = self.blob(&key::id_list(request))?;
        let raw = found.ok_or_else(|| StoreError::MissingValue { key: request.to_string() })?;
        let ids =
            raw.chunks_exact(8).map(|id| u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]));
        Ok(Some(ids.collect()))
    }

    /// A summary's reply without its data.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn summary_header(&self, request: &Request) -> Result<Option<RawJson>, StoreError> {
        self.text(&key::header(request))
    }

    /// Chunk `number` of a summary's columns, into `out`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::MissingValue`], and what reading may raise.
    pub fn chunk(&self, request: &Request, number: u16, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let key = key::chunk(request, usize::from(number));
        let damaged = |reason: String| StoreError::Damaged { tree: "records", key: request.to_string(), reason };
        let opened = self.with_record(&key, |framed| frame::open(framed, out)).map_err(|error| match error {
            StoreError::Damaged { reason, .. } => damaged(reason),
            error => error,
        })?;
        let opened = opened.ok_or_else(|| StoreError::MissingValue { key: request.to_string() })?;
        opened.map_err(|source| damaged(source.to_string()))
    }

    /// Hands the framed value at `key` to `read`; `None` when there is none.
    pub(super) fn with_record<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, StoreError> {
        let Some(found) = self.records.get(key).map_err(reading)? else { return Ok(None) };
        let place = Place::from_bytes(&found);
        let place = place.ok_or_else(|| StoreError::damaged("records", key, "it is the place of no value"))?;
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

    /// The pushes in the database, which the table in memory may be ahead of.
    pub(super) fn durable_push_ids(&self) -> Result<HashSet<PushId>, StoreError> {
        self.pushes
            .iter()
            .keys()
            .map(|key| {
                let key = key.map_err(reading)?;
                let id = key.as_ref().try_into().map_err(|_| StoreError::damaged("pushes", &key, "it is no id"))?;
                Ok(PushId(u64::from_be_bytes(id)))
            })
            .collect()
    }

    /// Bytes on the disk.
    ///
    /// # Errors
    /// What reading may raise.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(self.db.size_on_disk().map_err(reading)? + self.values.size_on_disk())
    }

    fn text(&self, key: &[u8]) -> Result<Option<RawJson>, StoreError> {
        let Some(raw) = self.blob(key)? else { return Ok(None) };
        let text = std::str::from_utf8(&raw).map_err(|_| StoreError::damaged("records", key, "it is no text"))?;
        RawJson::parse(text).map(Some).map_err(|source| StoreError::damaged("records", key, &source.to_string()))
    }

    /// Puts the pieces of a record together.
    fn blob(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut record = Vec::new();
        let mut number: u16 = 0;
        loop {
            let piece_key = key::piece(key, number);
            let Some(raw) = self.with_record(&piece_key, |framed| open_frame("records", key, framed))? else {
                if number == 0 {
                    return Ok(None);
                }
                return Err(StoreError::damaged("records", key, "a piece of it is missing"));
            };
            let raw = raw?;
            let [high, low, piece @ ..] = raw.as_slice() else {
                return Err(StoreError::damaged("records", key, "a piece of it is too short"));
            };
            record.extend_from_slice(piece);
            number += 1;
            if number >= u16::from_be_bytes([*high, *low]) {
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
    fn a_value_that_the_disk_does_not_give_back_is_told_with_its_place_and_is_damage_only_where_its_loss_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { path: folder.path().join("store"), ..crate::config::Config::default().store };
        let mut store = Store::open(&config).unwrap();
        let settlement = Settlement::of_ids(Request::Frameworks, vec![1, 2]);
        store.commit(Change::Expand { settlement: Box::new(settlement) }).unwrap();
        assert_eq!(store.id_list(&Request::Frameworks).unwrap(), Some(vec![1, 2]));

        store.values.make_unreadable();
        let error = store.id_list(&Request::Frameworks).unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { offset: 0, .. }) && !error.is_damaged_value(), "{error}");
        let mut damages = 0;
        assert!(matches!(store.survey(|_| damages += 1), Err(StoreError::Unreadable { .. })));
        assert_eq!(damages, 0);
        store.unreadable_is_damage.store(true, Ordering::Relaxed);
        assert!(store.id_list(&Request::Frameworks).unwrap_err().is_damaged_value());
        store.survey(|_| damages += 1).unwrap();
        assert_eq!(damages, 1);
    }
}
