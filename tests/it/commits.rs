//! `commits --from pushes`, runs that fetch their own commits, and wrong usage.

use std::path::Path;
use std::sync::Arc;

use perfharvest::actor::Shutdown;
use perfharvest::commits::{CommitWindow, CommitsOrder, CommitsSummary, FetchCommitsError, fetch_commits};
use perfharvest::config::CommitsFrom;
use perfharvest::fetch::Pressure;
use perfharvest::model::Timestamp;
use serde_json::Value;
use treeherder_sim::{BackendConfig, Behaviour, Endpoint, GeneratorConfig, ScriptedReply, Simulator, SimulatorConfig};

use crate::support::tamper::put;
use crate::support::{Crawl, simulator};

const NOW: i64 = 1_795_334_400; // 2026-11-22T08:00:00Z

async fn make(crawl: &Crawl, output: &Path, now: i64) -> Result<CommitsSummary, FetchCommitsError> {
    let window = CommitWindow { start: crawl.config.window.start.unwrap(), end: crawl.config.window.end.unwrap() };
    let order = CommitsOrder { from: &CommitsFrom::Pushes, output, window, now: Timestamp::from_secs(now) };
    let pressure = Pressure::start(&crawl.config);
    fetch_commits(order, &Arc::new(crawl.config.clone()), &pressure, &Shutdown::new()).await
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The pushes that the simulator knows, as it lists them.
fn pushes() -> Vec<Value> {
    let text = std::fs::read_to_string(crate::support::recordings().join("push.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_give_every_listed_commit_of_the_window_with_the_time_of_its_push() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let output = crawl.folder.path().join("all_commits.jsonl");
    let made = make(&crawl, &output, NOW).await.unwrap();

    let (start, end) = (crawl.config.window.start.unwrap().as_secs(), crawl.config.window.end.unwrap().as_secs());
    let mut expected = Vec::new();
    for push in pushes().iter().rev() {
        let at = push["push_timestamp"].as_i64().unwrap();
        for commit in push["revisions"].as_array().unwrap().iter().rev() {
            if (start..=end).contains(&at) {
                expected.push((commit["revision"].clone(), at));
            }
        }
    }
    assert!(expected.len() > 50, "{}", expected.len());
    let found: Vec<(Value, i64)> =
        lines(&output).iter().map(|line| (line["node"].clone(), line["date"][0].as_i64().unwrap())).collect();
    assert_eq!(found, expected);
    assert_eq!((made.num_commits, made.num_requests), (expected.len() as u64, 1));

    // Days that are over for good are not asked again.
    let before = std::fs::read(&output).unwrap();
    let again = make(&crawl, &output, NOW).await.unwrap();
    assert_eq!((again.num_requests, again.num_kept_pages, again.changed), (0, 128, false));
    assert_eq!(std::fs::read(&output).unwrap(), before);
    // At noon of the window's last day, that day and the one before are.
    let fresh = make(&crawl, &output, end + 43_200).await.unwrap();
    assert_eq!((fresh.num_requests, fresh.num_kept_pages, fresh.changed), (1, 126, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_killed_among_the_days_goes_on_where_it_was() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let whole = crawl.folder.path().join("whole.jsonl");
    make(&crawl, &whole, NOW).await.unwrap();

    let killed = crawl.folder.path().join("killed.jsonl");
    let program = |fail_point: &str| {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        command.args(["commits", "--from", "pushes", "--base-url", &simulator.url(), "--output"]).arg(&killed);
        command.args(["--start", "2026-07-01", "--end", "2026-11-05", "--requests-per-second", "1000"]);
        command.env("PERFHARVEST_FAIL_POINT", fail_point).current_dir(crawl.folder.path());
        command
    };
    let mut first = program("commits.page_kept:70");
    let first = tokio::task::spawn_blocking(move || first.output().unwrap()).await.unwrap();
    assert!(!first.status.success() && !killed.exists());
    let mut second = program("none:1");
    let second = tokio::task::spawn_blocking(move || second.output().unwrap()).await.unwrap();
    assert!(second.status.success(), "{second:?}");
    assert_eq!(std::fs::read(&killed).unwrap(), std::fs::read(&whole).unwrap());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("1 request; 70 pages were already fetched"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_pushes_than_a_reply_holds_are_asked_in_pages_of_a_thousand() {
    let (start, day) = (1_782_864_000, 86_400);
    let pushes = 3500;
    let generated = GeneratorConfig { pushes, start, end: start + day, signatures: 3, ..GeneratorConfig::default() };
    let backend = BackendConfig::Generated(generated);
    let config = SimulatorConfig { backend, ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.end = Some(Timestamp::from_secs(start + day));
    let output = crawl.folder.path().join("all_commits.jsonl");
    let made = make(&crawl, &output, start + 9 * day).await.unwrap();
    let commits = lines(&output);
    let times: std::collections::BTreeSet<i64> =
        commits.iter().map(|commit| commit["date"][0].as_i64().unwrap()).collect();
    assert_eq!(times.len(), pushes, "every push has a second of its own");
    assert!(commits.is_sorted_by_key(|commit| commit["date"][0].as_i64()));
    assert_eq!(made.num_requests, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_of_one_second_at_the_end_of_a_full_reply_are_all_there() {
    let simulator = simulator(Behaviour::default()).await;
    let (noon, day) = (1_782_907_200, 86_400);
    let push = |id: usize, at: i64| {
        let node = format!("{id:040x}");
        serde_json::json!({"id": id, "revision": node, "revisions": [{"revision": node, "comments": "", "author": "a"}],
                           "revision_count": 1, "push_timestamp": at, "author": "a", "repository_id": 77})
    };
    let body = |pushes: Vec<Value>| serde_json::json!({"meta": {}, "results": pushes}).to_string();
    // The newest thousand end among the five pushes of noon.
    let newest = (0..998).map(|n| push(9000 - n, noon + 100 + i64::try_from(998 - n).unwrap()));
    let full = newest.chain([push(7, noon), push(4, noon)]).collect();
    let rest = [4, 7, 6, 5, 3].map(|id| push(id, noon)).into_iter().chain([push(2, noon - day)]).collect();
    simulator.script(ScriptedReply::body(body(full)).at(Endpoint::Push));
    let ends_with_noon = format!("push_timestamp__lt={}", noon + 1);
    simulator.script(ScriptedReply::body(body(rest)).at(Endpoint::Push).containing(&ends_with_noon));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.start = Some("2026-06-30T00:00:00Z".parse().unwrap());
    crawl.config.window.end = Some("2026-07-01T23:00:00Z".parse().unwrap());
    let output = crawl.folder.path().join("all_commits.jsonl");
    let made = make(&crawl, &output, NOW).await.unwrap();
    assert_eq!((made.num_commits, made.num_requests), (1004, 2));
    let nodes: Vec<Value> = lines(&output).iter().map(|line| line["node"].clone()).collect();
    assert_eq!(nodes[..6], [2, 3, 4, 5, 6, 7].map(|id: u64| Value::from(format!("{id:040x}"))));

    let crowd = (0..1000).map(|n| push(n + 1, noon)).collect::<Vec<_>>();
    simulator.script(ScriptedReply::body(body(crowd.clone())).at(Endpoint::Push));
    simulator.script(ScriptedReply::body(body(crowd)).at(Endpoint::Push));
    let error = make(&crawl, &crawl.folder.path().join("other.jsonl"), NOW).await.unwrap_err();
    assert!(matches!(error, FetchCommitsError::CrowdedSecond { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_treeherder_does_not_list_are_counted_and_errors_pass() {
    let simulator = simulator(Behaviour::default()).await;
    let push = |count: usize| {
        let hash = |n: usize| format!("{n:040x}");
        let listed: Vec<Value> = (0..count.min(20))
            .map(|n| serde_json::json!({"revision": hash(n), "comments": "\u{1b}[31m", "author": "a"}))
            .collect();
        serde_json::json!({"id": 5, "revision": hash(0), "revisions": listed, "revision_count": count,
                           "push_timestamp": 1_782_864_005, "author": "a", "branch": null, "repository_id": 77})
    };
    let body = serde_json::json!({"meta": {}, "results": [push(33)]}).to_string();
    let day = "push_timestamp__gte=1782864000";
    simulator.script(ScriptedReply::status(502).at(Endpoint::Push).containing(day));
    simulator.script(ScriptedReply::cut(9000, "{\"meta\"").at(Endpoint::Push).containing(day));
    simulator.script(ScriptedReply::body(body).at(Endpoint::Push).containing(day));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.window.end = Some("2026-07-01T12:00:00Z".parse().unwrap());
    let output = crawl.folder.path().join("all_commits.jsonl");
    let made = make(&crawl, &output, NOW).await.unwrap();
    assert_eq!((made.num_commits, made.num_unlisted, made.num_requests), (20, 13, 3));
    assert!(!std::fs::read(&output).unwrap().contains(&0x1b));

    simulator.script(ScriptedReply::status(403).at(Endpoint::Push));
    let error = make(&crawl, &crawl.folder.path().join("other.jsonl"), NOW).await.unwrap_err();
    assert_eq!(error.exit_code(), 5, "{error}");
    crawl.config.source.repository = "nowhere".to_owned();
    let error = make(&crawl, &crawl.folder.path().join("other.jsonl"), NOW).await.unwrap_err();
    assert!(error.exit_code() == 5 && error.to_string().contains("source.repository"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_makes_its_commits_itself_once_and_then_asks_for_nothing() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.inputs.commits = None;
    crawl.config.inputs.commits_from = Some(CommitsFrom::Pushes);
    crawl.run().await.unwrap();
    let made = crawl.config.store.path.join("all_commits.jsonl");
    assert!(lines(&made).len() > 50);
    let before = crawl.artifacts();
    assert!(before.contains_key("perf_jobs_per_revision.csv"));

    let asked = simulator.served().total();
    crawl.run().await.unwrap();
    assert_eq!(simulator.served().total(), asked, "nothing is left to ask");
    assert_eq!(crawl.artifacts(), before);

    // A file that was damaged since is made again, of the pages that are kept.
    let mut file = std::fs::OpenOptions::new().append(true).open(&made).unwrap();
    std::io::Write::write_all(&mut file, b"{\"node\": \"ha").unwrap();
    drop(file);
    crawl.run().await.unwrap();
    assert_eq!(crawl.artifacts(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_leaves_a_file_alone_that_it_has_not_made() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let own = crawl.folder.path().join("mine.jsonl");
    let text = format!("{{\"node\": \"{}\", \"date\": [1782864005, 0]}}\n", "ab".repeat(20));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&own).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    crawl.config.inputs.commits = Some(own.clone());
    crawl.config.inputs.commits_from = Some(CommitsFrom::Pushes);
    crawl.run().await.unwrap();
    assert_eq!(std::fs::read_to_string(&own).unwrap(), text);
    assert!(!simulator.arrivals().iter().any(|arrival| arrival.endpoint == Endpoint::Push));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_cannot_be_had_end_a_run_before_it_asks_for_anything_else() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.inputs.commits = None;
    crawl.config.inputs.commits_from = Some(CommitsFrom::Clone(crawl.folder.path().join("nowhere")));
    let error = crawl.run().await.unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("is not a clone"), "{error}");
    assert_eq!(simulator.served().total(), 0);
}

#[test]
fn wrong_uses_are_exit_2_and_name_the_three_sources() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["commits"], "--from pushes"),
        (&["commits", "--from", "hg"], "clone:DIR"),
        (&["commits", "--from", "clone:-none"], "is not a clone"),
        (&["commits", "--from", "pushes", "--output", "."], "is a folder and cannot be replaced"),
        (
            &["commits", "--from", "pushes", "--base-url", "http://127.0.0.1:9", "--output", "no/such/file"],
            "no/such/file",
        ),
        (&["run"], "commits --from hgweb:"),
    ];
    for (arguments, words) in cases {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_not_made_here_or_was_edited_is_not_overwritten() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let output = crawl.folder.path().join("all_commits.jsonl");
    put(&output, b"mine");
    let refused = make(&crawl, &output, NOW).await.unwrap_err();
    assert!(refused.exit_code() == 2 && refused.to_string().contains("all_commits.jsonl"), "{refused}");
    assert_eq!((std::fs::read(&output).unwrap(), simulator.served().total()), (b"mine".to_vec(), 0));
    assert_eq!(std::fs::read_dir(crawl.folder.path()).unwrap().count(), 1, "nothing is left beside it");

    std::fs::remove_file(&output).unwrap();
    make(&crawl, &output, NOW).await.unwrap();
    make(&crawl, &output, NOW + 86_400).await.unwrap();
    put(&output, b"edited");
    assert!(matches!(make(&crawl, &output, NOW).await, Err(FetchCommitsError::NotOurs { .. })));
}
