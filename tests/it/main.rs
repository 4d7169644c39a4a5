//! The integration tests: whole crawls against a simulated Treeherder on loopback.

mod archive;
mod golden;
mod import;
mod inputs;
mod resume;
mod support;
