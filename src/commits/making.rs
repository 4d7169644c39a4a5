//! Makes the file: fetches missing commits from the source, then writes.

use std::sync::Arc;

use super::error::{self, FetchCommitsError};
use super::order::{CommitsOrder, CommitsSummary};
use super::output::{self, CommitsFile, WrittenCommits};
use super::pages::{self, Done, Fetched, Pages};
use super::{clone, days, log_pages};
use crate::actor::Shutdown;
use crate::config::{CommitsFrom, Config};
use crate::dataset::write::{folder_of, publish, remove_leftovers_of};
use crate::fetch::{Asker, Pressure};
use crate::source::{Hgweb, PushList};

/// Makes the file with the commits of its window, as the source has them now.
///
/// # Errors
/// [`FetchCommitsError`]; the file is then unchanged, and fetched pages are kept beside it. A file that was not made
/// here, or changed since, is not replaced.
///
/// # Cancel safety
/// Dropping the future abandons the requests in flight; pages already fetched are kept.
pub async fn fetch_commits(
    order: CommitsOrder<'_>,
    config: &Arc<Config>,
    pressure: &Pressure,
    shutdown: &Shutdown,
) -> Result<CommitsSummary, FetchCommitsError> {
    output::place_of(order.output)?;
    if order.output.is_file()
        && let Some((_, sha256)) = output::digest_of(order.output)?
        && !pages::made_for(order.output)?.contains(&sha256)
    {
        return Err(FetchCommitsError::NotOurs { path: order.output.to_owned() });
    }
    fetch(order, config, pressure, shutdown).await
}

async fn fetch(
    order: CommitsOrder<'_>,
    config: &Arc<Config>,
    pressure: &Pressure,
    shutdown: &Shutdown,
) -> Result<CommitsSummary, FetchCommitsError> {
    if let CommitsFrom::Clone(folder) = order.from {
        clone::kind_of(folder)?; // before any file is created
    }
    let mut pages = Pages::open(order.output, &source_of(order.from, config))?;
    remove_leftovers_of(order.output);
    tracing::info!(from = %order.from, "reading the commits");
    let asker = Asker::new(Arc::clone(config), pressure.clone(), shutdown);
    let fetched = fetch_into(&mut pages, order, &asker, config, shutdown).await;
    if fetched.is_err() {
        pages.remove_if_empty();
    }
    fetched
}

/// Makes the file like [`fetch_commits`], unless it exists and was made either from the same source for the same
/// window, or by another program. A resumed crawl thus keeps the commits with which it began.
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
    output::place_of(order.output)?;
    if order.output.exists() {
        if !pages::path_beside(order.output).exists() {
            return Ok(None); // made by another program, so it is not replaced
        }
        let pages = Pages::open(order.output, &source_of(order.from, config))?;
        if let Some(done) = pages.done()
            && (done.start, done.end) == (order.window.start, order.window.end)
            && output::digest_of(order.output)? == Some((done.bytes, done.sha256.clone()))
        {
            return Ok(None);
        }
    }
    fetch(order, config, pressure, shutdown).await.map(Some) // a file that changed since it was made is made again
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
    let place = output::place_of(output)?; // the pages are beside the name that was given
    let begin = || CommitsFile::create(&place, from, window);
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
    let WrittenCommits { num_commits, num_broken, bytes, sha256, finished } = written;
    let changed = finished.is_some();
    if let Some(finished) = finished {
        pages.set_made(&sha256)?; // first: a file that a killed process left must be known as this program's
        publish(folder_of(&place), vec![finished])?;
    }
    pages.set_done(Done { start: window.start, end: window.end, bytes, sha256 })?;
    let num_requests = asker.num_attempts();
    Ok(CommitsSummary {
        path: output.to_owned(),
        num_commits,
        changed,
        num_requests,
        num_kept_pages,
        num_broken,
        num_unlisted,
    })
}

/// Returns the file, the number of pages that an earlier run had fetched, and the number of unlisted commits.
fn write_pages(
    pages: &mut Pages,
    fetched: &Fetched,
    mut file: CommitsFile,
) -> Result<(WrittenCommits, u64, u64), FetchCommitsError> {
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

/// Identifies the source of the pages: pages of another server or repository must not be used.
fn source_of(from: &CommitsFrom, config: &Config) -> String {
    match from {
        CommitsFrom::Pushes => {
            format!("pushes of {} at {}", config.source.repository, config.source.base_url.trim_end_matches('/'))
        }
        from => from.to_string(),
    }
}
