//! `run`, `crawl` and `reduce`.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;

use super::advice::advice;
use super::commits;
use super::flags::{
    Configured, FileFlags, FlagGroup, InputFlags, LogFlags, OutFlags, ProgressFlags, RateFlags, SampleFlags,
    SemanticsFlags, SourceFlags, StoreFlags, WindowFlags, configured,
};
use super::reading::open_to_show;
use super::shell::ArtifactNames;
use super::summary::{closing_summary, crawl_lines, exit_code, missing_line, reduction_lines};
use super::summary_json::summary_json;
use super::terminal::{print, say, say_if_quiet};
use crate::actor::Shutdown;
use crate::config::{Config, ConfigWatch, Layers, WindowConfig};
use crate::dataset::Artifact;
use crate::observe::Counters;
use crate::pipeline::{self, RunOptions, RunSummary};
use crate::store::{Store, StoreError};
use crate::{EXIT_INCOMPLETE, Error};

#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags, and independent")]
pub(super) struct CrawlArgs {
    /// Continue a crawl whose server has moved to a new address
    #[arg(long)]
    same_source: bool,
    /// Check the inputs and list the requests to make, without sending or writing anything
    #[arg(long)]
    dry_run: bool,
    /// Fetch again all answers with records that were set aside
    #[arg(long)]
    retry_set_aside: bool,
    /// Print the summary as one JSON object on standard output
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    window: WindowFlags,
    #[command(flatten)]
    sample: SampleFlags,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    rate: RateFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    progress: ProgressFlags,
}

impl CrawlArgs {
    fn options(&self) -> RunOptions {
        RunOptions { same_source: self.same_source, retry_set_aside: self.retry_set_aside, ..RunOptions::default() }
    }
}

configured!(CrawlArgs: source, window, sample, inputs, store, rate, log, progress);

#[derive(Debug, Default, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    crawl: CrawlArgs,
    #[command(flatten)]
    out: OutFlags,
    #[command(flatten)]
    semantics: SemanticsFlags,
}

impl Configured for RunArgs {
    fn file(&self) -> &FileFlags {
        self.crawl.file()
    }

    fn file_mut(&mut self) -> &mut FileFlags {
        self.crawl.file_mut()
    }

    fn groups(&self) -> Vec<&dyn FlagGroup> {
        let mut groups = self.crawl.groups();
        groups.extend([&self.out as &dyn FlagGroup, &self.semantics]);
        groups
    }
}

#[derive(Debug, Args)]
pub(super) struct ReduceArgs {
    /// Artifacts to make, by file name [default: all]
    #[arg(value_name = "ARTIFACT", value_parser = ArtifactNames, hide_possible_values = true)]
    artifacts: Vec<Artifact>,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    window: WindowFlags,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    out: OutFlags,
    #[command(flatten)]
    semantics: SemanticsFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    progress: ProgressFlags,
}

configured!(ReduceArgs: window, inputs, store, out, semantics, log, progress);

#[derive(Debug, Default, Args)]
pub(super) struct RefreshArgs {
    /// Ask again for the data of every signature, over the whole window
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    run: RunArgs,
}

impl Configured for RefreshArgs {
    fn file(&self) -> &FileFlags {
        self.run.file()
    }

    fn file_mut(&mut self) -> &mut FileFlags {
        self.run.file_mut()
    }

    fn groups(&self) -> Vec<&dyn FlagGroup> {
        self.run.groups()
    }
}

pub(super) async fn refresh(args: &RefreshArgs) -> Result<u8, Error> {
    let config = args.start_next()?;
    require_commits(&config)?;
    let options = RunOptions { full: args.full, ..args.run.crawl.options() };
    if args.run.crawl.dry_run {
        let own = WindowConfig { data_end: None, ..config.window.clone() };
        let code = dry_run(&Config { window: own, ..config.clone() }, options, true)?;
        if Store::exists(&config.store.path) {
            let plan = advice(&config, "perfharvest plan --refresh");
            print(&format!("refresh: then opens the next harvest; `{plan}` counts its requests\n"))?;
        }
        return Ok(code);
    }
    run_with(config, options, Some(args.layers()?), Command::Refresh, args.run.crawl.json).await
}

/// The command that `run_with` carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Run,
    Refresh,
}

pub(super) async fn run(args: &RunArgs) -> Result<u8, Error> {
    let config = args.start()?;
    require_commits(&config)?;
    if args.crawl.dry_run {
        return dry_run(&config, args.crawl.options(), true);
    }
    run_with(config, args.crawl.options(), Some(args.layers()?), Command::Run, args.crawl.json).await
}

/// A run or a refresh and its closing summary, also for `demo`. While it runs, `layers` are read again when their file changes.
pub(super) async fn run_with(
    config: Config,
    options: RunOptions,
    layers: Option<Layers>,
    command: Command,
    json: bool,
) -> Result<u8, Error> {
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (sender, live) = watch::channel(Arc::new(config.clone()));
    let _watch = layers.map(|layers| ConfigWatch::start(layers, sender.clone()));
    let counters = Arc::new(Counters::default());
    let counting = Arc::clone(&counters);
    let summary = match command {
        Command::Run => pipeline::run(live, options, &[], &shutdown, counting).await?,
        Command::Refresh => pipeline::refresh(live, options, &[], &shutdown, counting).await?,
    };
    let code = run_code(&summary);
    if json {
        print(&summary_json(&config, &summary.crawl, summary.reduction.as_ref(), code)?)?;
        return Ok(code);
    }
    say(&closing_summary(&config, &summary, &counters));
    if exit_code(&summary.crawl) == EXIT_INCOMPLETE {
        say_if_quiet(&missing_line(&config, &summary.crawl));
    }
    say_refused(&summary.reduction.map(|reduction| reduction.refused).unwrap_or_default());
    Ok(code)
}

/// The exit code of a run: a malformed input makes it incomplete.
fn run_code(summary: &RunSummary) -> u8 {
    let refuses = summary.reduction.as_ref().is_some_and(|reduction| !reduction.refused.is_empty());
    match exit_code(&summary.crawl) {
        0 if refuses => EXIT_INCOMPLETE,
        code => code,
    }
}

/// Says which artifacts a malformed input costs; false if there are none.
pub(super) fn say_refused(refused: &BTreeMap<Artifact, String>) -> bool {
    for (artifact, reason) in refused {
        say_if_quiet(&format!("not made: {artifact}: {reason}"));
    }
    !refused.is_empty()
}

pub(super) async fn crawl(args: &CrawlArgs) -> Result<u8, Error> {
    let config = args.start()?;
    if config.commits_file().is_none() {
        say("note: without --commits, the busiest revision is unknown, and its job details are not fetched");
    }
    if args.dry_run {
        return dry_run(&config, args.options(), false);
    }
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (sender, live) = watch::channel(Arc::new(config.clone()));
    let _watch = ConfigWatch::start(args.layers()?, sender.clone());
    let counters = Arc::new(Counters::default());
    let summary = pipeline::crawl(live, args.options(), &shutdown, Arc::clone(&counters)).await?;
    let code = exit_code(&summary);
    if args.json {
        print(&summary_json(&config, &summary, None, code)?)?;
        return Ok(code);
    }
    say(&crawl_lines(&config, &summary, &counters));
    if code == EXIT_INCOMPLETE {
        say_if_quiet(&missing_line(&config, &summary));
    }
    Ok(code)
}

fn dry_run(config: &Config, options: RunOptions, makes_artifacts: bool) -> Result<u8, Error> {
    let dry = pipeline::dry_run(config, options, makes_artifacts)?;
    print(&super::dry_run::lines(config, &dry, makes_artifacts))?;
    Ok(0)
}

pub(super) async fn reduce(args: &ReduceArgs) -> Result<u8, Error> {
    let config = Arc::new(args.start()?);
    let store = Arc::new(open_to_show(&config.store)?);
    refuse_other_window(&store, &config)?;
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let summary = pipeline::reduce_store(store, &config, &args.artifacts, &shutdown).await?;
    say(&reduction_lines(&config, &args.artifacts, &summary));
    if summary.complete {
        return Ok(if summary.manifest.num_set_aside() == 0 { 0 } else { EXIT_INCOMPLETE });
    }
    if say_refused(&summary.refused) {
        return Ok(EXIT_INCOMPLETE);
    }
    say_if_quiet(&format!(
        "the dataset is incomplete; `{}` shows what is missing",
        advice(&config, "perfharvest status")
    ));
    Ok(EXIT_INCOMPLETE)
}

/// Refuses a window other than the store's: the dataset would silently have the store's window.
fn refuse_other_window(store: &Store, config: &Config) -> Result<(), StoreError> {
    let differences = store.identity()?.map(|identity| identity.window_differences(config)).unwrap_or_default();
    if differences.is_empty() {
        return Ok(());
    }
    Err(StoreError::OtherCrawl { path: config.store.path.clone(), differences })
}

/// A run makes the whole dataset, and most of it needs the commits.
fn require_commits(config: &Config) -> Result<(), Error> {
    if config.commits_file().is_some() {
        return Ok(());
    }
    let message = format!(
        "the dataset needs the commits of the repository: give the file with --commits all_commits.jsonl (inputs.commits). It has \
         one JSON object per line, with \"node\" and \"date\": [epoch, offset]. Any of these commands makes it:\n  {}\n\
         If you set inputs.commits_from to one of these sources, each run makes the file itself. Without the commits, use \
         `perfharvest crawl`, and `perfharvest reduce sig_groups …` for the artifacts that do not need them.",
        commits::WAYS
    );
    Err(Error::Usage { message })
}
