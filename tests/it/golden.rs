//! The artifacts of the recorded corpus equal the output of the reference scripts for the same server.

use std::collections::BTreeMap;

use serde_json::Value;
use treeherder_sim::{Behaviour, Latency};

use crate::support::{Crawl, assert_same_artifacts, corpus, simulator};

/// Formats in which every byte is defined; the others are compared by meaning below.
const SAME_BYTES: &[&str] = &[
    "alert_summary_fail_perf_sigs.csv",
    "all_signatures.jsonl",
    "job_durations.csv",
    "job_wait_time_stats.json",
    "max_revision_jobs.jsonl",
    "perf_jobs_per_revision.csv",
    "perf_jobs_per_revision_details.jsonl",
    "perf_jobs_per_revision_details_rectified.jsonl",
    "perf_jobs_stats.json",
    "perf_llm_struc_no_fw_2_6_18.jsonl",
    "sig_group_job_duration_stats.json",
    "sig_group_job_durations.csv",
    "sig_groups.jsonl",
    "sigs_by_job_id.jsonl",
    "sigs_by_job_id_detailed.jsonl",
];

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(corpus().join("golden").join(name)).unwrap()
}

pub(crate) fn rows(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn json_without(bytes: &[u8], keys: &[&str]) -> Value {
    let mut value: Value = serde_json::from_slice(bytes).unwrap();
    for key in keys {
        value.as_object_mut().unwrap().remove(*key);
    }
    value
}

/// A cell as pandas reads it: `1.0` and `1` are one number.
pub(crate) fn cell(text: &str) -> String {
    text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| number.to_string())
}

/// Removes the choice of one of several tasks of a push, which the server makes anew for each page size.
pub(crate) fn without_tasks(literal: &str) -> String {
    let mut kept = String::new();
    let mut rest = literal;
    while let Some(at) = rest.find("taskcluster_metadata': {") {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        rest = &after[after.find('}').unwrap()..];
    }
    kept + rest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_artifact_equals_the_reference_scripts() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let summary = crawl.run().await.unwrap();
    assert!(summary.reduction.unwrap().manifest.complete);
    assert!(summary.crawl.requests_made < 160, "{} requests", summary.crawl.requests_made);
    let made = crawl.artifacts();

    for name in SAME_BYTES {
        let (made, golden) = (&made[*name], golden(name));
        assert!(*made == golden, "{name} differs from the reference");
    }
    data_are_equal_but_for_the_order_of_ties(&made["perf_jobs_by_signature.jsonl"]);
    alert_tables_are_equal(&made);
    let ttc = |bytes: &[u8]| json_without(bytes, &["input_csv"]);
    assert_eq!(ttc(&made["time_to_culprit_stats.json"]), ttc(&golden("time_to_culprit_stats.json")));
    let report = |bytes: &[u8]| json_without(bytes, &["inputs"]);
    assert_eq!(report(&made["filter_report.json"]), report(&golden("filter_report.json")));
    for name in ["job_durations.png", "perf_jobs_per_revision_dist.png"] {
        let png = &made[name];
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && side(16) >= 1200 && side(20) >= 800, "{name}");
    }
    simulator.shutdown().await.unwrap();
}

/// The server leaves data of one push time, push and missing job in no defined order; the dataset sorts them by id.
fn data_are_equal_but_for_the_order_of_ties(made: &[u8]) {
    let parse = |bytes: &[u8]| -> Vec<Value> {
        String::from_utf8(bytes.to_vec()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let key = |datum: &Value| {
        let time = datum["push_timestamp"].as_str().unwrap().to_owned();
        let job = datum["job_id"].as_u64();
        (time, datum["push_id"].as_u64(), job.is_none(), job, datum["id"].as_u64())
    };
    let (made, golden) = (parse(made), parse(&golden("perf_jobs_by_signature.jsonl")));
    assert_eq!(made.len(), golden.len());
    for (made, mut golden) in made.into_iter().zip(golden) {
        let jobs = golden["jobs"].as_array_mut().unwrap();
        jobs.sort_by_key(key);
        assert_eq!(made, golden);
    }
}

fn alert_tables_are_equal(made: &BTreeMap<String, Vec<u8>>) {
    let name = "alert_summaries.csv";
    let (ours, theirs) = (rows(&made[name]), rows(&golden(name)));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let normal = |row: &[String]| row.iter().map(|text| without_tasks(&cell(text))).collect::<Vec<_>>();
        assert_eq!(normal(ours), normal(theirs));
    }
    let name = "alerts_with_bug_and_test_info.csv";
    let (ours, theirs) = (rows(&made[name]), rows(&golden(name)));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let tests = |row: &[String]| {
            // The reference's order depends on Python's hash seed.
            let inner = row[1].trim_start_matches("[{").trim_end_matches("}]");
            let mut tests: Vec<String> = inner.split("}, {").map(str::to_owned).collect();
            tests.sort();
            tests
        };
        assert_eq!(tests(ours), tests(theirs));
        let others = |row: &[String]| [0, 2, 3, 4].map(|at| row[at].clone());
        assert_eq!(others(ours), others(theirs));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_latency_and_jitter_do_not_show_in_any_byte() {
    let (mut made, mut requests) = (Vec::new(), Vec::new());
    for (concurrency, workers, seed, latency) in [(1, 1, 1, Latency::None), (16, 3, 2, "1ms..9ms".parse().unwrap())] {
        let simulator = simulator(Behaviour { latency, seed, ..Behaviour::default() }).await;
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.concurrency.summaries = concurrency.try_into().unwrap();
        crawl.config.reduce.workers = workers;
        crawl.config.reduce.memory_bytes = (if workers == 1 { 1 << 30 } else { 1 << 16 }).try_into().unwrap();
        let summary = crawl.run().await.unwrap();
        requests.push(summary.reduction.unwrap().manifest.run.requests_made);
        made.push(crawl.artifacts());
        simulator.shutdown().await.unwrap();
    }
    assert_same_artifacts(&made[0], &made[1]);
    assert_eq!(requests[0], requests[1]);
}
