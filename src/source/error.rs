//! Why a batch got no answer.

use std::error::Error as _;
use std::time::Duration;

use thiserror::Error;

use crate::model::{Timestamp, printable};

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
    /// The server has no repository of the configured name.
    #[error("the server knows no repository `{repository}`")]
    UnknownRepository {
        /// The name.
        repository: String,
    },
    /// This machine's clock and the server's differ by a day or more.
    #[error("this machine's clock says {here}, the server's {server}")]
    ClockSkew {
        /// The time of this machine.
        here: Timestamp,
        /// The time of the server.
        server: Timestamp,
    },
    /// 403: the server blocks this client.
    #[error("the server refuses this client (403 Forbidden)")]
    Forbidden,
    /// An error of the server after a long time: it ends its own queries after 30 s.
    #[error("the server gave up on the request after {} s ({status})", took.as_secs())]
    GaveUp {
        /// The HTTP status.
        status: u16,
        /// From sending to the reply.
        took: Duration,
    },
    /// Any other status than 200.
    #[error("the server answered {status}{}", excerpt_of(.excerpt))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The wait that the server asks for.
        retry_after: Option<Duration>,
        /// The beginning of the body, printable.
        excerpt: String,
    },
    /// A page where the API has JSON: 200 with HTML, or 404 with an error page that is not the API's.
    #[error("the server answered {status} with {content_type} instead of JSON")]
    NotJson {
        /// The HTTP status.
        status: u16,
        /// The content type, printable.
        content_type: String,
    },
    /// A body over the limit.
    #[error("the reply is larger than {limit} bytes (source.max_body_bytes, or source.max_total_bytes)")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// A compressed body that is corrupt or ends early, or a content encoding that was not asked for.
    #[error("the reply cannot be decompressed")]
    BrokenEncoding {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system refused a thread that parses the reply.
    #[error("the system refuses a thread to read the reply")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
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
    /// A reply that contradicts itself or an earlier answer. It is not stored.
    #[error("the reply from {endpoint} contradicts {found}")]
    Contradictory {
        /// The endpoint.
        endpoint: &'static str,
        /// The contradiction: itself, or another answer.
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
            Self::UnknownRepository { .. } => Some(404),
            Self::Status { status, .. }
            | Self::GaveUp { status, .. }
            | Self::NotJson { status, .. }
            | Self::Redirect { status, .. } => Some(*status),
            Self::TooLarge { .. }
            | Self::BrokenEncoding { .. }
            | Self::BrokenJson { .. }
            | Self::WrongShape { .. }
            | Self::Contradictory { .. }
            | Self::ClockSkew { .. } => Some(200),
            Self::Connect { .. } | Self::Timeout { .. } | Self::Interrupted { .. } | Self::Thread { .. } => None,
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
            Self::UnknownRepository { .. } => "unknown_repository".to_owned(),
            Self::Status { status, .. } | Self::GaveUp { status, .. } => format!("http_{status}"),
            Self::NotJson { .. } => "not_json".to_owned(),
            Self::TooLarge { .. } => "too_large".to_owned(),
            Self::BrokenEncoding { .. } => "broken_encoding".to_owned(),
            Self::Thread { .. } => "thread".to_owned(),
            Self::BrokenJson { .. } => "broken_json".to_owned(),
            Self::WrongShape { .. } => "wrong_shape".to_owned(),
            Self::Contradictory { .. } => "contradictory".to_owned(),
            Self::ClockSkew { .. } => "clock_skew".to_owned(),
        }
    }

    /// True for a status that says something of the request itself, so that it would be repeated: of 4xx, those that
    /// neither ask to wait nor speak of access.
    #[must_use]
    pub(crate) fn is_of_the_request(&self) -> bool {
        matches!(self, Self::Status { status: 400..=499, .. })
            && !matches!(self.status(), Some(401 | 407 | 408 | 425 | 429 | 451))
    }

    /// For a reply that no Treeherder gives: who may have given it, and the way on.
    #[must_use]
    pub(crate) fn not_treeherder(&self) -> Option<&'static str> {
        match self {
            Self::Redirect { .. } => Some(
                "the server has moved, or a network with a login page answers in its place; log in, or set source.base_url to the new address",
            ),
            Self::NotJson { .. } => Some(
                "another server, a proxy or a login page answers in its place; source.base_url must be the root of a Treeherder server, without /api",
            ),
            Self::Status { status: 401, .. } => Some(
                "it asks for a login, which Treeherder's API does not; check source.base_url and the network's login",
            ),
            Self::Status { status: 407, .. } => {
                Some("a proxy asks for a login; set user and password in the proxy variables (HTTPS_PROXY)")
            }
            Self::Status { status: 451, .. } => Some("the network blocks this address"),
            Self::Status { status: 511, .. } => Some("the network asks for a login; log in"),
            Self::Status { status: 201..=399, .. } => Some("another server or a proxy answers in its place"),
            _ => None,
        }
    }

    /// This error, or [`SourceError::UnknownRepository`] where the reply says so: 404 from the lists of a project, 400
    /// from the summaries.
    #[must_use]
    pub(super) fn about(self, repository: &str) -> Self {
        match &self {
            Self::Status { status: 404, excerpt, .. } if excerpt.contains("No project with name") => {}
            Self::Status { status: 400, excerpt, .. }
                if excerpt.contains("\"repository\"") && excerpt.contains(&format!("{repository} does not exist")) => {}
            _ => return self,
        }
        Self::UnknownRepository { repository: repository.to_owned() }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, excerpt: &str) -> SourceError {
        SourceError::Status { status, retry_after: None, excerpt: excerpt.to_owned() }
    }

    #[test]
    fn replies_that_no_treeherder_gives_are_told_from_its_own() {
        for code in [202, 204, 206, 300, 304, 401, 407, 451, 511] {
            assert!(status(code, "").not_treeherder().is_some(), "{code}");
            assert!(!status(code, "").is_of_the_request(), "{code}");
        }
        for code in [400, 404, 406, 410, 414] {
            assert!(status(code, "").not_treeherder().is_none() && status(code, "").is_of_the_request(), "{code}");
        }
        for code in [408, 425, 429, 500, 502, 503, 504] {
            assert!(status(code, "").not_treeherder().is_none() && !status(code, "").is_of_the_request(), "{code}");
        }
        assert!(SourceError::Redirect { status: 302, location: String::new() }.not_treeherder().is_some());
        assert!(SourceError::NotJson { status: 200, content_type: String::new() }.not_treeherder().is_some());
        assert!(SourceError::TooLarge { limit: 1 }.not_treeherder().is_none());
    }

    #[test]
    fn an_unknown_repository_is_recognised_in_the_words_of_each_endpoint() {
        let unknown = |code, excerpt| matches!(status(code, excerpt).about("nope"), SourceError::UnknownRepository { repository } if repository == "nope");
        assert!(unknown(404, r#"{"detail":"No project with name nope"}"#));
        assert!(unknown(400, r#"{"repository":["nope does not exist."]}"#));
        assert!(!unknown(400, r#"{"repository":["This field is required."]}"#));
        assert!(!unknown(404, r#"{"detail":"Invalid page."}"#));
        assert!(!unknown(500, "No project with name nope"));
    }
}
