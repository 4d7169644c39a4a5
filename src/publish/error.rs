//! The errors of a publication.

use thiserror::Error;

use crate::dataset::tables::ExportError;
use crate::dataset::{ArtifactError, DatasetError};

/// A failure to publish. The folder is unchanged, unless a file could not be renamed.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The tables.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The artifacts, the folder, and everything else.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl From<ArtifactError> for PublishError {
    fn from(error: ArtifactError) -> Self {
        DatasetError::from(error).into()
    }
}
