//! Why files could not be imported.

use std::path::PathBuf;

use thiserror::Error;

use super::report::{DATA_NAME, JOBS_NAME, SIGNATURES_NAME};
use crate::store::StoreError;

/// Why files could not be taken in. Exit code 2; of the store, its own.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The store cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// None of the files is there.
    #[error("{} has none of the files that can be imported: {DATA_NAME}, {SIGNATURES_NAME}, {JOBS_NAME}", folder.display())]
    NothingThere {
        /// The folder.
        folder: PathBuf,
    },
    /// A sample of what is in files makes no sense.
    #[error("an import takes everything that the files hold; leave out --sample")]
    Sampled,
    /// The run was ended; nothing is left of it.
    #[error("interrupted; nothing was kept of what was begun")]
    Interrupted,
    /// A thread panicked.
    #[error("a part of the import stopped unexpectedly; please report this")]
    WorkerPanicked,
}
