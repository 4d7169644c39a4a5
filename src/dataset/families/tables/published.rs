//! The tables of a published dataset: a folder each, `data` with a folder for each month of the push.
//!
//! Nothing in a file says when it was written, or up to which harvest, so that a file without changes keeps its bytes.

use std::cell::Cell as Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::data::DataCounts;
use super::error::ExportError;
use super::months::{FinishedMonths, Months, PART_NAME};
use super::records::Records;
use super::table::{SCHEMA_VERSION, Table};
use super::writing::{Writers, write_data, write_records};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::commits::Commits;
use crate::dataset::error::DatasetError;
use crate::dataset::pass::Means;
use crate::dataset::write::parquet::{FinishedTable, RowGroupLimits, TableWriter};
use crate::dataset::write::{Finished, MadeFolders, Redaction, make_folder, remove_leftovers};
use crate::observe::Reducing;
use crate::store::{CrawlIdentity, Store};

/// A file of a table, under a temporary name.
#[derive(Debug)]
pub(crate) struct PublishedTable {
    pub(crate) table: Table,
    /// From the folder of the dataset, with slashes.
    pub(crate) path: String,
    pub(crate) file: Finished,
    pub(crate) rows: u64,
}

/// All tables, and what is not in them as the server sent it.
#[derive(Debug, Default)]
pub(crate) struct PublishedTables {
    pub(crate) files: Vec<PublishedTable>,
    /// Keep the folders while the files are not published.
    pub(crate) made: Vec<MadeFolders>,
    /// Number of records without a row, by table.
    pub(crate) unreadable: BTreeMap<Table, u64>,
    /// Data with a field of another type, which is null.
    pub(crate) data_with_nulls: u64,
    /// E-mail addresses that were replaced; `None` if they stay.
    pub(crate) addresses_redacted: Option<u64>,
}

/// Writes all tables under `root`.
///
/// # Errors
/// [`ExportError`].
pub(crate) fn write_published(
    store: &Store,
    config: &Config,
    (identity, commits): (&CrawlIdentity, Option<&Commits>),
    root: &Path,
    shutdown: &Shutdown,
) -> Result<PublishedTables, ExportError> {
    let mut tables = PublishedTables::default();
    let mut writers = Writers::new();
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Data && table.is_of(&identity.scope)) {
        let folder = root.join(table.name());
        tables.made.push(make_folder(&folder)?);
        remove_leftovers(&folder);
        let (schema, notes) = (table.published_schema(), notes(table, identity));
        writers.insert(table, TableWriter::create_as(&folder, PART_NAME, schema, &notes, RowGroupLimits::default())?);
    }
    let redaction = Shared::new(Redaction::new(config.artifacts.redact_emails));
    let records = Records { store, published: true, redaction, shutdown };
    write_records(&records, identity, &mut writers, &mut tables.unreadable)?;
    tables.addresses_redacted = records.redaction.get().counts().map(|(_, number)| number);

    let folder = root.join(Table::Data.name());
    tables.made.push(make_folder(&folder)?);
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        remove_leftovers(&entry.path());
    }
    let (notes, mut done) = (notes(Table::Data, identity), BTreeSet::new());
    let reducing = Reducing::default();
    loop {
        let means = Means::of(config, root, &reducing, shutdown);
        let months = Months::new(&folder, &notes, &done);
        // Only the first pass has writers left for the other tables.
        let (months, counts) = write_data(store, commits, means, Some(months), &mut writers)?;
        for (table, writer) in std::mem::take(&mut writers) {
            tables.push(table, format!("{table}/{PART_NAME}"), writer.finish()?);
        }
        let Some(months) = months else { break };
        let FinishedMonths { files, made, done: finished, is_last } = months.finish()?;
        for (month, file) in files {
            tables.push(Table::Data, format!("{}/{month}/{PART_NAME}", Table::Data), file);
        }
        tables.made.extend(made);
        done.extend(finished);
        let DataCounts { without_row, with_nulls } = counts; // the same in each pass
        tables.data_with_nulls = with_nulls;
        tables.unreadable.extend(Some((Table::Data, without_row)).filter(|(_, data)| *data > 0));
        if is_last {
            break;
        }
    }
    if shutdown.is_draining() {
        return Err(DatasetError::Interrupted.into());
    }
    Ok(tables)
}

impl PublishedTables {
    fn push(&mut self, table: Table, path: String, finished: FinishedTable) {
        let FinishedTable { file, num_rows: rows } = finished;
        self.files.push(PublishedTable { table, path, file, rows });
    }
}

/// The metadata of a file, for a copy of it elsewhere.
fn notes(table: Table, identity: &CrawlIdentity) -> [(&'static str, String); 3] {
    [
        ("perfharvest.table", table.name().to_owned()),
        ("perfharvest.schema_version", SCHEMA_VERSION.to_string()),
        ("perfharvest.repository", identity.repository.clone()),
    ]
}
