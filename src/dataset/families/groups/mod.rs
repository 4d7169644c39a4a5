//! Signatures that always run together: `sig_groups.jsonl`.
//!
//! Value: [`SignatureGroups`].

pub(in crate::dataset) mod grouping;

use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::pass::signatures::{Part, Signatures};
use crate::dataset::pass::{Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::promise::Promised;
use crate::dataset::write::json::write_ids;
use crate::store::columns::ColumnSet;
use crate::store::{ChunkReader, Store, StoreError};

pub(crate) use self::grouping::{Fingerprinted, Fingerprinter, GroupBuilder};
pub(crate) use self::grouping::{GroupsError, SignatureGroups};

pub(crate) struct Groups;

impl Family for Groups {
    type Value = SignatureGroups;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<SignatureGroups>, DatasetError> {
        let context = making.context;
        let reducer = GroupsReducer::new(context.store, context.signatures);
        making.reduce(reducer, |groups, context| {
            if let Some(mut file) = context.line_file(Artifact::SignatureGroups)? {
                let mut line = Vec::new();
                for (id, signatures) in groups.iter() {
                    line.clear();
                    line.extend_from_slice(format!("{{\"Sig_group_id\": {id}, \"signatures\": ").as_bytes());
                    write_ids(&mut line, signatures.iter().map(|signature| signature.0));
                    line.extend_from_slice(b"}\n");
                    file.append_line(&line)?;
                }
                context.finish(file.written(), &RowCounts::new())?;
            }
            Ok(groups)
        })
    }
}

pub(crate) struct GroupsReducer<'a> {
    store: &'a Store,
    signatures: &'a Signatures,
    builder: GroupBuilder,
}

impl<'a> GroupsReducer<'a> {
    /// For a pass over `signatures` of `store`.
    pub(crate) fn new(store: &'a Store, signatures: &'a Signatures) -> Self {
        Self { store, signatures, builder: GroupBuilder::with_capacity(signatures.len()) }
    }
}

impl Reducer for GroupsReducer<'_> {
    /// One per signature with jobs.
    type Block = Vec<Fingerprinted>;
    type Worker = Fingerprinter;
    type Value = SignatureGroups;

    fn columns(&self) -> ColumnSet {
        ColumnSet::JOB_IDS
    }

    fn worker(&self) -> Fingerprinter {
        Fingerprinter::default()
    }

    fn take(&mut self, block: Vec<Fingerprinted>) -> Result<(), DatasetError> {
        self.builder.extend(block);
        Ok(())
    }

    fn finish(self, workers: Vec<Fingerprinter>) -> Result<SignatureGroups, DatasetError> {
        drop(workers); // frees the sets that they keep
        Ok(self.builder.finish(|signature| distinct_jobs(self.store, &self.signatures.parts_of(signature)))?)
    }
}

impl ReducerWorker for Fingerprinter {
    type Block = Vec<Fingerprinted>;

    fn open(&mut self, _signatures: &[Part]) -> Vec<Fingerprinted> {
        Vec::new()
    }

    fn end_signature(&mut self, jobs: &mut SignatureJobs, block: &mut Vec<Fingerprinted>) -> Result<(), DatasetError> {
        let signature = jobs.signature;
        let distinct = jobs.distinct();
        if !distinct.is_empty() {
            block.push(self.fingerprint(signature, distinct));
        }
        Ok(())
    }
}

/// Reads the distinct job ids of one signature again, ascending.
fn distinct_jobs(store: &Store, parts: &[Part]) -> Result<Vec<u64>, StoreError> {
    let mut chunks = ChunkReader::new(store);
    let mut jobs = Vec::new();
    let columns = ColumnSet::JOB_IDS | ColumnSet::IRREGULAR;
    for part in parts {
        chunks.for_each::<StoreError>(&part.request(), part.num_chunks, columns, |columns| {
            jobs.extend((0..columns.len()).filter_map(|at| columns.listed_job(at)).map(|job| job.0));
            Ok(())
        })?;
    }
    jobs.sort_unstable();
    jobs.dedup();
    Ok(jobs)
}
