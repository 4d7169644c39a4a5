//! An import into a store that holds a crawl adds what only the import has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use perfharvest::actor::Shutdown;
use perfharvest::import::merge_folder;
use perfharvest::model::{JobId, Timestamp};
use perfharvest::store::archive::{self, ArchiveError};
use perfharvest::store::{Absorbed, CrawlIdentity, Lateness, Store};
use treeherder_sim::{Behaviour, Endpoint};

use crate::living::{data_of, plain_artifacts};
use crate::support::tamper::put;
use crate::support::{Crawl, assert_same_artifacts, corpus, proven_files, simulator};

const DATA: &str = "perf_jobs_by_signature.jsonl";

/// The end of an earlier harvest of the corpus.
const EARLIER: &str = "2026-08-20T00:00:00Z";

fn merge(crawl: &Crawl, folder: &Path) -> Absorbed {
    let mut config = crawl.config.clone();
    config.window.data_end = None;
    merge_folder(folder, &config, &Shutdown::new()).unwrap().1
}

/// The scripts' files, with a datum more in the first row that has data, and a signature that the server does not list.
fn files_with_more() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = std::fs::read_to_string(corpus().join("golden").join(DATA)).unwrap();
    let mut rows: Vec<String> = rows.lines().map(str::to_owned).collect();
    let first = rows.iter_mut().find(|row| row.contains("}, {")).unwrap();
    let datum = first[first.find("[{").unwrap() + 1..=first.find('}').unwrap()].to_owned();
    let id = datum.find("\"id\": ").unwrap() + "\"id\": ".len();
    let len = datum[id..].find(',').unwrap();
    let with_id = |new: &str| format!("{}{new}{}", &datum[..id], &datum[id + len..]);
    first.insert_str(first.len() - 2, &format!(", {}", with_id("9000000001")));
    rows.push(format!("{{\"signature_id\": 99999999, \"jobs\": [{}]}}", with_id("9000000002")));
    put(&folder.path().join(DATA), (rows.join("\n") + "\n").as_bytes());
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_reading_adds_what_only_it_has_and_nothing_the_second_time() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = crawl.artifacts();
    let same = merge(&crawl, &corpus().join("golden"));
    assert_eq!((same.is_newer, same.signatures, same.data), (false, 0, 0), "{same:?}");

    let more = files_with_more();
    let added = merge(&crawl, more.path());
    assert_eq!((added.is_newer, added.signatures, added.data, added.left_out), (false, 2, 2, 0), "{added:?}");
    let again = merge(&crawl, more.path());
    assert_eq!((again.signatures, again.data, again.records), (0, 0, 0), "{again:?}");

    crawl.run().await.unwrap();
    let rows = |artifacts: &BTreeMap<String, Vec<u8>>| {
        String::from_utf8(artifacts[DATA].clone()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (before, after) = (rows(&before), rows(&crawl.artifacts()));
    let new: Vec<&String> = after.iter().filter(|row| !before.contains(row)).collect();
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(new.len(), 2, "{new:?}");
    assert!(new[0].contains("\"id\": 9000000001") && new[1].contains("\"id\": 9000000002"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_jobs_alone_adds_their_details() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("max_revision_jobs.jsonl"), b"{\"id\": 77, \"state\": \"completed\"}\n");
    let added = merge(&crawl, folder.path());
    assert_eq!((added.is_newer, added.records, added.data), (false, 1, 0), "{added:?}");
    assert_eq!(merge(&crawl, folder.path()).records, 0);
    let store = Store::open_existing(&crawl.config.store).unwrap();
    assert!(store.job(JobId(77)).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_reading_answers_the_next_harvest() {
    let simulator = simulator(Behaviour::default()).await;
    let once = Crawl::of(&simulator.url());
    once.run().await.unwrap();

    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.data_end = Some(EARLIER.parse().unwrap());
    crawl.run().await.unwrap();
    let files = proven_files(&once.config);
    let added = merge(&crawl, files.path());
    assert!(added.is_newer && added.signatures > 50 && added.data > 1000, "{added:?}");
    assert_eq!(merge(&crawl, files.path()).signatures, 0);
    crawl.config.window.data_end = None;
    let served = simulator.served();
    assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
    assert!(simulator.served().since(&served).of(Endpoint::Summary) < 50);
    let (mut expected, mut made) = (plain_artifacts(&once), plain_artifacts(&crawl));
    for artifacts in [&mut expected, &mut made] {
        artifacts.remove("all_signatures_detailed.jsonl"); // the files have no headers
    }
    assert_same_artifacts(&expected, &made);
}

/// The archive of a store.
fn archived(crawl: &Crawl) -> PathBuf {
    let path = crawl.folder.path().join("archive");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    archive::write(&Store::open_existing(&crawl.config.store).unwrap(), &mut file, &Shutdown::new()).unwrap();
    path
}

fn merge_archive(path: &Path, crawl: &Crawl) -> Result<Absorbed, ArchiveError> {
    let lateness = Lateness::of(&crawl.config.window, false);
    archive::merge(path, &crawl.config.store, lateness, &[], &Shutdown::new()).map(|(_, absorbed)| absorbed.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_older_data_adds_its_records_once() {
    let simulator = simulator(Behaviour::default()).await;
    let mut early = Crawl::of(&simulator.url());
    early.config.window.data_end = Some(EARLIER.parse().unwrap());
    early.run().await.unwrap();
    let path = archived(&early);

    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = crawl.artifacts();
    let absorbed = merge_archive(&path, &crawl).unwrap();
    assert_eq!((absorbed.is_newer, absorbed.signatures, absorbed.data), (false, 0, 0), "{absorbed:?}");
    assert!(absorbed.records > 0, "the earlier sample has no jobs of its own");
    assert_eq!(merge_archive(&path, &crawl).unwrap().records, 0);
    crawl.run().await.unwrap();
    let (mut expected, mut made) = (before, crawl.artifacts());
    for artifacts in [&mut expected, &mut made] {
        artifacts.remove("manifest.json"); // it counts the jobs of the earlier sample
    }
    assert_same_artifacts(&expected, &made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_newer_data_answers_the_next_harvest() {
    let simulator = simulator(Behaviour::default()).await;
    let once = Crawl::of(&simulator.url());
    once.run().await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.data_end = Some(EARLIER.parse().unwrap());
    crawl.run().await.unwrap();
    crawl.config.window.data_end = None;
    let shown = || {
        let store = Store::open_to_show(&crawl.config.store).unwrap();
        let (alerts, signatures) = (store.alert_listing().unwrap(), store.signature_ids().unwrap());
        (alerts, signatures, store.stored_jobs().unwrap())
    };
    let before = shown();

    let absorbed = merge_archive(&archived(&once), &crawl).unwrap();
    assert!(absorbed.is_newer && absorbed.signatures > 50 && absorbed.data > 1000, "{absorbed:?}");
    assert!(absorbed.records > 0, "{absorbed:?}");
    assert_eq!(shown(), before, "readers see the harvest before");
    Store::open_existing(&crawl.config.store).unwrap().find_damage(|damage| panic!("{damage}")).unwrap();
    let served = simulator.served();
    assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
    assert_eq!(simulator.served().since(&served).of(Endpoint::Summary), 0);
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&crawl));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_another_server_or_repository_is_refused() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let path = archived(&crawl);
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let identity = store.identity().unwrap().unwrap();
    drop(store);
    let others = [
        CrawlIdentity { repository: "mozilla-central".to_owned(), ..identity.clone() },
        CrawlIdentity { base_url: "http://127.0.0.1:9".parse().unwrap(), ..identity.clone() },
    ];
    for other in others {
        let named = |crawl: &CrawlIdentity| format!("{} from {}", crawl.repository, crawl.base_url);
        Store::open_existing(&crawl.config.store).unwrap().pin_identity(&other).unwrap();
        let said = merge_archive(&path, &crawl).unwrap_err().to_string();
        assert!(said.contains(&named(&other)) && said.contains(&named(&identity)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_a_merge_leaves_out_are_counted() {
    let simulator = simulator(Behaviour::default()).await;
    let whole = Crawl::of(&simulator.url());
    whole.run().await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.start = Some("2026-09-01T00:00:00Z".parse().unwrap());
    let start = crawl.run().await.unwrap().crawl.identity.data_window().start;
    let pushes = data_of(&whole).into_values().flat_map(BTreeMap::into_values);
    let outside =
        pushes.filter(|row| Timestamp::parse_naive(row["push_timestamp"].as_str().unwrap()).unwrap() < start).count();
    assert!(outside > 100, "{outside}");
    let absorbed = merge_archive(&archived(&whole), &crawl).unwrap();
    assert_eq!((absorbed.outside, absorbed.data, absorbed.set_aside), (outside as u64, 0, 0), "{absorbed:?}");

    let more = files_with_more();
    let rows = std::fs::read_to_string(more.path().join(DATA)).unwrap();
    let last = rows.lines().last().unwrap().replace("}]}", "}, {\"job_id\": 9}]}");
    put(&more.path().join(DATA), last.as_bytes());
    let absorbed = merge(&whole, more.path());
    assert_eq!((absorbed.data, absorbed.set_aside), (1, 1), "{absorbed:?}");
}
