//! Why an archive cannot be written or read.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::store::StoreError;

/// Why an archive cannot be written or read. Exit code 4; [`ArchiveError::NoArchive`] and [`ArchiveError::Read`] 2.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store cannot be read or made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Write {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is no archive of a store; `perfharvest export --format archive` makes one", path.display())]
    NoArchive {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("{} has {what} {found}, and this program reads {what} {known}; use a newer perfharvest", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Which of its formats.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// The file is torn or altered.
    #[error("the archive {} is damaged: {reason}; nothing of it was taken in: use another copy of it, or export the store again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The run was ended; nothing is left of it.
    #[error("interrupted; nothing was kept of what was begun")]
    Interrupted,
    /// A thread panicked.
    #[error("a part of the archive's machinery stopped unexpectedly; please report this")]
    WorkerPanicked,
}
