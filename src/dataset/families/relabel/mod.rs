//! Relabels `perf_llm_struc.jsonl`, as an artifact of a run or for any file.

pub(in crate::dataset) mod relabelling;
mod report;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::num::NonZeroU64;
use std::path::Path;

use crate::config::{Config, Semantics};
use crate::dataset::catalogue::{Artifact, Input};
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Family, Making};
use crate::dataset::output::{RowCounts, Written};
use crate::dataset::promise::Promised;
use crate::dataset::write::{ArtifactFile, Redaction};
use crate::model::FrameworkId;
use crate::store::{CrawlIdentity, Store};

use self::relabelling::{FailingSignatures, RelabelError, RelabelRules, check_records, relabel};
use self::report::{RelabelInputs, RelabelReport};
use super::alerts::{AlertTables, Alerts, alert_tables};
use super::signatures::{SignatureFrameworks, SignatureRecords, read_frameworks};

pub(crate) struct Relabel;

impl Family for Relabel {
    type Value = ();

    fn options(_artifact: Artifact, config: &Config, _identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
        vec![("excluded_framework_ids", format!("{:?}", config.artifacts.excluded_framework_ids))]
    }

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let input = making.context.config.inputs.perf_llm_struc.as_deref();
        let input = input.ok_or_else(|| DatasetError::not_configured(Artifact::Relabelled, Input::PerfLlmStruc))?;
        let (tables, signatures) = (making.value_of::<Alerts>()?, making.value_of::<SignatureRecords>()?);
        making.spawn(move |context| {
            let excluded = context.options().excluded_framework_ids.iter().copied().map(FrameworkId).collect();
            let (tables, signatures) = (tables.wait()?, signatures.wait()?);
            let semantics = context.options().semantics;
            let labels = Labels { tables, frameworks: &signatures.frameworks, excluded: &excluded, semantics };
            let artifact = Artifact::Relabelled;
            let mut file = ArtifactFile::create(context.folder(), artifact.file_name())?;
            let mut lines =
                RedactedLines { file: &mut file, redaction: Redaction::new(context.options().redact_emails) };
            let relabelled = labels.relabel_file(input, None, &mut lines);
            let redacted = lines.redaction.counts();
            let report = match relabelled {
                // As in the older scripts, the file ends before the line, and there is no report.
                Err(DatasetError::Relabel(_, RelabelError::Malformed { line, written, .. }))
                    if semantics == Semantics::Reference =>
                {
                    let ends = ("ends_before_line".to_owned(), line);
                    let counts = Some(ends).into_iter().chain(redacted).collect();
                    return context.finish(Written { artifact, file, rows: Some(written) }, &counts);
                }
                report => report?,
            };
            let flipped = report.relabel.regressor_flipped_to_clean;
            let mut counts = RowCounts::from([("regressors_flipped_to_clean".to_owned(), flipped)]);
            let replaced = [
                ("half_surrogates", report.relabel.corrected_half_surrogates),
                ("numbers_not_finite", report.relabel.corrected_numbers),
            ];
            counts.extend(replaced.into_iter().filter(|(_, num)| *num > 0).map(|(key, num)| (key.to_owned(), num)));
            let text = report.to_json_text().map_err(DatasetError::Report)?;
            context.put(Artifact::RelabelReport, Some(text.as_bytes()), &counts)?;
            if context.wants(artifact) {
                counts.extend(redacted);
                let rows = Some(report.relabel.output_records_written);
                context.finish(Written { artifact, file, rows }, &counts)?;
            }
            Ok(())
        })
    }
}

/// The records on their way to the file, without e-mail addresses if they are to be replaced.
struct RedactedLines<'a> {
    file: &'a mut ArtifactFile,
    redaction: Redaction,
}

impl Write for RedactedLines<'_> {
    /// Takes a whole record, as [`relabel`] writes it.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(record).map_err(io::Error::other)?;
        self.file.write_all(self.redaction.apply(text).as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Checks the file `inputs.perf_llm_struc`, if it is configured.
///
/// # Errors
/// [`DatasetError::Input`] if the file is unreadable, [`DatasetError::Relabel`] if a record is malformed.
pub fn check_llm_records(config: &Config) -> Result<(), DatasetError> {
    let Some(input) = &config.inputs.perf_llm_struc else { return Ok(()) };
    check_records(open(input)?, config.artifacts.semantics)
        .map_err(|source| DatasetError::Relabel(input.clone(), source))
}

fn open(input: &Path) -> Result<BufReader<File>, DatasetError> {
    Ok(BufReader::new(File::open(input).map_err(|source| DatasetError::Input(input.to_owned(), source))?))
}

/// Relabels the records in the file `input` from the store, by `semantics`, and writes at most `limit` of them; returns the
/// text of the report.
///
/// # Errors
/// [`DatasetError`] if the store or the file is unreadable, or a record is malformed.
pub fn relabel_with_store(
    store: &Store,
    (excluded, semantics): (&BTreeSet<FrameworkId>, Semantics),
    input: &Path,
    limit: Option<NonZeroU64>,
    output: &mut ArtifactFile,
) -> Result<String, DatasetError> {
    let identity = store.identity()?.ok_or(DatasetError::EmptyStore)?;
    let tables = alert_tables(store, &identity)?;
    let frameworks = read_frameworks(store, |_, _, _| Ok(()))?;
    let labels = Labels { tables: &tables, frameworks: &frameworks, excluded, semantics };
    let report = labels.relabel_file(input, limit, output)?;
    report.to_json_text().map_err(DatasetError::Report)
}

/// The stored data that relabelling needs.
struct Labels<'a> {
    tables: &'a AlertTables,
    frameworks: &'a SignatureFrameworks,
    excluded: &'a BTreeSet<FrameworkId>,
    semantics: Semantics,
}

impl Labels<'_> {
    /// Writes the relabelled records of the file `input` to `output`.
    fn relabel_file(
        &self,
        input: &Path,
        limit: Option<NonZeroU64>,
        output: &mut impl Write,
    ) -> Result<RelabelReport, DatasetError> {
        let records = open(input)?;
        let failing = FailingSignatures::from_rows(self.tables.failing_rows.values());
        let Self { frameworks, excluded, semantics, .. } = *self;
        let rules = RelabelRules { failing: &failing, frameworks, excluded, limit, semantics };
        let names = RelabelInputs {
            alert_summary_fail_perf_sigs_csv: Artifact::FailingSignatures.file_name().to_owned(),
            all_signatures_jsonl: Artifact::AllSignatures.file_name().to_owned(),
            excluded_framework_ids: Vec::new(),
            perf_llm_struc_jsonl: input.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        relabel(records, output, rules, names).map_err(|source| DatasetError::Relabel(input.to_owned(), source))
    }
}
