//! The list of alert summaries: its stored pages, and the order that the dataset has them in.

use std::collections::{HashMap, HashSet};

use super::read::{ids_of, reading, request_of};
use super::value::StoredPage;
use super::{Store, StoreError, key};
use crate::model::{AlertSummaryId, FIRST_HARVEST, LAST_ROWS, Request};

impl Store {
    /// A page of alert summaries.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn alert_page(&self, pass: u16, page: u32) -> Result<Option<StoredPage>, StoreError> {
        let request = Request::AlertPage { pass, page };
        if self.settled(&request)?.is_none() {
            return Ok(None);
        }
        let key = key::page(&request);
        let found = self.with_record(&key, |raw| serde_json::from_slice::<StoredPage>(raw))?;
        let page = found.ok_or_else(|| StoreError::MissingValue { key: request.to_string() })?;
        page.map(Some).map_err(|source| StoreError::damaged("records", &key, &source.to_string()))
    }

    /// Number of the last pass over the list of alert summaries, from 0; `None` before the first.
    ///
    /// # Errors
    /// Any error of reading.
    pub fn last_alert_pass(&self) -> Result<Option<u16>, StoreError> {
        let mut last = None;
        for tree in [&self.pending, &self.failed, &self.settled] {
            if let Some(entry) = tree.scan_prefix(b"a").keys().last()
                && let Some(Request::AlertPage { pass, .. }) = Request::from_key(&entry.map_err(reading)?)
            {
                last = last.max(Some(pass));
            }
        }
        Ok(last)
    }

    /// Ids of the dataset's alert summaries in the order of the list, each once: those of the last pass and, where earlier
    /// harvests saw others, these too.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn alert_listing(&self) -> Result<Vec<AlertSummaryId>, StoreError> {
        let Some(newest) = self.newest_harvest()? else { return self.listing_of_last_pass() };
        let joined = self.joined_alert_listing()?;
        if (newest.is_open() || newest.number == FIRST_HARVEST) && self.hidden.is_none() {
            return Ok(join_listings(self.listing_of_last_pass()?, &joined.unwrap_or_default()));
        }
        let mut listing = joined.map_or_else(|| self.listing_of_last_pass(), Ok)?;
        let new = self.new_in_hidden(key::ALERT)?;
        listing.retain(|id| !new.contains(&id.0));
        Ok(listing)
    }

    /// The listing as of the last harvest that came to its end; `None` before the first.
    pub(super) fn joined_alert_listing(&self) -> Result<Option<Vec<AlertSummaryId>>, StoreError> {
        let ids = self.blob(key::ALERT_LISTING)?.map(|raw| ids_of(&raw).map(AlertSummaryId).collect());
        Ok(ids)
    }

    /// Those of the last pass, each once.
    pub(super) fn listing_of_last_pass(&self) -> Result<Vec<AlertSummaryId>, StoreError> {
        let Some(pass) = self.last_alert_pass()? else { return Ok(Vec::new()) };
        let mut prefix = Request::AlertPage { pass, page: 1 }.key();
        prefix.truncate(prefix.len() - 4); // without the page
        let (mut seen, mut listing) = (HashSet::new(), Vec::new());
        for key in self.settled.scan_prefix(prefix).keys() {
            // The others are second looks. A failed page is left out; the crawl is incomplete then.
            if let Request::AlertPage { page: number @ 1..LAST_ROWS, .. } =
                request_of("settled", &key.map_err(reading)?)?
                && let Some(page) = self.alert_page(pass, number)?
            {
                listing.extend(page.ids.into_iter().filter(|id| seen.insert(*id)));
            }
        }
        Ok(listing)
    }
}

/// As [`Store::joined_alert_listing`] reads it.
pub(super) fn raw_listing(listing: &[AlertSummaryId]) -> Vec<u8> {
    listing.iter().flat_map(|id| id.0.to_be_bytes()).collect()
}

/// The list of alert summaries of a harvest, with those of `earlier` that it lacks: each behind the one that it followed.
pub(super) fn join_listings(listing: Vec<AlertSummaryId>, earlier: &[AlertSummaryId]) -> Vec<AlertSummaryId> {
    let listed: HashSet<AlertSummaryId> = listing.iter().copied().collect();
    let mut followers: HashMap<Option<AlertSummaryId>, Vec<AlertSummaryId>> = HashMap::new();
    let mut before = None;
    for id in earlier {
        if listed.contains(id) {
            before = Some(*id);
        } else {
            followers.entry(before).or_default().push(*id);
        }
    }
    let mut joined = followers.remove(&None).unwrap_or_default();
    for id in listing {
        joined.push(id);
        joined.extend(followers.remove(&Some(id)).unwrap_or_default());
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_left_the_list_stays_behind_the_one_that_it_followed() {
        let ids = |ids: &[u64]| ids.iter().map(|id| AlertSummaryId(*id)).collect::<Vec<_>>();
        assert_eq!(join_listings(ids(&[9, 7, 5]), &ids(&[8, 7, 6, 4, 5, 3])), ids(&[8, 9, 7, 6, 4, 5, 3]));
        assert_eq!(join_listings(ids(&[9, 7]), &[]), ids(&[9, 7]));
        assert_eq!(join_listings(Vec::new(), &ids(&[9, 7])), ids(&[9, 7]));
        assert_eq!(join_listings(ids(&[1, 2, 3]), &ids(&[3, 2])), ids(&[1, 2, 3]), "the newest order holds");
    }
}
