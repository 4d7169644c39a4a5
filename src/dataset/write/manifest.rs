//! The format of `manifest.json`, which describes the artifacts and is written last.
//!
//! Promises: the same answers of the server give the same manifest, except for `run`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Semantics;
use crate::model::Timestamp;
use crate::store::{CrawlIdentity, Harvest};

/// The file's name.
pub const MANIFEST_NAME: &str = "manifest.json";

/// Version of the manifest format.
pub const MANIFEST_FORMAT: u32 = 1;

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`]
    pub format: u32,
    /// The program that wrote the manifest.
    pub tool: ToolEntry,
    /// The crawl of the dataset.
    pub crawl: CrawlIdentity,
    /// The definitions that the artifacts follow; `None` if they differ, in which case their `inputs` name them.
    pub semantics: Option<Semantics>,
    /// False if rows may be missing: requests failed or are pending, or an artifact is of an earlier state of the crawl.
    pub complete: bool,
    /// Entries by file name.
    pub artifacts: BTreeMap<String, ArtifactEntry>,
    /// Artifacts that were not made, by file name; without a reason if their inputs have nothing for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_made: BTreeMap<String, NotMadeEntry>,
    /// Counts of the file of commits, and of the revisions with data that it lists; empty without a file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<String, u64>,
    /// Values that depend on the time and course of the crawl.
    pub run: RunEntry,
}

impl Manifest {
    /// Records of all kinds that cannot be read, and are in no artifact.
    #[must_use]
    pub fn num_set_aside(&self) -> u64 {
        self.run.requests.values().map(|kind| kind.set_aside).sum()
    }
}

/// The program that wrote a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolEntry {
    /// `perfharvest`
    pub name: String,
    /// Version of the program.
    pub version: String,
}

/// Counts of the requests of a kind, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindEntry {
    /// Settled with records.
    pub data: u64,
    /// Settled: the server has none.
    pub empty: u64,
    /// Settled: the server no longer has it.
    pub gone: u64,
    /// Settled without a request.
    pub skipped: u64,
    /// Failed after all retries.
    pub failed: u64,
    /// Not requested yet.
    pub pending: u64,
    /// Number of stored records.
    pub records: u64,
    /// Records that cannot be read, and are in no artifact.
    #[serde(default)]
    pub set_aside: u64,
    /// Records that were corrected to be readable.
    #[serde(default)]
    pub corrected: u64,
}

/// Values that depend on the time and course of a crawl.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// Time of writing the manifest.
    pub created_at: Timestamp,
    /// Random id of the store, which distinguishes it from other stores of the same crawl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Files that were being replaced when the process was killed; empty in a finished manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishing: Vec<String>,
    /// The harvests of the store, the first one first; the artifacts are those of the last one that was joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub harvests: Vec<Harvest>,
    /// The files of the change feed by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, ArtifactEntry>,
    /// HTTP requests of all runs whose answers or failures were stored.
    pub requests_made: u64,
    /// Counts by kind. The parts of a split request count one by one.
    pub requests: BTreeMap<String, KindEntry>,
}

/// An artifact that was not made, because its inputs have nothing for it, or because one of them is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMadeEntry {
    /// Version of its columns and keys.
    pub schema_version: u32,
    /// As in [`ArtifactEntry::inputs`].
    pub inputs: BTreeMap<String, String>,
    /// The defect of a malformed input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactEntry {
    /// Rows or lines, without a header; `None` for files without rows.
    pub rows: Option<u64>,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Version of its columns and keys.
    pub schema_version: u32,
    /// Digests of the inputs by name, and the options that affect the artifact.
    pub inputs: BTreeMap<String, String>,
    /// Numbers of rows or values that each correction changed, and of rows left out, by reason.
    pub counts: BTreeMap<String, u64>,
}
