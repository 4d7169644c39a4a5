//! Runs one reduction: selects the artifacts that are out of date, makes them, and publishes them together.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::actor::Shutdown;
use crate::config::Config;
use crate::observe::Reducing;
use crate::store::Store;

use super::catalogue::Artifact;
use super::commits::Commits;
use super::error::DatasetError;
use super::families;
use super::family::{Context, Making};
use super::manifest::{Contents, lacks_jobs, read_manifest, withdraw_manifest};
use super::output::OnDisk;
use super::pass::Means;
use super::pass::signatures::Signatures;
use super::sources::{Sources, file_digest};
use super::write::{Manifest, check_folder, publish, remove_leftovers};

/// The parameters of a reduction.
#[derive(Clone, Copy, Debug)]
pub struct ReduceOrder<'a> {
    /// Semantics, folder, workers, memory and the other inputs.
    pub config: &'a Config,
    /// The commits of the window, from [`read_commits`](super::read_commits); `None` if none are configured.
    pub commits: Option<&'a Commits>,
    /// The artifacts to make; empty selects all that the inputs allow.
    pub artifacts: &'a [Artifact],
    /// Interrupts the reduction.
    pub shutdown: &'a Shutdown,
    /// Receives the progress.
    pub reducing: &'a Reducing,
}

/// The result of a reduction.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceSummary {
    /// Artifacts that were made and published.
    pub written: Vec<Artifact>,
    /// Artifacts whose inputs had not changed.
    pub unchanged: Vec<Artifact>,
    /// True if nothing is missing that a crawl could still add to the requested artifacts.
    pub complete: bool,
    /// The manifest on disk.
    pub manifest: Manifest,
}

/// Makes artifacts from the store.
///
/// # Errors
/// [`DatasetError`]; the artifacts are unchanged.
pub fn reduce(store: &Store, order: ReduceOrder<'_>) -> Result<ReduceSummary, DatasetError> {
    let ReduceOrder { config, commits, artifacts, shutdown, reducing } = order;
    let identity = store.identity()?.ok_or(DatasetError::EmptyStore)?;
    let folder = &config.artifacts.out;
    check_folder(folder)?;
    remove_leftovers(folder);
    let sources = Sources {
        store,
        config,
        counts: store.counts()?,
        commits,
        llm_digest: config.inputs.perf_llm_struc.as_deref().map(file_digest).transpose()?,
        identity,
    };
    let asked = sources.makeable(artifacts)?;
    let before = read_manifest(folder);
    let (wanted, current): (BTreeSet<_>, BTreeSet<_>) =
        asked.iter().copied().partition(|artifact| !sources.is_current(before.as_ref(), *artifact));
    let mut outputs = make(&sources, &wanted, Means::of(config, folder, reducing, shutdown))?;
    for (artifact, entry) in &mut outputs.entries {
        entry.inputs = sources.input_digests(*artifact);
    }
    let mut contents = Contents::of(before.as_ref(), folder);
    let mut stale = Vec::new();
    for artifact in &wanted {
        let entry = outputs.entries.get(artifact).cloned();
        if entry.is_none() {
            // The inputs no longer hold anything for it (no revision has a job): an old file would look current.
            stale.extend(Some(folder.join(artifact.file_name())).filter(|path| path.exists()));
        }
        contents.put(*artifact, entry.ok_or_else(|| sources.input_digests(*artifact)));
    }
    let written: Vec<Artifact> = outputs.entries.keys().copied().collect();
    let unchanged = current.into_iter().filter(|artifact| contents.holds(*artifact)).collect();
    reducing.enter("publishing the artifacts");
    let changes_files = !outputs.finished.is_empty() || !stale.is_empty();
    let (manifest, described) = sources.prepare_manifest(folder, contents, before, changes_files)?;
    if changes_files {
        // A process killed between the renames must not leave a manifest that describes the previous files.
        withdraw_manifest(folder)?;
    }
    for path in stale {
        std::fs::remove_file(&path).map_err(|source| DatasetError::write(path, source))?;
    }
    outputs.finished.extend(described);
    publish(folder, outputs.finished)?;
    let complete = sources.counts.is_complete()
        && asked.iter().all(|artifact| !manifest.artifacts.get(artifact.file_name()).is_some_and(lacks_jobs));
    Ok(ReduceSummary { written, unchanged, complete, manifest })
}

/// Makes the wanted artifacts, under temporary names.
fn make(sources: &Sources<'_>, wanted: &BTreeSet<Artifact>, means: Means<'_>) -> Result<OnDisk, DatasetError> {
    if wanted.is_empty() {
        return Ok(OnDisk::default());
    }
    let context = Context {
        store: sources.store,
        identity: &sources.identity,
        config: sources.config,
        commits: sources.commits,
        signatures: &Signatures::complete(sources.store)?,
        means,
        wanted,
        outputs: Mutex::default(),
    };
    Making::make(&context, families::start)?;
    context.outputs.into_inner().unwrap_or_else(PoisonError::into_inner).on_disk()
}
