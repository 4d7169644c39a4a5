//! Takes over what another store of the same server and repository knows.
//!
//! In: a finished store, and another one, of an archive or of files. Out: the first one with everything that only the other
//! one had. A store with a later `data_end` is the newer reading: it answers the next harvest, which the next run finishes.
//! Any other is the older reading: its data are joined as if they had come first.
//!
//! Every commit is complete by itself, and nothing is written twice: an import that was killed is done again.

mod replicates;

use std::collections::HashSet;

use super::alert_listing::{join_listings, raw_listing};
use super::merge::{Series, merge};
use super::series::SeriesReader;
use super::staging::Staging;
use super::versions::Version;
use super::{CrawlIdentity, Harvest, Lateness, Outcome, Pending, SettledSummary, Settlement, Store, StoreError, key};
use crate::actor::{Shutdown, fail_point};
use crate::model::{
    DatumRecord, FIRST_HARVEST, Job, Kind, Request, Seen, Signature, SignatureId, Sorted, Timestamp, Window,
};

/// Signatures or records a commit.
const RECORDS_PER_COMMIT: usize = 256;

/// The result of [`Store::absorb`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absorbed {
    /// The other store has the later `data_end`: the next run finishes the harvest that it began.
    pub is_newer: bool,
    /// Signatures whose data changed.
    pub signatures: u64,
    /// Data that only the other store had.
    pub data: u64,
    /// Records of signatures, alert summaries and jobs that only the other store had, and earlier forms of alert summaries.
    pub records: u64,
    /// Signatures whose data were left out: requests for them failed here, or the scope leaves them out.
    pub left_out: u64,
    /// Data outside of the data window here, left out.
    pub outside: u64,
    /// Records that the other store had set aside, left out.
    pub set_aside: u64,
}

impl Absorbed {
    /// The data in `window`; the others are counted.
    fn data_within(&mut self, series: Series, window: Window) -> Vec<DatumRecord> {
        let mut data = series.data;
        let num_read = data.len();
        data.retain(|record| window.contains(record.push_timestamp()));
        self.outside += (num_read - data.len()) as u64;
        data
    }
}

impl Store {
    /// Takes over everything that only `other` has. `first` are the first requests of a store; `None` if it was interrupted.
    ///
    /// # Errors
    /// [`StoreError::OtherSource`], [`StoreError::HarvestOpen`], and any error of reading or writing.
    pub fn absorb(
        &self,
        other: &Self,
        lateness: Lateness,
        first: &[Pending],
        shutdown: &Shutdown,
    ) -> Result<Option<Absorbed>, StoreError> {
        let identity_of = |store: &Self| store.identity()?.ok_or_else(|| StoreError::Missing(store.path.clone()));
        let (ours, theirs) = (identity_of(self)?, identity_of(other)?);
        refuse_other_source(self, &ours, &theirs)?;
        let newest = self.newest_harvest()?.ok_or_else(|| StoreError::Missing(self.path.clone()))?;
        let begun = newest.is_open() && newest.number > FIRST_HARVEST && newest.data_end == theirs.data_end;
        // Jobs may be pending: those that an import found.
        let counts = self.counts()?;
        let asks = [Kind::Alerts, Kind::Signatures, Kind::Summaries, Kind::Replicates]
            .iter()
            .any(|kind| counts.of(*kind).pending > 0);
        if !begun && (newest.is_open() || asks) {
            return Err(StoreError::HarvestOpen { path: self.path.clone(), harvest: newest.number });
        }
        let mut absorbed = Absorbed {
            is_newer: begun || theirs.data_end > ours.data_end,
            set_aside: other.counts()?.set_aside(),
            ..Absorbed::default()
        };
        // First, so that readers see nothing of it before it is complete.
        if absorbed.is_newer && !begun {
            self.open_harvest(theirs.data_end, lateness, first, Timestamp::now())?;
        }
        self.absorb_records(other, &mut absorbed)?;
        fail_point("absorb.records");
        let is_whole = if absorbed.is_newer {
            self.answer_from(other, &mut absorbed, shutdown)?
        } else {
            self.join_older(other, &newest, &mut absorbed, shutdown)?
        };
        let is_whole = is_whole && self.absorb_replicates(other, &newest, &mut absorbed, shutdown)?;
        self.write_ledger(&self.counts()?)?;
        Ok(is_whole.then_some(absorbed))
    }

    /// Settles requests of the open harvest by the data of `other`. False if it was interrupted.
    fn answer_from(&self, other: &Self, absorbed: &mut Absorbed, shutdown: &Shutdown) -> Result<bool, StoreError> {
        let (Some(identity), number) = (self.identity()?, self.harvest_number()?) else { return Ok(true) };
        let window = identity.data_window();
        let mut reader = SeriesReader::new(other)?;
        let unsettled = other.unsettled(false)?;
        for readings in readings(other, false)?.chunks(RECORDS_PER_COMMIT) {
            if shutdown.is_draining() {
                return Ok(false);
            }
            let mut durable = self.durable_push_ids()?;
            let mut staging = Staging::new(self, self.counts()?, &mut durable)?;
            for parts in readings {
                let signature = parts[0].signature;
                let request = Request::Summary { signature, harvest: number, window, replicates: false };
                let known = self.summaries_of(signature).collect::<Result<Vec<_>, _>>()?;
                if known.last().is_some_and(|part| part.harvest == number) {
                    continue;
                }
                let header = other.newest_header(parts)?.filter(|_| !unsettled.contains(&signature));
                let Some(header) = header else {
                    absorbed.left_out += 1;
                    continue;
                };
                let data = absorbed.data_within(reader.read(&stored(parts))?, window);
                absorbed.signatures += 1;
                absorbed.data += data.len() as u64;
                let series = Series::of_answer(data, number);
                let mut settlement = Settlement::of_series(self, request, &header, &series);
                if known.is_empty() {
                    // The samples of the others are drawn when their data are joined.
                    settlement.discover_sample(&series.data);
                }
                staging.settle(settlement)?;
            }
            staging.commit()?;
            fail_point("absorb.within");
        }
        Ok(true)
    }

    /// Joins the data of `other` with those here, as if they had come first. False if it was interrupted.
    fn join_older(
        &self,
        other: &Self,
        newest: &Harvest,
        absorbed: &mut Absorbed,
        shutdown: &Shutdown,
    ) -> Result<bool, StoreError> {
        let Some(identity) = self.identity()? else { return Ok(true) };
        let whole = identity.data_window();
        let (mut ours, mut theirs) = (SeriesReader::new(self)?, SeriesReader::new(other)?);
        let (unsettled, listed) = (self.unsettled(false)?, self.listed_signatures()?);
        for readings in readings(other, false)?.chunks(RECORDS_PER_COMMIT) {
            if shutdown.is_draining() {
                return Ok(false);
            }
            let mut durable = self.durable_push_ids()?;
            let mut staging = Staging::new(self, self.counts()?, &mut durable)?;
            for parts in readings {
                let signature = parts[0].signature;
                let known = self.summaries_of(signature).collect::<Result<Vec<_>, _>>()?;
                if unsettled.contains(&signature) || (known.is_empty() && listed.contains(&signature)) {
                    absorbed.left_out += 1;
                    continue;
                }
                let (window, harvest) = whole_window_of(&known, newest.number);
                let older = absorbed.data_within(theirs.read(&stored(parts))?, whole);
                let before = ours.read(&stored(&known))?;
                let joined = join_series(before.clone(), older, newest.number, window.unwrap_or(whole));
                let header =
                    self.newest_header(&known)?.map_or_else(|| other.newest_header(parts), |own| Ok(Some(own)))?;
                let Some(header) = header.filter(|_| joined != before) else { continue };
                absorbed.signatures += 1;
                absorbed.data += (joined.data.len() - before.data.len()) as u64;
                let request =
                    Request::Summary { signature, harvest, window: window.unwrap_or(whole), replicates: false };
                let mut settlement = Settlement::of_series(self, request, &header, &joined);
                if identity.scope.all_jobs {
                    settlement.discover_all_jobs(&joined.data);
                } else {
                    settlement.discover_sample(&joined.data);
                }
                staging.discover(&settlement.discovered)?;
                staging.replace_summaries(&known, settlement)?;
            }
            staging.commit()?;
            fail_point("absorb.within");
        }
        Ok(true)
    }

    /// Takes over the records of signatures, alert summaries and jobs that only `other` has, and the differing ones of alert
    /// summaries as earlier versions.
    fn absorb_records(&self, other: &Self, absorbed: &mut Absorbed) -> Result<(), StoreError> {
        let mut durable = self.durable_push_ids()?;
        let mut staging = Staging::new(self, self.counts()?, &mut durable)?;
        if !absorbed.is_newer {
            staging.harvest = FIRST_HARVEST;
        }
        let mut signatures = Vec::new();
        for id in other.signature_ids()? {
            if let (None, Some(raw)) = (self.signature(id)?, other.signature(id)?) {
                signatures.push(Signature { id, raw });
            }
        }
        absorbed.records += signatures.len() as u64;
        if !signatures.is_empty() {
            staging.settle(Settlement::of_imported_signatures(signatures))?;
        }
        let (ours, theirs) = (self.alert_listing()?, other.alert_listing()?);
        let (mut alerts, mut num_alerts) = (Settlement::default(), 0);
        for id in &theirs {
            let record_key = key::alert(*id);
            match (self.text(&record_key)?, other.text(&record_key)?) {
                (None, Some(raw)) => {
                    alerts.put_text(&record_key, &raw);
                    num_alerts += 1;
                }
                (Some(known), Some(raw)) if !absorbed.is_newer && known != raw => {
                    let is_stored =
                        |version: &Version| version.harvest == FIRST_HARVEST || version.before.as_ref() == Some(&raw);
                    if !self.versions_of(&record_key)?.iter().any(is_stored) {
                        absorbed.records += 1;
                        staging.put_blob(&key::version(&record_key, FIRST_HARVEST), raw.as_str().as_bytes());
                    }
                }
                _ => {}
            }
        }
        absorbed.records += num_alerts;
        if num_alerts > 0 {
            staging.settle(alerts)?;
            let ids = join_listings(ours, &theirs);
            staging.put_blob(key::ALERT_LISTING, &raw_listing(&ids));
        }
        for (id, _) in other.stored_jobs()? {
            let request = Request::Job { id };
            let known = self.settled(&request)?;
            if known.is_some_and(|known| known.outcome == Outcome::Data) {
                continue;
            }
            let Some(raw) = other.job(id)? else { continue };
            if known.is_some() {
                staging.ask_again(&request, Timestamp::default())?;
            }
            let job = Sorted { taken: vec![Job { id, raw }], odd: Vec::new() };
            staging.settle(Settlement::of_jobs(&[request], &job))?;
            absorbed.records += 1;
        }
        if absorbed.records > 0 {
            staging.commit()?;
        }
        Ok(())
    }

    fn unsettled(&self, replicates: bool) -> Result<HashSet<SignatureId>, StoreError> {
        self.unsettled_summaries(replicates).map(|summary| summary.map(|(signature, _)| signature)).collect()
    }
}

fn refuse_other_source(store: &Store, ours: &CrawlIdentity, theirs: &CrawlIdentity) -> Result<(), StoreError> {
    let of = |crawl: &CrawlIdentity| format!("{} from {}", crawl.repository, crawl.base_url);
    if (&ours.base_url, &ours.repository) == (&theirs.base_url, &theirs.repository) {
        return Ok(());
    }
    Err(StoreError::OtherSource { path: store.path.clone(), stored: of(ours), found: of(theirs) })
}

/// The window of all `parts` of a signature, and the last harvest that asked for one; `newest` without parts.
fn whole_window_of(parts: &[SettledSummary], newest: u16) -> (Option<Window>, u16) {
    parts.iter().fold((None, newest), |(window, _), part| {
        let hull = |before: Window| Window {
            start: before.start.min(part.window.start),
            end: before.end.max(part.window.end),
        };
        (Some(window.map_or(part.window, hull)), part.harvest)
    })
}

/// The settled summaries of each signature of `store`, by signature, then harvest; with `replicates`, those with replicates.
fn readings(store: &Store, replicates: bool) -> Result<Vec<Vec<SettledSummary>>, StoreError> {
    let mut readings: Vec<Vec<SettledSummary>> = Vec::new();
    for summary in store.settled_rows(replicates) {
        let summary = summary?;
        match readings.last_mut().filter(|parts| parts[0].signature == summary.signature) {
            Some(parts) => parts.push(summary),
            None => readings.push(vec![summary]),
        }
    }
    readings.retain(|parts| parts.iter().any(|part| part.settled.num_records > 0));
    Ok(readings)
}

fn stored(parts: &[SettledSummary]) -> Vec<super::StoredPart> {
    parts.iter().map(SettledSummary::part).collect()
}

/// The data here, with what an older reading adds; what is stored holds.
fn join_series(newer: Series, older: Vec<DatumRecord>, harvest: u16, asked: Window) -> Series {
    let seen = newer.seen_by_id();
    let base = Series::of_answer(older, FIRST_HARVEST);
    let (mut joined, _) = merge(base, newer.data, harvest, asked, asked.start);
    for (record, seen_now) in joined.data.iter().zip(&mut joined.seen) {
        if let Some(known) = record.id().and_then(|id| seen.get(&id)) {
            *seen_now = Seen { job_expired: known.job_expired || seen_now.job_expired, ..*known };
        }
    }
    joined
}
