//! The errors of decoding.

use thiserror::Error;

use super::format::WITH_REPLICATES;
use crate::model::PushId;

/// Why bytes cannot be decoded, or a chunk cannot be turned into records.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// The bytes end before the chunk does.
    #[error("the chunk is cut off")]
    Truncated,
    /// Another version of the program wrote the chunk.
    #[error("the chunk has format version {found}, but this program reads versions up to {WITH_REPLICATES}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// The bytes contradict the format.
    #[error("the chunk is damaged: {what}")]
    Malformed {
        /// The check that failed.
        what: &'static str,
    },
    /// The text of an irregular datum cannot be read.
    #[error("the chunk has a text that is not JSON")]
    Text {
        /// Reason.
        #[source]
        source: serde_json::Error,
    },
    /// The push table lacks a push that the chunk refers to.
    #[error("push {push_id} has no revision in the push table")]
    UnknownRevision {
        /// The missing push.
        push_id: PushId,
    },
}

pub(super) const fn malformed(what: &'static str) -> ColumnsError {
    ColumnsError::Malformed { what }
}
