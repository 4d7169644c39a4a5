//! SIGINT and SIGTERM: the first lets requests in flight finish, the second ends the process immediately.

use std::time::Duration;

use treeherder_sim::{Behaviour, Endpoint, Latency, ScriptedReply, SimulatorHandle};

use crate::arrivals::{asked_by, settled_in};
use crate::child::{Listened, blocking, command, finish, opened_copy, run_command, signal, wait};
use crate::support::{Crawl, assert_same_artifacts, limit_to, simulator, wait_until};

async fn arrived(simulator: &SimulatorHandle, endpoint: Endpoint, num: u64) {
    wait_until("the requests arrive", || simulator.served().of(endpoint) >= num).await;
}

async fn slow() -> (SimulatorHandle, Crawl) {
    let latency = Latency::Fixed(Duration::from_millis(40));
    let simulator = simulator(Behaviour { latency, ..Behaviour::default() }).await;
    let crawl = Crawl::of(&simulator.url());
    (simulator, crawl)
}

/// The next run does not repeat the requests that the killed process had stored, and produces the same bytes.
async fn resume(simulator: &SimulatorHandle, crawl: &Crawl) {
    let calm = {
        let (_simulator, calm) = slow().await;
        calm.run().await.unwrap();
        calm.artifacts()
    };
    let (_folder, store) = opened_copy(&crawl.config);
    let settled = settled_in(&store);
    let before = simulator.arrivals().len();
    let ended = finish_in_background(crawl).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    for asked in simulator.arrivals()[before..].iter().flat_map(asked_by) {
        assert!(!settled.contains(&asked), "{asked} was settled, and asked again");
    }
    assert_same_artifacts(&calm, &crawl.artifacts());
}

async fn finish_in_background(crawl: &Crawl) -> crate::child::Ended {
    let command = run_command(crawl);
    tokio::task::spawn_blocking(|| finish(command)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_signal_finishes_what_is_in_flight_and_exits_130_with_a_summary() {
    for name in ["INT", "TERM"] {
        let (simulator, mut crawl) = slow().await;
        let limiter = crawl.config.limiter.clone();
        limit_to(&mut crawl.config, 40);
        let child = run_command(&crawl).spawn().unwrap();
        arrived(&simulator, Endpoint::Summary, 20).await;
        signal(&child, name);
        let ended = tokio::task::spawn_blocking(|| wait(child)).await.unwrap();
        assert_eq!(ended.code(), Some(130), "{}", ended.stderr);
        assert!(ended.stderr.contains("Run the same command again"), "{}", ended.stderr);
        // Everything that was asked was also answered and stored.
        let (_folder, store) = opened_copy(&crawl.config);
        let settled = settled_in(&store);
        for asked in simulator.arrivals().iter().flat_map(asked_by) {
            assert!(settled.contains(&asked), "{asked} was asked and not stored");
        }
        drop(store);
        assert!(simulator.served().of(Endpoint::Summary) < 100, "new requests went out after the signal");
        crawl.config.limiter = limiter;
        resume(&simulator, &crawl).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_given_up_after_the_grace() {
    let (simulator, mut crawl) = slow().await;
    crawl.config.shutdown.grace = Duration::from_millis(300);
    crawl.config.source.timeout = Duration::from_hours(1);
    simulator.script(ScriptedReply::hang().at(Endpoint::Summary).times(3));
    let child = run_command(&crawl).spawn().unwrap();
    arrived(&simulator, Endpoint::Summary, 30).await;
    signal(&child, "INT");
    let ended = blocking(|| wait(child)).await; // before the hanging requests time out
    assert_eq!(ended.code(), Some(130), "{}", ended.stderr);
    resume(&simulator, &crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_signal_ends_at_once_and_loses_nothing_that_was_acknowledged() {
    let (simulator, mut crawl) = slow().await;
    crawl.config.shutdown.grace = Duration::from_mins(10);
    crawl.config.source.timeout = Duration::from_hours(1);
    simulator.script(ScriptedReply::hang().at(Endpoint::Summary).times(3));
    let child = Listened::spawn(run_command(&crawl));
    arrived(&simulator, Endpoint::Summary, 30).await;
    signal(child.child(), "INT");
    let child = child.wait_for("grace_s=600").await;
    signal(child.child(), "INT");
    let ended = child.end().await;
    assert_eq!(ended.code(), Some(130), "{}", ended.stderr);
    resume(&simulator, &crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_or_a_crawl_that_is_ended_while_it_reads_the_lists_says_so() {
    for name in ["plan", "crawl"] {
        let (simulator, mut crawl) = slow().await;
        crawl.config.shutdown.grace = Duration::from_millis(300);
        simulator.script(ScriptedReply::hang().at(Endpoint::Signatures));
        let child = command(&crawl, &[name]).spawn().unwrap();
        arrived(&simulator, Endpoint::Signatures, 1).await;
        signal(&child, "INT");
        let ended = tokio::task::spawn_blocking(|| wait(child)).await.unwrap();
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(130), ""), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains("Run the same command again"), "{name}: {}", ended.stderr);
        for made in [&["reduce"][..], &["export", "--format", "parquet", "--output", "tables"]] {
            let made = finish(command(&crawl, made));
            assert_eq!(made.code(), Some(3), "{}", made.stderr);
        }
        resume(&simulator, &crawl).await;
    }
}
