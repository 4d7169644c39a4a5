//! IMPORT: files of the older scripts, into an empty store or merged into another.
//!
//! ```text
//!   perf_jobs_by_signature.jsonl -> BlockReader -> workers: rows, columns -> BulkWriter -> a store, moved to its path when complete
//!   all_signatures.jsonl, max_revision_jobs.jsonl -> lines ------------------^
//! ```
//!
//! Complete rows are settled as if they had been crawled; the next run does not ask for them again. A datum that cannot be
//! read is set aside, counted and named. The original text of a datum that is set aside or corrected is stored, as after a
//! crawl. An empty list may be a swallowed error, so its signature becomes pending. Torn rows are counted and left out; a
//! row that was appended to a torn one is imported. The lists (signatures, alerts) stay pending, so the next run fetches
//! whatever the files lack, and the server's own records in place of corrected signatures.
//! [`ALERTS_NAME`] is not read: alerts never expire, and its Python literals do not distinguish null from an empty text.
//!
//! Memory holds a few blocks of a file, and a few words per signature.

mod blocks;
mod compact;
mod data;
mod data_end;
mod error;
mod folder;
mod lists;
mod manifest;
mod report;
mod rows;

pub use error::ImportError;
pub use folder::{ImportSummary, import_folder, merge_folder};
pub use report::{ALERTS_NAME, DATA_NAME, EndProof, FileReport, JOBS_NAME, NamedLines, SIGNATURES_NAME};
pub(crate) use rows::read_data;
