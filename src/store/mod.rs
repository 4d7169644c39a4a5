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

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{PoisonError, RwLock};

use sled::{Db, Tree};
use thiserror::Error;

pub use bulk::BulkWriter;
pub use counts::{Counts, KindCounts, Outcome};
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

use crate::model::{PushId, PushRevisions, Revision};
use value::{open_json, seal_json};
use value_log::ValueLog;

/// Version of the store's format. This program reads no other.
pub const STORE_FORMAT_VERSION: u32 = 1;

/// Why the store could not do what it was asked. Exit code 4; [`StoreError::OtherCrawl`], [`StoreError::Missing`] and
/// [`StoreError::NotEmpty`] 2.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder or its files cannot be used.
    #[error("cannot use the store {}", path.display())]
    Folder {
        /// The store.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no store.
    #[error("there is no store at {}; `perfharvest crawl` makes one", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something is taken in that takes an empty store.
    #[error("{} is not empty; what is imported takes a store of its own: name another with --store", path.display())]
    NotEmpty {
        /// The store.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("the store {} is in use by another process; wait for it or stop it (`perfharvest status` shows what it does)", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// sled cannot open its files.
    #[error("the store {} is damaged and cannot be opened: {reason}; `perfharvest verify --repair` mends what can be mended", path.display())]
    Unopenable {
        /// The store.
        path: PathBuf,
        /// What sled said.
        reason: String,
    },
    /// It was written before the first release, whose format is another.
    #[error("the store {} was written by a development version of perfharvest, whose format this version does not read; export it with that version (`perfharvest export --format archive`) and import the archive with this one, or crawl anew into another --store", path.display())]
    DevelopmentFormat {
        /// The store.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("the store {} has format {found}, and this program reads format {STORE_FORMAT_VERSION}; use the perfharvest that wrote it, or a newer one", path.display())]
    OtherFormat {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The ledger knows of commits that the store does not hold.
    #[error("the store {} has lost data: its ledger knows {expected} commits, the database holds {found}; restore both from the same backup, or accept the loss with `perfharvest verify --repair`", path.display())]
    BehindLedger {
        /// The store.
        path: PathBuf,
        /// Commits in the ledger.
        expected: u64,
        /// Commits in the database.
        found: u64,
    },
    /// The value log is shorter than the database knows.
    #[error("the store {} has lost data: its file `values` {}, the database knows {expected} bytes; restore the store from a backup, or accept the loss with `perfharvest verify --repair`", path.display(), found.map_or_else(|| "is missing".to_owned(), |found| format!("has {found} bytes")))]
    ValuesCut {
        /// The store.
        path: PathBuf,
        /// Bytes that the database knows.
        expected: u64,
        /// Bytes in the file; `None` when there is none.
        found: Option<u64>,
    },
    /// Something else stands where the value log should be.
    #[error("{} is no regular file, so it cannot hold the store's values; move it away and put back the file that was there, or accept the loss with `perfharvest verify --repair`", path.display())]
    NoFile {
        /// What stands there.
        path: PathBuf,
    },
    /// The disk does not give a value back.
    #[error("cannot read {} at byte {offset}: the disk may be failing; copy the store to another disk, or, where it is lost, accept that with `perfharvest verify --repair`, and it is asked for again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The ledger is missing, unreadable, or that of another store.
    #[error("the ledger {} {reason}; `perfharvest verify --repair` writes it anew from what the database holds", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The store holds another crawl than the configuration asks for.
    #[error("the store {} holds another crawl:{}\nuse another --store, or ask for the stored crawl{}", path.display(), list_differences(differences), same_source_hint(differences))]
    OtherCrawl {
        /// The store.
        path: PathBuf,
        /// `(key, stored, asked)`
        differences: Vec<(&'static str, String, String)>,
    },
    /// A value that does not verify.
    #[error(
        "the stored value of {key} (tree {tree}) is damaged: {reason}; `perfharvest verify --repair` has it asked for again, and so does `perfharvest run`"
    )]
    Damaged {
        /// The tree.
        tree: &'static str,
        /// What it belongs to.
        key: String,
        /// How it was seen.
        reason: String,
    },
    /// A value that must be there is not.
    #[error(
        "the stored value of {key} is missing; `perfharvest verify --repair` has it asked for again, and so does `perfharvest run`"
    )]
    MissingValue {
        /// What it belongs to.
        key: String,
    },
    /// sled's own structures are damaged, not only a value in them.
    #[error(
        "the database of the store is damaged ({reason}); `perfharvest verify --repair` mends what can be mended; if that does not help, restore the store from a backup, or move its folder away and run again"
    )]
    Corrupt {
        /// What sled said.
        reason: String,
    },
    /// A value cannot be written as JSON.
    #[error("cannot encode a value for the store")]
    Encode {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// sled failed, for instance because the disk is full.
    #[error(
        "the store cannot {action}; free some space or mend the disk, then run the same command again: nothing that was acknowledged is lost"
    )]
    Database {
        /// What it was doing.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: sled::Error,
    },
    /// The writer has ended, so nothing can be stored any more; its own error says why.
    #[error("the store's writer has stopped")]
    WriterStopped,
}

fn list_differences(differences: &[(&'static str, String, String)]) -> String {
    differences.iter().map(|(key, stored, asked)| format!("\n  {key}: stored {stored}, asked {asked}")).collect()
}

fn same_source_hint(differences: &[(&'static str, String, String)]) -> &'static str {
    if differences.iter().all(|(key, ..)| *key == "source.base_url") {
        " (--same-source says that it is the same server at a new address)"
    } else {
        ""
    }
}

impl StoreError {
    /// True for damage of single answers, which the server may still give again.
    #[must_use]
    pub fn is_damaged_value(&self) -> bool {
        match self {
            Self::Damaged { tree, .. } => *tree != "meta",
            Self::MissingValue { .. } => true,
            _ => false,
        }
    }

    /// An error of sled while it was to `action`.
    fn database(action: &'static str, source: sled::Error) -> Self {
        match source {
            sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => {
                Self::Corrupt { reason: open::reason_of(&source.to_string()) }
            }
            source => Self::Database { action, source },
        }
    }

    fn damaged(tree: &'static str, key: &[u8], reason: &str) -> Self {
        Self::Damaged { tree, key: value::describe_key(key), reason: reason.to_owned() }
    }
}

/// A crawl's store, open in this process alone.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    db: Db,
    /// sled's file, to flush it.
    db_file: File,
    meta: Tree,
    pending: Tree,
    settled: Tree,
    failed: Tree,
    provenance: Tree,
    signature_ids: Tree,
    pushes: Tree,
    records: Tree,
    values: ValueLog,
    /// Whether a value that the disk cannot read counts as damaged: only where its loss is accepted.
    unreadable_is_damage: AtomicBool,
    /// Which revision each push has; grows as columns refer to it.
    push_table: RwLock<PushRevisions>,
    /// A push did not verify when the store was opened.
    push_damaged: AtomicBool,
}

const META_FORMAT: &[u8] = b"format_version";
/// Where development versions kept their format.
const META_DEVELOPMENT_FORMAT: &[u8] = b"format";
const META_IDENTITY: &[u8] = b"identity";
const META_COUNTS: &[u8] = b"counts";
const META_STORE_ID: &[u8] = b"store_id";
const META_BUSIEST: &[u8] = b"busiest";
const META_VALUES: &[u8] = b"values";

impl Store {
    /// The store's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers whether a push has a revision, as far as the push table knows or may from now on say; if not, the revision
    /// must be written out. The table stays locked for reading from question to question: ask soon, and on one thread.
    pub(crate) fn interner(&self) -> impl FnMut(PushId, Revision) -> bool {
        let read = || self.push_table.read().unwrap_or_else(PoisonError::into_inner);
        let mut table = Some(read());
        move |push, revision| {
            if let Some(known) = table.get_or_insert_with(read).get(&push) {
                return *known == revision;
            }
            table = None; // else nobody could write, this thread least of all
            let mut written = self.push_table.write().unwrap_or_else(PoisonError::into_inner);
            *written.entry(push).or_insert(revision) == revision
        }
    }

    /// The crawl that this store holds; `None` while it is empty.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn identity(&self) -> Result<Option<CrawlIdentity>, StoreError> {
        self.get_meta(META_IDENTITY)
    }

    /// Pins the crawl of this store, durably.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn pin_identity(&self, identity: &CrawlIdentity) -> Result<(), StoreError> {
        self.put_meta(META_IDENTITY, identity)?;
        self.flush("write the crawl's identity")?;
        self.write_ledger(&self.counts()?)
    }

    /// The tally, as of the last commit.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        Ok(self.get_meta(META_COUNTS)?.unwrap_or_default())
    }

    /// A note of which inputs the busiest revisions were last found from, and of their jobs.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and what reading may raise.
    pub fn busiest_note(&self) -> Result<Option<String>, StoreError> {
        self.get_meta(META_BUSIEST)
    }

    /// Keeps the note of [`Store::busiest_note`].
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn keep_busiest_note(&self, note: &str) -> Result<(), StoreError> {
        self.put_meta(META_BUSIEST, &note)?;
        self.flush("write a note")
    }

    /// Waits until all that was written is on the disk. sled alone hands its pages to the disk (`sync_file_range`) and
    /// leaves the file's length and extents to the system: not every file system keeps these when the power fails.
    fn flush(&self, action: &'static str) -> Result<(), StoreError> {
        self.db.flush().map_err(|source| StoreError::database(action, source))?;
        self.db_file.sync_data().map_err(|source| StoreError::database(action, source.into()))
    }

    /// How many entries a tree has. (`Tree::len` never ends where sled cannot read one.)
    fn num_entries(tree: &Tree) -> Result<u64, StoreError> {
        let mut num = 0;
        for key in tree.iter().keys() {
            key.map_err(|source| StoreError::database("be read", source))?;
            num += 1;
        }
        Ok(num)
    }

    fn get_meta<T: for<'de> serde::Deserialize<'de>>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let found = self.meta.get(key).map_err(|source| StoreError::database("read its description", source))?;
        found.map(|framed| open_json("meta", key, &framed)).transpose()
    }

    fn put_meta<T: serde::Serialize>(&self, key: &[u8], value: &T) -> Result<(), StoreError> {
        let framed = seal_json(value)?;
        let put = self.meta.insert(key, framed);
        put.map_err(|source| StoreError::database("write its description", source)).map(drop)
    }

    fn write_ledger(&self, counts: &Counts) -> Result<(), StoreError> {
        let ledger = Ledger {
            format: STORE_FORMAT_VERSION,
            store_id: self.get_meta(META_STORE_ID)?.unwrap_or_default(),
            identity: self.identity()?,
            counts: counts.clone(),
            written_at: crate::model::Timestamp::now(),
        };
        ledger.write(&self.path)
    }
}
