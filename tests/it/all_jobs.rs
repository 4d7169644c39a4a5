//! The details of the jobs of all data: asked once each, whatever happens in between.

use std::collections::BTreeSet;

use perfharvest::config::JobDetails;
use perfharvest::model::{JobId, Timestamp};
use perfharvest::store::Store;
use serde_json::Value;
use treeherder_sim::{Behaviour, Endpoint, History, SimulatorHandle};

use crate::living::{Living, lines, plain_artifacts};
use crate::support::{Crawl, assert_same_artifacts, simulator};

/// The jobs that the data of the dataset name.
fn named(crawl: &Crawl) -> BTreeSet<JobId> {
    let mut named = BTreeSet::new();
    for signature in lines(&crawl.config.artifacts.out.join("perf_jobs_by_signature.jsonl")) {
        let data = signature["jobs"].as_array().unwrap();
        named.extend(data.iter().filter_map(|datum| datum["job_id"].as_u64()).map(JobId));
    }
    named
}

/// The jobs with stored details.
fn detailed(crawl: &Crawl) -> BTreeSet<JobId> {
    Store::open_existing(&crawl.config.store).unwrap().stored_jobs().unwrap().into_keys().collect()
}

/// The jobs that were asked for, each as often as it was.
fn asked(simulator: &SimulatorHandle) -> Vec<JobId> {
    let mut asked = Vec::new();
    for arrival in simulator.arrivals().iter().filter(|arrival| arrival.endpoint == Endpoint::Jobs) {
        let (_, ids) = arrival.path_and_query.split_once("id__in=").unwrap();
        let ids = ids.split('&').next().unwrap().replace("%2C", ",");
        asked.extend(ids.split(',').map(|id| JobId(id.parse().unwrap())));
    }
    asked.sort_unstable();
    asked
}

async fn living(behaviour: Behaviour) -> Living {
    let history = History { late_share: 0.2, new_signature_share: 0.3, ..History::growing() };
    Living::start(history, 60, behaviour).await
}

fn assert_has_all(crawl: &Crawl) {
    let named = named(crawl);
    assert!(named.len() > 100, "{}", named.len());
    assert_eq!(detailed(crawl), named);
    Store::open_existing(&crawl.config.store).unwrap().find_damage(|damage| panic!("{damage}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_of_the_data_is_asked_once_and_the_artifacts_keep_their_bytes() {
    let simulator = simulator(Behaviour::default()).await;
    let usual = Crawl::of(&simulator.url());
    usual.run().await.unwrap();
    let sampled = asked(&simulator);
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.jobs.details = Some(JobDetails::All);
    assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
    let mut asked_now = asked(&simulator);
    for id in &sampled {
        asked_now.remove(asked_now.binary_search(id).unwrap());
    }
    assert_eq!(asked_now, named(&crawl).into_iter().collect::<Vec<_>>());
    assert!(asked_now.len() > 2 * sampled.len(), "{} of {}", sampled.len(), asked_now.len());
    assert_same_artifacts(&plain_artifacts(&usual), &plain_artifacts(&crawl));
    let manifest: Value = serde_json::from_slice(&crawl.artifacts()["manifest.json"]).unwrap();
    assert_eq!(manifest["crawl"]["scope"]["all_jobs"], true);

    let before = simulator.served().total();
    crawl.config.jobs.details = None;
    assert!(crawl.run().await.unwrap().crawl.identity.scope.all_jobs, "it is pinned");
    crawl.config.jobs.details = Some(JobDetails::Sampled);
    let error = crawl.run().await.unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("jobs.details: stored all, asked sampled"), "{error}");
    assert_eq!(simulator.served().total(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_come_to_the_jobs_of_one_crawl() {
    let mut living = living(Behaviour::default()).await;
    living.crawl.config.jobs.details = Some(JobDetails::All);
    living.refresh().await;
    assert_has_all(&living.crawl);
    for days in [7, 14, 20] {
        living.advance_days(days);
        living.refresh().await;
        assert_has_all(&living.crawl);
    }
    let once = living.one_crawl().await;
    assert_eq!(detailed(&once), detailed(&living.crawl));
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&living.crawl));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_jobs_may_be_switched_on_later_and_a_plan_counts_them() {
    let mut living = living(Behaviour::default()).await;
    living.refresh().await;
    living.advance_days(9);
    living.refresh().await;
    let (before, sampled) = (living.simulator.served(), detailed(&living.crawl).len());
    let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    program.current_dir(living.crawl.folder.path()).args(["plan", "--json", "-q", "--same-source"]);
    program.args(["--base-url", &living.simulator.url(), "--set", "jobs.details=all"]);
    program.args(["--data-end", &living.now(), "--store"]).arg(&living.crawl.config.store.path);
    let output = program.output().unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let planned = &plan["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == "job_details").unwrap();
    let mut config = living.crawl.config.clone();
    config.window.data_end = None;
    config.jobs.details = Some(JobDetails::All);
    let crawl = Crawl { folder: tempfile::tempdir().unwrap(), config };
    assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
    assert_has_all(&crawl);
    let served = living.simulator.served().since(&before);
    assert_eq!(
        (served.total(), served.of(Endpoint::Jobs)),
        (served.of(Endpoint::Jobs), planned["requests"].as_u64().unwrap())
    );
    assert_eq!(planned["to_do"].as_u64().unwrap(), (detailed(&crawl).len() - sampled) as u64);

    // The next refresh asks for the jobs of its data, without being told.
    living.advance_days(9);
    living.refresh().await;
    assert_has_all(&living.crawl);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_is_interrupted_again_and_again_comes_to_the_same_jobs() {
    let living = living(Behaviour::default()).await;
    let mut crawl = living.crawl;
    crawl.config.window.data_end = Some(Timestamp::from_secs(living.simulator.now()));
    crawl.config.jobs.details = Some(JobDetails::All);
    crawl.config.batch.job_ids = 20.try_into().unwrap();
    let mut runs = 0;
    while crawl.run_for(&living.simulator, 9).await.crawl.interrupted {
        runs += 1;
    }
    assert!(runs > 3, "{runs}");
    assert_has_all(&crawl);
    let once = asked(&living.simulator).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(once, detailed(&crawl));
}
