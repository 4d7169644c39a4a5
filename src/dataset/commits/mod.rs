//! Reads the commits of the window from `all_commits.jsonl`.
//!
//! In: the lines of the file. Out: the commits whose date lies in the window, in file order, with the nodes as the older
//! scripts read them. The file is untrusted: an unusable line is skipped and counted with its reason, and only a file without
//! usable lines is an error. A list of commits is read, too, in one line or with one commit per line.

mod node;
mod skipped;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use pytext::loads::{Document, Kind, Value};
use serde::Serialize;
use thiserror::Error;

pub(crate) use self::node::NodeKey;
pub(crate) use self::skipped::{SkipReason, SkippedLines};
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
        let (mut bytes, mut document) = (Vec::new(), Document::default());
        while let Some(line) =
            lines.read(&mut bytes).map_err(|source| CommitsError::Unreadable(path.to_owned(), source))?
        {
            found.report.lines = line.number;
            if let Err(reason) = found.read_line(&bytes, line, &mut document) {
                found.report.skipped.add(reason, line.number);
            }
        }
        let Found { known, numbers, mut report, .. } = found;
        report.digest = lines.digest();
        if known.is_empty() {
            return Err(CommitsError::NoCommit(path.to_owned(), Box::new(report)));
        }
        report.commits = known.len() as u64;
        let too_many = known.len() > u32::MAX as usize;
        let mut in_window: Vec<Commit> =
            known.into_iter().filter_map(|(key, place)| commit_of(key, place?, &numbers)).collect();
        if too_many {
            return Err(CommitsError::TooMany(path.to_owned()));
        }
        in_window.sort_unstable_by_key(|commit| commit.file_order);
        report.in_window = in_window.len() as u64;
        Ok(Self { in_window, report })
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

    fn take(&mut self, commit: Value<'_>) -> Result<(), SkipReason> {
        let Kind::Object(_) = commit.kind() else { return Err(SkipReason::NotObject) };
        let node = commit.get("node").ok_or(SkipReason::WithoutNode)?;
        let key = NodeKey::of_value(node).ok_or(SkipReason::WithoutNode)?;
        let date = commit.get("date").and_then(read_date).ok_or(SkipReason::Undated)?;
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
fn read_date(date: Value<'_>) -> Option<Timestamp> {
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
mod tests {
    use super::*;
    use crate::dataset::corpus;

    const START: Timestamp = Timestamp::from_secs(1_782_864_000);
    const END: Timestamp = Timestamp::from_secs(1_793_836_800);

    fn read(text: impl AsRef<[u8]>) -> Result<Commits, CommitsError> {
        Commits::read_from(text.as_ref(), Path::new("commits.jsonl"), START, END)
    }

    #[test]
    fn the_window_of_the_corpus_holds_the_revisions_of_the_reference() {
        let commits = Commits::read(Path::new(&corpus::path("input/all_commits.jsonl")), START, END).unwrap();
        let mut rows: Vec<(String, String)> =
            commits.in_window.iter().map(|commit| (commit.node.clone(), isoformat(commit.date))).collect();
        let golden = corpus::csv("golden/perf_jobs_per_revision.csv");
        let mut expected: Vec<(String, String)> =
            golden.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
        rows.sort();
        expected.sort();
        assert_eq!(rows, expected);
        assert!(commits.in_window.is_sorted_by_key(|commit| commit.file_order));
        let report = &commits.report;
        assert_eq!((report.lines, report.commits, report.in_window), (172, 169, 115));
        assert_eq!(report.skipped.first_lines(SkipReason::Blank), [57, 91]);
        assert_eq!(report.skipped.first_lines(SkipReason::Malformed), [86]);
        assert_eq!(report.skipped.total_not_blank(), 1);
        assert_eq!(report.digest_hex().len(), 64);
    }

    #[test]
    fn each_unusable_line_is_counted_under_its_reason() {
        let mut text = b"\xff\xfe{}\n".to_vec();
        for line in [
            "{\"node\":\"n\",\"date\":null}",
            "{\"node\":\"n\",\"date\":[null,1782864000]}",
            "{\"node\":\"n\",\"date\":[]}",
            "{\"node\":\"n\",\"date\":[\"1782864000\",0]}",
            "{\"node\":\"n\",\"date\":\"2026-07-01\"}",
            "{\"node\":\"n\",\"date\":[1e300,0]}",
            "{\"node\":\"n\",\"date\":[99999999999999,0]}",
            "{\"node\":\"n\"}",
            "{\"node\":[7],\"date\":[1782864000,0]}",
            "{\"date\":[1782864000,0]}",
            "[1,2]",
            "nonsense",
            " \u{2028}\t",
            "{\"node\":\"kept\",\"desc\":\"\\ud800\",\"date\":[1782864000,0]}",
            "{\"node\":\"half\",\"da",
        ] {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        text.pop();
        let commits = read(&text).unwrap();
        let skipped = &commits.report.skipped;
        assert_eq!(skipped.count(SkipReason::Undated), 8);
        assert_eq!(skipped.first_lines(SkipReason::Undated), [2, 3, 4, 5, 6]);
        assert_eq!(skipped.first_lines(SkipReason::WithoutNode), [10, 11]);
        assert_eq!(skipped.first_lines(SkipReason::NotObject), [12]);
        assert_eq!(skipped.first_lines(SkipReason::Malformed), [1, 13]);
        assert_eq!(skipped.first_lines(SkipReason::Blank), [14]);
        assert_eq!(skipped.first_lines(SkipReason::Torn), [16]);
        assert_eq!(skipped.total(), 15);
        assert_eq!(commits.in_window.len(), 1);
        assert_eq!(
            skipped.to_string(),
            "1 blank (line 14), 2 malformed (lines 1, 13), 1 torn (line 16), 1 not an object (line 12), \
             2 without a node (lines 10, 11), 8 without a date (lines 2, 3, 4, 5, 6, …)"
        );
    }

    #[test]
    fn the_last_date_of_a_node_in_the_window_wins_and_its_first_place_there_stays() {
        let commits = read(
            "{\"node\":\"a\",\"date\":[1782864000,0]}\n{\"node\":\"b\",\"date\":[1782864000,-3600]}\n\
             {\"node\":\"c\",\"date\":[1782864000,0]}\n{\"node\":\"c\",\"date\":[5,0]}\n\
             {\"node\":\"a\",\"date\":[1,0],\"date\":[1782864001,0]}",
        )
        .unwrap();
        let rows: Vec<_> =
            commits.in_window.iter().map(|c| (c.node.as_str(), c.date.as_secs(), c.file_order)).collect();
        assert_eq!(rows, [("a", 1_782_864_001, 0), ("b", 1_782_864_000, 1), ("c", 1_782_864_000, 2)]);
        assert_eq!((commits.report.commits, commits.report.repeated), (3, 2));
        let commits = read(
            "{\"node\":\"out\",\"date\":[5,0]}\n{\"node\":\"late\",\"date\":[5,0]}\n{\"node\":\"a\",\"date\":[1782864000]}\n\
             {\"node\":\"late\",\"date\":[1782864000]}",
        )
        .unwrap();
        let rows: Vec<_> = commits.in_window.iter().map(|c| (c.node.as_str(), c.file_order)).collect();
        assert_eq!(rows, [("a", 0), ("late", 1)]);
    }

    #[test]
    fn both_ends_belong_to_the_window() {
        let at = |secs: &str| {
            let text = format!("{{\"node\":\"a\",\"date\":[{secs},0]}}");
            read(text).unwrap().in_window.len()
        };
        assert_eq!((at("1782864000"), at("1793836800")), (1, 1));
        assert_eq!((at("1782863999.999999"), at("1793836800.000001"), at("1793836800.0000001")), (0, 0, 1));
    }

    #[test]
    fn fractions_are_rounded_as_python_rounds_them() {
        // Expected texts from datetime.fromtimestamp(x, tz=timezone.utc).isoformat().
        for (text, expected) in [
            ("1782864000.5", "2026-07-01T00:00:00.500000+00:00"),
            ("1782864000.0", "2026-07-01T00:00:00+00:00"),
            ("1.7828640005e9", "2026-07-01T00:00:00.500000+00:00"),
            ("1782864000.9999999", "2026-07-01T00:00:01+00:00"),
            ("-0.5", "1969-12-31T23:59:59.500000+00:00"),
            ("0.0000005", "1970-01-01T00:00:00+00:00"),
            ("0.0000015", "1970-01-01T00:00:00.000002+00:00"),
            ("-1.25", "1969-12-31T23:59:58.750000+00:00"),
            ("-62135596800", "0001-01-01T00:00:00+00:00"),
        ] {
            let date = read_date(Document::default().load(&format!("[{text}, 0]")).unwrap()).unwrap();
            assert_eq!(isoformat(date), expected, "{text}");
        }
    }

    #[test]
    fn everything_is_taken_that_python_takes() {
        let hash = "B48C4D7FC2C9971A780EF9C29619C44CE3E97935";
        for (line, node, json) in [
            (r#"{"node":"n","date":[1782864000]}"#, "n", None),
            (r#"{"node":"n","date":[1782864000,NaN,{}]}"#, "n", None),
            (r#"{"node":"n","date":[1782864000.0,"x"]}"#, "n", None),
            (r#"{"node":"n","date":[1.782864E9]}"#, "n", None),
            (r#"{"date":[1782864000],"node":"n","x":NaN,"y":[-Infinity,1e400]}"#, "n", None),
            (r#"{"node":"n","date":[1782864000],"\ud800":"\udfff"}"#, "n", None),
            (r#"{"node":7,"date":[1782864000]}"#, "7", Some("7")),
            (r#"{"node":true,"date":[1782864000]}"#, "True", Some("true")),
            (r#"{"node":1.50,"date":[1782864000]}"#, "1.5", Some("1.5")),
            (r#"{"node":NaN,"date":[1782864000]}"#, "nan", Some("NaN")),
            (r#"{"node":" x ","date":[1782864000]}"#, " x ", None),
            (&format!(r#"{{"node":"{hash}","date":[1782864000]}}"#), hash, None),
            (r#" [{"node":"n","date":[1782864000]}, "#, "n", None),
            (r#"{"node":"n","date":[1782864000]},"#, "n", None),
            (r#"{"node":"n","date":[1782864000]}]"#, "n", None),
        ] {
            let commits = read(line).unwrap();
            let [commit] = commits.in_window.as_slice() else { panic!("{line}") };
            assert_eq!((commit.node.as_str(), commit.json.as_deref(), commit.date), (node, json, START), "{line}");
        }
        let deep = format!("{{\"node\":\"n\",\"date\":[1782864000],\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(read(deep).unwrap().in_window.len(), 1);
    }

    #[test]
    fn dates_that_python_cannot_read_are_skipped() {
        for date in [
            "null",
            "7",
            "\"x\"",
            "{}",
            "{\"0\":1782864000}",
            "[]",
            "[null]",
            "[\"1782864000\"]",
            "[[1782864000]]",
            "[{}]",
            "[NaN]",
            "[Infinity]",
            "[1e400]",
            "[99999999999999999999999]",
            "[253402300800]",
            "[-62135596801]",
        ] {
            let error = read(format!("{{\"node\":\"n\",\"date\":{date}}}")).unwrap_err();
            let CommitsError::NoCommit(_, report) = error else { panic!("{date}") };
            assert_eq!(report.skipped.count(SkipReason::Undated), 1, "{date}");
        }
        let report = read("{\"node\":\"n\",\"date\":[true]}").unwrap().report;
        assert_eq!((report.commits, report.in_window), (1, 0), "one second after the epoch");
    }

    #[test]
    fn lists_and_other_line_ends_are_read_as_a_whole() {
        let commit = |node: u32| format!("{{\"node\":\"n{node}\",\"date\":[1782864000]}}");
        let (one, two) = (commit(1), commit(2));
        for text in [
            format!("[{one},{two}]"),
            format!("[\n{one},\n{two}\n]\n"),
            format!("[{one},\n{two}]"),
            format!("{one},\n{two},\n"),
            format!("{one}\r{two}\r"),
            format!("{one}\r\n{two}"),
        ] {
            let commits = read(&text).unwrap();
            assert_eq!((commits.in_window.len(), commits.report.skipped.total_not_blank()), (2, 0), "{text:?}");
        }
    }

    #[test]
    fn folded_nodes_are_one_text_each() {
        let hash = "b48c4d7fc2c9971a780ef9c29619c44ce3e97935";
        let line = |node: &str, secs: u32| format!("{{\"node\":{node},\"date\":[{secs}]}}\n");
        let text = line(&format!("\" {} \"", hash.to_uppercase()), 1_782_864_000)
            + &line("7", 1_782_864_000)
            + &line(&format!("\"{hash}\""), 1_782_864_001)
            + &line("\"7\"", 1_782_864_002);
        let commits = read(text).unwrap();
        assert_eq!(commits.in_window.len(), 4);
        let folded = commits.folded();
        let rows: Vec<_> = folded.iter().map(|c| (c.node.as_str(), c.json.is_none(), c.date.as_secs())).collect();
        assert_eq!(rows, [(hash, true, 1_782_864_001), ("7", true, 1_782_864_002)]);
    }

    #[test]
    fn a_file_without_a_commit_says_what_it_should_hold() {
        let message = read("\n[]\nx\n").unwrap_err().to_string();
        for part in ["commits.jsonl", "3 lines", "1 malformed (line 3)", "\"node\"", "\"date\""] {
            assert!(message.contains(part), "{message}");
        }
        assert!(matches!(read(""), Err(CommitsError::NoCommit(..))));
        let missing = Commits::read(Path::new("no/such/file"), START, END).unwrap_err();
        assert!(missing.to_string().contains("no/such/file"));
    }
}
