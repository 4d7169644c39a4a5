//! The integration tests: whole crawls against a simulated Treeherder on loopback.

mod adaptive;
mod golden;
mod inputs;
mod metrics;
mod plan;
mod rate;
mod resume;
mod support;
mod tuning;
