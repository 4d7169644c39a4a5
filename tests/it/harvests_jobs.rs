//! Jobs that were not completed when they were first seen.

use std::collections::BTreeMap;
use std::path::Path;

use perfharvest::model::{JobId, Timestamp};
use perfharvest::store::{Lateness, Store};
use serde_json::Value;
use treeherder_sim::{BackendConfig, Behaviour, Endpoint, Simulator, SimulatorConfig, SimulatorHandle};

use crate::living::lines;
use crate::support::tamper::put;
use crate::support::{Crawl, recordings, simulator};

fn jobs(crawl: &Crawl) -> BTreeMap<u64, Value> {
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let ids: Vec<JobId> = store.stored_jobs().unwrap().into_keys().collect();
    let text = |id: JobId| store.job(id).unwrap().unwrap().as_str().to_owned();
    ids.into_iter().map(|id| (id.0, serde_json::from_str(&text(id)).unwrap())).collect()
}

/// A simulator on the corpus in which no job is completed.
async fn unfinished_simulator(folder: &Path) -> SimulatorHandle {
    let api = folder.join("api");
    std::fs::create_dir_all(&api).unwrap();
    for entry in std::fs::read_dir(recordings()).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        put(&api.join(entry.file_name()), text.replace("\"state\":\"completed\"", "\"state\":\"running\"").as_bytes());
    }
    let config = SimulatorConfig { backend: BackendConfig::Corpus(folder.to_owned()), ..SimulatorConfig::default() };
    Simulator::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_not_completed_is_asked_again_and_its_record_stays_once_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let unfinished = unfinished_simulator(folder.path()).await;
    let mut crawl = Crawl::of(&unfinished.url());
    crawl.run().await.unwrap();
    let first = jobs(&crawl);
    assert!(first.len() > 10 && first.values().all(|job| job["state"] == "running"), "{}", first.len());

    // While a later harvest is open, readers see them all, also those that it has asked for again.
    let feed_of_first = || std::fs::read_to_string(crawl.config.artifacts.out.join("changes/0001.jsonl")).unwrap();
    let told = feed_of_first();
    assert_eq!(told.matches("\"kind\":\"job\"").count(), first.len());
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let ids = store.stored_jobs().unwrap();
    let first_requests = [];
    let end = "2026-11-22T09:00:00Z".parse().unwrap();
    store.open_harvest(end, Lateness::default(), &first_requests, Timestamp::now()).unwrap();
    drop(store);
    assert_eq!(Store::open_to_show(&crawl.config.store).unwrap().stored_jobs().unwrap(), ids);

    // The server forgets one of them, and all of them are asked for again.
    let served = unfinished.served();
    let gone = *first.keys().next().unwrap();
    unfinished.delete_job(gone);
    crawl.refresh("2026-11-22T09:00:00Z").await.unwrap();
    assert_eq!(jobs(&crawl), first, "the record of a job that is gone stays");
    assert_eq!(unfinished.served().since(&served).of(Endpoint::Jobs), 1);
    std::fs::remove_file(crawl.config.artifacts.out.join("changes/0001.jsonl")).unwrap();
    crawl.refresh("2026-11-22T09:00:00Z").await.unwrap();
    assert_eq!(feed_of_first(), told, "made again");

    // The others finish.
    let finished = simulator(Behaviour::default()).await;
    finished.delete_job(gone);
    crawl.config.source.base_url = finished.url();
    crawl.refresh("2026-11-22T10:00:00Z").await.unwrap();
    let mut last = jobs(&crawl);
    assert_eq!(last.remove(&gone), first.get(&gone).cloned());
    assert_eq!(last.len(), first.len() - 1);
    assert!(last.values().all(|job| job["state"] == "completed"));
    let feed = lines(&crawl.config.artifacts.out.join("changes/0003.jsonl"));
    let changed = feed.iter().filter(|line| line["kind"] == "job" && line["change"] == "changed");
    let told: BTreeMap<u64, Value> =
        changed.map(|line| (line["id"].as_u64().unwrap(), line["after"].clone())).collect();
    assert_eq!(told, last);

    // A completed job is final.
    let served = finished.served().of(Endpoint::Jobs);
    crawl.refresh("2026-11-22T11:00:00Z").await.unwrap();
    assert_eq!(finished.served().of(Endpoint::Jobs), served);
}
