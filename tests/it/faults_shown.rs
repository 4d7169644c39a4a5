//! Text from the server is escaped in the terminal and in logs. Also: lists that shift while they are read.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use treeherder_sim::{AlertChange, Behaviour, Endpoint, ScriptedReply};

use crate::faults::calm;
use crate::support::{Crawl, assert_same_artifacts, corpus, recordings, simulator};

/// Clears the screen, sets the title, rings, turns the text round: by escapes, by C1 and by other controls.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\u{8}\u{202e}\u{2028}";

fn assert_clean(output: &Output) {
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = std::str::from_utf8(bytes).unwrap();
        let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{202e}');
        if let Some(at) = text.find(bad) {
            let from = text[..at].rfind('\n').map_or(0, |at| at + 1);
            panic!("{name} has a raw control character in {:?}", text[from..].lines().next());
        }
    }
}

/// The real program, on the corpus.
pub(crate) async fn perfharvest(command: &str, base_url: &str, folder: &Path, more: &[&str]) -> Output {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_perfharvest"));
    program.arg(command).arg("--store").arg(folder.join("store")).args(["--set", "limiter.adaptive=false"]);
    if matches!(command, "run" | "crawl") {
        program.args(["--base-url", base_url, "--repository", "autoland", "--no-progress"]);
        program.arg("--commits").arg(corpus().join("input/all_commits.jsonl"));
        program.args(["--start", "2026-07-01T00:00:00Z", "--end", "2026-11-05T00:00:00Z"]);
        program.args(["--data-end", "2026-11-22T08:00:00Z", "--requests-per-second", "100000"]);
    }
    if command == "run" {
        program.arg("--out").arg(folder.join("out")).args(["--semantics", "reference"]);
    }
    for text in ["limiter.burst=1000", "retry.initial_delay=\"1ms\"", "retry.max_delay=\"2ms\""] {
        program.args(["--set", text]);
    }
    program.args(more).current_dir(folder);
    tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap()
}

/// The signature list with control characters in every name.
fn nasty_signatures() -> Vec<u8> {
    let text = std::fs::read(recordings().join("signatures_autoland.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&text).unwrap();
    let mut list = recorded.get("body").cloned().unwrap_or(recorded);
    if let Value::String(text) = &list {
        list = serde_json::from_str(text).unwrap();
    }
    for record in list.as_object_mut().unwrap().values_mut() {
        for name in ["suite", "test", "application", "machine_platform"] {
            record[name] = Value::from(format!("{NASTY}{}", record[name].as_str().unwrap_or_default()));
        }
    }
    serde_json::to_vec(&list).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_characters_reach_neither_the_terminal_nor_a_log_line() {
    let paths = &calm().await.summaries;
    let in_json = Value::from(NASTY).to_string();
    for format in [&["--log-format", "text", "-vv"][..], &["--log-format", "json", "-v"]] {
        let simulator = simulator(Behaviour::default()).await;
        simulator.script(ScriptedReply::body(nasty_signatures()).at(Endpoint::Signatures));
        let replies = [
            ScriptedReply::status(400).with_body(format!("{{\"detail\": \"{NASTY}\"}}")),
            ScriptedReply::status(501).with_body(NASTY),
            ScriptedReply::body(format!("[{{\"signature_id\": {in_json}}}]")),
            ScriptedReply::body(format!("[{{\"signature_id\": {NASTY}")),
            ScriptedReply::body(format!("{{\"{NASTY}\": 1}}")),
            ScriptedReply::body("").header("content-type", "text/\u{9b}31m"),
        ];
        for (reply, path) in replies.into_iter().zip(paths.iter().step_by(20)) {
            let fragment = &path[path.find("signature=").unwrap()..];
            simulator.script(reply.containing(fragment).times(1_000_000));
        }
        let folder = tempfile::tempdir().unwrap();
        let run = perfharvest("run", &simulator.url(), folder.path(), format).await;
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(3), "{said}");
        assert!(
            said.contains("request failed; the next run will retry it") && said.contains("perfharvest failures"),
            "{said}"
        );
        assert_clean(&run);
        for (command, more) in [("failures", &[][..]), ("failures", &["--json"]), ("status", &[])] {
            let listed = perfharvest(command, &simulator.url(), folder.path(), more).await;
            assert!(listed.stdout.len() > 100 && listed.stderr.is_empty());
            assert_clean(&listed);
            if command == "failures" {
                assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 6);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_run_with_a_failed_request_says_so_in_one_line_with_the_command_that_lists_it() {
    let fragment = &calm().await.summaries[0];
    let simulator = simulator(Behaviour::default()).await;
    let fragment = &fragment[fragment.find("signature=").unwrap()..];
    simulator.script(ScriptedReply::status(400).containing(fragment).times(1_000_000));
    let folder = tempfile::tempdir().unwrap();
    for command in ["run", "crawl"] {
        let run = perfharvest(command, &simulator.url(), folder.path(), &["-q"]).await;
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!((run.status.code(), said.lines().count()), (Some(3), 1), "{said}");
        let list = format!("`perfharvest failures --store {}`", folder.path().join("store").display());
        assert!(said.contains("1 request failed") && said.contains(&list), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fatal_error_is_shown_without_control_characters() {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::status(429).header("retry-after", "86400").with_body(NASTY).at(Endpoint::Summary));
    let folder = tempfile::tempdir().unwrap();
    let run = perfharvest("run", &simulator.url(), folder.path(), &[]).await;
    assert_eq!(run.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&run.stderr).contains("limiter.max_retry_after"));
    assert_clean(&run);
}

/// An alert summary that is newer than all others.
pub(crate) fn new_summary(id: u64) -> String {
    let text = std::fs::read_to_string(recordings().join("alertsummary_limit100.jsonl")).unwrap();
    let recorded: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut page = recorded["body"].clone();
    if let Value::String(text) = &page {
        page = serde_json::from_str(text).unwrap();
    }
    let mut record = page["results"][0].clone();
    record["id"] = Value::from(id);
    record["created"] = Value::from("2026-11-21T12:00:00");
    record.to_string()
}

/// Reads the alerts in pages of 5 while `changes` happen, each after that many pages. Returns the result, and the
/// result with all changes made in advance.
async fn shifted_and_still(changes: &[(u64, AlertChange)]) {
    let mut made = Vec::new();
    for still in [false, true] {
        let simulator = simulator(Behaviour::default()).await;
        for (after, change) in changes {
            simulator.after(if still { 0 } else { *after }, change.clone()).unwrap();
        }
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.batch.alert_page = 5.try_into().unwrap();
        crawl.config.concurrency.alerts = 1.try_into().unwrap();
        let summary = crawl.run().await.unwrap();
        assert!(summary.reduction.unwrap().manifest.complete);
        let mut artifacts = crawl.artifacts();
        artifacts.remove("manifest.json"); // it digests the pages, and they were others
        made.push(artifacts);
        let asked = simulator.served().of(Endpoint::AlertSummary);
        assert!(if still { asked <= 17 } else { asked > 17 }, "{asked} pages were read, still: {still}");
    }
    assert_same_artifacts(&made[0], &made[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alert_pages_that_shift_double_nothing_and_lose_nothing() {
    let calm = &calm().await.artifacts["alert_summaries.csv"];
    let ids: Vec<u64> =
        csv::Reader::from_reader(calm.as_slice()).records().map(|row| row.unwrap()[0].parse().unwrap()).collect();
    assert!(ids.len() > 30);
    let (create, leave) = (|id| AlertChange::Create(new_summary(id)), AlertChange::Leave);
    shifted_and_still(&[(3, create(99_001))]).await;
    shifted_and_still(&[(3, leave(ids[1]))]).await;
    // Counts and page 1 stay the same while a row on page 4 becomes one on page 3, which was read before.
    let old = new_summary(99_003).replace("2026-11-21T12:00:00", "2026-01-01T12:00:00");
    shifted_and_still(&[(3, leave(ids[7])), (3, AlertChange::Create(old))]).await;
    shifted_and_still(&[(2, create(99_001)), (4, leave(ids[20])), (6, create(99_002)), (14, leave(ids[2]))]).await;
}
