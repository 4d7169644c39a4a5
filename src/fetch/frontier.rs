//! The frontier in memory: which requests are pending, which are in flight, and which batch is next.
//!
//! Plain data, without channels. A request is in flight at most once. Jobs go out in full batches, the oldest first, since
//! the server deletes those first.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Batch, JobId, Kind, Request, Timestamp};
use crate::store::Pending;

/// A batch of jobs that is not full goes out this long after the last one, so that jobs are not left to the end.
pub(super) const PARTIAL_JOBS_INTERVAL: Duration = Duration::from_mins(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Frontier {
    /// Requests to hand out, one a batch; job details are in `jobs`.
    queues: [VecDeque<Request>; 4],
    /// Jobs to ask for, by when they were submitted.
    jobs: BTreeSet<(Timestamp, JobId)>,
    jobs_handed_out_at: Instant,
    /// Job details that may still be handed out; `None`: all.
    jobs_allowed: Option<usize>,
    in_flight: HashSet<Request>,
    /// Requests of `in_flight` by kind.
    num_in_flight: [usize; 4],
}

impl Frontier {
    /// An empty frontier, which hands out at most `jobs_allowed` job details.
    pub(super) fn new(jobs_allowed: Option<usize>) -> Self {
        Self {
            queues: Default::default(),
            jobs: BTreeSet::new(),
            jobs_handed_out_at: Instant::now(),
            jobs_allowed,
            in_flight: HashSet::new(),
            num_in_flight: [0; 4],
        }
    }

    /// Adds a pending request behind the others of its kind.
    pub(super) fn push(&mut self, pending: Pending) {
        match pending.request {
            Request::Job { id } => drop(self.jobs.insert((pending.submitted, id))),
            request => self.queues[request.kind().index()].push_back(request),
        }
    }

    /// Adds a pending request that goes out next.
    pub(super) fn push_front(&mut self, request: Request) {
        match request {
            Request::Job { id } => drop(self.jobs.insert((Timestamp::default(), id))),
            request => self.queues[request.kind().index()].push_front(request),
        }
    }

    /// Takes the next batch of `kind`, of at most `jobs_per_batch` jobs, and counts it as in flight.
    pub(super) fn take(&mut self, kind: Kind, jobs_per_batch: usize, more_to_come: bool) -> Option<Batch> {
        let batch = match kind {
            Kind::JobDetails => self.take_jobs(jobs_per_batch, more_to_come)?,
            _ => Batch::of(self.queues[kind.index()].pop_front()?),
        };
        self.in_flight.extend(batch.requests());
        self.num_in_flight[kind.index()] += batch.requests().len();
        Some(batch)
    }

    /// A full batch of the oldest jobs; one that is not full only when no more are to come, or after a while.
    fn take_jobs(&mut self, size: usize, more_to_come: bool) -> Option<Batch> {
        let size = size.min(self.jobs_allowed.unwrap_or(usize::MAX));
        let is_due = self.jobs_handed_out_at.elapsed() >= PARTIAL_JOBS_INTERVAL;
        if self.jobs.len() < size && more_to_come && !is_due {
            return None;
        }
        let mut ids = Vec::new();
        while ids.len() < size
            && let Some((_, id)) = self.jobs.pop_first()
        {
            ids.push(id);
        }
        let batch = Batch::of_jobs(ids)?;
        if let Some(left) = &mut self.jobs_allowed {
            *left -= batch.requests().len();
        }
        self.jobs_handed_out_at = Instant::now();
        Some(batch)
    }

    /// Takes back a batch that could not be handed out.
    pub(super) fn put_back(&mut self, batch: &Batch) {
        self.land(batch);
        for request in batch.requests() {
            self.push_front(*request);
        }
    }

    /// Counts a batch as no longer in flight.
    pub(super) fn land(&mut self, batch: &Batch) {
        for request in batch.requests() {
            if self.in_flight.remove(request) {
                self.num_in_flight[batch.kind().index()] -= 1;
            }
        }
    }

    /// Requests of `kind` that wait.
    pub(super) fn num_pending(&self, kind: Kind) -> usize {
        match kind {
            Kind::JobDetails => self.jobs.len(),
            _ => self.queues[kind.index()].len(),
        }
    }

    /// Requests of `kind` in flight.
    pub(super) fn num_in_flight(&self, kind: Kind) -> usize {
        self.num_in_flight[kind.index()]
    }

    /// True while requests of `kind` wait or are in flight.
    pub(super) fn is_busy(&self, kind: Kind) -> bool {
        self.num_pending(kind) > 0 || self.num_in_flight(kind) > 0
    }

    /// True when no request of `kinds` is in flight or may still be handed out.
    pub(super) fn is_idle(&self, kinds: impl IntoIterator<Item = Kind>) -> bool {
        let may_go_out = |kind: Kind| match kind {
            Kind::JobDetails => self.jobs_allowed != Some(0) && !self.jobs.is_empty(),
            _ => !self.queues[kind.index()].is_empty(),
        };
        self.in_flight.is_empty() && !kinds.into_iter().any(may_go_out)
    }

    /// Pending jobs by the day on which they were submitted, counted from the epoch.
    pub(super) fn jobs_by_day(&self) -> BTreeMap<i64, u64> {
        let mut by_day = BTreeMap::new();
        for (submitted, _) in self.jobs.iter().filter(|(submitted, _)| *submitted > Timestamp::default()) {
            *by_day.entry(submitted.as_secs().div_euclid(86_400)).or_default() += 1;
        }
        by_day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64, submitted: i64) -> Pending {
        Pending { request: Request::Job { id: JobId(id) }, submitted: Timestamp::from_secs(submitted) }
    }

    fn ids(batch: Option<Batch>) -> Vec<u64> {
        batch.map_or_else(Vec::new, |batch| batch.job_ids().map(|id| id.0).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_jobs_go_first_and_a_partial_batch_waits_while_more_may_come() {
        let mut frontier = Frontier::new(None);
        for (id, submitted) in [(1, 30), (2, 10), (3, 20)] {
            frontier.push(job(id, submitted));
        }
        assert_eq!(ids(frontier.take(Kind::JobDetails, 2, true)), [2, 3]);
        assert!(frontier.take(Kind::JobDetails, 2, true).is_none());
        tokio::time::advance(PARTIAL_JOBS_INTERVAL).await;
        assert_eq!(ids(frontier.take(Kind::JobDetails, 2, true)), [1]);
        frontier.push(job(4, 40));
        assert_eq!(ids(frontier.take(Kind::JobDetails, 2, false)), [4]);
        assert!(frontier.is_busy(Kind::JobDetails) && !frontier.is_idle(Kind::ALL));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_jobs_go_out_than_are_allowed_and_a_batch_put_back_goes_out_next() {
        let mut frontier = Frontier::new(Some(3));
        for id in 1..=5 {
            frontier.push(job(id, 100 + i64::try_from(id).unwrap()));
        }
        let first = frontier.take(Kind::JobDetails, 2, false).unwrap();
        let second = frontier.take(Kind::JobDetails, 2, false).unwrap();
        assert_eq!((first.requests().len(), second.requests().len()), (2, 1));
        assert!(frontier.take(Kind::JobDetails, 2, false).is_none());
        frontier.land(&first);
        frontier.land(&second);
        assert!(frontier.is_idle(Kind::ALL), "the jobs left may not go out");

        let mut frontier = Frontier::new(None);
        frontier.push(Pending::of(Request::Frameworks));
        frontier.push(Pending::of(Request::Signatures { framework: None }));
        let batch = frontier.take(Kind::Signatures, 1, false).unwrap();
        frontier.put_back(&batch);
        assert_eq!(frontier.num_in_flight(Kind::Signatures), 0);
        assert_eq!(frontier.take(Kind::Signatures, 1, false), Some(batch));
    }
}
