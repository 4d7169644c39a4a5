//! The alert summaries as a table, and the three artifacts that are read off them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use crate::config::ArtifactsConfig;
use crate::dataset::write::csv::Dialect;
use crate::dataset::write::python_literal::{write_literal, write_str};
use crate::dataset::write::redact_emails;
use crate::model::{AlertSummaryId, RawEntries, RawJson, Timestamp};
use crate::store::{CrawlIdentity, Store, StoreError};

use crate::dataset::families::alerts::{AlertTables, BugRow};
use crate::dataset::output::{CsvFile, Outputs, RowCounts};
use crate::dataset::summary_stats::{TimesToCulprit, time_to_culprit_stats};
use crate::dataset::{Artifact, ReduceError};

/// The alert summaries of the crawl, one at a time, in the order of `listing`; returns how many lie outside its window.
pub(crate) fn for_each_summary<E: From<StoreError>>(
    store: &Store,
    identity: &CrawlIdentity,
    listing: &[AlertSummaryId],
    mut take: impl FnMut(AlertSummaryId, &RawJson) -> Result<(), E>,
) -> Result<u64, E> {
    #[derive(Deserialize)]
    struct View {
        #[serde(default)]
        push_timestamp: Option<i64>,
    }
    let mut num_outside = 0;
    for &id in listing {
        let missing = || StoreError::MissingValue { key: format!("alert summary {id}") };
        let record = store.alert_summary(id)?.ok_or_else(missing)?;
        let view: View = record.view().map_err(|error| damaged(id, &error))?;
        let pushed = view.push_timestamp.map(Timestamp::from_secs);
        if pushed.is_some_and(|at| at < identity.alerts_since() || at > identity.data_end) {
            num_outside += 1;
            continue;
        }
        take(id, &record)?;
    }
    Ok(num_outside)
}

fn damaged(id: AlertSummaryId, error: &dyn fmt::Display) -> StoreError {
    StoreError::Damaged { tree: "records", key: format!("alert summary {id}"), reason: error.to_string() }
}

/// Writes what is wanted of the alerts, and returns their tables.
pub(crate) fn reduce_alerts(
    store: &Store,
    identity: &CrawlIdentity,
    folder: &Path,
    config: &ArtifactsConfig,
    wanted: &BTreeSet<Artifact>,
    outputs: &mut Outputs,
) -> Result<AlertTables, ReduceError> {
    let listing = store.alert_listing()?;
    let mut tables = AlertTables::default();
    // The columns are those of the records: of the first, then what others add, for the server's fields change.
    let mut columns: Vec<String> = Vec::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let num_outside = for_each_summary::<ReduceError>(store, identity, &listing, |id, record| {
        tables.push(record);
        if wanted.contains(&Artifact::AlertSummaries) {
            let entries: RawEntries<'_> = record.view().map_err(|error| damaged(id, &error))?;
            for (key, _) in entries.0 {
                if known.insert(key.clone()) {
                    columns.push(key);
                }
            }
        }
        Ok(())
    })?;
    if tables.unreadable > 0 {
        tracing::warn!(
            rows = tables.unreadable,
            "alert summaries that could not be read are in no table made from them"
        );
    }
    if columns.is_empty() {
        columns.push("id".to_owned()); // no summary, no columns; a table has at least one
    }
    let counts = RowCounts::from([("summaries_outside_the_window".to_owned(), num_outside)]);
    if wanted.contains(&Artifact::AlertSummaries) {
        if columns.is_empty() {
            columns.push("id".to_owned()); // no summary, so no columns; a table without any can be read by nobody
        }
        let header: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut file = CsvFile::create(folder, Artifact::AlertSummaries, Dialect::Pandas, &header)?;
        for_each_summary::<ReduceError>(store, identity, &listing, |id, record| {
            let redacted = config.redact_emails.then(|| redact_emails(record.as_str()));
            let text = redacted.as_deref().unwrap_or(record.as_str());
            let entries: RawEntries<'_> = serde_json::from_str(text).map_err(|error| damaged(id, &error))?;
            let mut cells = Vec::with_capacity(columns.len());
            for column in &columns {
                let value = entries.0.iter().find(|(key, _)| key == column).map(|(_, raw)| raw.get());
                cells.push(cell(value).map_err(|error| damaged(id, &error))?);
            }
            file.write_row(&cells)
        })?;
        file.finish(outputs, Artifact::AlertSummaries, counts.clone())?;
    }
    write_tables(folder, wanted, &tables, &counts, outputs)?;
    Ok(tables)
}

/// A value as a cell, as pandas writes it: nested values as Python literals, null as an empty field.
fn cell(raw: Option<&str>) -> Result<Vec<u8>, CellError> {
    let mut out = Vec::new();
    match raw {
        None | Some("null") => {}
        Some("true") => out.extend_from_slice(b"True"),
        Some("false") => out.extend_from_slice(b"False"),
        Some(raw) if raw.starts_with('"') => {
            // A lone surrogate is no text that a file could hold; its escape stays as the server wrote it.
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
#[error("a nested column cannot be written as a Python literal")]
struct CellError(#[source] crate::dataset::write::JsonTextError);

fn write_tables(
    folder: &Path,
    wanted: &BTreeSet<Artifact>,
    tables: &AlertTables,
    counts: &RowCounts,
    outputs: &mut Outputs,
) -> Result<(), ReduceError> {
    if wanted.contains(&Artifact::AlertsWithBug) {
        let header = [
            "regression_bug_id",
            "reg_perf_tests_list",
            "perf_reg_alert_summary_id",
            "regressor_push_head_revision",
            "alert_creation_date",
        ];
        let mut file = CsvFile::create(folder, Artifact::AlertsWithBug, Dialect::Pandas, &header)?;
        for row in &tables.bug_rows {
            let id = row.summary_id.to_string();
            let fields = [row.bug_number.to_string().into_bytes(), tests_literal(row), id.into_bytes()];
            let texts = [row.revision.clone().into_bytes(), row.created.clone().into_bytes()];
            file.write_row(fields.into_iter().chain(texts))?;
        }
        file.finish(outputs, Artifact::AlertsWithBug, counts.clone())?;
    }
    if wanted.contains(&Artifact::FailingSignatures) {
        let header = ["alert_summary_id", "revision", "fail_perf_sig_ids", "num_fail_perf_sig_ids"];
        let mut file = CsvFile::create(folder, Artifact::FailingSignatures, Dialect::CsvModule, &header)?;
        for row in tables.failing_rows.values() {
            let count = row.signature_ids.len().to_string();
            file.write_row([row.summary_id.to_string(), row.revision.clone(), row.ids_text(), count])?;
        }
        file.finish(outputs, Artifact::FailingSignatures, counts.clone())?;
    }
    if wanted.contains(&Artifact::TimeToCulprit) {
        let times = &tables.time_to_culprit;
        let document = time_to_culprit_stats(&TimesToCulprit {
            deltas_micros: &times.deltas_micros,
            num_rows: times.total_rows,
            input_csv: Artifact::AlertSummaries.file_name(),
        });
        outputs.put(folder, Artifact::TimeToCulprit, &document, counts.clone())?;
    }
    Ok(())
}

/// `[{'test': 'a', 'platform': 'b'}]`
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
            write_str(value, &mut out);
        }
        out.push(b'}');
    }
    out.push(b']');
    out
}
