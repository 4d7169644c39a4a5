//! The errors of the store.

use std::path::PathBuf;

use thiserror::Error;

use super::format::STORE_FORMAT_VERSION;
use super::key;
use crate::actor::advice;
use crate::model::Timestamp;

/// Why the store could not be opened, read or written. Exit code 4; [`StoreError::OtherCrawl`], [`StoreError::OtherSource`],
/// [`StoreError::HarvestOpen`], [`StoreError::BackwardHarvest`], [`StoreError::Missing`],
/// [`StoreError::NotEmpty`] and [`StoreError::OtherFiles`] 2.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The system refuses an operation on the folder or on a file of the store.
    #[error("cannot use the store {}; {}", path.display(), advice(source))]
    Folder {
        /// The store or one of its files.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// This path has no store.
    #[error("there is no store at {}; name another folder with --store, or make a store with `perfharvest run`", .0.display())]
    Missing(PathBuf),
    /// An import needs an empty store, and this one is not empty.
    #[error("{} is not empty; an import needs a store of its own: name another one with --store", .0.display())]
    NotEmpty(PathBuf),
    /// A store cannot begin in a folder of other files.
    #[error("{} holds other files ({name}) and no store; name a new or an empty folder with --store", path.display())]
    OtherFiles {
        /// The folder.
        path: PathBuf,
        /// One of the files.
        name: String,
    },
    /// Another process has the store open.
    #[error("the store {} is in use by another process; wait for it or stop it (`perfharvest status` shows its progress)", .0.display())]
    Locked(PathBuf),
    /// The answers of the newest harvest are being joined with those before.
    #[error("the store {} is between two states: the answers of harvest {harvest} are being joined with those before; try again in a moment, or run `perfharvest refresh` if the process that did it was killed", path.display())]
    Joining {
        /// The store.
        path: PathBuf,
        /// Its number.
        harvest: u16,
    },
    /// The next harvest cannot be opened yet.
    #[error("harvest {harvest} of the store {} is not finished; finish it with `perfharvest run`", path.display())]
    HarvestOpen {
        /// The store.
        path: PathBuf,
        /// Its number.
        harvest: u16,
    },
    /// The import is of another server or repository than the store.
    #[error("the store {} is of {stored}, and the import is of {found}; use another --store", path.display())]
    OtherSource {
        /// The store.
        path: PathBuf,
        /// Its repository and server.
        stored: String,
        /// Those of the import.
        found: String,
    },
    /// A harvest that would not end after the one before.
    #[error("the store {} has data up to {stored}, and the new harvest would end at {asked}, before that; set the clock of this machine, or leave out --data-end", path.display())]
    BackwardHarvest {
        /// The store.
        path: PathBuf,
        /// `data_end` of the newest harvest.
        stored: Timestamp,
        /// `data_end` of the next one.
        asked: Timestamp,
    },
    /// The store was opened for reading only.
    #[error("the store {} was opened for reading only, since it is in use by another process or this one may not write there; try again when the other one has ended", .0.display())]
    ReadOnly(PathBuf),
    /// sled cannot open its files.
    #[error("the store {} is damaged and cannot be opened: {reason}; run `perfharvest verify --repair`", path.display())]
    Unopenable {
        /// The store.
        path: PathBuf,
        /// sled's error, for people.
        reason: String,
    },
    /// A version from before the first release wrote the store; its format is another.
    #[error("the store {} was written by a development version of perfharvest, and this version cannot read its format; export it with that version (`perfharvest export --format archive`) and import the archive with this one, or crawl again into a new --store", .0.display())]
    DevelopmentFormat(PathBuf),
    /// A newer program wrote the store.
    #[error("the store {} has format {found}, but this program reads formats up to {STORE_FORMAT_VERSION}; use the version of perfharvest that wrote it, or a newer one", path.display())]
    OtherFormat {
        /// The store.
        path: PathBuf,
        /// The store's format.
        found: u32,
    },
    /// The ledger has more commits than the log.
    #[error("the store {} has lost data: its ledger lists {expected} commits, but the log holds {found}; restore both from the same backup, or accept the loss with `perfharvest verify --repair`", path.display())]
    BehindLedger {
        /// The store.
        path: PathBuf,
        /// Commits in the ledger.
        expected: u64,
        /// Commits in the log.
        found: u64,
    },
    /// Commits in the middle of the log are damaged, and the database lacks them.
    #[error("the store {} has lost data: {lost} commits in its file `values` are damaged; restore the store from a backup, or accept the loss with `perfharvest verify --repair`: lost answers will be fetched again", path.display())]
    CommitsLost {
        /// The store.
        path: PathBuf,
        /// Number of lost commits.
        lost: u64,
    },
    /// The log is shorter than the database expects.
    #[error("the store {} has lost data: its file `values` {}, but the database expects {expected} bytes; restore the store from a backup, or accept the loss with `perfharvest verify --repair`", path.display(), found.map_or_else(|| "is missing".to_owned(), |found| format!("has {found} bytes")))]
    ValuesCut {
        /// The store.
        path: PathBuf,
        /// Length that the database expects, bytes.
        expected: u64,
        /// Length of the file, bytes; `None` without a file.
        found: Option<u64>,
    },
    /// The log is that of another store.
    #[error("the file `values` of the store {} belongs to another store; put the store's own file back, or move this one away and accept the loss with `perfharvest verify --repair`", .0.display())]
    OtherLog(PathBuf),
    /// The path of the value log is not a regular file.
    #[error("{} is not a regular file, so it cannot hold the store's values; move it away and restore the original file, or accept the loss with `perfharvest verify --repair`", .0.display())]
    NotAFile(PathBuf),
    /// The disk fails to return a value.
    #[error("cannot read {} at byte {offset}: the disk may be failing; copy the store to another disk, or run `perfharvest verify --repair`: answers that cannot be read will be fetched again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// First byte of the value in the file.
        offset: u64,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The ledger is missing, cannot be read, or belongs to another store.
    #[error("the ledger {} {reason}; rebuild it from the database with `perfharvest verify --repair`", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// A verb and its object: `is missing`.
        reason: String,
    },
    /// The store holds another crawl than the one that the configuration describes.
    #[error("the store {} holds another crawl:{}\nuse another --store, or ask for the stored crawl{}", path.display(), list_differences(differences), crawl_hint(differences))]
    OtherCrawl {
        /// The store.
        path: PathBuf,
        /// `(key, stored, asked)`
        differences: Vec<(&'static str, String, String)>,
    },
    /// The configured scope cannot be used for the store.
    #[error(transparent)]
    Scope(#[from] crate::config::ScopeError),
    /// A stored value fails its checks.
    #[error(
        "the stored value of {key} (tree {tree}) is damaged: {reason}; run `perfharvest verify --repair` or `perfharvest run`; the answer will be fetched again"
    )]
    Damaged {
        /// The tree that holds the value or its place.
        tree: &'static str,
        /// The request, record or key, for people.
        key: String,
        /// The check that failed.
        reason: String,
    },
    /// A value is missing that another one refers to.
    #[error(
        "the stored value of {key} is missing; run `perfharvest verify --repair` or `perfharvest run`; the answer will be fetched again"
    )]
    MissingValue {
        /// The request or record, for people.
        key: String,
    },
    /// sled's own structures are damaged, not only a value in them; the text is sled's error, for people.
    #[error(
        "the database of the store is damaged ({0}); run `perfharvest verify --repair`; if that fails, restore the store from a backup, or move its folder away and run again"
    )]
    Corrupt(String),
    /// A value cannot be written as JSON.
    #[error("cannot encode a value for the store")]
    Encode {
        /// The encoder's error.
        #[source]
        source: serde_json::Error,
    },
    /// The disk is nearly full. Everything that was fetched is stored.
    #[error("the disk of the store {} has only {free} bytes free, less than store.min_free_bytes ({least}); everything fetched is stored; free some space, then run the same command again", path.display())]
    LowSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// `store.min_free_bytes`
        least: u64,
    },
    /// sled fails, for instance because the disk is full.
    #[error("the store cannot {action}: nothing that was acknowledged is lost; {}", advice_of_sled(source))]
    Database {
        /// A verb and its object: `commit answers`.
        action: &'static str,
        /// sled's error.
        #[source]
        source: sled::Error,
    },
    /// The writer has stopped, so nothing more can be stored; its own error says why.
    #[error("the store's writer has stopped")]
    WriterStopped,
}

fn list_differences(differences: &[(&'static str, String, String)]) -> String {
    differences.iter().map(|(key, stored, asked)| format!("\n  {key}: stored {stored}, asked {asked}")).collect()
}

fn crawl_hint(differences: &[(&'static str, String, String)]) -> &'static str {
    match differences {
        [("source.base_url", _, _)] => " (use --same-source if it is the same server at a new address)",
        // Both times have the same form.
        [("window.data_end", stored, asked)] if asked > stored => {
            "; `perfharvest refresh` brings it up to a later time"
        }
        _ => "",
    }
}

/// Only an error of the system names its cause.
fn advice_of_sled(error: &sled::Error) -> &'static str {
    match error {
        sled::Error::Io(error) => advice(error),
        _ => "run the same command again",
    }
}

impl StoreError {
    /// The error for a chunk of the answer to `request` with unexpected content.
    pub(crate) fn damaged_chunk(request: &crate::model::Request, source: &dyn std::fmt::Display) -> Self {
        Self::Damaged { tree: "records", key: request.to_string(), reason: source.to_string() }
    }

    /// True for damage of single answers, which the server can give again.
    #[must_use]
    pub fn is_damaged_value(&self) -> bool {
        match self {
            Self::Damaged { tree, .. } => *tree != "meta",
            Self::MissingValue { .. } => true,
            _ => false,
        }
    }

    pub(super) fn database(action: &'static str, source: sled::Error) -> Self {
        match source {
            sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => {
                Self::Corrupt(reason_of(&source.to_string()))
            }
            source => Self::Database { action, source },
        }
    }

    pub(super) fn damaged(tree: &'static str, key: &[u8], reason: &str) -> Self {
        Self::Damaged { tree, key: key::describe(key), reason: reason.to_owned() }
    }
}

/// sled's message, for people: of damaged data it gives only the place, in the form of its own types.
pub(super) fn reason_of(message: &str) -> String {
    if message.contains("backtrace") || message.contains("Corruption") {
        "the data in its files differ from what was written".to_owned()
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_sled_about_damaged_data_are_shown_without_its_types() {
        let message = sled::Error::Corruption { at: None, bt: () }.to_string();
        assert_eq!(reason_of(&message), "the data in its files differ from what was written");
        assert_eq!(reason_of("no space"), "no space");
    }
}
