//! A database whose trees are of different moments, as after sled lost the end of its log: each value verifies, and only a
//! comparison of the trees shows missing values.

use std::collections::BTreeMap;
use std::time::Duration;

use perfharvest::model::{Request, Window};
use perfharvest::store::{Remedy, frame, verify_store};
use treeherder_sim::{Behaviour, SimulatorHandle};

use crate::support::tamper::{first_key, flip, tampered};
use crate::support::{Crawl, assert_same_artifacts, simulator};

async fn finished() -> (SimulatorHandle, Crawl) {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    (simulator, crawl)
}

/// The findings of a verification, and the number of them that need a request.
fn findings(crawl: &Crawl, repair: bool) -> (Vec<String>, usize) {
    let (mut texts, mut to_ask) = (Vec::new(), 0);
    verify_store(&crawl.config.store, repair, &mut |finding| {
        to_ask += usize::from(finding.remedy == Remedy::RunAgain);
        texts.push(finding.what);
    })
    .unwrap();
    (texts, to_ask)
}

/// Takes each `nth` settled request of a kind out of its tree; returns how many.
fn unsettle(crawl: &Crawl, prefix: &[u8], nth: usize) -> usize {
    let mut num = 0;
    tampered(crawl, |db| {
        let settled = db.open_tree("settled").unwrap();
        for entry in settled.scan_prefix(prefix).step_by(nth) {
            settled.remove(entry.unwrap().0).unwrap();
            num += 1;
        }
    });
    num
}

/// Runs it without a repair before, and expects the same artifacts, nothing to find, and how many requests it made.
async fn assert_made_whole(crawl: &Crawl, whole: &BTreeMap<String, Vec<u8>>) -> u64 {
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
    let summary = crawl.run().await.unwrap();
    assert_same_artifacts(whole, &crawl.artifacts());
    assert_eq!(findings(crawl, false).0, <[String; 0]>::default());
    summary.crawl.requests_made
}

/// Repairs it, and expects the run after that to make the same artifacts and leave nothing to find.
async fn assert_repaired(crawl: &Crawl, whole: &BTreeMap<String, Vec<u8>>) {
    findings(crawl, true);
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
    crawl.run().await.unwrap();
    assert_same_artifacts(whole, &crawl.artifacts());
    assert_eq!(findings(crawl, false).0, <[String; 0]>::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampled_jobs_that_no_tree_knows_are_asked_again_after_a_repair() {
    let (simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    unsettle(&crawl, b"j", 5);
    assert!(assert_made_whole(&crawl, &whole).await > 0);
    for nth in [3, 1] {
        unsettle(&crawl, b"j", nth);
        let (texts, to_ask) = findings(&crawl, false);
        assert!(to_ask > 0, "{texts:?}");
        assert!(texts.iter().any(|text| text.contains("neither settled nor pending")), "{texts:?}");
        let before = simulator.served().total();
        assert_repaired(&crawl, &whole).await;
        assert!(simulator.served().total() > before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_settled_and_pending_are_settled() {
    let (simulator, crawl) = finished().await;
    let (whole, asked) = (crawl.artifacts(), simulator.served().total());
    let mut num = 0;
    tampered(&crawl, |db| {
        for key in db.open_tree("settled").unwrap().scan_prefix(b"j").keys().step_by(7) {
            db.open_tree("pending").unwrap().insert(key.unwrap(), frame::seal(&[0; 8])).unwrap();
            num += 1;
        }
    });
    let (texts, to_ask) = findings(&crawl, false);
    assert_eq!((texts.len(), to_ask), (num, 0), "{texts:?}");
    assert!(texts.iter().all(|text| text.contains("its entry in the tree pending duplicates another")), "{texts:?}");
    assert_eq!(assert_made_whole(&crawl, &whole).await, 0);
    assert_eq!(simulator.served().total(), asked, "nothing had to be asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_beside_its_whole_is_taken_away() {
    let (_simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    for tree in ["pending", "settled"] {
        tampered(&crawl, |db| {
            let settled = db.open_tree("settled").unwrap();
            let (key, value) = settled.scan_prefix(b"s").nth(9).unwrap().unwrap();
            let Some(Request::Summary { signature, harvest, window, replicates }) = Request::from_key(&key) else {
                panic!()
            };
            let part = Window { end: window.start.plus_secs(86_400), ..window };
            let value = if tree == "pending" { frame::seal(&[0; 8]).into() } else { value };
            db.open_tree(tree)
                .unwrap()
                .insert(Request::Summary { signature, harvest, window: part, replicates }.key(), value)
                .unwrap();
        });
        let (texts, to_ask) = findings(&crawl, false);
        assert_eq!(to_ask, 0, "{texts:?}");
        assert!(texts.iter().any(|text| text.contains(&format!("in the tree {tree} duplicates another"))), "{texts:?}");
        assert_eq!(assert_made_whole(&crawl, &whole).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn summaries_pages_and_lists_that_no_tree_knows_are_asked_again_without_a_repair() {
    let (_simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    for prefix in [&b"s"[..], b"a", b"g", b"u"] {
        assert!(unsettle(&crawl, prefix, 2) > 0);
        assert!(assert_made_whole(&crawl, &whole).await > 0, "{}", prefix.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_signatures_that_are_missing_have_the_list_asked_again() {
    let (_simulator, crawl) = finished().await;
    let whole = crawl.artifacts();
    tampered(&crawl, |db| {
        let ids = db.open_tree("signature_ids").unwrap();
        let first = ids.first().unwrap().unwrap().0;
        ids.remove(first).unwrap();
    });
    let (texts, to_ask) = findings(&crawl, false);
    assert_eq!(to_ask, 1, "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("signatures are stored")), "{texts:?}");
    assert_repaired(&crawl, &whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_signatures_are_found_and_repaired_even_when_no_list_names_them() {
    for lists_are_settled in [true, false] {
        let (_simulator, crawl) = finished().await;
        let whole = crawl.artifacts();
        if !lists_are_settled {
            unsettle(&crawl, b"g", 1); // as after an import
        }
        tampered(&crawl, |db| {
            let record = first_key(db, "records", b"G");
            flip(db, "records", &record);
            // An id without a record, which no server lists, and an invalid id.
            let ids = db.open_tree("signature_ids").unwrap();
            ids.insert(u64::MAX.to_be_bytes(), b"").unwrap();
            ids.insert(b"odd", b"").unwrap();
        });
        let (texts, _) = findings(&crawl, false);
        for text_part in [
            "the file of values ends before this value",
            "signature 18446744073709551615",
            "a signature has an invalid key",
        ] {
            assert!(texts.iter().any(|text| text.contains(text_part)), "{text_part}: {texts:?}");
        }
        assert_repaired(&crawl, &whole).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_names_a_signature_that_damage_lost_and_no_list_brings_back() {
    let (_simulator, crawl) = finished().await;
    tampered(&crawl, |db| drop(db.open_tree("signature_ids").unwrap().insert(u64::MAX.to_be_bytes(), b"").unwrap()));
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
    assert_eq!(crawl.run().await.unwrap().crawl.lost, ["signature 18446744073709551615"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_window_that_no_tree_knows_are_asked_again() {
    let kill = Behaviour { kill_over_data: Some(70), kill_after: Duration::ZERO, ..Behaviour::default() };
    let simulator = simulator(kill).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();
    // Of most signatures in parts, some of the parts are left.
    unsettle(&crawl, b"s", 2);
    assert!(assert_made_whole(&crawl, &whole).await > 0);
}
