//! The tally of a crawl: how many requests are pending, settled and how, and failed, by kind; and a digest of what is
//! settled that does not depend on the order in which it came.

use serde::{Deserialize, Serialize};

use crate::model::Kind;

/// How a request was settled. A failure is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server gave records.
    Data,
    /// The server has none.
    Empty,
    /// The server no longer has what was asked for.
    Gone,
    /// Known to be empty from another answer, so never asked.
    Skipped,
}

impl Outcome {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Empty => 1,
            Self::Gone => 2,
            Self::Skipped => 3,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Data, Self::Empty, Self::Gone, Self::Skipped].get(usize::from(byte)).copied()
    }
}

/// The tally of one kind of request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCounts {
    /// To be asked.
    pub pending: u64,
    /// Settled with records.
    pub data: u64,
    /// Settled: the server has none.
    pub empty: u64,
    /// Settled: the server no longer has it.
    pub gone: u64,
    /// Settled without asking.
    pub skipped: u64,
    /// Given up for now; the next run asks again.
    pub failed: u64,
    /// Records stored.
    pub records: u64,
    /// Bytes of JSON that were answered.
    pub body_bytes: u64,
    /// HTTP requests whose answers were stored, and those that failed before them.
    pub attempts: u64,
}

impl KindCounts {
    /// All that is settled.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.data + self.empty + self.gone + self.skipped
    }

    /// Everything known.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.settled() + self.pending + self.failed
    }

    pub(super) fn of_outcome(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Data => &mut self.data,
            Outcome::Empty => &mut self.empty,
            Outcome::Gone => &mut self.gone,
            Outcome::Skipped => &mut self.skipped,
        }
    }
}

/// The tally of a crawl.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Transactions committed since the store was created.
    pub commits: u64,
    kinds: [KindCounts; 4],
    /// Sums (wrapping) of the digests of all settled requests, by kind.
    digests: [u128; 4],
    /// True when the last commit ended a crawl: nothing follows from what is stored. What follows from an answer is stored
    /// after it, so in between nothing may be pending, and yet nothing is finished.
    #[serde(default)]
    pub(super) finished: bool,
}

impl Counts {
    /// The tally of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &KindCounts {
        &self.kinds[kind.index()]
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut KindCounts {
        &mut self.kinds[kind.index()]
    }

    /// A digest of what is settled of a kind: equal content, equal digest, whatever the order of the answers.
    #[must_use]
    pub fn digest(&self, kind: Kind) -> u128 {
        self.digests[kind.index()]
    }

    pub(super) fn add_digest(&mut self, kind: Kind, digest: u128) {
        let sum = &mut self.digests[kind.index()];
        *sum = sum.wrapping_add(digest);
    }

    pub(super) fn subtract_digest(&mut self, kind: Kind, digest: u128) {
        let sum = &mut self.digests[kind.index()];
        *sum = sum.wrapping_sub(digest);
    }

    /// Do both tell of the same frontier and content?
    pub(super) fn same_frontier(&self, other: &Self) -> bool {
        let frontier = |counts: &KindCounts| KindCounts { body_bytes: 0, attempts: 0, ..*counts };
        self.digests == other.digests && self.kinds.each_ref().map(frontier) == other.kinds.each_ref().map(frontier)
    }

    /// Requests to be asked, of all kinds.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.pending).sum()
    }

    /// Requests given up for now, of all kinds.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.failed).sum()
    }

    /// True when nothing failed and nothing is left to ask, nor to be worked out: what is made of the store lacks nothing
    /// that the crawl could have brought.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.finished && self.pending() == 0 && self.failed() == 0 && self.settled() > 0
    }

    /// Requests settled, of all kinds.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.kinds.iter().map(KindCounts::settled).sum()
    }
}
