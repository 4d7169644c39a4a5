//! `run`, `crawl` and `reduce`.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Common, ReduceArgs, RunArgs, commits, say};
use crate::actor::Shutdown;
use crate::config::{Config, ConfigWatch, Layers, Semantics};
use crate::model::Kind;
use crate::observe::{Counters, human_bytes, human_duration};
use crate::pipeline::{self, CrawlSummary, RunOptions, RunSummary};
use crate::reduce::ReduceSummary;
use crate::store::Store;
use crate::{EXIT_INCOMPLETE, EXIT_INTERRUPTED, Error};

pub(super) async fn run(common: &Common<RunArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    require_commits(&config)?;
    run_with(config, options(&common.own), Some(common.flags.layers()?)).await
}

/// A run with its closing summary; also the demo's. `layers`: what is read again while it runs.
pub(super) async fn run_with(config: Config, options: RunOptions, layers: Option<Layers>) -> Result<u8, Error> {
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (sender, live) = watch::channel(Arc::new(config.clone()));
    let _watch = layers.map(|layers| ConfigWatch::start(layers, sender.clone()));
    let counters = Arc::new(Counters::default());
    let summary = pipeline::run(live, options, &[], &shutdown, Arc::clone(&counters)).await?;
    say(&closing_summary(&config, &summary, &counters));
    Ok(exit_code(&summary.crawl))
}

pub(super) async fn crawl(common: &Common<RunArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    if config.commits_file().is_none() {
        say("note: without --commits, the busiest revision is not known and its job details are not fetched");
    }
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (sender, live) = watch::channel(Arc::new(config.clone()));
    let _watch = ConfigWatch::start(common.flags.layers()?, sender.clone());
    let counters = Arc::new(Counters::default());
    let summary = pipeline::crawl(live, options(&common.own), &shutdown, Arc::clone(&counters)).await?;
    say(&crawl_lines(&config, &summary, &counters));
    Ok(exit_code(&summary))
}

pub(super) async fn reduce(common: &Common<ReduceArgs>) -> Result<u8, Error> {
    let config = Arc::new(common.flags.start()?);
    let store = Arc::new(Store::open_existing(&config.store)?);
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let summary = pipeline::reduce_store(store, &config, &common.own.artifacts, &shutdown).await?;
    say(&reduction_lines(&config, &summary));
    Ok(if summary.complete { 0 } else { EXIT_INCOMPLETE })
}

fn options(args: &RunArgs) -> RunOptions {
    RunOptions { same_source: args.same_source, dry_run: args.dry_run, lists_only: false }
}

/// A run makes the whole dataset, and most of it needs the commits.
fn require_commits(config: &Config) -> Result<(), Error> {
    if config.commits_file().is_some() {
        return Ok(());
    }
    let message = format!(
        "run needs the commits of the repository: --commits all_commits.jsonl (inputs.commits), a JSON object a line with \
         \"node\" and \"date\": [epoch, offset]. One of these makes it:\n  {}\n\
         Or set inputs.commits_from to such a source, and every run makes it itself. Without the commits, \
         `perfharvest crawl` and `perfharvest reduce sig_groups …` do what needs none.",
        commits::WAYS
    );
    Err(Error::Usage { message })
}

fn exit_code(crawl: &CrawlSummary) -> u8 {
    if crawl.interrupted {
        EXIT_INTERRUPTED
    } else if !crawl.counts.is_complete() || !crawl.lost.is_empty() {
        EXIT_INCOMPLETE
    } else {
        0
    }
}

fn closing_summary(config: &Config, summary: &RunSummary, counters: &Counters) -> String {
    let mut text = crawl_lines(config, &summary.crawl, counters);
    if let Some(reduction) = &summary.reduction {
        text.push_str(&reduction_lines(config, reduction));
        text.push_str(&report_hint(config));
    }
    text
}

/// The command that makes a page of a run, whole: the demo has no configuration file to repeat.
fn report_hint(config: &Config) -> String {
    let mut text = format!("to look at it: perfharvest report --store {}", config.store.path.display());
    text.push_str(&format!(" --out {}", config.artifacts.out.display()));
    if let Some(commits) = config.commits_file() {
        text.push_str(&format!(" --commits {}", commits.display()));
    }
    if config.artifacts.semantics == Semantics::Reference {
        text.push_str(" --semantics reference");
    }
    text + "\n"
}

/// What a crawl came to, on less than a screen.
fn crawl_lines(config: &Config, crawl: &CrawlSummary, counters: &Counters) -> String {
    let mut text = String::from("\n              fetched    empty     gone  skipped   failed  pending    records\n");
    for kind in Kind::ALL {
        let counts = crawl.counts.of(kind);
        text.push_str(&format!(
            "{:>12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10}\n",
            kind.name().replace('_', " "),
            counts.data,
            counts.empty,
            counts.gone,
            counts.skipped,
            counts.failed,
            counts.pending,
            counts.records,
        ));
    }
    let one_by_one: u64 = one_by_one(crawl);
    let body_bytes: u64 = Kind::ALL.iter().map(|kind| crawl.counts.of(*kind).body_bytes).sum();
    text.push_str(&format!(
        "{} requests in {}; all runs: {} of JSON, where one request each takes {one_by_one} requests\nstore {}\n",
        crawl.requests_made,
        human_duration(crawl.elapsed),
        human_bytes(body_bytes),
        config.store.path.display(),
    ));
    for request in &crawl.lost {
        text.push_str(&format!(
            "lost: {request}: its stored answer was damaged or missing, and the server no longer has it\n"
        ));
    }
    if let Some(hint) = counters.limit_hint() {
        text.push_str(&format!("{hint}\n"));
    }
    if crawl.interrupted {
        text.push_str("interrupted; everything fetched is kept. Run the same command again to go on.\n");
    } else if crawl.counts.failed() > 0 {
        text.push_str("some requests failed: `perfharvest failures` lists them; the next run tries these again.\n");
    } else if crawl.counts.pending() > 0 {
        // Nothing but a dry run leaves any.
        text.push_str("job details are left to fetch (dry run); a run without --dry-run fetches them.\n");
    }
    if crawl.alerts_moved {
        text.push_str(
            "the list of alert summaries moved each time it was read: some may be missing; the next run reads it again.\n",
        );
    }
    text
}

/// The requests that the same answers take one by one: each signature's record and data, each job, ten alerts a page.
fn one_by_one(crawl: &CrawlSummary) -> u64 {
    let of = |kind: Kind| crawl.counts.of(kind);
    let signatures = of(Kind::Summaries).settled();
    of(Kind::Alerts).records.div_ceil(10).max(1) + 2 * signatures + 1 + of(Kind::JobDetails).settled()
}

fn reduction_lines(config: &Config, reduction: &ReduceSummary) -> String {
    let mut text = format!(
        "{} artifacts written, {} unchanged, in {}\n",
        reduction.written.len(),
        reduction.unchanged.len(),
        config.artifacts.out.display()
    );
    if !reduction.complete {
        text.push_str(
            "the dataset is incomplete (manifest.json: \"complete\": false): rows are missing; a run fetches them.\n",
        );
    } else if !reduction.manifest.complete {
        text.push_str(
            "other artifacts in this folder are of an earlier state of the crawl (manifest.json: \"complete\": false); \
             `perfharvest reduce` makes them anew.\n",
        );
    }
    text
}
