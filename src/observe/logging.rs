//! Logs on stderr. They do not break the progress display, and contain no control characters from a server.

use std::io::{self, Write};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use thiserror::Error;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::config::{LogConfig, LogFormat};

/// The progress display, which is hidden while a log line is written.
static DISPLAY: OnceLock<MultiProgress> = OnceLock::new();

/// Logging cannot be set up. Exit code 2.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error(
        "log.level: `{level}` is neither a level (error, warn, info, debug, trace) nor a list of filter directives"
    )]
    Level {
        /// The configured text.
        level: String,
        /// The error of the filter's parser.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
}

/// Sends log lines to stderr.
///
/// # Errors
/// [`LogError::Level`].
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter = config.filter().map_err(|source| LogError::Level { level: config.level.clone(), source })?;
    let lines = fmt::layer().with_writer(Stderr).with_ansi(colours());
    let lines = match config.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // An embedding program may have its own subscriber, which stays.
    let _already_set = registry().with(lines).with(filter).try_init();
    Ok(())
}

/// Hides `display` while log lines are written.
pub(super) fn hide_during_lines(display: &MultiProgress) {
    let _first_wins = DISPLAY.set(display.clone());
}

/// Removes the display from the terminal, for a process that exits immediately.
pub fn clear_display() {
    if let Some(display) = DISPLAY.get() {
        let _cleared = display.clear();
    }
}

/// True for a terminal without escape sequences.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|name| name == "dumb")
}

/// Colours on a terminal that has them, unless `NO_COLOR` asks for none.
pub(super) fn colours() -> bool {
    use std::io::IsTerminal as _;
    io::stderr().is_terminal() && !is_dumb() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

struct Stderr;

struct LogLine(Vec<u8>);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine(Vec::new())
    }
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let write = || drop(io::stderr().lock().write_all(&self.0)); // a failure cannot be reported anywhere
        match DISPLAY.get() {
            Some(display) => display.suspend(write),
            None => write(),
        }
    }
}
