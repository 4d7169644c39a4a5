//! Pages of alert summaries that are too much for one reply are read in parts, down to single rows.

use super::{Ending, Fetcher, Trail};
use crate::fetch::error::FetchError;
use crate::fetch::page_in_parts::{PageInParts, stand_in_of};
use crate::model::{AlertSummaryId, AskedPage, Batch, LAST_ROWS, Request};
use crate::source::SourceError;
use crate::store::SignatureListing;

impl Fetcher {
    pub(super) fn page_size(&self) -> u32 {
        self.links.access.config.borrow().batch.alert_page.get()
    }

    /// Decides which rows a batch of alert summaries asks for.
    pub(super) fn sized(&self, batch: Batch) -> Batch {
        match batch.requests()[0] {
            request @ Request::AlertPage { page, .. } => Batch::of_rows(request, AskedPage::of(page, self.page_size())),
            _ => batch,
        }
    }

    /// Reads `parts` one after the other, and settles the page if `batch` is all of it. `error` is the one that it met.
    pub(super) async fn read_in_parts(
        &self,
        batch: &Batch,
        parts: Vec<Batch>,
        trail: &mut Trail,
        error: &SourceError,
    ) -> Result<Ending, FetchError> {
        let is_whole = trail.page.is_none();
        if is_whole {
            trail.page = Some(PageInParts::new(self.counted(batch)?));
        }
        for part in &parts {
            let ends_before = |rows| trail.page.as_ref().is_some_and(|page| page.ends_before(rows));
            if part.rows().is_some_and(ends_before) {
                break;
            }
            let settled = Box::pin(self.settle(part, trail)).await?;
            if settled != Ending::Answered {
                return Ok(settled); // a page that fails in part is not stored
            }
        }
        if !is_whole {
            return Ok(Ending::Answered);
        }
        for row in trail.page.as_mut().map_or_else(Vec::new, PageInParts::begin_looks) {
            let look = Batch::of_rows(batch.requests()[0], row);
            let settled = Box::pin(self.settle(&look, trail)).await?;
            if settled != Ending::Answered {
                return Ok(settled);
            }
        }
        match trail.page.take() {
            Some(page) => self.store_page(batch, page, trail.attempts, error).await,
            None => Ok(Ending::NotAnswered),
        }
    }

    /// The server does not return a row, even alone.
    pub(super) async fn set_row_aside(
        &self,
        batch: &Batch,
        trail: &mut Trail,
        error: &SourceError,
    ) -> Result<Ending, FetchError> {
        let Some(row) = batch.rows() else { return self.record(batch, trail.attempts, error).await };
        if let Some(page) = &mut trail.page {
            page.add_unreadable(row, error);
            return Ok(Ending::Answered);
        }
        let is_known = self.is_unreadable(batch, trail)?;
        // Pages may have one row. A second look finds such a row in its place, or fails.
        let is_look = matches!(batch.requests()[0], Request::AlertPage { page: 0 | LAST_ROWS.., .. });
        match self.counted(batch)? {
            Some(count) if is_known || !is_look => {
                let mut page = PageInParts::new(Some(count));
                page.add_unreadable(row, error);
                self.store_page(batch, page, trail.attempts, error).await
            }
            _ => self.record(batch, trail.attempts, error).await,
        }
    }

    /// Settles a page by its parts; records it as failed if none was answered, so that the length of the list is unknown.
    async fn store_page(
        &self,
        batch: &Batch,
        page: PageInParts,
        attempts: u32,
        error: &SourceError,
    ) -> Result<Ending, FetchError> {
        let Some(answer) = page.into_answer() else { return self.record(batch, attempts, error).await };
        self.submit(batch, answer, SignatureListing::default(), attempts).await?;
        Ok(Ending::Answered)
    }

    /// Alert summaries in the list, as page 1 of the pass counts them.
    fn counted(&self, batch: &Batch) -> Result<Option<u64>, FetchError> {
        let Request::AlertPage { pass, .. } = batch.requests()[0] else { return Ok(None) };
        Ok(self.links.store.store().alert_page(pass, 1)?.map(|page| page.count))
    }

    /// True for a second look at a row that the server did not return before.
    pub(super) fn is_unreadable(&self, batch: &Batch, trail: &Trail) -> Result<bool, FetchError> {
        let Some(row) = batch.rows().filter(|rows| rows.limit == 1) else { return Ok(false) };
        match (&trail.page, batch.requests()[0]) {
            (Some(page), _) => Ok(page.lacks(row)),
            (None, Request::AlertPage { pass, page: look @ LAST_ROWS.. }) => {
                let page = self.links.store.store().alert_page(pass, look - LAST_ROWS)?;
                Ok(page.is_some_and(|page| page.set_aside.contains(&AlertSummaryId(stand_in_of(row)))))
            }
            _ => Ok(false),
        }
    }
}
