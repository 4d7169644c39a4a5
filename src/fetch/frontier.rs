//! The frontier in memory: which requests are pending, which are in flight, and which batch is next.
//!
//! Plain data, without channels. A request is in flight at most once. Jobs go out in full batches, the oldest first, since
//! the server deletes those first. Parts of a window go before whole windows, one part of a signature at a time, so that a
//! signature that keeps the server busy holds one fetcher at most; of those that were split again and again, few are in flight. While parts
//! wait, whole windows go to free fetchers only.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Batch, JobId, Kind, NUM_KINDS, Request, SignatureId, Timestamp, Window};
use crate::store::Pending;

/// A batch of jobs that is not full goes out this long after the last one, so that jobs are not left to the end.
pub(super) const PARTIAL_JOBS_INTERVAL: Duration = Duration::from_mins(5);

/// A signature that was split so often without an answer in between holds a fetcher for long each time.
const SLOW_SPLITS: u32 = 3;

/// The rows of a signature: its data, or with true their replicates.
type Rows = (SignatureId, bool);

/// See the module.
#[derive(Debug)]
pub(super) struct Frontier {
    /// Requests to hand out, one a batch; job details are in `jobs`, parts of windows in `parts`.
    queues: [VecDeque<Request>; NUM_KINDS],
    /// Of summaries, and of those with replicates.
    parts: [VecDeque<Request>; 2],
    /// Of the crawl.
    data_window: Window,
    /// Splits of a signature since it was answered.
    splits: HashMap<Rows, u32>,
    /// Signatures with a part in flight.
    in_parts: HashSet<Rows>,
    /// Maximum of slow signatures among them while other work waits.
    most_slow: usize,
    /// Fetchers of summaries.
    concurrency: usize,
    /// Jobs to ask for, by when they were submitted.
    jobs: BTreeSet<(Timestamp, JobId)>,
    jobs_handed_out_at: Instant,
    /// Job details that may still be handed out; `None`: all.
    jobs_allowed: Option<usize>,
    in_flight: HashSet<Request>,
    /// Requests of `in_flight` by kind.
    num_in_flight: [usize; NUM_KINDS],
}

impl Frontier {
    /// An empty frontier of a crawl of `data_window`, which hands out at most `jobs_allowed` job details.
    pub(super) fn new(data_window: Window, jobs_allowed: Option<usize>) -> Self {
        Self {
            queues: Default::default(),
            parts: Default::default(),
            data_window,
            splits: HashMap::new(),
            in_parts: HashSet::new(),
            most_slow: 1,
            concurrency: 1,
            jobs: BTreeSet::new(),
            jobs_handed_out_at: Instant::now(),
            jobs_allowed,
            in_flight: HashSet::new(),
            num_in_flight: [0; NUM_KINDS],
        }
    }

    /// Adds a pending request behind the others of its kind.
    pub(super) fn push(&mut self, pending: Pending) {
        match pending.request {
            Request::Job { id } => drop(self.jobs.insert((pending.submitted, id))),
            request => match self.rows_of_part(&request) {
                Some((_, replicates)) => self.parts[usize::from(replicates)].push_back(request),
                None => self.queues[request.kind().index()].push_back(request),
            },
        }
    }

    /// The rows that a part of a window asks for; `None` for everything else.
    fn rows_of_part(&self, request: &Request) -> Option<Rows> {
        match request {
            Request::Summary { signature, replicates, .. } if request.is_part(self.data_window) => {
                Some((*signature, *replicates))
            }
            _ => None,
        }
    }

    /// A summary was replaced by `parts`, which go out next, or is settled when there are none.
    pub(super) fn note_split(&mut self, request: &Request, parts: &[Request]) {
        let Request::Summary { signature, replicates, .. } = request else { return };
        if parts.is_empty() {
            self.splits.remove(&(*signature, *replicates));
        } else {
            *self.splits.entry((*signature, *replicates)).or_default() += 1;
        }
        for part in parts.iter().rev() {
            self.push_front(*part);
        }
    }

    /// Sets the number of fetchers of summaries; slow signatures may hold half of them.
    pub(super) fn set_concurrency(&mut self, concurrency: usize) {
        self.most_slow = (concurrency / 2).max(1);
        self.concurrency = concurrency;
    }

    /// The next part of `kind`: of a signature that has none in flight.
    fn take_part(&mut self, kind: Kind) -> Option<Request> {
        let is_slow = |rows: &Rows| self.splits.get(rows).is_some_and(|splits| *splits >= SLOW_SPLITS);
        let slow_in_flight = self.in_parts.iter().filter(|rows| is_slow(rows)).count();
        let others_wait = !self.queues[kind.index()].is_empty();
        let may_be_slow = slow_in_flight < self.most_slow || !others_wait;
        let parts = &self.parts[usize::from(kind == Kind::Replicates)];
        let position = parts.iter().position(|part| {
            let rows = self.rows_of_part(part);
            rows.is_some_and(|rows| !self.in_parts.contains(&rows) && (may_be_slow || !is_slow(&rows)))
        })?;
        let part = self.parts[usize::from(kind == Kind::Replicates)].remove(position)?;
        self.in_parts.extend(self.rows_of_part(&part));
        Some(part)
    }

    /// Adds a pending request that goes out next.
    pub(super) fn push_front(&mut self, request: Request) {
        match request {
            Request::Job { id } => drop(self.jobs.insert((Timestamp::default(), id))),
            request => match self.rows_of_part(&request) {
                Some((_, replicates)) => self.parts[usize::from(replicates)].push_front(request),
                None => self.queues[request.kind().index()].push_front(request),
            },
        }
    }

    /// Takes the next batch of `kind`, of at most `jobs_per_batch` jobs, and counts it as in flight.
    pub(super) fn take(&mut self, kind: Kind, jobs_per_batch: usize, more_to_come: bool) -> Option<Batch> {
        let batch = match kind {
            Kind::JobDetails => self.take_jobs(jobs_per_batch, more_to_come)?,
            Kind::Summaries | Kind::Replicates => {
                let part = self.take_part(kind);
                // No whole window in advance while parts wait for others of their signature: those show first which lengths
                // the server answers.
                let may_be_whole = self.parts[usize::from(kind == Kind::Replicates)].is_empty()
                    || self.num_in_flight(kind) < self.concurrency;
                let whole = || if may_be_whole { pop(&mut self.queues[kind.index()]) } else { None };
                Batch::of(part.or_else(whole)?)
            }
            _ => Batch::of(pop(&mut self.queues[kind.index()])?),
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
            if let Some(rows) = self.rows_of_part(request) {
                self.in_parts.remove(&rows);
            }
        }
    }

    /// Requests of `kind` that wait.
    pub(super) fn num_pending(&self, kind: Kind) -> usize {
        match kind {
            Kind::JobDetails => self.jobs.len(),
            Kind::Summaries => self.queues[kind.index()].len() + self.parts[0].len(),
            Kind::Replicates => self.queues[kind.index()].len() + self.parts[1].len(),
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

/// The first of a queue, which gives its memory back on the way: it may have 10^5 requests, and long to go.
fn pop(queue: &mut VecDeque<Request>) -> Option<Request> {
    let first = queue.pop_front();
    if queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.capacity() / 2);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start: Timestamp::from_micros(0), end: Timestamp::from_micros(1 << 40) };

    /// Part `number` of a signature's window; 0 is the whole.
    fn summary(signature: u64, number: i64) -> Request {
        let window = match number {
            0 => WINDOW,
            _ => Window { start: Timestamp::from_secs(number), end: Timestamp::from_secs(number + 1) },
        };
        Request::Summary { signature: SignatureId(signature), harvest: 1, window, replicates: false }
    }

    fn take_summary(frontier: &mut Frontier) -> Option<Request> {
        frontier.take(Kind::Summaries, 1, false).map(|batch| batch.requests()[0])
    }

    #[tokio::test(start_paused = true)]
    async fn one_part_of_a_signature_goes_out_at_a_time_before_the_whole_windows() {
        let mut frontier = Frontier::new(WINDOW, None);
        frontier.set_concurrency(3);
        for request in [summary(1, 1), summary(1, 2), summary(2, 1), summary(3, 0)] {
            frontier.push(Pending::of(request));
        }
        let taken: Vec<_> = std::iter::from_fn(|| take_summary(&mut frontier)).collect();
        assert_eq!(taken, [summary(1, 1), summary(2, 1), summary(3, 0)]);
        assert!(frontier.is_busy(Kind::Summaries) && frontier.num_pending(Kind::Summaries) == 1);
        frontier.land(&Batch::of(summary(1, 1)));
        assert_eq!(take_summary(&mut frontier), Some(summary(1, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_whole_window_goes_out_in_advance_while_parts_wait() {
        let mut frontier = Frontier::new(WINDOW, None);
        for request in [summary(1, 1), summary(1, 2), summary(2, 0), summary(3, 0)] {
            frontier.push(Pending::of(request));
        }
        assert_eq!(take_summary(&mut frontier), Some(summary(1, 1)));
        assert_eq!(take_summary(&mut frontier), None);
        frontier.land(&Batch::of(summary(1, 1)));
        let taken: Vec<_> = std::iter::from_fn(|| take_summary(&mut frontier)).collect();
        assert_eq!(taken, [summary(1, 2), summary(2, 0), summary(3, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_signatures_hold_half_of_the_fetchers_until_nothing_else_waits() {
        let mut frontier = Frontier::new(WINDOW, None);
        frontier.set_concurrency(4);
        for signature in 1..=3 {
            for number in 1..=i64::from(SLOW_SPLITS) {
                frontier.note_split(&summary(signature, 0), &[summary(signature, number)]);
            }
        }
        frontier.push(Pending::of(summary(9, 0)));
        frontier.push(Pending::of(summary(10, 0)));
        let signatures = |frontier: &mut Frontier, num: usize| -> Vec<u64> {
            let id = |request| match request {
                Request::Summary { signature, .. } => signature.0,
                _ => 0,
            };
            (0..num).map_while(|_| take_summary(frontier)).map(id).collect()
        };
        assert_eq!(signatures(&mut frontier, 4), [3, 2, 9, 10]);
        assert_eq!(signatures(&mut frontier, 4), [1], "nothing else waits");
        frontier.push(Pending::of(summary(11, 0)));
        frontier.note_split(&summary(3, 3), &[]);
        frontier.land(&Batch::of(summary(3, 3)));
        assert_eq!(signatures(&mut frontier, 1), [3], "it was answered");
    }

    fn job(id: u64, submitted: i64) -> Pending {
        Pending { request: Request::Job { id: JobId(id) }, submitted: Timestamp::from_secs(submitted) }
    }

    fn ids(batch: Option<Batch>) -> Vec<u64> {
        batch.map_or_else(Vec::new, |batch| batch.job_ids().map(|id| id.0).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_jobs_go_first_and_a_partial_batch_waits_while_more_may_come() {
        let mut frontier = Frontier::new(WINDOW, None);
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
        let mut frontier = Frontier::new(WINDOW, Some(3));
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

        let mut frontier = Frontier::new(WINDOW, None);
        frontier.push(Pending::of(Request::Frameworks));
        frontier.push(Pending::of(Request::Signatures { framework: None }));
        let batch = frontier.take(Kind::Signatures, 1, false).unwrap();
        frontier.put_back(&batch);
        assert_eq!(frontier.num_in_flight(Kind::Signatures), 0);
        assert_eq!(frontier.take(Kind::Signatures, 1, false), Some(batch));
    }
}
