//! One reduction: which artifacts are out of date, then all of them made and put in their place together.

use std::collections::BTreeSet;
use std::path::Path;

use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::write::{ArtifactFile, Manifest, check_folder, publish, remove_leftovers};
use crate::model::FrameworkId;
use crate::observe::Reducing;
use crate::store::{CrawlIdentity, Store};

use crate::dataset::commits::Commits;
use crate::dataset::families::alerts::table::reduce_alerts;
use crate::dataset::families::busiest::{self, BusiestRevisions};
use crate::dataset::families::relabel::labels::Labels;
use crate::dataset::lookups::read_signatures;
use crate::dataset::manifest::{Contents, lacks_jobs, read_manifest, withdraw_manifest};
use crate::dataset::output::{OnDisk, Outputs};
use crate::dataset::pass::Means;
use crate::dataset::pass::signatures::Signatures;
use crate::dataset::sources::{Sources, file_digest};
use crate::dataset::{Artifact, ReduceError};

/// What a reduction is asked to do, and by what.
#[derive(Clone, Copy, Debug)]
pub struct ReduceOrder<'a> {
    /// Semantics, folder, workers, memory and the other inputs.
    pub config: &'a Config,
    /// The commits of the window, as [`read_commits`] gives them; `None` when none are configured.
    pub commits: Option<&'a Commits>,
    /// The artifacts to make; empty for all that the inputs allow.
    pub artifacts: &'a [Artifact],
    /// Ends it.
    pub shutdown: &'a Shutdown,
    /// Where it tells how far it is.
    pub reducing: &'a Reducing,
}

/// What came of a reduction.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceSummary {
    /// Artifacts that were written.
    pub written: Vec<Artifact>,
    /// Artifacts whose inputs had not changed.
    pub unchanged: Vec<Artifact>,
    /// True when the artifacts that were asked for lack nothing that a crawl could bring.
    pub complete: bool,
    /// The manifest, as it stands on the disk.
    pub manifest: Manifest,
}

/// Reads the configured commits; `None` when none are configured.
///
/// # Errors
/// [`ReduceError::Commits`].
pub fn read_commits(config: &Config, identity: &CrawlIdentity) -> Result<Option<Commits>, ReduceError> {
    let Some(path) = config.commits_file() else { return Ok(None) };
    if config.inputs.commits_from.is_some() && !path.exists() {
        return Ok(None); // no run has made it yet
    }
    let commits = Commits::read(&path, identity.window_start, identity.window_end)?;
    if commits.report.skipped.total_not_blank() > 0 {
        tracing::warn!(file = %path.display(), "skipped lines of the commits: {}", commits.report.skipped);
    }
    Ok(Some(commits))
}

/// Makes artifacts from what is stored.
///
/// # Errors
/// [`ReduceError`]; then no artifact has changed.
pub fn reduce(store: &Store, order: ReduceOrder<'_>) -> Result<ReduceSummary, ReduceError> {
    let ReduceOrder { config, commits, artifacts, shutdown, reducing } = order;
    let identity = store.identity()?.ok_or(ReduceError::EmptyStore)?;
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
        shutdown,
        reducing,
    };
    let asked = sources.makeable(artifacts)?;
    let before = read_manifest(folder);
    let (wanted, current): (BTreeSet<_>, BTreeSet<_>) =
        asked.iter().copied().partition(|artifact| !sources.is_current(before.as_ref(), *artifact));
    let mut outputs = if wanted.is_empty() { OnDisk::default() } else { sources.make(&wanted)?.on_disk()? };
    for (artifact, entry) in &mut outputs.entries {
        entry.inputs = sources.input_digests(*artifact);
    }
    let mut contents = Contents::of(before.as_ref(), folder);
    let mut stale = Vec::new();
    for artifact in &wanted {
        let entry = outputs.entries.get(artifact).cloned();
        if entry.is_none() {
            // What cannot be made any more (no revision has a job) must not stand there as if it were current.
            stale.extend(Some(folder.join(artifact.file_name())).filter(|path| path.exists()));
        }
        contents.put(*artifact, entry.ok_or_else(|| sources.input_digests(*artifact)));
    }
    let written: Vec<Artifact> = outputs.entries.keys().copied().collect();
    let unchanged = current.into_iter().filter(|artifact| contents.holds(*artifact)).collect();
    reducing.enter("putting the artifacts in their place");
    let changes_files = !outputs.finished.is_empty() || !stale.is_empty();
    let (manifest, described) = sources.prepare_manifest(folder, contents, before, changes_files)?;
    if changes_files {
        // A process that is killed between the renames must not leave a manifest that describes the files of before.
        withdraw_manifest(folder)?;
    }
    for path in stale {
        std::fs::remove_file(&path).map_err(|source| ReduceError::write(path, source))?;
    }
    outputs.finished.extend(described);
    publish(folder, outputs.finished)?;
    let complete = sources.counts.is_complete()
        && asked.iter().all(|artifact| !manifest.artifacts.get(artifact.file_name()).is_some_and(lacks_jobs));
    Ok(ReduceSummary { written, unchanged, complete, manifest })
}

/// The busiest revisions of the window.
///
/// # Errors
/// [`ReduceError`] when the store cannot be read.
pub fn busiest_revisions(
    store: &Store,
    config: &Config,
    commits: &Commits,
    reducing: &Reducing,
) -> Result<BusiestRevisions, ReduceError> {
    // Sorting may need room for temporary files; the store's own folder has it, whatever the artifacts' folder is.
    let means = Means::of(config, store.path(), reducing);
    let signatures = Signatures::complete(store)?;
    busiest::find(store, &signatures, commits, means)
}

/// Relabels any file by what is stored; returns the report's text.
///
/// # Errors
/// [`ReduceError`].
pub fn relabel_with_store(
    store: &Store,
    excluded: &BTreeSet<FrameworkId>,
    input: &Path,
    limit: Option<u64>,
    output: &mut ArtifactFile,
) -> Result<String, ReduceError> {
    let identity = store.identity()?.ok_or(ReduceError::EmptyStore)?;
    let nothing = BTreeSet::new();
    let folder = Path::new(".");
    let artifacts = crate::config::ArtifactsConfig::default();
    let tables = reduce_alerts(store, &identity, folder, &artifacts, &nothing, &mut Outputs::default())?;
    let signatures = read_signatures(store, folder, false, None, &mut Outputs::default())?;
    let labels = Labels { tables: &tables, frameworks: &signatures.frameworks, excluded };
    let relabelled = labels.relabel_file(input, limit, output)?;
    relabelled.report.to_json_text().map_err(|source| ReduceError::Report { source })
}
