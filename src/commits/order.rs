//! The order for a file of commits, and its result.

use std::path::{Path, PathBuf};

use crate::config::CommitsFrom;
use crate::model::Timestamp;

/// The commits that belong into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitWindow {
    /// First commit date.
    pub start: Timestamp,
    /// Last commit date, included.
    pub end: Timestamp,
}

impl CommitWindow {
    /// Whether the window contains a time, in seconds since the epoch; both ends are included.
    pub(super) fn contains(self, secs: i64) -> bool {
        self.start <= Timestamp::from_secs(secs) && Timestamp::from_secs(secs) <= self.end
    }
}

/// The result of making the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitsSummary {
    /// The file that was made.
    pub path: PathBuf,
    /// Commits in the file.
    pub num_commits: u64,
    /// False if the file already had the same bytes.
    pub changed: bool,
    /// HTTP requests made, retries included.
    pub num_requests: u64,
    /// Pages that an earlier run had fetched.
    pub num_kept_pages: u64,
    /// Malformed commits of the clone, which were left out.
    pub num_broken: u64,
    /// Commits in the window's pushes that Treeherder counts but does not list.
    pub num_unlisted: u64,
}

/// A file to make.
#[derive(Clone, Copy, Debug)]
pub struct CommitsOrder<'a> {
    /// Source of the commits.
    pub from: &'a CommitsFrom,
    /// Path of the file.
    pub output: &'a Path,
    /// Commits to write.
    pub window: CommitWindow,
    /// The current time: recent days of the push list are fetched again, because pushes may still arrive.
    pub now: Timestamp,
}
