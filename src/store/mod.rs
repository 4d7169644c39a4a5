//! 3. STORE: every answer, durably and once.
//!
//! Answers go in through one writer actor ([`StoreWriter`]); a request moves `pending -> settled | failed` in the same
//! transaction that inserts its records and the requests found in them; the transaction is flushed before it is
//! acknowledged. Reducers read records by key. The only folder with sled.
//!
//! Layout of the store's folder: `db/` is sled's, `ledger.json` says from outside what must be inside (`Ledger`).
//! Trees: `meta`, `pending`, `settled`, `failed`, `provenance`, `signature_ids`, `pushes` hold small values and can be
//! listed; `records` holds the rest, in pieces, and is only ever read by key: iterating over large values would keep all
//! of them in memory.

pub mod archive;
mod bulk;
pub mod columns;
mod counts;
pub mod frame;
mod identity;
mod incoming;
mod key;
mod ledger;
mod read;
mod settlement;
mod staging;
mod value;
mod writer;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use sled::{Db, Tree};
use thiserror::Error;

pub use bulk::BulkWriter;
pub use counts::{Counts, KindCounts, Outcome};
pub use identity::CrawlIdentity;
pub use incoming::Incoming;
pub use ledger::Ledger;
pub use read::SettledSummary;
pub use settlement::{Settlement, job_pending};
pub use value::{Failure, Pending, Provenance, Settled, StoredPage};
pub use writer::{Change, StoreEvent, StoreHandle, StoreWriter};

use crate::config::StoreConfig;
use crate::model::{PushId, Revision};
use value::{open_json, seal_json};

/// Version of what is stored. Another version is not read: a newer program may have written it.
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
    #[error("the stored value of {key} (tree {tree}) is damaged: {reason}")]
    Damaged {
        /// The tree.
        tree: &'static str,
        /// What it belongs to.
        key: String,
        /// How it was seen.
        reason: String,
    },
    /// A value that must be there is not.
    #[error("the stored value of {key} is missing")]
    MissingValue {
        /// What it belongs to.
        key: String,
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
    fn damaged(tree: &'static str, key: &[u8], reason: &str) -> Self {
        Self::Damaged { tree, key: value::describe_key(key), reason: reason.to_owned() }
    }
}

/// A crawl's store, open in this process alone.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    db: Db,
    meta: Tree,
    pending: Tree,
    settled: Tree,
    failed: Tree,
    provenance: Tree,
    signature_ids: Tree,
    pushes: Tree,
    records: Tree,
    /// Which revision each push has; grows as columns refer to it.
    push_table: RwLock<HashMap<PushId, Revision>>,
}

const META_FORMAT: &[u8] = b"format";
const META_IDENTITY: &[u8] = b"identity";
const META_COUNTS: &[u8] = b"counts";
const META_STORE_ID: &[u8] = b"store_id";
const META_BUSIEST: &[u8] = b"busiest";

impl Store {
    /// Opens the store of `config`, or makes an empty one.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used, is in use, was written by a newer program, or has lost data.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let path = &config.path;
        let folder = |source| StoreError::Folder { path: path.clone(), source };
        std::fs::create_dir_all(path).map_err(folder)?;
        let ledger = Ledger::read(path)?;
        let fresh = !path.join("db").exists();
        if fresh && ledger.is_some() {
            return Err(StoreError::Ledger {
                path: Ledger::path_in(path),
                reason: "stands beside a database that is gone".to_owned(),
            });
        }
        let db = open_sled(path, config.cache_bytes)?;
        let tree =
            |name: &str| db.open_tree(name).map_err(|source| StoreError::Database { action: "open a tree", source });
        let store = Self {
            path: path.clone(),
            meta: tree("meta")?,
            pending: tree("pending")?,
            settled: tree("settled")?,
            failed: tree("failed")?,
            provenance: tree("provenance")?,
            signature_ids: tree("signature_ids")?,
            pushes: tree("pushes")?,
            records: tree("records")?,
            push_table: RwLock::default(),
            db,
        };
        if fresh {
            store.initialize()?;
        } else {
            store.check_format()?;
            store.check_ledger(ledger)?;
        }
        store.load_pushes()?;
        Ok(store)
    }

    /// Opens a store that must be there already.
    ///
    /// # Errors
    /// [`StoreError::Missing`] besides those of [`Store::open`].
    pub fn open_existing(config: &StoreConfig) -> Result<Self, StoreError> {
        if !config.path.join("db").is_dir() {
            return Err(StoreError::Missing { path: config.path.clone() });
        }
        Self::open(config)
    }

    /// The store's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn initialize(&self) -> Result<(), StoreError> {
        let id = format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
        self.put_meta(META_STORE_ID, &id)?;
        self.put_meta(META_COUNTS, &Counts::default())?;
        self.put_meta(META_FORMAT, &STORE_FORMAT_VERSION)?;
        self.db.flush().map_err(|source| StoreError::Database { action: "write its format", source })?;
        self.write_ledger(&Counts::default())
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.get_meta::<u32>(META_FORMAT)? {
            Some(STORE_FORMAT_VERSION) => Ok(()),
            Some(found) => Err(StoreError::OtherFormat { path: self.path.clone(), found }),
            // Killed while it was made: nothing had been acknowledged. But an empty database under a ledger is a loss.
            None if self.settled.is_empty() && Ledger::read(&self.path)?.is_none() => self.initialize(),
            None => Err(StoreError::BehindLedger {
                path: self.path.clone(),
                expected: Ledger::read(&self.path)?.map_or(0, |ledger| ledger.counts.commits),
                found: 0,
            }),
        }
    }

    fn check_ledger(&self, ledger: Option<Ledger>) -> Result<(), StoreError> {
        let counts = self.counts()?;
        let Some(ledger) = ledger else {
            if counts.commits == 0 {
                return self.write_ledger(&counts); // killed before its first
            }
            return Err(StoreError::Ledger { path: Ledger::path_in(&self.path), reason: "is missing".to_owned() });
        };
        if self.get_meta::<String>(META_STORE_ID)?.as_deref() != Some(ledger.store_id.as_str()) {
            return Err(StoreError::Ledger {
                path: Ledger::path_in(&self.path),
                reason: "is that of another store".to_owned(),
            });
        }
        if counts.commits < ledger.counts.commits {
            return Err(StoreError::BehindLedger {
                path: self.path.clone(),
                expected: ledger.counts.commits,
                found: counts.commits,
            });
        }
        Ok(())
    }

    fn load_pushes(&self) -> Result<(), StoreError> {
        let mut table = HashMap::new();
        for entry in &self.pushes {
            let (key, framed) = entry.map_err(|source| StoreError::Database { action: "read the pushes", source })?;
            let raw = value::open_frame("pushes", &key, &framed)?;
            let (Ok(id), Ok(bytes)) = (key.as_ref().try_into(), raw.as_slice().try_into()) else {
                return Err(StoreError::damaged("pushes", &key, "it is no revision"));
            };
            table.insert(PushId(u64::from_be_bytes(id)), Revision(bytes));
        }
        *self.push_table.write().unwrap_or_else(std::sync::PoisonError::into_inner) = table;
        Ok(())
    }

    /// Says that `push` has `revision`; false when the table knows another, and the revision must be written out.
    pub(crate) fn intern(&self, push: PushId, revision: Revision) -> bool {
        let known = self.push_table.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&push).copied();
        if let Some(known) = known {
            known == revision
        } else {
            let mut table = self.push_table.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            *table.entry(push).or_insert(revision) == revision
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
        self.db.flush().map_err(|source| StoreError::Database { action: "write the crawl's identity", source })?;
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
        self.db.flush().map_err(|source| StoreError::Database { action: "write a note", source }).map(drop)
    }

    fn get_meta<T: for<'de> serde::Deserialize<'de>>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let found =
            self.meta.get(key).map_err(|source| StoreError::Database { action: "read its description", source })?;
        found.map(|framed| open_json("meta", key, &framed)).transpose()
    }

    fn put_meta<T: serde::Serialize>(&self, key: &[u8], value: &T) -> Result<(), StoreError> {
        let framed = seal_json(value)?;
        let put = self.meta.insert(key, framed);
        put.map_err(|source| StoreError::Database { action: "write its description", source }).map(drop)
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

/// Opens sled's part. sled panics on some damage, so a panic becomes an error here.
fn open_sled(path: &Path, cache_bytes: u64) -> Result<Db, StoreError> {
    let config = sled::Config::new()
        .path(path.join("db"))
        .cache_capacity(cache_bytes)
        .flush_every_ms(None) // the writer flushes before it acknowledges
        .mode(sled::Mode::HighThroughput);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {})); // the error below says what the panic would have
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| config.open()));
    std::panic::set_hook(hook);
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if is_lock_error(&error) => Err(StoreError::Locked { path: path.to_owned() }),
        Ok(Err(sled::Error::Io(source))) if source.kind() != std::io::ErrorKind::Other => {
            Err(StoreError::Folder { path: path.to_owned(), source })
        }
        Ok(Err(error)) => Err(StoreError::Unopenable { path: path.to_owned(), reason: error.to_string() }),
        Err(panic) => {
            let reason = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "it cannot be read".to_owned());
            Err(StoreError::Unopenable { path: path.to_owned(), reason })
        }
    }
}

fn is_lock_error(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}
