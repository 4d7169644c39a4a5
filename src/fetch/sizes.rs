//! Request sizes that succeeded, remembered for the run.
//!
//! A batch of jobs that fails as a whole and is answered in parts was too large: later batches are cut to the size of those
//! parts before they are asked. A batch with a part that fails too says nothing about sizes: that job is broken. The parts
//! of the next split signature are as long as the longest part of a window that was answered and is shorter than the part
//! that failed last. After [`HOPELESS`] failures in a row, a signature or a page of alert summaries is not split further, nor
//! asked again in the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Batch, Request, SignatureId};
use crate::source::SourceError;

/// So many failures of the requests for a subject, without data in between, end its splitting. Halving a year down to a day,
/// or a page down to a row, takes fewer. With a probe of the source for each of them, a broken signature costs less than 40
/// requests.
pub(super) const HOPELESS: u32 = 16;

/// Failures that a signature is allowed in a run when it was hopeless in an earlier one.
const FAILURES_OF_KNOWN_HOPELESS: u32 = 2;

/// All that is asked for in parts when it is too much: its failures are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The data of a signature, or with true their replicates.
    Signature(SignatureId, bool),
    /// A page of alert summaries.
    AlertPage { pass: u16, page: u32 },
}

impl Subject {
    /// Of `batch`; `None` of one whose parts are settled by themselves.
    pub(super) fn of(batch: &Batch) -> Option<Self> {
        match batch.requests()[0] {
            Request::Summary { signature, replicates, .. } => Some(Self::Signature(signature, replicates)),
            Request::AlertPage { pass, page } => Some(Self::AlertPage { pass, page }),
            _ => None,
        }
    }
}

/// Lengths of parts of windows, seconds.
#[derive(Debug, Default)]
struct PartLengths {
    /// Those that were answered, without those that failed later.
    answered: BTreeSet<i64>,
    /// The longest of all that were answered.
    longest: Option<i64>,
}

#[derive(Debug, Default)]
struct State {
    most_jobs: Option<usize>,
    /// Of summaries, and of those with replicates, which are more for the server.
    parts: [PartLengths; 2],
    /// Failures of a subject's requests in a row, and the last error.
    failing: BTreeMap<Subject, (u32, Option<Arc<SourceError>>)>,
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
    pub(super) fn longest_part_secs(&self, replicates: bool) -> Option<i64> {
        let state = self.state();
        let PartLengths { answered, longest } = &state.parts[usize::from(replicates)];
        answered.last().copied().or(*longest)
    }

    /// A part of a window failed as too much.
    pub(super) fn part_failed(&self, replicates: bool, secs: i64) {
        self.state().parts[usize::from(replicates)].answered.retain(|answered| *answered < secs);
    }

    /// A request for `subject` failed in a way that a smaller one may avoid. Returns how many have since the last data.
    pub(super) fn failed(&self, subject: Subject, error: &Arc<SourceError>) -> u32 {
        let mut state = self.state();
        let (failures, last) = state.failing.entry(subject).or_default();
        *failures += 1;
        *last = Some(Arc::clone(error));
        *failures
    }

    /// Data of `subject` came. An empty answer does not count: the server finds quickly that a window is empty.
    pub(super) fn answered(&self, subject: Subject) {
        self.state().failing.remove(&subject);
    }

    /// Parts of a signature's window failed in an earlier run.
    pub(super) fn signature_failed_before(&self, id: SignatureId, replicates: bool) {
        self.state().failing.entry(Subject::Signature(id, replicates)).or_default().0 =
            HOPELESS - FAILURES_OF_KNOWN_HOPELESS;
    }

    /// The last error of a subject that smaller requests do not help.
    pub(super) fn hopeless(&self, subject: Subject) -> Option<Arc<SourceError>> {
        self.state()
            .failing
            .get(&subject)
            .filter(|(failures, _)| *failures >= HOPELESS)
            .and_then(|(_, error)| error.clone())
    }

    /// A part of a window was answered.
    pub(super) fn part_worked(&self, replicates: bool, secs: i64) {
        let parts = &mut self.state().parts[usize::from(replicates)];
        parts.longest = parts.longest.max(Some(secs));
        parts.answered.insert(secs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_hopeless_after_failures_in_a_row_and_sooner_in_a_later_run() {
        let (sizes, id) = (WorkedSizes::default(), SignatureId(7));
        let (subject, other) = (Subject::Signature(id, false), Subject::AlertPage { pass: 0, page: 7 });
        let error = Arc::new(SourceError::TooLarge { limit: 1 });
        let fail = |times| (0..times).fold(0, |_, _| sizes.failed(subject, &error));
        fail(HOPELESS - 1);
        assert!(sizes.hopeless(subject).is_none());
        sizes.answered(subject);
        fail(HOPELESS - 1);
        assert!(sizes.hopeless(subject).is_none());
        fail(1);
        assert!(sizes.hopeless(subject).is_some() && sizes.hopeless(other).is_none());

        let sizes = WorkedSizes::default();
        sizes.signature_failed_before(id, false);
        assert_eq!(sizes.failed(Subject::Signature(id, true), &error), 1, "its replicates are another matter");
        assert_eq!(sizes.failed(subject, &error), HOPELESS - 1);
        assert!(sizes.hopeless(subject).is_none());
        sizes.failed(subject, &error);
        assert!(sizes.hopeless(subject).is_some());
    }

    #[test]
    fn the_smallest_needed_batch_and_the_longest_answered_part_are_remembered() {
        let sizes = WorkedSizes::default();
        assert_eq!((sizes.most_jobs(), sizes.longest_part_secs(false)), (None, None));
        for size in [75, 150, 0, 40] {
            sizes.jobs_worked_in_parts(size);
            sizes.part_worked(false, i64::try_from(size).unwrap());
        }
        assert_eq!((sizes.most_jobs(), sizes.longest_part_secs(false)), (Some(1), Some(150)));
        sizes.part_failed(true, 1);
        sizes.part_failed(false, 150);
        assert_eq!((sizes.longest_part_secs(false), sizes.longest_part_secs(true)), (Some(75), None));
        sizes.part_failed(false, 0);
        assert_eq!(sizes.longest_part_secs(false), Some(150), "one broken day says nothing about lengths");
    }
}
