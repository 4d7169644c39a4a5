//! The data of one signature and window, column by column: without loss, and small.
//!
//! In: [`DatumRecord`](crate::model::DatumRecord)s in any order, which is kept. Out: chunks of bytes ([`encode`]) that
//! [`Columns`] decodes again, only the columns that are wanted, into buffers that are used over and over. The chunks
//! are neither compressed nor checked against damage: [`super::frame`] does both.
//!
//! Decoding trusts nothing: arbitrary bytes give an error or data, never a panic, and never more memory than a fixed
//! multiple of their length.
//!
//! # Format
//! A version byte, the number of data (varint), then ten sections, each behind its length (varint), then zero bytes
//! until there are as many bytes as data, so that the length bounds what decoding allocates. Integers are packed as `integers` describes;
//! 64-bit words wrap around.
//!
//! | section | content |
//! |---|---|
//! | flags | the distinct flag bytes (count, bytes), then which of them each datum has |
//! | job ids | of the data that have one |
//! | ids | of all |
//! | values | of regular data: decimal integers and their scale, or bits |
//! | push timestamps | of all: seconds, then microseconds of the second |
//! | push ids | of all |
//! | revisions | those kept inline: the distinct ones (count, 20 bytes each), then which of them |
//! | submit times | of the data that have one, since the push timestamp: seconds, then microseconds |
//! | machine names | of the data that have one: the distinct ones, sorted and front-coded, then which of them |
//! | irregular | lengths of the texts of irregular data, then the texts |

mod decode;
mod encode;
mod integers;
mod names;
mod records;
mod values;
mod varint;

use std::ops::BitOr;

use thiserror::Error;

use crate::model::PushId;

pub use decode::{Columns, RevisionPlace};
pub use encode::{EncodedChunk, encode};
pub use records::PythonText;

/// The version of the format that [`encode`] writes.
const FORMAT_VERSION: u8 = 1;

/// The most data one chunk may hold, whatever the caller allows.
pub const MAX_DATA_PER_CHUNK: usize = 1 << 20;

/// What is known of a datum beside its numbers: bits of the flag byte.
mod flag {
    pub(super) const JOB: u8 = 1;
    pub(super) const SUBMIT_TIME: u8 = 1 << 1;
    pub(super) const MACHINE: u8 = 1 << 2;
    pub(super) const IRREGULAR: u8 = 1 << 3;
    /// The revision stands in the chunk; without this and [`NO_REVISION`], it is found by the push id.
    pub(super) const INLINE_REVISION: u8 = 1 << 4;
    pub(super) const NO_REVISION: u8 = 1 << 5;

    /// True when the bits do not contradict each other.
    pub(super) const fn is_valid(flags: u8) -> bool {
        let revisions = flags & (INLINE_REVISION | NO_REVISION);
        flags < 1 << 6
            && revisions != (INLINE_REVISION | NO_REVISION)
            && (flags & IRREGULAR == 0 || flags & MACHINE == 0)
            && (flags & IRREGULAR != 0 || flags & NO_REVISION == 0)
    }
}

/// Columns to decode; combine with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet(u16);

impl ColumnSet {
    /// Nothing but the number of data, and which are regular.
    pub const NONE: Self = Self(0);
    /// Job ids.
    pub const JOB_IDS: Self = Self(1);
    /// The data's own ids.
    pub const IDS: Self = Self(1 << 1);
    /// Measured values.
    pub const VALUES: Self = Self(1 << 2);
    /// When the pushes landed.
    pub const PUSH_TIMESTAMPS: Self = Self(1 << 3);
    /// Push ids.
    pub const PUSH_IDS: Self = Self(1 << 4);
    /// Revisions that are kept inline.
    pub const REVISIONS: Self = Self(1 << 5);
    /// When the jobs were submitted; includes [`ColumnSet::PUSH_TIMESTAMPS`], which they are relative to.
    pub const SUBMIT_TIMES: Self = Self(1 << 6 | 1 << 3);
    /// Names of machines.
    pub const MACHINE_NAMES: Self = Self(1 << 7);
    /// Texts of irregular data.
    pub const IRREGULAR: Self = Self(1 << 8);
    /// Every column.
    pub const ALL: Self = Self((1 << 9) - 1);

    /// True when all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for ColumnSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

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

const fn malformed(what: &'static str) -> ColumnsError {
    ColumnsError::Malformed { what }
}

#[cfg(test)]
mod tests;
