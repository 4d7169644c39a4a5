//! The names of the files, and the report of an import.

use std::fmt;

/// The data: one signature per line.
pub const DATA_NAME: &str = "perf_jobs_by_signature.jsonl";
/// The records of signatures.
pub const SIGNATURES_NAME: &str = "all_signatures.jsonl";
/// The records of jobs.
pub const JOBS_NAME: &str = "max_revision_jobs.jsonl";

/// Alert summaries, which are not read.
pub const ALERTS_NAME: &str = "alert_summaries.csv";

/// Written by `reduce` beside the files that it makes.
pub(super) const MANIFEST_NAME: &str = "manifest.json";

/// The source of `data_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndProof {
    /// The configuration, or the command line: earlier than the files prove.
    Configured,
    /// The manifest in the folder.
    Manifest,
    /// The newest push of the data.
    NewestPush,
    /// Nothing: the folder has no data.
    Nothing,
}

impl fmt::Display for EndProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("as configured"),
            Self::Manifest => write!(f, "the end of the data in its {MANIFEST_NAME}"),
            Self::NewestPush => write!(f, "the newest push in {DATA_NAME}"),
            Self::Nothing => f.write_str("as the folder has no data"),
        }
    }
}

/// Lines, or data in them, that were not imported as they are; numbers start at 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedLines {
    /// Their number.
    pub count: u64,
    /// The first ones, each with its line and its error.
    pub first: Vec<(u64, String)>,
}

impl NamedLines {
    /// Most entries of `first`.
    const NAMED: usize = 10;

    pub(super) fn add(&mut self, line: u64, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push((line, what.into()));
        }
    }
}

/// The report of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Lines, blank ones included.
    pub lines: u64,
    /// Imported signatures or jobs.
    pub taken: u64,
    /// Rows of a signature or job that another row has too; their data are joined.
    pub doubled: u64,
    /// Empty lists, which may be swallowed errors: the next run asks again.
    pub empty: u64,
    /// Imported data.
    pub data: u64,
    /// Data outside of the crawl's data window, left out.
    pub outside: u64,
    /// Rows with values that are not valid JSON (`NaN`, halves of surrogate pairs, duplicate keys), imported with a
    /// correction.
    pub corrected: u64,
    /// Torn or malformed rows; a complete row after some of them was imported.
    pub torn: NamedLines,
    /// Data that were set aside, or taken with a correction.
    pub set_aside: NamedLines,
}
