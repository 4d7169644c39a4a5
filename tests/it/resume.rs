//! Resumed runs repeat no requests and lose no data.

use std::collections::BTreeSet;
use std::time::Duration;

use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::observe::{RunPhase, RunState};
use perfharvest::store::{Ledger, STORE_FORMAT_VERSION, StoreError, frame, verify_store};
use treeherder_sim::{Behaviour, Latency};

use crate::support::tamper::{put, tampered};
use crate::support::{Crawl, assert_same_artifacts, corpus, simulator};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_run_asks_nothing_and_writes_nothing() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let (asked, made) = (simulator.served().total(), crawl.artifacts());
    let stamp = |crawl: &Crawl| std::fs::metadata(crawl.config.artifacts.out.join("manifest.json")).unwrap().modified();
    let before = stamp(&crawl).unwrap();

    let again = crawl.run().await.unwrap();
    assert_eq!((again.crawl.requests_made, simulator.served().total()), (0, asked));
    assert!(again.reduction.unwrap().written.is_empty());
    assert_same_artifacts(&made, &crawl.artifacts());
    assert_eq!(stamp(&crawl).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_artifact_is_made_again_and_the_manifest_lists_it() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let made = crawl.artifacts();
    for name in ["job_durations.csv", "perf_jobs_stats.json"] {
        std::fs::remove_file(crawl.config.artifacts.out.join(name)).unwrap();
        let again = crawl.run().await.unwrap().reduction.unwrap();
        assert_eq!(again.written.iter().map(|artifact| artifact.file_name()).collect::<Vec<_>>(), [name]);
        assert_same_artifacts(&made, &crawl.artifacts());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_for_which_there_is_nothing_are_not_tried_again_and_the_manifest_stays() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    // No commit of the file lies in this window, so no revision has a job.
    crawl.config.window.start = Some("2026-11-04T00:00:00Z".parse().unwrap());
    let one = crawl.folder.path().join("one.jsonl");
    put(&one, b"{\"node\": \"0123456789abcdef0123456789abcdef01234567\", \"date\": [1600000000, 0]}\n");
    crawl.config.inputs.commits = Some(one);
    let first = crawl.run().await.unwrap().reduction.unwrap();
    assert!(first.manifest.not_made.contains_key("job_wait_time_stats.json"), "{:?}", first.manifest.not_made);
    let made = crawl.artifacts();
    let again = crawl.run().await.unwrap().reduction.unwrap();
    assert_eq!(again.written, []);
    assert_eq!(again.unchanged.len(), first.written.len());
    assert_same_artifacts(&made, &crawl.artifacts());

    // With commits that have jobs, they are made after all.
    crawl.config.inputs.commits = Some(corpus().join("input/all_commits.jsonl"));
    let full = crawl.run().await.unwrap().reduction.unwrap();
    assert!(full.manifest.not_made.len() < first.manifest.not_made.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_ended_while_it_reduces_says_so_and_leaves_no_artifact() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
    let shutdown = Shutdown::new();
    shutdown.drain();
    let ended = crawl.run_until(&shutdown).await.unwrap();
    assert!(ended.crawl.interrupted && ended.reduction.is_none());
    assert!(crawl.artifacts().is_empty());
    crawl.run().await.unwrap();
    assert_same_artifacts(&whole, &crawl.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_ended_again_and_again_comes_to_the_same_bytes_and_asks_nothing_twice() {
    let whole = {
        let simulator = simulator(Behaviour::default()).await;
        let crawl = Crawl::of(&simulator.url());
        crawl.run().await.unwrap();
        crawl.artifacts()
    };
    let latency = Latency::Fixed(Duration::from_millis(3));
    let simulator = simulator(Behaviour { latency, ..Behaviour::default() }).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.concurrency.summaries = 2.try_into().unwrap();
    let mut rounds = 0;
    loop {
        let summary = crawl.run_for(&simulator, 25).await;
        rounds += 1;
        if summary.reduction.is_some() {
            break;
        }
        assert!(rounds < 100);
    }
    assert!(rounds > 3, "{rounds}");
    assert_same_artifacts(&whole, &crawl.artifacts());
    // A drain finishes requests in flight, so no path is requested twice.
    let arrivals = simulator.arrivals();
    let distinct: BTreeSet<_> = arrivals.iter().map(|arrival| &arrival.path_and_query).collect();
    assert_eq!(arrivals.len(), distinct.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_reduction_fails_says_that_it_has_ended_and_the_next_one_goes_on() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    // Some signatures of the corpus are in no group.
    crawl.config.artifacts.strict = true;
    crawl.run().await.unwrap_err();
    assert_eq!(RunState::read(&crawl.config.store.path).unwrap().phase, RunPhase::Interrupted);
    let asked = simulator.served().total();
    crawl.config.artifacts.strict = false;
    crawl.run().await.unwrap();
    assert_eq!(RunState::read(&crawl.config.store.path).unwrap().phase, RunPhase::Finished);
    assert_eq!(simulator.served().total(), asked, "everything fetched was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_a_development_version_or_of_a_later_format_is_refused() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let asked = simulator.served().total();
    let set_meta = |key: &str, format: Option<u32>| {
        tampered(&crawl, |db| {
            let meta = db.open_tree("meta").unwrap();
            match format {
                Some(format) => meta.insert(key, frame::seal(format.to_string().as_bytes())).unwrap(),
                None => meta.remove(key).unwrap(),
            };
        });
    };
    let refusal = async |said: &str| {
        let error = crawl.run().await.unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains(said), "{error}");
        let error = verify_store(&crawl.config.store, true, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    set_meta("format_version", Some(STORE_FORMAT_VERSION + 1));
    refusal("a newer one").await;

    // Whichever number it had, also the one that the format of the first release has.
    let ledger = Ledger::path_in(&crawl.config.store.path);
    let own = std::fs::read_to_string(&ledger).unwrap();
    let current = format!("\"format_version\": {STORE_FORMAT_VERSION}");
    set_meta("format_version", None);
    for format in 1..=3 {
        set_meta("format", Some(format));
        put(&ledger, own.as_bytes());
        refusal("a development version").await;
        put(&ledger, own.replace(&current, &format!("\"format\": {format}")).as_bytes());
        refusal("export --format archive").await;
        assert!(matches!(Ledger::read(&crawl.config.store.path), Err(StoreError::DevelopmentFormat(_))));
    }
    assert_eq!(simulator.served().total(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_store_serves_both_semantics() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl.run().await.unwrap();
    let corrected = crawl.artifacts();
    let asked = simulator.served().total();

    crawl.config.artifacts.semantics = Semantics::Reference;
    let summary = crawl.run().await.unwrap();
    assert_eq!(simulator.served().total(), asked);
    assert!(!summary.reduction.unwrap().written.is_empty());
    let golden = std::fs::read(crate::support::corpus().join("golden/job_durations.csv")).unwrap();
    assert_eq!(crawl.artifacts()["job_durations.csv"], golden);
    assert_ne!(corrected["job_durations.csv"], golden);
}
