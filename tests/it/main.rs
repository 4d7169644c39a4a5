//! The integration tests: whole crawls against a simulated Treeherder on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;
mod faults_lasting;
mod faults_shown;
mod faults_split;
mod golden;
mod inputs;
mod resume;
mod support;
