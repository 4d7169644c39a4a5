//! All errors that can end a command, and their exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | complete |
//! | 1 | unexpected error |
//! | 2 | wrong usage, configuration or input files, or a clock that is wrong by a day or more |
//! | 3 | finished, but some requests failed (the artifacts are marked incomplete), an answer is lost for good, or a malformed input file costs an artifact |
//! | 4 | store or disk error |
//! | 5 | source unreachable, or it refuses requests |
//! | 6 | the dataset is not fresh (`status --check`) |
//! | 130 | interrupted |

use thiserror::Error;
use treeherder_sim::SimulatorError;

use crate::actor::{BlockingError, LimitError, advice, is_limit};
use crate::commits::FetchCommitsError;
use crate::config::ConfigError;
use crate::dataset::tables::ExportError;
use crate::dataset::write::ArtifactError;
use crate::dataset::write::parquet::TableError;
use crate::dataset::{DatasetError, FolderError};
use crate::fetch::FetchError;
use crate::import::ImportError;
use crate::observe::{LogError, MetricsError};
use crate::publish::PublishError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::store::archive::ArchiveError;

/// Exit code of a run that finished with failed requests or lost answers.
pub const EXIT_INCOMPLETE: u8 = 3;
/// Exit code of a check that found the dataset old or incomplete.
pub const EXIT_STALE: u8 = 6;
/// Exit code of an interrupted run.
pub const EXIT_INTERRUPTED: u8 = 130;

/// An error that ended a command.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The logs.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The crawl.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The HTTP client.
    #[error("cannot set up the HTTP client")]
    Source(#[from] SourceError),
    /// The reducers.
    #[error(transparent)]
    Reduce(#[from] DatasetError),
    /// An archive of a store.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Files of the older scripts.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The tables of the dataset.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A dataset to upload.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Fetching the repository's commits.
    #[error(transparent)]
    Commits(#[from] FetchCommitsError),
    /// Writing an output file.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The metrics endpoint.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The simulator.
    #[error("cannot run the simulator")]
    Simulator(#[from] SimulatorError),
    /// Wrong arguments.
    #[error("{message}")]
    Usage {
        /// The mistake, and the advice.
        message: String,
    },
    /// Writing to stdout.
    #[error("cannot write to stdout")]
    Stdout(#[source] std::io::Error),
    /// The system's limits are too low.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The async runtime.
    #[error("cannot start the async runtime; {}", advice(.0))]
    Runtime(#[source] std::io::Error),
    /// The system refused a thread.
    #[error("cannot start a thread for {part}; raise the limit of processes (`ulimit -u`)")]
    Thread {
        /// The part of the program.
        part: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A part of the program panicked.
    #[error("{part} stopped unexpectedly; this is a bug, please report it")]
    Broken {
        /// The part.
        part: &'static str,
    },
}

impl Error {
    /// The error when `part`, on a thread of its own, did not end.
    pub(crate) fn of_thread(part: &'static str, error: BlockingError) -> Self {
        match error {
            BlockingError::Panicked => Self::Broken { part },
            BlockingError::Thread(source) => Self::Thread { part, source },
        }
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Log(_)
            | Self::Metrics(_)
            | Self::Usage { .. }
            | Self::Simulator(_)
            | Self::Fetch(FetchError::WrongClock { .. } | FetchError::OtherCommits { .. } | FetchError::Scope(_)) => 2,
            Self::Store(error) | Self::Fetch(FetchError::Store(error)) => of_store(error),
            Self::Limit(_) | Self::Runtime(_) | Self::Thread { .. } | Self::Fetch(FetchError::Thread { .. }) => 4,
            Self::Fetch(FetchError::BucketStopped) | Self::Broken { .. } | Self::Stdout(_) => 1,
            Self::Fetch(_) | Self::Source(_) => 5,
            Self::Artifact(error) => of_artifact(error),
            Self::Archive(error) => of_archive(error),
            Self::Commits(error) => error.exit_code(),
            Self::Import(error) => of_import(error),
            Self::Reduce(error) | Self::Publish(PublishError::Dataset(error)) => of_dataset(error),
            Self::Export(error) | Self::Publish(PublishError::Export(error)) => of_export(error),
        }
    }
}

fn of_dataset(error: &DatasetError) -> u8 {
    match error {
        DatasetError::Store(error) => of_store(error),
        DatasetError::Artifact(error) => of_artifact(error),
        DatasetError::Folder(error) => of_folder(error),
        DatasetError::NotConfigured { .. }
        | DatasetError::Commits(_)
        | DatasetError::EmptyStore
        | DatasetError::Input(..)
        | DatasetError::Relabel(..)
        | DatasetError::Ungrouped(_) => 2,
        DatasetError::Sort { .. } | DatasetError::Groups(_) | DatasetError::Thread(_) => 4,
        DatasetError::Interrupted => EXIT_INTERRUPTED,
        DatasetError::Plot(_) | DatasetError::Report(_) | DatasetError::WorkerPanicked | DatasetError::Abandoned => 1,
        DatasetError::Table(error) => of_table(error),
    }
}

fn of_folder(error: &FolderError) -> u8 {
    match error {
        FolderError::OtherStore { .. } | FolderError::Unlisted { .. } | FolderError::Store { .. } => 2,
        FolderError::InUse { .. } => 4,
    }
}

impl FetchCommitsError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotAClone { .. }
            | Self::NotOurs { .. }
            | Self::NotInstalled { .. }
            | Self::NothingInWindow { .. }
            | Self::NoFile { .. } => 2,
            Self::Artifact(error) => of_artifact(error),
            Self::Pages { .. } | Self::InUse { .. } | Self::Thread(_) | Self::Fetch(FetchError::Thread { .. }) => 4,
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

fn of_export(error: &ExportError) -> u8 {
    match error {
        ExportError::Store(error) => of_store(error),
        ExportError::Dataset(error) => of_dataset(error),
        ExportError::Artifact(error) => of_artifact(error),
        ExportError::Table(error) => of_table(error),
        ExportError::Description(_) => 1,
        ExportError::Interrupted => EXIT_INTERRUPTED,
    }
}

fn of_table(error: &TableError) -> u8 {
    match error {
        TableError::Artifact(error) => of_artifact(error),
        // The store holds a number that no reader of Parquet could take.
        TableError::Cell { .. } => 4,
        _ => 1,
    }
}

fn of_store(error: &StoreError) -> u8 {
    match error {
        StoreError::OtherCrawl { .. }
        | StoreError::OtherSource { .. }
        | StoreError::HarvestOpen { .. }
        | StoreError::BackwardHarvest { .. }
        | StoreError::Scope(_)
        | StoreError::Missing(_)
        | StoreError::NotEmpty(_)
        | StoreError::OtherFiles { .. } => 2,
        _ => 4,
    }
}

fn of_archive(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::Store(error) => of_store(error),
        ArchiveError::Read { .. } | ArchiveError::NoArchive { .. } => 2,
        ArchiveError::Interrupted => EXIT_INTERRUPTED,
        ArchiveError::WorkerPanicked => 1,
        ArchiveError::Newer { .. }
        | ArchiveError::Damaged { .. }
        | ArchiveError::Write { .. }
        | ArchiveError::Thread(_) => 4,
    }
}

fn of_import(error: &ImportError) -> u8 {
    match error {
        ImportError::Store(error) => of_store(error),
        ImportError::Read { .. }
        | ImportError::NothingThere { .. }
        | ImportError::OtherSource { .. }
        | ImportError::EndNotProven { .. }
        | ImportError::StartNotProven { .. }
        | ImportError::NoData { .. }
        | ImportError::Sampled => 2,
        ImportError::Interrupted => EXIT_INTERRUPTED,
        ImportError::WorkerPanicked => 1,
        ImportError::Thread(_) => 4,
    }
}

fn of_artifact(error: &ArtifactError) -> u8 {
    match error {
        ArtifactError::Folder { source, .. } if is_limit(source) => 4,
        ArtifactError::Folder { .. } | ArtifactError::NotAFile { .. } => 2,
        ArtifactError::Write { .. } | ArtifactError::Thread(_) => 4,
        ArtifactError::Panicked { .. } => 1,
    }
}
