//! Writes the table of replicates, signature by signature, in constant memory.

use super::error::ExportError;
use crate::actor::Shutdown;
use crate::dataset::pass::signatures::{Part, Signatures};
use crate::dataset::write::parquet::{Cell, TableWriter};
use crate::model::DatumFields;
use crate::store::{ReplicateReader, Row, Store};

/// Writes a row for each row of the answers with replicates; returns the number of those without an id, which are left out.
///
/// # Errors
/// [`ExportError`].
pub(super) fn write_replicates(store: &Store, shutdown: &Shutdown, rows: &mut TableWriter) -> Result<u64, ExportError> {
    let signatures = Signatures::complete_rows(store, true)?;
    let (mut reader, mut without_row) = (ReplicateReader::new(store), 0);
    for parts in signatures.iter() {
        if shutdown.is_draining() {
            return Err(ExportError::Interrupted);
        }
        let Some(first) = parts.first() else { continue };
        let stored: Vec<_> = parts.iter().map(Part::stored).collect();
        reader.for_each_row(&stored, |row| {
            let value = match row.row {
                Row::Regular(datum) => Some(datum.value),
                Row::Irregular(_, text) => DatumFields::read(text).ok().and_then(|fields| fields.value()),
            };
            let Some(id) = row.row.id() else {
                without_row += 1;
                return Ok(());
            };
            rows.write_row(&[
                Cell::Id(first.signature.0),
                Cell::Id(id.0),
                Cell::Integer(row.ordinal.into()),
                value.map_or(Cell::Null, Cell::Float),
            ])?;
            Ok::<_, ExportError>(())
        })?;
    }
    Ok(without_row)
}
