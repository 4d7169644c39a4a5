//! The walk over the chunks of a settled summary: every reader of stored data goes this way.

use super::columns::{ColumnSet, Columns};
use super::database::Store;
use super::error::StoreError;
use crate::model::Request;

/// Reads and decodes chunks one at a time; its buffers serve all of them.
#[derive(Debug)]
pub struct ChunkReader<'a> {
    store: &'a Store,
    columns: Columns,
    raw: Vec<u8>,
}

impl<'a> ChunkReader<'a> {
    /// A reader of `store`.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Self { store, columns: Columns::default(), raw: Vec::new() }
    }

    /// Decodes the `wanted` columns of the `num_chunks` chunks of `request` and hands each to `take`, in order.
    ///
    /// # Errors
    /// [`StoreError`] when a chunk is missing or damaged, and those of `take`.
    pub fn for_each<E: From<StoreError>>(
        &mut self,
        request: &Request,
        num_chunks: u16,
        wanted: ColumnSet,
        mut take: impl FnMut(&Columns) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in 0..num_chunks {
            self.store.chunk(request, number, &mut self.raw)?;
            let decoded = self.columns.decode(&self.raw, wanted);
            decoded.map_err(|source| StoreError::damaged_chunk(request, &source))?;
            take(&self.columns)?;
        }
        Ok(())
    }
}
