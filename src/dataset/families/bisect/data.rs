//! The data of the failing signatures: `per_sig_perf_data_summary.jsonl`.

use crate::config::{Config, Semantics};
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::promise::Promised;
use crate::model::{SignatureId, Window};
use crate::store::{CrawlIdentity, StoreError};

use super::failing::{Failing, FilteredFailing, filter_options};
use super::rows::{FilterStats, WindowTest, write_row};
use super::series::{RowReader, State};

pub(in crate::dataset::families) struct SignatureData;

impl Family for SignatureData {
    type Value = ();

    fn options(_artifact: Artifact, config: &Config, identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
        let mut options = filter_options(config);
        options.push(("window", window_of(identity).to_string()));
        options
    }

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let failing = making.value_of::<FilteredFailing>()?;
        making.spawn(move |context| write(context, failing.wait()?))
    }
}

/// The window of these artifacts.
pub(super) fn window_of(identity: &CrawlIdentity) -> Window {
    Window { start: identity.window_start, end: identity.window_end }
}

fn write(context: &Context<'_>, failing: &Failing) -> Result<(), DatasetError> {
    let semantics = context.options().semantics;
    let test = WindowTest { window: window_of(context.identity), semantics };
    let signatures: Vec<SignatureId> = failing.signatures().into_iter().collect();
    if signatures.is_empty() {
        return Ok(()); // as in the older scripts, there are no files
    }
    write_rows(context, &signatures, test, RowReader::new(context)?, Artifact::PerfDataSummary)
}

/// Writes the rows of each signature.
fn write_rows(
    context: &Context<'_>,
    signatures: &[SignatureId],
    test: WindowTest,
    mut reader: RowReader<'_>,
    artifact: Artifact,
) -> Result<(), DatasetError> {
    let Some(mut file) = context.line_file(artifact)? else { return Ok(()) };
    let mut counts = RowCounts::from([("rows_outside_the_window_by_push".to_owned(), 0)]);
    let (mut line, mut rows) = (Vec::new(), Vec::new());
    for &signature in signatures {
        context.means.check_interrupted()?;
        let state = reader.state(signature);
        if let Some(key) = state.counted_as() {
            *counts.entry(key.to_owned()).or_default() += 1;
        }
        if !has_row(state, test.semantics) {
            continue;
        }
        let mut kept = FilterStats::default();
        rows.clear();
        for row in reader.rows(signature)?.iter().filter(|row| test.keeps(row, &mut kept)) {
            if !rows.is_empty() {
                rows.extend_from_slice(b", ");
            }
            write_row(row, &mut rows).map_err(|error| damaged(signature, &error))?;
        }
        *counts.entry("rows_outside_the_window_by_push".to_owned()).or_default() += kept.dropped_by_push;
        line.clear();
        line.extend_from_slice(format!("{{\"signature_id\": {signature}, \"filter_stats\": ").as_bytes());
        kept.write(&mut line);
        line.extend_from_slice(b", \"perf_measurement_data\": [");
        line.extend_from_slice(&rows);
        line.extend_from_slice(b"]}\n");
        file.append_line(&line)?;
    }
    context.finish(file.written(), &counts)
}

/// True if a signature has a row. The older scripts write an empty one for a signature of another repository.
pub(super) fn has_row(state: State, semantics: Semantics) -> bool {
    state == State::Complete || (state == State::Unlisted && semantics == Semantics::Reference)
}

fn damaged(signature: SignatureId, error: &dyn std::fmt::Display) -> DatasetError {
    let (key, reason) = (format!("data of signature {signature}"), error.to_string());
    StoreError::Damaged { tree: "records", key, reason }.into()
}
