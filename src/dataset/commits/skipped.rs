//! Counts the unusable lines of a file by reason, and keeps the numbers of the first few.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Line numbers kept per reason.
const KEPT_LINE_NUMBERS: usize = 5;

/// Why a line was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Nothing but white space, or a bracket of a list of commits.
    Blank,
    /// Not JSON, not UTF-8, or too long for a commit.
    Malformed,
    /// The last line, if it is not JSON and has no line end: its writer was stopped midway.
    Torn,
    /// JSON, but not an object.
    NotObject,
    /// `node` is missing or empty, is a list or an object, or holds half of a surrogate pair.
    WithoutNode,
    /// `date` is missing, not a list that starts with a number, or outside the years 1 to 9999.
    Undated,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blank => "blank",
            Self::Malformed => "malformed",
            Self::Torn => "torn",
            Self::NotObject => "not an object",
            Self::WithoutNode => "without a node",
            Self::Undated => "without a date",
        })
    }
}

/// The lines skipped for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SkippedFor {
    /// Number of lines.
    pub count: u64,
    /// Line numbers of the first few, counted from 1.
    pub first_lines: Vec<u64>,
}

/// The skipped lines by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SkippedLines(BTreeMap<SkipReason, SkippedFor>);

impl SkippedLines {
    /// Number of lines skipped for `reason`.
    #[must_use]
    pub fn count(&self, reason: SkipReason) -> u64 {
        self.0.get(&reason).map_or(0, |skipped| skipped.count)
    }

    /// Line numbers of the first lines skipped for `reason`.
    #[must_use]
    pub fn first_lines(&self, reason: SkipReason) -> &[u64] {
        self.0.get(&reason).map_or(&[], |skipped| &skipped.first_lines)
    }

    /// Number of all skipped lines.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().map(|skipped| skipped.count).sum()
    }

    /// Number of skipped lines without the blank ones, which are harmless.
    #[must_use]
    pub fn total_not_blank(&self) -> u64 {
        self.total() - self.count(SkipReason::Blank)
    }

    pub(super) fn add(&mut self, reason: SkipReason, line: u64) {
        let skipped = self.0.entry(reason).or_default();
        skipped.count += 1;
        if skipped.first_lines.len() < KEPT_LINE_NUMBERS {
            skipped.first_lines.push(line);
        }
    }
}

impl fmt::Display for SkippedLines {
    /// For example `2 malformed (lines 3, 9), 1 torn (line 12)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none skipped");
        }
        for (index, (reason, skipped)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let numbers: Vec<String> = skipped.first_lines.iter().map(u64::to_string).collect();
            let word = if skipped.count == 1 { "line" } else { "lines" };
            let more = if skipped.count > skipped.first_lines.len() as u64 { ", …" } else { "" };
            write!(f, "{comma}{} {reason} ({word} {}{more})", skipped.count, numbers.join(", "))?;
        }
        Ok(())
    }
}
