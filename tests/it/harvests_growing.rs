//! A server that only grows: refreshes come to the artifacts of one crawl, and one with nothing new costs nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::fetch::Reason;
use perfharvest::model::Timestamp;
use perfharvest::pipeline::{self, RunOptions};
use treeherder_sim::{
    BackendConfig, Behaviour, Endpoint, GeneratorConfig, History, Outcome, Simulator, SimulatorConfig, SimulatorHandle,
};

use crate::living::{DAY, Living, generated, plain_artifacts, set_concurrency};
use crate::support::{Crawl, assert_same_artifacts, recordings};

/// As in the crash tests: one answer in seven is an error, a broken connection or rubbish.
const BAD_DAY: &[&str] = &["502=0.05", "429=0.03", "reset=0.03", "cut=0.02", "html=0.01", "broken-json=0.01"];

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// New signatures, jobs that finish and retriggers on old pushes; what was served once stays, but for unfinished jobs.
fn growing() -> History {
    History {
        late_share: 0.2,
        new_signature_share: 0.3,
        jobs_finish_within: Some(days(2)),
        arrival_delay: Duration::from_hours(1),
        ..History::growing()
    }
}

fn bad_day(seed: u64) -> Behaviour {
    let faults = BAD_DAY.iter().map(|fault| fault.parse().unwrap()).collect();
    // Windows of more data are split.
    Behaviour { faults, seed, kill_over_data: Some(25), kill_after: Duration::ZERO, ..Behaviour::default() }
}

/// Panics if `behaviour` kills long requests, and none was killed.
fn assert_some_are_split(behaviour: &Behaviour, simulator: &SimulatorHandle) {
    let served = simulator.served();
    let is_killed = |outcome: &Outcome| *outcome == Outcome::Fault("killed");
    let killed = served.iter().any(|(endpoint, outcome, _)| endpoint == Endpoint::Summary && is_killed(outcome));
    assert!(killed || behaviour.kill_over_data.is_none(), "no window was split");
}

async fn grow(history: History, behaviour: Behaviour, concurrency: usize, steps: &[u64]) {
    let mut living = Living::start(history, 40, behaviour.clone()).await;
    living.set_concurrency(concurrency);
    living.crawl.config.retry.max_attempts = 20.try_into().unwrap(); // no request is to fail by chance alone
    living.refresh().await;
    for step in steps {
        living.advance_days(*step);
        living.refresh().await;
    }
    assert_some_are_split(&behaviour, &living.simulator);
    let once = living.one_crawl().await;
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&living.crawl));
    assert_eq!(living.store().harvests().unwrap().len(), steps.len() + 1);
    living.store().find_damage(|damage| panic!("{damage}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weekly_refreshes_give_the_artifacts_of_one_crawl() {
    grow(growing(), Behaviour::default(), 8, &[7; 12]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_one_request_at_a_time_give_the_artifacts_of_one_crawl() {
    grow(growing(), Behaviour::default(), 1, &[7, 14, 8, 20, 7, 9]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_on_bad_days_give_the_artifacts_of_one_crawl() {
    grow(growing(), bad_day(1), 8, &[7; 6]).await;
    grow(growing(), bad_day(2), 1, &[7, 9, 14]).await;
}

/// Data arrive days after their push, and most signatures run too seldom to have other data within the overlap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_arrive_within_the_overlap_are_found_however_seldom_their_signature_runs() {
    let config = GeneratorConfig { data_per_signature: 12, ..generated() };
    let history = History { arrival_delay: days(5), ..History::growing() };
    let mut living = Living::start_with(config, history, 40, Behaviour::default()).await;
    living.crawl.config.window.overlap = days(6);
    living.refresh().await;
    for _ in 0..8 {
        living.advance_days(7);
        living.refresh().await;
        let once = living.one_crawl().await;
        assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&living.crawl));
    }
}

/// Without data that are late, any rhythm will do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_after_days_or_months_give_the_artifacts_of_one_crawl() {
    let history = History { late_share: 0.0, ..growing() };
    grow(history, Behaviour::default(), 8, &[1, 1, 1, 45, 1, 60]).await;
}

async fn rehearse(behaviour: Behaviour, concurrency: usize, semantics: Semantics) {
    let config = SimulatorConfig {
        backend: BackendConfig::Corpus(recordings()),
        behaviour: behaviour.clone(),
        history: History::growing(),
        ..SimulatorConfig::default()
    };
    let end = Simulator::start(config.clone()).await.unwrap().now();
    let simulator = Simulator::start(SimulatorConfig { now: Some(end - 90 * DAY), ..config }).await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.semantics = semantics;
    crawl.config.retry.max_attempts = 20.try_into().unwrap();
    set_concurrency(&mut crawl, concurrency);
    let mut once = Crawl::of(&simulator.url());
    for _ in 0..=3 {
        let data_end = Timestamp::from_secs(simulator.now());
        assert!(crawl.refresh(&data_end.to_string()).await.unwrap().crawl.counts.is_complete());
        once.config.window.data_end = Some(data_end);
        simulator.advance(days(30));
    }
    assert_some_are_split(&behaviour, &simulator);
    once.config.artifacts.semantics = semantics;
    once.config.retry = crawl.config.retry.clone();
    once.config.window.alerts_lookback += days(90);
    assert!(once.run().await.unwrap().crawl.counts.is_complete());
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&crawl));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_of_the_recorded_data_give_the_artifacts_of_one_crawl() {
    rehearse(Behaviour::default(), 8, Semantics::Reference).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_of_the_recorded_data_on_bad_days_give_the_artifacts_of_one_crawl() {
    rehearse(bad_day(3), 1, Semantics::Corrected).await;
}

/// The times of all files in a folder.
fn stamps(folder: &Path) -> BTreeMap<String, SystemTime> {
    let mut stamps = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            stamps.extend(stamps_in(&name, &entry.path()));
        } else {
            stamps.insert(name, entry.metadata().unwrap().modified().unwrap());
        }
    }
    stamps
}

fn stamps_in(prefix: &str, folder: &Path) -> Vec<(String, SystemTime)> {
    stamps(folder).into_iter().map(|(name, stamp)| (format!("{prefix}/{name}"), stamp)).collect()
}

/// After the end of the data nothing comes any more, and all jobs have finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_with_nothing_new_asks_the_lists_alone_and_writes_no_artifact() {
    // The list of alert summaries is asked for by their age, and the clock of the server is not ours: all of them are old enough.
    let (before, config) = (90 * DAY, generated());
    let config = GeneratorConfig { start: config.start - before, end: config.end - before, ..config };
    let mut living = Living::start_with(config, growing(), 151 + 40, Behaviour::default()).await;
    living.crawl.config.window.alerts_lookback = days(2000);
    living.refresh().await;
    for weeks in 1..=3 {
        let (before, served) = (stamps(&living.crawl.config.artifacts.out), living.simulator.served());
        living.advance_days(7);
        let summary = living.refresh().await;
        let asked = living.simulator.served().since(&served);
        assert_eq!((asked.of(Endpoint::Summary), asked.of(Endpoint::Jobs)), (0, 0), "{asked}");
        assert!(asked.of(Endpoint::Signatures) == 4 && asked.of(Endpoint::AlertSummary) > 0, "{asked}");
        assert_eq!(asked.total(), summary.crawl.requests_made);
        assert_eq!(summary.reduction.unwrap().written, []);
        let mut after = stamps(&living.crawl.config.artifacts.out);
        // The manifest lists the harvests, and the harvest leaves its file of changes.
        assert!(after.remove(&format!("changes/{:04}.jsonl", weeks + 1)).is_some());
        let (mut before, mut after) = (before, after);
        for stamps in [&mut before, &mut after] {
            stamps.remove("manifest.json");
        }
        assert_eq!(before, after);
    }
    // The artifacts that were left as they were equal those that the store would give today.
    let kept = living.crawl.artifacts();
    living.crawl.config.artifacts.out = living.crawl.folder.path().join("made again");
    living.crawl.refresh(&living.now()).await.unwrap();
    assert_same_artifacts(&kept, &living.crawl.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_before_the_late_check_asks_for_no_data_that_it_has() {
    let mut living = Living::start(growing(), 100, Behaviour::default()).await;
    living.refresh().await;
    let served = living.simulator.served();
    living.simulator.advance(Duration::from_secs(1));
    living.refresh().await;
    let asked = living.simulator.served().since(&served);
    assert_eq!(asked.of(Endpoint::Summary), 0, "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_a_refresh_counts_the_summaries_that_it_asks_for_and_changes_nothing() {
    let mut living = Living::start(growing(), 40, Behaviour::default()).await;
    living.refresh().await;
    living.advance_days(7);
    let mut config = living.crawl.config.clone();
    config.window.data_end = Some(living.now().parse().unwrap());
    let options = RunOptions { same_source: true, ..RunOptions::default() };
    let before = std::fs::read(config.store.path.join("values")).unwrap();
    let plan = pipeline::plan_refresh(&config, options, &Shutdown::new()).await.unwrap().unwrap();
    assert!(std::fs::read(config.store.path.join("values")).unwrap() == before);
    assert!([Reason::Moved, Reason::LateCheck].iter().all(|reason| plan.due.contains_key(reason)), "{:?}", plan.due);
    let served = living.simulator.served();
    living.refresh().await;
    let asked = living.simulator.served().since(&served).of(Endpoint::Summary);
    assert_eq!(plan.due.values().sum::<u64>(), asked);
}
