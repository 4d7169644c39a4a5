//! Tests a full and a read-only disk on a small tmpfs. Mounting it needs root; without root, leave the feature of these
//! tests off.

use std::path::{Path, PathBuf};
use std::process::Command;

use perfharvest::config::Semantics;
use perfharvest::store::Store;
use treeherder_sim::Behaviour;

use crate::arrivals::{asked_by, settled_in};
use crate::child::{Ended, command, finish, opened_copy, run_command};
use crate::support::{Crawl, artifacts_in, assert_same_artifacts, simulator};

/// A file system in memory, gone when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount(kib: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self { folder };
        disk.call("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "perfharvest-test"]);
        disk
    }

    fn remount(&self, options: &str) {
        self.call("mount", &["-o", &format!("remount,{options}")]);
    }

    fn call(&self, program: &str, args: &[&str]) {
        let done = Command::new(program).args(args).arg(self.folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "cannot {program} (the feature disk-full-tests needs root): {said}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _stays = Command::new("umount").arg(self.folder.path()).output();
    }
}

fn used_kib(folder: &Path) -> u64 {
    let of = |entry: std::fs::DirEntry| {
        if entry.file_type().unwrap().is_dir() {
            used_kib(&entry.path())
        } else {
            entry.metadata().unwrap().len().div_ceil(4096) * 4
        }
    };
    std::fs::read_dir(folder).unwrap().map(|entry| of(entry.unwrap())).sum()
}

async fn run(crawl: &Crawl) -> Ended {
    let command = run_command(crawl);
    tokio::task::spawn_blocking(|| finish(command)).await.unwrap()
}

fn assert_refused(ended: &Ended, code: i32, hint: &str) {
    assert_eq!(ended.code(), Some(code), "{}", ended.stderr);
    assert!(ended.stderr.contains(hint), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_while_answers_are_stored_loses_nothing_that_was_acknowledged() {
    let simulator = simulator(Behaviour::default()).await;
    let (calm, empty_kib, whole_kib) = {
        let crawl = Crawl::of(&simulator.url());
        let used = || i64::try_from(used_kib(&crawl.config.store.path)).unwrap();
        drop(Store::open(&crawl.config.store).unwrap());
        let empty = used();
        crawl.run().await.unwrap();
        (crawl.artifacts(), empty, used())
    };
    // Not up to the last tenth: by so much the length of sled's file differs from one crawl to the next.
    for percent in [-50, 30, 55, 75] {
        let disk = Disk::mount((empty_kib + (whole_kib - empty_kib) * percent / 100).unsigned_abs());
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.store.path = disk.path("store");
        crawl.config.store.commit_records = 4.try_into().unwrap();
        let ended = run(&crawl).await;
        assert_refused(&ended, 4, "the same command again");
        disk.remount("size=1g");
        let settled = if crawl.config.store.path.join("ledger.json").exists() {
            settled_in(&opened_copy(&crawl.config).1)
        } else {
            assert!(percent < 30, "something was stored");
            std::collections::BTreeSet::new()
        };
        let before = simulator.arrivals().len();
        let ended = run(&crawl).await;
        assert_eq!(ended.code(), Some(0), "{percent} %: {}", ended.stderr);
        for asked in simulator.arrivals()[before..].iter().flat_map(asked_by) {
            assert!(!settled.contains(&asked), "{asked} was settled, and asked again");
        }
        assert_same_artifacts(&calm, &crawl.artifacts());
        let verified = finish(command(&crawl, &["verify"]));
        assert_eq!(verified.code(), Some(0), "{}", verified.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_while_artifacts_are_written_leaves_those_of_before() {
    let simulator = simulator(Behaviour::default()).await;
    let disk = Disk::mount(1 << 20);
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.out = disk.path("out");
    assert_eq!(run(&crawl).await.code(), Some(0));
    let before = crawl.artifacts();
    let used = used_kib(&crawl.config.artifacts.out);
    crawl.config.artifacts.semantics = Semantics::Corrected;
    for spare in [8, used / 3, used * 9 / 10] {
        disk.remount(&format!("size={}k", used + 8 + spare));
        assert_refused(&run(&crawl).await, 4, "free some space");
        assert_same_artifacts(&before, &artifacts_in(&crawl.config.artifacts.out));
        let verified = finish(command(&crawl, &["verify"]));
        assert_eq!(verified.code(), Some(0), "{}", verified.stdout);
    }
    disk.remount("size=1g");
    assert_eq!(run(&crawl).await.code(), Some(0));
    assert_ne!(before["job_durations.csv"], crawl.artifacts()["job_durations.csv"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_turned_read_only_are_named_with_what_to_do() {
    let simulator = simulator(Behaviour::default()).await;
    let disk = Disk::mount(1 << 20);
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.out = disk.path("out");
    assert_eq!(run(&crawl).await.code(), Some(0));
    let before = crawl.artifacts();
    crawl.config.artifacts.semantics = Semantics::Corrected;
    disk.remount("ro");
    assert_refused(&run(&crawl).await, 2, "choose another place");
    assert_same_artifacts(&before, &crawl.artifacts());
    disk.remount("rw");

    crawl.config.store.path = disk.path("store");
    crawl.config.artifacts.out = crawl.folder.path().join("elsewhere"); // the other folder belongs to the first store
    assert_eq!(run(&crawl).await.code(), Some(0));
    disk.remount("ro");
    assert_refused(&run(&crawl).await, 4, "store");
    let archive = crawl.folder.path().join("archive");
    let export = ["export", "--format", "archive", "--output", archive.to_str().unwrap()];
    for reading in [&["verify"][..], &["failures"], &["reduce"], &["report"], &["status"], &export] {
        let read = finish(command(&crawl, reading));
        assert_eq!(read.code(), Some(0), "{reading:?}: {}{}", read.stdout, read.stderr);
    }
    disk.remount("rw");
    assert_eq!(run(&crawl).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_during_an_export_leaves_the_tables_of_before_and_no_half_one() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    assert_eq!(run(&crawl).await.code(), Some(0));
    let disk = Disk::mount(1 << 20);
    let tables = disk.path("tables");
    let folder = tables.to_str().unwrap();
    let export = ["export", "--format", "parquet", "--output", folder];
    let done = finish(command(&crawl, &export));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let (before, used) = (artifacts_in(&tables), used_kib(&tables));
    for spare in [8, used / 3, used * 9 / 10] {
        disk.remount(&format!("size={}k", used + 8 + spare));
        assert_refused(&finish(command(&crawl, &export)), 4, "free some space");
        assert_same_artifacts(&before, &artifacts_in(&tables));
    }
    disk.remount("size=1g");
    assert_eq!(finish(command(&crawl, &export)).code(), Some(0));
    assert_same_artifacts(&before, &artifacts_in(&tables));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_during_a_compaction_leaves_the_store_as_it_was() {
    let simulator = simulator(Behaviour::default()).await;
    let disk = Disk::mount(1 << 20);
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.store.path = disk.path("store");
    assert_eq!(run(&crawl).await.code(), Some(0));
    let (whole, asked) = (crawl.artifacts(), simulator.served().total());
    let log = std::fs::read(crawl.config.store.path.join("values")).unwrap();
    for spare in [64, 100, log.len() as u64 / 2048] {
        disk.remount(&format!("size={}k", used_kib(disk.folder.path()) + spare));
        assert_refused(&finish(command(&crawl, &["compact"])), 4, "free some space");
        assert!(std::fs::read(crawl.config.store.path.join("values")).unwrap() == log, "the log was changed");
        assert!(!crawl.config.store.path.join("values.new").exists());
        disk.remount("size=1g");
        // sled may have had no room for its last pages; its database is built again then.
        assert_eq!(finish(command(&crawl, &["failures"])).code(), Some(0));
        assert_eq!(finish(command(&crawl, &["verify"])).code(), Some(0));
    }
    assert_eq!(finish(command(&crawl, &["compact"])).code(), Some(0));
    std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
    assert_eq!(run(&crawl).await.code(), Some(0));
    assert_same_artifacts(&whole, &crawl.artifacts());
    assert_eq!(simulator.served().total(), asked);
}
