//! Why a dataset could not be made.

use std::path::PathBuf;

use thiserror::Error;

use super::catalogue::{Artifact, Input};
use super::commits::CommitsError;
use super::families::coverage::rectified::UngroupedError;
use super::families::groups::grouping::GroupsError;
use super::families::relabel::relabelling::RelabelError;
use super::pass::external_sort::SortError;
use super::write::ArtifactError;
use super::write::parquet::TableError;
use super::write::plot::PlotError;
use crate::store::StoreError;

/// Why artifacts could not be made. Those of before stand untouched.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The store cannot be read.
    #[error("the artifacts cannot be made from the store")]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error("the artifacts cannot be written")]
    Artifact(#[from] ArtifactError),
    /// Pairs cannot be sorted.
    #[error("the data cannot be sorted")]
    Sort(#[from] SortError),
    /// There is no crawl in the store.
    #[error("the store is empty; `perfharvest crawl` fills it")]
    EmptyStore,
    /// An artifact needs a file that is not configured.
    #[error("{artifact} needs a file that is not configured: set {key}, {hint}")]
    NotConfigured {
        /// The artifact.
        artifact: Artifact,
        /// The key.
        key: &'static str,
        /// What such a file is and how to get one.
        hint: &'static str,
    },
    /// The commits cannot be used.
    #[error("inputs.commits cannot be used")]
    Commits(#[from] CommitsError),
    /// An input cannot be read.
    #[error("cannot read {}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Groups cannot be made.
    #[error("the signature groups cannot be made")]
    Groups(#[from] GroupsError<StoreError>),
    /// A signature without a group, in strict mode.
    #[error("the rectified table cannot be made (artifacts.strict)")]
    Ungrouped(#[from] UngroupedError),
    /// Relabelling failed.
    #[error("cannot relabel {}", path.display())]
    Relabel {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RelabelError,
    },
    /// A histogram cannot be drawn.
    #[error("a histogram cannot be drawn")]
    Plot {
        /// Why.
        #[source]
        source: PlotError,
    },
    /// A report cannot be written as JSON.
    #[error("a report cannot be written as JSON")]
    Report {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A Parquet table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A worker panicked; that is an error of this program.
    #[error("a reducer panicked; please report this with the lines above")]
    WorkerPanicked,
    /// The run was ended.
    #[error("interrupted; the artifacts of before stand untouched")]
    Interrupted,
    /// Something that this part of the work waited for failed first; that error is the one to show.
    #[error("a part of the reduction ended early; please report this")]
    Abandoned,
}

impl DatasetError {
    /// `artifact` cannot be made without `input`, which is not configured.
    pub(crate) fn not_configured(artifact: Artifact, input: Input) -> Self {
        let (key, hint) = input.setting();
        Self::NotConfigured { artifact, key, hint }
    }

    pub(super) fn write(path: PathBuf, source: std::io::Error) -> Self {
        Self::Artifact(ArtifactError::Write { path, source })
    }
}
