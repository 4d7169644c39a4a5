//! Replies: status, kind of content and body, and their conversion to HTTP responses.

use std::io::Write as _;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use flate2::{Compression, GzBuilder};

use crate::draw::Draw;

/// The kinds of content, each with its own headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// JSON from an endpoint that only reads.
    Json,
    /// JSON from the alert summaries, which also allow POST.
    JsonWithPost,
    /// JSON from one alert summary, which also allows changes.
    JsonWithPut,
    /// A page of the application.
    Html,
    /// The page for blocked clients: chunked, and sent before the server looks at cookies.
    BlockedHtml,
    /// A page of the HTTP server, which then closes the connection.
    GatewayHtml,
}

/// The answer of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content: Content,
    pub(crate) body: Vec<u8>,
    /// The number of data looked up, for [`kill_over_data`](crate::Behaviour::kill_over_data).
    pub(crate) num_data: usize,
    /// The alert summaries looked up, for [`kill_alerts`](crate::Behaviour::kill_alerts).
    pub(crate) alerts: Vec<u64>,
    /// Seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) gzip: Gzip,
}

/// The form of a compressed body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Gzip {
    #[default]
    Whole,
    /// Three members, the last one empty.
    Members,
    /// The first half of the bytes.
    Broken,
}

const INDEX_PAGE: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Treeherder</title></head>\
                          <body><div id=\"root\"></div></body></html>";

/// Bodies shorter than this are never compressed.
const SHORTEST_COMPRESSED: usize = 200;

impl Reply {
    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let (body, alerts) = (body.into(), Vec::new());
        Self { status, content: Content::Json, body, num_data: 0, alerts, retry_after: None, gzip: Gzip::Whole }
    }

    pub(crate) fn html(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { content: Content::Html, ..Self::json(status, body) }
    }

    /// `{"detail": …}`
    pub(crate) fn detail(status: u16, detail: &str) -> Self {
        let mut body = Vec::from(*b"{\"detail\":");
        crate::json_text::write_string(&mut body, detail);
        body.push(b'}');
        Self::json(status, body)
    }

    /// The page for an unhandled error.
    pub(crate) fn server_error() -> Self {
        Self::html(500, page("Server Error (500)"))
    }

    /// The page for a blocked client.
    pub(crate) fn forbidden() -> Self {
        Self { content: Content::BlockedHtml, ..Self::html(403, page("403 Forbidden")) }
    }

    /// The page for a request line beyond the limit.
    pub(crate) fn line_too_long(length: usize, limit: usize) -> Self {
        let body = format!(
            "<html>\n  <head>\n    <title>Bad Request</title>\n  </head>\n  <body>\n    <h1><p>Bad Request</p></h1>\n    \
             Request Line is too large ({length} &gt; {limit})\n  </body>\n</html>\n"
        );
        Self { content: Content::GatewayHtml, ..Self::html(400, body) }
    }

    /// An error page of the load balancer.
    pub(crate) fn gateway(status: u16) -> Self {
        let reason = reason(status);
        Self::html(status, page(&format!("{status} {reason}")))
    }

    /// The page of gunicorn for a worker that it ended after its time limit.
    pub(crate) fn killed() -> Self {
        let body = "<html>\n  <head>\n    <title>Internal Server Error</title>\n  </head>\n  <body>\n    \
                    <h1><p>Internal Server Error</p></h1>\n    \n  </body>\n</html>\n";
        Self { content: Content::GatewayHtml, ..Self::html(500, body) }
    }

    /// The page of the web application, which production serves for every path outside of the API.
    pub(crate) fn index_page() -> Self {
        Self::html(200, INDEX_PAGE)
    }

    /// A JSON reply with the headers of an endpoint that allows more methods.
    pub(crate) fn allowing(mut self, content: Content) -> Self {
        if self.content == Content::Json {
            self.content = content;
        }
        self
    }
}

/// The reason phrase of a status.
pub(crate) fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error")
}

fn page(title: &str) -> String {
    format!(
        "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>{title}</title>\n</head>\n<body>\n  \
         <h1>{title}</h1><p></p>\n</body>\n</html>\n"
    )
}

/// The manner of sending a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'a> {
    /// The Date header.
    pub(crate) date: &'a HeaderValue,
    /// Whether the client accepts gzip.
    pub(crate) accepts_gzip: bool,
    /// 0 to 9.
    pub(crate) gzip_level: u32,
    /// Whether the connection ends with this reply.
    pub(crate) close: bool,
    /// Seed of the random padding of compressed bodies, which Django adds against BREACH.
    pub(crate) padding: u64,
}

impl Reply {
    /// Makes the HTTP response.
    pub(crate) fn into_response(self, wire: &Wire<'_>) -> Response<Body> {
        let Self { status, content, body, retry_after, gzip, .. } = self;
        let close = wire.close || content == Content::GatewayHtml;
        let is_long = body.len() >= SHORTEST_COMPRESSED && wire.gzip_level > 0;
        let may_compress = (is_long || gzip != Gzip::Whole) && content != Content::GatewayHtml;
        let compressed = (may_compress && wire.accepts_gzip).then(|| compress_as(gzip, &body, wire)).flatten();
        let is_compressed = compressed.is_some();
        let body = compressed.unwrap_or(body);
        let length = body.len();

        let chunked = content == Content::BlockedHtml;
        let mut response = Response::new(if chunked {
            Body::from_stream(futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(body))]))
        } else {
            Body::from(body)
        });
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);

        let headers = response.headers_mut();
        let mut put = |name: HeaderName, value: &'static str| {
            headers.append(name, HeaderValue::from_static(value));
        };
        put(header::CONNECTION, if close { "close" } else { "keep-alive" });
        put(
            header::CONTENT_TYPE,
            match content {
                Content::Json | Content::JsonWithPost | Content::JsonWithPut => "application/json",
                Content::Html | Content::BlockedHtml => "text/html; charset=utf-8",
                Content::GatewayHtml => "text/html",
            },
        );
        if content != Content::GatewayHtml {
            put(header::SERVER, "gunicorn");
            match content {
                Content::Json => put(header::ALLOW, "GET, HEAD, OPTIONS"),
                Content::JsonWithPost => put(header::ALLOW, "GET, POST, HEAD, OPTIONS"),
                Content::JsonWithPut => put(header::ALLOW, "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"),
                _ => {}
            }
            put(
                header::VARY,
                match (content, may_compress) {
                    (Content::BlockedHtml, _) => "origin",
                    (_, true) => "Cookie, Accept-Encoding, origin",
                    (_, false) => "Cookie, origin",
                },
            );
            put(header::X_FRAME_OPTIONS, "DENY");
            put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
            put(header::REFERRER_POLICY, "origin-when-cross-origin");
            if is_compressed {
                put(header::CONTENT_ENCODING, "gzip");
            }
            headers.insert(header::DATE, wire.date.clone());
        }
        if !chunked {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Maximal length of the file name that pads the gzip header.
const LONGEST_PADDING: u64 = 100;

fn compress_as(gzip: Gzip, body: &[u8], wire: &Wire<'_>) -> Option<Vec<u8>> {
    let member = |body: &[u8]| compress(body, wire.gzip_level, wire.padding);
    match gzip {
        Gzip::Whole => member(body),
        Gzip::Members => {
            let (start, end) = body.split_at(body.len() / 2);
            Some([member(start)?, member(end)?, member(b"")?].concat())
        }
        Gzip::Broken => {
            let mut whole = member(body)?;
            whole.truncate(whole.len() / 2);
            Some(whole)
        }
    }
}

fn compress(body: &[u8], level: u32, seed: u64) -> Option<Vec<u8>> {
    let mut draw = Draw::of(seed, 0, body.len() as u64, 0);
    let padding: Vec<u8> =
        (0..=draw.below(LONGEST_PADDING)).map(|_| b"abcdefghijklmnop"[(draw.bits() >> 60) as usize]).collect();
    let mut encoder =
        GzBuilder::new().filename(padding).write(Vec::with_capacity(body.len() / 4), Compression::new(level.min(9)));
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_compressed_length_of_one_body_varies_and_its_content_does_not() {
        let body = br#"{"id":1,"name":"talos"}"#.repeat(40);
        let lengths: HashSet<usize> = (0..40)
            .map(|seed| {
                let compressed = compress(&body, 1, seed).unwrap();
                let mut again = Vec::new();
                flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut again).unwrap();
                assert_eq!(again, body);
                compressed.len()
            })
            .collect();
        assert!(lengths.len() > 5, "{lengths:?}");
    }

    #[test]
    fn error_pages_have_the_observed_length() {
        assert_eq!(Reply::server_error().body.len(), 145);
        assert_eq!(Reply::forbidden().body.len(), 135);
        assert_eq!(Reply::line_too_long(6058, 4094).body.len(), 163);
        assert_eq!(Reply::killed().body.len(), 141);
    }
}
