//! The change feed of a harvest: JSON, one change a line, stored by kind of record.
//!
//! `{"kind":"alert_summary","change":"added","id":…,"after":{…}}`; a changed record has `before` too. A record that left the
//! server's list, or came back, has neither. Added data are not here: their rows say which harvest saw them first.

use super::merge::{DataChanges, DatumList};
use super::{Store, StoreError, key};
use crate::model::{RawJson, SignatureId};

/// Kinds of lines, in the order of the feed.
pub(super) const ALERTS: u8 = b'A';
pub(super) const SIGNATURES: u8 = b'G';
pub(super) const JOBS: u8 = b'J';
pub(super) const DATA: u8 = b'S';
pub(super) const REPLICATES: u8 = b'T';

/// A record that the harvest saw for the first time (`before` is `None`) or changed.
pub(super) fn put_version_line(kind: &str, id: u64, before: Option<&RawJson>, after: &RawJson, out: &mut Vec<u8>) {
    let change = if before.is_some() { "changed" } else { "added" };
    let before = before.map(|before| format!(",\"before\":{}", before.as_str())).unwrap_or_default();
    let line =
        format!("{{\"kind\":\"{kind}\",\"change\":\"{change}\",\"id\":{id}{before},\"after\":{}}}\n", after.as_str());
    out.extend_from_slice(line.as_bytes());
}

/// A record that left the server's list, or came back.
pub(super) fn put_listing_line(kind: &str, id: u64, change: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"kind\":\"{kind}\",\"change\":\"{change}\",\"id\":{id}}}\n").as_bytes());
}

/// The changes of data that were stored before; nothing if there are none.
pub(super) fn put_data_line(signature: SignatureId, changes: &DataChanges, out: &mut Vec<u8>) {
    let stored = DataChanges { added: DatumList::default(), late: DatumList::default(), ..changes.clone() };
    if !stored.is_empty() {
        stored.write_line(signature, out);
    }
}

/// The jobs of which the harvest fetched the details for the first time, or saw others than before.
pub(super) fn job_lines(store: &Store, harvest: u16) -> Result<Vec<u8>, StoreError> {
    let mut lines = Vec::new();
    let versions = store.versions(key::JOB, Some(harvest))?;
    for (id, stored_by) in store.stored_jobs()? {
        if stored_by != harvest {
            continue;
        }
        let before = versions.binary_search_by_key(&id.0, |version| version.id).ok().map(|at| &versions[at]);
        match (before, store.job(id)?) {
            (Some(before), Some(now)) if before.before.as_ref() == Some(&now) => {} // asked again, and still the same
            (Some(before), Some(now)) => put_version_line("job", id.0, before.before.as_ref(), &now, &mut lines),
            (None, Some(_)) => put_listing_line("job", id.0, "added", &mut lines),
            (_, None) => {}
        }
    }
    Ok(lines)
}

/// True if the only difference is the time of the newest datum, which the data themselves show.
pub(super) fn differ_in_time_only(before: &RawJson, now: &RawJson) -> bool {
    let without_time = |record: &RawJson| {
        let mut fields: serde_json::Map<String, serde_json::Value> = record.view().ok()?;
        fields.remove("last_updated");
        Some(fields)
    };
    let (before, now) = (without_time(before), without_time(now));
    before.is_some() && before == now
}

impl Store {
    /// The stored lines of the change feed of a harvest, in portions: those of replicates, or all others.
    pub fn feed(&self, harvest: u16, of_replicates: bool) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> {
        let prefix = key::feed_prefix(harvest);
        let at = prefix.len();
        self.records.scan_prefix(prefix).keys().filter_map(move |piece_key| {
            let portion = |piece_key: sled::IVec| match piece_key.split_last_chunk::<2>() {
                Some((_, [0, 0])) if (piece_key.get(at) == Some(&REPLICATES)) != of_replicates => Ok(None),
                Some((feed_key, [0, 0])) => self.blob(feed_key),
                _ => Ok(None),
            };
            piece_key.map_err(|source| StoreError::database("be read", source)).and_then(portion).transpose()
        })
    }
}
