//! Selects the signatures of the crawl's scope from the stored lists.
//!
//! Patterns and names are held against all listed signatures, so that a mistyped one is an error and not an empty dataset.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::config::{Glob, Scope, SignatureScope};
use crate::model::{Kind, RawJson, Request, SignatureId, Timestamp, exact_id, exact_integer, nearest_names};
use crate::store::{CrawlIdentity, Store, StoreError};

/// Names that a message lists when none is similar.
const MOST_EXAMPLES: usize = 5;

/// Why the scope selects no signatures. Exit code 2.
#[derive(Debug, Error)]
pub enum SelectionError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A framework that the server does not have.
    #[error("scope.frameworks: the server has no framework `{name}`; {hint}")]
    UnknownFramework {
        /// As it was given.
        name: String,
        /// Similar names, or examples.
        hint: String,
    },
    /// A framework, a platform or a suite that no signature has.
    #[error("{key}: `{pattern}` matches none of the {num_listed} signatures of {repository}; {hint}")]
    NoMatch {
        /// `table.key`
        key: &'static str,
        /// As it was given.
        pattern: String,
        /// Signatures of the repository.
        num_listed: usize,
        /// Their repository.
        repository: String,
        /// Similar names, or examples.
        hint: String,
    },
    /// Each key matches, but no signature passes all.
    #[error(
        "the scope selects none of the {num_listed} signatures of {repository} ({scope}): each key matches some signatures, \
         but no signature passes all keys; widen one of them"
    )]
    Nothing {
        /// The scope.
        scope: String,
        /// Signatures of the repository.
        num_listed: usize,
        /// Their repository.
        repository: String,
    },
    /// No alert names a signature of the repository.
    #[error(
        "scope.signatures: the {num_summaries} alert summaries of pushes since {since} name no signature of {repository}; \
         set window.alerts_lookback to a longer time, or scope.signatures to \"all\""
    )]
    NoAlerts {
        /// In the window.
        num_summaries: usize,
        /// Start of the alert window.
        since: Timestamp,
        /// The crawl's repository.
        repository: String,
    },
    /// The file of ids lists signatures of other repositories.
    #[error(
        "scope.signatures: {repository} lists none of the {num} ids of the file, such as {first}; check source.repository"
    )]
    NoneListed {
        /// Ids in the file.
        num: usize,
        /// The first of them.
        first: u64,
        /// The crawl's repository.
        repository: String,
    },
}

/// True if the names of the frameworks are still to be asked for.
pub(super) fn lacks_frameworks(store: &Store, scope: &Scope) -> Result<bool, StoreError> {
    Ok(!scope.frameworks.is_empty() && store.settled(&Request::Frameworks)?.is_none())
}

/// True if signatures without data in the window are asked too. Those of alerts are few, and only their header has the threshold
/// that raised the alert. An answer with replicates has the same header.
pub(super) fn asks_for_headers(identity: &CrawlIdentity, replicates: bool) -> bool {
    identity.scope.signatures == SignatureScope::Alerted && !replicates
}

/// The crawl's signatures, ascending: the sample of those that pass its scope.
///
/// # Errors
/// [`SelectionError`] if a part of the scope matches nothing although all lists are complete, or if the store cannot be
/// read.
pub(super) fn selected_signatures(store: &Store, identity: &CrawlIdentity) -> Result<Vec<SignatureId>, SelectionError> {
    let listed = store.signature_ids()?;
    let scope = &identity.scope;
    if scope.is_all() || listed.is_empty() {
        return Ok(identity.sample_of(listed));
    }
    let is_whole = is_whole(store)?;
    let named = match &scope.signatures {
        SignatureScope::All => None,
        SignatureScope::Alerted => Some(alerted(store, identity, &listed, is_whole)?),
        SignatureScope::Ids(ids) => {
            let known: HashSet<SignatureId> = listed.iter().copied().collect();
            Some(of_file(ids.as_slice(), &known, &identity.repository, is_whole)?)
        }
    };
    let mut selected = passing(store, identity, &listed, is_whole)?;
    if let Some(named) = &named {
        selected.retain(|id| named.contains(id));
    }
    if is_whole && selected.is_empty() && named.is_none_or(|named| !named.is_empty()) {
        let (scope, repository) = (scope.to_string(), identity.repository.clone());
        return Err(SelectionError::Nothing { scope, num_listed: listed.len(), repository });
    }
    Ok(identity.sample_of(selected))
}

/// False if a list of signatures failed, so that signatures may be missing that a part of the scope matches.
fn is_whole(store: &Store) -> Result<bool, StoreError> {
    for failure in store.failures() {
        if failure?.0.kind() == Kind::Signatures {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The listed signatures that the alert summaries of the crawl name, in their own alerts or in those of related summaries.
fn alerted(
    store: &Store,
    identity: &CrawlIdentity,
    listed: &[SignatureId],
    is_whole: bool,
) -> Result<HashSet<SignatureId>, SelectionError> {
    let (mut named, mut num_summaries) = (HashSet::new(), 0);
    for id in store.alert_listing()? {
        let missing = || StoreError::MissingValue { key: format!("alert summary {id}") };
        let record = store.alert_summary(id)?.ok_or_else(missing)?;
        if let Some(signatures) = signatures_of(&record, identity) {
            num_summaries += 1;
            named.extend(signatures);
        }
    }
    let num_named = named.len();
    let known: HashSet<SignatureId> = listed.iter().copied().collect();
    named.retain(|id| known.contains(id));
    if named.len() < num_named {
        tracing::info!(
            signatures = num_named - named.len(),
            "alerts name signatures that {} does not list: those of other repositories; not fetching their data",
            identity.repository
        );
    }
    if named.is_empty() && is_whole && has_all_alerts(store)? {
        let repository = identity.repository.clone();
        return Err(SelectionError::NoAlerts { num_summaries, since: identity.alerts_since(), repository });
    }
    Ok(named)
}

/// False while a page of alert summaries may hold more.
fn has_all_alerts(store: &Store) -> Result<bool, StoreError> {
    let counts = store.counts()?;
    let alerts = counts.of(Kind::Alerts);
    Ok(alerts.pending + alerts.failed == 0)
}

/// The signatures of an alert summary; `None` for one outside the window, or with a status that the scope leaves out. A
/// field of another type counts as absent.
fn signatures_of(record: &RawJson, identity: &CrawlIdentity) -> Option<Vec<SignatureId>> {
    type Fields<'a> = BTreeMap<String, &'a RawValue>;
    let summary: Fields<'_> = record.view().ok()?;
    let pushed = summary.get("push_timestamp").and_then(|raw| exact_integer(raw.get())).map(Timestamp::from_secs);
    let status = summary.get("status").and_then(|raw| exact_integer(raw.get()));
    if !identity.has_alert_of(pushed) || !identity.scope.alert_statuses.has(status) {
        return None;
    }
    let mut signatures = Vec::new();
    for key in ["alerts", "related_alerts"] {
        let alerts = summary.get(key).and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
        for alert in alerts.into_iter().flatten() {
            let alert: Option<Fields<'_>> = serde_json::from_str(alert.get()).ok();
            let series =
                alert.and_then(|alert| serde_json::from_str::<Fields<'_>>(alert.get("series_signature")?.get()).ok());
            let id = series.and_then(|series| exact_id(series.get("id")?.get()));
            signatures.extend(id.map(SignatureId));
        }
    }
    Some(signatures)
}

/// The listed ids of a file.
fn of_file(
    ids: &[u64],
    known: &HashSet<SignatureId>,
    repository: &str,
    is_whole: bool,
) -> Result<HashSet<SignatureId>, SelectionError> {
    let (listed, others): (Vec<u64>, Vec<u64>) = ids.iter().partition(|id| known.contains(&SignatureId(**id)));
    if let Some(first) = others.first() {
        if listed.is_empty() && is_whole {
            return Err(SelectionError::NoneListed {
                num: ids.len(),
                first: *first,
                repository: repository.to_owned(),
            });
        }
        let examples: Vec<String> = others.iter().take(MOST_EXAMPLES).map(u64::to_string).collect();
        tracing::warn!(
            "{repository} does not list {} of the {} ids of scope.signatures, such as {}; they have no data in this dataset",
            others.len(),
            ids.len(),
            examples.join(", ")
        );
    }
    Ok(listed.into_iter().map(SignatureId).collect())
}

/// The names that a key lists, those that matched a signature, and all names of the listed signatures.
struct Names<'a> {
    key: &'static str,
    patterns: &'a [Glob],
    matched: Vec<bool>,
    found: BTreeSet<String>,
}

impl<'a> Names<'a> {
    fn of(key: &'static str, patterns: &'a [Glob]) -> Self {
        Self { key, patterns, matched: vec![false; patterns.len()], found: BTreeSet::new() }
    }

    fn passes(&mut self, name: Option<&str>) -> bool {
        if self.patterns.is_empty() {
            return true;
        }
        let Some(name) = name else { return false };
        if !self.found.contains(name) {
            self.found.insert(name.to_owned());
            for (pattern, matched) in self.patterns.iter().zip(&mut self.matched) {
                *matched |= pattern.matches(name);
            }
        }
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    fn check(self, num_listed: usize, repository: &str) -> Result<(), SelectionError> {
        let Some(at) = self.matched.iter().position(|matched| !matched) else { return Ok(()) };
        let pattern: &str = self.patterns[at].as_ref();
        let hint = hint(&pattern.replace(['*', '?', '[', ']'], ""), &self.found.into_iter().collect::<Vec<_>>());
        let (pattern, repository) = (pattern.to_owned(), repository.to_owned());
        Err(SelectionError::NoMatch { key: self.key, pattern, num_listed, repository, hint })
    }
}

/// Similar names, or examples.
fn hint(unknown: &str, names: &[String]) -> String {
    let examples = names.iter().take(MOST_EXAMPLES).cloned().collect::<Vec<_>>().join("`, `");
    let nearest = nearest_names(unknown, names.iter().map(String::as_str));
    if nearest.is_empty() {
        format!("there are, for example, `{examples}`")
    } else {
        format!("did you mean `{}`?", nearest.join("` or `"))
    }
}

/// The listed signatures that pass frameworks, platforms and suites.
fn passing(
    store: &Store,
    identity: &CrawlIdentity,
    listed: &[SignatureId],
    is_whole: bool,
) -> Result<Vec<SignatureId>, SelectionError> {
    let Scope { frameworks, platforms, suites, .. } = &identity.scope;
    if frameworks.is_empty() && platforms.is_empty() && suites.is_empty() {
        return Ok(listed.to_vec());
    }
    let known = Frameworks::read(store)?;
    let asked = known.resolve(&identity.scope)?;
    let mut platforms = Names::of("scope.platforms", platforms);
    let mut suites = Names::of("scope.suites", suites);
    let (mut passing, mut of_frameworks) = (Vec::new(), BTreeSet::new());
    for &id in listed {
        let missing = || StoreError::MissingValue { key: format!("signature {id}") };
        let record: Value = store.signature(id)?.ok_or_else(missing)?.view().unwrap_or_default();
        let framework = record["framework_id"].as_u64();
        of_frameworks.extend(framework);
        let by_framework = asked.is_empty() || framework.is_some_and(|id| asked.contains_key(&id));
        // All keys see all signatures, so that each pattern that matches any is known.
        let by_platform = platforms.passes(record["machine_platform"].as_str());
        let by_suite = suites.passes(record["suite"].as_str());
        if by_framework && by_platform && by_suite {
            passing.push(id);
        }
    }
    if !is_whole {
        return Ok(passing);
    }
    if let Some((_, name)) = asked.iter().find(|(id, _)| !of_frameworks.contains(id)) {
        let (pattern, repository) = (name.clone(), identity.repository.clone());
        let hint = hint(name, &of_frameworks.iter().map(|id| known.name_of(*id)).collect::<Vec<_>>());
        return Err(SelectionError::NoMatch {
            key: "scope.frameworks",
            pattern,
            num_listed: listed.len(),
            repository,
            hint,
        });
    }
    platforms.check(listed.len(), &identity.repository)?;
    suites.check(listed.len(), &identity.repository)?;
    Ok(passing)
}

/// The server's frameworks: enabled ones, by id.
struct Frameworks(BTreeMap<u64, String>);

impl Frameworks {
    fn read(store: &Store) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct View {
            id: u64,
            name: String,
        }
        let list: Vec<Value> = store.frameworks()?.and_then(|list| list.view().ok()).unwrap_or_default();
        let views = list.into_iter().filter_map(|value| serde_json::from_value::<View>(value).ok());
        Ok(Self(views.map(|view| (view.id, view.name)).collect()))
    }

    fn name_of(&self, id: u64) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The ids of the scope's frameworks, with the names as given.
    fn resolve(&self, scope: &Scope) -> Result<BTreeMap<u64, String>, SelectionError> {
        let id_of = |name: &str| self.0.iter().find(|(_, known)| *known == name).map(|(id, _)| *id);
        let resolved = scope.frameworks.iter().map(|framework| {
            let name: &str = framework.as_ref();
            // A disabled framework is not listed, but its signatures are.
            let id = id_of(name).or_else(|| framework.id());
            let unknown = || {
                let hint = hint(name, &self.0.values().cloned().collect::<Vec<_>>());
                SelectionError::UnknownFramework { name: name.to_owned(), hint }
            };
            id.map(|id| (id, name.to_owned())).ok_or_else(unknown)
        });
        resolved.collect()
    }
}
