//! The table of verdicts: how a batch goes on after an attempt. Pure functions over plain data.
//!
//! | the attempt met | then |
//! |---|---|
//! | an answer | stored: with data, as empty, or as gone ([`settlement_of`](super::settlement::settlement_of)) |
//! | 403, or no such repository | the crawl stops |
//! | an outage | wait until the source answers; the attempt does not count |
//! | an error that smaller requests may avoid, often enough | split, unless too many for the subject have failed in a row |
//! | an error that may pass | retry after a delay |
//! | such an error for the last time, at a single row of alert summaries | the row is set aside |
//! | the last attempt allowed, or an error that lasts | recorded as failed |
//!
//! Before a batch is split or recorded, the source is probed if it answered nobody meanwhile: an outage says nothing about
//! the batch.

use std::time::Duration;

use super::retry::{Retryability, classify};
use super::sizes::HOPELESS;
use crate::model::Batch;
use crate::source::{GAVE_UP_AFTER, SourceError, Split, split};

/// Failures that a smaller request may avoid, before the batch is split. One is enough where a larger request failed too.
const REPEATS: u32 = 2;

/// A fetcher's next step after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// End the crawl: the server refuses this client, or lacks the repository.
    StopCrawl,
    /// Wait until the source answers again; this attempt does not count.
    AwaitSource,
    /// Probe the source, then decide again.
    Probe,
    /// Ask again after a delay.
    Retry,
    /// Ask for the same in smaller requests.
    Split,
    /// Set the row of alert summaries aside: the server does not return it, even alone.
    SetAside,
    /// Record the batch as failed; the next run asks again.
    Record,
}

/// The failed attempts that count against a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// All of them; each is an attempt.
    pub(super) num: u32,
    /// Those that a smaller request may avoid.
    pub(super) num_avoidable: u32,
}

impl Failures {
    /// These and one more by `error`.
    pub(super) fn and(self, batch: &Batch, error: &SourceError, max_attempts: u32) -> Self {
        let avoidable = failures_before_split(batch, error, max_attempts).is_some();
        Self { num: self.num + 1, num_avoidable: self.num_avoidable + u32::from(avoidable) }
    }
}

/// All that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailedAttempt<'a> {
    pub(super) batch: &'a Batch,
    pub(super) error: &'a SourceError,
    /// Failures of the batch so far, this one included.
    pub(super) failures: Failures,
    pub(super) max_attempts: u32,
    /// Time until the error came.
    pub(super) took: Duration,
    /// The source is down.
    pub(super) in_outage: bool,
    /// The source has answered someone since the first attempt at this batch.
    pub(super) source_answered: bool,
    /// Failures of the subject's requests that a smaller request may avoid, this one included, without data in between.
    pub(super) subject_failures: u32,
}

impl FailedAttempt<'_> {
    /// See the module's table.
    pub(super) fn verdict(&self) -> Verdict {
        let Self { batch, error, failures, max_attempts, took, .. } = *self;
        let retryability = classify(error);
        if retryability == Retryability::Refused {
            return Verdict::StopCrawl;
        }
        if self.in_outage {
            return Verdict::AwaitSource;
        }
        let lasts = retryability == Retryability::Lasting;
        let larger_failed = self.subject_failures > failures.num_avoidable;
        let before_split = failures_before_split(batch, error, max_attempts);
        let splits = before_split.is_some_and(|before| failures.num_avoidable >= if larger_failed { 1 } else { before })
            // The last allowed failure is kept for a second attempt at the same.
            && self.subject_failures + 1 < HOPELESS
            && split(batch, None) != Split::Indivisible;
        // Each repetition of a slow query costs the server 30 s again, and 500 is its own answer to a query that it ended. Other
        // errors that come soon may be chance, even after larger requests failed.
        let is_ended = larger_failed && matches!(error, SourceError::Status { status: 500, .. });
        let may_repeat = took < GAVE_UP_AFTER && !is_ended;
        let most = if may_repeat || failures.num_avoidable == 0 { max_attempts } else { REPEATS.min(max_attempts) };
        let is_hopeless = self.subject_failures >= HOPELESS;
        let is_last = lasts || failures.num >= most || is_hopeless;
        let is_of_the_row = before_split.is_some_and(|before| failures.num_avoidable >= before)
            && batch.rows().is_some_and(|rows| rows.limit == 1);
        match (splits, is_last) {
            (false, false) => Verdict::Retry,
            _ if !lasts && !self.source_answered => Verdict::Probe,
            (true, _) => Verdict::Split,
            (false, true) if is_of_the_row && !is_hopeless => Verdict::SetAside,
            (false, true) => Verdict::Record,
        }
    }
}

/// After how many such failures `batch` is split; `None` when smaller requests would meet the same error.
fn failures_before_split(batch: &Batch, error: &SourceError, max_attempts: u32) -> Option<u32> {
    let several = batch.requests().len() > 1;
    match error {
        SourceError::Status { status: 413 | 414, .. } | SourceError::GaveUp { .. } => Some(1),
        // Treeherder's answer to a query that it ended may also come soon: under load, or by another limit.
        SourceError::Status { status: 500, .. } => Some(REPEATS.min(max_attempts)),
        error if classify(error) == Retryability::TooMuch => Some(REPEATS.min(max_attempts)),
        // One of several may spoil the reply to all.
        SourceError::Status { status: 400, .. } if several => Some(1),
        SourceError::WrongShape { .. } if several => Some(REPEATS.min(max_attempts)),
        SourceError::Status { status: 500..=599, .. } | SourceError::BrokenJson { .. } if several => Some(max_attempts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AskedPage, JobId, Request, SignatureId, Timestamp, Window};
    use crate::source::broken_connection;

    const MAX_ATTEMPTS: u32 = 5;

    fn status(status: u16) -> SourceError {
        SourceError::Status { status, retry_after: None, excerpt: String::new() }
    }

    fn gave_up() -> SourceError {
        SourceError::GaveUp { status: 500, took: GAVE_UP_AFTER }
    }

    fn encoding() -> SourceError {
        SourceError::BrokenEncoding { source: std::io::ErrorKind::InvalidData.into() }
    }

    /// A summary over `days`.
    fn summary(days: i64) -> Batch {
        let window = Window { start: Timestamp::from_secs(0), end: Timestamp::from_secs(days * 86_400) };
        Batch::of(Request::Summary { signature: SignatureId(1), harvest: 1, window, replicates: false })
    }

    fn alerts(limit: u32) -> Batch {
        Batch::of_rows(Request::AlertPage { pass: 0, page: 3 }, AskedPage { page: 3, limit })
    }

    fn jobs(num: u64) -> Batch {
        Batch::of_jobs((1..=num).map(JobId).collect()).unwrap()
    }

    /// The verdict on the `num`th failure, all by the same error, while others are answered.
    fn verdict(batch: &Batch, error: &SourceError, num: u32) -> Verdict {
        let failures = (0..num).fold(Failures::default(), |failures, _| failures.and(batch, error, MAX_ATTEMPTS));
        verdict_in(batch, error, failures, failures.num_avoidable)
    }

    /// The verdict when `subject_failures` requests of the signature have failed in a row.
    fn verdict_in(batch: &Batch, error: &SourceError, failures: Failures, subject_failures: u32) -> Verdict {
        let took = if matches!(error, SourceError::GaveUp { .. }) { GAVE_UP_AFTER } else { Duration::ZERO };
        verdict_after(took, batch, error, failures, subject_failures)
    }

    fn verdict_after(
        took: Duration,
        batch: &Batch,
        error: &SourceError,
        failures: Failures,
        subject_failures: u32,
    ) -> Verdict {
        let (max_attempts, in_outage, source_answered) = (MAX_ATTEMPTS, false, true);
        FailedAttempt { batch, error, failures, max_attempts, took, in_outage, source_answered, subject_failures }
            .verdict()
    }

    #[test]
    fn the_table_of_verdicts() {
        use Verdict::{Record, Retry, SetAside, Split, StopCrawl};
        let page = SourceError::NotJson { status: 200, content_type: "text/html".into() };
        let shape = SourceError::WrongShape { endpoint: "jobs", found: String::new() };
        let large = SourceError::TooLarge { limit: 1 };
        for (batch, error, expected) in [
            (summary(8), SourceError::Forbidden, [StopCrawl; 5]),
            (summary(8), status(404), [Record; 5]),
            (summary(8), status(429), [Retry, Retry, Retry, Retry, Record]),
            (summary(8), status(500), [Retry, Split, Split, Split, Split]),
            (summary(1), status(500), [Retry, Retry, Retry, Retry, Record]),
            (summary(8), gave_up(), [Split; 5]),
            (summary(1), gave_up(), [Retry, Record, Record, Record, Record]),
            (jobs(4), gave_up(), [Split; 5]),
            (jobs(1), gave_up(), [Retry, Record, Record, Record, Record]),
            (Batch::of(Request::Signatures { framework: None }), gave_up(), [Split; 5]),
            (summary(8), encoding(), [Retry, Retry, Retry, Retry, Record]),
            (summary(8), page, [Retry, Retry, Retry, Retry, Record]),
            (summary(8), status(401), [Retry, Retry, Retry, Retry, Record]),
            (summary(8), SourceError::UnknownRepository { repository: String::new() }, [StopCrawl; 5]),
            (summary(8), status(502), [Retry, Split, Split, Split, Split]),
            (summary(8), large, [Retry, Split, Split, Split, Split]),
            (summary(8), status(414), [Split; 5]),
            (summary(1), status(502), [Retry, Retry, Retry, Retry, Record]),
            (jobs(4), status(400), [Split; 5]),
            (jobs(4), shape, [Retry, Split, Split, Split, Split]),
            (jobs(4), status(500), [Retry, Split, Split, Split, Split]),
            (jobs(4), status(501), [Retry, Retry, Retry, Retry, Split]),
            (jobs(4), status(404), [Record; 5]),
            (jobs(1), status(400), [Record; 5]),
            (jobs(1), status(500), [Retry, Retry, Retry, Retry, Record]),
            (alerts(100), gave_up(), [Split; 5]),
            (alerts(100), status(500), [Retry, Split, Split, Split, Split]),
            (alerts(100), status(502), [Retry, Split, Split, Split, Split]),
            (alerts(100), encoding(), [Retry, Retry, Retry, Retry, Record]),
            (alerts(100), status(404), [Record; 5]),
            (alerts(1), gave_up(), [Retry, SetAside, SetAside, SetAside, SetAside]),
            (alerts(1), status(500), [Retry, Retry, Retry, Retry, SetAside]),
            (alerts(1), encoding(), [Retry, Retry, Retry, Retry, Record]),
        ] {
            let verdicts: Vec<_> = (1..=5).map(|num| verdict(&batch, &error, num)).collect();
            assert_eq!(verdicts, expected, "{batch}: {error}");
        }
    }

    #[test]
    fn an_outage_is_waited_out_and_a_suspected_one_probed_before_the_batch_is_blamed() {
        let batch = summary(8);
        let failed = |error: SourceError, num, in_outage| {
            let failures = Failures { num, num_avoidable: num };
            let (source_answered, subject_failures) = (false, num);
            let (batch, error, max_attempts, took) = (&batch, &error, MAX_ATTEMPTS, Duration::ZERO);
            FailedAttempt { batch, error, failures, max_attempts, took, in_outage, source_answered, subject_failures }
                .verdict()
        };
        assert_eq!(failed(status(503), 1, true), Verdict::AwaitSource);
        assert_eq!(failed(SourceError::Forbidden, 1, true), Verdict::StopCrawl);
        assert_eq!(failed(status(503), 1, false), Verdict::Retry);
        assert_eq!(failed(status(503), 2, false), Verdict::Probe);
        assert_eq!(failed(status(500), 5, false), Verdict::Probe);
        assert_eq!(failed(status(404), 1, false), Verdict::Record, "an error of its own is an answer");
    }

    #[test]
    fn parts_of_a_failing_signature_are_split_sooner_and_not_without_end() {
        let failed = |days, error: SourceError, num, subject_failures| {
            let batch = summary(days);
            let failures = (0..num).fold(Failures::default(), |failures, _| failures.and(&batch, &error, MAX_ATTEMPTS));
            verdict_in(&batch, &error, failures, subject_failures)
        };
        assert_eq!(failed(8, status(502), 1, 3), Verdict::Split, "the whole has failed twice");
        assert_eq!(failed(1, gave_up(), 1, 9), Verdict::Retry);
        assert_eq!(failed(1, gave_up(), 2, 10), Verdict::Record);
        assert_eq!(failed(8, status(502), 1, HOPELESS - 1), Verdict::Retry);
        assert_eq!(failed(8, status(502), 2, HOPELESS), Verdict::Record);
        assert_eq!(failed(8, gave_up(), 1, HOPELESS), Verdict::Record);
        let row = Failures { num: 2, num_avoidable: 2 };
        assert_eq!(verdict_in(&alerts(1), &gave_up(), row, 8), Verdict::SetAside, "larger pages failed too");
        assert_eq!(verdict_in(&alerts(1), &gave_up(), row, HOPELESS), Verdict::Record, "it is hardly the row");
        let mixed = Failures { num: 5, num_avoidable: 1 };
        assert_eq!(verdict_in(&alerts(1), &status(502), mixed, 1), Verdict::Record, "nor after one such failure");
        assert_eq!(failed(8, status(429), 1, HOPELESS - 1), Verdict::Retry, "not the signature's fault");
    }

    /// On a bad day one attempt in ten fails by chance.
    #[test]
    fn a_part_that_cannot_be_split_is_given_up_early_only_where_the_server_ended_its_query() {
        use Verdict::{Record, Retry};
        for error in [status(502), status(504), broken_connection()] {
            let verdicts = |took: Duration| -> Vec<Verdict> {
                let after =
                    |num| verdict_after(took, &summary(1), &error, Failures { num, num_avoidable: num }, num + 5);
                (1..=MAX_ATTEMPTS).map(after).collect()
            };
            assert_eq!(verdicts(Duration::from_secs(1)), [Retry, Retry, Retry, Retry, Record], "{error}");
            assert_eq!(verdicts(GAVE_UP_AFTER), [Retry, Record, Record, Record, Record], "{error}");
        }
        assert_eq!(verdict_in(&summary(1), &status(500), Failures { num: 2, num_avoidable: 2 }, 7), Verdict::Record);
    }

    #[test]
    fn failures_of_mixed_kinds_are_counted_apart() {
        let batch = jobs(4);
        let failures = [status(502), status(429), status(502)]
            .iter()
            .fold(Failures::default(), |failures, error| failures.and(&batch, error, MAX_ATTEMPTS));
        assert_eq!(failures, Failures { num: 3, num_avoidable: 2 });
        assert_eq!(failures_before_split(&batch, &status(502), 1), Some(1), "even when there is only one attempt");
    }
}
