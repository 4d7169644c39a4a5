//! The lines that could not be used: how many, why, and where the first of them stand.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// How many line numbers are kept of each reason for skipping.
const KEPT_LINE_NUMBERS: usize = 5;

/// Why a line was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Nothing but white space.
    Blank,
    /// No JSON, no UTF-8, or too long to be a commit.
    Malformed,
    /// The last line, without its line end, and no JSON: its writer was stopped midway.
    Torn,
    /// JSON, but no object.
    NotObject,
    /// No `node`, or one that is no text.
    WithoutNode,
    /// No `date` of the form `[epoch, offset]`, or no time that a calendar knows.
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

/// How many lines were skipped for one reason, and where the first of them are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SkippedFor {
    /// All of them.
    pub count: u64,
    /// The line numbers of the first few, from 1.
    pub first_lines: Vec<u64>,
}

/// The skipped lines by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SkippedLines(BTreeMap<SkipReason, SkippedFor>);

impl SkippedLines {
    /// The lines skipped for `reason`.
    #[must_use]
    pub fn count(&self, reason: SkipReason) -> u64 {
        self.0.get(&reason).map_or(0, |skipped| skipped.count)
    }

    /// The numbers of the first lines skipped for `reason`.
    #[must_use]
    pub fn first_lines(&self, reason: SkipReason) -> &[u64] {
        self.0.get(&reason).map_or(&[], |skipped| &skipped.first_lines)
    }

    /// All skipped lines.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().map(|skipped| skipped.count).sum()
    }

    /// All skipped lines but the blank ones, which no one needs to be told about.
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
    /// Such as `2 malformed (lines 3, 9), 1 torn (line 12)`.
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
