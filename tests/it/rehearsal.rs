//! A store that is kept up to date while the server's clock moves: data arrive late, jobs expire, records come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use treeherder_sim::{BackendConfig, GeneratorConfig, History, Simulator, SimulatorConfig, SimulatorHandle};

use crate::support::{Crawl, assert_same_artifacts};

/// The ends of the harvests.
const ENDS: [&str; 5] = [
    "2026-07-12T00:00:00Z",
    "2026-08-09T00:00:00Z",
    "2026-09-06T00:00:00Z",
    "2026-10-25T00:00:00Z",
    "2026-11-15T00:00:00Z",
];

async fn server(history: History) -> SimulatorHandle {
    let sizes = GeneratorConfig::default();
    let generated =
        GeneratorConfig { signatures: 30, data_per_signature: 60, pushes: 300, alerts: 200, largest_group: 8, ..sizes };
    let backend = BackendConfig::Generated(generated);
    let now = Some(seconds(ENDS[0]));
    Simulator::start(SimulatorConfig { backend, now, history, ..SimulatorConfig::default() }).await.unwrap()
}

fn seconds(time: &str) -> i64 {
    time.parse::<perfharvest::model::Timestamp>().unwrap().as_secs()
}

/// A crawl of all alert summaries, whatever its `data_end`.
fn crawl(simulator: &SimulatorHandle) -> Crawl {
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.alerts_lookback = Duration::from_hours(24 * 2000);
    crawl
}

/// Harvests at each of the ends, at which the server's clock then is.
async fn rehearse(simulator: &SimulatorHandle) -> Crawl {
    let crawl = crawl(simulator);
    for end in ENDS {
        simulator.set_now(seconds(end)).unwrap();
        let summary = crawl.refresh(end).await.unwrap();
        assert!(summary.crawl.counts.is_complete(), "{end}");
    }
    crawl
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_while_a_server_grows_give_the_artifacts_of_one_crawl_at_the_end() {
    let simulator = server(History::growing()).await;
    let crawl = rehearse(&simulator).await;
    let mut once = self::crawl(&simulator);
    once.config.window.data_end = Some(ENDS[ENDS.len() - 1].parse().unwrap());
    once.run().await.unwrap();
    let (mut expected, mut made) = (once.artifacts(), crawl.artifacts());
    for artifacts in [&mut expected, &mut made] {
        artifacts.retain(|name, _| !matches!(name.as_str(), "manifest.json" | "alert_summary_history.jsonl"));
    }
    assert_same_artifacts(&expected, &made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_forgetting_server_showed_at_a_harvest_is_never_lost() {
    let simulator = server(History { arrival_delay: Duration::ZERO, ..History::forgetting() }).await;
    let crawl = rehearse(&simulator).await;
    let mut stored: BTreeMap<(u64, u64), Value> = BTreeMap::new();
    let lines = String::from_utf8(crawl.artifacts()["perf_jobs_by_signature.jsonl"].clone()).unwrap();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for datum in line["jobs"].as_array().unwrap() {
            stored.insert((line["signature_id"].as_u64().unwrap(), datum["id"].as_u64().unwrap()), datum.clone());
        }
    }
    let record = simulator.full_record();
    let mut signatures = Vec::new();
    record.for_each_signature(|signature| signatures.push((signature.repository, signature.id, signature.gone)));
    let start = seconds("2026-07-01T00:00:00Z");
    let (mut num_known, mut num_gone) = (0, 0);
    for (repository, signature, gone) in signatures {
        num_gone += usize::from(gone.is_some_and(|gone| gone <= simulator.now()));
        record.for_each_datum(repository, signature, |datum| {
            let pushed = datum.push_timestamp.div_euclid(1_000_000);
            // The harvest that saw it first; the next ones read it again.
            let Some(harvest) = ENDS.map(seconds).into_iter().find(|end| *end >= datum.appeared && *end > pushed)
            else {
                return;
            };
            let is_too_late = harvest - pushed > 28 * 86_400 && datum.appeared > pushed;
            if pushed < start || gone.is_some_and(|gone| gone <= harvest) || is_too_late {
                return;
            }
            let Some(found) = stored.get(&(signature, datum.id)) else {
                panic!("signature {signature} lacks {datum:?}, first shown at {harvest}");
            };
            if datum.job_expires.is_none_or(|expires| expires > harvest) {
                assert_eq!(found["job_id"].as_u64(), datum.job_id, "{datum:?}");
                assert_eq!(found["machine_name"].as_str(), datum.machine_name.as_deref());
                num_known += usize::from(datum.job_expires.is_some_and(|expires| expires <= simulator.now()));
            }
        });
    }
    assert!(num_known > 50 && num_gone > 0, "{num_known} {num_gone}");
}
