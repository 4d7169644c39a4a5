//! The revisions of the window with the signatures that ran on them: `perf_jobs_per_revision*`, `perf_jobs_stats.json`.

pub mod rectified;

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::ArtifactsConfig;
use crate::dataset::write::csv::Dialect;
use crate::model::{FrameworkId, SignatureId};

use crate::dataset::commits::isoformat;
use crate::dataset::counts::Counts;
use crate::dataset::families::coverage::rectified::{OnUngrouped, Rectifier};
use crate::dataset::families::groups::SignatureGroups;
use crate::dataset::lookups::{CommitTable, FirstCovered, SignatureTable};
use crate::dataset::output::{CsvFile, LineFile, Outputs, RowCounts};
use crate::dataset::pass::external_sort::SortedPairs;
use crate::dataset::summary_stats::{perf_jobs_histogram, perf_jobs_stats};
use crate::dataset::{Artifact, ReduceError};

/// What a row of the revision table is made from.
pub(crate) struct Row {
    /// Its place in [`CommitTable::commits`].
    pub(crate) rank: u32,
    pub(crate) signatures: Vec<SignatureId>,
}

/// The busiest revision: the first row with the most jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Busiest {
    pub(crate) node: String,
    pub(crate) total_jobs: u64,
}

/// What the table of revisions is made from.
pub(crate) struct CoverageInputs<'a> {
    pub(crate) commits: &'a CommitTable,
    pub(crate) first_covered: &'a FirstCovered,
    pub(crate) pairs: SortedPairs,
    pub(crate) num_fractions: u64,
    /// For the rectified table.
    pub(crate) groups: Option<&'a SignatureGroups>,
    pub(crate) signatures: Option<&'a SignatureTable>,
}

/// Walks over the table of revisions in its order.
pub(crate) fn rows(
    inputs: CoverageInputs<'_>,
    mut take: impl FnMut(Row) -> Result<(), ReduceError>,
) -> Result<(), ReduceError> {
    let sorting = |source| ReduceError::Sort { source };
    let mut pairs = inputs.pairs.peekable();
    let commits = &inputs.commits.commits;
    let mut of_one_date: Vec<Row> = Vec::new();
    for (rank, commit) in (0_u32..).zip(commits) {
        let mut signatures = Vec::new();
        while let Some((_, signature)) = pairs
            .next_if(|pair| pair.as_ref().map_or(true, |(at, _)| *at == u64::from(rank)))
            .transpose()
            .map_err(sorting)?
        {
            signatures.push(SignatureId(signature));
        }
        of_one_date.push(Row { rank, signatures });
        let next_date = commits.get(rank as usize + 1).map(|next| next.date);
        if next_date != Some(commit.date) {
            of_one_date.sort_by_key(|row| inputs.first_covered.key(row.rank));
            of_one_date.drain(..).try_for_each(&mut take)?;
        }
    }
    Ok(())
}

/// Writes what is wanted of the table of revisions; returns the busiest one.
pub(crate) fn reduce_coverage(
    folder: &Path,
    config: &ArtifactsConfig,
    wanted: &BTreeSet<Artifact>,
    inputs: CoverageInputs<'_>,
    outputs: &mut Outputs,
) -> Result<Option<Busiest>, ReduceError> {
    let commits = inputs.commits;
    let excluded: BTreeSet<FrameworkId> = config.excluded_framework_ids.iter().copied().map(FrameworkId).collect();
    let line_file =
        |artifact: Artifact| wanted.contains(&artifact).then(|| LineFile::create(folder, artifact)).transpose();
    let mut table = wanted
        .contains(&Artifact::JobsPerRevision)
        .then(|| {
            let header = ["revision", "submit_time_iso", "total_jobs"];
            CsvFile::create(folder, Artifact::JobsPerRevision, Dialect::CsvModule, &header)
        })
        .transpose()?;
    let mut details = line_file(Artifact::JobsPerRevisionDetails)?;
    let mut rectified_file = line_file(Artifact::RectifiedDetails)?;
    let mut rectifier = match (&rectified_file, inputs.groups, inputs.signatures) {
        (Some(_), Some(groups), Some(signatures)) => {
            let on_ungrouped = if config.strict { OnUngrouped::Fail } else { OnUngrouped::Skip };
            Some(Rectifier::new(groups, &signatures.frameworks, &excluded, on_ungrouped))
        }
        _ => None,
    };
    let num_fractions = inputs.num_fractions;
    let mut totals = Counts::default();
    let mut busiest: Option<Busiest> = None;
    let mut line = Vec::new();
    rows(inputs, |row| {
        let commit = &commits.commits[row.rank as usize];
        let iso = isoformat(commit.date);
        let total_jobs = row.signatures.len() as u64;
        totals.add(i64::try_from(total_jobs).unwrap_or(i64::MAX));
        if busiest.as_ref().is_none_or(|busiest| total_jobs > busiest.total_jobs) {
            busiest = Some(Busiest { node: commit.node.clone(), total_jobs });
        }
        if let Some(table) = &mut table {
            table.write_row([commit.node.as_str(), &iso, &total_jobs.to_string()])?;
        }
        if let Some(details) = &mut details {
            write_line(&mut line, &commit.node, &iso, "signature_ids", row.signatures.iter().map(|id| id.0));
            details.append_line(&line)?;
        }
        if let (Some(file), Some(rectifier)) = (&mut rectified_file, &mut rectifier) {
            let groups = rectifier.rectify(&commit.node, &row.signatures)?;
            write_line(&mut line, &commit.node, &iso, "signature_group_ids", groups.into_iter().map(u64::from));
            file.append_line(&line)?;
        }
        Ok(())
    })?;
    let corrections = || RowCounts::from([("jobs_with_a_fraction_of_a_second".to_owned(), num_fractions)]);
    if let Some(table) = table {
        table.finish(outputs, Artifact::JobsPerRevision, corrections())?;
    }
    if let Some(details) = details {
        details.finish(outputs, Artifact::JobsPerRevisionDetails, corrections())?;
    }
    if let (Some(file), Some(rectifier)) = (rectified_file, rectifier) {
        if rectifier.num_skipped() > 0 {
            let signatures = rectifier.skipped_signatures().len();
            tracing::info!(
                signatures,
                rows = rectifier.num_skipped(),
                "signatures without a group left out of the rectified table"
            );
        }
        let mut counts = corrections();
        counts.insert("signatures_without_a_group".to_owned(), rectifier.num_skipped());
        counts.insert("excluded_groups".to_owned(), rectifier.num_excluded_groups() as u64);
        file.finish(outputs, Artifact::RectifiedDetails, counts)?;
    }
    if wanted.contains(&Artifact::JobsStats)
        && let Some(document) = perf_jobs_stats(&totals)
    {
        outputs.put(folder, Artifact::JobsStats, &document, corrections())?;
    }
    if wanted.contains(&Artifact::JobsHistogram) {
        let png = perf_jobs_histogram(&totals).render().map_err(|source| ReduceError::Plot { source })?;
        outputs.put(folder, Artifact::JobsHistogram, &png, corrections())?;
    }
    Ok(busiest.filter(|busiest| busiest.total_jobs > 0))
}

/// `{"revision": …, "submit_time_iso": …, "total_jobs": …, key: [ids]}`
fn write_line(line: &mut Vec<u8>, node: &str, iso: &str, key: &str, ids: impl ExactSizeIterator<Item = u64>) {
    use crate::dataset::write::json::{AsciiMode, write_str};
    line.clear();
    line.extend_from_slice(b"{\"revision\": ");
    write_str(node, line, AsciiMode::Escape);
    line.extend_from_slice(
        format!(", \"submit_time_iso\": \"{iso}\", \"total_jobs\": {}, \"{key}\": ", ids.len()).as_bytes(),
    );
    write_ids(line, ids);
    line.extend_from_slice(b"}\n");
}

/// `[1, 2]`
pub(crate) fn write_ids(line: &mut Vec<u8>, ids: impl Iterator<Item = u64>) {
    let mut buffer = itoa::Buffer::new();
    line.push(b'[');
    for (number, id) in ids.enumerate() {
        if number > 0 {
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(buffer.format(id).as_bytes());
    }
    line.push(b']');
}
