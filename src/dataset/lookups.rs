//! What the reducers share beside the data: the signatures' metadata and the window's commits.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::{FrameworkId, Revision, SignatureId};
use crate::store::{Store, StoreError};

use crate::dataset::commits::{Commit, Commits};
use crate::dataset::families::job_index::common_features::{SignatureFields, SignatureFieldsBuilder};
use crate::dataset::output::{LineFile, Outputs, RowCounts};
use crate::dataset::{Artifact, ReduceError};

/// The signatures' metadata.
#[derive(Debug)]
pub(crate) struct SignatureTable {
    pub(crate) frameworks: HashMap<SignatureId, FrameworkId>,
    /// `None` unless common features are wanted.
    pub(crate) fields: Option<SignatureFields>,
}

/// Reads all signatures once: writes `all_signatures.jsonl` when `write` says so, and keeps what others need.
pub(crate) fn read_signatures(
    store: &Store,
    folder: &Path,
    write: bool,
    exclude_fields: Option<&[String]>,
    outputs: &mut Outputs,
) -> Result<SignatureTable, ReduceError> {
    #[derive(Deserialize)]
    struct View {
        framework_id: FrameworkId,
    }
    let mut file = write.then(|| LineFile::create(folder, Artifact::AllSignatures)).transpose()?;
    let mut fields = exclude_fields.map(|exclude| SignatureFieldsBuilder::new(exclude.iter().cloned()));
    let mut frameworks = HashMap::new();
    let mut line = Vec::new();
    for id in store.signature_ids()? {
        let record = store.signature(id)?.ok_or_else(|| StoreError::MissingValue { key: format!("signature {id}") })?;
        let damaged = |reason: String| StoreError::Damaged { tree: "records", key: format!("signature {id}"), reason };
        let view: View = record.view().map_err(|error| damaged(error.to_string()))?;
        frameworks.insert(id, view.framework_id);
        if let Some(fields) = &mut fields {
            fields.add(id, &record).map_err(|error| damaged(error.to_string()))?;
        }
        if let Some(file) = &mut file {
            line.clear();
            dumps(record.as_str(), &mut line, AsciiMode::Escape).map_err(|error| damaged(error.to_string()))?;
            line.push(b'\n');
            file.append_line(&line)?;
        }
    }
    if let Some(file) = file {
        file.finish(outputs, Artifact::AllSignatures, RowCounts::new())?;
    }
    Ok(SignatureTable { frameworks, fields: fields.map(SignatureFieldsBuilder::finish) })
}

/// The commits of the window by date; commits of one date stand in the order of the file.
#[derive(Debug)]
pub(crate) struct CommitTable {
    /// By rank.
    pub(crate) commits: Vec<Commit>,
}

impl CommitTable {
    pub(crate) fn new(commits: &Commits) -> Self {
        let mut commits = commits.in_window.clone();
        commits.sort_by_key(|commit| (commit.date, commit.file_order));
        Self { commits }
    }

    /// The rank of each commit whose node is a revision; other nodes have no data.
    pub(crate) fn ranks(&self) -> HashMap<Revision, u32> {
        let rank = |(rank, commit): (u32, &Commit)| Some((commit.node.parse().ok()?, rank));
        (0..).zip(&self.commits).filter_map(rank).collect()
    }
}

/// Rows of one date are put in the order of their first job; rows without jobs follow in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct FirstCovered {
    /// By rank; [`FirstCovered::NEVER`] of those without jobs.
    order: Vec<u32>,
    next: u32,
}

impl FirstCovered {
    const NEVER: u32 = u32::MAX;

    /// Takes in ranks in the order of signatures and data.
    pub(crate) fn extend(&mut self, ranks: &[u32]) {
        for &rank in ranks {
            let at = rank as usize;
            if at >= self.order.len() {
                self.order.resize(at + 1, Self::NEVER);
            }
            if self.order[at] == Self::NEVER {
                self.order[at] = self.next;
                self.next += 1;
            }
        }
    }

    /// The key to sort the ranks of one date by.
    pub(crate) fn key(&self, rank: u32) -> (u32, u32) {
        (self.order.get(rank as usize).copied().unwrap_or(Self::NEVER), rank)
    }
}
