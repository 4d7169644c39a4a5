//! The `[scope]` table: the signatures whose data a crawl asks for; and the scope that a store pins.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::AlertStatuses;
use super::scope_names::{FrameworkName, Glob, SignatureIds};
use crate::model::did_you_mean;

/// The text that selects everything, and so widens a pinned scope.
const EVERYTHING: &str = "*";

/// Largest file of ids, bytes: a million ids.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The `[scope]` table: a signature must pass all keys. Unset keys select everything in a new store, and keep the
/// pinned scope of an existing one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeConfig {
    /// `all`, `alerted` (those that the alert summaries name), or a file of ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<SignatureChoice>,
    /// Frameworks by id or name.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many")]
    pub frameworks: Option<Vec<FrameworkName>>,
    /// Patterns of machine platforms, such as `linux*`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many")]
    pub platforms: Option<Vec<Glob>>,
    /// Patterns of suites.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many")]
    pub suites: Option<Vec<Glob>>,
    /// Alert summaries to fetch: `default` (as the older scripts), `all`, or the statuses to add to the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_statuses: Option<AlertStatuses>,
    /// Fetch the replicates of the data too, with a second request per signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicates: Option<bool>,
}

/// The `[jobs]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsConfig {
    /// The jobs whose details are fetched. Unset: as the store has it, `sampled` in a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<JobDetails>,
}

/// The value of `jobs.details`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobDetails {
    /// Those from which the durations of signatures are measured, at most five a signature, and those of the busiest revision.
    Sampled,
    /// Those of all data.
    All,
}

impl JobDetails {
    fn of(scope: &Scope) -> &'static str {
        if scope.all_jobs { "all" } else { "sampled" }
    }
}

/// Reads a list, or a single element as a list of one.
fn one_or_many<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<toml::Value>),
        One(toml::Value),
    }
    let given = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(given) => given,
        OneOrMany::One(given) => vec![given],
    };
    given.into_iter().map(T::deserialize).collect::<Result<_, _>>().map(Some).map_err(D::Error::custom)
}

/// The value of `scope.signatures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SignatureChoice {
    /// All that the repository has.
    All,
    /// Those that the alert summaries of the crawl name.
    Alerted,
    /// Those whose ids a file lists.
    File(PathBuf),
}

impl From<String> for SignatureChoice {
    fn from(text: String) -> Self {
        match text.as_str() {
            "all" => Self::All,
            "alerted" => Self::Alerted,
            _ => Self::File(text.into()),
        }
    }
}

impl From<SignatureChoice> for String {
    fn from(choice: SignatureChoice) -> Self {
        match choice {
            SignatureChoice::All => "all".to_owned(),
            SignatureChoice::Alerted => "alerted".to_owned(),
            SignatureChoice::File(path) => path.display().to_string(),
        }
    }
}

/// Why a configured scope cannot be used. Exit code 2.
#[derive(Debug, Error)]
pub enum ScopeError {
    /// The file of ids cannot be read.
    #[error("scope.signatures: cannot read the file `{}`{}", path.display(), hint_of(path))]
    File {
        /// As it was given.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file of ids does not list ids.
    #[error("scope.signatures: {}:{line}: `{text}` is not the id of a signature; give one id per line", path.display())]
    NotAnId {
        /// As it was given.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// A key lists nothing.
    #[error("{0} is empty, which would select no signature; leave it out, or list something")]
    Empty(&'static str),
    /// The store has another scope, which the configured one does not include.
    #[error(
        "the store {} has another scope:{}\na scope can be widened, but not narrowed or changed: leave a key out to keep \
         its stored value, list the stored values too, or select everything (\"all\" for signatures, [\"*\"] for the other \
         keys); for another scope, use another --store{}", path.display(), list(differences), sample_hint(*sampled)
    )]
    NotWider {
        /// The store.
        path: PathBuf,
        /// `(key, stored, asked)`
        differences: Vec<(&'static str, String, String)>,
        /// True for a store with a sample, whose scope cannot change at all.
        sampled: bool,
    },
}

fn hint_of(path: &Path) -> String {
    let text = path.display().to_string();
    match did_you_mean(&text, ["all", "alerted"]) {
        asked if asked.is_empty() => "; give `all`, `alerted` or a file with one id per line".to_owned(),
        asked => asked,
    }
}

fn list(differences: &[(&'static str, String, String)]) -> String {
    differences.iter().map(|(key, stored, asked)| format!("\n  {key}: stored {stored}, asked {asked}")).collect()
}

fn sample_hint(sampled: bool) -> &'static str {
    if sampled { " (the store holds a sample, which was drawn from its scope)" } else { "" }
}

/// The selection of signatures by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureScope {
    /// All that the repository has.
    #[default]
    All,
    /// Those that the alert summaries of the crawl name.
    Alerted,
    /// Those of a file.
    Ids(SignatureIds),
}

impl fmt::Display for SignatureScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Alerted => f.write_str("alerted"),
            Self::Ids(ids) => write!(f, "{} by id", ids.as_slice().len()),
        }
    }
}

/// The signatures whose data a crawl fetches, and its alert summaries, as pinned in the store. A signature must pass
/// all fields; an empty list lets every signature pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// By id.
    pub signatures: SignatureScope,
    /// By framework, sorted.
    pub frameworks: Vec<FrameworkName>,
    /// By machine platform, sorted.
    pub platforms: Vec<Glob>,
    /// By suite, sorted.
    pub suites: Vec<Glob>,
    /// The alert summaries that are fetched.
    #[serde(skip_serializing_if = "AlertStatuses::is_default")]
    pub alert_statuses: AlertStatuses,
    /// True if the replicates of the data are fetched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replicates: bool,
    /// True if the details of the jobs of all data are fetched, as `jobs.details` says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_jobs: bool,
}

impl Scope {
    /// True if every signature passes, and neither alert summaries nor replicates nor job details are added.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The scope without replicates and job details, which change neither the signatures nor their data.
    #[must_use]
    pub fn of_data(&self) -> Self {
        Self { replicates: false, all_jobs: false, ..self.clone() }
    }

    /// True if everything that `other` asks for certainly passes `self`.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let by_id = match (&self.signatures, &other.signatures) {
            (SignatureScope::All, _) | (SignatureScope::Alerted, SignatureScope::Alerted) => true,
            (SignatureScope::Ids(wide), SignatureScope::Ids(narrow)) => {
                narrow.as_slice().iter().all(|id| wide.contains(*id))
            }
            _ => false,
        };
        by_id
            && includes(&self.frameworks, &other.frameworks)
            && includes(&self.platforms, &other.platforms)
            && includes(&self.suites, &other.suites)
            && self.alert_statuses.includes(&other.alert_statuses)
            && (self.replicates || !other.replicates)
            && (self.all_jobs || !other.all_jobs)
    }

    /// The keys that differ from `asked`: `(key, stored, asked)`.
    #[must_use]
    pub fn differences(&self, asked: &Self) -> Vec<(&'static str, String, String)> {
        let mut by_id = asked.signatures.to_string();
        if let (SignatureScope::Ids(stored), SignatureScope::Ids(ids)) = (&self.signatures, &asked.signatures) {
            let lacking: Vec<u64> = stored.as_slice().iter().copied().filter(|id| !ids.contains(*id)).collect();
            by_id.push_str(&format!(", without {} of the stored ones", lacking.len()));
            if let Some(first) = lacking.first() {
                by_id.push_str(&format!(", such as {first}"));
            }
        }
        let rows = [
            ("scope.signatures", self.signatures.to_string(), by_id, self.signatures != asked.signatures),
            (
                "scope.frameworks",
                texts(&self.frameworks),
                texts(&asked.frameworks),
                self.frameworks != asked.frameworks,
            ),
            ("scope.platforms", texts(&self.platforms), texts(&asked.platforms), self.platforms != asked.platforms),
            ("scope.suites", texts(&self.suites), texts(&asked.suites), self.suites != asked.suites),
            (
                "scope.alert_statuses",
                self.alert_statuses.to_string(),
                asked.alert_statuses.to_string(),
                self.alert_statuses != asked.alert_statuses,
            ),
            (
                "scope.replicates",
                self.replicates.to_string(),
                asked.replicates.to_string(),
                self.replicates != asked.replicates,
            ),
            (
                "jobs.details",
                JobDetails::of(self).to_owned(),
                JobDetails::of(asked).to_owned(),
                self.all_jobs != asked.all_jobs,
            ),
        ];
        rows.into_iter().filter(|row| row.3).map(|(key, stored, asked, _)| (key, stored, asked)).collect()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signatures: {}", self.signatures)?;
        for (name, is_set, text) in [
            ("frameworks", !self.frameworks.is_empty(), texts(&self.frameworks)),
            ("platforms", !self.platforms.is_empty(), texts(&self.platforms)),
            ("suites", !self.suites.is_empty(), texts(&self.suites)),
            ("alert statuses", !self.alert_statuses.is_default(), self.alert_statuses.to_string()),
            ("replicates", self.replicates, "yes".to_owned()),
            ("job details", self.all_jobs, "all".to_owned()),
        ] {
            if is_set {
                write!(f, "; {name}: {text}")?;
            }
        }
        Ok(())
    }
}

/// Patterns are compared as texts: a list that contains all stored patterns selects at least the same signatures.
fn includes<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|one| wide.contains(one)))
}

fn texts(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "all".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

impl ScopeConfig {
    /// See [`Config::scope_over`](super::Config::scope_over).
    pub(super) fn over(&self, pinned: &Scope) -> Result<Scope, ScopeError> {
        let signatures = match &self.signatures {
            None => pinned.signatures.clone(),
            Some(SignatureChoice::All) => SignatureScope::All,
            Some(SignatureChoice::Alerted) => SignatureScope::Alerted,
            Some(SignatureChoice::File(path)) => SignatureScope::Ids(read_ids(path)?),
        };
        Ok(Scope {
            signatures,
            frameworks: names("scope.frameworks", self.frameworks.as_deref(), &pinned.frameworks)?,
            platforms: names("scope.platforms", self.platforms.as_deref(), &pinned.platforms)?,
            suites: names("scope.suites", self.suites.as_deref(), &pinned.suites)?,
            alert_statuses: self.alert_statuses.clone().unwrap_or_else(|| pinned.alert_statuses.clone()),
            replicates: self.replicates.unwrap_or(pinned.replicates),
            all_jobs: pinned.all_jobs,
        })
    }
}

fn names<T: Clone + Ord + AsRef<str>>(
    key: &'static str,
    given: Option<&[T]>,
    pinned: &[T],
) -> Result<Vec<T>, ScopeError> {
    let Some(given) = given else { return Ok(pinned.to_vec()) };
    if given.is_empty() {
        return Err(ScopeError::Empty(key));
    }
    if given.iter().any(|name| name.as_ref() == EVERYTHING) {
        return Ok(Vec::new());
    }
    let mut names = given.to_vec();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Reads one id per line; skips empty lines and comments after `#`.
fn read_ids(path: &Path) -> Result<SignatureIds, ScopeError> {
    let failed = |source| ScopeError::File { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(failed(std::io::Error::other("it is larger than any list of ids")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut ids = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let id = line.split('#').next().unwrap_or_default().trim();
        if id.is_empty() {
            continue;
        }
        ids.push(id.parse::<u64>().map_err(|_| ScopeError::NotAnId {
            path: path.to_owned(),
            line: number + 1,
            text: id.chars().take(80).collect(),
        })?);
    }
    if ids.is_empty() {
        return Err(ScopeError::Empty("the file of scope.signatures"));
    }
    Ok(ids.into_iter().collect())
}

#[cfg(test)]
mod tests;
