//! A panic in a thread or task ends the command in order: with exit code 1, a stored state, and no dataset called complete.

use std::num::NonZeroUsize;

use treeherder_sim::Behaviour;

use crate::child::{blocking, finish, run_command};
use crate::support::{Crawl, assert_same_artifacts, simulator};

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_fetcher_the_log_the_index_or_an_output_is_exit_1_and_the_next_run_goes_on() {
    let simulator = simulator(Behaviour::default()).await;
    let calm = Crawl::of(&simulator.url());
    calm.run().await.unwrap();
    for point in [
        "fetcher.before_submit:1",
        "fetcher.before_submit:70",
        "log.mid_write:9",
        "index.before_apply:9",
        "artifact.before_fsync:3",
    ] {
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.store.commit_records = NonZeroUsize::MIN;
        let mut panicking = run_command(&crawl);
        panicking.env("PERFHARVEST_FAIL_POINT", format!("{point}:panic"));
        let ended = blocking(|| finish(panicking)).await;
        assert_eq!(ended.code(), Some(1), "{point}: {}", ended.stderr);
        assert!(ended.stderr.lines().any(|line| line.starts_with("error: ")), "{point}: {}", ended.stderr);
        let complete = std::fs::read_to_string(crawl.config.artifacts.out.join("manifest.json"))
            .is_ok_and(|manifest| manifest.contains("\"complete\": true"));
        assert!(!complete, "{point}");
        let resumed = run_command(&crawl);
        let resumed = blocking(|| finish(resumed)).await;
        assert_eq!(resumed.code(), Some(0), "{point}: {}", resumed.stderr);
        assert_same_artifacts(&calm.artifacts(), &crawl.artifacts());
    }
}
