//! The archive: a whole store as one compressed, checksummed file. It is the backup of what the server has since deleted.
//!
//! In: a store. Out: a file ([`write()`]), and from it a store that gives the same artifacts and can be crawled on
//! ([`read`]). The same store gives the same bytes. Memory does not grow with the store: keys are listed from the trees
//! of small values, and each record is read by its key.
//!
//! # Format, byte by byte
//! Integers are little-endian. Nothing may follow the last byte.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | the magic `PHSTORE\n` |
//! | 4 | version of the archive's format: 1 |
//! | 4 | version of the keys and values: 2 (1 is the same, and is read) |
//! | 4 | length of the header |
//! | … | the header: JSON, `{"store_id", "identity", "counts"}`, as in the store's `ledger.json` |
//! | 8 | XXH3-64 of all bytes before this |
//! | … | one zstd frame, with its own content checksum, up to the last 16 bytes: the entries |
//! | 16 | XXH3-128 of all bytes before this |
//!
//! An entry:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the tree: 1 meta, 2 pending, 3 settled, 4 failed, 5 provenance, 6 `signature_ids`, 7 pushes, 8 records |
//! | 2 | length of the key |
//! | 4 | length of the value |
//! | … | the key |
//! | … | the value as it is before `frame` seals it; of `signature_ids`, nothing |
//!
//! Trees come in the order of their numbers, keys ascending; records in the order of the settled requests that they
//! answer, signatures last. Records that no settled request leads to (a write that was cut short) are left out. After the
//! last entry: a byte 0, and 8 bytes with the number of entries.

mod entry;
mod read;
mod write;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Counts, CrawlIdentity, StoreError};

pub use read::read;
pub use write::write;

/// Version of the archive's format. A newer one is not read.
pub const ARCHIVE_FORMAT_VERSION: u32 = 1;

/// Version of the keys and values in an archive; also the value of [`FORMAT_KEY`].
const CONTENT_VERSION: u32 = 2;

/// The key in `meta` that tells the content's version. A store has another one for its own format.
const FORMAT_KEY: &[u8] = b"format";

const MAGIC: [u8; 8] = *b"PHSTORE\n";

/// Magic, versions, length of the header.
const PREAMBLE_BYTES: usize = 8 + 4 + 4 + 4;

/// The checksum at the end.
const TRAILER_BYTES: usize = 16;

/// Why an archive cannot be written or read. Exit code 4; [`ArchiveError::NoArchive`] and [`ArchiveError::Read`] 2.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store cannot be read or made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Write {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is no archive of a store; `perfharvest export --format archive` makes one", path.display())]
    NoArchive {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("{} has {what} {found}, and this program reads {what} {known}; use a newer perfharvest", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Which of its formats.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// The file is torn or altered.
    #[error("the archive {} is damaged: {reason}; nothing of it was taken in: use another copy of it, or export the store again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The run was ended; nothing is left of it.
    #[error("interrupted; nothing was kept of what was begun")]
    Interrupted,
    /// A thread panicked.
    #[error("a part of the archive's machinery stopped unexpectedly; please report this")]
    WorkerPanicked,
}

/// What an archive says of the store in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveHeader {
    /// Which store it was made of.
    pub store_id: String,
    /// The crawl; `None` for an empty store.
    pub identity: Option<CrawlIdentity>,
    /// The tally.
    pub counts: Counts,
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

#[cfg(test)]
mod tests;
