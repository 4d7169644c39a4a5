//! The harvests of a store: each brings it up to a later `data_end`.
//!
//! The first harvest is the crawl that fills the store. A later one asks for the lists again and for the data that came since,
//! under keys of its own; when nothing is left to ask, its answers are joined with those of the harvests before
//! ([`super::join`]). Until then a store that is opened for reading shows the harvest before ([`Store::hides`]): identity
//! and tally are kept when a harvest is opened, replaced records stay as earlier versions, and what is new is left out.

use serde::{Deserialize, Serialize};

use super::format::{META_HARVESTS, META_IDENTITY, META_SHOWN};
use super::harvest::{Harvest, Lateness, num_attempts};
use super::staging::Staging;
use super::trees::{META, Operation};
use super::value::seal_json;
use super::{CrawlIdentity, Pending, Store, StoreError, Tally};
use crate::actor::fail_point;
use crate::model::{FIRST_HARVEST, Kind, Timestamp};

/// The state that readers see while a later harvest is open.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    identity: CrawlIdentity,
    counts: Tally,
}

impl Store {
    /// The harvests, the first one first; none in a store without an identity.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn harvests(&self) -> Result<Vec<Harvest>, StoreError> {
        if let Some(harvests) = self.get_meta(META_HARVESTS)? {
            return Ok(harvests);
        }
        let identity: Option<CrawlIdentity> = self.get_meta(META_IDENTITY)?;
        Ok(identity.map(|identity| Harvest::first(identity.data_end, identity.data_end)).into_iter().collect())
    }

    /// Notes when the first harvest began; otherwise its `data_end` stands for that.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn begin_first_harvest(&self, now: Timestamp) -> Result<(), StoreError> {
        match self.harvests()?.as_slice() {
            [first] => self.put_meta(META_HARVESTS, &[Harvest { began_at: now, ..first.clone() }]),
            _ => Ok(()),
        }
    }

    /// Notes that the first harvest is made of files.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub fn mark_as_imported(&self) -> Result<(), StoreError> {
        match self.harvests()?.as_slice() {
            [first] => self.put_meta(META_HARVESTS, &[Harvest { is_imported: true, ..first.clone() }]),
            _ => Ok(()),
        }
    }

    /// The newest harvest; `None` in a store without an identity.
    ///
    /// # Errors
    /// As [`Store::harvests`].
    pub fn newest_harvest(&self) -> Result<Option<Harvest>, StoreError> {
        Ok(self.harvests()?.pop())
    }

    /// The harvest that readers see: the newest one, unless that is hidden.
    ///
    /// # Errors
    /// As [`Store::harvests`].
    pub fn shown_harvest(&self) -> Result<Option<Harvest>, StoreError> {
        let harvests = self.harvests()?.into_iter();
        Ok(harvests.filter(|harvest| self.shows(harvest.number)).last())
    }

    /// Number of the newest harvest.
    pub(super) fn harvest_number(&self) -> Result<u16, StoreError> {
        Ok(self.newest_harvest()?.map_or(FIRST_HARVEST, |harvest| harvest.number))
    }

    /// Shows the last harvest that came to its end, from now on: for readers.
    ///
    /// # Errors
    /// [`StoreError::Joining`] while the answers of the newest harvest are being joined with the others, and any error of
    /// reading.
    pub(super) fn hide_open_harvest(&mut self) -> Result<(), StoreError> {
        let Some(newest) = self.newest_harvest()? else { return Ok(()) };
        if newest.is_joining {
            return Err(StoreError::Joining { path: self.path.clone(), harvest: newest.number });
        }
        if newest.is_open() && newest.number > FIRST_HARVEST {
            self.hidden = Some(newest.number);
        }
        Ok(())
    }

    /// The open harvest that a store opened for reading leaves out; `None` of one that shows everything.
    #[must_use]
    pub fn hides(&self) -> Option<u16> {
        self.hidden
    }

    /// The identity and tally that readers see instead of those of the open harvest.
    pub(super) fn shown<T>(&self, of: impl FnOnce(CrawlIdentity, Tally) -> T) -> Result<T, StoreError> {
        let shown: Shown = self
            .get_meta(META_SHOWN)?
            .ok_or_else(|| StoreError::damaged("meta", META_SHOWN, "it is missing, though a later harvest is open"))?;
        Ok(of(shown.identity, shown.counts))
    }

    /// Opens the next harvest, up to `data_end`: pins it, and makes the lists pending again. `first` are the first requests
    /// of a store that has no lists.
    ///
    /// # Errors
    /// [`StoreError::HarvestOpen`] while requests of the last one are pending, and any error of reading or writing.
    pub fn open_harvest(
        &self,
        data_end: Timestamp,
        lateness: Lateness,
        first: &[Pending],
        now: Timestamp,
    ) -> Result<CrawlIdentity, StoreError> {
        let (Some(identity), counts) = (self.identity()?, self.counts()?) else {
            return Err(StoreError::Missing(self.path.clone()));
        };
        let mut harvests = self.harvests()?;
        let Some(last) = harvests.last() else { return Err(StoreError::Missing(self.path.clone())) };
        if counts.pending() > 0 || last.is_open() {
            return Err(StoreError::HarvestOpen { path: self.path.clone(), harvest: last.number });
        }
        let moved = lateness.lists_of_moved(last.data_end).map(Pending::of);
        let opened = Harvest {
            number: last.number.saturating_add(1),
            lateness,
            attempts_before: num_attempts(&counts),
            data_before: counts.of(Kind::Summaries).records,
            ..Harvest::first(data_end, now)
        };
        let number = opened.number;
        harvests.push(opened);
        let next = identity.clone().extended_to(data_end);
        let shown = Shown { identity, counts: counts.clone() };
        let mut durable = self.durable_push_ids()?;
        let mut staging = Staging::new(self, counts, &mut durable)?;
        staging.harvest = number;
        staging.describe(META_SHOWN, &shown)?;
        staging.describe(META_IDENTITY, &next)?;
        staging.describe(META_HARVESTS, &harvests)?;
        staging.ask_for_lists_again(first, &moved)?;
        let counts = staging.commit()?;
        fail_point("harvest.opened");
        self.write_ledger(&counts)?;
        Ok(next)
    }

    /// The operation that keeps `harvests`.
    pub(super) fn harvests_operation(harvests: &[Harvest]) -> Result<Operation, StoreError> {
        Ok(Operation { tree: META, key: META_HARVESTS.to_vec(), value: Some(seal_json(&harvests)?) })
    }
}
