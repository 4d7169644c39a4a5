//! Refreshes of stores and servers in odd states: nothing is lost, and each case is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use perfharvest::Error;
use perfharvest::actor::Shutdown;
use perfharvest::model::{Kind, Timestamp};
use perfharvest::pipeline::{self, RunOptions};
use perfharvest::store::{Store, archive};
use serde_json::Value;
use treeherder_sim::{Behaviour, Endpoint, History, ScriptedReply, SimulatorHandle};

use crate::living::{DAY, Living, artifact, data_of, lines, plain_artifacts};
use crate::support::{artifacts_in, assert_same_artifacts};

/// More than any request is tried.
const ALWAYS: usize = 10_000;

async fn living(from_start_days: i64) -> Living {
    Living::start(History::growing(), from_start_days, Behaviour::default()).await
}

fn feed_of(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(out.join("changes")).unwrap().map(|entry| entry.unwrap());
    files.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

/// The requests for the data of a signature.
fn asked_for(simulator: &SimulatorHandle, signature: u64) -> Vec<String> {
    let fragment = format!("signature={signature}&");
    let arrivals = simulator.arrivals().into_iter();
    let of_signature =
        arrivals.filter(|one| one.endpoint == Endpoint::Summary && one.path_and_query.contains(&fragment));
    of_signature.map(|one| one.path_and_query).collect()
}

/// The data of a signature that a harvest tells of as added.
fn added_by(living: &Living, harvest: u16, signature: u64) -> Vec<u64> {
    let feed = lines(&living.crawl.config.artifacts.out.join(format!("changes/{harvest:04}.jsonl")));
    let of_signature = feed.iter().filter(|line| line["signature_id"] == signature);
    let ids = of_signature.flat_map(|line| line["added"].as_array().cloned().unwrap_or_default());
    ids.map(|id| id.as_u64().unwrap()).collect()
}

/// A signature with many data.
fn busiest_signature(living: &Living) -> u64 {
    *data_of(&living.crawl).iter().max_by_key(|(_, rows)| rows.len()).unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_went_back_is_refused_with_both_times() {
    let mut living = living(100).await;
    living.refresh().await;
    let (made, served) = (living.crawl.artifacts(), living.simulator.served().total());
    let earlier = Timestamp::from_secs(living.ends[0] - 1).to_string();
    let error = living.crawl.refresh(&earlier).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&earlier) && message.contains(&living.now()), "{message}");
    assert_eq!(error.exit_code(), 2, "{message}");
    assert_eq!(living.simulator.served().total(), served);
    assert_same_artifacts(&made, &living.crawl.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_up_to_the_same_time_asks_and_writes_nothing() {
    let mut living = living(100).await;
    living.refresh().await;
    living.advance_days(7);
    living.refresh().await;
    let (made, served) = (living.crawl.artifacts(), living.simulator.served().total());
    let summary = living.crawl.refresh(&living.now()).await.unwrap();
    assert_eq!((summary.crawl.requests_made, living.simulator.served().total()), (0, served));
    assert_eq!(summary.reduction.unwrap().written, []);
    assert_eq!(living.store().harvests().unwrap().len(), 2);
    assert_same_artifacts(&made, &living.crawl.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_that_the_server_lists_no_more_stay_with_their_data() {
    let history = History { vanishing_signature_share: 0.7, ..History::growing() };
    let mut living = Living::start(history, 20, Behaviour::default()).await;
    living.refresh().await;
    let (data, signatures) = (data_of(&living.crawl), artifact(&living.crawl, "all_signatures.jsonl"));
    living.advance_days(130);
    living.refresh().await;
    let (later, later_signatures) = (data_of(&living.crawl), artifact(&living.crawl, "all_signatures.jsonl"));
    let store = living.store();
    let known = store.signature_ids().unwrap();
    let gone = known.iter().filter(|id| store.signature_last_seen(**id).unwrap() == Some(1)).count();
    assert!(gone > known.len() / 2, "{gone} of {}", known.len());
    for (signature, rows) in &data {
        assert!(rows.iter().all(|(id, row)| later[signature].get(id) == Some(row)), "{signature}");
    }
    assert!(signatures.iter().all(|row| later_signatures.iter().any(|later| later["id"] == row["id"])));
}

/// The lines of a harvest's feed about signatures that are on the server's list again.
fn listed_again(living: &Living, harvest: u16) -> Vec<Value> {
    let mut feed = lines(&living.crawl.config.artifacts.out.join(format!("changes/{harvest:04}.jsonl")));
    feed.retain(|line| line["change"] == "listed_again");
    feed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_that_come_back_are_told_of_once_however_often_the_harvest_is_joined() {
    let history = History { vanishing_signature_share: 0.7, ..History::growing() };
    let mut living = Living::start(history, 20, Behaviour::default()).await;
    living.refresh().await;
    living.advance_days(130);
    living.refresh().await;
    let gone = |living: &Living| {
        let store = living.store();
        store.signature_ids().unwrap().iter().filter(|id| store.signature_last_seen(**id).unwrap().is_some()).count()
    };
    let num_gone = gone(&living);
    assert!(num_gone > 5, "{num_gone}");
    restart(&mut living).await;
    living.advance_days(7);
    living.simulator.script(ScriptedReply::status(404).at(Endpoint::Summary).times(1));
    let summary = living.crawl.refresh(&living.now()).await.unwrap();
    assert_eq!(summary.crawl.counts.failed(), 1);
    let told = listed_again(&living, 3);
    assert_eq!((told.len(), gone(&living)), (num_gone, 0));
    living.refresh().await;
    assert_eq!(listed_again(&living, 3), told, "once the failed request is answered");
    living.advance_days(7);
    living.refresh().await;
    assert_eq!(listed_again(&living, 4), [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_refresh_leaves_the_artifacts_and_shows_the_harvest_before() {
    let mut living = living(100).await;
    living.refresh().await;
    let (made, feed) = (living.crawl.artifacts(), feed_of(&living.crawl.config.artifacts.out));
    living.advance_days(14);
    // It ends when the first of the data have come.
    living.simulator.script(ScriptedReply::answer().at(Endpoint::Summary).times(5));
    living.simulator.script(ScriptedReply::hang().at(Endpoint::Summary).times(ALWAYS));
    let shutdown = Shutdown::new();
    let mut config = living.crawl.config.clone();
    config.window.data_end = Some(living.now().parse().unwrap());
    let (_keep, live) = pipeline::fixed_config(config);
    let options = RunOptions { same_source: true, ..RunOptions::default() };
    let ended = async {
        let of_data = |simulator: &SimulatorHandle| simulator.served().with_status(Endpoint::Summary, 200);
        let before = of_data(&living.simulator);
        crate::support::wait_until("data are served", || of_data(&living.simulator) >= before + 5).await;
        shutdown.abandon();
        std::future::pending::<()>().await;
    };
    let summary = tokio::select! {
        summary = pipeline::refresh(live, options, &[], &shutdown, Arc::default()) => summary.unwrap(),
        () = ended => unreachable!(),
    };
    assert!(summary.crawl.interrupted && summary.reduction.is_none());
    assert_same_artifacts(&made, &living.crawl.artifacts());
    assert_eq!(feed_of(&living.crawl.config.artifacts.out), feed);
    // Readers see the harvest before, as if there were no other.
    {
        let store = Store::open_to_show(&living.crawl.config.store).unwrap();
        assert_eq!(store.hides(), Some(2));
        assert_eq!(store.identity().unwrap().unwrap().data_end, Timestamp::from_secs(living.ends[0]));
        assert!(store.counts().unwrap().is_complete());
        let mut config = living.crawl.config.clone();
        config.artifacts.out = living.crawl.folder.path().join("shown");
        pipeline::reduce_store(Arc::new(store), &Arc::new(config.clone()), &[], &Shutdown::new()).await.unwrap();
        let mut shown = artifacts_in(&config.artifacts.out);
        let mut made = made.clone();
        for artifacts in [&mut shown, &mut made] {
            artifacts.remove("manifest.json"); // its number of revisions is of all stored pushes
        }
        assert_same_artifacts(&made, &shown);
        assert_eq!(feed_of(&config.artifacts.out), feed);
    }
    // The next refresh finishes it, and opens one of its own.
    restart(&mut living).await;
    living.advance_days(7);
    living.refresh().await;
    let ends: Vec<Timestamp> = living.store().harvests().unwrap().iter().map(|harvest| harvest.data_end).collect();
    let day = |days: i64| Timestamp::from_secs(living.ends[0] + days * 86_400);
    assert_eq!(ends, [day(0), day(14), day(21)]);
    assert_eq!(feed_of(&living.crawl.config.artifacts.out).len(), 3);
}

/// The same server, without the scripts.
async fn restart(living: &mut Living) {
    let days = (living.simulator.now() - crate::living::generated().start) / 86_400;
    let fresh = Living::start(History::growing(), days, Behaviour::default()).await;
    living.simulator = fresh.simulator;
    living.crawl.config.source.base_url = living.simulator.url();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_that_always_fails_keeps_its_data_and_is_asked_again_from_its_last_reading() {
    let mut living = living(90).await;
    living.refresh().await;
    let signature = busiest_signature(&living);
    let before = data_of(&living.crawl)[&signature].clone();
    let fails = || ScriptedReply::status(500).at(Endpoint::Summary).containing(&format!("signature={signature}&"));
    living.crawl.config.retry.max_attempts = 2.try_into().unwrap();
    for week in 1..=2 {
        living.advance_days(7);
        living.simulator.script(fails().times(ALWAYS));
        let summary = living.crawl.refresh(&living.now()).await.unwrap();
        assert!(summary.crawl.counts.failed() > 0 && summary.crawl.counts.pending() == 0, "week {week}");
        let reduction = summary.reduction.unwrap();
        assert!(!reduction.complete && !reduction.manifest.complete);
        assert_eq!(data_of(&living.crawl)[&signature], before, "week {week}");
        living.ends.push(living.simulator.now());
        assert_eq!(living.store().harvests().unwrap().len(), week + 1);
    }
    living.advance_days(7);
    restart(&mut living).await;
    living.refresh().await;
    let newest = before.values().map(|row| row["push_timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap());
    let from = newest.max().unwrap().plus_secs(-28 * DAY - 1).to_naive_string().replace(':', "%3A");
    let asked = asked_for(&living.simulator, signature);
    assert!(asked.iter().any(|path| path.contains(&from)), "{from}: {asked:?}");
    let now = data_of(&living.crawl)[&signature].clone();
    assert!(now.len() > before.len());
    // Each datum is told of as added once, by the harvest that asked for it.
    let mut told: Vec<u64> = (1..=4).flat_map(|harvest| added_by(&living, harvest, signature)).collect();
    told.sort_unstable();
    assert_eq!(told, now.keys().copied().collect::<Vec<_>>());
    let once = living.one_crawl().await;
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&living.crawl));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_whose_window_is_not_whole_yet_do_not_count_as_added() {
    let mut living = living(90).await;
    living.refresh().await;
    let signature = busiest_signature(&living);
    let before = data_of(&living.crawl)[&signature].clone();
    living.advance_days(28);
    // Every part that reaches the end of the window fails; those before it are stored.
    let end = Timestamp::from_secs(living.simulator.now() + 1).to_naive_string().replace(':', "%3A");
    let fails = ScriptedReply::status(500).at(Endpoint::Summary);
    let fails = fails.containing(&format!("signature={signature}&")).containing(&format!("endday={end}"));
    living.simulator.script(fails.times(ALWAYS));
    living.crawl.config.retry.max_attempts = 2.try_into().unwrap();
    assert!(living.crawl.refresh(&living.now()).await.unwrap().crawl.counts.failed() > 0);
    assert!(added_by(&living, 2, signature).is_empty());
    assert_eq!(data_of(&living.crawl)[&signature], before);

    let now = living.now();
    restart(&mut living).await;
    assert!(living.crawl.refresh(&now).await.unwrap().crawl.counts.is_complete());
    let all = data_of(&living.crawl)[&signature].clone();
    let new: BTreeSet<u64> = all.keys().filter(|id| !before.contains_key(id)).copied().collect();
    assert!(!new.is_empty());
    let added = added_by(&living, 2, signature);
    assert_eq!(added.len(), new.len());
    assert_eq!(added.into_iter().collect::<BTreeSet<u64>>(), new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_several_harvests_restores_to_the_same_and_is_refreshed_further() {
    let history = History { vanishing_signature_share: 0.3, ..History::forgetting() };
    let mut living = Living::start(history, 100, Behaviour::default()).await;
    for _ in 0..3 {
        living.refresh().await;
        living.advance_days(14);
    }
    let out = living.crawl.config.artifacts.out.clone();
    let (made, feed) = (living.crawl.artifacts(), feed_of(&out));
    let file = living.crawl.folder.path().join("archive");
    {
        let store = living.store();
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&file).unwrap();
        archive::write(&store, &mut file, &Shutdown::new()).unwrap();
    }
    let original = living.crawl.config.clone();
    living.crawl.config.store.path = living.crawl.folder.path().join("restored");
    living.crawl.config.artifacts.out = living.crawl.folder.path().join("made again");
    archive::read(&file, &living.crawl.config.store, &Shutdown::new()).unwrap();
    let served = living.simulator.served().total();
    let last = Timestamp::from_secs(*living.ends.last().unwrap()).to_string();
    living.crawl.refresh(&last).await.unwrap();
    assert_eq!(living.simulator.served().total(), served);
    assert_same_artifacts(&made, &living.crawl.artifacts());
    assert_eq!(feed_of(&living.crawl.config.artifacts.out), feed);
    // Both go on in the same way.
    living.refresh().await;
    let restored = (living.crawl.artifacts(), feed_of(&living.crawl.config.artifacts.out));
    living.crawl.config = original;
    living.refresh().await;
    assert_same_artifacts(&restored.0, &living.crawl.artifacts());
    assert_eq!(restored.1, feed_of(&out));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_asks_the_signatures_of_new_alerts_over_the_whole_window() {
    let mut living = living(60).await;
    living.crawl.config.scope = toml::from_str("signatures = \"alerted\"").unwrap();
    living.crawl.config.window.alerts_lookback = std::time::Duration::from_hours(24 * 20);
    living.refresh().await;
    let before = data_of(&living.crawl);
    for _ in 0..3 {
        living.advance_days(28);
        living.refresh().await;
    }
    assert!(data_of(&living.crawl).len() > before.len());
    let once = living.one_crawl().await;
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&living.crawl));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_with_a_wider_scope_asks_what_is_missing_over_the_whole_window() {
    let mut living = living(90).await;
    living.crawl.config.scope = toml::from_str("frameworks = [\"talos\", \"browsertime\"]").unwrap();
    living.refresh().await;
    let before = data_of(&living.crawl).len();
    living.crawl.config.scope = toml::from_str("frameworks = [\"*\"]").unwrap();
    living.advance_days(14);
    living.refresh().await;
    assert!(data_of(&living.crawl).len() > before);
    let once = living.one_crawl().await;
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&living.crawl));
    assert_eq!(living.store().counts().unwrap().of(Kind::Summaries).failed, 0);
}

#[test]
fn a_harvest_that_cannot_be_opened_is_a_matter_of_usage_and_one_that_is_joined_of_the_store() {
    use perfharvest::store::StoreError;
    let path = std::path::PathBuf::from("store");
    let code = |error: StoreError| Error::Store(error).exit_code();
    assert_eq!(code(StoreError::HarvestOpen { path: path.clone(), harvest: 2 }), 2);
    assert_eq!(code(StoreError::Joining { path, harvest: 2 }), 4);
}
