//! One reduction: which artifacts are out of date, what they need, in which order the families run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::actor::Shutdown;
use crate::artifact::{
    ArtifactEntry, ArtifactFile, Finished, KindEntry, MANIFEST_FORMAT, MANIFEST_NAME, Manifest, RunEntry, ToolEntry,
    check_folder, publish, remove_leftovers,
};
use crate::config::{Config, Semantics};
use crate::model::{FrameworkId, Kind, Request, SignatureId, Timestamp};
use crate::store::{Counts, CrawlIdentity, Store, StoreError};

use super::alert_table::reduce_alerts;
use super::alerts::AlertTables;
use super::busiest::{self, BusiestRevisions, reduce_waits};
use super::commits::Commits;
use super::coverage::{CoverageInputs, reduce_coverage};
use super::durations::{Durations, JobTable, reduce_durations};
use super::groups::{GroupBuilder, SignatureGroups};
use super::job_index::reduce_job_index;
use super::output::{LineFile, Outputs, RowCounts};
use super::relabelled::{Labels, reduce_relabelled};
use super::scan::{CoverageRule, Means, SignatureParts, Want, distinct_jobs, scan, signature_parts};
use super::tables::{CommitTable, FirstCovered, SignatureTable, read_signatures};
use super::{Artifact, Input, ReduceError};

/// What came of a reduction.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceSummary {
    /// Artifacts that were written.
    pub written: Vec<Artifact>,
    /// Artifacts whose inputs had not changed.
    pub unchanged: Vec<Artifact>,
    /// The manifest, as it stands on the disk.
    pub manifest: Manifest,
}

const COMMITS_HINT: &str = "the commits of the repository, a JSON object a line with \"node\" and \"date\": [epoch, offset]; \
                            `perfharvest commits` makes it from a clone, an hgweb server or Treeherder's pushes";
const PERF_LLM_STRUC_HINT: &str = "the records to relabel, a JSON object a line with \"commit_id\" and \"response\"";

/// What a reduction reads from.
struct Sources<'a> {
    store: &'a Store,
    config: &'a Config,
    identity: CrawlIdentity,
    counts: Counts,
    commits: Option<Commits>,
    llm_digest: Option<String>,
    shutdown: &'a Shutdown,
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

/// Makes the `asked` artifacts (all that can be made, when none are named) from what is stored.
///
/// # Errors
/// [`ReduceError`]; then no artifact has changed.
pub fn reduce(
    store: &Store,
    config: &Config,
    asked: &[Artifact],
    shutdown: &Shutdown,
) -> Result<ReduceSummary, ReduceError> {
    let identity = store.identity()?.ok_or(ReduceError::EmptyStore)?;
    let folder = &config.artifacts.out;
    check_folder(folder)?;
    remove_leftovers(folder);
    let sources = Sources {
        store,
        config,
        counts: store.counts()?,
        commits: read_commits(config, &identity)?,
        llm_digest: config.inputs.perf_llm_struc.as_deref().map(file_digest).transpose()?,
        identity,
        shutdown,
    };
    let asked = sources.makeable(asked)?;
    let before = read_manifest(folder);
    let (wanted, unchanged): (BTreeSet<_>, BTreeSet<_>) =
        asked.iter().copied().partition(|artifact| !sources.is_current(before.as_ref(), *artifact));
    let mut outputs = if wanted.is_empty() { Outputs::default() } else { sources.make(&wanted)? };
    for (artifact, entry) in &mut outputs.entries {
        entry.inputs = sources.input_digests(*artifact);
    }
    let mut entries: BTreeMap<String, ArtifactEntry> = before
        .iter()
        .flat_map(|manifest| manifest.artifacts.clone())
        .filter(|(name, _)| folder.join(name).is_file())
        .collect();
    // What is out of date and cannot be made any more (no revision has a job) must not stand there as if it were current.
    let stale: Vec<Artifact> =
        wanted.iter().copied().filter(|artifact| !outputs.entries.contains_key(artifact)).collect();
    for artifact in &stale {
        entries.remove(artifact.file_name());
    }
    for (artifact, entry) in &outputs.entries {
        entries.insert(artifact.file_name().to_owned(), entry.clone());
    }
    let written: Vec<Artifact> = outputs.entries.keys().copied().collect();
    let (manifest, described) = sources.prepare_manifest(folder, entries, before)?;
    if !outputs.finished.is_empty() || !stale.is_empty() {
        // A process that is killed between the renames must not leave a manifest that describes the files of before.
        withdraw_manifest(folder)?;
    }
    for artifact in stale {
        match std::fs::remove_file(folder.join(artifact.file_name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ReduceError::write(folder.join(artifact.file_name()), error));
            }
            _ => {}
        }
    }
    outputs.finished.extend(described);
    publish(folder, outputs.finished)?;
    Ok(ReduceSummary { written, unchanged: unchanged.into_iter().collect(), manifest })
}

/// The busiest revisions of the window; `None` without commits.
///
/// # Errors
/// [`ReduceError`] when the store or the commits cannot be read.
pub fn busiest_revisions(store: &Store, config: &Config) -> Result<Option<BusiestRevisions>, ReduceError> {
    let identity = store.identity()?.ok_or(ReduceError::EmptyStore)?;
    let Some(commits) = read_commits(config, &identity)? else { return Ok(None) };
    // Sorting may need room for temporary files; the store's own folder has it, whatever the artifacts' folder is.
    let means =
        Means { workers: num_workers(config), memory_bytes: config.reduce.memory_bytes.get(), spill_dir: store.path() };
    let signatures = complete_signatures(store)?;
    busiest::find(store, &signatures, &commits, means).map(Some)
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

impl Sources<'_> {
    /// The artifacts to look at: those named, or all that the configured inputs allow.
    fn makeable(&self, asked: &[Artifact]) -> Result<BTreeSet<Artifact>, ReduceError> {
        let lacks = |artifact: Artifact| {
            let inputs = artifact.inputs();
            if inputs.contains(&Input::Commits) && self.commits.is_none() {
                return Some(ReduceError::NotConfigured {
                    artifact,
                    key: "inputs.commits (--commits)",
                    hint: COMMITS_HINT,
                });
            }
            if inputs.contains(&Input::PerfLlmStruc) && self.llm_digest.is_none() {
                let key = "inputs.perf_llm_struc";
                return Some(ReduceError::NotConfigured { artifact, key, hint: PERF_LLM_STRUC_HINT });
            }
            None
        };
        if asked.is_empty() {
            return Ok(Artifact::ALL.iter().copied().filter(|artifact| lacks(*artifact).is_none()).collect());
        }
        asked.iter().map(|artifact| lacks(*artifact).map_or(Ok(*artifact), Err)).collect()
    }

    /// Was the artifact made from the same inputs by the same definitions, and is it still there?
    fn is_current(&self, before: Option<&Manifest>, artifact: Artifact) -> bool {
        let Some(entry) = before.and_then(|manifest| manifest.artifacts.get(artifact.file_name())) else {
            return false;
        };
        entry.schema_version == artifact.schema_version()
            && entry.inputs == self.input_digests(artifact)
            && std::fs::metadata(self.config.artifacts.out.join(artifact.file_name()))
                .is_ok_and(|file| file.is_file() && file.len() == entry.bytes)
    }

    fn input_digests(&self, artifact: Artifact) -> BTreeMap<String, String> {
        // What is missing may turn out to be empty, and then only this tells the two apart.
        let stored = |kind: Kind| match self.counts.of(kind).pending + self.counts.of(kind).failed {
            0 => format!("xxh3:{:032x}", self.counts.digest(kind)),
            missing => format!("xxh3:{:032x}, {missing} requests missing", self.counts.digest(kind)),
        };
        let mut digests = BTreeMap::new();
        for input in artifact.inputs() {
            let digest = match input {
                Input::Alerts => stored(Kind::Alerts),
                Input::Signatures => stored(Kind::Signatures),
                Input::Summaries => stored(Kind::Summaries),
                Input::JobDetails => stored(Kind::JobDetails),
                Input::Commits => {
                    self.commits.as_ref().map_or_else(String::new, |c| format!("sha256:{}", c.report.digest_hex()))
                }
                Input::PerfLlmStruc => self.llm_digest.clone().unwrap_or_default(),
            };
            digests.insert(input.name().to_owned(), digest);
        }
        for (key, value) in self.options_of(artifact) {
            digests.insert(key.to_owned(), value);
        }
        digests
    }

    /// The options that shape an artifact.
    fn options_of(&self, artifact: Artifact) -> Vec<(&'static str, String)> {
        let artifacts = &self.config.artifacts;
        let identity = &self.identity;
        let semantics = match artifacts.semantics {
            Semantics::Corrected => "corrected",
            Semantics::Reference => "reference",
        };
        let mut options = vec![("semantics", semantics.to_owned())];
        if artifact.inputs().contains(&Input::Commits) {
            options.push(("window", format!("{}..{}", identity.window_start, identity.window_end)));
        }
        if matches!(artifact, Artifact::RectifiedDetails | Artifact::Relabelled | Artifact::RelabelReport) {
            options.push(("excluded_framework_ids", format!("{:?}", artifacts.excluded_framework_ids)));
        }
        if artifact == Artifact::SignaturesByJobDetailed {
            options.push(("exclude_fields", format!("{:?}", artifacts.exclude_fields)));
        }
        if artifacts.redact_emails {
            options.push(("redact_emails", "true".to_owned()));
        }
        options
    }

    fn check_interrupted(&self) -> Result<(), ReduceError> {
        if self.shutdown.is_draining() { Err(ReduceError::Interrupted) } else { Ok(()) }
    }

    /// Makes the wanted artifacts; nothing appears yet.
    fn make(&self, wanted: &BTreeSet<Artifact>) -> Result<Outputs, ReduceError> {
        let folder = &self.config.artifacts.out;
        let config = &self.config.artifacts;
        let mut outputs = Outputs::default();
        let any = |artifacts: &[Artifact]| artifacts.iter().any(|artifact| wanted.contains(artifact));

        let relabelling = any(&[Artifact::Relabelled, Artifact::RelabelReport]);
        let from_alerts =
            [Artifact::AlertSummaries, Artifact::AlertsWithBug, Artifact::FailingSignatures, Artifact::TimeToCulprit];
        let tables = if any(&from_alerts) || relabelling {
            reduce_alerts(self.store, &self.identity, folder, config, wanted, &mut outputs)?
        } else {
            AlertTables::default()
        };
        self.check_interrupted()?;

        let detailed = any(&[Artifact::SignaturesByJobDetailed]);
        let all_signatures = any(&[Artifact::AllSignatures]);
        let signatures = if detailed || all_signatures || relabelling || any(&[Artifact::RectifiedDetails]) {
            let exclude = detailed.then_some(config.exclude_fields.as_slice());
            Some(read_signatures(self.store, folder, all_signatures, exclude, &mut outputs)?)
        } else {
            None
        };
        self.check_interrupted()?;
        if let (true, Some(signatures), Some(input)) = (relabelling, &signatures, &self.config.inputs.perf_llm_struc) {
            let excluded = config.excluded_framework_ids.iter().copied().map(FrameworkId).collect();
            let labels = Labels { tables: &tables, frameworks: &signatures.frameworks, excluded: &excluded };
            reduce_relabelled(folder, wanted, &labels, input, &mut outputs)?;
        }
        drop(tables);
        self.make_from_data(wanted, signatures.as_ref(), &mut outputs)?;
        Ok(outputs)
    }

    /// Makes what is made from the data, in one pass over them.
    fn make_from_data(
        &self,
        wanted: &BTreeSet<Artifact>,
        signatures: Option<&SignatureTable>,
        outputs: &mut Outputs,
    ) -> Result<(), ReduceError> {
        let folder = &self.config.artifacts.out;
        let config = &self.config.artifacts;
        let any = |artifacts: &[Artifact]| artifacts.iter().any(|artifact| wanted.contains(artifact));
        let durations = any(&[
            Artifact::JobDurations,
            Artifact::GroupDurations,
            Artifact::GroupDurationStats,
            Artifact::DurationsHistogram,
        ]);
        let rectified = any(&[Artifact::RectifiedDetails]);
        let coverage = rectified
            || any(&[
                Artifact::JobsPerRevision,
                Artifact::JobsPerRevisionDetails,
                Artifact::JobsStats,
                Artifact::JobsHistogram,
            ]);
        let waits = any(&[Artifact::MaxRevisionJobs, Artifact::WaitTimeStats]);
        let commits = self.commits.as_ref().map(CommitTable::new);
        let want = Want {
            lines: any(&[Artifact::JobsBySignature]),
            coverage: commits
                .as_ref()
                .filter(|_| coverage)
                .map(|table| CoverageRule { semantics: config.semantics, ranks: table.ranks() }),
            jobs: any(&[Artifact::SignaturesByJob, Artifact::SignaturesByJobDetailed]),
            groups: rectified || durations || any(&[Artifact::SignatureGroups]),
            samples: durations.then_some(config.semantics),
            jobs_of: Vec::new(),
        };
        let means = Means {
            workers: num_workers(self.config),
            memory_bytes: self.config.reduce.memory_bytes.get(),
            spill_dir: folder,
        };
        let parts = complete_signatures(self.store)?;
        if want.lines || want.coverage.is_some() || want.jobs || want.groups {
            self.pass_over(&parts, &want, means, wanted, signatures, commits.as_ref(), outputs)?;
        }
        if let (true, Some(commits)) = (waits, &self.commits) {
            let busiest = busiest::find(self.store, &parts, commits, means)?;
            reduce_waits(self.store, folder, config, wanted, busiest.of(config.semantics), outputs)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what the pass needs stands ready in its one caller")]
    fn pass_over(
        &self,
        parts: &[SignatureParts],
        want: &Want,
        means: Means<'_>,
        wanted: &BTreeSet<Artifact>,
        signatures: Option<&SignatureTable>,
        commits: Option<&CommitTable>,
        outputs: &mut Outputs,
    ) -> Result<(), ReduceError> {
        let folder = &self.config.artifacts.out;
        let config = &self.config.artifacts;
        let mut lines = want.lines.then(|| LineFile::create(folder, Artifact::JobsBySignature)).transpose()?;
        let mut first_covered = FirstCovered::new();
        let mut builder = GroupBuilder::default();
        let mut samples = Vec::new();
        let (mut num_fractions, mut num_resampled) = (0, 0);
        let sorted = scan(self.store, parts, want, means, |block| {
            self.check_interrupted()?;
            if let Some(lines) = &mut lines {
                lines.append(&block.lines)?;
                lines.count_rows(block.num_signatures);
            }
            first_covered.extend(&block.first_covered);
            for (signature, fingerprint) in block.fingerprints {
                builder.insert(signature, fingerprint);
            }
            samples.extend(block.samples);
            num_fractions += block.num_fractions;
            num_resampled += block.num_resampled;
            Ok(())
        })?;
        if let Some(lines) = lines {
            lines.finish(outputs, Artifact::JobsBySignature, RowCounts::new())?;
        }
        let groups = finish_groups(builder, self.store, parts)?;
        self.check_interrupted()?;
        if wanted.contains(&Artifact::SignatureGroups) {
            write_groups(folder, &groups, outputs)?;
        }
        if want.jobs {
            let fields = signatures.and_then(|table| table.fields.as_ref());
            reduce_job_index(folder, wanted, fields, sorted.jobs, outputs)?;
        }
        self.check_interrupted()?;
        if let (true, Some(commits)) = (want.coverage.is_some(), commits) {
            let inputs = CoverageInputs {
                commits,
                first_covered: &first_covered,
                pairs: sorted.coverage,
                num_fractions,
                groups: Some(&groups),
                signatures,
            };
            reduce_coverage(folder, config, wanted, inputs, outputs)?;
        }
        if want.samples.is_some() {
            let mut jobs = JobTable::new(self.store);
            let durations = Durations::measure(config.semantics, &mut jobs, &samples, &groups, num_resampled)?;
            reduce_durations(folder, wanted, &durations, outputs)?;
        }
        Ok(())
    }

    /// Writes the manifest under a temporary name, unless it would say what it says already.
    fn prepare_manifest(
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

pub(super) fn num_workers(config: &Config) -> usize {
    match config.reduce.workers {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        workers => workers,
    }
}

/// The signatures whose data are all there. Those that are pending or failed, in any part, are left out: half of their
/// data would look like all of it.
pub(crate) fn complete_signatures(store: &Store) -> Result<Vec<SignatureParts>, StoreError> {
    let signature_of = |request: Request| match request {
        Request::Summary { signature, .. } => Some(signature),
        _ => None,
    };
    let mut incomplete: BTreeSet<SignatureId> = BTreeSet::new();
    for pending in store.pending() {
        incomplete.extend(signature_of(pending?.request));
    }
    for failure in store.failures() {
        incomplete.extend(signature_of(failure?.0));
    }
    signature_parts(store.settled_summaries(), |signature| incomplete.contains(&signature))
}

/// Makes the groups of the fingerprints that a pass over `parts` gave.
pub(super) fn finish_groups(
    builder: GroupBuilder,
    store: &Store,
    parts: &[SignatureParts],
) -> Result<SignatureGroups, ReduceError> {
    Ok(builder.finish(|signature| {
        let place = parts.binary_search_by_key(&signature, |parts| parts[0].signature);
        let missing = || StoreError::MissingValue { key: format!("the data of signature {signature}") };
        distinct_jobs(store, &parts[place.map_err(|_| missing())?])
    })?)
}

fn write_groups(folder: &Path, groups: &SignatureGroups, outputs: &mut Outputs) -> Result<(), ReduceError> {
    let mut file = LineFile::create(folder, Artifact::SignatureGroups)?;
    let mut line = Vec::new();
    for (id, signatures) in groups.iter() {
        line.clear();
        line.extend_from_slice(format!("{{\"Sig_group_id\": {id}, \"signatures\": ").as_bytes());
        super::coverage::write_ids(&mut line, signatures.iter().map(|signature| signature.0));
        line.extend_from_slice(b"}\n");
        file.append_line(&line)?;
    }
    file.finish(outputs, Artifact::SignatureGroups, RowCounts::new())
}

fn withdraw_manifest(folder: &Path) -> Result<(), ReduceError> {
    let path = folder.join(MANIFEST_NAME);
    let removed = match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let durably = removed.and_then(|()| std::fs::File::open(folder)?.sync_all());
    durably.map_err(|source| ReduceError::write(path, source))
}

fn read_manifest(folder: &Path) -> Option<Manifest> {
    // One that cannot be read says nothing about the artifacts, and is written anew.
    serde_json::from_slice(&std::fs::read(folder.join(MANIFEST_NAME)).ok()?).ok()
}

fn file_digest(path: &Path) -> Result<String, ReduceError> {
    let unreadable = |source| ReduceError::Input { path: path.to_owned(), source };
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    std::io::copy(&mut file, &mut hash).map_err(unreadable)?;
    Ok(format!("sha256:{}", hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}
