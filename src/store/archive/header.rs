//! The parts of an archive around its entries: versions and header before them, a checksum after them.

use serde::{Deserialize, Serialize};

use crate::store::{CrawlIdentity, Tally};

/// Version of the archive's format. Newer ones are refused.
pub(super) const ARCHIVE_FORMAT_VERSION: u32 = 1;

/// Version of the keys and values in an archive with replicates, the newest one; also the value of [`FORMAT_KEY`].
pub(super) const CONTENT_VERSION: u32 = 5;

/// The first version with harvests in the keys: that of archives without replicates.
pub(super) const CONTENT_WITH_HARVESTS: u32 = 4;

/// The key in `meta` that holds the version of the content. A store has another key for the version of its format.
pub(super) const FORMAT_KEY: &[u8] = b"format";

pub(super) const MAGIC: [u8; 8] = *b"PHSTORE\n";

/// Magic, versions, length of the header.
pub(super) const PREAMBLE_BYTES: usize = 8 + 4 + 4 + 4;

/// The checksum at the end.
pub(super) const TRAILER_BYTES: usize = 16;

/// The description of the archived store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveHeader {
    /// Random id of the store, 32 hex digits.
    pub store_id: String,
    /// `None` for an empty store.
    pub identity: Option<CrawlIdentity>,
    /// At the time of the export.
    pub counts: Tally,
}

/// The size of an archive.
#[derive(Clone, Debug)]
pub struct ArchiveSummary {
    /// The archived store.
    pub header: ArchiveHeader,
    /// Pairs of key and value.
    pub num_entries: u64,
    /// Length of all keys and values, bytes.
    pub raw_bytes: u64,
    /// Length of the file, bytes.
    pub file_bytes: u64,
}
