//! Writes tables as Parquet files.
//!
//! In: rows, one at a time. Out: a file that appears whole or not at all. Only this module uses the `parquet` crate. Rows
//! are buffered in row groups of bounded size, so that memory does not grow with the table. Numbers and times are encoded
//! as packed differences, texts with a dictionary, and all columns are compressed with zstd and have minimum and maximum
//! values per group and page. The same rows give the same bytes on any machine and at any time.

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

/// The writer named in the files: the program that defines the columns, instead of the library.
const CREATED_BY: &str = concat!("perfharvest version ", env!("CARGO_PKG_VERSION"));

/// Maximum size of a row group, which is buffered in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowGroupLimits {
    /// Number of rows; readers skip whole groups by their statistics, and read several in parallel.
    pub rows: usize,
    /// Bytes of texts and lists, approximately.
    pub text_bytes: usize,
}

impl Default for RowGroupLimits {
    fn default() -> Self {
        Self { rows: 1 << 17, text_bytes: 64 << 20 }
    }
}

/// A table that cannot be written.
#[derive(Debug, Error)]
pub enum TableError {
    /// The file is not writable.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A row with more or fewer cells than the schema has columns.
    #[error("table {table} got a row of {found} cells for {expected} columns; please report this")]
    RowLength {
        /// Name of the table.
        table: &'static str,
        /// Number of cells of the row.
        found: usize,
        /// Number of columns of the table.
        expected: usize,
    },
    /// A cell that its column cannot hold.
    #[error("column {column} of table {table} cannot hold {found}")]
    Cell {
        /// Name of the table.
        table: &'static str,
        /// Name of the column.
        column: &'static str,
        /// The value or the type of the cell.
        found: String,
    },
    /// Encoding the columns of the named table failed in memory.
    #[error("cannot encode table {0} as Parquet; please report this")]
    Encode(&'static str, #[source] ParquetError),
}

/// A complete table under a temporary name.
#[derive(Debug)]
pub struct FinishedTable {
    /// The file, ready to be published.
    pub file: Finished,
    /// Number of rows.
    pub num_rows: u64,
}

/// A table being written; dropped without [`TableWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct TableWriter {
    schema: TableSchema,
    /// Encodes into memory. The encoded bytes are written to the file after each row group, so that a disk error is reported
    /// as one.
    encoder: SerializedFileWriter<Vec<u8>>,
    file: ArtifactFile,
    columns: Vec<ColumnBuffer>,
    limits: RowGroupLimits,
    num_buffered: usize,
    num_rows: u64,
}

impl TableWriter {
    /// Creates the table's file in `folder`; `notes` become key-value metadata of the file.
    ///
    /// # Errors
    /// [`TableError::Artifact`] if no file can be created there.
    pub fn create(
        folder: &Path,
        schema: TableSchema,
        notes: &[(&str, String)],
        limits: RowGroupLimits,
    ) -> Result<Self, TableError> {
        let name = schema.file_name();
        Self::create_as(folder, &name, schema, notes, limits)
    }

    /// As [`TableWriter::create`], with another name than the table's.
    ///
    /// # Errors
    /// [`TableError::Artifact`] if no file can be created there.
    pub fn create_as(
        folder: &Path,
        name: &str,
        schema: TableSchema,
        notes: &[(&str, String)],
        limits: RowGroupLimits,
    ) -> Result<Self, TableError> {
        let table = schema.name;
        let encode = |source| TableError::Encode(table, source);
        let notes = notes.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let properties = properties(&schema, notes).map_err(encode)?;
        let message = Arc::new(schema.message().map_err(encode)?);
        let encoder = SerializedFileWriter::new(Vec::new(), message, Arc::new(properties)).map_err(encode)?;
        let file = ArtifactFile::create(folder, name)?;
        let columns = schema.columns.iter().map(|column| ColumnBuffer::new(*column)).collect();
        Ok(Self { schema, encoder, file, columns, limits, num_buffered: 0, num_rows: 0 })
    }

    /// Adds the next row: a cell for each column, in the order of the schema.
    ///
    /// # Errors
    /// [`TableError`], after which the table must be dropped.
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
        self.encode_row_group().map_err(|source| TableError::Encode(self.schema.name, source))?;
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

    /// Writes the encoded bytes to the file.
    fn hand_on(&mut self) -> Result<(), TableError> {
        let encoded = std::mem::take(self.encoder.inner_mut());
        self.file.write_all(&encoded).map_err(|met| self.file.explain_now(met).into())
    }

    /// Writes the remaining rows, and waits until the file is durable.
    ///
    /// # Errors
    /// [`TableError`], after which no file is left.
    pub fn finish(mut self) -> Result<FinishedTable, TableError> {
        if self.num_buffered > 0 {
            self.write_row_group()?;
        }
        self.encoder.finish().map_err(|source| TableError::Encode(self.schema.name, source))?;
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
            // Ids and times are mostly distinct, or mostly equal: their differences are smaller than a dictionary.
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
