//! IMPORT: the files that the older scripts left, into an empty store.
//!
//! ```text
//!   perf_jobs_by_signature.jsonl -> BlockReader -> workers: rows, columns -> BulkWriter -> a store, in its place when whole
//!   all_signatures.jsonl, max_revision_jobs.jsonl -> lines ------------------^
//! ```
//!
//! What is whole is settled, as if it had been crawled; the next run does not ask for it again. What cannot be trusted is
//! not: an empty list may be a swallowed error, so its signature becomes pending; torn rows are counted and left out, and
//! a row that was appended behind a torn one is taken. The lists (signatures, alerts) stay pending, so the next run
//! completes what the files lack. [`ALERTS_NAME`] is not read: alerts never expire, and its Python literals have
//! lost what distinguishes null from an empty text.
//!
//! Streams: memory holds a few blocks of the file, and a few words a signature.

mod blocks;
mod compact;
mod data;
mod error;
mod folder;
mod lists;
mod report;
mod rows;

pub use error::ImportError;
pub use folder::{ImportSummary, import_folder};
pub use report::{ALERTS_NAME, DATA_NAME, FileReport, JOBS_NAME, SIGNATURES_NAME, TornLines};
