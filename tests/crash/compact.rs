//! `compact` as a process: killed at any place, and its output.

use treeherder_sim::Behaviour;

use crate::child::{command, finish, run_command};
use crate::support::tamper::{alter, copy, database, values};
use crate::support::{Crawl, assert_same_artifacts, simulator};

/// Fail points, and whether the process that is killed there has switched to the new log.
#[cfg(debug_assertions)]
const FAIL_POINTS: [(&str, bool); 10] = [
    ("log.mid_write:1", false),
    ("compact.mid_write:1", false),
    ("compact.mid_write:3", false),
    ("log.before_sync:1", false),
    ("index.mid_rebuild:2", false),
    ("compact.before_switch:1", false),
    ("compact.after_switch:1", true),
    ("index.before_switch:1", true),
    ("index.after_switch:1", true),
    ("compact.before_ledger:1", true),
];

#[cfg(debug_assertions)] // the fail points are in no other build
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_is_killed_anywhere_costs_nothing_and_the_next_command_works() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let status_of = |crawl: &Crawl| {
        let status = finish(command(crawl, &["status", "--json"]));
        assert_eq!(status.code(), Some(0), "{}", status.stderr);
        serde_json::from_str::<serde_json::Value>(&status.stdout).unwrap()["counts"].clone()
    };
    crawl.run().await.unwrap();
    let (whole, asked, status) = (crawl.artifacts(), simulator.served().total(), status_of(&crawl));
    let store = &crawl.config.store.path;
    let sound = crawl.folder.path().join("sound");
    copy(store, &sound);
    let len = std::fs::metadata(values(&crawl)).unwrap().len();
    let nexts = [&["verify"][..], &["status"], &["failures"], &["reduce"], &["compact"], &["verify", "--repair"]];
    for (number, (point, is_switched)) in FAIL_POINTS.into_iter().enumerate() {
        for next in [nexts[number % 6], nexts[(number + 3) % 6]] {
            std::fs::remove_dir_all(store).unwrap();
            copy(&sound, store);
            let mut killed = command(&crawl, &["compact"]);
            killed.env("PERFHARVEST_FAIL_POINT", point);
            let killed = finish(killed);
            assert!(killed.signal().is_some(), "{point}: {}", killed.stderr);
            let what = format!("{point}, {next:?}");
            assert_eq!(std::fs::metadata(values(&crawl)).unwrap().len() < len, is_switched, "{what}");
            assert_eq!(status_of(&crawl), status, "{what}");
            if next[0] == "reduce" {
                std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
            }
            let ended = finish(command(&crawl, next));
            assert_eq!(ended.code(), Some(0), "{what}: {}{}", ended.stdout, ended.stderr);
            let is_alarm = |line: &str| line.contains("WARN") && line.contains("the store") || line.contains("damaged");
            assert!(!ended.stderr.lines().any(is_alarm), "{what}: {}", ended.stderr);
            let again = run_command(&crawl);
            let again = tokio::task::spawn_blocking(|| finish(again)).await.unwrap();
            assert_eq!(again.code(), Some(0), "{what}: {}", again.stderr);
            assert!(!store.join("values.new").exists() && !store.join("db.new").exists(), "{what}");
            let verified = finish(command(&crawl, &["verify"]));
            assert_eq!((verified.code(), verified.stdout.as_str()), (Some(0), ""), "{what}");
            assert_same_artifacts(&whole, &crawl.artifacts());
        }
        assert_eq!(simulator.served().total(), asked, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compact_names_the_sizes_and_why_it_cannot_work() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let missing = finish(command(&crawl, &["compact"]));
    assert_eq!(missing.code(), Some(2), "{}", missing.stderr);
    crawl.run().await.unwrap();
    let before = std::fs::metadata(values(&crawl)).unwrap().len();
    let done = finish(command(&crawl, &["compact", "--json"]));
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let json: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (json["log_before"].as_u64(), json["log_after"].as_u64().map(|after| after < before)),
        (Some(before), Some(true))
    );
    assert!(done.stderr.contains("log: "), "{}", done.stderr);
    assert_eq!(finish(command(&crawl, &["compact", "-q"])).stderr, "");

    let lock = std::fs::File::options().write(true).open(crawl.config.store.path.join("lock")).unwrap();
    lock.try_lock().unwrap();
    let locked = finish(command(&crawl, &["compact"]));
    assert_eq!(locked.code(), Some(4));
    assert!(locked.stderr.contains("in use by another process"), "{}", locked.stderr);
    drop(lock);

    let len = std::fs::metadata(values(&crawl)).unwrap().len();
    alter(&values(&crawl), (0..20).map(|hit| len / 2 + hit * 4099));
    let damaged = finish(command(&crawl, &["compact"]));
    assert_eq!(damaged.code(), Some(4));
    assert!(damaged.stderr.contains("verify --repair"), "{}", damaged.stderr);
    assert!(database(&crawl).exists() && !crawl.config.store.path.join("values.new").exists());
}
