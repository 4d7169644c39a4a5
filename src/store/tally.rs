//! The tally of a crawl: numbers of pending, settled and failed requests by kind and outcome, and a digest of the settled
//! content that does not depend on the order of the answers.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Kind, NUM_KINDS};

/// The outcome of a settled request. A failed request is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server returned records.
    Data,
    /// The server has no records.
    Empty,
    /// The server does not have the object any more.
    Gone,
    /// Never asked: another answer shows that it is empty.
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
pub struct KindTally {
    /// Requests to ask.
    pub pending: u64,
    /// Settled requests with [`Outcome::Data`].
    pub data: u64,
    /// Settled requests with [`Outcome::Empty`].
    pub empty: u64,
    /// Settled requests with [`Outcome::Gone`].
    pub gone: u64,
    /// Settled requests with [`Outcome::Skipped`].
    pub skipped: u64,
    /// Failed requests; the next run asks again.
    pub failed: u64,
    /// Records stored.
    pub records: u64,
    /// Bytes of the stored answers as JSON.
    pub body_bytes: u64,
    /// HTTP requests, those that failed included.
    pub attempts: u64,
    /// Records of stored answers that were set aside.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub set_aside: u64,
    /// Records of stored answers that were stored with a correction.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub corrected: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(num: &u64) -> bool {
    *num == 0
}

impl KindTally {
    /// Settled requests of all outcomes.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.data + self.empty + self.gone + self.skipped
    }

    /// Requests in all states.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.settled() + self.pending + self.failed
    }

    pub(super) fn of_odd(&mut self, corrected: bool) -> &mut u64 {
        if corrected { &mut self.corrected } else { &mut self.set_aside }
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

/// Numbers of requests in each state, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Transactions committed since the store was created.
    pub commits: u64,
    #[serde(serialize_with = "used", deserialize_with = "used_or_default")]
    kinds: [KindTally; NUM_KINDS],
    /// Sums (wrapping) of the digests of all settled requests, by kind.
    #[serde(serialize_with = "used", deserialize_with = "used_or_default")]
    digests: [u128; NUM_KINDS],
    /// True when the last commit ended a crawl: no more requests follow from the stored answers. Those that follow from an
    /// answer are stored after it, so between the two nothing may be pending although the crawl is not finished.
    #[serde(default)]
    pub(super) finished: bool,
}

/// Kinds that each stored tally has; replicates were added later, and are left out where there are none.
const LEAST_KINDS: usize = 4;

fn used<T: Serialize + Default + PartialEq, S: Serializer>(
    all: &[T; NUM_KINDS],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let num = all.iter().rposition(|of| *of != T::default()).map_or(0, |last| last + 1);
    all[..num.max(LEAST_KINDS)].serialize(serializer)
}

fn used_or_default<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[T; NUM_KINDS], D::Error> {
    let mut all = Vec::<T>::deserialize(deserializer)?;
    let num = all.len();
    if num >= LEAST_KINDS {
        all.resize_with(num.max(NUM_KINDS), T::default);
    }
    all.try_into().map_err(|_| D::Error::invalid_length(num, &"one entry a kind of requests"))
}

impl Tally {
    /// The tally of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &KindTally {
        &self.kinds[kind.index()]
    }

    /// The kinds that a table lists: replicates only where they are asked for.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        let is_used = |kind: &Kind| *kind != Kind::Replicates || *self.of(*kind) != KindTally::default();
        Kind::ALL.into_iter().filter(is_used)
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut KindTally {
        &mut self.kinds[kind.index()]
    }

    /// A digest of the settled content of a kind. It does not depend on the order of the answers.
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

    /// True when both have the same numbers of requests and records, and the same digests.
    pub(super) fn same_frontier(&self, other: &Self) -> bool {
        let frontier = |counts: &KindTally| KindTally { body_bytes: 0, attempts: 0, ..*counts };
        self.digests == other.digests && self.kinds.each_ref().map(frontier) == other.kinds.each_ref().map(frontier)
    }

    /// Pending requests of all kinds.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.pending).sum()
    }

    /// Failed requests of all kinds.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.failed).sum()
    }

    /// Records of all kinds that were set aside.
    #[must_use]
    pub fn set_aside(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.set_aside).sum()
    }

    /// Records of all kinds that were stored with a correction.
    #[must_use]
    pub fn corrected(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.corrected).sum()
    }

    /// True when the crawl is finished and nothing is pending or failed: the artifacts of this store lack nothing that the
    /// crawl could have fetched. Records that were set aside are missing all the same.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.finished && self.pending() == 0 && self.failed() == 0 && self.settled() > 0
    }

    /// True when the crawl is complete and no record was set aside.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_complete() && self.set_aside() == 0
    }

    /// Settled requests of all kinds.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.kinds.iter().map(KindTally::settled).sum()
    }
}
