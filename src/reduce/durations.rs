//! How long jobs take, by signature and by group: `job_durations.csv` and what follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use crate::artifact::csv::Dialect;
use crate::config::Semantics;
use crate::model::{JobId, JobTimes, SignatureId};
use crate::store::{Store, StoreError};

use super::groups::SignatureGroups;
use super::job_times::{Corrections, duration_corrected, duration_reference, group_means, mean, minutes_text};
use super::output::{CsvFile, Outputs, RowCounts};
use super::summary_stats::{job_durations_histogram, sig_group_job_duration_stats};
use super::{Artifact, ReduceError};

/// The times of jobs, each read once however many signatures share it.
pub(super) struct JobTable<'a> {
    store: &'a Store,
    times: HashMap<JobId, Option<JobTimes>>,
}

impl<'a> JobTable<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, times: HashMap::new() }
    }

    /// The times of a job; `None` when it was not fetched or is gone.
    pub(super) fn times(&mut self, id: JobId) -> Result<Option<JobTimes>, StoreError> {
        if let Some(times) = self.times.get(&id) {
            return Ok(*times);
        }
        let record = self.store.job(id)?;
        let times = record.map(|record| times_of(&record, id)).transpose()?;
        self.times.insert(id, times);
        Ok(times)
    }
}

/// The times in a job's record.
pub(super) fn times_of(record: &crate::model::RawJson, id: JobId) -> Result<JobTimes, StoreError> {
    #[derive(Deserialize)]
    #[expect(clippy::struct_field_names, reason = "the API's names")]
    struct View {
        #[serde(default)]
        submit_timestamp: Option<i64>,
        #[serde(default)]
        start_timestamp: Option<i64>,
        #[serde(default)]
        end_timestamp: Option<i64>,
    }
    let view: View = record.view().map_err(|error| StoreError::Damaged {
        tree: "records",
        key: format!("job {id}"),
        reason: error.to_string(),
    })?;
    Ok(JobTimes { submit_secs: view.submit_timestamp, start_secs: view.start_timestamp, end_secs: view.end_timestamp })
}

/// Writes what is wanted of the durations.
#[expect(clippy::too_many_arguments, reason = "what the durations are made from stands ready in their one caller")]
pub(super) fn reduce_durations(
    folder: &Path,
    wanted: &BTreeSet<Artifact>,
    semantics: Semantics,
    jobs: &mut JobTable<'_>,
    samples: &[(SignatureId, Vec<JobId>)],
    groups: &SignatureGroups,
    num_resampled: u64,
    outputs: &mut Outputs,
) -> Result<(), ReduceError> {
    let mut corrections = Corrections::default();
    let mut missing_jobs = 0;
    let mut rows: Vec<(SignatureId, String)> = Vec::new();
    for (signature, sample) in samples {
        let mut minutes = Vec::with_capacity(sample.len());
        for job in sample {
            let Some(times) = jobs.times(*job)? else {
                missing_jobs += 1;
                continue;
            };
            minutes.extend(match semantics {
                Semantics::Reference => duration_reference(times),
                Semantics::Corrected => corrections.keep(duration_corrected(times)),
            });
        }
        rows.extend(mean(minutes).map(|mean| (*signature, minutes_text(mean))));
    }
    let counts = RowCounts::from([
        ("sampled_jobs_not_there".to_owned(), missing_jobs),
        ("times_missing".to_owned(), corrections.missing_time),
        ("times_reversed".to_owned(), corrections.reversed),
        ("signatures_with_another_sample".to_owned(), num_resampled),
    ]);
    if wanted.contains(&Artifact::JobDurations) {
        let header = ["signature_id", "duration_minutes"];
        let mut file = CsvFile::create(folder, Artifact::JobDurations, Dialect::CsvModule, &header)?;
        for (signature, text) in &rows {
            file.write_row([&signature.to_string(), text])?;
        }
        file.finish(outputs, Artifact::JobDurations, counts.clone())?;
    }
    let means: BTreeMap<u32, String> = group_means(rows, |signature| groups.group_of(signature));
    if wanted.contains(&Artifact::GroupDurations) {
        let header = ["signature_group_id", "duration_minutes"];
        let mut file = CsvFile::create(folder, Artifact::GroupDurations, Dialect::CsvModule, &header)?;
        for (group, text) in &means {
            file.write_row([&group.to_string(), text])?;
        }
        file.finish(outputs, Artifact::GroupDurations, counts.clone())?;
    }
    // The statistics are those of the written values, as whoever reads the table would compute them.
    let minutes: Vec<f64> = means.values().filter_map(|text| text.parse().ok()).collect();
    if wanted.contains(&Artifact::GroupDurationStats)
        && let Some(document) = sig_group_job_duration_stats(&minutes)
    {
        outputs.put(folder, Artifact::GroupDurationStats, &document, counts.clone())?;
    }
    if wanted.contains(&Artifact::DurationsHistogram) {
        let png = job_durations_histogram(&minutes).render().map_err(|source| ReduceError::Plot { source })?;
        outputs.put(folder, Artifact::DurationsHistogram, &png, counts)?;
    }
    Ok(())
}
