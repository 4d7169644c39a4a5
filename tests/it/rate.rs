//! Requests never exceed the tokens of the bucket, including retries. Also: the order of the work.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use perfharvest::actor::Shutdown;
use perfharvest::model::{JobId, Kind, Request, Timestamp};
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, RunOptions};
use perfharvest::store::Store;
use tokio::time::Instant;
use treeherder_sim::{Arrival, Behaviour, Endpoint};

use crate::support::{Crawl, simulator, wait_until};

fn non_zero(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Crawls the corpus at `rate` with 12 fetchers and a tenth of the requests failing. Returns the arrivals, and the
/// maximum seconds between the start of the server and of the crawl.
async fn arrivals_at(rate: u32, burst: u32) -> (Vec<Arrival>, f64) {
    let faults = vec!["502=0.05".parse().unwrap(), "429=0.05".parse().unwrap()];
    let simulator = simulator(Behaviour { faults, ..Behaviour::default() }).await;
    let server_started = Instant::now();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.limiter.requests_per_second = non_zero(rate).into();
    crawl.config.limiter.burst = non_zero(burst);
    crawl.config.concurrency.summaries = 12.try_into().unwrap();
    crawl.config.retry.max_attempts = non_zero(20);
    let before_crawl = server_started.elapsed().as_secs_f64();
    crawl.run().await.unwrap();
    (simulator.arrivals(), before_crawl)
}

/// No arrival comes before its token can have been given. The k-th token of a bucket that was full at the start is
/// given `(k - burst) / rate` after it at the soonest, and a request arrives after its token; so this needs no
/// allowance for a slow machine. The run's second crawl, of the busiest revision's jobs, takes from the same bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_with_retries_never_sends_more_than_the_bucket_gives() {
    for (rate, burst) in [(60, 1), (200, 4)] {
        let (arrivals, before_crawl) = arrivals_at(rate, burst).await;
        let refused = arrivals.iter().filter(|arrival| arrival.outcome.to_string() != "200").count();
        assert!(refused > 4, "{refused}");
        for (number, arrival) in arrivals.iter().enumerate() {
            let since_start = arrival.at.as_secs_f64() - before_crawl;
            let allowed = f64::from(rate) * since_start + f64::from(burst);
            let sent = f64::from(u32::try_from(number + 1).unwrap());
            assert!(sent <= allowed + 1e-6, "{sent} requests within {since_start} s");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_details_go_out_in_full_batches_while_summaries_still_go_on() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.batch.job_ids = 5.try_into().unwrap();
    crawl.config.concurrency.summaries = 1.try_into().unwrap();
    crawl.config.concurrency.job_details = 1.try_into().unwrap();
    let fast = Arc::new(crawl.config.clone());
    crawl.config.limiter.requests_per_second = non_zero(10).into();
    crawl.config.limiter.burst = non_zero(60);
    let (sender, live) = pipeline::fixed_config(crawl.config.clone());
    let shutdown = Shutdown::new();
    let run = pipeline::run(live, RunOptions::default(), &[], &shutdown, Arc::new(Counters::default()));
    let speed_up = async {
        wait_until("jobs go out", || simulator.served().of(Endpoint::Jobs) > 4).await;
        sender.send_replace(fast);
    };
    let (summary, ()) = tokio::join!(run, speed_up);
    summary.unwrap();
    let arrivals = simulator.arrivals();
    let of = |endpoint| arrivals.iter().filter(move |arrival| arrival.endpoint == endpoint);
    let last_summary = of(Endpoint::Summary).next_back().unwrap().at;
    let early = of(Endpoint::Jobs).filter(|arrival| arrival.at < last_summary).count();
    assert!(early > 3, "{early} batches went out before the last summary");
    let size = |arrival: &Arrival| arrival.path_and_query.replace("%2C", ",").matches(',').count() + 1;
    assert!(of(Endpoint::Jobs).filter(|arrival| arrival.at < last_summary).all(|arrival| size(arrival) == 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jobs_that_the_server_deletes_first_are_asked_first() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let (_keep, live) = pipeline::fixed_config(crawl.config.clone());
    let dry = RunOptions { dry_run: true, ..RunOptions::default() };
    pipeline::run(live, dry, &[], &Shutdown::new(), Arc::new(Counters::default())).await.unwrap();
    let ages: HashMap<Request, Timestamp> = {
        let store = Store::open_existing(&crawl.config.store).unwrap();
        store.pending().map(|pending| pending.unwrap()).map(|pending| (pending.request, pending.submitted)).collect()
    };
    assert!(ages.len() > 100);

    let arrived_before = simulator.arrivals().len();
    crawl.config.batch.job_ids = 10.try_into().unwrap();
    crawl.config.concurrency.job_details = 1.try_into().unwrap();
    crawl.run().await.unwrap();
    let mut oldest_allowed = Timestamp::default();
    for arrival in &simulator.arrivals()[arrived_before..] {
        let url = url::Url::parse("http://host").unwrap().join(&arrival.path_and_query).unwrap();
        let (_, ids) = url.query_pairs().find(|(name, _)| name == "id__in").expect("only jobs are left");
        let batch: Vec<_> = ids.split(',').map(|id| ages[&Request::Job { id: JobId(id.parse().unwrap()) }]).collect();
        assert!(batch.iter().min() >= Some(&oldest_allowed), "{batch:?} after {oldest_allowed}");
        oldest_allowed = batch.into_iter().max().unwrap();
    }
    assert!(oldest_allowed > Timestamp::default());
}

/// A mailbox holds fewer batches than a commit: what waits for its commit must not keep the fetchers from their work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetchers_go_on_while_the_writer_gathers_a_commit() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let (_keep, live) = pipeline::fixed_config(crawl.config.clone());
    let lists_only = RunOptions { lists_only: true, ..RunOptions::default() };
    pipeline::crawl(live, lists_only, &Shutdown::new(), Arc::new(Counters::default())).await.unwrap();

    crawl.config.store.commit_interval = Duration::from_hours(1);
    crawl.config.store.commit_records = 100_000.try_into().unwrap();
    crawl.config.concurrency.summaries = 1.try_into().unwrap();
    let shutdown = Shutdown::new();
    let all_asked = async {
        wait_until("summaries go on being asked", || simulator.served().of(Endpoint::Summary) >= 100).await;
        shutdown.drain();
    };
    let (summary, ()) = tokio::join!(crawl.run_until(&shutdown), all_asked);
    assert!(summary.unwrap().crawl.counts.of(Kind::Summaries).settled() >= 100);
}
