//! The signatures of each job: `sigs_by_job_id.jsonl`, and `sigs_by_job_id_detailed.jsonl` with their common features.

use crate::config::Config;
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::pass::external_sort::{PairSorter, SortedPairs};
use crate::dataset::pass::signatures::Part;
use crate::dataset::pass::{Means, Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::promise::Promised;
use crate::dataset::write::json::{AsciiMode, write_ids, write_str};
use crate::model::SignatureId;
use crate::store::CrawlIdentity;
use crate::store::columns::ColumnSet;

use super::signatures::{CommonFeatures, SignatureFields, SignatureRecords};

pub(crate) struct JobIndex;

impl Family for JobIndex {
    type Value = ();

    fn options(artifact: Artifact, config: &Config, _identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
        match artifact {
            Artifact::SignaturesByJobDetailed => {
                vec![("exclude_fields", format!("{:?}", config.artifacts.exclude_fields))]
            }
            _ => Vec::new(),
        }
    }

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let context = making.context;
        let detailed = context.wants(Artifact::SignaturesByJobDetailed);
        let signatures = if detailed { Some(making.value_of::<SignatureRecords>()?) } else { None };
        making.reduce(JobIndexReducer { means: &context.means, num_unreadable: 0 }, move |pairs, context| {
            let fields = match &signatures {
                Some(signatures) => signatures.wait()?.take_fields(),
                None => None,
            };
            write(context, pairs, fields.as_ref())
        })
    }
}

/// Sorts pairs of job and signature.
struct JobIndexReducer<'a> {
    means: &'a Means<'a>,
    /// Data with a job id that cannot be read, which are listed under no job.
    num_unreadable: u64,
}

impl Reducer for JobIndexReducer<'_> {
    type Block = u64;
    type Worker = PairSorter;
    type Value = (SortedPairs, u64);

    fn columns(&self) -> ColumnSet {
        ColumnSet::JOB_IDS
    }

    fn worker(&self) -> PairSorter {
        self.means.sorter()
    }

    fn take(&mut self, num_unreadable: u64) -> Result<(), DatasetError> {
        self.num_unreadable += num_unreadable;
        Ok(())
    }

    fn finish(self, workers: Vec<PairSorter>) -> Result<(SortedPairs, u64), DatasetError> {
        Ok((PairSorter::finish_all(workers)?, self.num_unreadable))
    }
}

impl ReducerWorker for PairSorter {
    /// Data with a job id that cannot be read.
    type Block = u64;

    fn open(&mut self, _signatures: &[Part]) -> u64 {
        0
    }

    fn end_signature(&mut self, jobs: &mut SignatureJobs, num_unreadable: &mut u64) -> Result<(), DatasetError> {
        *num_unreadable += jobs.num_unreadable;
        let signature = jobs.signature.0;
        Ok(self.extend(jobs.distinct().iter().map(|job| (*job, signature)))?)
    }
}

/// Writes the wanted artifacts.
fn write(
    context: &Context<'_>,
    (pairs, num_unreadable): (SortedPairs, u64),
    fields: Option<&SignatureFields>,
) -> Result<(), DatasetError> {
    let mut plain = context.line_file(Artifact::SignaturesByJob)?;
    let mut detailed = context.line_file(Artifact::SignaturesByJobDetailed)?;
    let mut common = fields.map(CommonFeatures::new);
    let mut line = Vec::new();
    for_each_job(pairs, |job, signatures| {
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
    })?;
    let mut counts = RowCounts::from([("data_with_an_unreadable_job_id".to_owned(), num_unreadable)]);
    counts.retain(|_, rows| *rows > 0);
    for file in [plain, detailed].into_iter().flatten() {
        context.finish(file.written(), &counts)?;
    }
    Ok(())
}

fn for_each_job(
    pairs: SortedPairs,
    mut take: impl FnMut(u64, &[SignatureId]) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let mut job = None;
    let mut signatures = Vec::new();
    for pair in pairs {
        let (next, signature) = pair?;
        if let Some(done) = job.filter(|job| *job != next) {
            take(done, &signatures)?;
            signatures.clear();
        }
        job = Some(next);
        signatures.push(SignatureId(signature));
    }
    job.map_or(Ok(()), |last| take(last, &signatures))
}
