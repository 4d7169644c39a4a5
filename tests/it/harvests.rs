//! A store that is brought up to date: its artifacts are those of one crawl, and nothing that was stored is lost.

use perfharvest::config::Semantics;
use perfharvest::store::Store;
use treeherder_sim::{Behaviour, Endpoint};

use crate::support::{Crawl, assert_same_artifacts, simulator};

/// The ends of three harvests of the corpus; the last is that of [`Crawl::of`].
const ENDS: [&str; 3] = ["2026-08-20T00:00:00Z", "2026-09-29T12:00:00Z", "2026-11-22T08:00:00Z"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_harvests_give_the_artifacts_of_one_crawl() {
    let simulator = simulator(Behaviour::default()).await;
    for semantics in [Semantics::Reference, Semantics::Corrected] {
        let mut once = Crawl::of(&simulator.url());
        once.config.artifacts.semantics = semantics;
        once.run().await.unwrap();

        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.artifacts.semantics = semantics;
        for data_end in ENDS {
            let summary = crawl.refresh(data_end).await.unwrap();
            assert!(summary.crawl.counts.is_complete(), "{data_end}");
            assert_eq!(summary.crawl.identity.data_end.to_string(), data_end);
        }
        let (mut expected, mut made) = (once.artifacts(), crawl.artifacts());
        for artifacts in [&mut expected, &mut made] {
            artifacts.retain(|name, _| !matches!(name.as_str(), "manifest.json" | "alert_summary_history.jsonl"));
        }
        assert_same_artifacts(&expected, &made);
        let store = Store::open_existing(&crawl.config.store).unwrap();
        assert_eq!(store.harvests().unwrap().len(), 3);
        store.find_damage(|damage| panic!("{damage}")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_without_news_asks_for_lists_only_and_makes_no_artifact() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let asked_before = simulator.arrivals().len();
    let without_manifest = || {
        let mut artifacts = crawl.artifacts();
        artifacts.remove("manifest.json");
        artifacts
    };
    let before = without_manifest();

    let summary = crawl.refresh("2026-11-22T08:00:01Z").await.unwrap();
    assert!(summary.crawl.counts.is_complete());
    let asked = simulator.arrivals().split_off(asked_before);
    let is_list = |endpoint| matches!(endpoint, Endpoint::Signatures | Endpoint::AlertSummary | Endpoint::Framework);
    let others = asked.iter().filter(|arrival| !is_list(arrival.endpoint)).map(|arrival| &arrival.path_and_query);
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(summary.reduction.unwrap().written, Vec::new());
    assert_same_artifacts(&before, &without_manifest());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_change_feed_made_at_once_equals_the_one_made_harvest_by_harvest() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let folder = crawl.config.artifacts.out.join("changes");
    let feed = || [1, 2, 3].map(|harvest| std::fs::read_to_string(folder.join(format!("{harvest:04}.jsonl"))).unwrap());
    for data_end in ENDS {
        crawl.refresh(data_end).await.unwrap();
    }
    let one_by_one = feed();
    assert!(one_by_one.iter().all(|lines| lines.contains(r#"{"kind":"data","#)));
    std::fs::remove_dir_all(&folder).unwrap();
    crawl.run().await.unwrap();
    assert_eq!(feed(), one_by_one);
}
