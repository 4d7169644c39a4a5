//! Making artifacts: in which order the families run, and what one pass over the data gives them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::FrameworkId;

use crate::dataset::families::alerts::AlertTables;
use crate::dataset::families::alerts::table::reduce_alerts;
use crate::dataset::families::busiest::{self, reduce_waits};
use crate::dataset::families::coverage::{CoverageInputs, reduce_coverage};
use crate::dataset::families::durations::{Durations, JobTable, Sample, reduce_durations};
use crate::dataset::families::groups::{GroupBuilder, SignatureGroups};
use crate::dataset::families::job_index::reduce_job_index;
use crate::dataset::families::relabel::labels::{Labels, reduce_relabelled};
use crate::dataset::lookups::{CommitTable, FirstCovered, SignatureTable, read_signatures};
use crate::dataset::output::{LineFile, Outputs, RowCounts};
use crate::dataset::pass::signatures::Signatures;
use crate::dataset::pass::{CoverageRule, Means, Sorted, Want, finish_groups, scan};
use crate::dataset::sources::Sources;
use crate::dataset::{Artifact, ReduceError};

/// What one pass over the data gave.
struct Pass {
    want: Want,
    /// The signatures that were passed over.
    parts: Signatures,
    commits: Option<CommitTable>,
    sorted: Sorted,
    groups: GroupBuilder,
    first_covered: FirstCovered,
    samples: Vec<Sample>,
    num_fractions: u64,
    num_resampled: u64,
}

impl Sources<'_> {
    /// Makes the wanted artifacts; nothing appears yet.
    pub(crate) fn make(&self, wanted: &BTreeSet<Artifact>) -> Result<Outputs, ReduceError> {
        // Alerts and signatures are read beside the data: only what follows from the pass needs both.
        let (read, passed) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| self.make_from_lists(wanted));
            let passed = self.pass_over_data(wanted);
            (reading.join().unwrap_or(Err(ReduceError::WorkerPanicked)), passed)
        });
        let (signatures, mut outputs) = read?;
        let (pass, of_pass) = passed?;
        outputs.append(of_pass);
        self.make_from_pass(wanted, pass, signatures.as_ref(), &mut outputs)?;
        Ok(outputs)
    }

    /// Makes what is made from the alert summaries and the signatures; gives what others need of the latter.
    fn make_from_lists(&self, wanted: &BTreeSet<Artifact>) -> Result<(Option<SignatureTable>, Outputs), ReduceError> {
        let folder = &self.config.artifacts.out;
        let config = &self.config.artifacts;
        let mut outputs = Outputs::default();
        let any = |artifacts: &[Artifact]| artifacts.iter().any(|artifact| wanted.contains(artifact));

        let relabelling = any(&[Artifact::Relabelled, Artifact::RelabelReport]);
        let from_alerts =
            [Artifact::AlertSummaries, Artifact::AlertsWithBug, Artifact::FailingSignatures, Artifact::TimeToCulprit];
        let tables = if any(&from_alerts) || relabelling {
            reduce_alerts(self.store, &self.identity, folder, config, wanted, &mut outputs)?
        } else {
            AlertTables::default()
        };
        self.check_interrupted()?;

        let detailed = any(&[Artifact::SignaturesByJobDetailed]);
        let all_signatures = any(&[Artifact::AllSignatures]);
        let signatures = if detailed || all_signatures || relabelling || any(&[Artifact::RectifiedDetails]) {
            let exclude = detailed.then_some(config.exclude_fields.as_slice());
            Some(read_signatures(self.store, folder, all_signatures, exclude, &mut outputs)?)
        } else {
            None
        };
        self.check_interrupted()?;
        if let (true, Some(signatures), Some(input)) = (relabelling, &signatures, &self.config.inputs.perf_llm_struc) {
            let excluded = config.excluded_framework_ids.iter().copied().map(FrameworkId).collect();
            let labels = Labels { tables: &tables, frameworks: &signatures.frameworks, excluded: &excluded };
            reduce_relabelled(folder, wanted, &labels, input, &mut outputs)?;
        }
        Ok((signatures, outputs))
    }

    /// Passes over the data once, for all that is made from them; writes their lines on the way.
    fn pass_over_data(&self, wanted: &BTreeSet<Artifact>) -> Result<(Pass, Outputs), ReduceError> {
        let folder = &self.config.artifacts.out;
        let mut outputs = Outputs::default();
        let commits = self.commits.map(CommitTable::new);
        let want = self.want(wanted, commits.as_ref());
        // Where nothing is wanted of the data, there is nothing to pass over.
        let asks = want.lines || want.coverage.is_some() || want.jobs || want.groups;
        let parts = Signatures::complete(self.store)?;
        let scanned = if asks { &parts } else { &Signatures::default() };
        let mut lines = want.lines.then(|| LineFile::create(folder, Artifact::JobsBySignature)).transpose()?;
        let mut first_covered = FirstCovered::default();
        let mut groups = GroupBuilder::default();
        let mut samples = Vec::new();
        let (mut num_fractions, mut num_resampled) = (0, 0);
        self.reducing.pass("reading the data", scanned.len() as u64);
        let sorted = scan(self.store, scanned, &want, self.means(), |block| {
            self.check_interrupted()?;
            if let Some(lines) = &mut lines {
                lines.append_block(&mut block.lines, block.num_signatures)?;
            }
            first_covered.extend(&block.first_covered);
            groups.extend(block.fingerprints.drain(..));
            samples.append(&mut block.samples);
            num_fractions += block.num_fractions;
            num_resampled += block.num_resampled;
            Ok(())
        })?;
        if let Some(lines) = lines {
            lines.finish(&mut outputs, Artifact::JobsBySignature, RowCounts::new())?;
        }
        self.check_interrupted()?;
        let pass = Pass { want, parts, commits, sorted, groups, first_covered, samples, num_fractions, num_resampled };
        Ok((pass, outputs))
    }

    /// What the wanted artifacts need of the data.
    fn want(&self, wanted: &BTreeSet<Artifact>, commits: Option<&CommitTable>) -> Want {
        let any = |artifacts: &[Artifact]| artifacts.iter().any(|artifact| wanted.contains(artifact));
        let semantics = self.config.artifacts.semantics;
        let durations = any(&[
            Artifact::JobDurations,
            Artifact::GroupDurations,
            Artifact::GroupDurationStats,
            Artifact::DurationsHistogram,
        ]);
        let rectified = any(&[Artifact::RectifiedDetails]);
        let coverage = rectified
            || any(&[
                Artifact::JobsPerRevision,
                Artifact::JobsPerRevisionDetails,
                Artifact::JobsStats,
                Artifact::JobsHistogram,
            ]);
        Want {
            lines: any(&[Artifact::JobsBySignature]),
            coverage: commits.filter(|_| coverage).map(|table| CoverageRule { semantics, ranks: table.ranks() }),
            jobs: any(&[Artifact::SignaturesByJob, Artifact::SignaturesByJobDetailed]),
            groups: rectified || durations || any(&[Artifact::SignatureGroups]),
            samples: durations.then_some(semantics),
            jobs_of: Vec::new(),
        }
    }

    fn means(&self) -> Means<'_> {
        Means::of(self.config, &self.config.artifacts.out, self.reducing)
    }

    /// Makes what is made from the data, with the signatures' metadata where it is needed.
    fn make_from_pass(
        &self,
        wanted: &BTreeSet<Artifact>,
        pass: Pass,
        signatures: Option<&SignatureTable>,
        outputs: &mut Outputs,
    ) -> Result<(), ReduceError> {
        let folder = &self.config.artifacts.out;
        let config = &self.config.artifacts;
        let Pass { want, parts, commits, sorted, groups, first_covered, samples, num_fractions, num_resampled } = pass;
        self.reducing.enter("making groups, and writing the signatures of each job and the jobs of each revision");
        let job_index = || {
            let mut outputs = Outputs::default();
            if want.jobs {
                let fields = signatures.and_then(|table| table.fields.as_ref());
                reduce_job_index(folder, wanted, fields, sorted.jobs, &mut outputs)?;
            }
            Ok::<_, ReduceError>(outputs)
        };
        let groups_and_what_follows = || {
            let mut outputs = Outputs::default();
            let groups = finish_groups(groups, self.store, &parts)?;
            if wanted.contains(&Artifact::SignatureGroups) {
                write_groups(folder, &groups, &mut outputs)?;
            }
            self.check_interrupted()?;
            if let (true, Some(commits)) = (want.coverage.is_some(), &commits) {
                let inputs = CoverageInputs {
                    commits,
                    first_covered: &first_covered,
                    pairs: sorted.coverage,
                    num_fractions,
                    groups: Some(&groups),
                    signatures,
                };
                reduce_coverage(folder, config, wanted, inputs, &mut outputs)?;
            }
            self.check_interrupted()?;
            if want.samples.is_some() {
                let mut jobs = JobTable::new(self.store);
                let durations = Durations::measure(config.semantics, &mut jobs, &samples, &groups, num_resampled)?;
                reduce_durations(folder, wanted, &durations, &mut outputs)?;
            }
            Ok::<_, ReduceError>(outputs)
        };
        // Threads of their own, since they wait for the disk.
        let (of_jobs, of_revisions) = std::thread::scope(|scope| {
            let of_jobs = scope.spawn(job_index);
            let of_revisions = groups_and_what_follows();
            (of_jobs.join().unwrap_or(Err(ReduceError::WorkerPanicked)), of_revisions)
        });
        outputs.append(of_jobs?);
        outputs.append(of_revisions?);
        self.check_interrupted()?;
        let waits = wanted.contains(&Artifact::MaxRevisionJobs) || wanted.contains(&Artifact::WaitTimeStats);
        if let (true, Some(commits)) = (waits, self.commits) {
            let busiest = busiest::find(self.store, &parts, commits, self.means())?;
            reduce_waits(self.store, folder, config, wanted, busiest.of(config.semantics), outputs)?;
        }
        Ok(())
    }
}

fn write_groups(folder: &Path, groups: &SignatureGroups, outputs: &mut Outputs) -> Result<(), ReduceError> {
    let mut file = LineFile::create(folder, Artifact::SignatureGroups)?;
    let mut line = Vec::new();
    for (id, signatures) in groups.iter() {
        line.clear();
        line.extend_from_slice(format!("{{\"Sig_group_id\": {id}, \"signatures\": ").as_bytes());
        crate::dataset::families::coverage::write_ids(&mut line, signatures.iter().map(|signature| signature.0));
        line.extend_from_slice(b"}\n");
        file.append_line(&line)?;
    }
    file.finish(outputs, Artifact::SignatureGroups, RowCounts::new())
}
