//! Errors of making `all_commits.jsonl`, with advice.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::actor::BlockingError;
use crate::config::CommitsFrom;
use crate::dataset::write::ArtifactError;
use crate::fetch::{AskError, FetchError};
use crate::model::Timestamp;
use crate::source::SourceError;

/// The commits could not be fetched; the file is unchanged.
#[derive(Debug, Error)]
pub enum FetchCommitsError {
    /// The folder holds no repository.
    #[error(
        "{} is not a clone: it contains neither .hg nor .git; give the folder that `hg clone` or `git clone` made",
        folder.display()
    )]
    NotAClone {
        /// The folder that was given.
        folder: PathBuf,
    },
    /// The file was made by another program, or changed since it was made.
    #[error(
        "{} exists, and perfharvest did not make it or it was changed since; it is not overwritten; give another file with \
         --output, or move this one, then run the same command again",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The program that reads the clone cannot be started.
    #[error("cannot start `{program}` to read the clone in {}; install {package}, and check that it is on PATH", folder.display())]
    NotInstalled {
        /// `hg` or `git`.
        program: &'static str,
        /// Package to install.
        package: &'static str,
        /// Folder of the clone.
        folder: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// The program ended with an error.
    #[error("`{program} log` in {} failed ({status}): {said}", folder.display())]
    ProgramFailed {
        /// `hg` or `git`.
        program: &'static str,
        /// Folder of the clone.
        folder: PathBuf,
        /// Exit status.
        status: String,
        /// End of the error output, without control characters.
        said: String,
    },
    /// The program's output is not a log.
    #[error("`{program} log` in {} printed unexpected output: {found}; check that {program} is a recent version", folder.display())]
    ProgramOutput {
        /// `hg` or `git`.
        program: &'static str,
        /// Folder of the clone.
        folder: PathBuf,
        /// The unexpected output, without control characters.
        found: String,
    },
    /// The program's output cannot be read.
    #[error("cannot read the output of `{program} log` in {}", folder.display())]
    ProgramPipe {
        /// `hg` or `git`.
        program: &'static str,
        /// Folder of the clone.
        folder: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// A server did not answer, or not with commits.
    #[error("cannot fetch {what} from {server}; {advice}")]
    Unanswered {
        /// Name of the page or list.
        what: String,
        /// Address of the server.
        server: String,
        /// Next step.
        advice: &'static str,
        /// Error of the last attempt.
        #[source]
        source: SourceError,
    },
    /// No further request is possible.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A page of the log repeats commits of an earlier page.
    #[error(
        "{what} from {server} repeats earlier commits, possibly because of a cache or because the server is not hgweb; the page was discarded: run the same command again, or use a clone (clone:DIR)"
    )]
    Repeats {
        /// Name of the page.
        what: String,
        /// Address of the server.
        server: String,
    },
    /// A page of the log does not connect to the page before it.
    #[error(
        "{what} from {server} does not connect to the page before it, possibly because the history was rewritten or the servers are out of sync; the page was discarded: run the same command again, or use a clone (clone:DIR)"
    )]
    Jumps {
        /// Name of the page.
        what: String,
        /// Address of the server.
        server: String,
    },
    /// One second with more pushes than a reply can hold.
    #[error(
        "{server} has {most} or more pushes in one second, which is more than one reply can hold; use a clone (clone:DIR)"
    )]
    CrowdedSecond {
        /// Address of the server.
        server: String,
        /// Most pushes in one reply.
        most: usize,
    },
    /// The window has no commits.
    #[error(
        "{from} has no commit between {start} and {end}; check --start/--end, and that the source is up to date; no file was written"
    )]
    NothingInWindow {
        /// The source.
        from: String,
        /// The window's start.
        start: Timestamp,
        /// The window's end.
        end: Timestamp,
    },
    /// The file of pages cannot be read or written.
    #[error("cannot use {}, the file with the fetched pages; check its permissions, or delete it", path.display())]
    Pages {
        /// The file with the pages.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// Another process makes the same file.
    #[error("{} is in use by another process that makes the same file; wait until it ends", path.display())]
    InUse {
        /// The file of pages.
        path: PathBuf,
    },
    /// The path is not a file name.
    #[error("{} is not a file that can be written; give another file with --output", path.display())]
    NoFile {
        /// The path that was given.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The run was interrupted.
    #[error("interrupted; everything fetched is kept: run the same command again to resume")]
    Interrupted,
    /// The system refused a thread.
    #[error("cannot start a thread to read the clone; raise the limit of processes (`ulimit -u`)")]
    Thread(#[source] io::Error),
    /// A thread panicked.
    #[error("reading the clone stopped unexpectedly; this is a bug, please report it")]
    Panicked,
}

impl FetchCommitsError {
    /// The error when a thread did not end.
    pub(super) fn of_thread(error: BlockingError) -> Self {
        match error {
            BlockingError::Panicked => Self::Panicked,
            BlockingError::Thread(source) => Self::Thread(source),
        }
    }
}

/// The HTTP client for `from` could not be set up.
pub(super) fn not_set_up(from: &CommitsFrom, source: SourceError) -> FetchCommitsError {
    let advice = "check the address";
    FetchCommitsError::Unanswered { what: "commits".to_owned(), server: from.to_string(), advice, source }
}

/// A request for `what` failed.
pub(super) fn unanswered(what: &str, server: &str, not_found: &'static str, error: AskError) -> FetchCommitsError {
    let source = match error {
        AskError::Interrupted => return FetchCommitsError::Interrupted,
        AskError::Fetch(error) => return error.into(),
        AskError::Failed { source, .. } => source,
    };
    let advice = match &source {
        SourceError::Connect { .. } => {
            "check the address, and that the server is up; everything fetched is kept: run the same command again to resume"
        }
        SourceError::Forbidden => {
            "lower --requests-per-second, add a contact to source.user_agent, or use a clone (clone:DIR)"
        }
        SourceError::UnknownRepository { .. } | SourceError::Status { status: 400..=499, .. } => not_found,
        SourceError::NotJson { .. } | SourceError::WrongShape { .. } | SourceError::BrokenJson { .. } => {
            "the reply is not a list of commits; check the address, or run the same command again later"
        }
        _ => "everything fetched is kept: run the same command again to resume",
    };
    FetchCommitsError::Unanswered { what: what.to_owned(), server: server.to_owned(), advice, source }
}
