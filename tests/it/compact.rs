//! A compacted store: the same content, smaller; and files of a store from before and after a compaction, mixed.

use std::path::Path;

use perfharvest::actor::Shutdown;
use perfharvest::config::StoreConfig;
use perfharvest::store::{Compaction, Finding, Ledger, Remedy, Store, StoreError, archive, verify_store};
use treeherder_sim::{Behaviour, SimulatorHandle};

use crate::support::tamper::{alter, copy, database, put, values};
use crate::support::{Crawl, assert_same_artifacts, simulator};

async fn finished() -> (SimulatorHandle, Crawl) {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    (simulator, crawl)
}

fn archive_of(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive::write(store, &mut bytes, &Shutdown::new()).unwrap();
    bytes
}

fn findings(store: &StoreConfig, repair: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    verify_store(store, repair, &mut |finding| findings.push(finding)).unwrap();
    findings
}

fn ledger_of(store: &StoreConfig) -> Ledger {
    Ledger::read(&store.path).unwrap().unwrap()
}

/// Replaces the store by a copy.
fn put_back(copied: &Path, store: &StoreConfig) {
    std::fs::remove_dir_all(&store.path).unwrap();
    copy(copied, &store.path);
}

fn replace_database(copied: &Path, crawl: &Crawl) {
    std::fs::remove_dir_all(database(crawl)).unwrap();
    copy(&copied.join("db"), &database(crawl));
}

/// Asks one more request, so that the store has a commit more.
fn commit_once_more(store: &Store) {
    use perfharvest::model::{JobId, Request};
    use perfharvest::store::{Change, Pending, Settlement};
    let settlement = Settlement::discovery(vec![Pending::of(Request::Job { id: JobId(9_999_999) })]);
    store.commit(Change::Expand { settlement: Box::new(settlement) }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_store_has_the_same_content_and_a_second_compaction_frees_next_to_nothing() {
    let (simulator, crawl) = finished().await;
    let (config, whole, asked) = (&crawl.config.store, crawl.artifacts(), simulator.served().total());
    let (content, share) = {
        let store = Store::open(config).unwrap();
        (archive_of(&store), store.garbage_share().unwrap())
    };
    let first = Store::compact(config).unwrap();
    assert!(first.log_after < first.log_before, "{first:?}");
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let freed = 1.0 - first.log_after as f64 / first.log_before as f64;
    assert!(freed > share, "{share} is replaced data, {freed} was freed: values are compressed together");
    assert_eq!(ledger_of(config).log_end, first.log_after);
    {
        let store = Store::open(config).unwrap();
        assert!(archive_of(&store) == content);
        let share = store.garbage_share().unwrap();
        assert!(share < 0.02, "{share}");
    }
    assert_eq!(findings(config, false), []);
    let second = Store::compact(config).unwrap();
    // The values are spread over the groups anew.
    assert!(second.log_before == first.log_after && second.log_after.abs_diff(first.log_after) < first.log_after / 50);
    assert_eq!(compact_if_worth(config), None);
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
    crawl.run().await.unwrap();
    assert_same_artifacts(&whole, &crawl.artifacts());
    std::fs::remove_dir_all(database(&crawl)).unwrap();
    assert!(archive_of(&Store::open(config).unwrap()) == content, "the log has it all");
    assert_eq!(simulator.served().total(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_compacted_in_the_middle_of_a_crawl_goes_on() {
    let (_simulator, calm) = finished().await;
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    for more in [1, 5, 40, 100] {
        crawl.run_for(&simulator, more).await;
        let config = &crawl.config.store;
        let counts = Store::open(config).unwrap().counts().unwrap();
        Store::compact(config).unwrap();
        assert_eq!(Store::open(config).unwrap().counts().unwrap(), counts);
        assert_eq!(findings(config, false), [], "after {more} requests");
    }
    crawl.run().await.unwrap();
    assert_same_artifacts(&calm.artifacts(), &crawl.artifacts());
    assert_eq!(findings(&crawl.config.store, false), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_of_garbage_is_worth_a_compaction() {
    let (_simulator, crawl) = finished().await;
    let config = &crawl.config.store;
    Store::compact(config).unwrap();
    let len = std::fs::metadata(values(&crawl)).unwrap().len();
    let mut last = 0.0;
    while compact_if_worth(config).is_none() {
        assert!(last < 1.0 / 3.0, "{last} was not worth it");
        let share = add_garbage(config);
        assert!(share > last, "{share} after {last}");
        last = share;
    }
    assert!(last > 1.0 / 3.0);
    assert!(std::fs::metadata(values(&crawl)).unwrap().len() < len + 1000);
}

fn compact_if_worth(config: &StoreConfig) -> Option<Compaction> {
    Store::open(config).unwrap().close_and_compact_if_worth(config).unwrap()
}

/// Replaces values; the share of the log that is garbage then.
fn add_garbage(config: &StoreConfig) -> f64 {
    let store = Store::open(config).unwrap();
    store.keep_busiest_note(&"x".repeat(1000)).unwrap();
    for _ in 0..200 {
        store.keep_busiest_note("").unwrap();
    }
    store.garbage_share().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_compacts_a_store_that_is_worth_it() {
    let (_simulator, crawl) = finished().await;
    let config = &crawl.config.store;
    while add_garbage(config) < 0.4 {}
    crawl.refresh("2026-11-22T08:00:01Z").await.unwrap();
    let share = Store::open(config).unwrap().garbage_share().unwrap();
    assert!(share < 0.01, "{share}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_value_stops_a_compaction_before_anything_is_changed() {
    let (_simulator, crawl) = finished().await;
    let (config, whole) = (&crawl.config.store, crawl.artifacts());
    let len = std::fs::metadata(values(&crawl)).unwrap().len();
    alter(&values(&crawl), (0..20).map(|hit| len / 2 + hit * 4099));
    let before = std::fs::read(values(&crawl)).unwrap();
    let error = Store::compact(config).unwrap_err();
    assert!(error.is_damaged_value() && error.to_string().contains("verify --repair"), "{error}");
    assert!(std::fs::read(values(&crawl)).unwrap() == before && !config.path.join("values.new").exists());
    findings(config, true);
    crawl.run().await.unwrap();
    assert_same_artifacts(&whole, &crawl.artifacts());
    Store::compact(config).unwrap();
    assert_eq!(findings(config, false), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_group_of_a_compacted_log_without_a_database_is_fetched_again() {
    let (_simulator, crawl) = finished().await;
    let (config, whole) = (&crawl.config.store, crawl.artifacts());
    Store::compact(config).unwrap();
    let sound = crawl.folder.path().join("sound");
    copy(&config.path, &sound);
    let bytes = std::fs::read(values(&crawl)).unwrap();
    let heads: Vec<u64> =
        (0..).zip(bytes.windows(8)).filter(|(_, window)| *window == b"\xf5PHLOG\r\n").map(|(at, _)| at).collect();
    assert!(heads.len() >= 6, "{heads:?}");
    for copies in heads.chunks(2) {
        put_back(&sound, config);
        alter(&values(&crawl), copies.iter().copied());
        std::fs::remove_dir_all(database(&crawl)).unwrap();
        assert!(crawl.run().await.unwrap_err().to_string().contains("verify --repair"));
        assert!(findings(config, true).iter().all(|finding| finding.remedy != Remedy::Lost));
        crawl.run().await.unwrap_or_else(|error| panic!("{copies:?}: {error}"));
        assert_same_artifacts(&whole, &crawl.artifacts());
        assert_eq!(findings(config, false), [], "{copies:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_or_a_ledger_from_before_a_compaction_is_replaced_in_silence() {
    let (_simulator, crawl) = finished().await;
    let config = &crawl.config.store;
    let old = crawl.folder.path().join("old");
    let content = archive_of(&Store::open(config).unwrap());
    copy(&config.path, &old);
    Store::compact(config).unwrap();
    let new = crawl.folder.path().join("new");
    copy(&config.path, &new);
    for (has_old_database, has_old_ledger) in [(true, true), (true, false), (false, true)] {
        for command in 0..4 {
            put_back(&new, config);
            if has_old_database {
                replace_database(&old, &crawl);
            }
            if has_old_ledger {
                put(&Ledger::path_in(&config.path), &std::fs::read(Ledger::path_in(&old)).unwrap());
            }
            let what = format!("{has_old_database} {has_old_ledger} {command}");
            match command {
                0 => {}
                1 => {
                    let counts = Store::latest_ledger(&config.path).unwrap().counts;
                    assert_eq!(counts, Store::open(config).unwrap().counts().unwrap(), "{what}");
                }
                2 => {
                    let lock = std::fs::File::options().write(true).open(config.path.join("lock")).unwrap();
                    lock.try_lock().unwrap();
                    assert!(archive_of(&Store::open_to_read(config).unwrap()) == content, "{what}");
                }
                _ => {
                    let found = findings(config, false);
                    assert!(found.iter().all(|finding| finding.remedy == Remedy::None), "{what}: {found:?}");
                    let repaired = findings(config, true);
                    assert_eq!(repaired.len(), usize::from(!has_old_ledger), "{what}: {repaired:?}");
                    assert_eq!(findings(config, false), [], "{what}");
                }
            }
            assert!(archive_of(&Store::open(config).unwrap()) == content, "{what}");
            assert_eq!(ledger_of(config).log_id, Ledger::read(&new).unwrap().unwrap().log_id, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_from_before_a_compaction_is_refused_if_the_store_has_gone_on_since() {
    let (_simulator, crawl) = finished().await;
    let config = &crawl.config.store;
    let old = std::fs::read(values(&crawl)).unwrap();
    let content = archive_of(&Store::open(config).unwrap());
    Store::compact(config).unwrap();
    put(&values(&crawl), &old);
    assert!(archive_of(&Store::open(config).unwrap()) == content, "it has the same content");
    Store::compact(config).unwrap();
    {
        let store = Store::open(config).unwrap();
        commit_once_more(&store);
        store.keep_busiest_note("").unwrap();
    }
    verify_store(config, true, &mut |_| {}).unwrap();
    let commits = Store::open(config).unwrap().counts().unwrap().commits;
    let mut ledger = ledger_of(config);
    ledger.counts = Store::open(config).unwrap().counts().unwrap();
    ledger.write(&config.path).unwrap();
    put(&values(&crawl), &old);
    for _ in 0..2 {
        let error = Store::open(config).unwrap_err();
        assert!(matches!(error, StoreError::BehindLedger { expected, .. } if expected == commits), "{error}");
        let _gone = std::fs::remove_dir_all(database(&crawl)); // with the database, and without
    }
    let lock = std::fs::File::options().write(true).open(config.path.join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(matches!(Store::open_to_read(config).unwrap_err(), StoreError::BehindLedger { .. }));
    drop(lock);
    assert!(findings(config, false).iter().any(|finding| finding.what.contains("lost data")));
    assert!(findings(config, true).iter().all(|finding| finding.remedy == Remedy::Repaired));
    assert_eq!(findings(config, false), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_another_store_is_refused_and_harms_nothing() {
    let (_simulator, crawl) = finished().await;
    let (_other_simulator, other) = finished().await;
    let config = &crawl.config.store;
    let content = archive_of(&Store::open(config).unwrap());
    for is_compacted in [false, true] {
        if is_compacted {
            Store::compact(config).unwrap();
            Store::compact(&other.config.store).unwrap();
        }
        let own = std::fs::read(values(&crawl)).unwrap();
        put(&values(&crawl), &std::fs::read(values(&other)).unwrap());
        let error = Store::open(config).unwrap_err();
        assert!(matches!(error, StoreError::OtherLog(_)), "{error}");
        assert!(matches!(Store::compact(config).unwrap_err(), StoreError::OtherLog(_)));
        for repair in [false, true] {
            let error = verify_store(config, repair, &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains("belongs to another store; put"), "{error}");
        }
        put(&values(&crawl), &own);
        assert_eq!(findings(config, false), []);
        assert!(archive_of(&Store::open(config).unwrap()) == content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_the_old_log_open_goes_on_reading_it() {
    let (_simulator, crawl) = finished().await;
    let config = &crawl.config.store;
    let writer = Store::open(config).unwrap();
    let content = archive_of(&writer);
    let reader = Store::open_to_read(config).unwrap();
    drop(writer);
    Store::compact(config).unwrap();
    let held = Store::open(config).unwrap();
    let later = Store::open_to_read(config).unwrap();
    assert!(reader.as_of().is_some() && later.as_of().is_some());
    assert!(archive_of(&reader) == content && archive_of(&later) == content && archive_of(&held) == content);
    assert!(matches!(Store::compact(config), Err(StoreError::Locked(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_killed_compaction_is_removed_when_the_store_is_opened() {
    let (_simulator, crawl) = finished().await;
    let config = &crawl.config.store;
    let left = config.path.join("values.new");
    for command in 0..3 {
        put(&left, b"half");
        let found = findings(config, false);
        assert_eq!((found.len(), found[0].remedy), (1, Remedy::None), "{found:?}");
        match command {
            0 => drop(Store::open(config).unwrap()),
            1 => drop(Store::compact(config).unwrap()),
            _ => assert_eq!(findings(config, true)[0].remedy, Remedy::Repaired),
        }
        assert!(!left.exists());
        assert_eq!(findings(config, false), []);
    }
}
