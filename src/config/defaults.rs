//! The defaults of the keys of `config.toml`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::Rate;
use super::tables::{
    ArtifactsConfig, BatchConfig, ConcurrencyConfig, LimiterConfig, LogConfig, LogFormat, ReduceConfig, RetryConfig,
    Semantics, ShutdownConfig, SourceConfig, StoreConfig, WindowConfig,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const DAY: u64 = 86_400;

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            base_url: "https://treeherder.mozilla.org".to_owned(),
            repository: "autoland".to_owned(),
            repositories: Vec::new(),
            is_one_of_several: false,
            alerts_repository_id: None,
            user_agent: concat!("perfharvest/", env!("CARGO_PKG_VERSION"), " (+", env!("CARGO_PKG_REPOSITORY"), ")")
                .to_owned(),
            timeout: secs(90),
            connect_timeout: secs(10),
            max_body_bytes: NonZeroU64::new(256 << 20).unwrap_or(NonZeroU64::MAX),
            max_total_bytes: NonZeroU64::new(256 << 20).unwrap_or(NonZeroU64::MAX),
        }
    }
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            start: None,
            end: None,
            lookback: secs(2 * DAY),
            data_end: None,
            alerts_lookback: secs(1095 * DAY),
            overlap: secs(28 * DAY),
            late_check: secs(7 * DAY),
        }
    }
}

/// The number as a non-zero one; callers pass literals that are not 0.
const fn non_zero(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

const fn non_zero_usize(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => NonZeroUsize::MIN,
    }
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self {
            requests_per_second: Rate::whole(5),
            burst: non_zero(2),
            max_retry_after: secs(600),
            adaptive: true,
            min_requests_per_second: Rate::whole(1),
        }
    }
}

impl Default for ConcurrencyConfig {
    fn default() -> Self {
        Self {
            alerts: non_zero_usize(2),
            signatures: non_zero_usize(2),
            summaries: non_zero_usize(8),
            job_details: non_zero_usize(2),
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { max_attempts: non_zero(5), initial_delay: secs(1), max_delay: secs(60), give_up_after: secs(900) }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            job_ids: non_zero_usize(300),
            alert_page: non_zero(100),
            commits: non_zero(500),
            signatures_by_framework: false,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("perfharvest.store"),
            cache_bytes: 2 << 20,
            commit_records: non_zero_usize(256),
            commit_interval: Duration::from_millis(10),
            min_free_bytes: 64 << 20,
        }
    }
}

impl Default for ReduceConfig {
    fn default() -> Self {
        Self { memory_bytes: non_zero_usize(16 << 20), workers: 0 }
    }
}

impl Default for ArtifactsConfig {
    fn default() -> Self {
        Self {
            out: PathBuf::from("datasets/mozilla_perf"),
            semantics: Semantics::Corrected,
            excluded_framework_ids: vec![2, 6, 18],
            exclude_fields: vec!["id".to_owned()],
            redact_emails: false,
            strict: false,
        }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: secs(10) }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text, progress: true }
    }
}
