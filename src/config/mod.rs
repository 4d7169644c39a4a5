//! The configuration: one struct per table of `config.toml`.
//!
//! Precedence: default < file < environment < flag ([`Config::load`]). Invalid values are refused when they are read,
//! with file, line and key ([`ConfigError`]).

mod alert_statuses;
mod check;
mod commits_from;
mod contact;
mod defaults;
mod duration;
mod load;
mod publish;
mod rate;
mod repositories;
mod scope;
mod scope_names;
mod tables;
mod watch;
mod written;

pub use alert_statuses::AlertStatuses;
pub use commits_from::{CommitsFrom, ParseCommitsFromError};
pub use duration::duration_text;
pub use load::{ConfigError, Override, Overrides};
pub use publish::{Author, Doi, License, PageUrl, PublishConfig, PublishTextError};
pub use rate::{InvalidRate, Rate};
pub use scope::{JobDetails, JobsConfig, Scope, ScopeConfig, ScopeError, SignatureChoice, SignatureScope};
pub use scope_names::{FrameworkName, Glob, SignatureIds};
pub use tables::{
    ArtifactsConfig, BatchConfig, BisectConfig, ConcurrencyConfig, Config, InputsConfig, JOB_LIFE_DAYS, LimiterConfig,
    LogConfig, LogFormat, MetricsConfig, ReduceConfig, RetryConfig, SampleConfig, Semantics, ShutdownConfig,
    SourceConfig, StoreConfig, WindowConfig,
};
pub use watch::{ConfigWatch, Layers};
pub use written::Written;
