//! One pass over all data: workers read the store in key order, decode columns, and give what the reducers want.
//!
//! Signatures are dealt out in blocks; blocks come back in any order and are handed on in the order of the signatures, so
//! that what is written does not depend on the number of workers. At most a few blocks are under way at a time.

pub mod external_sort;
pub(crate) mod signatures;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use foldhash::fast::RandomState;

use crate::config::{Config, Semantics};
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::{
    JobId, PushId, PushRevisions, Revision, SignatureId, Timestamp, corrected_sample, reference_sample,
};
use crate::observe::Reducing;
use crate::store::columns::{ColumnSet, Columns, ColumnsError, PythonText};
use crate::store::{Store, StoreError};

use crate::dataset::ReduceError;
use crate::dataset::families::durations::Sample;
use crate::dataset::families::groups::{Fingerprinted, Fingerprinter, GroupBuilder, SignatureGroups};
use crate::dataset::pass::external_sort::{PairSorter, SortedPairs};
use crate::dataset::pass::signatures::{Part, Signatures, by_signature};

/// A job counts for a revision when it was submitted at most this long after its push: later ones are retriggers.
const ACCEPTED_SECS: i64 = 600;

/// What the revisions of the window are, and when a job counts for one.
#[derive(Debug)]
pub(crate) struct CoverageRule {
    pub(crate) semantics: Semantics,
    /// The rank of each commit of the window, by revision.
    pub(crate) ranks: HashMap<Revision, u32>,
}

impl CoverageRule {
    /// Does a job submitted at `submitted` count for the push at `pushed`? Jobs that are deleted always do. The second
    /// value says that the reference semantics would have dropped it for the fraction of a second in its time.
    fn accepts(&self, pushed: Timestamp, submitted: Option<Timestamp>) -> (bool, bool) {
        let Some(submitted) = submitted else { return (true, false) };
        let has_fraction = submitted.subsec_micros() != 0 || pushed.subsec_micros() != 0;
        let delay = submitted.as_micros() - pushed.as_micros();
        let in_time = (0..=ACCEPTED_SECS * 1_000_000).contains(&delay);
        match self.semantics {
            Semantics::Reference => (in_time && !has_fraction, false),
            Semantics::Corrected => (in_time, in_time && has_fraction),
        }
    }
}

/// What is wanted of the data.
#[derive(Debug, Default)]
pub(crate) struct Want {
    /// Lines of `perf_jobs_by_signature.jsonl`.
    pub(crate) lines: bool,
    /// Pairs of commit rank and signature.
    pub(crate) coverage: Option<CoverageRule>,
    /// Pairs of job and signature.
    pub(crate) jobs: bool,
    /// A fingerprint of each signature's jobs.
    pub(crate) groups: bool,
    /// Each signature's sampled jobs.
    pub(crate) samples: Option<Semantics>,
    /// The jobs of these revisions.
    pub(crate) jobs_of: Vec<Revision>,
}

impl Want {
    fn columns(&self) -> ColumnSet {
        if self.lines {
            return ColumnSet::ALL;
        }
        let mut columns = ColumnSet::NONE;
        if self.jobs || self.groups || self.samples.is_some() || !self.jobs_of.is_empty() {
            columns = columns | ColumnSet::JOB_IDS;
        }
        if self.coverage.is_some() {
            columns = columns | ColumnSet::PUSH_IDS | ColumnSet::REVISIONS | ColumnSet::SUBMIT_TIMES;
        }
        if !self.jobs_of.is_empty() {
            columns = columns | ColumnSet::PUSH_IDS | ColumnSet::REVISIONS;
        }
        columns
    }
}

/// What a worker gives for a block of signatures.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// See [`Want::lines`].
    pub(crate) lines: Vec<u8>,
    pub(crate) num_signatures: u64,
    /// Commit ranks in the order in which they were first covered.
    pub(crate) first_covered: Vec<u32>,
    /// See [`Want::groups`]; signatures without jobs are left out.
    pub(crate) fingerprints: Vec<Fingerprinted>,
    /// See [`Want::samples`]; signatures without any are left out.
    pub(crate) samples: Vec<Sample>,
    /// See [`Want::jobs_of`]: places in that list, and jobs.
    pub(crate) jobs_of: Vec<(u32, JobId)>,
    /// Jobs that count only because fractions of a second are read.
    pub(crate) num_fractions: u64,
    /// Signatures whose sample differs from the reference's.
    pub(crate) num_resampled: u64,
    /// Data, and those of them whose job was deleted; where anything is wanted of jobs.
    pub(crate) num_data: u64,
    pub(crate) num_jobless: u64,
}

/// What the workers give at the end.
#[derive(Debug)]
pub(crate) struct Sorted {
    /// Pairs of commit rank and signature.
    pub(crate) coverage: SortedPairs,
    /// Pairs of job and signature.
    pub(crate) jobs: SortedPairs,
}

/// How much a pass may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    pub(crate) workers: usize,
    pub(crate) memory_bytes: usize,
    /// Where sorting puts what does not fit.
    pub(crate) spill_dir: &'a Path,
    /// Where the signatures that were passed over are counted.
    pub(crate) reducing: &'a Reducing,
}

impl<'a> Means<'a> {
    /// As configured.
    pub(crate) fn of(config: &Config, spill_dir: &'a Path, reducing: &'a Reducing) -> Self {
        let workers = match config.reduce.workers {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            workers => workers,
        };
        Self { workers, memory_bytes: config.reduce.memory_bytes.get(), spill_dir, reducing }
    }
}

/// Passes over `signatures` and hands each block to `take`, in order.
pub(crate) fn scan(
    store: &Store,
    signatures: &Signatures,
    want: &Want,
    means: Means<'_>,
    mut take: impl FnMut(&mut Block) -> Result<(), ReduceError>,
) -> Result<Sorted, ReduceError> {
    let revisions = store.push_revisions();
    let context = Context::new(store, want, &revisions);
    let blocks = signatures.blocks();
    let workers = means.workers.clamp(1, blocks.len().max(1));
    let num_sorters = usize::from(want.coverage.is_some()) + usize::from(want.jobs);
    let budget = means.memory_bytes / (workers * num_sorters.max(1));
    std::thread::scope(|scope| {
        let under_way = workers * 3;
        let (work, inbox) = flume::bounded::<(usize, &[Part])>(under_way);
        let (done, results) = flume::bounded(under_way);
        // The text of a block is the largest thing about it, so its memory serves the next one.
        let (used, spare) = flume::bounded::<Vec<u8>>(under_way);
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let (inbox, done, spare, context) = (inbox.clone(), done.clone(), spare.clone(), &context);
                let worker = Worker::new(context, budget, means.spill_dir);
                scope.spawn(move || worker.run(&inbox, &done, &spare))
            })
            .collect();
        drop((inbox, done));
        let mut take = |mut block: Block| {
            means.reducing.add(block.num_signatures);
            take(&mut block)?;
            block.lines.clear();
            let _enough_are_spare = used.try_send(block.lines);
            Ok(())
        };
        let handed_on = deal_out(&blocks, under_way, &work, &results, &mut take);
        drop(work); // no more blocks: workers that wait end here
        drop(results); // workers that still send end here
        let (mut coverage, mut jobs) = (Vec::new(), Vec::new());
        let mut failed = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok((by_commit, by_job))) => {
                    coverage.push(by_commit);
                    jobs.push(by_job);
                }
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(_) => failed = failed.or(Some(ReduceError::WorkerPanicked)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        handed_on?;
        let sorting = |source| ReduceError::Sort { source };
        Ok(Sorted {
            coverage: PairSorter::finish_all(coverage).map_err(sorting)?,
            jobs: PairSorter::finish_all(jobs).map_err(sorting)?,
        })
    })
}

/// What a worker says.
#[derive(Debug)]
enum Done {
    /// A block, by its number.
    Block(usize, Block),
    /// It has ended before its time, by an error or a panic: without this, others would be waited for in vain.
    Failed,
}

/// Says so when a worker ends before its time.
struct Farewell<'a> {
    done: &'a flume::Sender<Done>,
    in_order: bool,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if !self.in_order {
            let _nobody_waits = self.done.send(Done::Failed);
        }
    }
}

/// Keeps at most `under_way` blocks between dealing out and handing on.
fn deal_out<'a>(
    blocks: &[&'a [Part]],
    under_way: usize,
    work: &flume::Sender<(usize, &'a [Part])>,
    results: &flume::Receiver<Done>,
    take: &mut impl FnMut(Block) -> Result<(), ReduceError>,
) -> Result<(), ReduceError> {
    let mut early: BTreeMap<usize, Block> = BTreeMap::new();
    let (mut dealt, mut next) = (0, 0);
    while next < blocks.len() {
        while dealt < blocks.len() && dealt - next < under_way {
            if work.send((dealt, blocks[dealt])).is_err() {
                return Ok(()); // all workers have failed; their error is told when they are joined
            }
            dealt += 1;
        }
        let Ok(Done::Block(number, block)) = results.recv() else {
            return Ok(()); // a worker has failed, and its block will never come
        };
        early.insert(number, block);
        while let Some(block) = early.remove(&next) {
            take(block)?;
            next += 1;
        }
    }
    Ok(())
}

/// What the lines of these signatures take, about, in bytes.
fn usual_len_of_lines(block: &[Part]) -> usize {
    const LINE: usize = 64;
    const DATUM: usize = 270;
    let data = block.iter().map(|part| part.num_data as usize).sum::<usize>();
    block.len() * LINE + data * DATUM
}

/// What all workers share.
struct Context<'a> {
    store: &'a Store,
    want: &'a Want,
    revisions: &'a PushRevisions,
    /// The commit rank of each push of the window.
    rank_of_push: HashMap<PushId, u32, RandomState>,
    columns: ColumnSet,
}

impl<'a> Context<'a> {
    fn new(store: &'a Store, want: &'a Want, revisions: &'a PushRevisions) -> Self {
        let ranks = want.coverage.as_ref().map(|rule| &rule.ranks);
        let rank_of_push = ranks.map_or_else(HashMap::default, |ranks| {
            revisions.iter().filter_map(|(push, revision)| Some((*push, *ranks.get(revision)?))).collect()
        });
        Self { store, want, revisions, rank_of_push, columns: want.columns() }
    }
}

/// Works through blocks; its buffers serve all of them.
struct Worker<'a> {
    context: &'a Context<'a>,
    coverage: PairSorter,
    jobs: PairSorter,
    columns: Columns,
    raw: Vec<u8>,
    job_ids: Vec<Option<JobId>>,
    distinct_jobs: Vec<u64>,
    fingerprinter: Fingerprinter,
    ranks: Vec<u32>,
}

type WorkerSorters = (PairSorter, PairSorter);

impl<'a> Worker<'a> {
    fn new(context: &'a Context<'a>, budget: usize, spill_dir: &Path) -> Self {
        Self {
            context,
            coverage: PairSorter::new(budget, spill_dir),
            jobs: PairSorter::new(budget, spill_dir),
            columns: Columns::default(),
            raw: Vec::new(),
            job_ids: Vec::new(),
            distinct_jobs: Vec::new(),
            fingerprinter: Fingerprinter::default(),
            ranks: Vec::new(),
        }
    }

    fn run(
        mut self,
        inbox: &flume::Receiver<(usize, &'a [Part])>,
        done: &flume::Sender<Done>,
        spare: &flume::Receiver<Vec<u8>>,
    ) -> Result<WorkerSorters, ReduceError> {
        let mut farewell = Farewell { done, in_order: false };
        for (number, dealt) in inbox {
            let mut block = Block::default();
            if self.context.want.lines {
                block.lines = spare.try_recv().unwrap_or_default();
                block.lines.reserve(usual_len_of_lines(dealt));
            }
            for parts in by_signature(dealt) {
                self.reduce(parts, &mut block)?;
            }
            if done.send(Done::Block(number, block)).is_err() {
                break; // whoever takes the blocks has failed
            }
        }
        farewell.in_order = true;
        Ok((self.coverage, self.jobs))
    }

    fn reduce(&mut self, parts: &[Part], block: &mut Block) -> Result<(), ReduceError> {
        let signature = parts[0].signature;
        let want = self.context.want;
        self.job_ids.clear();
        self.ranks.clear();
        block.num_signatures += 1;
        if want.lines {
            block.lines.extend_from_slice(b"{\"signature_id\": ");
            block.lines.extend_from_slice(itoa::Buffer::new().format(signature.0).as_bytes());
            block.lines.extend_from_slice(b", \"jobs\": [");
        }
        let mut first = true;
        for part in parts {
            for number in 0..part.num_chunks {
                self.context.store.chunk(&part.request(), number, &mut self.raw)?;
                let decoded = self.columns.decode(&self.raw, self.context.columns);
                decoded.map_err(|source| damaged(part, &source))?;
                if want.lines {
                    self.write_data(part, &mut first, &mut block.lines)?;
                }
                if want.coverage.is_some() {
                    self.cover(block);
                }
                self.find_jobs_of(block);
                if self.context.columns.contains(ColumnSet::JOB_IDS) {
                    self.job_ids.extend((0..self.columns.len()).map(|at| self.columns.job_id(at)));
                }
            }
        }
        if want.lines {
            block.lines.extend_from_slice(b"]}\n");
        }
        self.finish_signature(signature, block)
    }

    fn write_data(&self, part: &Part, first: &mut bool, lines: &mut Vec<u8>) -> Result<(), ReduceError> {
        let revisions = self.context.revisions;
        for at in 0..self.columns.len() {
            if !std::mem::take(first) {
                lines.extend_from_slice(b", ");
            }
            let written = self.columns.write_python(at, |push| revisions.get(&push).copied(), lines);
            match written {
                PythonText::Written => {}
                PythonText::UnknownRevision(push_id) => {
                    return Err(damaged(part, &ColumnsError::UnknownRevision { push_id }).into());
                }
                PythonText::Irregular(raw) => dumps(raw, lines, AsciiMode::Escape).map_err(|source| {
                    StoreError::Damaged { tree: "records", key: part.request().to_string(), reason: source.to_string() }
                })?,
            }
        }
        Ok(())
    }

    /// Notes the commits that this chunk's jobs count for.
    fn cover(&mut self, block: &mut Block) {
        let Some(rule) = &self.context.want.coverage else { return };
        let mut last: Option<(PushId, Option<u32>)> = None;
        for at in 0..self.columns.len() {
            let push = self.columns.push_id(at);
            let rank = match (last, self.columns.inline_revision(at)) {
                (_, Some(revision)) => rule.ranks.get(&revision).copied(),
                (Some((same, rank)), None) if same == push => rank,
                (_, None) if self.columns.is_regular(at) => {
                    let rank = self.context.rank_of_push.get(&push).copied();
                    last = Some((push, rank));
                    rank
                }
                (_, None) => self
                    .columns
                    .revision(at, |push| self.context.revisions.get(&push).copied())
                    .and_then(|revision| rule.ranks.get(&revision).copied()),
            };
            let Some(rank) = rank else { continue };
            let (accepted, by_fraction) = rule.accepts(self.columns.push_timestamp(at), self.columns.submit_time(at));
            block.num_fractions += u64::from(by_fraction);
            if accepted && self.ranks.last() != Some(&rank) {
                self.ranks.push(rank);
            }
        }
    }

    fn find_jobs_of(&self, block: &mut Block) {
        let wanted = &self.context.want.jobs_of;
        if wanted.is_empty() {
            return;
        }
        for at in 0..self.columns.len() {
            let Some(job) = self.columns.job_id(at) else { continue };
            let Some(revision) = self.columns.revision(at, |push| self.context.revisions.get(&push).copied()) else {
                continue;
            };
            for (place, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted == revision) {
                block.jobs_of.push((u32::try_from(place).unwrap_or(u32::MAX), job));
            }
        }
    }

    fn finish_signature(&mut self, signature: SignatureId, block: &mut Block) -> Result<(), ReduceError> {
        let want = self.context.want;
        let sorting = |source| ReduceError::Sort { source };
        if want.coverage.is_some() {
            block.first_covered.extend_from_slice(&self.ranks);
            self.ranks.sort_unstable();
            self.ranks.dedup();
            self.coverage.extend(self.ranks.iter().map(|rank| (u64::from(*rank), signature.0))).map_err(sorting)?;
        }
        block.num_data += self.job_ids.len() as u64;
        block.num_jobless += self.job_ids.iter().filter(|job| job.is_none()).count() as u64;
        if want.jobs || want.groups {
            self.distinct_jobs.clear();
            self.distinct_jobs.extend(self.job_ids.iter().flatten().map(|job| job.0));
            self.distinct_jobs.sort_unstable();
            self.distinct_jobs.dedup();
            if want.groups && !self.distinct_jobs.is_empty() {
                block.fingerprints.push(self.fingerprinter.take(signature, &self.distinct_jobs));
            }
            if want.jobs {
                self.jobs.extend(self.distinct_jobs.iter().map(|job| (*job, signature.0))).map_err(sorting)?;
            }
        }
        if let Some(semantics) = want.samples {
            let reference = Sample::of(signature, reference_sample(&self.job_ids));
            block.samples.extend(match semantics {
                Semantics::Reference => reference,
                Semantics::Corrected => {
                    let corrected = Sample::of(signature, corrected_sample(&self.job_ids));
                    block.num_resampled += u64::from(corrected != reference);
                    corrected
                }
            });
        }
        Ok(())
    }
}

/// The error of a chunk that cannot be decoded.
pub(crate) fn damaged(part: &Part, source: &ColumnsError) -> StoreError {
    StoreError::Damaged { tree: "records", key: part.request().to_string(), reason: source.to_string() }
}

/// The distinct job ids of one signature, ascending, read once more.
fn distinct_jobs(store: &Store, parts: &[Part]) -> Result<Vec<u64>, StoreError> {
    let mut columns = Columns::default();
    let mut raw = Vec::new();
    let mut jobs = Vec::new();
    for part in parts {
        for number in 0..part.num_chunks {
            store.chunk(&part.request(), number, &mut raw)?;
            columns.decode(&raw, ColumnSet::JOB_IDS).map_err(|source| damaged(part, &source))?;
            jobs.extend((0..columns.len()).filter_map(|at| columns.job_id(at)).map(|job| job.0));
        }
    }
    jobs.sort_unstable();
    jobs.dedup();
    Ok(jobs)
}

/// Makes the groups of the fingerprints that a pass over `signatures` gave.
pub(crate) fn finish_groups(
    builder: GroupBuilder,
    store: &Store,
    signatures: &Signatures,
) -> Result<SignatureGroups, ReduceError> {
    Ok(builder.finish(|signature| distinct_jobs(store, signatures.parts_of(signature)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(semantics: Semantics) -> CoverageRule {
        CoverageRule { semantics, ranks: HashMap::new() }
    }

    #[test]
    fn jobs_count_from_their_push_to_ten_minutes_after_both_included() {
        let push = Timestamp::from_secs(1000);
        for (after, counts) in [(-1, false), (0, true), (600, true), (601, false)] {
            for semantics in [Semantics::Corrected, Semantics::Reference] {
                assert_eq!(rule(semantics).accepts(push, Some(push.plus_secs(after))).0, counts, "{after}");
            }
        }
        assert_eq!(rule(Semantics::Reference).accepts(push, None), (true, false));
    }

    #[test]
    fn fractions_of_a_second_are_read_by_the_corrected_semantics_alone() {
        let push = Timestamp::from_secs(1000);
        let submitted = Some(Timestamp::from_micros(1_000_500_000));
        assert_eq!(rule(Semantics::Corrected).accepts(push, submitted), (true, true));
        assert_eq!(rule(Semantics::Reference).accepts(push, submitted), (false, false));
        let late = Some(Timestamp::from_micros(1_600_000_001));
        assert_eq!(rule(Semantics::Corrected).accepts(push, late), (false, false));
    }
}
