//! The version of the format, and the columns that can be asked for.

use std::ops::BitOr;

/// Version of the chunks that [`super::encode`] writes.
pub(super) const FORMAT_VERSION: u8 = 2;

/// The version before, of chunks without harvests: archives have them.
pub(super) const WITHOUT_HARVESTS: u8 = 1;

/// The version of chunks with a column of replicates; all others are of [`FORMAT_VERSION`].
pub(super) const WITH_REPLICATES: u8 = 3;

/// Data per chunk of a stored summary: some 25 kB.
pub const DATA_PER_CHUNK: usize = 1024;

/// Maximum data per chunk, for any caller.
pub(super) const MAX_DATA_PER_CHUNK: usize = 1 << 20;

/// Columns to decode; combine with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet(u16);

impl ColumnSet {
    /// Only the number of data, and which of them are regular.
    pub const NONE: Self = Self(0);
    /// Job ids.
    pub const JOB_IDS: Self = Self(1);
    /// Ids of the data.
    pub const IDS: Self = Self(1 << 1);
    /// Measured values.
    pub const VALUES: Self = Self(1 << 2);
    /// Times at which the pushes landed.
    pub const PUSH_TIMESTAMPS: Self = Self(1 << 3);
    /// Push ids.
    pub const PUSH_IDS: Self = Self(1 << 4);
    /// Revisions that are kept inline.
    pub const REVISIONS: Self = Self(1 << 5);
    /// Times at which the jobs were submitted; includes [`ColumnSet::PUSH_TIMESTAMPS`], to which they are relative.
    pub const SUBMIT_TIMES: Self = Self(1 << 6 | 1 << 3);
    /// Names of machines.
    pub const MACHINE_NAMES: Self = Self(1 << 7);
    /// Texts of irregular data.
    pub const IRREGULAR: Self = Self(1 << 8);
    /// The harvests that saw the data, if the chunk has them.
    pub const HARVESTS: Self = Self(1 << 9);
    /// All rows of an answer with replicates; includes [`ColumnSet::VALUES`], which are those of the first rows.
    pub const REPLICATES: Self = Self(1 << 10 | 1 << 2);
    /// Every column.
    pub const ALL: Self = Self((1 << 11) - 1);

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
