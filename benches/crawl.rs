//! A whole crawl against the loopback simulator without a limit, beside a client that asks for the same and does
//! nothing with the answers, at the same concurrency: requests a second.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench that cannot go on has failed"
)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use perfharvest::actor::Shutdown;
use perfharvest::config::Config;
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, RunOptions};
use tokio::runtime::Runtime;
use treeherder_sim::{BackendConfig, Endpoint, GeneratorConfig, Simulator, SimulatorConfig, SimulatorHandle};

const CONCURRENCY: usize = 16;

/// Fewer signatures where the bench is only tried out (`--test`).
fn signatures() -> usize {
    if std::env::args().any(|arg| arg == "--test") { 100 } else { 2000 }
}

async fn simulator() -> SimulatorHandle {
    let generated = GeneratorConfig { signatures: signatures(), data_per_signature: 100, ..GeneratorConfig::default() };
    let backend = BackendConfig::Generated(generated);
    Simulator::start(SimulatorConfig { backend, ..SimulatorConfig::default() }).await.unwrap()
}

/// Crawls into a new store: every answer parsed, compressed, durably stored.
async fn crawl(url: &str) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    url.clone_into(&mut config.source.base_url);
    config.window.start = Some("2026-07-01T00:00:00Z".parse().unwrap());
    config.window.data_end = Some("2026-11-22T00:00:00Z".parse().unwrap());
    config.limiter.requests_per_second = NonZeroU32::new(1_000_000).unwrap().into();
    config.limiter.burst = NonZeroU32::new(1_000_000).unwrap();
    config.limiter.adaptive = false;
    config.concurrency.summaries = CONCURRENCY.try_into().unwrap();
    config.store.path = folder.path().join("store");
    config.log.progress = false;
    let (_keep, live) = pipeline::fixed_config(config);
    let started = Instant::now();
    let counters = Arc::new(Counters::default());
    let summary = pipeline::crawl(live, RunOptions::default(), &Shutdown::new(), counters).await.unwrap();
    assert_eq!((summary.counts.failed(), summary.counts.pending()), (0, 0));
    started.elapsed()
}

/// Asks for `paths`, reads every byte, and forgets it.
async fn read_all(url: &str, paths: &Arc<Vec<String>>) -> Duration {
    let client = reqwest::Client::builder().no_proxy().gzip(true).build().unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let readers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (client, url, paths, next) = (client.clone(), url.to_owned(), Arc::clone(paths), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    client.get(format!("{url}{path}")).send().await.unwrap().bytes().await.unwrap();
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    started.elapsed()
}

fn requests_per_second(criterion: &mut Criterion) {
    let _only_once = rustls::crypto::ring::default_provider().install_default();
    let runtime = Runtime::new().unwrap();
    let simulator = runtime.block_on(simulator());
    let url = simulator.url();
    runtime.block_on(crawl(&url)); // finds out what is asked
    let arrivals = simulator.arrivals();
    let summaries = arrivals.iter().filter(|arrival| arrival.endpoint == Endpoint::Summary).count();
    assert!(summaries > 0);
    let paths = Arc::new(arrivals.into_iter().map(|arrival| arrival.path_and_query).collect::<Vec<_>>());

    let mut group = criterion.benchmark_group("requests");
    group.sample_size(10).throughput(Throughput::Elements(paths.len() as u64));
    group.bench_function("crawl", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| runtime.block_on(crawl(&url))).sum());
    });
    group.bench_function("read_and_forget", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| runtime.block_on(read_all(&url, &paths))).sum());
    });
    group.finish();
}

criterion_group!(benches, requests_per_second);
criterion_main!(benches);
