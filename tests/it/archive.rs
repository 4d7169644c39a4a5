//! A store survives a round trip through an archive.

use std::path::Path;
use std::sync::Arc;

use perfharvest::actor::Shutdown;
use perfharvest::config::StoreConfig;
use perfharvest::pipeline;
use perfharvest::store::{STORE_FORMAT_VERSION, Store, archive, frame, verify_store};
use treeherder_sim::Behaviour;

use crate::support::tamper::tampered;
use crate::support::{Crawl, assert_same_artifacts, corpus, simulator};

fn export(store: &StoreConfig, to: &Path) {
    let store = Store::open_existing(store).unwrap();
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(to).unwrap();
    archive::write(&store, &mut file, &Shutdown::new()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_archive_gives_the_same_artifacts_and_asks_nothing_again() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let (asked, made) = (simulator.served().total(), crawl.artifacts());
    let (one, two) = (crawl.folder.path().join("one"), crawl.folder.path().join("two"));
    export(&crawl.config.store, &one);
    export(&crawl.config.store, &two);
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&two).unwrap());

    crawl.config.store.path = crawl.folder.path().join("restored");
    crawl.config.artifacts.out = crawl.folder.path().join("made again");
    let summary = archive::read(&one, &crawl.config.store, &Shutdown::new()).unwrap();
    assert_eq!(summary.file_bytes, std::fs::metadata(&one).unwrap().len());
    let again = crawl.run().await.unwrap();
    assert_eq!((again.crawl.requests_made, simulator.served().total()), (0, asked));
    assert_same_artifacts(&made, &crawl.artifacts());
    std::fs::remove_file(&two).unwrap();
    export(&crawl.config.store, &two);
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&two).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_made_of_an_archive_has_the_format_of_this_program() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let path = crawl.folder.path().join("archive");
    export(&crawl.config.store, &path);
    crawl.config.store.path = crawl.folder.path().join("restored");
    archive::read(&path, &crawl.config.store, &Shutdown::new()).unwrap();
    tampered(&crawl, |db| {
        let meta = db.open_tree("meta").unwrap();
        let format = meta.get("format_version").unwrap().unwrap();
        assert_eq!(format, frame::seal(STORE_FORMAT_VERSION.to_string().as_bytes()));
        assert_eq!(meta.get("format").unwrap(), None, "else it would be taken for one of a development version");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_goes_on_from_an_archive_of_its_middle() {
    let whole = simulator(Behaviour::default()).await;
    let calm = Crawl::of(&whole.url());
    calm.run().await.unwrap();
    let expected = (whole.served().total(), calm.artifacts());

    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let summary = crawl.run_for(&simulator, 60).await;
    assert!(summary.crawl.interrupted && summary.crawl.counts.pending() > 0);

    let file = crawl.folder.path().join("middle");
    export(&crawl.config.store, &file);
    crawl.config.store.path = crawl.folder.path().join("restored");
    archive::read(&file, &crawl.config.store, &Shutdown::new()).unwrap();
    crawl.run().await.unwrap();
    assert_eq!(simulator.served().total(), expected.0);
    assert_same_artifacts(&expected.1, &crawl.artifacts());
}

#[test]
fn nothing_is_overwritten_and_refusals_have_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        command.current_dir(folder.path()).args(arguments).assert()
    };
    let crawl = Crawl::of("http://127.0.0.1:9");
    let store = StoreConfig { path: folder.path().join("perfharvest.store"), ..crawl.config.store.clone() };
    let name = store.path.to_str().unwrap().to_owned();
    run(&["export", "--format", "archive", "--store", &name]).code(2); // no store
    drop(Store::open(&store).unwrap());
    run(&["export", "--format", "archive", "--output", "a.phar", "--store", &name]).code(0);
    let said = run(&["export", "--format", "archive", "--output", "a.phar", "--store", &name]).code(2);
    assert!(String::from_utf8_lossy(&said.get_output().stderr).contains("already exists"));

    run(&["import", "a.phar", "--store", "new"]).code(0);
    run(&["import", "missing.phar", "--store", "other"]).code(2);
    let mut newer = std::fs::read(folder.path().join("a.phar")).unwrap();
    newer[8] = 9;
    std::io::Write::write_all(
        &mut std::fs::OpenOptions::new().create_new(true).write(true).open(folder.path().join("b.phar")).unwrap(),
        &newer,
    )
    .unwrap();
    run(&["import", "b.phar", "--store", "other"]).code(4);
    assert!(!folder.path().join("other").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_made_of_an_archive_goes_on_with_the_outputs_of_the_archived_one() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let made = crawl.artifacts();
    let archive_path = crawl.folder.path().join("archive");
    export(&crawl.config.store, &archive_path);
    let id = |crawl: &Crawl| Store::latest_ledger(&crawl.config.store.path).unwrap().store_id;
    let archived = id(&crawl);

    crawl.config.store.path = crawl.folder.path().join("restored");
    archive::read(&archive_path, &crawl.config.store, &Shutdown::new()).unwrap();
    assert_eq!(id(&crawl), archived, "a store that was empty takes over the id");
    let store = Arc::new(Store::open_existing(&crawl.config.store).unwrap());
    let config = Arc::new(crawl.config.clone());
    let reduced = pipeline::reduce_store(store, &config, &[], &Shutdown::new()).await.unwrap();
    assert!(reduced.complete && reduced.written.is_empty(), "{:?}", reduced.written);
    crawl.run().await.unwrap();
    assert_same_artifacts(&made, &crawl.artifacts());
    verify_store(&crawl.config.store, false, &mut |finding| panic!("{finding:?}")).unwrap();
}

/// `corpus/archives/content_2.phar` is a crawl until 2026-08-20 by a version that had no harvests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_was_archived_before_there_were_harvests_is_brought_up_to_date() {
    let simulator = simulator(Behaviour::default()).await;
    let once = Crawl::of(&simulator.url());
    once.run().await.unwrap();

    let crawl = Crawl::of(&simulator.url());
    let archived = corpus().join("archives/content_2.phar");
    archive::read(&archived, &crawl.config.store, &Shutdown::new()).unwrap();
    let harvests = Store::open_existing(&crawl.config.store).unwrap().harvests().unwrap();
    assert!(harvests.len() == 1 && harvests[0].finished_at.is_some(), "{harvests:?}");
    verify_store(&crawl.config.store, false, &mut |finding| panic!("{finding:?}")).unwrap();

    let refreshed = crawl.refresh("2026-11-22T08:00:00Z").await.unwrap();
    assert!(refreshed.crawl.counts.is_complete() && refreshed.crawl.requests_made < simulator.served().total());
    let (mut expected, mut made) = (once.artifacts(), crawl.artifacts());
    for artifacts in [&mut expected, &mut made] {
        artifacts.retain(|name, _| !matches!(name.as_str(), "manifest.json" | "alert_summary_history.jsonl"));
    }
    assert_same_artifacts(&expected, &made);
}
