//! Which jobs stand for a signature's durations.

use super::{JobId, Timestamp};

/// Positions of the sample among `len` data: the first, the middle (`len / 2`) and the last.
fn positions(len: usize) -> impl Iterator<Item = usize> {
    [0, len / 2, len.wrapping_sub(1)].into_iter().filter(move |&at| at < len)
}

/// The sample of the reference scripts: the jobs of the first, middle and last datum of `jobs` (one entry a datum, in the
/// API's order). A datum whose job is deleted gives none. One entry a position, so a job may stand there twice.
pub fn reference_sample<T: Copy>(jobs: &[Option<T>]) -> impl Iterator<Item = T> {
    positions(jobs.len()).filter_map(|at| jobs[at])
}

/// The corrected sample: first, middle and last of the data whose job still exists.
pub fn corrected_sample<T: Copy>(jobs: &[Option<T>]) -> impl Iterator<Item = T> {
    let existing: Vec<T> = jobs.iter().copied().flatten().collect();
    positions(existing.len()).map(move |at| existing[at]).collect::<Vec<_>>().into_iter()
}

/// The jobs that a crawl fetches for a signature: both samples, each job once, so that either semantics can be reduced
/// from one store.
pub fn sampled_jobs(jobs: &[Option<(JobId, Timestamp)>]) -> impl Iterator<Item = (JobId, Timestamp)> {
    let mut sample: Vec<_> = reference_sample(jobs).chain(corrected_sample(jobs)).collect();
    sample.sort_unstable();
    sample.dedup_by_key(|(id, _)| *id);
    sample.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_middle_and_last_are_taken_and_deleted_jobs_give_none() {
        let jobs = [None, Some(1), Some(2), None, Some(4), None];
        assert_eq!(reference_sample(&jobs).collect::<Vec<_>>(), Vec::<i32>::new());
        assert_eq!(corrected_sample(&jobs).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(reference_sample(&jobs[1..5]).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn one_datum_stands_at_all_three_positions() {
        assert_eq!(reference_sample(&[Some(7)]).collect::<Vec<_>>(), [7, 7, 7]);
        assert_eq!(corrected_sample::<u8>(&[None, None]).count(), 0);
        assert_eq!(reference_sample::<u8>(&[]).count(), 0);
    }
}
