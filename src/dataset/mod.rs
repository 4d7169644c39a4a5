//! 4. REDUCERS: from the store to the artifacts, without the network.
//!
//! [`reduce`] works out which artifacts are out of date (`sources`), passes over the data once (`scan`, with workers on all
//! cores),
//! and has each family write its files from what the pass gave: `coverage`, `job_index`, `groups`, `durations`, `busiest`,
//! `alert_table`, `relabelled`. All files of a reduction appear together at its end, the manifest last. Statistics have
//! one definition each, in [`stats`].

mod catalogue;
pub mod commits;
#[cfg(test)]
mod corpus;
pub mod families;
mod lines;
mod lookups;
mod making;
mod manifest;
mod output;
mod overview;
pub mod pass;
mod reduction;
mod sources;
pub mod summary_stats;
pub mod write;

use std::path::PathBuf;

use thiserror::Error;

pub use catalogue::{Artifact, Input, UnknownArtifact};
pub use families::busiest::{BusiestRevisions, RevisionJobs};
pub use families::tables;
pub use overview::{CoveredRevision, Overview, WaitingJob, survey};
pub use pytext::counts::Counts as ValueCounts;
pub use pytext::stats;
pub use reduction::{ReduceOrder, ReduceSummary, busiest_revisions, read_commits, reduce, relabel_with_store};

pub(crate) use pytext::counts;

use self::families::coverage::rectified;
use self::families::{groups, relabel};
use self::pass::external_sort;
use crate::dataset::write::ArtifactError;
use crate::store::StoreError;

/// Why artifacts could not be made. Those of before stand untouched.
#[derive(Debug, Error)]
pub enum ReduceError {
    /// The store cannot be read.
    #[error("the artifacts cannot be made from the store")]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error("the artifacts cannot be written")]
    Artifact(#[from] ArtifactError),
    /// Pairs cannot be sorted.
    #[error("the data cannot be sorted")]
    Sort {
        /// Why.
        #[source]
        source: external_sort::SortError,
    },
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
    Commits(#[from] commits::CommitsError),
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
    Groups(#[from] groups::GroupsError<StoreError>),
    /// A signature without a group, in strict mode.
    #[error("the rectified table cannot be made (artifacts.strict)")]
    Ungrouped(#[from] rectified::UngroupedError),
    /// Relabelling failed.
    #[error("cannot relabel {}", path.display())]
    Relabel {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: relabel::RelabelError,
    },
    /// A histogram cannot be drawn.
    #[error("a histogram cannot be drawn")]
    Plot {
        /// Why.
        #[source]
        source: crate::dataset::write::plot::PlotError,
    },
    /// A report cannot be written as JSON.
    #[error("a report cannot be written as JSON")]
    Report {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A worker panicked; that is an error of this program.
    #[error("a reducer panicked; please report this with the lines above")]
    WorkerPanicked,
    /// The run was ended.
    #[error("interrupted; the artifacts of before stand untouched")]
    Interrupted,
}

impl ReduceError {
    fn write(path: PathBuf, source: std::io::Error) -> Self {
        Self::Artifact(ArtifactError::Write { path, source })
    }
}
