//! Coverage: the number of signatures with a job on each revision, over time.

use maud::{Markup, html};

use super::facts::Facts;
use super::tables::{Cell, Table, left_out, numbers, texts};
use super::text;
use super::time_charts::{OTHERS, TimeBins, spread, stacked};
use crate::dataset::{CoveredRevision, ReplicateCounts, ReplicateShare};

/// Most revisions in the table; those with the most jobs come first.
const MAX_REVISIONS: usize = 50;

/// The section.
pub(super) fn section(facts: &Facts) -> Markup {
    html! {
        section id="coverage" {
            h2 { "Coverage" }
            @if let Some((listed, with_data)) = facts.overview.revisions_listed {
                p { "Revisions with data: " (text::count(listed)) " of " (text::count(with_data)) " are in the commits file." }
            }
            @if let Some(share) = &facts.overview.replicates { (replicates(share)) }
            @match &facts.overview.revisions {
                None => p { "Coverage is unknown without the commits. Add " code { "--commits all_commits.jsonl" } "." },
                Some(revisions) if revisions.is_empty() => p { "The window contains no commits." },
                Some(revisions) => (covered(revisions)),
            }
        }
    }
}

fn replicates(share: &ReplicateShare) -> Markup {
    let names =
        ["with replicates", "without, or with a single one that equals the value", "not in the answer with replicates"];
    let numbers_of = |of: &ReplicateCounts| [of.with, of.without, of.unanswered];
    let mut totals = [0; 3];
    let days = || share.by_day.keys().copied();
    let bins = TimeBins::between(days().min().unwrap_or(0), days().max().unwrap_or(0));
    let mut counts = vec![vec![0; names.len()]; bins.len()];
    for (day, of) in &share.by_day {
        for (kind, number) in numbers_of(of).into_iter().enumerate() {
            totals[kind] += number;
            counts[bins.of_day(*day)][kind] += number;
        }
    }
    let sum = totals.iter().sum();
    let row = |(name, number): (&str, u64)| {
        vec![Cell::Text(name.to_owned()), Cell::count(number), Cell::Text(text::percent(number, sum))]
    };
    let rows = names.into_iter().zip(totals).map(row).collect();
    let columns = vec![texts("data"), numbers("number"), numbers("share")];
    let kinds = [(names[0].to_owned(), "s0"), (names[1].to_owned(), "s1"), (names[2].to_owned(), OTHERS)];
    html! {
        h3 { "Replicates" }
        (Table { caption: "Data by whether they have replicates", columns, rows, left_out: None }.draw())
        p { (text::count(share.num_rows)) " rows were stored. Suites have replicates since May 2026 only." }
        (stacked("Replicates over time", ("Time of the push", "Data"), bins, &kinds, &counts, "There are no data with an answer."))
    }
}

fn covered(revisions: &[CoveredRevision]) -> Markup {
    let days = || revisions.iter().map(day_of);
    let bins = TimeBins::between(days().min().unwrap_or(0), days().max().unwrap_or(0));
    let mut values: Vec<Vec<u64>> = vec![Vec::new(); bins.len()];
    let mut counts: Vec<Vec<u64>> = vec![vec![0, 0]; bins.len()];
    for revision in revisions {
        let bin = bins.of_day(day_of(revision));
        values[bin].push(revision.total_jobs);
        counts[bin][usize::from(revision.total_jobs == 0)] += 1;
    }
    let kinds = [("with jobs".to_owned(), "s0"), ("without a job".to_owned(), OTHERS)];
    let x_label = "Commit date";
    let no_job = "No revision in the window has a job.";
    html! {
        p { "A signature counts for a revision if a job of the revision's push measured it and was submitted within ten "
            "minutes of the push." }
        (spread("Signatures per revision over time", (x_label, "Signatures with a job"), bins, values, no_job))
        (stacked("Revisions over time", (x_label, "Revisions"), bins, &kinds, &counts, "The window contains no commits."))
        (busiest(revisions))
    }
}

fn day_of(revision: &CoveredRevision) -> i64 {
    revision.date.as_secs().div_euclid(86_400)
}

fn busiest(revisions: &[CoveredRevision]) -> Markup {
    let mut order: Vec<&CoveredRevision> = revisions.iter().filter(|revision| revision.total_jobs > 0).collect();
    order.sort_by_key(|revision| std::cmp::Reverse(revision.total_jobs)); // stable: ties keep their order
    let total = order.len() as u64;
    order.truncate(MAX_REVISIONS);
    let columns = vec![texts("revision"), texts("commit date"), numbers("total_jobs")];
    let rows: Vec<Vec<Cell>> = order
        .iter()
        .map(|revision| {
            let date = Cell::Text(text::time(revision.date));
            vec![Cell::Code(text::shown(&revision.node)), date, Cell::count(revision.total_jobs)]
        })
        .collect();
    let elsewhere = "perf_jobs_per_revision.csv contains all of them";
    let left_out = left_out(rows.len(), total, "busiest", "revisions with jobs", elsewhere);
    html! {
        h3 { "Busiest revisions" }
        (Table { caption: "Busiest revisions", columns, rows, left_out }.draw())
    }
}
