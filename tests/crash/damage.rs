//! Damages of the database and of the log of a store whose database has several segments. Nothing is asked again but what
//! the log itself has lost.
//!
//! `PERFHARVEST_CRASH_LONG=1` makes as many damages as a release is held against.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use perfharvest::actor::Shutdown;
use perfharvest::config::StoreConfig;
use perfharvest::store::{Finding, Remedy, Store, archive, verify_store};
use rand::Rng as _;
use rand::rngs::StdRng;
use treeherder_sim::{BackendConfig, Behaviour, GeneratorConfig, Simulator, SimulatorConfig, SimulatorHandle};

use crate::kills::seeded;
use crate::support::tamper::{copy, cut};
use crate::support::{Crawl, assert_same_artifacts, simulator};

const PAGE_BYTES: u64 = 4096;
const SEGMENT_BYTES: u64 = 512 << 10;

fn is_long() -> bool {
    std::env::var_os("PERFHARVEST_CRASH_LONG").is_some()
}

/// Flips a bit, or zeroes a page.
fn damage(path: &Path, at: u64, is_page: bool) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    if is_page {
        let len = file.metadata().unwrap().len();
        let start = at / PAGE_BYTES * PAGE_BYTES;
        file.write_all_at(&vec![0; usize::try_from(PAGE_BYTES.min(len - start)).unwrap()], start).unwrap();
    } else {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).unwrap();
    }
}

fn archive_of(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive::write(store, &mut bytes, &Shutdown::new()).unwrap();
    bytes
}

/// A crawl of generated data, whose database has several of sled's segments.
async fn large() -> (SimulatorHandle, Crawl) {
    let generator = GeneratorConfig {
        signatures: 2000,
        data_per_signature: 6,
        pushes: 300,
        alerts: 30,
        ..GeneratorConfig::default()
    };
    let config = SimulatorConfig { backend: BackendConfig::Generated(generator), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.inputs.commits = None;
    crawl.config.inputs.perf_llm_struc = None;
    crawl.crawl_only().await.unwrap();
    (simulator, crawl)
}

fn places(random: &mut StdRng, len: u64) -> Vec<(u64, bool)> {
    let (bits, pages) = if is_long() { (200, 150) } else { (60, 40) };
    (0..bits + pages).map(|number| (random.random_range(0..len), number >= bits)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_a_flipped_bit_or_a_zeroed_page_is_whole_again_when_it_is_opened() {
    let (_simulator, crawl) = large().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = archive_of(&Store::open(&crawl.config.store).unwrap());
    let len = std::fs::metadata(crawl.config.store.path.join("db/db")).unwrap().len();
    assert!(len > 3 * SEGMENT_BYTES, "{len} bytes are too few segments");
    let mut random = seeded("damages of the database");
    let config = StoreConfig { path: folder.path().join("store"), ..crawl.config.store.clone() };
    for (at, is_page) in places(&mut random, len) {
        let _none_at_first = std::fs::remove_dir_all(&config.path);
        copy(&crawl.config.store.path, &config.path);
        damage(&config.path.join("db/db"), at, is_page);
        let store = Store::open(&config).unwrap_or_else(|error| panic!("byte {at}, page {is_page}: {error}"));
        assert!(!store.needs_repair().unwrap(), "byte {at}, page {is_page}");
        assert!(archive_of(&store) == whole, "byte {at}, page {is_page}: another content");
    }
}

/// The files of sled beside its database: snapshot and parameters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_database_that_are_damaged_cut_or_missing_are_made_again() {
    let (_simulator, crawl) = large().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = archive_of(&Store::open(&crawl.config.store).unwrap());
    let config = StoreConfig { path: folder.path().join("store"), ..crawl.config.store.clone() };
    let sound = crawl.config.store.path.join("db");
    let names: Vec<_> = std::fs::read_dir(&sound).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for name in names.iter().filter(|name| sound.join(name).is_file()) {
        let len = std::fs::metadata(sound.join(name)).unwrap().len();
        let apply: [&dyn Fn(&PathBuf); 6] = [
            &|path| std::fs::remove_file(path).unwrap(),
            &|path| cut(path, 0),
            &|path| cut(path, len / 2),
            &|path| damage(path, 0, true),
            &|path| damage(path, len / 2, false),
            &|path| damage(path, len - 1, false),
        ];
        for (number, change) in apply.iter().enumerate() {
            let _none_at_first = std::fs::remove_dir_all(&config.path);
            copy(&crawl.config.store.path, &config.path);
            change(&config.path.join("db").join(name));
            let store = Store::open(&config).unwrap_or_else(|error| panic!("{name:?}, {number}: {error}"));
            assert!(archive_of(&store) == whole, "{name:?}, {number}: another content");
        }
    }
}

fn findings(crawl: &Crawl, repair: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    verify_store(&crawl.config.store, repair, &mut |finding| findings.push(finding)).unwrap();
    findings
}

/// Bytes of the log: values, heads and operations of commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_a_flipped_bit_or_a_zeroed_page_has_only_its_own_answers_asked_again() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let (whole, asked) = (crawl.artifacts(), simulator.served().total());
    let sound = crawl.folder.path().join("sound");
    copy(&crawl.config.store.path, &sound);
    let len = std::fs::metadata(sound.join("values")).unwrap().len();
    let mut random = seeded("damages of the log");
    let (mut num_repaired, num_damages) = (0, if is_long() { 100 } else { 24 });
    for number in 0..num_damages {
        let (at, is_page) = (random.random_range(0..len), number % 3 == 0);
        std::fs::remove_dir_all(&crawl.config.store.path).unwrap();
        copy(&sound, &crawl.config.store.path);
        damage(&crawl.config.store.path.join("values"), at, is_page);
        let what = format!("byte {at}, page {is_page}");
        let found = findings(&crawl, false);
        assert!(!found.is_empty(), "{what}: not found");
        num_repaired += usize::from(found.iter().any(|finding| finding.remedy == Remedy::Repair));
        let repaired = findings(&crawl, true);
        assert!(repaired.iter().all(|finding| finding.remedy != Remedy::Lost), "{what}: {repaired:?}");
        // The repair does not need the database: the log has it all again.
        std::fs::remove_dir_all(crawl.config.store.path.join("db")).unwrap();
        std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
        let before = simulator.served().total();
        crawl.run().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let again = simulator.served().total() - before;
        assert!(again <= asked / 4, "{what}: {again} of {asked} requests were asked again");
        assert_same_artifacts(&whole, &crawl.artifacts());
        assert_eq!(findings(&crawl, false), [], "{what}");
    }
    println!("{num_repaired} of {num_damages} damages hit a commit");
}
