//! Relabels the regressors of `perf_llm_struc.jsonl` whose regressions are all in excluded frameworks.
//!
//! In: records, line by line. Out: the same records in the same order, written as Python writes them, and a report with
//! counts. Only `response` changes, from `"1"` to `"0"`, if the commit has failing signatures and all of them belong to
//! excluded frameworks. A signature with an unknown framework does not count as excluded. The corrected semantics also
//! replace the values that JSON excludes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, Write};
use std::num::NonZeroU64;

use pytext::JsonTextError;
use pytext::json::AsciiMode;
use pytext::loads::{Document, Kind, Notation, Replaced, Value};
use thiserror::Error;

use super::report::{ExcludedSignaturesReport, FailingSignaturesReport, RelabelCounts, RelabelInputs, RelabelReport};
use crate::config::Semantics;
use crate::dataset::families::alerts::FailingRow;
use crate::dataset::families::signatures::SignatureFrameworks;
use crate::dataset::lines::{Line, Lines, python_strip};
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
    pub frameworks: &'a SignatureFrameworks,
    /// The frameworks whose regressions do not count.
    pub excluded: &'a BTreeSet<FrameworkId>,
    /// Maximum number of records to write; `None` for all.
    pub limit: Option<NonZeroU64>,
    /// The values to replace, and the lines to refuse.
    pub semantics: Semantics,
}

/// The defect of a malformed line.
#[derive(Debug, Error)]
pub enum LineFault {
    /// Python does not read the line as JSON.
    #[error("the line is not JSON")]
    NotJson(#[source] JsonTextError),
    /// The line is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// The line is longer than [`MAX_LINE_BYTES`](crate::dataset::lines::MAX_LINE_BYTES).
    #[error("the line is longer than {} MiB", crate::dataset::lines::MAX_LINE_BYTES >> 20)]
    TooLong,
    /// The commit id is neither text nor empty.
    #[error("`commit_id` is not text")]
    CommitId,
    /// In the reference semantics, which cannot write it.
    #[error("a text holds half of a surrogate pair, which UTF-8 cannot hold; the corrected semantics replace it")]
    HalfSurrogate,
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
    #[error("line {line} is malformed; correct it or remove it")]
    Malformed {
        /// The line number, from 1.
        line: u64,
        /// Records that were written before it.
        written: u64,
        /// The defect of the line.
        #[source]
        source: LineFault,
    },
    /// None of the lines is an object, as in a list of records.
    #[error(
        "none of the {lines} lines is a record; each line must be a JSON object with \"commit_id\" and \"response\""
    )]
    NoRecord {
        /// Lines that are not blank.
        lines: u64,
    },
}

/// Checks the records of `input` without the data that decide about their labels.
///
/// # Errors
/// As [`relabel`].
pub(crate) fn check_records<R: BufRead>(input: R, semantics: Semantics) -> Result<(), RelabelError> {
    let (failing, frameworks, excluded) =
        (FailingSignatures::default(), SignatureFrameworks::default(), BTreeSet::new());
    let rules =
        RelabelRules { failing: &failing, frameworks: &frameworks, excluded: &excluded, limit: None, semantics };
    relabel(input, io::sink(), rules, RelabelInputs::default()).map(drop)
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
    let (mut bytes, mut record, mut document, mut number) = (Vec::new(), Vec::new(), Document::default(), 0);
    while let Some(line) = lines.read(&mut bytes).map_err(|source| RelabelError::Read { line: number, source })? {
        number = line.number;
        record.clear();
        match relabel_line(&bytes, line, rules, &mut document, &mut counts, &mut record) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(source) => {
                output.flush().map_err(RelabelError::Write)?;
                return Err(RelabelError::Malformed { line: number, written: counts.output_records_written, source });
            }
        }
        record.push(b'\n');
        output.write_all(&record).map_err(RelabelError::Write)?;
        counts.output_records_written += 1;
        if rules.limit.is_some_and(|limit| counts.output_records_written == limit.get()) {
            counts.stopped_due_to_limit = 1;
            break;
        }
    }
    output.flush().map_err(RelabelError::Write)?;
    if rules.semantics == Semantics::Corrected && counts.output_records_written == 0 && counts.non_dict_records > 0 {
        return Err(RelabelError::NoRecord { lines: counts.input_lines_total });
    }
    Ok(make_report(counts, rules, inputs))
}

/// Writes the record of a line to `out`, and counts it; false if the line has none.
fn relabel_line(
    bytes: &[u8],
    line: Line,
    rules: RelabelRules<'_>,
    document: &mut Document,
    counts: &mut RelabelCounts,
    out: &mut Vec<u8>,
) -> Result<bool, LineFault> {
    if line.too_long {
        return Err(LineFault::TooLong);
    }
    let text = python_strip(std::str::from_utf8(bytes).map_err(LineFault::NotUtf8)?);
    if text.is_empty() {
        return Ok(false);
    }
    counts.input_lines_total += 1;
    let value = document.load(text).map_err(LineFault::NotJson)?;
    let Kind::Object(entries) = value.kind() else {
        counts.non_dict_records += 1;
        return Ok(false);
    };
    let verdict = judge(value, rules)?;
    let (mode, mut replaced) = (AsciiMode::Keep, Replaced::default());
    let notation = match rules.semantics {
        Semantics::Reference => Notation::Python,
        Semantics::Corrected => Notation::Standard,
    };
    out.push(b'{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        key.dumps(out, mode, notation, &mut replaced);
        out.extend_from_slice(b": ");
        match verdict {
            Decision::Flip { .. } if key.to_str() == Some("response") => out.extend_from_slice(b"\"0\""),
            _ => value.dumps(out, mode, notation, &mut replaced),
        }
    }
    out.push(b'}');
    if rules.semantics == Semantics::Corrected {
        counts.corrected_half_surrogates += replaced.surrogates;
        counts.corrected_numbers += replaced.numbers;
    } else if replaced.surrogates > 0 {
        return Err(LineFault::HalfSurrogate);
    }
    verdict.count(counts);
    Ok(true)
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
                *counts.regressor_fail_sig_removed_sum.get_or_insert_default() += excluded;
                counts.regressor_kept_as_regressor += 1;
            }
            Self::Flip { failing } => {
                counts.regressor_with_fail_sig_mapping += 1;
                counts.regressor_fail_sig_count_sum += failing;
                *counts.regressor_fail_sig_removed_sum.get_or_insert_default() += failing;
                counts.regressor_flipped_to_clean += 1;
            }
        }
    }
}

fn judge(record: Value<'_>, rules: RelabelRules<'_>) -> Result<Decision, LineFault> {
    let commit_id = match record.get("commit_id").filter(|id| id.is_truthy()).map(Value::kind) {
        None => Cow::Borrowed(""),
        Some(Kind::Str(text)) => text.to_lossy(),
        Some(_) => return Err(LineFault::CommitId),
    };
    // "1" and 1 mean a regressor; 1.0 does not, because the reference compares Python's text of the value.
    let is_regressor = match record.get("response").map(Value::kind) {
        Some(Kind::Str(text)) => text.to_str().is_some_and(|text| python_strip(text) == "1"),
        Some(Kind::Int(digits)) => digits == "1",
        _ => false,
    };
    if !is_regressor {
        return Ok(Decision::NoRegressor);
    }
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

fn is_excluded(id: SignatureId, rules: RelabelRules<'_>) -> bool {
    rules.frameworks.of(id).is_some_and(|framework| rules.excluded.contains(&framework))
}

fn make_report(counts: RelabelCounts, rules: RelabelRules<'_>, mut inputs: RelabelInputs) -> RelabelReport {
    let mut by_framework = BTreeMap::new();
    for framework in rules.frameworks.iter().filter(|framework| rules.excluded.contains(framework)) {
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
            unique_failing_signature_ids_missing_metadata: count(&|id| rules.frameworks.of(id).is_none()),
            unique_revisions: rules.failing.by_revision.len() as u64,
        },
        inputs,
        relabel: counts,
    }
}

#[cfg(test)]
mod tests;
