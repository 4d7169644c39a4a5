//! The flag byte of a datum, which marks its fields beside the numbers.

pub(super) const JOB: u8 = 1;
pub(super) const SUBMIT_TIME: u8 = 1 << 1;
pub(super) const MACHINE: u8 = 1 << 2;
pub(super) const IRREGULAR: u8 = 1 << 3;
/// The chunk holds the revision; without this and [`NO_REVISION`], the push table does.
pub(super) const INLINE_REVISION: u8 = 1 << 4;
pub(super) const NO_REVISION: u8 = 1 << 5;
/// See [`crate::model::Seen`]; only in a chunk with harvests.
pub(super) const JOB_EXPIRED: u8 = 1 << 6;
pub(super) const UNLISTED: u8 = 1 << 7;

/// True when the bits do not contradict each other.
pub(super) const fn is_valid(flags: u8) -> bool {
    let revisions = flags & (INLINE_REVISION | NO_REVISION);
    revisions != (INLINE_REVISION | NO_REVISION)
        && (flags & IRREGULAR == 0 || flags & MACHINE == 0)
        && (flags & IRREGULAR != 0 || flags & NO_REVISION == 0)
}
