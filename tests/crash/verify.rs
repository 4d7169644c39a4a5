//! `verify` and a shared store as processes: the output about damage, for people and for scripts.

use serde_json::Value;
use treeherder_sim::{Behaviour, Endpoint, ScriptedReply};

use crate::child::{Ended, blocking, command, finish, run_command, signal, wait};
use crate::support::tamper::{copy, cut, database, first_key, flip, put, tampered, values};
use crate::support::{Crawl, assert_same_artifacts, simulator, wait_until};

fn verify(crawl: &Crawl, flags: &[&str]) -> Ended {
    finish(command(crawl, &[&["verify"], flags].concat()))
}

fn remedies(json_lines: &str) -> Vec<String> {
    let remedy = |line| serde_json::from_str::<Value>(line).unwrap()["remedy"].as_str().unwrap().to_owned();
    json_lines.lines().map(remedy).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_damage_a_line_each_exits_4_and_a_repair_and_a_run_make_it_whole() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();
    let asked = simulator.served().total();
    tampered(&crawl, |db| flip(db, "records", &first_key(db, "records", b"J")));
    cut(&crawl.config.artifacts.out.join("alert_summaries.csv"), 100);

    let seen = verify(&crawl, &["--json"]);
    assert_eq!(seen.code(), Some(4), "{}", seen.stderr);
    assert_eq!(remedies(&seen.stdout), ["run_again", "repair"], "{}", seen.stdout);
    assert!(seen.stdout.contains("alert_summaries.csv") && seen.stderr.contains("verify --repair"), "{}", seen.stderr);
    let found = verify(&crawl, &[]);
    assert_eq!((found.code(), found.stdout.lines().count()), (Some(4), 2), "{}", found.stdout);

    let repaired = verify(&crawl, &["--repair"]);
    assert_eq!(repaired.code(), Some(0), "{}", repaired.stderr);
    assert!(repaired.stderr.contains("next: perfharvest run"), "{}", repaired.stderr);
    assert!(!crawl.config.artifacts.out.join("alert_summaries.csv").exists(), "it was damaged, and is removed");
    assert_eq!(simulator.served().total(), asked, "a repair asks nothing");
    let again = run_command(&crawl);
    let again = tokio::task::spawn_blocking(|| finish(again)).await.unwrap();
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
    assert_same_artifacts(&whole, &crawl.artifacts());
    assert_eq!(verify(&crawl, &["--json"]).stdout, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_that_is_killed_is_made_again_and_nothing_is_called_complete_meanwhile() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();
    assert_eq!(finish(command(&crawl, &["status"])).code(), Some(0));
    std::fs::remove_file(values(&crawl)).unwrap();
    let points =
        ["checkpoint.within:1", "log.mid_write:3", "checkpoint.within:9", "log.before_sync:1", "log.after_sync:1"];
    for point in [&points[..], &["repair.within:1", "repair.within:4"]].concat() {
        let mut repair = command(&crawl, &["verify", "--repair"]);
        let killed = finish({
            repair.env("PERFHARVEST_FAIL_POINT", point);
            repair
        });
        assert!(killed.signal().is_some(), "{point}: {}", killed.stderr);
        if point.starts_with("repair") {
            let status = finish(command(&crawl, &["status"]));
            assert_eq!(status.code(), Some(3), "{point}: it is not complete: {}", status.stdout);
        }
        assert_eq!(verify(&crawl, &[]).code(), Some(4), "{point}");
        // A reader beside the process that had come so far.
        let lock = std::fs::File::options().write(true).open(crawl.config.store.path.join("lock")).unwrap();
        lock.try_lock().unwrap();
        let read = finish(command(&crawl, &["failures"]));
        let is_refused = read.code() == Some(4) && read.stderr.contains("verify --repair");
        assert!(is_refused || matches!(read.code(), Some(0 | 3)), "{point}: {:?} {}", read.code(), read.stderr);
    }
    let again = run_command(&crawl);
    let again = tokio::task::spawn_blocking(|| finish(again)).await.unwrap();
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
    assert_same_artifacts(&whole, &crawl.artifacts());
    assert_eq!(verify(&crawl, &[]).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_without_their_manifest_do_not_verify_and_a_reduction_makes_it() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();
    std::fs::remove_file(crawl.config.artifacts.out.join("manifest.json")).unwrap();
    let seen = verify(&crawl, &[]);
    assert_eq!(seen.code(), Some(4), "{}", seen.stderr);
    assert!(seen.stdout.contains("manifest.json") && seen.stdout.contains("perfharvest reduce"), "{}", seen.stdout);
    let reduced = finish(command(&crawl, &["reduce"]));
    assert_eq!(reduced.code(), Some(0), "{}", reduced.stderr);
    assert_same_artifacts(&whole, &crawl.artifacts());
    assert_eq!(verify(&crawl, &[]).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_artifact_is_no_matter_for_a_repair_but_for_a_reduction() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let whole = crawl.artifacts();
    std::fs::remove_file(crawl.config.artifacts.out.join("alert_summaries.csv")).unwrap();
    for (flags, code) in [(&["--json"][..], 4), (&["--json", "--repair"], 0), (&["--json"], 4)] {
        let seen = verify(&crawl, flags);
        assert_eq!(seen.code(), Some(code), "{}", seen.stderr);
        assert_eq!(remedies(&seen.stdout), ["reduce"], "{}", seen.stdout);
        let next = format!("next: perfharvest reduce --store {}", crawl.config.store.path.display());
        assert!(seen.stderr.contains(&next) && !seen.stderr.contains("verify --repair"), "{}", seen.stderr);
    }
    assert_eq!(finish(command(&crawl, &["reduce"])).code(), Some(0));
    assert_same_artifacts(&whole, &crawl.artifacts());
    assert_eq!(verify(&crawl, &[]).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_without_the_ledger_says_what_writes_it() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    std::fs::remove_file(crawl.config.store.path.join("ledger.json")).unwrap();
    let status = finish(command(&crawl, &["status"]));
    assert_eq!(status.code(), Some(4), "{}", status.stderr);
    assert!(status.stderr.contains("is missing") && status.stderr.contains("verify --repair"), "{}", status.stderr);
    assert_eq!(verify(&crawl, &["--repair"]).code(), Some(0));
    assert_eq!(finish(command(&crawl, &["status"])).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_a_hole_is_rebuilt_by_a_repair() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let log = database(&crawl).join("db");
    let whole = std::fs::read(&log).unwrap();
    let kept = crawl.folder.path().join("kept");
    copy(&crawl.config.store.path, &kept);
    for tenth in 1..10 {
        std::fs::remove_dir_all(&crawl.config.store.path).unwrap();
        copy(&kept, &crawl.config.store.path);
        let mut bytes = whole.clone();
        let hole = bytes.len() * tenth / 10;
        bytes[hole..(hole + 3000).min(whole.len())].fill(0xff);
        put(&log, &bytes);
        let found = verify(&crawl, &["--repair"]);
        let said = format!("{}{}", found.stdout, found.stderr);
        assert_eq!(found.code(), Some(0), "{tenth}: {said}");
        assert!(!said.contains("verify --repair") && !said.contains("backtrace"), "{tenth}: {said}");
        assert_eq!(verify(&crawl, &[]).stdout, "", "{tenth}");
    }
}

#[cfg(debug_assertions)] // the fail points are in no other build
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_killed_is_made_again_and_nothing_is_asked() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let (whole, asked) = (crawl.artifacts(), simulator.served().total());
    for point in ["index.mid_rebuild:1", "index.mid_rebuild:7", "index.before_switch:1", "index.after_switch:1"] {
        std::fs::remove_dir_all(database(&crawl)).unwrap();
        std::fs::remove_dir_all(&crawl.config.artifacts.out).unwrap();
        let mut killed = run_command(&crawl);
        killed.env("PERFHARVEST_FAIL_POINT", point);
        let killed = blocking(|| finish(killed)).await;
        assert!(killed.signal().is_some(), "{point}: {}", killed.stderr);
        let again = run_command(&crawl);
        let again = blocking(|| finish(again)).await;
        assert_eq!(again.code(), Some(0), "{point}: {}", again.stderr);
        assert_same_artifacts(&whole, &crawl.artifacts());
        assert_eq!(verify(&crawl, &[]).stdout, "", "{point}");
    }
    assert_eq!(simulator.served().total(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_a_store_is_refused_and_the_first_goes_on() {
    let simulator = simulator(Behaviour::default()).await;
    // Long enough for the signal to come before the end of the first.
    let late = ScriptedReply::answer().at(Endpoint::Summary).delayed(std::time::Duration::from_secs(10));
    simulator.script(late);
    let crawl = Crawl::of(&simulator.url());
    let first = run_command(&crawl).spawn().unwrap();
    wait_until("the first crawls", || simulator.served().of(Endpoint::Summary) >= 5).await;
    signal(&first, "STOP"); // the first holds its store while it stands still
    let others = [run_command(&crawl), command(&crawl, &["verify", "--repair"])];
    let others = others.map(|mut command| command.spawn().unwrap()); // each waits some seconds for the store
    for refused in others {
        let refused = blocking(|| wait(refused)).await;
        assert_eq!(refused.code(), Some(4), "{}", refused.stderr);
        assert!(refused.stderr.contains("in use by another process"), "{}", refused.stderr);
    }
    let status = finish(command(&crawl, &["status"]));
    assert_eq!(status.code(), Some(3), "status needs no lock; it is incomplete as yet: {}", status.stderr);
    for reading in [
        &["failures"][..],
        &["reduce", "--out", "elsewhere"],
        &["verify"],
        &["export", "--format", "archive", "--output", "a"],
    ] {
        let read = finish(command(&crawl, reading));
        assert!(matches!(read.code(), Some(0 | 3)), "{reading:?}: {:?} {}{}", read.code(), read.stdout, read.stderr);
        let said = format!("{}{}", read.stdout, read.stderr);
        assert!(said.contains("as of commit"), "{reading:?}: {said}");
    }
    signal(&first, "CONT");
    let first = blocking(|| wait(first)).await;
    assert_eq!(first.code(), Some(0), "{}", first.stderr);
    assert_eq!(verify(&crawl, &[]).code(), Some(0));
}
