//! The change feed beside the artifacts.

use treeherder_sim::Behaviour;

use crate::support::{Crawl, simulator};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_changes_of_a_harvest_are_whole_once_its_failed_requests_are_answered() {
    let ends = ["2026-08-20T00:00:00Z", "2026-09-29T12:00:00Z"];
    let calm = simulator(Behaviour::default()).await;
    let faults = vec!["404@summary=0.5".parse().unwrap()];
    let bad = simulator(Behaviour { faults, ..Behaviour::default() }).await;
    let mut crawl = Crawl::of(&calm.url());
    crawl.refresh(ends[0]).await.unwrap();
    crawl.config.source.base_url = bad.url();
    assert!(crawl.refresh(ends[1]).await.unwrap().crawl.counts.failed() > 0);
    let changes =
        |crawl: &Crawl| std::fs::read_to_string(crawl.config.artifacts.out.join("changes/0002.jsonl")).unwrap();
    let partial = changes(&crawl);

    crawl.config.source.base_url = calm.url();
    assert!(crawl.refresh(ends[1]).await.unwrap().crawl.counts.is_complete());
    let whole = changes(&crawl);
    assert!(whole.len() > partial.len());
    let undisturbed = Crawl::of(&calm.url());
    for end in ends {
        undisturbed.refresh(end).await.unwrap();
    }
    assert_eq!(changes(&undisturbed), whole);
    crawl.config.artifacts.out = crawl.folder.path().join("made again");
    crawl.refresh(ends[1]).await.unwrap();
    assert_eq!(changes(&crawl), whole);
}
