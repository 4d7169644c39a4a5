//! `manifest.json`: what the dataset is, written last.
//!
//! Everything but `run` is the same for the same answers of the server, however the crawl went.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Semantics;
use crate::model::Timestamp;
use crate::store::CrawlIdentity;

/// The file's name.
pub const MANIFEST_NAME: &str = "manifest.json";

/// Version of the manifest's own form.
pub const MANIFEST_FORMAT: u32 = 1;

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// What wrote it.
    pub tool: ToolEntry,
    /// The crawl that the dataset was made from.
    pub crawl: CrawlIdentity,
    /// The definitions that the artifacts follow; `None` when they follow different ones, which their `inputs` name.
    pub semantics: Option<Semantics>,
    /// False when rows may be missing: something failed or is still to be fetched, or an artifact is of an earlier state of
    /// the crawl.
    pub complete: bool,
    /// The artifacts, by name.
    pub artifacts: BTreeMap<String, ArtifactEntry>,
    /// Artifacts that are not there because what they are made from holds nothing for them, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_made: BTreeMap<String, NotMadeEntry>,
    /// What depends on when and how the crawl went.
    pub run: RunEntry,
}

/// What wrote a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolEntry {
    /// `perfharvest`
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What became of the requests of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindEntry {
    /// Settled with records.
    pub data: u64,
    /// Settled: the server has none.
    pub empty: u64,
    /// Settled: the server no longer has it.
    pub gone: u64,
    /// Settled without asking.
    pub skipped: u64,
    /// Given up for now.
    pub failed: u64,
    /// Not asked yet.
    pub pending: u64,
    /// Records stored.
    pub records: u64,
}

/// What depends on when and how a crawl went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// When the manifest was written.
    pub created_at: Timestamp,
    /// HTTP requests of all runs whose answers or failures were stored.
    pub requests_made: u64,
    /// What became of the requests, by kind. What failed as a whole was asked in parts, which count one by one.
    pub requests: BTreeMap<String, KindEntry>,
}

/// An artifact for which there was nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMadeEntry {
    /// Version of its columns and keys.
    pub schema_version: u32,
    /// As in [`ArtifactEntry::inputs`].
    pub inputs: BTreeMap<String, String>,
}

/// One artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactEntry {
    /// Rows or lines, without a header; `None` for files without rows.
    pub rows: Option<u64>,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Version of its columns and keys.
    pub schema_version: u32,
    /// Digests of what it was made from, by input; also the options that shape it.
    pub inputs: BTreeMap<String, String>,
    /// Rows or values that each correction touched, and rows that were left out, by reason.
    pub counts: BTreeMap<String, u64>,
}
