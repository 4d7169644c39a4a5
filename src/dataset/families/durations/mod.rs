//! How long jobs take, by signature and by group: `job_durations.csv` and what follows from it.

pub mod job_times;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use foldhash::fast::RandomState;
use serde::Deserialize;

use crate::config::Semantics;
use crate::dataset::write::csv::Dialect;
use crate::model::{JobId, JobTimes, SignatureId};
use crate::store::{Store, StoreError};

use crate::dataset::families::durations::job_times::{
    Corrections, duration_corrected, duration_reference, group_means, mean, minutes_text,
};
use crate::dataset::families::groups::SignatureGroups;
use crate::dataset::output::{CsvFile, Outputs, RowCounts};
use crate::dataset::summary_stats::{job_durations_histogram, sig_group_job_duration_stats};
use crate::dataset::{Artifact, ReduceError};

/// The sampled jobs of a signature: three at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    signature: SignatureId,
    jobs: [JobId; 3],
    num: u8,
}

impl Sample {
    /// `None` of no jobs.
    pub(crate) fn of(signature: SignatureId, sampled: impl Iterator<Item = JobId>) -> Option<Self> {
        let mut sample = Self { signature, jobs: [JobId::default(); 3], num: 0 };
        for (place, job) in sample.jobs.iter_mut().zip(sampled) {
            *place = job;
            sample.num += 1;
        }
        (sample.num > 0).then_some(sample)
    }

    fn jobs(&self) -> &[JobId] {
        &self.jobs[..usize::from(self.num)]
    }
}

/// The times of jobs, each read once however many signatures share it.
pub(crate) struct JobTable<'a> {
    store: &'a Store,
    times: HashMap<JobId, Option<JobTimes>, RandomState>,
}

impl<'a> JobTable<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, times: HashMap::default() }
    }

    /// The times of a job; `None` when it was not fetched or is gone.
    pub(crate) fn times(&mut self, id: JobId) -> Result<Option<JobTimes>, StoreError> {
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
pub(crate) fn times_of(record: &crate::model::RawJson, id: JobId) -> Result<JobTimes, StoreError> {
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

/// How long jobs take, as the tables have it.
pub(crate) struct Durations {
    /// Signatures with the texts of their minutes, ascending.
    by_signature: Vec<(SignatureId, String)>,
    /// Groups with the texts of their minutes.
    by_group: BTreeMap<u32, String>,
    counts: RowCounts,
}

impl Durations {
    /// Measures the sampled jobs of each signature.
    pub(crate) fn measure(
        semantics: Semantics,
        jobs: &mut JobTable<'_>,
        samples: &[Sample],
        groups: &SignatureGroups,
        num_resampled: u64,
    ) -> Result<Self, StoreError> {
        let mut corrections = Corrections::default();
        let mut missing_jobs = 0;
        let mut rows: Vec<(SignatureId, String)> = Vec::new();
        for sample in samples {
            let mut minutes = Vec::with_capacity(sample.jobs().len());
            for job in sample.jobs() {
                let Some(times) = jobs.times(*job)? else {
                    missing_jobs += 1;
                    continue;
                };
                minutes.extend(match semantics {
                    Semantics::Reference => duration_reference(times),
                    Semantics::Corrected => corrections.keep(duration_corrected(times)),
                });
            }
            rows.extend(mean(minutes).map(|mean| (sample.signature, minutes_text(mean))));
        }
        let counts = RowCounts::from([
            ("sampled_jobs_not_there".to_owned(), missing_jobs),
            ("times_missing".to_owned(), corrections.missing_time),
            ("times_reversed".to_owned(), corrections.reversed),
            ("signatures_with_another_sample".to_owned(), num_resampled),
        ]);
        let by_group = group_means(rows.iter().map(|(id, text)| (*id, text)), |signature| groups.group_of(signature));
        Ok(Self { by_signature: rows, by_group, counts })
    }

    /// The minutes of each group, as written: what whoever reads the table would compute with.
    pub(crate) fn minutes_by_group(&self) -> BTreeMap<u32, f64> {
        self.by_group.iter().filter_map(|(group, text)| Some((*group, text.parse().ok()?))).collect()
    }
}

/// Writes what is wanted of the durations.
pub(crate) fn reduce_durations(
    folder: &Path,
    wanted: &BTreeSet<Artifact>,
    durations: &Durations,
    outputs: &mut Outputs,
) -> Result<(), ReduceError> {
    let counts = &durations.counts;
    if wanted.contains(&Artifact::JobDurations) {
        let header = ["signature_id", "duration_minutes"];
        let mut file = CsvFile::create(folder, Artifact::JobDurations, Dialect::CsvModule, &header)?;
        for (signature, text) in &durations.by_signature {
            file.write_row([&signature.to_string(), text])?;
        }
        file.finish(outputs, Artifact::JobDurations, counts.clone())?;
    }
    if wanted.contains(&Artifact::GroupDurations) {
        let header = ["signature_group_id", "duration_minutes"];
        let mut file = CsvFile::create(folder, Artifact::GroupDurations, Dialect::CsvModule, &header)?;
        for (group, text) in &durations.by_group {
            file.write_row([&group.to_string(), text])?;
        }
        file.finish(outputs, Artifact::GroupDurations, counts.clone())?;
    }
    let minutes: Vec<f64> = durations.minutes_by_group().into_values().collect();
    if wanted.contains(&Artifact::GroupDurationStats)
        && let Some(document) = sig_group_job_duration_stats(&minutes)
    {
        outputs.put(folder, Artifact::GroupDurationStats, &document, counts.clone())?;
    }
    if wanted.contains(&Artifact::DurationsHistogram) {
        let png = job_durations_histogram(&minutes).render().map_err(|source| ReduceError::Plot { source })?;
        outputs.put(folder, Artifact::DurationsHistogram, &png, counts.clone())?;
    }
    Ok(())
}
