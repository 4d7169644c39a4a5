//! A dry run: checks the inputs and lists the requests that a run would send, and neither sends nor writes anything.

use super::identity::{check_window, foreseen_crawl};
use super::options::RunOptions;
use super::reduction::check_owner;
use crate::Error;
use crate::config::Config;
use crate::dataset::read_commits;
use crate::fetch::first_requests;
use crate::model::{Batch, Timestamp};
use crate::source::{ServerClock, Treeherder};
use crate::store::{CrawlIdentity, Ledger, Tally};

/// The state from which a run would start.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// The crawl.
    pub identity: CrawlIdentity,
    /// The tally of the store; `None` if there is no store.
    pub counts: Option<Tally>,
    /// The addresses of the first requests of a new crawl; others follow from their answers.
    pub first: Vec<String>,
    /// Number of commits in the window; `None` without a file of commits.
    pub num_commits: Option<u64>,
}

/// Checks the inputs of a run; of the artifacts' folder if `makes_artifacts`.
///
/// # Errors
/// [`Error`], as of a run.
pub fn dry_run(config: &Config, options: RunOptions, makes_artifacts: bool) -> Result<DryRun, Error> {
    config.require_contact()?;
    let now = Timestamp::now();
    if makes_artifacts {
        check_owner(config)?;
    }
    let counts = Ledger::read(&config.store.path)?.map(|ledger| ledger.counts);
    let identity = foreseen_crawl(config, options, now)?;
    check_window(&identity, now)?;
    let commits = read_commits(config, &identity)?;
    let source = Treeherder::new(
        &config.source,
        &config.batch,
        identity.data_window(),
        identity.alerts_since(),
        ServerClock::default(),
    )?
    .with_alert_statuses(!identity.scope.alert_statuses.is_default());
    let is_new = counts.as_ref().is_none_or(|counts| counts.pending() + counts.settled() + counts.failed() == 0);
    let first = if is_new { first_requests(&config.batch) } else { Vec::new() };
    let first = first.into_iter().map(|pending| source.url_of(&Batch::of(pending.request)).to_string()).collect();
    Ok(DryRun { identity, counts, first, num_commits: commits.map(|commits| commits.report.in_window) })
}
