//! 2. FETCHER ACTORS: one scheduler, pools of fetchers, one token bucket.
//!
//! The [`Scheduler`] holds the frontier in memory and hands batches to the fetchers' mailboxes; a [`Fetcher`] takes a
//! token for every attempt, asks the source, and submits the answer to the store's writer; the writer tells the scheduler
//! what became durable and what it led to. That return edge is the only cycle, and its capacity is the number of batches
//! in flight. When nothing is pending and nothing in flight, the scheduler drops its ends and everything downstream ends.

mod adaptive;
mod asker;
mod breaker;
mod expand;
mod fetcher;
mod limiter;
mod pressure;
mod retry;
mod scheduler;
mod sizes;

use std::sync::Arc;

use thiserror::Error;

pub use adaptive::{RateController, Strain};
pub use asker::{AskError, Asker};
pub use breaker::Breaker;
pub use expand::{first_requests, lost_parts};
pub use fetcher::{Fetcher, FetcherLinks};
pub use limiter::{TokenBucket, TokenBucketHandle};
pub use pressure::Pressure;
pub use retry::{RetryDelays, Retryability, classify, failures_before_parts};
pub use scheduler::{Limits, MAX_QUEUED, Scheduler, SchedulerStats, tell_settled};
pub use sizes::WorkedSizes;

use crate::source::SourceError;
use crate::store::StoreError;

/// Why a crawl ended before its frontier was empty.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The store failed.
    #[error("the crawl cannot store its answers")]
    Store(#[from] StoreError),
    /// 403: the server blocks this client.
    #[error(
        "{request} was refused: Treeherder blocks clients by their User-Agent when they hurt other users; this one calls itself `{user_agent}`; set source.user_agent to a name with a contact, lower limiter.requests_per_second, or ask in #treeherder on chat.mozilla.org; everything fetched so far is kept"
    )]
    Refused {
        /// What was asked.
        request: String,
        /// The User-Agent that was sent.
        user_agent: String,
        /// The answer.
        #[source]
        source: Arc<SourceError>,
    },
    /// Nothing was answered for a long time.
    #[error(
        "{base_url} has answered nothing for {waited_secs} s; is the address right, and the server up? everything fetched so far is kept; run the same command again to go on"
    )]
    Unreachable {
        /// The server.
        base_url: String,
        /// How long.
        waited_secs: u64,
        /// The last error.
        #[source]
        source: Arc<SourceError>,
    },
    /// The server asked to wait longer than is allowed.
    #[error(
        "the server asks to wait {asked_secs} s before the next request, longer than limiter.max_retry_after ({allowed_secs} s); run the same command again after that time; everything fetched so far is kept"
    )]
    AskedToWait {
        /// Seconds that the server asked for.
        asked_secs: u64,
        /// Seconds allowed.
        allowed_secs: u64,
        /// The answer.
        #[source]
        source: SourceError,
    },
    /// The token bucket's actor has ended.
    #[error("the token bucket has stopped")]
    BucketStopped,
}
