//! `plan`, `status` and `run --dry-run`.

use perfharvest::actor::Shutdown;
use perfharvest::config::WindowConfig;
use perfharvest::model::{JobId, Request, Sorted};
use perfharvest::pipeline::{self, RunOptions};
use perfharvest::store::{Change, CrawlIdentity, Settlement, Store, StoreError};
use treeherder_sim::{Behaviour, Endpoint};

use crate::support::{Crawl, simulator};

fn call(crawl: &Crawl, url: &str, command: &str) -> serde_json::Value {
    let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    program.current_dir(crawl.folder.path()).args([command, "--json", "-q", "--store"]).arg(&crawl.config.store.path);
    if command == "plan" {
        program.args(["--base-url", url, "--start", "2026-07-01", "--end", "2026-11-05T00:00:00Z"]);
        program.args(["--data-end", "2026-11-22T08:00:00Z", "--requests-per-second", "1000"]);
    }
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_asks_only_for_the_lists_and_the_run_after_it_does_not_ask_again() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let url = simulator.url();
    let (crawl, plan) = tokio::task::spawn_blocking(move || {
        let plan = call(&crawl, &url, "plan");
        (crawl, plan)
    })
    .await
    .unwrap();
    let served = simulator.served();
    assert_eq!((served.of(Endpoint::Summary), served.of(Endpoint::Jobs)), (0, 0));
    let listed = served.total();
    let summaries = &plan["kinds"][2];
    let (to_do, skipped) = (summaries["to_do"].as_u64().unwrap(), summaries["skipped"].as_u64().unwrap());
    assert_eq!(to_do + skipped, 150);
    assert!(plan["requests"].as_u64().unwrap() < 160 && plan["one_by_one"].as_u64().unwrap() > 500, "{plan}");

    let summary = crawl.run().await.unwrap();
    assert_eq!(summary.crawl.counts.pending(), 0);
    let arrivals = simulator.arrivals();
    let lists = arrivals.iter().filter(|arrival| !matches!(arrival.endpoint, Endpoint::Summary | Endpoint::Jobs));
    assert_eq!(lists.count() as u64, listed);

    let url = simulator.url();
    let (plan, status) =
        tokio::task::spawn_blocking(move || (call(&crawl, &url, "plan"), call(&crawl, &url, "status"))).await.unwrap();
    assert_eq!(plan["requests"].as_u64(), Some(0));
    assert_eq!(status["run"]["phase"], "finished");
    assert!(status["run"]["disk_bytes"].as_u64().unwrap() > 0);
}

fn open(crawl: &Crawl, lists_only: bool) -> Result<CrawlIdentity, StoreError> {
    let options = RunOptions { lists_only, ..RunOptions::default() };
    pipeline::open_crawl(&crawl.config, options).map(|(_store, identity)| identity)
}

#[test]
fn a_plan_does_not_decide_for_the_crawl_and_a_crawl_does() {
    let mut crawl = Crawl::of("http://127.0.0.1:9");
    let start = |text: &str| Some(text.parse().unwrap());
    for planned in ["2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"] {
        crawl.config.window.start = start(planned);
        assert_eq!(Some(open(&crawl, true).unwrap().window_start), crawl.config.window.start);
    }
    crawl.config.window.start = start("2026-09-01T00:00:00Z");
    assert_eq!(Some(open(&crawl, false).unwrap().window_start), crawl.config.window.start);
    crawl.config.window.start = start("2026-07-01T00:00:00Z");
    for lists_only in [true, false] {
        assert!(matches!(open(&crawl, lists_only), Err(StoreError::OtherCrawl { .. })));
    }
}

#[test]
fn an_end_that_a_plan_left_open_is_decided_again_later() {
    let mut crawl = Crawl::of("http://127.0.0.1:9");
    crawl.config.window = WindowConfig::default();
    let planned = open(&crawl, true).unwrap();
    assert_eq!(open(&crawl, true).unwrap(), planned, "a recent plan is used again");
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let old = CrawlIdentity { data_end: planned.data_end.plus_secs(-86_400), ..planned.clone() };
    store.pin_identity(&old).unwrap();
    drop(store);
    assert!(open(&crawl, false).unwrap().data_end >= planned.data_end);
}

#[test]
fn a_store_with_jobs_is_never_removed_even_if_its_mark_came_back() {
    let mut crawl = Crawl::of("http://127.0.0.1:9");
    open(&crawl, true).unwrap();
    let path = crawl.config.store.path.clone();
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let request = Request::Job { id: JobId(7) };
    let mut jobs = Sorted::default();
    jobs.add_job(br#"{"id":7}"#).unwrap();
    let settlement = Box::new(Settlement::of_jobs(&[request], &jobs));
    store.commit(Change::Expand { settlement }).unwrap();
    drop(store);
    assert!(path.join("planned").exists());
    crawl.config.window.start = Some("2026-09-01T00:00:00Z".parse().unwrap());
    assert!(matches!(open(&crawl, false), Err(StoreError::OtherCrawl { .. })));
    let store = Store::open_existing(&crawl.config.store).unwrap();
    assert!(store.job(JobId(7)).unwrap().is_some());
}

#[test]
fn the_removal_of_a_plan_that_was_interrupted_is_ended() {
    let mut crawl = Crawl::of("http://127.0.0.1:9");
    open(&crawl, true).unwrap();
    let path = crawl.config.store.path.clone();
    std::fs::rename(path.join("planned"), path.join("planned.removed")).unwrap();
    std::fs::remove_file(path.join("db").join("conf")).unwrap();
    crawl.config.window.start = Some("2026-09-01T00:00:00Z".parse().unwrap());
    assert_eq!(Some(open(&crawl, false).unwrap().window_start), crawl.config.window.start);
    assert!(!path.join("planned.removed").exists());
}

#[test]
fn a_plan_of_another_window_is_refused_while_a_crawl_runs() {
    let crawl = Crawl::of("http://127.0.0.1:9");
    let held = pipeline::open_crawl(&crawl.config, RunOptions::default()).unwrap();
    let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    program.current_dir(crawl.folder.path()).args([
        "plan",
        "--base-url",
        "http://127.0.0.1:9",
        "--start",
        "2026-09-01",
    ]);
    let output = program.arg("--store").arg(&crawl.config.store.path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("window.start"), "{said}");
    assert!(output.stdout.is_empty());
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_sends_and_writes_nothing_and_names_the_requests() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let url = simulator.url();
    let (crawl, first) = dry_run(crawl, url.clone()).await;
    assert!(first.contains(&format!("GET {url}/api/performance/alertsummary/?page=1")), "{first}");
    assert!(first.contains("does not exist yet") && first.contains("in the window"), "{first}");
    assert_eq!((simulator.served().total(), std::fs::read_dir(crawl.folder.path()).unwrap().count()), (0, 0));
    crawl.run().await.unwrap();
    let asked = simulator.served().total();
    let (_crawl, second) = dry_run(crawl, url).await;
    assert!(second.contains("the crawl is complete"), "{second}");
    assert_eq!(simulator.served().total(), asked);
}

async fn dry_run(crawl: Crawl, url: String) -> (Crawl, String) {
    let called = tokio::task::spawn_blocking(move || {
        let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        program.current_dir(crawl.folder.path()).args(["run", "--dry-run", "--base-url", &url]);
        program.args(["--start", "2026-07-01", "--end", "2026-11-05T00:00:00Z", "--data-end", "2026-11-22T08:00:00Z"]);
        program.arg("--commits").arg(crawl.config.inputs.commits.as_ref().unwrap());
        program.arg("--store").arg(&crawl.config.store.path).arg("--out").arg(&crawl.config.artifacts.out);
        let output = program.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        (String::from_utf8(output.stdout).unwrap(), crawl)
    });
    let (said, crawl) = called.await.unwrap();
    (crawl, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_a_store_is_refused_with_its_name_and_the_next_step() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    crawl.config.window.data_end = Some("2026-11-23T00:00:00Z".parse().unwrap());
    let error = crawl.run().await.unwrap_err().to_string();
    assert!(error.contains("`perfharvest refresh`"), "{error}");

    "http://127.0.0.1:9".clone_into(&mut crawl.config.source.base_url);
    let planned = pipeline::plan_refresh(&crawl.config, RunOptions::default(), &Shutdown::new()).await;
    let error = planned.unwrap_err().to_string();
    assert!(error.contains(&crawl.config.store.path.display().to_string()), "{error}");
}
