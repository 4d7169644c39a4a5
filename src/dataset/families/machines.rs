//! The test machines: `machines.jsonl`, a row for each platform with its machines and their busy minutes a day.
//!
//! In: the stored details of the jobs of all data. No value. Memory holds the names of the machines, and each machine of each day
//! once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};

use foldhash::fast::RandomState;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::durations::job_times::{Flaw, minutes_text, run_secs, times_of};
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::promise::Promised;
use crate::dataset::write::Redaction;
use crate::dataset::write::json::{AsciiMode, write_str};
use crate::model::{JobId, RawJson, Timestamp, text_of};
use crate::store::StoreError;

pub(crate) struct Machines;

impl Family for Machines {
    type Value = ();

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        making.spawn(write)
    }
}

/// The fields of a job beside its times. One of an undocumented type counts as absent.
#[derive(Default, Deserialize)]
struct View<'a> {
    #[serde(borrow)]
    platform: Option<&'a RawValue>,
    #[serde(borrow)]
    machine_name: Option<&'a RawValue>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
}

/// The jobs of a platform. Each is of one day, or counts for one of the reasons why it is of none.
#[derive(Default)]
struct Load {
    /// Numbers of the machines.
    machines: HashMap<String, u32, RandomState>,
    jobs: u64,
    reasons: NoDay,
    machine_missing: u64,
    /// By the midnight before they started.
    days: BTreeMap<Timestamp, DayLoad>,
}

/// Jobs that are of no day, by reason.
#[derive(Clone, Copy, Default)]
struct NoDay {
    not_completed: u64,
    times_missing: u64,
    times_reversed: u64,
}

#[derive(Default)]
struct DayLoad {
    jobs: u64,
    machines: HashSet<u32, RandomState>,
    /// Whole seconds, of which floats hold sums exactly.
    busy_secs: f64,
}

impl Load {
    fn add(&mut self, id: JobId, record: &RawJson) -> Result<(), StoreError> {
        let view: View<'_> = record.view().unwrap_or_default();
        let times = times_of(record, id)?;
        self.jobs += 1;
        let machine = text_of(view.machine_name).filter(|name| !name.is_empty()).map(|name| {
            let next = u32::try_from(self.machines.len()).unwrap_or(u32::MAX);
            *self.machines.entry(name).or_insert(next)
        });
        self.machine_missing += u64::from(machine.is_none());
        if text_of(view.state).as_deref() != Some("completed") {
            self.reasons.not_completed += 1;
            return Ok(());
        }
        match run_secs(times) {
            Ok(secs) => {
                let start = Timestamp::from_secs(times.start_secs.unwrap_or_default());
                let day = self.days.entry(start.midnight()).or_default();
                day.jobs += 1;
                day.machines.extend(machine);
                day.busy_secs += secs;
            }
            Err(Flaw::MissingTime) => self.reasons.times_missing += 1,
            Err(Flaw::Reversed) => self.reasons.times_reversed += 1,
        }
        Ok(())
    }

    /// Appends a row of `machines.jsonl`. `platform`: its text in JSON.
    fn write_row(&self, platform: &[u8], line: &mut String) -> fmt::Result {
        let NoDay { not_completed, times_missing, times_reversed } = self.reasons;
        let busy_secs = self.days.values().map(|day| day.busy_secs).sum();
        write!(
            line,
            "{{\"platform\": {}, \"machines\": {}, \"jobs\": {}, \"not_completed\": {not_completed}, \"times_missing\": \
             {times_missing}, \"times_reversed\": {times_reversed}, \"machine_missing\": {}, \"busy_minutes\": {}, \"days\": [",
            String::from_utf8_lossy(platform),
            self.machines.len(),
            self.jobs,
            self.machine_missing,
            minutes(busy_secs)
        )?;
        for (number, (day, load)) in self.days.iter().enumerate() {
            let separator = if number > 0 { ", " } else { "" };
            let day = day.to_naive_string();
            let (day, _time) = day.split_once('T').unwrap_or((&day, ""));
            let (jobs, machines, minutes) = (load.jobs, load.machines.len(), minutes(load.busy_secs));
            write!(
                line,
                "{separator}{{\"day\": \"{day}\", \"jobs\": {jobs}, \"machines\": {machines}, \"busy_minutes\": {minutes}}}"
            )?;
        }
        line.write_str("]}\n")
    }
}

fn minutes(secs: f64) -> String {
    minutes_text(secs / 60.0)
}

fn write(context: &Context<'_>) -> Result<(), DatasetError> {
    let Some(mut file) = context.line_file(Artifact::Machines)? else { return Ok(()) };
    let mut platforms: BTreeMap<Option<String>, Load> = BTreeMap::new();
    for (id, _) in context.store.stored_jobs()? {
        context.means.check_interrupted()?;
        let record = context.store.job(id)?;
        let record = record.ok_or_else(|| StoreError::MissingValue { key: format!("job {id}") })?;
        let view: View<'_> = record.view().unwrap_or_default();
        platforms.entry(text_of(view.platform)).or_default().add(id, &record)?;
    }
    let mut redaction = Redaction::new(context.options().redact_emails);
    let (mut counts, mut line) = (RowCounts::new(), String::new());
    for (platform, load) in &platforms {
        let mut name = b"null".to_vec();
        if let Some(platform) = platform {
            name.clear();
            write_str(&redaction.apply(platform), &mut name, AsciiMode::Escape);
        }
        line.clear();
        let _never_fails = load.write_row(&name, &mut line);
        file.append_line(line.as_bytes())?;
        let NoDay { not_completed, times_missing, times_reversed } = load.reasons;
        for (name, num) in [
            ("jobs_not_completed", not_completed),
            ("times_missing", times_missing),
            ("times_reversed", times_reversed),
            ("jobs_without_a_machine", load.machine_missing),
        ] {
            *counts.entry(name.to_owned()).or_default() += num;
        }
    }
    counts.retain(|_, num| *num > 0);
    counts.extend(redaction.counts());
    context.finish(file.written(), &counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row of jobs, each as the members of its record.
    fn row_of(jobs: &[&str]) -> String {
        let mut load = Load::default();
        for job in jobs {
            load.add(JobId(1), &RawJson::parse(&format!("{{{job}}}")).unwrap()).unwrap();
        }
        let mut line = String::new();
        load.write_row(b"\"linux\"", &mut line).unwrap();
        line
    }

    #[test]
    fn a_job_counts_on_the_day_of_its_start_and_its_machine_once_a_day() {
        let line = row_of(&[
            // Two jobs of one machine on 2026-07-01, the second past midnight, and one of it on the next day.
            r#""state":"completed","machine_name":"m1","start_timestamp":1782864000,"end_timestamp":1782864090"#,
            r#""state":"completed","machine_name":"m1","start_timestamp":1782950399,"end_timestamp":1782950999"#,
            r#""state":"completed","machine_name":"m1","start_timestamp":1782950400,"end_timestamp":1782950401"#,
            r#""state":"completed","machine_name":"m2","start_timestamp":1782864001,"end_timestamp":1782864001"#,
        ]);
        assert_eq!(
            line,
            "{\"platform\": \"linux\", \"machines\": 2, \"jobs\": 4, \"not_completed\": 0, \"times_missing\": 0, \
             \"times_reversed\": 0, \"machine_missing\": 0, \"busy_minutes\": 11.52, \"days\": [\
             {\"day\": \"2026-07-01\", \"jobs\": 3, \"machines\": 2, \"busy_minutes\": 11.50}, \
             {\"day\": \"2026-07-02\", \"jobs\": 1, \"machines\": 1, \"busy_minutes\": 0.02}]}\n"
        );
    }

    #[test]
    fn a_job_of_no_day_counts_for_its_reason_and_odd_fields_as_absent() {
        let line = row_of(&[
            r#""state":"running","machine_name":"m3","start_timestamp":1782864000,"end_timestamp":0"#,
            r#""state":"completed","machine_name":7,"start_timestamp":1782864000,"end_timestamp":0"#,
            r#""state":"completed","machine_name":"","start_timestamp":null,"end_timestamp":1782864000"#,
            r#""state":"completed","machine_name":"m1","start_timestamp":1782864001,"end_timestamp":1782864000"#,
            r#""state":["completed"]"#,
            r#""state":"completed","start_timestamp":1782864000,"end_timestamp":1782864060"#,
            r#""state":"completed","start_timestamp":-9223372036854775808,"end_timestamp":9223372036854775807"#,
        ]);
        assert!(line.contains("\"machines\": 2, \"jobs\": 7, \"not_completed\": 2, \"times_missing\": 2, "), "{line}");
        assert!(line.contains("\"times_reversed\": 1, \"machine_missing\": 5, "), "{line}");
        let row: serde_json::Value = serde_json::from_str(&line).unwrap();
        let days: Vec<_> = row["days"].as_array().unwrap().iter().map(|day| (&day["jobs"], &day["machines"])).collect();
        assert_eq!(days, [(&1.into(), &0.into()), (&1.into(), &0.into())]);
    }
}
