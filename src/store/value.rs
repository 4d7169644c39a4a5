//! The small values of the store: settlements, failures, and the origin of answers.

use serde::{Deserialize, Serialize};

use super::{Outcome, StoreError, frame, key};
use crate::model::{AlertSummaryId, FIRST_HARVEST, Request, Timestamp};

/// Key and framed value of a record.
pub(super) type FramedRecord = (Vec<u8>, Vec<u8>);

/// The settlement of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Never a failure.
    pub outcome: Outcome,
    /// Records in the answer.
    pub num_records: u32,
    /// Stored chunks of a summary's columns.
    pub num_chunks: u16,
    /// Digest of the answer's content and the request's key.
    pub digest: u128,
    /// Number of the harvest that stored it, from 1.
    pub harvest: u16,
    /// The answer may still change: a job that was not completed.
    pub may_change: bool,
    /// Of a summary with data: the time of its newest push.
    pub newest_push: Option<Timestamp>,
}

impl Settled {
    /// Outcome, numbers and digest. The harvest (2 bytes) follows unless it is the first, then the newest push (8 bytes), if any.
    const LEAST_BYTES: usize = 1 + 4 + 2 + 16;

    /// Set in the byte of the outcome.
    const MAY_CHANGE: u8 = 0x80;

    pub(super) fn seal(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(Self::LEAST_BYTES + 2 + 8);
        raw.push(self.outcome.to_byte() | if self.may_change { Self::MAY_CHANGE } else { 0 });
        raw.extend_from_slice(&self.num_records.to_be_bytes());
        raw.extend_from_slice(&self.num_chunks.to_be_bytes());
        raw.extend_from_slice(&self.digest.to_be_bytes());
        if self.harvest != FIRST_HARVEST {
            raw.extend_from_slice(&self.harvest.to_be_bytes());
        }
        if let Some(pushed) = self.newest_push {
            raw.extend_from_slice(&pushed.as_micros().to_be_bytes());
        }
        frame::seal(&raw)
    }

    pub(super) fn open(key: &[u8], framed: &[u8]) -> Result<Self, StoreError> {
        let raw = open_frame("settled", key, framed)?;
        let read = || {
            let (least, mut rest) = raw.split_at_checked(Self::LEAST_BYTES)?;
            let (mut harvest, mut newest_push) = (FIRST_HARVEST, None);
            if rest.len() % 8 == 2 {
                let (number, behind) = rest.split_first_chunk()?;
                (harvest, rest) = (u16::from_be_bytes(*number), behind);
            }
            if !rest.is_empty() {
                newest_push = Some(Timestamp::from_micros(i64::from_be_bytes(rest.try_into().ok()?)));
            }
            Some(Self {
                outcome: Outcome::from_byte(least[0] & !Self::MAY_CHANGE)?,
                num_records: u32::from_be_bytes(least[1..5].try_into().ok()?),
                num_chunks: u16::from_be_bytes(least[5..7].try_into().ok()?),
                digest: u128::from_be_bytes(least[7..].try_into().ok()?),
                harvest,
                may_change: least[0] & Self::MAY_CHANGE != 0,
                newest_push,
            })
        };
        read().ok_or_else(|| StoreError::damaged("settled", key, "it is not a settlement"))
    }
}

/// A request in the frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// In no other state.
    pub request: Request,
    /// When the job was submitted, from which the server counts until it deletes the job; the epoch for other kinds. The
    /// oldest are asked first.
    pub submitted: Timestamp,
}

impl Pending {
    /// A request for an object that the server never deletes.
    #[must_use]
    pub fn of(request: Request) -> Self {
        Self { request, submitted: Timestamp::default() }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The last error with its sources, for people.
    pub reason: String,
    /// The kind of error: `timeout`, `http_502`, …
    pub label: String,
    /// The last HTTP status, if any.
    pub status: Option<u16>,
    /// Attempts in all runs, including those of larger batches with this request.
    pub attempts: u32,
    /// When the last attempt failed.
    pub failed_at: Timestamp,
    /// See [`Pending::submitted`].
    pub submitted: Timestamp,
}

/// A record of an answer that was not stored as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The correction, or the reason why the record cannot be used.
    pub reason: String,
    /// The original text of the record, up to 64 KiB.
    pub text: String,
    /// True if the record was stored with a correction.
    pub corrected: bool,
    /// When the answer arrived.
    pub fetched_at: Timestamp,
}

/// The origin of an answer. It is kept apart from the records, which are the same whenever they are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// When the answer arrived.
    pub fetched_at: Timestamp,
    /// HTTP requests, failed ones included.
    pub attempts: u32,
    /// Bytes of the body, after decompression.
    pub body_bytes: u64,
    /// From sending to the last byte, milliseconds.
    pub latency_ms: u64,
}

/// A page of alert summaries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPage {
    /// Length of the whole list, according to the server.
    pub count: u64,
    /// Ids of this page, in their order.
    pub ids: Vec<AlertSummaryId>,
    /// Ids of its records that were set aside, or numbers that stand for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<AlertSummaryId>,
}

pub(super) fn open_frame(tree: &'static str, key: &[u8], framed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut raw = Vec::new();
    frame::open(framed, &mut raw).map_err(|source| StoreError::Damaged {
        tree,
        key: key::describe(key),
        reason: source.to_string(),
    })?;
    Ok(raw)
}

pub(super) fn seal_json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map(|raw| frame::seal(&raw)).map_err(|source| StoreError::Encode { source })
}

pub(super) fn open_json<T: for<'de> Deserialize<'de>>(
    tree: &'static str,
    key: &[u8],
    framed: &[u8],
) -> Result<T, StoreError> {
    let raw = open_frame(tree, key, framed)?;
    serde_json::from_slice(&raw).map_err(|source| StoreError::damaged(tree, key, &source.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_settlement_comes_back(
            outcome in 0..4_u8, num_records: u32, num_chunks: u16, digest: u128, harvest: u16, may_change: bool,
            newest_push in proptest::option::of(any::<i64>().prop_map(Timestamp::from_micros)),
        ) {
            let outcome = Outcome::from_byte(outcome).unwrap();
            let settled = Settled { outcome, num_records, num_chunks, digest, harvest, may_change, newest_push };
            prop_assert_eq!(Settled::open(b"f", &settled.seal()).unwrap(), settled);
        }
    }
}
