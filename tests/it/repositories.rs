//! Several repositories: each has a store and a dataset of its own, which are those of a crawl of it alone.

use std::collections::BTreeMap;
use std::path::Path;

use treeherder_sim::Behaviour;

use crate::support::tamper::put;
use crate::support::{Crawl, assert_same_artifacts, corpus, simulator};

const NAMES: [&str; 2] = ["autoland", "mozilla-central"];

fn configuration(url: &str) -> String {
    let commits = corpus().join("input/all_commits.jsonl");
    format!(
        "[source]\nbase_url = \"{url}\"\nrepositories = {NAMES:?}\n[limiter]\nrequests_per_second = 1000000\n\
         [inputs]\ncommits = \"{}\"\n[store]\npath = \"stores\"\n[artifacts]\nout = \"sets\"\n\
         [window]\nstart = \"2026-07-15\"\nend = \"2026-11-08\"\ndata_end = \"2026-11-22T08:00:00Z\"\n",
        commits.display()
    )
}

/// What a command says, on stdout and on stderr.
fn said(folder: &Path, words: &str, code: i32) -> String {
    let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    let done = command.current_dir(folder).args(words.split(' ')).assert().code(code);
    let output = done.get_output();
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

fn artifacts_in(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

fn without_manifest(mut artifacts: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    artifacts.remove("manifest.json").unwrap();
    artifacts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_repository_gets_the_dataset_of_a_crawl_of_it_alone() {
    let simulator = simulator(Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("config.toml"), configuration(&simulator.url()).as_bytes());
    let run = |words: &'static str, code| {
        let folder = folder.path().to_owned();
        async move { tokio::task::spawn_blocking(move || said(&folder, words, code)).await.unwrap() }
    };
    run("run --no-progress", 0).await;
    for name in NAMES {
        let mut alone = Crawl::of(&simulator.url());
        name.clone_into(&mut alone.config.source.repository);
        alone.config.window.start = Some("2026-07-15".parse().unwrap());
        alone.config.window.end = Some("2026-11-08".parse().unwrap());
        alone.config.inputs.perf_llm_struc = None;
        alone.config.artifacts.semantics = perfharvest::config::Semantics::Corrected;
        alone.run().await.unwrap();
        let together = artifacts_in(&folder.path().join("sets").join(name));
        assert_same_artifacts(&without_manifest(alone.artifacts()), &without_manifest(together));
    }
    let asked = simulator.served().total();
    run("run --no-progress", 0).await;
    assert_eq!(simulator.served().total(), asked, "all is stored");

    let status = run("status", 0).await;
    for name in NAMES {
        assert!(status.contains(&format!("{name} from {}", simulator.url())), "{status}");
    }
    let one = run("status --set source.repository=mozilla-central", 0).await;
    assert!(one.contains("mozilla-central from") && !one.contains("autoland"), "{one}");
    assert!(run("report", 2).await.contains("--set source.repository=autoland"));
    assert!(run("report --set source.repository=autoland", 0).await.contains("report.html"));
    let unknown = run("status --set source.repository=try", 2).await;
    assert!(unknown.contains("`try` is not among source.repositories: autoland, mozilla-central"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_the_server_lacks_does_not_keep_the_others_from_their_data() {
    let simulator = simulator(Behaviour::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(&simulator.url()).replace("[\"autoland\"", "[\"autolandd\"");
    put(&folder.path().join("config.toml"), text.as_bytes());
    let path = folder.path().to_owned();
    let told = tokio::task::spawn_blocking(move || said(&path, "run --no-progress", 5)).await.unwrap();
    assert!(told.contains("autolandd"), "{told}");
    assert!(folder.path().join("sets/mozilla-central/manifest.json").is_file());
}
