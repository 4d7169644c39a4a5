//! Tunes a running crawl: changes of `[limiter]`, `[concurrency]` and `[retry]` in the file take effect immediately.
//!
//! The file is checked twice a second (time, length, inode), and read on SIGHUP. All layers are read, with the
//! environment and the flags of the start, so a flag still wins. An invalid file is refused with its error, and the old
//! values stay; the other tables keep their values until the next start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Config, ConfigError, Overrides, Written};

/// Interval between checks of the file.
const POLL: Duration = Duration::from_millis(500);

/// The layers of a configuration, for reading them again.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// `None` without a file.
    pub file: Option<PathBuf>,
    /// The environment's variables at the start.
    pub environment: Vec<(String, String)>,
    /// `--set` and other flags.
    pub flags: Overrides,
}

impl Layers {
    /// Reads all layers.
    ///
    /// # Errors
    /// [`ConfigError`], with the place of the invalid value.
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.load_written().map(|(config, _)| config)
    }

    /// As [`Layers::load`], with the values as they were written.
    ///
    /// # Errors
    /// As [`Layers::load`].
    pub fn load_written(&self) -> Result<(Config, Written), ConfigError> {
        Config::load_written(self.file.as_deref(), self.environment.iter().cloned(), &self.flags)
    }

    /// `running`, with the current values of the tables that may change while a crawl runs.
    ///
    /// # Errors
    /// As [`Layers::load`].
    fn retune(&self, running: &Config) -> Result<Config, ConfigError> {
        let Config { limiter, concurrency, retry, .. } = self.load()?;
        Ok(Config { limiter, concurrency, retry, ..running.clone() })
    }
}

/// Watches the file of a running crawl until it is dropped.
#[derive(Debug)]
pub struct ConfigWatch(JoinHandle<()>);

impl ConfigWatch {
    /// Updates `live` whenever the file of `layers` changes.
    #[must_use]
    pub fn start(layers: Layers, live: watch::Sender<Arc<Config>>) -> Self {
        Self(tokio::spawn(follow(layers, live)))
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn follow(layers: Layers, live: watch::Sender<Arc<Config>>) {
    let mut hangups = Hangups::listen();
    let mut seen = layers.file.as_deref().and_then(Stamp::of);
    loop {
        let asked = tokio::select! {
            () = hangups.next() => true,
            () = tokio::time::sleep(POLL) => false,
        };
        let now = layers.file.as_deref().and_then(Stamp::of);
        // An editor may remove the file for a moment before it replaces it.
        if asked || (now.is_some() && now != seen) {
            seen = now;
            take_over(&layers, &live);
        }
    }
}

/// Reads the layers and sends the changed configuration.
fn take_over(layers: &Layers, live: &watch::Sender<Arc<Config>>) {
    let running = Arc::clone(&live.borrow());
    match layers.retune(&running) {
        Err(error) => {
            tracing::warn!(%error, "cannot use the changed configuration; the crawl continues with the previous one");
        }
        Ok(config) => {
            let changes = changes(&running, &config);
            if changes.is_empty() {
                tracing::info!("configuration read again: no changes in [limiter], [concurrency] and [retry]");
            } else {
                tracing::info!("configuration read again: {}", changes.join(", "));
                live.send_replace(Arc::new(config));
            }
        }
    }
}

/// One text per key: `limiter.requests_per_second 5 -> 10`.
fn changes(before: &Config, after: &Config) -> Vec<String> {
    let (Ok(before), Ok(after)) = (toml::Table::try_from(before), toml::Table::try_from(after)) else {
        return Vec::new(); // every configuration is a table
    };
    let mut changes = Vec::new();
    for (name, keys) in &after {
        for (key, value) in keys.as_table().into_iter().flatten() {
            let old = before.get(name).and_then(|keys| keys.get(key));
            if old != Some(value) {
                let old = old.map_or_else(|| "unset".to_owned(), ToString::to_string);
                changes.push(format!("{name}.{key} {old} -> {value}"));
            }
        }
    }
    changes
}

/// Metadata that change with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { modified: metadata.modified().ok(), len: metadata.len(), inode })
    }
}

/// SIGHUP, on systems that have it.
struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    fn listen() -> Self {
        #[cfg(unix)]
        return Self { signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok() };
        #[cfg(not(unix))]
        Self {}
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rate;
    use super::*;

    struct File(tempfile::TempDir);

    impl File {
        fn new(text: &str) -> Self {
            let file = Self(tempfile::tempdir().unwrap());
            file.write(text);
            file
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("config.toml")
        }

        fn write(&self, text: &str) {
            let mut file = tempfile::NamedTempFile::new_in(self.0.path()).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            file.persist(self.path()).unwrap();
        }

        fn layers(&self) -> Layers {
            Layers { file: Some(self.path()), ..Layers::default() }
        }
    }

    fn live(layers: &Layers) -> (watch::Sender<Arc<Config>>, watch::Receiver<Arc<Config>>) {
        watch::channel(Arc::new(layers.load().unwrap()))
    }

    #[test]
    fn only_the_three_tables_change_and_each_change_is_named() {
        let file = File::new("[limiter]\nrequests_per_second = 5\n");
        let layers = file.layers();
        let (sender, receiver) = live(&layers);
        file.write(
            "[limiter]\nrequests_per_second = 9\n[concurrency]\nsummaries = 3\n[retry]\nmax_attempts = 2\n[batch]\njob_ids = 7\n",
        );
        let (before, after) = (Arc::clone(&receiver.borrow()), layers.retune(&receiver.borrow()).unwrap());
        assert_eq!(
            changes(&before, &after),
            ["concurrency.summaries 8 -> 3", "limiter.requests_per_second 5 -> 9", "retry.max_attempts 5 -> 2"]
        );
        take_over(&layers, &sender);
        let now = Arc::clone(&receiver.borrow());
        assert_eq!((now.limiter.requests_per_second, now.concurrency.summaries.get()), (Rate::whole(9), 3));
        assert_eq!(now.batch, before.batch);
    }

    #[test]
    fn an_invalid_file_is_refused_and_the_old_values_stay() {
        let file = File::new("[limiter]\nrequests_per_second = 5\n");
        let layers = file.layers();
        let (sender, receiver) = live(&layers);
        for wrong in [
            "[limiter]\nrequests_per_second = 0\n",
            "[limiter\n",
            "[limiter]\nbrust = 1\n",
            "[limiter]\nrequests_per_second = 2\nmin_requests_per_second = 3\n",
        ] {
            file.write(wrong);
            take_over(&layers, &sender);
            assert_eq!(receiver.borrow().limiter.requests_per_second, Rate::whole(5), "{wrong}");
            assert!(!receiver.has_changed().unwrap());
        }
    }

    #[test]
    fn a_flag_still_wins_over_the_changed_file() {
        let file = File::new("");
        let flag = crate::config::Override {
            origin: "--requests-per-second".to_owned(),
            key: "limiter.requests_per_second".to_owned(),
            value: "7".to_owned(),
        };
        let layers = Layers { flags: vec![flag], ..file.layers() };
        let (sender, receiver) = live(&layers);
        file.write("[limiter]\nrequests_per_second = 9\nburst = 4\n");
        take_over(&layers, &sender);
        let now = Arc::clone(&receiver.borrow());
        assert_eq!((now.limiter.requests_per_second, now.limiter.burst.get()), (Rate::whole(7), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_taken_over_within_two_seconds() {
        let file = File::new("[limiter]\nrequests_per_second = 5\n");
        let layers = file.layers();
        let (sender, mut receiver) = live(&layers);
        let _watch = ConfigWatch::start(layers, sender);
        tokio::time::sleep(Duration::from_millis(10)).await;
        file.write("[limiter]\nrequests_per_second = 50\n");
        tokio::time::timeout(Duration::from_secs(2), receiver.changed()).await.unwrap().unwrap();
        assert_eq!(receiver.borrow().limiter.requests_per_second, Rate::whole(50));
    }
}
