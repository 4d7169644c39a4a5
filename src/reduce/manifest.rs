//! `manifest.json`: what stands in the folder of artifacts, and from what it was made.

use std::collections::BTreeMap;
use std::path::Path;

use crate::artifact::{
    ArtifactEntry, ArtifactFile, Finished, KindEntry, MANIFEST_FORMAT, MANIFEST_NAME, Manifest, RunEntry, ToolEntry,
};
use crate::model::{Kind, Timestamp};

use super::ReduceError;
use super::sources::Sources;

impl Sources<'_> {
    /// Writes the manifest under a temporary name, unless it would say what it says already.
    pub(super) fn prepare_manifest(
        &self,
        folder: &Path,
        artifacts: BTreeMap<String, ArtifactEntry>,
        before: Option<Manifest>,
    ) -> Result<(Manifest, Option<Finished>), ReduceError> {
        let entry = |kind: Kind| {
            let counts = self.counts.of(kind);
            KindEntry {
                data: counts.data,
                empty: counts.empty,
                gone: counts.gone,
                skipped: counts.skipped,
                failed: counts.failed,
                pending: counts.pending,
                records: counts.records,
            }
        };
        let mut manifest = Manifest {
            format: MANIFEST_FORMAT,
            tool: ToolEntry { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            crawl: self.identity.clone(),
            semantics: self.config.artifacts.semantics,
            complete: self.counts.pending() == 0 && self.counts.failed() == 0 && self.counts.settled() > 0,
            artifacts,
            run: RunEntry {
                created_at: Timestamp::now(),
                requests_made: Kind::ALL.iter().map(|kind| self.counts.of(*kind).attempts).sum(),
                requests: Kind::ALL.iter().map(|kind| (kind.name().to_owned(), entry(*kind))).collect(),
            },
        };
        if let Some(before) = before {
            let written_at = std::mem::replace(&mut manifest.run.created_at, before.run.created_at);
            if manifest == before {
                return Ok((before, None));
            }
            manifest.run.created_at = written_at;
        }
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(|source| ReduceError::Report { source })?;
        text.push(b'\n');
        let mut file = ArtifactFile::create(folder, MANIFEST_NAME)?;
        let path = file.path().to_owned();
        std::io::Write::write_all(&mut file, &text).map_err(|source| ReduceError::write(path, source))?;
        Ok((manifest, Some(file.finish()?)))
    }
}

/// Removes it, durably.
pub(super) fn withdraw_manifest(folder: &Path) -> Result<(), ReduceError> {
    let path = folder.join(MANIFEST_NAME);
    let removed = match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let durably = removed.and_then(|()| std::fs::File::open(folder)?.sync_all());
    durably.map_err(|source| ReduceError::write(path, source))
}

/// Reads it; `None` when there is none.
pub(super) fn read_manifest(folder: &Path) -> Option<Manifest> {
    // One that cannot be read says nothing about the artifacts, and is written anew.
    serde_json::from_slice(&std::fs::read(folder.join(MANIFEST_NAME)).ok()?).ok()
}
