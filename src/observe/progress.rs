//! Progress on stderr: bars on a terminal, else one plain line every few seconds.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Counters, Limit, logging};
use crate::model::Kind;

const REDRAW: Duration = Duration::from_millis(250);
const PLAIN_LINE: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_secs(10);

/// A progress display; it ends when it is dropped.
#[derive(Debug)]
pub struct Progress {
    task: JoinHandle<()>,
    bars: Option<MultiProgress>,
}

impl Progress {
    /// Shows `counters`, of `kinds` and of the reducers, until dropped; `None` when progress is not wanted.
    #[must_use]
    pub fn start(counters: Arc<Counters>, wanted: bool, kinds: &'static [Kind]) -> Option<Self> {
        if !wanted {
            return None;
        }
        if !std::io::stderr().is_terminal() {
            return Some(Self { task: tokio::spawn(plain_lines(counters, kinds)), bars: None });
        }
        let display = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        logging::step_aside_for(&display);
        let bars = kinds.iter().map(|kind| (*kind, display.add(bar(&kind.name().replace('_', " "))))).collect();
        let task = tokio::spawn(redraw(counters, display.clone(), bars));
        Some(Self { task, bars: Some(display) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(bars) = &self.bars {
            let _cleared = bars.clear();
        }
    }
}

fn bar(name: &str) -> ProgressBar {
    // Hidden until the display has it: a bar that is set up on its own would draw lines that nobody clears.
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    let style = if logging::colours() {
        "{prefix:>12} [{bar:28.cyan/dim}] {pos:>7}/{len:<7} {msg}"
    } else {
        "{prefix:>12} [{bar:28}] {pos:>7}/{len:<7} {msg}"
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_owned());
    bar
}

/// Requests per second over the last seconds.
#[derive(Debug)]
pub(super) struct Pace {
    seen: std::collections::VecDeque<(Instant, u64)>,
    span: Duration,
}

impl Pace {
    pub(super) fn over(span: Duration) -> Self {
        Self { seen: std::collections::VecDeque::new(), span }
    }

    pub(super) fn update(&mut self, attempts: u64) -> f64 {
        let now = Instant::now();
        self.seen.push_back((now, attempts));
        while self.seen.len() > 2 && self.seen.front().is_some_and(|(at, _)| now - *at > self.span) {
            self.seen.pop_front();
        }
        let Some((start, before)) = self.seen.front() else { return 0.0 };
        let secs = (now - *start).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let made = (attempts - before) as f64;
        if secs > 0.0 { made / secs } else { 0.0 }
    }
}

async fn redraw(counters: Arc<Counters>, display: MultiProgress, bars: Vec<(Kind, ProgressBar)>) {
    let mut pace = Pace::over(PACE);
    let mut reducers: Option<ProgressBar> = None;
    loop {
        let rate = pace.update(counters.attempts());
        for (kind, bar) in &bars {
            let now = counters.of(*kind);
            bar.set_length(now.settled + now.failed + now.pending + now.in_flight);
            bar.set_position(now.settled + now.failed);
            let mut message = Vec::new();
            if now.in_flight > 0 {
                message.push(format!("{rate:.1}/s of {:.1}", counters.rate()));
                message.push(eta(counters.requests_left(), rate));
                if counters.limit() == Limit::Concurrency {
                    message.push("concurrency is the limit".to_owned());
                }
            }
            if now.retries > 0 {
                message.push(format!("{} retries", now.retries));
            }
            if now.failed > 0 {
                message.push(format!("{} failed", now.failed));
            }
            bar.set_message(message.join(", "));
        }
        if let Some(now) = counters.reducing().now() {
            let bar = reducers.get_or_insert_with(|| display.add(bar("reducers")));
            bar.set_message(now.stage);
            if now.total > 0 {
                bar.update(|state| {
                    state.set_len(now.total);
                    state.set_pos(now.done);
                });
            }
        } else if let Some(bar) = reducers.take() {
            bar.finish_and_clear(); // a search within a crawl is over
        }
        tokio::time::sleep(REDRAW).await;
    }
}

async fn plain_lines(counters: Arc<Counters>, kinds: &[Kind]) {
    let mut pace = Pace::over(PACE);
    pace.update(counters.attempts()); // else the first line knows of no pace
    loop {
        tokio::time::sleep(PLAIN_LINE).await;
        if let Some(now) = counters.reducing().now() {
            let of_the_pass =
                if now.total > 0 { format!(" {}/{} signatures", now.done, now.total) } else { String::new() };
            let _nowhere_to_tell = writeln!(std::io::stderr(), "progress: reducers: {}{of_the_pass}", now.stage);
            continue;
        }
        if kinds.is_empty() {
            continue;
        }
        let rate = pace.update(counters.attempts());
        let kinds: Vec<String> = kinds
            .iter()
            .map(|kind| {
                let now = counters.of(*kind);
                let known = now.settled + now.failed + now.pending + now.in_flight;
                format!("{} {}/{known}", kind.name(), now.settled + now.failed)
            })
            .collect();
        let left = eta(counters.requests_left(), rate);
        let mut line = format!("{}; {rate:.1} requests/s of {:.1}, {left}", kinds.join(", "), counters.rate());
        if counters.limit() == Limit::Concurrency {
            line.push_str(", concurrency is the limit");
        }
        let _nowhere_to_tell = writeln!(std::io::stderr(), "progress: {line}");
    }
}

fn eta(requests: u64, rate: f64) -> String {
    if rate <= 0.0 {
        return "waiting".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let secs = requests as f64 / rate;
    format!("{} left", human_duration(Duration::from_secs_f64(secs.min(1e9))))
}

/// `3 s`, `4 min`, `2 h 5 min`, `3 d 4 h`
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min", secs / 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// `12 B`, `3.4 kB`, `5.6 MB`
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if size < 1000.0 {
            break;
        }
        size /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_530_000), "1.5 MB");
        assert_eq!(human_duration(Duration::from_secs(59)), "59 s");
        assert_eq!(human_duration(Duration::from_mins(125)), "2 h 5 min");
        assert_eq!(human_duration(Duration::from_hours(75)), "3 d 3 h");
    }
}
