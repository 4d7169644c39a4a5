//! The data of the failing signatures, by signature and by commit: `per_sig_perf_data_summary.jsonl`,
//! `per_sig_perf_data_replicates.jsonl`, `per_sig_perf_data_info.jsonl` and `per_revision_perf_data.jsonl`.

use std::collections::BTreeMap;

use crate::config::{Config, Semantics};
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::{DatasetError, with_causes};
use crate::dataset::families::durations::{GroupMinutes, JobDurations};
use crate::dataset::families::groups::{Groups, SignatureGroups};
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::promise::Promised;
use crate::dataset::write::python_float::write_repr;
use crate::model::{SignatureId, Window};
use crate::store::{CrawlIdentity, StoreError};

use super::failing::{FilteredFailing, filter_options};
use super::info::SignatureInfo;
use super::replicate_counts::ReplicateCounts;
use super::revisions::RevisionRows;
use super::rows::{FilterStats, WindowTest, write_row};
use super::series::{RowReader, State, header_of};

/// The key in the manifest of rows without a time of submission that the corrected semantics leave out.
const OUTSIDE_BY_PUSH: &str = "rows_outside_the_window_by_push";

pub(in crate::dataset::families) struct SignatureData;

impl Family for SignatureData {
    type Value = ();

    fn options(_artifact: Artifact, config: &Config, identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
        let mut options = filter_options(config);
        options.push(("window", window_of(identity).to_string()));
        options
    }

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let failing = making.value_of::<FilteredFailing>()?;
        let durations = if making.context.wants(Artifact::PerfDataInfo) {
            Some((making.value_of::<Groups>()?, making.value_of::<JobDurations>()?))
        } else {
            None
        };
        // The rows by commit are sorted in the memory of the pass.
        let pass_ended = making.pass_ended();
        making.spawn(move |context| {
            let semantics = context.options().semantics;
            let work = Work {
                context,
                signatures: failing.wait()?.signatures().into_iter().collect(),
                test: WindowTest { window: window_of(context.identity), semantics },
            };
            if work.signatures.is_empty() {
                return Ok(()); // as in the older scripts, there are no files
            }
            pass_ended.wait()?;
            let durations = match &durations {
                Some((groups, minutes)) => Some((groups.wait()?, minutes.wait()?)),
                None => None,
            };
            work.write(durations)
        })
    }
}

/// The window of these artifacts.
pub(super) fn window_of(identity: &CrawlIdentity) -> Window {
    Window { start: identity.window_start, end: identity.window_end }
}

/// True if a signature has a row. The older scripts write an empty one for a signature of another repository.
pub(super) fn has_row(state: State, semantics: Semantics) -> bool {
    state == State::Complete || (state == State::Unlisted && semantics == Semantics::Reference)
}

/// The groups, and their minutes.
type Durations<'a> = (&'a SignatureGroups, &'a GroupMinutes);

struct Work<'a> {
    context: &'a Context<'a>,
    /// The failing signatures, ascending.
    signatures: Vec<SignatureId>,
    test: WindowTest,
}

impl Work<'_> {
    /// Writes the wanted artifacts. Of a commit, the replicates come before the other rows.
    fn write(&self, durations: Option<Durations<'_>>) -> Result<(), DatasetError> {
        let Self { context, test, .. } = self;
        let wants = |artifacts: &[Artifact]| artifacts.iter().any(|artifact| context.wants(*artifact));
        let mut revisions = None;
        if context.wants(Artifact::PerfDataPerRevision) {
            match RevisionRows::open(context, test.window)? {
                Ok(rows) => revisions = Some(rows),
                Err(defect) => context.refuse(Artifact::PerfDataPerRevision, with_causes(&defect)),
            }
        }
        if wants(&[Artifact::PerfDataReplicates, Artifact::PerfDataInfo]) || revisions.is_some() {
            let counts = self.write_rows(Artifact::PerfDataReplicates, revisions.as_mut())?;
            if let Some(durations) = durations {
                self.write_info(&counts, durations)?;
            }
        }
        if context.wants(Artifact::PerfDataSummary) || revisions.is_some() {
            self.write_rows(Artifact::PerfDataSummary, revisions.as_mut())?;
        }
        revisions.map_or(Ok(()), |revisions| revisions.write(context))
    }

    /// Writes the rows of each signature, and adds them to `revisions`. Returns the number of replicates of each signature with a
    /// row.
    fn write_rows(
        &self,
        artifact: Artifact,
        mut revisions: Option<&mut RevisionRows>,
    ) -> Result<BTreeMap<SignatureId, u64>, DatasetError> {
        let Self { context, test, .. } = self;
        let replicate = artifact == Artifact::PerfDataReplicates;
        let mut reader = RowReader::new(context.store, replicate)?;
        let mut file = context.line_file(artifact)?;
        let mut counts = RowCounts::from([(OUTSIDE_BY_PUSH.to_owned(), 0)]);
        let (mut line, mut rows, mut replicates) = (Vec::new(), Vec::new(), BTreeMap::new());
        for &signature in &self.signatures {
            context.means.check_interrupted()?;
            let state = reader.state(signature);
            if let Some(key) = state.counted_as() {
                *counts.entry(key.to_owned()).or_default() += 1;
            }
            if !has_row(state, test.semantics) {
                continue;
            }
            let (mut kept, mut of_newest) = (FilterStats::default(), ReplicateCounts::default());
            rows.clear();
            for row in reader.rows(signature)?.iter().filter(|row| test.keeps(row, &mut kept)) {
                if !rows.is_empty() {
                    rows.extend_from_slice(b", ");
                }
                let start = rows.len();
                write_row(row, &mut rows).map_err(|error| damaged(signature, &error))?;
                if let Some(revisions) = &mut revisions {
                    revisions.add(row, &rows[start..], (signature, replicate))?;
                }
                if replicate {
                    of_newest.add(row);
                }
            }
            replicates.insert(signature, of_newest.of_newest());
            *counts.entry(OUTSIDE_BY_PUSH.to_owned()).or_default() += kept.dropped_by_push;
            let Some(file) = &mut file else { continue };
            line.clear();
            line.extend_from_slice(format!("{{\"signature_id\": {signature}, \"filter_stats\": ").as_bytes());
            kept.write(&mut line);
            line.extend_from_slice(b", \"perf_measurement_data\": [");
            line.extend_from_slice(&rows);
            line.extend_from_slice(b"]}\n");
            file.append_line(&line)?;
        }
        file.map_or(Ok(()), |file| context.finish(file.written(), &counts))?;
        Ok(replicates)
    }

    /// Writes the properties of each signature with a row of replicates.
    fn write_info(
        &self,
        replicates: &BTreeMap<SignatureId, u64>,
        (groups, minutes): Durations<'_>,
    ) -> Result<(), DatasetError> {
        let Some(mut file) = self.context.line_file(Artifact::PerfDataInfo)? else { return Ok(()) };
        let (mut line, mut num_without_duration) = (Vec::new(), 0);
        for (signature, num_replicates) in replicates {
            line.clear();
            let text =
                format!("{{\"signature_id\": {signature}, \"replicate_counts\": {num_replicates}, \"job_duration\": ");
            line.extend_from_slice(text.as_bytes());
            if let Some(minutes) = groups.group_of(*signature).and_then(|group| minutes.get(&group)) {
                write_repr(*minutes, &mut line);
            } else {
                num_without_duration += 1;
                line.extend_from_slice(b"null");
            }
            line.extend_from_slice(b", ");
            SignatureInfo::of(header_of(self.context.store, *signature)?.as_ref()).write(&mut line);
            line.extend_from_slice(b"}\n");
            file.append_line(&line)?;
        }
        let counts = RowCounts::from([("signatures_without_a_duration".to_owned(), num_without_duration)]);
        self.context.finish(file.written(), &counts)
    }
}

fn damaged(signature: SignatureId, error: &dyn std::fmt::Display) -> DatasetError {
    let (key, reason) = (format!("data of signature {signature}"), error.to_string());
    StoreError::Damaged { tree: "records", key, reason }.into()
}
