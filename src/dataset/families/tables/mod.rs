//! 6. EXPORT: the dataset in the store as tables, in Parquet files.
//!
//! In: the store and the commits. Out: a folder with one file per table ([`Table`]), and `export.json`, which describes them
//! and is written last. Promises: all files appear together at the end and replace those of an earlier export; a signature
//! with missing data is left out, as in the artifacts; the same store gives the same bytes.

mod data;
mod description;
mod error;
mod months;
mod published;
mod reading;
mod records;
mod replicates;
mod table;
mod writing;

use std::cell::Cell as Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::data::DataCounts;
use self::description::claim;
pub use self::description::{Description, EXPORT_NAME, TableEntry};
pub use self::error::ExportError;
pub(crate) use self::published::write_published;
use self::records::Records;
pub use self::table::{SCHEMA_VERSION, Table};
use self::writing::{write_data, write_records};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::error::DatasetError;
use crate::dataset::ownership::{FolderKind, Owner};
use crate::dataset::pass::Means;
use crate::dataset::sources::read_commits;
use crate::dataset::write::parquet::{FinishedTable, RowGroupLimits, TableWriter};
use crate::dataset::write::{Publication, Redaction, publish, remove_leftovers};
use crate::observe::Reducing;
use crate::store::{Store, Tally};

/// The result of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportSummary {
    /// The content of `export.json`.
    pub description: Description,
    /// Number of records without a row, by table.
    pub unreadable: BTreeMap<Table, u64>,
    /// Data with a field of an undocumented type, which is null in the table.
    pub data_with_nulls: u64,
    /// The crawl's tally: answers of pending and failed requests are missing from the tables.
    pub counts: Tally,
    /// Removed tables of an earlier export, of another store or of an earlier state of this one.
    pub removed: Vec<Table>,
}

/// Writes `tables` of the dataset into `folder`; replicates only if the crawl has asked for them.
///
/// # Errors
/// [`ExportError`].
pub fn export(
    store: &Store,
    config: &Config,
    folder: &Path,
    tables: &BTreeSet<Table>,
    shutdown: &Shutdown,
) -> Result<ExportSummary, ExportError> {
    let identity = store.identity()?.ok_or(DatasetError::EmptyStore)?;
    let commits = read_commits(config, &identity)?;
    let files = Table::ALL.iter().map(|table| (table.name().to_owned(), table.schema().file_name())).collect();
    let kind = FolderKind::export(EXPORT_NAME, files);
    let _lock = kind.lock(folder).map_err(DatasetError::from)?;
    let owner = Owner::at(store.path());
    let unlisted = owner.as_ref().map(|owner| kind.unlisted(folder, owner)).transpose().map_err(DatasetError::from)?;
    remove_leftovers(folder);
    let counts = store.counts()?;
    let description = Description::of(&identity, &counts, commits.as_ref(), config);
    let mut writers = BTreeMap::new();
    for table in tables.iter().filter(|table| table.is_of(&identity.scope)) {
        let notes = description.notes(*table);
        writers.insert(*table, TableWriter::create(folder, table.schema(), &notes, RowGroupLimits::default())?);
    }
    let redaction = Shared::new(Redaction::new(config.artifacts.redact_emails));
    let records = Records { store, published: false, redaction, shutdown };
    let mut summary =
        ExportSummary { description, unreadable: BTreeMap::new(), data_with_nulls: 0, counts, removed: Vec::new() };
    write_records(&records, &identity, &mut writers, &mut summary.unreadable)?;
    let reducing = Reducing::default();
    let means = Means::of(config, folder, &reducing, shutdown);
    let data = writers.remove(&Table::Data);
    let (data, counts) = write_data(store, commits.as_ref(), means, data, &mut writers)?;
    writers.extend(data.map(|rows| (Table::Data, rows)));
    let DataCounts { without_row, with_nulls } = counts;
    summary.unreadable.extend(Some((Table::Data, without_row)).filter(|(_, data)| *data > 0));
    summary.data_with_nulls = with_nulls;

    let mut publication = Publication::new();
    for (table, writer) in writers {
        let FinishedTable { file, num_rows } = writer.finish()?;
        summary.description.tables.insert(table.name().to_owned(), TableEntry::of(&file, num_rows));
        publication.push(file);
    }
    if shutdown.is_draining() {
        return Err(ExportError::Interrupted);
    }
    summary.removed = summary.description.take_over(folder);
    let unlisted = unlisted.unwrap_or_default();
    let removed: Vec<_> = summary.removed.iter().map(|table| folder.join(table.schema().file_name())).collect();
    kind.refuse_others(folder, &unlisted, &publication, &removed).map_err(DatasetError::from)?;
    publication.push(summary.description.write(folder)?);
    claim(folder, &summary.description, &summary.removed)?;
    publish(folder, publication)?;
    Ok(summary)
}
