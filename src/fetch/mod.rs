//! 2. FETCHERS: one scheduler, pools of fetchers, one token bucket.
//!
//! The `Scheduler` holds the frontier in memory and hands batches to the fetchers' mailboxes. A `Fetcher` takes a token
//! for every attempt, asks the source, and submits the answer to the store's writer; `verdict` is the table of how a batch
//! goes on after an error. The writer tells the scheduler which changes became durable and which requests they discovered:
//! this return edge is the only cycle, and its capacity is the number of batches in flight. When nothing is pending and
//! nothing in flight, the scheduler drops its ends and everything downstream ends.

mod access;
mod adaptive;
mod asker;
mod breaker;
mod contradiction;
mod error;
mod expand;
mod expansions;
mod fetcher;
mod frontier;
mod jobs;
mod limiter;
mod page_in_parts;
mod pressure;
mod refresh;
mod retry;
mod revision_check;
mod scheduler;
mod scope;
mod settlement;
mod sizes;
mod verdict;

pub(crate) use access::SourceAccess;
pub use asker::AskError;
pub(crate) use asker::Asker;
pub use error::FetchError;
pub(crate) use expand::{first_requests, lost_parts, widening};
pub(crate) use fetcher::{Fetcher, FetcherLinks};
pub(crate) use jobs::{all_jobs, missing_jobs};
pub use pressure::Pressure;
pub use refresh::Reason;
pub(crate) use refresh::due_signatures;
pub(crate) use revision_check::{ListedCommits, RevisionCheck};
pub(crate) use scheduler::{CrawlLimits, MAX_QUEUED, Scheduler, SchedulerLinks, SchedulerStats, publish_settled};
pub use scope::SelectionError;
