//! The output of `plan` and `status`.

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
