//! Orders the commits of the window as the revision table does.

use std::collections::HashMap;

use pytext::loads::Document;

use crate::config::Semantics;
use crate::dataset::commits::{Commit, Commits, NodeKey};
use crate::model::Revision;

/// The commits of the window by date; commits with equal dates are in file order.
#[derive(Debug)]
pub(crate) struct CommitTable {
    /// Indexed by rank.
    pub(crate) commits: Vec<Commit>,
    semantics: Semantics,
}

impl CommitTable {
    /// By nodes as they are in the file, or folded in the corrected semantics.
    pub(crate) fn new(commits: &Commits, semantics: Semantics) -> Self {
        let mut commits = match semantics {
            Semantics::Reference => commits.in_window.clone(),
            Semantics::Corrected => commits.folded(),
        };
        commits.sort_by_key(|commit| (commit.date, commit.file_order));
        Self { commits, semantics }
    }

    pub(super) fn ranks(&self) -> Ranks {
        let mut ranks = Ranks { hashes: HashMap::new(), others: HashMap::new(), semantics: self.semantics };
        for (rank, commit) in (0..).zip(&self.commits) {
            match commit.key() {
                NodeKey::Hash(revision) => ranks.hashes.insert(revision, rank),
                other => ranks.others.insert(other, rank),
            };
        }
        ranks
    }
}

/// The rank of each commit.
#[derive(Debug)]
pub(super) struct Ranks {
    hashes: HashMap<Revision, u32>,
    /// Those whose node is not a hash; a real repository has none.
    others: HashMap<NodeKey, u32>,
    semantics: Semantics,
}

impl Ranks {
    pub(super) fn get(&self, revision: Revision) -> Option<u32> {
        self.hashes.get(&revision).copied()
    }

    /// The rank for the text of a datum whose revision is not a hash.
    pub(super) fn of_text(&self, datum: Option<&str>) -> Option<u32> {
        if self.semantics == Semantics::Reference && self.others.is_empty() {
            return None;
        }
        match revision_key(datum?, self.semantics)? {
            NodeKey::Hash(revision) => self.get(revision),
            other => self.others.get(&other).copied(),
        }
    }
}

/// The revision in the text of a datum, to be compared by `semantics`.
pub(crate) fn revision_key(datum: &str, semantics: Semantics) -> Option<NodeKey> {
    let mut document = Document::default();
    let key = NodeKey::of_value(document.load(datum).ok()?.get("revision")?)?;
    Some(if semantics == Semantics::Corrected { key.folded() } else { key })
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
