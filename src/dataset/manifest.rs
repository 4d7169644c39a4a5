//! Reads, prepares and replaces `manifest.json`, which lists the artifacts of a folder with their inputs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dataset::write::{
    ArtifactEntry, ArtifactFile, Finished, KindEntry, MANIFEST_FORMAT, MANIFEST_NAME, Manifest, NotMadeEntry, RunEntry,
    ToolEntry, publish,
};
use crate::model::{Kind, Timestamp};

use super::catalogue::Artifact;
use super::commits::check::warn_of_share;
use super::error::DatasetError;
use super::sources::{SEMANTICS, Sources};

/// The entries of a manifest.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    made: BTreeMap<String, ArtifactEntry>,
    not_made: BTreeMap<String, NotMadeEntry>,
}

impl Contents {
    /// The entries of the previous manifest whose files still exist.
    pub(crate) fn of(before: Option<&Manifest>, folder: &Path) -> Self {
        let Some(before) = before else { return Self::default() };
        let mut made = before.artifacts.clone();
        made.retain(|name, _| folder.join(name).is_file());
        Self { made, not_made: before.not_made.clone() }
    }

    /// Replaces the entry of `artifact`; `Err` holds the digests of inputs that have nothing for it.
    pub(crate) fn put(&mut self, artifact: Artifact, entry: Result<ArtifactEntry, BTreeMap<String, String>>) {
        let name = artifact.file_name();
        self.made.remove(name);
        self.not_made.remove(name);
        match entry {
            Ok(entry) => drop(self.made.insert(name.to_owned(), entry)),
            Err(inputs) => {
                let entry = NotMadeEntry { schema_version: artifact.schema_version(), inputs, reason: None };
                self.not_made.insert(name.to_owned(), entry);
            }
        }
    }

    /// Notes why `artifact` cannot be made. An earlier file stays, with its entry.
    pub(crate) fn refuse(&mut self, artifact: Artifact, inputs: BTreeMap<String, String>, reason: &str) {
        if !self.holds(artifact) {
            let reason = Some(reason.to_owned());
            let entry = NotMadeEntry { schema_version: artifact.schema_version(), inputs, reason };
            self.not_made.insert(artifact.file_name().to_owned(), entry);
        }
    }

    pub(crate) fn holds(&self, artifact: Artifact) -> bool {
        self.made.contains_key(artifact.file_name())
    }
}

impl Sources<'_> {
    /// Writes the manifest under a temporary name. Skips that if the previous manifest is equal and no file changes;
    /// a change of files removes the previous manifest first, so that it must be written again.
    pub(crate) fn prepare_manifest(
        &self,
        folder: &Path,
        contents: Contents,
        changes: BTreeMap<String, ArtifactEntry>,
        before: Option<Manifest>,
        changes_files: bool,
    ) -> Result<(Manifest, Option<Finished>), DatasetError> {
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
                set_aside: counts.set_aside,
                corrected: counts.corrected,
            }
        };
        let semantics = self.config.artifacts.semantics;
        let follows =
            |entry: &ArtifactEntry| entry.inputs.get(SEMANTICS).is_some_and(|named| *named == semantics.name());
        let mut manifest = Manifest {
            format: MANIFEST_FORMAT,
            tool: ToolEntry { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            crawl: self.identity.clone(),
            semantics: contents.made.values().all(follows).then_some(semantics),
            complete: self.counts.is_complete()
                && contents.not_made.values().all(|entry| entry.reason.is_none())
                && contents.made.iter().all(|(name, entry)| self.lacks_nothing(name, entry)),
            artifacts: contents.made,
            not_made: contents.not_made,
            commits: self.commit_counts(before.as_ref()),
            run: RunEntry {
                created_at: Timestamp::now(),
                store: self.store_id.clone(),
                publishing: Vec::new(),
                harvests: self.harvests.clone(),
                changes,
                requests_made: Kind::ALL.iter().map(|kind| self.counts.of(*kind).attempts).sum(),
                requests: self.counts.kinds().map(|kind| (kind.name().to_owned(), entry(kind))).collect(),
            },
        };
        if let Some(before) = before {
            let is_described = |name: &String| {
                manifest.artifacts.contains_key(name)
                    || manifest.not_made.contains_key(name)
                    || manifest.run.changes.contains_key(name)
            };
            // Those that a killed process left and that this reduction did not replace are still this store's.
            let left = before.run.publishing.iter().filter(|name| !is_described(name)).cloned();
            manifest.run.publishing = left.collect();
            let written_at = std::mem::replace(&mut manifest.run.created_at, before.run.created_at);
            if manifest == before && !changes_files {
                return Ok((before, None));
            }
            if manifest != before {
                manifest.run.created_at = written_at;
            }
        }
        let file = write_manifest(folder, &manifest)?;
        Ok((manifest, Some(file)))
    }

    /// Those of the previous manifest if no commits are configured now: its artifacts stay.
    fn commit_counts(&self, before: Option<&Manifest>) -> BTreeMap<String, u64> {
        let Some(commits) = self.commits else {
            return before.map(|before| before.commits.clone()).unwrap_or_default();
        };
        let counts = commits.counts(&self.store.push_revisions(), self.config.artifacts.semantics);
        warn_of_share(self.config.commits_file(), &counts);
        counts
    }

    /// True if the artifact covers the whole crawl. An artifact of an earlier reduction may cover less.
    fn lacks_nothing(&self, name: &str, entry: &ArtifactEntry) -> bool {
        let artifact = Artifact::ALL.iter().find(|artifact| artifact.file_name() == name);
        !lacks_jobs(entry) && artifact.is_some_and(|artifact| self.still_hold(*artifact, &entry.inputs))
    }
}

/// Key in [`ArtifactEntry::counts`]: jobs that belong in the artifact and were never requested.
pub(crate) const JOBS_NOT_ASKED: &str = "jobs_not_asked";

/// True if jobs that belong in the artifact were never requested.
pub(crate) fn lacks_jobs(entry: &ArtifactEntry) -> bool {
    entry.counts.get(JOBS_NOT_ASKED).is_some_and(|count| *count > 0)
}

/// Replaces the manifest, durably, by one that lists `publishing` without describing them. A process killed between the
/// renames must leave neither a manifest that describes the previous files, nor files that nobody claims.
pub(crate) fn claim_files<'a>(
    folder: &Path,
    manifest: &Manifest,
    publishing: impl Iterator<Item = &'a str>,
) -> Result<(), DatasetError> {
    let mut claim = Manifest { complete: false, ..manifest.clone() };
    for name in publishing {
        claim.artifacts.remove(name);
        claim.not_made.remove(name);
        claim.run.changes.remove(name);
        claim.run.publishing.push(name.to_owned());
    }
    Ok(publish(folder, vec![write_manifest(folder, &claim)?])?)
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<Finished, DatasetError> {
    let mut text = serde_json::to_vec_pretty(manifest).map_err(DatasetError::Report)?;
    text.push(b'\n');
    let mut file = ArtifactFile::create(folder, MANIFEST_NAME)?;
    let path = file.path().to_owned();
    std::io::Write::write_all(&mut file, &text).map_err(|source| DatasetError::write(path, source))?;
    Ok(file.finish()?)
}

/// Reads the manifest; `None` if it is missing or unreadable. The next reduction replaces an unreadable one.
pub(crate) fn read_manifest(folder: &Path) -> Option<Manifest> {
    serde_json::from_slice(&std::fs::read(folder.join(MANIFEST_NAME)).ok()?).ok()
}
