//! `GET /api/performance/alertsummary/`: filters, sorts and pages a list that may change between two requests.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::Value;

use crate::alterations::Alterations;
use crate::dataset::AlertHead;
use crate::query::{Query, filter_bool, python_int};
use crate::reply::Reply;
use crate::view::View;

use super::{Asked, separate};

const DEFAULT_PAGE: usize = 10;
const LARGEST_PAGE: usize = 100;

/// The filters of a request, all of which must hold.
struct Filters<'a> {
    id: Option<f64>,
    status: Option<f64>,
    framework: Option<f64>,
    repository: Option<f64>,
    series_signature: Option<f64>,
    assignee: Option<&'a str>,
    timerange: Option<f64>,
    hide_improvements: bool,
    hide_related_and_invalid: bool,
    unsheriffed_only: bool,
}

/// The source of a row.
#[derive(Clone, Copy)]
enum Row {
    Base(usize, AlertHead),
    Created(usize),
}

/// All rows that are there, those of the data set first.
fn rows(view: &View<'_>, alterations: &Alterations) -> impl Iterator<Item = Row> {
    let base = (0..view.num_alerts()).filter_map(move |rank| Some(Row::Base(rank, view.alert_head(rank)?)));
    base.chain((0..alterations.created().len()).map(Row::Created))
}

pub(super) fn answer(view: &View<'_>, asked: &Asked<'_>, query: &Query) -> Reply {
    let filters = match Filters::read(query) {
        Ok(filters) => filters,
        Err(reply) => return reply,
    };
    let alterations = view.alterations();
    let mut rows = filters.select(view, &alterations);
    if let Some(ordering) = query.non_empty("ordering") {
        order(view, &alterations, &mut rows, ordering);
    }

    let size = query
        .get("limit")
        .and_then(python_int)
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0)
        .map_or(DEFAULT_PAGE, |limit| limit.min(LARGEST_PAGE));
    let num_pages = rows.len().div_ceil(size).max(1);
    let page = match query.non_empty("page") {
        None => Some(1),
        Some("last") => Some(num_pages),
        Some(text) => python_int(text).and_then(|page| usize::try_from(page).ok()),
    };
    let Some(page) = page.filter(|page| (1..=num_pages).contains(page)) else {
        return Reply::detail(404, "Invalid page.");
    };

    let on_page = || rows.iter().skip((page - 1) * size).take(size);
    let alerts = on_page().map(|row| head(&alterations, *row).id).collect();
    let link = |to: Option<usize>| {
        to.map_or_else(
            || "null".to_owned(),
            |to| {
                let query = query.sorted_with("page", (to > 1).then(|| to.to_string()).as_deref());
                let mark = if query.is_empty() { "" } else { "?" };
                format!("\"http://{}{}{mark}{query}\"", asked.host, asked.path)
            },
        )
    };
    let next = link((page < num_pages).then_some(page + 1));
    let previous = link((page > 1).then_some(page - 1));
    let mut head = String::new();
    let _ = write!(head, "{{\"count\":{},\"next\":{next},\"previous\":{previous},\"results\":[", rows.len());
    let mut out = head.into_bytes();
    let start = out.len();
    for row in on_page() {
        separate(&mut out, start);
        out.extend_from_slice(&text(view, &alterations, *row));
    }
    out.extend_from_slice(b"]}");
    Reply { alerts, ..Reply::json(200, out) }
}

pub(super) fn answer_detail(view: &View<'_>, id: &str) -> Reply {
    let Some(id) = python_int(id) else { return Reply::detail(404, "Not found.") };
    let alterations = view.alterations();
    match rows(view, &alterations).find(|row| i128::from(head(&alterations, *row).id) == id) {
        Some(row) => Reply::json(200, text(view, &alterations, row)),
        None => Reply::detail(404, "No PerformanceAlertSummary matches the given query."),
    }
}

fn head(alterations: &Alterations, row: Row) -> AlertHead {
    alterations.alter(match row {
        Row::Base(_, head) => head,
        Row::Created(index) => alterations.created()[index].head,
    })
}

fn text(view: &View<'_>, alterations: &Alterations, row: Row) -> Vec<u8> {
    match row {
        Row::Base(rank, head) => {
            let mut out = Vec::with_capacity(4096);
            view.write_alert(rank, &mut out);
            alterations.alter_text(head.id, out)
        }
        Row::Created(index) => {
            let created = &alterations.created()[index];
            alterations.alter_text(created.head.id, created.text.clone().into_bytes())
        }
    }
}

/// Whether the push of a row is younger than `range` seconds.
#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
fn is_within(view: &View<'_>, alterations: &Alterations, row: Row, range: f64) -> bool {
    let pushed = match row {
        Row::Base(rank, _) => view.alert_push_timestamp(rank),
        Row::Created(index) => alterations.created()[index].push_timestamp,
    };
    pushed as f64 > view.now() as f64 - range
}

impl<'a> Filters<'a> {
    fn read(query: &'a Query) -> Result<Self, Reply> {
        let mut errors = String::new();
        let mut number = |name: &str| {
            let text = query.non_empty(name)?.trim();
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            if number.is_none() {
                let comma = if errors.is_empty() { "" } else { "," };
                let _ = write!(errors, "{comma}\"{name}\":[\"Enter a number.\"]");
            }
            number
        };
        let filters = Self {
            id: number("id"),
            status: number("status"),
            framework: number("framework"),
            repository: number("repository"),
            series_signature: number("alerts__series_signature"),
            timerange: number("timerange"),
            assignee: query.non_empty("with_assignee"),
            hide_improvements: query.get("hide_improvements").is_some_and(|text| filter_bool(text).is_some()),
            // Any boolean enables the filter, even False; other values are ignored.
            hide_related_and_invalid: query
                .get("hide_related_and_invalid")
                .is_some_and(|text| filter_bool(text).is_some()),
            unsheriffed_only: query.non_empty("monitored_alerts").is_some(),
        };
        if errors.is_empty() { Ok(filters) } else { Err(Reply::json(400, format!("{{{errors}}}"))) }
    }

    /// The rows that pass all filters, in the order of the list.
    fn select(&self, view: &View<'_>, alterations: &Alterations) -> Vec<Row> {
        // All summaries of a backend are sheriffed.
        if self.unsheriffed_only && self.id.is_none() {
            return Vec::new();
        }
        let mut rows: Vec<Row> = rows(view, alterations)
            .filter(|row| self.accept(&head(alterations, *row)))
            .filter(|row| self.timerange.is_none_or(|range| is_within(view, alterations, *row, range)))
            .filter(|row| !self.reads_record() || self.accept_record(&text(view, alterations, *row)))
            .collect();
        if !alterations.created().is_empty() {
            rows.sort_by_key(|row| {
                let head = head(alterations, *row);
                std::cmp::Reverse((head.created, head.id))
            });
        }
        rows
    }

    #[expect(clippy::cast_precision_loss, reason = "ids are far below 2^53; filters take any number")]
    fn accept(&self, head: &AlertHead) -> bool {
        let equal =
            |filter: Option<f64>, value: u64| filter.is_none_or(|wanted| (wanted - value as f64).abs() < 0.5e-9);
        equal(self.id, head.id)
            && equal(self.status, head.status)
            && equal(self.framework, head.framework)
            && equal(self.repository, head.repository_id)
            && !(self.hide_related_and_invalid && matches!(head.status, 1..=3))
    }

    fn reads_record(&self) -> bool {
        self.series_signature.is_some() || self.assignee.is_some() || self.hide_improvements
    }

    /// The filters that need the record.
    fn accept_record(&self, record: &[u8]) -> bool {
        let record: Value = serde_json::from_slice(record).unwrap_or_default();
        let alerts = record["alerts"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let has_signature = |wanted: f64| {
            alerts
                .iter()
                .filter_map(|alert| alert["series_signature"]["id"].as_f64())
                .any(|id| (id - wanted).abs() < 0.5e-9)
        };
        self.series_signature.is_none_or(has_signature)
            && self.assignee.is_none_or(|assignee| record["assignee_username"] == assignee)
            && (!self.hide_improvements || alerts.iter().any(|alert| alert["is_regression"] == true))
    }
}

/// Sorts by any field of the record; unknown fields are ignored.
fn order(view: &View<'_>, alterations: &Alterations, rows: &mut [Row], ordering: &str) {
    let fields: Vec<(&str, bool)> = ordering
        .split(',')
        .map(|field| field.trim().strip_prefix('-').map_or((field.trim(), false), |field| (field, true)))
        .collect();
    let mut keyed: Vec<(Vec<Value>, Row)> = rows
        .iter()
        .map(|row| {
            let record: Value = serde_json::from_slice(&text(view, alterations, *row)).unwrap_or_default();
            (fields.iter().map(|(field, _)| record[*field].clone()).collect(), *row)
        })
        .collect();
    keyed.sort_by(|(left, _), (right, _)| {
        fields
            .iter()
            .zip(left.iter().zip(right))
            .map(|((_, descending), (left, right))| {
                let order = compare(left, right);
                if *descending { order.reverse() } else { order }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    for (slot, (_, row)) in rows.iter_mut().zip(keyed) {
        *slot = row;
    }
}

/// The database's order: nulls last.
fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
    }
}
