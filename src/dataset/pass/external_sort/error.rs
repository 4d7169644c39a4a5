//! Why pairs could not be sorted.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why pairs could not be sorted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SortError {
    /// The temporary file could not be made or written.
    #[error("failed to spill pairs to a temporary file in {}", dir.display())]
    Spill {
        /// Where the file was to be.
        dir: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The temporary file could not be read again.
    #[error("failed to read spilled pairs")]
    Read(#[source] io::Error),
    /// The temporary file does not hold what was written.
    #[error("spilled pairs came back damaged")]
    Damaged,
}
