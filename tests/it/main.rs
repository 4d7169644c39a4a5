//! The integration tests: whole crawls against a simulated Treeherder on loopback.

mod golden;
mod inputs;
mod resume;
mod support;
