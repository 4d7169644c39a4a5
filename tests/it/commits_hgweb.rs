//! `commits --from hgweb:URL`: the log of a scripted hgweb, with and without faults.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perfharvest::actor::Shutdown;
use perfharvest::commits::{
    CommitWindow, CommitsOrder, CommitsSummary, FetchCommitsError, MAX_IN_FLIGHT, fetch_commits,
};
use perfharvest::config::{CommitsFrom, Config};
use perfharvest::fetch::Pressure;
use perfharvest::model::Timestamp;

use crate::hgweb_server::{FIRST, HgwebServer, Instead, Repository};
use crate::support::{silent_port, wait_until};

/// A fail point that is never passed.
const NOWHERE: &str = "nowhere:1";

/// Commits of a page in these tests.
const PAGE: u32 = 10;

/// A file of commits that is made of a server's log, in a folder that vanishes.
struct Making {
    folder: tempfile::TempDir,
    config: Config,
    from: CommitsFrom,
    window: CommitWindow,
    shutdown: Shutdown,
}

impl Making {
    /// The commits of `server` from revision `first` to revision `last`.
    fn of(server: &HgwebServer, first: i64, last: i64) -> Self {
        let mut config = Config::default();
        config.batch.commits = PAGE.try_into().unwrap();
        config.window.lookback = Duration::from_mins(5);
        config.limiter.requests_per_second = 100_000.0.try_into().unwrap();
        config.limiter.burst = 1000.try_into().unwrap();
        config.retry.max_attempts = 3.try_into().unwrap();
        config.retry.initial_delay = Duration::from_millis(1);
        config.retry.max_delay = Duration::from_millis(2);
        let at = |revision: i64| Timestamp::from_secs(FIRST + 60 * revision);
        Self {
            folder: tempfile::tempdir().unwrap(),
            config,
            from: format!("hgweb:{}", server.url()).parse().unwrap(),
            window: CommitWindow { start: at(first), end: at(last) },
            shutdown: Shutdown::new(),
        }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("all_commits.jsonl")
    }

    async fn make(&self) -> Result<CommitsSummary, FetchCommitsError> {
        let pressure = Pressure::start(&self.config);
        let output = self.output();
        let order = CommitsOrder { from: &self.from, output: &output, window: self.window, now: Timestamp::now() };
        fetch_commits(order, &Arc::new(self.config.clone()), &pressure, &self.shutdown).await
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.output()).unwrap()
    }

    /// Names of the files in the folder.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Makes the file by the program itself.
    fn command(&self) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        command.current_dir(self.folder.path()).args(["commits", "--from", &self.from.to_string()]);
        command.args(["--start", &self.window.start.to_string(), "--end", &self.window.end.to_string()]);
        for setting in [
            format!("batch.commits={PAGE}"),
            "window.lookback=5m".to_owned(),
            "limiter.requests_per_second=100000".to_owned(),
            "limiter.burst=1000".to_owned(),
            "retry.max_attempts=2".to_owned(),
            "retry.initial_delay=1ms".to_owned(),
            "retry.max_delay=2ms".to_owned(),
        ] {
            command.args(["--set", &setting]);
        }
        command
    }

    /// Ends at the fail point as a kill would.
    async fn run(&self, fail_point: &str) -> Output {
        let mut command = self.command();
        command.env("PERFHARVEST_FAIL_POINT", fail_point);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_is_written_oldest_first_and_made_again_by_one_request() {
    let server = HgwebServer::start(Repository::of(137)).await;
    let making = Making::of(&server, 60, 120);
    let made = making.make().await.unwrap();
    assert_eq!(making.text(), server.lines(60..121));
    assert_eq!((made.num_commits, made.changed, made.num_kept_pages), (61, true, 0));
    assert_eq!(made.num_requests, server.take_asked().len() as u64);
    assert_eq!(server.agents(), std::slice::from_ref(&making.config.source.user_agent));

    let before = making.text();
    let again = making.make().await.unwrap();
    assert_eq!((again.changed, again.num_requests), (false, 1));
    assert_eq!(server.take_asked(), [("tip".to_owned(), 1)]);
    assert_eq!(making.text(), before);
    assert_eq!(making.files(), ["all_commits.jsonl", "all_commits.jsonl.pages"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_asked_ahead_of_the_walks_end_is_waited_for_and_kept() {
    let server = HgwebServer::start(Repository::of(137)).await;
    let mut making = Making::of(&server, 60, 120);
    let kept = making.folder.path().join("all_commits.jsonl.pages");
    let num_kept = || std::fs::read_to_string(&kept).unwrap_or_default().matches("\"key\":\"revisions ").count();
    // The walk needs no page below revision 10. It asks for that of 9 while it waits for that of 19.
    server.hold_back("19");
    server.hold_back("9");
    let release = async {
        wait_until("the pages above 19 are kept and 9 is asked for", || num_kept() == 12 && server.was_asked("9"))
            .await;
        server.release("19");
        wait_until("the page of 19 is kept", || num_kept() == 13).await;
        server.release("9");
    };
    let (made, ()) = tokio::join!(making.make(), release);
    assert_eq!(made.unwrap().num_requests, server.take_asked().len() as u64);
    assert_eq!(num_kept(), 14);

    making.window.start = Making::of(&server, 0, 0).window.start;
    assert_eq!(making.make().await.unwrap().num_requests, 1, "nothing but the tip is asked for again");
    assert_eq!(making.text(), server.lines(0..121));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_ends_some_pages_below_the_window_and_not_at_the_first_old_commit() {
    let server = HgwebServer::start(Repository::of(1000)).await;
    let making = Making::of(&server, 900, 1000);
    making.make().await.unwrap();
    assert_eq!(making.text(), server.lines(900..1000));
    let lowest = server.take_asked().iter().filter_map(|(revision, _)| revision.parse::<u32>().ok()).min().unwrap();
    // Four pages far from the window, and the pages requested ahead of them.
    assert!((750..870).contains(&lowest), "{lowest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_commits_cost_the_newest_pages_only_and_give_the_file_of_a_fresh_run() {
    let server = HgwebServer::start(Repository::of(137)).await;
    let making = Making::of(&server, 0, 500);
    making.make().await.unwrap();
    server.take_asked();
    server.change(|repository| repository.len = 152);
    making.make().await.unwrap();
    let mut asked = server.take_asked();
    asked.sort();
    let tip = server.lines(151..152)[10..50].to_owned();
    let mut expected = vec![("tip".to_owned(), 1), (tip, 3), ("149".to_owned(), 11), ("139".to_owned(), 11)];
    expected.sort();
    assert_eq!(asked, expected);
    assert_eq!(making.text(), server.lines(0..152));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_ten_requests_are_in_flight_and_ten_are_used() {
    let server = HgwebServer::start(Repository::of(600)).await;
    server.hold(300, MAX_IN_FLIGHT);
    let making = Making::of(&server, 0, 600);
    making.make().await.unwrap();
    assert_eq!(server.most_in_flight(), MAX_IN_FLIGHT);
    assert_eq!(making.text(), server.lines(0..600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_asks_for_no_kept_page_again_and_makes_the_same_file() {
    let server = HgwebServer::start(Repository::of(137)).await;
    let making = Making::of(&server, 20, 130);
    let killed = making.run("commits.page_kept:6").await;
    assert!(!killed.status.success() && killed.status.code().is_none(), "{killed:?}");
    assert_eq!(making.files(), ["all_commits.jsonl.pages"]);

    let resumed = making.run(NOWHERE).await;
    assert!(resumed.status.success(), "{}", said(&resumed));
    assert!(said(&resumed).contains("9 requests; 6 pages were already fetched"), "{}", said(&resumed));
    assert_eq!(making.text(), server.lines(20..131));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_or_altered_end_of_the_pages_is_fetched_again() {
    let server = HgwebServer::start(Repository::of(137)).await;
    let making = Making::of(&server, 20, 130);
    making.make().await.unwrap();
    let whole = making.text();
    let path = making.folder.path().join("all_commits.jsonl.pages");
    let bytes = std::fs::read(&path).unwrap();
    for (keep, noise) in [(bytes.len() / 2, ""), (bytes.len() / 3, "0123456789abcdef {\"page\":"), (3, "\n"), (0, "")] {
        std::fs::remove_file(making.output()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, &[&bytes[..keep], noise.as_bytes()].concat()).unwrap();
        drop(file);
        let made = making.make().await.unwrap();
        assert_eq!(making.text(), whole, "{keep}");
        assert_eq!(made.num_kept_pages > 0, keep > 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_keeps_its_pages_and_is_exit_130() {
    let server = HgwebServer::start(Repository::of(137)).await;
    let mut making = Making::of(&server, 20, 130);
    let ending = making.shutdown.clone();
    server.decide(move |number, _, _| {
        if number == 7 {
            ending.drain();
        }
        None
    });
    let error = making.make().await.unwrap_err();
    assert_eq!(error.exit_code(), 130, "{error}");
    assert_eq!(making.files(), ["all_commits.jsonl.pages"]);
    making.shutdown = Shutdown::new();
    let made = making.make().await.unwrap();
    assert!(made.num_kept_pages > 0);
    assert_eq!(making.text(), server.lines(20..131));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_errors_are_asked_again_and_lasting_ones_are_exit_5_with_nothing_written() {
    let html = || Instead::Reply(200, "text/html", "<h1>\u{1b}[31mdown</h1>".to_owned());
    let json = |text: &str| Instead::Reply(200, "application/json", text.to_owned());
    for (bad, passes, words) in [
        (html(), true, "text/html instead of JSON"),
        (json("{\"changeset_count\": 3, \"changes"), true, "not valid JSON"),
        (json("{\"node\": \"\\u001b[31m\", \"entries\": []}"), true, "hgweb's json-log"),
        (json("[]"), true, "hgweb's json-log"),
        (Instead::Reply(500, "text/html", String::new()), true, "500"),
        (Instead::Reply(403, "text/html", String::new()), false, "403"),
        (Instead::Reply(410, "text/plain", String::new()), false, "check that the address is a repository"),
    ] {
        let server = HgwebServer::start(Repository::of(57)).await;
        let making = Making::of(&server, 0, 57);
        let reply = bad.clone();
        let met_before = Mutex::new(BTreeSet::new());
        server.decide(move |_, revision, _| {
            let is_first = met_before.lock().unwrap().insert(revision.to_owned());
            is_first.then(|| reply.clone())
        });
        let met = making.make().await;
        assert_eq!(met.is_ok(), passes, "{bad:?}: {met:?}");

        let reply = bad.clone();
        server.decide(move |_, revision, _| (revision != "tip").then(|| reply.clone()));
        let making = Making::of(&server, 0, 57);
        let output = making.run(NOWHERE).await;
        assert_eq!(output.status.code(), Some(5), "{bad:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{bad:?}: {}", said(&output));
        assert!(!said(&output).contains('\u{1b}'), "{:?}", said(&output));
        assert!(making.files().is_empty(), "{:?}", making.files());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_and_a_dead_port_are_exit_5_and_say_so() {
    let server = HgwebServer::start(Repository::of(5)).await;
    let mut making = Making::of(&server, 0, 5);
    let (_port, addr) = silent_port();
    let dead = format!("hgweb:http://{addr}/autoland");
    let elsewhere = format!("hgweb:{}/no", server.url().replace("/integration/autoland", ""));
    for (from, words) in
        [(dead, "check the address, and that the server is up"), (elsewhere, "check that the address is a repository")]
    {
        making.from = from.parse().unwrap();
        let output = making.run(NOWHERE).await;
        assert_eq!(output.status.code(), Some(5), "{}", said(&output));
        assert!(said(&output).contains(words) && !said(&output).contains('\u{1b}'), "{}", said(&output));
        assert!(making.files().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_repeats_and_one_that_jumps_end_the_walk_and_are_not_kept() {
    let server = HgwebServer::start(Repository::of(100)).await;
    for (instead, repeats) in [("99", true), ("85", false), ("69", false), ("78", false)] {
        let making = Making::of(&server, 0, 100);
        server.decide(move |_, revision, _| (revision == "79").then(|| Instead::Page(instead.to_owned())));
        let error = making.make().await.unwrap_err();
        let expected = match &error {
            FetchCommitsError::Repeats { .. } => repeats,
            FetchCommitsError::Jumps { .. } => !repeats,
            _ => false,
        };
        assert!(expected && error.exit_code() == 5, "{instead}: {error}");
        assert!(!making.output().exists());
        server.decide(|_, _, _| None);
        making.make().await.unwrap();
        assert_eq!(making.text(), server.lines(0..100), "{instead}");
    }
    // A server that always answers with its newest page.
    let making = Making::of(&server, 0, 100);
    server.decide(|_, _, _| Some(Instead::Page("tip".to_owned())));
    assert!(matches!(making.make().await, Err(FetchCommitsError::Repeats { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_changesets_and_short_pages_lose_nothing() {
    for (hidden, cap) in [
        (vec![], 4),
        (vec![9, 19, 20, 21, 22, 49, 48, 47, 56, 55], usize::MAX),
        (vec![56, 55, 54, 53, 52, 51, 50, 49], 11),
        ((30..43).chain(5..7).collect(), 100),
        (vec![39, 55, 56], 3),
    ] {
        let hidden = hidden.into_iter().collect();
        let server = HgwebServer::start(Repository { hidden, cap, ..Repository::of(57) }).await;
        let making = Making::of(&server, 0, 57);
        making.make().await.unwrap();
        assert_eq!(making.text(), server.lines(0..57), "{cap}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_was_rewritten_since_is_asked_anew() {
    let server = HgwebServer::start(Repository::of(100)).await;
    let making = Making::of(&server, 0, 200);
    making.make().await.unwrap();
    server.change(|repository| (repository.len, repository.salt, repository.salted_from) = (105, 7, 42));
    making.make().await.unwrap();
    assert_eq!(making.text(), server.lines(0..105));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_repository_and_a_window_without_commits_are_exit_2() {
    for len in [0, 50] {
        let server = HgwebServer::start(Repository::of(len)).await;
        let making = Making::of(&server, 1000, 1001);
        if len == 0 {
            let empty = format!("{{\"node\": \"{}\", \"changeset_count\": 0, \"changesets\": []}}", "0".repeat(40));
            server.decide(move |_, _, _| Some(Instead::Reply(200, "application/json", empty.clone())));
        }
        let output = making.run(NOWHERE).await;
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("--start/--end"), "{}", said(&output));
        assert!(!making.output().exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_do_not_make_the_same_file_at_once() {
    let server = HgwebServer::start(Repository::of(57)).await;
    let making = Making::of(&server, 0, 57);
    let (first, both) = (Arc::new(AtomicBool::new(true)), making.from.clone());
    let (output, config, window) = (making.output(), making.config.clone(), making.window);
    let runtime = tokio::runtime::Handle::current();
    let refused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&refused);
    server.decide(move |_, _, _| {
        if first.swap(false, Ordering::SeqCst) {
            let second = async {
                let order = CommitsOrder { from: &both, output: &output, window, now: Timestamp::now() };
                let pressure = Pressure::start(&config);
                fetch_commits(order, &Arc::new(config.clone()), &pressure, &Shutdown::new()).await
            };
            let met = tokio::task::block_in_place(|| runtime.block_on(second));
            seen.store(matches!(met, Err(FetchCommitsError::InUse { .. })), Ordering::SeqCst);
        }
        None
    });
    making.make().await.unwrap();
    assert!(refused.load(Ordering::SeqCst));
    assert_eq!(making.text(), server.lines(0..57));
}
