//! The small values of the store: how a request was settled, why it failed, where an answer came from.

use serde::{Deserialize, Serialize};

use super::{Outcome, StoreError, frame, key};
use crate::model::{AlertSummaryId, Request, Timestamp};

/// How a request was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// With data, empty, gone, skipped.
    pub outcome: Outcome,
    /// Records that the answer held.
    pub num_records: u32,
    /// Stored chunks of a summary's columns.
    pub num_chunks: u16,
    /// Digest of the answer's content, with the request's key.
    pub digest: u128,
}

impl Settled {
    const BYTES: usize = 1 + 4 + 2 + 16;

    pub(super) fn seal(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(Self::BYTES);
        raw.push(self.outcome.to_byte());
        raw.extend_from_slice(&self.num_records.to_be_bytes());
        raw.extend_from_slice(&self.num_chunks.to_be_bytes());
        raw.extend_from_slice(&self.digest.to_be_bytes());
        frame::seal(&raw)
    }

    pub(super) fn open(key: &[u8], framed: &[u8]) -> Result<Self, StoreError> {
        let raw = open_frame("settled", key, framed)?;
        let read = || {
            let raw: &[u8; Self::BYTES] = raw.as_slice().try_into().ok()?;
            Some(Self {
                outcome: Outcome::from_byte(raw[0])?,
                num_records: u32::from_be_bytes(raw[1..5].try_into().ok()?),
                num_chunks: u16::from_be_bytes(raw[5..7].try_into().ok()?),
                digest: u128::from_be_bytes(raw[7..].try_into().ok()?),
            })
        };
        read().ok_or_else(|| StoreError::damaged("settled", key, "it is no settlement"))
    }
}

/// A request in the frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The request.
    pub request: Request,
    /// When the server will have been able to delete what is asked for, counted from its beginning: of jobs, the time the
    /// job was submitted. The oldest are asked first.
    pub submitted: Timestamp,
}

impl Pending {
    /// A request for what the server keeps.
    #[must_use]
    pub fn of(request: Request) -> Self {
        Self { request, submitted: Timestamp::default() }
    }
}

/// Why a request was given up for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The last error with its sources, printable.
    pub reason: String,
    /// A word for the kind of error: `timeout`, `http_502`, …
    pub label: String,
    /// The last HTTP status, where there was one.
    pub status: Option<u16>,
    /// Attempts of the run that gave it up, those of larger batches that held it included.
    pub attempts: u32,
    /// When the last attempt failed.
    pub failed_at: Timestamp,
    /// See [`Pending::submitted`].
    pub submitted: Timestamp,
}

/// Where an answer came from: kept apart from the records, which are the same whenever they are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// When the answer came.
    pub fetched_at: Timestamp,
    /// HTTP requests it took.
    pub attempts: u32,
    /// Bytes of the body, after decompression.
    pub body_bytes: u64,
    /// From sending to the last byte, milliseconds.
    pub latency_ms: u64,
}

/// A page of alert summaries as it was read: the count that the server told, and the ids in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPage {
    /// Summaries in the whole list.
    pub count: u64,
    /// Those of this page.
    pub ids: Vec<AlertSummaryId>,
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
