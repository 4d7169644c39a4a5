//! The crawl: its identity, whether it is complete, its requests, failures, and jobs that the server had deleted.

use maud::{Markup, html};

use super::facts::Facts;
use super::tables::{Cell, Table, left_out, numbers, texts};
use super::text::{self, count, counted, percent, shown};
use crate::config::Semantics;
use crate::model::Kind;
use crate::observe::human_bytes;
use crate::store::KindTally;

/// Smallest width of an outcome in a bar, in thousandths of the bar.
const MIN_WIDTH: u64 = 12;

/// An outcome's name, its class, and how many requests had it.
type OutcomeBar = (&'static str, &'static str, fn(&KindTally) -> u64);

/// The outcomes, in the order of the columns.
const OUTCOMES: [OutcomeBar; 6] = [
    ("fetched", "o-data", |counts| counts.data),
    ("empty", "o-empty", |counts| counts.empty),
    ("gone", "o-gone", |counts| counts.gone),
    ("skipped", "o-skipped", |counts| counts.skipped),
    ("failed", "o-failed", |counts| counts.failed),
    ("pending", "o-pending", |counts| counts.pending),
];

/// The banner that says whether the crawl is complete.
pub(super) fn completeness(facts: &Facts) -> Markup {
    let (pending, failed) = (facts.counts.pending(), facts.counts.failed());
    html! {
        @if facts.counts.settled() == 0 {
            div.banner.bad role="status" {
                strong { "Nothing has been fetched yet." } " "
                (counted(pending + failed, "request is", "requests are")) " still to be made. " code { "perfharvest run" } " starts the crawl."
            }
        } @else if facts.is_complete() {
            @if facts.counts.set_aside() == 0 {
                div.banner.good role="status" { strong { "Complete." } " All requests are settled; none failed." }
            } @else {
                div.banner.bad role="status" {
                    strong { "Complete, " (counted(facts.counts.set_aside(), "record", "records")) " set aside." }
                    " All requests are settled. The records that were set aside cannot be read and are missing below; "
                    code { "perfharvest failures" } " lists them."
                }
            }
        } @else {
            div.banner.bad role="status" {
                strong { "This crawl is not complete." } " "
                @if pending > 0 { (counted(pending, "request is", "requests are")) " still to be made. " }
                @if failed > 0 { (counted(failed, "request has", "requests have")) " failed. " }
                @if pending + failed == 0 { "It ended before it had requested everything that the answers so far lead to. " }
                "Everything below leaves out signatures whose data is not complete. "
                code { "perfharvest run" } " resumes the crawl."
            }
        }
    }
}

/// The tiles with the most important numbers.
pub(super) fn figures(facts: &Facts) -> Markup {
    let overview = &facts.overview;
    let (listed, with_jobs) = facts.signatures.totals();
    let revisions = overview.revisions.as_ref().map(|revisions| {
        let covered = revisions.iter().filter(|revision| revision.total_jobs > 0).count();
        (covered as u64, revisions.len() as u64)
    });
    let jobs = facts.counts.of(Kind::JobDetails);
    let tiles = [
        ("signatures with jobs", count(with_jobs), format!("of {} listed", count(listed))),
        (
            "data",
            count(overview.num_data),
            format!("of {}", counted(overview.num_signatures, "signature", "signatures")),
        ),
        match revisions {
            Some((covered, all)) => ("revisions with jobs", count(covered), format!("of {} in the window", count(all))),
            None => ("revisions with jobs", "—".to_owned(), "unknown without commits".to_owned()),
        },
        ("signature groups", count(overview.groups.len() as u64), "measured by the same jobs".to_owned()),
        ("job details", count(jobs.data), format!("{} more had been deleted", count(jobs.gone))),
        ("alert summaries", count(overview.alerts.len()), "in the alert window".to_owned()),
    ];
    html! {
        dl.tiles {
            @for (name, value, of) in tiles {
                div { dt { (name) } dd { (value) } dd.of { (of) } }
            }
        }
    }
}

/// The section.
pub(super) fn section(facts: &Facts) -> Markup {
    let identity = &facts.identity;
    let semantics = match facts.overview.semantics {
        Semantics::Corrected => "corrected",
        Semantics::Reference => "reference",
    };
    let sample = identity.sample_signatures.map(|size| format!("{} signatures", count(u64::from(size))));
    let rows: Vec<(&str, String)> = vec![
        ("Server", shown(&identity.base_url)),
        ("Repository", shown(&identity.repository)),
        (
            "Commits",
            format!("{} to {}, both included", text::time(identity.window_start), text::time(identity.window_end)),
        ),
        (
            "Data pushed",
            format!("{} to {}", text::time(identity.data_window().start), text::time(identity.data_window().end)),
        ),
        ("Alerts from", text::time(identity.alerts_since())),
        (
            "Scope",
            if identity.scope.is_all() { "all signatures".to_owned() } else { shown(&identity.scope.to_string()) },
        ),
        ("Sample", sample.unwrap_or_else(|| "none (all signatures of the scope)".to_owned())),
        ("Semantics", semantics.to_owned()),
        ("Last answer stored", facts.stored_at.map_or_else(|| "—".to_owned(), text::time)),
    ];
    html! {
        section id="crawl" {
            h2 { "Crawl" }
            dl.facts { @for (name, value) in rows { div { dt { (name) } dd { bdi { (value) } } } } }
            p.note { "All times are UTC." }
            h3 { "Requests by kind" }
            (requests(facts))
        }
    }
}

fn requests(facts: &Facts) -> Markup {
    let mut columns = vec![texts("kind"), texts("outcomes")];
    columns.extend(OUTCOMES.iter().map(|(name, ..)| numbers(name)));
    columns.extend([numbers("records"), numbers("set aside"), numbers("corrected"), numbers("JSON")]);
    let row = |kind: Kind| {
        let counts = facts.counts.of(kind);
        let mut row = vec![Cell::Text(kind.name().replace('_', " ")), outcome_bar(counts)];
        row.extend(OUTCOMES.iter().map(|(.., of)| Cell::count(of(counts))));
        #[expect(clippy::cast_precision_loss, reason = "a sort key")]
        row.extend([
            Cell::count(counts.records),
            Cell::count(counts.set_aside),
            Cell::count(counts.corrected),
            Cell::Number(counts.body_bytes as f64, human_bytes(counts.body_bytes)),
        ]);
        row
    };
    let rows = facts.counts.kinds().map(row).collect();
    html! {
        (Table { caption: "Requests by kind and outcome", columns, rows, left_out: None }.draw())
        (super::charts::legend(OUTCOMES.iter().map(|(name, class, _)| (*class, (*name).to_owned()))))
    }
}

/// A bar as wide as its cell, divided by outcome. Even a single failure is wide enough to be seen.
fn outcome_bar(counts: &KindTally) -> Cell {
    let total = counts.total().max(1);
    let shares: Vec<String> =
        OUTCOMES.iter().map(|(name, _, of)| format!("{name} {}", percent(of(counts), total))).collect();
    let description = if counts.total() == 0 { "no requests".to_owned() } else { shares.join(", ") };
    let width_of = |part: u64| match part {
        0 => 0,
        part => u64::try_from(u128::from(part) * 1000 / u128::from(total)).unwrap_or(1000).max(MIN_WIDTH),
    };
    let widths = OUTCOMES.map(|(_, class, of)| (class, width_of(of(counts))));
    let width: u64 = widths.iter().map(|(_, width)| width).sum();
    let drawn = html! {
        svg.outcomes viewBox={ "0 0 " (width.max(1)) " 12" } preserveAspectRatio="none" role="img" aria-label=(description) {
            title { (description) }
            @for (place, (class, width)) in widths.iter().enumerate().filter(|(_, (_, width))| *width > 0) {
                @let before: u64 = widths[..place].iter().map(|(_, width)| width).sum();
                rect class=(class) x=(before) width=(width) height="12" {}
            }
        }
    };
    let settled = counts.settled();
    #[expect(clippy::cast_precision_loss, reason = "a sort key")]
    let key = settled as f64 / total as f64;
    Cell::Drawn(key, drawn)
}

/// Failed requests and deleted jobs.
pub(super) fn losses(facts: &Facts) -> Markup {
    html! {
        section id="losses" {
            h2 { "Failed and deleted" }
            h3 { "Failures" }
            (failures(facts))
            h3 { "Already deleted by the server" }
            (deleted(facts))
        }
    }
}

fn failures(facts: &Facts) -> Markup {
    let failures = &facts.failures;
    if failures.total == 0 {
        return html! { p { "No requests failed." } };
    }
    let columns = vec![
        texts("request"),
        texts("error"),
        numbers("status"),
        numbers("attempts"),
        texts("last attempt"),
        texts("reason"),
    ];
    let rows = failures.listed.iter().map(|(request, failure)| {
        vec![
            Cell::Text(shown(request)),
            Cell::Text(shown(&failure.label)),
            failure.status.map_or(Cell::Missing, |status| Cell::Number(f64::from(status), status.to_string())),
            Cell::count(u64::from(failure.attempts)),
            Cell::Text(text::time(failure.failed_at)),
            Cell::Text(shown(&failure.reason)),
        ]
    });
    let left_out =
        left_out(failures.listed.len(), failures.total, "first", "failures", "perfharvest failures lists all of them");
    let by_label: Vec<String> =
        failures.by_label.iter().take(20).map(|(label, num)| format!("{} {}", count(*num), shown(label))).collect();
    html! {
        p { (counted(failures.total, "request has", "requests have")) " failed: " (by_label.join(", ")) ". The next "
            code { "perfharvest run" } " tries again." }
        (Table { caption: "Failed requests", columns, rows: rows.collect(), left_out }.draw())
    }
}

fn deleted(facts: &Facts) -> Markup {
    let (jobs, summaries) = (facts.counts.of(Kind::JobDetails), facts.counts.of(Kind::Summaries));
    let asked = jobs.data + jobs.gone;
    let overview = &facts.overview;
    let settled = summaries.settled();
    let rows = [
        ("Requested jobs that the server had deleted", jobs.gone, asked),
        ("Data whose job had been deleted", overview.num_jobless, overview.num_data),
        ("Signatures whose answer contained no data", summaries.empty, settled),
        ("Signatures not requested, because they have no data since the window's start", summaries.skipped, settled),
    ];
    let columns = vec![texts("category"), numbers("number"), numbers("of"), numbers("share")];
    #[expect(clippy::cast_precision_loss, reason = "a sort key")]
    let rows = rows.map(|(what, part, whole)| {
        let share =
            if whole == 0 { Cell::Missing } else { Cell::Number(part as f64 / whole as f64, percent(part, whole)) };
        vec![Cell::Text(what.to_owned()), Cell::count(part), Cell::count(whole), share]
    });
    html! {
        p { "Treeherder deletes jobs after 120 days. Deleted jobs count as settled, not as failed, and are not requested again." }
        (Table { caption: "Deleted or empty", columns, rows: rows.to_vec(), left_out: None }.draw())
    }
}
