//! The visible side of a run: logs, counters, progress, metrics. The actors count; this folder only shows, and imports
//! no stage.

mod counters;
mod limit;
mod logging;
mod metrics;
mod progress;
mod reducing;
mod run_file;
mod textfile;
mod words;

pub use counters::{AttemptResult, Counters, KindProgress, SourceWait, TokenWait};
pub use limit::Limit;
pub use logging::{LogError, clear_display, init as init_logging};
pub use metrics::{Metrics, MetricsError};
pub use progress::{Progress, human_bytes, human_duration};
pub use reducing::{Reducing, ReducingNow};
pub use run_file::{DueJobs, RunFile, RunPhase, RunState};
pub use textfile::StoreState;
pub use words::{counted, form};
