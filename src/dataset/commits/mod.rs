//! Reads the commits of the window from `all_commits.jsonl`.
//!
//! In: the lines of the file. Out: the commits whose date lies in the window, in file order. The file is untrusted: an
//! unusable line is skipped and counted with its reason, and only a file without usable lines is an error.

mod skipped;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

pub(crate) use self::skipped::{SkipReason, SkippedLines};
use crate::dataset::lines::{Line, Lines, python_strip};
use crate::model::{Revision, Timestamp};

/// The range of Python's `datetime`: the years 1 to 9999.
const DATETIME_SECS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A commit of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The hash, as written in the file.
    pub node: String,
    /// The commit date.
    pub date: Timestamp,
    /// Index among the distinct nodes of the file, in order of first appearance, from 0.
    pub file_order: u32,
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
    /// Lines that repeat a node; the last date counts.
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
        let mut report = CommitsReport::default();
        let mut known: HashMap<Node, (Timestamp, u32)> = HashMap::new();
        let mut bytes = Vec::new();
        while let Some(line) =
            lines.read(&mut bytes).map_err(|source| CommitsError::Unreadable(path.to_owned(), source))?
        {
            report.lines = line.number;
            let (node, date) = match parse(&bytes, line) {
                Ok(commit) => commit,
                Err(reason) => {
                    report.skipped.add(reason, line.number);
                    continue;
                }
            };
            let next = u32::try_from(known.len()).map_err(|_| CommitsError::TooMany(path.to_owned()))?;
            known
                .entry(node)
                .and_modify(|(known_date, _)| {
                    *known_date = date;
                    report.repeated += 1;
                })
                .or_insert((date, next));
        }
        report.digest = lines.digest();
        if known.is_empty() {
            return Err(CommitsError::NoCommit(path.to_owned(), Box::new(report)));
        }
        report.commits = known.len() as u64;
        let mut in_window: Vec<Commit> = known
            .into_iter()
            .filter(|&(_, (date, _))| start <= date && date <= end)
            .map(|(node, (date, file_order))| Commit { node: node.into_text(), date, file_order })
            .collect();
        in_window.sort_unstable_by_key(|commit| commit.file_order);
        report.in_window = in_window.len() as u64;
        Ok(Self { in_window, report })
    }
}

/// Formats an instant as Python's `datetime.isoformat()` does in UTC: `2026-07-01T00:00:00+00:00`, with six digits for a
/// fraction of a second.
#[must_use]
pub(crate) fn isoformat(at: Timestamp) -> String {
    let mut text = at.to_naive_string();
    text.push_str("+00:00");
    text
}

/// A node; a hash takes 20 bytes, because a repository has a million of them.
#[derive(PartialEq, Eq, Hash)]
enum Node {
    Hash(Revision),
    Text(Box<str>),
}

impl Node {
    fn into_text(self) -> String {
        match self {
            Self::Hash(revision) => revision.to_string(),
            Self::Text(text) => text.into(),
        }
    }
}

/// The two fields of a line that are used, unparsed. As in Python, the last of duplicate keys counts.
struct Fields<'a> {
    node: Option<&'a RawValue>,
    date: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a commit")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields { node: None, date: None };
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "node" => fields.node = Some(map.next_value()?),
                        "date" => fields.date = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

fn parse(bytes: &[u8], line: Line) -> Result<(Node, Timestamp), SkipReason> {
    let no_json = if line.ended { SkipReason::Malformed } else { SkipReason::Torn };
    if line.too_long {
        return Err(SkipReason::Malformed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| no_json)?;
    let text = python_strip(text);
    if text.is_empty() {
        return Err(SkipReason::Blank);
    }
    if !text.starts_with('{') {
        return Err(serde_json::from_str::<IgnoredAny>(text).map_or(no_json, |_| SkipReason::NotObject));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| no_json)?;
    let node = fields.node.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let node = node.filter(|node| !node.is_empty()).ok_or(SkipReason::WithoutNode)?;
    let date = fields.date.and_then(|raw| read_date(raw.get())).ok_or(SkipReason::Undated)?;
    let node = node.parse().map_or_else(|_| Node::Text(node.into_boxed_str()), Node::Hash);
    Ok((node, date))
}

/// Reads `[epoch, offset]`. The epoch is UTC; the offset is the author's time zone, and is ignored.
fn read_date(text: &str) -> Option<Timestamp> {
    let parts: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let [epoch, _, ..] = parts.as_slice() else { return None };
    let epoch = epoch.get();
    if let Ok(secs) = epoch.parse::<i64>() {
        return DATETIME_SECS.contains(&secs).then(|| Timestamp::from_secs(secs));
    }
    if !epoch.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return None; // a string, null or a list
    }
    from_float(epoch.parse().ok()?)
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
            "{\"node\":\"n\",\"date\":[1782864000]}",
            "{\"node\":\"n\",\"date\":[]}",
            "{\"node\":\"n\",\"date\":[\"1782864000\",0]}",
            "{\"node\":\"n\",\"date\":\"2026-07-01\"}",
            "{\"node\":\"n\",\"date\":[1e300,0]}",
            "{\"node\":\"n\",\"date\":[99999999999999,0]}",
            "{\"node\":\"n\"}",
            "{\"node\":7,\"date\":[1782864000,0]}",
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
    fn the_last_date_of_a_node_wins_and_its_first_place_stays() {
        let commits = read(
            "{\"node\":\"a\",\"date\":[1782864000,0]}\n{\"node\":\"b\",\"date\":[1782864000,-3600]}\n\
             {\"node\":\"c\",\"date\":[1782864000,0]}\n{\"node\":\"c\",\"date\":[5,0]}\n\
             {\"node\":\"a\",\"date\":[1,0],\"date\":[1782864001,0]}",
        )
        .unwrap();
        let rows: Vec<_> =
            commits.in_window.iter().map(|c| (c.node.as_str(), c.date.as_secs(), c.file_order)).collect();
        assert_eq!(rows, [("a", 1_782_864_001, 0), ("b", 1_782_864_000, 1)]);
        assert_eq!((commits.report.commits, commits.report.repeated), (3, 2));
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
            let date = read_date(&format!("[{text}, 0]")).unwrap();
            assert_eq!(isoformat(date), expected, "{text}");
        }
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
