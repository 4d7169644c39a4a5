//! Commands that only read a store: beside the process that writes it, and where they may not write.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use perfharvest::actor::Shutdown;
use perfharvest::config::StoreConfig;
use perfharvest::model::{JobId, Request};
use perfharvest::store::{
    Change, Finding, Pending, Remedy, Settlement, Store, StoreError, Unavailable, archive, verify_store,
};
use treeherder_sim::Behaviour;

use crate::support::tamper::{alter, copy};
use crate::support::{Crawl, assert_same_artifacts, simulator};

fn archive_of(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive::write(store, &mut bytes, &Shutdown::new()).unwrap();
    bytes
}

fn names_in(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_beside_a_writer_sees_what_a_store_that_stopped_at_that_commit_holds() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    for more in [3, 40, 200] {
        crawl.run_for(&simulator, more).await;
        let writer = Store::open(&crawl.config.store).unwrap();
        let stopped = StoreConfig { path: crawl.folder.path().join("stopped"), ..crawl.config.store.clone() };
        copy(&crawl.config.store.path, &stopped.path);
        let before = names_in(&crawl.config.store.path);
        let reader = Store::open_to_read(&crawl.config.store).unwrap();
        let (reason, commit) = reader.as_of().unwrap();
        assert_eq!(reason, Unavailable::InUse);

        // The reader does not see later writes.
        let settlement = Settlement::discovery(vec![Pending::of(Request::Job { id: JobId(u64::from(more)) })]);
        writer.commit(Change::Expand { settlement: Box::new(settlement) }).unwrap();
        assert_eq!(archive_of(&reader), archive_of(&Store::open(&stopped).unwrap()), "commit {commit}");
        let later = Store::open_to_read(&crawl.config.store).unwrap();
        assert_eq!(later.as_of(), Some((Unavailable::InUse, commit + 1)));
        assert_eq!(archive_of(&later), archive_of(&writer));
        assert!(matches!(reader.commit(Change::Finish), Err(StoreError::ReadOnly(_))));
        assert_eq!(names_in(&crawl.config.store.path), before, "a reader writes nothing in the store");
        drop((reader, later));
        drop(writer);
        std::fs::remove_dir_all(&stopped.path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_made_beside_a_writer_are_those_made_without_one() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();
    let writer = Store::open(&crawl.config.store).unwrap();
    let reader = std::sync::Arc::new(Store::open_to_read(&crawl.config.store).unwrap());
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
    let config = std::sync::Arc::new(crawl.config.clone());
    perfharvest::pipeline::reduce_store(reader, &config, &[], &Shutdown::new()).await.unwrap();
    assert_same_artifacts(&whole, &crawl.artifacts());
    let mut findings: Vec<Finding> = Vec::new();
    verify_store(&crawl.config.store, false, &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].remedy == Remedy::None && findings[0].what.contains("as of commit"), "{findings:?}");
    drop(writer);
    assert_eq!(Store::open_to_read(&crawl.config.store).unwrap().as_of(), None, "nobody has it any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_this_process_may_not_write_is_read() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = archive_of(&Store::open(&crawl.config.store).unwrap());
    let path = &crawl.config.store.path;
    let set_mode = |mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::remove_file(path.join("lock")).unwrap();
    set_mode(0o555);
    if std::fs::File::options().create_new(true).write(true).open(path.join("probe")).is_ok() {
        // Modes do not bind root; a lock that cannot be taken does.
        println!("this user may write anywhere: the folder's mode is not tested");
        std::fs::remove_file(path.join("probe")).unwrap();
        std::fs::create_dir(path.join("lock")).unwrap();
    }
    let reader = Store::open_to_read(&crawl.config.store).unwrap();
    assert_eq!(reader.as_of().unwrap().0, Unavailable::ReadOnly);
    assert_eq!(archive_of(&reader), whole);
    verify_store(&crawl.config.store, false, &mut |finding| panic!("{finding:?}")).unwrap();
    set_mode(0o755);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_a_writer_that_commits_all_the_time_never_see_half_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { path: folder.path().join("store"), ..perfharvest::config::Config::default().store };
    let writer = Store::open(&config).unwrap();
    let writing = std::thread::spawn(move || {
        for round in 0..60 {
            let jobs = (0..150).map(|number| Pending::of(Request::Job { id: JobId(round * 1000 + number) }));
            let settlement = Box::new(Settlement::discovery(jobs.collect()));
            writer.commit(Change::Expand { settlement }).unwrap();
        }
        writer
    });
    let mut last = 0;
    loop {
        let is_last = writing.is_finished();
        let reader = Store::open_to_read(&config).unwrap();
        let (_, commit) = reader.as_of().unwrap();
        assert!(commit >= last, "commit {commit} after {last}");
        last = commit;
        assert!(!reader.needs_repair().unwrap(), "half of commit {commit}");
        reader.find_damage(|damage| panic!("commit {commit}: {damage}")).unwrap();
        let counts = Store::latest_ledger(&config.path).unwrap().counts;
        assert!(counts.commits >= reader.counts().unwrap().commits, "the state of `status` is older");
        if is_last {
            break;
        }
    }
    let writer = writing.join().unwrap();
    let reader = Store::open_to_read(&config).unwrap();
    assert_eq!((reader.counts().unwrap(), reader.pending().count()), (writer.counts().unwrap(), 60 * 150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_a_repair_see_the_whole_store_or_are_refused() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.crawl_only().await.unwrap();
    let store = &crawl.config.store;
    let counts = Store::open(store).unwrap().counts().unwrap();
    let sound = crawl.folder.path().join("sound");
    copy(&store.path, &sound);
    let len = std::fs::metadata(sound.join("values")).unwrap().len();
    for at in [0, len / 3, len / 2, len - 10] {
        std::fs::remove_dir_all(&store.path).unwrap();
        copy(&sound, &store.path);
        // A commit is lost from the log, and the database still has it.
        let heads = heads_at(&store.path.join("values"), at);
        alter(&store.path.join("values"), heads.into_iter());
        // The repair begins with this one.
        std::fs::File::create_new(store.path.join(".ledger-of-a-killed-process")).unwrap();
        let (mut whole, mut refused) = (0, 0);
        let mut read = || match Store::open_to_read(store) {
            Ok(reader) => {
                assert_eq!(reader.as_of().unwrap().0, Unavailable::InUse);
                assert!(!reader.needs_repair().unwrap());
                assert_eq!(reader.counts().unwrap().settled(), counts.settled(), "a part of the store");
                whole += 1;
            }
            Err(StoreError::CommitsLost { .. } | StoreError::BehindLedger { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        };
        verify_store(store, true, &mut |_| read()).unwrap();
        assert!(refused == 1 && whole > 0, "commit at {heads:?}: {refused} refused, {whole} whole");
    }
}

/// Where the two heads of the commit at `at` begin.
fn heads_at(log: &Path, at: u64) -> [u64; 2] {
    let bytes = std::fs::read(log).unwrap();
    let heads: Vec<u64> = bytes
        .windows(8)
        .enumerate()
        .filter(|(_, window)| *window == b"\xf5PHLOG\r\n")
        .map(|(at, _)| at as u64)
        .collect();
    let [first, second] = heads.chunks_exact(2).take_while(|heads| heads[0] <= at).last().unwrap() else { panic!() };
    [*first, *second]
}

#[test]
fn links_in_the_place_of_a_stores_own_files_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { path: folder.path().join("store"), ..perfharvest::config::Config::default().store };
    drop(Store::open(&config).unwrap());
    let elsewhere = folder.path().join("elsewhere");
    for name in ["lock", "values", "db", "db/db", "db/conf"] {
        let place = config.path.join(name);
        std::fs::rename(&place, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
        let error = Store::open(&config).unwrap_err().to_string();
        assert!(error.contains(folder.path().to_str().unwrap()), "{name}: {error}");
        assert!(place.is_symlink() && elsewhere.exists(), "{name} was replaced");
        std::fs::remove_file(&place).unwrap();
        std::fs::rename(&elsewhere, &place).unwrap();
        drop(Store::open(&config).unwrap());
    }
}

#[test]
fn no_store_and_one_that_is_just_being_created_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { path: folder.path().join("store"), ..perfharvest::config::Config::default().store };
    assert!(matches!(Store::open_to_read(&config), Err(StoreError::Missing(_))));
    assert!(!config.path.exists());
    std::fs::create_dir(&config.path).unwrap();
    std::fs::create_dir(config.path.join("lock")).unwrap();
    std::fs::create_dir(config.path.join("db")).unwrap();
    assert!(matches!(Store::open_to_read(&config), Err(StoreError::Missing(_))));
}
