//! `hgweb:URL`: reads the log of a server's repository page by page, from the newest commit back to the window's start.
//!
//! Revision numbers count from the oldest commit, so page N always has the same commits: revisions N·P to N·P+P-1,
//! requested from the newest downwards. Each request asks for one more commit, the newest of the next older page, and
//! two neighbouring pages are accepted only if they agree on it. This detects a server that skips or repeats commits or
//! has another history. The number of a hidden changeset gives 404; the page then begins one number lower.
//!
//! Commits are not sorted by date, so the walk ends after several pages in a row without a commit near the window. The
//! number of requests ahead of the current page grows with the pages needed so far, up to ten in flight.

use std::collections::HashMap;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};

use super::error::{FetchCommitsError, unanswered};
use super::order::CommitWindow;
use super::pages::{Fetched, MAX_IN_FLIGHT, Page, Pages};
use crate::config::Config;
use crate::fetch::{AskError, Asker};
use crate::model::{CommitHash, CommitRecord};
use crate::source::{Hgweb, HgwebPage, SourceError};

/// Pages in a row without a commit near the window after which the walk ends.
const PAGES_OUTSIDE: u32 = 4;

/// Most consecutive numbers of hidden changesets that are skipped.
const HIDDEN_IN_A_ROW: u64 = 32;

const NOT_FOUND: &str =
    "check that the address is a repository on hgweb, such as https://hg.mozilla.org/integration/autoland";

/// A range of the log that is fetched as one page.
#[derive(Clone, Debug)]
struct Span {
    /// Index of the page, counted from the oldest.
    number: u64,
    /// Oldest revision number.
    first: u64,
    /// Newest revision number.
    last: u64,
    /// Key of the page. The newest span grows, so its key contains the tip.
    key: String,
    /// Revision to request from.
    top: String,
}

/// The pages of the log of one repository.
struct LogPages<'a> {
    hgweb: &'a Hgweb,
    server: &'a str,
    asker: &'a Asker,
    page_size: u64,
    num_changesets: u64,
    tip: CommitHash,
}

/// Fetches the missing pages of the log, back to the window's start.
pub(super) async fn fetch(
    hgweb: &Hgweb,
    url: &str,
    asker: &Asker,
    pages: &mut Pages,
    window: CommitWindow,
    config: &Config,
) -> Result<Fetched, FetchCommitsError> {
    let page_size = u64::from(config.batch.commits.get());
    let HgwebPage { num_changesets, commits } = asker
        .ask("tip", || hgweb.page("tip", 1))
        .await
        .map_err(|error| unanswered("the tip", url, NOT_FOUND, error))?;
    let Some(tip) = commits.into_iter().next().map(|commit| commit.node) else {
        return Ok(Fetched { oldest_first: Vec::new(), num_kept: 0 }); // an empty repository
    };
    // Commits older than this are not near the window.
    let lookback = i64::try_from(config.window.lookback.as_secs()).unwrap_or(i64::MAX);
    let near = window.start.as_secs().saturating_sub(lookback);
    let log = LogPages { hgweb, server: url, asker, page_size, num_changesets, tip };
    log.walk(pages, near).await
}

impl LogPages<'_> {
    fn span(&self, number: u64) -> Span {
        let first = number * self.page_size;
        let last = (first + self.page_size).min(self.num_changesets) - 1;
        let newest = last + 1 == self.num_changesets;
        let top = if newest { self.tip.to_string() } else { last.to_string() };
        let whole = last - first + 1 == self.page_size;
        let key = if whole { format!("revisions {first}-{last}") } else { format!("revisions {first}-{last} {top}") };
        Span { number, first, last, key, top }
    }

    async fn walk(&self, pages: &mut Pages, near: i64) -> Result<Fetched, FetchCommitsError> {
        let mut unlinked = self.num_changesets.div_ceil(self.page_size); // spans from this index on are linked
        let mut unasked = unlinked; // spans from this index on were requested
        let mut under_way = FuturesUnordered::new();
        let mut ready: HashMap<u64, Page> = HashMap::new();
        let mut newer: Option<(Span, Vec<CommitHash>)> = None;
        let mut fetched = Fetched { oldest_first: Vec::new(), num_kept: 0 };
        let (mut num_outside, mut num_fresh) = (0, 0_usize);
        while unlinked > 0 && num_outside < PAGES_OUTSIDE {
            let span = self.span(unlinked - 1);
            let is_kept = unasked == unlinked && pages.has(&span.key);
            let page = if is_kept {
                unasked -= 1;
                Some(pages.get(&span.key)?)
            } else {
                ready.remove(&span.number)
            };
            let Some(page) = page else {
                let ahead = MAX_IN_FLIGHT.min(1 + num_fresh) as u64;
                while unasked > 0 && unlinked - unasked < ahead {
                    let span = self.span(unasked - 1);
                    if pages.has(&span.key) {
                        break;
                    }
                    unasked -= 1;
                    under_way.push(async { (span.number, self.page(&span).await, span) });
                }
                if let Some((number, page, span)) = under_way.next().await {
                    let page = page?;
                    pages.put(&span.key, page.clone())?;
                    ready.insert(number, page);
                }
                continue;
            };
            if let Err(error) = self.link(newer.as_ref(), &span, &page) {
                // The history may have changed since the page was kept: fetch it again.
                pages.forget(&span.key)?;
                if is_kept {
                    unasked += 1;
                    continue;
                }
                if let Some((newer, _)) = newer {
                    pages.forget(&newer.key)?;
                }
                return Err(error);
            }
            let is_outside = page.commits.iter().all(|commit| commit.committed_secs() < near);
            num_outside = if is_outside { num_outside + 1 } else { 0 };
            if is_kept {
                fetched.num_kept += 1;
            } else {
                num_fresh += 1;
            }
            fetched.oldest_first.push(span.key.clone());
            if !page.commits.is_empty() {
                let nodes = page.commits.iter().rev().map(|commit| commit.node.clone()).collect();
                newer = Some((span, nodes));
            }
            unlinked -= 1;
        }
        self.keep_pages_ahead(under_way, pages).await?;
        fetched.oldest_first.reverse();
        Ok(fetched)
    }

    /// Waits for the requests made ahead of the walk's end, and keeps their pages, so that no request was in vain.
    async fn keep_pages_ahead(
        &self,
        mut under_way: impl Stream<Item = (u64, Result<Page, FetchCommitsError>, Span)> + Unpin,
        pages: &mut Pages,
    ) -> Result<(), FetchCommitsError> {
        self.asker.drain();
        while let Some((_, page, span)) = under_way.next().await {
            match page {
                Ok(page) => pages.put(&span.key, page)?,
                Err(error) => {
                    tracing::debug!(page = %span.key, %error, "cannot fetch a page beyond the window");
                }
            }
        }
        Ok(())
    }

    /// Checks that the end of `newer` and the beginning of `page` agree.
    fn link(&self, newer: Option<&(Span, Vec<CommitHash>)>, span: &Span, page: &Page) -> Result<(), FetchCommitsError> {
        let Some((_, newer)) = newer else { return Ok(()) };
        let nodes: Vec<&CommitHash> = page.commits.iter().rev().map(|commit| &commit.node).collect();
        let Some(&first) = nodes.first() else { return Ok(()) }; // only hidden changesets
        let Some(at) = newer.iter().position(|node| node == first) else {
            let is_known = nodes.iter().any(|node| newer.contains(node));
            return Err(if is_known { self.repeats(span) } else { self.jumps(span) });
        };
        let agree = newer[at..].iter().zip(&nodes).all(|(newer, older)| newer == *older);
        let goes_on = nodes.len() > newer.len() - at;
        let is_oldest = page.commits.first().is_some_and(|oldest| oldest.parents == [CommitHash::null()]);
        if agree && (goes_on || is_oldest) { Ok(()) } else { Err(self.repeats(span)) }
    }

    fn repeats(&self, span: &Span) -> FetchCommitsError {
        FetchCommitsError::Repeats { what: span.name(), server: self.server.to_owned() }
    }

    fn jumps(&self, span: &Span) -> FetchCommitsError {
        FetchCommitsError::Jumps { what: span.name(), server: self.server.to_owned() }
    }

    /// Fetches a span and, if there is one, the next older commit. A server may send fewer commits at once than
    /// requested.
    async fn page(&self, span: &Span) -> Result<Page, FetchCommitsError> {
        let wanted = span.last - span.first + 1 + u64::from(span.first > 0);
        let failed = |error| unanswered(&span.name(), self.server, NOT_FOUND, error);
        let mut commits = self.below_top(span, wanted).await.map_err(failed)?;
        while let Some(last) = commits.last()
            && (commits.len() as u64) < wanted
        {
            let from = last.node.to_string();
            let count = wanted - commits.len() as u64 + 1;
            let more = self.asker.ask(&span.key, || self.hgweb.page(&from, count)).await.map_err(failed)?.commits;
            if more.first().is_none_or(|first| first.node != last.node) {
                return Err(self.jumps(span));
            }
            if more.len() == 1 {
                break; // the oldest commit, or only hidden changesets below it
            }
            commits.extend(more.into_iter().skip(1));
        }
        let mut seen = std::collections::HashSet::new();
        if !commits.iter().all(|commit| seen.insert(&commit.node)) {
            return Err(self.repeats(span));
        }
        if span.top == self.tip.as_str() && commits.first().is_none_or(|first| first.node != self.tip) {
            return Err(self.jumps(span));
        }
        commits.reverse();
        Ok(Page { commits, num_unlisted: 0 })
    }

    async fn below_top(&self, span: &Span, count: u64) -> Result<Vec<CommitRecord>, AskError> {
        let mut top = span.top.clone();
        let mut number = span.last;
        loop {
            let asked = self.asker.ask(&span.key, || self.hgweb.page(&top, count)).await;
            let hidden =
                matches!(&asked, Err(AskError::Failed { source: SourceError::Status { status: 404, .. }, .. }));
            if !hidden || number == 0 || span.last - number >= HIDDEN_IN_A_ROW || top == self.tip.as_str() {
                return asked.map(|page| page.commits);
            }
            number -= 1;
            if number < span.first {
                return Ok(Vec::new()); // all changesets of the span are hidden
            }
            top = number.to_string();
        }
    }
}

impl Span {
    fn name(&self) -> String {
        format!("the page of revisions {} to {}", self.first, self.last)
    }
}
