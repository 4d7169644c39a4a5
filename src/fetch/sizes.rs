//! Which sizes of requests the server bore, remembered for the run.
//!
//! A batch of jobs that fails as a whole and is answered in parts was too large: later ones are cut to the size of those
//! parts before they are asked. A batch whose part fails as well says nothing about sizes: that job is broken. Of windows,
//! the longest part that was answered, and is shorter than the part that failed last, is how long the parts of the next
//! split signature are.

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
pub struct WorkedSizes(Arc<Mutex<State>>);

impl WorkedSizes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs per batch at the most; `None` while no size was too large.
    #[must_use]
    pub fn most_jobs(&self) -> Option<usize> {
        self.state().most_jobs
    }

    /// A batch of jobs failed, and all its parts of at most `size` jobs were answered.
    pub fn jobs_worked_in_parts(&self, size: usize) {
        let mut state = self.state();
        let most = state.most_jobs.map_or(size, |before| before.min(size));
        state.most_jobs = Some(most.max(1));
    }

    /// How long a part of a window may be, as far as is known, seconds.
    #[must_use]
    pub fn longest_part_secs(&self) -> Option<i64> {
        let state = self.state();
        state.parts_secs.last().copied().or(state.longest_part_secs)
    }

    /// A part of a window was too much.
    pub fn part_failed(&self, secs: i64) {
        self.state().parts_secs.retain(|answered| *answered < secs);
    }

    /// A part of a window was answered.
    pub fn part_worked(&self, secs: i64) {
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
        assert_eq!(sizes.longest_part_secs(), Some(150), "that one day is broken says nothing about lengths");
    }
}
