//! Changes of the configuration during a crawl.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use perfharvest::actor::Shutdown;
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, RunOptions};
use treeherder_sim::{Behaviour, Latency};

use crate::support::{Crawl, assert_same_artifacts, simulator, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_and_concurrency_changed_in_the_middle_lose_and_double_no_request() {
    let whole = {
        let simulator = simulator(Behaviour::default()).await;
        let crawl = Crawl::of(&simulator.url());
        crawl.run().await.unwrap();
        crawl.artifacts()
    };
    let latency = Latency::Fixed(Duration::from_millis(5));
    let simulator = simulator(Behaviour { latency, ..Behaviour::default() }).await;
    let crawl = Crawl::of(&simulator.url());
    let (sender, live) = pipeline::fixed_config(crawl.config.clone());
    let shutdown = Shutdown::new();
    let options = RunOptions { same_source: true, ..RunOptions::default() };
    let run = pipeline::run(live, options, &[], &shutdown, Arc::new(Counters::default()));
    let tune = async {
        for (asked, rate, summaries) in [(20, 200, 1), (45, 100_000, 12), (70, 400, 2), (95, 100_000, 1)] {
            wait_until("the requests are served", || simulator.served().total() >= asked).await;
            let mut config = crawl.config.clone();
            config.limiter.requests_per_second = NonZeroU32::new(rate).unwrap().into();
            config.concurrency.summaries = summaries.try_into().unwrap();
            sender.send_replace(Arc::new(config));
        }
    };
    let (summary, ()) = tokio::join!(run, tune);
    assert!(summary.unwrap().reduction.is_some());
    assert_same_artifacts(&whole, &crawl.artifacts());
    let arrivals = simulator.arrivals();
    let distinct: BTreeSet<_> = arrivals.iter().map(|arrival| &arrival.path_and_query).collect();
    assert_eq!(arrivals.len(), distinct.len());
}
