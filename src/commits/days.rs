//! `pushes`: Treeherder's push list, a thousand pushes at a time, kept day by day.
//!
//! The pushes of a day (UTC) never change once the day is over, so days are the unit of resuming. The missing days are
//! read backwards from the newest: a full reply is followed by one that ends with the second of its oldest push, whose
//! other pushes may be missing from it. A day is kept when the walk has passed its start. The next run fetches recent
//! days again.
//!
//! Treeherder has neither commit dates nor parents: the date of a commit is here the time of its push. It lists only
//! the newest twenty commits of a push; the others are counted.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::error::{FetchCommitsError, unanswered};
use super::order::CommitWindow;
use super::pages::{Fetched, Page, Pages};
use crate::config::Config;
use crate::fetch::Asker;
use crate::model::{CommitRecord, RawJson, Timestamp};
use crate::source::{MOST_PUSHES, Push, PushList};

const DAY: i64 = 86_400;

/// Seconds after which a finished day no longer changes: a push may reach Treeherder late.
const LATE: i64 = DAY;

const NOT_FOUND: &str = "check that this Treeherder has the repository (--repository, source.repository)";

/// Fetches the missing days of the window.
pub(super) async fn fetch(
    list: &PushList,
    asker: &Asker,
    pages: &mut Pages,
    window: CommitWindow,
    now: Timestamp,
    config: &Config,
) -> Result<Fetched, FetchCommitsError> {
    let server = config.source.base_url.trim_end_matches('/');
    let now = now.as_secs();
    let newest = window.end.as_secs().min(now + LATE); // the server's clock may be ahead
    let days: Vec<i64> = (window.start.as_secs().div_euclid(DAY)..=newest.div_euclid(DAY)).collect();
    let is_over = |day: i64| (day + 1) * DAY + LATE <= now;
    let missing: Vec<i64> = days.iter().copied().filter(|day| !pages.has(&key(*day)) || !is_over(*day)).collect();
    let num_kept = (days.len() - missing.len()) as u64;
    for run in missing.chunk_by(|day, next| day + 1 == *next).rev() {
        let walk = Walk { list, asker, server };
        walk.fetch(run[0]..=run[run.len() - 1], pages).await?;
    }
    Ok(Fetched { oldest_first: days.into_iter().map(key).collect(), num_kept })
}

/// The key of a day, given in days since the epoch.
fn key(day: i64) -> String {
    let midnight = Timestamp::from_secs(day * DAY).to_naive_string();
    format!("pushes {}", midnight.split('T').next().unwrap_or_default())
}

/// Reads the push list backwards.
struct Walk<'a> {
    list: &'a PushList,
    asker: &'a Asker,
    server: &'a str,
}

impl Walk<'_> {
    /// Fetches consecutive days, and keeps each as soon as it is whole.
    async fn fetch(&self, days: RangeInclusive<i64>, pages: &mut Pages) -> Result<(), FetchCommitsError> {
        let (first, mut newest) = days.into_inner(); // the newest day that is not kept
        let (since, mut before) = (first * DAY, (newest + 1) * DAY);
        let mut by_day: BTreeMap<i64, Vec<Push>> = BTreeMap::new();
        while newest >= first {
            let what = format!("the pushes from {} to {}", Timestamp::from_secs(since), Timestamp::from_secs(before));
            let found = self.asker.ask(&what, || self.list.between(since, before)).await;
            let found = found.map_err(|error| unanswered(&what, self.server, NOT_FOUND, error))?;
            let is_full = found.len() >= MOST_PUSHES;
            let oldest = found.iter().map(|push| push.push_timestamp).min().filter(|_| is_full);
            for push in found {
                by_day.entry(push.push_timestamp.div_euclid(DAY)).or_default().push(push);
            }
            let begun = match oldest {
                None => first,
                // All of one second, and there may be more.
                Some(second) if second + 1 >= before => {
                    return Err(FetchCommitsError::CrowdedSecond { server: self.server.to_owned(), most: MOST_PUSHES });
                }
                Some(second) => {
                    before = second + 1;
                    second.div_euclid(DAY) + 1 // the day of that second may lack some
                }
            };
            while newest >= begun {
                pages.put(&key(newest), page_of(by_day.remove(&newest).unwrap_or_default()))?;
                newest -= 1;
            }
        }
        Ok(())
    }
}

fn page_of(mut pushes: Vec<Push>) -> Page {
    pushes.sort_by_key(|push| (push.push_timestamp, push.id));
    pushes.dedup_by_key(|push| push.id);
    let mut page = Page::default();
    for mut push in pushes {
        let head_is_listed = push.commits.iter().any(|(node, _)| *node == push.revision);
        if !head_is_listed && let Ok(no_message) = RawJson::parse("\"\"") {
            push.commits.insert(0, (push.revision, no_message));
        }
        page.num_unlisted += push.num_commits.saturating_sub(push.commits.len() as u64);
        let commits = push.commits.into_iter().rev(); // they are listed newest first
        page.commits.extend(commits.map(|(node, desc)| CommitRecord {
            node,
            desc,
            date: (push.push_timestamp, 0),
            parents: Vec::new(),
        }));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PushId;

    fn push(id: u64, push_timestamp: i64, head: char, commits: &str, num_commits: u64) -> Push {
        let hash = |c: char| c.to_string().repeat(40).parse().unwrap();
        let commits = commits.chars().map(|c| (hash(c), RawJson::parse("\"m\"").unwrap())).collect();
        Push { id: PushId(id), revision: hash(head), push_timestamp, commits, num_commits }
    }

    #[test]
    fn commits_are_oldest_first_and_have_the_time_of_their_push() {
        let page = page_of(vec![
            push(3, 20, 'f', "fed", 3),
            push(2, 20, 'c', "cb", 23),
            push(1, 5, 'a', "", 1),
            push(2, 20, 'c', "cb", 23),
        ]);
        let nodes: String = page.commits.iter().map(|commit| &commit.node.as_str()[..1]).collect();
        let dates: Vec<i64> = page.commits.iter().map(CommitRecord::committed_secs).collect();
        assert_eq!((nodes.as_str(), page.num_unlisted), ("abcdef", 21));
        assert_eq!(dates, [5, 20, 20, 20, 20, 20]);
    }

    #[test]
    fn a_day_is_kept_under_its_date() {
        assert_eq!(key(20_635), "pushes 2026-07-01");
    }
}
