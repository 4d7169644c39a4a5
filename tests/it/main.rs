//! The integration tests: whole crawls against a simulated Treeherder on loopback.

mod faults;
mod faults_lasting;
mod faults_shown;
mod faults_split;
mod golden;
mod inputs;
mod resume;
mod support;
