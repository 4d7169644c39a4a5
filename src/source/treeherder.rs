//! One HTTP request for a batch, its reply read as records.

use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::clock::{MARGIN_SECS, ServerClock};
use super::error::SourceError;
use super::http::{BodyReader, HttpServer, text_of};
use super::reply::{Reply, SignatureSink};
use super::{repositories, wire};
use crate::actor::Room;
use crate::config::{BatchConfig, SourceConfig};
use crate::model::{AskedPage, Batch, Request, Sorted, Timestamp, Window, nearest_names};

/// The API version that the server's own client asks for.
pub(super) const ACCEPT: &str = "application/json; version=1.1";

/// A Treeherder server, asked one request at a time. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Treeherder {
    http: HttpServer,
    source: SourceConfig,
    alert_page: u32,
    /// The window of all data; signatures without data in it are skipped.
    data_window: Window,
    /// Alert summaries of pushes at or after this are asked for.
    alerts_since: Timestamp,
    /// Also those that are downstream, reassigned or invalid.
    all_alert_statuses: bool,
    clock: ServerClock,
}

/// Turns a body into a reply.
type Parse = Box<dyn FnOnce(&[u8]) -> Result<Reply, SourceError> + Send>;

/// A reply with its cost.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The records.
    pub(crate) reply: Reply,
    /// Bytes of the body, after decompression.
    pub(crate) body_bytes: u64,
    /// From sending to the last byte.
    pub(crate) latency: Duration,
    /// The records' part of the budget of all bodies, to be given back when they are stored.
    pub(crate) room: Room,
}

impl Treeherder {
    /// Prepares a client for the server of `source`. Nothing is sent.
    ///
    /// # Errors
    /// [`SourceError::Connect`] when TLS or the configured address cannot be set up.
    pub(crate) fn new(
        source: &SourceConfig,
        batch: &BatchConfig,
        data_window: Window,
        alerts_since: Timestamp,
        clock: ServerClock,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            http: HttpServer::new(&source.base_url, "source.base_url", source)?.comparing(clock.clone()),
            source: source.clone(),
            alert_page: batch.alert_page.get(),
            data_window,
            alerts_since,
            all_alert_statuses: false,
            clock,
        })
    }

    /// Asks for alert summaries of all statuses if `all`, and without those that are downstream, reassigned or invalid if not.
    #[must_use]
    pub(crate) fn with_alert_statuses(self, all: bool) -> Self {
        Self { all_alert_statuses: all, ..self }
    }

    /// Asks once whether the server has the repository.
    ///
    /// # Errors
    /// [`SourceError::UnknownRepository`] when it has not; any other error says nothing about it.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub(crate) async fn check_repository(&self) -> Result<(), SourceError> {
        let path = format!("api/project/{}/push/", self.source.repository);
        let asked = self.http.get(self.http.url(&path, "count=1"), ACCEPT).await;
        asked.map(drop).map_err(|error| error.about(&self.source.repository))
    }

    /// Asks once for the names of the server's repositories; returns those nearest to the configured one, the nearest
    /// first.
    ///
    /// # Errors
    /// [`SourceError`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub(crate) async fn nearest_repositories(&self) -> Result<Vec<String>, SourceError> {
        let names = self.http.get_json(self.http.url("api/repository/", ""), ACCEPT, repositories::names).await?;
        let nearest = nearest_names(&self.source.repository, names.iter().map(String::as_str));
        Ok(nearest.into_iter().map(ToOwned::to_owned).collect())
    }

    /// Asks once for the frameworks, as only Treeherder answers.
    ///
    /// # Errors
    /// [`SourceError`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub(crate) async fn check_server(&self) -> Result<(), SourceError> {
        let url = self.http.url("api/performance/framework/", "");
        self.http.get_json(url, ACCEPT, wire::frameworks).await.map(drop)
    }

    /// Asks for `batch` once. The signatures of a list go to `take`.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is retried here.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request; nothing is kept of it.
    pub(crate) async fn fetch(&self, batch: &Batch, take: SignatureSink) -> Result<Answer, SourceError> {
        self.ask(batch, take).await.map_err(|error| error.about(&self.source.repository))
    }

    async fn ask(&self, batch: &Batch, take: SignatureSink) -> Result<Answer, SourceError> {
        let parse: Parse = match batch.requests()[0] {
            Request::Signatures { .. } => return self.read(batch, |body| wire::signatures(body, take)).await,
            Request::UpdatedSignatures { .. } | Request::MovedSignatures { .. } => {
                return self.read(batch, wire::updated_signatures).await;
            }
            Request::AlertPage { .. } => {
                let asked = self.rows_of(batch);
                Box::new(move |body| wire::alert_page(body, asked))
            }
            Request::Frameworks => Box::new(|body| wire::frameworks(text_of(body)?)),
            Request::Summary { signature, window, replicates, .. } => {
                Box::new(move |body| wire::summary(body, signature, window, replicates))
            }
            Request::Job { .. } => {
                let batch = batch.clone();
                Box::new(move |body| wire::jobs(body, &batch))
            }
        };
        let sent = Instant::now();
        let body = match self.http.get(self.url_of(batch), ACCEPT).await {
            // The list has become shorter since its pages were counted, so the verdict on the pass will be `Shifted`.
            Err(error) if beyond_the_last_page(self.rows_of(batch), &error) => {
                let reply = Reply::AlertPage { count: 0, records: Sorted::default() };
                return Ok(Answer { reply, body_bytes: 0, latency: sent.elapsed(), room: Room::default() });
            }
            got => got?,
        };
        let latency = sent.elapsed();
        let body_bytes = body.len() as u64;
        let (reply, room) = self.http.parse(body, parse).await?;
        Ok(Answer { reply, body_bytes, latency, room })
    }

    /// Asks once, and reads the body as it arrives.
    async fn read(
        &self,
        batch: &Batch,
        read: impl FnOnce(BodyReader) -> Result<Reply, SourceError> + Send + 'static,
    ) -> Result<Answer, SourceError> {
        let sent = Instant::now();
        let (reply, body_bytes, room) = self.http.read(self.url_of(batch), ACCEPT, read).await?;
        Ok(Answer { reply, body_bytes, latency: sent.elapsed(), room })
    }

    /// The rows that a batch of alert summaries asks for; page 1 for other kinds.
    fn rows_of(&self, batch: &Batch) -> AskedPage {
        let page = if let Request::AlertPage { page, .. } = batch.requests()[0] { page } else { 1 };
        batch.rows().unwrap_or_else(|| AskedPage::of(page, self.alert_page))
    }

    /// The address of the request for `batch`.
    pub(crate) fn url_of(&self, batch: &Batch) -> Url {
        let repository = &self.source.repository;
        let (path, query) = match &batch.requests()[0] {
            Request::AlertPage { .. } => {
                let AskedPage { page, limit } = self.rows_of(batch);
                // Any value of the parameter, even False, hides them.
                let hide = if self.all_alert_statuses { "" } else { "&hide_related_and_invalid=True" };
                let mut query = format!("page={page}{hide}&limit={limit}");
                // The server counts back from its clock, which is not known before the first reply.
                let secs = self.clock.at(Timestamp::now()).as_secs() - self.alerts_since.as_secs() + MARGIN_SECS;
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
            Request::MovedSignatures { since } => {
                let since = naive_param(since.plus_secs(-1));
                (format!("project/{repository}/performance/signatures/"), format!("start_date={since}"))
            }
            Request::UpdatedSignatures { framework } => {
                let since = self.data_window.start.plus_secs(-1);
                let mut query = format!("start_date={}", naive_param(since));
                if let Some(id) = framework {
                    query.push_str(&format!("&framework={id}"));
                }
                (format!("project/{repository}/performance/signatures/"), query)
            }
            Request::Summary { signature, window, replicates, .. } => {
                // Both bounds are exclusive on the server: ask one second wider, and drop the data outside afterwards.
                let start = naive_param(Timestamp::from_secs(window.start.as_secs() - 1));
                let end = naive_param(Timestamp::from_secs(window.end.as_secs() + 1));
                let replicates = if *replicates { "True" } else { "False" };
                let query = format!(
                    "repository={repository}&signature={signature}&startday={start}&endday={end}&all_data=True\
                     &replicates={replicates}"
                );
                ("performance/summary/".to_owned(), query)
            }
            Request::Job { .. } => {
                let ids: Vec<String> = batch.job_ids().map(|id| id.to_string()).collect();
                let query = format!("id__in={}&count={}", ids.join(","), ids.len());
                (format!("project/{repository}/jobs/"), query)
            }
        };
        self.http.url(&format!("api/{path}"), &query)
    }
}

/// True when the server says so; any other 404, such as a load balancer's, says nothing about the list.
fn beyond_the_last_page(asked: AskedPage, error: &SourceError) -> bool {
    let says_so = matches!(error, SourceError::Status { status: 404, excerpt, .. } if excerpt.contains("Invalid page"));
    says_so && asked.page > 1
}

fn naive_param(at: Timestamp) -> String {
    at.to_naive_string().replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobId, SignatureId};

    fn treeherder() -> Treeherder {
        let source = SourceConfig { base_url: "http://127.0.0.1:1/th/".to_owned(), ..SourceConfig::default() };
        let window =
            Window { start: "2026-06-29T00:00:00".parse().unwrap(), end: "2026-11-22T08:00:00".parse().unwrap() };
        Treeherder::new(&source, &BatchConfig::default(), window, Timestamp::from_secs(0), ServerClock::default())
            .unwrap()
    }

    #[test]
    fn a_window_is_asked_one_second_wider_on_both_sides() {
        let treeherder = treeherder();
        for (replicates, text) in [(false, "False"), (true, "True")] {
            let window = treeherder.data_window;
            let request = Request::Summary { signature: SignatureId(5), harvest: 1, window, replicates };
            let url = format!(
                "http://127.0.0.1:1/th/api/performance/summary/?repository=autoland&signature=5\
                 &startday=2026-06-28T23%3A59%3A59&endday=2026-11-22T08%3A00%3A01&all_data=True&replicates={text}"
            );
            assert_eq!(treeherder.url_of(&Batch::of(request)).as_str(), url);
        }
    }

    #[test]
    fn alerts_are_asked_back_from_the_servers_time() {
        let treeherder = treeherder();
        let page = Batch::of(Request::AlertPage { pass: 0, page: 1 });
        let timerange = || -> i64 {
            let url = treeherder.url_of(&page);
            url.query_pairs().find(|(name, _)| name == "timerange").unwrap().1.parse().unwrap()
        };
        let before = timerange();
        let now = Timestamp::now();
        let ahead = jiff::Timestamp::from_second(now.as_secs() + 36_000).unwrap();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&ahead).unwrap();
        treeherder.clock.note(Some(&date), None, now).unwrap();
        assert!((timerange() - before - 36_000).abs() < 600, "{date}");
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
    fn only_the_servers_own_words_say_that_a_page_is_beyond_the_last() {
        let not_found =
            |excerpt: &str| SourceError::Status { status: 404, retry_after: None, excerpt: excerpt.to_owned() };
        let page = |page| AskedPage { page, limit: 100 };
        assert!(beyond_the_last_page(page(2), &not_found(r#"{"detail":"Invalid page."}"#)));
        assert!(!beyond_the_last_page(page(1), &not_found(r#"{"detail":"Invalid page."}"#)));
        assert!(!beyond_the_last_page(page(2), &not_found(r#"{"detail":"Not found."}"#)));
        assert!(!beyond_the_last_page(page(2), &not_found("")));
    }
}
