//! The errors that end a crawl.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::source::SourceError;
use crate::store::StoreError;

/// Why a crawl ended before its frontier was empty.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The store failed.
    #[error("failed to store the answers")]
    Store(#[from] StoreError),
    /// 403: the server blocks this client.
    #[error(
        "the server refused {request}: Treeherder blocks clients by User-Agent when they disturb other users; this one sends `{user_agent}`; set source.user_agent to a name with a contact, lower limiter.requests_per_second, or ask in #treeherder on chat.mozilla.org; everything fetched so far is kept"
    )]
    Refused {
        /// The request.
        request: String,
        /// The User-Agent that was sent.
        user_agent: String,
        /// The reply.
        #[source]
        source: Arc<SourceError>,
    },
    /// The server has not answered for too long.
    #[error(
        "{base_url} has not answered for {waited_secs} s; check the address and whether the server is up; everything fetched so far is kept; run the same command again to continue"
    )]
    Unreachable {
        /// The server.
        base_url: String,
        /// Since its last answer, seconds.
        waited_secs: u64,
        /// The last error.
        #[source]
        source: Arc<SourceError>,
    },
    /// Something else than Treeherder has answered for too long.
    #[error(
        "{base_url} has not answered as Treeherder does for {waited_secs} s: {hint}; everything fetched so far is kept; run the same command again to continue"
    )]
    NotTreeherder {
        /// The server.
        base_url: String,
        /// Since its last answer, seconds.
        waited_secs: u64,
        /// Who may have answered, and the way on.
        hint: &'static str,
        /// The last error.
        #[source]
        source: Arc<SourceError>,
    },
    /// The server does not have the configured repository.
    #[error(
        "{base_url} has no repository of this name{}; check source.repository ({base_url}/api/repository/ lists the names)",
        suggestion(nearest)
    )]
    UnknownRepository {
        /// The server.
        base_url: String,
        /// Similar names that it has, the nearest first.
        nearest: Vec<String>,
        /// Names the repository.
        #[source]
        source: Arc<SourceError>,
    },
    /// This machine's clock and the server's differ by a day or more.
    #[error(
        "the clocks differ by a day or more, so the crawl would miss alert summaries; correct this machine's clock and run the same command again; a store that was created with the wrong clock and without window.data_end ends at the wrong time: delete it first"
    )]
    WrongClock {
        /// Both times.
        #[source]
        source: Arc<SourceError>,
    },
    /// The system refuses a thread.
    #[error(
        "cannot read the replies; raise the limit of processes (`ulimit -u`, or the container's); everything fetched so far is kept; run the same command again to continue"
    )]
    Thread {
        /// Names the thread.
        #[source]
        source: Arc<SourceError>,
    },
    /// A check of the server failed.
    #[error("{base_url} does not answer as Treeherder does: {hint}")]
    CheckFailed {
        /// The server.
        base_url: String,
        /// The way on.
        hint: &'static str,
        /// The error.
        #[source]
        source: Arc<SourceError>,
    },
    /// The file of commits is of another repository.
    #[error(
        "the file of commits `{}` is not of {repository}: it lists none of the {num} revisions in the first answers, for \
         example {revision}, but nodes such as {node}; Treeherder has Mercurial hashes, not those of git; make the file with \
         `perfharvest commits --from …` and run the same command again, or use `perfharvest crawl` without --commits \
         (inputs.commits); everything fetched so far is kept",
        file.display()
    )]
    OtherCommits {
        /// The file.
        file: PathBuf,
        /// The crawled repository.
        repository: String,
        /// Revisions that were compared.
        num: usize,
        /// One of them.
        revision: String,
        /// A node of the file.
        node: String,
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
        /// The reply.
        #[source]
        source: SourceError,
    },
    /// The token bucket's actor has ended.
    #[error("the token bucket has stopped")]
    BucketStopped,
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean `{}`?", nearest.join("` or `")) }
}
