//! The details of the jobs of all data: asked once each, whatever happens in between.

use std::collections::{BTreeMap, BTreeSet};

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
    let mut artifacts = plain_artifacts(&crawl);
    assert!(artifacts.remove("machines.jsonl").is_some(), "it needs the jobs of all data");
    assert_same_artifacts(&plain_artifacts(&usual), &artifacts);
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

/// The jobs of a platform: their number, their machines, and jobs and minutes by day.
type Load = (u64, BTreeSet<String>, BTreeMap<String, (u64, f64)>);

/// By platform, as the records of the jobs say.
fn loads(crawl: &Crawl) -> BTreeMap<String, Load> {
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let mut rows: BTreeMap<String, Load> = BTreeMap::new();
    for id in store.stored_jobs().unwrap().into_keys() {
        let job: Value = serde_json::from_str(store.job(id).unwrap().unwrap().as_str()).unwrap();
        let (jobs, machines, days) = rows.entry(job["platform"].as_str().unwrap().to_owned()).or_default();
        *jobs += 1;
        machines.extend(job["machine_name"].as_str().map(str::to_owned));
        let [start, end] = ["start_timestamp", "end_timestamp"].map(|key| job[key].as_i64().unwrap());
        if job["state"] == "completed" && start != 0 && end >= start {
            let day = days.entry(Timestamp::from_secs(start).to_string()[..10].to_owned()).or_default();
            *day = (day.0 + 1, day.1 + f64::from(i32::try_from(end - start).unwrap()) / 60.0);
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_on_a_day_of_its_platform_or_counts_for_a_reason() {
    let mut living = living(Behaviour::default()).await;
    living.crawl.config.jobs.details = Some(JobDetails::All);
    living.refresh().await;
    let rows = lines(&living.crawl.config.artifacts.out.join("machines.jsonl"));
    let expected = loads(&living.crawl);
    assert!(expected.len() > 3, "{}", expected.len());
    assert_eq!(rows.len(), expected.len());
    let mut num_without_day = 0;
    for (row, (platform, (num_jobs, machines, days))) in rows.iter().zip(&expected) {
        assert_eq!(row["platform"], *platform);
        assert_eq!((row["jobs"].as_u64(), row["machines"].as_u64()), (Some(*num_jobs), Some(machines.len() as u64)));
        let without_day: u64 =
            ["not_completed", "times_missing", "times_reversed"].iter().map(|name| row[name].as_u64().unwrap()).sum();
        assert_eq!(without_day + days.values().map(|day| day.0).sum::<u64>(), *num_jobs, "{row}");
        num_without_day += without_day;
        let minutes: f64 = days.values().map(|day| day.1).sum();
        assert!((row["busy_minutes"].as_f64().unwrap() - minutes).abs() < 0.01, "{row}");
        assert_eq!(row["days"].as_array().unwrap().len(), days.len());
        for (day, (date, (jobs, minutes))) in row["days"].as_array().unwrap().iter().zip(days) {
            assert_eq!((&day["day"], day["jobs"].as_u64()), (&Value::from(date.as_str()), Some(*jobs)));
            assert!((day["busy_minutes"].as_f64().unwrap() - minutes).abs() < 0.01, "{day}");
            assert!((1..=machines.len() as u64).contains(&day["machines"].as_u64().unwrap()), "{day}");
        }
    }
    assert!(num_without_day > 0, "the newest jobs still run");
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
