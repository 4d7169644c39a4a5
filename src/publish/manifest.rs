//! The `manifest.json` of a published folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Semantics;
use crate::dataset::ArtifactEntry;
use crate::dataset::write::{NotMadeEntry, RunEntry, ToolEntry};
use crate::store::CrawlIdentity;

/// Version of the format.
pub(super) const FORMAT: u32 = 1;

/// Distinguishes the manifest from that of a folder of artifacts.
pub(super) const KIND: &str = "published";

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PublishedManifest {
    /// [`FORMAT`]
    pub(super) format: u32,
    /// [`KIND`]
    pub(super) kind: String,
    pub(super) tool: ToolEntry,
    pub(super) crawl: CrawlIdentity,
    pub(super) semantics: Option<Semantics>,
    /// False if anything is missing.
    pub(super) complete: bool,
    /// Of the tables.
    pub(super) schema_version: u32,
    /// By place; `None` if addresses were kept.
    pub(super) addresses_redacted: Option<BTreeMap<String, u64>>,
    /// By path, without this file.
    pub(super) files: BTreeMap<String, FileEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) not_made: BTreeMap<String, NotMadeEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) commits: BTreeMap<String, u64>,
    pub(super) run: RunEntry,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) bytes: u64,
    /// Hex.
    pub(super) sha256: String,
    /// The table that the file belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    /// The artifact as it was before compression: its digest, inputs and counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uncompressed: Option<ArtifactEntry>,
}
