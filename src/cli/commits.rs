//! `commits`: makes `all_commits.jsonl` from a clone, an hgweb server or Treeherder's push list.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::flags::{Configured, FileFlags, LogFlags, RateFlags, SourceFlags, StoreFlags, WindowFlags, configured};
use super::streams::OutputPath;
use super::terminal::say;
use crate::Error;
use crate::actor::Shutdown;
use crate::commits::{CommitWindow, CommitsOrder, CommitsSummary, fetch_commits};
use crate::config::{CommitsFrom, Config};
use crate::fetch::Pressure;
use crate::model::Timestamp;
use crate::observe::counted;
use crate::store::{CrawlIdentity, Ledger, StoreError};

/// The command for each source.
pub(super) const WAYS: &str = "\
    perfharvest commits --from clone:DIR  # Mercurial or git; exact, fastest\n  \
    perfharvest commits --from hgweb:https://hg.mozilla.org/integration/autoland\n  \
    perfharvest commits --from pushes  # Treeherder; push times, incomplete";

#[derive(Debug, Args)]
pub(super) struct CommitsArgs {
    #[arg(long, value_name = "SOURCE", help = "Source: clone:DIR, hgweb:URL or pushes [default: inputs.commits_from]")]
    from: Option<CommitsFrom>,
    #[arg(short = 'o', long, value_name = "FILE")]
    #[arg(help = "File to write; - for standard output [default: inputs.commits, else all_commits.jsonl]")]
    output: Option<PathBuf>,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    window: WindowFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    rate: RateFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(CommitsArgs: source, window, store, rate, log);

pub(super) async fn run(args: &CommitsArgs) -> Result<u8, Error> {
    let config = Arc::new(args.start()?);
    let Some(from) = args.from.clone().or_else(|| config.inputs.commits_from.clone()) else {
        let message = format!("no source of the commits is given; use --from, or set inputs.commits_from:\n  {WAYS}");
        return Err(Error::Usage { message });
    };
    let output = args.output.clone().or_else(|| config.inputs.commits.clone());
    let output = output.unwrap_or_else(|| PathBuf::from("all_commits.jsonl"));
    let place = OutputPath::of(&output)?;
    config.source.require_contact_for(&from)?;
    let window = window(&config)?;
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let pressure = Pressure::start(&config);
    let order = CommitsOrder { from: &from, output: place.path(), window, now: Timestamp::now() };
    let summary = fetch_commits(order, &config, &pressure, &shutdown).await?;
    say(&summary_lines(&place.name(), &from, window, &summary));
    place.deliver()?;
    Ok(0)
}

/// The window of the crawl: the one pinned in the store, unless the configuration overrides it.
fn window(config: &Config) -> Result<CommitWindow, StoreError> {
    let asked = CrawlIdentity::create(config, Timestamp::now());
    let pinned = match config.window.data_end {
        None => Ledger::read(&config.store.path)?.and_then(|ledger| ledger.identity),
        Some(_) => None,
    };
    let (start, end) = pinned.map_or((asked.window_start, asked.window_end), |crawl| {
        (config.window.start.unwrap_or(crawl.window_start), config.window.end.unwrap_or(crawl.window_end))
    });
    Ok(CommitWindow { start, end })
}

fn summary_lines(output: &str, from: &CommitsFrom, window: CommitWindow, summary: &CommitsSummary) -> String {
    let CommitsSummary { path: _, num_commits, changed, num_requests, num_kept_pages, num_broken, num_unlisted } =
        summary;
    let mut text = format!(
        "{output}: {} from {} to {}, oldest first{}",
        counted(*num_commits, "commit", "commits"),
        window.start,
        window.end,
        if *changed { "" } else { "; the file was up to date" }
    );
    if !matches!(from, CommitsFrom::Clone(_)) {
        text.push_str(&format!(
            "\n{}; {} already fetched",
            counted(*num_requests, "request", "requests"),
            counted(*num_kept_pages, "page was", "pages were")
        ));
    }
    if *from == CommitsFrom::Pushes {
        text.push_str(
            "\nthe dates are push times and the parents are unknown: Treeherder has neither commit dates nor parents",
        );
    }
    if *num_broken > 0 {
        text.push_str(&format!(
            "\n{} left out: malformed in the clone (see the log)",
            counted(*num_broken, "commit was", "commits were")
        ));
    }
    if *num_unlisted > 0 {
        text.push_str(&format!(
            "\n{} missing: Treeherder lists only the newest 20 commits of a push (always including the head, on which \
             tests run); a clone or hgweb has all commits",
            counted(*num_unlisted, "commit is", "commits are")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WindowConfig;

    #[test]
    fn the_window_of_the_store_fills_in_what_the_configuration_leaves_open() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.path = folder.path().join("store");
        config.window.start = Some(Timestamp::from_secs(1_000_000_000));
        let (store, identity) = crate::pipeline::open_crawl(&config, crate::pipeline::RunOptions::default()).unwrap();
        drop(store);
        let pinned = CommitWindow { start: identity.window_start, end: identity.window_end };
        assert_eq!(window(&Config { window: WindowConfig::default(), ..config.clone() }).unwrap(), pinned);
        config.window.end = Some(Timestamp::from_secs(1_000_000_005));
        assert_eq!(window(&config).unwrap().end, Timestamp::from_secs(1_000_000_005));
        config.window.data_end = Some(Timestamp::from_secs(1_100_000_000));
        config.window.end = None;
        assert_eq!(window(&config).unwrap().end, Timestamp::from_secs(1_100_000_000));
    }
}
