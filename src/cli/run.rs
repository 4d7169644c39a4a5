//! `run`, `crawl` and `reduce`.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Common, ReduceArgs, RunArgs, advice, commits, is_quiet, say, say_even_if_quiet};
use crate::actor::Shutdown;
use crate::config::{Config, ConfigWatch, Layers};
use crate::dataset::{Artifact, Input, ReduceSummary};
use crate::model::Kind;
use crate::observe::{Counters, human_bytes, human_duration};
use crate::pipeline::{self, CrawlSummary, RunOptions, RunSummary};
use crate::store::{KindCounts, Store};
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
    let code = exit_code(&summary.crawl);
    if code == EXIT_INCOMPLETE {
        say_if_quiet(&missing_line(&config, &summary.crawl));
    }
    Ok(code)
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
    let code = exit_code(&summary);
    if code == EXIT_INCOMPLETE {
        say_if_quiet(&missing_line(&config, &summary));
    }
    Ok(code)
}

pub(super) async fn reduce(common: &Common<ReduceArgs>) -> Result<u8, Error> {
    let config = Arc::new(common.flags.start()?);
    let store = Arc::new(Store::open_existing(&config.store)?);
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let summary = pipeline::reduce_store(store, &config, &common.own.artifacts, &shutdown).await?;
    say(&reduction_lines(&config, &common.own.artifacts, &summary));
    if summary.complete {
        return Ok(0);
    }
    say_if_quiet(&format!(
        "the dataset is incomplete; `{}` says what is missing",
        advice(&config, "perfharvest status")
    ));
    Ok(EXIT_INCOMPLETE)
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

/// The one line that `-q` leaves of a closing summary.
fn say_if_quiet(line: &str) {
    if is_quiet() {
        say_even_if_quiet(line);
    }
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
        text.push_str(&reduction_lines(config, &[], reduction));
        text.push_str(&format!("to look at it: {}\n", advice(config, "perfharvest report")));
    }
    text
}

/// `1 request`, `12 requests`
fn counted(num: u64, what: &str) -> String {
    if num == 1 { format!("1 {what}") } else { format!("{num} {what}s") }
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
    let sum = |of: fn(&KindCounts) -> u64| Kind::ALL.iter().map(|kind| of(crawl.counts.of(*kind))).sum::<u64>();
    // Of a run that was killed, only what it stored is known.
    let requests = sum(|counts| counts.attempts).max(crawl.requests_made);
    let one_by_one = one_by_one(crawl);
    text.push_str(&format!(
        "this run: {} in {}\nall runs: {} for {} of JSON; one by one, the same takes {one_by_one}: {} saved\nstore {}\n",
        counted(crawl.requests_made, "request"),
        human_duration(crawl.elapsed),
        counted(requests, "request"),
        human_bytes(sum(|counts| counts.body_bytes)),
        one_by_one.saturating_sub(requests),
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
    } else if exit_code(crawl) == 0 {
        text.push_str("complete: nothing is left to fetch\n");
    } else {
        text.push_str(&missing_line(config, crawl));
        text.push('\n');
    }
    text
}

/// What a crawl that came to its end lacks, and what to do.
fn missing_line(config: &Config, crawl: &CrawlSummary) -> String {
    let failed = crawl.counts.failed();
    if failed > 0 {
        let again = if failed == 1 { "it" } else { "these" };
        let list = advice(config, "perfharvest failures");
        format!(
            "incomplete: {} failed: `{list}` lists {again}; the next run tries {again} again",
            counted(failed, "request")
        )
    } else if crawl.counts.pending() > 0 {
        // Nothing but a dry run leaves any.
        "incomplete: job details are left to fetch (dry run); a run without --dry-run fetches them".to_owned()
    } else if crawl.alerts_moved {
        "incomplete: the list of alert summaries moved each time it was read: some may be missing; the next run reads it again"
            .to_owned()
    } else if crawl.lost.is_empty() {
        "incomplete: the next run works out what is left to ask".to_owned()
    } else {
        format!("incomplete: {} lost for good", counted(crawl.lost.len() as u64, "answer"))
    }
}

/// The requests that the same answers take one by one: each signature's record and data, each job, ten alerts a page.
fn one_by_one(crawl: &CrawlSummary) -> u64 {
    let of = |kind: Kind| crawl.counts.of(kind);
    let signatures = of(Kind::Summaries).settled();
    of(Kind::Alerts).records.div_ceil(10).max(1) + 2 * signatures + 1 + of(Kind::JobDetails).settled()
}

fn reduction_lines(config: &Config, asked: &[Artifact], reduction: &ReduceSummary) -> String {
    let mut text = format!(
        "{} written, {} unchanged, in {}\n",
        counted(reduction.written.len() as u64, "artifact"),
        reduction.unchanged.len(),
        config.artifacts.out.display()
    );
    if asked.is_empty() {
        text.push_str(&not_made_lines(config));
    }
    if !reduction.complete {
        text.push_str(
            "the dataset is incomplete (manifest.json: \"complete\": false): rows are missing; a run fetches them.\n",
        );
    } else if !reduction.manifest.complete {
        text.push_str(&format!(
            "other artifacts in this folder are of an earlier state of the crawl (manifest.json: \"complete\": false); \
             `{}` makes them anew.\n",
            advice(config, "perfharvest reduce"),
        ));
    }
    text
}

/// The artifacts that all means without them, since an input is not configured.
fn not_made_lines(config: &Config) -> String {
    let has_commits = config.commits_file().is_some_and(|file| config.inputs.commits.is_some() || file.exists());
    let mut text = String::new();
    for (input, is_there, key) in [
        (Input::Commits, has_commits, "--commits (inputs.commits), see `perfharvest commits --help`"),
        (Input::PerfLlmStruc, config.inputs.perf_llm_struc.is_some(), "inputs.perf_llm_struc, the records to relabel"),
    ] {
        let lacking = Artifact::ALL.iter().filter(|artifact| artifact.inputs().contains(&input)).count() as u64;
        if !is_there && lacking > 0 {
            let need = if lacking == 1 { "needs" } else { "need" };
            text.push_str(&format!("not made: {} {need} {key}\n", counted(lacking, "artifact")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Timestamp;
    use crate::store::{Counts, CrawlIdentity};

    /// A crawl whose tally is that of `counts`.
    fn crawl(counts: &str) -> CrawlSummary {
        let counts: Counts = serde_json::from_str(counts).unwrap();
        CrawlSummary {
            identity: CrawlIdentity::create(&Config::default(), Timestamp::default()),
            counts,
            requests_made: 1,
            elapsed: Duration::from_secs(108),
            lost: Vec::new(),
            interrupted: false,
            alerts_moved: false,
        }
    }

    fn tally(failed: u64, finished: bool) -> String {
        let kind = |data: u64, failed: u64, attempts: u64| {
            format!(
                "{{\"pending\":0,\"data\":{data},\"empty\":0,\"gone\":0,\"skipped\":0,\"failed\":{failed},\"records\":{data},\
                 \"body_bytes\":500,\"attempts\":{attempts}}}"
            )
        };
        let kinds = [kind(1, 0, 1), kind(1, 0, 1), kind(20, failed, 22), kind(600, 0, 2)].join(",");
        format!("{{\"commits\":1,\"kinds\":[{kinds}],\"digests\":[0,0,0,0],\"finished\":{finished}}}")
    }

    #[test]
    fn a_summary_tells_this_run_from_all_and_says_what_was_saved_and_that_it_is_complete() {
        let text = crawl_lines(&Config::default(), &crawl(&tally(0, true)), &Counters::default());
        assert!(text.contains("this run: 1 request in 1 min 48 s\n"), "{text}");
        assert!(
            text.contains("all runs: 26 requests for 2.0 kB of JSON; one by one, the same takes 642: 616 saved\n"),
            "{text}"
        );
        assert!(text.ends_with("complete: nothing is left to fetch\n") && text.lines().count() < 20, "{text}");
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_lists_it() {
        let mut config = Config::default();
        config.store.path = "a store".into();
        let line = missing_line(&config, &crawl(&tally(1, false)));
        let list = "`perfharvest failures --store 'a store'`";
        assert_eq!(line, format!("incomplete: 1 request failed: {list} lists it; the next run tries it again"));
        let line = missing_line(&config, &crawl(&tally(3, false)));
        assert!(line.starts_with("incomplete: 3 requests failed: "), "{line}");
    }

    #[test]
    fn artifacts_that_lack_an_input_are_told() {
        let mut config = Config::default();
        let text = not_made_lines(&config);
        assert!(text.contains("not made: 7 artifacts need --commits (inputs.commits)"), "{text}");
        assert!(text.contains("not made: 2 artifacts need inputs.perf_llm_struc"), "{text}");
        config.inputs.commits = Some("all_commits.jsonl".into());
        config.inputs.perf_llm_struc = Some("perf_llm_struc.jsonl".into());
        assert_eq!(not_made_lines(&config), "");
    }
}
