//! The errors of an export.

use thiserror::Error;

use crate::dataset::error::DatasetError;
use crate::dataset::write::ArtifactError;
use crate::dataset::write::parquet::TableError;
use crate::store::StoreError;

/// A failed export. The previous export is unchanged, unless [`ExportError::Artifact`] says otherwise.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The store is unreadable or damaged.
    #[error("cannot export the store")]
    Store(#[from] StoreError),
    /// The commits, the groups or the pass failed.
    #[error(transparent)]
    Dataset(DatasetError),
    /// A table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file or the folder is not writable.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Encoding the description failed in memory.
    #[error("cannot write export.json as JSON; please report this")]
    Description(#[source] serde_json::Error),
    /// Ended by a signal, between two steps.
    #[error("interrupted; the previous export is unchanged")]
    Interrupted,
}

impl From<DatasetError> for ExportError {
    /// An error that the export has words of its own for is that error.
    fn from(error: DatasetError) -> Self {
        match error {
            DatasetError::Store(error) => Self::Store(error),
            DatasetError::Artifact(error) => Self::Artifact(error),
            DatasetError::Table(error) => Self::Table(error),
            DatasetError::Interrupted => Self::Interrupted,
            other => Self::Dataset(other),
        }
    }
}
