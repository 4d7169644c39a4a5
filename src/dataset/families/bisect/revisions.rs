//! `per_revision_perf_data.jsonl`: the commits of the window, each with the rows that measured it.

use std::ops::Range;

use pytext::loads::{Kind, Notation, Replaced, Value};

use crate::config::Semantics;
use crate::dataset::catalogue::{Artifact, Input};
use crate::dataset::error::DatasetError;
use crate::dataset::family::Context;
use crate::dataset::output::RowCounts;
use crate::dataset::write::json::AsciiMode;
use crate::model::{DatumRecord, SignatureId, Window};

use super::commit_graph::{CommitGraph, GraphError, for_each_commit};
use super::rows::text_field;
use super::samples::Samples;
use super::slice::cut;

/// A line is written in pieces of this length, bytes: a commit may have very many rows.
const PIECE_BYTES: usize = 1 << 20;

/// Gathers the rows of the commits of the window.
pub(super) struct RevisionRows {
    graph: CommitGraph,
    /// The positions of the commits of the window.
    slice: Range<u32>,
    samples: Samples,
    /// Rows of revisions that are not in the slice.
    num_outside: u64,
    text: Vec<u8>,
}

impl RevisionRows {
    /// Reads the commits. The inner error is a defect of their file.
    ///
    /// # Errors
    /// [`DatasetError`] if the temporary file cannot be made.
    pub(super) fn open(context: &Context<'_>, window: Window) -> Result<Result<Self, GraphError>, DatasetError> {
        let artifact = Artifact::PerfDataPerRevision;
        let path =
            context.config.commits_file().ok_or_else(|| DatasetError::not_configured(artifact, Input::Commits))?;
        let (graph, slice) = match Self::read(&path, context.options().semantics, window) {
            Ok(read) => read,
            Err(defect) => return Ok(Err(defect)),
        };
        let samples = Samples::create_in(context.folder(), context.means.sorter())?;
        Ok(Ok(Self { graph, slice, samples, num_outside: 0, text: Vec::new() }))
    }

    fn read(
        path: &std::path::Path,
        semantics: Semantics,
        window: Window,
    ) -> Result<(CommitGraph, Range<u32>), GraphError> {
        let graph = CommitGraph::read(path, semantics)?;
        if let Some(line) = graph.line_with_data {
            return Err(GraphError::HasData { path: graph.path, line });
        }
        let [start, end] =
            [window.start, window.end].map(|bound| u32::try_from(cut(&graph.dates, bound)).unwrap_or(u32::MAX));
        if end < start {
            return Err(GraphError::Reversed(graph.path));
        }
        Ok((graph, start..end))
    }

    /// Adds a row of data with its JSON.
    ///
    /// # Errors
    /// [`DatasetError`] if it cannot be written.
    pub(super) fn add(
        &mut self,
        row: &DatumRecord,
        json: &[u8],
        (signature, replicate): (SignatureId, bool),
    ) -> Result<(), DatasetError> {
        let position = match (row.revision(), row) {
            (Some(revision), _) => self.graph.position_of(revision),
            (None, DatumRecord::Irregular(datum)) => {
                text_field(&datum.raw, "revision").and_then(|revision| self.graph.position(&revision))
            }
            (None, DatumRecord::Regular(_)) => None,
        };
        let Some(position) = position.filter(|position| self.slice.contains(position)) else {
            self.num_outside += 1;
            return Ok(());
        };
        self.text.clear();
        self.text.extend_from_slice(json.strip_suffix(b"}").unwrap_or(json));
        let tail = format!(", \"signature_id\": {signature}, \"replicate\": {replicate}}}");
        self.text.extend_from_slice(tail.as_bytes());
        self.samples.add(position, &self.text)
    }

    /// Writes the artifact.
    ///
    /// # Errors
    /// [`DatasetError`] if a file cannot be read or written.
    pub(super) fn write(self, context: &Context<'_>) -> Result<(), DatasetError> {
        let Self { graph, slice, samples, num_outside, .. } = self;
        let Some(mut file) = context.line_file(Artifact::PerfDataPerRevision)? else { return Ok(()) };
        let notation = match context.options().semantics {
            Semantics::Reference => Notation::Python,
            Semantics::Corrected => Notation::Standard,
        };
        let (mut samples, mut replaced) = (samples.finish()?, Replaced::default());
        let (mut line, mut next) = (Vec::new(), 0);
        for_each_commit::<DatasetError>(&graph.path, |_, commit| {
            let position = next;
            next += 1;
            if !slice.contains(&position) {
                return Ok(());
            }
            context.means.check_interrupted()?;
            line.clear();
            write_commit(commit, notation, &mut replaced, &mut line);
            let mut is_first = true;
            while let Some(row) = samples.next_of(position)? {
                if !std::mem::take(&mut is_first) {
                    line.extend_from_slice(b", ");
                }
                line.extend_from_slice(row);
                if line.len() >= PIECE_BYTES {
                    file.append(&line)?;
                    line.clear();
                }
            }
            line.extend_from_slice(b"]}\n");
            file.append_line(&line)
        })?;
        let mut counts = RowCounts::from([
            ("rows_of_other_commits".to_owned(), num_outside),
            ("commits_lines_skipped".to_owned(), graph.num_skipped),
            ("commits_with_unknown_parents".to_owned(), graph.num_unknown_parents),
        ]);
        let replaced = [("half_surrogates", replaced.surrogates), ("numbers_not_finite", replaced.numbers)];
        let replaced = replaced.into_iter().filter(|(_, num)| notation == Notation::Standard && *num > 0);
        counts.extend(replaced.map(|(key, num)| (key.to_owned(), num)));
        context.finish(file.written(), &counts)
    }
}

/// Appends the members of a commit without its message, and the beginning of the list of its rows.
fn write_commit(commit: Value<'_>, notation: Notation, replaced: &mut Replaced, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Kind::Object(entries) = commit.kind() {
        for (key, value) in entries.filter(|(key, _)| key.to_str() != Some("desc")) {
            key.dumps(out, AsciiMode::Escape, notation, replaced);
            out.extend_from_slice(b": ");
            value.dumps(out, AsciiMode::Escape, notation, replaced);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(b"\"perf_measurement_data\": [");
}
