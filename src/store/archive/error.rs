//! The errors of archives.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::actor::advice;
use crate::store::StoreError;

/// Why an archive cannot be written or read. Exit code 4; [`ArchiveError::NoArchive`] and [`ArchiveError::Read`] 2.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store cannot be read or created.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be written.
    #[error("cannot write the archive; {}", advice(source))]
    Write {
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// As it was given.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file is not an archive.
    #[error("{} is not an archive of a store; make one with `perfharvest export --format archive`", .0.display())]
    NoArchive(PathBuf),
    /// A newer program wrote the archive.
    #[error("{} has {what} {found}, but this program reads {what} {known}; use a newer perfharvest", path.display())]
    Newer {
        /// The archive.
        path: PathBuf,
        /// `archive format` or `content version`.
        what: &'static str,
        /// Version in the archive.
        found: u32,
        /// Version that this program reads.
        known: u32,
    },
    /// The archive is incomplete or altered.
    #[error("the archive {} is damaged: {reason}; nothing was imported: use another copy of it, or export the store again", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// The check that failed.
        reason: String,
    },
    /// The run was interrupted, and its output removed.
    #[error("interrupted; the unfinished output was removed")]
    Interrupted,
    /// The system refused a thread.
    #[error("cannot start a thread for the archive; raise the limit of processes (`ulimit -u`)")]
    Thread(#[source] io::Error),
    /// A thread panicked.
    #[error("a thread that reads or writes the archive stopped unexpectedly; please report this")]
    WorkerPanicked,
}
