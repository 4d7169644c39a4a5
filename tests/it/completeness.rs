//! A complete dataset has all data that the crawl could fetch.

use std::sync::Arc;

use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::dataset::{Artifact, ReduceSummary};
use perfharvest::pipeline;
use perfharvest::store::{Ledger, Store, Tally};
use treeherder_sim::{AlertChange, Behaviour, Endpoint, ScriptedReply};

use crate::faults_shown::new_summary;
use crate::support::{Crawl, simulator};

async fn reduce(crawl: &Crawl, artifacts: &[Artifact]) -> ReduceSummary {
    let store = Arc::new(Store::open_existing(&crawl.config.store).unwrap());
    let config = Arc::new(crawl.config.clone());
    pipeline::reduce_store(store, &config, artifacts, &Shutdown::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_ended_between_an_answer_and_what_follows_from_it_is_not_complete() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    // Whatever was answered when the run was ended: nothing may be pending, and yet nothing is finished.
    for more in [1, 2, 3, 4, 5, 8, 60] {
        let ended = crawl.run_for(&simulator, more).await.crawl;
        assert!(ended.interrupted && !ended.counts.is_complete(), "{:?}", ended.counts);
        let reduced = reduce(&crawl, &[]).await;
        assert!(!reduced.complete && !reduced.manifest.complete);
    }
    assert!(crawl.run().await.unwrap().reduction.unwrap().manifest.complete);
    assert!(reduce(&crawl, &[]).await.complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_no_run_has_asked_for_are_missing_and_not_gone() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.crawl_only().await.unwrap(); // without commits, so the busiest revision is not known
    let reduced = reduce(&crawl, &[]).await;
    assert!(!reduced.complete && !reduced.manifest.complete);
    let entry = |summary: &ReduceSummary| summary.manifest.artifacts["max_revision_jobs.jsonl"].clone();
    assert!(entry(&reduced).counts["jobs_not_asked"] > 0);
    assert!(reduce(&crawl, &[Artifact::SignatureGroups]).await.complete, "they have no part in this one");

    let after = crawl.run().await.unwrap().reduction.unwrap();
    assert!(after.complete && after.manifest.complete);
    assert_eq!(entry(&after).counts["jobs_not_asked"], 0);
    assert!(entry(&after).rows > entry(&reduced).rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_of_an_earlier_state_or_of_other_semantics_is_not_called_current() {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::status(400).at(Endpoint::Summary).times(20));
    let mut crawl = Crawl::of(&simulator.url());
    assert!(!crawl.run().await.unwrap().reduction.unwrap().manifest.complete);
    let commits = crawl.config.inputs.commits.take();
    crawl.crawl_only().await.unwrap();
    crawl.config.inputs.commits = commits;

    let groups = reduce(&crawl, &[Artifact::SignatureGroups]).await;
    assert!(groups.complete && !groups.manifest.complete, "the others lack twenty signatures");
    let run = crawl.run().await.unwrap().reduction.unwrap();
    assert!(run.complete && run.manifest.complete);
    assert_eq!(run.manifest.semantics, Some(Semantics::Reference));

    crawl.config.artifacts.semantics = Semantics::Corrected;
    let mixed = reduce(&crawl, &[Artifact::SignatureGroups]).await;
    assert_eq!((mixed.manifest.complete, mixed.manifest.semantics), (true, None));
    assert_eq!(reduce(&crawl, &[]).await.manifest.semantics, Some(Semantics::Corrected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_that_keep_shifting_leave_the_crawl_incomplete_until_a_run_finds_them_stable() {
    let simulator = simulator(Behaviour::default()).await;
    for change in 0..60 {
        simulator.after(3 * change, AlertChange::Create(new_summary(99_000 + change))).unwrap();
    }
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.batch.alert_page = 5.try_into().unwrap();
    crawl.config.concurrency.alerts = 1.try_into().unwrap();
    let moved = crawl.run().await.unwrap();
    assert!(moved.crawl.alerts_moved && !moved.crawl.counts.is_complete());
    assert!(!moved.reduction.unwrap().manifest.complete);
    let mut runs = 1;
    let still = loop {
        let summary = crawl.run().await.unwrap();
        if !summary.crawl.alerts_moved {
            break summary;
        }
        runs += 1;
        assert!(runs < 60);
    };
    let reduction = still.reduction.unwrap();
    assert!(still.crawl.counts.is_complete() && reduction.manifest.complete);
    let rows = reduction.manifest.artifacts["alert_summaries.csv"].rows.unwrap();
    assert_eq!(rows, 41 + 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_crawl_asks_nothing_whatever_the_sizes_of_its_batches_are_now() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    crawl.config.batch.alert_page = 10.try_into().unwrap();
    crawl.config.batch.job_ids = 7.try_into().unwrap();
    crawl.config.batch.signatures_by_framework = true;
    let again = crawl.run().await.unwrap();
    assert_eq!(again.crawl.requests_made, 0);
    assert_eq!(again.reduction.unwrap().written, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_a_kill_left_behind_is_written_by_the_next_run_of_a_finished_crawl() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let store = &crawl.config.store.path;
    crawl.crawl_only().await.unwrap();
    let mut ledger = Ledger::read(store).unwrap().unwrap();
    assert!(ledger.counts.is_complete());
    ledger.counts = Tally::default();
    ledger.write(store).unwrap();
    assert!(!Ledger::read(store).unwrap().unwrap().counts.is_complete());
    crawl.crawl_only().await.unwrap();
    assert!(Ledger::read(store).unwrap().unwrap().counts.is_complete());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_its_target_is_shown() {
    let simulator = simulator(Behaviour::default()).await;
    let elsewhere = "https://elsewhere.example/\u{1b}[2J";
    let summaries = &crate::faults::calm().await.summaries;
    // Far from each other, so that other requests are answered in between.
    for (location, path) in
        ["/api/performance/summary/?more=1", elsewhere].into_iter().zip(summaries.iter().step_by(40))
    {
        let reply = ScriptedReply::status(302).header("location", location);
        simulator.script(reply.containing(&crate::faults::signature_of(path)).times(1_000_000));
    }
    let crawl = Crawl::of(&simulator.url());
    let run = crawl.run().await.unwrap();
    assert_eq!(run.crawl.counts.failed(), 2);
    assert_eq!(run.crawl.requests_made, simulator.served().total(), "every arrival was an attempt of ours");
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let reasons: Vec<String> = store.failures().map(|failure| failure.unwrap().1.reason).collect();
    assert!(
        reasons.iter().any(|reason| reason.contains("redirects to /api/performance/summary/?more=1 (302)")),
        "{reasons:?}"
    );
    assert!(reasons.iter().all(|reason| !reason.contains('\u{1b}')), "{reasons:?}");
}
