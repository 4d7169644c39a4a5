//! A crawl that is watched and tuned from other processes while it runs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::num::NonZeroU32;
use std::process::{Child, ChildStderr};
use std::time::Duration;

use perfharvest::simulator::{Behaviour, Endpoint};
use serde_json::Value;

use crate::child::{Ended, command, finish, run_command, signal};
use crate::support::tamper::put;
use crate::support::{Crawl, assert_same_artifacts, simulator};

/// What a child says, a line at a time.
struct Said {
    lines: BufReader<ChildStderr>,
    all: String,
}

impl Said {
    fn of(child: &mut Child) -> Self {
        Self { lines: BufReader::new(child.stderr.take().unwrap()), all: String::new() }
    }

    /// Reads until a line holds `text`.
    fn wait_for(&mut self, text: &str) {
        loop {
            let before = self.all.len();
            let read = self.lines.read_line(&mut self.all).unwrap();
            assert!(read > 0, "it ended without saying `{text}`:\n{}", self.all);
            if self.all[before..].contains(text) {
                return;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::time::timeout(Duration::from_mins(2), tokio::task::spawn_blocking(work)).await.expect("it ends").unwrap()
}

async fn ended(crawl: &Crawl, args: &[&str]) -> Ended {
    let command = command(crawl, args);
    blocking(|| finish(command)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_retunes_a_running_crawl_and_a_wrong_one_is_refused() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let calm = crawl.artifacts();
    let again = Crawl::of(&simulator.url());
    crawl.config.store.path = again.config.store.path.clone();
    crawl.config.artifacts.out = again.config.artifacts.out.clone();
    crawl.config.limiter.requests_per_second = NonZeroU32::MIN; // two and a half minutes, if it stayed so
    crawl.config.limiter.burst = NonZeroU32::MIN;
    let asked = simulator.served().total();
    let mut child = run_command(&crawl).spawn().unwrap();
    while simulator.served().total() < asked + 2 {
        tokio::task::yield_now().await;
    }
    let file = crawl.folder.path().join("config.toml");
    let slow = std::fs::read_to_string(&file).unwrap();
    let file_with =
        |rate: &str| slow.replace("\nrequests_per_second = 1\n", &format!("\nrequests_per_second = {rate}\n"));
    put(&file, file_with("\"many\"").as_bytes());
    signal(&child, "HUP");
    let (child, said) = blocking(move || {
        let mut said = Said::of(&mut child);
        said.wait_for("is refused; the crawl goes on as before");
        (child, said)
    })
    .await;
    assert!(said.all.contains("config.toml:") && said.all.contains("\"many\""), "{}", said.all);
    put(&file, file_with("100000").as_bytes());
    let (mut child, mut said) = blocking(move || {
        let mut said = said;
        said.wait_for("limiter.requests_per_second 1 -> 100000");
        (child, said)
    })
    .await;
    let (status, said) = blocking(move || {
        said.lines.read_to_string(&mut said.all).unwrap();
        (child.wait().unwrap(), said.all)
    })
    .await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(simulator.served().total(), 2 * asked, "nothing lost, nothing twice");
    assert_same_artifacts(&calm, &again.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_crawl_is_watched_and_planned_from_other_processes_without_a_request() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.limiter.requests_per_second = NonZeroU32::new(20).unwrap();
    crawl.config.limiter.burst = NonZeroU32::MIN;
    let mut child = run_command(&crawl).spawn().unwrap();
    while simulator.served().of(Endpoint::Summary) < 30 {
        tokio::task::yield_now().await;
    }
    signal(&child, "STOP");
    let asked = simulator.served().total();

    let plan = ended(&crawl, &["plan", "--json"]).await;
    assert_eq!(plan.code(), Some(0), "{}", plan.stderr);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["crawl_is_running"], true, "{plan}");
    assert!(plan["kinds"][2]["done"].as_u64().unwrap() > 0, "{plan}");

    let mut watched = command(&crawl, &["status", "--watch"]).spawn().unwrap();
    let mut screen = BufReader::new(watched.stdout.take().unwrap());
    let (watched, screen) = blocking(move || {
        let mut text = String::new();
        while text.matches("as of ").count() < 2 {
            assert!(screen.read_line(&mut text).unwrap() > 0, "{text}");
        }
        (watched, text)
    })
    .await;
    assert!(screen.contains("running (process") && !screen.contains('\x1b'), "no terminal, no escapes: {screen}");
    signal(&watched, "INT");
    let watched = blocking(move || watched.wait_with_output().unwrap()).await;
    assert_eq!(watched.status.code(), Some(3), "the crawl is not complete");
    assert_eq!(simulator.served().total(), asked);
    child.kill().unwrap();
    blocking(move || child.wait().unwrap()).await;
}
