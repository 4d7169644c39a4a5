//! The commits of the window in the order of the revision table.

use std::collections::HashMap;

use crate::dataset::commits::{Commit, Commits};
use crate::model::Revision;

/// The commits of the window by date; commits of one date are in the order of the file.
#[derive(Debug)]
pub(crate) struct CommitTable {
    /// By rank.
    pub(crate) commits: Vec<Commit>,
}

impl CommitTable {
    pub(crate) fn new(commits: &Commits) -> Self {
        let mut commits = commits.in_window.clone();
        commits.sort_by_key(|commit| (commit.date, commit.file_order));
        Self { commits }
    }

    /// The rank of each commit whose node is a revision; other nodes have no data.
    pub(super) fn ranks(&self) -> HashMap<Revision, u32> {
        let rank = |(rank, commit): (u32, &Commit)| Some((commit.node.parse().ok()?, rank));
        (0..).zip(&self.commits).filter_map(rank).collect()
    }
}

/// The order of commits of one date: by their first job; those without jobs follow in the order of the file.
#[derive(Debug, Default)]
pub(super) struct FirstCovered {
    /// By rank; [`FirstCovered::NEVER`] of those without jobs.
    order: Vec<u32>,
    next: u32,
}

impl FirstCovered {
    const NEVER: u32 = u32::MAX;

    /// Takes in ranks in the order of signatures and data.
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

    /// The key to sort the ranks of one date by.
    pub(super) fn key(&self, rank: u32) -> (u32, u32) {
        (self.order.get(rank as usize).copied().unwrap_or(Self::NEVER), rank)
    }
}
