//! The files that can be imported, and the account of each.

/// The data, a signature a line.
pub const DATA_NAME: &str = "perf_jobs_by_signature.jsonl";
/// The signatures' records.
pub const SIGNATURES_NAME: &str = "all_signatures.jsonl";
/// Job records.
pub const JOBS_NAME: &str = "max_revision_jobs.jsonl";

/// Alert summaries, which are not read.
pub const ALERTS_NAME: &str = "alert_summaries.csv";

/// Lines that could not be taken, by number, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TornLines {
    /// How many.
    pub count: u64,
    /// The first of them, each with what is wrong.
    pub first: Vec<(u64, String)>,
}

impl TornLines {
    /// As many are named.
    const NAMED: usize = 10;

    pub(super) fn add(&mut self, line: u64, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push((line, what.into()));
        }
    }
}

/// What was found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Lines, blank ones included.
    pub lines: u64,
    /// Signatures or jobs taken in.
    pub taken: u64,
    /// Rows of what another row had as well; of data, what both hold is joined.
    pub doubled: u64,
    /// Empty lists, which may be swallowed errors: to be asked again.
    pub empty: u64,
    /// Data taken in.
    pub data: u64,
    /// Data before or after the crawl's data window, left out.
    pub outside: u64,
    /// Rows that are torn or malformed; of some, a whole row behind them was taken.
    pub torn: TornLines,
}
