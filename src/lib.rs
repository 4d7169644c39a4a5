//! Harvests Mozilla Treeherder's performance history into research datasets: politely, exactly, and before it expires.
//!
//! ```text
//!   Treeherder API -> source -> fetch (actors, one shared token bucket) -> store (sled) -> dataset --------------> artifact files
//!                     wire      Scheduler => Fetchers => TokenBucket       StoreWriter     pass => families        *.csv *.jsonl
//!                     page                     |                              |            (a reducer actor each)  *.json *.png
//!                     split                    +-- answers ------------------>+                                    manifest.json
//!                                                                             |
//!                                    Scheduler <-- what became durable -------+
//! ```
//!
//! Stages of a crawl: alert summaries | signatures -> summaries -> sampled job details -> busiest revision's job
//! details
//! -> dataset. Alerts and signatures run side by side; a settled summary discovers the jobs to sample; the busiest revision
//! is known when all summaries are settled. [`pipeline`] makes all channels and actors; read it next.
//!
//! Promises: a settled request is never asked again, and a resumed crawl gives the bytes of one that was never
//! stopped; settled with data, settled empty, gone and failed are four different things; every attempt takes a token of
//! the one bucket; memory does not grow with the data; outputs appear whole or not at all.

pub mod model;

pub mod config;

pub mod actor;

pub mod observe;

pub mod source;

pub mod store;

pub mod fetch;

pub mod import;

pub mod commits;

pub mod dataset;

pub mod report;

pub mod publish;

pub mod pipeline;

pub mod cli;

#[doc(hidden)]
pub mod fuzzing;

mod error;

pub use error::{EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_STALE, Error};
