//! The signatures that each job measured: `sigs_by_job_id.jsonl`, and with their common features
//! `sigs_by_job_id_detailed.jsonl`.

pub mod common_features;

use std::collections::BTreeSet;
use std::path::Path;

use crate::dataset::write::json::{AsciiMode, write_str};
use crate::model::SignatureId;

use crate::dataset::families::coverage::write_ids;
use crate::dataset::families::job_index::common_features::{CommonFeatures, SignatureFields};
use crate::dataset::output::{LineFile, Outputs, RowCounts};
use crate::dataset::pass::external_sort::SortedPairs;
use crate::dataset::{Artifact, ReduceError};

/// Writes what is wanted of the job index from pairs of job and signature.
pub(crate) fn reduce_job_index(
    folder: &Path,
    wanted: &BTreeSet<Artifact>,
    fields: Option<&SignatureFields>,
    pairs: SortedPairs,
    outputs: &mut Outputs,
) -> Result<(), ReduceError> {
    let file = |artifact: Artifact| wanted.contains(&artifact).then(|| LineFile::create(folder, artifact)).transpose();
    let mut plain = file(Artifact::SignaturesByJob)?;
    let mut detailed = file(Artifact::SignaturesByJobDetailed)?;
    let mut common = fields.map(CommonFeatures::new);
    let mut line = Vec::new();
    let mut write = |job: u64, signatures: &[SignatureId]| -> Result<(), ReduceError> {
        line.clear();
        line.extend_from_slice(b"{\"job_id\": ");
        line.extend_from_slice(itoa::Buffer::new().format(job).as_bytes());
        line.extend_from_slice(b", \"signature_ids\": ");
        write_ids(&mut line, signatures.iter().map(|id| id.0));
        if let Some(plain) = &mut plain {
            let open = line.len();
            line.extend_from_slice(b"}\n");
            plain.append_line(&line)?;
            line.truncate(open);
        }
        if let (Some(detailed), Some(common)) = (&mut detailed, &mut common) {
            line.extend_from_slice(b", \"common_sig_features\": [");
            for (number, name) in common.of(signatures).iter().enumerate() {
                if number > 0 {
                    line.extend_from_slice(b", ");
                }
                write_str(name, &mut line, AsciiMode::Escape);
            }
            line.extend_from_slice(b"]}\n");
            detailed.append_line(&line)?;
        }
        Ok(())
    };
    let mut job = None;
    let mut signatures = Vec::new();
    for pair in pairs {
        let (next, signature) = pair.map_err(|source| ReduceError::Sort { source })?;
        if let Some(done) = job.filter(|job| *job != next) {
            write(done, &signatures)?;
            signatures.clear();
        }
        job = Some(next);
        signatures.push(SignatureId(signature));
    }
    if let Some(done) = job {
        write(done, &signatures)?;
    }
    if let Some(plain) = plain {
        plain.finish(outputs, Artifact::SignaturesByJob, RowCounts::new())?;
    }
    if let Some(detailed) = detailed {
        detailed.finish(outputs, Artifact::SignaturesByJobDetailed, RowCounts::new())?;
    }
    Ok(())
}
