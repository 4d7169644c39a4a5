//! `-` in place of a file: standard input and standard output.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::terminal::ends_quietly;
use crate::Error;
use crate::dataset::write::{ArtifactError, resolve};

const DASH: &str = "-";

/// An output of a command: a file, or standard output, which gets the whole output at the end.
#[derive(Debug)]
pub(super) struct OutputPath {
    path: PathBuf,
    /// Holds the file until it is copied to standard output.
    spool: Option<TempDir>,
}

impl OutputPath {
    /// # Errors
    /// [`ArtifactError::NotAFile`] if a file cannot replace it.
    pub(super) fn of(path: &Path) -> Result<Self, ArtifactError> {
        if path.as_os_str() != DASH {
            resolve(path)?;
            return Ok(Self { path: path.to_owned(), spool: None });
        }
        let spool = spool()?;
        Ok(Self { path: spool.path().join("output"), spool: Some(spool) })
    }

    /// Where the command writes.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True for `-`.
    pub(super) fn is_stdout(&self) -> bool {
        self.spool.is_some()
    }

    /// The name for messages.
    pub(super) fn name(&self) -> String {
        if self.is_stdout() { "standard output".to_owned() } else { self.path.display().to_string() }
    }

    /// Passes the output on, if it goes to standard output.
    ///
    /// # Errors
    /// [`Error::Stdout`].
    pub(super) fn deliver(self) -> Result<(), Error> {
        if self.spool.is_none() {
            return Ok(());
        }
        let copied = File::open(&self.path).and_then(|mut file| io::copy(&mut file, &mut io::stdout().lock()));
        match copied {
            Err(error) if !ends_quietly(&error) => Err(Error::Stdout(error)),
            _ => Ok(()),
        }
    }
}

/// An input of a command: a file, or a copy of standard input.
#[derive(Debug)]
pub(super) struct InputPath {
    path: PathBuf,
    _spool: Option<TempDir>,
}

impl InputPath {
    /// # Errors
    /// [`ArtifactError`] when standard input cannot be copied.
    pub(super) fn of(path: &Path) -> Result<Self, ArtifactError> {
        if path.as_os_str() != DASH {
            return Ok(Self { path: path.to_owned(), _spool: None });
        }
        let spool = spool()?;
        let path = spool.path().join("input");
        let copied = File::options().write(true).create_new(true).open(&path);
        let copied = copied.and_then(|mut file| io::copy(&mut io::stdin().lock(), &mut file));
        copied.map_err(|source| ArtifactError::Write { path: path.clone(), source })?;
        Ok(Self { path, _spool: Some(spool) })
    }

    /// Where the command reads.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn spool() -> Result<TempDir, ArtifactError> {
    tempfile::tempdir().map_err(|source| ArtifactError::Folder { folder: std::env::temp_dir(), source })
}
