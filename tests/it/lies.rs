//! A server whose replies are well-formed and wrong: none of its lies is settled, and nothing is called complete by
//! them.

use std::sync::Arc;

use perfharvest::actor::Shutdown;
use perfharvest::model::{Kind, Request};
use perfharvest::pipeline::{self, RunOptions};
use perfharvest::store::Store;
use serde_json::{Value, json};
use treeherder_sim::{Behaviour, Endpoint, ScriptedReply};

use crate::faults::calm;
use crate::support::{Crawl, assert_same_artifacts, recordings, simulator};

const ALWAYS: usize = 1_000_000;

/// The page of all 41 alert summaries, changed by `lie`.
fn page(lie: impl FnOnce(&mut Value)) -> String {
    let text = std::fs::read_to_string(recordings().join("alertsummary_limit100.jsonl")).unwrap();
    let recorded: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut page = match &recorded["body"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        page => page.clone(),
    };
    assert_eq!((page["count"].as_u64(), page["results"].as_array().unwrap().len()), (Some(41), 41));
    lie(&mut page);
    page.to_string()
}

fn rows(page: &mut Value) -> &mut Vec<Value> {
    page["results"].as_array_mut().unwrap()
}

/// A lie told twice is asked again until it is not; one that lasts fails what it concerns, by its `label`.
async fn assert_never_settled(lie: ScriptedReply, label: &str, kind: Kind) {
    let passing = simulator(Behaviour::default()).await;
    passing.script(lie.clone().times(2));
    let crawl = Crawl::of(&passing.url());
    let summary = crawl.run().await.unwrap();
    assert!(summary.reduction.unwrap().manifest.complete, "{lie:?}");
    assert_same_artifacts(&crawl.artifacts(), &calm().await.artifacts);

    let lasting = simulator(Behaviour::default()).await;
    lasting.script(lie.clone().times(ALWAYS));
    let crawl = Crawl::of(&lasting.url());
    let summary = crawl.run().await.unwrap();
    assert!(!summary.crawl.counts.is_complete() && !summary.reduction.unwrap().manifest.complete, "{lie:?}");
    assert_eq!(summary.crawl.counts.of(kind).empty, 0, "{lie:?}");
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let failures: Vec<_> = store.failures().map(Result::unwrap).collect();
    assert!(!failures.is_empty());
    for (request, failure) in failures {
        assert_eq!((request.kind(), failure.label.as_str(), failure.status), (kind, label, Some(200)), "{request}");
        let is_of_a_batch = kind == Kind::JobDetails; // whose attempts count
        assert!(failure.attempts <= 5 || is_of_a_batch, "{request}: {}", failure.attempts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_set_aside_is_missed_until_it_is_fetched_again() {
    let simulator = simulator(Behaviour::default()).await;
    let odd = page(|page| rows(page)[3]["notes"] = json!("odd")).replace("\"odd\"", "1e400");
    simulator.script(ScriptedReply::body(odd).at(Endpoint::AlertSummary));
    let crawl = Crawl::of(&simulator.url());
    let first = crawl.run().await.unwrap();
    let manifest = first.reduction.unwrap().manifest;
    assert_eq!((first.crawl.counts.set_aside(), first.crawl.counts.is_whole()), (1, false));
    assert_eq!((manifest.num_set_aside(), manifest.complete), (1, true));
    let before = simulator.served().total();
    crawl.run().await.unwrap();
    assert_eq!(simulator.served().total(), before, "it is settled");

    let (_keep, live) = pipeline::fixed_config(crawl.config.clone());
    let options = RunOptions { same_source: true, retry_set_aside: true, ..RunOptions::default() };
    let again = pipeline::run(live, options, &[], &Shutdown::new(), Arc::default()).await.unwrap();
    assert_eq!(simulator.served().total(), before + 1);
    assert!(again.crawl.counts.is_whole() && again.reduction.unwrap().manifest.num_set_aside() == 0);
    assert_same_artifacts(&crawl.artifacts(), &calm().await.artifacts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_alerts_that_contradicts_itself_is_no_answer() {
    let lies = [
        page(|page| page["count"] = json!(42)),
        page(|page| page["count"] = json!(0)),
        page(|page| page["count"] = json!(900)),
        page(|page| drop(rows(page).pop())),
        page(|page| rows(page).clear()),
        page(|page| page["next"] = json!("http://127.0.0.1:1/api/performance/alertsummary/?page=2")),
    ];
    for lie in lies {
        assert_never_settled(ScriptedReply::body(lie).at(Endpoint::AlertSummary), "contradictory", Kind::Alerts).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_of_signatures_is_no_answer_where_alerts_show_that_there_are_some() {
    let empty = || ScriptedReply::body("{}").at(Endpoint::Signatures);
    assert_never_settled(empty(), "contradictory", Kind::Signatures).await;
    assert_never_settled(empty().containing("start_date"), "contradictory", Kind::Signatures).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_such_signature_is_no_answer_for_one_that_was_listed_with_recent_data() {
    let fragment = &calm().await.summaries[0];
    let fragment = &fragment[fragment.find("signature=").unwrap()..];
    let lie = ScriptedReply::body("[]").containing(fragment);
    assert_never_settled(lie, "contradictory", Kind::Summaries).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_were_not_asked_for_are_no_answer() {
    let other = r#"[{"signature_id": 1, "data": []}]"#;
    assert_never_settled(ScriptedReply::body(other).at(Endpoint::Summary), "wrong_shape", Kind::Summaries).await;
    let stranger = r#"{"results": [{"id": 1}], "meta": {}}"#;
    assert_never_settled(ScriptedReply::body(stranger).at(Endpoint::Jobs), "wrong_shape", Kind::JobDetails).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_comes_twice_is_kept_once_and_may_stand_in_the_place_of_another() {
    for (times, complete) in [(2, true), (ALWAYS, false)] {
        let simulator = simulator(Behaviour::default()).await;
        let lie = page(|page| rows(page)[1] = rows(page)[0].clone());
        simulator.script(ScriptedReply::body(lie).at(Endpoint::AlertSummary).times(times));
        let crawl = Crawl::of(&simulator.url());
        let summary = crawl.run().await.unwrap();
        assert_eq!((summary.reduction.unwrap().manifest.complete, summary.crawl.alerts_moved), (complete, !complete));
        let store = Store::open_existing(&crawl.config.store).unwrap();
        assert_eq!(store.alert_listing().unwrap().len(), if complete { 41 } else { 40 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_one_in_place_of_every_page_leaves_the_crawl_incomplete() {
    let simulator = simulator(Behaviour::default()).await;
    let first = |next: bool, rows_of: usize| {
        page(|page| {
            page["next"] = if next { json!("http://127.0.0.1:1/") } else { Value::Null };
            rows(page).truncate(rows_of);
        })
    };
    for number in 2..=4 {
        let reply = ScriptedReply::body(first(true, 10)).containing(&format!("page={number}&")).times(ALWAYS);
        simulator.script(reply.at(Endpoint::AlertSummary));
    }
    simulator
        .script(ScriptedReply::body(first(false, 1)).containing("page=5&").at(Endpoint::AlertSummary).times(ALWAYS));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.batch.alert_page = 10.try_into().unwrap();
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.alerts_moved && !summary.reduction.unwrap().manifest.complete);
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let looks =
        store.all_settled().filter(|settled| matches!(settled.as_ref().unwrap().0, Request::AlertPage { page: 0, .. }));
    assert_eq!(looks.count(), 0, "pages that repeat need no second look");
}
