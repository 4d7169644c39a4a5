//! What can be seen of a run: logs, counters, progress. Reads what the actors count; decides nothing.

mod counters;
mod logging;
mod progress;

pub use counters::{AttemptResult, Counters, KindProgress};
pub use logging::{LogError, init as init_logging};
pub use progress::{Progress, human_bytes, human_duration};
