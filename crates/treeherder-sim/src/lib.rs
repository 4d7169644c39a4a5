//! A simulated [Treeherder](https://treeherder.mozilla.org/docs/) for tests of Treeherder clients.
//!
//! It serves the read-only endpoints of the API over HTTP on a loopback address, with recorded or generated data, and
//! answers as Treeherder was observed to: parameters, paging, limits, error texts and headers. A test can make it slow,
//! overloaded or faulty, script single replies byte by byte, change the data while it runs, and then check every request
//! that arrived.
//!
//! ```
//! use treeherder_sim::{Behaviour, Endpoint, ScriptedReply, Simulator, SimulatorConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let behaviour = Behaviour { faults: vec!["502@summary=0.05".parse()?], ..Behaviour::default() };
//! let simulator = Simulator::start(SimulatorConfig { behaviour, ..SimulatorConfig::default() }).await?;
//! simulator.script(ScriptedReply::status(429).at(Endpoint::Jobs).header("retry-after", "2"));
//! // Point the client under test at simulator.url(), then look at simulator.arrivals().
//! assert_eq!(simulator.shutdown().await?.total(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Endpoints
//!
//! | path | [`Endpoint`] |
//! |---|---|
//! | `/api/performance/framework/` | `framework` |
//! | `/api/repository/` | `repository` |
//! | `/api/project/<repository>/performance/signatures/` | `signatures` |
//! | `/api/performance/summary/` | `summary` |
//! | `/api/performance/alertsummary/` and `…/alertsummary/<id>/` | `alertsummary` |
//! | `/api/project/<repository>/jobs/` and `…/jobs/<id>/` | `jobs` |
//! | `/api/project/<repository>/push/` and `…/push/<id>/` | `push` |
//! | `/api/optioncollectionhash/`, `/api/performance/tag/`, `/api/machineplatforms/` | `other` |
//!
//! Other paths get the page of Treeherder's web application, with status 200.
//!
//! # Data
//!
//! [`BackendConfig`] selects the data: the recordings in the crate, recordings in a folder, or generated data of any size,
//! of which memory holds one number per signature group. [`dump`] writes generated data to files.
//! [`SimulatorHandle::after`] and [`SimulatorHandle::delete_job`] change the data of a running server.
//!
//! # Clock and history
//!
//! The clock of the data stands still, so that relative ranges (`interval`, `timerange`) select the same data in every run,
//! until [`SimulatorHandle::set_now`], [`SimulatorHandle::advance`] or a control request moves it on. The server then shows
//! the data of the new time: records of a later time are not there yet. [`History`] says which data are late, and which
//! records change or go; [`SimulatorHandle::full_record`] lists everything that was ever there, so that a test can prove
//! that a client lost nothing. The data depend on the seed and the time only, not on the way of the clock. The Date header
//! is the real time, plus [`Behaviour::date_skew_secs`].
//!
//! ```text
//! GET  /__sim/now                 {"now":"2026-11-22T00:00:00Z","now_secs":1795305600}
//! POST /__sim/now with a body     {"old":"2026-11-22T00:00:00Z","old_secs":…,"new":"2026-11-29T00:00:00Z","new_secs":…}
//! ```
//! The body is a time (`2026-11-29`, `2026-11-29T00:00:00Z`), seconds since the epoch, or a step (`+7d`). A step back is
//! refused with status 409. Control requests are not arrivals, and no fault applies to them.
//!
//! # Behaviour
//!
//! * **Latency** ([`Latency`]): fixed, uniform or log-normal, such as `50ms`, `20ms..200ms` or `lognormal:80ms,0.5`.
//! * **Capacity** ([`Behaviour::capacity`]): requests per second; the server answers more with 429.
//! * **Faults** ([`FaultRule`]): a share of the requests to one or all endpoints fails, such as `502@summary=0.05` or
//!   `cut=0.01`. [`FaultKind`] lists the kinds: error statuses, connections that reset, break or hang, and bodies that are
//!   empty, truncated, broken or in several gzip members, or not the expected JSON.
//! * **Time limit** ([`Behaviour::kill_over_data`], [`Behaviour::kill_alerts`]): a request for too many data, or for a page
//!   with certain alert summaries, is answered with gunicorn's page and status 500, or loses its connection
//!   ([`Behaviour::kill_hangs_up`]).
//! * **Scripts** ([`SimulatorHandle::script`]): replies to the next matching requests. They take precedence.
//!
//! Two servers with the same configuration serve the same data, and the n-th attempt of a request has the same fault,
//! whatever the order of the requests.
//!
//! # Arrivals
//!
//! [`SimulatorHandle::arrivals`] lists every request with its time, endpoint, path and outcome; [`ServedCounts`] counts
//! them. [`SimulatorConfig::arrival_log`] writes them to a file too.
//!
//! # Design
//!
//! ```text
//! Corpus | Generator  --Dataset-->  World  --View-->  answer  --Reply-->  Behaviour, script  -->  client
//! ```
//! A `Dataset` is recorded (`corpus`) or generated (`generator`). A `World` adds a history, changes and a clock to
//! it; a `View` is a world at a time. `answer` has one file per endpoint: pure functions from a request to a reply. `server` speaks HTTP and applies the
//! behaviour.

mod alert_record;
mod alert_timeline;
mod alterations;
mod answer;
mod arrival;
mod behaviour;
mod config;
mod control;
mod corpus;
mod dataset;
mod draw;
mod embedded;
mod endpoint;
mod error;
mod fate;
mod fault;
mod generator;
mod handle;
mod history;
mod json_text;
mod moment;
mod query;
mod record;
mod reply;
mod script;
mod server;
mod view;

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
pub use generator::{DumpReport, GeneratorConfig, dump};
pub use handle::{Simulator, SimulatorHandle};
pub use history::History;
pub use record::{AlertVersion, FullRecord, SeenDatum, SeenSignature};
pub use script::ScriptedReply;
