//! Request sizes that succeeded, remembered for the run.
//!
//! A batch of jobs that fails as a whole and is answered in parts was too large: later batches are cut to the size of those
//! parts before they are asked. A batch with a part that fails too says nothing about sizes: that job is broken. The parts
//! of the next split signature are as long as the longest part of a window that was answered and is shorter than the part
//! that failed last.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct State {
    most_jobs: Option<usize>,
    /// Lengths of parts of windows that were answered, seconds; without those that failed later.
    parts_secs: BTreeSet<i64>,
    /// The longest of all that were answered.
    longest_part_secs: Option<i64>,
}

/// Shared by all fetchers of a run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkedSizes(Arc<Mutex<State>>);

impl WorkedSizes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maximum of jobs per batch; `None` while no batch was too large.
    pub(super) fn most_jobs(&self) -> Option<usize> {
        self.state().most_jobs
    }

    /// A batch of jobs failed, and all its parts of at most `size` jobs were answered.
    pub(super) fn jobs_worked_in_parts(&self, size: usize) {
        let mut state = self.state();
        let most = state.most_jobs.map_or(size, |before| before.min(size));
        state.most_jobs = Some(most.max(1));
    }

    /// The longest part of a window that is known to work, seconds.
    pub(super) fn longest_part_secs(&self) -> Option<i64> {
        let state = self.state();
        state.parts_secs.last().copied().or(state.longest_part_secs)
    }

    /// A part of a window failed as too much.
    pub(super) fn part_failed(&self, secs: i64) {
        self.state().parts_secs.retain(|answered| *answered < secs);
    }

    /// A part of a window was answered.
    pub(super) fn part_worked(&self, secs: i64) {
        let mut state = self.state();
        state.longest_part_secs = state.longest_part_secs.max(Some(secs));
        state.parts_secs.insert(secs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_needed_batch_and_the_longest_answered_part_are_remembered() {
        let sizes = WorkedSizes::default();
        assert_eq!((sizes.most_jobs(), sizes.longest_part_secs()), (None, None));
        for size in [75, 150, 0, 40] {
            sizes.jobs_worked_in_parts(size);
            sizes.part_worked(i64::try_from(size).unwrap());
        }
        assert_eq!((sizes.most_jobs(), sizes.longest_part_secs()), (Some(1), Some(150)));
        sizes.part_failed(150);
        assert_eq!(sizes.longest_part_secs(), Some(75));
        sizes.part_failed(0);
        assert_eq!(sizes.longest_part_secs(), Some(150), "one broken day says nothing about lengths");
    }
}
