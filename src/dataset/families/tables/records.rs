//! Makes the tables of records: signatures, alert summaries, alerts and jobs.

use std::borrow::Cow;
use std::cell::Cell as Shared;

use super::error::ExportError;
use super::reading::Record;
use super::table::{ALERT_SUMMARIES, ALERTS, HEADERS, JOBS, SIGNATURES};
use crate::actor::Shutdown;
use crate::dataset::families::alerts::{for_each_summary_of_scope, status_name};
use crate::dataset::families::signatures::{Header, SignatureHeader, SignatureHeaders};
use crate::dataset::write::Redaction;
use crate::dataset::write::parquet::{Cell, TableWriter};
use crate::model::{FIRST_HARVEST, RawJson};
use crate::store::{CrawlIdentity, Store, StoreError};

/// The source of the records.
pub(super) struct Records<'a> {
    pub(super) store: &'a Store,
    /// True to write `last_seen` of records that the server no longer lists alone; see [`Table::published_schema`].
    ///
    /// [`Table::published_schema`]: super::table::Table::published_schema
    pub(super) published: bool,
    pub(super) redaction: Shared<Redaction>,
    pub(super) shutdown: &'a Shutdown,
}

impl Records<'_> {
    fn check_interrupted(&self) -> Result<(), ExportError> {
        if self.shutdown.is_draining() { Err(ExportError::Interrupted) } else { Ok(()) }
    }

    fn text<'r>(&self, record: &'r RawJson) -> Cow<'r, str> {
        let mut redaction = self.redaction.get();
        let text = redaction.apply(record.as_str());
        self.redaction.set(redaction);
        text
    }

    /// The last harvest that saw a record; `unlisted`: if the server no longer lists it.
    fn last_seen(&self, unlisted: Option<u16>, newest: u16) -> Cell<'static> {
        let listed = (!self.published).then_some(newest);
        unlisted.or(listed).map_or(Cell::Null, |harvest| Cell::Integer(harvest.into()))
    }

    /// Writes the signatures by id. Returns the number of records without a row.
    pub(super) fn write_signatures(&self, rows: &mut TableWriter) -> Result<u64, ExportError> {
        let mut unreadable = 0;
        let mut headers = SignatureHeaders::start(self.store)?;
        let newest = self.store.shown_harvest()?.map_or(FIRST_HARVEST, |harvest| harvest.number);
        for id in self.store.signature_ids()? {
            self.check_interrupted()?;
            let record = self.store.signature(id)?;
            let record = record.ok_or_else(|| StoreError::MissingValue { key: format!("signature {id}") })?;
            let SignatureHeader { is_in_scope, text: header } = headers.next(id)?;
            let mut cells = Vec::new();
            if !Record::read(record.as_str()).is_some_and(|record| record.append_cells(SIGNATURES, &mut cells)) {
                unreadable += 1;
                continue;
            }
            let text = header.as_ref().map_or("{}", RawJson::as_str);
            Record::read(text).unwrap_or_default().append_cells(HEADERS, &mut cells); // all of them nullable
            let option = header.as_ref().and_then(|header| header.view::<Header<'_>>().ok()?.option_name());
            cells.push(option.map_or(Cell::Null, |name| Cell::Text(Cow::Owned(name))));
            cells.push(Cell::Flag(is_in_scope));
            cells.push(self.last_seen(self.store.signature_last_seen(id)?, newest));
            rows.write_row(&cells)?;
        }
        Ok(unreadable)
    }

    /// Writes the stored jobs by id. Returns the number of records without a row.
    pub(super) fn write_jobs(&self, rows: &mut TableWriter) -> Result<u64, ExportError> {
        let mut unreadable = 0;
        for (id, harvest) in self.store.stored_jobs()? {
            self.check_interrupted()?;
            let record = self.store.job(id)?;
            let record = record.ok_or_else(|| StoreError::MissingValue { key: format!("job {id}") })?;
            let mut cells = Vec::with_capacity(JOBS.len() + 2);
            if Record::read(&self.text(&record)).is_some_and(|record| record.append_cells(JOBS, &mut cells)) {
                // The record of a completed job is final, so it is not fetched again.
                cells.extend([Cell::Integer(harvest.into()), Cell::Integer(harvest.into())]);
                rows.write_row(&cells)?;
            } else {
                unreadable += 1;
            }
        }
        Ok(unreadable)
    }

    /// Writes the alert summaries of the window and their alerts by id. Returns the numbers of records without a row.
    pub(super) fn write_alerts(
        &self,
        identity: &CrawlIdentity,
        mut summaries: Option<&mut TableWriter>,
        mut alerts: Option<&mut TableWriter>,
    ) -> Result<[u64; 2], ExportError> {
        let newest = self.store.shown_harvest()?.map_or(FIRST_HARVEST, |harvest| harvest.number);
        let mut listing = self.store.alert_listing()?;
        listing.sort_unstable();
        let mut unreadable = [0, 0];
        for_each_summary_of_scope::<ExportError>(self.store, identity, &listing, |id, record| {
            self.check_interrupted()?;
            let text = self.text(record);
            if let Some(summaries) = summaries.as_deref_mut() {
                let mut cells = Vec::with_capacity(ALERT_SUMMARIES.len() + 1);
                if Record::read(&text).is_some_and(|record| record.append_cells(ALERT_SUMMARIES, &mut cells)) {
                    cells.push(status_name(record).map_or(Cell::Null, |name| Cell::Text(Cow::Borrowed(name))));
                    cells.push(self.last_seen(self.store.alert_last_seen(id)?, newest));
                    summaries.write_row(&cells)?;
                } else {
                    unreadable[0] += 1;
                }
            }
            let (Some(alerts), Some(record)) = (alerts.as_deref_mut(), Record::read(&text)) else { return Ok(()) };
            for (related, key) in [(false, "alerts"), (true, "related_alerts")] {
                let mut rows = Vec::new();
                for alert in record.objects(key) {
                    let mut cells = vec![Cell::Id(id.0), Cell::Flag(related)];
                    if alert.append_cells(ALERTS, &mut cells) {
                        rows.push(cells);
                    } else {
                        unreadable[1] += 1;
                    }
                }
                rows.sort_by_key(|cells| if let Some(Cell::Integer(id)) = cells.get(2) { *id } else { 0 });
                rows.iter().try_for_each(|cells| alerts.write_row(cells))?;
            }
            Ok(())
        })?;
        Ok(unreadable)
    }
}
