//! `commits`: `all_commits.jsonl` from a clone, an hgweb server or Treeherder's pushes.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Common, say};
use crate::Error;
use crate::actor::Shutdown;
use crate::commits::{CommitWindow, CommitsOrder, CommitsSummary, fetch_commits};
use crate::config::{CommitsFrom, Config};
use crate::fetch::Pressure;
use crate::model::Timestamp;
use crate::store::{CrawlIdentity, Ledger, StoreError};

/// The three ways, as commands.
pub(super) const WAYS: &str = "\
    perfharvest commits --from clone:DIR  # Mercurial or git: exact and fastest\n  \
    perfharvest commits --from hgweb:https://hg.mozilla.org/integration/autoland\n  \
    perfharvest commits --from pushes  # Treeherder: push times, 20 commits a push";

#[derive(Debug, Args)]
pub(super) struct CommitsArgs {
    #[arg(long, value_name = "SOURCE", help = "clone:DIR, hgweb:URL or pushes [default: inputs.commits_from]")]
    from: Option<CommitsFrom>,
    #[arg(short = 'o', long, value_name = "FILE")]
    #[arg(help = "The file to make [default: inputs.commits, or all_commits.jsonl]")]
    output: Option<PathBuf>,
}

pub(super) async fn run(common: &Common<CommitsArgs>) -> Result<u8, Error> {
    let config = Arc::new(common.flags.start()?);
    let Some(from) = common.own.from.clone().or_else(|| config.inputs.commits_from.clone()) else {
        let message = format!("say where the commits come from (--from, or inputs.commits_from):\n  {WAYS}");
        return Err(Error::Usage { message });
    };
    let output = common.own.output.clone().or_else(|| config.inputs.commits.clone());
    let output = output.unwrap_or_else(|| PathBuf::from("all_commits.jsonl"));
    let window = window(&config)?;
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let pressure = Pressure::start(&config);
    let order = CommitsOrder { from: &from, output: &output, window, now: Timestamp::now() };
    let summary = fetch_commits(order, &config, &pressure, &shutdown).await?;
    say(&told(&from, window, &summary));
    Ok(0)
}

/// The window of the crawl: as the store has pinned it, unless the configuration says otherwise.
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

fn told(from: &CommitsFrom, window: CommitWindow, summary: &CommitsSummary) -> String {
    let CommitsSummary { path, num_commits, changed, num_requests, num_kept_pages, num_unlisted } = summary;
    let mut text = format!(
        "{}: {num_commits} commits from {} to {}, oldest first{}",
        path.display(),
        window.start,
        window.end,
        if *changed { "" } else { "; it was up to date" }
    );
    if !matches!(from, CommitsFrom::Clone(_)) {
        text.push_str(&format!("\n{num_requests} requests; {num_kept_pages} pages were there from before"));
    }
    if *from == CommitsFrom::Pushes {
        text.push_str("\nthe dates are those of the pushes, and no parents are known: Treeherder has no others");
    }
    if *num_unlisted > 0 {
        text.push_str(&format!(
            "\n{num_unlisted} commits are missing: of a push, Treeherder lists the newest 20 (the head, on which tests \
             run, is always there); a clone or hgweb has them all"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WindowConfig;

    #[test]
    fn a_store_s_window_counts_where_the_configuration_leaves_it_open() {
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
