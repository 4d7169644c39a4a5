//! Progress on stderr: bars on a terminal, else one plain line every few seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Counters, Limit, logging};
use crate::model::Kind;

const REDRAW: Duration = Duration::from_millis(250);
const PLAIN_LINE: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_secs(10);
/// Redraws per second at most.
const DRAWINGS_PER_SECOND: u8 = 20;
/// Free columns at the right: a terminal echoes `^C` after the last bar, and if that wraps, the next redraw is one line
/// off. Room for two, since two may come between redraws.
const FREE_COLUMNS: u16 = 5;

/// A progress display; dropping it removes it.
#[derive(Debug)]
pub struct Progress {
    task: JoinHandle<()>,
    bars: Option<MultiProgress>,
}

impl Progress {
    /// Shows the progress of `kinds` and of the reducers until dropped; `None` if it is not `wanted`.
    #[must_use]
    pub fn start(counters: Arc<Counters>, wanted: bool, kinds: &'static [Kind]) -> Option<Self> {
        if !wanted {
            return None;
        }
        if !std::io::stderr().is_terminal() || logging::is_dumb() {
            return Some(Self { task: tokio::spawn(plain_lines(counters, kinds)), bars: None });
        }
        let screen = Screen::of(Term::buffered_stderr());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), DRAWINGS_PER_SECOND);
        let display = MultiProgress::with_draw_target(target);
        logging::hide_during_lines(&display);
        let layout = Layout::of(screen.width());
        let bars = kinds.iter().map(|kind| (*kind, display.add(bar(&kind.name().replace('_', " "), layout)))).collect();
        let task = tokio::spawn(redraw(counters, screen, display.clone(), bars));
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

/// The terminal at stderr without its last columns. indicatif fills each line with spaces up to the width and relies on
/// the terminal to wrap; on a screen that is narrower than the terminal, a line break has to be written.
#[derive(Clone, Debug)]
struct Screen {
    term: Term,
    /// True when the line is full, so that the next text belongs below it.
    is_filled: Arc<AtomicBool>,
    /// True once the terminal could not be written to: its window was closed, or the connection was lost.
    is_gone: Arc<AtomicBool>,
}

impl Screen {
    fn of(term: Term) -> Self {
        Self { term, is_filled: Arc::default(), is_gone: Arc::default() }
    }

    fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// Draws while the terminal is there. Never fails, because indicatif panics when `suspend` cannot draw.
    #[expect(clippy::unnecessary_wraps, reason = "the form of the trait's methods")]
    fn draw(&self, draw: impl FnOnce(&Term) -> io::Result<()>) -> io::Result<()> {
        if !self.is_gone() && draw(&self.term).is_err() {
            self.is_gone.store(true, Relaxed);
        }
        Ok(())
    }

    fn draw_elsewhere(&self, draw: impl FnOnce(&Term) -> io::Result<()>) -> io::Result<()> {
        self.is_filled.store(false, Relaxed);
        self.draw(draw)
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.term.size().1.saturating_sub(FREE_COLUMNS).max(1)
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.draw_elsewhere(|term| term.move_cursor_up(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.draw_elsewhere(|term| term.move_cursor_down(n))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.draw_elsewhere(|term| term.move_cursor_right(n))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.draw_elsewhere(|term| term.move_cursor_left(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw_elsewhere(|term| term.write_line(text))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let is_filling = text.bytes().all(|byte| byte == b' ');
        if self.is_filled.swap(is_filling, Relaxed) && !is_filling {
            self.draw(|term| term.write_str("\n"))?;
        }
        self.draw(|term| term.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw_elsewhere(Term::clear_line)
    }

    fn flush(&self) -> io::Result<()> {
        self.draw_elsewhere(Term::flush)
    }
}

/// The columns of a line on a screen of a given width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Columns of the bar; 0 for no bar.
    bar: usize,
    /// Columns of each of the two numbers.
    number: usize,
    /// Columns of the message.
    message: usize,
}

impl Layout {
    const fn of(width: u16) -> Self {
        let (bar, number) = match width {
            95.. => (28, 7),
            65.. => (10, 6),
            _ => (0, 6),
        };
        let around_bar = if bar > 0 { "[] ".len() } else { 0 };
        let fixed = "signatures   ".len() + bar + around_bar + number + "/".len() + number + " ".len();
        Self { bar, number, message: (width as usize).saturating_sub(fixed) }
    }

    fn template(self, colours: bool) -> String {
        let Self { bar, number, .. } = self;
        let bar = match (bar, colours) {
            (0, _) => String::new(),
            (_, true) => format!("[{{bar:{bar}.cyan/dim}}] "),
            (_, false) => format!("[{{bar:{bar}}}] "),
        };
        format!("{{prefix:>12}} {bar}{{pos:>{number}}}/{{len:<{number}}} {{wide_msg}}")
    }

    /// As many whole parts as fit, the most important first: half a number would be wrong.
    fn message(self, parts: &[String]) -> String {
        let mut message = String::new();
        for part in parts {
            let separator = if message.is_empty() { "" } else { ", " };
            if message.len() + separator.len() + part.len() <= self.message {
                message.push_str(separator);
                message.push_str(part);
            }
        }
        message
    }
}

fn bar(name: &str, layout: Layout) -> ProgressBar {
    // Hidden until the display owns it: a bar by itself would draw lines that nobody clears.
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    lay_out(&bar, layout);
    bar.set_prefix(name.to_owned());
    bar
}

fn lay_out(bar: &ProgressBar, layout: Layout) {
    if let Ok(style) = ProgressStyle::with_template(&layout.template(logging::colours())) {
        bar.set_style(style.progress_chars("=> "));
    }
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

async fn redraw(counters: Arc<Counters>, screen: Screen, display: MultiProgress, bars: Vec<(Kind, ProgressBar)>) {
    let mut pace = Pace::over(PACE);
    let mut reducers: Option<ProgressBar> = None;
    let mut layout = Layout::of(screen.width());
    while !screen.is_gone() {
        let rate = pace.update(counters.attempts());
        let now = Layout::of(screen.width());
        if now != layout {
            layout = now;
            bars.iter().map(|(_, bar)| bar).chain(&reducers).for_each(|bar| lay_out(bar, layout));
        }
        for (kind, bar) in &bars {
            let now = counters.of(*kind);
            bar.set_length(now.settled + now.failed + now.pending + now.in_flight);
            bar.set_position(now.settled + now.failed);
            let mut message = Vec::new();
            if now.in_flight > 0 {
                message.push(format!("{rate:.1}/s of {:.1}", counters.rate()));
                message.push(eta(&counters, rate));
            }
            if now.failed > 0 {
                message.push(format!("{} failed", now.failed));
            }
            if now.retries > 0 {
                message.push(format!("{} retries", now.retries));
            }
            if now.in_flight > 0 && counters.limit() == Limit::Concurrency {
                message.push("too few fetchers".to_owned());
            }
            bar.set_message(layout.message(&message));
        }
        if let Some(now) = counters.reducing().now() {
            let bar = reducers.get_or_insert_with(|| display.add(bar("reducers", layout)));
            bar.set_message(now.stage);
            if now.total > 0 {
                bar.update(|state| {
                    state.set_len(now.total);
                    state.set_pos(now.done);
                });
            }
        } else if let Some(bar) = reducers.take() {
            bar.finish_and_clear(); // the search for the busiest revision is over
        }
        tokio::time::sleep(REDRAW).await;
    }
}

async fn plain_lines(counters: Arc<Counters>, kinds: &[Kind]) {
    let mut pace = Pace::over(PACE);
    pace.update(counters.attempts()); // or the first line would lack a pace
    loop {
        tokio::time::sleep(PLAIN_LINE).await;
        if let Some(now) = counters.reducing().now() {
            let of_the_pass =
                if now.total > 0 { format!(" {}/{} signatures", now.done, now.total) } else { String::new() };
            let _ignored = writeln!(std::io::stderr(), "progress: reducers: {}{of_the_pass}", now.stage);
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
        let left = eta(&counters, rate);
        let mut line = format!("{}; {rate:.1} requests/s of {:.1}, {left}", kinds.join(", "), counters.rate());
        if counters.limit() == Limit::Concurrency {
            line.push_str(", concurrency is the limit");
        }
        let _ignored = writeln!(std::io::stderr(), "progress: {line}");
    }
}

/// The time left; nothing is known of it while the source is down.
fn eta(counters: &Counters, rate: f64) -> String {
    if counters.waits_for_source() {
        return "waiting for the source".to_owned();
    }
    let requests = counters.requests_left();
    if rate <= 0.0 {
        return "waiting".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let secs = requests as f64 / rate;
    format!("{} left", human_duration(Duration::from_secs_f64(secs.min(1e9))))
}

/// `3 s`, `1 min 48 s`, `14 min`, `2 h 5 min`, `3 d 4 h`
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..60 => format!("{secs} s"),
        60..600 => format!("{} min {} s", secs / 60, secs % 60),
        600..3600 => format!("{} min", secs / 60),
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
    fn no_time_is_promised_while_the_source_is_down() {
        let counters = Counters::default();
        counters.set_frontier(Kind::Summaries, 60, 0);
        assert_eq!(eta(&counters, 2.0), "30 s left");
        let waiting = counters.wait_for_source();
        assert_eq!(eta(&counters, 2.0), "waiting for the source");
        drop(waiting);
        assert_eq!(eta(&counters, 2.0), "30 s left");
    }

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_530_000), "1.5 MB");
        assert_eq!(human_duration(Duration::from_secs(59)), "59 s");
        assert_eq!(human_duration(Duration::from_secs(108)), "1 min 48 s");
        assert_eq!(human_duration(Duration::from_secs(659)), "10 min");
        assert_eq!(human_duration(Duration::from_mins(125)), "2 h 5 min");
        assert_eq!(human_duration(Duration::from_hours(75)), "3 d 3 h");
    }

    #[test]
    fn a_message_has_whole_parts_and_never_more_columns_than_the_line_has_left() {
        let parts = ["6.2/s of 30.0", "1 min 48 s left", "2 failed", "7 retries", "too few fetchers"];
        let parts = parts.map(str::to_owned);
        for width in [1, 20, 55, 75, 115, 200] {
            let layout = Layout::of(width);
            let message = layout.message(&parts);
            assert!(message.len() <= layout.message, "{width}: {message}");
            let known = |part: &str| part.is_empty() || parts.iter().any(|whole| whole == part);
            assert!(message.split(", ").all(known), "{width}: {message}");
        }
        assert_eq!(Layout::of(75).message(&parts), "6.2/s of 30.0, 1 min 48 s left");
        assert_eq!(Layout::of(115).message(&parts), "6.2/s of 30.0, 1 min 48 s left, 2 failed, 7 retries");
        assert_eq!(Layout::of(200).message(&parts), parts.join(", "));
    }
}
