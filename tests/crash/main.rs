//! Kills and resumes real processes: the artifacts are the same every time, and no request is repeated.
//!
//! The simulated Treeherder runs in the test's process, and its log of arrivals shows all requests; the crawls run in child
//! processes, which fail points or signals end.
//!
//! `PERFHARVEST_CRASH_LONG=1` kills and damages as often as a release must endure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may panic and talk")]

mod arrivals;
mod child;
mod compact;
mod damage;
#[cfg(all(target_os = "linux", feature = "disk-full-tests"))]
mod disk_full;
mod kills;
mod modes;
mod panics;
#[cfg(debug_assertions)] // the fail points are in no other build
mod points;
mod publishing;
mod refreshes;
mod signals;
#[path = "../it/support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod tuned;
mod verify;
