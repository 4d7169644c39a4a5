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
use crate::model::{DatumFields, PushId, SignatureId, Submission, Timestamp};
use crate::store::columns::{ColumnSet, RevisionPlace};

use super::commit_table::{CommitTable, FirstCovered, Ranks};

/// Maximum time from a push to the submission of a job that counts for its revision: later jobs are retriggers.
const ACCEPTED_SECS: i64 = 600;

/// The rule that decides whether a job counts for a revision.
#[derive(Clone, Copy, Debug)]
struct Rule(Semantics);

/// Whether a job counts for a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Counts,
    /// It counts, but the reference semantics would drop it because its time has a fraction of a second.
    CountsByFraction,
    CountsNot,
    /// It does not count because its time cannot be read.
    Unreadable,
}

impl Rule {
    /// The verdict on a datum of the documented form; deleted jobs always count.
    fn judge(self, pushed: Timestamp, submitted: Option<Timestamp>) -> Verdict {
        let Some(submitted) = submitted else { return Verdict::Counts };
        let has_fraction = submitted.subsec_micros() != 0 || pushed.subsec_micros() != 0;
        let delay = submitted.as_micros().saturating_sub(pushed.as_micros());
        match self.0 {
            _ if !(0..=ACCEPTED_SECS * 1_000_000).contains(&delay) => Verdict::CountsNot,
            _ if !has_fraction => Verdict::Counts,
            Semantics::Reference => Verdict::CountsNot,
            Semantics::Corrected => Verdict::CountsByFraction,
        }
    }

    /// The verdict on a datum of another form. The columns hold `submitted` as [`DatumFields::submission`] reads it.
    fn judge_irregular(self, fields: &DatumFields<'_>, pushed: Timestamp, submitted: Option<Timestamp>) -> Verdict {
        match self.0 {
            Semantics::Reference => match fields.scripts_delay_secs() {
                Ok(delay) if (0..=ACCEPTED_SECS).contains(&delay) => Verdict::Counts,
                Err(Submission::Deleted) => Verdict::Counts,
                Ok(_) | Err(_) => Verdict::CountsNot,
            },
            Semantics::Corrected if fields.submission() == Submission::Unreadable => Verdict::Unreadable,
            Semantics::Corrected => self.judge(pushed, submitted),
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
    num_unreadable: u64,
}

impl<'a> CoverageReducer<'a> {
    pub(crate) fn new(commits: CommitTable, semantics: Semantics, means: &'a Means<'a>) -> Self {
        let ranks = Arc::new(commits.ranks());
        Self {
            rule: Rule(semantics),
            commits,
            ranks,
            means,
            first_covered: FirstCovered::default(),
            num_fractions: 0,
            num_unreadable: 0,
        }
    }
}

/// A worker's results for a block of signatures.
#[derive(Default)]
pub(crate) struct Covered {
    /// Commit ranks in the order of their first job.
    first: Vec<u32>,
    /// Jobs that count only because fractions of a second are read.
    num_fractions: u64,
    /// Data whose submission time cannot be read.
    num_unreadable: u64,
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
        self.num_unreadable += block.num_unreadable;
        Ok(())
    }

    fn finish(self, workers: Vec<CoverageWorker>) -> Result<Coverage, DatasetError> {
        let pairs = PairSorter::finish_all(workers.into_iter().map(|worker| worker.pairs).collect())?;
        let Self { commits, first_covered, num_fractions, num_unreadable, .. } = self;
        Ok(Coverage { commits, first_covered, pairs, num_fractions, num_unreadable })
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
            let rank = match (last, columns.revision_place(at)) {
                (_, RevisionPlace::Unknown) => self.ranks.of_text(columns.irregular(at)),
                (_, RevisionPlace::Inline(revision)) => self.ranks.get(revision),
                (Some((same, rank)), RevisionPlace::PushTable) if same == push => rank,
                (_, RevisionPlace::PushTable) => {
                    let ranks = &self.ranks;
                    let find = || chunk.revisions.get(&push).and_then(|revision| ranks.get(*revision));
                    let rank = *self.rank_of_push.entry(push).or_insert_with(find);
                    last = Some((push, rank));
                    rank
                }
            };
            let Some(rank) = rank else { continue };
            let (pushed, submitted) = (columns.push_timestamp(at), columns.submit_time(at));
            let verdict = match columns.fields(at) {
                None => self.rule.judge(pushed, submitted),
                Some(fields) => self.rule.judge_irregular(&fields, pushed, submitted),
            };
            block.num_fractions += u64::from(verdict == Verdict::CountsByFraction);
            block.num_unreadable += u64::from(verdict == Verdict::Unreadable);
            let counts = matches!(verdict, Verdict::Counts | Verdict::CountsByFraction);
            if counts && self.covered.last() != Some(&rank) {
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
    /// Data that do not count because their submission time cannot be read.
    pub(crate) num_unreadable: u64,
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
        for (after, verdict) in [
            (-1, Verdict::CountsNot),
            (0, Verdict::Counts),
            (600, Verdict::Counts),
            (601, Verdict::CountsNot),
            (i64::MAX, Verdict::CountsNot),
        ] {
            for semantics in [Semantics::Corrected, Semantics::Reference] {
                assert_eq!(Rule(semantics).judge(push, Some(push.plus_secs(after))), verdict, "{after}");
            }
        }
        assert_eq!(Rule(Semantics::Reference).judge(push, None), Verdict::Counts);
    }

    #[test]
    fn fractions_of_a_second_are_read_by_the_corrected_semantics_alone() {
        let push = Timestamp::from_secs(1000);
        let submitted = Some(Timestamp::from_micros(1_000_500_000));
        assert_eq!(Rule(Semantics::Corrected).judge(push, submitted), Verdict::CountsByFraction);
        assert_eq!(Rule(Semantics::Reference).judge(push, submitted), Verdict::CountsNot);
        let late = Some(Timestamp::from_micros(1_600_000_001));
        assert_eq!(Rule(Semantics::Corrected).judge(push, late), Verdict::CountsNot);
    }

    #[test]
    fn other_notations_of_times_count_for_the_corrected_semantics_and_unreadable_ones_for_none() {
        use Verdict::{Counts, CountsNot, Unreadable};
        for (submit_time, reference, corrected) in [
            ("\"2026-07-01T00:00:05\"", Counts, Counts),
            ("\"2026-07-01T00:00:05.000000\"", CountsNot, Counts),
            ("\"2026-07-01T00:00:05Z\"", CountsNot, Counts),
            ("\"2026-07-01T02:00:05+02:00\"", CountsNot, Counts),
            ("\"2026-07-01T00:00:05+02:00\"", CountsNot, CountsNot),
            ("\"2026-7-1T0:0:5\"", Counts, Counts),
            ("\"soon\"", CountsNot, Unreadable),
            ("\"\"", Counts, Unreadable),
            ("17", CountsNot, Unreadable),
            ("null", Counts, Counts),
        ] {
            let raw = format!(r#"{{"id":1,"push_timestamp":"2026-07-01T00:00:00","submit_time":{submit_time}}}"#);
            let datum = crate::model::parse_datum(&raw).unwrap();
            let fields = DatumFields::read(&raw).unwrap();
            for (semantics, expected) in [(Semantics::Reference, reference), (Semantics::Corrected, corrected)] {
                let verdict = Rule(semantics).judge_irregular(&fields, datum.push_timestamp(), datum.submit_time());
                assert_eq!(verdict, expected, "{submit_time} {semantics:?}");
            }
        }
    }
}
