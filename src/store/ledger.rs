//! The ledger: a small file beside the database that records how much the database must hold.
//!
//! sled can open a truncated log as an empty database without an error. The ledger is written after a flush (at most once a
//! second), so an intact database holds at least as much as the ledger lists. The ledger also lets `status` describe a
//! crawl whose database is locked by the process that runs it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CrawlIdentity, StoreError, Tally};
use crate::actor::{fail_point, temporary_file};
use crate::model::Timestamp;

/// Prefix of the temporary file, which a killed process leaves behind.
const LEFTOVER_PREFIX: &str = ".ledger";

/// The content of `ledger.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// [`super::STORE_FORMAT_VERSION`] of the program that wrote it.
    #[serde(rename = "format_version")]
    pub format: u32,
    /// Random id of the store, 32 hex digits.
    pub store_id: String,
    /// `None` while the store is empty.
    pub identity: Option<CrawlIdentity>,
    /// The tally at a recent flush.
    pub counts: Tally,
    /// Number of the last commit in the log at that time.
    #[serde(default)]
    pub last_commit: u64,
    /// By the clock of the machine that wrote it.
    pub written_at: Timestamp,
}

/// The ledger of a development version, which has its format under another key.
#[derive(Deserialize)]
struct Development {
    #[serde(rename = "format")]
    _format: u32,
}

impl Ledger {
    /// The path of the ledger of the store at `store`.
    #[must_use]
    pub fn path_in(store: &Path) -> PathBuf {
        store.join("ledger.json")
    }

    /// Reads the ledger of the store at `store`; `None` without a ledger.
    ///
    /// # Errors
    /// [`StoreError::Ledger`] when it cannot be read, [`StoreError::DevelopmentFormat`] when a development version wrote
    /// it.
    pub fn read(store: &Path) -> Result<Option<Self>, StoreError> {
        let path = Self::path_in(store);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Folder { path, source }),
        };
        if serde_json::from_slice::<Development>(&text).is_ok() {
            return Err(StoreError::DevelopmentFormat(store.to_owned()));
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| StoreError::Ledger { path, reason: format!("cannot be read ({error})") })
    }

    /// Reads the ledger of the store at `store`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::Missing`] without a store, [`StoreError::Ledger`] when only the ledger is missing or cannot be
    /// read.
    pub fn read_existing(store: &Path) -> Result<Self, StoreError> {
        match Self::read(store)? {
            Some(ledger) => Ok(ledger),
            None if store.join("db").is_dir() => {
                Err(StoreError::Ledger { path: Self::path_in(store), reason: "is missing".to_owned() })
            }
            None => Err(StoreError::Missing(store.to_owned())),
        }
    }

    /// Temporary files that killed processes left behind in the store at `store`.
    pub(super) fn leftovers(store: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(store).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(LEFTOVER_PREFIX));
        ours.map(|entry| entry.path()).collect()
    }

    /// Replaces the ledger of the store at `store`, durably.
    ///
    /// # Errors
    /// [`StoreError::Folder`] when the file cannot be written.
    pub fn write(&self, store: &Path) -> Result<(), StoreError> {
        let path = Self::path_in(store);
        let text = serde_json::to_vec_pretty(self).map_err(|source| StoreError::Encode { source })?;
        let put = || -> std::io::Result<()> {
            let mut file = temporary_file(LEFTOVER_PREFIX, "").tempfile_in(store)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            fail_point("ledger.before_rename");
            file.persist(&path).map_err(|error| error.error)?;
            fail_point("ledger.after_rename");
            std::fs::File::open(store)?.sync_all()
        };
        put().map_err(|source| StoreError::Folder { path: path.clone(), source })
    }
}
