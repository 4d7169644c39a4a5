//! `status`: shows the progress of a crawl, from the files beside the store, which a running crawl has locked.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::advice::complete_commands;
use super::counts::{CountsView, count_table};
use super::due::due_line;
use super::flags::{Configured, FileFlags, LogFlags, StoreFlags, configured, given_time};
use super::fresh;
use super::summary::age_of;
use super::terminal::print;
use crate::config::Config;
use crate::model::{FIRST_HARVEST, Timestamp};
use crate::observe::{DueJobs, RunPhase, RunState, counted, human_bytes, human_duration};
use crate::store::{CrawlIdentity, Harvest, Ledger, Store, StoreError};
use crate::{EXIT_INCOMPLETE, EXIT_STALE, Error, pipeline};

/// Time between two updates of `--watch`.
const REDRAW: Duration = Duration::from_secs(1);

#[derive(Debug, Default, Args)]
pub(super) struct StatusArgs {
    /// Print one JSON object; with --watch, one per line
    #[arg(long)]
    json: bool,
    /// Update the output every second, until interrupted
    #[arg(long)]
    watch: bool,
    /// Check that the dataset is fresh: print one sentence, and exit with code 6 if it is not
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    check: bool,
    /// With --check: longest time since the end of the data of the newest finished harvest
    #[arg(long, value_name = "DURATION", requires = "check", value_parser = humantime::parse_duration, default_value = "8d")]
    max_age: Duration,
    /// With --check: also fail if the server deletes jobs within this time that were not asked for, 120 days after their
    /// push [default: not checked]
    #[arg(long, value_name = "DURATION", requires = "check", value_parser = humantime::parse_duration)]
    job_horizon: Option<Duration>,
    /// With --check: check as of this time (UTC), such as that of a simulated server's clock [default: now]
    #[arg(long, value_name = "TIME", requires = "check", value_parser = given_time)]
    as_of: Option<Timestamp>,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(StatusArgs: store, log);

#[derive(Debug)]
struct Status {
    ledger: Ledger,
    run: Option<RunState>,
    jobs_due: DueJobs,
}

/// The JSON: the fields of the ledger, then the state of the last crawl.
#[derive(Debug, Serialize)]
struct View<'a> {
    format: u32,
    store_id: &'a str,
    identity: Option<&'a CrawlIdentity>,
    harvests: &'a [Harvest],
    counts: CountsView<'a>,
    written_at: Timestamp,
    run: Option<&'a RunState>,
    jobs_due: DueJobs,
}

impl Status {
    fn read(store: &Path) -> Result<Self, StoreError> {
        let ledger = Store::latest_ledger(store)?;
        let run = RunState::read(store);
        let by_day = run.as_ref().map(|run| run.pending_jobs_by_day.clone()).unwrap_or_default();
        Ok(Self { ledger, run, jobs_due: DueJobs::count(&by_day, Timestamp::now()) })
    }

    fn view(&self) -> View<'_> {
        let Self { ledger, run, jobs_due } = self;
        View {
            format: ledger.format,
            store_id: &ledger.store_id,
            identity: ledger.identity.as_ref(),
            harvests: &ledger.harvests,
            counts: CountsView::of(&ledger.counts),
            written_at: ledger.written_at,
            run: run.as_ref(),
            jobs_due: *jobs_due,
        }
    }

    fn show(&self, args: &StatusArgs) -> Result<String, Error> {
        if !args.json {
            return Ok(table(self));
        }
        let encode = if args.watch { serde_json::to_string } else { serde_json::to_string_pretty };
        Ok(encode(&self.view()).map_err(|source| StoreError::Encode { source })? + "\n")
    }
}

pub(super) async fn run(args: &StatusArgs) -> Result<u8, Error> {
    let config = args.start()?;
    let path = &config.store.path;
    if args.check {
        return check(args, &config);
    }
    let mut status = Status::read(path)?;
    pipeline::write_textfile(&config);
    print(&status.show(args)?)?;
    // A terminal is cleared before each update; elsewhere an update follows the one before.
    let between = match (args.json, std::io::stdout().is_terminal()) {
        (true, _) => "",
        (false, true) => "\x1b[H\x1b[2J",
        (false, false) => "\n",
    };
    let mut signals = args.watch.then(super::signals::Signals::listen);
    while let Some(signals) = &mut signals {
        tokio::select! {
            () = signals.next() => break,
            () = tokio::time::sleep(REDRAW) => {}
        }
        status = Status::read(path)?;
        print(&format!("{between}{}", status.show(args)?))?;
    }
    Ok(if status.ledger.counts.is_whole() { 0 } else { EXIT_INCOMPLETE })
}

fn check(args: &StatusArgs, config: &Config) -> Result<u8, Error> {
    let limits = fresh::Limits { max_age: args.max_age, job_horizon: args.job_horizon };
    let now = args.as_of.unwrap_or_else(Timestamp::now);
    let checked = match Status::read(&config.store.path) {
        Ok(status) => fresh::check(&status.ledger, status.run.as_ref(), limits, now),
        Err(StoreError::Missing(path)) => {
            Err(format!("there is no store at {} yet; run `perfharvest run`", path.display()))
        }
        Err(error) => return Err(error.into()),
    };
    pipeline::write_textfile(config);
    let (said, code) = match checked {
        Ok(said) => (said, 0),
        Err(said) => (format!("not fresh: {}", complete_commands(&said)), EXIT_STALE),
    };
    // The name of the repository is otherwise only on stderr.
    let name = Some(&config.source.repository).filter(|_| config.source.is_one_of_several);
    let name = name.map_or_else(String::new, |name| format!("{name}: "));
    print(&format!("{name}{said}\n"))?;
    Ok(code)
}

fn table(status: &Status) -> String {
    let ledger = &status.ledger;
    let mut text = String::new();
    if let Some(crawl) = &ledger.identity {
        text.push_str(&format!(
            "{} from {}, commits {} to {}, data until {}\n{}\n",
            crawl.repository,
            crawl.base_url,
            crawl.window_start,
            crawl.window_end,
            crawl.data_end,
            scope_line(crawl)
        ));
    }
    text.push_str(&count_table(&ledger.counts));
    text.push('\n');
    text.push_str(&harvest_lines(&ledger.harvests, Timestamp::now()));
    let (set_aside, corrected) = (ledger.counts.set_aside(), ledger.counts.corrected());
    if set_aside + corrected > 0 {
        text.push_str(&format!(
            "{} set aside, {corrected} corrected; `perfharvest failures` lists them\n",
            counted(set_aside, "record", "records")
        ));
    }
    if let Some(run) = &status.run {
        text.push_str(&run_lines(run));
        text.push_str(&due_line(&status.jobs_due));
    }
    text.push_str(&format!("as of {}\n", ledger.written_at));
    text
}

/// The harvests, and how old the newest is; nothing before the first is done.
fn harvest_lines(harvests: &[Harvest], now: Timestamp) -> String {
    let Some(newest) = harvests.last() else { return String::new() };
    let mut text = String::new();
    if harvests.len() > 1 {
        text.push_str(
            "harvest           data until                began              finished  requests  data added\n",
        );
        for harvest in harvests {
            let finished = match (harvest.joined_at, harvest.finished_at) {
                (_, Some(at)) => at.to_string(),
                (Some(_), None) => "with failures".to_owned(),
                (None, None) => "open".to_owned(),
            };
            text.push_str(&format!(
                "{:>7} {:>20} {:>20} {finished:>21} {:>9} {:>11}\n",
                harvest.number, harvest.data_end, harvest.began_at, harvest.requests, harvest.data_added
            ));
        }
        text.push('\n');
    }
    let shown = harvests.iter().rev().find(|harvest| !harvest.is_open());
    if newest.is_open() {
        let finishing = if newest.number == FIRST_HARVEST { "run" } else { "refresh" };
        text.push_str(&format!(
            "harvest {} is open, up to {}; `perfharvest {finishing}` finishes it\n",
            newest.number, newest.data_end
        ));
    }
    if let Some(shown) = shown {
        let age = age_of(shown.data_end, now);
        let extending = if newest.is_open() { "" } else { "; `perfharvest refresh` extends it" };
        text.push_str(&format!("the dataset is up to date as of {}{age}{extending}\n", shown.data_end));
    }
    text
}

/// Empty for a crawl of all signatures.
fn scope_line(crawl: &CrawlIdentity) -> String {
    if crawl.scope.is_all() { String::new() } else { format!("scope: {}\n", crawl.scope) }
}

fn run_lines(run: &RunState) -> String {
    let mut text = match run.phase {
        RunPhase::Running => {
            let eta = run.eta_secs.map_or_else(
                || "time left unknown".to_owned(),
                |secs| format!("{} left", human_duration(Duration::from_secs(secs))),
            );
            format!(
                "running (process {}): {:.1} requests/s of {:.1} allowed, {} to do, {eta}\n",
                run.pid,
                run.reached_per_second,
                run.allowed_per_second,
                counted(run.requests_left, "request", "requests")
            )
        }
        RunPhase::Reducing => {
            let stage = run.reducing.as_ref().map_or_else(String::new, |now| match now.total {
                0 => format!(": {}", now.stage),
                total => format!(": {}, {} of {total} signatures", now.stage, now.done),
            });
            format!("making artifacts (process {}){stage}\n", run.pid)
        }
        RunPhase::Finished => format!("the last crawl ended at {}\n", run.updated_at),
        RunPhase::Interrupted => {
            format!("the last crawl was interrupted at {}; run it again to resume\n", run.updated_at)
        }
        RunPhase::Killed => format!("the last crawl was killed after {}; run it again to resume\n", run.updated_at),
    };
    let errors: Vec<_> = run.errors.iter().map(|(label, num)| format!("{label} {num}")).collect();
    text.push_str(&format!(
        "{}, {}, {} on disk",
        counted(run.requests, "request", "requests"),
        counted(run.retries, "retry", "retries"),
        human_bytes(run.disk_bytes)
    ));
    if !errors.is_empty() {
        text.push_str(&format!("; failed attempts: {}", errors.join(", ")));
    }
    text.push('\n');
    if let Some(error) = &run.last_error {
        text.push_str(&format!("last error: {error}\n"));
    }
    if let (RunPhase::Running, Some(hint)) = (run.phase, &run.hint) {
        text.push_str(&format!("{hint}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tally;

    #[test]
    fn the_json_names_its_kinds_and_rounds_no_digest() {
        let counts = Tally::default();
        let ledger = Ledger {
            format: 3,
            store_id: "s".to_owned(),
            identity: None,
            harvests: Vec::new(),
            log_id: 0,
            last_commit: 0,
            log_end: 0,
            counts: counts.clone(),
            written_at: Timestamp::default(),
            check: String::new(),
        };
        let status = Status { ledger, run: None, jobs_due: DueJobs::default() };
        let text = status.show(&StatusArgs { json: true, watch: true, ..StatusArgs::default() }).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["counts"]["kinds"]["job_details"]["pending"], 0, "{text}");
        assert_eq!(json["counts"]["digests"]["alerts"], "0".repeat(32), "{text}");
        let shown = status.show(&StatusArgs::default()).unwrap();
        assert!(shown.contains(&count_table(&counts)), "{shown}");
    }
}
