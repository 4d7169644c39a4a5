//! Runs one reduction: selects the artifacts that are out of date, makes them, and publishes them together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::actor::Shutdown;
use crate::config::{Config, Semantics};
use crate::observe::Reducing;
use crate::store::Store;

use super::catalogue::{Artifact, Input};
use super::changes::{Feed, FeedMaker};
use super::commits::Commits;
use super::error::DatasetError;
use super::families;
use super::families::relabel::check_llm_records;
use super::family::{Context, Making};
use super::manifest::{Contents, claim_files, lacks_jobs, read_manifest};
use super::output::OnDisk;
use super::ownership::{FolderKind, Owner};
use super::pass::Means;
use super::pass::signatures::Signatures;
use super::sources::{Sources, input_digest};
use super::write::{Manifest, make_folder, publish, remove_leftovers};

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
    /// Artifacts that cannot be made because of a malformed input, with its defect.
    pub refused: BTreeMap<Artifact, String>,
    /// True if all requested artifacts are made, and a crawl could add nothing to them.
    pub complete: bool,
    /// The manifest on disk.
    pub manifest: Manifest,
}

/// Makes artifacts from the store. A malformed input file costs only the artifacts that need it.
///
/// # Errors
/// [`DatasetError`]; the artifacts are unchanged.
pub fn reduce(store: &Store, order: ReduceOrder<'_>) -> Result<ReduceSummary, DatasetError> {
    let ReduceOrder { config, commits, artifacts, shutdown, reducing } = order;
    let identity = store.identity()?.ok_or(DatasetError::EmptyStore)?;
    let folder = &config.artifacts.out;
    let _made = make_folder(folder)?;
    let (kind, owner) = (FolderKind::artifacts(), Owner::at(store.path()));
    let unlisted = owner.as_ref().map(|owner| kind.unlisted(folder, owner)).transpose()?.unwrap_or_default();
    remove_leftovers(folder);
    let sources = Sources {
        store,
        config,
        counts: store.counts()?,
        harvests: store.harvests()?.into_iter().filter(|harvest| store.shows(harvest.number)).collect(),
        alert_history: store.alert_history_digest()?,
        commits,
        llm_digest: config.inputs.perf_llm_struc.as_deref().map(input_digest).transpose()?,
        store_id: owner.as_ref().and_then(Owner::id).map(str::to_owned),
        identity,
    };
    sources.check_commits()?;
    let asked = sources.makeable(artifacts)?;
    let before = read_manifest(folder);
    let (wanted, current): (BTreeSet<_>, BTreeSet<_>) =
        asked.iter().copied().partition(|artifact| !sources.is_current(before.as_ref(), *artifact));
    let (mut wanted, mut refused) = without_malformed_input(config, wanted, asked.len())?;
    let mut outputs = make(&sources, &wanted, Means::of(config, folder, reducing, shutdown))?;
    wanted.retain(|artifact| !outputs.refused.contains_key(artifact));
    refused.append(&mut outputs.refused);
    for (artifact, entry) in &mut outputs.entries {
        entry.inputs = sources.input_digests(*artifact);
    }
    let maker = FeedMaker { store, out: folder, redact: config.artifacts.redact_emails, shutdown };
    // An order for some artifacts leaves the feed as it is.
    let feed = if artifacts.is_empty() { Some(maker.make(before.as_ref())?) } else { None };
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
    for (artifact, reason) in &refused {
        contents.refuse(*artifact, sources.input_digests(*artifact), reason);
    }
    let same = outputs.give_up_same(before.as_ref(), folder);
    let written = outputs.entries.keys().copied().filter(|artifact| !same.contains(artifact)).collect();
    let unchanged = current.into_iter().filter(|artifact| contents.holds(*artifact)).chain(same).collect();
    reducing.enter("publishing the artifacts");
    kind.refuse_others(folder, &unlisted, &outputs.finished, &stale)?;
    let of_feed: Vec<String> = feed.iter().flat_map(Feed::to_publish).collect();
    let changes_files = !outputs.finished.is_empty() || !stale.is_empty() || !of_feed.is_empty();
    let changes = match (&feed, &before) {
        (Some(feed), _) => feed.entries.clone(),
        (None, before) => before.as_ref().map(|before| before.run.changes.clone()).unwrap_or_default(),
    };
    let (manifest, described) = sources.prepare_manifest(folder, contents, changes, before, changes_files)?;
    if changes_files {
        let names = wanted.iter().map(|artifact| artifact.file_name());
        claim_files(folder, &manifest, names.chain(of_feed.iter().map(String::as_str)))?;
    }
    feed.map_or(Ok(()), |feed| feed.publish(folder))?;
    for path in stale {
        std::fs::remove_file(&path).map_err(|source| DatasetError::write(path, source))?;
    }
    outputs.finished.extend(described);
    publish(folder, outputs.finished)?;
    let complete = sources.counts.is_complete()
        && refused.is_empty()
        && asked.iter().all(|artifact| !manifest.artifacts.get(artifact.file_name()).is_some_and(lacks_jobs));
    Ok(ReduceSummary { written, unchanged, refused, complete, manifest })
}

/// Splits the wanted artifacts: those that can be made, and those that need malformed records, with the defect. In the
/// reference semantics, only the report cannot be made: the records end before the malformed line, as in the older scripts.
///
/// # Errors
/// [`DatasetError`] if the file is unreadable, or if nothing else was `asked` for.
fn without_malformed_input(
    config: &Config,
    wanted: BTreeSet<Artifact>,
    num_asked: usize,
) -> Result<(BTreeSet<Artifact>, BTreeMap<Artifact, String>), DatasetError> {
    let (mut needing, mut others): (BTreeSet<_>, BTreeSet<_>) =
        wanted.into_iter().partition(|artifact| artifact.inputs().contains(&Input::PerfLlmStruc));
    if needing.is_empty() {
        return Ok((others, BTreeMap::new()));
    }
    match check_llm_records(config) {
        Ok(()) => Ok((&needing | &others, BTreeMap::new())),
        Err(error @ DatasetError::Relabel(..)) if needing.len() < num_asked => {
            let mut reason = error.with_causes();
            if config.artifacts.semantics == Semantics::Reference {
                others.extend(needing.take(&Artifact::Relabelled));
                reason.push_str(&format!("; {} ends before that line", Artifact::Relabelled));
            }
            Ok((others, needing.into_iter().map(|artifact| (artifact, reason.clone())).collect()))
        }
        Err(error) => Err(error),
    }
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
