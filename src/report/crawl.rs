//! The crawl: what it is, whether it is complete, what was asked, what failed, what the server had already deleted.

use maud::{Markup, html};

use super::facts::Facts;
use super::tables::{Cell, Table, left_out, numbers, texts};
use super::text::{self, count, counted, percent, shown};
use crate::config::Semantics;
use crate::model::Kind;
use crate::observe::human_bytes;
use crate::store::KindCounts;

/// Width of an outcome in a bar at the least, in thousandths.
const MIN_WIDTH: u64 = 12;

/// An outcome's name, its class, and how many requests had it.
type Outcome = (&'static str, &'static str, fn(&KindCounts) -> u64);

/// The outcomes, in the order in which they stand.
const OUTCOMES: [Outcome; 6] = [
    ("fetched", "o-data", |counts| counts.data),
    ("empty", "o-empty", |counts| counts.empty),
    ("gone", "o-gone", |counts| counts.gone),
    ("skipped", "o-skipped", |counts| counts.skipped),
    ("failed", "o-failed", |counts| counts.failed),
    ("pending", "o-pending", |counts| counts.pending),
];

/// Whether the crawl is complete, prominently.
pub(super) fn completeness(facts: &Facts) -> Markup {
    let (pending, failed) = (facts.counts.pending(), facts.counts.failed());
    html! {
        @if facts.counts.settled() == 0 {
            div.banner.bad role="status" {
                strong { "Nothing has been fetched yet." } " "
                (counted(pending + failed, "request is", "requests are")) " to do; " code { "perfharvest run" } " does them."
            }
        } @else if facts.is_complete() {
            div.banner.good role="status" { strong { "Complete." } " Every request is settled; none failed, none is left." }
        } @else {
            div.banner.bad role="status" {
                strong { "This crawl is not complete." } " "
                @if pending > 0 { (counted(pending, "request is", "requests are")) " still to be asked. " }
                @if failed > 0 { (counted(failed, "request has", "requests have")) " failed. " }
                @if pending + failed == 0 { "It was ended before all that follows from the answers so far was asked. " }
                "Signatures whose data are not all there are left out of everything "
                "below. " code { "perfharvest run" } " goes on where it was."
            }
        }
    }
}

/// The numbers to see first.
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
            None => ("revisions with jobs", "—".to_owned(), "no commits are configured".to_owned()),
        },
        ("signature groups", count(overview.groups.len() as u64), "that always run together".to_owned()),
        ("job details", count(jobs.data), format!("{} more were gone", count(jobs.gone))),
        ("alert summaries", count(overview.alerts.len()), "within the window of alerts".to_owned()),
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
        ("Alerts since", text::time(identity.alerts_since())),
        ("Sample", sample.unwrap_or_else(|| "none: every signature".to_owned())),
        ("Semantics", semantics.to_owned()),
        ("Last stored", facts.stored_at.map_or_else(|| "—".to_owned(), text::time)),
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
    columns.extend([numbers("records"), numbers("JSON")]);
    let row = |kind: Kind| {
        let counts = facts.counts.of(kind);
        let mut row = vec![Cell::Text(kind.name().replace('_', " ")), outcome_bar(counts)];
        row.extend(OUTCOMES.iter().map(|(.., of)| Cell::count(of(counts))));
        #[expect(clippy::cast_precision_loss, reason = "a sort key")]
        row.extend([
            Cell::count(counts.records),
            Cell::Number(counts.body_bytes as f64, human_bytes(counts.body_bytes)),
        ]);
        row
    };
    let rows = Kind::ALL.into_iter().map(row).collect();
    html! {
        (Table { caption: "Requests by kind and outcome", columns, rows, left_out: None }.draw())
        (super::charts::legend(OUTCOMES.iter().map(|(name, class, _)| (*class, (*name).to_owned()))))
    }
}

/// A bar as wide as its cell, cut by outcomes. None that is there is too narrow to be seen: one failure counts.
fn outcome_bar(counts: &KindCounts) -> Cell {
    let total = counts.total().max(1);
    let shares: Vec<String> =
        OUTCOMES.iter().map(|(name, _, of)| format!("{name} {}", percent(of(counts), total))).collect();
    let description = if counts.total() == 0 { "nothing asked".to_owned() } else { shares.join(", ") };
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

/// What failed, and what was gone.
pub(super) fn losses(facts: &Facts) -> Markup {
    html! {
        section id="losses" {
            h2 { "Failed and deleted" }
            h3 { "Failures" }
            (failures(facts))
            h3 { "What the server had already deleted" }
            (deleted(facts))
        }
    }
}

fn failures(facts: &Facts) -> Markup {
    let failures = &facts.failures;
    if failures.total == 0 {
        return html! { p { "No request is recorded as failed." } };
    }
    let columns =
        vec![texts("request"), texts("error"), numbers("status"), numbers("attempts"), texts("last"), texts("reason")];
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
        left_out(failures.listed.len(), failures.total, "first", "failures", "perfharvest failures lists them all");
    let by_label: Vec<String> =
        failures.by_label.iter().take(20).map(|(label, num)| format!("{} {}", count(*num), shown(label))).collect();
    html! {
        p { (counted(failures.total, "request has", "requests have")) " failed for now: " (by_label.join(", ")) ". The next "
            code { "perfharvest run" } " asks again." }
        (Table { caption: "Failed requests", columns, rows: rows.collect(), left_out }.draw())
    }
}

fn deleted(facts: &Facts) -> Markup {
    let (jobs, summaries) = (facts.counts.of(Kind::JobDetails), facts.counts.of(Kind::Summaries));
    let asked = jobs.data + jobs.gone;
    let overview = &facts.overview;
    let settled = summaries.settled();
    let rows = [
        ("Jobs asked for that were gone", jobs.gone, asked),
        ("Data whose job was deleted", overview.num_jobless, overview.num_data),
        ("Answers about a signature without data", summaries.empty, settled),
        ("Signatures known to have no data since the window's start, not asked", summaries.skipped, settled),
    ];
    let columns = vec![texts("what"), numbers("number"), numbers("of"), numbers("share")];
    #[expect(clippy::cast_precision_loss, reason = "a sort key")]
    let rows = rows.map(|(what, part, whole)| {
        let share =
            if whole == 0 { Cell::Missing } else { Cell::Number(part as f64 / whole as f64, percent(part, whole)) };
        vec![Cell::Text(what.to_owned()), Cell::count(part), Cell::count(whole), share]
    });
    html! {
        p { "Treeherder deletes jobs after 120 days. What is gone is settled: it is not asked again, and it is no failure." }
        (Table { caption: "What was gone or empty", columns, rows: rows.to_vec(), left_out: None }.draw())
    }
}
