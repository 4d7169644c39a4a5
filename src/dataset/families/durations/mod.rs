//! Job durations by signature and by group: `job_durations.csv`, and the tables, statistics and histogram derived from it.
//!
//! In: the sampled jobs of each signature, from the pass, and the details of these jobs. Value: [`GroupMinutes`].

pub(crate) mod job_times;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::config::Semantics;
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::pass::signatures::Part;
use crate::dataset::pass::{Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::promise::Promised;
use crate::dataset::summary_stats::{job_durations_histogram, sig_group_job_duration_stats};
use crate::dataset::write::csv::Dialect;
use crate::model::{JobId, JobTimes, SignatureId, corrected_sample, reference_sample};
use crate::store::columns::{ColumnSet, VarintReader, put_varint};
use crate::store::{Store, StoreError};

use self::job_times::{
    Corrections, Flaw, duration_corrected, duration_reference, group_means, mean, minutes_text, times_of,
};
use super::groups::{Groups, SignatureGroups};

pub(crate) struct JobDurations;

impl Family for JobDurations {
    type Value = GroupMinutes;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<GroupMinutes>, DatasetError> {
        let semantics = making.context.options().semantics;
        let groups = making.value_of::<Groups>()?;
        making.reduce(SampleReducer::new(semantics), move |samples, context| {
            let groups = groups.wait()?;
            context.means.check_interrupted()?;
            let durations = Durations::measure(semantics, context.store, samples, groups)?;
            write(context, &durations)?;
            Ok(durations.minutes_by_group())
        })
    }
}

pub(crate) struct SampleReducer {
    semantics: Semantics,
    samples: Samples,
}

impl SampleReducer {
    pub(crate) fn new(semantics: Semantics) -> Self {
        Self { semantics, samples: Samples::default() }
    }
}

/// The sampled jobs by signature, ascending; without signatures that have no jobs. In blocks, since a list of all would be
/// copied as it grows.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<SampleBlock>);

#[derive(Debug, Default)]
pub(crate) struct SampleBlock {
    /// Of each signature: its id, the number of its jobs, and the jobs, as varints.
    samples: Vec<u8>,
    num: usize,
    /// Number of signatures whose sample differs from that of the reference.
    num_resampled: u64,
}

impl SampleBlock {
    fn push(&mut self, sample: &Sample) {
        let jobs = sample.jobs();
        for number in [sample.signature.0, jobs.len() as u64].into_iter().chain(jobs.iter().map(|job| job.0)) {
            put_varint(number, &mut self.samples);
        }
        self.num += 1;
    }

    fn iter(&self) -> impl Iterator<Item = Sample> {
        let mut rest = VarintReader::new(&self.samples);
        std::iter::from_fn(move || {
            let (signature, num) = (SignatureId(rest.varint().ok()?), rest.varint().ok()?);
            Sample::of(signature, (0..num).map_while(|_| rest.varint().ok().map(JobId)))
        })
    }
}

impl Reducer for SampleReducer {
    type Block = SampleBlock;
    type Worker = Sampler;
    type Value = Samples;

    fn columns(&self) -> ColumnSet {
        ColumnSet::JOB_IDS
    }

    fn worker(&self) -> Sampler {
        Sampler(self.semantics)
    }

    fn take(&mut self, mut block: SampleBlock) -> Result<(), DatasetError> {
        block.samples.shrink_to_fit();
        self.samples.0.push(block);
        Ok(())
    }

    fn finish(self, _workers: Vec<Sampler>) -> Result<Samples, DatasetError> {
        Ok(self.samples)
    }
}

pub(crate) struct Sampler(Semantics);

impl ReducerWorker for Sampler {
    type Block = SampleBlock;

    fn open(&mut self, _signatures: &[Part]) -> SampleBlock {
        SampleBlock::default()
    }

    fn end_signature(&mut self, jobs: &mut SignatureJobs, block: &mut SampleBlock) -> Result<(), DatasetError> {
        let reference = Sample::of(jobs.signature, reference_sample(&jobs.ids));
        let sample = match self.0 {
            Semantics::Reference => reference,
            Semantics::Corrected => {
                let corrected = Sample::of(jobs.signature, corrected_sample(&jobs.ids));
                block.num_resampled += u64::from(corrected != reference);
                corrected
            }
        };
        if let Some(sample) = sample {
            block.push(&sample);
        }
        Ok(())
    }
}

/// The sampled jobs of a signature, at most three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    signature: SignatureId,
    jobs: [JobId; 3],
    num: u8,
}

impl Sample {
    /// `None` without jobs.
    fn of(signature: SignatureId, sampled: impl Iterator<Item = JobId>) -> Option<Self> {
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

/// The duration of a job.
#[derive(Clone, Copy, Debug)]
enum Measured {
    Minutes(f64),
    /// A time is absent; in the reference semantics.
    Unknown,
    /// In the corrected semantics.
    Flawed(Flaw),
    /// The job was not fetched or is gone.
    NotThere,
}

impl Measured {
    fn of(times: JobTimes, semantics: Semantics) -> Self {
        match semantics {
            Semantics::Reference => duration_reference(times).map_or(Self::Unknown, Self::Minutes),
            Semantics::Corrected => duration_corrected(times).map_or_else(Self::Flawed, Self::Minutes),
        }
    }
}

impl Measured {
    /// The bits of the minutes, or of a NaN that stands for their absence: there may be 10^5 jobs.
    fn to_bits(self) -> u64 {
        const NOT_A_NUMBER: u64 = f64::NAN.to_bits();
        match self {
            Self::Minutes(minutes) => minutes.to_bits(),
            Self::Unknown => NOT_A_NUMBER | 1,
            Self::Flawed(Flaw::MissingTime) => NOT_A_NUMBER | 2,
            Self::Flawed(Flaw::Reversed) => NOT_A_NUMBER | 3,
            Self::NotThere => NOT_A_NUMBER | 4,
        }
    }

    fn from_bits(bits: u64) -> Self {
        let all = [Self::Unknown, Self::Flawed(Flaw::MissingTime), Self::Flawed(Flaw::Reversed), Self::NotThere];
        let absent = all.into_iter().find(|absent| absent.to_bits() == bits);
        absent.unwrap_or(Self::Minutes(f64::from_bits(bits)))
    }
}

/// The durations of jobs; a job shared by several signatures is read once.
struct JobTable<'a> {
    store: &'a Store,
    semantics: Semantics,
    /// See [`Measured::to_bits`].
    measured: HashMap<JobId, u64, RandomState>,
}

impl<'a> JobTable<'a> {
    fn new(store: &'a Store, semantics: Semantics) -> Self {
        Self { store, semantics, measured: HashMap::default() }
    }

    fn measure(&mut self, id: JobId) -> Result<Measured, StoreError> {
        if let Some(bits) = self.measured.get(&id) {
            return Ok(Measured::from_bits(*bits));
        }
        let measured = match self.store.job(id)? {
            Some(record) => Measured::of(times_of(&record, id)?, self.semantics),
            None => Measured::NotThere,
        };
        self.measured.insert(id, measured.to_bits());
        Ok(measured)
    }
}

/// The minutes of each group, as written.
pub(crate) type GroupMinutes = BTreeMap<u32, f64>;

/// The durations in the tables.
pub(crate) struct Durations {
    /// Signatures with their minutes, ascending.
    by_signature: Vec<(SignatureId, f64)>,
    /// Groups with their minutes as written.
    by_group: BTreeMap<u32, String>,
    counts: RowCounts,
}

impl Durations {
    /// Measures the sampled jobs of each signature; their memory is given back on the way.
    pub(crate) fn measure(
        semantics: Semantics,
        store: &Store,
        samples: Samples,
        groups: &SignatureGroups,
    ) -> Result<Self, StoreError> {
        let mut jobs = JobTable::new(store, semantics);
        let mut corrections = Corrections::default();
        let mut missing_jobs = 0;
        let blocks = samples.0;
        let num_resampled = blocks.iter().map(|block| block.num_resampled).sum();
        let mut rows: Vec<(SignatureId, f64)> = Vec::with_capacity(blocks.iter().map(|block| block.num).sum());
        for block in blocks {
            for sample in block.iter() {
                let mut minutes = Vec::with_capacity(sample.jobs().len());
                for job in sample.jobs() {
                    match jobs.measure(*job)? {
                        Measured::Minutes(of_job) => minutes.push(of_job),
                        Measured::Unknown => {}
                        Measured::Flawed(flaw) => corrections.count(flaw),
                        Measured::NotThere => missing_jobs += 1,
                    }
                }
                rows.extend(mean(&minutes).map(|mean| (sample.signature, mean)));
            }
        }
        let counts = RowCounts::from([
            ("sampled_jobs_not_there".to_owned(), missing_jobs),
            ("times_missing".to_owned(), corrections.missing_time),
            ("times_reversed".to_owned(), corrections.reversed),
            ("signatures_with_another_sample".to_owned(), num_resampled),
        ]);
        let written = rows.iter().map(|(id, minutes)| (*id, minutes_text(*minutes)));
        let by_group = group_means(written, |signature| groups.group_of(signature));
        Ok(Self { by_signature: rows, by_group, counts })
    }

    /// The minutes of each group, parsed from their written texts, as a reader of the table would.
    pub(crate) fn minutes_by_group(&self) -> GroupMinutes {
        self.by_group.iter().filter_map(|(group, text)| Some((*group, text.parse().ok()?))).collect()
    }
}

/// Writes the wanted artifacts.
fn write(context: &Context<'_>, durations: &Durations) -> Result<(), DatasetError> {
    let counts = &durations.counts;
    let header = ["signature_id", "duration_minutes"];
    if let Some(mut file) = context.csv_file(Artifact::JobDurations, Dialect::CsvModule, &header)? {
        for (signature, minutes) in &durations.by_signature {
            file.write_row([&signature.to_string(), &minutes_text(*minutes)])?;
        }
        context.finish(file.written()?, counts)?;
    }
    let header = ["signature_group_id", "duration_minutes"];
    if let Some(mut file) = context.csv_file(Artifact::GroupDurations, Dialect::CsvModule, &header)? {
        for (group, text) in &durations.by_group {
            file.write_row([&group.to_string(), text])?;
        }
        context.finish(file.written()?, counts)?;
    }
    let minutes: Vec<f64> = durations.minutes_by_group().into_values().collect();
    let document = sig_group_job_duration_stats(&minutes, context.options().semantics);
    context.put(Artifact::GroupDurationStats, document.as_deref(), counts)?;
    if minutes.is_empty() {
        return Ok(());
    }
    let plots = [Artifact::DurationsHistogram, Artifact::DurationsHistogramSvg, Artifact::DurationsHistogramPdf];
    context.put_plots(plots, &job_durations_histogram(&minutes), counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_comes_back_from_its_bits() {
        let minutes = [0.0, -0.0, 1.5, -30_000_000.0, f64::MAX].map(Measured::Minutes);
        let absent = [Measured::Unknown, Measured::NotThere];
        let flawed = [Flaw::MissingTime, Flaw::Reversed].map(Measured::Flawed);
        for measured in minutes.into_iter().chain(absent).chain(flawed) {
            let again = Measured::from_bits(measured.to_bits());
            assert_eq!(format!("{again:?}"), format!("{measured:?}"));
        }
    }
}
