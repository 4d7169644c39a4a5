//! Real processes, killed and resumed: whatever happens, the artifacts come out the same and nothing is asked twice.
//!
//! The simulated Treeherder runs in the test's process, whose book of arrivals proves what was asked; the crawls run in
//! children, which fail points or signals end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may panic and talk")]

mod arrivals;
mod child;
#[cfg(all(target_os = "linux", feature = "disk-full-tests"))]
mod disk_full;
mod kills;
mod signals;
#[path = "../it/support/mod.rs"]
mod support;
mod tuned;
mod verify;
