//! The errors of sorting.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure of the temporary file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SortError {
    /// The temporary file is not writable.
    #[error("failed to spill pairs to a temporary file in {}", dir.display())]
    Spill {
        /// The folder of the temporary file.
        dir: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The temporary file is unreadable.
    #[error("failed to read spilled pairs")]
    Read(#[source] io::Error),
    /// The temporary file differs from its written content.
    #[error("spilled pairs came back damaged")]
    Damaged,
}
