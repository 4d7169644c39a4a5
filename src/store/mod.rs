//! 3. STORE: every answer, durably and once.
//!
//! Answers go in through one writer actor ([`StoreWriter`]); a request moves `pending -> settled | failed` in the same
//! transaction that inserts its records and the requests found in them; the transaction is flushed before it is
//! acknowledged. Reducers read records by key. The only folder with sled.
//!
//! Layout of the store's folder: `db/` is sled's, `values` holds the records' bytes (`ValueLog`), `ledger.json` says from
//! outside what must be inside (`Ledger`). Trees: `meta`, `pending`, `settled`, `failed`, `provenance`, `signature_ids`,
//! `pushes` hold small values and can be listed; `records` says where in `values` the rest is, in pieces.

pub mod archive;
mod bulk;
pub mod columns;
mod counts;
mod database;
mod error;
mod format;
pub mod frame;
mod identity;
mod incoming;
mod key;
mod ledger;
mod open;
mod read;
mod repair;
mod settlement;
mod staging;
mod survey;
mod value;
mod value_log;
mod verify;
mod writer;

pub use bulk::BulkWriter;
pub use counts::{Counts, KindCounts, Outcome};
pub use database::Store;
pub use error::StoreError;
pub use format::STORE_FORMAT_VERSION;
pub use identity::CrawlIdentity;
pub use incoming::Incoming;
pub use ledger::Ledger;
pub use read::SettledSummary;
pub use repair::Repair;
pub use settlement::{Settlement, SignatureListing, job_pending};
pub use survey::Damage;
pub use value::{Failure, Pending, Provenance, Settled, StoredPage};
pub use verify::{Finding, Remedy, verify_store};
pub use writer::{Change, StoreEvent, StoreHandle, StoreWriter};
