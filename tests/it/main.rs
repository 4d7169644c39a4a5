//! The integration tests: whole crawls against a simulated Treeherder on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod archive;
mod golden;
mod import;
mod inputs;
mod options;
mod resume;
mod support;
