//! 4. DATASET: from the store to the artifacts, without the network.
//!
//! ```text
//!   store -> pass (workers decode blocks in key order) => families, a reducer actor each -> write -> artifact files, manifest last
//! ```
//!
//! [`reduce`] selects the artifacts that are out of date (`sources`) and starts the families that make them (`family`);
//! families that read data share one `pass`. [`catalogue`](Artifact) lists every artifact with its family. All files of
//! a reduction appear together at its end. [`compute_overview`] computes the numbers of the report, and writes nothing.

mod catalogue;
mod changes;
pub(crate) mod commits;
#[cfg(test)]
mod corpus;
mod error;
pub(crate) mod families;
mod family;
mod lines;
mod manifest;
mod output;
mod overview;
mod ownership;
mod pass;
mod promise;
mod reduction;
mod sources;
pub mod summary_stats;
pub mod write;

pub use catalogue::{Artifact, Input, UnknownArtifact};
pub(crate) use changes::changes_file;
pub use error::DatasetError;
pub use families::bisect::check_bisect_inputs;
pub(crate) use families::busiest::keep_busiest_revisions;
pub use families::busiest::{BusiestRevisions, RevisionJobs, busiest_revisions};
pub use families::relabel::{check_llm_records, relabel_with_store};
pub use families::replicates::{ReplicateCounts, ReplicateShare};
pub use families::tables;
pub use overview::{CoveredRevision, Overview, WaitingJob, compute_overview};
pub use ownership::FolderError;
pub(crate) use ownership::{FolderKind, FolderLock, Owner};
pub use pytext::counts::ValueCounts;
pub use pytext::stats;
pub use reduction::{ReduceOrder, ReduceSummary, reduce};
pub use sources::read_commits;
pub use write::{ArtifactEntry, ArtifactError, ArtifactFile, Manifest, publish};
