//! Owns the files of one reduction until they are published.
//!
//! In: rows and lines from the families. Out: finished files under temporary names, with their manifest entries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use crate::dataset::write::csv::{CsvError, Dialect, RowWriter};
use crate::dataset::write::{ArtifactEntry, ArtifactFile, Completing, Finished, Manifest, file_digest};

use super::catalogue::Artifact;
use super::error::DatasetError;

/// Counts for the manifest: rows that a correction changed, and rows left out.
pub(crate) type RowCounts = BTreeMap<String, u64>;

/// Files whose rows are all written, and that are being flushed to disk.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    files: Vec<Output>,
    refused: BTreeMap<Artifact, String>,
}

#[derive(Debug)]
pub(crate) struct Output {
    artifact: Artifact,
    file: Completing,
    rows: Option<u64>,
    counts: RowCounts,
}

/// Files that are durable, but not published.
#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    pub(crate) finished: Vec<Finished>,
    /// Rows, length, digest and counts of each; the manifest adds the inputs.
    pub(crate) entries: BTreeMap<Artifact, ArtifactEntry>,
    /// The artifacts that cannot be made, with the defect of an input.
    pub(crate) refused: BTreeMap<Artifact, String>,
}

impl Outputs {
    /// Takes in a file on its way to the disk.
    pub(crate) fn add(&mut self, output: Output) {
        self.files.push(output);
    }

    /// Notes why an artifact cannot be made.
    pub(crate) fn refuse(&mut self, artifact: Artifact, reason: String) {
        self.refused.insert(artifact, reason);
    }

    /// Waits until all files are durable.
    pub(crate) fn on_disk(self) -> Result<OnDisk, DatasetError> {
        let mut on_disk = OnDisk { refused: self.refused, ..OnDisk::default() };
        for Output { artifact, file, rows, counts } in self.files {
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
}

impl OnDisk {
    /// Gives up the files that have the bytes of those in `folder`, which `before` describes; returns their artifacts. So an input
    /// without an effect on an artifact leaves its file as it is.
    pub(crate) fn give_up_same(&mut self, before: Option<&Manifest>, folder: &Path) -> BTreeSet<Artifact> {
        let Some(before) = before else { return BTreeSet::new() };
        let mut same: BTreeSet<Artifact> = self.entries.keys().copied().collect();
        same.retain(|artifact| {
            let name = artifact.file_name();
            let is_described =
                before.artifacts.get(name).is_some_and(|entry| entry.sha256 == self.entries[artifact].sha256);
            let file = self.finished.iter().find(|file| file.name() == name).filter(|_| is_described);
            file.is_some_and(|file| file_digest(&folder.join(name)).is_ok_and(|digest| digest == file.digest()))
        });
        self.finished.retain(|file| !same.iter().any(|artifact| artifact.file_name() == file.name()));
        same
    }
}

/// A file whose rows are all written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) artifact: Artifact,
    pub(crate) file: ArtifactFile,
    /// `None` for a file without rows.
    pub(crate) rows: Option<u64>,
}

/// An artifact that is written as lines, or as one document.
impl Written {
    /// Ends the file, and leaves the rest to its writing thread.
    ///
    /// # Errors
    /// [`DatasetError::Artifact`] when it could not be written so far.
    pub(crate) fn complete(self, counts: RowCounts) -> Result<Output, DatasetError> {
        let Self { artifact, file, rows } = self;
        Ok(Output { artifact, file: file.complete()?, rows, counts })
    }
}

#[derive(Debug)]
pub(crate) struct LineFile {
    artifact: Artifact,
    file: ArtifactFile,
    rows: u64,
}

impl LineFile {
    pub(crate) fn create(folder: &Path, artifact: Artifact) -> Result<Self, DatasetError> {
        Ok(Self { artifact, file: ArtifactFile::create(folder, artifact.file_name())?, rows: 0 })
    }

    /// Appends bytes without counting a row.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), DatasetError> {
        let path = self.file.path().to_owned();
        self.file.write_all(bytes).map_err(|source| DatasetError::write(path, source))
    }

    /// Appends whole lines without copying them; see [`ArtifactFile::write_block`].
    pub(crate) fn append_block(&mut self, lines: &mut Vec<u8>, rows: u64) -> Result<(), DatasetError> {
        self.rows += rows;
        let path = self.file.path().to_owned();
        self.file.write_block(lines).map_err(|source| DatasetError::write(path, source))
    }

    /// Appends one row; `line` includes its line break.
    pub(crate) fn append_line(&mut self, line: &[u8]) -> Result<(), DatasetError> {
        self.rows += 1;
        self.append(line)
    }

    pub(crate) fn written(self) -> Written {
        Written { artifact: self.artifact, file: self.file, rows: Some(self.rows) }
    }

    /// As [`LineFile::written`], for a document, which has no rows.
    pub(crate) fn written_whole(self) -> Written {
        Written { rows: None, ..self.written() }
    }
}

/// An artifact that is written as CSV.
pub(crate) struct CsvFile {
    artifact: Artifact,
    rows: RowWriter<ArtifactFile>,
    path: std::path::PathBuf,
}

impl CsvFile {
    pub(crate) fn create(
        folder: &Path,
        artifact: Artifact,
        dialect: Dialect,
        header: &[&str],
    ) -> Result<Self, DatasetError> {
        let file = ArtifactFile::create(folder, artifact.file_name())?;
        let path = file.path().to_owned();
        let mut csv = Self { artifact, rows: RowWriter::new(file, dialect), path };
        csv.write_row(header)?;
        Ok(csv)
    }

    pub(crate) fn write_row(&mut self, fields: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), DatasetError> {
        self.rows.write_row(fields).map_err(|source| csv_error(&self.path, source))
    }

    /// Rows so far, without the header.
    fn num_rows(&self) -> u64 {
        self.rows.num_rows().saturating_sub(1)
    }

    pub(crate) fn written(self) -> Result<Written, DatasetError> {
        let rows = Some(self.num_rows());
        let file = self.rows.into_inner().map_err(|source| csv_error(&self.path, source))?;
        Ok(Written { artifact: self.artifact, file, rows })
    }
}

fn csv_error(path: &Path, source: CsvError) -> DatasetError {
    DatasetError::write(path.to_owned(), std::io::Error::other(source))
}
