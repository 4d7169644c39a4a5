//! Orders the commits of the window as the revision table does.

use std::collections::HashMap;

use crate::dataset::commits::{Commit, Commits};
use crate::model::Revision;

/// The commits of the window by date; commits with equal dates are in file order.
#[derive(Debug)]
pub(crate) struct CommitTable {
    /// Indexed by rank.
    pub(crate) commits: Vec<Commit>,
}

impl CommitTable {
    pub(crate) fn new(commits: &Commits) -> Self {
        let mut commits = commits.in_window.clone();
        commits.sort_by_key(|commit| (commit.date, commit.file_order));
        Self { commits }
    }

    /// The rank of each commit whose node is a hash; other nodes have no data.
    pub(super) fn ranks(&self) -> HashMap<Revision, u32> {
        let rank = |(rank, commit): (u32, &Commit)| Some((commit.node.parse().ok()?, rank));
        (0..).zip(&self.commits).filter_map(rank).collect()
    }
}

/// The order of commits with equal dates: by their first job; commits without jobs follow in file order.
#[derive(Debug, Default)]
pub(super) struct FirstCovered {
    /// Indexed by rank; [`FirstCovered::NEVER`] for commits without jobs.
    order: Vec<u32>,
    next: u32,
}

impl FirstCovered {
    const NEVER: u32 = u32::MAX;

    /// Adds ranks in the order of signatures and data.
    pub(super) fn extend(&mut self, ranks: &[u32]) {
        for &rank in ranks {
            let at = rank as usize;
            if at >= self.order.len() {
                self.order.resize(at + 1, Self::NEVER);
            }
            if self.order[at] == Self::NEVER {
                self.order[at] = self.next;
                self.next += 1;
            }
        }
    }

    /// The sort key of a rank among commits with equal dates.
    pub(super) fn key(&self, rank: u32) -> (u32, u32) {
        (self.order.get(rank as usize).copied().unwrap_or(Self::NEVER), rank)
    }
}
