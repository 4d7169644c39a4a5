//! The options of a run: samples, dry runs, exclusions, redaction, relabelling.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::dataset::ArtifactFile;
use perfharvest::dataset::relabel_with_store;
use perfharvest::model::{FrameworkId, Kind};
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, RunOptions};
use perfharvest::store::Store;
use serde_json::Value;
use treeherder_sim::Behaviour;

use crate::support::tamper::copy;
use crate::support::{Crawl, artifacts_in, assert_same_artifacts, corpus, simulator};

fn lines(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_drawn_by_its_seed_and_never_mixes_with_a_full_crawl() {
    let simulator = simulator(Behaviour::default()).await;
    let mut drawn = Vec::new();
    for seed in [7, 7, 8] {
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.sample.signatures = Some(12.try_into().unwrap());
        crawl.config.sample.seed = seed;
        let summary = crawl.run().await.unwrap();
        assert_eq!(summary.crawl.counts.of(Kind::Summaries).settled(), 12);
        let manifest: Value = serde_json::from_slice(&crawl.artifacts()["manifest.json"]).unwrap();
        assert_eq!(
            (&manifest["crawl"]["sample_signatures"], &manifest["crawl"]["sample_seed"]),
            (&12.into(), &seed.into())
        );
        let data = lines(&crawl.artifacts()["perf_jobs_by_signature.jsonl"]);
        drawn.push(data.iter().map(|line| line["signature_id"].as_u64().unwrap()).collect::<Vec<_>>());

        crawl.config.sample.signatures = None;
        let error = crawl.run().await.unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("stored 12, asked all"), "{error}");
    }
    assert_eq!(drawn[0].len(), 12);
    assert_eq!(drawn[0], drawn[1]);
    assert_ne!(drawn[0], drawn[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_fetches_ten_job_details_and_the_next_run_the_rest() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let (_keep, live) = pipeline::fixed_config(crawl.config.clone());
    let options = RunOptions { dry_run: true, ..RunOptions::default() };
    let counters = Arc::new(Counters::default());
    let dry = pipeline::run(live, options, &[], &Shutdown::new(), counters).await.unwrap();
    assert_eq!(dry.crawl.counts.of(Kind::JobDetails).settled(), 10);
    assert!(dry.crawl.counts.of(Kind::JobDetails).pending > 100);
    assert!(!dry.reduction.unwrap().manifest.complete);

    let whole = crawl.run().await.unwrap();
    assert_eq!(whole.crawl.counts.pending(), 0);
    let golden = std::fs::read(corpus().join("golden/job_durations.csv")).unwrap();
    assert_eq!(crawl.artifacts()["job_durations.csv"], golden);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_mode_refuses_signatures_without_a_group_and_leaves_the_artifacts_alone() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.strict = true;
    let error = crawl.run().await.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(crawl.artifacts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn excluded_frameworks_and_fields_and_redaction_reach_the_artifacts() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = crawl.artifacts();
    let has_addresses = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("@example.");
    assert!(has_addresses(&before["alert_summaries.csv"]));

    crawl.config.artifacts.excluded_framework_ids = Vec::new();
    crawl.config.artifacts.exclude_fields = vec!["id".into(), "suite".into()];
    crawl.config.artifacts.redact_emails = true;
    crawl.run().await.unwrap();
    let after = crawl.artifacts();
    assert!(!has_addresses(&after["alert_summaries.csv"]));
    let features = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
        lines(&files["sigs_by_job_id_detailed.jsonl"])
            .iter()
            .any(|line| line["common_sig_features"].as_array().unwrap().contains(&"suite".into()))
    };
    assert!(features(&before) && !features(&after));
    let total = |files: &std::collections::BTreeMap<String, Vec<u8>>| -> u64 {
        lines(&files["perf_jobs_per_revision_details_rectified.jsonl"])
            .iter()
            .map(|line| line["total_jobs"].as_u64().unwrap())
            .sum()
    };
    assert!(total(&after) > total(&before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relabelling_any_file_heeds_its_limit_and_its_frameworks() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let input = corpus().join("input/perf_llm_struc.jsonl");
    let relabel = |excluded: &[u64], limit| {
        let excluded: BTreeSet<FrameworkId> = excluded.iter().copied().map(FrameworkId).collect();
        let mut output = ArtifactFile::create(crawl.folder.path(), "relabelled.jsonl").unwrap();
        let report = relabel_with_store(&store, (&excluded, Semantics::Corrected), &input, limit, &mut output).unwrap();
        perfharvest::dataset::publish(crawl.folder.path(), vec![output.finish().unwrap()]).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        let flipped = report["relabel"]["regressor_flipped_to_clean"].as_u64().unwrap_or_default();
        (flipped, lines(&std::fs::read(crawl.folder.path().join("relabelled.jsonl")).unwrap()).len())
    };
    assert_eq!(relabel(&[2, 6, 18], None), (6, 56));
    assert_eq!(relabel(&[], None), (0, 56));
    assert_eq!(relabel(&[2, 6, 18], NonZeroU64::new(5)).1, 5);
}

/// `datasets/sample` is there to look at before a crawl; `PERFHARVEST_BLESS=1` writes it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_dataset_is_what_a_run_of_twelve_signatures_makes() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.sample.signatures = Some(12.try_into().unwrap());
    crawl.config.sample.seed = 1;
    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl.run().await.unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample");
    if std::env::var_os("PERFHARVEST_BLESS").is_some() {
        copy(&crawl.config.artifacts.out, &sample);
    }
    assert_same_artifacts(&artifacts_in(&sample), &crawl.artifacts());
}

#[test]
fn config_checks_a_file_and_says_where_it_created_one() {
    let folder = tempfile::tempdir().unwrap();
    let said = |args: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_perfharvest"));
        let output = program.args(args).current_dir(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = said(&["config", "init", "my.toml"]);
    assert!(code == Some(0) && text.contains("my.toml"), "{text}");
    assert_eq!(said(&["config", "check", "-c", "my.toml"]), (Some(0), "my.toml: OK\n".to_owned()));
}
