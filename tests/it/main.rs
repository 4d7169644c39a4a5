//! The integration tests: whole crawls against a simulated Treeherder on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may panic and talk")]

mod damage;
mod golden;
mod inputs;
mod resume;
mod support;
