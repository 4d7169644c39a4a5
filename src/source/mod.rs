//! 1. SOURCE: a [`Batch`](crate::model::Batch) goes in, model records come out.
//!
//! [`Treeherder`] makes one HTTP request of a batch (`http` checks status, content type and size before
//! anything is parsed) and gives a [`Reply`] of strict records; `wire` reads the server's JSON tolerantly; `page` and `split` decide
//! what is asked next and what is asked in parts. [`Hgweb`] and [`PushList`] give the commits of the repository, in the same way.
//! Nothing here retries or waits.

mod hgweb;
mod http;
mod page;
mod push_list;
mod split;
mod treeherder;
mod wire;

use std::time::Duration;

use thiserror::Error;

pub use hgweb::{Hgweb, HgwebPage};
#[cfg(test)]
pub(crate) use http::broken_connection;
pub use page::{AlertPageOutline, PassVerdict, judge_pass, pages_of};
pub(crate) use push_list::MOST_PUSHES;
pub use push_list::{Push, PushList};
pub use split::{Split, batches_of, split};
pub use treeherder::{Answer, Treeherder};
pub(crate) use wire::printable;

use crate::model::{AlertSummary, FrameworkId, Job, Signature, SignatureId, Summary};

/// Takes the signatures of a list as they come, in no defined order and some thousands at a time: there may be 10^5, and
/// whoever takes them need not keep all of each. What it took counts only if the reply is whole.
pub type SignatureSink = Box<dyn FnMut(Vec<Signature>) + Send>;

/// What the server answered, as records.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A page of alert summaries.
    AlertPage {
        /// Summaries in the whole list, as the server counted them for this page.
        count: u64,
        /// Those of this page, as listed.
        records: Vec<AlertSummary>,
    },
    /// The enabled frameworks.
    Frameworks(Vec<FrameworkId>),
    /// Signatures, which were handed to the [`SignatureSink`].
    Signatures,
    /// The ids of the signatures with data at or after an instant.
    UpdatedSignatures(Vec<SignatureId>),
    /// The data of one signature.
    Summary(Summary),
    /// The jobs of the batch that the server still has. What was asked for and is not here is gone.
    Jobs(Vec<Job>),
}

/// Why a batch got no [`Reply`].
#[derive(Debug, Error)]
pub enum SourceError {
    /// No connection.
    #[error("cannot connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No whole reply in time.
    #[error("no whole reply within {} s", timeout.as_secs_f64())]
    Timeout {
        /// The time allowed.
        timeout: Duration,
        /// Where it was spent.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke, before or inside the reply.
    #[error("the connection broke before the reply was whole")]
    Interrupted {
        /// How.
        #[source]
        source: reqwest::Error,
    },
    /// A redirect; none is followed.
    #[error("the server redirects to {location} ({status}); if it has moved there, ask it there")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Where to, printable.
        location: String,
    },
    /// 403: the server blocks this client.
    #[error("the server refuses this client (403 Forbidden)")]
    Forbidden,
    /// Any other status that is no success.
    #[error("the server answered {status}{}", excerpt_of(.excerpt))]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the server asked to wait.
        retry_after: Option<Duration>,
        /// The beginning of the body, printable.
        excerpt: String,
    },
    /// A success that is no JSON, such as the HTML of an error page.
    #[error("the server answered {status} with {content_type} in place of JSON")]
    NotJson {
        /// The HTTP status.
        status: u16,
        /// The content type, printable.
        content_type: String,
    },
    /// A body over the limit.
    #[error("the reply is larger than {limit} bytes (source.max_body_bytes)")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// JSON that ends early or is no JSON.
    #[error("the reply is broken JSON")]
    BrokenJson {
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// JSON of another shape than the endpoint has.
    #[error("the reply is not what {endpoint} answers: {found}")]
    WrongShape {
        /// The endpoint.
        endpoint: &'static str,
        /// What is wrong with it, printable.
        found: String,
    },
}

fn excerpt_of(excerpt: &str) -> String {
    if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") }
}

impl SourceError {
    /// The HTTP status of the reply, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Forbidden => Some(403),
            Self::Status { status, .. } | Self::NotJson { status, .. } | Self::Redirect { status, .. } => Some(*status),
            Self::TooLarge { .. } | Self::BrokenJson { .. } | Self::WrongShape { .. } => Some(200),
            Self::Connect { .. } | Self::Timeout { .. } | Self::Interrupted { .. } => None,
        }
    }

    /// A word for counters: `connect`, `timeout`, `http_502`, …
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Connect { .. } => "connect".to_owned(),
            Self::Timeout { .. } => "timeout".to_owned(),
            Self::Interrupted { .. } => "interrupted".to_owned(),
            Self::Redirect { .. } => "redirect".to_owned(),
            Self::Forbidden => "http_403".to_owned(),
            Self::Status { status, .. } => format!("http_{status}"),
            Self::NotJson { .. } => "not_json".to_owned(),
            Self::TooLarge { .. } => "too_large".to_owned(),
            Self::BrokenJson { .. } => "broken_json".to_owned(),
            Self::WrongShape { .. } => "wrong_shape".to_owned(),
        }
    }
}
