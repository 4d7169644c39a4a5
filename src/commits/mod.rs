//! The commits of the repository: `all_commits.jsonl`, made from a clone, an hgweb server or Treeherder's push list.
//!
//! ```text
//!   clone:DIR   hg log | git log, a child process, streamed ------------------------------+
//!   hgweb:URL   pages of the log, newest first, 10 in flight ---> FILE.pages (checksums) -+-> all_commits.jsonl
//!   pushes      days of the push list, 10 in flight ------------> FILE.pages (checksums) -+   (oldest first)
//! ```
//!
//! In: a window and a source. Out: one file with the commits of the window, each once, parents before children.
//! Promises: the file appears whole or not at all. Answers of a server are kept in `FILE.pages`, so that a run that was
//! killed fetches only what is missing when it is started again, and writes the same bytes. Text from a server or a
//! repository reaches the terminal only without control characters.

mod clone;
mod days;
mod error;
mod log_pages;
mod making;
mod order;
mod output;
mod pages;

pub use error::FetchCommitsError;
pub use making::{ensure_commits, fetch_commits};
pub use order::{CommitWindow, CommitsOrder, CommitsSummary};
pub use pages::MAX_IN_FLIGHT;
