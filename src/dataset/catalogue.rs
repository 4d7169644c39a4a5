//! Every artifact: its file, its schema version, its family and its inputs.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::model::did_you_mean;

/// An input of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The stored alert summaries.
    Alerts,
    /// The stored signatures.
    Signatures,
    /// The stored data.
    Summaries,
    /// The stored data with replicates.
    Replicates,
    /// The stored job details.
    JobDetails,
    /// The same, if they are those of the jobs of all data.
    AllJobs,
    /// The file named by `inputs.commits`.
    Commits,
    /// The file named by `inputs.perf_llm_struc`.
    PerfLlmStruc,
    /// The file named by `inputs.eval_predictions`.
    EvalPredictions,
    /// The file named by `inputs.final_test_predictions`.
    FinalTestPredictions,
}

/// A hint for [`Input::setting`].
const PREDICTIONS: &str = "a JSON file of predictions, an object whose \"samples\" have a \"commit_id\"";

impl Input {
    /// The name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Signatures => "signatures",
            Self::Summaries => "summaries",
            Self::Replicates => "replicates",
            Self::JobDetails => "job_details",
            Self::AllJobs => "all_jobs",
            Self::Commits => "commits",
            Self::PerfLlmStruc => "perf_llm_struc",
            Self::EvalPredictions => "eval_predictions",
            Self::FinalTestPredictions => "final_test_predictions",
        }
    }

    /// The configuration key that names the file, and a hint how to get one; empty for the inputs that the crawl stores.
    pub(super) fn setting(self) -> (&'static str, &'static str) {
        match self {
            Self::Commits => (
                "inputs.commits (--commits)",
                "a file of the repository's commits with one JSON object per line, each with \"node\" and \
                 \"date\": [epoch, offset]; `perfharvest commits` makes it from a clone, an hgweb server or \
                 Treeherder's pushes",
            ),
            Self::PerfLlmStruc => (
                "inputs.perf_llm_struc",
                "a file of the records to relabel with one JSON object per line, each with \"commit_id\" and \
                 \"response\"",
            ),
            Self::AllJobs => ("jobs.details", "\"all\"; a later run fetches the details of the jobs of all data"),
            Self::Replicates => ("scope.replicates", "true; a second request per signature fetches them"),
            Self::EvalPredictions => ("inputs.eval_predictions", PREDICTIONS),
            Self::FinalTestPredictions => ("inputs.final_test_predictions", PREDICTIONS),
            Self::Alerts | Self::Signatures | Self::Summaries | Self::JobDetails => ("", ""),
        }
    }
}

/// Passes the catalogue to the macro `$then`: families (their types under `families::`) with their artifacts.
///
/// A new artifact needs a line here, and code in its family that writes it.
macro_rules! with_catalogue {
    ($then:ident) => {
        $then! {
            alerts::Alerts {
                /// Every alert summary.
                AlertSummaries = "alert_summaries.csv", version 1, from [Alerts];
                /// The same as JSON, with the summaries of the statuses that the scope adds.
                AllAlertSummaries = "alert_summaries_all.jsonl", version 1, from [Alerts];
                /// Regressions with a bug, and the tests that detected them.
                AlertsWithBug = "alerts_with_bug_and_test_info.csv", version 1, from [Alerts];
                /// Regressed signatures by alert summary.
                FailingSignatures = "alert_summary_fail_perf_sigs.csv", version 1, from [Alerts];
                /// Statistics of the time from a push to its alert.
                TimeToCulprit = "time_to_culprit_stats.json", version 1, from [Alerts];
            }
            alert_versions::AlertVersions {
                /// Each alert summary as each harvest saw it first, a row a version.
                AlertSummaryHistory = "alert_summary_history.jsonl", version 1, from [Alerts];
            }
            bisect::FilteredFailing {
                /// `alert_summary_fail_perf_sigs.csv` without excluded frameworks and old alert summaries.
                FilteredFailingSignatures = "alert_summary_fail_perf_sigs_no_fw_2_6_18.csv", version 1, from [Alerts];
            }
            bisect::SignatureData {
                /// The data of the failing signatures.
                PerfDataSummary = "per_sig_perf_data_summary.jsonl", version 1, from [Alerts, Signatures, Summaries];
                /// The same with replicates.
                PerfDataReplicates = "per_sig_perf_data_replicates.jsonl", version 1, from [Alerts, Signatures, Replicates];
                /// The properties of the failing signatures.
                PerfDataInfo = "per_sig_perf_data_info.jsonl", version 1,
                    from [Alerts, Signatures, Summaries, JobDetails, Replicates];
                /// The data of the failing signatures by commit.
                PerfDataPerRevision = "per_revision_perf_data.jsonl", version 1,
                    from [Alerts, Signatures, Summaries, Commits, Replicates];
            }
            bisect::Regressions {
                /// Regressions to bisect, by alert summary and failing signature: those among the commits of the evaluation.
                RegressionsEval = "perf_bisect_regressions_eval.jsonl", version 1,
                    from [Alerts, Signatures, Summaries, Commits, EvalPredictions, FinalTestPredictions];
                /// Those among the commits of the final test.
                RegressionsFinalTest = "perf_bisect_regressions_final_test.jsonl", version 1,
                    from [Alerts, Signatures, Summaries, Commits, EvalPredictions, FinalTestPredictions];
            }
            signatures::SignatureRecords {
                /// The record of every signature.
                AllSignatures = "all_signatures.jsonl", version 1, from [Signatures];
                /// The same, with the additional fields from the headers of the data.
                AllSignaturesDetailed = "all_signatures_detailed.jsonl", version 1, from [Signatures, Summaries];
            }
            jobs_by_signature::JobsBySignature {
                /// The data of every signature.
                JobsBySignature = "perf_jobs_by_signature.jsonl", version 1, from [Signatures, Summaries];
            }
            coverage::RevisionCoverage {
                /// Number of signatures that ran on each revision.
                JobsPerRevision = "perf_jobs_per_revision.csv", version 1, from [Summaries, Commits];
                /// Ids of the signatures that ran on each revision.
                JobsPerRevisionDetails = "perf_jobs_per_revision_details.jsonl", version 1, from [Summaries, Commits];
                /// Statistics of the signatures per revision.
                JobsStats = "perf_jobs_stats.json", version 1, from [Summaries, Commits];
                /// Histogram of the signatures per revision.
                JobsHistogram = "perf_jobs_per_revision_dist.png", version 1, from [Summaries, Commits];
                /// The same as SVG.
                JobsHistogramSvg = "perf_jobs_per_revision_dist.svg", version 1, from [Summaries, Commits];
                /// The same as PDF.
                JobsHistogramPdf = "perf_jobs_per_revision_dist.pdf", version 1, from [Summaries, Commits];
                /// Ids of the signature groups that ran on each revision.
                RectifiedDetails = "perf_jobs_per_revision_details_rectified.jsonl", version 1,
                    from [Signatures, Summaries, Commits];
            }
            job_index::JobIndex {
                /// The signatures that each job measured.
                SignaturesByJob = "sigs_by_job_id.jsonl", version 1, from [Summaries];
                /// The same, with the metadata fields that those signatures share.
                SignaturesByJobDetailed = "sigs_by_job_id_detailed.jsonl", version 1, from [Signatures, Summaries];
            }
            groups::Groups {
                /// Signatures that always run together.
                SignatureGroups = "sig_groups.jsonl", version 1, from [Summaries];
            }
            durations::JobDurations {
                /// Durations of a signature's jobs.
                JobDurations = "job_durations.csv", version 1, from [Summaries, JobDetails];
                /// Durations of a group's jobs.
                GroupDurations = "sig_group_job_durations.csv", version 1, from [Summaries, JobDetails];
                /// Statistics of the group durations.
                GroupDurationStats = "sig_group_job_duration_stats.json", version 1, from [Summaries, JobDetails];
                /// Histogram of the group durations.
                DurationsHistogram = "job_durations.png", version 1, from [Summaries, JobDetails];
                /// The same as SVG.
                DurationsHistogramSvg = "job_durations.svg", version 1, from [Summaries, JobDetails];
                /// The same as PDF.
                DurationsHistogramPdf = "job_durations.pdf", version 1, from [Summaries, JobDetails];
            }
            busiest::BusiestRevision {
                /// The jobs of the busiest revision.
                MaxRevisionJobs = "max_revision_jobs.jsonl", version 1, from [Summaries, JobDetails, Commits];
                /// Statistics of the wait times of those jobs.
                WaitTimeStats = "job_wait_time_stats.json", version 1, from [Summaries, JobDetails, Commits];
            }
            machines::Machines {
                /// The machines of each platform, and their busy minutes a day.
                Machines = "machines.jsonl", version 1, from [AllJobs];
            }
            relabel::Relabel {
                /// `perf_llm_struc.jsonl` without regressions of excluded frameworks.
                Relabelled = "perf_llm_struc_no_fw_2_6_18.jsonl", version 1, from [Signatures, Alerts, PerfLlmStruc];
                /// Counts of the relabelled records.
                RelabelReport = "filter_report.json", version 1, from [Signatures, Alerts, PerfLlmStruc];
            }
        }
    };
}
pub(in crate::dataset) use with_catalogue;

macro_rules! define_artifacts {
    ($($module:ident::$family:ident {
        $($(#[$doc:meta])* $variant:ident = $file:literal, version $version:literal, from [$($input:ident),*];)*
    })*) => {
        /// An artifact of the dataset; `datasets/README.md` describes each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Artifact {
            $($($(#[$doc])* $variant,)*)*
        }

        impl Artifact {
            /// All artifacts, by family.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// The name of the file in the folder of artifacts.
            #[must_use]
            pub fn file_name(self) -> &'static str {
                match self { $($(Self::$variant => $file,)*)* }
            }

            /// Version of the columns and keys; a change of their meaning raises it.
            #[must_use]
            pub fn schema_version(self) -> u32 {
                match self { $($(Self::$variant => $version,)*)* }
            }

            /// The inputs, all of which must be there.
            #[must_use]
            pub fn inputs(self) -> &'static [Input] {
                match self { $($(Self::$variant => &[$(Input::$input,)*],)*)* }
            }
        }
    };
}
with_catalogue!(define_artifacts);

/// A name that no artifact has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no artifact `{name}`{hint} (`perfharvest reduce --help` lists them all)")]
pub struct UnknownArtifact {
    /// The name as it was given.
    pub name: String,
    /// Asks for a similar file name, if there is one.
    pub hint: String,
}

impl FromStr for Artifact {
    type Err = UnknownArtifact;

    /// Parses a file name, with or without its extension.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let stem = |file: &'static str| file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        // Several artifacts may share a stem (`job_durations`): it selects the first, which is the table.
        let found = Self::ALL.iter().find(|artifact| artifact.file_name() == name);
        let found = found.or_else(|| Self::ALL.iter().find(|artifact| stem(artifact.file_name()) == name));
        found.copied().ok_or_else(|| UnknownArtifact { name: name.to_owned(), hint: hint(name) })
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name())
    }
}

fn hint(name: &str) -> String {
    did_you_mean(name, Artifact::ALL.iter().map(|artifact| artifact.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_found_by_file_name_and_by_stem() {
        for artifact in Artifact::ALL {
            assert_eq!(artifact.file_name().parse(), Ok(*artifact));
        }
        assert_eq!("sig_groups".parse(), Ok(Artifact::SignatureGroups));
        assert_eq!("job_durations".parse(), Ok(Artifact::JobDurations));
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let error = "sig_group.json".parse::<Artifact>().unwrap_err();
        assert!(error.to_string().contains("did you mean `sig_groups.jsonl`?"), "{error}");
        let error = "zzzz".parse::<Artifact>().unwrap_err();
        assert!(error.to_string().starts_with("there is no artifact `zzzz` ("), "{error}");
    }
}
