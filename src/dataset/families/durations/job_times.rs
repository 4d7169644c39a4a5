//! Computes run and wait times of jobs.
//!
//! In: job ids and [`JobTimes`]. Out: minutes and seconds. Each measure exists twice: `…_reference` follows the older
//! scripts, which accept times of 0 and reversed intervals; `…_corrected` omits such a measure and returns the reason
//! ([`Flaw`]). Floats are summed as the scripts sum them: the samples of a signature by Python's built-in `sum`, the values of
//! a group one by one. Any other summation changes the last written digit of some means.

use std::collections::BTreeMap;

use pytext::stats::builtin_sum;

use crate::model::{JobId, JobTimes, RawJson, SignatureId};
use crate::store::StoreError;

/// The times in the record of a job.
pub(crate) fn times_of(record: &RawJson, id: JobId) -> Result<JobTimes, StoreError> {
    JobTimes::of(record).map_err(|reason| StoreError::Damaged { tree: "records", key: format!("job {id}"), reason })
}

/// The reason for a missing measure in the corrected semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A time is absent, or 0, which the server writes for an unknown time.
    MissingTime,
    /// The interval ends before it starts.
    Reversed,
}

/// Number of omitted measures by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Corrections {
    /// See [`Flaw::MissingTime`].
    pub missing_time: u64,
    /// See [`Flaw::Reversed`].
    pub reversed: u64,
}

impl Corrections {
    /// Counts one flaw.
    pub(crate) fn count(&mut self, flaw: Flaw) {
        match flaw {
            Flaw::MissingTime => self.missing_time += 1,
            Flaw::Reversed => self.reversed += 1,
        }
    }

    /// Returns the measure, or counts its flaw.
    pub(crate) fn keep(&mut self, measured: Result<f64, Flaw>) -> Option<f64> {
        measured.map_err(|flaw| self.count(flaw)).ok()
    }
}

/// Minutes from start to end, unchecked: about ±30 million if one of the times is 0. `None` if a time is absent.
#[must_use]
pub(crate) fn duration_reference(times: JobTimes) -> Option<f64> {
    Some(secs_between(times.start_secs?, times.end_secs?) / 60.0)
}

/// Minutes from start to end.
///
/// # Errors
/// The reason for a missing measure.
pub(crate) fn duration_corrected(times: JobTimes) -> Result<f64, Flaw> {
    run_secs(times).map(|secs| secs / 60.0)
}

/// Seconds from start to end.
///
/// # Errors
/// The reason for a missing measure.
pub(crate) fn run_secs(times: JobTimes) -> Result<f64, Flaw> {
    interval(times.start_secs, times.end_secs)
}

/// Seconds from submission to start; `None` if negative. Includes zeros, and the intervals of decades that a time of 0
/// gives.
#[must_use]
pub(crate) fn wait_reference(times: JobTimes) -> Option<f64> {
    Some(secs_between(times.submit_secs?, times.start_secs?)).filter(|&secs| secs >= 0.0)
}

/// Seconds from submission to start.
///
/// # Errors
/// The reason for a missing measure.
pub(crate) fn wait_corrected(times: JobTimes) -> Result<f64, Flaw> {
    interval(times.submit_secs, times.start_secs)
}

fn interval(from: Option<i64>, to: Option<i64>) -> Result<f64, Flaw> {
    let known = |time: Option<i64>| time.filter(|&secs| secs != 0).ok_or(Flaw::MissingTime);
    let (from, to) = (known(from)?, known(to)?);
    if to < from { Err(Flaw::Reversed) } else { Ok(secs_between(from, to)) }
}

/// The difference of the times as floats, as the reference scripts take it; exact for real times, which are below 2^53.
#[expect(clippy::cast_precision_loss, reason = "as the reference scripts")]
fn secs_between(from: i64, to: i64) -> f64 {
    to as f64 - from as f64
}

/// The mean of the samples, with the sum of Python's built-in `sum`; `None` without samples.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a few samples")]
pub(crate) fn mean(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| builtin_sum(samples.iter().copied()) / samples.len() as f64)
}

/// The mean of values that the scripts add one by one, without compensation.
#[derive(Clone, Copy, Debug, Default)]
struct RunningMean {
    sum: f64,
    count: u32,
}

impl RunningMean {
    fn push(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// Formats a duration as the artifacts do: two digits after the point.
#[must_use]
pub(crate) fn minutes_text(minutes: f64) -> String {
    format!("{minutes:.2}")
}

/// The mean duration of each group, from the rows `(signature, duration_minutes)` of `job_durations.csv` in file order.
/// Averages the *written*, rounded texts. Leaves out signatures without a group and texts that are not a number.
pub(crate) fn group_means<T: AsRef<str>>(
    rows: impl IntoIterator<Item = (SignatureId, T)>,
    mut group_of: impl FnMut(SignatureId) -> Option<u32>,
) -> BTreeMap<u32, String> {
    let mut groups: BTreeMap<u32, RunningMean> = BTreeMap::new();
    for (signature, text) in rows {
        if let Some((group, minutes)) = group_of(signature).zip(text.as_ref().parse::<f64>().ok()) {
            groups.entry(group).or_default().push(minutes);
        }
    }
    groups.into_iter().filter_map(|(group, running)| Some((group, minutes_text(running.mean()?)))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use serde_json::Value;

    use super::*;
    use crate::dataset::corpus;
    use crate::model::{JobId, corrected_sample, reference_sample};

    fn times(submit: i64, start: i64, end: i64) -> JobTimes {
        JobTimes { submit_secs: Some(submit), start_secs: Some(start), end_secs: Some(end) }
    }

    fn corpus_times() -> HashMap<JobId, JobTimes> {
        let record = |job: &Value| {
            let secs = |key: &str| job[key].as_i64().unwrap();
            let times = times(secs("submit_timestamp"), secs("start_timestamp"), secs("end_timestamp"));
            (JobId(job["id"].as_u64().unwrap()), times)
        };
        let replies = corpus::jsonl("api/jobs.jsonl");
        replies.iter().flat_map(|reply| reply["body"]["results"].as_array().unwrap()).map(record).collect()
    }

    fn corpus_data() -> Vec<(SignatureId, Vec<Value>)> {
        let id = |line: &Value| SignatureId(line["signature_id"].as_u64().unwrap());
        let lines = corpus::jsonl("golden/perf_jobs_by_signature.jsonl");
        lines.iter().map(|line| (id(line), line["jobs"].as_array().unwrap().clone())).collect()
    }

    fn job_ids(data: &[Value]) -> Vec<Option<JobId>> {
        data.iter().map(|datum| datum["job_id"].as_u64().map(JobId)).collect()
    }

    fn corpus_durations(
        sample: impl Fn(&[Option<JobId>]) -> Vec<JobId>,
        mut duration: impl FnMut(JobTimes) -> Option<f64>,
    ) -> Vec<Vec<String>> {
        let times = corpus_times();
        let row = |(id, data): (SignatureId, Vec<Value>)| {
            let samples = sample(&job_ids(&data));
            let minutes: Vec<f64> =
                samples.iter().filter_map(|job| times.get(job)).filter_map(|times| duration(*times)).collect();
            Some(vec![id.to_string(), minutes_text(mean(&minutes)?)])
        };
        corpus_data().into_iter().filter_map(row).collect()
    }

    #[test]
    fn durations_are_those_of_the_reference() {
        let rows = corpus_durations(|data| reference_sample(data).collect(), duration_reference);
        assert_eq!(rows, corpus::csv("golden/job_durations.csv"));
    }

    #[test]
    fn corrected_durations_are_plausible_and_cover_more_signatures() {
        let mut corrections = Corrections::default();
        let rows = corpus_durations(
            |data| corrected_sample(data).collect(),
            |times| corrections.keep(duration_corrected(times)),
        );
        let minutes: Vec<f64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
        assert!(minutes.iter().all(|minutes| (0.0..1_000.0).contains(minutes)), "{minutes:?}");
        assert!(rows.len() >= corpus::csv("golden/job_durations.csv").len());
        assert!(corrections.missing_time + corrections.reversed > 0);
    }

    #[test]
    fn group_durations_are_those_of_the_reference() {
        let mut group_of = HashMap::new();
        for line in corpus::jsonl("golden/sig_groups.jsonl") {
            let group = u32::try_from(line["Sig_group_id"].as_u64().unwrap()).unwrap();
            group_of.extend(corpus::ids(&line["signatures"]).into_iter().map(|id| (SignatureId(id), group)));
        }
        let durations = corpus::csv("golden/job_durations.csv");
        let rows = durations.iter().map(|row| (SignatureId(row[0].parse().unwrap()), &row[1]));
        let means = group_means(rows, |signature| group_of.get(&signature).copied());
        let means: Vec<Vec<String>> = means.into_iter().map(|(id, text)| vec![id.to_string(), text]).collect();
        assert_eq!(means, corpus::csv("golden/sig_group_job_durations.csv"));
    }

    #[test]
    fn waits_of_the_busiest_revision_are_those_of_the_reference() {
        let golden: Value = serde_json::from_str(&corpus::text("golden/job_wait_time_stats.json")).unwrap();
        let rows = corpus::csv("golden/perf_jobs_per_revision.csv");
        let total = |row: &[String]| row[2].parse::<u64>().unwrap();
        let first = rows.iter().enumerate().max_by_key(|(place, row)| (total(row), std::cmp::Reverse(*place)));
        let (revision, total) = first.map(|(_, row)| (&row[0], total(row))).unwrap();
        assert_eq!(
            (golden["revision"].as_str(), golden["total_jobs_from_csv"].as_u64()),
            (Some(revision.as_str()), Some(total))
        );
        let data = corpus_data();
        let of_revision = data.iter().flat_map(|(_, data)| data).filter(|datum| datum["revision"] == revision.as_str());
        let jobs: BTreeSet<u64> = of_revision.filter_map(|datum| datum["job_id"].as_u64()).collect();
        let fetched = corpus::jsonl("golden/max_revision_jobs.jsonl");
        assert_eq!(
            fetched.iter().map(|job| job["id"].as_u64().unwrap()).collect::<Vec<_>>(),
            Vec::from_iter(jobs.clone())
        );
        assert_eq!(golden["unique_job_ids_in_cache"].as_u64(), Some(jobs.len() as u64));
        let times = corpus_times();
        let waits: Vec<f64> = jobs.iter().filter_map(|&job| wait_reference(times[&JobId(job)])).collect();
        assert_eq!(golden["observations"].as_u64(), Some(waits.len() as u64));
        assert_eq!(golden["seconds"]["min"].as_f64(), waits.iter().copied().reduce(f64::min));
        assert_eq!(golden["seconds"]["max"].as_f64(), waits.iter().copied().reduce(f64::max));
        assert_eq!(golden["seconds"]["mean"].as_f64(), mean(&waits));
    }

    #[test]
    fn only_the_corrected_measures_leave_out_what_cannot_be() {
        let minute = times(100, 160, 220);
        assert_eq!((duration_reference(minute), duration_corrected(minute)), (Some(1.0), Ok(1.0)));
        assert_eq!((wait_reference(minute), wait_corrected(minute)), (Some(60.0), Ok(60.0)));
        for (times, duration, wait) in [
            (times(100, 160, 0), Err(Flaw::MissingTime), Ok(60.0)),
            (times(100, 0, 160), Err(Flaw::MissingTime), Err(Flaw::MissingTime)),
            (times(0, 160, 160), Ok(0.0), Err(Flaw::MissingTime)),
            (times(200, 160, 100), Err(Flaw::Reversed), Err(Flaw::Reversed)),
            (JobTimes::default(), Err(Flaw::MissingTime), Err(Flaw::MissingTime)),
        ] {
            assert_eq!((duration_corrected(times), wait_corrected(times)), (duration, wait), "{times:?}");
        }
        assert_eq!(duration_reference(times(0, 120, 0)), Some(-2.0));
        assert_eq!(wait_reference(times(0, 160, 160)), Some(160.0));
        assert_eq!(wait_reference(times(200, 160, 100)), None);
        assert_eq!(duration_reference(JobTimes::default()), None);
        let mut corrections = Corrections::default();
        assert_eq!(corrections.keep(Err(Flaw::Reversed)).or(corrections.keep(Err(Flaw::MissingTime))), None);
        assert_eq!((corrections.reversed, corrections.missing_time), (1, 1));
    }

    #[test]
    fn text_and_means_are_those_of_python() {
        assert_eq!([0.125, 2.675, -0.001, 28.285].map(minutes_text), ["0.12", "2.67", "-0.00", "28.29"]);
        assert_eq!(mean(&[]), None);
        // 28.284999999999997 summed one by one, 28.285 with a compensated sum.
        let minutes = [27.07, 31.93, 27.07, 27.07];
        assert_eq!(mean(&minutes).map(minutes_text).as_deref(), Some("28.29"));
        let rows = (1..).map(SignatureId).zip(minutes.map(|minutes| minutes.to_string()));
        assert_eq!(group_means(rows, |_| Some(0))[&0], "28.28");
        // The last bit of times beyond 2^53 depends on both subtraction and summation.
        let huge = [
            (1_784_316_551, 9_007_199_254_741_000),
            (1_786_377_164, 9_007_199_254_740_993),
            (1_786_376_937, 1_786_378_081),
        ];
        let minutes = huge.map(|(start, end)| duration_reference(times(0, start, end)).unwrap());
        assert_eq!(mean(&minutes).map(minutes_text).as_deref(), Some("100079971882163.45"));
    }
}
