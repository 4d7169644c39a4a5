//! Maps groups of signatures to jobs and pushes.
//!
//! The signatures of a group always run in the same jobs. A group has a number of *runs* in order; each belongs to a push,
//! and the second and later runs on one push are retriggers. A job id encodes the push, the group and the repetition of
//! the run on the push: a job is computed from its id alone, and ids ascend with time.

use crate::draw::Draw;

use super::config::{GeneratorConfig, domain};
use super::push::Pushes;

const FIRST_JOB_ID: u64 = 560_000_000;

/// The average of the factors in [`Schedule::num_runs`].
const MEAN_FACTOR: f64 = 0.93;
const LARGEST_FACTOR: f64 = 3.0;

/// Which runs of a block of five are on the same push as the run before.
const RETRIGGERS: [[bool; 5]; 6] = [
    [false; 5],
    [false; 5],
    [false, true, false, false, false],
    [false, false, false, true, true],
    [false, false, true, false, false],
    [false, true, true, false, true],
];

/// The signature groups and their runs.
#[derive(Debug)]
pub(super) struct Schedule {
    seed: u64,
    pub(super) pushes: Pushes,
    data_per_signature: usize,
    /// First signature of each group, and the number of signatures at the end.
    starts: Vec<u32>,
    /// Maximal number of runs of one group on one push.
    runs_per_push: u64,
}

/// A run of a group, which is a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) group: u64,
    /// Number of the run in its group.
    pub(super) number: u64,
    pub(super) push: u64,
    /// Number of earlier runs of the group on this push; above 0 it is a retrigger.
    pub(super) repetition: u64,
}

impl Schedule {
    pub(super) fn new(config: &GeneratorConfig) -> Self {
        let pushes = Pushes::new(config);
        let most_runs = (config.data_per_signature as f64 * LARGEST_FACTOR / MEAN_FACTOR).ceil() as u64;
        Self {
            seed: config.seed,
            pushes,
            data_per_signature: config.data_per_signature,
            starts: group_starts(config),
            runs_per_push: (most_runs.div_ceil(pushes.count) + 8).next_power_of_two(),
        }
    }

    pub(super) fn num_groups(&self) -> u64 {
        self.starts.len() as u64 - 1
    }

    pub(super) fn num_signatures(&self) -> usize {
        self.starts.last().map_or(0, |end| *end as usize)
    }

    /// The group of a signature, and the signature's position in it.
    pub(super) fn group_of(&self, signature: usize) -> (u64, usize) {
        let group = self.starts.partition_point(|start| *start as usize <= signature).saturating_sub(1);
        (group as u64, signature - self.starts[group] as usize)
    }

    pub(super) fn first_signature(&self, group: u64) -> usize {
        self.starts[group as usize] as usize
    }

    pub(super) fn group_size(&self, group: u64) -> usize {
        (self.starts[group as usize + 1] - self.starts[group as usize]) as usize
    }

    /// The number of runs of a group: none for one group in twenty, otherwise around the mean.
    pub(super) fn num_runs(&self, group: u64) -> u64 {
        let factor = match Draw::of(self.seed, domain::GROUP, group, 1).unit() {
            ..0.05 => 0.0,
            ..0.45 => 0.5,
            ..0.85 => 1.0,
            ..0.97 => 2.0,
            _ => LARGEST_FACTOR,
        };
        // The largest group always has data; otherwise a small data set might have none.
        let factor = if group == 0 { 1.0 } else { factor };
        (self.data_per_signature as f64 * factor / MEAN_FACTOR).round() as u64
    }

    /// The push of a run, which ascends with the run's number.
    fn push_of(&self, group: u64, number: u64, num_runs: u64) -> u64 {
        let (block, position) = (number / 5, (number % 5) as usize);
        let pattern = Draw::of(self.seed, domain::BLOCK, group, block).pick(&RETRIGGERS);
        let back = pattern[..=position].iter().rev().take_while(|is_retrigger| **is_retrigger).count() as u64;
        let lead = number - back;
        let within = Draw::of(self.seed, domain::RUN, group, lead).unit();
        let push = (lead as f64 + within) * self.pushes.count as f64 / num_runs.max(1) as f64;
        (push as u64).min(self.pushes.count - 1)
    }

    /// The number of the first run of a group at or after a push.
    fn first_run_at(&self, group: u64, push: u64, num_runs: u64) -> u64 {
        let (mut low, mut high) = (0, num_runs);
        while low < high {
            let middle = low.midpoint(high);
            if self.push_of(group, middle, num_runs) < push {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The runs of a group from a push on, in order.
    pub(super) fn runs_from(&self, group: u64, push: u64) -> impl Iterator<Item = Run> + '_ {
        let num_runs = self.num_runs(group);
        let first = self.first_run_at(group, push, num_runs);
        let mut before = None;
        let mut repetition = 0;
        (first..num_runs).map(move |number| {
            let push = self.push_of(group, number, num_runs);
            repetition = if before == Some(push) { repetition + 1 } else { 0 };
            before = Some(push);
            Run { group, number, push, repetition }
        })
    }

    /// The runs of a group from a push back to its first one.
    pub(super) fn runs_back(&self, group: u64, push: u64) -> impl Iterator<Item = Run> + '_ {
        let num_runs = self.num_runs(group);
        let end = self.first_run_at(group, push + 1, num_runs);
        (0..end).rev().map(move |number| {
            let push = self.push_of(group, number, num_runs);
            Run { group, number, push, repetition: number - self.first_run_at(group, push, num_runs) }
        })
    }

    pub(super) fn job_id(&self, run: &Run) -> u64 {
        FIRST_JOB_ID + (run.push * self.num_groups() + run.group) * self.runs_per_push + run.repetition
    }

    /// The run with this job id.
    pub(super) fn find_run(&self, job_id: u64) -> Option<Run> {
        let code = job_id.checked_sub(FIRST_JOB_ID)?;
        let (cell, repetition) = (code / self.runs_per_push, code % self.runs_per_push);
        let groups = self.num_groups().max(1);
        let (push, group) = (cell / groups, cell % groups);
        if push >= self.pushes.count || group >= self.num_groups() {
            return None;
        }
        self.runs_from(group, push).take_while(|run| run.push == push).find(|run| run.repetition == repetition)
    }

    /// The runs on a push, ascending by job id.
    pub(super) fn runs_on(&self, push: u64) -> impl Iterator<Item = Run> + '_ {
        (0..self.num_groups())
            .flat_map(move |group| self.runs_from(group, push).take_while(move |run| run.push == push))
    }
}

/// Splits the signatures into groups of skewed sizes: one group in `n` has at least `n` signatures.
fn group_starts(config: &GeneratorConfig) -> Vec<u32> {
    let largest = config.largest_group.max(1) as u64;
    let end = config.signatures as u32;
    let mut starts = vec![0];
    let mut start = 0;
    while start < end {
        let group = starts.len() as u64 - 1;
        let size = if group == 0 {
            largest
        } else {
            let share = Draw::of(config.seed, domain::GROUP_SIZE, group, 0).unit();
            ((1.0 / (1.0 - share)) as u64).clamp(1, largest)
        };
        start = (u64::from(start) + size).min(u64::from(end)) as u32;
        starts.push(start);
    }
    starts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn schedule(signatures: usize, data_per_signature: usize, pushes: usize, seed: u64) -> Schedule {
        Schedule::new(&GeneratorConfig { seed, signatures, data_per_signature, pushes, ..GeneratorConfig::default() })
    }

    #[test]
    fn groups_cover_every_signature_and_are_skewed() {
        let schedule = schedule(20_000, 10, 100, 3);
        let sizes: Vec<usize> = (0..schedule.num_groups()).map(|group| schedule.group_size(group)).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 20_000);
        let singles = sizes.iter().filter(|size| **size == 1).count();
        assert!((0.4..0.6).contains(&(singles as f64 / sizes.len() as f64)));
        assert!(sizes.iter().filter(|size| **size >= 30).count() > 20);
        for signature in [0, 63, 64, 12_345, 19_999] {
            let (group, position) = schedule.group_of(signature);
            assert_eq!(schedule.first_signature(group) + position, signature);
            assert!(position < schedule.group_size(group));
        }
    }

    #[test]
    fn the_mean_number_of_data_is_near_what_was_asked() {
        let schedule = schedule(20_000, 100, 1000, 5);
        let data: u64 = (0..20_000).map(|signature| schedule.num_runs(schedule.group_of(signature).0)).sum();
        assert!((80.0..120.0).contains(&(data as f64 / 20_000.0)), "{data}");
    }

    proptest! {
        #[test]
        fn a_run_is_found_by_its_job_id(
            data in 0_usize..400, pushes in 1_usize..300, seed in 0_u64..1000, group in 0_u64..4,
        ) {
            let schedule = schedule(200, data, pushes, seed);
            let mut last = None;
            for run in schedule.runs_from(group, 0) {
                let id = schedule.job_id(&run);
                prop_assert_eq!(schedule.find_run(id), Some(run));
                prop_assert!(last < Some(id), "job ids ascend");
                last = Some(id);
            }
            prop_assert_eq!(schedule.runs_from(group, 0).count() as u64, schedule.num_runs(group));
        }

        #[test]
        fn runs_back_from_a_push_are_the_head_of_all_runs_reversed(seed in 0_u64..1000, until in 0_u64..100) {
            let schedule = schedule(200, 150, 100, seed);
            let mut head: Vec<Run> = schedule.runs_from(1, 0).filter(|run| run.push <= until).collect();
            head.reverse();
            prop_assert_eq!(schedule.runs_back(1, until).collect::<Vec<_>>(), head);
        }

        #[test]
        fn runs_from_a_push_are_the_tail_of_all_runs(seed in 0_u64..1000, from in 0_u64..100) {
            let schedule = schedule(200, 150, 100, seed);
            let all: Vec<Run> = schedule.runs_from(1, 0).filter(|run| run.push >= from).collect();
            prop_assert_eq!(schedule.runs_from(1, from).collect::<Vec<_>>(), all);
        }
    }
}
