//! A Treeherder to rehearse against, served on loopback.
//!
//! ```text
//! Corpus | Generator  --Dataset-->  World  --answer-->  Reply  --Behaviour, script-->  a client
//! ```
//! Owns: what the server knows ([`BackendConfig`]), how it answers (the semantics observed on
//! Treeherder, one file an endpoint under `answer/`), how badly it behaves ([`Behaviour`]), and the
//! book of what arrived. Flows in: HTTP requests. Flows out: replies whose record text is the
//! backend's own, digit for digit, and [`Arrival`]s to assert on.
//!
//! Promises: the same configuration gives the same data and the same bad luck, whatever the order of
//! the requests; the server's clock stands still at [`SimulatorConfig::now`]; nothing of the generated
//! backend is held in memory per datum, job or push; it binds to loopback only.

mod alert_record;
mod alterations;
mod answer;
mod arrival;
mod behaviour;
mod config;
mod corpus;
mod dataset;
mod embedded;
mod endpoint;
mod error;
mod fate;
mod fault;
mod generator;
mod handle;
mod json_text;
mod moment;
mod query;
mod reply;
mod script;
mod server;

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod server_tests;

pub use alterations::AlertChange;
pub use arrival::{Arrival, Outcome, ServedCounts};
pub use behaviour::{Behaviour, Latency};
pub use config::{BackendConfig, SimulatorConfig};
pub use endpoint::Endpoint;
pub use error::{BehaviourError, SimulatorError};
pub use fault::{FaultKind, FaultRule};
pub use generator::{DumpReport, GeneratorConfig, commits_jsonl, dump};
pub use handle::{Simulator, SimulatorHandle};
pub use script::ScriptedReply;
