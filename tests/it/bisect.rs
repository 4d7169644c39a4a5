//! The artifacts of bisections of the corpus with replicates equal the output of the reference scripts for the same server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use perfharvest::config::Semantics;
use serde_json::Value;
use treeherder_sim::{BackendConfig, Endpoint, Simulator, SimulatorConfig, SimulatorHandle};

use crate::support::{Crawl, corpus};

/// Formats in which every byte is defined.
const SAME_BYTES: &[&str] = &[
    "alert_summary_fail_perf_sigs.csv",
    "alert_summary_fail_perf_sigs_no_fw_2_6_18.csv",
    "per_sig_perf_data_info.jsonl",
    "perf_bisect_regressions_eval.jsonl",
    "perf_bisect_regressions_final_test.jsonl",
];

fn folder() -> PathBuf {
    corpus().join("bisect")
}

async fn simulator() -> SimulatorHandle {
    let config = SimulatorConfig { backend: BackendConfig::Corpus(folder()), ..SimulatorConfig::default() };
    Simulator::start(config).await.unwrap()
}

fn crawl(simulator: &SimulatorHandle) -> Crawl {
    let mut crawl = Crawl::of(&simulator.url());
    let config = &mut crawl.config;
    config.window.start = Some("2026-07-15T00:00:00Z".parse().unwrap());
    config.window.end = Some("2026-11-08T00:00:00Z".parse().unwrap());
    config.window.data_end = Some("2026-11-26T00:00:00Z".parse().unwrap());
    config.window.alerts_lookback = Duration::from_hours(7300 * 24);
    config.scope = toml::from_str("signatures = \"alerted\"\nreplicates = true").unwrap();
    config.bisect.created_cutoff = Some("2026-07-25T00:00:00Z".parse().unwrap());
    config.bisect.excluded_alert_summary_ids = vec![46805];
    let input = |name: &str| Some(folder().join("input").join(name));
    config.inputs.commits = input("all_commits.jsonl");
    config.inputs.perf_llm_struc = None;
    config.inputs.eval_predictions = input("final_test_results_perf_codebert_eval.json");
    config.inputs.final_test_predictions = input("final_test_results_perf_codebert_final_test.json");
    crawl
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(folder().join("golden").join(name)).unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Brings rows of one push and job, whose order the server leaves open, into one order.
fn with_sorted_ties(mut row: Value) -> String {
    let data = row["perf_measurement_data"].as_array_mut().unwrap();
    let key = |datum: &Value| {
        let text = |key: &str| datum[key].to_string();
        let job = (datum["job_id"].is_null(), datum["job_id"].as_u64());
        (
            datum["replicate"] == false,
            datum["signature_id"].as_u64(),
            text("push_timestamp"),
            datum["push_id"].as_u64(),
            job,
        )
    };
    assert!(data.is_sorted_by_key(key), "{row}");
    data.sort_by_cached_key(|datum| (key(datum), datum.to_string()));
    row.to_string()
}

/// Asserts that two files of rows are equal but for the order of ties.
fn same_rows(made: &BTreeMap<String, Vec<u8>>, name: &str) {
    let rows = |bytes: &[u8]| lines(bytes).into_iter().map(with_sorted_ties).collect::<Vec<_>>();
    let (made, golden) = (&made[name], golden(name));
    assert_eq!(made.len(), golden.len(), "{name}");
    for (made, golden) in rows(made).iter().zip(rows(&golden)) {
        assert_eq!(*made, golden, "{name}");
    }
}

/// How often each signature was asked for, by its flag of replicates.
fn summaries_asked(simulator: &SimulatorHandle) -> BTreeMap<(String, bool), usize> {
    let mut asked = BTreeMap::new();
    for arrival in simulator.arrivals().iter().filter(|arrival| arrival.endpoint == Endpoint::Summary) {
        let query = &arrival.path_and_query;
        let id = query.split("signature=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        *asked.entry((id, query.contains("replicates=True"))).or_default() += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_artifact_of_bisections_equals_the_reference_scripts() {
    let simulator = simulator().await;
    let crawl = crawl(&simulator);
    let summary = crawl.run().await.unwrap();
    assert!(summary.reduction.unwrap().manifest.complete);
    let made = crawl.artifacts();
    for name in SAME_BYTES {
        assert!(made[*name] == golden(name), "{name} differs from the reference");
    }
    for name in
        ["per_sig_perf_data_summary.jsonl", "per_sig_perf_data_replicates.jsonl", "per_revision_perf_data.jsonl"]
    {
        same_rows(&made, name);
    }
    let asked = summaries_asked(&simulator);
    assert!(asked.values().all(|num| *num == 1), "{asked:?}");
    simulator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_corrected_semantics_count_what_they_change() {
    let simulator = simulator().await;
    let mut crawl = crawl(&simulator);
    crawl.config.artifacts.semantics = Semantics::Corrected;
    let manifest = crawl.run().await.unwrap().reduction.unwrap().manifest;
    let (made, count) = (crawl.artifacts(), |name: &str, key: &str| manifest.artifacts[name].counts[key]);
    let name = "per_sig_perf_data_summary.jsonl";
    let (ours, theirs) = (lines(&made[name]), lines(&golden(name)));
    assert_eq!(theirs.len() - ours.len(), 3);
    assert_eq!(count(name, "signatures_of_another_repository"), 3);
    let kept = |rows: &[Value]| -> u64 {
        rows.iter().map(|row| row["filter_stats"]["kept_measurements"].as_u64().unwrap()).sum()
    };
    assert_eq!((kept(&theirs), kept(&ours)), (368, 268));
    assert_eq!(count(name, "rows_outside_the_window_by_push"), 100);
    assert_eq!(count("per_sig_perf_data_replicates.jsonl", "rows_outside_the_window_by_push"), 232);
    assert_eq!(lines(&made["per_sig_perf_data_info.jsonl"]).len(), ours.len());

    let name = "perf_bisect_regressions_eval.jsonl";
    assert_eq!(
        made["alert_summary_fail_perf_sigs_no_fw_2_6_18.csv"],
        golden("alert_summary_fail_perf_sigs_no_fw_2_6_18.csv")
    );
    assert_eq!(count(name, "candidates_counted_otherwise"), 13);
    simulator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_defect_of_an_input_costs_only_the_artifacts_that_need_it() {
    let simulator = simulator().await;
    let mut crawl = crawl(&simulator);
    let regressions = ["perf_bisect_regressions_eval.jsonl", "perf_bisect_regressions_final_test.jsonl"];
    let whole = crawl.config.inputs.clone();
    crawl.config.inputs.eval_predictions = Some(crawl.folder.path().join("nowhere.json"));
    let reduction = crawl.run().await.unwrap().reduction.unwrap();
    assert!(!reduction.complete && !reduction.manifest.complete);
    assert_eq!(reduction.refused.keys().map(|artifact| artifact.file_name()).collect::<Vec<_>>(), regressions);
    let reason = |name: &str| reduction.manifest.not_made[name].reason.clone().unwrap();
    assert!(regressions.iter().all(|name| reason(name).contains("nowhere.json")), "{}", reason(regressions[0]));
    assert!(!crawl.artifacts().contains_key(regressions[0]));
    assert!(crawl.artifacts().contains_key("per_sig_perf_data_summary.jsonl"));

    // Commits without parents, as of pushes.
    crawl.config.inputs = whole.clone();
    let commits = crawl.folder.path().join("pushes.jsonl");
    let orphans: String = lines(&std::fs::read(whole.commits.as_ref().unwrap()).unwrap())
        .into_iter()
        .map(|mut commit| {
            commit["parents"] = serde_json::json!([]);
            format!("{commit}\n")
        })
        .collect();
    crate::support::tamper::put(&commits, orphans.as_bytes());
    crawl.config.inputs.commits = Some(commits);
    let reduction = crawl.run().await.unwrap().reduction.unwrap();
    let reason = reduction.refused.values().next().unwrap();
    assert!(reason.contains("perfharvest commits --from clone"), "{reason}");

    crawl.config.inputs = whole;
    let reduction = crawl.run().await.unwrap().reduction.unwrap();
    assert!(reduction.complete && reduction.refused.is_empty());
    assert_eq!(crawl.artifacts()[regressions[0]], golden(regressions[0]));
    simulator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_exactly_how_many_requests_for_data_a_run_makes() {
    let simulator = simulator().await;
    let crawl = crawl(&simulator);
    let (url, folder, store) = (simulator.url(), crawl.folder.path().to_owned(), crawl.config.store.path.clone());
    let commits = format!("inputs.commits={}", crawl.config.inputs.commits.as_ref().unwrap().display());
    let planned = tokio::task::spawn_blocking(move || {
        let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        program.current_dir(folder).args(["plan", "--json", "-q", "--base-url", &url]);
        for setting in ["scope.signatures=alerted", "scope.replicates=true", "window.alerts_lookback=7300d"] {
            program.args(["--set", setting]);
        }
        program.args(["--set", &commits]);
        program.args(["--start", "2026-07-15", "--end", "2026-11-08T00:00:00Z", "--data-end", "2026-11-26"]);
        let output = program.arg("--store").arg(store).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    let planned = planned.await.unwrap();
    let before = simulator.served().total();
    crawl.run().await.unwrap();
    // The number of jobs is an estimate, which all fit into one request, and those of the busiest revision into another.
    let (exact, about): (Vec<_>, Vec<_>) =
        planned["kinds"].as_array().unwrap().iter().partition(|kind| kind["is_exact"] == true);
    assert_eq!(about.iter().map(|kind| &kind["kind"]).collect::<Vec<_>>(), ["job_details"]);
    let of_data: u64 = exact.iter().map(|kind| kind["requests"].as_u64().unwrap()).sum();
    assert_eq!(planned["requests"].as_u64(), Some(simulator.served().total() - before), "{planned}");
    let asked = summaries_asked(&simulator);
    assert_eq!(of_data, asked.len() as u64, "{planned}");
    assert!(asked.values().all(|num| *num == 1), "{asked:?}");
    simulator.shutdown().await.unwrap();
}
