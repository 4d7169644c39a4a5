//! The kinds of damage.

use crate::model::Request;

/// A stored value that is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A settled request whose records are damaged or incomplete.
    Answer {
        /// The settled request.
        request: Request,
        /// The check that failed.
        reason: String,
    },
    /// A request's small value.
    State {
        /// `settled`, `pending`, `failed`, `provenance` or `set_aside`.
        tree: &'static str,
        /// A request's key, in `set_aside` with the record's id, unless it is damaged too.
        key: Vec<u8>,
        /// The check that failed.
        reason: String,
    },
    /// A request that is in a later state too, or a summary whose window overlaps another one of the same signature that is
    /// settled: the data would be counted twice.
    Twice {
        /// `pending`, `failed`, or for a window within another one `settled`.
        tree: &'static str,
        /// The request to remove from the tree.
        request: Request,
    },
    /// A signature's id or its record. All lists of signatures count as damaged then.
    Signature {
        /// Key in the tree `signature_ids`.
        key: Vec<u8>,
        /// The check that failed.
        reason: String,
    },
    /// An entry of the push table. An answer that refers to it counts as damaged then; asked again, it brings the revision for
    /// all others.
    Push {
        /// Key in the tree `pushes`.
        key: Vec<u8>,
        /// The check that failed.
        reason: String,
    },
    /// A record that no request brings back: an earlier version of a record, lines of a change feed, the order of the alert
    /// summaries. A repair removes it.
    History {
        /// Key in the tree `records`.
        key: Vec<u8>,
        /// The check that failed.
        reason: String,
    },
    /// A part of the store's description of itself.
    Description {
        /// `identity`, `tally`, …
        part: &'static str,
        /// The check that failed.
        reason: String,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer { request, reason } => write!(f, "{request}: {reason}"),
            Self::Twice { tree, request } => {
                write!(f, "{request}: its entry in the tree {tree} duplicates another one")
            }
            Self::State { reason, .. } | Self::Push { reason, .. } | Self::Signature { reason, .. } => {
                f.write_str(reason)
            }
            Self::History { reason, .. } => write!(f, "the history of the store: {reason}"),
            Self::Description { part, reason } => write!(f, "the store's {part}: {reason}"),
        }
    }
}
