//! The nodes and dates of a whole file of commits, and the ways in which they can miss a crawl.

use std::collections::BTreeSet;

use thiserror::Error;

use super::node::NodeKey;
use crate::model::{Revision, Timestamp};

/// The nodes and dates of a whole file, also those outside the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first and the last date.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// The midnights of all days with commits.
    days: BTreeSet<Timestamp>,
    /// The nodes that are revisions, sorted.
    revisions: Vec<Revision>,
    /// The nodes that are revisions only once they are folded, sorted.
    foldable: Vec<Revision>,
}

impl Extent {
    pub(super) fn add_date(&mut self, date: Timestamp) {
        let (first, last) = self.span.unwrap_or((date, date));
        self.span = Some((first.min(date), last.max(date)));
        self.days.insert(date.midnight());
    }

    pub(super) fn set_nodes<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeKey>) {
        for node in nodes {
            match node {
                NodeKey::Hash(revision) => self.revisions.push(*revision),
                other => {
                    if let NodeKey::Hash(revision) = other.clone().folded() {
                        self.foldable.push(revision);
                    }
                }
            }
        }
        self.revisions.sort_unstable();
        self.foldable.sort_unstable();
    }

    /// True if the file lists commits of the day of `at`, in UTC.
    pub(super) fn covers(&self, at: Timestamp) -> bool {
        self.days.contains(&at.midnight())
    }

    /// True if the file lists the revision, or, if `folds`, lists it in capitals or with blanks around it.
    pub(super) fn lists(&self, revision: Revision, folds: bool) -> bool {
        self.revisions.binary_search(&revision).is_ok() || (folds && self.foldable.binary_search(&revision).is_ok())
    }
}

/// A file that cannot belong to the crawl.
#[derive(Debug, Error)]
pub enum MismatchError {
    /// More lines are unusable than usable.
    #[error(
        "has {unusable} lines that are not JSON objects, and only {usable} that are; give a file with one JSON object per line"
    )]
    MostlyUnusable {
        /// Number of lines.
        unusable: u64,
        /// Number of lines.
        usable: u64,
    },
    /// No commit is in the window.
    #[error(
        "has no commit in the window from {start} to {end}: its commits are from {first} to {last}; give a file that covers \
         the window, or another window with --start and --end"
    )]
    OutsideWindow {
        /// First date of the window.
        start: Timestamp,
        /// Last date of the window.
        end: Timestamp,
        /// First date of the file.
        first: Timestamp,
        /// Last date of the file.
        last: Timestamp,
    },
    /// All commits of the window have dates in the future.
    #[error(
        "has only commits after now, {now}, in the window; check the dates of the file, and the clock of this machine"
    )]
    InFuture {
        /// By the clock of this machine.
        now: Timestamp,
    },
    /// No commit of the window can match a push.
    #[error(
        "has no node with 40 hex digits in the window, but nodes such as {node:?}, which match no revision; give a file with \
         the full hashes of the Mercurial repository"
    )]
    NoRevision {
        /// A node of the window.
        node: String,
    },
    /// The commits are of another repository.
    #[error(
        "lists none of the {num} revisions with data, for example {revision}, but nodes such as {node:?}; Treeherder has \
         Mercurial hashes, not those of git; make the file with `perfharvest commits --from …`"
    )]
    OtherRepository {
        /// Number of revisions with data.
        num: usize,
        /// One of them.
        revision: String,
        /// A node of the window.
        node: String,
    },
}
