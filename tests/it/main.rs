//! The integration tests: whole crawls against a simulated Treeherder on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may panic and talk")]

mod archive;
mod damage;
mod golden;
mod import;
mod inputs;
mod options;
mod resume;
mod support;
