//! `verify` compares a folder of outputs with its manifest and with the store that should have made it.

use std::path::Path;

use treeherder_sim::Behaviour;

use crate::support::tamper::put;
use crate::support::{Crawl, artifacts_in, assert_same_artifacts, simulator};

fn perfharvest(crawl: &Crawl, out: &Path, args: &[&str]) -> (i32, String) {
    let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    program.current_dir(crawl.folder.path()).args(args);
    let output = program.arg("--store").arg(&crawl.config.store.path).arg("--out").arg(out).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn verify(crawl: &Crawl, out: &Path, more: &[&str]) -> (i32, String) {
    perfharvest(crawl, out, &[&["verify"], more].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_another_store_is_reported_and_left_alone() {
    let simulator = simulator(Behaviour::default()).await;
    let (first, second) = (Crawl::of(&simulator.url()), Crawl::of(&simulator.url()));
    first.run().await.unwrap();
    second.run().await.unwrap();
    let theirs = &second.config.artifacts.out;
    let before = artifacts_in(theirs);
    put(&theirs.join("sig_groups.jsonl"), b"edited");
    for more in [&[][..], &["--repair"]] {
        let (code, said) = verify(&first, theirs, more);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("needs you: ") && said.contains("the dataset of another store"), "{said}");
        assert_eq!(std::fs::read(theirs.join("sig_groups.jsonl")).unwrap(), b"edited");
    }
    put(&theirs.join("sig_groups.jsonl"), &before["sig_groups.jsonl"]);
    assert_eq!(verify(&second, theirs, &[]).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_other_origin_among_the_outputs_is_reported_and_kept() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.inputs.commits = None;
    crawl.run().await.unwrap();
    let out = &crawl.config.artifacts.out;
    assert_eq!(verify(&crawl, out, &[]).0, 0);
    put(&out.join("perf_jobs_per_revision.csv"), b"of the older scripts");
    put(&out.join("notes.txt"), b"a file with no name of ours");
    for more in [&[][..], &["--repair"]] {
        let (code, said) = verify(&crawl, out, more);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("needs you: ") && said.contains("perf_jobs_per_revision.csv"), "{said}");
        assert!(!said.contains("notes.txt"), "{said}");
        assert_eq!(std::fs::read(out.join("perf_jobs_per_revision.csv")).unwrap(), b"of the older scripts");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_folder_is_named_and_reduce_makes_it() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let nowhere = crawl.folder.path().join("nowhere");
    let (code, said) = verify(&crawl, &nowhere, &[]);
    assert!(
        code == 0 && said.contains("there is no such folder") && said.contains("perfharvest reduce"),
        "{code} {said}"
    );
    assert!(!nowhere.exists(), "verifying makes nothing");
    assert_eq!(perfharvest(&crawl, &nowhere, &["reduce", "alert_summaries"]).0, 0);
    assert!(nowhere.join("alert_summaries.csv").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edited_and_removed_files_are_reported_repaired_and_made_again() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let out = &crawl.config.artifacts.out;
    let before = crawl.artifacts();
    let mut edited = before["sig_groups.jsonl"].clone();
    edited[3] ^= 1;
    put(&out.join("sig_groups.jsonl"), &edited); // of the same length
    put(&out.join("alert_summaries.csv"), b"id\n");
    std::fs::remove_file(out.join("all_signatures.jsonl")).unwrap();
    let (code, said) = verify(&crawl, out, &[]);
    assert_eq!(code, 4, "{said}");
    for (name, why) in [
        ("sig_groups.jsonl", "its content differs from the digest"),
        ("alert_summaries.csv", "its size is 3 bytes"),
        ("all_signatures.jsonl", "missing"),
    ] {
        assert!(said.lines().any(|line| line.contains(name) && line.contains(why)), "{name}: {said}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("needs ")).count(), 3, "{said}");
    assert_eq!(std::fs::read(out.join("sig_groups.jsonl")).unwrap(), edited, "verifying changes nothing");

    let (code, said) = verify(&crawl, out, &["--repair"]);
    assert!(code == 0 && said.contains("perfharvest reduce"), "{code} {said}");
    assert!(!out.join("sig_groups.jsonl").exists() && !out.join("alert_summaries.csv").exists());
    crawl.run().await.unwrap();
    assert_same_artifacts(&before, &crawl.artifacts());
    assert_eq!(verify(&crawl, out, &[]).0, 0);
}
