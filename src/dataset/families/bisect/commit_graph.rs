//! The whole file of commits with its graph: positions, dates, and parents, which stand before their children.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use foldhash::fast::RandomState;
use pytext::json::AsciiMode;
use pytext::loads::{Document, Kind, Notation, Replaced, Value};
use thiserror::Error;

use crate::config::Semantics;
use crate::dataset::commits::{NodeKey, read_date};
use crate::dataset::error::DatasetError;
use crate::dataset::lines::{Lines, python_strip};
use crate::model::{Revision, Timestamp};

/// Mercurial's parent of a commit without parents.
const NO_PARENT: &str = "0000000000000000000000000000000000000000";

/// The command that brings the parents of commits.
const HINT: &str = "`perfharvest commits --from clone:DIR` makes a file with all parents; give it a --start before the first commit \
                    of the repository";

/// A file of commits without a usable graph.
#[derive(Debug, Error)]
pub(super) enum GraphError {
    #[error("cannot read `{}`", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("line {line} of `{}` is not JSON; correct or remove it", path.display())]
    Malformed { path: PathBuf, line: u64 },
    #[error("line {line} of `{}` repeats the commit {node}; remove one of the two", path.display())]
    Repeated { path: PathBuf, line: u64, node: String },
    #[error("line {line} of `{}` has no list of parents; {HINT}", path.display())]
    NoList { path: PathBuf, line: u64 },
    #[error("line {line} of `{}` stands before its parent {parent}; {HINT}", path.display())]
    ParentLater { path: PathBuf, line: u64, parent: String },
    #[error("line {line} of `{}` has the parent {parent}, which the file lacks; {HINT}", path.display())]
    UnknownParent { path: PathBuf, line: u64, parent: String },
    #[error("no commit of `{}` has a parent, as in a file made from pushes; {HINT}", .0.display())]
    NoParents(PathBuf),
    #[error("`{}` has no commit", .0.display())]
    Empty(PathBuf),
    #[error("`{}` has more than {} commits", .0.display(), u32::MAX)]
    TooMany(PathBuf),
    #[error("line {line} of `{}` has the key perf_measurement_data, which the artifact adds; remove it", path.display())]
    HasData { path: PathBuf, line: u64 },
    #[error(
        "in `{}` the window would end before it starts, because dates are out of order; check window.start and window.end",
        .0.display()
    )]
    Reversed(PathBuf),
}

impl From<GraphError> for DatasetError {
    /// Of a file that was readable before.
    fn from(error: GraphError) -> Self {
        let path = match &error {
            GraphError::Unreadable(path, _) | GraphError::NoParents(path) | GraphError::Empty(path) => path.clone(),
            _ => PathBuf::new(),
        };
        Self::Input(path, io::Error::other(error))
    }
}

/// The commits of a file, by their position.
#[derive(Debug)]
pub(super) struct CommitGraph {
    pub(super) path: PathBuf,
    positions: HashMap<NodeKey, u32, RandomState>,
    pub(super) dates: Vec<Option<Timestamp>>,
    parents: Vec<u32>,
    /// Index of the end of each commit's parents.
    parent_ends: Vec<u32>,
    folds: bool,
    /// The first line that is not JSON.
    pub(super) malformed_line: Option<u64>,
    /// The first commit that has the key of the rows.
    pub(super) line_with_data: Option<u64>,
    /// Lines that are not a commit.
    pub(super) num_skipped: u64,
    /// Parents that the file lacks.
    pub(super) num_unknown_parents: u64,
}

impl CommitGraph {
    /// Reads a file. The corrected semantics accept parents that the file lacks, since a file may begin with the window.
    pub(super) fn read(path: &Path, semantics: Semantics) -> Result<Self, GraphError> {
        let mut graph = Self {
            path: path.to_owned(),
            positions: HashMap::default(),
            dates: Vec::new(),
            parents: Vec::new(),
            parent_ends: Vec::new(),
            folds: semantics == Semantics::Corrected,
            malformed_line: None,
            line_with_data: None,
            num_skipped: 0,
            num_unknown_parents: 0,
        };
        let mut unknown: Vec<(u64, String)> = Vec::new();
        let skipped = for_each_commit::<GraphError>(path, |line, commit| graph.add(line, commit, &mut unknown))?;
        graph.malformed_line = skipped.malformed_line;
        graph.num_skipped = skipped.num;
        for (line, parent) in unknown {
            if graph.position(&parent).is_some() {
                return Err(GraphError::ParentLater { path: graph.path, line, parent });
            }
            if semantics == Semantics::Reference {
                return Err(GraphError::UnknownParent { path: graph.path, line, parent });
            }
            graph.num_unknown_parents += 1;
        }
        if graph.dates.is_empty() {
            return Err(GraphError::Empty(graph.path));
        }
        if graph.parents.is_empty() && graph.dates.len() > 1 && graph.num_unknown_parents == 0 {
            return Err(GraphError::NoParents(graph.path));
        }
        Ok(graph)
    }

    fn add(&mut self, line: u64, commit: Value<'_>, unknown: &mut Vec<(u64, String)>) -> Result<(), GraphError> {
        let Some(key) = commit.get("node").and_then(NodeKey::of_value) else { return Ok(()) }; // checked before
        let key = if self.folds { key.folded() } else { key };
        let position = u32::try_from(self.dates.len()).map_err(|_| GraphError::TooMany(self.path.clone()))?;
        if self.positions.contains_key(&key) {
            let node = commit.get("node").map_or_else(String::new, text_of);
            return Err(GraphError::Repeated { path: self.path.clone(), line, node });
        }
        let parents = match commit.get("parents").map(Value::kind) {
            None => None,
            Some(Kind::Array(parents)) => Some(parents),
            Some(_) => return Err(GraphError::NoList { path: self.path.clone(), line }),
        };
        for parent in parents.into_iter().flatten() {
            let text = text_of(parent);
            match self.position(&text) {
                Some(known) => self.parents.push(known),
                None if text == NO_PARENT => {}
                None => unknown.push((line, text)),
            }
        }
        if commit.get("perf_measurement_data").is_some() {
            self.line_with_data.get_or_insert(line);
        }
        self.positions.insert(key, position);
        self.dates.push(commit.get("date").and_then(read_date));
        let end = u32::try_from(self.parents.len()).map_err(|_| GraphError::TooMany(self.path.clone()))?;
        self.parent_ends.push(end);
        Ok(())
    }

    /// The position of a revision.
    pub(super) fn position(&self, revision: &str) -> Option<u32> {
        let key = NodeKey::of_text(revision);
        self.positions.get(&if self.folds { key.folded() } else { key }).copied()
    }

    /// As [`CommitGraph::position`].
    pub(super) fn position_of(&self, revision: Revision) -> Option<u32> {
        self.positions.get(&NodeKey::Hash(revision)).copied()
    }

    fn parents_of(&self, at: usize) -> &[u32] {
        let start = at.checked_sub(1).map_or(0, |before| self.parent_ends[before]);
        &self.parents[start as usize..self.parent_ends[at] as usize]
    }

    /// Marks the commits from `from` on that are ancestors of `of`, and itself; index 0 is `from`.
    fn ancestors(&self, from: u32, of: u32) -> Vec<bool> {
        let (from, of) = (from as usize, of as usize);
        let mut marked = vec![false; (of + 1).saturating_sub(from)];
        if let Some(last) = marked.last_mut() {
            *last = true;
        }
        for at in (from..=of).rev() {
            if marked[at - from] {
                for parent in self.parents_of(at) {
                    if let Some(place) = (*parent as usize).checked_sub(from) {
                        marked[place] = true;
                    }
                }
            }
        }
        marked
    }

    /// True if `ancestor` is another commit than `of`, and can be reached from it through parents.
    pub(super) fn is_ancestor(&self, ancestor: u32, of: u32) -> bool {
        ancestor < of && self.ancestors(ancestor, of)[0]
    }

    /// The number of commits that are descendants of `good` and ancestors of `bad`, without both.
    pub(super) fn num_between(&self, good: u32, bad: u32) -> u32 {
        let ancestors = self.ancestors(good, bad);
        let from = good as usize;
        let mut descends = vec![false; ancestors.len()];
        let mut num = 0;
        for at in 0..ancestors.len() {
            let is_child = |parent: &u32| (*parent as usize).checked_sub(from).is_some_and(|place| descends[place]);
            descends[at] = at == 0 || self.parents_of(from + at).iter().any(is_child);
            num += u32::from(descends[at] && ancestors[at] && at > 0 && at + 1 < ancestors.len());
        }
        num
    }
}

/// A node or a parent as text; another value as JSON.
fn text_of(value: Value<'_>) -> String {
    if let Kind::Str(text) = value.kind() {
        return text.to_lossy().into_owned();
    }
    let mut json = Vec::new();
    value.dumps(&mut json, AsciiMode::Escape, Notation::Python, &mut Replaced::default());
    String::from_utf8_lossy(&json).into_owned()
}

/// The lines of a file that are not a commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SkippedLines {
    /// The first that is not JSON.
    malformed_line: Option<u64>,
    /// Without blank ones.
    num: u64,
}

/// Passes the number of each line and its commit to `take`, in file order. Lines that are blank, not JSON, not an object, or
/// without a node are skipped.
pub(super) fn for_each_commit<E: From<GraphError>>(
    path: &Path,
    mut take: impl FnMut(u64, Value<'_>) -> Result<(), E>,
) -> Result<SkippedLines, E> {
    let unreadable = |source| E::from(GraphError::Unreadable(path.to_owned(), source));
    let file = File::open(path).map_err(unreadable)?;
    let mut lines = Lines::new(BufReader::with_capacity(1 << 18, file));
    let (mut bytes, mut document, mut skipped) = (Vec::new(), Document::default(), SkippedLines::default());
    while let Some(line) = lines.read(&mut bytes).map_err(unreadable)? {
        let text = std::str::from_utf8(&bytes).ok().filter(|_| !line.too_long).map(python_strip);
        if text == Some("") {
            continue;
        }
        let Some(value) = text.and_then(|text| document.load(text).ok()) else {
            skipped.malformed_line.get_or_insert(line.number);
            skipped.num += 1;
            continue;
        };
        if value.get("node").and_then(NodeKey::of_value).is_some() {
            take(line.number, value)?;
        } else {
            skipped.num += 1;
        }
    }
    Ok(skipped)
}

#[cfg(test)]
mod tests;
