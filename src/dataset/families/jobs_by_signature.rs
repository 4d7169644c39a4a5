//! Writes `perf_jobs_by_signature.jsonl`: one line with the data of each signature.

use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Family, Making};
use crate::dataset::output::{LineFile, RowCounts};
use crate::dataset::pass::signatures::Part;
use crate::dataset::pass::{Chunk, Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::promise::Promised;
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::SignatureId;
use crate::store::columns::{ColumnSet, ColumnsError, PythonText};

/// Buffers kept for reuse; a block's text is large.
const MAX_SPARE: usize = 4;

pub(crate) struct JobsBySignature;

impl Family for JobsBySignature {
    type Value = ();

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let file = LineFile::create(making.context.folder(), Artifact::JobsBySignature)?;
        let (used, spare) = flume::bounded(MAX_SPARE);
        making.reduce(LineReducer { file, used, spare }, |file, context| {
            context.finish(file.written(), &RowCounts::new())
        })
    }
}

struct LineReducer {
    file: LineFile,
    /// Returns empty buffers to the workers.
    used: flume::Sender<Vec<u8>>,
    spare: flume::Receiver<Vec<u8>>,
}

struct LineBlock {
    lines: Vec<u8>,
    num_lines: u64,
}

impl Reducer for LineReducer {
    type Block = LineBlock;
    type Worker = LineWriter;
    type Value = LineFile;

    fn columns(&self) -> ColumnSet {
        ColumnSet::ALL
    }

    fn worker(&self) -> LineWriter {
        LineWriter { spare: self.spare.clone(), is_first: true }
    }

    fn take(&mut self, mut block: LineBlock) -> Result<(), DatasetError> {
        self.file.append_block(&mut block.lines, block.num_lines)?;
        block.lines.clear();
        let _enough_are_spare = self.used.try_send(block.lines);
        Ok(())
    }

    fn finish(self, _workers: Vec<LineWriter>) -> Result<LineFile, DatasetError> {
        Ok(self.file)
    }
}

struct LineWriter {
    spare: flume::Receiver<Vec<u8>>,
    /// The next datum is the first of its line.
    is_first: bool,
}

impl ReducerWorker for LineWriter {
    type Block = LineBlock;

    fn open(&mut self, signatures: &[Part]) -> LineBlock {
        let mut lines = self.spare.try_recv().unwrap_or_default();
        lines.reserve_exact(usual_len(signatures));
        LineBlock { lines, num_lines: 0 }
    }

    fn begin_signature(&mut self, signature: SignatureId, block: &mut LineBlock) {
        block.lines.extend_from_slice(b"{\"signature_id\": ");
        block.lines.extend_from_slice(itoa::Buffer::new().format(signature.0).as_bytes());
        block.lines.extend_from_slice(b", \"jobs\": [");
        self.is_first = true;
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, block: &mut LineBlock) -> Result<(), DatasetError> {
        for at in 0..chunk.columns.len() {
            if !std::mem::take(&mut self.is_first) {
                block.lines.extend_from_slice(b", ");
            }
            let written = chunk.columns.write_python(at, |push| chunk.revisions.get(&push).copied(), &mut block.lines);
            match written {
                PythonText::Written => {}
                PythonText::UnknownRevision(push_id) => {
                    return Err(chunk.damaged(&ColumnsError::UnknownRevision { push_id }));
                }
                PythonText::Irregular(raw) => {
                    dumps(raw, &mut block.lines, AsciiMode::Escape).map_err(|source| chunk.damaged(&source))?;
                }
            }
        }
        Ok(())
    }

    fn end_signature(&mut self, _jobs: &mut SignatureJobs, block: &mut LineBlock) -> Result<(), DatasetError> {
        block.lines.extend_from_slice(b"]}\n");
        block.num_lines += 1;
        Ok(())
    }
}

/// Estimated length of the lines of these signatures, bytes.
fn usual_len(signatures: &[Part]) -> usize {
    const LINE: usize = 64;
    const DATUM: usize = 270;
    let data = signatures.iter().map(|part| part.num_data as usize).sum::<usize>();
    signatures.len() * LINE + data * DATUM
}
