//! The `manifest.json` of a folder that `reduce` has made: the crawl of its files, and whether they are the files it describes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::ImportError;
use super::blocks::each_block;
use super::report::{DATA_NAME, MANIFEST_NAME};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::model::Timestamp;
use crate::store::CrawlIdentity;

/// The part of a manifest that an import uses.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) crawl: CrawlIdentity,
    complete: bool,
    artifacts: BTreeMap<String, ArtifactEntry>,
    run: RunEntry,
}

#[derive(Debug, Deserialize)]
struct ArtifactEntry {
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct RunEntry {
    created_at: Timestamp,
}

impl Manifest {
    /// The manifest in `folder`; `None` if it is missing or unreadable.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join(MANIFEST_NAME)).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(|error| tracing::warn!("{MANIFEST_NAME} cannot be used: {error}"))
            .ok()
    }

    /// Refuses files of another server or repository than those of `config`.
    pub(super) fn check_source(&self, folder: &Path, config: &Config) -> Result<(), ImportError> {
        let of = |crawl: &CrawlIdentity| format!("{} from {}", crawl.repository, crawl.base_url);
        let asked = CrawlIdentity::create(config, self.crawl.data_end);
        if (&asked.repository, &asked.base_url) == (&self.crawl.repository, &self.crawl.base_url) {
            return Ok(());
        }
        Err(ImportError::OtherSource { path: folder.join(MANIFEST_NAME), named: of(&self.crawl), asked: of(&asked) })
    }

    /// The end of the data, if the manifest proves it for the file `data`: its crawl was complete, and this is its file. Nothing
    /// was fetched after the manifest was written.
    pub(super) fn proven_end(&self, data: &Path, shutdown: &Shutdown) -> Result<Option<Timestamp>, ImportError> {
        if !self.complete {
            tracing::warn!("{MANIFEST_NAME} is of an incomplete dataset, so its data_end does not count");
            return Ok(None);
        }
        let mut hash = Sha256::new();
        each_block(data, shutdown, |block| hash.update(block))?;
        let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if self.artifacts.get(DATA_NAME).is_none_or(|entry| entry.sha256 != sha256) {
            tracing::warn!("{MANIFEST_NAME} describes another {DATA_NAME}, so its data_end does not count");
            return Ok(None);
        }
        Ok(Some(self.crawl.data_end.min(self.run.created_at)))
    }
}
