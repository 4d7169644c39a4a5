//! The version of the store's format, and the keys of the tree `meta`, in which a store describes itself.

/// Version of the store's format.
pub const STORE_FORMAT_VERSION: u32 = 5;

/// The oldest format that is read. It has no replicates; format 4 has no bundles of values. A store gets the newest one when
/// it is compacted or when replicates are pinned.
pub(super) const OLDEST_FORMAT: u32 = 3;

pub(super) const META_FORMAT: &[u8] = b"format_version";
pub(super) const META_IDENTITY: &[u8] = b"identity";
pub(super) const META_COUNTS: &[u8] = b"counts";
pub(super) const META_STORE_ID: &[u8] = b"store_id";
pub(super) const META_BUSIEST: &[u8] = b"busiest";
/// The harvests.
pub(super) const META_HARVESTS: &[u8] = b"harvests";
/// Identity and tally of the last harvest, for readers while the next one is open.
pub(super) const META_SHOWN: &[u8] = b"shown";
/// Of the database alone: the part of the log that is in it.
pub(super) const META_APPLIED: &[u8] = b"applied.2";
/// The same in databases that could not have a packed part.
pub(super) const META_APPLIED_BEFORE: &[u8] = b"applied";

/// Versions from before the first release kept their format, 1 to 3, under this key.
pub(super) const META_DEVELOPMENT_FORMAT: &[u8] = b"format";
