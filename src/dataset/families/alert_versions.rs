//! The history of the alert summaries: a row for each version that a harvest saw.
//!
//! In: the records of the store, and those that they replaced. No value.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::value::RawValue;

use super::alerts::for_each_summary_of_scope;
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::promise::Promised;
use crate::model::{AlertStatus, FIRST_HARVEST, RawJson, Timestamp, exact_integer};
use crate::store::{Harvest, Version};

pub(crate) struct AlertVersions;

impl Family for AlertVersions {
    type Value = ();

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        making.spawn(write)
    }
}

/// A row of `alert_summary_history.jsonl`.
#[derive(Serialize)]
struct Row<'a> {
    id: u64,
    /// The harvest that saw this version first.
    harvest: u16,
    /// The `data_end` of that harvest: about when it was seen.
    seen_at: Option<Timestamp>,
    /// The last harvest that saw it; `None` if the newest one did, so that a harvest without changes leaves the rows as
    /// they are.
    last_seen: Option<u16>,
    status: Option<&'static str>,
    bug_number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee_username: Option<&'a RawValue>,
    /// Fields that differ from the version before.
    changed: Vec<&'a str>,
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

fn write(context: &Context<'_>) -> Result<(), DatasetError> {
    let Some(mut file) = context.line_file(Artifact::AlertSummaryHistory)? else { return Ok(()) };
    let store = context.store;
    let mut replaced: HashMap<u64, Vec<Version>> = HashMap::new();
    for version in store.alert_versions()? {
        replaced.entry(version.id).or_default().push(version);
    }
    let harvests: Vec<Harvest> = store.harvests()?.into_iter().filter(|harvest| store.shows(harvest.number)).collect();
    let mut line = Vec::new();
    let null: &RawValue = serde_json::from_str("null").map_err(DatasetError::Report)?;
    for_each_summary_of_scope::<DatasetError>(store, context.identity, &store.alert_listing()?, |id, record| {
        context.means.check_interrupted()?;
        let versions = versions_of(replaced.remove(&id.0).unwrap_or_default(), record.clone());
        let listed_until = store.alert_last_seen(id)?;
        let mut before: Option<Fields<'_>> = None;
        for (at, (harvest, text)) in versions.iter().enumerate() {
            let fields: Fields<'_> = text.view().unwrap_or_default();
            let until = versions.get(at + 1).map_or(listed_until, |(next, _)| Some(next - 1));
            let seen_at = harvests.iter().find(|known| known.number == *harvest).map(|known| known.data_end);
            let row = Row {
                id: id.0,
                harvest: *harvest,
                seen_at,
                last_seen: until,
                status: integer(&fields, "status").and_then(AlertStatus::of).map(AlertStatus::name),
                bug_number: integer(&fields, "bug_number"),
                assignee_username: (!context.options().redact_emails)
                    .then(|| fields.get("assignee_username").copied().unwrap_or(null)),
                changed: before.as_ref().map(|before| changed(before, &fields)).unwrap_or_default(),
            };
            line.clear();
            serde_json::to_writer(&mut line, &row).map_err(DatasetError::Report)?;
            line.push(b'\n');
            file.append_line(&line)?;
            before = Some(fields);
        }
        Ok(())
    })?;
    context.finish(file.written(), &RowCounts::new())
}

/// The versions of a record, each with the harvest that saw it first. `replaced`: by harvest.
fn versions_of(replaced: Vec<Version>, record: RawJson) -> Vec<(u16, RawJson)> {
    let mut versions = Vec::with_capacity(replaced.len() + 1);
    let mut since = FIRST_HARVEST;
    for Version { harvest, before, .. } in replaced {
        versions.extend(before.map(|text| (since, text)));
        since = harvest;
    }
    versions.push((since, record));
    versions
}

fn integer(fields: &Fields<'_>, name: &str) -> Option<i64> {
    fields.get(name).and_then(|raw| exact_integer(raw.get()))
}

/// Names of the fields that differ, ascending.
fn changed<'a>(before: &Fields<'_>, now: &'a Fields<'_>) -> Vec<&'a str> {
    let text = |fields: &Fields<'_>, name: &str| fields.get(name).map(|raw| raw.get().to_owned());
    now.keys()
        .map(String::as_str)
        .filter(|name| text(before, name) != text(now, name))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
