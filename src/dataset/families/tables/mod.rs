//! 6. EXPORT: the dataset in the store as tables, in Parquet files.
//!
//! In: the store and the commits. Out: a folder with one file per table ([`Table`]), and `export.json`, which describes them
//! and is written last. Promises: all files appear together at the end and replace those of an earlier export; a signature
//! with missing data is left out, as in the artifacts; the same store gives the same bytes.

mod data;
mod description;
mod error;
mod reading;
mod records;
mod replicates;
mod table;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::data::{DataCounts, DataReducer, Head, Heads, HeadsReducer};
use self::description::claim;
pub use self::description::{Description, EXPORT_NAME, TableEntry};
pub use self::error::ExportError;
use self::records::Records;
use self::replicates::write_replicates;
pub use self::table::{SCHEMA_VERSION, Table};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::commits::Commits;
use crate::dataset::error::DatasetError;
use crate::dataset::families::groups::{GroupsReducer, SignatureGroups};
use crate::dataset::ownership::{FolderKind, Owner};
use crate::dataset::pass::signatures::Signatures;
use crate::dataset::pass::{Means, Pass};
use crate::dataset::promise::Promised;
use crate::dataset::sources::read_commits;
use crate::dataset::write::parquet::{Cell, FinishedTable, RowGroupLimits, TableWriter};
use crate::dataset::write::{Publication, publish, remove_leftovers};
use crate::model::Timestamp;
use crate::observe::Reducing;
use crate::store::{CrawlIdentity, Store, Tally};

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
    for table in tables.iter().filter(|table| **table != Table::Replicates || identity.scope.replicates) {
        let notes = description.notes(*table);
        writers.insert(*table, TableWriter::create(folder, table.schema(), &notes, RowGroupLimits::default())?);
    }
    let records = Records { store, redact_emails: config.artifacts.redact_emails, shutdown };
    let mut summary =
        ExportSummary { description, unreadable: BTreeMap::new(), data_with_nulls: 0, counts, removed: Vec::new() };
    write_records(&records, &identity, &mut writers, &mut summary.unreadable)?;
    if let Some(rows) = writers.get_mut(&Table::Replicates) {
        let without_row = write_replicates(store, shutdown, rows)?;
        summary.unreadable.extend(Some((Table::Replicates, without_row)).filter(|(_, rows)| *rows > 0));
    }
    let reducing = Reducing::default();
    let means = Means::of(config, folder, &reducing, shutdown);
    let DataCounts { without_row, with_nulls } = write_data(store, commits.as_ref(), means, &mut writers)?;
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

type Writers = BTreeMap<Table, TableWriter>;

/// Writes the tables of records.
fn write_records(
    records: &Records<'_>,
    identity: &CrawlIdentity,
    writers: &mut Writers,
    unreadable: &mut BTreeMap<Table, u64>,
) -> Result<(), ExportError> {
    if let Some(rows) = writers.get_mut(&Table::Signatures) {
        unreadable.insert(Table::Signatures, records.write_signatures(rows)?);
    }
    if let Some(rows) = writers.get_mut(&Table::Jobs) {
        unreadable.insert(Table::Jobs, records.write_jobs(rows)?);
    }
    let [mut summaries, mut alerts] = [Table::AlertSummaries, Table::Alerts].map(|table| writers.remove(&table));
    if summaries.is_some() || alerts.is_some() {
        let [of_summaries, of_alerts] = records.write_alerts(identity, summaries.as_mut(), alerts.as_mut())?;
        unreadable.extend([(Table::AlertSummaries, of_summaries), (Table::Alerts, of_alerts)]);
    }
    writers.extend(summaries.map(|rows| (Table::AlertSummaries, rows)));
    writers.extend(alerts.map(|rows| (Table::Alerts, rows)));
    unreadable.retain(|_, rows| *rows > 0);
    Ok(())
}

/// Writes the tables of data, in one pass; counts the data that are not in them as they were sent.
fn write_data(
    store: &Store,
    commits: Option<&Commits>,
    means: Means<'_>,
    writers: &mut Writers,
) -> Result<DataCounts, ExportError> {
    let signatures = Signatures::complete(store)?;
    let [data, mut revisions, mut groups] =
        [Table::Data, Table::Revisions, Table::SigGroups].map(|table| writers.remove(&table));
    if data.is_none() && revisions.is_none() && groups.is_none() {
        return Ok(DataCounts::default());
    }
    let (data, heads, found) = std::thread::scope(|scope| {
        let mut pass = Pass::new(scope, store, &signatures, means);
        let data = data.map(|rows| pass.start(DataReducer::new(rows), Ok)).transpose()?;
        let heads = revisions.is_some().then(|| pass.start(HeadsReducer, Ok)).transpose()?;
        let found = groups.is_some().then(|| pass.start(GroupsReducer::new(store, &signatures), Ok)).transpose()?;
        pass.run("reading the data")?;
        let data = data.map(Promised::into_value).transpose()?;
        let heads = heads.map(Promised::into_value).transpose()?;
        Ok::<_, DatasetError>((data, heads, found.map(Promised::into_value).transpose()?))
    })?;
    if let (Some(rows), Some(heads)) = (&mut revisions, heads) {
        write_revisions(commits, heads, rows)?;
    }
    if let (Some(rows), Some(found)) = (&mut groups, found) {
        write_groups(&found, rows)?;
    }
    let (data, counts) = data.unzip();
    let tables = [(Table::Data, data), (Table::Revisions, revisions), (Table::SigGroups, groups)];
    writers.extend(tables.into_iter().filter_map(|(table, rows)| Some((table, rows?))));
    Ok(counts.unwrap_or_default())
}

/// Writes the commits of the window by date, then by name; then the revisions that only data refer to.
fn write_revisions(commits: Option<&Commits>, mut heads: Heads, rows: &mut TableWriter) -> Result<(), ExportError> {
    let mut write = |revision: &str, date: Option<Timestamp>, head: Option<Head>| {
        rows.write_row(&[
            Cell::Text(Cow::Borrowed(revision)),
            date.map_or(Cell::Null, Cell::Time),
            head.and_then(|(_, push)| push).map_or(Cell::Null, |push| Cell::Id(push.0)),
            head.map_or(Cell::Null, |(landed, _)| Cell::Time(landed)),
        ])
    };
    let mut in_window: Vec<_> = commits.iter().flat_map(|commits| commits.folded()).collect();
    in_window.sort_unstable_by(|a, b| (a.date, &a.node).cmp(&(b.date, &b.node)));
    for commit in &in_window {
        let head = commit.node.parse().ok().and_then(|revision| heads.remove(&revision));
        write(&commit.node, Some(commit.date), head)?;
    }
    let mut others: Vec<_> = heads.into_iter().collect();
    others.sort_unstable_by_key(|(revision, _)| *revision);
    others.into_iter().try_for_each(|(revision, head)| write(&revision.to_string(), None, Some(head)))?;
    Ok(())
}

/// Writes a row for each signature of each group.
fn write_groups(groups: &SignatureGroups, rows: &mut TableWriter) -> Result<(), ExportError> {
    for (group, signatures) in groups.iter() {
        for signature in signatures {
            rows.write_row(&[Cell::Id(group.into()), Cell::Id(signature.0)])?;
        }
    }
    Ok(())
}
