//! The input of a run: options, and a configuration that may change meanwhile.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;

/// The options of a run beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command, and independent")]
pub struct RunOptions {
    /// The stored crawl's server has another address now.
    pub same_source: bool,
    /// Fetch at most ten new job details: a crawl that ends early, on purpose.
    pub dry_run: bool,
    /// Ask again for the answers with records that were set aside.
    pub retry_set_aside: bool,
    /// Fetch only the listings needed to estimate, and make no artifacts.
    pub lists_only: bool,
    /// A refresh asks again for the data of all signatures over the whole window.
    pub full: bool,
}

/// The configuration as it is now; `[limiter]`, `[concurrency]` and `[retry]` may change while a crawl runs.
pub type LiveConfig = watch::Receiver<Arc<Config>>;

/// A channel whose configuration never changes.
#[must_use]
pub fn fixed_config(config: Config) -> (watch::Sender<Arc<Config>>, LiveConfig) {
    watch::channel(Arc::new(config))
}
