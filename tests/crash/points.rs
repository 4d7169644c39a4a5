//! Kills refreshes, and imports into a store with data, at each of the points that no other command passes, and crawls while they
//! pack their database.

use std::path::Path;
use std::process::Command;

use treeherder_sim::Behaviour;

use crate::child::{blocking, command, finish, run_command};
use crate::kills::SIGABRT;
use crate::refreshes::{ENDS, artifacts_of, feed_of, refresh_command};
use crate::support::tamper::copy;
use crate::support::{Crawl, assert_same_artifacts, simulator};

async fn done(command: Command) {
    let ended = blocking(|| finish(command)).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
}

/// Ends a command at a fail point, which it must pass.
async fn killed_at(point: &str, mut command: Command) {
    command.env("PERFHARVEST_FAIL_POINT", point);
    let ended = blocking(|| finish(command)).await;
    assert_eq!(ended.signal(), Some(SIGABRT), "{point} was not passed: {}", ended.stderr);
}

/// A store of its own with the files of `from`, and the settings of `like`.
fn copy_of(from: &Path, like: &Crawl) -> Crawl {
    let mut crawl = Crawl::of(&like.config.source.base_url);
    crawl.config.window = like.config.window.clone();
    copy(from, &crawl.config.store.path);
    crawl
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_goes_on_from_each_of_the_points_that_only_a_refresh_passes() {
    let simulator = simulator(Behaviour::default()).await;
    let undisturbed = Crawl::of(&simulator.url());
    done(refresh_command(&undisturbed, ENDS[0])).await;
    let first = tempfile::tempdir().unwrap();
    let first = first.path().join("store");
    copy(&undisturbed.config.store.path, &first);
    done(refresh_command(&undisturbed, ENDS[1])).await;

    for point in ["harvest.opened:1", "join.begun:1", "join.within:1", "join.within:9", "join.ended:1"] {
        let crawl = copy_of(&first, &undisturbed);
        killed_at(point, refresh_command(&crawl, ENDS[1])).await;
        done(refresh_command(&crawl, ENDS[1])).await;
        assert_same_artifacts(&artifacts_of(&undisturbed), &artifacts_of(&crawl));
        assert_eq!(feed_of(&crawl).get("0002.jsonl"), feed_of(&undisturbed).get("0002.jsonl"), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_goes_on_from_each_step_of_packing_its_database() {
    let simulator = simulator(Behaviour::default()).await;
    let undisturbed = Crawl::of(&simulator.url());
    done(run_command(&undisturbed)).await;
    for point in ["index.before_generation:1", "index.after_generation:1", "index.after_generation:2"] {
        let crawl = Crawl::of(&simulator.url());
        killed_at(point, run_command(&crawl)).await;
        let run = run_command(&crawl);
        let ended = blocking(|| finish(run)).await;
        assert_eq!(ended.code(), Some(0), "{point}: {}", ended.stderr);
        assert!(!ended.stderr.contains("rebuilding"), "{point}: {}", ended.stderr);
        assert_same_artifacts(&undisturbed.artifacts(), &crawl.artifacts());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_into_a_store_with_data_goes_on_from_each_of_its_points() {
    let simulator = simulator(Behaviour::default()).await;
    let (earlier, later) = (Crawl::of(&simulator.url()), Crawl::of(&simulator.url()));
    done(refresh_command(&earlier, ENDS[0])).await;
    done(refresh_command(&later, ENDS[2])).await;
    let folder = tempfile::tempdir().unwrap();
    let export_of = |crawl: &Crawl, name: &str| {
        let path = folder.path().join(name);
        let export = ["export", "--format", "archive", "--output", path.to_str().unwrap()];
        assert_eq!(finish(command(crawl, &export)).code(), Some(0));
        path
    };
    let archives = [export_of(&earlier, "earlier"), export_of(&later, "later")];

    // A newer archive is a harvest of its own; an older one is not.
    let newer: &[&str] = &["harvest.opened:1", "absorb.records:1", "absorb.within:1"];
    for (store, archive, points) in
        [(&earlier, &archives[1], newer), (&later, &archives[0], &["absorb.records:1", "absorb.within:1"])]
    {
        let import = |crawl: &Crawl| command(crawl, &["import", archive.to_str().unwrap()]);
        let undisturbed = copy_of(&store.config.store.path, store);
        done(import(&undisturbed)).await;
        done(refresh_command(&undisturbed, ENDS[2])).await;
        for point in points {
            let crawl = copy_of(&store.config.store.path, store);
            killed_at(point, import(&crawl)).await;
            done(import(&crawl)).await;
            done(refresh_command(&crawl, ENDS[2])).await;
            assert_same_artifacts(&artifacts_of(&undisturbed), &artifacts_of(&crawl));
            assert_eq!(feed_of(&crawl), feed_of(&undisturbed), "{point}");
        }
    }
}
