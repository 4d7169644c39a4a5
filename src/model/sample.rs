//! Samples the jobs that represent a signature's durations.

use super::{JobId, Timestamp};

/// Positions of the sample among `len` data: the first, the middle (`len / 2`) and the last.
fn positions(len: usize) -> impl Iterator<Item = usize> {
    [0, len / 2, len.wrapping_sub(1)].into_iter().filter(move |&at| at < len)
}

/// The sample of the reference scripts: the jobs of the first, middle and last datum of `jobs` (one entry per datum, in the
/// API's order), without deleted jobs. A job may occur more than once, since there is one entry per position.
pub fn reference_sample<T: Copy>(jobs: &[Option<T>]) -> impl Iterator<Item = T> {
    positions(jobs.len()).filter_map(|at| jobs[at])
}

/// The corrected sample: first, middle and last of the data with an existing job.
pub fn corrected_sample<T: Copy>(jobs: &[Option<T>]) -> impl Iterator<Item = T> {
    let existing = jobs.iter().copied().flatten();
    positions(existing.clone().count()).filter_map(move |at| existing.clone().nth(at))
}

/// The jobs that a crawl fetches for a signature: those of both samples, each once, so that one store serves both semantics.
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
    fn samples_are_the_first_the_middle_and_the_last_job_without_deleted_ones() {
        let some = |ids: &[u64]| ids.iter().map(|&id| (id > 0).then_some(id)).collect::<Vec<_>>();
        for (data, reference, corrected) in [
            (some(&[]), vec![], vec![]),
            (some(&[7]), vec![7, 7, 7], vec![7, 7, 7]),
            (some(&[7, 8]), vec![7, 8, 8], vec![7, 8, 8]),
            (some(&[1, 2, 3, 4, 5]), vec![1, 3, 5], vec![1, 3, 5]),
            (some(&[0, 2, 0, 4, 0]), vec![], vec![2, 4, 4]),
            (some(&[0, 0, 3, 4]), vec![3, 4], vec![3, 4, 4]),
            (some(&[0, 0]), vec![], vec![]),
        ] {
            assert_eq!(reference_sample(&data).collect::<Vec<_>>(), reference, "{data:?}");
            assert_eq!(corrected_sample(&data).collect::<Vec<_>>(), corrected, "{data:?}");
        }
    }
}
