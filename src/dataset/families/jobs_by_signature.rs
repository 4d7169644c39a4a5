//! `perf_jobs_by_signature.jsonl`: every signature's data, a line each.

use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Family, Making, Promised};
use crate::dataset::output::{LineFile, RowCounts};
use crate::dataset::pass::signatures::Part;
use crate::dataset::pass::{Chunk, Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::SignatureId;
use crate::store::columns::{ColumnSet, ColumnsError, PythonText};

/// Blocks whose memory is kept for the next ones: the text of a block is the largest thing about it.
const MAX_SPARE: usize = 16;

pub(crate) struct JobsBySignature;

impl Family for JobsBySignature {
    type Value = ();

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let file = LineFile::create(making.context.folder(), Artifact::JobsBySignature)?;
        let (used, spare) = flume::bounded(MAX_SPARE);
        Ok(making
            .reduce(Lines { file, used, spare }, |file, context| context.finish(file.written(), &RowCounts::new())))
    }
}

/// Writes the lines.
struct Lines {
    file: LineFile,
    /// Read by the workers; emptied texts whose memory they fill again.
    used: flume::Sender<Vec<u8>>,
    spare: flume::Receiver<Vec<u8>>,
}

/// The lines of a block.
struct Text {
    lines: Vec<u8>,
    num_lines: u64,
}

impl Reducer for Lines {
    type Block = Text;
    type Worker = LineWriter;
    type Value = LineFile;

    fn columns(&self) -> ColumnSet {
        ColumnSet::ALL
    }

    fn worker(&self) -> LineWriter {
        LineWriter { spare: self.spare.clone(), is_first: true }
    }

    fn take(&mut self, mut text: Text) -> Result<(), DatasetError> {
        self.file.append_block(&mut text.lines, text.num_lines)?;
        text.lines.clear();
        let _enough_are_spare = self.used.try_send(text.lines);
        Ok(())
    }

    fn finish(self, _workers: Vec<LineWriter>) -> Result<LineFile, DatasetError> {
        Ok(self.file)
    }
}

struct LineWriter {
    spare: flume::Receiver<Vec<u8>>,
    /// No datum of the line is written.
    is_first: bool,
}

impl ReducerWorker for LineWriter {
    type Block = Text;

    fn open(&mut self, signatures: &[Part]) -> Text {
        let mut lines = self.spare.try_recv().unwrap_or_default();
        lines.reserve(usual_len(signatures));
        Text { lines, num_lines: 0 }
    }

    fn begin_signature(&mut self, signature: SignatureId, text: &mut Text) {
        text.lines.extend_from_slice(b"{\"signature_id\": ");
        text.lines.extend_from_slice(itoa::Buffer::new().format(signature.0).as_bytes());
        text.lines.extend_from_slice(b", \"jobs\": [");
        self.is_first = true;
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, text: &mut Text) -> Result<(), DatasetError> {
        for at in 0..chunk.columns.len() {
            if !std::mem::take(&mut self.is_first) {
                text.lines.extend_from_slice(b", ");
            }
            let written = chunk.columns.write_python(at, |push| chunk.revisions.get(&push).copied(), &mut text.lines);
            match written {
                PythonText::Written => {}
                PythonText::UnknownRevision(push_id) => {
                    return Err(chunk.damaged(&ColumnsError::UnknownRevision { push_id }));
                }
                PythonText::Irregular(raw) => {
                    dumps(raw, &mut text.lines, AsciiMode::Escape).map_err(|source| chunk.damaged(&source))?;
                }
            }
        }
        Ok(())
    }

    fn end_signature(&mut self, _jobs: &mut SignatureJobs, text: &mut Text) -> Result<(), DatasetError> {
        text.lines.extend_from_slice(b"]}\n");
        text.num_lines += 1;
        Ok(())
    }
}

/// What the lines of these signatures take, about, in bytes.
fn usual_len(signatures: &[Part]) -> usize {
    const LINE: usize = 64;
    const DATUM: usize = 270;
    let data = signatures.iter().map(|part| part.num_data as usize).sum::<usize>();
    signatures.len() * LINE + data * DATUM
}
