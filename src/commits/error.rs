//! Why `all_commits.jsonl` could not be made, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::EXIT_INTERRUPTED;
use crate::config::CommitsFrom;
use crate::dataset::write::ArtifactError;
use crate::fetch::{AskError, FetchError};
use crate::model::Timestamp;
use crate::source::SourceError;

/// The commits could not be fetched; the file is as it was.
#[derive(Debug, Error)]
pub enum FetchCommitsError {
    /// The folder holds no repository.
    #[error(
        "{} is no clone: it holds neither .hg nor .git; name the folder that `hg clone` or `git clone` made",
        folder.display()
    )]
    NotAClone {
        /// The folder.
        folder: PathBuf,
    },
    /// The program that reads the clone cannot be started.
    #[error("`{program}` cannot be started; it reads the clone in {}: install {package}, and see that it is on PATH", folder.display())]
    NotInstalled {
        /// `hg` or `git`.
        program: &'static str,
        /// What it is part of.
        package: &'static str,
        /// The clone.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program ended with an error.
    #[error("`{program} log` in {} failed ({status}): {said}", folder.display())]
    ProgramFailed {
        /// `hg` or `git`.
        program: &'static str,
        /// The clone.
        folder: PathBuf,
        /// How it ended.
        status: String,
        /// The end of what it said, printable.
        said: String,
    },
    /// The program's output is no log.
    #[error("`{program} log` in {} gave no commit but {found}; is it a version of this decade?", folder.display())]
    ProgramOutput {
        /// `hg` or `git`.
        program: &'static str,
        /// The clone.
        folder: PathBuf,
        /// What it gave, printable.
        found: String,
    },
    /// The program's output cannot be read.
    #[error("cannot read what `{program} log` in {} writes", folder.display())]
    ProgramPipe {
        /// `hg` or `git`.
        program: &'static str,
        /// The clone.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A server did not answer, or not with commits.
    #[error("{what} of {server} could not be fetched: {advice}")]
    Unanswered {
        /// What was asked for.
        what: String,
        /// The server.
        server: String,
        /// What to do.
        advice: &'static str,
        /// What the last attempt met.
        #[source]
        source: SourceError,
    },
    /// The run cannot ask any more.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A page of the log holds what an earlier one held.
    #[error(
        "{what} of {server} repeats what came before: a cache in between, or no hgweb at all? nothing of it is kept; run the same command again, or use a clone (clone:DIR)"
    )]
    Repeats {
        /// The page.
        what: String,
        /// The server.
        server: String,
    },
    /// A page of the log does not join the one before.
    #[error(
        "{what} of {server} does not join the page before it: commits between them are missing; is the history being rewritten, or are its servers not in step? nothing of it is kept; run the same command again, or use a clone (clone:DIR)"
    )]
    Jumps {
        /// The page.
        what: String,
        /// The server.
        server: String,
    },
    /// One second with more pushes than a reply can hold.
    #[error("{server} lists {most} pushes or more in one second, and gives no more at once; use a clone (clone:DIR)")]
    CrowdedSecond {
        /// The server.
        server: String,
        /// As many as it gives.
        most: usize,
    },
    /// Nothing to write.
    #[error(
        "{from} has no commit between {start} and {end}; is --start/--end what you mean, and the source up to date? no file was written"
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
    #[error("cannot use {}, where fetched pages are kept; mend its permissions, or delete it", path.display())]
    Pages {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process makes the same file.
    #[error("{} is in use by another process, which makes the same file; wait for it", path.display())]
    InUse {
        /// The file of pages.
        path: PathBuf,
    },
    /// The path names no file.
    #[error("{} names no file that could be written; name another with --output", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The run was ended.
    #[error("interrupted; what was fetched is kept: run the same command again to go on")]
    Interrupted,
    /// A thread panicked.
    #[error("reading the clone stopped unexpectedly; please report this")]
    Panicked,
}

impl FetchCommitsError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotAClone { .. }
            | Self::NotInstalled { .. }
            | Self::NothingInWindow { .. }
            | Self::NoFile { .. }
            | Self::Artifact(ArtifactError::Folder { .. }) => 2,
            Self::Artifact(ArtifactError::Write { .. }) | Self::Pages { .. } | Self::InUse { .. } => 4,
            Self::Fetch(FetchError::BucketStopped) | Self::Panicked => 1,
            Self::ProgramFailed { .. }
            | Self::ProgramOutput { .. }
            | Self::ProgramPipe { .. }
            | Self::Unanswered { .. }
            | Self::Repeats { .. }
            | Self::Jumps { .. }
            | Self::CrowdedSecond { .. }
            | Self::Fetch(_) => 5,
            Self::Interrupted => EXIT_INTERRUPTED,
        }
    }
}

/// The client of `from` cannot be made.
pub(super) fn not_set_up(from: &CommitsFrom, source: SourceError) -> FetchCommitsError {
    let advice = "its address cannot be used";
    FetchCommitsError::Unanswered { what: "anything".to_owned(), server: from.to_string(), advice, source }
}

/// `what` of `server` was not answered.
pub(super) fn unanswered(what: &str, server: &str, not_found: &'static str, error: AskError) -> FetchCommitsError {
    let source = match error {
        AskError::Interrupted => return FetchCommitsError::Interrupted,
        AskError::Fetch(error) => return error.into(),
        AskError::Failed { source, .. } => source,
    };
    let advice = match &source {
        SourceError::Connect { .. } => {
            "is the address right, and the server up? what was fetched is kept; run the same command again to go on"
        }
        SourceError::Forbidden => {
            "lower limiter.requests_per_second, name a contact in source.user_agent, or use a clone (clone:DIR)"
        }
        SourceError::Status { status: 400..=499, .. } => not_found,
        SourceError::NotJson { .. } | SourceError::WrongShape { .. } | SourceError::BrokenJson { .. } => {
            "what it answers is no list of commits; is the address right? if it is, run the same command again later"
        }
        _ => "what was fetched is kept; run the same command again to go on",
    };
    FetchCommitsError::Unanswered { what: what.to_owned(), server: server.to_owned(), advice, source }
}
