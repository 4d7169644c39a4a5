//! The statistics documents and their histograms: each file with its keys and their statistics.
//!
//! In: counts, durations, waits and deltas as plain slices. Out: the text of a document, or a [`Histogram`] ready to
//! render. Promises the bytes of the reference scripts: key order, integers where Python has integers, rounding, indent,
//! and the final newline that one document has. Without values most documents do not exist.

use pytext::counts::ValueCounts;
use pytext::json_value::{Json, Layout};
use pytext::stats::{self, Number};

use crate::config::Semantics;
use crate::dataset::write::plot::Histogram;

const PERCENTS: [u32; 5] = [25, 75, 90, 95, 99];
const INDENT_2: Layout = Layout { indent: 2, sort_keys: false, final_newline: false };
const INDENT_4: Layout = Layout { indent: 4, sort_keys: false, final_newline: false };
const SORTED: Layout = Layout { indent: 2, sort_keys: true, final_newline: true };

/// `perf_jobs_stats.json`: statistics of `total_jobs`, rounded to two places; `None` without revisions.
#[must_use]
pub fn perf_jobs_stats(total_jobs: &ValueCounts) -> Option<Vec<u8>> {
    let rounded = |number: Number| json_of(number.round_half_even_2());
    let percentiles = percentiles(|percent| total_jobs.inclusive_percentile(percent).map(rounded))?;
    let document = Json::object([
        ("observations", json_of_count(total_jobs.len())),
        ("mean_jobs", rounded(total_jobs.mean()?)),
        ("median_jobs", rounded(total_jobs.median()?)),
        ("min_jobs", Json::Int(total_jobs.min()?)),
        ("max_jobs", Json::Int(total_jobs.max()?)),
        ("percentiles", percentiles),
        ("trimmed_mean_10pct", rounded(total_jobs.trimmed_mean_10pct()?)),
        ("geometric_mean", total_jobs.geometric_mean().map_or(Json::Null, |mean| rounded(Number::Float(mean)))),
    ]);
    Some(document.to_bytes(INDENT_2))
}

/// `sig_group_job_duration_stats.json`: statistics of the groups' durations, minutes, as written to
/// `sig_group_job_durations.csv` and in that order; `None` without groups. Without a positive duration, the geometric mean is
/// `NaN` as in the older scripts, or null in the corrected semantics.
#[must_use]
pub fn sig_group_job_duration_stats(durations_minutes: &[f64], semantics: Semantics) -> Option<Vec<u8>> {
    let geometric_mean = |mean: f64| match semantics {
        Semantics::Corrected if !mean.is_finite() => Json::Null,
        _ => Json::Float(mean),
    };
    let sorted = stats::sorted(durations_minutes);
    let document = Json::object([
        ("observations", json_of_len(&sorted)),
        ("mean", Json::Float(stats::mean(&sorted)?)),
        ("median", Json::Float(stats::median(&sorted)?)),
        ("min", Json::Float(*sorted.first()?)),
        ("max", Json::Float(*sorted.last()?)),
        ("percentiles", percentiles(|percent| stats::gap_weighted_percentile(&sorted, percent).map(Json::Float))?),
        ("trimmed_mean_10pct", Json::Float(stats::trimmed_mean_10pct(&sorted)?)),
        ("geometric_mean", geometric_mean(stats::geometric_mean_builtin_sum(&sorted)?)),
    ]);
    Some(document.to_bytes(INDENT_4))
}

/// The values of `job_wait_time_stats.json`.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimes<'a> {
    /// Start minus submission of each job with a valid wait, seconds, in any order.
    pub waits_secs: &'a [i64],
    /// The busiest revision.
    pub revision: &'a str,
    /// The `total_jobs` of the revision in `perf_jobs_per_revision.csv`.
    pub total_jobs: u64,
    /// Number of distinct job ids of the revision in the summaries.
    pub num_job_ids: u64,
    /// Number of job records in `max_revision_jobs.jsonl`.
    pub num_detailed_jobs: u64,
    /// Number of these that the run fetched itself; `None` omits the key. The reference scripts write it, although it
    /// depends on how often a run was interrupted.
    pub num_fetched: Option<u64>,
}

/// `job_wait_time_stats.json`: statistics of the waits in seconds, and the same divided by 60; `None` without waits.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "seconds between two epochs are exact in a double")]
pub fn job_wait_time_stats(waits: &WaitTimes<'_>) -> Option<Vec<u8>> {
    let seconds: Vec<f64> = waits.waits_secs.iter().map(|wait| *wait as f64).collect();
    let sorted = stats::sorted(&seconds);
    let mut statistics = vec![
        ("mean", stats::mean(&sorted)?),
        ("median", stats::median(&sorted)?),
        ("min", *sorted.first()?),
        ("max", *sorted.last()?),
    ];
    for (key, percent) in ["p25", "p75", "p90", "p95", "p99"].into_iter().zip(PERCENTS) {
        statistics.push((key, stats::fraction_weighted_percentile(&sorted, percent)?));
    }
    let in_units_of =
        |unit_secs: f64| Json::object(statistics.iter().map(|(key, value)| (*key, Json::Float(value / unit_secs))));
    let mut entries = vec![
        ("observations", json_of_len(&sorted)),
        ("seconds", in_units_of(1.0)),
        ("minutes", in_units_of(60.0)),
        ("revision", Json::Str(waits.revision.to_owned())),
        ("total_jobs_from_csv", json_of_count(waits.total_jobs)),
        ("unique_job_ids_in_cache", json_of_count(waits.num_job_ids)),
        ("detailed_jobs_in_jsonl", json_of_count(waits.num_detailed_jobs)),
    ];
    entries.extend(waits.num_fetched.map(|num_fetched| ("detailed_jobs_fetched_this_run", json_of_count(num_fetched))));
    Some(Json::object(entries).to_bytes(INDENT_2))
}

/// The values of `time_to_culprit_stats.json`.
#[derive(Clone, Copy, Debug)]
pub struct TimesToCulprit<'a> {
    /// Creation of the alert summary minus its push, microseconds, in any order, including negative ones.
    pub deltas_micros: &'a [i64],
    /// Number of alert summaries, including those without a delta.
    pub num_rows: u64,
    /// Path of `alert_summaries.csv`, as written to the document.
    pub input_csv: &'a str,
}

/// `time_to_culprit_stats.json`: statistics of the deltas in hours; without deltas all statistics are null.
#[must_use]
pub fn time_to_culprit_stats(times: &TimesToCulprit<'_>) -> Vec<u8> {
    let seconds: Vec<f64> = times.deltas_micros.iter().map(|delta| stats::seconds_of_micros(*delta)).collect();
    let sorted = stats::sorted(&seconds);
    let hours = |seconds: Option<f64>| seconds.map_or(Json::Null, |seconds| Json::Float(seconds / 3600.0));
    let num_deltas = u64::try_from(sorted.len()).unwrap_or(u64::MAX);
    let num_negative = times.deltas_micros.iter().filter(|delta| **delta < 0).count();
    let statistics = Json::object([
        ("count", json_of_len(&sorted)),
        ("mean_hours", hours(stats::fmean(&sorted))),
        ("median_hours", hours(stats::median(&sorted))),
        ("min_hours", hours(sorted.first().copied())),
        ("max_hours", hours(sorted.last().copied())),
        ("stdev_hours", hours(stats::pstdev(&sorted))),
        ("p90_hours", hours(stats::nearest_rank_percentile(&sorted, 0.90))),
        ("p95_hours", hours(stats::nearest_rank_percentile(&sorted, 0.95))),
        ("p99_hours", hours(stats::nearest_rank_percentile(&sorted, 0.99))),
        ("total_rows", json_of_count(times.num_rows)),
        ("missing_or_invalid_rows", json_of_count(times.num_rows.saturating_sub(num_deltas))),
        ("negative_delta_rows", json_of_count(u64::try_from(num_negative).unwrap_or(u64::MAX))),
    ]);
    let definition = "(created(UTC) - push_timestamp(UTC epoch seconds)) / 3600";
    Json::object([
        ("definition", Json::object([("ttc_hours", Json::Str(definition.to_owned()))])),
        ("input_csv", Json::Str(times.input_csv.to_owned())),
        ("stats", statistics),
    ])
    .to_bytes(SORTED)
}

/// The histogram of `perf_jobs_per_revision_dist.png`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "numbers of signatures are exact in a double")]
pub fn perf_jobs_histogram(total_jobs: &ValueCounts) -> Histogram {
    let mut histogram =
        Histogram::new("Distribution of signatures per revision", "Signatures per revision", "Number of revisions");
    histogram.observations = total_jobs.iter().map(|(value, count)| (value as f64, count)).collect();
    histogram.mean = total_jobs.mean().map(Number::to_f64);
    histogram.median = total_jobs.median().map(Number::to_f64);
    histogram
}

/// The histogram of `job_durations.png`: durations of groups, minutes.
#[must_use]
pub fn job_durations_histogram(durations_minutes: &[f64]) -> Histogram {
    let sorted = stats::sorted(durations_minutes);
    let mut histogram =
        Histogram::new("Distribution of performance test job durations", "Job duration", "Number of signature groups");
    histogram.x_unit = Some("minutes".to_owned());
    histogram.mean = stats::mean(&sorted);
    histogram.median = stats::median(&sorted);
    histogram.observations = sorted.into_iter().map(|value| (value, 1)).collect();
    histogram
}

fn percentiles(of: impl Fn(u32) -> Option<Json>) -> Option<Json> {
    let entries: Option<Vec<_>> = PERCENTS.iter().map(|percent| Some((percent.to_string(), of(*percent)?))).collect();
    entries.map(Json::Object)
}

fn json_of(number: Number) -> Json {
    match number {
        Number::Int(value) => Json::Int(value),
        Number::Float(value) => Json::Float(value),
    }
}

fn json_of_len(values: &[f64]) -> Json {
    json_of_count(u64::try_from(values.len()).unwrap_or(u64::MAX))
}

fn json_of_count(count: u64) -> Json {
    Json::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> String {
        let path = format!("{}/tests/corpus/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    }

    fn column(name: &str, csv: &str) -> Vec<String> {
        let csv = golden(csv);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let index = reader.headers().unwrap().iter().position(|header| header == name).unwrap();
        reader.records().map(|row| row.unwrap()[index].to_owned()).collect()
    }

    fn total_jobs() -> ValueCounts {
        column("total_jobs", "perf_jobs_per_revision.csv").iter().map(|text| text.parse::<i64>().unwrap()).collect()
    }

    fn group_durations() -> Vec<f64> {
        column("duration_minutes", "sig_group_job_durations.csv").iter().map(|text| text.parse().unwrap()).collect()
    }

    fn text(document: Vec<u8>) -> String {
        String::from_utf8(document).unwrap()
    }

    #[test]
    fn perf_jobs_document_equals_the_golden_one() {
        assert_eq!(text(perf_jobs_stats(&total_jobs()).unwrap()), golden("perf_jobs_stats.json"));
        assert_eq!(perf_jobs_stats(&ValueCounts::default()), None);
    }

    #[test]
    fn a_single_revision_has_integers_only() {
        let document = text(perf_jobs_stats(&[0].into_iter().collect()).unwrap());
        assert!(document.contains("\"99\": 0\n") && document.contains("\"geometric_mean\": null\n"), "{document}");
    }

    #[test]
    fn duration_document_equals_the_golden_one() {
        for semantics in [Semantics::Reference, Semantics::Corrected] {
            let document = sig_group_job_duration_stats(&group_durations(), semantics).unwrap();
            assert_eq!(text(document), golden("sig_group_job_duration_stats.json"));
            assert_eq!(sig_group_job_duration_stats(&[], semantics), None);
        }
        let of_zero = |semantics| text(sig_group_job_duration_stats(&[-0.0], semantics).unwrap());
        assert!(of_zero(Semantics::Reference).contains("\"geometric_mean\": NaN\n"));
        assert!(of_zero(Semantics::Corrected).contains("\"geometric_mean\": null\n"));
    }

    #[test]
    fn wait_time_document_equals_the_golden_one() {
        let waits_secs: Vec<i64> = golden("max_revision_jobs.jsonl")
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|job| job["start_timestamp"].as_i64().unwrap() - job["submit_timestamp"].as_i64().unwrap())
            .collect();
        let waits = WaitTimes {
            waits_secs: &waits_secs,
            revision: "7de27b9a615c1a5ec6cc16db755f6c6e9fef5f6c",
            total_jobs: 137,
            num_job_ids: 2,
            num_detailed_jobs: 2,
            num_fetched: Some(2),
        };
        assert_eq!(text(job_wait_time_stats(&waits).unwrap()), golden("job_wait_time_stats.json"));
        assert!(!text(job_wait_time_stats(&WaitTimes { num_fetched: None, ..waits }).unwrap()).contains("fetched"));
        assert_eq!(job_wait_time_stats(&WaitTimes { waits_secs: &[], ..waits }), None);
    }

    #[test]
    fn time_to_culprit_document_equals_the_golden_one() {
        let created = column("created", "alert_summaries.csv");
        let pushed = column("push_timestamp", "alert_summaries.csv");
        let deltas_micros: Vec<i64> = created
            .iter()
            .zip(&pushed)
            .map(|(created, pushed)| {
                let created: jiff::Timestamp = format!("{created}Z").parse().unwrap();
                created.as_microsecond() - pushed.parse::<i64>().unwrap() * 1_000_000
            })
            .collect();
        let input_csv = "datasets/mozilla_perf/alert_summaries.csv";
        let num_rows = u64::try_from(created.len()).unwrap();
        let times = TimesToCulprit { deltas_micros: &deltas_micros, num_rows, input_csv };
        assert_eq!(text(time_to_culprit_stats(&times)), golden("time_to_culprit_stats.json"));
    }

    #[test]
    fn no_time_to_culprit_is_null() {
        let document = text(time_to_culprit_stats(&TimesToCulprit { deltas_micros: &[], num_rows: 3, input_csv: "x" }));
        for line in ["\"count\": 0,", "\"stdev_hours\": null,", "\"missing_or_invalid_rows\": 3,"] {
            assert!(document.contains(line), "{document}");
        }
    }

    #[test]
    fn histograms_hold_every_value_and_their_lines() {
        let jobs = perf_jobs_histogram(&total_jobs());
        assert_eq!(jobs.observations.iter().map(|(_, count)| count).sum::<u64>(), 115);
        assert_eq!((jobs.mean.map(f64::round), jobs.median), (Some(30.0), Some(0.0)));
        let durations = job_durations_histogram(&group_durations());
        assert_eq!((durations.observations.len(), durations.x_unit.as_deref()), (42, Some("minutes")));
    }
}
