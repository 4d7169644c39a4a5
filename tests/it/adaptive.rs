//! A crawl that sends four times the requests that the server can handle.

use std::num::NonZeroU32;
use std::time::Duration;

use treeherder_sim::{BackendConfig, Behaviour, Endpoint, GeneratorConfig, Latency, Simulator, SimulatorConfig};

use crate::support::Crawl;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_above_the_servers_capacity_slows_down_and_loses_nothing() {
    // A machine with much other work may not send as many requests as the first server handles.
    for capacity in [40, 10, 2] {
        if is_met_by_a_crawl(capacity).await {
            return;
        }
    }
    panic!("the capacity was never met");
}

/// Crawls a server that handles `capacity` requests a second. Returns whether the crawl sent more.
async fn is_met_by_a_crawl(capacity: u32) -> bool {
    let behaviour = Behaviour {
        capacity: Some(capacity.into()),
        latency: Latency::Fixed(Duration::from_millis(5)),
        ..Behaviour::default()
    };
    let generated = GeneratorConfig {
        signatures: 300,
        data_per_signature: 5,
        alerts: 20,
        pushes: 50,
        ..GeneratorConfig::default()
    };
    let backend = BackendConfig::Generated(generated);
    let simulator =
        Simulator::start(SimulatorConfig { backend, behaviour, ..SimulatorConfig::default() }).await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.limiter.requests_per_second = NonZeroU32::new(4 * capacity).unwrap().into();
    crawl.config.limiter.burst = NonZeroU32::new(2).unwrap();
    crawl.config.limiter.adaptive = true;
    crawl.config.concurrency.summaries = 16.try_into().unwrap();
    crawl.config.retry.initial_delay = Duration::from_millis(300);
    crawl.config.retry.max_delay = Duration::from_secs(2);
    crawl.config.retry.max_attempts = NonZeroU32::new(20).unwrap();
    let summary = crawl.crawl_only().await.unwrap();
    assert_eq!((summary.counts.failed(), summary.counts.pending()), (0, 0));
    let served = simulator.served();
    assert!(served.with_status(Endpoint::Summary, 200) > 100);
    let refused: u64 = served.iter().filter(|(_, outcome, _)| outcome.to_string() == "429").map(|(.., n)| n).sum();
    // At the configured rate all along, three of four would be refused.
    assert!(refused * 2 < served.total(), "{refused} of {} refused", served.total());
    refused > 0
}
