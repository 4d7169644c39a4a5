//! Decides which artifacts can be made, and which are up to date, from the digests of their inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::config::Config;
use crate::dataset::write::{Manifest, REDACTION, file_digest};
use crate::model::{Kind, Timestamp};
use crate::store::{CrawlIdentity, Harvest, Store, Tally};

use super::catalogue::{Artifact, Input};
use super::error::DatasetError;
use super::families;
use crate::dataset::commits::{Commits, CommitsError};

/// Key in `ArtifactEntry::inputs`: the semantics of the artifact.
pub(crate) const SEMANTICS: &str = "semantics";

/// The inputs of a reduction.
pub(crate) struct Sources<'a> {
    pub(crate) store: &'a Store,
    pub(crate) config: &'a Config,
    pub(crate) identity: CrawlIdentity,
    pub(crate) counts: Tally,
    /// Those that are shown.
    pub(crate) harvests: Vec<Harvest>,
    /// See [`Store::alert_history_digest`].
    pub(crate) alert_history: u64,
    pub(crate) commits: Option<&'a Commits>,
    pub(crate) llm_digest: Option<String>,
    pub(crate) store_id: Option<String>,
}

impl Sources<'_> {
    /// Refuses commits of another repository than the data.
    pub(crate) fn check_commits(&self) -> Result<(), DatasetError> {
        let (Some(commits), Some(path)) = (self.commits, self.config.commits_file()) else { return Ok(()) };
        commits
            .check_share(&self.store.push_revisions(), self.config.artifacts.semantics)
            .map_err(|error| CommitsError::Mismatch(path, Box::new(error)).into())
    }

    /// The requested artifacts, or all that the configured inputs allow.
    pub(crate) fn makeable(&self, asked: &[Artifact]) -> Result<BTreeSet<Artifact>, DatasetError> {
        let lacks = |artifact: Artifact| {
            let is_configured = |input: &Input| match input {
                Input::Commits => self.commits.is_some(),
                Input::PerfLlmStruc => self.llm_digest.is_some(),
                Input::Replicates => self.identity.scope.replicates,
                Input::AllJobs => self.identity.scope.all_jobs,
                Input::EvalPredictions => self.config.inputs.eval_predictions.is_some(),
                Input::FinalTestPredictions => self.config.inputs.final_test_predictions.is_some(),
                Input::Alerts | Input::Signatures | Input::Summaries | Input::JobDetails => true,
            };
            let missing = artifact.inputs().iter().find(|input| !is_configured(input));
            missing.map(|input| DatasetError::not_configured(artifact, *input))
        };
        if asked.is_empty() {
            return Ok(Artifact::ALL.iter().copied().filter(|artifact| lacks(*artifact).is_none()).collect());
        }
        asked.iter().map(|artifact| lacks(*artifact).map_or(Ok(*artifact), Err)).collect()
    }

    /// True if the artifact exists and was made from the same inputs and options, or if these inputs had nothing for it
    /// and it still does not exist.
    pub(crate) fn is_current(&self, before: Option<&Manifest>, artifact: Artifact) -> bool {
        let Some(before) = before else { return false };
        let path = self.config.artifacts.out.join(artifact.file_name());
        if let Some(entry) = before.not_made.get(artifact.file_name()) {
            return entry.reason.is_none()
                && entry.schema_version == artifact.schema_version()
                && entry.inputs == self.input_digests(artifact)
                && !path.exists();
        }
        let Some(entry) = before.artifacts.get(artifact.file_name()) else { return false };
        entry.schema_version == artifact.schema_version()
            && entry.inputs == self.input_digests(artifact)
            && std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == entry.bytes)
            && file_digest(&path).is_ok_and(|digest| {
                let is_same = digest == format!("sha256:{}", entry.sha256);
                if !is_same {
                    tracing::warn!(file = %path.display(), "the file was changed after it was made; making it again");
                }
                is_same
            })
    }

    pub(crate) fn input_digests(&self, artifact: Artifact) -> BTreeMap<String, String> {
        let inputs = artifact.inputs().iter();
        let digests = inputs.map(|input| (input.name().to_owned(), self.digest_of(*input).unwrap_or_default()));
        let options = self.options_of(artifact).into_iter().map(|(key, value)| (key.to_owned(), value));
        digests.chain(options).collect()
    }

    /// True if the inputs of an artifact are unchanged in the crawl and in the configured files. Ignores its options.
    pub(crate) fn still_hold(&self, artifact: Artifact, inputs: &BTreeMap<String, String>) -> bool {
        let same =
            |input: &Input| self.digest_of(*input).is_none_or(|digest| inputs.get(input.name()) == Some(&digest));
        artifact.inputs().iter().all(same)
    }

    /// The current digest of an input; `None` for a file that is not configured.
    fn digest_of(&self, input: Input) -> Option<String> {
        // A missing answer may turn out to be empty, and then the digest stays the same.
        let stored = |kind: Kind| match self.counts.of(kind).pending + self.counts.of(kind).failed {
            0 => format!("xxh3:{:032x}", self.counts.digest(kind)),
            missing => format!("xxh3:{:032x}, {missing} requests missing", self.counts.digest(kind)),
        };
        match input {
            Input::Alerts => Some(stored(Kind::Alerts)),
            Input::Signatures => Some(stored(Kind::Signatures)),
            Input::Summaries => Some(stored(Kind::Summaries)),
            Input::JobDetails => Some(stored(Kind::JobDetails)),
            Input::AllJobs => self.identity.scope.all_jobs.then(|| stored(Kind::JobDetails)),
            Input::Replicates => self.identity.scope.replicates.then(|| stored(Kind::Replicates)),
            Input::Commits => self.commits.map(|commits| format!("sha256:{}", commits.report.digest_hex())),
            Input::PerfLlmStruc => self.llm_digest.clone(),
            Input::EvalPredictions => self.config.inputs.eval_predictions.as_deref().map(digest_or_missing),
            Input::FinalTestPredictions => self.config.inputs.final_test_predictions.as_deref().map(digest_or_missing),
        }
    }

    /// The options that affect an artifact, with their values.
    fn options_of(&self, artifact: Artifact) -> Vec<(&'static str, String)> {
        let artifacts = &self.config.artifacts;
        let identity = &self.identity;
        let mut options = vec![(SEMANTICS, artifacts.semantics.name().to_owned())];
        // Not the window: a refresh moves its end, often past no commit.
        if let Some(commits) = self.commits.filter(|_| artifact.inputs().contains(&Input::Commits)) {
            options.push(("commits_in_window", format!("xxh3:{:016x}", commits.digest_in_window())));
        }
        // Signatures without data have rows too, and do not show in a digest of data.
        let scope = identity.scope.of_data();
        if artifact.inputs().contains(&Input::Summaries) && !scope.is_all() {
            let scope = serde_json::to_vec(&scope).unwrap_or_default();
            options.push(("scope", format!("xxh3:{:016x}", xxh3_64(&scope))));
        }
        if artifact.inputs().contains(&Input::Alerts) {
            // The list has those of later pushes, too.
            let num_alerts = self.harvests.last().map_or(0, |harvest| harvest.num_alerts);
            options.push(("alerts_in_window", num_alerts.to_string()));
        }
        if artifact == Artifact::AlertSummaryHistory {
            options.push(("history", format!("xxh3:{:016x}", self.alert_history)));
        }
        if matches!(artifact, Artifact::AllAlertSummaries | Artifact::AlertSummaryHistory)
            && !identity.scope.alert_statuses.is_default()
        {
            options.push(("alert_statuses", identity.scope.alert_statuses.to_string()));
        }
        options.extend(families::options(artifact, self.config, identity));
        if artifacts.redact_emails {
            options.push(("redact_emails", REDACTION.to_owned()));
        }
        options
    }
}

/// The digest of an input file that costs only some artifacts when it is missing.
fn digest_or_missing(path: &Path) -> String {
    input_digest(path).unwrap_or_else(|_| "unreadable".to_owned())
}

/// The digest of an input file.
pub(crate) fn input_digest(path: &Path) -> Result<String, DatasetError> {
    file_digest(path).map_err(|source| DatasetError::Input(path.to_owned(), source))
}

/// Reads the configured commits, and checks that they can belong to the crawl; `None` if none are configured.
///
/// # Errors
/// [`DatasetError::Commits`].
pub fn read_commits(config: &Config, identity: &CrawlIdentity) -> Result<Option<Commits>, DatasetError> {
    let Some(path) = config.commits_file() else { return Ok(None) };
    if config.inputs.commits_from.is_some() && !path.exists() {
        return Ok(None); // no run has made it yet
    }
    let commits = Commits::read(&path, identity.window_start, identity.window_end)?;
    if commits.report.skipped.total_not_blank() > 0 {
        tracing::warn!(file = %path.display(), "skipped lines of the commits: {}", commits.report.skipped);
    }
    commits
        .check(&path, identity, config.artifacts.semantics, Timestamp::now())
        .map_err(|error| CommitsError::Mismatch(path, Box::new(error)))?;
    Ok(Some(commits))
}
