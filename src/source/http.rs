//! One HTTP GET, its reply checked before anything is parsed. The only file with reqwest.
//!
//! An address goes in, the body of a JSON reply comes out, or a [`SourceError`] that names the unexpected reply.
//! Promises: no body over `source.max_body_bytes` is read, all bodies together take no more memory than
//! `source.max_total_bytes`, no redirect is followed, excerpts of replies in errors are printable.

use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AGE, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::body::{ACCEPTED_ENCODINGS, BodyDecoder};
use super::clock::ServerClock;
use super::error::SourceError;
use super::held_body::HeldBody;
use crate::actor::{BlockingError, Budget, Room, blocking, parallelism};
use crate::config::SourceConfig;
use crate::model::{Timestamp, printable};

/// Larger bodies are parsed outside the runtime's own threads, bytes: a millisecond's work.
const PARSE_INLINE_BYTES: usize = 256 << 10;

/// A server error after this long ends a query that took too long: the server allows 30 s. Other errors come at once.
pub(crate) const GAVE_UP_AFTER: Duration = Duration::from_secs(25);

/// Some proxies put it before a text. It is not part of JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Maximum number of pieces, each up to 64 kB, that wait for the reader of a body.
const PIECES_AHEAD: usize = 16;

/// A server, asked one request at a time. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub(super) struct HttpServer {
    client: Client,
    base: Url,
    timeout: Duration,
    max_body_bytes: u64,
    /// Of all bodies of this server.
    budget: Budget,
    /// Limits the number of large bodies that are parsed at once: parsing takes memory in addition to body and records.
    parsers: Arc<Semaphore>,
    /// Compared with ours at each reply; `None`: no request depends on it.
    clock: Option<ServerClock>,
}

impl HttpServer {
    /// Prepares a client for the server at `base_url`, which `key` configures, with the User-Agent, timeouts and limits
    /// of `source`. Nothing is sent.
    pub(super) fn new(base_url: &str, key: &'static str, source: &SourceConfig) -> Result<Self, SourceError> {
        static PROVIDER: Once = Once::new();
        // Fails only when the program has installed another one, which serves as well.
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let host_error = |source_error| SourceError::Connect { host: base_url.to_owned(), source: source_error };
        let base = Url::parse(base_url)
            .map_err(|error| SourceError::WrongShape { endpoint: key, found: error.to_string() })?;
        let mut builder = Client::builder()
            .user_agent(&source.user_agent)
            .timeout(source.timeout)
            .connect_timeout(source.connect_timeout)
            // Each hop would be a request without a token; and the API has no redirects.
            .redirect(reqwest::redirect::Policy::none())
            .no_gzip(); // it stops after the first member
        if base.host().is_some_and(|host| is_loopback(&host)) {
            builder = builder.no_proxy(); // a server on this machine is not behind the proxy
        }
        Ok(Self {
            client: builder.build().map_err(host_error)?,
            base,
            timeout: source.timeout,
            max_body_bytes: source.max_body_bytes.get(),
            budget: Budget::new(source.max_total_bytes.get()),
            parsers: Arc::new(Semaphore::new(parallelism())),
            clock: None,
        })
    }

    /// Compares our clock with the server's at each reply.
    pub(super) fn comparing(self, clock: ServerClock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The address of `path` (without a slash at its front) under the server's own.
    pub(super) fn url(&self, path: &str, query: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url.set_query((!query.is_empty()).then_some(query));
        url
    }

    /// Asks once; returns the body of a JSON reply with status 200.
    pub(super) async fn get(&self, url: Url, accept: &'static str) -> Result<HeldBody, SourceError> {
        let mut body = HeldBody::new(&self.budget);
        let mut reply = self.ask(url, accept).await?;
        while let Some(bytes) = self.bytes(&mut reply).await? {
            body.append(&bytes).await?;
        }
        Ok(body)
    }

    /// As [`HttpServer::get`], for a long body that is not kept as a whole: `read` consumes it as it arrives, on a
    /// thread of its own, and must read to its end. Also returns the body's length in bytes. The budget is charged this
    /// length, since the result of `read` may be as large.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        url: Url,
        accept: &'static str,
        read: impl FnOnce(BodyReader) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<(T, u64, Room), SourceError> {
        let mut reply = self.ask(url, accept).await?;
        let mut room = Room::default();
        let (pieces, inbox) = flume::bounded(PIECES_AHEAD);
        let reading = blocking(move || read(BodyReader { inbox, piece: Vec::new(), at: 0 }));
        let mut mark = Some(BYTE_ORDER_MARK);
        while let Some(mut bytes) = self.bytes(&mut reply).await? {
            if mark.take().is_some_and(|mark| bytes.starts_with(mark)) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if reply.decoder.num_bytes() > self.budget.largest_room() {
                return Err(SourceError::TooLarge { limit: self.budget.largest_room() });
            }
            self.budget.grow(&mut room, bytes.len() as u64).await;
            if pieces.send_async(bytes).await.is_err() {
                break; // the reader has stopped at an error
            }
        }
        drop(pieces); // the body has ended
        Ok((reading.await.map_err(of_parser)??, reply.decoder.num_bytes(), room))
    }

    /// Parses `body`, outside the runtime's own threads when it is large. Also returns its part of the budget.
    pub(super) async fn parse<T: Send + 'static>(
        &self,
        body: HeldBody,
        parse: impl FnOnce(&[u8]) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<(T, Room), SourceError> {
        let (body, room) = body.into_parts();
        let is_small = body.len() <= PARSE_INLINE_BYTES;
        let read = move || parse(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body));
        if is_small {
            return read().map(|parsed| (parsed, room));
        }
        let _parser = self.parsers.acquire().await; // never closed
        Ok((blocking(read).await.map_err(of_parser)??, room))
    }

    /// Asks once, and parses a body that must be UTF-8 as a whole.
    pub(super) async fn get_json<T: Send + 'static>(
        &self,
        url: Url,
        accept: &'static str,
        parse: impl FnOnce(&str) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let body = self.get(url, accept).await?;
        Ok(self.parse(body, |bytes| parse(text_of(bytes)?)).await?.0)
    }

    /// Asks once; returns a JSON reply with status 200, its body not read yet.
    async fn ask(&self, url: Url, accept: &'static str) -> Result<OpenReply, SourceError> {
        let request = self.client.get(url).header(ACCEPT, accept).header(ACCEPT_ENCODING, ACCEPTED_ENCODINGS);
        let sent = Instant::now();
        let response = request.send().await.map_err(|error| self.transport_error(error))?;
        let status = response.status();
        if gave_up(status, sent.elapsed()) {
            return Err(SourceError::GaveUp { status: status.as_u16(), took: sent.elapsed() });
        }
        if status != StatusCode::OK {
            return Err(self.status_error(response).await);
        }
        let content_type = content_type_of(&response);
        if !is_json(&content_type) {
            return Err(SourceError::NotJson { status: status.as_u16(), content_type });
        }
        if let Some(clock) = &self.clock {
            let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
            clock.note(text(DATE), text(AGE), Timestamp::now())?;
        }
        OpenReply::new(response, self.max_body_bytes)
    }

    /// The next bytes of the body, decompressed; never none of them. The limit holds for these, so a small reply that
    /// unpacks to a large one is refused too.
    async fn bytes(&self, reply: &mut OpenReply) -> Result<Option<Vec<u8>>, SourceError> {
        while let Some(response) = &mut reply.response {
            let bytes = if reply.at < reply.chunk.len() {
                let mut left = &reply.chunk[reply.at..];
                let bytes = reply.decoder.decode(&mut left)?;
                reply.at = reply.chunk.len() - left.len();
                bytes
            } else if let Some(chunk) = response.chunk().await.map_err(|error| self.transport_error(error))? {
                (reply.chunk, reply.at) = (chunk.to_vec(), 0);
                continue;
            } else {
                reply.response = None;
                reply.decoder.finish()?
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    async fn status_error(&self, response: Response) -> SourceError {
        const EXCERPT_BYTES: usize = 512;
        let status = response.status();
        if status == StatusCode::FORBIDDEN {
            return SourceError::Forbidden;
        }
        if status.is_redirection()
            && let Some(location) = response.headers().get(LOCATION)
        {
            let location = printable(&String::from_utf8_lossy(location.as_bytes()), 160);
            return SourceError::Redirect { status: status.as_u16(), location };
        }
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after(value, Timestamp::now()));
        let content_type = content_type_of(&response);
        let is_json = is_json(&content_type);
        if status == StatusCode::NOT_FOUND && !is_json {
            return SourceError::NotJson { status: status.as_u16(), content_type }; // Treeherder's own are JSON
        }
        let mut body = Vec::new();
        if let Ok(mut reply) = OpenReply::new(response, self.max_body_bytes) {
            while body.len() < EXCERPT_BYTES
                && let Ok(Some(bytes)) = self.bytes(&mut reply).await
            // the status is enough
            {
                body.extend(bytes);
            }
        }
        body.truncate(EXCERPT_BYTES);
        let excerpt = if is_json { printable(&String::from_utf8_lossy(&body), 160) } else { String::new() };
        SourceError::Status { status: status.as_u16(), retry_after, excerpt }
    }

    fn transport_error(&self, error: reqwest::Error) -> SourceError {
        let error = error.without_url(); // the query can be pages long; the request is named elsewhere
        if error.is_connect() {
            let port = self.base.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
            SourceError::Connect { host: format!("{}{port}", self.base.host_str().unwrap_or_default()), source: error }
        } else if error.is_timeout() {
            SourceError::Timeout { timeout: self.timeout, source: error }
        } else {
            SourceError::Interrupted { source: error }
        }
    }
}

/// A reply whose body arrives.
struct OpenReply {
    /// `None` at the body's end.
    response: Option<Response>,
    decoder: BodyDecoder,
    /// The last chunk that arrived, and the beginning of its part that is not decoded yet.
    chunk: Vec<u8>,
    at: usize,
}

impl OpenReply {
    fn new(response: Response, limit: u64) -> Result<Self, SourceError> {
        let encoding = response.headers().get(CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let decoder = BodyDecoder::new(encoding.as_deref(), limit)?;
        Ok(Self { response: Some(response), decoder, chunk: Vec::new(), at: 0 })
    }
}

/// A body that is read while it arrives.
#[derive(Debug)]
pub(super) struct BodyReader {
    /// From the connection; it closes at the body's end, and also where the body is cut off: the sender knows which.
    inbox: flume::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl io::Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.inbox.recv() {
                Ok(piece) => (self.piece, self.at) = (piece, 0),
                Err(flume::RecvError::Disconnected) => return Ok(0),
            }
        }
        let len = out.len().min(self.piece.len() - self.at);
        out[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

pub(super) fn text_of(bytes: &[u8]) -> Result<&str, SourceError> {
    std::str::from_utf8(bytes).map_err(|error| SourceError::BrokenJson { source: serde::de::Error::custom(error) })
}

fn of_parser(error: BlockingError) -> SourceError {
    match error {
        BlockingError::Panicked => {
            SourceError::WrongShape { endpoint: "the server", found: "the parser panicked".to_owned() }
        }
        BlockingError::Thread(source) => SourceError::Thread { source },
    }
}

fn gave_up(status: StatusCode, took: Duration) -> bool {
    matches!(status.as_u16(), 500 | 502 | 504) && took >= GAVE_UP_AFTER
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
    let Err(source) = reqwest::Proxy::all("::") else { panic!("an invalid address was accepted") };
    SourceError::Interrupted { source }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_late_server_error_ends_a_slow_query_and_an_early_one_is_an_error() {
        let is_late = |status, secs| gave_up(StatusCode::from_u16(status).unwrap(), Duration::from_secs(secs));
        for status in [500, 502, 504] {
            assert!(is_late(status, 25) && is_late(status, 31) && !is_late(status, 24), "{status}");
        }
        assert!(!is_late(404, 31) && !is_late(503, 31) && !is_late(429, 31) && !is_late(200, 31));
    }

    #[test]
    fn only_the_json_content_type_is_json() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("text/html; charset=utf-8") && !is_json("no content type"));
    }
}
