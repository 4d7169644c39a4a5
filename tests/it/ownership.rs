//! Outputs that a store did not make are never overwritten.

use std::path::Path;
use std::sync::Arc;

use perfharvest::Error;
use perfharvest::actor::Shutdown;
use perfharvest::dataset::ReduceSummary;
use perfharvest::dataset::tables::{EXPORT_NAME, Table, export};
use perfharvest::pipeline;
use perfharvest::store::Store;
use treeherder_sim::Behaviour;

use crate::support::tamper::put;
use crate::support::{Crawl, artifacts_in, assert_same_artifacts, simulator};

fn text_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn reduce(crawl: &Crawl) -> Result<ReduceSummary, Error> {
    let store = Arc::new(Store::open_existing(&crawl.config.store).unwrap());
    pipeline::reduce_store(store, &Arc::new(crawl.config.clone()), &[], &Shutdown::new()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_of_the_older_scripts_is_refused_before_anything_is_asked() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let out = &crawl.config.artifacts.out;
    std::fs::create_dir_all(out).unwrap();
    put(&out.join("sig_groups.jsonl"), b"{\"signatures\": [\"540\"]}\n");
    let before = artifacts_in(out);
    let error = crawl.run().await.unwrap_err();
    let text = text_of(&error);
    assert_eq!(error.exit_code(), 2, "{text}");
    assert!(["sig_groups.jsonl", "--out", "import"].iter().all(|part| text.contains(part)), "{text}");
    assert_eq!((simulator.served().total(), crawl.config.store.path.exists()), (0, false));
    assert_eq!(before, artifacts_in(out));

    crawl.crawl_only().await.unwrap();
    assert_eq!(reduce(&crawl).await.unwrap_err().exit_code(), 2);
    assert_eq!(before, artifacts_in(out));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_of_another_store_is_refused_and_one_of_this_store_is_not() {
    let simulator = simulator(Behaviour::default()).await;
    let first = Crawl::of(&simulator.url());
    first.run().await.unwrap();
    let before = first.artifacts();
    for sample in [Some(3), None] {
        let mut second = Crawl::of(&simulator.url());
        second.config.sample.signatures = sample.map(|number: u32| number.try_into().unwrap());
        second.config.artifacts.out = first.config.artifacts.out.clone();
        let error = second.run().await.unwrap_err();
        assert!(error.exit_code() == 2 && text_of(&error).contains("another store"), "{error}");
        assert!(!second.config.store.path.exists());
    }
    assert_same_artifacts(&before, &first.artifacts());

    put(&first.config.artifacts.out.join("manifest.json"), b"{ torn");
    assert_eq!(first.run().await.unwrap_err().exit_code(), 2);
    reduce(&first).await.unwrap(); // its files are equal to those in the folder
    assert_same_artifacts(&before, &first.artifacts());
    put(&first.config.artifacts.out.join("manifest.json"), b"{\"name\": \"of another program\"}");
    assert_eq!(reduce(&first).await.unwrap_err().exit_code(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_beside_a_dataset_that_its_manifest_does_not_list_is_kept() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let commits = crawl.config.inputs.commits.take();
    crawl.run().await.unwrap();
    let strange = crawl.config.artifacts.out.join("perf_jobs_stats.json");
    put(&strange, b"{}");
    crawl.config.inputs.commits = commits;
    let error = crawl.run().await.unwrap_err();
    assert!(error.exit_code() == 2 && text_of(&error).contains("perf_jobs_stats.json"), "{error}");
    assert_eq!(std::fs::read(&strange).unwrap(), b"{}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_program_are_not_overwritten_by_an_export() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.crawl_only().await.unwrap();
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let folder = crawl.folder.path().join("tables");
    let run = |folder: &Path| export(&store, &crawl.config, folder, &[Table::Jobs].into(), &Shutdown::new());
    run(&folder).unwrap();
    std::fs::remove_file(folder.join(EXPORT_NAME)).unwrap();
    run(&folder).unwrap(); // its own, though a kill or a person took the description away

    let theirs = crawl.folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    put(&theirs.join("jobs.parquet"), b"theirs");
    let text = text_of(&run(&theirs).unwrap_err());
    assert!(text.contains("jobs.parquet") && text.contains("--output"), "{text}");
    assert_eq!(std::fs::read(theirs.join("jobs.parquet")).unwrap(), b"theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_an_earlier_harvest_is_replaced_and_one_of_another_crawl_is_not() {
    let simulator = simulator(Behaviour::default()).await;
    let tables = tempfile::tempdir().unwrap();
    let export = |crawl: &Crawl| {
        let store = Store::open_existing(&crawl.config.store).unwrap();
        export(&store, &crawl.config, tables.path(), &[Table::Alerts].into(), &Shutdown::new())
    };
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.end = None; // it moves with the end of the data
    for data_end in ["2026-08-20T00:00:00Z", "2026-09-29T12:00:00Z", "2026-11-22T08:00:00Z"] {
        crawl.refresh(data_end).await.unwrap();
        let summary = export(&crawl).unwrap();
        assert_eq!(summary.description.crawl.data_end.to_string(), data_end);
    }
    let mut other = Crawl::of(&simulator.url());
    other.config.window.end = None;
    other.config.window.data_end = Some("2026-10-10T00:00:00Z".parse().unwrap());
    other.run().await.unwrap();
    let text = text_of(&export(&other).unwrap_err());
    assert!(text.contains("another store (window: "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_runs_into_one_folder_the_second_says_so() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    std::fs::create_dir_all(&crawl.config.artifacts.out).unwrap();
    let folder = std::fs::File::open(&crawl.config.artifacts.out).unwrap();
    folder.lock().unwrap();
    let error = crawl.run().await.unwrap_err();
    assert!(error.exit_code() == 4 && text_of(&error).contains("in use by another process"), "{error}");
    assert_eq!(simulator.served().total(), 0);
    drop(folder);
    crawl.run().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_edited_to_the_same_length_is_made_again() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = crawl.artifacts();
    let path = crawl.config.artifacts.out.join("sig_groups.jsonl");
    let mut edited = before["sig_groups.jsonl"].clone();
    edited[3] ^= 1;
    put(&path, &edited);
    let summary = crawl.run().await.unwrap().reduction.unwrap();
    assert_eq!(summary.written.iter().map(|artifact| artifact.file_name()).collect::<Vec<_>>(), ["sig_groups.jsonl"]);
    assert_same_artifacts(&before, &crawl.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_a_killed_process_was_replacing_are_still_of_this_store() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = crawl.artifacts();
    let manifest = crawl.config.artifacts.out.join("manifest.json");
    let mut claim: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let names: Vec<_> = claim["artifacts"].as_object().unwrap().keys().cloned().collect();
    claim["artifacts"] = serde_json::json!({});
    claim["run"]["publishing"] = serde_json::json!(names);
    put(&manifest, &serde_json::to_vec(&claim).unwrap());
    put(&crawl.config.artifacts.out.join("sig_groups.jsonl"), b"of the reduction before\n");
    // A reduction of one artifact does not forget the others.
    let store = Arc::new(Store::open_existing(&crawl.config.store).unwrap());
    let one = [perfharvest::dataset::Artifact::ALL[0]];
    pipeline::reduce_store(store, &Arc::new(crawl.config.clone()), &one, &Shutdown::new()).await.unwrap();
    crawl.run().await.unwrap();
    assert_same_artifacts(&before, &crawl.artifacts());
    let text = std::fs::read_to_string(&manifest).unwrap();
    assert!(!text.contains("publishing"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_not_mixed_with_other_files_or_outputs() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let store = crawl.config.store.path.clone();
    std::fs::create_dir_all(&store).unwrap();
    for known in [".keep", "all_commits.jsonl.pages", "notes.txt"] {
        put(&store.join(known), b"");
    }
    for other in ["notes.txt", "values.csv", "db-2025"] {
        std::fs::rename(store.join("notes.txt"), store.join(other)).unwrap();
        let error = crawl.run().await.unwrap_err();
        let text = text_of(&error);
        assert_eq!(error.exit_code(), 2, "{text}");
        assert!([other, "--store"].iter().all(|part| text.contains(part)), "{text}");
        assert_eq!((simulator.served().total(), std::fs::read_dir(&store).unwrap().count()), (0, 3));
        std::fs::rename(store.join(other), store.join("notes.txt")).unwrap();
    }
    std::fs::remove_file(store.join("notes.txt")).unwrap();
    crawl.run().await.unwrap();

    let mut other = Crawl::of(&simulator.url());
    other.config.artifacts.out.clone_from(&store);
    let error = other.run().await.unwrap_err();
    assert!(error.exit_code() == 2 && text_of(&error).contains("is a store"), "{error}");
    assert!(!other.config.store.path.exists());
    crawl.config.artifacts.out = store;
    assert_eq!(reduce(&crawl).await.unwrap_err().exit_code(), 2);
}
