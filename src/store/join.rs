//! The end of a later harvest: its answers are joined with those of the harvests before.
//!
//! A signature whose data came in several parts gets one record for all of them, under the key of the newest harvest, so
//! that a store that is brought up to date every week is read as fast as one that was filled at once. The same commit stores
//! what the harvest changed ([`super::feed`]). A harvest that was killed on the way goes on with the signatures that are left.

use std::collections::{BTreeSet, HashSet};

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::alert_listing::{join_listings, raw_listing};
use super::format::META_HARVESTS;
use super::key;
use super::series::SeriesReader;
use super::staging::Staging;
use super::trees::{Operation, UNLISTED};
use super::value::open_frame;
use super::{Outcome, SettledSummary, Settlement, Store, StoreError, Tally, feed, frame};
use crate::actor::{Shutdown, fail_point};
use crate::model::{
    AlertSummaryId, FIRST_HARVEST, Kind, PushId, Request, SignatureId, Timestamp, Window, exact_integer,
};

/// Signatures a commit. Debug builds use fewer, so that the crash tests can stop between commits.
const SIGNATURES_PER_COMMIT: usize = if cfg!(debug_assertions) { 8 } else { 256 };

/// Of a store without an identity, which has no data either.
const NO_WINDOW: Window = Window { start: Timestamp::from_micros(0), end: Timestamp::from_micros(0) };

/// The answers that are joined.
#[derive(Clone, Copy)]
struct Asked {
    harvest: u16,
    window: Window,
    replicates: bool,
}

/// A signature with one record for all its parts.
struct Joined {
    parts: Vec<SettledSummary>,
    settlement: Settlement,
    /// Of the feed.
    lines: Vec<u8>,
}

impl Store {
    /// Signatures whose data, or with `replicates` whose rows of these, have to be joined: everything that `harvest` asked of
    /// them is settled, and there are several parts.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn signatures_to_join(&self, harvest: u16, replicates: bool) -> Result<Vec<SignatureId>, StoreError> {
        let mut unsettled = HashSet::new();
        for summary in self.unsettled_summaries(replicates) {
            let (signature, asked_by) = summary?;
            if asked_by == harvest {
                unsettled.insert(signature);
            }
        }
        let mut to_join = Vec::new();
        let (mut last, mut num_parts) = (None, 0);
        for summary in self.settled_rows(replicates) {
            let SettledSummary { signature, harvest: asked_by, .. } = summary?;
            num_parts = if last == Some(signature) { num_parts + 1 } else { 1 };
            last = Some(signature);
            // Its parts are the last of the signature.
            if asked_by == harvest && num_parts > 1 && to_join.last() != Some(&signature) {
                to_join.push(signature);
            }
        }
        to_join.retain(|signature| !unsettled.contains(signature));
        Ok(to_join)
    }

    /// The signatures in the lists that the newest harvest has of the server.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn listed_signatures(&self) -> Result<HashSet<SignatureId>, StoreError> {
        Ok(self.ids_of_lists(b"g")?.into_iter().map(SignatureId).collect())
    }

    /// The signatures with data since the window's start, by the lists that the newest harvest has of the server.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn updated_signatures(&self) -> Result<HashSet<u64>, StoreError> {
        self.ids_of_lists(b"u")
    }

    /// The ids in all settled lists whose keys begin with `prefix`.
    fn ids_of_lists(&self, prefix: &[u8]) -> Result<HashSet<u64>, StoreError> {
        let mut ids = HashSet::new();
        for entry in self.settled.scan_prefix(prefix).keys() {
            let key = entry.map_err(|source| StoreError::database("be read", source))?;
            if let Some(list) = Request::from_key(&key) {
                ids.extend(self.id_list(&list)?.into_iter().flatten());
            }
        }
        Ok(ids)
    }

    /// Joins the answers of the newest harvest, in which nothing is pending, with those before. Does nothing in the first
    /// harvest but to note that it may be shown. False if it was interrupted.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written.
    pub fn join_harvest(&self, shutdown: &Shutdown) -> Result<bool, StoreError> {
        let Some(newest) = self.newest_harvest()? else { return Ok(true) };
        if newest.number > FIRST_HARVEST {
            for replicates in [false, true] {
                let to_join = self.signatures_to_join(newest.number, replicates)?;
                if !to_join.is_empty() {
                    self.mark_as_joining()?;
                    fail_point("join.begun");
                }
                let window = self.identity()?.map_or(NO_WINDOW, |identity| identity.data_window());
                let mut durable = self.durable_push_ids()?;
                for signatures in to_join.chunks(SIGNATURES_PER_COMMIT) {
                    if shutdown.is_draining() {
                        return Ok(false);
                    }
                    if let Some(shortage) = self.shortage() {
                        return Err(shortage);
                    }
                    let asked = Asked { harvest: newest.number, window, replicates };
                    self.join_signatures(asked, signatures, &mut durable)?;
                    fail_point("join.within");
                }
            }
        }
        self.end_joining()?;
        Ok(true)
    }

    /// From now on neither this harvest nor the one before can be shown.
    fn mark_as_joining(&self) -> Result<(), StoreError> {
        let mut harvests = self.harvests()?;
        match harvests.last_mut() {
            Some(newest) if !newest.is_joining => newest.is_joining = true,
            _ => return Ok(()),
        }
        self.put_meta(META_HARVESTS, &harvests)
    }

    fn join_signatures(
        &self,
        asked: Asked,
        signatures: &[SignatureId],
        durable: &mut HashSet<PushId>,
    ) -> Result<(), StoreError> {
        let ends = self.harvest_ends()?;
        let joined = signatures.par_iter().map_init(
            || SeriesReader::with_ends(self, ends.clone()),
            |reader, signature| self.join_signature(reader, asked, *signature),
        );
        let joined = joined.collect::<Result<Vec<_>, StoreError>>()?;
        let mut staging = Staging::new(self, self.counts()?, durable)?;
        let mut lines = Vec::new();
        for Joined { parts, settlement, lines: of_signature } in joined {
            lines.extend(of_signature);
            staging.replace_summaries(&parts, settlement)?;
        }
        if let (Some(first), false) = (signatures.first(), lines.is_empty()) {
            let kind = if asked.replicates { feed::REPLICATES } else { feed::DATA };
            staging.put_blob(&key::feed(asked.harvest, kind, first.0), &lines);
        }
        staging.commit().map(drop)
    }

    fn join_signature(
        &self,
        reader: &mut SeriesReader<'_>,
        Asked { harvest, window, replicates }: Asked,
        signature: SignatureId,
    ) -> Result<Joined, StoreError> {
        let parts = self.rows_of(signature, replicates).collect::<Result<Vec<_>, _>>()?;
        let stored: Vec<_> = parts.iter().map(SettledSummary::part).collect();
        let request = Request::Summary { signature, harvest, window, replicates };
        let Some(header) = self.newest_header(&parts)? else {
            let outcome = parts.last().map_or(Outcome::Gone, |part| part.settled.outcome);
            let settlement = Settlement::without_records(request, outcome);
            return Ok(Joined { parts, settlement, lines: Vec::new() });
        };
        let mut lines = Vec::new();
        let settlement = if replicates {
            let (rows, changes) = reader.read_rows_with_changes(&stored)?;
            changes.write_line(signature, &mut lines);
            Settlement::of_rows(self, request, &header, &rows)
        } else {
            let (series, changes) = reader.read_with_changes(&stored)?;
            feed::put_data_line(signature, &changes, &mut lines);
            Settlement::of_series(self, request, &header, &series)
        };
        Ok(Joined { parts, settlement, lines })
    }

    /// The last commit: the lists, the feed of everything but data, and the state of the harvest.
    fn end_joining(&self) -> Result<Tally, StoreError> {
        let mut harvests = self.harvests()?;
        let counts = self.counts()?;
        let mut durable = self.durable_push_ids()?;
        let mut staging = Staging::new(self, counts.clone(), &mut durable)?;
        let listing = self.listing_of_last_pass()?;
        let earlier = self.joined_alert_listing()?.unwrap_or_default();
        let Some(newest) = harvests.last_mut() else { return Ok(counts) };
        let number = newest.number;
        if number > FIRST_HARVEST {
            let signatures = self.end_signatures(&mut staging, &counts, number)?;
            let alerts = self.end_alerts(&mut staging, &counts, number, &listing, &earlier)?;
            staging.put_blob(&key::feed(number, feed::ALERTS, 0), &alerts);
            staging.put_blob(&key::feed(number, feed::SIGNATURES, 0), &signatures);
            staging.put_blob(&key::feed(number, feed::JOBS, 0), &feed::job_lines(self, number)?);
        }
        let listing = join_listings(listing, &earlier);
        staging.put_blob(key::ALERT_LISTING, &raw_listing(&listing));
        newest.num_alerts = self.num_alerts_in_window(&listing)?;
        newest.join(&counts, Timestamp::now());
        staging.describe(META_HARVESTS, &harvests)?;
        let counts = staging.commit()?;
        fail_point("join.ended");
        self.write_ledger(&counts)?;
        Ok(counts)
    }

    fn num_alerts_in_window(&self, listing: &[AlertSummaryId]) -> Result<u64, StoreError> {
        #[derive(Deserialize)]
        struct View<'a> {
            #[serde(borrow)]
            push_timestamp: Option<&'a RawValue>,
        }
        let Some(identity) = self.identity()? else { return Ok(0) };
        let mut num = 0;
        for id in listing {
            let record = self.alert_summary(*id)?;
            let view = record.as_ref().and_then(|record| record.view::<View<'_>>().ok());
            let pushed = view.and_then(|view| exact_integer(view.push_timestamp?.get())).map(Timestamp::from_secs);
            num += u64::from(identity.has_alert_of(pushed));
        }
        Ok(num)
    }

    /// Marks the signatures that are no longer listed; returns the lines of the feed.
    fn end_signatures(&self, staging: &mut Staging<'_>, counts: &Tally, harvest: u16) -> Result<Vec<u8>, StoreError> {
        let mut lines = Vec::new();
        for version in self.versions(key::SIGNATURE, Some(harvest))? {
            let record_key = key::record(key::SIGNATURE, version.id);
            let Some(now) = self.text(&record_key)? else { continue };
            if version.before.as_ref().is_some_and(|before| feed::differ_in_time_only(before, &now)) {
                staging.remove_pieces_from(&key::version(&record_key, harvest), 0)?;
            } else {
                feed::put_version_line("signature", version.id, version.before.as_ref(), &now, &mut lines);
            }
        }
        if counts.of(Kind::Signatures).failed == 0 {
            let listed = self.listed_signatures()?;
            let known: Vec<u64> = self.signature_ids()?.into_iter().map(|id| id.0).collect();
            let num_unlisted = self.note_unlisted(
                staging,
                key::SIGNATURE,
                harvest,
                &known,
                |id| listed.contains(&SignatureId(id)),
                &mut lines,
            )?;
            if !listed.is_empty() && num_unlisted > known.len() / 2 {
                tracing::warn!(
                    "the server lists {} signatures, and the store knows {}; nothing is removed, but check source.repository",
                    listed.len(),
                    known.len()
                );
            }
        }
        Ok(lines)
    }

    fn end_alerts(
        &self,
        staging: &mut Staging<'_>,
        counts: &Tally,
        harvest: u16,
        listing: &[AlertSummaryId],
        earlier: &[AlertSummaryId],
    ) -> Result<Vec<u8>, StoreError> {
        let mut lines = Vec::new();
        for version in self.versions(key::ALERT, Some(harvest))? {
            if let Some(now) = self.text(&key::record(key::ALERT, version.id))? {
                feed::put_version_line("alert_summary", version.id, version.before.as_ref(), &now, &mut lines);
            }
        }
        if counts.of(Kind::Alerts).failed == 0 {
            let listed: HashSet<u64> = listing.iter().map(|id| id.0).collect();
            let known: BTreeSet<u64> = listing.iter().chain(earlier).map(|id| id.0).collect();
            let known: Vec<u64> = known.into_iter().collect();
            self.note_unlisted(staging, key::ALERT, harvest, &known, |id| listed.contains(&id), &mut lines)?;
        }
        Ok(lines)
    }

    /// Notes which of the `known` ids left the server's list or came back to it; returns how many are not listed.
    fn note_unlisted(
        &self,
        staging: &mut Staging<'_>,
        letter: u8,
        harvest: u16,
        known: &[u64],
        is_listed: impl Fn(u64) -> bool,
        lines: &mut Vec<u8>,
    ) -> Result<usize, StoreError> {
        let kind = if letter == key::ALERT { "alert_summary" } else { "signature" };
        let mut num_unlisted = 0;
        for &id in known {
            let record_key = key::record(letter, id);
            // As before this harvest, of which answers may have been joined already.
            let absence =
                self.absence(&record_key)?.filter(|absence| absence.again.is_none_or(|again| again == harvest));
            num_unlisted += usize::from(!is_listed(id));
            let (absence, change) = match (is_listed(id), absence) {
                (true, None) => continue,
                (true, Some(known)) => (Absence { again: Some(harvest), ..known }, Some("listed_again")),
                (false, known) => {
                    let last = known.map_or(harvest - 1, |known| known.last);
                    (Absence { last, again: None }, (last + 1 == harvest).then_some("unlisted"))
                }
            };
            staging.stage(Operation { tree: UNLISTED, key: record_key, value: Some(absence.seal()) });
            if let Some(change) = change {
                feed::put_listing_line(kind, id, change, lines);
            }
        }
        Ok(num_unlisted)
    }

    /// The last harvest that saw a signature or an alert summary, if the server no longer lists it.
    pub(super) fn last_seen(&self, record_key: &[u8]) -> Result<Option<u16>, StoreError> {
        let absence = self.absence(record_key)?;
        Ok(absence.filter(|absence| absence.again.is_none()).map(|absence| absence.last))
    }

    /// When the server's list last lacked a signature or an alert summary.
    fn absence(&self, record_key: &[u8]) -> Result<Option<Absence>, StoreError> {
        let found = self.unlisted.get(record_key).map_err(|source| StoreError::database("be read", source))?;
        found.map(|framed| Absence::open(record_key, &framed)).transpose()
    }
}

/// The harvests between which the server's list lacked a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Absence {
    /// The last one that saw it.
    last: u16,
    /// The one that saw it again; `None` while it is not listed.
    again: Option<u16>,
}

impl Absence {
    fn seal(self) -> Vec<u8> {
        let mut raw = self.last.to_be_bytes().to_vec();
        raw.extend(self.again.into_iter().flat_map(u16::to_be_bytes));
        frame::seal(&raw)
    }

    fn open(record_key: &[u8], framed: &[u8]) -> Result<Self, StoreError> {
        let raw = open_frame("unlisted", record_key, framed)?;
        match *raw.as_slice() {
            [high, low] => Ok(Self { last: u16::from_be_bytes([high, low]), again: None }),
            [high, low, again_high, again_low] => Ok(Self {
                last: u16::from_be_bytes([high, low]),
                again: Some(u16::from_be_bytes([again_high, again_low])),
            }),
            _ => Err(StoreError::damaged("unlisted", record_key, "it is not the numbers of harvests")),
        }
    }
}
