//! A scrape during a crawl.

use std::net::SocketAddr;
use std::time::Duration;

use perfharvest::actor::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use treeherder_sim::{Behaviour, Latency};

use crate::support::{Crawl, limit_to, silent_port, simulator, wait_until};

async fn scrape(addr: SocketAddr) -> String {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_crawl_serves_what_it_counts() {
    let latency = Latency::Fixed(Duration::from_millis(5));
    let faults = vec!["502=0.1".parse().unwrap()];
    let simulator = simulator(Behaviour { latency, faults, ..Behaviour::default() }).await;
    let mut crawl = Crawl::of(&simulator.url());
    let (_port, addr) = silent_port();
    crawl.config.metrics.bind = Some(addr);
    limit_to(&mut crawl.config, 80);
    let shutdown = Shutdown::new();
    let scraped = async {
        wait_until("the requests are served", || simulator.served().total() > 60).await;
        let text = scrape(addr).await;
        shutdown.drain();
        text
    };
    let (summary, text) = tokio::join!(crawl.run_until(&shutdown), scraped);
    assert!(summary.unwrap().crawl.interrupted);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    for line in [
        "perfharvest_requests_total{kind=\"summaries\",outcome=\"answered\"}",
        "outcome=\"http_502\"}",
        "perfharvest_retries_total{kind=\"summaries\"}",
        "perfharvest_tokens_total",
        "perfharvest_token_wait_seconds_total",
        "perfharvest_rate 1.0",
        "perfharvest_in_flight{kind=\"summaries\"}",
        "perfharvest_pending{kind=\"job_details\"}",
        "perfharvest_settled{kind=\"alerts\"}",
        "perfharvest_failed{kind=\"alerts\"} 0",
        "perfharvest_store_commits_total",
        "perfharvest_body_bytes_total{kind=\"summaries\"}",
        "perfharvest_latency_seconds_bucket{le=\"0.5\",kind=\"summaries\"}",
        "le=\"+Inf\"",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
