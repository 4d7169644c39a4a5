//! Kills refreshes at fail points and at random moments: three harvests come to the bytes of one crawl all the same.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use perfharvest::model::Kind;
use perfharvest::store::{Store, StoreError, Tally};
use rand::Rng as _;
use rand::rngs::StdRng;
use treeherder_sim::{
    BackendConfig, Behaviour, GeneratorConfig, Latency, Simulator, SimulatorConfig, SimulatorHandle, dump,
};

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
    ("index.before_generation", 4),
    ("index.after_generation", 4),
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

/// The server of a test, and the scope of its crawl.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// The recorded server.
    Data,
    /// A small generated one, of which replicates are asked for too.
    Replicates,
}

impl Of {
    /// The server, and a crawl of it.
    async fn start(self, behaviour: Behaviour) -> (SimulatorHandle, Crawl) {
        if self == Self::Data {
            let simulator = simulator(behaviour).await;
            let crawl = Crawl::of(&simulator.url());
            return (simulator, crawl);
        }
        let generated = GeneratorConfig {
            signatures: 20,
            data_per_signature: 30,
            pushes: 100,
            alerts: 40,
            largest_group: 4,
            ..GeneratorConfig::default()
        };
        let backend = BackendConfig::Generated(generated.clone());
        let config = SimulatorConfig { backend, behaviour, ..SimulatorConfig::default() };
        let simulator = Simulator::start(config).await.unwrap();
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.scope.replicates = Some(true);
        dump(&generated, crawl.folder.path()).unwrap();
        crawl.config.inputs.commits = Some(crawl.folder.path().join("all_commits.jsonl"));
        crawl.config.inputs.perf_llm_struc = None;
        // Otherwise one crawl has fewer alert summaries than harvests, the first of which looks further back.
        crawl.config.window.alerts_lookback = Duration::from_hours(24 * 3_650);
        (simulator, crawl)
    }

    /// The artifacts, and with replicates the table of them.
    fn files(self, crawl: &Crawl) -> BTreeMap<String, Vec<u8>> {
        let mut files = artifacts_of(crawl);
        if self == Self::Replicates {
            let folder = crawl.folder.path().join("tables");
            let to = folder.to_str().unwrap();
            let export = ["export", "--format", "parquet", "--tables", "replicates", "--output", to];
            let ended = finish(command(crawl, &export));
            assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
            let name = "replicates.parquet".to_owned();
            let table = std::fs::read(folder.join(&name)).unwrap();
            files.insert(name, table);
        }
        files
    }
}

struct Expected {
    of: Of,
    files: BTreeMap<String, Vec<u8>>,
    feed: BTreeMap<String, String>,
    /// Requests of three harvests that nothing interrupted.
    num_requests: u64,
    /// The time of a refresh.
    time: Duration,
}

async fn expected(of: Of) -> Expected {
    let (simulator, once) = of.start(Behaviour::default()).await;
    once.run().await.unwrap();
    let before = simulator.served().total();
    let mut crawl = Crawl { folder: tempfile::tempdir().unwrap(), config: once.config.clone() };
    crawl.config.store.path = crawl.folder.path().join("store");
    crawl.config.artifacts.out = crawl.folder.path().join("out");
    let mut time = Duration::ZERO;
    for data_end in ENDS {
        let began = tokio::time::Instant::now();
        let refresh = refresh_command(&crawl, data_end);
        let ended = blocking(|| finish(refresh)).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        time = began.elapsed();
    }
    let files = of.files(&crawl);
    assert_same_artifacts(&of.files(&once), &files);
    let num_requests = simulator.served().total() - before;
    Expected { of, files, feed: feed_of(&crawl), num_requests, time }
}

/// A store that is refreshed through all its kills.
struct Ordeal {
    simulator: SimulatorHandle,
    crawl: Crawl,
    kills: usize,
}

impl Ordeal {
    async fn begin(of: Of, random: &mut StdRng) -> Self {
        let latency = Latency::Uniform { min: Duration::from_millis(1), max: Duration::from_millis(12) };
        let (simulator, mut crawl) =
            of.start(Behaviour { latency, seed: random.random(), ..Behaviour::default() }).await;
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
        let (latest, counts) = (Store::latest_ledger(&self.crawl.config.store.path), store.counts().unwrap());
        match latest {
            Ok(latest) => assert_eq!(latest.counts, counts, "`status` shows another state, after {how}"),
            // Killed before the first ledger.
            Err(error) => {
                assert!(matches!(error, StoreError::Missing(_)) && counts == Tally::default(), "after {how}: {error}");
            }
        }
    }

    fn finish(self, expected: &Expected) {
        assert_same_artifacts(&expected.files, &expected.of.files(&self.crawl));
        assert_eq!(feed_of(&self.crawl), expected.feed);
        let verified = finish(command(&self.crawl, &["verify"]));
        assert_eq!((verified.code(), verified.stdout.as_str()), (Some(0), ""), "{}", verified.stderr);
        // Of each kill at most what was in flight, and what waited for a commit.
        let config = &self.crawl.config;
        let in_flight: usize = Kind::ALL.iter().map(|kind| config.concurrency_of(*kind)).sum();
        let most = (self.kills * (in_flight + 3 * config.store.commit_records.get())) as u64;
        let repeated = self.simulator.served().total().saturating_sub(expected.num_requests);
        assert!(repeated <= most, "{repeated} requests were repeated after {} kills", self.kills);
    }
}

/// Refreshes a store up to each of the ends, and kills it on the way as `kill` decides, until as many kills as wanted have
/// struck.
async fn kill_refreshes(
    test: &str,
    of: Of,
    num_kills: usize,
    mut kill: impl AsyncFnMut(&mut StdRng, &Expected, Command) -> (String, bool),
) {
    let expected = expected(of).await;
    let mut random = seeded(test);
    let mut kills = 0;
    while kills < num_kills {
        let mut ordeal = Ordeal::begin(of, &mut random).await;
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

/// Kills a refresh at a fail point.
#[cfg(debug_assertions)] // the fail points are in no other build
async fn at_a_fail_point(random: &mut StdRng, mut refresh: Command) -> (String, bool) {
    let (name, most) = FAIL_POINTS[random.random_range(0..FAIL_POINTS.len())];
    let point = format!("{name}:{}", random.random_range(1..=most));
    refresh.env("PERFHARVEST_FAIL_POINT", &point);
    let ended = blocking(|| finish(refresh)).await;
    assert!(ended.signal() == Some(SIGABRT) || ended.code() == Some(0), "{point}: {}", ended.stderr);
    (point, ended.signal().is_some())
}

/// Kills a refresh within `time`.
async fn at_any_moment(random: &mut StdRng, time: Duration, mut refresh: Command) -> (String, bool) {
    let after = random.random_range(Duration::ZERO..time);
    let mut child = refresh.spawn().unwrap();
    tokio::time::sleep(after).await;
    child.kill().unwrap();
    let ended = blocking(|| wait(child)).await;
    assert!(ended.signal().is_some() || ended.code() == Some(0), "{}", ended.stderr);
    (format!("SIGKILL after {after:?}"), ended.signal().is_some())
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_that_are_killed_at_fail_points_come_to_the_bytes_of_one_crawl() {
    kill_refreshes("refreshes at fail points", Of::Data, num_kills(), async |random, _, refresh| {
        at_a_fail_point(random, refresh).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_that_are_killed_at_any_moment_come_to_the_bytes_of_one_crawl() {
    kill_refreshes("refreshes at any moment", Of::Data, num_kills(), async |random, expected, refresh| {
        at_any_moment(random, expected.time, refresh).await
    })
    .await;
}

/// The first refresh is a crawl; the later ones join rows with those of before.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_while_replicates_are_fetched_and_joined_come_to_the_bytes_of_one_crawl() {
    let mut at_fail_point = true;
    kill_refreshes("replicates", Of::Replicates, num_kills() / 3, async |random, expected, refresh| {
        at_fail_point = !at_fail_point;
        if at_fail_point {
            at_a_fail_point(random, refresh).await
        } else {
            at_any_moment(random, expected.time, refresh).await
        }
    })
    .await;
}
