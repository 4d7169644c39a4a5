//! The HTTP server: accepts connections, and gives each request a scripted reply, a fault or an answer.
//!
//! One task accepts connections, and one task serves each connection. All of them watch the shutdown token: it ends
//! every wait (latency, hanging, the time limit) and every idle connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use futures_util::{StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alterations::World;
use crate::answer::{Asked, answer};
use crate::arrival::{ArrivalBook, OpenEntry, Outcome};
use crate::control::{LONGEST_BODY, control, is_control};
use crate::endpoint::{Endpoint, Route};
use crate::fate::Fates;
use crate::fault::FaultKind;
use crate::moment;
use crate::reply::{Gzip, Reply, Wire};
use crate::script::{Action, Script, ScriptedReply};
use crate::view::View;

/// How long connections may take to end once the server shuts down.
const GRACE: Duration = Duration::from_secs(1);
/// How long to wait when the system refuses to accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// State shared by all connections.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) world: World,
    pub(crate) fates: Fates,
    pub(crate) script: Script,
    pub(crate) book: Arc<ArrivalBook>,
    pub(crate) gzip_level: u32,
    pub(crate) shutdown: CancellationToken,
}

/// The connection ends without a complete reply.
#[derive(Debug, thiserror::Error)]
#[error("the simulated server dropped the connection")]
struct Hangup;

/// Accepts connections until shutdown.
pub(crate) async fn accept(server: Arc<Server>, listener: TcpListener, connections: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = server.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(Arc::clone(&server), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(server: Arc<Server>, stream: TcpStream) {
    // Otherwise small replies wait for acknowledgements. A failure only costs speed.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let socket = Socket { stream, reset: Arc::clone(&reset) };
    let shutdown = server.shutdown.clone();
    let service = service_fn(move |request| {
        let (server, reset) = (Arc::clone(&server), Arc::clone(&reset));
        async move {
            if is_control(request.uri().path()) {
                server.control(request).await
            } else {
                server.serve(&request, &reset).await
            }
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended");
            }
        }
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GRACE, connection).await;
        }
    }
}

impl Server {
    async fn serve(&self, request: &Request<Incoming>, reset: &AtomicBool) -> Result<Response<Body>, Hangup> {
        let uri = request.uri();
        let path_and_query = uri.path_and_query().map_or("", |path| path.as_str());
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let asked = Asked {
            method: request.method().as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or(""),
            host: text(header::HOST).unwrap_or("localhost"),
            user_agent: text(header::USER_AGENT),
            accept: text(header::ACCEPT),
        };
        let endpoint = Route::of(asked.path).endpoint();
        let entry = self.book.enter(endpoint, path_and_query, asked.user_agent);

        if let Some(scripted) = self.script.take(endpoint, path_and_query) {
            self.pause(scripted.delay).await?;
            if scripted.action != Action::Answer {
                return self.play(scripted, entry, reset).await;
            }
        } else if !self.fates.admit() {
            let reply = self.too_many_requests();
            return Ok(self.settle(entry, reply, headers));
        }
        self.pause(self.fates.latency(entry.number())).await?;
        if let Some(kind) = self.fates.fault(endpoint, path_and_query) {
            return self.fail(kind, &asked, entry, headers, reset).await;
        }
        let reply = answer(&View::of(&self.world), &asked);
        let behaviour = self.fates.behaviour();
        let is_killed = behaviour.kill_over_data.is_some_and(|most| reply.num_data > most)
            || reply.alerts.iter().any(|id| behaviour.kill_alerts.contains(id));
        if is_killed {
            self.pause(behaviour.kill_after).await?;
            let outcome = Outcome::Fault("killed");
            if behaviour.kill_hangs_up {
                entry.settle(outcome);
                return Err(Hangup);
            }
            return Ok(self.settle_as(outcome, entry, Reply::killed(), headers));
        }
        if endpoint == Endpoint::AlertSummary && reply.status == 200 {
            self.world.alert_request_answered();
        }
        Ok(self.settle(entry, reply, headers))
    }

    async fn control(&self, request: Request<Incoming>) -> Result<Response<Body>, Hangup> {
        let (parts, body) = request.into_parts();
        let reply = match axum::body::to_bytes(Body::new(body), LONGEST_BODY).await {
            Ok(body) => control(&self.world, parts.method.as_str(), parts.uri.path(), &body),
            Err(_) => Reply::detail(400, &format!("the body is not a time: it has more than {LONGEST_BODY} bytes")),
        };
        let date = self.date();
        let close = wants_close(&parts.headers);
        Ok(reply.into_response(&Wire { date: &date, accepts_gzip: false, gzip_level: 0, close, padding: 0 }))
    }

    fn too_many_requests(&self) -> Reply {
        let retry_after = self.fates.behaviour().retry_after;
        let retry_after = retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        Reply { retry_after, ..Reply::gateway(429) }
    }

    fn settle(&self, entry: OpenEntry, reply: Reply, headers: &HeaderMap) -> Response<Body> {
        self.settle_as(Outcome::Status(reply.status), entry, reply, headers)
    }

    fn settle_as(&self, outcome: Outcome, entry: OpenEntry, reply: Reply, headers: &HeaderMap) -> Response<Body> {
        let wire = Wire {
            date: &self.date(),
            accepts_gzip: accepts_gzip(headers),
            gzip_level: self.gzip_level,
            close: !self.fates.behaviour().keep_alive || wants_close(headers),
            padding: entry.number(),
        };
        entry.settle(outcome);
        reply.into_response(&wire)
    }

    /// Waits. A shutdown ends the wait early and abandons the request.
    async fn pause(&self, time: Duration) -> Result<(), Hangup> {
        if time.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.shutdown.cancelled() => Err(Hangup),
        }
    }

    async fn hang(&self, entry: OpenEntry) -> Hangup {
        entry.settle(FaultKind::Hang.outcome());
        self.shutdown.cancelled().await;
        Hangup
    }

    async fn play(
        &self,
        scripted: ScriptedReply,
        entry: OpenEntry,
        reset: &AtomicBool,
    ) -> Result<Response<Body>, Hangup> {
        match scripted.action {
            Action::Reply { status, headers, body, declared } => {
                let mut response = if let Some(declared) = declared {
                    entry.settle(FaultKind::Cut.outcome());
                    self.torn(body, declared)
                } else {
                    entry.settle(Outcome::Status(status));
                    let length = body.len();
                    self.bare(Body::from(body), length)
                };
                *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                for (name, value) in headers {
                    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                        response.headers_mut().insert(name, value);
                    }
                }
                Ok(response)
            }
            Action::Reset => Err(reset_connection(entry, reset)),
            Action::Close | Action::Answer => {
                entry.settle(Outcome::Fault("close"));
                Err(Hangup)
            }
            Action::Hang => Err(self.hang(entry).await),
        }
    }

    async fn fail(
        &self,
        kind: FaultKind,
        asked: &Asked<'_>,
        entry: OpenEntry,
        headers: &HeaderMap,
        reset: &AtomicBool,
    ) -> Result<Response<Body>, Hangup> {
        let reply = match kind {
            FaultKind::Status(429) => self.too_many_requests(),
            FaultKind::Status(403) => Reply::forbidden(),
            FaultKind::Status(404) => Reply::detail(404, "Not found."),
            FaultKind::Status(500) => Reply::server_error(),
            FaultKind::Status(status) => Reply::gateway(status),
            FaultKind::Reset => return Err(reset_connection(entry, reset)),
            FaultKind::Hang => return Err(self.hang(entry).await),
            FaultKind::Cut => {
                entry.settle(kind.outcome());
                let mut body = answer(&View::of(&self.world), asked).body;
                let declared = body.len();
                body.truncate(declared / 2);
                return Ok(self.torn(body, declared));
            }
            FaultKind::Html => Reply::index_page(),
            FaultKind::BrokenJson => {
                let mut reply = answer(&View::of(&self.world), asked);
                let half = reply.body.len() / 2;
                reply.body.truncate(half);
                reply
            }
            FaultKind::WrongShape => Reply::json(200, wrong_shape(Route::of(asked.path).endpoint())),
            FaultKind::EmptyBody => Reply::json(200, ""),
            FaultKind::GzipMembers => Reply { gzip: Gzip::Members, ..answer(&View::of(&self.world), asked) },
            FaultKind::BrokenGzip => Reply { gzip: Gzip::Broken, ..answer(&View::of(&self.world), asked) },
        };
        Ok(self.settle_as(kind.outcome(), entry, reply, headers))
    }

    /// The Date header: the real time, so that a client can compare it with its clock, and the configured skew.
    fn date(&self) -> HeaderValue {
        date_header(jiff::Timestamp::now().as_second().saturating_add(self.fates.behaviour().date_skew_secs))
    }

    /// A reply with the fewest headers: of a script or a torn one.
    fn bare(&self, body: Body, length: usize) -> Response<Body> {
        let mut response = Response::new(body);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        fields.insert(header::DATE, self.date());
        response
    }

    /// A reply that declares more bytes than it sends, and then breaks the connection.
    fn torn(&self, sent: Vec<u8>, declared: usize) -> Response<Body> {
        let start = stream::iter([Ok::<Bytes, Hangup>(Bytes::from(sent))]);
        let end = stream::once(async {
            // Lets the sent bytes reach the socket first.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            Err(Hangup)
        });
        self.bare(Body::from_stream(start.chain(end)), declared)
    }
}

fn reset_connection(entry: OpenEntry, reset: &AtomicBool) -> Hangup {
    reset.store(true, Ordering::Relaxed);
    entry.settle(FaultKind::Reset.outcome());
    Hangup
}

/// A list for an endpoint that sends an object, and an object for one that sends a list.
fn wrong_shape(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Signatures | Endpoint::AlertSummary | Endpoint::Jobs | Endpoint::Push => "[[1,2,3]]",
        _ => "{\"unexpected\":true}",
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(header::ACCEPT_ENCODING);
    listed.iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("gzip"))
}

fn wants_close(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONNECTION).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// A socket that resets the connection when it is dropped, if `reset` is set.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Closing with nothing lingering sends RST instead of FIN.
            let _: Result<(), io::Error> = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            // A FIN now would come before the RST.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The value of the Date header.
fn date_header(seconds: i64) -> HeaderValue {
    let date = moment::http_date(seconds).and_then(|date| HeaderValue::try_from(date).ok());
    date.unwrap_or(HeaderValue::from_static(""))
}
