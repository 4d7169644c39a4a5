//! The archive: a whole store as one compressed, checksummed file; a backup of data that the server deletes.
//!
//! In: a store. Out: a file ([`write()`]), and from the file a store ([`read`]) that gives the same artifacts and can be
//! crawled further. The new store keeps the id of the archived one, so it continues with the same output folder. The same
//! store gives the same bytes. Memory does not grow with the store: keys are listed from the trees of small values, and
//! each record is read by its key.
//!
//! # Format, byte by byte
//! Integers are little-endian. Nothing may follow the last byte.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | the magic `PHSTORE\n` |
//! | 4 | version of the archive's format: 1 |
//! | 4 | version of the keys and values: 4 (1 to 3 are read too: they lack the number of the harvest in the keys of summaries) |
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
//! | 1 | the tree, by its number in the list of `trees.rs` + 1: 1 meta, 2 pending, 3 settled, … |
//! | 2 | length of the key |
//! | 4 | length of the value |
//! | … | the key |
//! | … | the value without its frame (see `frame`); nothing for `signature_ids` |
//!
//! Trees come in the order of their numbers, but records last, with keys ascending; records come in the order of the
//! settled requests that they answer, then the signatures, the other alert summaries and the history. Records that nothing
//! refers to (after an interrupted write) are left out. After the last entry: a byte 0, and 8 bytes with the number of
//! entries.

mod entry;
mod error;
mod header;
mod read;
mod write;

pub(crate) use entry::check_entries;
pub use error::ArchiveError;
pub use header::{ArchiveHeader, ArchiveSummary};
pub use read::{merge, read};
pub use write::write;

#[cfg(test)]
mod tests;
