//! Writes the rows of all tables: those of records one by one, those of data in one pass.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::data::{DataCounts, DataReducer, DataSink, Head, Heads, HeadsReducer};
use super::error::ExportError;
use super::records::Records;
use super::replicates::write_replicates;
use super::table::Table;
use crate::dataset::commits::Commits;
use crate::dataset::error::DatasetError;
use crate::dataset::families::groups::{GroupsReducer, SignatureGroups};
use crate::dataset::pass::signatures::Signatures;
use crate::dataset::pass::{Means, Pass};
use crate::dataset::promise::Promised;
use crate::dataset::write::parquet::{Cell, TableWriter};
use crate::model::Timestamp;
use crate::store::{CrawlIdentity, Store};

/// The tables that are being written.
pub(super) type Writers = BTreeMap<Table, TableWriter>;

/// Writes the tables of records.
pub(super) fn write_records(
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
    if let Some(rows) = writers.get_mut(&Table::Replicates) {
        unreadable.insert(Table::Replicates, write_replicates(records.store, records.shutdown, rows)?);
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

/// Writes the tables of data, in one pass, `data` itself to a sink of its own; counts the data that are not in them as they
/// were sent.
pub(super) fn write_data<S: DataSink>(
    store: &Store,
    commits: Option<&Commits>,
    means: Means<'_>,
    data: Option<S>,
    writers: &mut Writers,
) -> Result<(Option<S>, DataCounts), ExportError> {
    let signatures = Signatures::complete(store)?;
    let [mut revisions, mut groups] = [Table::Revisions, Table::SigGroups].map(|table| writers.remove(&table));
    if data.is_none() && revisions.is_none() && groups.is_none() {
        return Ok((None, DataCounts::default()));
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
    let tables = [(Table::Revisions, revisions), (Table::SigGroups, groups)];
    writers.extend(tables.into_iter().filter_map(|(table, rows)| Some((table, rows?))));
    Ok((data, counts.unwrap_or_default()))
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
