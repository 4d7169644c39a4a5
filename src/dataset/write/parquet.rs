//! Tables as Parquet files: rows go in one at a time, a file comes out that appears whole or not at all.
//!
//! Only this module knows the `parquet` crate. Rows are gathered into row groups of at most [`Limits::rows`] rows, so that
//! memory does not grow with the table; each column is then encoded by itself: numbers and times as packed differences,
//! texts through a dictionary, everything compressed with zstd, with the least and the greatest value of each group and
//! page. The same rows give the same bytes: nothing in a file depends on the clock or the machine.

mod buffer;
mod schema;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use thiserror::Error;

pub use self::buffer::Cell;
use self::buffer::ColumnBuffer;
pub use self::schema::{Column, ColumnType, TableSchema};
use super::{ArtifactError, ArtifactFile, Finished};

/// What the files name as their writer. The library's default names its own version; this says who chose the columns.
const CREATED_BY: &str = concat!("perfharvest version ", env!("CARGO_PKG_VERSION"));

/// How much of a table is held in memory before it is written as a row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows; readers skip whole groups by their statistics, and read several at once.
    pub rows: usize,
    /// Bytes of texts and lists, about.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 1 << 17, text_bytes: 64 << 20 }
    }
}

/// A table could not be written.
#[derive(Debug, Error)]
pub enum TableError {
    /// The file.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A row of another form than the schema's.
    #[error("table {table} got a row of {found} cells for {expected} columns; please report this")]
    RowLength {
        /// The table.
        table: &'static str,
        /// Cells of the row.
        found: usize,
        /// Columns of the table.
        expected: usize,
    },
    /// A cell that its column cannot hold.
    #[error("column {column} of table {table} cannot hold {found}")]
    Cell {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The cell, or what kind it is.
        found: String,
    },
    /// The columns cannot be encoded.
    #[error("table {table} cannot be encoded as Parquet; please report this")]
    Encode {
        /// The table.
        table: &'static str,
        /// Why.
        #[source]
        source: ParquetError,
    },
}

/// A table that is complete, under a temporary name.
#[derive(Debug)]
pub struct FinishedTable {
    /// The file.
    pub file: Finished,
    /// Its rows.
    pub num_rows: u64,
}

/// A table being written; dropped without [`TableWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct TableWriter {
    schema: TableSchema,
    /// Encodes into memory; what it has encoded goes to the file after each row group, so that an error of the disk is
    /// told as such.
    encoder: SerializedFileWriter<Vec<u8>>,
    file: ArtifactFile,
    columns: Vec<ColumnBuffer>,
    limits: Limits,
    num_buffered: usize,
    num_rows: u64,
}

impl TableWriter {
    /// Begins the table's file in `folder`; `notes` are kept in the file beside the schema.
    ///
    /// # Errors
    /// [`TableError::Artifact`] when no file can be created there.
    pub fn create(
        folder: &Path,
        schema: TableSchema,
        notes: &[(&str, String)],
        limits: Limits,
    ) -> Result<Self, TableError> {
        let table = schema.name;
        let encode = |source| TableError::Encode { table, source };
        let notes = notes.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let properties = properties(&schema, notes).map_err(encode)?;
        let message = Arc::new(schema.message().map_err(encode)?);
        let encoder = SerializedFileWriter::new(Vec::new(), message, Arc::new(properties)).map_err(encode)?;
        let file = ArtifactFile::create(folder, &schema.file_name())?;
        let columns = schema.columns.iter().map(|column| ColumnBuffer::new(*column)).collect();
        Ok(Self { schema, encoder, file, columns, limits, num_buffered: 0, num_rows: 0 })
    }

    /// Takes in the next row: a cell for each column, in the schema's order.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn write_row(&mut self, cells: &[Cell<'_>]) -> Result<(), TableError> {
        let table = self.schema.name;
        if cells.len() != self.columns.len() {
            return Err(TableError::RowLength { table, found: cells.len(), expected: self.columns.len() });
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell).map_err(|found| TableError::Cell { table, column: column.name(), found })?;
        }
        self.num_rows += 1;
        self.num_buffered += 1;
        let text_bytes: usize = self.columns.iter().map(ColumnBuffer::text_bytes).sum();
        if self.num_buffered >= self.limits.rows || text_bytes >= self.limits.text_bytes {
            self.write_row_group()?;
        }
        Ok(())
    }

    fn write_row_group(&mut self) -> Result<(), TableError> {
        self.encode_row_group().map_err(|source| TableError::Encode { table: self.schema.name, source })?;
        self.num_buffered = 0;
        self.hand_on()
    }

    fn encode_row_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.encoder.next_row_group()?;
        for buffer in &mut self.columns {
            let missing = || ParquetError::General("the schema has fewer columns than the table".to_owned());
            let mut column = group.next_column()?.ok_or_else(missing)?;
            buffer.write_to(&mut column)?;
            column.close()?;
        }
        group.close()?;
        self.encoder.flush()?;
        Ok(())
    }

    /// Gives the file what has been encoded.
    fn hand_on(&mut self) -> Result<(), TableError> {
        let encoded = std::mem::take(self.encoder.inner_mut());
        self.file.write_all(&encoded).map_err(|met| self.file.explain_now(met).into())
    }

    /// Writes what is left, and waits until everything is on the disk.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn finish(mut self) -> Result<FinishedTable, TableError> {
        if self.num_buffered > 0 {
            self.write_row_group()?;
        }
        self.encoder.finish().map_err(|source| TableError::Encode { table: self.schema.name, source })?;
        self.hand_on()?;
        Ok(FinishedTable { file: self.file.finish()?, num_rows: self.num_rows })
    }
}

fn properties(schema: &TableSchema, notes: Vec<KeyValue>) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(notes))
        .set_sorting_columns(Some(schema.sorting_columns()));
    for column in &schema.columns {
        let path = ColumnPath::new(vec![column.name.to_owned()]);
        match column.holds {
            // Ids and times are all different, or all alike: their differences are smaller than a dictionary.
            ColumnType::Integer | ColumnType::Time => {
                builder = builder.set_column_dictionary_enabled(path.clone(), false);
                builder = builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            ColumnType::Float | ColumnType::Flag => builder = builder.set_column_dictionary_enabled(path, false),
            ColumnType::Text | ColumnType::Texts => {}
        }
    }
    Ok(builder.build())
}

impl TableSchema {
    fn sorting_columns(&self) -> Vec<SortingColumn> {
        let place = |name: &&str| self.columns.iter().position(|column| column.name == *name);
        let places = self.sorted_by.iter().filter_map(place).filter_map(|place| i32::try_from(place).ok());
        places.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false }).collect()
    }
}

#[cfg(test)]
mod tests;
