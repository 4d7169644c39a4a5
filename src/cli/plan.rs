//! `plan`: estimates the requests and the time of a run.
//!
//! It fetches only the lists (alert summaries, signatures), and stores the answers. While a crawl has locked the store,
//! the plan is made from the ledger and from `run.json`, without a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::watch;

use super::due::due_line;
use super::flags::{
    Configured, FileFlags, LogFlags, RateFlags, SampleFlags, SourceFlags, StoreFlags, WindowFlags, configured,
};
use super::sizes::{Sizes, size_line, sizes};
use super::terminal::{print, say};
use crate::actor::Shutdown;
use crate::config::{Config, Rate, Scope};
use crate::fetch::Reason;
use crate::model::{Kind, Request, Timestamp, printable_lines};
use crate::observe::{Counters, DueJobs, RunState, counted, human_bytes, human_duration};
use crate::pipeline::{self, RunOptions, ScopeEffect};
use crate::store::{Store, StoreError, Tally};
use crate::{EXIT_INCOMPLETE, EXIT_INTERRUPTED, Error};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags, and independent")]
pub(super) struct PlanArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Estimate a refresh of the store instead of a run; stores nothing
    #[arg(long)]
    refresh: bool,
    /// With --refresh: estimate a refresh --full
    #[arg(long, requires = "refresh")]
    full: bool,
    /// Continue a crawl whose server has moved to a new address
    #[arg(long)]
    same_source: bool,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    window: WindowFlags,
    #[command(flatten)]
    sample: SampleFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    rate: RateFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(PlanArgs: source, window, sample, store, rate, log);

/// Job details per signature with data, as long as none is known: the first, the middle and the last job.
const SAMPLE: u64 = 3;

/// The plan for one kind of request.
#[derive(Debug, Serialize)]
struct KindPlan {
    kind: Kind,
    /// Settled: lists and summaries as requests, job details as jobs.
    done: u64,
    /// Still to fetch, including what failed in an earlier run.
    to_do: u64,
    /// HTTP requests still to make.
    requests: u64,
    /// True if a run makes exactly these requests, unless the server fails; otherwise they are an estimate.
    is_exact: bool,
    /// Settled without a request, because the signature has no data in the window.
    skipped: u64,
    /// Requests that all the work, done and to do, would take with one item per request.
    one_by_one: u64,
    /// Bytes still to fetch, from the mean of the answers so far; unknown before the first.
    expected_bytes: Option<u64>,
}

impl KindPlan {
    /// False for replicates that nobody asks for.
    fn is_shown(&self) -> bool {
        self.kind != Kind::Replicates || self.one_by_one > 0
    }
}

#[derive(Debug, Serialize)]
struct Plan {
    kinds: Vec<KindPlan>,
    /// HTTP requests still to make.
    requests: u64,
    one_by_one: u64,
    expected_bytes: Option<u64>,
    requests_per_second: Rate,
    eta_secs: u64,
    /// Rate reached in the last minutes of the last crawl.
    reached_per_second: Option<f64>,
    eta_at_reached_secs: Option<u64>,
    /// Sampled jobs still to fetch, by when the server deletes them.
    jobs_due: DueJobs,
    /// True if a list could not be fetched; the plan then lacks its entries.
    lists_failed: bool,
    /// True if a crawl is running; the plan is then made from the files that it writes beside the store.
    crawl_is_running: bool,
    /// Why signatures are skipped.
    skipped_reason: String,
    /// The signatures whose data are fetched; `None` while a crawl runs.
    scope: Option<Scope>,
    /// Requests for data that the scope saves.
    saved_by_scope: u64,
    /// Disk space at the end; not of a refresh.
    #[serde(flatten)]
    sizes: Option<Sizes>,
    /// Of a refresh: why signatures are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<RefreshOf>,
}

/// The signatures that a refresh asks for, by reason.
#[derive(Debug, Serialize)]
struct RefreshOf {
    data_end: Timestamp,
    new: u64,
    /// The server has newer data.
    moved: u64,
    /// They have no newer data, but may have got some for old pushes.
    late_check: u64,
    /// All are asked again.
    full: u64,
}

pub(super) async fn run(args: &PlanArgs) -> Result<u8, Error> {
    let config = if args.refresh { args.start_next()? } else { args.start()? };
    let options = RunOptions { same_source: args.same_source, full: args.full, ..RunOptions::default() };
    let made = if args.refresh { make_refresh(&config, options).await? } else { make(&config, options).await? };
    let Some(plan) = made else {
        say(if args.refresh {
            "interrupted"
        } else {
            "interrupted: the lists fetched so far are stored. Run the same command again to resume."
        });
        return Ok(EXIT_INTERRUPTED);
    };
    if args.json {
        let text = serde_json::to_string_pretty(&plan).map_err(|source| StoreError::Encode { source })?;
        print(&(text + "\n"))?;
    } else {
        print(&printable_lines(&table(&plan)))?;
    }
    Ok(if plan.lists_failed { EXIT_INCOMPLETE } else { 0 })
}

/// `None` if interrupted: without the lists there is nothing to estimate from.
async fn make(config: &Config, options: RunOptions) -> Result<Option<Plan>, Error> {
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (_keep, live) = watch::channel(Arc::new(config.clone()));
    let options = RunOptions { lists_only: true, ..options };
    let state = RunState::read(&config.store.path);
    let crawled = pipeline::crawl(live, options, &shutdown, Arc::new(Counters::default())).await;
    let mut effect = None;
    let (counts, by_day, start, running) = match crawled {
        Ok(summary) if summary.interrupted => return Ok(None),
        Ok(summary) => {
            let store = Store::open_existing(&config.store)?;
            effect = Some(pipeline::scope_effect(&store, config)?);
            (summary.counts, pending_by_day(&store)?, summary.identity.data_window().start, false)
        }
        Err(Error::Store(StoreError::Locked(path))) => {
            let ledger = Store::latest_ledger(&path)?;
            if let Some(identity) = &ledger.identity {
                pipeline::refuse_other(identity, config, options)?;
                pipeline::scope_of(identity, &ledger.counts, config)?;
            }
            let start = ledger.identity.map_or(Timestamp::default(), |crawl| crawl.data_window().start);
            let by_day = state.as_ref().map(|state| state.pending_jobs_by_day.clone()).unwrap_or_default();
            (ledger.counts, by_day, start, true)
        }
        Err(error) => return Err(error),
    };
    let reached = state.map(|state| state.reached_lately_per_second).filter(|reached| *reached > 0.0);
    let plan = plan_of(&counts, config, &by_day, start, effect.as_ref());
    Ok(Some(Plan {
        reached_per_second: reached,
        eta_at_reached_secs: reached.map(|reached| seconds(plan.requests, reached)),
        crawl_is_running: running,
        saved_by_scope: effect.as_ref().map_or(0, |effect| effect.num_saved),
        scope: effect.map(|effect| effect.scope),
        ..plan
    }))
}

/// The plan of a refresh; `None` if interrupted.
async fn make_refresh(config: &Config, options: RunOptions) -> Result<Option<Plan>, Error> {
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let Some(plan) = pipeline::plan_refresh(config, options, &shutdown).await? else { return Ok(None) };
    let due = |reason| plan.due.get(&reason).copied().unwrap_or_default();
    let num_summaries: u64 = plan.due.values().sum();
    // A signature that moved has another last job, and mostly another one in the middle.
    let num_sampled = SAMPLE * (due(Reason::New) + due(Reason::Full)) + (SAMPLE - 1) * due(Reason::Moved);
    let num_jobs = plan.jobs.unwrap_or(num_sampled);
    let lists_failed = have_lists_failed(&plan.lists);
    let kind_plan = |kind: Kind| {
        let of = plan.lists.of(kind);
        let (to_do, requests, expected_bytes) = match kind {
            Kind::Alerts | Kind::Signatures => (of.total(), of.total(), Some(of.body_bytes)),
            Kind::Summaries => (num_summaries, num_summaries, None),
            Kind::Replicates => (plan.replicates, plan.replicates, None),
            Kind::JobDetails => (num_jobs, num_jobs.div_ceil(config.batch.job_ids.get() as u64), None),
        };
        let skipped = if kind == Kind::Summaries { plan.num_skipped } else { 0 };
        // The lists may have moved until they are read again.
        let is_exact = matches!(kind, Kind::Summaries | Kind::Replicates) && !lists_failed;
        KindPlan { kind, done: 0, to_do, requests, is_exact, skipped, one_by_one: to_do, expected_bytes }
    };
    let kinds: Vec<KindPlan> = Kind::ALL.into_iter().map(kind_plan).filter(KindPlan::is_shown).collect();
    let requests: u64 = kinds.iter().map(|kind| kind.requests).sum();
    let rate = config.limiter.requests_per_second;
    Ok(Some(Plan {
        requests,
        one_by_one: kinds.iter().map(|kind| kind.one_by_one).sum(),
        expected_bytes: None,
        requests_per_second: rate,
        eta_secs: seconds(requests, rate.get()),
        reached_per_second: None,
        eta_at_reached_secs: None,
        jobs_due: DueJobs::count(&BTreeMap::new(), Timestamp::now()),
        lists_failed,
        crawl_is_running: false,
        skipped_reason: format!("new, without data since {}", plan.identity.data_window().start),
        scope: Some(plan.identity.scope.clone()),
        saved_by_scope: 0,
        sizes: None,
        refresh: Some(RefreshOf {
            data_end: plan.identity.data_end,
            new: due(Reason::New),
            moved: due(Reason::Moved),
            late_check: due(Reason::LateCheck),
            full: due(Reason::Full),
        }),
        kinds,
    }))
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

fn have_lists_failed(counts: &Tally) -> bool {
    [Kind::Alerts, Kind::Signatures].iter().any(|kind| counts.of(*kind).failed > 0)
}

fn is_exact(kind: Kind, counts: &Tally, effect: &ScopeEffect, summaries_left: u64) -> bool {
    let is_known = match kind {
        Kind::Alerts => effect.num_alert_pages == 0,
        Kind::Signatures | Kind::Summaries | Kind::Replicates => true,
        Kind::JobDetails => summaries_left == 0 && (effect.scope.all_jobs || counts.is_complete()),
    };
    is_known && !have_lists_failed(counts)
}

/// The plan of a store that no crawl has open. A wider scope adds requests.
fn plan_of(
    counts: &Tally,
    config: &Config,
    by_day: &BTreeMap<i64, u64>,
    start: Timestamp,
    effect: Option<&ScopeEffect>,
) -> Plan {
    let added = |of: fn(&ScopeEffect) -> u64| effect.map_or(0, of);
    let num_added = added(|effect| effect.num_added);
    let summaries = counts.of(Kind::Summaries);
    let jobs = counts.of(Kind::JobDetails);
    let summaries_left = summaries.pending + summaries.failed + num_added;
    let num_jobs_added = added(|effect| effect.num_jobs);
    let jobs_left = jobs.pending + jobs.failed + num_jobs_added;
    // The summaries still to fetch bring as many jobs as those before them.
    let jobs_to_come = match summaries.data {
        0 => summaries_left * SAMPLE,
        known => ((jobs.total() + num_jobs_added) * summaries_left).div_ceil(known),
    };
    let per_request = config.batch.job_ids.get() as u64;
    // Those of the busiest revision are known when all data are there, and follow in a request of their own.
    let is_sampled = effect.is_none_or(|effect| !effect.scope.all_jobs);
    let of_busiest = u64::from(is_sampled && !counts.is_complete() && config.commits_file().is_some());
    let kinds: Vec<KindPlan> = Kind::ALL
        .iter()
        .map(|kind| {
            let of = counts.of(*kind);
            let to_do = match kind {
                Kind::Summaries => summaries_left,
                Kind::Alerts => of.pending + of.failed + added(|effect| effect.num_alert_pages),
                Kind::Replicates => of.pending + of.failed + added(|effect| effect.num_replicates),
                Kind::Signatures => of.pending + of.failed,
                Kind::JobDetails => jobs_left,
            };
            let (requests, one_by_one) = match kind {
                Kind::Alerts => (to_do, of.records.div_ceil(10).max(1)),
                // The list, then one request per signature.
                Kind::Signatures => (to_do, 1 + summaries.total() + num_added),
                Kind::Summaries => (to_do, summaries.total() + num_added),
                Kind::Replicates => (to_do, of.total() + added(|effect| effect.num_replicates)),
                Kind::JobDetails => {
                    let requests = (to_do + jobs_to_come).div_ceil(per_request) + of_busiest;
                    (requests, jobs.total() + num_jobs_added + jobs_to_come)
                }
            };
            let is_exact = effect.is_some_and(|effect| is_exact(*kind, counts, effect, summaries_left));
            let done = of.data + of.empty + of.gone;
            let per_unit = if *kind == Kind::JobDetails { to_do + jobs_to_come } else { to_do };
            let expected_bytes = match (per_unit, done) {
                (0, _) => Some(0),
                (_, 0) => None,
                (left, done) => Some(of.body_bytes / done * left),
            };
            KindPlan { kind: *kind, done, to_do, requests, is_exact, skipped: of.skipped, one_by_one, expected_bytes }
        })
        .filter(KindPlan::is_shown)
        .collect();
    let requests: u64 = kinds.iter().map(|kind| kind.requests).sum();
    let expected = [Kind::Summaries, Kind::JobDetails].map(|kind| kinds[kind.index()].expected_bytes);
    let rate = config.limiter.requests_per_second;
    Plan {
        one_by_one: kinds.iter().map(|kind| kind.one_by_one).sum(),
        expected_bytes: kinds.iter().map(|kind| kind.expected_bytes).sum(),
        requests,
        requests_per_second: rate,
        eta_secs: seconds(requests, rate.get()),
        reached_per_second: None,
        eta_at_reached_secs: None,
        jobs_due: DueJobs::count(by_day, Timestamp::now()),
        lists_failed: have_lists_failed(counts),
        crawl_is_running: false,
        skipped_reason: format!("no data since {start}"),
        scope: None,
        saved_by_scope: 0,
        sizes: Some(sizes(counts, summaries_left, jobs_left + jobs_to_come, expected)),
        refresh: None,
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

/// How the number of jobs was found.
fn jobs_line(plan: &Plan) -> &'static str {
    let of = |kind: Kind| plan.kinds.iter().find(|of| of.kind == kind);
    let (Some(summaries), Some(jobs)) = (of(Kind::Summaries), of(Kind::JobDetails)) else { return "" };
    match plan.scope.as_ref().is_some_and(|scope| scope.all_jobs) {
        all_jobs if jobs.is_exact && (jobs.requests == 0 || !all_jobs) => "",
        true if plan.refresh.is_some() => {
            "job details: an estimate; the refresh should find as many new jobs a day as the store has\n"
        }
        true if jobs.is_exact => "job details: exactly those that the stored data name\n",
        true if summaries.done == 0 => {
            "job details: too low, because only the data tell how many jobs they have; plan again during the crawl\n"
        }
        true => "job details: an estimate from the data fetched so far\n",
        false => "job details: an estimate; the data name them, and those of the busiest revision come last\n",
    }
}

fn table(plan: &Plan) -> String {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), human_bytes);
    let mut text = String::from("              fetched  skipped    to do requests     bytes to fetch\n");
    for kind in &plan.kinds {
        text.push_str(&format!(
            "{:>12} {:>8} {:>8} {:>8} {:>8} {:>18}\n",
            kind.kind.name().replace('_', " "),
            kind.done,
            kind.skipped,
            kind.to_do,
            kind.requests,
            bytes(kind.expected_bytes),
        ));
    }
    if let Some(of) = &plan.refresh {
        text.push_str(&format!(
            "a refresh up to {} asks for the data of {}: {} with newer data, {} new, {} to look for late data{}\n",
            of.data_end,
            counted(of.moved + of.new + of.late_check + of.full, "signature", "signatures"),
            of.moved,
            of.new,
            of.late_check,
            if of.full > 0 { format!(", {} because of --full", of.full) } else { String::new() },
        ));
    }
    if plan.kinds.iter().any(|kind| kind.skipped > 0) {
        text.push_str(&format!("skipped: {}\n", plan.skipped_reason));
    }
    if let Some(scope) = plan.scope.as_ref().filter(|scope| !scope.is_all()) {
        text.push_str(&format!(
            "scope: {scope}; it saves {} for data, and the job details that would follow\n",
            counted(plan.saved_by_scope, "request", "requests")
        ));
    }
    text.push_str(jobs_line(plan));
    let time = |secs: u64| human_duration(Duration::from_secs(secs));
    let is_exact = plan.kinds.iter().all(|kind| kind.is_exact);
    text.push_str(&format!(
        "\n{} {} still to make; with one item per request, all the work would take {}\n{} at the configured {} requests/s",
        if is_exact { "exactly" } else { "about" },
        counted(plan.requests, "request", "requests"),
        plan.one_by_one,
        time(plan.eta_secs),
        plan.requests_per_second
    ));
    if let (Some(reached), Some(secs)) = (plan.reached_per_second, plan.eta_at_reached_secs) {
        text.push_str(&format!(
            ", {} at the {reached:.1} requests/s that the last crawl reached at its end",
            time(secs)
        ));
    }
    text.push('\n');
    if let Some(sizes) = &plan.sizes {
        text.push_str(&size_line(sizes));
    }
    text.push_str(&due_line(&plan.jobs_due));
    if plan.lists_failed {
        text.push_str(
            "this estimate is too low, because a list could not be fetched; `perfharvest failures` shows the reason\n",
        );
    }
    if plan.crawl_is_running {
        text.push_str("a crawl is running; this estimate is at most a second old\n");
    }
    text
}
