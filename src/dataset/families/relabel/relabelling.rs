//! Relabels the regressors of `perf_llm_struc.jsonl` whose regressions are all in excluded frameworks.
//!
//! In: records, line by line. Out: the same records in the same order, and a report with counts. Only `response` changes,
//! from `"1"` to `"0"`, if the commit has failing signatures and all of them belong to excluded frameworks. A signature
//! with an unknown framework does not count as excluded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, Write};

use thiserror::Error;

use super::dumps::{DumpsError, Object, dumps_text, dumps_utf8};
use super::report::{ExcludedSignaturesReport, FailingSignaturesReport, RelabelCounts, RelabelInputs, RelabelReport};
use crate::dataset::families::alerts::FailingRow;
use crate::dataset::lines::{Lines, python_strip};
use crate::model::{AlertSummaryId, FrameworkId, SignatureId};

/// The failing signatures by revision: the union over the alert summaries of the revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailingSignatures {
    by_revision: HashMap<String, BTreeSet<SignatureId>>,
    summaries: BTreeSet<AlertSummaryId>,
    rows: u64,
}

impl FailingSignatures {
    /// Adds the rows of `alert_summary_fail_perf_sigs.csv`.
    #[must_use]
    pub(crate) fn from_rows<'a>(rows: impl IntoIterator<Item = &'a FailingRow>) -> Self {
        let mut failing = Self::default();
        for row in rows {
            failing.rows += 1;
            let revision = python_strip(&row.revision);
            if !revision.is_empty() {
                failing.summaries.insert(row.summary_id);
                failing.by_revision.entry(revision.to_owned()).or_default().extend(&row.signature_ids);
            }
        }
        failing
    }

    fn distinct_ids(&self) -> BTreeSet<SignatureId> {
        self.by_revision.values().flatten().copied().collect()
    }
}

/// The rules that decide the label of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelabelRules<'a> {
    /// The failing signatures by revision.
    pub failing: &'a FailingSignatures,
    /// The framework of each signature with metadata.
    pub frameworks: &'a HashMap<SignatureId, FrameworkId>,
    /// The frameworks whose regressions do not count.
    pub excluded: &'a BTreeSet<FrameworkId>,
    /// Maximum number of input lines, without blank ones; `None` for all.
    pub limit: Option<u64>,
}

/// The defect of a malformed line.
#[derive(Debug, Error)]
pub enum LineFault {
    /// The line is not JSON.
    #[error("the line is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The line is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// The line is longer than [`MAX_LINE_BYTES`](crate::dataset::lines::MAX_LINE_BYTES).
    #[error("the line is longer than {} MiB", crate::dataset::lines::MAX_LINE_BYTES >> 20)]
    TooLong,
    /// The line nests lists or objects too deeply.
    #[error("the values of the line are nested deeper than {} levels", super::dumps::MAX_DEPTH)]
    TooDeep,
    /// The commit id of a regressor is not a string.
    #[error("`commit_id` is not text")]
    CommitId,
}

impl From<DumpsError> for LineFault {
    fn from(error: DumpsError) -> Self {
        match error {
            DumpsError::NotJson(source) => Self::NotJson(source),
            DumpsError::TooDeep => Self::TooDeep,
        }
    }
}

/// A failure to relabel a file.
#[derive(Debug, Error)]
pub enum RelabelError {
    /// The input is unreadable.
    #[error("cannot read the records to relabel after line {line}")]
    Read {
        /// The last line that was read, from 1.
        line: u64,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The output is not writable.
    #[error("cannot write the relabelled records")]
    Write(#[source] io::Error),
    /// A line of the input is malformed.
    #[error("line {line} of the records to relabel is malformed; correct it or remove it")]
    Malformed {
        /// The line number, from 1.
        line: u64,
        /// The defect of the line.
        #[source]
        source: LineFault,
    },
}

/// Writes the relabelled records of `input` to `output`. `inputs`: the names of the files, for the report.
///
/// Drops blank lines, and lines that are JSON but not an object.
///
/// # Errors
/// If reading or writing fails, or a line is malformed: the user can correct the input.
pub(crate) fn relabel<R: BufRead, W: Write>(
    input: R,
    mut output: W,
    rules: RelabelRules<'_>,
    inputs: RelabelInputs,
) -> Result<RelabelReport, RelabelError> {
    let mut counts = RelabelCounts::default();
    let mut lines = Lines::new(input);
    let (mut bytes, mut record, mut number) = (Vec::new(), Vec::new(), 0);
    while rules.limit.is_none_or(|limit| counts.input_lines_total < limit) {
        let Some(line) = lines.read(&mut bytes).map_err(|source| RelabelError::Read { line: number, source })? else {
            break;
        };
        number = line.number;
        let text = if line.too_long {
            Err(LineFault::TooLong)
        } else {
            std::str::from_utf8(&bytes).map_err(LineFault::NotUtf8)
        };
        if text.as_ref().is_ok_and(|text| python_strip(text).is_empty()) {
            continue;
        }
        counts.input_lines_total += 1;
        record.clear();
        match text.and_then(|text| relabel_record(python_strip(text), rules, &mut counts, &mut record)) {
            Ok(LineKind::Record) => {
                record.push(b'\n');
                output.write_all(&record).map_err(RelabelError::Write)?;
                counts.output_records_written += 1;
            }
            Ok(LineKind::NotObject) => counts.non_dict_records += 1,
            Err(source) => return Err(RelabelError::Malformed { line: number, source }),
        }
    }
    output.flush().map_err(RelabelError::Write)?;
    Ok(make_report(counts, rules, inputs))
}

enum LineKind {
    Record,
    NotObject,
}

/// Writes one record to `out`. Counts it only after reading and writing the whole record.
fn relabel_record(
    text: &str,
    rules: RelabelRules<'_>,
    counts: &mut RelabelCounts,
    out: &mut Vec<u8>,
) -> Result<LineKind, LineFault> {
    if !text.starts_with('{') {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(LineFault::NotJson)?;
        return Ok(LineKind::NotObject);
    }
    let object: Object<'_> = serde_json::from_str(text).map_err(LineFault::NotJson)?;
    let verdict = judge(&object, rules)?;
    out.push(b'{');
    for (index, (key, value)) in object.entries().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        dumps_text(key, out);
        out.extend_from_slice(b": ");
        match verdict {
            Decision::Flip { .. } if key == "response" => dumps_text("0", out),
            _ => dumps_utf8(value, out)?,
        }
    }
    out.push(b'}');
    verdict.count(counts);
    Ok(LineKind::Record)
}

/// The decision about a record.
#[derive(Clone, Copy, Debug)]
enum Decision {
    NoRegressor,
    WithoutCommitId,
    WithoutFailing,
    Keep { failing: u64, excluded: u64 },
    Flip { failing: u64 },
}

impl Decision {
    /// Counts as the reference does: a record without a commit id also counts as one without failing signatures, and only
    /// records with failing signatures count as kept.
    fn count(self, counts: &mut RelabelCounts) {
        if matches!(self, Self::NoRegressor) {
            counts.non_regressor_records_total += 1;
            return;
        }
        counts.regressor_records_total += 1;
        match self {
            Self::NoRegressor => {}
            Self::WithoutCommitId => {
                counts.regressor_missing_commit_id += 1;
                counts.regressor_missing_fail_sig_mapping += 1;
            }
            Self::WithoutFailing => counts.regressor_missing_fail_sig_mapping += 1,
            Self::Keep { failing, excluded } => {
                counts.regressor_with_fail_sig_mapping += 1;
                counts.regressor_fail_sig_count_sum += failing;
                counts.regressor_fail_sig_removed_sum += excluded;
                counts.regressor_kept_as_regressor += 1;
            }
            Self::Flip { failing } => {
                counts.regressor_with_fail_sig_mapping += 1;
                counts.regressor_fail_sig_count_sum += failing;
                counts.regressor_fail_sig_removed_sum += failing;
                counts.regressor_flipped_to_clean += 1;
            }
        }
    }
}

fn judge(object: &Object<'_>, rules: RelabelRules<'_>) -> Result<Decision, LineFault> {
    // "1" and 1 mean a regressor; 1.0 does not, because the reference compares Python's text of the value.
    let is_regressor = match object.get("response") {
        Some(raw) if raw.starts_with('"') => python_strip(&text_of(raw)?) == "1",
        Some(raw) => raw == "1",
        None => false,
    };
    if !is_regressor {
        return Ok(Decision::NoRegressor);
    }
    let commit_id = match object.get("commit_id") {
        None | Some("null") => String::new(),
        Some(raw) if raw.starts_with('"') => text_of(raw)?,
        Some(_) => return Err(LineFault::CommitId),
    };
    let commit_id = python_strip(&commit_id);
    if commit_id.is_empty() {
        return Ok(Decision::WithoutCommitId);
    }
    let Some(ids) = rules.failing.by_revision.get(commit_id).filter(|ids| !ids.is_empty()) else {
        return Ok(Decision::WithoutFailing);
    };
    let failing = ids.len() as u64;
    let excluded = ids.iter().filter(|id| is_excluded(**id, rules)).count() as u64;
    Ok(if excluded == failing { Decision::Flip { failing } } else { Decision::Keep { failing, excluded } })
}

fn text_of(raw: &str) -> Result<String, LineFault> {
    serde_json::from_str(raw).map_err(LineFault::NotJson)
}

fn is_excluded(id: SignatureId, rules: RelabelRules<'_>) -> bool {
    rules.frameworks.get(&id).is_some_and(|framework| rules.excluded.contains(framework))
}

fn make_report(counts: RelabelCounts, rules: RelabelRules<'_>, mut inputs: RelabelInputs) -> RelabelReport {
    let mut by_framework = BTreeMap::new();
    for framework in rules.frameworks.values().filter(|framework| rules.excluded.contains(framework)) {
        *by_framework.entry(framework.to_string()).or_insert(0_u64) += 1;
    }
    inputs.excluded_framework_ids = rules.excluded.iter().copied().collect();
    let failing = rules.failing.distinct_ids();
    let count = |of: &dyn Fn(SignatureId) -> bool| failing.iter().filter(|id| of(**id)).count() as u64;
    RelabelReport {
        excluded_signatures: ExcludedSignaturesReport {
            excluded_signature_ids: by_framework.values().sum(),
            excluded_signatures_by_framework_id: by_framework,
            known_signature_ids: rules.frameworks.len() as u64,
        },
        failing_signatures: FailingSignaturesReport {
            csv_rows_total: rules.failing.rows,
            unique_alert_summary_ids: rules.failing.summaries.len() as u64,
            unique_failing_signature_ids: failing.len() as u64,
            unique_failing_signature_ids_excluded: count(&|id| is_excluded(id, rules)),
            unique_failing_signature_ids_missing_metadata: count(&|id| !rules.frameworks.contains_key(&id)),
            unique_revisions: rules.failing.by_revision.len() as u64,
        },
        inputs,
        relabel: counts,
    }
}

#[cfg(test)]
mod tests;
