//! Why a batch got no answer.

use std::error::Error as _;
use std::time::Duration;

use thiserror::Error;

use super::printable::printable;

/// Why a batch got no answer.
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
    /// No complete reply in time.
    #[error("no complete reply within {} s", timeout.as_secs_f64())]
    Timeout {
        /// The time allowed.
        timeout: Duration,
        /// Where the time was spent.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke, before or inside the reply.
    #[error("the connection broke before the reply was complete")]
    Interrupted {
        /// How.
        #[source]
        source: reqwest::Error,
    },
    /// A redirect; none is followed.
    #[error(
        "the server redirects to {location} ({status}), and redirects are not followed; if it has moved, configure the new address"
    )]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The address it redirects to, printable.
        location: String,
    },
    /// 403: the server blocks this client.
    #[error("the server refuses this client (403 Forbidden)")]
    Forbidden,
    /// Any other status than success.
    #[error("the server answered {status}{}", excerpt_of(.excerpt))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The wait that the server asks for.
        retry_after: Option<Duration>,
        /// The beginning of the body, printable.
        excerpt: String,
    },
    /// A success without JSON, such as the HTML of an error page.
    #[error("the server answered {status} with {content_type} instead of JSON")]
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
    /// JSON that ends early, or text that is not JSON.
    #[error("the reply is not valid JSON")]
    BrokenJson {
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// JSON of another shape than the endpoint's.
    #[error("unexpected reply from {endpoint}: {found}")]
    WrongShape {
        /// The endpoint.
        endpoint: &'static str,
        /// The unexpected part, printable.
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

    /// The error with its sources, on one line without control characters.
    #[must_use]
    pub(crate) fn with_causes(&self) -> String {
        const LONGEST: usize = 1000;
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let said = cause.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            source = cause.source();
        }
        printable(&text, LONGEST)
    }
}
