//! A damaged store: every kind of damage is repaired or ends in a clear message, and never in a panic, an empty store
//! or a wrong artifact.

use std::collections::BTreeMap;
use std::path::PathBuf;

use perfharvest::model::{JobId, Kind, Request};
use perfharvest::store::{Finding, Ledger, Remedy, Store, verify_store};
use treeherder_sim::{Behaviour, SimulatorHandle};

use crate::support::tamper::{
    alter, copy, cut, database, first_key, flip, packed, put, tampered, tampered_database, values,
};
use crate::support::{Crawl, assert_same_artifacts, simulator};

/// A finished crawl.
async fn finished() -> (SimulatorHandle, Crawl) {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.reduce.workers = 2; // one meets the damage, and nobody waits for its block in vain
    crawl.run().await.unwrap();
    (simulator, crawl)
}

fn findings(crawl: &Crawl, repair: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    verify_store(&crawl.config.store, repair, &mut |finding| findings.push(finding)).unwrap();
    findings
}

async fn refused(crawl: &Crawl) -> String {
    let error = crawl.run().await.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    error.to_string()
}

fn snapshots(crawl: &Crawl) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(database(crawl)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snap.")).collect()
}

fn first_settled_job(db: &sled::Db) -> u64 {
    let settled = db.open_tree("records").unwrap();
    let key = settled.scan_prefix(b"J").keys().next().unwrap().unwrap();
    u64::from_be_bytes(key[1..9].try_into().unwrap())
}

/// Removes the artifacts, so that the next run has to read everything.
fn forget_artifacts(crawl: &Crawl) {
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
}

/// Damage of `records` by the first byte of a key, and what asks for it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_any_kind_of_record_is_fetched_again_by_the_next_run() {
    let (simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    for (tree, prefix) in [
        ("records", b"A"),
        ("records", b"P"),
        ("records", b"C"),
        ("records", b"J"),
        ("records", b"G"),
        ("settled", b"s"),
    ] {
        tampered(&crawl, |db| flip(db, tree, &first_key(db, tree, prefix)));
        let found = findings(&crawl, false);
        assert!(!found.is_empty(), "{tree} {prefix:?} is not found by verify");
        assert_eq!(found, findings(&crawl, false), "verifying changes nothing");
        forget_artifacts(&crawl);
        let before = simulator.served().total();
        let summary = crawl.run().await.unwrap_or_else(|error| panic!("{tree} {prefix:?}: {error}"));
        assert!(simulator.served().total() > before, "{tree} {prefix:?} was not asked again");
        assert!(summary.crawl.lost.is_empty());
        assert_same_artifacts(&whole, &crawl.artifacts());
        assert_eq!(findings(&crawl, false), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_values_and_lists_are_found_and_repaired_without_the_network() {
    let (simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    let asked = simulator.served().total();
    for (tree, key) in [
        ("meta", b"counts".to_vec()),
        ("meta", b"identity".to_vec()),
        ("meta", b"store_id".to_vec()),
        ("meta", b"busiest".to_vec()),
        ("meta", b"format_version".to_vec()),
        ("provenance", Vec::new()),
    ] {
        tampered(&crawl, |db| {
            let key = if key.is_empty() { first_key(db, tree, b"") } else { key.clone() };
            flip(db, tree, &key);
        });
        let found = findings(&crawl, false);
        assert!(found.iter().any(|finding| finding.remedy == Remedy::Repair), "{tree} {key:?}: {found:?}");
        let repaired = findings(&crawl, true);
        assert!(repaired.iter().all(|finding| finding.remedy == Remedy::Repaired), "{tree} {key:?}: {repaired:?}");
        assert_eq!(findings(&crawl, false), [], "{tree} {key:?}");
        forget_artifacts(&crawl);
        crawl.run().await.unwrap_or_else(|error| panic!("{tree} {key:?}: {error}"));
        assert_same_artifacts(&whole, &crawl.artifacts());
    }
    assert_eq!(simulator.served().total(), asked, "nothing had to be asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_push_has_one_of_the_summaries_that_refer_to_it_asked_again() {
    let (simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    for missing in [false, true] {
        tampered(&crawl, |db| {
            let key = first_key(db, "pushes", b"");
            flip(db, "pushes", &key);
            if missing {
                db.open_tree("pushes").unwrap().remove(key).unwrap();
            }
        });
        let again = findings(&crawl, false).iter().filter(|finding| finding.remedy == Remedy::RunAgain).count();
        assert_eq!(again, 1);
        let before = simulator.served().total();
        if missing {
            forget_artifacts(&crawl);
        }
        crawl.run().await.unwrap();
        assert_eq!(simulator.served().total() - before, again as u64);
        assert_same_artifacts(&whole, &crawl.artifacts());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_job_that_the_server_has_deleted_is_named() {
    let (simulator, crawl) = finished().await;
    let mut id = 0;
    tampered(&crawl, |db| {
        id = first_settled_job(db);
        flip(db, "records", &first_key(db, "records", b"J"));
    });
    simulator.delete_job(id);
    forget_artifacts(&crawl);
    let summary = crawl.run().await.unwrap();
    assert_eq!(summary.crawl.lost, [Request::Job { id: JobId(id) }.to_string()]);
    assert_eq!(findings(&crawl, false), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_entries_of_the_frontier_are_repaired() {
    let (simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    // A pending request and a failed one, both with unreadable values.
    tampered(&crawl, |db| {
        let key = first_key(db, "settled", b"s");
        db.open_tree("settled").unwrap().remove(&key).unwrap();
        db.open_tree("pending").unwrap().insert(&key, b"nonsense").unwrap();
        let key = first_key(db, "settled", b"s");
        db.open_tree("settled").unwrap().remove(&key).unwrap();
        db.open_tree("failed").unwrap().insert(&key, b"nonsense").unwrap();
    });
    assert!(findings(&crawl, false).len() >= 3, "both, and the tally");
    findings(&crawl, true);
    assert_eq!(findings(&crawl, false), []);
    let before = simulator.served().total();
    crawl.run().await.unwrap();
    assert_eq!(simulator.served().total() - before, 2);
    assert_same_artifacts(&whole, &crawl.artifacts());
}

/// Damages the store by `damage`, and expects the next run to ask nothing and to make the same artifacts.
async fn assert_rebuilt(crawl: &Crawl, whole: &BTreeMap<String, Vec<u8>>, what: &str) {
    if crawl.config.artifacts.out.exists() {
        forget_artifacts(crawl);
    }
    let summary = crawl.run().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!((summary.crawl.requests_made, summary.crawl.counts.failed()), (0, 0), "{what}");
    assert_same_artifacts(whole, &crawl.artifacts());
    assert_eq!(findings(crawl, false), [], "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_or_empty_snapshot_costs_nothing() {
    let (_simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    for keep in [0, 1, 40] {
        if snapshots(&crawl).is_empty() {
            put(&database(&crawl).join("snap.0000000000000000"), &[7; 100]);
        }
        for path in snapshots(&crawl) {
            cut(&path, keep);
        }
        assert_rebuilt(&crawl, &whole, &format!("snapshot of {keep} bytes")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_truncated_missing_or_another_one_is_rebuilt_from_the_log() {
    let (_simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    let file = database(&crawl).join("db");
    let len = std::fs::metadata(&file).unwrap().len();
    for keep in [len / 2, len * 3 / 10, 0] {
        cut(&file, keep);
        assert_rebuilt(&crawl, &whole, &format!("{keep} bytes")).await;
    }
    for name in ["db", "conf"] {
        std::fs::remove_file(database(&crawl).join(name)).unwrap();
        assert_rebuilt(&crawl, &whole, name).await;
    }
    let len = std::fs::metadata(packed(&crawl)).unwrap().len();
    for keep in [len - 1, len / 2, 0] {
        cut(&packed(&crawl), keep);
        assert_rebuilt(&crawl, &whole, &format!("{keep} bytes of the packed part")).await;
    }
    alter(&packed(&crawl), [len / 3].into_iter());
    assert!(findings(&crawl, false)[0].what.contains("its packed part does not hold what was written into it"));
    assert_rebuilt(&crawl, &whole, "another byte in the packed part").await;
    std::fs::remove_file(packed(&crawl)).unwrap();
    assert!(findings(&crawl, false)[0].what.contains("its packed part is missing"));
    assert_rebuilt(&crawl, &whole, "no packed part").await;
    std::fs::remove_dir_all(database(&crawl)).unwrap();
    assert!(findings(&crawl, false)[0].what.contains("it is missing"));
    assert!(!database(&crawl).exists(), "verifying changes nothing");
    assert_eq!(findings(&crawl, true)[0].remedy, Remedy::Repaired);
    assert_rebuilt(&crawl, &whole, "no database").await;
    tampered_database(&crawl, |db| {
        let settled = db.open_tree("settled").unwrap();
        settled.remove(settled.first().unwrap().unwrap().0).unwrap();
    });
    assert!(findings(&crawl, false)[0].what.contains("it does not hold what was written into it"));
    assert_rebuilt(&crawl, &whole, "an entry less").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_values_that_was_cut_is_refused_and_what_is_gone_is_fetched_again_after_a_repair() {
    let (_simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    let len = std::fs::metadata(values(&crawl)).unwrap().len();
    for keep in [Some(len - 1), Some(len / 2), None] {
        match keep {
            Some(keep) => cut(&values(&crawl), keep),
            None => std::fs::remove_file(values(&crawl)).unwrap(),
        }
        forget_artifacts(&crawl);
        let text = refused(&crawl).await;
        assert!(text.contains("has lost data") && text.contains("verify --repair"), "{text}");
        let found = findings(&crawl, false);
        assert!(found.iter().any(|finding| finding.what.contains("its file `values`")), "{found:?}");
        assert_eq!(values(&crawl).exists(), keep.is_some(), "verifying changes nothing");
        assert!(findings(&crawl, true).iter().all(|finding| finding.remedy != Remedy::Lost));
        crawl.run().await.unwrap();
        assert_same_artifacts(&whole, &crawl.artifacts());
        assert_eq!(findings(&crawl, false), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_else_in_the_place_of_the_values_is_named_and_left_alone() {
    let (_simulator, crawl) = finished().await;
    let kept = crawl.folder.path().join("kept");
    std::fs::rename(values(&crawl), &kept).unwrap();
    std::fs::create_dir(values(&crawl)).unwrap();
    let text = refused(&crawl).await;
    assert!(text.contains("not a regular file") && text.contains("move it away"), "{text}");
    std::fs::remove_dir(values(&crawl)).unwrap();
    std::fs::rename(&kept, values(&crawl)).unwrap();
    assert_eq!(findings(&crawl, false), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_flipped_anywhere_among_the_values_are_fetched_again() {
    let (simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    let len = std::fs::metadata(values(&crawl)).unwrap().len();
    let mut num_asking = 0;
    for round in 0..8 {
        alter(&values(&crawl), (0..20).map(|hit| len / 9 * (round + 1) + hit * 4099));
        forget_artifacts(&crawl);
        let before = simulator.served().total();
        let summary = crawl.run().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(summary.crawl.counts.failed(), 0, "round {round}");
        assert_same_artifacts(&whole, &crawl.artifacts());
        if simulator.served().total() > before {
            num_asking += 1;
        } else {
            // A run that finds damage repairs all of it, but finds it only where it reads. Where values lie depends on the order
            // of the answers: the bytes may have hit only values that were replaced, or that no artifact needs.
            findings(&crawl, true);
            crawl.run().await.unwrap_or_else(|error| panic!("round {round}, repaired: {error}"));
            assert_same_artifacts(&whole, &crawl.artifacts());
        }
        assert_eq!(findings(&crawl, false), [], "round {round}");
    }
    assert!(num_asking > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_missing_foreign_or_unreadable_is_refused_and_rewritten_by_a_repair() {
    let (simulator, crawl) = finished().await;
    let path = Ledger::path_in(&crawl.config.store.path);
    let own = std::fs::read(&path).unwrap();
    let mut foreign = Ledger::read(&crawl.config.store.path).unwrap().unwrap();
    foreign.store_id = "f".repeat(32);
    let asked = simulator.served().total();
    let flipped = (1..6).map(|sixth| {
        let mut bytes = own.clone();
        bytes[own.len() / 6 * sixth] ^= 1;
        Some(bytes)
    });
    let cut = [own.len() - 1, own.len() / 2, 1, 0].map(|len| Some(own[..len].to_vec()));
    for (number, bytes) in [None, None].into_iter().chain(flipped).chain(cut).enumerate() {
        match bytes {
            None if number == 0 => foreign.write(&crawl.config.store.path).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => put(&path, &bytes),
        }
        let text = refused(&crawl).await;
        assert!(text.contains("ledger") && text.contains("verify --repair"), "{text}");
        assert_eq!(findings(&crawl, false).len(), 1);
        assert_eq!(findings(&crawl, true)[0].remedy, Remedy::Repaired);
        assert_eq!(findings(&crawl, false), []);
        crawl.run().await.unwrap();
    }
    assert_eq!(simulator.served().total(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_database_is_brought_to_the_end_of_the_log_and_one_of_the_log_is_refused() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    // The first half: the crawl without its commits does not know the busiest revision.
    let commits = crawl.config.inputs.commits.take();
    crawl.run().await.unwrap();
    let old = crawl.folder.path().join("old");
    copy(&crawl.config.store.path, &old);
    crawl.config.inputs.commits = commits;
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();

    std::fs::remove_dir_all(database(&crawl)).unwrap();
    copy(&old.join("db"), &database(&crawl));
    assert_rebuilt(&crawl, &whole, "an older database").await;

    std::fs::remove_dir_all(database(&crawl)).unwrap();
    copy(&old.join("db"), &database(&crawl));
    std::fs::copy(old.join("values"), values(&crawl)).unwrap();
    let text = refused(&crawl).await;
    assert!(text.contains("has lost data") && text.contains("verify --repair"), "{text}");
    assert!(!findings(&crawl, false).is_empty());
    assert!(findings(&crawl, true).iter().all(|finding| finding.remedy == Remedy::Repaired));
    crawl.run().await.unwrap();
    assert_same_artifacts(&whole, &crawl.artifacts());
    assert_eq!(findings(&crawl, false), []);
}

/// Bytes of sled's own file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_flipped_anywhere_in_the_database_cost_nothing() {
    let (_simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    let file = database(&crawl).join("db");
    for round in 0..12 {
        let len = std::fs::metadata(&file).unwrap().len();
        alter(&file, (0..20).map(|hit| len / 13 * (round + 1) + hit * 4099));
        assert_rebuilt(&crawl, &whole, &format!("round {round}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_open_elsewhere_is_left_alone_by_verify() {
    let (_simulator, crawl) = finished().await;
    let held = Store::open(&crawl.config.store).unwrap();
    let error = verify_store(&crawl.config.store, true, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    assert!(held.counts().unwrap().of(Kind::Summaries).settled() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_of_killed_processes_are_removed_by_the_next_run() {
    let (_simulator, crawl) = finished().await;
    let ours = [
        crawl.config.artifacts.out.join(".job_durations.csv.a1B2c3.tmp"),
        crawl.config.store.path.join(".ledgerXyZ123"),
    ];
    for path in &ours {
        put(path, b"half");
    }
    assert_eq!(findings(&crawl, false)[0].remedy, Remedy::None, "leftovers are not damage");
    crawl.run().await.unwrap();
    assert!(ours.iter().all(|path| !path.exists()));
}
