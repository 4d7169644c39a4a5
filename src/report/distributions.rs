//! Distributions, each as a histogram beside its statistics. The statistics are read from the same documents that
//! become artifacts, so that they cannot differ.

use maud::{Markup, html};
use serde_json::Value;

use super::charts::{Range, columns, histogram};
use super::facts::Facts;
use super::tables::{Cell, Table, left_out, numbers, texts};
use super::text::{self, shown};
use crate::dataset::ValueCounts;
use crate::dataset::stats::seconds_of_micros;
use crate::dataset::summary_stats::{
    TimesToCulprit, job_durations_histogram, perf_jobs_histogram, perf_jobs_stats, sig_group_job_duration_stats,
    time_to_culprit_stats,
};
use crate::dataset::write::plot::Histogram;

/// Most jobs of the busiest revision in the table; the longest waits come first.
const MAX_JOBS: usize = 50;

/// The name of a statistic, and the JSON pointer to it in its document.
type Statistic = (&'static str, &'static str);

const OF_COUNTS: &[Statistic] = &[
    ("observations", "/observations"),
    ("mean", "/mean_jobs"),
    ("median", "/median_jobs"),
    ("min", "/min_jobs"),
    ("max", "/max_jobs"),
    ("25th percentile", "/percentiles/25"),
    ("75th percentile", "/percentiles/75"),
    ("90th percentile", "/percentiles/90"),
    ("95th percentile", "/percentiles/95"),
    ("99th percentile", "/percentiles/99"),
    ("trimmed mean (10 %)", "/trimmed_mean_10pct"),
    ("geometric mean", "/geometric_mean"),
];

const OF_DURATIONS: &[Statistic] = &[
    ("observations", "/observations"),
    ("mean", "/mean"),
    ("median", "/median"),
    ("min", "/min"),
    ("max", "/max"),
    ("25th percentile", "/percentiles/25"),
    ("75th percentile", "/percentiles/75"),
    ("90th percentile", "/percentiles/90"),
    ("95th percentile", "/percentiles/95"),
    ("99th percentile", "/percentiles/99"),
    ("trimmed mean (10 %)", "/trimmed_mean_10pct"),
    ("geometric mean", "/geometric_mean"),
];

const OF_WAITS: &[Statistic] = &[
    ("observations", "/observations"),
    ("mean", "/minutes/mean"),
    ("median", "/minutes/median"),
    ("min", "/minutes/min"),
    ("max", "/minutes/max"),
    ("25th percentile", "/minutes/p25"),
    ("75th percentile", "/minutes/p75"),
    ("90th percentile", "/minutes/p90"),
    ("95th percentile", "/minutes/p95"),
    ("99th percentile", "/minutes/p99"),
];

const OF_TIMES_TO_CULPRIT: &[Statistic] = &[
    ("observations", "/stats/count"),
    ("mean", "/stats/mean_hours"),
    ("median", "/stats/median_hours"),
    ("min", "/stats/min_hours"),
    ("max", "/stats/max_hours"),
    ("standard deviation", "/stats/stdev_hours"),
    ("90th percentile", "/stats/p90_hours"),
    ("95th percentile", "/stats/p95_hours"),
    ("99th percentile", "/stats/p99_hours"),
    ("without a valid time", "/stats/missing_or_invalid_rows"),
    ("alert before the push", "/stats/negative_delta_rows"),
];

/// The section.
pub(super) fn section(facts: &Facts) -> Markup {
    html! {
        section id="distributions" {
            h2 { "Distributions" }
            (signatures_per_revision(facts))
            (group_sizes(facts))
            (durations(facts))
            (waits(facts))
            (times_to_culprit(facts))
        }
    }
}

/// A chart beside its statistics.
fn pair(heading: &str, what: &str, chart: &Markup, document: Option<&[u8]>, statistics: &[Statistic]) -> Markup {
    let document = document.and_then(parsed);
    html! {
        h3 { (heading) }
        p { (what) }
        div.pair {
            (chart)
            @if let Some(document) = document {
                table.stats {
                    caption { "Statistics: " (heading) }
                    tbody {
                        @for (name, pointer) in statistics {
                            tr { th scope="row" { (name) } (value(document.pointer(pointer))) }
                        }
                    }
                }
            }
        }
    }
}

/// Parses a document. The scripts' documents may contain `NaN`, which is not JSON.
fn parsed(document: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(document).ok()?;
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&text.replace(": NaN", ": null"))).ok()
}

fn value(value: Option<&Value>) -> Markup {
    let exact = value.and_then(Value::as_number);
    html! {
        @match exact {
            Some(exact) => td.n title=(exact) { (exact.as_f64().map_or_else(|| exact.to_string(), text::number)) },
            None => td.n { "—" },
        }
    }
}

fn signatures_per_revision(facts: &Facts) -> Markup {
    let total_jobs = &facts.overview.total_jobs;
    let why = match &facts.overview.revisions {
        None => "Unknown without the commits (--commits all_commits.jsonl).",
        Some(_) => "The window contains no commits.",
    };
    let mut drawn = perf_jobs_histogram(total_jobs);
    "Signatures per revision".clone_into(&mut drawn.title);
    "Revisions".clone_into(&mut drawn.y_label);
    let document = perf_jobs_stats(total_jobs);
    let what =
        "Number of signatures with data of each revision in the window (total_jobs), as in perf_jobs_stats.json.";
    let chart = histogram(&drawn, Range::OfThePlot, why);
    pair("Signatures per revision", what, &chart, document.as_deref(), OF_COUNTS)
}

/// Classes `1`, `2`, `3–4`, `5–8`, …, since most groups are small and a few are very large.
fn size_classes(sizes: &ValueCounts) -> Vec<(String, u64)> {
    let mut classes: Vec<(String, u64)> = Vec::new();
    let (mut low, mut high) = (1_i64, 1_i64);
    let greatest = sizes.max().unwrap_or(0);
    while low <= greatest {
        let name = if low == high { low.to_string() } else { format!("{low}–{high}") };
        classes
            .push((name, sizes.iter().filter(|(size, _)| (low..=high).contains(size)).map(|(_, count)| count).sum()));
        (low, high) = (high + 1, high.saturating_mul(2));
    }
    classes
}

fn group_sizes(facts: &Facts) -> Markup {
    let groups = &facts.overview.groups;
    let sizes: ValueCounts =
        groups.iter().map(|(_, signatures)| i64::try_from(signatures.len()).unwrap_or(i64::MAX)).collect();
    let chart =
        columns("Sizes of groups", "Signatures in a group", "Groups", &size_classes(&sizes), "No signature has jobs.");
    let document = perf_jobs_stats(&sizes);
    let what = "A group contains the signatures that were measured by exactly the same jobs (sig_groups.jsonl).";
    pair("Signatures per group", what, &chart, document.as_deref(), OF_COUNTS)
}

fn durations(facts: &Facts) -> Markup {
    let minutes: Vec<f64> = facts.overview.minutes_by_group.values().copied().collect();
    let mut drawn = job_durations_histogram(&minutes);
    "Job durations by group".clone_into(&mut drawn.title);
    "Signature groups".clone_into(&mut drawn.y_label);
    let document = sig_group_job_duration_stats(&minutes, facts.overview.semantics);
    let what = "Minutes from start to end of a job: the mean over the sampled jobs of each signature group, as in \
                sig_group_job_duration_stats.json.";
    let chart = histogram(&drawn, Range::OfThePlot, "No sampled job has a duration.");
    pair("Job durations (minutes)", what, &chart, document.as_deref(), OF_DURATIONS)
}

fn waits(facts: &Facts) -> Markup {
    let overview = &facts.overview;
    let document = overview.wait_document.as_deref();
    let parsed = document.and_then(parsed);
    let center = |pointer| parsed.as_ref().and_then(|document| document.pointer(pointer)).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "differences of times")]
    let observations = overview.waits_secs.iter().map(|secs| (*secs as f64 / 60.0, 1)).collect();
    let drawn = Histogram {
        x_unit: Some("minutes".to_owned()),
        observations,
        mean: center("/minutes/mean"),
        median: center("/minutes/median"),
        ..Histogram::new("Waits of the busiest revision's jobs", "Wait", "Jobs")
    };
    let what = match &overview.busiest {
        Some(busiest) => format!(
            "Minutes from submission to start of the jobs of the busiest revision, {}, as in job_wait_time_stats.json.",
            shown(&busiest.node)
        ),
        None => "Minutes from submission to start of the jobs of the busiest revision.".to_owned(),
    };
    let chart = histogram(&drawn, Range::Middle, "No job of the busiest revision has a wait.");
    html! {
        (pair("Job wait times (minutes)", &what, &chart, document, OF_WAITS))
        (longest_waits(facts))
    }
}

fn longest_waits(facts: &Facts) -> Markup {
    let jobs = &facts.overview.waiting_jobs;
    if jobs.is_empty() {
        return html! {};
    }
    let columns = vec![
        texts("job"),
        texts("name"),
        texts("platform"),
        texts("machine"),
        numbers("wait (min)"),
        numbers("duration (min)"),
    ];
    let rows: Vec<Vec<Cell>> = jobs
        .iter()
        .take(MAX_JOBS)
        .map(|job| {
            vec![
                Cell::Code(job.id.to_string()),
                Cell::Text(shown(&job.name)),
                Cell::Text(shown(&job.platform)),
                Cell::Text(shown(&job.machine)),
                Cell::measure(job.wait_secs.map(|secs| secs / 60.0)),
                Cell::measure(job.minutes),
            ]
        })
        .collect();
    let elsewhere = "max_revision_jobs.jsonl contains all of them";
    let left_out = left_out(rows.len(), jobs.len() as u64, "longest-waiting", "jobs", elsewhere);
    Table { caption: "Jobs of the busiest revision", columns, rows, left_out }.draw()
}

fn times_to_culprit(facts: &Facts) -> Markup {
    let times = &facts.overview.alerts.time_to_culprit;
    let document = time_to_culprit_stats(&TimesToCulprit {
        deltas_micros: &times.deltas_micros,
        num_rows: times.total_rows,
        input_csv: "",
    });
    let parsed = parsed(&document);
    let center = |pointer| parsed.as_ref().and_then(|document| document.pointer(pointer)).and_then(Value::as_f64);
    let drawn = Histogram {
        x_unit: Some("hours".to_owned()),
        observations: times.deltas_micros.iter().map(|micros| (seconds_of_micros(*micros) / 3600.0, 1)).collect(),
        mean: center("/stats/mean_hours"),
        median: center("/stats/median_hours"),
        ..Histogram::new("Time to culprit", "Time from push to alert", "Alert summaries")
    };
    let what = "Hours from a push to the creation of its alert summary, as in time_to_culprit_stats.json.";
    let chart = histogram(&drawn, Range::Middle, "No alert summary has both times.");
    let document = (!facts.overview.alerts.is_empty()).then_some(document.as_slice());
    pair("Time to culprit (hours)", what, &chart, document, OF_TIMES_TO_CULPRIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Semantics;

    #[test]
    fn size_classes_double_and_hold_every_group() {
        let sizes: ValueCounts = [1, 1, 2, 3, 4, 5, 8, 9, 40].into_iter().collect();
        let classes = size_classes(&sizes);
        let names: Vec<&str> = classes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["1", "2", "3–4", "5–8", "9–16", "17–32", "33–64"]);
        assert_eq!(classes.iter().map(|(_, count)| count).sum::<u64>(), sizes.len());
        assert!(size_classes(&ValueCounts::default()).is_empty());
    }

    #[test]
    fn documents_of_the_scripts_are_read_with_their_nan() {
        let document = sig_group_job_duration_stats(&[-2.0, 0.0], Semantics::Reference).unwrap();
        let parsed = parsed(&document).unwrap();
        assert_eq!(parsed.pointer("/mean").and_then(Value::as_f64), Some(-1.0));
        assert!(parsed.pointer("/geometric_mean").unwrap().is_null());
    }
}
