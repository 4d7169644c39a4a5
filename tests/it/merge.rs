//! An import into a store that holds a crawl adds what only the import has.

use std::path::Path;

use perfharvest::actor::Shutdown;
use perfharvest::import::merge_folder;
use perfharvest::model::JobId;
use perfharvest::store::{Absorbed, Store, archive};
use treeherder_sim::Behaviour;

use crate::support::{Crawl, assert_same_artifacts, corpus, proven_files, simulator};

const DATA: &str = "perf_jobs_by_signature.jsonl";

/// The end of an earlier harvest of the corpus.
const EARLIER: &str = "2026-08-20T00:00:00Z";

fn put(path: &Path, text: &str) {
    use std::io::Write as _;
    std::fs::remove_file(path).ok();
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

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
    put(&folder.path().join(DATA), &(rows.join("\n") + "\n"));
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
    let rows = |artifacts: &std::collections::BTreeMap<String, Vec<u8>>| {
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
    put(&folder.path().join("max_revision_jobs.jsonl"), "{\"id\": 77, \"state\": \"completed\"}\n");
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
    let before = simulator.served().total();
    let files = proven_files(&once.config);
    let added = merge(&crawl, files.path());
    assert!(added.is_newer && added.signatures > 50 && added.data > 1000, "{added:?}");
    assert_eq!(merge(&crawl, files.path()).signatures, 0);
    crawl.config.window.data_end = None;
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.counts.is_complete());
    assert!(simulator.served().total() - before < 200);
    let (mut expected, mut made) = (once.artifacts(), crawl.artifacts());
    for artifacts in [&mut expected, &mut made] {
        artifacts.remove("manifest.json");
        artifacts.remove("alert_summary_history.jsonl"); // it names the harvests
        artifacts.remove("all_signatures_detailed.jsonl"); // the files have no headers
    }
    assert_same_artifacts(&expected, &made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_merged_if_it_is_of_the_same_server_and_repository() {
    let simulator = simulator(Behaviour::default()).await;
    let mut early = Crawl::of(&simulator.url());
    early.config.window.data_end = Some(EARLIER.parse().unwrap());
    early.run().await.unwrap();
    let path = early.folder.path().join("archive");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    archive::write(&Store::open_existing(&early.config.store).unwrap(), &mut file, &Shutdown::new()).unwrap();

    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = crawl.artifacts();
    let merge = |crawl: &Crawl| {
        let (lateness, shutdown) = (perfharvest::store::Lateness::default(), Shutdown::new());
        archive::merge(&path, &crawl.config.store, lateness, &[], &shutdown).map(|(_, absorbed)| absorbed.unwrap())
    };
    let absorbed = merge(&crawl).unwrap();
    assert_eq!((absorbed.is_newer, absorbed.signatures, absorbed.data), (false, 0, 0), "{absorbed:?}");
    assert_eq!(merge(&crawl).unwrap().records, 0);
    crawl.run().await.unwrap();
    let (mut expected, mut made) = (before, crawl.artifacts());
    for artifacts in [&mut expected, &mut made] {
        artifacts.remove("manifest.json"); // it counts the jobs of the earlier sample
    }
    assert_same_artifacts(&expected, &made);

    let mut other = Crawl::of(&simulator.url());
    other.config.store.path = crawl.config.store.path.clone();
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let mut identity = store.identity().unwrap().unwrap();
    identity.repository = "mozilla-central".to_owned();
    store.pin_identity(&identity).unwrap();
    drop(store);
    let said = merge(&other).unwrap_err().to_string();
    assert!(said.contains("mozilla-central from") && said.contains("autoland from"), "{said}");
}
