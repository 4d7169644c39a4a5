//! Sorts pairs of numbers within a memory budget.
//!
//! In: pairs, in any order, from workers with a [`PairSorter`] each. Out: [`SortedPairs`], the distinct pairs in
//! ascending order. Pairs beyond the budget are spilled in sorted runs to an unnamed file, which vanishes with the process,
//! and merged at the end. Pairs within the budget never touch the disk.

mod error;
mod merge;
mod radix;
mod spill;

use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

pub(crate) use error::SortError;
pub(crate) use merge::SortedPairs;
use radix::{RadixSorter, SortedRun};
use spill::SpillFile;

/// Bytes per pair during sorting: the pair, its key, and the key's second buffer.
const SORTING_BYTES_PER_PAIR: usize = 32;

/// Minimum pairs per run, for any budget.
const MIN_PAIRS_PER_RUN: usize = 16;

/// Takes pairs until [`PairSorter::finish_all`].
#[derive(Debug)]
pub(crate) struct PairSorter {
    pairs: Vec<(u64, u64)>,
    max_pairs: usize,
    budget_bytes: usize,
    spill_dir: PathBuf,
    spill: Option<SpillFile>,
    radix: RadixSorter,
}

impl PairSorter {
    /// Sorts within `budget_bytes` of memory (at least some kilobytes), spilling into `spill_dir`, which must exist
    /// by then.
    #[must_use]
    pub(crate) fn new(budget_bytes: usize, spill_dir: &Path) -> Self {
        Self {
            pairs: Vec::new(),
            max_pairs: (budget_bytes / SORTING_BYTES_PER_PAIR).max(MIN_PAIRS_PER_RUN),
            budget_bytes,
            spill_dir: spill_dir.to_owned(),
            spill: None,
            radix: RadixSorter::default(),
        }
    }

    /// Takes one pair.
    ///
    /// # Errors
    /// When memory is full and spilling fails.
    pub(crate) fn push(&mut self, first: u64, second: u64) -> Result<(), SortError> {
        if self.pairs.len() == self.pairs.capacity() {
            self.make_room()?;
        }
        self.pairs.push((first, second));
        Ok(())
    }

    /// Takes many pairs.
    ///
    /// # Errors
    /// See [`PairSorter::push`].
    pub(crate) fn extend(&mut self, pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<(), SortError> {
        pairs.into_iter().try_for_each(|(first, second)| self.push(first, second))
    }

    /// Grows the buffer within the budget, then spills.
    #[cold]
    fn make_room(&mut self) -> Result<(), SortError> {
        let len = self.pairs.len();
        if len < self.max_pairs {
            let wanted = len.saturating_mul(2).clamp(MIN_PAIRS_PER_RUN, self.max_pairs);
            self.pairs.reserve_exact(wanted - len);
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(SpillFile::create_in(&self.spill_dir)?),
        };
        let run = self.radix.sort(&mut self.pairs);
        spill.write_run(run.iter())?;
        self.radix.reuse(run, &mut self.pairs);
        Ok(())
    }

    /// Ends the input of several sorters, sorts them in parallel, and merges them within the sum of their budgets.
    ///
    /// # Errors
    /// If there are so many spilled runs that they must be merged on disk first, and that fails.
    pub(crate) fn finish_all(sorters: Vec<Self>) -> Result<SortedPairs, SortError> {
        let budget_bytes = sorters.iter().fold(0_usize, |sum, sorter| sum.saturating_add(sorter.budget_bytes));
        let spill_dir = sorters.first().map(|sorter| sorter.spill_dir.clone()).unwrap_or_default();
        let parts: Vec<(SortedRun, Option<SpillFile>)> = sorters.into_par_iter().map(Self::into_sorted).collect();
        let (runs, spills): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        SortedPairs::merge(runs, spills.into_iter().flatten().collect(), budget_bytes, &spill_dir)
    }

    fn into_sorted(mut self) -> (SortedRun, Option<SpillFile>) {
        (self.radix.sort(&mut self.pairs), self.spill)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn collect(sorted: SortedPairs) -> Vec<(u64, u64)> {
        sorted.collect::<Result<_, _>>().unwrap()
    }

    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..20, 560_000_000_u64..560_100_000, any::<u64>(), Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn any_split_over_workers_and_runs_gives_the_sorted_set(
            workers in proptest::collection::vec(proptest::collection::vec((word(), word()), 0..300), 0..5),
            budget_bytes in 0_usize..4000,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let expected: BTreeSet<(u64, u64)> = workers.iter().flatten().copied().collect();
            let sorters = workers
                .into_iter()
                .map(|pairs| {
                    let mut sorter = PairSorter::new(budget_bytes, dir.path());
                    sorter.extend(pairs).unwrap();
                    sorter
                })
                .collect();
            prop_assert_eq!(collect(PairSorter::finish_all(sorters).unwrap()), expected.into_iter().collect::<Vec<_>>());
        }
    }

    /// Pairs like those of jobs and signatures, in a fixed random order.
    fn jobs(count: u64) -> impl Iterator<Item = (u64, u64)> {
        (0..count).map(|at| {
            let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            (560_000_000 + mixed % 50_000, 5_400_000 + mixed / 50_000)
        })
    }

    #[test]
    fn many_runs_are_merged_in_passes() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = PairSorter::new(0, dir.path());
        sorter.extend(jobs(20_000)).unwrap();
        assert!(sorter.spill.as_ref().unwrap().num_runs() > 1000);
        let expected: BTreeSet<(u64, u64)> = jobs(20_000).collect();
        assert_eq!(collect(PairSorter::finish_all(vec![sorter]).unwrap()), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn runs_longer_than_their_buffers_are_read_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = PairSorter::new(600_000, dir.path());
        sorter.extend(jobs(200_000)).unwrap();
        let expected: BTreeSet<(u64, u64)> = jobs(200_000).collect();
        assert_eq!(collect(PairSorter::finish_all(vec![sorter]).unwrap()), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_fits_never_touches_the_disk() {
        let nowhere = Path::new("/nonexistent/spill");
        let sorters = (0..3)
            .map(|_| {
                let mut sorter = PairSorter::new(1 << 20, nowhere);
                sorter.extend(jobs(10_000)).unwrap();
                sorter
            })
            .collect();
        assert!(
            PairSorter::finish_all(sorters).unwrap().is_sorted_by(|a, b| a.as_ref().unwrap() < b.as_ref().unwrap())
        );
    }

    #[test]
    fn a_missing_spill_folder_is_named() {
        let mut sorter = PairSorter::new(0, Path::new("/nonexistent/spill"));
        let error = sorter.extend(jobs(100)).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/spill"), "{error}");
    }
}
