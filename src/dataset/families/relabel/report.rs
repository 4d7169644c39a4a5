//! The report of a relabelling: its inputs, the excluded signatures, and counts of the records.
//!
//! The fields are in alphabetical order, because the reference sorts its keys.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::model::FrameworkId;

/// The whole report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RelabelReport {
    /// The signatures of excluded frameworks.
    pub excluded_signatures: ExcludedSignaturesReport,
    /// The failing signatures.
    pub failing_signatures: FailingSignaturesReport,
    /// The names of the input files, and the excluded frameworks.
    pub inputs: RelabelInputs,
    /// Counts of the records.
    pub relabel: RelabelCounts,
}

/// Counts of the signatures with metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ExcludedSignaturesReport {
    /// Signatures of an excluded framework.
    pub excluded_signature_ids: u64,
    /// The same by framework, ids as text and in text order; a framework without signatures is left out.
    pub excluded_signatures_by_framework_id: BTreeMap<String, u64>,
    /// Signatures with metadata.
    pub known_signature_ids: u64,
}

/// The failing signatures of all revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FailingSignaturesReport {
    /// Rows of the table of failing signatures.
    pub csv_rows_total: u64,
    /// Distinct alert summaries with a revision in it.
    pub unique_alert_summary_ids: u64,
    /// Distinct failing signatures.
    pub unique_failing_signature_ids: u64,
    /// Those of an excluded framework.
    pub unique_failing_signature_ids_excluded: u64,
    /// Those without metadata.
    pub unique_failing_signature_ids_missing_metadata: u64,
    /// Distinct revisions, also those without a failing signature.
    pub unique_revisions: u64,
}

/// The inputs of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RelabelInputs {
    /// The file of the failing signatures.
    pub alert_summary_fail_perf_sigs_csv: String,
    /// The file of the signatures' frameworks.
    pub all_signatures_jsonl: String,
    /// The excluded frameworks, ascending; taken from the rules of the run.
    pub excluded_framework_ids: Vec<FrameworkId>,
    /// The file of the records.
    pub perf_llm_struc_jsonl: String,
}

/// Counts of the records; as in the older scripts, those that never counted are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RelabelCounts {
    /// Halves of surrogate pairs that the corrected semantics replaced by U+FFFD.
    #[serde(skip_serializing_if = "is_zero")]
    pub corrected_half_surrogates: u64,
    /// Numbers that are not finite, which the corrected semantics replaced by null.
    #[serde(skip_serializing_if = "is_zero")]
    pub corrected_numbers: u64,
    /// Lines that are not blank.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_lines_total: u64,
    /// Lines that are JSON but no object; they are dropped.
    #[serde(skip_serializing_if = "is_zero")]
    pub non_dict_records: u64,
    /// Records whose `response` is not "1".
    #[serde(skip_serializing_if = "is_zero")]
    pub non_regressor_records_total: u64,
    /// Records written.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_records_written: u64,
    /// Failing signatures, summed over the regressors that have any.
    #[serde(skip_serializing_if = "is_zero")]
    pub regressor_fail_sig_count_sum: u64,
    /// Those of them in an excluded framework; 0 counts as well once a regressor has failing signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regressor_fail_sig_removed_sum: Option<u64>,
    /// Regressors whose label became "0".
    #[serde(skip_serializing_if = "is_zero")]
    pub regressor_flipped_to_clean: u64,
    /// Regressors with failing signatures that stay "1".
    #[serde(skip_serializing_if = "is_zero")]
    pub regressor_kept_as_regressor: u64,
    /// Regressors without a commit id; the next count includes them.
    #[serde(skip_serializing_if = "is_zero")]
    pub regressor_missing_commit_id: u64,
    /// Regressors without failing signatures; they stay "1".
    #[serde(skip_serializing_if = "is_zero")]
    pub regressor_missing_fail_sig_mapping: u64,
    /// Records whose `response` is "1".
    #[serde(skip_serializing_if = "is_zero")]
    pub regressor_records_total: u64,
    /// Regressors with failing signatures.
    #[serde(skip_serializing_if = "is_zero")]
    pub regressor_with_fail_sig_mapping: u64,
    /// 1 if the limit ended the run.
    #[serde(skip_serializing_if = "is_zero")]
    pub stopped_due_to_limit: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RelabelReport {
    /// The document: sorted keys, two blanks of indent, ASCII only, a final newline.
    ///
    /// # Errors
    /// Never in practice, because the report consists of numbers and strings.
    pub(crate) fn to_json_text(&self) -> Result<String, serde_json::Error> {
        let pretty = serde_json::to_string_pretty(self)?;
        let mut text = String::with_capacity(pretty.len() + 1);
        for c in pretty.chars() {
            if c.is_ascii() {
                text.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
        text.push('\n');
        Ok(text)
    }
}
