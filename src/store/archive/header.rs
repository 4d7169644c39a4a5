//! What stands around an archive's entries: versions and header before, a checksum behind.

use serde::{Deserialize, Serialize};

use crate::store::{CrawlIdentity, Tally};

/// Version of the archive's format. A newer one is not read.
pub const ARCHIVE_FORMAT_VERSION: u32 = 1;

/// Version of the keys and values in an archive; also the value of [`FORMAT_KEY`].
pub(super) const CONTENT_VERSION: u32 = 2;

/// The key in `meta` that tells the content's version. A store has another one for its own format.
pub(super) const FORMAT_KEY: &[u8] = b"format";

pub(super) const MAGIC: [u8; 8] = *b"PHSTORE\n";

/// Magic, versions, length of the header.
pub(super) const PREAMBLE_BYTES: usize = 8 + 4 + 4 + 4;

/// The checksum at the end.
pub(super) const TRAILER_BYTES: usize = 16;

/// What an archive says of the store in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveHeader {
    /// Which store it was made of.
    pub store_id: String,
    /// The crawl; `None` for an empty store.
    pub identity: Option<CrawlIdentity>,
    /// The tally.
    pub counts: Tally,
}

/// What an archive holds.
#[derive(Clone, Debug)]
pub struct ArchiveSummary {
    /// Its header.
    pub header: ArchiveHeader,
    /// Keys with their values.
    pub num_entries: u64,
    /// Length of all of these, bytes.
    pub raw_bytes: u64,
    /// Length of the file, bytes.
    pub file_bytes: u64,
}
