//! Integration tests: whole crawls of a simulated Treeherder on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may panic and talk")]

mod adaptive;
mod alert_statuses;
mod all_jobs;
mod architecture;
mod archive;
mod bisect;
mod case_server;
mod cases;
mod changes;
mod clocks;
mod commits;
mod commits_hgweb;
mod compact;
mod completeness;
mod damage;
mod damage_of_trees;
mod digests;
mod faults;
mod faults_alert_pages;
mod faults_lasting;
mod faults_shown;
mod faults_split;
mod first_use;
mod fuzz_inputs;
mod golden;
mod harvests;
mod harvests_feed;
mod harvests_forgetting;
mod harvests_growing;
mod harvests_jobs;
mod harvests_odd;
mod headers;
mod hgweb_server;
mod import;
mod inputs;
mod lies;
#[cfg(target_os = "linux")]
mod limits;
mod living;
mod merge;
mod metrics;
mod odd_data;
mod online_check;
mod options;
#[cfg(unix)]
mod outputs;
mod ownership;
mod parquet;
mod plan;
mod published;
mod rate;
mod readers;
mod rehearsal;
mod replicates;
mod replicates_elsewhere;
mod report;
mod repositories;
mod resume;
mod scope;
mod support;
mod tuning;
mod verify_outputs;
