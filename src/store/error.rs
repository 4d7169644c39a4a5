//! The errors of the store.

use std::path::PathBuf;

use thiserror::Error;

use super::format::STORE_FORMAT_VERSION;
use super::key;

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
    pub(super) fn database(action: &'static str, source: sled::Error) -> Self {
        match source {
            sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => {
                Self::Corrupt { reason: reason_of(&source.to_string()) }
            }
            source => Self::Database { action, source },
        }
    }

    pub(super) fn damaged(tree: &'static str, key: &[u8], reason: &str) -> Self {
        Self::Damaged { tree, key: key::describe(key), reason: reason.to_owned() }
    }
}

/// What sled said, for people: of damaged data it says only where, as its own types print themselves.
pub(super) fn reason_of(said: &str) -> String {
    if said.contains("backtrace") || said.contains("Corruption") {
        "data in its files are not what was written".to_owned()
    } else {
        said.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sled_says_of_damaged_data_is_told_without_its_types() {
        let said = sled::Error::Corruption { at: None, bt: () }.to_string();
        assert_eq!(reason_of(&said), "data in its files are not what was written");
        assert_eq!(reason_of("no space"), "no space");
    }
}
