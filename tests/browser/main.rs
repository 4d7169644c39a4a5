//! Tests the report in a real browser over the `DevTools` protocol. Requires Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may panic and talk")]

mod devtools;
mod report;
#[allow(dead_code, reason = "shared with the other targets, which need more of it")]
#[path = "../it/support/mod.rs"]
mod support;
