//! The errors of an import.

use std::path::PathBuf;

use thiserror::Error;

use super::report::{DATA_NAME, EndProof, JOBS_NAME, SIGNATURES_NAME};
use crate::model::Timestamp;
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
    /// The manifest of the folder names another server or repository than the configuration.
    #[error("{} is of {named}, but the import is for {asked}; give the --repository and --base-url of the files", path.display())]
    OtherSource {
        /// The manifest.
        path: PathBuf,
        /// Its repository and server.
        named: String,
        /// Those of the configuration.
        asked: String,
    },
    /// The configured `data_end` is later than the files prove.
    #[error(
        "the files prove data until {proven} ({by}), not until --data-end {asked}; import without --data-end, and `perfharvest refresh` fetches the data that came later"
    )]
    EndNotProven {
        /// The configured end.
        asked: Timestamp,
        /// The proven end.
        proven: Timestamp,
        /// Its source.
        by: EndProof,
    },
    /// The configured window begins before that of the files.
    #[error(
        "the files have data from {proven} on (the window in their manifest.json), but --start and window.lookback ask for data from {asked} on; import without --start"
    )]
    StartNotProven {
        /// The configured first push time of the data.
        asked: Timestamp,
        /// That of the manifest.
        proven: Timestamp,
    },
    /// The configured window begins after the end of the data.
    #[error("the files prove data until {proven} ({by}), and --start is {start}; give an earlier --start")]
    NoData {
        /// The configured start.
        start: Timestamp,
        /// The proven end.
        proven: Timestamp,
        /// Its source.
        by: EndProof,
    },
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
