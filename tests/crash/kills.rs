//! Kills crawls at fail points and at random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use perfharvest::model::Kind;
use perfharvest::store::{Ledger, Store};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use treeherder_sim::{Arrival, Behaviour, Latency, Outcome, SimulatorHandle};

use crate::arrivals::{acknowledged_in, asked_by, settled_in};
use crate::child::{blocking, command, finish, opened_copy, run_command, wait};
use crate::support::{Crawl, assert_same_artifacts, simulator};

/// Kills at fail points, and as many at random moments; a bad day gets half of it.
fn num_kills() -> usize {
    if is_long() { 240 } else { 52 }
}

/// Whether to kill and damage as often as a release must endure.
pub(crate) fn is_long() -> bool {
    std::env::var_os("PERFHARVEST_CRASH_LONG").is_some()
}

pub(crate) const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Fail points, each with the approximate maximum number of times that a run passes it.
const FAIL_POINTS: &[(&str, u64)] = &[
    ("store.before_first_ledger", 1),
    ("log.mid_write", 90),
    ("log.before_sync", 90),
    ("log.after_sync", 90),
    ("index.before_apply", 90),
    ("index.within", 9),
    ("index.after_apply", 90),
    ("index.before_generation", 4),
    ("index.after_generation", 4),
    ("ledger.before_rename", 6),
    ("ledger.after_rename", 6),
    ("artifact.before_fsync", 23),
    ("artifact.before_rename", 22),
    ("artifact.before_manifest", 2),
    ("artifact.after_renames", 2),
];

/// The seed of this run of the tests: fresh, unless the environment repeats one.
pub(crate) fn seeded(test: &str) -> StdRng {
    let seed = std::env::var("PERFHARVEST_CRASH_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{test}: PERFHARVEST_CRASH_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

async fn calm_artifacts() -> BTreeMap<String, Vec<u8>> {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    crawl.artifacts()
}

/// A bad day of a server: one answer in seven is an error, a broken connection or rubbish.
const BAD_DAY: &[&str] = &["502=0.05", "429=0.03", "reset=0.03", "cut=0.02", "html=0.01", "broken-json=0.01"];

/// A server slow enough that a kill meets requests in flight.
async fn slow_simulator(faults: &[&str], seed: u64) -> SimulatorHandle {
    let latency = Latency::Uniform { min: Duration::from_millis(1), max: Duration::from_millis(12) };
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    simulator(Behaviour { latency, faults, seed, ..Behaviour::default() }).await
}

/// One crawl through all its kills, with the requests seen so far.
struct Ordeal {
    simulator: SimulatorHandle,
    crawl: Crawl,
    /// Requests whose answers were acknowledged: on the disk at the last kill.
    acknowledged: BTreeSet<String>,
    num_arrivals: usize,
    kills: usize,
    /// The server fails now and then.
    bad_day: bool,
}

impl Ordeal {
    async fn begin(random: &mut StdRng, faults: &[&str]) -> Self {
        let simulator = slow_simulator(faults, random.random()).await;
        let mut crawl = Crawl::of(&simulator.url());
        let pick = |random: &mut StdRng, among: &[usize]| {
            NonZeroUsize::new(among[random.random_range(0..among.len())]).unwrap()
        };
        crawl.config.concurrency.summaries = pick(random, &[1, 2, 4, 8, 16]);
        crawl.config.concurrency.job_details = pick(random, &[1, 2, 4]);
        crawl.config.store.commit_records = pick(random, &[1, 2, 7, 64, 256]);
        crawl.config.store.commit_interval = Duration::from_millis(random.random_range(1..20));
        crawl.config.batch.job_ids = pick(random, &[5, 40, 300]);
        let bad_day = !faults.is_empty();
        if bad_day {
            crawl.config.retry.max_attempts = 20.try_into().unwrap(); // no request is to fail by chance alone
        }
        Self { simulator, crawl, acknowledged: BTreeSet::new(), num_arrivals: 0, kills: 0, bad_day }
    }

    /// Checks the requests and the store of the last process against the promises.
    fn check(&mut self, how: &str) {
        let arrivals = self.simulator.arrivals();
        let new = &arrivals[self.num_arrivals..];
        let asked: Vec<Vec<String>> = new.iter().map(asked_by).collect();
        self.num_arrivals = arrivals.len();
        // On a bad day, what has met nothing but errors probes the server with its smallest list.
        let is_probe = |one: &String| self.bad_day && one == "frameworks";
        for one in asked.iter().flatten().filter(|one| !is_probe(one)) {
            assert!(!self.acknowledged.contains(one), "{one} was acknowledged, and asked again after {how}");
        }
        if !self.crawl.config.store.path.join("db").exists() {
            return; // killed before it began
        }
        let (_folder, store) = opened_copy(&self.crawl.config);
        let settled = settled_in(&store);
        let forgotten: Vec<_> = self.acknowledged.difference(&settled).collect();
        assert!(forgotten.is_empty(), "forgotten after {how}: {forgotten:?}");
        if let Some(ledger) = Ledger::read(&self.crawl.config.store.path).unwrap() {
            for kind in Kind::ALL {
                let (kept, said) = (store.counts().unwrap().of(kind).settled(), ledger.counts.of(kind).settled());
                assert!(kept >= said, "the ledger knew {said} {kind:?}, the store {kept}, after {how}");
            }
            let latest = Store::latest_ledger(&self.crawl.config.store.path).unwrap();
            assert_eq!(latest.counts, store.counts().unwrap(), "`status` shows another state, after {how}");
        }
        let mut damages = Vec::new();
        store.find_damage(|damage| damages.push(damage)).unwrap();
        assert!(damages.is_empty(), "after {how}: {damages:?}");
        // At most the answers in flight and those waiting for a commit are lost; a refusal is not an answer.
        let config = &self.crawl.config;
        let in_flight: usize = Kind::WITHOUT_REPLICATES.iter().map(|kind| config.concurrency_of(*kind)).sum();
        let refused = |arrival: &Arrival| self.bad_day && arrival.outcome != Outcome::Status(200);
        let counted = new.iter().zip(&asked).filter(|(arrival, _)| !refused(arrival));
        let lost = counted.filter(|(_, asked)| !asked.iter().any(|one| settled.contains(one))).count();
        let most = in_flight + 3 * config.store.commit_records.get();
        assert!(lost <= most, "{lost} requests were lost after {how}, at most {most} may be");
        self.acknowledged = if self.bad_day { acknowledged_in(&store) } else { settled };
    }

    fn finish(self, calm: &BTreeMap<String, Vec<u8>>) {
        assert_same_artifacts(calm, &self.crawl.artifacts());
        let verified = finish(command(&self.crawl, &["verify"]));
        assert_eq!((verified.code(), verified.stdout.as_str()), (Some(0), ""), "{}", verified.stderr);
        let before = self.simulator.served().total();
        let again = finish(run_command(&self.crawl));
        assert_eq!((again.code(), self.simulator.served().total()), (Some(0), before), "{}", again.stderr);
    }
}

#[cfg(debug_assertions)] // the fail points are in no other build
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_is_killed_at_fail_points_comes_to_the_same_bytes_and_asks_nothing_twice() {
    let calm = calm_artifacts().await;
    let mut random = seeded("fail points");
    let mut kills = 0;
    let mut passed = BTreeMap::<&str, usize>::new();
    while kills < num_kills() {
        let mut ordeal = Ordeal::begin(&mut random, &[]).await;
        loop {
            let (name, most) = FAIL_POINTS[random.random_range(0..FAIL_POINTS.len())];
            let point = format!("{name}:{}", random.random_range(1..=most));
            let mut child = run_command(&ordeal.crawl);
            // After some kills the crawl may come to its end.
            if ordeal.kills < 12 {
                child.env("PERFHARVEST_FAIL_POINT", &point);
            }
            let ended = tokio::task::spawn_blocking(|| finish(child)).await.unwrap();
            ordeal.check(&point);
            if ended.signal() == Some(SIGABRT) {
                *passed.entry(name).or_default() += 1;
                ordeal.kills += 1;
                kills += 1;
            } else {
                assert_eq!(ended.code(), Some(0), "{point}: {}", ended.stderr);
                break;
            }
        }
        ordeal.finish(&calm);
    }
    println!("{kills} kills: {passed:?}");
}

/// Between the commit of a list and that of what follows from it, nothing may be pending, and yet nothing is finished.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_is_killed_before_any_of_its_first_commits_comes_to_the_same_bytes() {
    let calm = calm_artifacts().await;
    for commit in 1..=14 {
        let simulator = simulator(Behaviour::default()).await;
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.store.commit_records = NonZeroUsize::MIN;
        let mut killed = run_command(&crawl);
        killed.env("PERFHARVEST_FAIL_POINT", format!("index.before_apply:{commit}"));
        let killed = tokio::task::spawn_blocking(|| finish(killed)).await.unwrap();
        assert_eq!(killed.signal(), Some(SIGABRT), "commit {commit}: {}", killed.stderr);
        let resumed = run_command(&crawl);
        let resumed = tokio::task::spawn_blocking(|| finish(resumed)).await.unwrap();
        assert_eq!(resumed.code(), Some(0), "commit {commit}: {}", resumed.stderr);
        assert_same_artifacts(&calm, &crawl.artifacts());
    }
}

/// Kills a crawl at random moments until as many as wanted have struck, and holds what comes of it against `calm`.
async fn kill_at_any_moment(test: &str, faults: &[&str], kills_wanted: usize) {
    let calm = calm_artifacts().await;
    let mut random = seeded(test);
    // A kill after the end of a run strikes nothing, so the moments follow the speed of this machine.
    let whole = {
        let ordeal = Ordeal::begin(&mut random, faults).await;
        let began = tokio::time::Instant::now();
        let command = run_command(&ordeal.crawl);
        assert_eq!(blocking(|| finish(command)).await.code(), Some(0));
        began.elapsed()
    };
    let mut kills = 0;
    while kills < kills_wanted {
        let mut ordeal = Ordeal::begin(&mut random, faults).await;
        loop {
            let mut child = run_command(&ordeal.crawl).spawn().unwrap();
            let longest = if random.random_bool(0.2) { whole / 20 } else { whole * 3 / 4 };
            let after = random.random_range(Duration::ZERO..longest);
            if ordeal.kills < 12 {
                tokio::time::sleep(after).await;
                child.kill().unwrap();
            }
            let ended = tokio::task::spawn_blocking(|| wait(child)).await.unwrap();
            ordeal.check(&format!("SIGKILL after {after:?}"));
            if ended.signal() == Some(SIGKILL) {
                ordeal.kills += 1;
                kills += 1;
            } else {
                assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
                break;
            }
        }
        ordeal.finish(&calm);
    }
    println!("{kills} kills");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_is_killed_at_any_moment_comes_to_the_same_bytes_and_asks_nothing_twice() {
    kill_at_any_moment("random kills", &[], num_kills()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_on_a_bad_day_of_the_server_come_to_the_bytes_of_a_calm_one_and_no_failure_is_left() {
    kill_at_any_moment("kills on a bad day", BAD_DAY, num_kills() / 2).await;
}
