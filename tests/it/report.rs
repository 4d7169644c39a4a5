//! The content and markup of the report, for complete and incomplete crawls.

use std::collections::BTreeMap;
use std::process::Output;

use base64::Engine as _;
use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::dataset::DatasetError;
use perfharvest::pipeline::{self, RunOptions};
use perfharvest::report::{Report, make_report};
use perfharvest::store::Store;
use serde_json::Value;
use sha2::Digest as _;
use treeherder_sim::{Behaviour, Endpoint, ScriptedReply};

use crate::support::tamper::put;
use crate::support::{Crawl, HOSTILE, assert_same_artifacts, hostile_simulator, simulator};

fn report(crawl: &Crawl) -> Report {
    let store = Store::open_existing(&crawl.config.store).unwrap();
    make_report(&store, &crawl.config, crawl.folder.path(), &Shutdown::new()).unwrap()
}

/// The real program on the stored crawl.
fn call(crawl: &Crawl, arguments: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("perfharvest")
        .unwrap()
        .current_dir(crawl.folder.path())
        .args(arguments)
        .arg("--store")
        .arg(&crawl.config.store.path)
        .arg("--out")
        .arg(&crawl.config.artifacts.out)
        .arg("--commits")
        .arg(crawl.config.inputs.commits.as_ref().unwrap())
        .output()
        .unwrap()
}

/// The text between two others, for each occurrence of the first.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).map(|rest| rest.split(to).next().unwrap()).collect()
}

/// The exact numbers of a table of statistics, by name.
fn statistics(html: &str, heading: &str) -> BTreeMap<String, f64> {
    let table = between(html, &format!("<caption>Statistics: {heading}</caption>"), "</table>")[0];
    let rows = between(table, "<tr>", "</tr>").into_iter().filter(|row| row.contains("title="));
    rows.map(|row| {
        let name = between(row, "<th scope=\"row\">", "</th>")[0];
        (name.to_owned(), between(row, "title=\"", "\"")[0].parse().unwrap())
    })
    .collect()
}

fn json(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

fn lines(files: &BTreeMap<String, Vec<u8>>, name: &str) -> usize {
    std::str::from_utf8(&files[name]).unwrap().lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_those_of_the_artifacts_in_either_semantics() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    for semantics in [Semantics::Reference, Semantics::Corrected] {
        crawl.config.artifacts.semantics = semantics;
        crawl.run().await.unwrap();
        let files = crawl.artifacts();
        let Report { html, complete } = report(&crawl);
        assert!(complete && html.contains("<strong>Complete.</strong>"));
        for (heading, name, pointers) in [
            (
                "Signatures per revision",
                "perf_jobs_stats.json",
                [("mean", "/mean_jobs"), ("median", "/median_jobs"), ("95th percentile", "/percentiles/95")],
            ),
            (
                "Job durations (minutes)",
                "sig_group_job_duration_stats.json",
                [("mean", "/mean"), ("min", "/min"), ("99th percentile", "/percentiles/99")],
            ),
            (
                "Job wait times (minutes)",
                "job_wait_time_stats.json",
                [("mean", "/minutes/mean"), ("max", "/minutes/max"), ("observations", "/observations")],
            ),
            (
                "Time to culprit (hours)",
                "time_to_culprit_stats.json",
                [
                    ("mean", "/stats/mean_hours"),
                    ("observations", "/stats/count"),
                    ("95th percentile", "/stats/p95_hours"),
                ],
            ),
        ] {
            let (shown, document) = (statistics(&html, heading), json(&files, name));
            for (statistic, pointer) in pointers {
                let expected = document.pointer(pointer).and_then(Value::as_f64);
                assert_eq!(shown.get(statistic).copied(), expected, "{statistic} of {name}");
            }
        }
        let of_groups = statistics(&html, "Signatures per group");
        #[expect(clippy::cast_precision_loss, reason = "a few groups")]
        let num_groups = lines(&files, "sig_groups.jsonl") as f64;
        assert_eq!(of_groups["observations"].total_cmp(&num_groups), std::cmp::Ordering::Equal);
        let members = String::from_utf8(files["sig_groups.jsonl"].clone()).unwrap();
        let sizes = members
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["signatures"].as_array().unwrap().len());
        assert_eq!(of_groups["max"].to_string(), sizes.max().unwrap().to_string());

        // The busiest revision, each artifact's digest, and the alerts.
        let csv = String::from_utf8(files["perf_jobs_per_revision.csv"].clone()).unwrap();
        let most =
            csv.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse::<u64>().unwrap()).max().unwrap();
        let busiest = csv.lines().find(|line| line.ends_with(&format!(",{most}"))).unwrap();
        let busiest_row = between(&html, "<caption>Busiest revisions</caption>", "</tr>");
        let first_row =
            html.split("<caption>Busiest revisions</caption>").nth(1).unwrap().split("<tr>").nth(2).unwrap();
        assert!(!busiest_row.is_empty() && first_row.contains(busiest.split(',').next().unwrap()));
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(crawl.config.artifacts.out.join("manifest.json")).unwrap()).unwrap();
        for (name, entry) in manifest["artifacts"].as_object().unwrap() {
            assert!(html.contains(name.as_str()) && html.contains(entry["sha256"].as_str().unwrap()), "{name}");
        }
        let alerts = csv::Reader::from_reader(files["alert_summaries.csv"].as_slice()).into_records().count();
        assert!(html.contains(&format!("<dt>alert summaries</dt><dd>{alerts}</dd>")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_says_stays_text() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = hostile_simulator(folder.path()).await;
    let reason = "</script><script>owned()</script>";
    simulator
        .script(ScriptedReply::status(400).with_body(format!("{{\"detail\": \"{reason}\"}}")).at(Endpoint::Summary));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.source.repository = "autoland".to_owned();
    crawl.run().await.unwrap();
    let html = report(&crawl).html;
    assert_eq!((html.matches("<script").count(), html.matches("</script").count()), (1, 1));
    assert!(!html.contains("<img"));
    let escaped = |text: &str| text.replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    for name in HOSTILE {
        assert!(html.contains(&escaped(name)), "{name} is not shown");
    }
    assert!(html.contains("owned()&lt;/script&gt;"), "the failure's reason is not shown");
    // No attribute has an unescaped quote: every `onmouseover` is text.
    assert!(html.split('<').all(|tag| !tag.split('>').next().unwrap().contains("onmouseover")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_loads_nothing_and_runs_only_its_own_script() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let html = report(&crawl).html;
    let policy = between(&html, "http-equiv=\"Content-Security-Policy\" content=\"", "\"")[0].replace("&#39;", "'");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    for element in ["style", "script"] {
        let text = between(&html, &format!("<{element}>"), &format!("</{element}>"))[0];
        let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text.as_bytes()));
        assert!(policy.contains(&format!("{element}-src 'sha256-{digest}'")), "{element}");
    }
    assert!(!html.contains(" src=") && !html.contains(" style=") && !html.contains("<link"));
    assert!(between(&html, " href=\"", "\"").iter().all(|target| target.starts_with('#')));
    let charts = html.matches("role=\"img\"").count();
    assert!(charts >= 13, "{charts}"); // nine charts and a bar for each kind of request
    assert_eq!(html.matches("role=\"img\" aria-label=").count(), charts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_store_gives_the_same_bytes_and_is_only_read() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let before = (crawl.artifacts(), std::fs::read(crawl.config.store.path.join("ledger.json")).unwrap());
    crawl.config.reduce.workers = 1;
    let first = report(&crawl).html;
    crawl.config.reduce.workers = 4;
    assert!(first == report(&crawl).html);
    let written = |name: &str| {
        let output = call(&crawl, &["report", "--semantics", "reference", "--output", name]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(crawl.folder.path().join(name)).unwrap()
    };
    assert!(first == written("one.html") && first == written("two.html"));
    assert_same_artifacts(&before.0, &crawl.artifacts());
    assert_eq!(before.1, std::fs::read(crawl.config.store.path.join("ledger.json")).unwrap());
    let names: Vec<_> =
        std::fs::read_dir(crawl.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}"); // the store, the artifacts, the two pages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_crawl_says_so_first() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let (_keep, live) = pipeline::fixed_config(crawl.config.clone());
    let options = RunOptions { dry_run: true, ..RunOptions::default() };
    let counters = std::sync::Arc::default();
    let summary = pipeline::crawl(live, options, &Shutdown::new(), counters).await.unwrap();
    let pending = summary.counts.pending();
    assert!(pending > 0);
    let page = report(&crawl);
    assert!(!page.complete);
    let banner = between(&page.html, "<strong>This crawl is not complete.</strong>", "</div>")[0];
    assert!(
        banner.contains(&format!("{pending} requests are still to be made. Everything below leaves out signatures")),
        "{banner}"
    );
    assert!(page.html.contains("contains no artifacts"));
    let output = call(&crawl, &["report"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the crawl is not complete"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_an_answer_and_one_without_a_crawl() {
    let crawl = Crawl::of("http://127.0.0.1:9");
    let absent = call(&crawl, &["report"]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("there is no store at"));

    drop(Store::open(&crawl.config.store).unwrap());
    let store = Store::open(&crawl.config.store).unwrap();
    let refused = make_report(&store, &crawl.config, crawl.folder.path(), &Shutdown::new());
    assert!(matches!(refused, Err(DatasetError::EmptyStore)));
    drop(store);

    drop(pipeline::open_crawl(&crawl.config, RunOptions::default()).unwrap());
    let page = report(&crawl);
    assert!(!page.complete && page.html.contains("<strong>Nothing has been fetched yet.</strong>"));
    for empty in
        ["No revision in the window has a job.", "No signature has jobs.", "The window contains no alert summaries."]
    {
        assert!(page.html.contains(empty), "{empty}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_that_are_missing_altered_or_of_another_crawl_are_reported() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let out = crawl.config.artifacts.out.clone();
    std::fs::remove_file(out.join("sig_groups.jsonl")).unwrap();
    std::fs::copy(out.join("manifest.json"), out.join("job_durations.csv")).unwrap();
    let html = report(&crawl).html;
    let state = |name: &str| {
        let row = html.split(&format!("<code>{name}</code>")).last().unwrap().split("</tr>").next().unwrap();
        between(row, "<bdi>", "</bdi>").last().copied().unwrap().to_owned()
    };
    assert_eq!([state("sig_groups.jsonl"), state("job_durations.csv")], ["missing", "wrong size"]);
    assert_eq!(state("alert_summaries.csv"), "present");
    assert!(html.contains("Some files do not match the manifest"));

    crawl.config.artifacts.semantics = Semantics::Corrected;
    assert!(report(&crawl).html.contains("Some artifacts follow other semantics than this page"));

    let manifest = out.join("manifest.json");
    let other = std::fs::read_to_string(&manifest).unwrap().replace("\"autoland\"", "\"mozilla-central\"");
    for (text, found) in [(other.as_str(), "were made from another crawl"), ("{", "cannot be read")] {
        std::io::copy(&mut text.as_bytes(), &mut truncated(&manifest)).unwrap();
        assert!(report(&crawl).html.contains(found), "{found}");
    }
    std::fs::remove_file(manifest).unwrap();
    assert!(report(&crawl).html.contains("contains no artifacts"));
}

fn truncated(path: &std::path::Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_commits_and_when_it_is_ended_it_says_so() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    crawl.config.inputs.commits = None;
    let html = report(&crawl).html;
    assert!(html.contains("<code>--commits all_commits.jsonl</code>") && html.contains("Unknown without the commits"));
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let shutdown = Shutdown::new();
    shutdown.drain();
    let ended = make_report(&store, &crawl.config, crawl.folder.path(), &shutdown);
    assert!(matches!(ended, Err(DatasetError::Interrupted)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_use_is_read_and_a_name_that_is_none_is_refused_with_the_next_step() {
    let crawl = Crawl::of("http://127.0.0.1:9");
    let (store, _) = pipeline::open_crawl(&crawl.config, RunOptions::default()).unwrap();
    let said = std::thread::scope(|scope| {
        let crawl = &crawl;
        let commands = ["report", "reduce"].map(|command| scope.spawn(move || call(crawl, &[command])));
        commands.map(|thread| {
            let output = thread.join().unwrap();
            assert_eq!(output.status.code(), Some(3));
            String::from_utf8(output.stderr).unwrap()
        })
    });
    assert!(said.iter().all(|said| said.contains("another process is writing to the store")), "{said:?}");
    drop(store);
    let blocked = call(&crawl, &["report", "--output", "store/ledger.json/report.html"]);
    assert_eq!(blocked.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&blocked.stderr).contains("cannot write --output store/ledger.json/report.html"));
    put(&crawl.folder.path().join("notes.html"), b"<p>mine</p>");
    let kept = call(&crawl, &["report", "--output", "notes.html"]);
    assert!(kept.status.code() == Some(2) && String::from_utf8_lossy(&kept.stderr).contains("not a report"));
    for name in [".", "/", "out/.."] {
        let output = call(&crawl, &["report", "--output", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is a folder"));
    }
}
