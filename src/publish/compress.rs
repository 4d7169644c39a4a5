//! Copies artifacts into the dataset: CSV and JSONL compressed with gzip, everything else as it is.
//!
//! gzip rather than zstd: pandas, Python's standard library, DuckDB, polars and Hugging Face's `datasets` all read it
//! without another package. The stream names no time and no file, so that the same artifact gives the same bytes.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::error::PublishError;
use crate::actor::Shutdown;
use crate::dataset::DatasetError;
use crate::dataset::write::{ArtifactFile, Finished};

/// Read and compressed at once.
const BLOCK_BYTES: usize = 1 << 20;

/// The name of an artifact's copy.
pub(super) fn copy_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, "csv" | "jsonl")) => format!("{name}.gz"),
        _ => name.to_owned(),
    }
}

/// Writes the copy of the file at `from` into `folder`, under a temporary name.
pub(super) fn copy(from: &Path, folder: &Path, shutdown: &Shutdown) -> Result<Finished, PublishError> {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let copy_name = copy_name(&name);
    let mut file = ArtifactFile::create(folder, &copy_name)?;
    let copied = if copy_name == name {
        pump(from, &mut file, shutdown)
    } else {
        let mut encoder = GzBuilder::new().write(&mut file, Compression::default());
        pump(from, &mut encoder, shutdown).and_then(|whole| encoder.finish().map(|_| whole))
    };
    match copied {
        Ok(true) => Ok(file.finish()?),
        Ok(false) => Err(DatasetError::Interrupted.into()),
        Err(met) => Err(file.explain(met).into()),
    }
}

/// Writes all of a file to `to`; false if the process is to end.
fn pump(from: &Path, mut to: impl Write, shutdown: &Shutdown) -> io::Result<bool> {
    let mut from = File::open(from)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            return Ok(true);
        }
        if shutdown.is_draining() {
            return Ok(false);
        }
        to.write_all(&block[..read])?;
    }
}
