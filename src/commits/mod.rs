//! The commits of the repository: `all_commits.jsonl`, made from a clone, an hgweb server or Treeherder's pushes.
//!
//! ```text
//!   clone:DIR   hg log | git log, a child process, streamed ------------------------------+
//!   hgweb:URL   pages of the log, newest first, 10 in flight ---> FILE.pages (checksums) -+-> all_commits.jsonl
//!   pushes      days of the push list, 10 in flight ------------> FILE.pages (checksums) -+   (oldest first)
//! ```
//!
//! In: a window, a source. Out: one file, the commits of the window, each once, parents before children. Promises: the
//! file appears whole or not at all; what a server answered is kept in `FILE.pages`, so that a run which was killed and
//! started again asks only for what is missing and writes the same bytes as one that was not; nothing a server or a
//! repository says reaches the terminal raw.

mod clone;
mod days;
mod error;
mod log_pages;
mod output;
mod pages;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::FetchCommitsError;

use self::output::{CommitsFile, Written};
use self::pages::{Done, Pages};
use crate::actor::Shutdown;
use crate::config::{CommitsFrom, Config};
use crate::fetch::{Asker, Pressure};
use crate::model::Timestamp;
use crate::source::{Hgweb, PushList};

/// Requests to one server that are under way at the same time, at the most.
pub const MAX_IN_FLIGHT: usize = 10;

/// Which commits belong into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitWindow {
    /// First commit date.
    pub start: Timestamp,
    /// Last commit date, included.
    pub end: Timestamp,
}

impl CommitWindow {
    /// Seconds since the epoch, both ends included.
    fn contains(self, secs: i64) -> bool {
        self.start <= Timestamp::from_secs(secs) && Timestamp::from_secs(secs) <= self.end
    }
}

/// What making the file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitsSummary {
    /// The file.
    pub path: PathBuf,
    /// Commits in it.
    pub num_commits: u64,
    /// False when the file was there already with the same bytes.
    pub changed: bool,
    /// HTTP requests made.
    pub num_requests: u64,
    /// Pages that had been fetched before.
    pub num_kept_pages: u64,
    /// Commits of pushes in the window that Treeherder does not list.
    pub num_unlisted: u64,
}

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct CommitsOrder<'a> {
    /// Where the commits come from.
    pub from: &'a CommitsFrom,
    /// The file.
    pub output: &'a Path,
    /// The commits in it.
    pub window: CommitWindow,
    /// The present: days of the push list that are not long over are not kept.
    pub now: Timestamp,
}

/// Makes the file hold the commits of its window, as their source has them now.
///
/// # Errors
/// [`FetchCommitsError`]; then the file is as it was, and what was fetched is kept beside it.
///
/// # Cancel safety
/// A dropped future abandons the requests under way; what was answered is kept.
pub async fn fetch_commits(
    order: CommitsOrder<'_>,
    config: &Arc<Config>,
    pressure: &Pressure,
    shutdown: &Shutdown,
) -> Result<CommitsSummary, FetchCommitsError> {
    if let CommitsFrom::Clone(folder) = order.from {
        clone::kind_of(folder)?; // before any file is made
    }
    let mut pages = Pages::open(order.output, &source_of(order.from, config))?;
    output::remove_leftovers_of(order.output);
    tracing::info!(from = %order.from, "reading the commits");
    let asker = Asker::new(Arc::clone(config), pressure.clone(), shutdown);
    let fetched = fetch_into(&mut pages, order, &asker, config, shutdown).await;
    if fetched.is_err() {
        pages.remove_if_empty();
    }
    fetched
}

/// Makes the file as [`fetch_commits`] does, unless it is there: made from the same source for the same window, or by
/// somebody else. So a crawl that is resumed has the commits with which it began.
///
/// # Errors
/// As [`fetch_commits`].
///
/// # Cancel safety
/// As [`fetch_commits`].
pub async fn ensure_commits(
    order: CommitsOrder<'_>,
    config: &Arc<Config>,
    pressure: &Pressure,
    shutdown: &Shutdown,
) -> Result<Option<CommitsSummary>, FetchCommitsError> {
    if order.output.exists() {
        if !pages::path_beside(order.output).exists() {
            return Ok(None); // somebody else's, and not ours to replace
        }
        let pages = Pages::open(order.output, &source_of(order.from, config))?;
        if let Some(done) = pages.done()
            && (done.start, done.end) == (order.window.start, order.window.end)
            && output::digest_of(order.output)? == Some((done.bytes, done.sha256.clone()))
        {
            return Ok(None);
        }
    }
    fetch_commits(order, config, pressure, shutdown).await.map(Some)
}

async fn fetch_into(
    pages: &mut Pages,
    order: CommitsOrder<'_>,
    asker: &Asker,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<CommitsSummary, FetchCommitsError> {
    let CommitsOrder { from, output, window, now } = order;
    let not_set_up = |source| error::not_set_up(from, source);
    let begin = || CommitsFile::create(output, from, window);
    let (written, num_kept_pages, num_unlisted) = match from {
        CommitsFrom::Clone(folder) => (clone::read(folder, window, begin()?, shutdown).await?, 0, 0),
        CommitsFrom::Hgweb(url) => {
            let hgweb = Hgweb::new(url, &config.source).map_err(not_set_up)?;
            let fetched = log_pages::fetch(&hgweb, url, asker, pages, window, config).await?;
            write_pages(pages, &fetched, begin()?)?
        }
        CommitsFrom::Pushes => {
            let list = PushList::new(&config.source).map_err(not_set_up)?;
            let fetched = days::fetch(&list, asker, pages, window, now, config).await?;
            write_pages(pages, &fetched, begin()?)?
        }
    };
    let Written { num_commits, bytes, sha256, changed } = written;
    pages.set_done(Done { start: window.start, end: window.end, bytes, sha256 })?;
    let num_requests = asker.num_attempts();
    Ok(CommitsSummary { path: output.to_owned(), num_commits, changed, num_requests, num_kept_pages, num_unlisted })
}

/// Pages that make up the file.
struct Fetched {
    /// Their keys.
    oldest_first: Vec<String>,
    /// How many of them had been fetched before.
    num_kept: u64,
}

/// What the pages make, how many of them had been fetched before, and how many commits the server did not list.
fn write_pages(
    pages: &mut Pages,
    fetched: &Fetched,
    mut file: CommitsFile,
) -> Result<(Written, u64, u64), FetchCommitsError> {
    let mut num_unlisted = 0;
    for key in &fetched.oldest_first {
        let page = pages.get(key)?;
        num_unlisted += page.num_unlisted;
        for commit in &page.commits {
            file.add(commit)?;
        }
    }
    Ok((file.finish()?, fetched.num_kept, num_unlisted))
}

/// What the pages of a source are kept under: answers of another server or repository are no answers.
fn source_of(from: &CommitsFrom, config: &Config) -> String {
    match from {
        CommitsFrom::Pushes => {
            format!("pushes of {} at {}", config.source.repository, config.source.base_url.trim_end_matches('/'))
        }
        from => from.to_string(),
    }
}
