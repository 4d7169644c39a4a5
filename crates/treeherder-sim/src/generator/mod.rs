//! A data set of any size that is computed for each request and never stored.
//!
//! Every record is a function of the seed and an index: a push of its number, the runs of a group of the group's number,
//! a job of its id, a datum of its signature and its run. So the cost of a request depends on the size of its answer
//! only, and memory holds one number per signature group.
//!
//! ```text
//! pushes (when, revision) -> runs of a group on pushes (schedule) -> jobs (by id) and data (by signature)
//! ```

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "generated numbers; counts are validated to be far below the limits of the types"
)]

mod alert;
mod backend;
mod commit;
mod config;
mod dump;
mod job;
mod push;
mod schedule;
mod signature;
mod vocabulary;

pub use config::GeneratorConfig;
pub use dump::{DumpReport, dump};

pub(super) use backend::Generator;
