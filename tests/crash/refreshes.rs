//! Kills refreshes at fail points and at random moments: three harvests come to the bytes of one crawl all the same.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use perfharvest::model::Kind;
use perfharvest::store::Store;
use rand::Rng as _;
use rand::rngs::StdRng;
use treeherder_sim::{Behaviour, Latency, SimulatorHandle};

use crate::child::{blocking, command, finish, opened_copy, wait};
use crate::kills::{SIGABRT, is_long, seeded};
use crate::support::{Crawl, assert_same_artifacts, simulator};

/// The ends of the harvests; the last is that of [`Crawl::of`].
pub(crate) const ENDS: [&str; 3] = ["2026-08-20T00:00:00Z", "2026-09-29T12:00:00Z", "2026-11-22T08:00:00Z"];

/// Kills of each kind.
fn num_kills() -> usize {
    if is_long() { 120 } else { 30 }
}

/// Fail points, each with the approximate maximum number of times that a refresh passes it.
const FAIL_POINTS: &[(&str, u64)] = &[
    ("log.mid_write", 60),
    ("log.after_sync", 60),
    ("index.before_apply", 60),
    ("index.within", 9),
    ("index.after_apply", 60),
    ("ledger.before_rename", 6),
    ("ledger.after_rename", 6),
    ("harvest.opened", 1),
    ("join.begun", 1),
    ("join.ended", 1),
    ("join.within", 12),
    ("artifact.before_rename", 22),
    ("artifact.before_manifest", 2),
    ("artifact.after_renames", 2),
];

/// The artifacts that do not tell of harvests.
pub(crate) fn artifacts_of(crawl: &Crawl) -> BTreeMap<String, Vec<u8>> {
    let mut artifacts = crawl.artifacts();
    artifacts.retain(|name, _| !matches!(name.as_str(), "manifest.json" | "alert_summary_history.jsonl"));
    artifacts
}

/// The change feed, by file.
pub(crate) fn feed_of(crawl: &Crawl) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(crawl.config.artifacts.out.join("changes")).unwrap();
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
    };
    files.map(|entry| read(entry.unwrap())).collect()
}

pub(crate) fn refresh_command(crawl: &Crawl, data_end: &str) -> Command {
    command(crawl, &["refresh", "--same-source", "--no-progress", "--data-end", data_end])
}

struct Expected {
    artifacts: BTreeMap<String, Vec<u8>>,
    feed: BTreeMap<String, String>,
    /// Requests of three harvests that nothing interrupted.
    num_requests: u64,
    /// The time of a refresh.
    time: Duration,
}

async fn expected() -> Expected {
    let simulator = simulator(Behaviour::default()).await;
    let once = Crawl::of(&simulator.url());
    once.run().await.unwrap();
    let before = simulator.served().total();
    let crawl = Crawl::of(&simulator.url());
    let mut time = Duration::ZERO;
    for data_end in ENDS {
        let began = tokio::time::Instant::now();
        let refresh = refresh_command(&crawl, data_end);
        let ended = blocking(|| finish(refresh)).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        time = began.elapsed();
    }
    assert_same_artifacts(&artifacts_of(&once), &artifacts_of(&crawl));
    let num_requests = simulator.served().total() - before;
    Expected { artifacts: artifacts_of(&crawl), feed: feed_of(&crawl), num_requests, time }
}

/// A store that is refreshed through all its kills.
struct Ordeal {
    simulator: SimulatorHandle,
    crawl: Crawl,
    kills: usize,
}

impl Ordeal {
    async fn begin(random: &mut StdRng) -> Self {
        let latency = Latency::Uniform { min: Duration::from_millis(1), max: Duration::from_millis(12) };
        let simulator = simulator(Behaviour { latency, seed: random.random(), ..Behaviour::default() }).await;
        let mut crawl = Crawl::of(&simulator.url());
        let mut pick = |among: &[usize]| NonZeroUsize::new(among[random.random_range(0..among.len())]).unwrap();
        crawl.config.concurrency.summaries = pick(&[1, 2, 4, 8, 16]);
        crawl.config.store.commit_records = pick(&[1, 2, 7, 64]);
        Self { simulator, crawl, kills: 0 }
    }

    fn check_store(&self, how: &str) {
        let (_folder, store) = opened_copy(&self.crawl.config);
        let mut damages = Vec::new();
        store.find_damage(|damage| damages.push(damage)).unwrap();
        assert!(damages.is_empty(), "after {how}: {damages:?}");
        let latest = Store::latest_ledger(&self.crawl.config.store.path).unwrap();
        assert_eq!(latest.counts, store.counts().unwrap(), "`status` shows another state, after {how}");
    }

    fn finish(self, expected: &Expected) {
        assert_same_artifacts(&expected.artifacts, &artifacts_of(&self.crawl));
        assert_eq!(feed_of(&self.crawl), expected.feed);
        let verified = finish(command(&self.crawl, &["verify"]));
        assert_eq!((verified.code(), verified.stdout.as_str()), (Some(0), ""), "{}", verified.stderr);
        // Of each kill at most what was in flight, and what waited for a commit.
        let config = &self.crawl.config;
        let in_flight: usize = Kind::WITHOUT_REPLICATES.iter().map(|kind| config.concurrency_of(*kind)).sum();
        let most = (self.kills * (in_flight + 3 * config.store.commit_records.get())) as u64;
        let repeated = self.simulator.served().total().saturating_sub(expected.num_requests);
        assert!(repeated <= most, "{repeated} requests were repeated after {} kills", self.kills);
    }
}

/// Refreshes a store up to each of the ends, and kills it on the way as `kill` decides, until as many kills as wanted have
/// struck.
async fn kill_refreshes(test: &str, mut kill: impl AsyncFnMut(&mut StdRng, &Expected, Command) -> (String, bool)) {
    let expected = expected().await;
    let mut random = seeded(test);
    let mut kills = 0;
    while kills < num_kills() {
        let mut ordeal = Ordeal::begin(&mut random).await;
        for data_end in ENDS {
            loop {
                let refresh = refresh_command(&ordeal.crawl, data_end);
                if ordeal.kills >= 12 {
                    let ended = blocking(|| finish(refresh)).await;
                    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
                    break;
                }
                let (how, was_killed) = kill(&mut random, &expected, refresh).await;
                if ordeal.crawl.config.store.path.join("db").exists() {
                    ordeal.check_store(&how);
                }
                if !was_killed {
                    break;
                }
                ordeal.kills += 1;
                kills += 1;
            }
        }
        ordeal.finish(&expected);
    }
    println!("{kills} kills");
}

#[cfg(debug_assertions)] // the fail points are in no other build
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_that_are_killed_at_fail_points_come_to_the_bytes_of_one_crawl() {
    kill_refreshes("refreshes at fail points", async |random, _, mut refresh| {
        let (name, most) = FAIL_POINTS[random.random_range(0..FAIL_POINTS.len())];
        let point = format!("{name}:{}", random.random_range(1..=most));
        refresh.env("PERFHARVEST_FAIL_POINT", &point);
        let ended = blocking(|| finish(refresh)).await;
        assert!(ended.signal() == Some(SIGABRT) || ended.code() == Some(0), "{point}: {}", ended.stderr);
        (point, ended.signal().is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_that_are_killed_at_any_moment_come_to_the_bytes_of_one_crawl() {
    kill_refreshes("refreshes at any moment", async |random, expected, mut refresh| {
        let after = random.random_range(Duration::ZERO..expected.time);
        let mut child = refresh.spawn().unwrap();
        tokio::time::sleep(after).await;
        child.kill().unwrap();
        let ended = blocking(|| wait(child)).await;
        assert!(ended.signal().is_some() || ended.code() == Some(0), "{}", ended.stderr);
        (format!("SIGKILL after {after:?}"), ended.signal().is_some())
    })
    .await;
}
