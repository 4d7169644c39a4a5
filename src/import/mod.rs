//! IMPORT: the files that the older scripts left, into an empty store.
//!
//! ```text
//!   perf_jobs_by_signature.jsonl -> BlockReader -> workers: rows, columns -> BulkWriter -> a store, in its place when whole
//!   all_signatures.jsonl, max_revision_jobs.jsonl -> lines ------------------^
//! ```
//!
//! What is whole is settled, as if it had been crawled; the next run does not ask for it again. What cannot be trusted is
//! not: an empty list may be a swallowed error, so its signature becomes pending; torn rows are counted and left out, and
//! a row that was appended behind a torn one is taken. The lists (signatures, alerts) stay pending, so the next run
//! completes what the files lack. [`ALERTS_NAME`] is not read: alerts never expire, and its Python literals have
//! lost what distinguishes null from an empty text.
//!
//! Streams: memory holds a few blocks of the file, and a few words a signature.

mod blocks;
mod compact;
mod data;
mod lists;
mod rows;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::actor::Shutdown;
use crate::config::Config;
use crate::fetch::first_requests;
use crate::model::Timestamp;
use crate::store::{BulkWriter, Counts, CrawlIdentity, Incoming, Store, StoreError};

/// The data, a signature a line.
pub const DATA_NAME: &str = "perf_jobs_by_signature.jsonl";
/// The signatures' records.
pub const SIGNATURES_NAME: &str = "all_signatures.jsonl";
/// Job records.
pub const JOBS_NAME: &str = "max_revision_jobs.jsonl";

/// Alert summaries, which are not read.
pub const ALERTS_NAME: &str = "alert_summaries.csv";

/// Why files could not be taken in. Exit code 2; of the store, its own.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The store cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// None of the files is there.
    #[error("{} has none of the files that can be imported: {DATA_NAME}, {SIGNATURES_NAME}, {JOBS_NAME}", folder.display())]
    NothingThere {
        /// The folder.
        folder: PathBuf,
    },
    /// A sample of what is in files makes no sense.
    #[error("an import takes everything that the files hold; leave out --sample")]
    Sampled,
    /// The run was ended; nothing is left of it.
    #[error("interrupted; nothing was kept of what was begun")]
    Interrupted,
    /// A thread panicked.
    #[error("a part of the import stopped unexpectedly; please report this")]
    WorkerPanicked,
}

/// Lines that could not be taken, by number, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TornLines {
    /// How many.
    pub count: u64,
    /// The first of them, each with what is wrong.
    pub first: Vec<(u64, String)>,
}

impl TornLines {
    /// As many are named.
    const NAMED: usize = 10;

    fn add(&mut self, line: u64, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push((line, what.into()));
        }
    }
}

/// What was found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Lines, blank ones included.
    pub lines: u64,
    /// Signatures or jobs taken in.
    pub taken: u64,
    /// Rows of what another row had as well; of data, what both hold is joined.
    pub doubled: u64,
    /// Empty lists, which may be swallowed errors: to be asked again.
    pub empty: u64,
    /// Data taken in.
    pub data: u64,
    /// Data before or after the crawl's data window, left out.
    pub outside: u64,
    /// Rows that are torn or malformed; of some, a whole row behind them was taken.
    pub torn: TornLines,
}

/// What an import came to.
#[derive(Clone, Debug)]
pub struct ImportSummary {
    /// The crawl that the store now holds.
    pub identity: CrawlIdentity,
    /// Whether the end of the data was taken from the age of the file, for want of another.
    pub guessed_data_end: bool,
    /// By file name; `None` for a file that is not there.
    pub files: [(&'static str, Option<FileReport>); 3],
    /// The store's tally.
    pub counts: Counts,
}

/// Takes in what is in `folder`, into the store of `config`, which must be empty or not there.
///
/// # Errors
/// [`ImportError`]; then there is no store, or the empty one that was there before.
pub fn import_folder(folder: &Path, config: &Config, shutdown: &Shutdown) -> Result<ImportSummary, ImportError> {
    if config.sample.signatures.is_some() {
        return Err(ImportError::Sampled);
    }
    let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    let (data, signatures, jobs) = (there(DATA_NAME), there(SIGNATURES_NAME), there(JOBS_NAME));
    if data.is_none() && signatures.is_none() && jobs.is_none() {
        return Err(ImportError::NothingThere { folder: folder.to_owned() });
    }
    let guess = data.as_deref().filter(|_| config.window.data_end.is_none()).and_then(age_of);
    let identity = CrawlIdentity::create(config, guess.unwrap_or_else(Timestamp::now));

    let incoming = Incoming::begin(&config.store)?;
    let store: &Store = incoming.store()?;
    store.pin_identity(&identity)?;
    let mut writer = BulkWriter::new(store)?;
    let of_signatures = signatures.map(|path| lists::take_signatures(&path, &mut writer, shutdown)).transpose()?;
    let of_jobs = jobs.map(|path| lists::take_jobs(&path, &mut writer, shutdown)).transpose()?;
    let window = identity.data_window();
    let of_data = data.map(|path| data::take(&path, store, window, &mut writer, shutdown)).transpose()?;
    writer.discover(first_requests(&config.batch))?;
    let counts = writer.finish()?;
    incoming.finish()?;
    Ok(ImportSummary {
        identity,
        guessed_data_end: guess.is_some(),
        files: [(DATA_NAME, of_data), (SIGNATURES_NAME, of_signatures), (JOBS_NAME, of_jobs)],
        counts,
    })
}

/// When a file was last written: nothing in it can be younger.
fn age_of(path: &Path) -> Option<Timestamp> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(since.as_secs()).ok()?))
}
