//! Observes and tunes a running crawl from other processes.

use std::io::{BufRead as _, BufReader};
use std::num::NonZeroU32;

use perfharvest::model::Kind;
use perfharvest::store::Ledger;
use serde_json::Value;
use treeherder_sim::{Behaviour, Endpoint, ScriptedReply};

use crate::child::{Ended, Listened, blocking, command, finish, run_command, signal};
use crate::support::tamper::put;
use crate::support::{Crawl, assert_same_artifacts, limit_to, simulator, wait_until};

async fn ended(crawl: &Crawl, args: &[&str]) -> Ended {
    let command = command(crawl, args);
    blocking(|| finish(command)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_retunes_a_running_crawl_and_a_wrong_one_is_refused() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let calm = crawl.artifacts();
    let again = Crawl::of(&simulator.url());
    crawl.config.store.path = again.config.store.path.clone();
    crawl.config.artifacts.out = again.config.artifacts.out.clone();
    limit_to(&mut crawl.config, 1); // two and a half minutes, if it stayed so
    let asked = simulator.served().total();
    let child = Listened::spawn(run_command(&crawl));
    wait_until("it has begun", || simulator.served().total() >= asked + 2).await;
    let file = crawl.folder.path().join("config.toml");
    let slow = std::fs::read_to_string(&file).unwrap();
    let file_with =
        |rate: &str| slow.replace("\nrequests_per_second = 1\n", &format!("\nrequests_per_second = {rate}\n"));
    put(&file, file_with("\"many\"").as_bytes());
    signal(child.child(), "HUP");
    let child = child.wait_for("cannot use the changed configuration; the crawl continues").await;
    put(&file, file_with("100000").as_bytes());
    let child = child.wait_for("limiter.requests_per_second 1 -> 100000").await;
    let ended = child.end().await;
    assert!(ended.stderr.contains("config.toml:") && ended.stderr.contains("\"many\""), "{}", ended.stderr);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert_eq!(simulator.served().total(), 2 * asked, "nothing lost, nothing twice");
    assert_same_artifacts(&calm, &again.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_crawl_is_watched_and_planned_from_other_processes_without_a_request() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.limiter.requests_per_second = NonZeroU32::new(20).unwrap().into();
    crawl.config.limiter.burst = NonZeroU32::MIN;
    // Its fetchers stand still in the end, so that every further request would be another process's.
    simulator.script(ScriptedReply::hang().at(Endpoint::AlertSummary).times(1000));
    simulator.script(ScriptedReply::answer().at(Endpoint::Summary).times(30));
    simulator.script(ScriptedReply::hang().at(Endpoint::Summary).times(1000));
    let hanging = 30 + u64::try_from(crawl.config.concurrency.summaries.get()).unwrap();
    let mut child = run_command(&crawl).spawn().unwrap();
    wait_until("its fetchers hang", || {
        let served = simulator.served();
        served.of(Endpoint::Summary) == hanging && served.of(Endpoint::AlertSummary) == 1
    })
    .await;
    wait_until("its ledger says what it has fetched", || {
        let ledger = Ledger::read(&crawl.config.store.path).unwrap();
        ledger.is_some_and(|ledger| ledger.counts.of(Kind::Summaries).settled() > 0)
    })
    .await;
    let asked = simulator.served().total();

    let plan = ended(&crawl, &["plan", "--json"]).await;
    assert_eq!(plan.code(), Some(0), "{}", plan.stderr);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["crawl_is_running"], true, "{plan}");
    assert!(plan["kinds"][2]["done"].as_u64().unwrap() > 0, "{plan}");

    let mut watched = command(&crawl, &["status", "--watch"]).spawn().unwrap();
    let mut screen = BufReader::new(watched.stdout.take().unwrap());
    let (watched, screen) = blocking(move || {
        let mut text = String::new();
        while text.matches("as of ").count() < 2 {
            assert!(screen.read_line(&mut text).unwrap() > 0, "{text}");
        }
        (watched, text)
    })
    .await;
    assert!(screen.contains("running (process") && !screen.contains('\x1b'), "no terminal, no escapes: {screen}");
    signal(&watched, "INT");
    let watched = blocking(move || watched.wait_with_output().unwrap()).await;
    assert_eq!(watched.status.code(), Some(3), "the crawl is not complete");
    assert_eq!(simulator.served().total(), asked);
    child.kill().unwrap();
    blocking(move || child.wait().unwrap()).await;
}
