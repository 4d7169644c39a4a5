//! Why nothing was exported.

use thiserror::Error;

use crate::dataset::error::DatasetError;
use crate::dataset::write::ArtifactError;
use crate::dataset::write::parquet::TableError;
use crate::store::StoreError;

/// Why nothing was exported. What an earlier export wrote stands untouched, unless [`ExportError::Artifact`] says otherwise.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error("the store cannot be exported")]
    Store(#[from] StoreError),
    /// The commits or the groups.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file or the folder cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The description is no JSON.
    #[error("export.json cannot be written as JSON; please report this")]
    Description {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The run was ended.
    #[error("interrupted; an export of before stands untouched")]
    Interrupted,
}
