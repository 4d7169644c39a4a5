//! Reads the commits of the window from `all_commits.jsonl`.
//!
//! In: the lines of the file. Out: the commits whose date lies in the window, in file order, with the nodes as the older
//! scripts read them. The file is untrusted: an unusable line is skipped and counted with its reason, and only a file
//! without usable lines is an error. A JSON list of commits is accepted too: in one line, with one commit per line, or with
//! commits that span several lines.

pub(crate) mod check;
mod extent;
mod node;
mod skipped;
mod spread;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use pytext::loads::{Document, Kind, Value};
use serde::Serialize;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use self::extent::Extent;
pub(crate) use self::extent::MismatchError;
pub(crate) use self::node::NodeKey;
pub(crate) use self::skipped::{SkipReason, SkippedLines};
use self::spread::Spread;
use crate::dataset::lines::{Line, Lines, python_strip};
use crate::model::Timestamp;

/// The range of Python's `datetime`: the years 1 to 9999.
const DATETIME_SECS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A commit of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The hash, as written in the file; of a node that is a number, the text that Python gives it.
    pub node: String,
    /// The JSON of a node that is not text.
    pub json: Option<Box<str>>,
    /// The commit date.
    pub date: Timestamp,
    /// Index among the distinct nodes of the window, in order of first appearance, from 0.
    pub file_order: u32,
}

impl Commit {
    /// The node as a key to compare with the revisions of data.
    pub(crate) fn key(&self) -> NodeKey {
        let number = |json: &str| NodeKey::of_value(Document::default().load(json).ok()?);
        self.json.as_deref().and_then(number).unwrap_or_else(|| NodeKey::of_text(&self.node))
    }
}

/// The commits of a window, with counts of the file's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commits {
    /// The commits with `start <= date <= end`, in file order, each node once.
    pub in_window: Vec<Commit>,
    /// Counts of the file's lines.
    pub report: CommitsReport,
    extent: Extent,
}

/// Counts of the lines of a file of commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CommitsReport {
    /// All lines.
    pub lines: u64,
    /// Distinct nodes with a date.
    pub commits: u64,
    /// Lines that repeat a node; the last date in the window counts.
    pub repeated: u64,
    /// Commits in the window.
    pub in_window: u64,
    /// Unusable lines.
    pub skipped: SkippedLines,
    /// SHA-256 of the file's bytes.
    #[serde(serialize_with = "as_hex")]
    pub digest: [u8; 32],
}

impl CommitsReport {
    /// The digest as 64 hex digits.
    #[must_use]
    pub fn digest_hex(&self) -> String {
        Hex(&self.digest).to_string()
    }
}

fn as_hex<S: serde::Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(digest))
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The commits could not be read.
#[derive(Debug, Error)]
pub enum CommitsError {
    /// The file cannot be opened or read.
    #[error("cannot read the commits in `{}`", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file has more than 2^32 - 1 distinct nodes.
    #[error("`{}` holds more than {} commits", .0.display(), u32::MAX)]
    TooMany(PathBuf),
    /// The file cannot belong to the crawl.
    #[error("the file of commits `{}` {}", .0.display(), .1)]
    Mismatch(PathBuf, Box<MismatchError>),
    /// Every line of the file was skipped.
    #[error(
        "`{}` holds no usable commit: {} lines, {}; each line must be a JSON object such as \
         {{\"node\": \"<40 hex digits>\", \"desc\": \"…\", \"date\": [1782864000, 0], \"parents\": []}}",
        .0.display(), .1.lines, .1.skipped
    )]
    NoCommit(PathBuf, Box<CommitsReport>),
}

impl Commits {
    /// Reads the commits of `path` with `start <= date <= end`.
    ///
    /// # Errors
    /// [`CommitsError`] if the file is unreadable or has no usable line.
    pub fn read(path: &Path, start: Timestamp, end: Timestamp) -> Result<Self, CommitsError> {
        let unreadable = |source| CommitsError::Unreadable(path.to_owned(), source);
        let file = File::open(path).map_err(unreadable)?;
        Self::read_from(BufReader::with_capacity(1 << 18, file), path, start, end)
    }

    /// As [`Commits::read`], from any reader; errors name `path`.
    ///
    /// # Errors
    /// As [`Commits::read`].
    pub fn read_from<R: BufRead>(
        reader: R,
        path: &Path,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Self, CommitsError> {
        let mut lines = Lines::new(reader);
        let mut found = Found { window: (start, end), ..Found::default() };
        let (mut bytes, mut document, mut spread) = (Vec::new(), Document::default(), Spread::default());
        while let Some(line) =
            lines.read(&mut bytes).map_err(|source| CommitsError::Unreadable(path.to_owned(), source))?
        {
            found.report.lines = line.number;
            let reason = found.read_line(&bytes, line, &mut document).err();
            found.read_spread(reason, &bytes, line, &mut spread, &mut document);
        }
        if let Some(first_line) = spread.take() {
            found.report.skipped.add(SkipReason::Torn, first_line);
        }
        let Found { known, numbers, mut report, mut extent, .. } = found;
        report.digest = lines.digest();
        if known.is_empty() {
            return Err(CommitsError::NoCommit(path.to_owned(), Box::new(report)));
        }
        report.commits = known.len() as u64;
        extent.set_nodes(known.keys());
        let too_many = known.len() > u32::MAX as usize;
        let mut in_window: Vec<Commit> =
            known.into_iter().filter_map(|(key, place)| commit_of(key, place?, &numbers)).collect();
        if too_many {
            return Err(CommitsError::TooMany(path.to_owned()));
        }
        in_window.sort_unstable_by_key(|commit| commit.file_order);
        report.in_window = in_window.len() as u64;
        Ok(Self { in_window, report, extent })
    }

    /// A digest of the commits of the window, in their order.
    pub(crate) fn digest_in_window(&self) -> u64 {
        let mut digest = Xxh3::new();
        for commit in &self.in_window {
            digest.update(commit.node.as_bytes());
            digest.update(&[b'\n', u8::from(commit.json.is_some())]);
            digest.update(&commit.date.as_micros().to_le_bytes());
        }
        digest.digest()
    }

    /// The commits of the window by nodes that are text, without surrounding white space, hex digits in lower case. Of nodes
    /// that are equal then, the first place and the last date count.
    #[must_use]
    pub fn folded(&self) -> Vec<Commit> {
        let mut places: HashMap<String, usize> = HashMap::with_capacity(self.in_window.len());
        let mut folded: Vec<Commit> = Vec::with_capacity(self.in_window.len());
        for commit in &self.in_window {
            let node = node::fold(&commit.node).into_owned();
            let place = *places.entry(node.clone()).or_insert(folded.len());
            match folded.get_mut(place) {
                Some(known) => known.date = commit.date,
                None => folded.push(Commit { node, json: None, ..commit.clone() }),
            }
        }
        folded
    }
}

/// The date of a commit and its place in the file.
type Place = (Timestamp, u32);

/// The commits that were found so far.
#[derive(Default)]
struct Found {
    /// First and last instant.
    window: (Timestamp, Timestamp),
    /// All nodes with a date; `None` for those that have none in the window. As in the older scripts, dates outside do not
    /// count, not even as the last one of a node.
    known: HashMap<NodeKey, Option<Place>>,
    num_in_window: u32,
    /// The texts of nodes that are numbers, as they appeared first.
    numbers: HashMap<NodeKey, (String, Option<Box<str>>)>,
    report: CommitsReport,
    extent: Extent,
}

impl Found {
    fn read_line(&mut self, bytes: &[u8], line: Line, document: &mut Document) -> Result<(), SkipReason> {
        let no_json = if line.ended { SkipReason::Malformed } else { SkipReason::Torn };
        if line.too_long {
            return Err(SkipReason::Malformed);
        }
        let text = python_strip(std::str::from_utf8(bytes).map_err(|_| no_json)?);
        if matches!(text, "" | "[" | "]") {
            return Err(SkipReason::Blank);
        }
        let value = match document.load(text) {
            Ok(value) => value,
            Err(_) => document.load(&part_of_list(text).ok_or(no_json)?).map_err(|_| no_json)?,
        };
        match value.kind() {
            Kind::Object(_) => self.take(value),
            Kind::Array(mut elements) if elements.clone().any(|element| matches!(element.kind(), Kind::Object(_))) => {
                elements.try_for_each(|element| self.take(element))
            }
            _ => Err(SkipReason::NotObject),
        }
    }

    /// Counts a line that was skipped for `reason`, unless it belongs to a commit that spans several lines.
    fn read_spread(
        &mut self,
        reason: Option<SkipReason>,
        bytes: &[u8],
        line: Line,
        spread: &mut Spread,
        document: &mut Document,
    ) {
        let text = std::str::from_utf8(bytes).ok().filter(|_| !line.too_long).map(python_strip);
        let (Some(reason), Some(text)) = (reason, text) else {
            if let Some(first_line) = spread.take() {
                self.report.skipped.add(SkipReason::Malformed, first_line);
            }
            if let Some(reason) = reason {
                self.report.skipped.add(reason, line.number);
            }
            return;
        };
        if !spread.add(text, line.number) {
            self.report.skipped.add(reason, line.number);
            return;
        }
        let commit = spread.ended().and_then(|text| document.load(text).ok()).map(|value| self.take(value));
        let skipped = match commit {
            None if spread.is_too_long() => Some(SkipReason::Malformed),
            None => return,
            Some(taken) => taken.err(),
        };
        let first_line = spread.take();
        if let (Some(reason), Some(line)) = (skipped, first_line) {
            self.report.skipped.add(reason, line);
        }
    }

    fn take(&mut self, commit: Value<'_>) -> Result<(), SkipReason> {
        let Kind::Object(_) = commit.kind() else { return Err(SkipReason::NotObject) };
        let node = commit.get("node").ok_or(SkipReason::WithoutNode)?;
        let key = NodeKey::of_value(node).ok_or(SkipReason::WithoutNode)?;
        let date = commit.get("date").and_then(read_date).ok_or(SkipReason::Undated)?;
        self.extent.add_date(date);
        let is_in_window = self.window.0 <= date && date <= self.window.1;
        self.report.repeated += u64::from(self.known.contains_key(&key));
        if is_in_window && matches!(key, NodeKey::Number(_)) {
            self.numbers.entry(key.clone()).or_insert_with(|| node::texts_of(node));
        }
        let place = self.known.entry(key).or_default();
        if is_in_window {
            let order = place.map_or(self.num_in_window, |(_, order)| order);
            self.num_in_window += u32::from(place.is_none());
            *place = Some((date, order));
        }
        Ok(())
    }
}

/// A list that holds what stands in `text`, if that may be a part of a list: an opening bracket before it, or a closing one
/// or a comma behind it.
fn part_of_list(text: &str) -> Option<String> {
    let opened = text.strip_prefix('[').unwrap_or(text);
    let ended = opened.strip_suffix(']').unwrap_or(opened).trim_end();
    let part = ended.strip_suffix(',').unwrap_or(ended);
    (part.len() < text.len()).then(|| format!("[{part}]"))
}

fn commit_of(
    key: NodeKey,
    (date, file_order): Place,
    numbers: &HashMap<NodeKey, (String, Option<Box<str>>)>,
) -> Option<Commit> {
    let (node, json) = match key {
        NodeKey::Hash(revision) => (revision.to_string(), None),
        NodeKey::Text(text) => (text.into(), None),
        NodeKey::Number(_) => numbers.get(&key)?.clone(),
    };
    Some(Commit { node, json, date, file_order })
}

/// Formats an instant as Python's `datetime.isoformat()` does in UTC: `2026-07-01T00:00:00+00:00`, with six digits for a
/// fraction of a second.
#[must_use]
pub(crate) fn isoformat(at: Timestamp) -> String {
    let mut text = at.to_naive_string();
    text.push_str("+00:00");
    text
}

/// Reads `[epoch, offset]`. The epoch is UTC; the offset is the author's time zone, and is ignored, also if it is missing.
pub(crate) fn read_date(date: Value<'_>) -> Option<Timestamp> {
    let Kind::Array(mut parts) = date.kind() else { return None };
    match parts.next()?.kind() {
        Kind::Int(digits) => {
            let secs = digits.parse().ok()?;
            DATETIME_SECS.contains(&secs).then(|| Timestamp::from_secs(secs))
        }
        Kind::Bool(value) => Some(Timestamp::from_secs(value.into())),
        Kind::Float(epoch) => from_float(epoch),
        _ => None,
    }
}

/// Python's `datetime.fromtimestamp` of a float: it scales only the fraction, and rounds it half to even.
fn from_float(epoch: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "both are checked to be in range")]
    let (secs, micros) = {
        let whole = epoch.trunc();
        #[expect(clippy::cast_precision_loss, reason = "the ends of the calendar are exact in a float")]
        let (first, last) = (*DATETIME_SECS.start() as f64, *DATETIME_SECS.end() as f64);
        if !(first..=last).contains(&whole) {
            return None;
        }
        (whole as i64, (epoch.fract() * 1e6).round_ties_even() as i64)
    };
    let at = Timestamp::from_micros(secs * 1_000_000 + micros);
    DATETIME_SECS.contains(&at.as_secs()).then_some(at)
}

#[cfg(test)]
mod tests;
