//! The table of alert summaries, and the three artifacts derived from them: regressions with a bug, failing signatures,
//! and the time from a push to its alert.
//!
//! In: the server's records, in the order of its list. A field of an unexpected type is never an error.
//! Value: [`AlertTables`].

mod culprit;
mod history;
mod tables;
mod view;
mod walk;

use std::collections::BTreeSet;

use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::promise::Promised;
use crate::dataset::summary_stats::{TimesToCulprit, time_to_culprit_stats};
use crate::dataset::write::Redaction;
use crate::dataset::write::csv::Dialect;
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::dataset::write::python_literal::{write_literal, write_str};
use crate::model::{AlertStatus, AlertSummaryId, RawEntries, RawJson};
use crate::store::{CrawlIdentity, Store};

pub(crate) use self::culprit::TimeToCulprit;
pub(crate) use self::history::{AlertHistory, RaisedOn};
pub(crate) use self::tables::{AlertTables, BugRow, FailingRow};
pub(crate) use self::view::{AlertSummaryView, AlertView};
use self::walk::damaged;
pub(crate) use self::walk::{for_each_summary, for_each_summary_of_scope};

pub(crate) struct Alerts;

impl Family for Alerts {
    type Value = AlertTables;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<AlertTables>, DatasetError> {
        making.spawn(|context| {
            let mut columns = CsvColumns::default();
            let listing = context.store.alert_listing()?;
            let keep_columns = context.wants(Artifact::AlertSummaries);
            let (tables, num_outside) = read_tables(context.store, context.identity, &listing, |id, record| {
                context.means.check_interrupted()?;
                if keep_columns { columns.add(id, record) } else { Ok(()) }
            })?;
            let counts = RowCounts::from([("summaries_outside_the_window".to_owned(), num_outside)]);
            write_summaries(context, &listing, columns, &counts)?;
            write_all(context, &listing)?;
            write_tables(context, &tables, &counts)?;
            Ok(tables)
        })
    }
}

/// Computes the tables of the alert summaries in `store`, and writes nothing.
///
/// # Errors
/// [`DatasetError::Store`] if a record is missing or damaged.
pub(crate) fn alert_tables(store: &Store, identity: &CrawlIdentity) -> Result<AlertTables, DatasetError> {
    Ok(read_tables(store, identity, &store.alert_listing()?, |_, _| Ok(()))?.0)
}

/// The tables, and the number of summaries outside the window; passes each summary inside to `take` too.
fn read_tables(
    store: &Store,
    identity: &CrawlIdentity,
    listing: &[AlertSummaryId],
    mut take: impl FnMut(AlertSummaryId, &RawJson) -> Result<(), DatasetError>,
) -> Result<(AlertTables, u64), DatasetError> {
    let mut tables = AlertTables::default();
    let num_outside = for_each_summary::<DatasetError>(store, identity, listing, |id, record| {
        tables.push(record);
        take(id, record)
    })?;
    if tables.unreadable > 0 {
        tracing::warn!(rows = tables.unreadable, "left unreadable alert summaries out of the alert tables");
    }
    Ok((tables, num_outside))
}

/// The columns of `alert_summaries.csv`: the fields of the first record, then further fields of later records, because the
/// server's fields change.
#[derive(Default)]
struct CsvColumns {
    names: Vec<String>,
    known: BTreeSet<String>,
}

impl CsvColumns {
    fn add(&mut self, id: AlertSummaryId, record: &RawJson) -> Result<(), DatasetError> {
        let entries: RawEntries<'_> = record.view().map_err(|error| damaged(id, &error))?;
        for (key, _) in entries.0 {
            if self.known.insert(key.clone()) {
                self.names.push(key);
            }
        }
        Ok(())
    }
}

fn write_summaries(
    context: &Context<'_>,
    listing: &[AlertSummaryId],
    columns: CsvColumns,
    counts: &RowCounts,
) -> Result<(), DatasetError> {
    let CsvColumns { names: mut columns, .. } = columns;
    if columns.is_empty() {
        columns.push("id".to_owned()); // a CSV file needs a column
    }
    let header: Vec<&str> = columns.iter().map(String::as_str).collect();
    let Some(mut file) = context.csv_file(Artifact::AlertSummaries, Dialect::Pandas, &header)? else { return Ok(()) };
    let mut redaction = Redaction::new(context.options().redact_emails);
    for_each_summary::<DatasetError>(context.store, context.identity, listing, |id, record| {
        let text = redaction.apply(record.as_str());
        let entries: RawEntries<'_> = serde_json::from_str(&text).map_err(|error| damaged(id, &error))?;
        let mut cells = Vec::with_capacity(columns.len());
        for column in &columns {
            let value = entries.0.iter().find(|(key, _)| key == column).map(|(_, raw)| raw.get());
            cells.push(cell(value).map_err(|error| damaged(id, &error))?);
        }
        file.write_row(&cells)
    })?;
    let counts = counts.clone().into_iter().chain(redaction.counts()).collect();
    context.finish(file.written()?, &counts)
}

/// Writes the records as sent, each with the name of its status.
fn write_all(context: &Context<'_>, listing: &[AlertSummaryId]) -> Result<(), DatasetError> {
    let Some(mut file) = context.line_file(Artifact::AllAlertSummaries)? else { return Ok(()) };
    let mut redaction = Redaction::new(context.options().redact_emails);
    let mut line = Vec::new();
    let num_outside =
        for_each_summary_of_scope::<DatasetError>(context.store, context.identity, listing, |id, record| {
            context.means.check_interrupted()?;
            let text = redaction.apply(record.as_str());
            let name = status_name(record).map_or_else(|| "null".to_owned(), |name| format!("\"{name}\""));
            let fields = text.trim_end().strip_suffix('}').unwrap_or(&text); // a record is an object with an id
            line.clear();
            dumps(&format!("{fields},\"status_name\":{name}}}"), &mut line, AsciiMode::Escape)
                .map_err(|error| damaged(id, &error))?;
            line.push(b'\n');
            file.append_line(&line)
        })?;
    let outside = ("summaries_outside_the_window".to_owned(), num_outside);
    context.finish(file.written(), &Some(outside).into_iter().chain(redaction.counts()).collect())
}

/// The name of the status of an alert summary; `None` for an unknown status.
pub(crate) fn status_name(record: &RawJson) -> Option<&'static str> {
    let status = AlertSummaryView::read(record).ok()?.status?;
    AlertStatus::of(status).map(AlertStatus::name)
}

/// A value as a cell, as pandas writes it: nested values as Python literals, null as an empty field.
fn cell(raw: Option<&str>) -> Result<Vec<u8>, CellError> {
    let mut out = Vec::new();
    match raw {
        None | Some("null") => {}
        Some("true") => out.extend_from_slice(b"True"),
        Some("false") => out.extend_from_slice(b"False"),
        Some(raw) if raw.starts_with('"') => {
            // Stores of earlier versions may hold lone surrogates, which UTF-8 cannot represent.
            match serde_json::from_str::<String>(raw) {
                Ok(text) => out.extend_from_slice(text.as_bytes()),
                Err(_) => out.extend_from_slice(raw.trim_matches('"').as_bytes()),
            }
        }
        Some(raw) if raw.starts_with(['[', '{']) => write_literal(raw, &mut out).map_err(CellError)?,
        Some(raw) => out.extend_from_slice(raw.as_bytes()),
    }
    Ok(out)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write a nested column as a Python literal")]
struct CellError(#[source] crate::dataset::write::JsonTextError);

fn write_tables(context: &Context<'_>, tables: &AlertTables, counts: &RowCounts) -> Result<(), DatasetError> {
    let header = [
        "regression_bug_id",
        "reg_perf_tests_list",
        "perf_reg_alert_summary_id",
        "regressor_push_head_revision",
        "alert_creation_date",
    ];
    if let Some(mut file) = context.csv_file(Artifact::AlertsWithBug, Dialect::Pandas, &header)? {
        for row in &tables.bug_rows {
            let id = row.summary_id.to_string();
            let fields = [row.bug_number.to_string().into_bytes(), tests_literal(row), id.into_bytes()];
            let texts = [row.revision.clone().into_bytes(), row.created.clone().into_bytes()];
            file.write_row(fields.into_iter().chain(texts))?;
        }
        context.finish(file.written()?, counts)?;
    }
    let header = ["alert_summary_id", "revision", "fail_perf_sig_ids", "num_fail_perf_sig_ids"];
    if let Some(mut file) = context.csv_file(Artifact::FailingSignatures, Dialect::CsvModule, &header)? {
        for row in tables.failing_rows.values() {
            file.write_row(row.cells())?;
        }
        context.finish(file.written()?, counts)?;
    }
    let times = &tables.time_to_culprit;
    let document = time_to_culprit_stats(&TimesToCulprit {
        deltas_micros: &times.deltas_micros,
        num_rows: times.total_rows,
        input_csv: Artifact::AlertSummaries.file_name(),
    });
    context.put(Artifact::TimeToCulprit, Some(&document), counts)
}

/// For example `[{'test': 'a', 'platform': 'b'}]`.
fn tests_literal(row: &BugRow) -> Vec<u8> {
    let mut out = vec![b'['];
    for (number, pairs) in row.test_dicts().into_iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(b", ");
        }
        out.push(b'{');
        for (place, (key, value)) in pairs.into_iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(b", ");
            }
            write_str(key, &mut out);
            out.extend_from_slice(b": ");
            match value {
                Some(value) => write_str(value, &mut out),
                None => out.extend_from_slice(b"None"),
            }
        }
        out.push(b'}');
    }
    out.push(b']');
    out
}
