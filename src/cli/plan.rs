//! `plan`: what a run would ask, and how long that takes.
//!
//! It asks only for the lists (alert summaries, signatures), and stores their answers. While a crawl has the store
//! locked, the plan is made of its ledger and of what it says in `run.json`, without a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::watch;

use super::{Common, print, say};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::model::{Kind, Request, Timestamp};
use crate::observe::{Counters, DueJobs, RunState, human_bytes, human_duration};
use crate::pipeline::{self, RunOptions};
use crate::store::{Counts, Ledger, Store, StoreError};
use crate::{EXIT_INCOMPLETE, EXIT_INTERRUPTED, Error};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The store's crawl has the same server at a new address
    #[arg(long)]
    same_source: bool,
}

/// Job details that a signature with data needs before anything is known of its jobs: first, middle and last.
const SAMPLE: u64 = 3;

/// What is planned of one kind, in requests of the server.
#[derive(Debug, Serialize)]
struct KindPlan {
    kind: Kind,
    /// Settled: lists and summaries as requests, job details as jobs.
    done: u64,
    /// Known and to be asked, with what failed in an earlier run.
    to_do: u64,
    /// HTTP requests that this takes; of job details an estimate, since summaries bring more jobs.
    requests: u64,
    /// Settled without asking, since the signature has no data in the window.
    skipped: u64,
    /// The same work, done and to do, one by one.
    one_by_one: u64,
    /// Bytes to come, from the mean of the answers so far; none before the first.
    expected_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Plan {
    kinds: Vec<KindPlan>,
    /// HTTP requests to come.
    requests: u64,
    one_by_one: u64,
    expected_bytes: Option<u64>,
    requests_per_second: u32,
    eta_secs: u64,
    /// What the last minutes of the last crawl reached.
    reached_per_second: Option<f64>,
    eta_at_reached_secs: Option<u64>,
    /// Sampled jobs not yet fetched that the server will have deleted.
    jobs_due: DueJobs,
    /// True when a list could not be fetched: what it would have told is not in this plan.
    lists_failed: bool,
    /// True when a running crawl has the store, and this is made of what it wrote beside it.
    crawl_is_running: bool,
    /// What the skipped signatures are skipped for.
    skipped_reason: String,
}

pub(super) async fn run(common: &Common<PlanArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let Some(plan) = make(&config, common.own.same_source).await? else {
        say("interrupted; the lists that were fetched are kept. Run the same command again to go on.");
        return Ok(EXIT_INTERRUPTED);
    };
    if common.own.json {
        let text = serde_json::to_string_pretty(&plan).map_err(|source| StoreError::Encode { source })?;
        print(&(text + "\n"))?;
    } else {
        print(&table(&plan))?;
    }
    Ok(if plan.lists_failed { EXIT_INCOMPLETE } else { 0 })
}

/// `None` when it was interrupted: what is not listed yet cannot be planned.
async fn make(config: &Config, same_source: bool) -> Result<Option<Plan>, Error> {
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (_keep, live) = watch::channel(Arc::new(config.clone()));
    let options = RunOptions { same_source, lists_only: true, ..RunOptions::default() };
    let state = RunState::read(&config.store.path);
    let crawled = pipeline::crawl(live, options, &shutdown, Arc::new(Counters::default())).await;
    let (counts, by_day, start, running) = match crawled {
        Ok(summary) if summary.interrupted => return Ok(None),
        Ok(summary) => {
            let store = Store::open_existing(&config.store)?;
            (summary.counts, pending_by_day(&store)?, summary.identity.data_window().start, false)
        }
        Err(Error::Store(StoreError::Locked { path })) => {
            let ledger = Ledger::read_existing(&path)?;
            let start = ledger.identity.map_or(Timestamp::default(), |crawl| crawl.data_window().start);
            let by_day = state.as_ref().map(|state| state.pending_jobs_by_day.clone()).unwrap_or_default();
            (ledger.counts, by_day, start, true)
        }
        Err(error) => return Err(error),
    };
    let reached = state.map(|state| state.reached_lately_per_second).filter(|reached| *reached > 0.0);
    Ok(Some(plan_of(&counts, config, &by_day, start, reached, running)))
}

fn pending_by_day(store: &Store) -> Result<BTreeMap<i64, u64>, StoreError> {
    let mut by_day = BTreeMap::new();
    for pending in store.pending() {
        let pending = pending?;
        if matches!(pending.request, Request::Job { .. }) && pending.submitted > Timestamp::default() {
            *by_day.entry(pending.submitted.as_secs().div_euclid(86_400)).or_default() += 1;
        }
    }
    Ok(by_day)
}

fn plan_of(
    counts: &Counts,
    config: &Config,
    by_day: &BTreeMap<i64, u64>,
    start: Timestamp,
    reached: Option<f64>,
    crawl_is_running: bool,
) -> Plan {
    let summaries = counts.of(Kind::Summaries);
    let jobs = counts.of(Kind::JobDetails);
    let summaries_left = summaries.pending + summaries.failed;
    // Jobs that the summaries to come will bring: as many as those before them did.
    let jobs_to_come = match summaries.data {
        0 => summaries_left * SAMPLE,
        known => (jobs.total() * summaries_left).div_ceil(known),
    };
    let per_request = config.batch.job_ids.get() as u64;
    let kinds: Vec<KindPlan> = Kind::ALL
        .iter()
        .map(|kind| {
            let of = counts.of(*kind);
            let to_do = of.pending + of.failed;
            let (requests, one_by_one) = match kind {
                Kind::Alerts => (to_do, of.records.div_ceil(10).max(1)),
                // The list, then each signature by itself.
                Kind::Signatures => (to_do, 1 + summaries.total()),
                Kind::Summaries => (to_do, summaries.total()),
                Kind::JobDetails => ((to_do + jobs_to_come).div_ceil(per_request), jobs.total() + jobs_to_come),
            };
            let asked = of.data + of.empty + of.gone;
            let per_unit = if *kind == Kind::JobDetails { to_do + jobs_to_come } else { to_do };
            let expected_bytes = match (per_unit, asked) {
                (0, _) => Some(0),
                (_, 0) => None,
                (left, asked) => Some(of.body_bytes / asked * left),
            };
            let (done, skipped) = (asked, of.skipped);
            KindPlan { kind: *kind, done, to_do, requests, skipped, one_by_one, expected_bytes }
        })
        .collect();
    let requests: u64 = kinds.iter().map(|kind| kind.requests).sum();
    let rate = config.limiter.requests_per_second.get();
    Plan {
        one_by_one: kinds.iter().map(|kind| kind.one_by_one).sum(),
        expected_bytes: kinds.iter().map(|kind| kind.expected_bytes).sum(),
        requests,
        requests_per_second: rate,
        eta_secs: requests.div_ceil(u64::from(rate)),
        reached_per_second: reached,
        eta_at_reached_secs: reached.map(|reached| seconds(requests, reached)),
        jobs_due: DueJobs::count(by_day, Timestamp::now()),
        lists_failed: [Kind::Alerts, Kind::Signatures].iter().any(|kind| counts.of(*kind).failed > 0),
        crawl_is_running,
        skipped_reason: format!("no data since {start}"),
        kinds,
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of positive numbers"
)]
fn seconds(requests: u64, rate: f64) -> u64 {
    (requests as f64 / rate).ceil() as u64
}

fn table(plan: &Plan) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), human_bytes);
    let mut text = String::from("                 done    to do requests  skipped one by one      bytes to come\n");
    for kind in &plan.kinds {
        text.push_str(&format!(
            "{:>12} {:>8} {:>8} {:>8} {:>8} {:>10} {:>18}\n",
            kind.kind.name().replace('_', " "),
            kind.done,
            kind.to_do,
            kind.requests,
            kind.skipped,
            kind.one_by_one,
            bytes(kind.expected_bytes),
        ));
    }
    if plan.kinds.iter().any(|kind| kind.skipped > 0) {
        text.push_str(&format!("skipped: {}\n", plan.skipped_reason));
    }
    let time = |secs: u64| human_duration(Duration::from_secs(secs));
    text.push_str(&format!(
        "\nabout {} requests to come; all the work one by one: {}\n{} at the configured {} requests/s",
        plan.requests,
        plan.one_by_one,
        time(plan.eta_secs),
        plan.requests_per_second
    ));
    if let (Some(reached), Some(secs)) = (plan.reached_per_second, plan.eta_at_reached_secs) {
        text.push_str(&format!(", {} at the {reached:.1} requests/s of the last crawl's last minutes", time(secs)));
    }
    text.push('\n');
    text.push_str(&due_line(&plan.jobs_due));
    if plan.lists_failed {
        text.push_str(
            "a list could not be fetched, so more is to come than this says; `perfharvest failures` tells why\n",
        );
    }
    if plan.crawl_is_running {
        text.push_str("a crawl is running; this is as of its last second\n");
    }
    text
}

/// Also `status` says it.
pub(super) fn due_line(due: &DueJobs) -> String {
    format!(
        "sampled jobs not yet fetched that the server deletes within 1, 7, 30 days: {}, {}, {}\n",
        due.within_1_day, due.within_7_days, due.within_30_days
    )
}
