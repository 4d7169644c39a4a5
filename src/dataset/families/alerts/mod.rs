//! What is made of the alert summaries beside `alert_summaries.csv`: regressions with a bug, failing signatures, and the
//! time from a push to its alert.
//!
//! Alert summaries come in as the server's text, one at a time, in the order in which they are listed; rows of three
//! artifacts come out. A field of an unexpected type counts as absent, never as an error.

mod culprit;
mod history;
pub(crate) mod table;
mod tables;
mod view;

pub use culprit::TimeToCulprit;
pub use history::{AlertHistory, RaisedOn};
pub use tables::{AlertTables, BugRow, FailingRow, TestOnPlatform};
pub use view::{AlertSummaryView, AlertView, AlertViewError};
