//! Small corpora with unusual replies and input files, each with the output of the reference scripts.
//!
//! A case is a folder of `tests/cases` with `api/` (replies), `input/` (files and options) and `golden/`. A file
//! `deliberate` in it says why the dataset differs on purpose; such a case only has to end in order.

use std::path::{Path, PathBuf};

use pytext::json::AsciiMode;
use pytext::loads::{Document, Kind, Notation, Replaced};
use rstest::rstest;

use crate::case_server::serve;
use crate::golden::{cell, rows, without_tasks};
use crate::support::Crawl;

/// Keys that hold paths of the run, or that depend on how often the scripts were interrupted.
const OF_THE_RUN: &[&str] = &["definition", "detailed_jobs_fetched_this_run", "input_csv", "inputs"];

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case(#[files("tests/cases/*/input/options.json")] options: PathBuf) {
    let folder = options.parent().and_then(Path::parent).unwrap();
    let mut crawl = Crawl::of(&serve(&folder.join("api")).await);
    configure(&mut crawl, folder, &options);
    let code = crawl.run().await.map_or_else(|error| error.exit_code(), |_| 0);
    assert!(matches!(code, 0 | 2 | 3), "{code}");
    if folder.join("deliberate").exists() {
        return;
    }
    let differences = differences(&folder.join("golden"), &crawl.config.artifacts.out);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn configure(crawl: &mut Crawl, folder: &Path, options: &Path) {
    let options: serde_json::Value = serde_json::from_slice(&std::fs::read(options).unwrap()).unwrap();
    let instant = |key: &str| options[key].as_str().unwrap().replace("+00:00", "Z").parse().unwrap();
    let config = &mut crawl.config;
    config.window.start = Some(instant("start"));
    config.window.end = Some(instant("end"));
    config.window.data_end = Some("2026-11-20T00:00:00Z".parse().unwrap());
    config.window.alerts_lookback = std::time::Duration::from_hours(54_000 * 24);
    config.retry.max_attempts = std::num::NonZeroU32::MIN;
    config.inputs.commits = Some(folder.join("input/all_commits.jsonl"));
    config.inputs.perf_llm_struc = Some(folder.join("input/perf_llm_struc.jsonl"));
    config.artifacts.excluded_framework_ids = serde_json::from_value(options["fw"].clone()).unwrap();
    config.artifacts.exclude_fields = serde_json::from_value(options["fields"].clone()).unwrap();
    config.artifacts.strict = options["strict"].as_bool().unwrap();
}

/// The files of `golden` that `made` lacks or has with another meaning.
fn differences(golden: &Path, made: &Path) -> Vec<String> {
    let mut differences = Vec::new();
    for entry in std::fs::read_dir(golden).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let expected = normal(&name, &std::fs::read(golden.join(&name)).unwrap());
        let Ok(found) = std::fs::read(made.join(&name)) else {
            differences.push(format!("{name} is missing"));
            continue;
        };
        let found = normal(&name, &found);
        if found != expected {
            differences.push(format!("{name} differs:\n{}\nexpected:\n{}", found.join("\n"), expected.join("\n")));
        }
    }
    differences
}

/// The rows of an artifact in a form in which equal meaning is equal text.
fn normal(name: &str, bytes: &[u8]) -> Vec<String> {
    let extension = Path::new(name).extension();
    if extension.is_some_and(|is| is == "csv") {
        return rows(bytes).iter().map(|row| normal_row(name, row)).collect();
    }
    let text = std::str::from_utf8(bytes).unwrap();
    let documents = if extension.is_some_and(|is| is == "jsonl") { text.split('\n').collect() } else { vec![text] };
    let written = |text: &&str| {
        let (mut document, mut out) = (Document::default(), Vec::new());
        let value = document.load(text).unwrap();
        let Kind::Object(entries) = value.kind() else { panic!("{name}: {text}") };
        for (key, value) in entries.filter(|(key, _)| key.to_str().is_none_or(|key| !OF_THE_RUN.contains(&key))) {
            key.dumps(&mut out, AsciiMode::Escape, Notation::Python, &mut Replaced::default());
            value.dumps(&mut out, AsciiMode::Escape, Notation::Python, &mut Replaced::default());
        }
        String::from_utf8(out).unwrap()
    };
    documents.iter().filter(|text| !text.trim().is_empty()).map(written).collect()
}

fn normal_row(name: &str, row: &[String]) -> String {
    let mut row: Vec<String> = row.iter().map(|text| without_tasks(&cell(text))).collect();
    if name == "alerts_with_bug_and_test_info.csv" {
        // The reference's order depends on Python's hash seed.
        let inner = row[1].trim_start_matches("[{").trim_end_matches("}]");
        let mut tests: Vec<&str> = inner.split("}, {").collect();
        tests.sort_unstable();
        row[1] = tests.join("}, {");
    }
    row.join("\u{1f}")
}
