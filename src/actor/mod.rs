//! What the actors share: how a run is ended.
//!
//! An actor is a private struct, its `run`, and a public handle, in one file of its stage. Mailboxes are bounded flume
//! channels; dropping all handles of an actor tells it that there is no more work.

mod fail_point;
mod shutdown;
mod signals;

pub(crate) use fail_point::fail_point;
pub use shutdown::Shutdown;
pub(crate) use signals::Signals;
pub use signals::{SignalListener, end_on_signals};
