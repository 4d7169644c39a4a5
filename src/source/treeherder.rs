//! One HTTP request of a batch, checked before it is parsed. The only file with reqwest.

use std::sync::Once;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::Instant;

use super::wire::{self, printable};
use super::{Reply, SourceError};
use crate::config::{BatchConfig, SourceConfig};
use crate::model::{Batch, Request, Timestamp, Window};

/// Bodies over this are parsed off the runtime's own threads, bytes: a millisecond's work.
const PARSE_INLINE_BYTES: usize = 256 << 10;

/// A Treeherder server, asked one request at a time. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Treeherder {
    client: Client,
    base: Url,
    source: SourceConfig,
    alert_page: u32,
    /// The window of all data, which skipping is measured against.
    data_window: Window,
    /// Alert summaries of pushes at or after this are asked for.
    alerts_since: Timestamp,
}

/// A reply with what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The records.
    pub reply: Reply,
    /// Bytes of the body, after decompression.
    pub body_bytes: u64,
    /// From sending to the last byte.
    pub latency: Duration,
}

impl Treeherder {
    /// Prepares a client for the server of `source`. Nothing is sent.
    ///
    /// # Errors
    /// [`SourceError::Connect`] when TLS or the configured address cannot be set up.
    pub fn new(
        source: &SourceConfig,
        batch: &BatchConfig,
        data_window: Window,
        alerts_since: Timestamp,
    ) -> Result<Self, SourceError> {
        static PROVIDER: Once = Once::new();
        // Fails only when the program has installed one of its own, which then serves as well.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let host_error = |source_error| SourceError::Connect { host: source.base_url.clone(), source: source_error };
        let base = Url::parse(&source.base_url)
            .map_err(|error| SourceError::WrongShape { endpoint: "source.base_url", found: error.to_string() })?;
        let mut builder = Client::builder()
            .user_agent(&source.user_agent)
            .timeout(source.timeout)
            .connect_timeout(source.connect_timeout)
            .redirect(same_host_redirects(base.host_str().unwrap_or_default().to_owned()));
        if base.host().is_some_and(|host| is_loopback(&host)) {
            builder = builder.no_proxy(); // a simulator on this machine is not behind the proxy
        }
        Ok(Self {
            client: builder.build().map_err(host_error)?,
            base,
            source: source.clone(),
            alert_page: batch.alert_page.get(),
            data_window,
            alerts_since,
        })
    }

    /// Asks `batch` once.
    ///
    /// # Errors
    /// [`SourceError`] says what was wrong; nothing is retried here.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; nothing is kept of it.
    pub async fn fetch(&self, batch: &Batch) -> Result<Answer, SourceError> {
        let sent = Instant::now();
        let url = self.url_of(batch);
        let response = self
            .client
            .get(url)
            .header(ACCEPT, "application/json; version=1.1")
            .send()
            .await
            .map_err(|error| self.transport_error(error))?;
        let status = response.status();
        if !status.is_success() {
            let error = self.status_error(response).await;
            if beyond_the_last_page(batch, &error) {
                // The list has become shorter since its pages were counted; the pass will be seen to have shifted.
                let reply = Reply::AlertPage { count: 0, records: Vec::new() };
                return Ok(Answer { reply, body_bytes: 0, latency: sent.elapsed() });
            }
            return Err(error);
        }
        let content_type = content_type_of(&response);
        if !is_json(&content_type) {
            return Err(SourceError::NotJson { status: status.as_u16(), content_type });
        }
        let body = self.read_body(response).await?;
        let latency = sent.elapsed();
        let body_bytes = body.len() as u64;
        let reply = self.parse(batch, body).await?;
        Ok(Answer { reply, body_bytes, latency })
    }

    async fn parse(&self, batch: &Batch, body: Vec<u8>) -> Result<Reply, SourceError> {
        if body.len() <= PARSE_INLINE_BYTES {
            return parse(batch, &body);
        }
        let batch = batch.clone();
        match tokio::task::spawn_blocking(move || parse(&batch, &body)).await {
            Ok(parsed) => parsed,
            Err(error) => Err(SourceError::WrongShape { endpoint: "the parser", found: error.to_string() }),
        }
    }

    fn url_of(&self, batch: &Batch) -> Url {
        let repository = &self.source.repository;
        let (path, query) = match &batch.requests()[0] {
            Request::AlertPage { page, .. } => {
                let mut query =
                    format!("page={}&hide_related_and_invalid=True&limit={}", (*page).max(1), self.alert_page);
                // The server counts back from its clock; a day more makes up for a clock that differs from ours.
                let secs = Timestamp::now().as_secs() - self.alerts_since.as_secs() + 86_400;
                query.push_str(&format!("&timerange={}", secs.max(0)));
                if let Some(id) = self.source.alerts_repository_id {
                    query.push_str(&format!("&repository={id}"));
                }
                ("performance/alertsummary/".to_owned(), query)
            }
            Request::Frameworks => ("performance/framework/".to_owned(), String::new()),
            Request::Signatures { framework } => {
                let query = framework.map(|id| format!("framework={id}")).unwrap_or_default();
                (format!("project/{repository}/performance/signatures/"), query)
            }
            Request::UpdatedSignatures { framework } => {
                let since = self.data_window.start.plus_secs(-1);
                let mut query = format!("start_date={}", naive_param(since));
                if let Some(id) = framework {
                    query.push_str(&format!("&framework={id}"));
                }
                (format!("project/{repository}/performance/signatures/"), query)
            }
            Request::Summary { signature, window } => {
                // Both bounds are strict on the server: one second wider, and what is outside is dropped after.
                let start = naive_param(Timestamp::from_secs(window.start.as_secs() - 1));
                let end = naive_param(Timestamp::from_secs(window.end.as_secs() + 1));
                let query = format!(
                    "repository={repository}&signature={signature}&startday={start}&endday={end}&all_data=True&replicates=False"
                );
                ("performance/summary/".to_owned(), query)
            }
            Request::Job { .. } => {
                let ids: Vec<String> = batch.job_ids().map(|id| id.to_string()).collect();
                let query = format!("id__in={}&count={}", ids.join(","), ids.len());
                (format!("project/{repository}/jobs/"), query)
            }
        };
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/{path}", self.base.path().trim_end_matches('/')));
        url.set_query((!query.is_empty()).then_some(query.as_str()));
        url
    }

    async fn read_body(&self, mut response: Response) -> Result<Vec<u8>, SourceError> {
        let limit = self.source.max_body_bytes.get();
        let mut body = Vec::new();
        // Chunks arrive decompressed, so a small reply that unpacks to a large one stops here too.
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport_error(error))? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(SourceError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn status_error(&self, mut response: Response) -> SourceError {
        const EXCERPT_BYTES: usize = 512;
        let status = response.status();
        if status == StatusCode::FORBIDDEN {
            return SourceError::Forbidden;
        }
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after(value, Timestamp::now()));
        let is_json = is_json(&content_type_of(&response));
        let mut body = Vec::new();
        while body.len() < EXCERPT_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                _ => break, // the status says what matters
            }
        }
        let excerpt = if is_json { printable(&String::from_utf8_lossy(&body), 160) } else { String::new() };
        SourceError::Status { status: status.as_u16(), retry_after, excerpt }
    }

    fn transport_error(&self, error: reqwest::Error) -> SourceError {
        let error = error.without_url(); // the query can be pages long; the request is named elsewhere
        if error.is_connect() {
            let port = self.base.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
            SourceError::Connect { host: format!("{}{port}", self.base.host_str().unwrap_or_default()), source: error }
        } else if error.is_timeout() {
            SourceError::Timeout { timeout: self.source.timeout, source: error }
        } else if error.is_redirect() {
            SourceError::Redirect { source: error }
        } else {
            SourceError::Interrupted { source: error }
        }
    }
}

fn parse(batch: &Batch, body: &[u8]) -> Result<Reply, SourceError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| SourceError::BrokenJson { source: serde::de::Error::custom(error) })?;
    match batch.requests()[0] {
        Request::AlertPage { .. } => wire::alert_page(text),
        Request::Frameworks => wire::frameworks(text),
        Request::Signatures { .. } => wire::signatures(text),
        Request::UpdatedSignatures { .. } => wire::updated_signatures(text),
        Request::Summary { signature, window } => wire::summary(text, signature, window),
        Request::Job { .. } => wire::jobs(text, batch),
    }
}

/// True when the server says so; any other 404, such as a balancer's, says nothing about the list.
fn beyond_the_last_page(batch: &Batch, error: &SourceError) -> bool {
    let says_so = matches!(error, SourceError::Status { status: 404, excerpt, .. } if excerpt.contains("Invalid page"));
    says_so && matches!(batch.requests()[0], Request::AlertPage { page: 2.., .. })
}

fn naive_param(at: Timestamp) -> String {
    at.to_naive_string().replace(':', "%3A")
}

fn content_type_of(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.map_or_else(|| "no content type".to_owned(), |value| printable(&value, 80))
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"))
}

fn is_loopback(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Domain(name) => *name == "localhost",
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn same_host_redirects(host: String) -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > 5 {
            attempt.error("too many redirects")
        } else if attempt.url().host_str() == Some(host.as_str()) {
            attempt.follow()
        } else {
            attempt.error("a redirect to another host")
        }
    })
}

/// The wait that a `Retry-After` header asks for: seconds, or an HTTP date.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(at.as_second() - now.as_secs()).unwrap_or(0)))
}

/// An error without a reply.
#[cfg(test)]
pub(crate) fn broken_connection() -> SourceError {
    let Err(source) = reqwest::Proxy::all("::") else { panic!("that is no address") };
    SourceError::Interrupted { source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobId, SignatureId};

    fn treeherder() -> Treeherder {
        let source = SourceConfig { base_url: "http://127.0.0.1:1/th/".to_owned(), ..SourceConfig::default() };
        let window =
            Window { start: "2026-06-29T00:00:00".parse().unwrap(), end: "2026-11-22T08:00:00".parse().unwrap() };
        Treeherder::new(&source, &BatchConfig::default(), window, Timestamp::from_secs(0)).unwrap()
    }

    #[test]
    fn a_window_is_asked_one_second_wider_on_both_sides() {
        let treeherder = treeherder();
        let request = Request::Summary { signature: SignatureId(5), window: treeherder.data_window };
        assert_eq!(
            treeherder.url_of(&Batch::of(request)).as_str(),
            "http://127.0.0.1:1/th/api/performance/summary/?repository=autoland&signature=5\
             &startday=2026-06-28T23%3A59%3A59&endday=2026-11-22T08%3A00%3A01&all_data=True&replicates=False"
        );
    }

    #[test]
    fn the_default_batch_of_job_ids_fits_into_the_request_line() {
        let ids = (999_999_600..999_999_900).map(JobId).collect();
        let url = treeherder().url_of(&Batch::of_jobs(ids).unwrap());
        let line = format!("GET {}?{} HTTP/1.1\r\n", url.path(), url.query().unwrap());
        assert!(line.len() < 4094, "{}", line.len());
        assert!(url.as_str().ends_with("999999899&count=300"));
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_a_past_date_means_now() {
        let now: Timestamp = "2026-11-22T08:00:00".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 08:01:00 GMT", now), Some(Duration::from_mins(1)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 07:01:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
        assert_eq!(retry_after(&"9".repeat(40), now), Some(Duration::from_secs(u64::MAX)), "huge is huge, not absent");
    }

    #[test]
    fn only_the_servers_own_words_say_that_a_page_is_beyond_the_last() {
        let not_found =
            |excerpt: &str| SourceError::Status { status: 404, retry_after: None, excerpt: excerpt.to_owned() };
        let page = |page| Batch::of(Request::AlertPage { pass: 0, page });
        assert!(beyond_the_last_page(&page(2), &not_found(r#"{"detail":"Invalid page."}"#)));
        assert!(!beyond_the_last_page(&page(1), &not_found(r#"{"detail":"Invalid page."}"#)));
        assert!(!beyond_the_last_page(&page(2), &not_found(r#"{"detail":"Not found."}"#)));
        assert!(!beyond_the_last_page(&page(2), &not_found("")));
    }

    #[test]
    fn only_the_json_content_type_is_json() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("text/html; charset=utf-8") && !is_json("no content type"));
    }
}
