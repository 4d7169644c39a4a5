//! `/metrics` on loopback: the counters of a running crawl as Prometheus text.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Counters;
use super::counters::LATENCY_BOUNDS;
use crate::model::Kind;

/// Of the names of all metrics.
pub(super) const PREFIX: &str = "perfharvest";

/// Metrics cannot be served. Exit code 2.
#[derive(Debug, Error)]
pub enum MetricsError {
    /// The address cannot be bound.
    #[error("metrics.bind: cannot listen on {addr}")]
    Listen {
        /// `metrics.bind`
        addr: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

/// Serves metrics until it is dropped.
#[derive(Debug)]
pub struct Metrics(JoinHandle<()>);

impl Metrics {
    /// Serves `counters` and the store's number of commits at `bind`; serves nothing when `bind` is `None`.
    ///
    /// # Errors
    /// [`MetricsError::Listen`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn start(
        bind: Option<SocketAddr>,
        counters: Arc<Counters>,
        num_commits: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Option<Self>, MetricsError> {
        let Some(addr) = bind else { return Ok(None) };
        let listener = TcpListener::bind(addr).await.map_err(|source| MetricsError::Listen { addr, source })?;
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Crawl { counters, num_commits: Box::new(num_commits) }));
        let registry = Arc::new(registry);
        let answer = get(move || {
            let registry = Arc::clone(&registry);
            async move { scrape(&registry) }
        });
        tracing::info!("serving metrics at http://{addr}/metrics");
        let router = Router::new().route("/metrics", answer);
        Ok(Some(Self(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "cannot serve metrics any more");
            }
        }))))
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn scrape(registry: &Registry) -> impl IntoResponse + use<> {
    let mut text = String::new();
    let content = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, content)], text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, content)], String::new()),
    }
}

/// Reads all numbers at the moment of a scrape.
struct Crawl {
    counters: Arc<Counters>,
    /// Transactions committed to the store in all runs.
    num_commits: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Crawl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crawl").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// A counter's value, by the labels that name it.
type Rows<V> = Vec<(Vec<(&'static str, String)>, V)>;

impl Collector for Crawl {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counters = &self.counters;
        let of_kind = |kind: Kind| vec![("kind", kind.name().to_owned())];
        let kinds = Kind::ALL.map(|kind| (kind, counters.of(kind)));

        let mut requests: Rows<u64> = Vec::new();
        for kind in Kind::ALL {
            let (answered, ..) = counters.latencies(kind);
            requests.push((with(of_kind(kind), "outcome", "answered"), answered));
        }
        for ((kind, label), num) in counters.errors_by_kind() {
            requests.push((with(of_kind(kind), "outcome", &label), num));
        }
        count(&mut encoder, "requests", "HTTP requests that ended, by kind and outcome", None, &requests)?;
        let by_kind = |value: fn(&super::KindProgress) -> u64| -> Rows<u64> {
            kinds.iter().map(|(kind, now)| (of_kind(*kind), value(now))).collect()
        };
        count(&mut encoder, "retries", "HTTP requests after a first attempt", None, &by_kind(|now| now.retries))?;
        let bytes = by_kind(|now| now.body_bytes);
        count(&mut encoder, "body", "Bodies of answers, after decompression", Some(&Unit::Bytes), &bytes)?;
        let (tokens, waited) = counters.tokens();
        count(&mut encoder, "tokens", "Tokens taken from the bucket", None, &vec![(Vec::new(), tokens)])?;
        let waited = vec![(Vec::new(), waited.as_secs_f64())];
        count_secs(&mut encoder, "token_wait", "Sum of the times that fetchers waited for tokens", &waited)?;
        let commits = vec![(Vec::new(), (self.num_commits)())];
        count(&mut encoder, "store_commits", "Transactions of the store, in all runs", None, &commits)?;

        for (name, help, value) in [
            ("in_flight", "Requests in flight, until they are durable", by_kind(|now| now.in_flight)),
            ("pending", "Requests still to be asked", by_kind(|now| now.pending)),
            ("settled", "Requests settled, in all runs", by_kind(|now| now.settled)),
            ("failed", "Requests that failed", by_kind(|now| now.failed)),
            ("waiting_for_token", "Fetchers waiting for a token", vec![(Vec::new(), counters.waiting_for_token())]),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in value {
                let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&labels)?)?;
            }
        }
        let rate = ConstGauge::new(counters.rate());
        let help = "Requests per second that the bucket allows now";
        rate.encode(encoder.encode_descriptor("rate", help, None, MetricType::Gauge)?)?;

        let help = "Latency of answers, from sending to the last byte";
        let mut family = encoder.encode_descriptor("latency", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for kind in Kind::ALL {
            encode_latencies(&mut family.encode_family(&of_kind(kind))?, counters, kind)?;
        }
        Ok(())
    }
}

fn with(mut labels: Vec<(&'static str, String)>, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    labels.push((name, value.to_owned()));
    labels
}

fn count(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    rows: &Rows<u64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
    for (labels, value) in rows {
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn count_secs(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, rows: &Rows<f64>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
    for (labels, value) in rows {
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn encode_latencies(encoder: &mut MetricEncoder<'_>, counters: &Counters, kind: Kind) -> fmt::Result {
    let (answers, sum, by_bound) = counters.latencies(kind);
    let bounds = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(by_bound).collect();
    encoder.encode_histogram::<NoLabelSet>(sum, answers, &buckets, None)
}
