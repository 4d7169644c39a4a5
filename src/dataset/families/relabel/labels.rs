//! `perf_llm_struc.jsonl` relabelled: the artifact of a run, and the same for any file.

use std::collections::{BTreeSet, HashMap};
use std::io::BufReader;
use std::path::Path;

use crate::dataset::write::ArtifactFile;
use crate::model::{FrameworkId, SignatureId};

use crate::dataset::families::alerts::AlertTables;
use crate::dataset::families::relabel::{
    FailingSignatures, OnMalformed, RelabelInputs, RelabelRules, Relabelled, relabel,
};
use crate::dataset::output::{Outputs, RowCounts};
use crate::dataset::{Artifact, ReduceError};

/// What relabelling goes by.
pub(crate) struct Labels<'a> {
    pub(crate) tables: &'a AlertTables,
    pub(crate) frameworks: &'a HashMap<SignatureId, FrameworkId>,
    pub(crate) excluded: &'a BTreeSet<FrameworkId>,
}

impl Labels<'_> {
    /// Relabels the file at `input` into `output`.
    pub(crate) fn relabel_file(
        &self,
        input: &Path,
        limit: Option<u64>,
        output: &mut ArtifactFile,
    ) -> Result<Relabelled, ReduceError> {
        let unreadable = |source| ReduceError::Input { path: input.to_owned(), source };
        let records = BufReader::new(std::fs::File::open(input).map_err(unreadable)?);
        let failing = FailingSignatures::from_rows(self.tables.failing_rows.values());
        let rules = RelabelRules {
            failing: &failing,
            frameworks: self.frameworks,
            excluded: self.excluded,
            limit,
            on_malformed: OnMalformed::Fail,
        };
        let names = RelabelInputs {
            alert_summary_fail_perf_sigs_csv: Artifact::FailingSignatures.file_name().to_owned(),
            all_signatures_jsonl: Artifact::AllSignatures.file_name().to_owned(),
            excluded_framework_ids: Vec::new(),
            perf_llm_struc_jsonl: input.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        relabel(records, output, rules, names).map_err(|source| ReduceError::Relabel { path: input.to_owned(), source })
    }
}

/// Writes what is wanted of the relabelled records.
pub(crate) fn reduce_relabelled(
    folder: &Path,
    wanted: &BTreeSet<Artifact>,
    labels: &Labels<'_>,
    input: &Path,
    outputs: &mut Outputs,
) -> Result<(), ReduceError> {
    let mut file = ArtifactFile::create(folder, Artifact::Relabelled.file_name())?;
    let relabelled = labels.relabel_file(input, None, &mut file)?;
    let written = &relabelled.report.relabel;
    let counts = RowCounts::from([("regressors_flipped_to_clean".to_owned(), written.regressor_flipped_to_clean)]);
    let rows = Some(written.output_records_written);
    if wanted.contains(&Artifact::RelabelReport) {
        let text = relabelled.report.to_json_text().map_err(|source| ReduceError::Report { source })?;
        outputs.put(folder, Artifact::RelabelReport, text.as_bytes(), counts.clone())?;
    }
    if wanted.contains(&Artifact::Relabelled) {
        outputs.finish(Artifact::Relabelled, file, rows, counts)?;
    }
    Ok(())
}
