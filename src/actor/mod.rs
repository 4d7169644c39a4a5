//! Code shared by all actors: how a run stops, threads, temporary and locked files, and the places at which the crash tests kill
//! it.
//!
//! An actor is a private struct, its `run`, and a public handle, in one file of its stage. Mailboxes are bounded flume
//! channels; dropping all handles of an actor tells it that no more work will come.

mod budget;
mod fail_point;
mod locked;
mod shutdown;
mod temporary;
mod threads;
mod trouble;
mod workers;

pub(crate) use budget::{Budget, Room};
pub(crate) use fail_point::fail_point;
pub(crate) use locked::LockedFile;
pub use shutdown::Shutdown;
pub(crate) use temporary::{no_follow, temporary_file};
pub(crate) use threads::{BlockingError, blocking, parallelism};
pub use threads::{LimitError, prepare_threads};
pub(crate) use trouble::{advice, is_limit};
pub(crate) use workers::{DealError, InOrder, Inbox, Numbered, Ticket, deal};
