//! The result of a run, for the command line.

use std::time::Duration;

use crate::dataset::ReduceSummary;
use crate::store::{CrawlIdentity, Tally};

/// The result of a crawl.
#[derive(Clone, Debug)]
pub struct CrawlSummary {
    /// The crawl.
    pub identity: CrawlIdentity,
    /// The store's counts at the end.
    pub counts: Tally,
    /// HTTP requests that this run made, retries included.
    pub requests_made: u64,
    /// The time from the first request to the last answer.
    pub elapsed: Duration,
    /// Requests whose stored answers were damaged, and which the server no longer has.
    pub lost: Vec<String>,
    /// True when work was left because the run was ended.
    pub interrupted: bool,
    /// True when the list of alert summaries moved in every pass, so that rows may be missing.
    pub alerts_moved: bool,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// The crawl.
    pub crawl: CrawlSummary,
    /// The reduction; `None` when the run was interrupted before its end.
    pub reduction: Option<ReduceSummary>,
}
