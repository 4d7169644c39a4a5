//! The configuration: one struct per table of `config.toml`, every key with its unit, default and reason.
//!
//! Precedence: default < file < environment < flag ([`Config::load`]). Bad values cannot be held: they are refused when
//! they are read ([`ConfigError`] names file, line and key).

mod check;
mod commits_from;
mod load;
mod tables;
mod watch;

pub use commits_from::{CommitsFrom, ParseCommitsFromError};
pub use load::{ConfigError, Override, Overrides};
pub use tables::{
    ArtifactsConfig, BatchConfig, ConcurrencyConfig, Config, InputsConfig, JOB_LIFE_DAYS, LimiterConfig, LogConfig,
    LogFormat, MetricsConfig, ReduceConfig, RetryConfig, SampleConfig, Semantics, ShutdownConfig, SourceConfig,
    StoreConfig, WindowConfig,
};
pub use watch::{ConfigWatch, Layers};
