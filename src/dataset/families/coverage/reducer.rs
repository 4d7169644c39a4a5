//! Finds the signatures that ran on each revision of the window.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::config::Semantics;
use crate::dataset::commits::Commit;
use crate::dataset::error::DatasetError;
use crate::dataset::pass::external_sort::{PairSorter, SortedPairs};
use crate::dataset::pass::signatures::Part;
use crate::dataset::pass::{Chunk, Means, Reducer, ReducerWorker, SignatureJobs};
use crate::model::{PushId, SignatureId, Timestamp};
use crate::store::columns::ColumnSet;

use super::commit_table::{CommitTable, FirstCovered, Ranks};

/// Maximum time from a push to the submission of a job that counts for its revision: later jobs are retriggers.
const ACCEPTED_SECS: i64 = 600;

/// The rule that decides whether a job counts for a revision.
#[derive(Clone, Copy, Debug)]
struct Rule(Semantics);

impl Rule {
    /// True if a job submitted at `submitted` counts for the push at `pushed`; deleted jobs always count. The second value
    /// is true if the reference semantics would drop the job because its time has a fraction of a second.
    fn accepts(self, pushed: Timestamp, submitted: Option<Timestamp>) -> (bool, bool) {
        let Some(submitted) = submitted else { return (true, false) };
        let has_fraction = submitted.subsec_micros() != 0 || pushed.subsec_micros() != 0;
        let delay = submitted.as_micros() - pushed.as_micros();
        let in_time = (0..=ACCEPTED_SECS * 1_000_000).contains(&delay);
        match self.0 {
            Semantics::Reference => (in_time && !has_fraction, false),
            Semantics::Corrected => (in_time, in_time && has_fraction),
        }
    }
}

pub(crate) struct CoverageReducer<'a> {
    rule: Rule,
    commits: CommitTable,
    ranks: Arc<Ranks>,
    means: &'a Means<'a>,
    first_covered: FirstCovered,
    num_fractions: u64,
}

impl<'a> CoverageReducer<'a> {
    pub(crate) fn new(commits: CommitTable, semantics: Semantics, means: &'a Means<'a>) -> Self {
        let ranks = Arc::new(commits.ranks());
        Self { rule: Rule(semantics), commits, ranks, means, first_covered: FirstCovered::default(), num_fractions: 0 }
    }
}

/// A worker's results for a block of signatures.
#[derive(Default)]
pub(crate) struct Covered {
    /// Commit ranks in the order of their first job.
    first: Vec<u32>,
    /// Jobs that count only because fractions of a second are read.
    num_fractions: u64,
}

impl Reducer for CoverageReducer<'_> {
    type Block = Covered;
    type Worker = CoverageWorker;
    type Value = Coverage;

    fn columns(&self) -> ColumnSet {
        ColumnSet::PUSH_IDS | ColumnSet::REVISIONS | ColumnSet::SUBMIT_TIMES | ColumnSet::IRREGULAR
    }

    fn worker(&self) -> CoverageWorker {
        CoverageWorker {
            rule: self.rule,
            ranks: Arc::clone(&self.ranks),
            rank_of_push: HashMap::default(),
            pairs: self.means.sorter(),
            covered: Vec::new(),
        }
    }

    fn take(&mut self, block: Covered) -> Result<(), DatasetError> {
        self.first_covered.extend(&block.first);
        self.num_fractions += block.num_fractions;
        Ok(())
    }

    fn finish(self, workers: Vec<CoverageWorker>) -> Result<Coverage, DatasetError> {
        let pairs = PairSorter::finish_all(workers.into_iter().map(|worker| worker.pairs).collect())?;
        let Self { commits, first_covered, num_fractions, .. } = self;
        Ok(Coverage { commits, first_covered, pairs, num_fractions })
    }
}

pub(crate) struct CoverageWorker {
    rule: Rule,
    ranks: Arc<Ranks>,
    /// The rank of each known push; `None` for pushes outside the window.
    rank_of_push: HashMap<PushId, Option<u32>, RandomState>,
    /// Commit ranks and signatures.
    pairs: PairSorter,
    /// Ranks of the current signature.
    covered: Vec<u32>,
}

impl ReducerWorker for CoverageWorker {
    type Block = Covered;

    fn open(&mut self, _signatures: &[Part]) -> Covered {
        Covered::default()
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, block: &mut Covered) -> Result<(), DatasetError> {
        let columns = chunk.columns;
        // The data of one push are consecutive.
        let mut last: Option<(PushId, Option<u32>)> = None;
        for at in 0..columns.len() {
            let push = columns.push_id(at);
            let rank = match (last, columns.inline_revision(at)) {
                (_, Some(revision)) => self.ranks.get(revision),
                (Some((same, rank)), None) if same == push => rank,
                (_, None) if columns.is_regular(at) => {
                    let ranks = &self.ranks;
                    let find = || chunk.revisions.get(&push).and_then(|revision| ranks.get(*revision));
                    let rank = *self.rank_of_push.entry(push).or_insert_with(find);
                    last = Some((push, rank));
                    rank
                }
                (_, None) => match chunk.revision(at) {
                    Some(revision) => self.ranks.get(revision),
                    None => self.ranks.of_text(columns.irregular(at)),
                },
            };
            let Some(rank) = rank else { continue };
            let (accepted, by_fraction) = self.rule.accepts(columns.push_timestamp(at), columns.submit_time(at));
            block.num_fractions += u64::from(by_fraction);
            if accepted && self.covered.last() != Some(&rank) {
                self.covered.push(rank);
            }
        }
        Ok(())
    }

    fn end_signature(&mut self, jobs: &mut SignatureJobs, block: &mut Covered) -> Result<(), DatasetError> {
        block.first.extend_from_slice(&self.covered);
        self.covered.sort_unstable();
        self.covered.dedup();
        Ok(self.pairs.extend(self.covered.drain(..).map(|rank| (u64::from(rank), jobs.signature.0)))?)
    }
}

/// The signatures that ran on each revision.
pub(crate) struct Coverage {
    commits: CommitTable,
    first_covered: FirstCovered,
    /// Commit ranks and signatures.
    pairs: SortedPairs,
    /// Jobs that count only because fractions of a second are read.
    pub(crate) num_fractions: u64,
}

impl Coverage {
    /// Passes each commit of the window with its signatures, ascending, to `take`, in the order of the revision table.
    ///
    /// # Errors
    /// If spilled pairs are unreadable, and errors of `take`.
    pub(crate) fn for_each_revision(
        self,
        mut take: impl FnMut(&Commit, &[SignatureId]) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let mut pairs = self.pairs.peekable();
        let commits = &self.commits.commits;
        let mut of_one_date: Vec<(u32, Vec<SignatureId>)> = Vec::new();
        for (rank, commit) in (0_u32..).zip(commits) {
            let mut signatures = Vec::new();
            let is_of_rank =
                |pair: &Result<(u64, u64), _>| pair.as_ref().map_or(true, |(at, _)| *at == u64::from(rank));
            while let Some((_, signature)) = pairs.next_if(is_of_rank).transpose()? {
                signatures.push(SignatureId(signature));
            }
            of_one_date.push((rank, signatures));
            let next_date = commits.get(rank as usize + 1).map(|next| next.date);
            if next_date != Some(commit.date) {
                of_one_date.sort_by_key(|(rank, _)| self.first_covered.key(*rank));
                for (rank, signatures) in of_one_date.drain(..) {
                    take(&commits[rank as usize], &signatures)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_count_from_their_push_to_ten_minutes_after_both_included() {
        let push = Timestamp::from_secs(1000);
        for (after, counts) in [(-1, false), (0, true), (600, true), (601, false)] {
            for semantics in [Semantics::Corrected, Semantics::Reference] {
                assert_eq!(Rule(semantics).accepts(push, Some(push.plus_secs(after))).0, counts, "{after}");
            }
        }
        assert_eq!(Rule(Semantics::Reference).accepts(push, None), (true, false));
    }

    #[test]
    fn fractions_of_a_second_are_read_by_the_corrected_semantics_alone() {
        let push = Timestamp::from_secs(1000);
        let submitted = Some(Timestamp::from_micros(1_000_500_000));
        assert_eq!(Rule(Semantics::Corrected).accepts(push, submitted), (true, true));
        assert_eq!(Rule(Semantics::Reference).accepts(push, submitted), (false, false));
        let late = Some(Timestamp::from_micros(1_600_000_001));
        assert_eq!(Rule(Semantics::Corrected).accepts(push, late), (false, false));
    }
}
