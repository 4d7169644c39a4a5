//! The files of one reduction: begun, written row by row, finished, and described for the manifest.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use crate::dataset::write::csv::{CsvError, Dialect, RowWriter};
use crate::dataset::write::{ArtifactEntry, ArtifactFile, Completing, Finished};

use crate::dataset::{Artifact, ReduceError};

/// Counts for the manifest: rows that a correction touched, rows left out.
pub(crate) type RowCounts = BTreeMap<String, u64>;

/// The outputs of a reduction, not yet published.
#[derive(Debug, Default)]
pub(crate) struct Outputs(Vec<Output>);

/// An artifact whose rows are all written, on its way to the disk.
#[derive(Debug)]
struct Output {
    artifact: Artifact,
    file: Completing,
    rows: Option<u64>,
    counts: RowCounts,
}

/// The outputs of a reduction, on the disk.
#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    pub(crate) finished: Vec<Finished>,
    /// Rows, length, digest and counts; inputs are added when the manifest is put together.
    pub(crate) entries: BTreeMap<Artifact, ArtifactEntry>,
}

impl Outputs {
    /// Finishes a file of lines or of any bytes.
    pub(crate) fn finish(
        &mut self,
        artifact: Artifact,
        file: ArtifactFile,
        rows: Option<u64>,
        counts: RowCounts,
    ) -> Result<(), ReduceError> {
        self.0.push(Output { artifact, file: file.complete()?, rows, counts });
        Ok(())
    }

    /// Puts those of another part of the reduction behind these.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Waits until everything is on the disk.
    pub(crate) fn on_disk(self) -> Result<OnDisk, ReduceError> {
        let mut on_disk = OnDisk::default();
        for Output { artifact, file, rows, counts } in self.0 {
            let finished = file.wait()?;
            let entry = ArtifactEntry {
                rows,
                bytes: finished.bytes,
                sha256: finished.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
                schema_version: artifact.schema_version(),
                inputs: BTreeMap::new(),
                counts,
            };
            on_disk.entries.insert(artifact, entry);
            on_disk.finished.push(finished);
        }
        Ok(on_disk)
    }

    /// Writes a small artifact at once.
    pub(crate) fn put(
        &mut self,
        folder: &Path,
        artifact: Artifact,
        bytes: &[u8],
        counts: RowCounts,
    ) -> Result<(), ReduceError> {
        let mut lines = LineFile::create(folder, artifact)?;
        lines.append(bytes)?;
        self.finish(artifact, lines.file, None, counts)
    }
}

/// A file that is written as bytes.
#[derive(Debug)]
pub(crate) struct LineFile {
    file: ArtifactFile,
    rows: u64,
}

impl LineFile {
    pub(crate) fn create(folder: &Path, artifact: Artifact) -> Result<Self, ReduceError> {
        Ok(Self { file: ArtifactFile::create(folder, artifact.file_name())?, rows: 0 })
    }

    /// Appends bytes that are no row of their own.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), ReduceError> {
        let path = self.file.path().to_owned();
        self.file.write_all(bytes).map_err(|source| ReduceError::write(path, source))
    }

    /// Appends whole lines without copying them; see [`ArtifactFile::write_block`].
    pub(crate) fn append_block(&mut self, lines: &mut Vec<u8>, rows: u64) -> Result<(), ReduceError> {
        self.rows += rows;
        let path = self.file.path().to_owned();
        self.file.write_block(lines).map_err(|source| ReduceError::write(path, source))
    }

    /// Appends a line; `line` ends with its line break.
    pub(crate) fn append_line(&mut self, line: &[u8]) -> Result<(), ReduceError> {
        self.rows += 1;
        self.append(line)
    }

    pub(crate) fn finish(
        self,
        outputs: &mut Outputs,
        artifact: Artifact,
        counts: RowCounts,
    ) -> Result<(), ReduceError> {
        outputs.finish(artifact, self.file, Some(self.rows), counts)
    }
}

/// A CSV file.
pub(crate) struct CsvFile {
    rows: RowWriter<ArtifactFile>,
    path: std::path::PathBuf,
}

impl CsvFile {
    pub(crate) fn create(
        folder: &Path,
        artifact: Artifact,
        dialect: Dialect,
        header: &[&str],
    ) -> Result<Self, ReduceError> {
        let file = ArtifactFile::create(folder, artifact.file_name())?;
        let path = file.path().to_owned();
        let mut csv = Self { rows: RowWriter::new(file, dialect), path };
        csv.write_row(header)?;
        Ok(csv)
    }

    pub(crate) fn write_row(&mut self, fields: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), ReduceError> {
        self.rows.write_row(fields).map_err(|source| csv_error(&self.path, source))
    }

    /// Rows so far, without the header.
    pub(crate) fn num_rows(&self) -> u64 {
        self.rows.num_rows().saturating_sub(1)
    }

    pub(crate) fn finish(
        self,
        outputs: &mut Outputs,
        artifact: Artifact,
        counts: RowCounts,
    ) -> Result<(), ReduceError> {
        let rows = self.num_rows();
        let file = self.rows.into_inner().map_err(|source| csv_error(&self.path, source))?;
        outputs.finish(artifact, file, Some(rows), counts)
    }
}

fn csv_error(path: &Path, source: CsvError) -> ReduceError {
    ReduceError::write(path.to_owned(), std::io::Error::other(source))
}
