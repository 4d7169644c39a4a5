//! How the data of a server change as its clock advances: data arrive, jobs expire, signatures and alert summaries come
//! and go.
//!
//! Every decision is a function of the seed and of a record's id, never of the clock or of a request, so that the data at a
//! time do not depend on how the clock got there.

use std::time::Duration;

use crate::draw::Draw;
use crate::error::SimulatorError;

/// Seconds in a day.
const DAY: u64 = 86_400;

/// How the data change as the clock of a simulator advances.
///
/// With any options, a push appears when it was pushed, an alert summary when it was created, a datum with its push or
/// later, and a signature with its first datum. The default deletes jobs after 120 days and changes nothing else;
/// [`History::growing`] only adds records; [`History::forgetting`] does everything that the real server does.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Seed of all choices below.
    pub seed: u64,
    /// Time between a push and its data.
    pub arrival_delay: Duration,
    /// Share of the jobs whose data are late, 0 to 1. Above 0, the data of the other jobs appear once their job is
    /// submitted, which is up to five days after the push in generated data.
    pub late_share: f64,
    /// The longest time between the push and a late job.
    pub late_within: Duration,
    /// Age at which jobs are deleted, from their submission on; `None` keeps them. Of recorded data, jobs are deleted
    /// only after the time of the recording.
    pub job_expiry: Option<Duration>,
    /// Time within which unfinished generated jobs finish, from their submission on; `None` leaves them unfinished.
    pub jobs_finish_within: Option<Duration>,
    /// Share of the generated signature groups that do not run from the start of the data on, 0 to 1.
    pub new_signature_share: f64,
    /// Share of the signatures that the server deletes between start and end of the data, 0 to 1. Subtests go with their
    /// parent.
    pub vanishing_signature_share: f64,
    /// Share of the alert summaries that are new (untriaged, without bug, assignee and notes) when they appear, and get
    /// their fields in three steps, 0 to 1.
    pub edited_alert_share: f64,
    /// Share of the alert summaries whose first alert is reassigned to the summary before them, 0 to 1.
    pub reassigned_alert_share: f64,
    /// Share of the alert summaries that are deleted, 0 to 1.
    pub deleted_alert_share: f64,
    /// Time within which an alert summary is edited, reassigned and deleted, from its creation on.
    pub alert_changes_within: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self {
            seed: 0,
            arrival_delay: Duration::ZERO,
            late_share: 0.0,
            late_within: Duration::from_secs(20 * DAY),
            job_expiry: Some(Duration::from_secs(120 * DAY)),
            jobs_finish_within: None,
            new_signature_share: 0.0,
            vanishing_signature_share: 0.0,
            edited_alert_share: 0.0,
            reassigned_alert_share: 0.0,
            deleted_alert_share: 0.0,
            alert_changes_within: Duration::from_secs(60 * DAY),
        }
    }
}

impl History {
    /// A server that only grows: a record that it serves once is served unchanged at every later time.
    #[must_use]
    pub fn growing() -> Self {
        Self { job_expiry: None, ..Self::default() }
    }

    /// A server that changes and forgets as the real one does, only more often.
    #[must_use]
    pub fn forgetting() -> Self {
        Self {
            arrival_delay: Duration::from_hours(1),
            late_share: 0.05,
            jobs_finish_within: Some(Duration::from_secs(2 * DAY)),
            new_signature_share: 0.1,
            vanishing_signature_share: 0.05,
            edited_alert_share: 0.7,
            reassigned_alert_share: 0.1,
            deleted_alert_share: 0.05,
            ..Self::default()
        }
    }

    pub(crate) fn validate(&self) -> Result<(), SimulatorError> {
        for (name, share) in [
            ("late_share", self.late_share),
            ("new_signature_share", self.new_signature_share),
            ("vanishing_signature_share", self.vanishing_signature_share),
            ("edited_alert_share", self.edited_alert_share),
            ("reassigned_alert_share", self.reassigned_alert_share),
            ("deleted_alert_share", self.deleted_alert_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(SimulatorError::Share { name, share: share.to_string() });
            }
        }
        Ok(())
    }

    /// Further random numbers for a record that is among this share of the records; `None` for the others.
    fn chosen(&self, domain: u64, id: u64, share: f64) -> Option<Draw> {
        let mut draw = Draw::of(self.seed, domain, id, 0);
        draw.chance(share).then_some(draw)
    }

    /// The seconds between the push and a late job; `None` for a job that is not late.
    pub(crate) fn lateness(&self, job: u64) -> Option<i64> {
        self.chosen(domain::LATE, job, self.late_share).map(|mut draw| within(&mut draw, self.late_within))
    }

    /// When data of a push appear, given when their job is submitted; seconds.
    pub(crate) fn arrival(&self, pushed: i64, submitted: i64) -> i64 {
        let ready = if self.late_share > 0.0 { pushed.max(submitted) } else { pushed };
        ready.saturating_add(seconds(self.arrival_delay))
    }

    /// The first second at which a job is deleted.
    pub(crate) fn expiry(&self, submitted: i64) -> i64 {
        self.job_expiry.map_or(i64::MAX, |age| submitted.saturating_add(seconds(age)).saturating_add(1))
    }

    /// When an unfinished job finishes, seconds.
    pub(crate) fn finish(&self, job: u64, submitted: i64) -> i64 {
        let mut draw = Draw::of(self.seed, domain::FINISH, job, 0);
        self.jobs_finish_within.map_or(i64::MAX, |limit| submitted + within(&mut draw, limit))
    }

    /// The part of the whole time after which a group of signatures first runs, 0 to 1.
    pub(crate) fn first_run(&self, group: u64) -> f64 {
        self.chosen(domain::NEW_SIGNATURE, group, self.new_signature_share).map_or(0.0, |mut draw| draw.unit())
    }

    /// When a signature is deleted, of data in this span; seconds. Not with its parent: that is up to the caller.
    pub(crate) fn vanishing(&self, signature: u64, (start, end): (i64, i64)) -> i64 {
        let span = u64::try_from(end.saturating_sub(start)).unwrap_or(0);
        let chosen = self.chosen(domain::VANISHING, signature, self.vanishing_signature_share);
        chosen.map_or(i64::MAX, |mut draw| start.saturating_add_unsigned(span / 10 + draw.below(span / 10 * 9)))
    }

    /// The changes of an alert summary that was created at this second.
    pub(crate) fn alert(&self, id: u64, created: i64) -> AlertChanges {
        let time = |draw: &mut Draw| created.saturating_add(within(draw, self.alert_changes_within));
        let once =
            |domain: u64, share: f64| self.chosen(domain, id, share).map_or(i64::MAX, |mut draw| time(&mut draw));
        let edits = self.chosen(domain::EDIT, id, self.edited_alert_share).map(|mut draw| {
            let mut times = [time(&mut draw), time(&mut draw), time(&mut draw)];
            times.sort_unstable();
            times
        });
        AlertChanges {
            edits,
            reassigned: once(domain::REASSIGN, self.reassigned_alert_share),
            deleted: once(domain::DELETE, self.deleted_alert_share),
        }
    }
}

/// The times of the changes of an alert summary, seconds; [`i64::MAX`] for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlertChanges {
    /// `None` if the summary has its final fields from the start.
    pub(crate) edits: Option<[i64; 3]>,
    pub(crate) reassigned: i64,
    pub(crate) deleted: i64,
}

impl AlertChanges {
    /// The number of edits that are still to come.
    pub(crate) fn num_to_come(&self, now: i64) -> usize {
        self.edits.map_or(0, |times| times.into_iter().filter(|time| *time > now).count())
    }
}

/// When a job and its data appear, and when the job is deleted: from this second on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) appears: i64,
    pub(crate) expires: i64,
}

/// A time at which the data are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsOf<'a> {
    /// Seconds since the epoch.
    pub(crate) now: i64,
    pub(crate) history: &'a History,
    /// Whether jobs are there that were deleted before: data have their fields as first seen.
    pub(crate) keeps_jobs: bool,
}

impl AsOf<'_> {
    pub(crate) fn has_appeared(&self, life: &Life) -> bool {
        life.appears <= self.now
    }

    pub(crate) fn is_expired(&self, life: &Life) -> bool {
        life.expires <= self.now && !self.keeps_jobs
    }

    pub(crate) fn has_job(&self, life: &Life) -> bool {
        self.has_appeared(life) && !self.is_expired(life)
    }
}

/// The domains of random numbers; the generator has others. `fate` has 101 and 102 too, but draws for requests.
mod domain {
    pub(super) const LATE: u64 = 101;
    pub(super) const FINISH: u64 = 102;
    pub(super) const NEW_SIGNATURE: u64 = 103;
    pub(super) const VANISHING: u64 = 104;
    pub(super) const EDIT: u64 = 105;
    pub(super) const REASSIGN: u64 = 106;
    pub(super) const DELETE: u64 = 107;
}

/// From one second to the limit.
fn within(draw: &mut Draw, limit: Duration) -> i64 {
    1 + i64::try_from(draw.below(limit.as_secs())).unwrap_or(i64::MAX - 1)
}

pub(crate) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
