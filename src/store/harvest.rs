//! A harvest, as the store describes it.

use serde::{Deserialize, Serialize};

use super::Tally;
use crate::config::WindowConfig;
use crate::model::{FIRST_HARVEST, Kind, Request, Timestamp};

/// One harvest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harvest {
    /// From 1, without gaps.
    pub number: u16,
    /// Only data with a push time before this are fetched.
    pub data_end: Timestamp,
    /// When it was opened.
    pub began_at: Timestamp,
    /// How it asks for data that came late.
    #[serde(flatten)]
    pub lateness: Lateness,
    /// HTTP requests that the store had cost when it was opened.
    pub attempts_before: u64,
    /// Data that the store had when it was opened.
    pub data_before: u64,
    /// Its data came from files, which go only so far: the next run asks for what came since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_imported: bool,
    /// Its answers are being joined with those before, so that neither harvest can be shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_joining: bool,
    /// When its answers were joined with those before; `None` while it is open. Requests that failed may be answered later.
    pub joined_at: Option<Timestamp>,
    /// When nothing was left to ask, failed requests included.
    pub finished_at: Option<Timestamp>,
    /// HTTP requests that it took, those that failed included; 0 while it is open.
    pub requests: u64,
    /// Data that it added; 0 while it is open.
    pub data_added: u64,
    /// Alert summaries of the list with a push up to `data_end`; 0 while it is open. The list itself has later ones, too.
    pub num_alerts: u64,
}

/// Treeherder does not tell of data that arrive late for old pushes: a later harvest looks for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    /// Seconds before the newest known push of a signature from which its data are asked for again.
    pub overlap_secs: i64,
    /// Seconds after which a signature without newer data is asked again, if it had data within the overlap before its last
    /// reading.
    pub late_check_secs: i64,
    /// Every signature is asked again, over the whole window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_full: bool,
}

impl Lateness {
    /// As configured.
    #[must_use]
    pub fn of(window: &WindowConfig, is_full: bool) -> Self {
        let secs = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { overlap_secs: secs(window.overlap), late_check_secs: secs(window.late_check), is_full }
    }

    /// The start of the overlap before `end`.
    #[must_use]
    pub fn overlap_before(&self, end: Timestamp) -> Timestamp {
        end.plus_secs(self.overlap_secs.saturating_neg())
    }

    /// The lists of moved signatures after a harvest that ended at `previous_end`: since that end, and since the overlap
    /// before it. A datum that was pushed before the end, and came after it, moves its signature only in the second one.
    #[must_use]
    pub fn lists_of_moved(&self, previous_end: Timestamp) -> [Request; 2] {
        [previous_end, self.overlap_before(previous_end)].map(|since| Request::MovedSignatures { since })
    }
}

impl Harvest {
    pub(super) fn first(data_end: Timestamp, began_at: Timestamp) -> Self {
        Self {
            number: FIRST_HARVEST,
            data_end,
            began_at,
            lateness: Lateness::default(),
            attempts_before: 0,
            data_before: 0,
            is_imported: false,
            is_joining: false,
            joined_at: None,
            finished_at: None,
            requests: 0,
            data_added: 0,
            num_alerts: 0,
        }
    }

    /// True while its requests may be pending.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.joined_at.is_none()
    }

    /// Notes that it has come to its end, with `counts`.
    pub(super) fn join(&mut self, counts: &Tally, now: Timestamp) {
        self.is_joining = false;
        self.joined_at = self.joined_at.or(Some(now));
        self.requests = num_attempts(counts).saturating_sub(self.attempts_before);
        self.data_added = counts.of(Kind::Summaries).records.saturating_sub(self.data_before);
    }
}

pub(super) fn num_attempts(counts: &Tally) -> u64 {
    Kind::ALL.iter().map(|kind| counts.of(*kind).attempts).sum()
}
