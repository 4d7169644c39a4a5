//! A scrape during a crawl.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use perfharvest::simulator::{Behaviour, Latency};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Crawl, simulator};

async fn scrape(addr: SocketAddr) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(addr).await.ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_crawl_serves_what_it_counts() {
    let latency = Latency::Fixed(Duration::from_millis(5));
    let faults = vec!["502=0.1".parse().unwrap()];
    let simulator = simulator(Behaviour { latency, faults, ..Behaviour::default() }).await;
    let mut crawl = Crawl::of(&simulator.url());
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // free a moment ago
    crawl.config.metrics.bind = Some(addr);
    let scraped = async {
        loop {
            if simulator.served().total() > 60
                && let Some(text) = scrape(addr).await
            {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let (summary, text) = tokio::join!(crawl.run(), scraped);
    summary.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    for line in [
        "perfharvest_requests_total{kind=\"summaries\",outcome=\"answered\"}",
        "outcome=\"http_502\"}",
        "perfharvest_retries_total{kind=\"summaries\"}",
        "perfharvest_tokens_total",
        "perfharvest_token_wait_seconds_total",
        "perfharvest_rate 100000.0",
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
