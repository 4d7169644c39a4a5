//! The ledger: a small file beside the database which says what must be in it.
//!
//! sled can open a truncated log as an empty database without an error. The ledger is written after each flush (at most
//! once a second), so the database always holds at least what the ledger says; a database with less has lost data.
//! It also lets `status` speak of a crawl whose database is locked by the process that runs it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Counts, CrawlIdentity, StoreError};
use crate::actor::fail_point;
use crate::model::Timestamp;

/// How the temporary file of a ledger begins; a killed process leaves it.
const LEFTOVER_PREFIX: &str = ".ledger";

/// What `ledger.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Format of the store.
    #[serde(rename = "format_version")]
    pub format: u32,
    /// Which store it belongs to.
    pub store_id: String,
    /// The crawl; `None` while the store is empty.
    pub identity: Option<CrawlIdentity>,
    /// The tally after the last flush that it knows of.
    pub counts: Counts,
    /// When it was written.
    pub written_at: Timestamp,
}

/// The ledger of a development version: its format has another key.
#[derive(Deserialize)]
struct Development {
    #[serde(rename = "format")]
    _format: u32,
}

impl Ledger {
    /// Where the ledger of the store at `store` is.
    #[must_use]
    pub fn path_in(store: &Path) -> PathBuf {
        store.join("ledger.json")
    }

    /// Reads the ledger of the store at `store`; `None` when there is none.
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
            return Err(StoreError::DevelopmentFormat { path: store.to_owned() });
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| StoreError::Ledger { path, reason: format!("cannot be read ({error})") })
    }

    /// Reads the ledger of the store at `store`, which must be there.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no store, [`StoreError::Ledger`] when only the ledger is missing or it cannot
    /// be read.
    pub fn read_existing(store: &Path) -> Result<Self, StoreError> {
        match Self::read(store)? {
            Some(ledger) => Ok(ledger),
            None if store.join("db").is_dir() => {
                Err(StoreError::Ledger { path: Self::path_in(store), reason: "is missing".to_owned() })
            }
            None => Err(StoreError::Missing { path: store.to_owned() }),
        }
    }

    /// The temporary files that killed processes left in the store at `store`.
    pub(super) fn leftovers(store: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(store).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(LEFTOVER_PREFIX));
        ours.map(|entry| entry.path()).collect()
    }

    /// Replaces the ledger of the store at `store`, durably.
    ///
    /// # Errors
    /// [`StoreError::Folder`] when the disk refuses.
    pub fn write(&self, store: &Path) -> Result<(), StoreError> {
        let path = Self::path_in(store);
        let text = serde_json::to_vec_pretty(self).map_err(|source| StoreError::Encode { source })?;
        let put = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(LEFTOVER_PREFIX).tempfile_in(store)?;
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
