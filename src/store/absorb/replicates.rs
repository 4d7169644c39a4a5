//! The replicates of another store: as its data, but a datum's list of rows is taken over as a whole or not at all.

use super::{Absorbed, RECORDS_PER_COMMIT, readings, stored, whole_window_of};
use crate::actor::{Shutdown, fail_point};
use crate::model::{DatumRecord, FIRST_HARVEST, Request, Window};
use crate::store::merge::Series;
use crate::store::merge_rows::merge_rows;
use crate::store::staging::Staging;
use crate::store::{Harvest, SeriesReader, Settlement, Store, StoreError};

impl Store {
    /// Takes over the replicates of `other`, if this store's scope has replicates. False if it was interrupted.
    pub(super) fn absorb_replicates(
        &self,
        other: &Self,
        newest: &Harvest,
        absorbed: &mut Absorbed,
        shutdown: &Shutdown,
    ) -> Result<bool, StoreError> {
        let Some(identity) = self.identity()? else { return Ok(true) };
        let all = readings(other, true)?;
        if !identity.scope.replicates {
            if !all.is_empty() {
                tracing::warn!(
                    signatures = all.len(),
                    "leaving out the replicates, which the scope of this store lacks; `perfharvest run --set \
                     scope.replicates=true` asks the server for them"
                );
            }
            return Ok(true);
        }
        let whole = identity.data_window();
        let (mut ours, mut theirs) = (SeriesReader::new(self)?, SeriesReader::new(other)?);
        let (unsettled, not_whole) = (self.unsettled(true)?, other.unsettled(true)?);
        let (listed, number) = (self.listed_signatures()?, self.harvest_number()?);
        for readings in all.chunks(RECORDS_PER_COMMIT) {
            if shutdown.is_draining() {
                return Ok(false);
            }
            let mut durable = self.durable_push_ids()?;
            let mut staging = Staging::new(self, self.counts()?, &mut durable)?;
            for parts in readings {
                let signature = parts[0].signature;
                let known = self.rows_of(signature, true).collect::<Result<Vec<_>, _>>()?;
                if absorbed.is_newer {
                    if known.last().is_some_and(|part| part.harvest == number) || not_whole.contains(&signature) {
                        continue;
                    }
                    let Some(header) = other.newest_header(parts)? else { continue };
                    let rows = Series::of_answer(within(theirs.read_rows(&stored(parts))?, whole), number);
                    let request = Request::Summary { signature, harvest: number, window: whole, replicates: true };
                    staging.settle(Settlement::of_rows(self, request, &header, &rows))?;
                    continue;
                }
                if unsettled.contains(&signature) || (known.is_empty() && listed.contains(&signature)) {
                    continue; // the data are left out too, and counted
                }
                let (window, harvest) = whole_window_of(&known, newest.number);
                let before = ours.read_rows(&stored(&known))?;
                let joined = join_rows(&before, within(theirs.read_rows(&stored(parts))?, whole), newest.number);
                let header =
                    self.newest_header(&known)?.map_or_else(|| other.newest_header(parts), |own| Ok(Some(own)))?;
                let Some(header) = header.filter(|_| joined != before) else { continue };
                let window = window.unwrap_or(whole);
                let request = Request::Summary { signature, harvest, window, replicates: true };
                staging.replace_summaries(&known, Settlement::of_rows(self, request, &header, &joined))?;
            }
            staging.commit()?;
            fail_point("absorb.within");
        }
        Ok(true)
    }
}

fn within(rows: Series, window: Window) -> Vec<DatumRecord> {
    let mut rows = rows.data;
    rows.retain(|row| window.contains(row.push_timestamp()));
    rows
}

/// The rows here, with what an older reading adds; what is stored holds.
fn join_rows(newer: &Series, older: Vec<DatumRecord>, harvest: u16) -> Series {
    let seen = newer.seen_by_id();
    let (mut joined, _) = merge_rows(Series::of_answer(older, FIRST_HARVEST), newer.data.clone(), harvest);
    for (row, seen_now) in joined.data.iter().zip(&mut joined.seen) {
        *seen_now = row.id().and_then(|id| seen.get(&id).copied()).unwrap_or(*seen_now);
    }
    joined
}
