//! All facts in the report, gathered before anything is drawn.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::write::{ArtifactEntry, MANIFEST_NAME, Manifest};
use crate::dataset::{DatasetError, Overview, compute_overview};
use crate::model::{FrameworkId, Kind, Timestamp, exact_id, text_of};
use crate::store::{CrawlIdentity, Failure, Ledger, Store, Tally};

/// Most groups that are described; the largest come first.
pub(super) const MAX_GROUPS: usize = 100;
/// Most failures that are listed, in the order of their requests.
pub(super) const MAX_FAILURES: usize = 200;

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) identity: CrawlIdentity,
    pub(super) counts: Tally,
    /// Time of the last commit of the store.
    pub(super) stored_at: Option<Timestamp>,
    pub(super) overview: Overview,
    pub(super) failures: Failures,
    pub(super) signatures: Signatures,
    pub(super) artifacts: Artifacts,
}

#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) by_label: BTreeMap<String, u64>,
    /// The first [`MAX_FAILURES`] failed requests.
    pub(super) listed: Vec<(String, Failure)>,
    pub(super) total: u64,
}

#[derive(Debug, Default)]
pub(super) struct Signatures {
    /// By framework, the number of listed signatures and of those with jobs.
    pub(super) by_framework: BTreeMap<Option<FrameworkId>, (u64, u64)>,
    /// The largest groups, by id.
    pub(super) groups: Vec<GroupProfile>,
}

/// The signatures of a group, counted by name.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupProfile {
    pub(super) num_signatures: u64,
    pub(super) suites: BTreeMap<String, u64>,
    pub(super) platforms: BTreeMap<String, u64>,
    pub(super) frameworks: BTreeMap<Option<FrameworkId>, u64>,
}

/// The artifacts, as listed in their manifest.
#[derive(Debug)]
pub(super) enum Artifacts {
    /// The folder has no manifest.
    Missing,
    /// The manifest cannot be read.
    Unreadable,
    /// The artifacts were made from another crawl.
    OtherCrawl,
    /// The artifacts were made from this crawl.
    Described(Box<Described>),
}

/// Artifacts of this crawl.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) manifest: Manifest,
    /// True if the store has not changed since they were made.
    pub(super) current: bool,
    pub(super) files: Vec<(String, ArtifactEntry, FileState)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    Present,
    Missing,
    OtherSize,
}

impl Facts {
    pub(super) fn gather(
        store: &Store,
        config: &Config,
        spill_dir: &Path,
        shutdown: &Shutdown,
    ) -> Result<Self, DatasetError> {
        let identity = store.identity()?.ok_or(DatasetError::EmptyStore)?;
        let counts = store.counts()?;
        let overview = compute_overview(store, &identity, config, spill_dir, shutdown)?;
        Ok(Self {
            stored_at: Ledger::read(store.path())?.map(|ledger| ledger.written_at),
            failures: Failures::read(store)?,
            signatures: Signatures::read(store, &overview)?,
            artifacts: Artifacts::read(&config.artifacts.out, &identity, &counts),
            identity,
            counts,
            overview,
        })
    }

    /// True if no request failed and none is left, as in the manifest.
    pub(super) fn is_complete(&self) -> bool {
        self.counts.is_complete()
    }
}

impl Failures {
    fn read(store: &Store) -> Result<Self, DatasetError> {
        let mut failures = Self::default();
        for failed in store.failures() {
            let (request, failure) = failed?;
            failures.total += 1;
            *failures.by_label.entry(failure.label.clone()).or_default() += 1;
            if failures.listed.len() < MAX_FAILURES {
                failures.listed.push((request.to_string(), failure));
            }
        }
        Ok(failures)
    }
}

impl Signatures {
    fn read(store: &Store, overview: &Overview) -> Result<Self, DatasetError> {
        #[derive(Default, Deserialize)]
        struct View<'a> {
            #[serde(borrow)]
            framework_id: Option<&'a RawValue>,
            #[serde(borrow)]
            suite: Option<&'a RawValue>,
            #[serde(borrow)]
            machine_platform: Option<&'a RawValue>,
        }
        let mut signatures = Self::default();
        signatures.groups.resize(overview.groups.len().min(MAX_GROUPS), GroupProfile::default());
        for id in store.signature_ids()? {
            // A record that cannot be parsed counts as one without names.
            let record = store.signature(id)?;
            let view: View<'_> = record.as_ref().and_then(|record| record.view().ok()).unwrap_or_default();
            let framework_id = view.framework_id.and_then(|raw| exact_id(raw.get())).map(FrameworkId);
            let group = overview.groups.group_of(id);
            let tally = signatures.by_framework.entry(framework_id).or_default();
            tally.0 += 1;
            tally.1 += u64::from(group.is_some());
            let profile = group.and_then(|group| signatures.groups.get_mut(usize::try_from(group).ok()?));
            if let Some(profile) = profile {
                profile.num_signatures += 1;
                *profile.suites.entry(text_of(view.suite).unwrap_or_default()).or_default() += 1;
                *profile.platforms.entry(text_of(view.machine_platform).unwrap_or_default()).or_default() += 1;
                *profile.frameworks.entry(framework_id).or_default() += 1;
            }
        }
        Ok(signatures)
    }

    /// The number of signatures, and of those with jobs.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.by_framework.values().fold((0, 0), |sum, tally| (sum.0 + tally.0, sum.1 + tally.1))
    }
}

impl GroupProfile {
    /// The names in `tally`, most frequent first.
    pub(super) fn by_frequency<T: Ord + Clone>(tally: &BTreeMap<T, u64>) -> Vec<(T, u64)> {
        let mut names: Vec<(T, u64)> = tally.iter().map(|(name, count)| (name.clone(), *count)).collect();
        names.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        names
    }
}

impl Artifacts {
    fn read(folder: &Path, identity: &CrawlIdentity, counts: &Tally) -> Self {
        let Ok(text) = std::fs::read(folder.join(MANIFEST_NAME)) else { return Self::Missing };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else { return Self::Unreadable };
        if manifest.crawl != *identity {
            return Self::OtherCrawl;
        }
        let current = Kind::ALL.iter().all(|kind| {
            let now = counts.of(*kind);
            manifest.run.requests.get(kind.name()).is_some_and(|then| {
                (then.data, then.empty, then.gone, then.skipped) == (now.data, now.empty, now.gone, now.skipped)
                    && (then.failed, then.pending, then.records) == (now.failed, now.pending, now.records)
                    && (then.set_aside, then.corrected) == (now.set_aside, now.corrected)
            })
        });
        let state = |name: &str, entry: &ArtifactEntry| {
            // Ignore names that lead out of the folder; a reduction never writes them.
            let is_name = Path::new(name).file_name().is_some_and(|file| file == name);
            match std::fs::metadata(folder.join(name)) {
                Ok(file) if is_name && file.is_file() && file.len() == entry.bytes => FileState::Present,
                Ok(file) if is_name && file.is_file() => FileState::OtherSize,
                _ => FileState::Missing,
            }
        };
        let files = manifest.artifacts.iter().map(|(name, entry)| (name.clone(), entry.clone(), state(name, entry)));
        let files = files.collect();
        Self::Described(Box::new(Described { manifest, current, files }))
    }
}
