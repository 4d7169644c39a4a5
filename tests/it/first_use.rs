//! The command line as a newcomer and a weekly job use it: fresh or not, what is refused at once, and what is printed.

use std::process::Output;

use perfharvest::model::Timestamp;
use perfharvest::store::Store;
use treeherder_sim::Behaviour;

use crate::support::{Crawl, simulator};

fn call(crawl: &Crawl, arguments: &[&str]) -> Output {
    let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    program.current_dir(crawl.folder.path()).args(arguments).output().unwrap()
}

/// Standard output, and the exit code.
fn printed(output: &Output) -> (String, Option<i32>) {
    (String::from_utf8(output.stdout.clone()).unwrap(), output.status.code())
}

/// What is wrong, and the exit code.
fn refused(crawl: &Crawl, arguments: &[&str]) -> (String, Option<i32>) {
    let output = call(crawl, arguments);
    assert!(output.stdout.is_empty(), "{output:?}");
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_fresh_until_its_data_are_old_and_the_textfile_says_how_old() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let (said, code) = printed(&call(&crawl, &["status", "--check", "--store", "none"]));
    assert_eq!((said.lines().count(), code), (1, Some(6)), "{said}");
    assert!(said.contains("there is no store at none"), "{said}");

    let textfile = crawl.folder.path().join("perfharvest.prom");
    crawl.config.metrics.textfile = Some(textfile.clone());
    crawl.run().await.unwrap();
    let metric = |name: &str| {
        let text = std::fs::read_to_string(&textfile).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("perfharvest_{name}{{repository=\"autoland\"}} ")))
            .unwrap()
            .to_owned();
        line.parse::<f64>().unwrap()
    };
    assert!((metric("harvest"), metric("last_run_finished")) == (1.0, 1.0), "written by the run");
    let age = Timestamp::now().as_secs() - crawl.config.window.data_end.unwrap().as_secs();
    let store = crawl.config.store.path.to_str().unwrap();
    let (older, younger) = (format!("{}s", age + 86_400), format!("{}s", age - 86_400));
    let check = |max_age: &str| printed(&call(&crawl, &["status", "--check", "--store", store, "--max-age", max_age]));
    let (said, code) = check(&older);
    assert!(code == Some(0) && said.starts_with("fresh: ") && said.lines().count() == 1, "{said}");
    let (said, code) = check(&younger);
    assert!(code == Some(6) && said.contains("2026-11-22T08:00:00Z") && said.lines().count() == 1, "{said}");

    // The clock of a rehearsal.
    let as_of = |time: &str| printed(&call(&crawl, &["status", "--check", "--store", store, "--as-of", time]));
    assert_eq!(as_of("2026-11-30T08:00:00Z").1, Some(0));
    let (said, code) = as_of("2026-11-30T08:00:01Z");
    assert!(code == Some(6) && said.ends_with("which is more than 8 d 0 h\n"), "{said}");

    std::fs::remove_file(&textfile).unwrap();
    let set = format!("metrics.textfile={}", textfile.display());
    call(&crawl, &["status", "--store", store, "--set", &set]);
    assert!(metric("data_age_seconds") >= f64::from(i32::try_from(age).unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_on_a_disk_short_of_space_ends_in_order_and_goes_on_when_there_is_space() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.store.min_free_bytes = u64::MAX; // no disk has it
    let error = crawl.run().await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("store.min_free_bytes"), "{error}");
    let asked = simulator.served().total();
    crawl.config.store.min_free_bytes = 0;
    let store = Store::open_existing(&crawl.config.store).unwrap();
    assert!(asked > 0 && store.counts().unwrap().settled() > 0, "answers in flight are stored");
    drop(store);
    crawl.run().await.unwrap();
    assert_eq!(simulator.served().total(), 145, "no answer is asked for twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_summary_of_a_run_is_one_object_on_standard_output() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let url = simulator.url();
    let called = tokio::task::spawn_blocking(move || {
        let commits = crawl.config.inputs.commits.clone().unwrap();
        let window = ["--start", "2026-07-01", "--end", "2026-11-05T00:00:00Z", "--data-end", "2026-11-22T08:00:00Z"];
        let mut arguments = vec!["run", "--json", "--base-url", &url, "--requests-per-second", "1000", "--commits"];
        arguments.push(commits.to_str().unwrap());
        arguments.extend(window);
        call(&crawl, &arguments)
    });
    let (said, code) = printed(&called.await.unwrap());
    let summary: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(summary["exit_code"], code.unwrap());
    assert_eq!((&summary["complete"], &summary["requests"]), (&true.into(), &145.into()), "{said}");
    assert_eq!(summary["counts"]["kinds"]["job_details"]["data"], 190, "{said}");
    assert_eq!(summary["harvest"]["number"], 1, "{said}");
    assert!(summary["artifacts"]["written"].as_array().unwrap().contains(&"sig_groups.jsonl".into()), "{said}");
}

#[test]
fn mozilla_s_servers_are_not_asked_before_there_is_a_contact() {
    let crawl = Crawl::of("http://127.0.0.1:9");
    let commits = crawl.config.inputs.commits.as_ref().unwrap().to_str().unwrap();
    for arguments in [
        &["run", "--commits", commits, "--start", "2026-07-01"][..],
        &["refresh", "--commits", commits, "--start", "2026-07-01"],
        &["crawl", "--start", "2026-07-01"],
        &["crawl", "--dry-run"],
        &["plan"],
        &["config", "check", "--online"],
        &["commits", "--from", "pushes"],
        &["commits", "--from", "hgweb:https://hg.mozilla.org/integration/autoland"],
    ] {
        let (said, code) = refused(&crawl, arguments);
        assert!(code == Some(2) && said.contains("--set 'source.user_agent="), "{arguments:?}: {said}");
        assert_eq!(std::fs::read_dir(crawl.folder.path()).unwrap().count(), 0, "{arguments:?} left something");
    }
}

#[test]
fn what_is_missing_or_mistyped_is_answered_with_what_there_is() {
    let crawl = Crawl::of("http://127.0.0.1:9");
    let (said, code) = refused(&crawl, &["export"]);
    assert!(code == Some(2) && said.contains("--format archive") && said.contains("--format parquet"), "{said}");
    let (said, _) = refused(&crawl, &["plan", "--start", "1 July"]);
    assert!(said.contains("2026-07-01 or") && said.contains("120days ago"), "{said}");
    for key in ["zzz.start=1", "window.qqqq=1", "log.level=zzz", "zzzz=1"] {
        let (said, _) = refused(&crawl, &["config", "show", "--set", key]);
        assert!(!said.contains("did you mean"), "{key}: {said}");
    }
}

#[test]
fn durations_are_shown_as_they_were_written() {
    let crawl = Crawl::of("http://127.0.0.1:9");
    let set = ["--set", "retry.max_delay=90s", "--set", "window.overlap=4weeks"];
    let (shown, _) = printed(&call(&crawl, &[&["config", "show"][..], &set].concat()));
    for line in
        ["alerts_lookback = \"1095days\"", "max_delay = \"90s\"", "overlap = \"4weeks\"", "timeout = \"1m 30s\""]
    {
        assert!(shown.lines().any(|own| own == line), "{line} is missing in\n{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_relative_to_now_says_how_a_store_begins_and_no_more() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let url = simulator.url();
    let called = tokio::task::spawn_blocking(move || {
        let crawl_from = |start: &str| {
            let output =
                call(&crawl, &["crawl", "--base-url", &url, "--start", start, "--requests-per-second", "1000"]);
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let first = crawl_from("100days ago");
        let status = printed(&call(&crawl, &["status", "--json"])).0;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let start: Timestamp = status["identity"]["window_start"].as_str().unwrap().parse().unwrap();
        let days = (Timestamp::now().midnight().as_secs() - start.as_secs()) / 86_400;
        assert!((100..=101).contains(&days), "{first:?}");
        let later = crawl_from("90days ago");
        assert_eq!(later.0, first.0, "{later:?}");
        let fixed = crawl_from("2026-01-01");
        assert!(fixed.0 == Some(2) && fixed.1.contains("window.start"), "{fixed:?}");
    });
    called.await.unwrap();
}
