//! The ledger: a small file beside the database that records how much the database must hold.
//!
//! sled can open a truncated log as an empty database without an error. The ledger is written after a flush (at most once a
//! second), so an intact database holds at least as much as the ledger lists. The ledger also lets `status` describe a
//! crawl whose database is locked by the process that runs it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::format::OLDEST_FORMAT;
use super::{CrawlIdentity, Harvest, StoreError, Tally};
use crate::actor::{fail_point, no_follow, temporary_file};
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
    /// The harvests, the first one first.
    #[serde(default)]
    pub harvests: Vec<Harvest>,
    /// The tally at a recent flush.
    pub counts: Tally,
    /// Random number of the log at that time; a compaction makes another one.
    #[serde(default)]
    pub log_id: u64,
    /// Number of the last commit in this log at that time.
    #[serde(default)]
    pub last_commit: u64,
    /// Position in the log behind this commit, bytes.
    #[serde(default)]
    pub log_end: u64,
    /// By the clock of the machine that wrote it.
    pub written_at: Timestamp,
    /// XXH3-64 of the text with zeros in this place, hex digits. The last field.
    #[serde(default)]
    pub check: String,
}

const CHECK_DIGITS: usize = 16;
/// Of the text.
const BEHIND_CHECK: &[u8] = b"\"\n}";

/// The text of a ledger with its checksum.
fn checked(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let place = text.len().checked_sub(CHECK_DIGITS + BEHIND_CHECK.len()).map(|start| start..start + CHECK_DIGITS);
    if let Some(place) = place {
        text[place.clone()].fill(b'0');
        let check = format!("{:016x}", xxh3_64(&text));
        text[place].copy_from_slice(check.as_bytes());
    }
    text
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
        let mut text = Vec::new();
        let opened = no_follow(File::options().read(true)).open(&path);
        match opened.and_then(|mut file| file.read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Folder { path, source }),
        }
        if serde_json::from_slice::<Development>(&text).is_ok() {
            return Err(StoreError::DevelopmentFormat(store.to_owned()));
        }
        let damaged = |reason: String| StoreError::Ledger { path: path.clone(), reason };
        let ledger: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(format!("cannot be read ({error})")))?;
        // The ledger of the first format has no checksum; its format is refused by its number.
        if (ledger.format >= OLDEST_FORMAT || !ledger.check.is_empty()) && checked(&text) != text {
            return Err(damaged("was changed or damaged".to_owned()));
        }
        Ok(Some(ledger))
    }

    /// Whether this ledger was written for the log with the number `log_id`, or for one that has lost all of its groups.
    pub(super) fn is_of(&self, log_id: Option<u64>) -> bool {
        log_id.is_none_or(|log_id| log_id == self.log_id)
    }

    /// The number of the last commit that the log with the number `log_id` must hold.
    pub(super) fn acknowledged(&self, log_id: Option<u64>) -> u64 {
        if self.is_of(log_id) { self.last_commit } else { 0 }
    }

    /// Checks that another log than this ledger's can have taken its place: it is of the same store, and its last tally is
    /// not older.
    pub(super) fn check_successor(
        &self,
        store: &Path,
        store_id: Option<&str>,
        counts: Option<&Tally>,
    ) -> Result<(), StoreError> {
        if store_id != Some(self.store_id.as_str()) {
            return Err(StoreError::Ledger {
                path: Self::path_in(store),
                reason: "belongs to another store".to_owned(),
            });
        }
        let (expected, found) = (self.counts.commits, counts.map_or(0, |counts| counts.commits));
        if found < expected {
            return Err(StoreError::BehindLedger { path: store.to_owned(), expected, found });
        }
        Ok(())
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
        let unchecked = Self { check: "0".repeat(CHECK_DIGITS), ..self.clone() };
        let text = serde_json::to_vec_pretty(&unchecked).map_err(|source| StoreError::Encode { source })?;
        let text = checked(&text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_ledger_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger {
            format: OLDEST_FORMAT,
            store_id: "5".repeat(32),
            identity: None,
            harvests: Vec::new(),
            counts: Tally::default(),
            log_id: u64::MAX,
            last_commit: 7,
            log_end: 8,
            written_at: Timestamp::default(),
            check: String::new(),
        };
        ledger.write(folder.path()).unwrap();
        let path = Ledger::path_in(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let put = |bytes: &[u8]| {
            let mut file = std::fs::File::options().write(true).truncate(true).open(&path).unwrap();
            file.write_all(bytes).unwrap();
        };
        let read = Ledger::read(folder.path()).unwrap().unwrap();
        assert_eq!(Ledger { check: String::new(), ..read }, ledger);
        let mut bytes = whole.clone();
        for bit in 0..whole.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            put(&bytes);
            assert!(matches!(Ledger::read(folder.path()), Err(StoreError::Ledger { .. })), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..whole.len() {
            put(&whole[..len]);
            assert!(matches!(Ledger::read(folder.path()), Err(StoreError::Ledger { .. })), "{len} bytes");
        }
    }
}
