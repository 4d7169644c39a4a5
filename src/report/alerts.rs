//! Alert summaries over time, by status and by framework.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::facts::{Facts, GroupProfile};
use super::names;
use super::tables::{Cell, Table, numbers, texts};
use super::text;
use super::time_charts::{TimeBins, gathered, stacked};
use crate::dataset::families::alerts::{AlertHistory, RaisedOn};
use crate::model::FrameworkId;

/// Most rows in the table of frameworks; Treeherder has a dozen frameworks.
const MAX_FRAMEWORKS: usize = 100;

/// The status of false alerts.
const FALSE: Option<i64> = Some(3);

/// The section.
pub(super) fn section(facts: &Facts) -> Markup {
    let history = &facts.overview.alerts;
    html! {
        section id="alerts" {
            h2 { "Alerts" }
            @if history.is_empty() {
                p { "The window contains no alert summaries." }
            } @else {
                (over_time(history, "Alert summaries by status", |raised| raised.status, |status| names::alert_status(*status), Some(&FALSE)))
                (over_time(history, "Alert summaries by framework", |raised| raised.framework, |id| names::framework(*id), None))
            }
            h3 { "Statuses" }
            (statuses(history))
            h3 { "Frameworks" }
            (frameworks(facts))
        }
    }
}

fn over_time<T: Ord + Clone>(
    history: &AlertHistory,
    caption: &str,
    kind_of: impl Fn(&RaisedOn) -> T,
    name: impl Fn(&T) -> String,
    always_named: Option<&T>,
) -> Markup {
    let days = || history.tally.keys().filter_map(|raised| raised.day);
    let (Some(first), Some(last)) = (days().min(), days().max()) else {
        return super::charts::nothing(caption, "No alert summary has a creation time.");
    };
    let bins = TimeBins::between(first, last);
    let mut totals: BTreeMap<T, u64> = BTreeMap::new();
    for (raised, count) in &history.tally {
        *totals.entry(kind_of(raised)).or_default() += count;
    }
    let mut by_frequency = GroupProfile::by_frequency(&totals);
    by_frequency.sort_by_key(|(kind, _)| Some(kind) != always_named); // stable
    let (kinds, place) = gathered(&by_frequency, name);
    let mut counts = vec![vec![0; kinds.len()]; bins.len()];
    for (raised, count) in &history.tally {
        if let Some(day) = raised.day {
            counts[bins.of_day(day)][place[&kind_of(raised)]] += count;
        }
    }
    let labels = ("Creation time of the alert summary", "Alert summaries");
    stacked(caption, labels, bins, &kinds, &counts, "No alert summary has a creation time.")
}

/// All of them, of which the chart may combine the rare ones.
fn statuses(history: &AlertHistory) -> Markup {
    let mut totals: BTreeMap<Option<i64>, u64> = BTreeMap::new();
    for (raised, count) in &history.tally {
        *totals.entry(raised.status).or_default() += count;
    }
    let sum = totals.values().sum();
    let row = |(status, number): (&Option<i64>, &u64)| {
        let share = Cell::Text(text::percent(*number, sum));
        vec![Cell::Text(names::alert_status(*status)), Cell::count(*number), share]
    };
    let rows = totals.iter().map(row).collect();
    let columns = vec![texts("status"), numbers("alert summaries"), numbers("share")];
    html! {
        p.note { "An invalid alert summary is a false alert. Downstream, reassigned and invalid ones are fetched only if "
            code { "scope.alert_statuses" } " names them." }
        (Table { caption: "Alert summaries by status", columns, rows, left_out: None }.draw())
    }
}

fn frameworks(facts: &Facts) -> Markup {
    let mut alerts: BTreeMap<Option<FrameworkId>, BTreeMap<Option<i64>, u64>> = BTreeMap::new();
    for (raised, count) in &facts.overview.alerts.tally {
        *alerts.entry(raised.framework).or_default().entry(raised.status).or_default() += count;
    }
    let by_framework = &facts.signatures.by_framework;
    let mut ids: Vec<Option<FrameworkId>> = by_framework.keys().chain(alerts.keys()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let columns = vec![
        texts("framework"),
        numbers("signatures"),
        numbers("with jobs"),
        numbers("alert summaries"),
        numbers("untriaged"),
        numbers("fixed or backed out"),
        numbers("invalid"),
    ];
    let total = ids.len() as u64;
    ids.truncate(MAX_FRAMEWORKS);
    let rows: Vec<Vec<Cell>> = ids
        .iter()
        .map(|id| {
            let (listed, with_jobs) = by_framework.get(id).copied().unwrap_or_default();
            let of = |statuses: &[i64]| -> u64 {
                let tally = alerts.get(id).into_iter().flatten();
                tally
                    .filter(|(status, _)| status.is_some_and(|status| statuses.contains(&status)))
                    .map(|(_, n)| n)
                    .sum()
            };
            let all: u64 = alerts.get(id).into_iter().flat_map(BTreeMap::values).sum();
            vec![
                Cell::Text(names::framework(*id)),
                Cell::count(listed),
                Cell::count(with_jobs),
                Cell::count(all),
                Cell::count(of(&[0])),
                Cell::count(of(&[7, 8])),
                Cell::count(of(FALSE.as_slice())),
            ]
        })
        .collect();
    let left_out = super::tables::left_out(
        rows.len(),
        total,
        "first",
        "frameworks",
        "alert_summaries.csv and all_signatures.jsonl contain all of them",
    );
    html! {
        p.note { "Alert summaries are from all repositories, unless the crawl is configured for one (source.alerts_repository_id). "
            "Framework names are those of Treeherder in 2026." }
        (Table { caption: "Frameworks", columns, rows, left_out }.draw())
    }
}
