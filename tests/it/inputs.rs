//! Invalid input ends in a clear error without loss of data.

use std::path::Path;

use perfharvest::config::Semantics;
use treeherder_sim::Behaviour;

use crate::support::{Crawl, corpus, simulator};

async fn refused(change: impl FnOnce(&mut Crawl)) -> (u8, String) {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    change(&mut crawl);
    let error = crawl.run().await.unwrap_err();
    assert_eq!(simulator.served().total(), 0, "nothing is asked before the input is known to be right");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    (error.exit_code(), text)
}

fn put(path: &Path, text: &str) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file.persist(path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_without_a_usable_line_are_exit_2_and_say_what_is_needed() {
    let (code, text) = refused(|crawl| {
        let path = crawl.folder.path().join("commits.jsonl");
        put(&path, "not json\n[]\n{\"node\": \"a\"}\n");
        crawl.config.inputs.commits = Some(path);
    })
    .await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("commits.jsonl") && text.contains("date"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_commits_file_is_exit_2() {
    let (code, text) =
        refused(|crawl| crawl.config.inputs.commits = Some(crawl.folder.path().join("nowhere.jsonl"))).await;
    assert!(code == 2 && text.contains("nowhere.jsonl"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_of_records_is_exit_2_before_the_crawl() {
    let (code, text) =
        refused(|crawl| crawl.config.inputs.perf_llm_struc = Some(crawl.folder.path().join("nowhere.jsonl"))).await;
    assert!(code == 2 && text.contains("nowhere.jsonl"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_record_costs_only_the_artifacts_that_need_it() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let needing = ["perf_llm_struc_no_fw_2_6_18.jsonl", "filter_report.json"];
    let (path, whole) = (crawl.folder.path().join("records.jsonl"), crawl.config.inputs.perf_llm_struc.clone());
    put(&path, "{\"commit_id\": \"a\", \"response\": \"1\"}\n{\"commit_id\": \"torn");
    crawl.config.inputs.perf_llm_struc = Some(path);
    crawl.config.artifacts.semantics = Semantics::Corrected;
    for _ in 0..2 {
        let reduction = crawl.run().await.unwrap().reduction.unwrap();
        assert_eq!(reduction.refused.keys().map(|artifact| artifact.file_name()).collect::<Vec<_>>(), needing);
        assert!(!reduction.complete && !reduction.manifest.complete);
        for name in needing {
            let reason = reduction.manifest.not_made[name].reason.clone().unwrap();
            assert!(reason.contains("records.jsonl") && reason.contains("line 2"), "{reason}");
        }
        let made = crawl.artifacts();
        assert!(needing.iter().all(|name| !made.contains_key(*name)) && made.contains_key("sig_groups.jsonl"));
    }
    // The older scripts leave the records before the line, and no report.
    crawl.config.artifacts.semantics = Semantics::Reference;
    let reduction = crawl.run().await.unwrap().reduction.unwrap();
    assert!(!reduction.complete && !reduction.manifest.complete && reduction.refused.len() == 1);
    assert_eq!(crawl.artifacts()[needing[0]], b"{\"commit_id\": \"a\", \"response\": \"1\"}\n");
    assert_eq!(reduction.manifest.artifacts[needing[0]].counts["ends_before_line"], 2);

    crawl.config.inputs.perf_llm_struc = whole;
    let reduction = crawl.run().await.unwrap().reduction.unwrap();
    assert!(reduction.complete && reduction.manifest.complete && reduction.refused.is_empty());
    assert!(needing.iter().all(|name| crawl.artifacts().contains_key(*name)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_folder_that_cannot_be_written_is_exit_2() {
    let (code, text) = refused(|crawl| {
        let path = crawl.folder.path().join("out");
        put(&path, "a file");
        crawl.config.artifacts.out = path;
    })
    .await;
    assert!(code == 2 && text.contains("choose another folder"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_crawl_in_the_store_is_exit_2_with_both_shown() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = crawl.artifacts();
    crawl.config.source.repository = "mozilla-central".to_owned();
    let error = crawl.run().await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit_code(), 2);
    assert!(text.contains("stored autoland, asked mozilla-central"), "{text}");
    assert_eq!(before, crawl.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_use_is_exit_4_and_says_so() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let held = perfharvest::store::Store::open(&crawl.config.store).unwrap();
    let error = crawl.run().await.unwrap_err();
    assert!(error.exit_code() == 4 && error.to_string().contains("in use by another process"), "{error}");
    drop(held);
    crawl.run().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_no_data_can_match_are_refused_before_a_store_or_folder_is_made() {
    let (hash, within) = ("a1".repeat(20), 1_783_000_000);
    for (text, told) in [
        (format!("{{\"node\": \"0123456789ab\", \"date\": [{within}, 0]}}\n"), "40 hex digits"),
        (format!("{{\"node\": \"{hash}\", \"date\": [5, 0]}}\n"), "no commit in the window"),
        (
            format!("{{\"a\": [\n{{}},\n{{\"node\": \"{hash}\", \"date\": [{within}, 0]}}\n]}}"),
            "lines that are not JSON",
        ),
        (format!("node,date\n{hash},{within}\n"), "no usable commit"),
    ] {
        let mut folders = None;
        let (code, said) = refused(|crawl| {
            let path = crawl.folder.path().join("commits.jsonl");
            put(&path, &text);
            crawl.config.inputs.commits = Some(path);
            crawl.config.artifacts.semantics = Semantics::Corrected;
            folders = Some([crawl.config.store.path.clone(), crawl.config.artifacts.out.clone()]);
        })
        .await;
        assert!(code == 2 && said.contains(told) && said.contains("commits.jsonl"), "{code} {said}");
        assert!(folders.unwrap().iter().all(|folder| !folder.exists()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_in_the_future_is_refused() {
    let (code, text) = refused(|crawl| {
        crawl.config.inputs.commits = None;
        crawl.config.window.start = Some("2999-01-01T00:00:00Z".parse().unwrap());
        crawl.config.window.end = None;
        crawl.config.window.data_end = Some("2999-02-01T00:00:00Z".parse().unwrap());
    })
    .await;
    assert!(code == 2 && text.contains("in the future"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_another_repository_are_counted_in_the_manifest() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let whole = crawl.run().await.unwrap().reduction.unwrap().manifest.commits;
    assert!(whole["revisions_with_data_in_file"] > whole["revisions_with_data"] / 2, "{whole:?}");
    let path = crawl.folder.path().join("commits.jsonl");
    put(&path, &format!("{{\"node\": \"{}\", \"date\": [1783000000, 0]}}\n", "a1".repeat(20)));
    crawl.config.inputs.commits = Some(path);
    let other = crawl.run().await.unwrap().reduction.unwrap().manifest.commits;
    assert_eq!((other["in_file"], other["in_window"], other["not_revisions"]), (1, 1, 0));
    assert_eq!((other["revisions_with_data_in_file"], other["revisions_with_data"]), (0, whole["revisions_with_data"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reduce_refuses_a_window_that_its_store_does_not_have() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let reduce = |start: &str| {
        let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        program.current_dir(crawl.folder.path()).args(["reduce", "alert_summaries", "--start", start]);
        program.arg("--store").arg(&crawl.config.store.path).arg("--out").arg(crawl.folder.path().join("again"));
        let output = program.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let stored = crawl.config.window.start.unwrap().to_string();
    assert_eq!(reduce(&stored).0, Some(0));
    let (code, said) = reduce("2026-09-01");
    assert!(code == Some(2) && said.contains("window.start") && said.contains(&stored), "{said}");
}

/// The commits of the corpus with other hashes, as those of a git clone. Those of `kept` lines stay.
fn commits_of_git(kept: usize) -> String {
    let text = std::fs::read_to_string(corpus().join("input/all_commits.jsonl")).unwrap();
    let git = |node: &str| node.chars().rev().collect::<String>();
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let Ok(mut commit) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if let Some(node) = commit["node"].as_str().map(git) {
            commit["node"] = node.into();
            lines.push(commit.to_string());
        }
    }
    lines.extend(text.split('\n').take(kept).map(str::to_owned));
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_another_clone_end_the_crawl_with_its_first_answers() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let right = crawl.config.inputs.commits.clone();
    let path = crawl.folder.path().join("commits.jsonl");
    put(&path, &commits_of_git(0));
    crawl.config.inputs.commits = Some(path.clone());
    crawl.config.artifacts.semantics = Semantics::Corrected;
    for _ in 0..2 {
        let error = crawl.run().await.unwrap_err();
        let text = error.to_string();
        assert!(error.exit_code() == 2 && text.contains("is not of autoland") && text.contains("commits"), "{text}");
        assert!(!crawl.config.artifacts.out.exists());
    }
    let summaries = |it: &treeherder_sim::Arrival| it.path_and_query.contains("performance/summary");
    let asked = simulator.arrivals().iter().filter(|it| summaries(it)).count();
    assert!(asked < 50, "{asked} of 150 signatures");

    crawl.config.inputs.commits = right;
    let summary = crawl.run().await.unwrap();
    assert!(summary.reduction.unwrap().complete, "the crawl goes on with the right file");

    let (before, num_asked) = (crawl.artifacts(), simulator.arrivals().len());
    crawl.config.inputs.commits = Some(path);
    let error = crawl.run().await.unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).map_or_else(String::new, ToString::to_string));
    assert!(error.exit_code() == 2 && text.contains("none of the") && text.contains("revisions with data"), "{text}");
    assert_eq!((before, num_asked), (crawl.artifacts(), simulator.arrivals().len()), "nor is a whole crawl reduced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_that_the_commits_lack_are_counted_and_reference_takes_any_commits() {
    let simulator = simulator(Behaviour::default()).await;
    for (kept, semantics) in [(120, Semantics::Corrected), (0, Semantics::Reference)] {
        let mut crawl = Crawl::of(&simulator.url());
        let path = crawl.folder.path().join("commits.jsonl");
        put(&path, &commits_of_git(kept));
        crawl.config.inputs.commits = Some(path);
        crawl.config.artifacts.semantics = semantics;
        let commits = crawl.run().await.unwrap().reduction.unwrap().manifest.commits;
        let (listed, all) = (commits["revisions_with_data_in_file"], commits["revisions_with_data"]);
        assert!((listed > 0) == (kept > 0) && listed < all, "{commits:?}");
    }
}
