//! Damage to the database and to the log of a store whose database has several segments. Only answers that the log itself
//! has lost are asked again.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use perfharvest::actor::Shutdown;
use perfharvest::config::StoreConfig;
use perfharvest::store::{Finding, Remedy, Store, archive, verify_store};
use rand::Rng as _;
use rand::rngs::StdRng;
use treeherder_sim::{BackendConfig, Behaviour, GeneratorConfig, Simulator, SimulatorConfig, SimulatorHandle};

use crate::kills::{is_long, seeded};
use crate::support::tamper::{copy, cut, is_compacted, unpack};
use crate::support::{Crawl, assert_same_artifacts, simulator};

const PAGE_BYTES: u64 = 4096;
const SEGMENT_BYTES: u64 = 512 << 10;

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

async fn generated(signatures: usize, data_per_signature: usize) -> (SimulatorHandle, Crawl) {
    let generator =
        GeneratorConfig { signatures, data_per_signature, pushes: 300, alerts: 30, ..GeneratorConfig::default() };
    let config = SimulatorConfig { backend: BackendConfig::Generated(generator), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.inputs.commits = None;
    crawl.config.inputs.perf_llm_struc = None;
    (simulator, crawl)
}

/// A crawl that is large enough to be compacted at its end.
async fn with_large_database() -> (SimulatorHandle, Crawl) {
    let (simulator, crawl) = generated(2000, 6).await;
    crawl.crawl_only().await.unwrap();
    assert!(is_compacted(&crawl));
    (simulator, crawl)
}

fn places(random: &mut StdRng, len: u64) -> Vec<(u64, bool)> {
    let (bits, pages) = if is_long() { (200, 150) } else { (60, 40) };
    (0..bits + pages).map(|number| (random.random_range(0..len), number >= bits)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_a_flipped_bit_or_a_zeroed_page_is_whole_again_when_it_is_opened() {
    let (_simulator, crawl) = with_large_database().await;
    unpack(&crawl);
    let folder = tempfile::tempdir().unwrap();
    let whole = archive_of(&Store::open(&crawl.config.store).unwrap());
    let len = std::fs::metadata(crawl.config.store.path.join("db/db")).unwrap().len();
    assert!(len > 3 * SEGMENT_BYTES, "{len} bytes are too few segments");
    let mut random = seeded("damages of the database");
    let config = StoreConfig { path: folder.path().join("store"), ..crawl.config.store.clone() };
    for (number, (at, is_page)) in places(&mut random, len).into_iter().enumerate() {
        let what = format!("byte {at}, page {is_page}");
        let _none_at_first = std::fs::remove_dir_all(&config.path);
        copy(&crawl.config.store.path, &config.path);
        damage(&config.path.join("db/db"), at, is_page);
        if number % 2 == 0 {
            let repaired = findings(&config, true);
            assert!(repaired.iter().all(|finding| finding.remedy == Remedy::Repaired), "{what}: {repaired:?}");
        }
        let store = Store::open(&config).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!store.needs_repair().unwrap(), "{what}");
        assert!(archive_of(&store) == whole, "{what}: another content");
    }
    for keep in [None, Some(0), Some(SEGMENT_BYTES), Some(len / 2), Some(len - 1)] {
        let database = config.path.join("db");
        match keep {
            None => std::fs::remove_dir_all(&database).unwrap(),
            Some(keep) => cut(&database.join("db"), keep),
        }
        if keep != Some(len / 2) {
            findings(&config, true);
        }
        assert!(archive_of(&Store::open(&config).unwrap()) == whole, "{keep:?}");
    }
}

/// Those of sled beside its database, snapshot and parameters, and the packed part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_database_that_are_damaged_cut_or_missing_are_made_again() {
    let (_simulator, crawl) = with_large_database().await;
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

fn findings(config: &StoreConfig, repair: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    verify_store(config, repair, &mut |finding| findings.push(finding)).unwrap();
    findings
}

/// Damages the log of a finished crawl, repairs it, and crawls again; in turn with an intact database, without one, and with
/// one that is lost after the repair. A flipped bit costs at most `most_of_a_bit` requests, a zeroed page one answer in
/// `share_of_a_page`.
async fn damage_the_log(
    test: &str,
    simulator: &SimulatorHandle,
    crawl: &Crawl,
    num_damages: usize,
    most_of_a_bit: u64,
    share_of_a_page: u64,
) {
    let store = &crawl.config.store;
    let (whole, asked) = (crawl.artifacts(), simulator.served().total());
    let sound = crawl.folder.path().join("sound");
    copy(&store.path, &sound);
    let len = std::fs::metadata(sound.join("values")).unwrap().len();
    let mut random = seeded(test);
    let (mut num_commits, mut num_again, mut most_of) = (0, 0, [0, 0]);
    for number in 0..num_damages {
        let (at, is_page, database) = (random.random_range(0..len), number % 3 == 0, number % 4);
        let what = format!("{test}: byte {at}, page {is_page}, database {database}");
        std::fs::remove_dir_all(&store.path).unwrap();
        copy(&sound, &store.path);
        damage(&store.path.join("values"), at, is_page);
        if database == 1 {
            std::fs::remove_dir_all(store.path.join("db")).unwrap();
        }
        let found = findings(store, false);
        assert!(!found.is_empty(), "{what}: not found");
        num_commits += usize::from(found.iter().any(|finding| finding.what.contains("commit")));
        let repaired = findings(store, true);
        assert!(repaired.iter().all(|finding| finding.remedy != Remedy::Lost), "{what}: {repaired:?}");
        if database == 2 {
            // The log has it all again.
            std::fs::remove_dir_all(store.path.join("db")).unwrap();
        }
        std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
        let before = simulator.served().total();
        crawl.run().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let again = simulator.served().total() - before;
        let most = if is_page { asked / share_of_a_page } else { most_of_a_bit };
        assert!(again <= most, "{what}: {again} of {asked} requests were asked again");
        num_again += again;
        most_of[usize::from(is_page)] = again.max(most_of[usize::from(is_page)]);
        assert_same_artifacts(&whole, &crawl.artifacts());
        assert_eq!(findings(store, false), [], "{what}");
    }
    println!(
        "{test}: {num_damages} places of {len} bytes damaged, {num_commits} in a commit; {num_again} requests asked again, at most {most_of:?} for a bit and for a page, {asked} at first"
    );
}

/// The answer that a bit hits, or the list that has it as a record.
const MOST_OF_A_BIT: u64 = 2;

/// The answers of a bundle. Bundles are smaller in debug builds.
const MOST_OF_A_BIT_IN_A_BUNDLE: u64 = if cfg!(debug_assertions) { 8 } else { 128 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_a_flipped_bit_or_a_zeroed_page_has_only_its_own_answers_asked_again() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let num_damages = if is_long() { 100 } else { 20 };
    damage_the_log("damages of a small log", &simulator, &crawl, num_damages, MOST_OF_A_BIT, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_several_megabytes_with_a_flipped_bit_or_a_zeroed_page_has_only_its_own_answers_asked_again() {
    let (simulator, crawl) = generated(2000, 30).await;
    crawl.run().await.unwrap();
    let num_damages = if is_long() { 100 } else { 4 };
    assert!(is_compacted(&crawl), "the run has compacted it");
    damage_the_log("damages of a large log", &simulator, &crawl, num_damages, MOST_OF_A_BIT_IN_A_BUNDLE, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_log_with_a_flipped_bit_or_a_zeroed_page_has_only_its_own_answers_asked_again() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    Store::compact(&crawl.config.store).unwrap();
    let num_damages = if is_long() { 100 } else { 20 };
    let most_of_a_bit = MOST_OF_A_BIT_IN_A_BUNDLE;
    // Its values lie closer together.
    damage_the_log("damages of a small compacted log", &simulator, &crawl, num_damages, most_of_a_bit, 3).await;
}
