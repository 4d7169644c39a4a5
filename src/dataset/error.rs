//! The errors of a reduction.

use std::path::PathBuf;

use thiserror::Error;

use super::catalogue::{Artifact, Input};
use super::commits::CommitsError;
use super::families::coverage::rectified::UngroupedError;
use super::families::groups::grouping::GroupsError;
use super::families::relabel::relabelling::RelabelError;
use super::ownership::{FolderError, LockError};
use super::pass::external_sort::SortError;
use super::write::ArtifactError;
use super::write::parquet::TableError;
use super::write::plot::PlotError;
use crate::store::StoreError;

/// A failure to make artifacts. The previous artifacts are unchanged.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The store is unreadable or damaged.
    #[error("cannot make the artifacts from the store")]
    Store(#[from] StoreError),
    /// A file or the folder is not writable.
    #[error("cannot write the artifacts")]
    Artifact(#[from] ArtifactError),
    /// The folder belongs to another store or program, or another process writes to it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Sorting failed to write or read its temporary files.
    #[error("cannot sort the data")]
    Sort(#[from] SortError),
    /// The store does not belong to a crawl yet.
    #[error("the store is empty; run `perfharvest crawl` to fill it")]
    EmptyStore,
    /// An artifact needs an input that is not configured.
    #[error("{artifact} needs an input that is not configured: set {key}, {hint}")]
    NotConfigured {
        /// The artifact that needs the input.
        artifact: Artifact,
        /// The configuration key, with its flag.
        key: &'static str,
        /// The format of a file, and a way to get one; or the value of the key.
        hint: &'static str,
    },
    /// The file of commits is unreadable or has no usable line.
    #[error("cannot use inputs.commits")]
    Commits(#[from] CommitsError),
    /// An input file is unreadable.
    #[error("cannot read {}", .0.display())]
    Input(PathBuf, #[source] std::io::Error),
    /// The jobs of a signature changed or became unreadable.
    #[error("cannot make the signature groups")]
    Groups(#[from] GroupsError<StoreError>),
    /// A signature without a group, in strict mode.
    #[error("cannot make the rectified table (artifacts.strict)")]
    Ungrouped(#[from] UngroupedError),
    /// A record to relabel is malformed, or its file is unreadable.
    #[error("cannot relabel {}", .0.display())]
    Relabel(PathBuf, #[source] RelabelError),
    /// Drawing or encoding a histogram failed in memory.
    #[error("cannot draw a histogram")]
    Plot(#[from] PlotError),
    /// Encoding a document failed in memory.
    #[error("cannot write a report as JSON")]
    Report(#[source] serde_json::Error),
    /// A Parquet table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A defect of this program.
    #[error("a reducer panicked; please report this with the lines above")]
    WorkerPanicked,
    /// Ended by a signal, between two steps.
    #[error("interrupted; the previous artifacts are unchanged")]
    Interrupted,
    /// Another part of the reduction failed first; that error is the one to show.
    #[error("a part of the reduction ended early; please report this")]
    Abandoned,
    /// The system refused a thread. Exit code 4.
    #[error("cannot start a thread; raise the limit of processes (`ulimit -u`)")]
    Thread(#[source] std::io::Error),
}

impl DatasetError {
    /// The error for an `artifact` whose `input` is not configured.
    pub(crate) fn not_configured(artifact: Artifact, input: Input) -> Self {
        let (key, hint) = input.setting();
        Self::NotConfigured { artifact, key, hint }
    }

    /// The error and its causes on one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }

    pub(super) fn write(path: PathBuf, source: std::io::Error) -> Self {
        Self::Artifact(ArtifactError::Write { path, source })
    }
}

/// An error and its causes on one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl From<LockError> for DatasetError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Folder(error) => error.into(),
            LockError::Artifact(error) => error.into(),
        }
    }
}
