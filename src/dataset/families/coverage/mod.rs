//! The revisions of the window with the signatures that ran on them: `perf_jobs_per_revision*` and `perf_jobs_stats.json`,
//! also by signature group.
//!
//! The reducer's value is [`Coverage`]; one walk over it writes the artifacts, and nothing is kept afterwards.

mod commit_table;
pub(in crate::dataset) mod rectified;
mod reducer;

use std::collections::BTreeSet;

use pytext::counts::ValueCounts;

use crate::config::{ArtifactsConfig, Config};
use crate::dataset::catalogue::Artifact;
use crate::dataset::commits::{Commit, isoformat};
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::{LineFile, RowCounts};
use crate::dataset::promise::Promised;
use crate::dataset::summary_stats::{perf_jobs_histogram, perf_jobs_stats};
use crate::dataset::write::csv::Dialect;
use crate::dataset::write::json::{AsciiMode, write_ids, write_str};
use crate::model::FrameworkId;
use crate::store::CrawlIdentity;

pub(crate) use self::commit_table::{CommitTable, revision_key};
use self::rectified::{OnUngrouped, Rectifier};
pub(crate) use self::reducer::{Coverage, CoverageReducer};
use super::groups::{Groups, SignatureGroups};
use super::signatures::{SignatureRecords, SignatureTable};

pub(crate) struct RevisionCoverage;

impl Family for RevisionCoverage {
    type Value = ();

    fn options(artifact: Artifact, config: &Config, _identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
        match artifact {
            Artifact::RectifiedDetails => {
                vec![("excluded_framework_ids", format!("{:?}", config.artifacts.excluded_framework_ids))]
            }
            _ => Vec::new(),
        }
    }

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let context = making.context;
        let semantics = context.options().semantics;
        let commits = CommitTable::new(context.commits_for(Artifact::JobsPerRevision)?, semantics);
        let by_group = if context.wants(Artifact::RectifiedDetails) {
            Some((making.value_of::<Groups>()?, making.value_of::<SignatureRecords>()?))
        } else {
            None
        };
        let reducer = CoverageReducer::new(commits, semantics, &context.means);
        making.reduce(reducer, move |coverage, context| {
            let rectifier = match &by_group {
                Some((groups, signatures)) => Some(rectifier(context.options(), groups.wait()?, signatures.wait()?)),
                None => None,
            };
            write(context, coverage, rectifier)
        })
    }
}

fn rectifier<'a>(options: &ArtifactsConfig, groups: &'a SignatureGroups, signatures: &SignatureTable) -> Rectifier<'a> {
    let excluded: BTreeSet<FrameworkId> = options.excluded_framework_ids.iter().copied().map(FrameworkId).collect();
    let on_ungrouped = if options.strict { OnUngrouped::Fail } else { OnUngrouped::Skip };
    Rectifier::new(groups, &signatures.frameworks, &excluded, on_ungrouped)
}

/// Writes the wanted artifacts.
fn write(context: &Context<'_>, coverage: Coverage, rectifier: Option<Rectifier<'_>>) -> Result<(), DatasetError> {
    let mut corrections = RowCounts::from([("jobs_with_a_fraction_of_a_second".to_owned(), coverage.num_fractions)]);
    if coverage.num_unreadable > 0 {
        corrections.insert("data_with_an_unreadable_submit_time".to_owned(), coverage.num_unreadable);
    }
    let header = ["revision", "submit_time_iso", "total_jobs"];
    let mut table = context.csv_file(Artifact::JobsPerRevision, Dialect::CsvModule, &header)?;
    let mut details = context.line_file(Artifact::JobsPerRevisionDetails)?;
    let mut by_group = match rectifier {
        Some(rectifier) => Some((LineFile::create(context.folder(), Artifact::RectifiedDetails)?, rectifier)),
        None => None,
    };
    let mut totals = ValueCounts::default();
    let mut line = Vec::new();
    coverage.for_each_revision(|commit, signatures| {
        let iso = isoformat(commit.date);
        let total_jobs = signatures.len();
        totals.add(i64::try_from(total_jobs).unwrap_or(i64::MAX));
        if let Some(table) = &mut table {
            table.write_row([commit.node.as_str(), &iso, &total_jobs.to_string()])?;
        }
        if let Some(details) = &mut details {
            write_line(&mut line, commit, &iso, "signature_ids", signatures.iter().map(|id| id.0));
            details.append_line(&line)?;
        }
        if let Some((file, rectifier)) = &mut by_group {
            let groups = rectifier.rectify(&commit.node, signatures)?;
            write_line(&mut line, commit, &iso, "signature_group_ids", groups.into_iter().map(u64::from));
            file.append_line(&line)?;
        }
        Ok(())
    })?;
    if let Some(table) = table {
        context.finish(table.written()?, &corrections)?;
    }
    if let Some(details) = details {
        context.finish(details.written(), &corrections)?;
    }
    if let Some((file, rectifier)) = by_group {
        let mut counts = corrections.clone();
        counts.extend(counts_of(&rectifier));
        context.finish(file.written(), &counts)?;
    }
    context.put(Artifact::JobsStats, perf_jobs_stats(&totals).as_deref(), &corrections)?;
    if totals.is_empty() {
        return Ok(());
    }
    let plots = [Artifact::JobsHistogram, Artifact::JobsHistogramSvg, Artifact::JobsHistogramPdf];
    context.put_plots(plots, &perf_jobs_histogram(&totals), &corrections)
}

fn counts_of(rectifier: &Rectifier<'_>) -> RowCounts {
    if rectifier.num_skipped() > 0 {
        let signatures = rectifier.skipped_signatures().len();
        let rows = rectifier.num_skipped();
        tracing::info!(signatures, rows, "left signatures without a group out of the rectified table");
    }
    RowCounts::from([
        ("signatures_without_a_group".to_owned(), rectifier.num_skipped()),
        ("excluded_groups".to_owned(), rectifier.num_excluded_groups() as u64),
    ])
}

/// Writes `{"revision": …, "submit_time_iso": …, "total_jobs": …, key: [ids]}`.
fn write_line(line: &mut Vec<u8>, commit: &Commit, iso: &str, key: &str, ids: impl ExactSizeIterator<Item = u64>) {
    line.clear();
    line.extend_from_slice(b"{\"revision\": ");
    match &commit.json {
        Some(json) => line.extend_from_slice(json.as_bytes()),
        None => write_str(&commit.node, line, AsciiMode::Escape),
    }
    line.extend_from_slice(
        format!(", \"submit_time_iso\": \"{iso}\", \"total_jobs\": {}, \"{key}\": ", ids.len()).as_bytes(),
    );
    write_ids(line, ids);
    line.extend_from_slice(b"}\n");
}
