//! The errors of an import.

use std::path::PathBuf;

use thiserror::Error;

use super::report::{DATA_NAME, JOBS_NAME, SIGNATURES_NAME};
use crate::store::StoreError;

/// Why files cannot be imported. Exit code 2; errors of the store have their own.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The store cannot be created.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file to import.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The folder has none of the files.
    #[error("{} has none of the files that can be imported: {DATA_NAME}, {SIGNATURES_NAME}, {JOBS_NAME}", .0.display())]
    NothingThere(PathBuf),
    /// An import cannot draw a sample.
    #[error("an import takes all signatures of the files; leave out --sample")]
    Sampled,
    /// The import was interrupted, and its output removed.
    #[error("interrupted; the unfinished store was removed")]
    Interrupted,
    /// A thread panicked.
    #[error("a thread of the import stopped unexpectedly; please report this")]
    WorkerPanicked,
    /// The system refused a thread. Exit code 4.
    #[error("cannot start a thread; raise the limit of processes (`ulimit -u`)")]
    Thread(#[source] std::io::Error),
}
