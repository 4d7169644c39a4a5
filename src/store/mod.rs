//! 3. STORE: keeps every answer, durably and once. The only folder with sled.
//!
//! Answers go in through one writer actor ([`StoreWriter`]). A request moves `pending -> settled | failed` in the same
//! transaction that inserts its records and the requests found in them; the transaction is flushed before it is
//! acknowledged. Reducers read records by key.
//!
//! A store is a folder: `values` is the log of all changes, with the bytes of the records (`ValueLog`); `db/` belongs to sled
//! and its packed part (`packed`), and can be rebuilt from the log (`index`); `ledger.json` records from outside how much must be in both (`Ledger`).
//! The trees `meta`, `pending`, `settled`, `failed`, `provenance`, `signature_ids`, `pushes` and `set_aside` hold small values
//! and can be listed; `records` holds the places of the records in `values`.

mod absorb;
mod alert_listing;
pub mod archive;
mod bulk;
mod bundle;
mod checkpoint;
mod chunks;
pub mod columns;
mod compact;
mod damage;
mod damage_kinds;
mod database;
mod error;
mod feed;
mod format;
pub mod frame;
mod group;
mod harvest;
mod harvests;
mod identity;
mod incoming;
mod index;
mod join;
mod key;
mod ledger;
mod listed_part;
mod lock;
mod merge;
mod merge_rows;
mod open;
mod packed;
mod panics;
mod read;
mod repair;
mod replay;
mod replicates;
mod series;
mod settlement;
mod signature_listing;
mod sled_open;
mod space;
mod staging;
mod tally;
mod tree;
mod trees;
mod value;
mod value_log;
mod verify;
mod versions;
mod view;
mod writer;

pub use absorb::Absorbed;
pub use bulk::BulkWriter;
pub use chunks::ChunkReader;
pub use compact::Compaction;
pub use damage_kinds::Damage;
pub use database::Store;
pub use error::StoreError;
pub use format::STORE_FORMAT_VERSION;
pub use harvest::{Harvest, Lateness};
pub use identity::CrawlIdentity;
pub use incoming::{Incoming, is_filled};
pub use ledger::Ledger;
pub use lock::Unavailable;
pub use merge::{DataChanges, DatumChange, DatumList, RowsChange, RowsChanges, Series, merge};
pub use read::SettledSummary;
pub use repair::Repair;
pub use replicates::{ReplicateReader, ReplicateRow, Row};
pub use series::{HarvestEnds, SeriesReader, StoredPart, is_whole};
pub use settlement::{Settlement, job_pending};
pub use signature_listing::SignatureListing;
pub use tally::{KindTally, Outcome, Tally};
pub use value::{Failure, Pending, Provenance, SetAside, Settled, StoredPage};
pub use verify::{Finding, Remedy, verify_store};
pub use versions::Version;
pub use writer::{Change, StoreEvent, StoreHandle, StoreWriter};
