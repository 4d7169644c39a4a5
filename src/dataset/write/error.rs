//! The error of an output.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::actor::advice;

/// An output could not be written. Exit code 4, [`ArtifactError::Folder`] 2, [`ArtifactError::Panicked`] 1.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// The folder cannot be made or written to.
    #[error("cannot write to the folder {}; {}", folder.display(), advice(source))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The output is not a regular file, or a link to one.
    #[error("{} is {kind} and cannot be replaced by a file; give another file, or - for standard output", path.display())]
    NotAFile {
        /// As it was given.
        path: PathBuf,
        /// With its article.
        kind: &'static str,
    },
    /// A file cannot be written.
    #[error("cannot write {}; the file that was there before is unchanged; {}", path.display(), advice(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread that writes panicked.
    #[error("a thread that writes {} panicked; please report this with the lines above", path.display())]
    Panicked {
        /// The file.
        path: PathBuf,
    },
    /// The system refused a thread.
    #[error("cannot start a thread that writes; raise the limit of processes (`ulimit -u`)")]
    Thread(#[source] io::Error),
}

/// In the place of an error of the system: the thread that writes panicked.
#[derive(Debug, Error)]
#[error("the writing thread panicked")]
pub(super) struct WriterPanicked;

impl ArtifactError {
    /// The error of a file that `source` kept from being written.
    pub(super) fn of_write(path: PathBuf, source: io::Error) -> Self {
        if source.get_ref().and_then(|inner| inner.downcast_ref::<WriterPanicked>()).is_some() {
            return Self::Panicked { path };
        }
        Self::Write { path, source }
    }
}
