//! Compares the revisions in the first answers with the file of commits: a file of another repository would be noticed only
//! after days of crawling. It costs no request, and ends with the first revision that the file lists.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::FetchError;
use crate::model::{AlertSummary, Revision, Timestamp};
use crate::source::Reply;

/// The content of a file of commits, as far as the check needs it.
pub(crate) struct ListedCommits {
    pub(crate) file: PathBuf,
    pub(crate) repository: String,
    /// The first and the last instant of the window: revisions pushed before or after it prove nothing.
    pub(crate) window: (Timestamp, Timestamp),
    /// Commits in the window.
    pub(crate) num_in_window: usize,
    /// So many revisions must be missing before the file is refused.
    pub(crate) min_missing: usize,
    /// A node of the window.
    pub(crate) example: String,
    /// True to refuse the file, false to warn.
    pub(crate) refuses: bool,
    /// True if the file lists the revision.
    pub(crate) lists: Box<dyn Fn(Revision) -> bool + Send + Sync>,
    /// True if the file lists commits of the day of the instant.
    pub(crate) covers: Box<dyn Fn(Timestamp) -> bool + Send + Sync>,
}

/// The check, shared by all fetchers.
pub(crate) struct RevisionCheck {
    listed: ListedCommits,
    is_done: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    revisions: HashSet<Revision>,
    /// Those of days that the file covers.
    num_missing: usize,
}

impl fmt::Debug for RevisionCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevisionCheck").field("file", &self.listed.file).finish_non_exhaustive()
    }
}

impl RevisionCheck {
    pub(crate) fn new(listed: ListedCommits) -> Self {
        Self { listed, is_done: AtomicBool::new(false), seen: Mutex::default() }
    }

    /// Compares the revisions of an answer.
    ///
    /// # Errors
    /// [`FetchError::OtherCommits`] when enough revisions are known, and the file lists none of them. A file with fewer
    /// commits than there are revisions is a selection, and is not refused.
    pub(super) fn compare(&self, reply: &Reply) -> Result<(), FetchError> {
        if self.is_done.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_listed = false;
        let (start, end) = self.listed.window;
        let mut see = |revision: Revision, pushed: Timestamp| {
            if pushed < start || pushed > end {
                return;
            }
            is_listed |= (self.listed.lists)(revision);
            if !is_listed && seen.revisions.insert(revision) && (self.listed.covers)(pushed) {
                seen.num_missing += 1;
            }
        };
        match reply {
            Reply::AlertPage { records, .. } => {
                let pushes = records.taken.iter().filter_map(|summary| self.push_of(summary));
                pushes.for_each(|(revision, pushed)| see(revision, pushed));
            }
            Reply::Summary(summary) => {
                for datum in &summary.data {
                    if let Some(revision) = datum.revision() {
                        see(revision, datum.push_timestamp());
                    }
                }
            }
            Reply::Frameworks { .. } | Reply::Signatures { .. } | Reply::UpdatedSignatures(_) | Reply::Jobs(_) => {}
        }
        let is_selection = seen.revisions.len() > self.listed.num_in_window;
        let is_other = !is_listed && !is_selection && seen.num_missing >= self.listed.min_missing;
        if !(is_listed || is_selection || is_other) {
            return Ok(());
        }
        let seen = std::mem::take(&mut *seen);
        if self.is_done.swap(true, Ordering::Relaxed) || !is_other {
            return Ok(());
        }
        let error = self.other_commits(&seen.revisions);
        if self.listed.refuses {
            return Err(error);
        }
        tracing::warn!("{error}");
        Ok(())
    }

    fn push_of(&self, summary: &AlertSummary) -> Option<(Revision, Timestamp)> {
        #[derive(Deserialize)]
        struct View {
            repository: String,
            revision: String,
            push_timestamp: i64,
        }
        let view: View = summary.raw.view().ok()?;
        let is_ours = view.repository == self.listed.repository;
        let revision = view.revision.parse().ok().filter(|_| is_ours)?;
        Some((revision, Timestamp::from_secs(view.push_timestamp)))
    }

    fn other_commits(&self, seen: &HashSet<Revision>) -> FetchError {
        let ListedCommits { file, repository, example, .. } = &self.listed;
        FetchError::OtherCommits {
            file: file.clone(),
            repository: repository.clone(),
            num: seen.len(),
            revision: seen.iter().min().map_or_else(String::new, ToString::to_string),
            node: example.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RawJson, Sorted, Summary, parse_datum};

    const DAY: i64 = 86_400;
    const FIRST: i64 = 20_700 * DAY;

    fn revision(number: u8) -> Revision {
        Revision([number; 20])
    }

    /// A file with `num` commits that lists the revisions below `below`, and covers the first 100 days.
    fn check(num: usize, below: u8, refuses: bool) -> RevisionCheck {
        RevisionCheck::new(ListedCommits {
            file: "commits.jsonl".into(),
            repository: "autoland".to_owned(),
            window: (Timestamp::from_secs(FIRST), Timestamp::from_secs(FIRST + 200 * DAY)),
            num_in_window: num,
            min_missing: 20,
            example: "e".repeat(40),
            refuses,
            lists: Box::new(move |revision| revision.0[0] < below),
            covers: Box::new(|at| (FIRST..FIRST + 100 * DAY).contains(&at.as_secs())),
        })
    }

    fn alerts(repository: &str, revisions: std::ops::Range<u8>) -> Reply {
        let mut records = Sorted::default();
        for number in revisions {
            let (revision, pushed) = (revision(number), FIRST + i64::from(number) * DAY);
            let text = format!(
                r#"{{"id":{},"repository":"{repository}","revision":"{revision}","push_timestamp":{pushed}}}"#,
                number + 1
            );
            records.add_alert_summary(text.as_bytes()).unwrap();
        }
        Reply::AlertPage { count: 0, records }
    }

    fn data(revisions: std::ops::Range<u8>) -> Reply {
        let datum = |number: u8| {
            let at = Timestamp::from_secs(FIRST + i64::from(number) * DAY).to_naive_string();
            let text = format!(r#"{{"id":{number},"push_timestamp":"{at}","revision":"{}"}}"#, revision(number));
            parse_datum(&text).unwrap()
        };
        let header = Some(RawJson::parse("{}").unwrap());
        let data = revisions.map(datum).collect();
        Reply::Summary(Summary { signature_id: crate::model::SignatureId(1), header, data, odd: Vec::new() })
    }

    #[test]
    fn a_file_that_lists_none_of_many_revisions_is_refused() {
        for reply in [alerts("autoland", 0..25), data(0..25)] {
            let error = check(99, 0, true).compare(&reply).unwrap_err().to_string();
            for part in [
                "none of the 25 revisions",
                "commits.jsonl",
                &revision(0).to_string(),
                &"e".repeat(40),
                "perfharvest commits",
            ] {
                assert!(error.contains(part), "{part}: {error}");
            }
            check(99, 0, false).compare(&reply).unwrap();
        }
        let check = check(99, 0, true);
        for from in [0, 5, 10, 14] {
            check.compare(&data(from..from + 5)).unwrap(); // together 19
        }
        assert!(check.compare(&alerts("autoland", 14..20)).is_err());
    }

    #[test]
    fn a_file_is_not_refused_while_it_may_be_right() {
        check(99, 1, true).compare(&alerts("autoland", 0..90)).unwrap(); // it lists one
        check(24, 0, true).compare(&alerts("autoland", 0..25)).unwrap(); // a selection
        check(99, 0, true).compare(&alerts("mozilla-beta", 0..90)).unwrap();
        check(999, 0, true).compare(&alerts("autoland", 100..200)).unwrap(); // the file has nothing of these days
        check(999, 0, true).compare(&alerts("autoland", 201..250)).unwrap(); // after the window
        let check = check(99, 1, true);
        check.compare(&data(0..5)).unwrap();
        check.compare(&data(5..90)).unwrap(); // the first answer has decided
    }
}
