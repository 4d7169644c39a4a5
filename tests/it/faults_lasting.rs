//! Permanent faults are recorded with their reason, the rest of the dataset is complete, and the next run repeats the
//! failed requests.

use std::collections::BTreeSet;
use std::time::Duration;

use perfharvest::model::{Kind, Request};
use perfharvest::store::{Failure, Store};
use treeherder_sim::{Behaviour, Endpoint, ScriptedReply, SimulatorHandle};

use crate::faults::{broken_gzip, calm, ends_as_undisturbed, gzip_bomb, html, job_ids, signature_of};
use crate::support::{Crawl, simulator};

const ALWAYS: usize = 1_000_000;

fn failures(crawl: &Crawl) -> Vec<(Request, Failure)> {
    let store = Store::open_existing(&crawl.config.store).unwrap();
    store.failures().map(Result::unwrap).collect()
}

/// Runs the crawl again, on a server without faults.
async fn run_on_healthy_server(crawl: &mut Crawl) -> SimulatorHandle {
    let healthy = simulator(Behaviour::default()).await;
    crawl.config.source.base_url = healthy.url();
    ends_as_undisturbed(crawl).await;
    assert!(failures(crawl).is_empty());
    healthy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_still_fails_is_recorded_and_the_next_run_asks_exactly_that() {
    let faults = [
        (ScriptedReply::status(404).with_body("{\"detail\": \"Not found.\"}"), "http_404", Some(404), 1),
        (ScriptedReply::status(400).with_body("{\"signature\": [\"no\"]}"), "http_400", Some(400), 1),
        (ScriptedReply::status(429), "http_429", Some(429), 5),
        (html(), "not_json", Some(200), 5),
        (ScriptedReply::body("[{\"signature_id\": 5400"), "broken_json", Some(200), 5),
        (ScriptedReply::body(""), "broken_json", Some(200), 5),
        (broken_gzip(), "broken_encoding", Some(200), 5),
        (ScriptedReply::body("{\"list\": \"no\"}"), "wrong_shape", Some(200), 5),
        (ScriptedReply::body("[{\"signature_id\": 1, \"data\": []}]"), "wrong_shape", Some(200), 5),
    ];
    let simulator = simulator(Behaviour::default()).await;
    // Far from each other, so that other requests are answered in between.
    let broken: Vec<&String> = calm().await.summaries.iter().step_by(14).take(faults.len()).collect();
    for ((fault, ..), path) in faults.iter().zip(&broken) {
        simulator.script(fault.clone().containing(&signature_of(path)).times(ALWAYS));
    }
    let mut crawl = Crawl::of(&simulator.url());
    let summary = crawl.run().await.unwrap();
    let manifest = summary.reduction.unwrap().manifest;
    assert!(!manifest.complete);
    assert_eq!(summary.crawl.counts.failed(), faults.len() as u64);
    assert_eq!(
        summary.crawl.counts.of(Kind::Summaries).settled(),
        150 - faults.len() as u64,
        "answered, or skipped as in a calm run"
    );
    let made = crawl.artifacts();
    assert_eq!(made.keys().collect::<Vec<_>>(), calm().await.artifacts.keys().collect::<Vec<_>>());
    for name in ["alert_summaries.csv", "all_signatures.jsonl"] {
        assert!(made[name] == calm().await.artifacts[name], "{name} lacks nothing");
    }
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
    let (some, all) =
        (lines(&made["perf_jobs_by_signature.jsonl"]), lines(&calm().await.artifacts["perf_jobs_by_signature.jsonl"]));
    assert!(some.is_subset(&all) && all.len() == some.len() + faults.len());

    let recorded = failures(&crawl);
    assert_eq!(recorded.len(), faults.len());
    for ((_, label, status, attempts), path) in faults.iter().zip(&broken) {
        let id = signature_of(path);
        let (_, failure) = recorded
            .iter()
            .find(|(request, _)| matches!(request, Request::Summary { signature, .. } if id == format!("signature={signature}&")))
            .unwrap();
        assert_eq!((failure.label.as_str(), failure.status, failure.attempts), (*label, *status, *attempts));
        assert!(!failure.reason.is_empty() && !failure.reason.chars().any(char::is_control));
    }

    let healthy = run_on_healthy_server(&mut crawl).await;
    let mut asked: Vec<String> = healthy
        .arrivals()
        .into_iter()
        .filter(|arrival| arrival.endpoint == Endpoint::Summary)
        .map(|arrival| arrival.path_and_query)
        .collect();
    asked.sort();
    assert_eq!(asked.iter().collect::<Vec<_>>(), broken, "exactly what failed");
    let others = [Endpoint::AlertSummary, Endpoint::Signatures, Endpoint::Framework];
    assert!(others.into_iter().all(|endpoint| healthy.served().of(endpoint) == 0));
}

/// Alert pages cannot be asked in parts, so what lasts there fails as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alert_pages_that_always_fail_fail_alone_whatever_the_fault() {
    let faults = [
        (ScriptedReply::reset(), "interrupted", None),
        (ScriptedReply::close(), "interrupted", None),
        (ScriptedReply::cut(5000, "{\"count\": 41"), "interrupted", None),
        (ScriptedReply::hang(), "timeout", None),
        (ScriptedReply::status(502), "http_502", Some(502)),
        (ScriptedReply::status(503), "http_503", Some(503)),
        (ScriptedReply::status(504), "http_504", Some(504)),
        (ScriptedReply::body("[1]"), "wrong_shape", Some(200)),
        (ScriptedReply::body(vec![b' '; 3 << 20]), "too_large", Some(200)),
        (gzip_bomb(), "too_large", Some(200)),
    ];
    for (fault, label, status) in faults {
        let simulator = simulator(Behaviour::default()).await;
        simulator.script(fault.at(Endpoint::AlertSummary).times(ALWAYS));
        let mut crawl = Crawl::of(&simulator.url());
        if label == "timeout" {
            crawl.config.source.timeout = Duration::from_secs(1);
        }
        crawl.config.source.max_body_bytes = (2 << 20).try_into().unwrap();
        crawl.config.retry.max_attempts = 3.try_into().unwrap();
        let summary = crawl.run().await.unwrap();
        assert!(!summary.reduction.unwrap().manifest.complete);
        let recorded = failures(&crawl);
        let [(Request::AlertPage { pass: 0, page: 1 }, failure)] = recorded.as_slice() else { panic!("{recorded:?}") };
        // Errors that a smaller page may avoid are met down to single rows, but not row by row.
        let attempts = if label == "wrong_shape" { 3 } else { 16 };
        assert_eq!((failure.label.as_str(), failure.status, failure.attempts), (label, status, attempts));
        let data = "perf_jobs_by_signature.jsonl";
        assert!(crawl.artifacts()[data] == calm().await.artifacts[data], "{label}: the rest is there");
        if label == "timeout" {
            let healthy = run_on_healthy_server(&mut crawl).await;
            assert_eq!(
                healthy.served().total(),
                healthy.served().of(Endpoint::AlertSummary),
                "only what failed is asked"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_replies_are_all_too_large_is_not_down() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let limit = std::mem::replace(&mut crawl.config.source.max_body_bytes, 1.try_into().unwrap());
    crawl.config.retry.give_up_after = Duration::from_millis(1);
    let summary = crawl.crawl_only().await.unwrap();
    assert_eq!(summary.counts.pending(), 0);
    let failures = failures(&crawl);
    assert!(!failures.is_empty() && failures.iter().all(|(_, failure)| failure.label == "too_large"), "{failures:?}");
    crawl.config.source.max_body_bytes = limit;
    run_on_healthy_server(&mut crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_alerts_that_fails_takes_no_other_page_with_it() {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::status(404).at(Endpoint::AlertSummary).containing("page=2&").times(ALWAYS));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.batch.alert_page = 10.try_into().unwrap();
    crawl.run().await.unwrap();
    assert_eq!(failures(&crawl).len(), 1);
    let store = Store::open_existing(&crawl.config.store).unwrap();
    assert_eq!(store.alert_listing().unwrap().len(), 31, "10 of 41 are missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_job_fails_alone_after_a_few_requests() {
    let jobs = &calm().await.jobs;
    let broken = jobs[jobs.len() / 2];
    for status in [500, 502] {
        let one = simulator(Behaviour::default()).await;
        one.script(ScriptedReply::status(status).at(Endpoint::Jobs).containing(&broken.to_string()).times(ALWAYS));
        let mut crawl = Crawl::of(&one.url());
        let summary = crawl.run().await.unwrap();
        assert_eq!(summary.crawl.counts.failed(), 1);
        let recorded = failures(&crawl);
        let [(Request::Job { id }, failure)] = recorded.as_slice() else { panic!("{recorded:?}") };
        assert_eq!(id.0, broken);
        let held = one.arrivals().into_iter().filter(|arrival| arrival.endpoint == Endpoint::Jobs);
        let held = held.filter(|arrival| job_ids(&arrival.path_and_query).contains(&broken)).count();
        assert_eq!(
            usize::try_from(failure.attempts).unwrap(),
            held,
            "each request that held the job is an attempt of it"
        );
        assert!(held <= 2 * 9 + 5, "each batch twice, then the job as often as any request: {held}");
        let healthy = run_on_healthy_server(&mut crawl).await;
        assert_eq!(
            healthy.arrivals().iter().map(|arrival| job_ids(&arrival.path_and_query)).collect::<Vec<_>>(),
            [[broken]]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_endpoint_is_not_asked_job_by_job() {
    let all = simulator(Behaviour::default()).await;
    all.script(ScriptedReply::status(500).at(Endpoint::Jobs).times(ALWAYS));
    let mut crawl = Crawl::of(&all.url());
    let summary = crawl.run().await.unwrap();
    assert_eq!(summary.crawl.counts.failed(), failures(&crawl).len() as u64);
    assert!(summary.crawl.counts.failed() > 100);
    let asked = all.served().of(Endpoint::Jobs);
    assert!(asked < summary.crawl.counts.failed(), "{asked} requests");
    run_on_healthy_server(&mut crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signature_lists_that_fail_in_every_form_end_as_failed() {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::status(502).at(Endpoint::Signatures).times(ALWAYS));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.inputs.commits = None;
    let (_keep, live) = perfharvest::pipeline::fixed_config(crawl.config.clone());
    let shutdown = perfharvest::actor::Shutdown::new();
    let options = perfharvest::pipeline::RunOptions::default();
    let summary = perfharvest::pipeline::crawl(live, options, &shutdown, std::sync::Arc::default()).await.unwrap();
    assert!(summary.counts.of(Kind::Signatures).failed > 20, "each framework's list by itself");
    crawl.config.inputs.commits = Some(crate::support::corpus().join("input/all_commits.jsonl"));
    run_on_healthy_server(&mut crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_frameworks_that_both_fail_end_the_crawl() {
    let simulator = simulator(Behaviour::default()).await;
    for endpoint in [Endpoint::Signatures, Endpoint::Framework] {
        simulator.script(ScriptedReply::status(502).at(endpoint).times(ALWAYS));
    }
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.retry.give_up_after = Duration::from_millis(200);
    // Nothing but these two is left to ask, so nothing is answered any more.
    let error = crawl.run().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    run_on_healthy_server(&mut crawl).await;
}
