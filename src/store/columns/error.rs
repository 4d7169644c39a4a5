//! Why bytes cannot be decoded.

use thiserror::Error;

use super::format::FORMAT_VERSION;
use crate::model::PushId;

/// Bytes that are no chunk, or a chunk that cannot be turned into records.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// The bytes end before the chunk does.
    #[error("the chunk is cut off")]
    Truncated,
    /// Written by a newer version of this program.
    #[error("the chunk has format version {found}, and this program reads versions up to {FORMAT_VERSION}")]
    Version {
        /// The chunk's version.
        found: u8,
    },
    /// The bytes contradict the format.
    #[error("the chunk is damaged: {what}")]
    Malformed {
        /// What does not fit.
        what: &'static str,
    },
    /// The push table does not know a push that the chunk refers to.
    #[error("push {push_id} has no revision in the push table")]
    UnknownRevision {
        /// The push.
        push_id: PushId,
    },
    /// The text of an irregular datum is not JSON.
    #[error("the text of an irregular datum is not JSON")]
    Text(#[source] serde_json::Error),
}

pub(super) const fn malformed(what: &'static str) -> ColumnsError {
    ColumnsError::Malformed { what }
}
