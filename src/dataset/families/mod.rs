//! The families: each makes the artifacts that follow from one computation.

pub mod alerts;
pub mod busiest;
pub mod coverage;
pub mod durations;
pub mod groups;
pub mod job_index;
pub mod relabel;
pub mod tables;
